//! What is measured. Each figure is a line on the standard output: its name, a tab, its value.

use crate::engine::{Engine, Item, Opened, all};
use std::path::Path;
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

const PAYLOAD_BYTES: usize = 300;
const STREAM_EVENTS: u64 = 20;
const BULK_COMMIT: u64 = 100;
const STREAMS_LOADED: u64 = 20_000;
/// How long concurrent writers write.
const SPAN: Duration = Duration::from_millis(1_500);
/// Writers, and events in each of their commits.
const CONCURRENT: [(usize, u64); 4] = [(4, 1), (16, 1), (64, 1), (64, 64)];

pub fn measure(workload: &str, engine: &str, events: u64, directory: &Path) {
    let engine = all().into_iter().find(|e| e.name() == engine).expect("an engine of this name");
    match workload {
        "commits" => commits(&*engine, directory),
        "bulk" => bulk(&*engine, events, directory),
        other => panic!("there is no workload {other:?}"),
    }
}

fn figure(name: &str, value: f64) {
    println!("{name}\t{value}");
}

/// The payload of an event of a stream: JSON, half of whose bytes are the same in each, and half random
/// digits. Making one must cost next to nothing: every engine's time holds it.
fn payload(stream: u64, nth: u64) -> Vec<u8> {
    const NAMES: [&str; 6] = ["customer", "account", "product", "warehouse", "invoice", "courier"];
    let digits = digits();
    let at = (stream << 20 | nth).wrapping_mul(0x9e37_79b9_7f4a_7c15) % (digits.len() as u64 - 150);
    let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
    for (name, digits) in NAMES.iter().zip(digits[at as usize..].chunks(25)) {
        payload.extend_from_slice(if payload.is_empty() { b"{\"" } else { b",\"" });
        payload.extend_from_slice(name.as_bytes());
        payload.extend_from_slice(b"\":\"");
        payload.extend_from_slice(digits);
        payload.push(b'"');
    }
    payload.extend_from_slice(b",\"remark\":\"");
    payload.resize(PAYLOAD_BYTES - 2, b'.');
    payload.extend_from_slice(b"\"}");
    payload
}

/// A million random hexadecimal digits, the same ones each time.
fn digits() -> &'static [u8] {
    static DIGITS: OnceLock<Vec<u8>> = OnceLock::new();
    DIGITS.get_or_init(|| {
        let mut state = 1_u64;
        let digit = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b"0123456789abcdef"[(state >> 60) as usize]
        };
        (0..1_000_003).map(digit).collect()
    })
}

/// One writer, then several, for a short time each.
fn commits(engine: &dyn Engine, directory: &Path) {
    let opened = engine.open(&directory.join("single"));
    let latencies = write_for(&*opened, 0, 1, SPAN);
    report_writers("1 writer, 1 per commit", &latencies, 1, SPAN);
    opened.close();
    for (writers, each) in CONCURRENT {
        let opened = engine.open(&directory.join(format!("concurrent-{writers}-{each}")));
        let barrier = Barrier::new(writers);
        let latencies = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..writers as u64)
                .map(|writer| {
                    let (opened, barrier) = (&*opened, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        write_for(opened, writer + 1, each, SPAN)
                    })
                })
                .collect();
            let latencies = threads.into_iter().map(|t| t.join().expect("a writer panicked"));
            latencies.flatten().collect::<Vec<_>>()
        });
        let name = format!("{writers} writers, {each} per commit");
        report_writers(&name, &latencies, each, SPAN);
        check_count(&*opened, latencies.len() as u64 * each);
        opened.close();
    }
}

fn report_writers(name: &str, latencies: &[Duration], each: u64, span: Duration) {
    let mut latencies = latencies.to_vec();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    figure(name, latencies.len() as f64 * each as f64 / span.as_secs_f64());
    figure(&format!("{name}, p50"), at(0.5).as_secs_f64() * 1e6);
    figure(&format!("{name}, p99"), at(0.99).as_secs_f64() * 1e6);
}

