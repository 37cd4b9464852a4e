//! One writer, 100 events per commit, 20 in each stream in the worst order: in turn. Then opening
//! again, and reading, warm and cold; then a writer that is killed. And five times as many, without
//! the reading.

use super::kill::{COMMIT_EVENTS, killed_writer};
use super::{Run, append, figure, millis};
use crate::engine::{Engine, Opened};
use crate::figures::show;
use crate::payload::{PAYLOAD_BYTES, payload};
use crate::system::{anonymous_memory, disk_bytes, drop_page_cache, peak_memory, read_files};
use crate::tables::{
    BULK, GROWTH, LARGE, LARGE_GROWTH, LARGE_OPENING, LARGE_SPACE, OPENING, READING, SPACE,
    STREAMS, Table,
};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

/// What every engine has between the first reads and the warm ones, for what it still does by itself.
pub const SETTLING: Duration = Duration::from_secs(3);
pub const STREAM_EVENTS: u64 = 20;
const BURST_EVENTS: u64 = 200_000;
pub const STREAMS_LOADED: u64 = 20_000;
pub const STREAMS_LOADED_COLD: u64 = 2_000;
const MILLION: u64 = 1_000_000;
/// How many times as many events the large workload has.
const LARGE_TIMES: u64 = 5;

/// Where the figures of a workload go.
struct Tables {
    rates: &'static Table,
    space: &'static Table,
    growth: &'static Table,
    opening: &'static Table,
}

const MANY: Tables = Tables { rates: &BULK, space: &SPACE, growth: &GROWTH, opening: &OPENING };
const MORE: Tables =
    Tables { rates: &LARGE, space: &LARGE_SPACE, growth: &LARGE_GROWTH, opening: &LARGE_OPENING };

/// The events of this workload: `events` of so many streams, which take turns.
#[derive(Clone, Copy)]
pub struct Film {
    pub events: u64,
    pub streams: u64,
}

impl Film {
    pub fn new(events: u64) -> Film {
        // Whole streams, and whole commits of the same version in each.
        assert!(events.is_multiple_of(2_000), "{events} events; a multiple of 2000 is allowed");
        Film { events, streams: events / STREAM_EVENTS }
    }

    pub fn write(self, opened: &dyn Opened, numbers: Range<u64>) {
        let commit = |first| (first..numbers.end.min(first + 100)).map(|n| self.event(n)).collect();
        for first in numbers.clone().step_by(100) {
            let payloads: Vec<_> = commit(first);
            append(opened, &payloads);
        }
    }

    /// The stream and the payload of an event, counted from 0.
    pub fn event(self, n: u64) -> (u64, Vec<u8>) {
        let (stream, nth) = (n % self.streams, n / self.streams);
        (stream, payload(stream, nth))
    }

    pub fn read_all(self, opened: &dyn Opened) {
        let mut n = 0;
        opened.read_all(&mut |read| {
            // Comparing all of them would time the comparison.
            if n % 1_000 == 0 {
                assert_eq!(read, self.event(n).1, "event {n}");
            }
            n += 1;
        });
        assert_eq!(n, self.events, "events that were committed are not there");
    }

    /// Reads so many streams, far apart, and tells how many events a second that were.
    fn read_streams(self, opened: &dyn Opened, loads: u64) -> f64 {
        let loads = loads.min(self.streams);
        let began = Instant::now();
        for n in 0..loads {
            let stream = n * 7_919 % self.streams;
            let mut nth = 0;
            opened.read_stream(stream, &mut |read| {
                if n % 100 == 0 {
                    assert_eq!(read, payload(stream, nth), "stream {stream}");
                }
                nth += 1;
            });
            assert_eq!(nth, STREAM_EVENTS, "stream {stream}");
        }
        (loads * STREAM_EVENTS) as f64 / began.elapsed().as_secs_f64()
    }
}

pub fn run(run: &Run<'_>) {
    let store = run.directory.join("bulk");
    let film = Film::new(run.events);
    write(film, run.engine, &store, &MANY);
    if run.engine.reads() {
        warm(film, run.engine, &store);
        cold(film, run.engine, &store);
        after_a_kill(film, run.engine, &store, &MANY);
    }
}

pub fn run_large(run: &Run<'_>) {
    let store = run.directory.join("large");
    let film = Film::new(LARGE_TIMES * run.events);
    write(film, run.engine, &store, &MORE);
    if run.engine.reads() {
        let opened = open(run.engine, &store, &MORE, "open, ms");
        film.read_all(&*opened);
        opened.close();
        if drop_page_cache() {
            open(run.engine, &store, &MORE, "open cold, ms").close();
        }
        after_a_kill(film, run.engine, &store, &MORE);
    }
}

