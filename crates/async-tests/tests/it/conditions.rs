//! Conditions of tasks' commits.

use crate::common::{store, tokio};
use filmstrip::{AppendError, Commit, ErrorKind, ExpectedVersion, Filter, NewEvent, Position};
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

fn tagged(tag: &str) -> NewEvent {
    NewEvent::bytes("Taken", "x").tag(tag)
}

fn taking(stream: String, tag: &str, after: Position) -> Commit {
    Commit::new()
        .append(stream, ExpectedVersion::Any, [tagged(tag)])
        .unless(Filter::tag(tag), after)
}

fn won<T>(result: Result<T, AppendError>) -> bool {
    match result {
        Ok(_) => true,
        Err(AppendError::Matched(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn of_tasks_and_threads_that_want_the_same_one_gets_it() {
    const SLOTS: u64 = 40;
    let store = store();
    let take =
        |slot: u64, by: u64| taking(format!("By-{by}"), &format!("slot:{slot}"), Position::START);
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let store = store.sync().clone();
            std::thread::spawn(move || {
                (0..SLOTS).filter(|slot| won(store.commit(take(*slot, thread)))).count()
            })
        })
        .collect();
    let its = store.clone();
    let by_tasks = tokio(async move {
        let tasks = (0..20 * SLOTS).map(|n| {
            let store = its.clone();
            tokio::spawn(async move { won(store.commit(take(n % SLOTS, 10 + n / SLOTS)).await) })
        });
        join_all(tasks).await.into_iter().filter(|won| *won.as_ref().unwrap()).count()
    });
    let by_threads: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!((by_tasks + by_threads) as u64, SLOTS);
    assert_eq!(store.head().get(), SLOTS);
}

#[test]
fn a_condition_of_a_task_is_refused_recognised_and_checked_like_any_other() {
    let store = store();
    tokio(async {
        let event = tagged("a");
        let commit = || {
            let append = Commit::new().append("A-1", ExpectedVersion::Any, [event.clone()]);
            append.unless(Filter::tag("a"), Position::START)
        };
        assert!(!store.commit(commit()).await.unwrap().already_recorded);
        assert!(store.commit(commit()).await.unwrap().already_recorded);
        let beyond = Commit::new().unless(Filter::tag("a"), Position::new(2));
        match store.commit(beyond).await {
            Err(AppendError::Store(error)) => {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains("position 2"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let check = Commit::new().unless(Filter::tag("a"), Position::new(1));
        assert_eq!(store.commit(check).await.unwrap().position, Position::new(1));
    });
}

/// An executor's threads are few, and wait for no disk: what is far back is read on the pool, and a commit that is
/// dropped meanwhile is not written.
#[test]
fn a_condition_that_begins_far_back_is_judged_on_the_pool() {
    let store = store();
    tokio(async {
        let events = (0..2_000).map(|n| NewEvent::bytes("Stepped", vec![n as u8; 30]));
        let head = store.append("A-1", ExpectedVersion::Any, events).await.unwrap().position;
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let blockers: Vec<_> = (0..64)
            .map(|_| {
                let held = Arc::clone(&held);
                tokio::spawn(store.run(move |_| held.lock().unwrap().recv().unwrap()))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let near = store.commit(taking("Near-1".into(), "near", head));
        assert!(won(near.await), "nothing is left to compare");
        let far = store.commit(taking("Far-1".into(), "far", Position::START));
        let ended = tokio::time::timeout(Duration::from_millis(50), far).await;
        assert!(ended.is_err(), "it did not wait for a thread of the pool");
        let far = tokio::spawn(store.commit(taking("Far-2".into(), "far", Position::START)));
        (0..64).for_each(|_| release.send(()).unwrap());
        for blocker in blockers {
            blocker.await.unwrap().unwrap();
        }
        assert!(won(far.await.unwrap()));
        assert_eq!(store.head().get(), head.get() + 2, "the one that was dropped was written");
    });
}
