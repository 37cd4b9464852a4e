//! Closing while everything is under way: each future ends.

use crate::common::{Account, event, tokio};
use async_tests::Random;
use filmstrip::{AppendError, ErrorKind, ExpectedVersion, Store};
use futures_util::StreamExt;
use futures_util::future::join_all;
use std::time::Duration;

#[test]
fn every_future_ends_when_the_store_is_closed() {
    for seed in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::open(&path).unwrap().aio();
        let acknowledged: u64 = tokio(async move {
            let model = store.sync().read_model::<Nothing>().unwrap().aio();
            let appends = (0..50).map(|n| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut done = 0;
                    loop {
                        match store
                            .append(format!("Walk-{n}"), ExpectedVersion::Any, [event(n)])
                            .await
                        {
                            Ok(_) => done += 1,
                            Err(AppendError::Store(error)) if error.kind() == ErrorKind::Closed => {
                                break done;
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            });
            let appends: Vec<_> = appends.collect();
            let mut others = Vec::new();
            let mut subscription = store.subscribe().category("None").into_stream().unwrap();
            others.push(tokio::spawn(async move { assert!(subscription.next().await.is_none()) }));
            let its = store.clone();
            others.push(tokio::spawn(async move {
                let accounts = its.repository::<Account>();
                while accounts.execute("a", 1).await.is_ok() {}
            }));
            let its = store.clone();
            others.push(tokio::spawn(async move {
                while its
                    .read_all()
                    .stream()
                    .take(300)
                    .all(|event| async move { event.is_ok() })
                    .await
                {
                    if its.tracked("x").await.is_err() {
                        break;
                    }
                }
            }));
            let far = filmstrip::Position::new(1 << 40);
            others.push(tokio::spawn(async move {
                assert_eq!(model.wait_for(far).await.unwrap_err().kind(), ErrorKind::Closed);
            }));
            let group = store.subscribe().category("None").group("g").into_stream().await.unwrap();
            others.push(tokio::spawn(async move { assert!({ group }.next().await.is_none()) }));
            tokio::time::sleep(Duration::from_millis(1 + Random::new(seed).below(20))).await;
            store.clone().close().await.unwrap();
            for other in others {
                other.await.unwrap();
            }
            join_all(appends).await.into_iter().map(Result::unwrap).sum()
        });
        let store = Store::open(&path).unwrap();
        let found = store.read_all().collect().unwrap();
        let found = found.iter().filter(|event| event.stream.category() == "Walk").count() as u64;
        assert_eq!(found, acknowledged, "seed {seed}");
    }
}

#[test]
fn a_dropped_closing_closes_the_store_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap().aio();
    let watched = store.clone();
    tokio(async move {
        let mut close = Box::pin(store.close());
        std::future::poll_fn(|context| {
            assert!(close.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    });
    let begun = std::time::Instant::now();
    while async_tests::block_on(watched.tracked("x")).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is still open");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[derive(Default)]
struct Nothing;

impl filmstrip::projection::ReadModel for Nothing {
    fn filter() -> filmstrip::Filter {
        filmstrip::Filter::all()
    }

    fn apply(&mut self, _: &filmstrip::RecordedEvent) -> Result<(), filmstrip::HandlerError> {
        Ok(())
    }
}

#[test]
fn dropping_the_last_handle_closes_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    for n in 0..3 {
        let store = Store::open(&path).unwrap().aio();
        let append = store.append("Walk-1", ExpectedVersion::Any, [event(n)]);
        drop(store);
        async_tests::block_on(append).unwrap();
    }
    drop(super::common::store());
}
