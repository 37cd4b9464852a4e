//! Streams as they are in life: a few that are hot and long, many that are short.

use super::{Run, append, figure};
use crate::engine::Opened;
use crate::payload::{Random, Zipf, payload};
use crate::tables::ZIPF;
use std::time::Instant;

const EVENTS_MAX: u64 = 500_000;
/// On average.
const STREAM_EVENTS: u64 = 20;
const COMMIT_EVENTS: u64 = 100;
const HOTTEST_LOADS: u64 = 10;
const LOADS: u64 = 20_000;

pub fn run(run: &Run<'_>) {
    let events = run.events.min(EVENTS_MAX);
    let opened = run.engine.open(&run.directory.join("zipf"));
    let mut versions = vec![0; (events / STREAM_EVENTS) as usize];
    let began = Instant::now();
    write(&*opened, events, &mut versions);
    let rate = events as f64 / began.elapsed().as_secs_f64();
    figure(&ZIPF, "Zipf, 100 per commit, acknowledged", rate);

    let hottest = vec![0; HOTTEST_LOADS as usize];
    figure(&ZIPF, "Zipf, load the hottest stream", load(&*opened, &versions, &hottest));
    let mut random = Random::new();
    let drawn = (0..LOADS.min(events)).map(|_| random.below(versions.len() as u64));
    let drawn: Vec<u64> = drawn.filter(|stream| versions[*stream as usize] > 0).collect();
    figure(&ZIPF, "Zipf, load streams at random", load(&*opened, &versions, &drawn));
    let mut count = 0;
    opened.read_all(&mut |_| count += 1);
    assert_eq!(count, events, "events that were committed are not there");
    opened.close();
}

fn write(opened: &dyn Opened, events: u64, versions: &mut [u64]) {
    let mut draws = Zipf::new(versions.len() as u64);
    for first in (0..events).step_by(COMMIT_EVENTS as usize) {
        let event = |_| {
            let stream = draws.next();
            let version = &mut versions[stream as usize];
            *version += 1;
            (stream, payload(stream, *version - 1))
        };
        let numbers = first..events.min(first + COMMIT_EVENTS);
        append(opened, &numbers.map(event).collect::<Vec<_>>());
    }
}

/// Reads these streams, and tells how many events a second that were.
fn load(opened: &dyn Opened, versions: &[u64], streams: &[u64]) -> f64 {
    let mut events = 0;
    let began = Instant::now();
    for stream in streams {
        let mut nth = 0;
        opened.read_stream(*stream, &mut |read| {
            // Comparing all of them would time the comparison.
            if nth % 100 == 0 {
                assert_eq!(read, payload(*stream, nth), "stream {stream}");
            }
            nth += 1;
        });
        assert_eq!(nth, versions[*stream as usize], "stream {stream}");
        events += nth;
    }
    events as f64 / began.elapsed().as_secs_f64()
}
