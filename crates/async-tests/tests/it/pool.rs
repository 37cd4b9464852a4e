//! What runs on the pool.

use crate::common::{Account, PANIC, store, tokio};
use async_tests::block_on;
use filmstrip::ErrorKind;
use filmstrip::repository::ExecuteError;
use futures_util::future::join_all;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

#[test]
fn a_panic_in_the_applications_code_is_an_error() {
    let store = store();
    tokio(async {
        let accounts = store.repository::<Account>();
        for _ in 0..200 {
            match accounts.execute("a", PANIC).await {
                Err(ExecuteError::Store(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Panicked);
                    assert!(error.to_string().contains("this command is not decided"), "{error}");
                }
                other => panic!("{:?}", other.map(|_| ())),
            }
        }
        accounts.execute("a", 1).await.unwrap();
        let panicked = store.run(|_| panic!("worse")).await;
        let panicked: filmstrip::Result<()> = panicked;
        assert_eq!(panicked.unwrap_err().kind(), ErrorKind::Panicked);
    });
}

#[test]
fn the_pool_has_at_most_64_threads_and_does_everything() {
    let store = store();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    tokio(async {
        let work = (0..500).map(|n| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            store.run(move |_| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(2));
                now.fetch_sub(1, Ordering::SeqCst);
                n
            })
        });
        let done: Vec<u64> = join_all(work).await.into_iter().map(Result::unwrap).collect();
        assert!(done.into_iter().eq(0..500));
    });
    let most = most.load(Ordering::SeqCst);
    assert!((2..=64).contains(&most), "{most} at once");
}

#[test]
fn work_that_is_dropped_before_its_turn_is_not_done() {
    let store = store();
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let done = Arc::new(AtomicUsize::new(0));
    tokio(async {
        let blockers: Vec<_> = (0..64)
            .map(|_| {
                let held = Arc::clone(&held);
                tokio::spawn(store.run(move |_| held.lock().unwrap().recv().unwrap()))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let its = Arc::clone(&done);
        let waiting = store.run(move |_| its.fetch_add(1, Ordering::SeqCst));
        let ended = tokio::time::timeout(Duration::from_millis(20), waiting).await;
        assert!(ended.is_err(), "all threads are taken");
        assert_eq!(Arc::strong_count(&done), 1, "its work is still held");
        (0..64).for_each(|_| release.send(()).unwrap());
        for blocker in blockers {
            blocker.await.unwrap().unwrap();
        }
        store.run(|_| ()).await.unwrap();
    });
    assert_eq!(done.load(Ordering::SeqCst), 0);
}

/// Else all threads of the pool could wait for each other.
#[test]
fn work_on_the_pool_may_wait_for_work_on_the_pool() {
    let store = store();
    tokio(async {
        let work = (0..200).map(|_| {
            let its = store.clone();
            store.run(move |_| block_on(its.repository::<Account>().execute("a", 1)).is_ok())
        });
        assert!(join_all(work).await.into_iter().all(|done| done.unwrap()));
        assert_eq!(store.repository::<Account>().load("a").await.unwrap().state.balance, 200);
    });
}
