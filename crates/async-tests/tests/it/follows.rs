//! Projections, read models, processes and consumer groups, for tasks.

use crate::common::{event, store, tokio};
use filmstrip::group::Nack;
use filmstrip::replica::StoreDirectory;
use filmstrip::{
    ErrorKind, ExpectedVersion, Filter, HandlerError, Position, Projection, RecordedEvent, Store,
    ViewWriter,
};
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Steps;

impl Projection for Steps {
    const NAME: &'static str = "steps";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Walk")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        Ok(view.put(event.stream.as_str(), &event.version.get())?)
    }
}

#[test]
fn a_view_is_waited_for_without_a_thread_and_read_on_the_pool() {
    let store = store();
    tokio(async {
        let steps = store.sync().project(Steps).start().unwrap().aio();
        let waits = (0..200).map(|n| {
            let (steps, store) = (steps.clone(), store.clone());
            tokio::spawn(async move {
                let stream = format!("Walk-{}", n % 10);
                let done =
                    store.append(stream.as_str(), ExpectedVersion::Any, [event(n)]).await.unwrap();
                // What nobody wants is waited for, too.
                let other = store.append("Run-1", ExpectedVersion::Any, [event(n)]).await.unwrap();
                steps.wait_for(other.position).await.unwrap();
                let row: u64 = steps.view().get(stream).await.unwrap().unwrap();
                assert!(row >= done.version.get(), "the view lacks what was waited for");
            })
        });
        for wait in join_all(waits).await {
            wait.unwrap();
        }
        assert_eq!(steps.view().prefix::<u64>("Walk-").await.unwrap().len(), 10);
        let view = steps.view();
        let rows = view.read(|view| view.range::<u64>("Walk-2", "Walk-4").map(|rows| rows.len()));
        assert_eq!(rows.await.unwrap().unwrap(), 2);

        let far = Position::new(1 << 40);
        let late = tokio::time::timeout(Duration::from_millis(10), steps.wait_for(far)).await;
        assert!(late.is_err());
        steps.pause().await.unwrap();
        steps.resume().await.unwrap();
        steps.rebuild().await.unwrap();
        steps.wait_for(store.head()).await.unwrap();
        let waiting = {
            let steps = steps.clone();
            tokio::spawn(async move { steps.wait_for(far).await })
        };
        tokio::time::sleep(Duration::from_millis(10)).await;
        steps.stop().await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
fn consumers_of_a_group_share_its_events_and_what_is_not_acknowledged_comes_again() {
    let store = store();
    tokio(async {
        for n in 0..300 {
            store.append(format!("Walk-{n}"), ExpectedVersion::Any, [event(n)]).await.unwrap();
        }
        let handled = Arc::new(Mutex::new(BTreeSet::new()));
        let consumers = (0..4).map(|_| {
            let (store, handled) = (store.clone(), Arc::clone(&handled));
            tokio::spawn(async move {
                let group = store.subscribe().category("Walk").group("walkers");
                let mut consumer = group.into_stream().await.unwrap();
                let stopper = consumer.stopper();
                while let Some(delivery) = consumer.next().await {
                    let delivery = delivery.unwrap();
                    let position = delivery.event.position.get();
                    match (delivery.attempt, position % 5) {
                        (1, 1) => drop(delivery),
                        (1, 2) => delivery.nack(Nack::Retry(Duration::ZERO)).await.unwrap(),
                        _ => {
                            delivery.ack().await.unwrap();
                            let mut handled = handled.lock().unwrap();
                            assert!(handled.insert(position), "{position} was handled twice");
                            if handled.len() == 300 {
                                break;
                            }
                        }
                    }
                    if handled.lock().unwrap().len() == 300 {
                        break;
                    }
                }
                stopper.stop();
            })
        });
        let consumers: Vec<_> = consumers.collect();
        while handled.lock().unwrap().len() < 300 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Those that still wait are woken by one more event each, or by closing.
        let group = store.sync().group("walkers").aio();
        assert_eq!(group.cursor().await.unwrap().get(), 300);
        store.close().await.unwrap();
        for consumer in consumers {
            consumer.await.unwrap();
        }
    });
}

/// Tasks that wait for what others write, at a store and at its replica, need no threads of the pool: there are more of
/// them than it has.
#[test]
fn what_comes_to_a_store_or_to_its_replica_is_waited_for_without_a_thread() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("source")).unwrap().aio();
    let source = StoreDirectory::at(directory.path().join("source"));
    let replica = Store::builder().replica(source).open(directory.path().join("copy")).unwrap();
    let replica = replica.aio();
    tokio(async {
        let waits = (1..=200).flat_map(|n| {
            [store.clone(), replica.clone()].map(|it| {
                tokio::spawn(async move {
                    it.wait_for(Position::new(n)).await.unwrap();
                    it.read_all()
                        .after(Position::new(n - 1))
                        .stream()
                        .next()
                        .await
                        .unwrap()
                        .unwrap()
                })
            })
        });
        let waits: Vec<_> = waits.collect();
        for n in 1..=200 {
            store.append("Walk-1", ExpectedVersion::Any, [event(n)]).await.unwrap();
        }
        for (n, read) in join_all(waits).await.into_iter().enumerate() {
            assert_eq!(read.unwrap().position.get(), n as u64 / 2 + 1);
        }
        let far = Position::new(1 << 40);
        let late = tokio::time::timeout(Duration::from_millis(10), replica.wait_for(far)).await;
        assert!(late.is_err());
        let waiting = {
            let replica = replica.clone();
            tokio::spawn(async move { replica.wait_for(far).await })
        };
        tokio::time::sleep(Duration::from_millis(10)).await;
        replica.close().await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(store.head().get(), 200);
    });
}
