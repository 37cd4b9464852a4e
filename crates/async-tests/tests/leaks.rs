//! What is dropped leaves nothing behind: no thread, no descriptor, no memory. A process of its own, because others
//! have threads and descriptors, too.

use async_tests::{Counted, Random, first_seed, poll_once};
use filmstrip::{ExpectedVersion, NewEvent, Store};
use futures_util::StreamExt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

fn count(directory: &str) -> usize {
    std::fs::read_dir(directory).expect("Linux").count()
}

fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a figure");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Opens a store, begins a hundred things, drops each after some polls, and closes it.
fn round(random: &mut Random) {
    let store = Store::temporary().expect("a store").aio();
    let event = || NewEvent::bytes("Stepped", vec![1; 10_000]);
    let counted = Arc::new(Counted::default());
    let waker = Waker::from(Arc::clone(&counted));
    let mut futures: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
    for n in 0..100 {
        let its = store.clone();
        futures.push(match random.below(6) {
            0 => Box::pin(async move { drop(its.stream_info("Walk-1").await) }),
            1 => Box::pin(
                async move { its.read_all().stream().take(100).for_each(async |_| ()).await },
            ),
            2 => Box::pin(async move {
                let mut live = its.subscribe().into_stream().expect("a subscription");
                while live.next().await.is_some() {}
            }),
            3 => Box::pin(async move { drop(its.run(|_| std::thread::yield_now()).await) }),
            _ => {
                let append = its.append(format!("Walk-{}", n % 3), ExpectedVersion::Any, [event()]);
                Box::pin(async move { drop(append.await) })
            }
        });
    }
    for _ in 0..200 {
        let at = random.below(futures.len() as u64) as usize;
        if poll_once(futures[at].as_mut(), &waker).is_ready() || random.below(4) == 0 {
            futures[at] = Box::pin(std::future::pending());
        }
    }
    drop(futures);
    async_tests::block_on(store.close()).expect("closed");
    let begun = Instant::now();
    drop(waker);
    while Arc::strong_count(&counted) > 1 {
        assert!(begun.elapsed() < Duration::from_secs(10), "a waker is held");
        std::thread::yield_now();
    }
}

/// How many threads and descriptors this process has, once that has not changed for a while: a thread that was joined
/// is gone from the list a moment later, and on a busy machine that moment is long.
fn settled() -> (usize, usize) {
    let figures = || (count("/proc/self/task"), count("/proc/self/fd"));
    let (mut last, mut since) = (figures(), Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(Duration::from_millis(5));
        let now = figures();
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

#[test]
fn what_is_dropped_leaves_no_thread_no_descriptor_and_no_memory() {
    let seed = first_seed();
    println!("FILMSTRIP_SEED={seed}");
    let mut random = Random::new(seed);
    (0..10).for_each(|_| round(&mut random));
    let (before, resident) = (settled(), resident_kib());
    (0..60).for_each(|_| round(&mut random));
    assert_eq!(settled(), before, "threads and descriptors");
    let grown = resident_kib() - resident;
    assert!(grown < 32 << 10, "{grown} KiB more");
}