/// Commits until the time is over; how long each took.
fn write_for(opened: &dyn Opened, writer: u64, each: u64, span: Duration) -> Vec<Duration> {
    let began = Instant::now();
    let mut latencies = Vec::new();
    let mut nth = 0;
    while began.elapsed() < span {
        let stream = writer << 32 | (nth / STREAM_EVENTS);
        let payloads: Vec<_> = (nth..nth + each).map(|nth| payload(stream, nth)).collect();
        let items = payloads.iter().map(|payload| Item { stream, payload });
        let items: Vec<_> = items.collect();
        let commit = Instant::now();
        opened.append(&items);
        latencies.push(commit.elapsed());
        nth += each;
    }
    latencies
}

fn check_count(opened: &dyn Opened, expected: u64) {
    let mut count = 0;
    let mut take = |payload: &[u8]| {
        assert_eq!(payload.len(), PAYLOAD_BYTES);
        count += 1;
    };
    if opened.read_all(&mut take) {
        assert_eq!(count, expected, "events that were committed are not there");
    }
}

/// One writer, 100 events per commit, 20 in each stream in the worst order: in turn. Then opening
/// again, and reading.
fn bulk(engine: &dyn Engine, events: u64, directory: &Path) {
    let store = directory.join("bulk");
    let streams = (events / STREAM_EVENTS).max(1);
    let opened = engine.open(&store);
    let burst = events.min(200_000);
    let began = Instant::now();
    write_bulk(&*opened, 0, burst, streams);
    figure("100 per commit, the first 200,000", burst as f64 / began.elapsed().as_secs_f64());
    write_bulk(&*opened, burst, events, streams);
    figure("100 per commit, acknowledged", events as f64 / began.elapsed().as_secs_f64());
    opened.close();
    figure("100 per commit, indexed and closed", events as f64 / began.elapsed().as_secs_f64());
    figure("memory while writing, MiB", peak_memory());
    let disk = size(directory) as f64 / (events * PAYLOAD_BYTES as u64) as f64;
    figure("disk / payload", disk);

    let began = Instant::now();
    let opened = engine.open(&store);
    figure("open, ms", began.elapsed().as_secs_f64() * 1e3);
    for name in ["read all, first", "read all"] {
        let began = Instant::now();
        let mut nth = 0;
        let mut take = |read: &[u8]| {
            // Comparing all of them would time the comparison.
            if nth % 1_000 == 0 {
                assert_eq!(read, payload(nth % streams, nth / streams), "event {nth}");
            }
            nth += 1;
        };
        if !opened.read_all(&mut take) {
            return;
        }
        assert_eq!(nth, events, "events that were committed are not there");
        figure(name, events as f64 / began.elapsed().as_secs_f64());
    }
    let loads = streams.min(STREAMS_LOADED);
    for name in ["read a stream of 20, first", "read a stream of 20, warm"] {
        let began = Instant::now();
        for n in 0..loads {
            let stream = n * 7_919 % streams;
            let mut nth = 0;
            let mut take = |read: &[u8]| {
                if n % 100 == 0 {
                    assert_eq!(read, payload(stream, nth), "stream {stream}");
                }
                nth += 1;
            };
            opened.read_stream(stream, &mut take);
            assert_eq!(nth, STREAM_EVENTS, "stream {stream}");
        }
        let rate = (loads * STREAM_EVENTS) as f64 / began.elapsed().as_secs_f64();
        figure(name, rate);
    }
    opened.close();
}

fn write_bulk(opened: &dyn Opened, from: u64, to: u64, streams: u64) {
    for first in (from..to).step_by(BULK_COMMIT as usize) {
        let numbers = first..(first + BULK_COMMIT).min(to);
        let payloads: Vec<_> =
            numbers.map(|n| (n % streams, payload(n % streams, n / streams))).collect();
        let items = payloads.iter().map(|(stream, payload)| Item { stream: *stream, payload });
        let items: Vec<_> = items.collect();
        opened.append(&items);
    }
}

/// The most memory that this process ever had resident, in MiB, as Linux counts it.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1_024.0
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    };
    entries.flatten().map(|entry| size(&entry.path())).sum()
}