fn write(film: Film, engine: &dyn Engine, store: &Path, tables: &Tables) {
    let opened = engine.open(store);
    let events = film.events;
    let burst = events.min(BURST_EVENTS);
    let began = Instant::now();
    let rate = |events| events as f64 / began.elapsed().as_secs_f64();
    film.write(&*opened, 0..burst);
    figure(tables.rates, "100 per commit, the first 200,000", rate(burst));
    let memory = write_in_steps(film, &*opened, burst);
    figure(tables.rates, "100 per commit, acknowledged", rate(events));
    opened.close();
    figure(tables.rates, "100 per commit, indexed and closed", rate(events));
    report_growth(&memory, tables.growth);
    figure(tables.space, "memory while writing, MiB", peak_memory());
    let payload = (events * PAYLOAD_BYTES as u64) as f64;
    figure(tables.space, "disk / payload", disk_bytes(store) as f64 / payload);
}

/// Writes the rest; how many MiB of memory the process had at each quarter, or of two millions at each.
fn write_in_steps(film: Film, opened: &dyn Opened, from: u64) -> Vec<(u64, f64)> {
    let step = if film.events == 2 * MILLION { MILLION } else { film.events / 4 };
    let mut memory = Vec::new();
    let mut written = from;
    for end in (1..).map(|n| n * step).take_while(|end| *end <= film.events) {
        film.write(opened, written.min(end)..end);
        written = written.max(end);
        memory.push((end, anonymous_memory()));
    }
    film.write(opened, written..film.events);
    memory
}

fn report_growth(memory: &[(u64, f64)], table: &Table) {
    for (events, mib) in memory {
        figure(table, &format!("after {} events", show(*events as f64)), *mib);
    }
    if let [(first, least), .., (last, most)] = memory {
        let millions = (last - first) as f64 / MILLION as f64;
        figure(table, "grows with each million", (most - least) / millions);
    }
}

fn open(engine: &dyn Engine, store: &Path, tables: &Tables, name: &str) -> Box<dyn Opened> {
    let began = Instant::now();
    let opened = engine.open(store);
    figure(tables.opening, name, millis(began.elapsed()));
    opened
}

fn read_all(film: Film, opened: &dyn Opened, name: &str) {
    let began = Instant::now();
    film.read_all(opened);
    figure(&READING, name, film.events as f64 / began.elapsed().as_secs_f64());
}

fn warm(film: Film, engine: &dyn Engine, store: &Path) {
    let opened = open(engine, store, &MANY, "open, ms");
    read_all(film, &*opened, "read all, first");
    figure(&STREAMS, "read a stream of 20, first", film.read_streams(&*opened, STREAMS_LOADED));
    std::thread::sleep(SETTLING);
    read_all(film, &*opened, "read all");
    figure(&STREAMS, "read a stream of 20, warm", film.read_streams(&*opened, STREAMS_LOADED));
    opened.close();
}

/// The engine's own caches go with it when it is closed, the files' with the page cache; and once more when
/// it is open, because some engines read all of their log in opening it. A virtual machine's host has that log in
/// its own cache then, which nobody here can drop, so it gets every engine's files into it.
fn cold(film: Film, engine: &dyn Engine, store: &Path) {
    if !drop_page_cache() {
        return;
    }
    read_files(store);
    assert!(drop_page_cache(), "it was allowed a moment ago");
    let opened = open(engine, store, &MANY, "open cold, ms");
    assert!(drop_page_cache(), "it was allowed a moment ago");
    let rate = film.read_streams(&*opened, STREAMS_LOADED_COLD);
    figure(&STREAMS, "read a stream of 20, cold", rate);
    opened.close();
    assert!(drop_page_cache(), "it was allowed a moment ago");
    let opened = engine.open(store);
    assert!(drop_page_cache(), "it was allowed a moment ago");
    read_all(film, &*opened, "read all, cold");
    opened.close();
}

/// Another process goes on writing, to streams behind the film's, and is killed.
fn after_a_kill(film: Film, engine: &dyn Engine, store: &Path, tables: &Tables) {
    let acknowledged = killed_writer(engine, store, film.streams, film.events.min(BURST_EVENTS));
    let opened = open(engine, store, tables, "open after a kill, ms");
    let mut n = 0;
    opened.read_all(&mut |read| {
        if n >= film.events {
            let (_, payload) = super::kill::event(film.streams, n - film.events);
            assert_eq!(read, payload, "event {n}");
        }
        n += 1;
    });
    let kept = n - film.events;
    assert!(kept >= acknowledged, "{acknowledged} events were acknowledged, {kept} are there");
    assert!(kept.is_multiple_of(COMMIT_EVENTS), "a part of a commit is there");
    opened.close();
}
