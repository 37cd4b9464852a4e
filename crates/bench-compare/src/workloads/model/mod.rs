//! The model while much goes on: a process that gives commands beside writers, subscriptions that want nothing, pages
//! of large views, parked events, a view of hot keys, transactions on a hot stream. filmstrip alone: each figure is a
//! rate that was asked for, or a ratio to another way or another size, measured in turn on the same disk.

mod hot;
mod idle;
mod pages;
mod parked;
mod past;
mod process;
mod rows;
mod transact;

use super::{Run, micros};
use crate::engine::CACHE_BYTES;
use filmstrip::{ExpectedVersion, NewEvent, Store};
use std::time::{Duration, Instant};

/// For everything that ends.
const LONG: Duration = Duration::from_secs(600);
const WRITERS: u64 = 64;

pub fn run(run: &Run<'_>) {
    let open = |name: &str| {
        let store = Store::builder().cache_bytes(CACHE_BYTES).open(run.directory.join(name));
        store.expect("a store")
    };
    process::run(&open);
    idle::run(&open("idle"));
    pages::run(&open);
    pages::by_index(&open("indexed-view"));
    past::run(&open("past"));
    parked::run(&open("parked"));
    hot::run(&open("hot"));
    transact::run(&open);
}

/// Threads that do something again and again for a time, and how many microseconds each turn of theirs took. The work
/// is told the number of the thread, and how often it was done there before.
fn repeat(threads: u64, span: Duration, work: impl Fn(u64, u64) + Sync) -> Vec<f64> {
    let (began, work) = (Instant::now(), &work);
    let turns = |thread| {
        let mut took = Vec::new();
        while began.elapsed() < span {
            let turn = Instant::now();
            work(thread, took.len() as u64);
            took.push(micros(turn.elapsed()));
        }
        took
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || turns(n))).collect();
        threads.into_iter().flat_map(|t| t.join().expect("a thread panicked")).collect()
    })
}

/// The same events from each of the writers, to streams of its own.
fn write(store: &Store, writer: u64, nth: u64) {
    append(store, &format!("Noise-{writer}-{}", nth % 100), nth);
}

fn append(store: &Store, stream: &str, number: u64) {
    let event = NewEvent::json("Happened", &number).expect("an event");
    store.append(stream, ExpectedVersion::Any, [event]).expect("appended");
}

/// So many events of so many numbers, 1,000 in each commit.
fn append_many(store: &Store, events: u64, numbers: u64) {
    for commit in 0..events / 1_000 {
        let event = |n| NewEvent::json("Happened", &((commit * 1_000 + n) % numbers));
        let events = (0..1_000).map(|n| event(n).expect("an event"));
        store
            .append(format!("Sale-{}", commit % 50), ExpectedVersion::Any, events)
            .expect("appended");
    }
}
