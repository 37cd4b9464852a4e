//! Commits of tasks, alone and beside those of threads.

use crate::common::{event, store, tokio};
use filmstrip::{AppendError, Commit, ErrorKind, ExpectedVersion, NewEvent, Version};
use futures_util::future::join_all;

#[test]
fn thousands_of_tasks_and_some_threads_append_and_each_is_told_its_own_place() {
    let store = store();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let store = store.sync().clone();
            std::thread::spawn(move || {
                for n in 1..=100 {
                    let done =
                        store.append(format!("Thread-{thread}"), Version::new(n - 1), [event(n)]);
                    assert_eq!(done.unwrap().version.get(), n);
                }
            })
        })
        .collect();
    let its = store.clone();
    tokio(async move {
        let tasks = (0..2_000_u64).map(|task| {
            let store = its.clone();
            tokio::spawn(async move {
                for n in 1..=3 {
                    let done =
                        store.append(format!("Task-{task}"), Version::new(n - 1), [event(n)]);
                    assert_eq!(done.await.unwrap().version.get(), n);
                }
            })
        });
        join_all(tasks).await.into_iter().for_each(|task| task.unwrap());
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(store.head().get(), 4 * 100 + 3 * 2_000);
    assert!(store.sync().verify().unwrap().findings.is_empty());
}

#[test]
fn a_commit_of_a_task_is_whole() {
    let store = store();
    tokio(async {
        let transfer = Commit::new()
            .append("Account-a", ExpectedVersion::NoStream, [event(1)])
            .append("Account-b", ExpectedVersion::NoStream, [event(2)]);
        let done = store.commit(transfer).await.unwrap();
        assert_eq!((done.appended.len(), done.position.get()), (2, 2));
        let conflict = Commit::new()
            .append("Account-c", ExpectedVersion::NoStream, [event(3)])
            .check("Account-a", ExpectedVersion::NoStream);
        assert!(matches!(store.commit(conflict).await, Err(AppendError::Conflict(_))));
        let kind = store.stream_info("Account-c").await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::StreamNotFound);
        let empty = store.append("Account-d", ExpectedVersion::Any, []).await.unwrap_err();
        assert!(
            matches!(empty, AppendError::Store(error) if error.kind() == ErrorKind::InvalidInput)
        );
    });
}

/// More than the queue takes: those that find no room wait in line, without a thread, and nobody is lost.
#[test]
fn commits_beyond_what_the_queue_takes_wait_in_line() {
    let store = store();
    let its = store.clone();
    tokio(async move {
        let large = || NewEvent::bytes("Large", vec![7; 15 << 20]);
        let appends =
            (0..24).map(|n| its.append(format!("Large-{n}"), ExpectedVersion::NoStream, [large()]));
        for done in join_all(appends).await {
            done.unwrap();
        }
    });
    assert_eq!(store.head().get(), 24);
}
