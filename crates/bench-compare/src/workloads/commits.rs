//! One writer, then several, for a short time each.

use super::{Run, append, figure, micros, quantile, sorted};
use crate::engine::Opened;
use crate::payload::{PAYLOAD_BYTES, payload};
use crate::tables::{WRITERS, WRITERS_P50, WRITERS_P99};
use std::sync::Barrier;
use std::time::{Duration, Instant};

const SPAN: Duration = Duration::from_millis(1_500);
const STREAM_EVENTS: u64 = 20;
/// Writers, and events in each of their commits.
const CASES: [(u64, u64); 5] = [(1, 1), (4, 1), (16, 1), (64, 1), (64, 64)];

pub fn run(run: &Run<'_>) {
    for (writers, each) in CASES {
        let opened = run.engine.open(&run.directory.join(format!("commits-{writers}-{each}")));
        let took = write_all(&*opened, writers, each);
        report(writers, each, &took);
        if run.engine.reads() {
            check_count(&*opened, took.len() as u64 * each);
        }
        opened.close();
    }
}

/// How long each commit of each writer took.
fn write_all(opened: &dyn Opened, writers: u64, each: u64) -> Vec<f64> {
    let barrier = Barrier::new(writers as usize);
    std::thread::scope(|scope| {
        let write = |writer| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                write_for(opened, writer, each)
            })
        };
        let threads: Vec<_> = (1..=writers).map(write).collect();
        threads.into_iter().flat_map(|t| t.join().expect("a writer panicked")).collect()
    })
}

/// Commits until the time is over; how many microseconds each took.
fn write_for(opened: &dyn Opened, writer: u64, each: u64) -> Vec<f64> {
    let began = Instant::now();
    let mut took = Vec::new();
    let mut nth = 0;
    while began.elapsed() < SPAN {
        let stream = writer << 32 | (nth / STREAM_EVENTS);
        let payloads: Vec<_> =
            (nth..nth + each).map(|nth| (stream, payload(stream, nth))).collect();
        let commit = Instant::now();
        append(opened, &payloads);
        took.push(micros(commit.elapsed()));
        nth += each;
    }
    took
}

fn report(writers: u64, each: u64, took: &[f64]) {
    let plural = if writers == 1 { "" } else { "s" };
    let name = format!("{writers} writer{plural}, {each} per commit");
    let took = sorted(took.to_vec());
    figure(&WRITERS, &name, (took.len() as u64 * each) as f64 / SPAN.as_secs_f64());
    figure(&WRITERS_P50, &format!("{name}, p50"), quantile(&took, 0.5));
    figure(&WRITERS_P99, &format!("{name}, p99"), quantile(&took, 0.99));
}

fn check_count(opened: &dyn Opened, expected: u64) {
    let mut count = 0;
    opened.read_all(&mut |payload| {
        assert_eq!(payload.len(), PAYLOAD_BYTES);
        count += 1;
    });
    assert_eq!(count, expected, "events that were committed are not there");
}
