//! Payloads of 64 bytes, 1 KiB and 64 KiB.

use super::{Run, append, figure};
use crate::engine::Engine;
use crate::payload::payload_of;
use crate::system::disk_bytes;
use crate::tables::{PAYLOADS, PAYLOADS_BYTES, PAYLOADS_DISK};
use std::path::Path;
use std::time::{Duration, Instant};

const COMMIT_EVENTS: u64 = 10;
const STREAM_EVENTS: u64 = 100;

struct Case {
    name: &'static str,
    bytes: usize,
    /// At most; and one for so many of a long workload.
    events_max: u64,
    every: u64,
}

const CASES: [Case; 3] = [
    Case { name: "64 B", bytes: 64, events_max: 200_000, every: 1 },
    Case { name: "1 KiB", bytes: 1 << 10, events_max: 100_000, every: 1 },
    Case { name: "64 KiB", bytes: 64 << 10, events_max: 4_000, every: 25 },
];

pub fn run(run: &Run<'_>) {
    for case in CASES {
        // Whole streams.
        let events = (run.events / case.every).min(case.events_max).next_multiple_of(STREAM_EVENTS);
        let store = run.directory.join(format!("payloads-{}", case.bytes));
        let took = write(run.engine, &store, &case, events).as_secs_f64();
        let bytes = (events * case.bytes as u64) as f64;
        figure(&PAYLOADS, case.name, events as f64 / took);
        figure(&PAYLOADS_BYTES, &format!("{}, MB/s", case.name), bytes / took / 1e6);
        let name = format!("{}, disk / payload", case.name);
        figure(&PAYLOADS_DISK, &name, disk_bytes(&store) as f64 / bytes);
        if run.engine.reads() {
            check(run.engine, &store, &case, events);
        }
    }
}

/// Writes and closes; how long it took until all was acknowledged.
fn write(engine: &dyn Engine, store: &Path, case: &Case, events: u64) -> Duration {
    let opened = engine.open(store);
    let began = Instant::now();
    for first in (0..events).step_by(COMMIT_EVENTS as usize) {
        let numbers = first..first + COMMIT_EVENTS;
        append(&*opened, &numbers.map(|n| event(case, n)).collect::<Vec<_>>());
    }
    let took = began.elapsed();
    opened.close();
    took
}

fn event(case: &Case, n: u64) -> (u64, Vec<u8>) {
    let stream = n / STREAM_EVENTS;
    (stream, payload_of(case.bytes, stream, n % STREAM_EVENTS))
}

fn check(engine: &dyn Engine, store: &Path, case: &Case, events: u64) {
    let opened = engine.open(store);
    let mut n = 0;
    opened.read_all(&mut |read| {
        assert!(read == event(case, n).1, "event {n} of {} is another one", case.name);
        n += 1;
    });
    assert_eq!(n, events, "events that were committed are not there");
    opened.close();
}
