//! Figures that take longer runs than criterion's, each beside its baseline in turn.
//!
//! `cargo bench --bench figures [-- EVENTS]`; 2,000,000 events unless said otherwise.

use filmstrip::{Commit, ExpectedVersion, NewEvent, Store};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const PAYLOAD_BYTES: usize = 300;
const STREAM_EVENTS: u64 = 20;

/// Events of JSON, half of whose bytes are the same in each, and half random digits.
struct Events {
    digits: Vec<u8>,
}

impl Events {
    fn new() -> Events {
        let mut state = 1_u64;
        let digit = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b"0123456789abcdef"[(state >> 60) as usize]
        };
        Events { digits: (0..1_000_003).map(digit).collect() }
    }

    fn nth(&self, n: u64) -> NewEvent {
        const NAMES: [&str; 6] =
            ["customer", "account", "product", "warehouse", "invoice", "courier"];
        let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
        let digits = n as usize * 160 % (self.digits.len() - 160);
        for (name, digits) in NAMES.iter().zip(self.digits[digits..].chunks(25)) {
            payload.extend_from_slice(if payload.is_empty() { b"{\"" } else { b",\"" });
            payload.extend_from_slice(name.as_bytes());
            payload.extend_from_slice(b"\":\"");
            payload.extend_from_slice(digits);
            payload.push(b'"');
        }
        payload.extend_from_slice(b",\"remark\":\"");
        payload.resize(PAYLOAD_BYTES - 2, b'.');
        payload.extend_from_slice(b"\"}");
        NewEvent::bytes("Measured", payload)
    }
}

fn main() {
    let number = |argument: String| argument.parse::<u64>().ok();
    // Cargo adds arguments of its own, such as `--bench`.
    let events = std::env::args().skip(1).find_map(number).unwrap_or(2_000_000);
    one_event_per_commit();
    long_run(events);
}

/// Rounds of raw file and store in turn, so that a disk that changes its mind changes it for both.
fn one_event_per_commit() {
    const ROUNDS: usize = 15;
    const COMMITS: usize = 1_000;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let raw = File::create(directory.path().join("raw")).expect("a file");
    raw.write_all_at(&vec![0; 64 << 20], 0).expect("space");
    raw.sync_all().expect("a sync");
    let store = Store::open(directory.path().join("store")).expect("a store");
    let events = Events::new();
    let journal = directory.path().join("store/journal/durable");
    let before = durable_end(&journal);
    store.append("Probe-1", ExpectedVersion::Any, [events.nth(0)]).expect("appended");
    let frame = vec![b'x'; (durable_end(&journal) - before) as usize];
    let mut offset = 0;
    let mut rounds: Vec<(Duration, Duration)> = Vec::new();
    for round in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..COMMITS {
            raw.write_all_at(&frame, offset).expect("a write");
            raw.sync_data().expect("a sync");
            offset += frame.len() as u64;
        }
        let raw = began.elapsed();
        let began = Instant::now();
        for n in 0..COMMITS {
            let stream = format!("Stream-{}", (round * COMMITS + n) % 500);
            let event = events.nth(n as u64);
            store.append(&stream, ExpectedVersion::Any, [event]).expect("appended");
        }
        rounds.push((raw, began.elapsed()));
    }
    let rate = |time: Duration| COMMITS as f64 / time.as_secs_f64();
    let raw = median(rounds.iter().map(|(raw, _)| rate(*raw)).collect());
    let store = median(rounds.iter().map(|(_, store)| rate(*store)).collect());
    let ratio = median(rounds.iter().map(|(r, s)| r.as_secs_f64() / s.as_secs_f64()).collect());
    println!(
        "1 writer, 1 event of {PAYLOAD_BYTES} bytes per commit, frame of {} bytes:",
        frame.len()
    );
    println!(
        "  raw file {raw:.0}/s, filmstrip {store:.0}/s, ratio {ratio:.2} (median of {ROUNDS})"
    );
}

/// Where the next frame will begin, as the durable watermark says.
fn durable_end(mark: &Path) -> u64 {
    let bytes = fs::read(mark).expect("the mark");
    u64::from_le_bytes(bytes[40..48].try_into().expect("eight bytes"))
}

fn long_run(events: u64) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let store = Store::open(&path).expect("a store");
    let streams = events / STREAM_EVENTS;
    println!("{events} events, {STREAM_EVENTS} in each of {streams} streams, in turn:");
    let began = Instant::now();
    write(&store, events, streams);
    let written = began.elapsed();
    report("100 per commit, acknowledged", events, written);
    let memory = peak_memory();
    store.close().expect("closed");
    report("  and indexed and closed", events, began.elapsed());
    println!("  memory at its peak while writing {memory} MiB");
    let began = Instant::now();
    let store = Store::open(&path).expect("a store");
    println!("open after closing: {:.0} ms", began.elapsed().as_secs_f64() * 1e3);
    for _ in 0..3 {
        let began = Instant::now();
        let read = store.read_all().iter().expect("open");
        let payload: usize = read.map(|event| event.expect("whole").payload.len()).sum();
        assert_eq!(payload as u64, events * PAYLOAD_BYTES as u64);
        report("read all", events, began.elapsed());
    }
    for case in ["first", "again"] {
        let began = Instant::now();
        let loads = streams.min(20_000);
        for n in 0..loads {
            let stream = format!("Stream-{}", n * 7_919 % streams);
            let events = store.read_stream(&stream).collect().expect("whole");
            assert_eq!(events.len() as u64, STREAM_EVENTS);
        }
        report(&format!("load {loads} streams, {case}"), loads * STREAM_EVENTS, began.elapsed());
    }
    let began = Instant::now();
    let subscription = store.subscribe().start().expect("started");
    assert_eq!(subscription.take(events as usize).flatten().count() as u64, events);
    report("subscription, catching up", events, began.elapsed());
    println!("memory at its peak {} MiB", peak_memory());
    store.close().expect("closed");
    let (journal, all) = (size(&path.join("journal")), size(&path));
    let payload = (events * PAYLOAD_BYTES as u64) as f64;
    println!(
        "on disk: journal {:.2} and all {:.2} bytes per byte of payload",
        journal as f64 / payload,
        all as f64 / payload
    );
}

fn write(store: &Store, events: u64, streams: u64) {
    let made = Events::new();
    for first in (0..events).step_by(100) {
        let mut commit = Commit::new();
        for n in first..(first + 100).min(events) {
            let stream = format!("Stream-{}", n % streams);
            commit = commit.append(stream, ExpectedVersion::Any, [made.nth(n)]);
        }
        store.commit(commit).expect("committed");
    }
}

fn report(what: &str, events: u64, time: Duration) {
    let rate = events as f64 / time.as_secs_f64();
    println!("{what}: {rate:.0} events/s ({:.2} s)", time.as_secs_f64());
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The most memory that this process ever had resident, in MiB, as Linux counts it.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1_024
}

fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return fs::metadata(path).map_or(0, |metadata| metadata.len());
    };
    entries.flatten().map(|entry| size(&entry.path())).sum()
}
