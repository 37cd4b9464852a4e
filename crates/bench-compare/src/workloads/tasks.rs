//! The async API compared with the synchronous one: 10,000 tasks on two worker threads beside 64 threads and beside
//! `spawn_blocking`, one task beside one thread, a stream of everything beside the iterator. filmstrip alone: each
//! figure is a ratio, measured in turn on the same disk.

use super::{Run, figure, micros, quantile, sorted};
use crate::engine::CACHE_BYTES;
use crate::tables::{ASYNC, ASYNC_LOW};
use filmstrip::{ExpectedVersion, NewEvent, Store};
use futures_core::Stream;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const SPAN: Duration = Duration::from_millis(400);
const ROUNDS: usize = 12;
const THREADS: u64 = 64;
const TASKS: u64 = 10_000;
const WORKERS: usize = 2;
const PAYLOAD_BYTES: usize = 200;
const READS: usize = 5;

pub fn run(run: &Run<'_>) {
    let open = |name: &str| {
        let store = Store::builder().cache_bytes(CACHE_BYTES).open(run.directory.join(name));
        store.expect("a store")
    };
    many(&open("many"));
    one(&open("one"));
    streams(&open("streams"), run.events);
}

fn runtime() -> Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(WORKERS).build().expect("a runtime")
}

fn event() -> NewEvent {
    NewEvent::bytes("Happened", vec![7; PAYLOAD_BYTES])
}

fn stream(who: u64, nth: u64) -> String {
    format!("Stream-{who}-{}", nth / 20)
}

/// Threads of this process, and those of them that are the engine's.
fn engine_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    tasks
        .filter_map(|task| name(task.ok()?).ok())
        .filter(|name| name.starts_with("filmstrip"))
        .count()
}

/// Appends of all threads, per second.
fn by_threads(store: &Store) -> f64 {
    let began = Instant::now();
    let count = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let count = &count;
            scope.spawn(move || {
                let mut nth = 0;
                while began.elapsed() < SPAN {
                    let stream = stream(thread, nth);
                    store.append(stream, ExpectedVersion::Any, [event()]).expect("appended");
                    nth += 1;
                }
                count.fetch_add(nth, Ordering::Relaxed);
            });
        }
    });
    count.into_inner() as f64 / began.elapsed().as_secs_f64()
}

/// Appends of all tasks, per second, each of which repeats `append` until the time is over. The tasks are there before.
fn by_tasks<F, A>(append: impl Fn() -> A) -> f64
where
    A: Fn(u64, u64) -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let runtime = runtime();
    let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (append, over, count) = (append(), Arc::clone(&over), Arc::clone(&count));
            runtime.spawn(async move {
                let mut nth = 0;
                while !over.load(Ordering::Relaxed) {
                    append(task, nth).await;
                    nth += 1;
                }
                count.fetch_add(nth, Ordering::Relaxed);
            })
        })
        .collect();
    std::thread::sleep(SPAN);
    over.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("a task panicked");
        }
    });
    count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn many(store: &Store) {
    let idle = engine_threads();
    let most = AtomicU64::new(0);
    let aio = store.aio();
    let by_futures = || {
        let append = || {
            let aio = aio.clone();
            move |task, nth| {
                let append = aio.append(stream(task, nth), ExpectedVersion::Any, [event()]);
                async move { drop(append.await.expect("appended")) }
            }
        };
        std::thread::scope(|scope| {
            let watched = scope.spawn(|| {
                std::thread::sleep(SPAN / 2);
                engine_threads()
            });
            let rate = by_tasks(append);
            most.fetch_max(watched.join().expect("a count") as u64, Ordering::Relaxed);
            rate
        })
    };
    let by_spawn_blocking = || {
        by_tasks(|| {
            let store = store.clone();
            move |task, nth| {
                let store = store.clone();
                let append =
                    move || store.append(stream(task, nth), ExpectedVersion::Any, [event()]);
                async move {
                    let appended = tokio::task::spawn_blocking(append).await;
                    drop(appended.expect("no panic").expect("appended"));
                }
            }
        })
    };
    by_threads(store);
    let [mut threads, mut futures, mut blocking] = [const { Vec::new() }; 3];
    let (mut to_threads, mut to_blocking) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // What changes with time is on all sides as much.
        let before = by_threads(store);
        let tasks = by_futures();
        let spawned = by_spawn_blocking();
        let again = by_futures();
        let after = by_threads(store);
        to_threads.push((tasks + again) / (before + after));
        to_blocking.push((tasks + again) / (2.0 * spawned));
        threads.extend([before, after]);
        futures.extend([tasks, again]);
        blocking.push(spawned);
    }
    let median = |values| quantile(&sorted(values), 0.5);
    figure(&ASYNC, "appends of 64 threads, per second", median(threads));
    figure(&ASYNC, "appends of 10,000 tasks on 2 workers, per second", median(futures));
    figure(&ASYNC, "appends of 10,000 tasks by spawn_blocking, per second", median(blocking));
    figure(&ASYNC, "10,000 tasks / 64 threads (asked for: 0.9)", median(to_threads));
    figure(
        &ASYNC,
        "10,000 tasks / the same by spawn_blocking (asked for: 1.5)",
        median(to_blocking),
    );
    let more = most.into_inner() as f64 - idle as f64;
    let name = "threads of the engine beside 10,000 tasks, beyond those of an idle store (asked for: at most 4)";
    figure(&ASYNC_LOW, name, more);
}

