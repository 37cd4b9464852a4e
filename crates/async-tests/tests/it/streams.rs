//! Reads and subscriptions as streams.

use crate::common::{event, store, tokio};
use filmstrip::{ErrorKind, ExpectedVersion, NewEvent};
use futures_util::{StreamExt, TryStreamExt};
use std::time::Duration;

const EVENTS: u64 = 10_000;

fn filled() -> filmstrip::aio::Store {
    let store = store();
    for hundred in 0..EVENTS / 100 {
        let events = (0..100).map(|n| event(100 * hundred + n));
        let stream = format!("{}-1", if hundred % 2 == 0 { "Walk" } else { "Run" });
        store.sync().append(stream, ExpectedVersion::Any, events).unwrap();
    }
    store
}

#[test]
fn a_stream_returns_what_the_iterator_returns() {
    let store = filled();
    tokio(async {
        let positions = |read: filmstrip::read::ReadAll| async {
            read.stream()
                .map_ok(|event| event.position.get())
                .try_collect::<Vec<_>>()
                .await
                .unwrap()
        };
        assert!(positions(store.read_all()).await.into_iter().eq(1..=EVENTS));
        assert!(positions(store.read_all().backwards()).await.into_iter().eq((1..=EVENTS).rev()));
        assert!(positions(store.read_all().limit(70)).await.into_iter().eq(1..=70));
        let (runs, iterated) = (
            store.read_all().category("Run").after(filmstrip::Position::new(777)),
            store.sync().read_all().category("Run").after(filmstrip::Position::new(777)),
        );
        let iterated = iterated.collect().unwrap().into_iter().map(|event| event.position.get());
        assert!(positions(runs).await.into_iter().eq(iterated));
        assert_eq!(positions(store.read_all().backwards().category("Run").limit(3)).await.len(), 3);
        let walk: Vec<_> = store.read_stream("Walk-1").stream().try_collect().await.unwrap();
        assert_eq!(walk.len() as u64, EVENTS / 2);
        assert_eq!(walk, store.sync().read_stream("Walk-1").collect().unwrap());
        let streams: Vec<_> = store.streams().stream().try_collect().await.unwrap();
        assert_eq!(streams, store.sync().streams().collect().unwrap());
        let mut none = store.read_stream("None-1").stream();
        assert_eq!(none.next().await.unwrap().unwrap_err().kind(), ErrorKind::StreamNotFound);
        assert!(none.next().await.is_none());
    });
}

#[test]
fn a_stream_that_is_dropped_half_way_reads_no_further() {
    let store = filled();
    tokio(async {
        for taken in [0, 1, 63, 64, 65, 500, 3_000] {
            let mut read = store.read_all().stream().take(taken);
            while read.next().await.is_some() {}
        }
        store.close().await.unwrap();
    });
}

#[test]
fn subscriptions_wake_their_tasks_for_what_they_want() {
    let store = store();
    tokio(async {
        let readers: Vec<_> = (0..200)
            .map(|n| {
                let category = format!("Kind{}", n % 4);
                let mut stream =
                    store.subscribe().category(category).buffer(4).into_stream().unwrap();
                tokio::spawn(async move {
                    let mut seen = 0;
                    while seen < 100 {
                        let event = stream.next().await.unwrap().unwrap();
                        assert_eq!(event.json::<u64>().unwrap(), seen);
                        seen += 1;
                    }
                })
            })
            .collect();
        for n in 0..100 {
            for kind in 0..4 {
                store
                    .append(format!("Kind{kind}-1"), ExpectedVersion::Any, [event(n)])
                    .await
                    .unwrap();
            }
        }
        for reader in readers {
            reader.await.unwrap();
        }
    });
}

#[test]
fn a_subscription_that_lags_far_behind_catches_up_and_goes_live() {
    let store = filled();
    tokio(async {
        let mut all = store.subscribe().into_stream().unwrap();
        for wanted in 1..=EVENTS {
            assert_eq!(all.next().await.unwrap().unwrap().position.get(), wanted);
        }
        let next = tokio::time::timeout(Duration::from_millis(50), all.next()).await;
        assert!(next.is_err(), "there was another event");
        let large = NewEvent::bytes("Large", vec![1; 100_000]);
        store.append("Walk-1", ExpectedVersion::Any, [large]).await.unwrap();
        assert_eq!(all.next().await.unwrap().unwrap().position.get(), EVENTS + 1);
        all.stopper().stop();
        assert!(all.next().await.is_none());
    });
}

#[test]
fn an_append_wakes_the_task_that_waits_for_it() {
    let store = store();
    tokio(async {
        let mut stream = store.subscribe().category("Walk").into_stream().unwrap();
        let waiting = tokio::spawn(async move { stream.next().await.unwrap().unwrap().position });
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.append("Run-1", ExpectedVersion::Any, [event(1)]).await.unwrap();
        store.append("Walk-1", ExpectedVersion::Any, [event(2)]).await.unwrap();
        assert_eq!(waiting.await.unwrap().get(), 2);
    });
}

#[test]
fn a_stopped_subscription_wakes_its_task() {
    let store = store();
    tokio(async {
        let mut stream = store.subscribe().into_stream().unwrap();
        let stopper = stream.stopper();
        let waiting = tokio::spawn(async move { stream.next().await.is_none() });
        tokio::time::sleep(Duration::from_millis(20)).await;
        stopper.stop();
        assert!(waiting.await.unwrap());
    });
}
