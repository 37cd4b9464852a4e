//! Futures dropped at any moment.

use crate::common::{Account, event, store, tokio};
use async_tests::{Counted, Random, first_seed, poll_once};
use filmstrip::aio::{Appending, Store};
use filmstrip::{ExpectedVersion, Metadata, NewEvent};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

const SCHEDULES: u64 = 10_000;
/// So many run at the same time, in one store.
const THREADS: u64 = 8;
/// Events of one append: a commit that is there in part would show.
const EVENTS: u64 = 3;

struct Task {
    append: Option<Pin<Box<Appending>>>,
    counted: Arc<Counted>,
    waker: Waker,
    stream: String,
    /// Whether it was acknowledged; `None` if it was dropped.
    done: Option<bool>,
}

impl Task {
    fn new(store: &Store, stream: String, bytes: usize) -> Task {
        let counted = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&counted));
        let events = (0..EVENTS).map(|_| NewEvent::bytes("Stepped", vec![0; bytes]));
        let append = Box::pin(store.append(stream.as_str(), ExpectedVersion::NoStream, events));
        Task { append: Some(append), counted, waker, stream, done: None }
    }

    /// Polls it; whether it has ended.
    fn poll(&mut self) -> bool {
        let Some(append) = &mut self.append else { return true };
        match poll_once(append.as_mut(), &self.waker) {
            Poll::Pending => false,
            Poll::Ready(appended) => {
                self.done = Some(appended.is_ok());
                self.append = None;
                true
            }
        }
    }
}

/// One schedule: some tasks begin, are polled, and are dropped, as the numbers say; those that are left are awaited.
fn schedule(store: &Store, seed: u64, is_line_used: bool) -> Vec<Task> {
    let mut random = Random::new(seed);
    let count = 1 + random.below(5);
    // Two of them do not fit the queue together.
    let bytes = if is_line_used { 15 << 20 } else { 10 };
    let new = |n| Task::new(store, format!("Walk-{seed}x{n}"), bytes);
    let mut tasks: Vec<_> = (0..count).map(new).collect();
    for _ in 0..random.below(4 * count) {
        let at = random.below(count) as usize;
        match random.below(4) {
            0 => tasks[at].append = None,
            1 => std::thread::yield_now(),
            _ => drop(tasks[at].poll()),
        }
    }
    for task in &mut tasks {
        while !task.poll() {
            let begun = std::time::Instant::now();
            while task.counted.take() == 0 {
                assert!(
                    begun.elapsed() < Duration::from_secs(30),
                    "seed {seed}: a wake-up was lost"
                );
                std::thread::sleep(Duration::from_micros(20));
            }
        }
    }
    tasks
}

/// What was acknowledged is there; what was dropped is there whole or not at all; nothing holds a task any more.
fn check(store: &Store, tasks: &[Task], seen: &HashMap<String, u64>) {
    for task in tasks {
        let found = seen.get(&task.stream).copied().unwrap_or(0);
        match task.done {
            Some(true) => assert_eq!(found, EVENTS, "{} was acknowledged", task.stream),
            Some(false) => panic!("{} failed", task.stream),
            None => assert!([0, EVENTS].contains(&found), "{} is there in part", task.stream),
        }
        // Another commit is answered after all that were queued before it.
        assert_eq!(Arc::strong_count(&task.counted), 2, "{} is held by somebody", task.stream);
    }
    assert!(store.sync().verify().expect("a verification").findings.is_empty());
}

fn seen(store: &Store) -> HashMap<String, u64> {
    let mut seen = HashMap::new();
    for event in store.sync().read_all().iter().expect("a read") {
        *seen.entry(event.expect("an event").stream.to_string()).or_default() += 1;
    }
    seen
}