/// How many microseconds each append took, at its median.
fn one(store: &Store) {
    let aio = store.aio();
    let runtime = runtime();
    let by_thread = |nth| {
        let began = Instant::now();
        store.append(stream(1, nth), ExpectedVersion::Any, [event()]).expect("appended");
        micros(began.elapsed())
    };
    let by_task = |nths: std::ops::Range<u64>| {
        let aio = aio.clone();
        let task = runtime.spawn(async move {
            let mut took = Vec::new();
            for nth in nths {
                let began = Instant::now();
                aio.append(stream(2, nth), ExpectedVersion::Any, [event()])
                    .await
                    .expect("appended");
                took.push(micros(began.elapsed()));
            }
            took
        });
        runtime.block_on(task).expect("no panic")
    };
    let (mut thread, mut task) = (Vec::new(), Vec::new());
    for round in 0..40 {
        let nths = round * 100..(round + 1) * 100;
        // A thread that is as new to the system as the task's: one that has worked for long before is made to wait.
        let by_thread = || nths.clone().map(by_thread).collect::<Vec<_>>();
        let of_thread = std::thread::scope(|scope| scope.spawn(by_thread).join());
        thread.extend(of_thread.expect("no panic"));
        task.extend(by_task(nths));
    }
    let (thread, task) = (sorted(thread), sorted(task));
    let (of_thread, of_task) = (quantile(&thread, 0.5), quantile(&task, 0.5));
    figure(&ASYNC_LOW, "an append of one thread, p50, microseconds", of_thread);
    figure(&ASYNC_LOW, "an append of one task, p50, microseconds", of_task);
    figure(&ASYNC_LOW, "the latter / the former (asked for: at most 1.3)", of_task / of_thread);
    let ratio = quantile(&task, 0.99) / quantile(&thread, 0.99);
    figure(&ASYNC_LOW, "the same at p99", ratio);
}

fn streams(store: &Store, events: u64) {
    let events = events.min(1_000_000) / 1_000 * 1_000;
    for commit in 0..events / 1_000 {
        let all = (0..1_000).map(|_| event());
        store.append(stream(3, 20 * commit), ExpectedVersion::Any, all).expect("appended");
    }
    let runtime = runtime();
    let rate = |began: Instant, count: u64| {
        assert_eq!(count, events, "events are missing");
        events as f64 / began.elapsed().as_secs_f64()
    };
    let by_iterator = || {
        let began = Instant::now();
        let read = store.read_all().iter().expect("a read");
        rate(began, read.map(|event| event.expect("an event")).fold(0, |count, _| count + 1))
    };
    let by_stream = || {
        let began = Instant::now();
        let read = store.read_all().stream();
        // As `for_each` of a stream does, and `fold` of an iterator.
        let count = runtime.block_on(runtime.spawn(async move {
            let (mut read, mut count) = (pin!(read), 0);
            let all = poll_fn(|context| {
                while let Some(event) = ready!(read.as_mut().poll_next(context)) {
                    event.expect("an event");
                    count += 1;
                }
                Poll::Ready(())
            });
            all.await;
            count
        }));
        rate(began, count.expect("no panic"))
    };
    by_iterator();
    let (mut iterators, mut all, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..READS {
        let (before, streamed, after) = (by_iterator(), by_stream(), by_iterator());
        ratios.push(2.0 * streamed / (before + after));
        iterators.extend([before, after]);
        all.push(streamed);
    }
    let median = |values| quantile(&sorted(values), 0.5);
    figure(&ASYNC, "events of read_all().iter(), per second", median(iterators));
    figure(&ASYNC, "events of read_all().stream(), per second", median(all));
    figure(&ASYNC, "the latter / the former (asked for: 0.8)", median(ratios));
}