#[test]
fn in_ten_thousand_schedules_a_dropped_append_is_there_whole_or_not_at_all() {
    let (store, first) = (store(), first_seed());
    println!("FILMSTRIP_SEED={first}");
    let tasks: Vec<Task> = std::thread::scope(|scope| {
        let each = SCHEDULES / THREADS;
        let begun: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (store, first) = (&store, first + thread * each);
                let schedules = first..first + each;
                scope.spawn(move || {
                    schedules.flat_map(|seed| schedule(store, seed, false)).collect::<Vec<_>>()
                })
            })
            .collect();
        begun.into_iter().flat_map(|begun| begun.join().expect("a schedule")).collect()
    });
    // What was queued is written by now.
    store.sync().append("End-1", ExpectedVersion::Any, [event(0)]).expect("an append");
    let dropped = tasks.iter().filter(|task| task.done.is_none()).count();
    assert!(dropped > tasks.len() / 10 && dropped < tasks.len(), "{dropped} of {}", tasks.len());
    check(&store, &tasks, &seen(&store));
}

#[test]
fn a_dropped_append_that_waits_in_line_leaves_the_line() {
    let (store, first) = (store(), first_seed());
    println!("FILMSTRIP_SEED={first}");
    let mut tasks = Vec::new();
    for seed in first..first + 4 {
        tasks.extend(schedule(&store, seed, true));
    }
    store.sync().append("End-1", ExpectedVersion::Any, [event(0)]).expect("an append");
    check(&store, &tasks, &seen(&store));
}

/// Polls a future so many times and drops it. Whether it ended before.
async fn dropped_after<F: Future>(future: F, polls: u64) -> bool {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let mut ended = false;
        let once = std::future::poll_fn(|context| {
            ended = future.as_mut().poll(context).is_ready();
            Poll::Ready(())
        });
        once.await;
        if ended {
            return true;
        }
        tokio::time::sleep(Duration::from_micros(100 * polls)).await;
    }
    false
}

#[test]
fn a_dropped_command_is_executed_as_a_whole_or_not_at_all_and_can_be_sent_again() {
    let store = store();
    tokio(async {
        let accounts = store.repository::<Account>();
        let mut random = Random::new(first_seed());
        for n in 0..300 {
            let metadata = Metadata::default().command_id(uuid::Uuid::new_v4());
            let id = format!("a{}", n % 7);
            let execute = |metadata| accounts.execute_with(id.clone(), 1, metadata);
            dropped_after(execute(metadata.clone()), random.below(4)).await;
            execute(metadata).await.unwrap();
        }
        let mut total = 0;
        for n in 0..7 {
            let loaded = accounts.load(format!("a{n}")).await.unwrap();
            total += loaded.state.balance;
        }
        assert_eq!(total, 300, "a command was executed twice, or not");
    });
}

#[test]
fn a_dropped_transaction_is_whole_or_not_at_all() {
    let store = store();
    tokio(async {
        let accounts = store.repository::<Account>();
        accounts.execute("from", 1_000).await.unwrap();
        let mut random = Random::new(first_seed());
        for _ in 0..100 {
            let transfer = store.transact(Default::default(), |tx| -> filmstrip::Result<()> {
                tx.execute::<Account>("to", &1)?;
                tx.execute::<Account>("from", &-1)?;
                Ok(())
            });
            dropped_after(transfer, random.below(4)).await;
        }
        // Some may still be under way; at each head, the two agree.
        for _ in 0..10 {
            let head = store.head();
            let from = accounts.load_as_of("from", head).await.unwrap();
            let to = accounts.load_as_of("to", head).await.unwrap();
            assert_eq!(from.state.balance + to.state.balance, 1_000, "a transfer is there by half");
        }
    });
}

#[test]
fn a_dropped_subscription_is_continued_from_its_position() {
    let store = store();
    tokio(async {
        let (mut position, mut seen) = (filmstrip::Position::START, Vec::new());
        let its = store.clone();
        let writer = tokio::spawn(async move {
            for n in 0..500 {
                its.append("Walk-1", ExpectedVersion::Any, [event(n)]).await.unwrap();
            }
        });
        let mut random = Random::new(first_seed());
        while seen.len() < 500 {
            let mut stream = store.subscribe().after(position).buffer(8).into_stream().unwrap();
            for _ in 0..random.below(20) {
                let next = tokio::time::timeout(Duration::from_millis(2), stream.next());
                if let Ok(Some(event)) = next.await {
                    seen.push(event.unwrap().position.get());
                }
            }
            position = stream.position();
        }
        writer.await.unwrap();
        assert!(seen.iter().copied().eq(1..=500), "an event is missing, or came twice");
    });
}
