//! A subscriber: how soon it has an event while it waits, and how far it lags while others write as
//! fast as they can.

use super::{Run, append, figure, micros, millis, quantile, sorted};
use crate::engine::Opened;
use crate::payload::{PAYLOAD_BYTES, payload};
use crate::tables::{FOLLOWING, LAG, LAG_RATE};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const APPENDS: u64 = 3_000;
/// Long enough that a subscriber that has an event waits again, and its thread sleeps.
const PAUSE: Duration = Duration::from_micros(300);
const SPAN: Duration = Duration::from_millis(1_500);
const WRITERS: u64 = 16;
const COMMIT_EVENTS: u64 = 10;
const STREAM_EVENTS: u64 = 20;

pub fn run(run: &Run<'_>) {
    let opened = run.engine.open(&run.directory.join("waiting"));
    waiting(&*opened);
    opened.close();
    let opened = run.engine.open(&run.directory.join("loaded"));
    loaded(&*opened);
    opened.close();
}

fn waiting(opened: &dyn Opened) {
    let (tell, arrivals) = mpsc::channel();
    let (mut whole, mut behind) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut nth = 0;
            opened.follow(&mut |read| {
                tell.send(Instant::now()).expect("the writer waits for it");
                assert_eq!(read, payload(0, nth), "event {nth}");
                nth += 1;
                nth < APPENDS
            });
        });
        for nth in 0..APPENDS {
            std::thread::sleep(PAUSE);
            let event = [(0, payload(0, nth))];
            let began = Instant::now();
            append(opened, &event);
            let returned = Instant::now();
            let arrived = arrivals.recv().expect("the subscriber goes on");
            whole.push(micros(arrived - began));
            behind.push(micros(arrived.saturating_duration_since(returned)));
        }
    });
    for (name, times) in [("from before the append", whole), ("behind its return", behind)] {
        let times = sorted(times);
        figure(&FOLLOWING, &format!("{name}, p50"), quantile(&times, 0.5));
        figure(&FOLLOWING, &format!("{name}, p99"), quantile(&times, 0.99));
    }
}

/// What the subscriber saw.
struct Seen {
    events: u64,
    /// From before the append to the subscriber, in microseconds.
    took: Vec<f64>,
    /// How many acknowledged events it had still to see, now and then.
    behind: Vec<f64>,
    /// When it had the last event.
    done: Instant,
}

fn loaded(opened: &dyn Opened) {
    let began = Instant::now();
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let subscriber = scope.spawn(|| subscribe(opened, began, &acknowledged));
        std::thread::scope(|scope| {
            for writer in 1..=WRITERS {
                let acknowledged = &acknowledged;
                scope.spawn(move || write_for(opened, began, writer, acknowledged));
            }
        });
        let (wrote, written) = (Instant::now(), acknowledged.load(Ordering::Relaxed));
        append(opened, &[(0, stamped(Stamp::End))]);
        let seen = subscriber.join().expect("the subscriber panicked");
        assert_eq!(seen.events, written, "events that were committed were not seen");

        let (took, behind) = (sorted(seen.took), sorted(seen.behind));
        figure(&LAG, "from before the append, p50", quantile(&took, 0.5));
        figure(&LAG, "from before the append, p99", quantile(&took, 0.99));
        figure(&LAG, "events behind, p99", quantile(&behind, 0.99));
        let catching_up = seen.done.saturating_duration_since(wrote);
        figure(&LAG, "caught up after the last write, ms", millis(catching_up));
        let span = (wrote - began).as_secs_f64();
        figure(&LAG_RATE, "16 writers, 10 per commit, followed", written as f64 / span);
    });
}

fn write_for(opened: &dyn Opened, began: Instant, writer: u64, acknowledged: &AtomicU64) {
    let mut nth = 0;
    while began.elapsed() < SPAN {
        let stream = writer << 32 | (nth / STREAM_EVENTS);
        let payload = stamped(Stamp::At(began.elapsed()));
        let payloads = (0..COMMIT_EVENTS).map(|_| (stream, payload.clone()));
        append(opened, &payloads.collect::<Vec<_>>());
        acknowledged.fetch_add(COMMIT_EVENTS, Ordering::Relaxed);
        nth += COMMIT_EVENTS;
    }
}

fn subscribe(opened: &dyn Opened, began: Instant, acknowledged: &AtomicU64) -> Seen {
    let mut seen = Seen { events: 0, took: Vec::new(), behind: Vec::new(), done: began };
    opened.follow(&mut |read| {
        let Stamp::At(sent) = stamp(read) else { return false };
        seen.events += 1;
        seen.took.push(micros(began.elapsed() - sent));
        if seen.events.is_multiple_of(100) {
            let behind = acknowledged.load(Ordering::Relaxed).saturating_sub(seen.events);
            seen.behind.push(behind as f64);
        }
        true
    });
    Seen { done: Instant::now(), ..seen }
}

/// What a payload says of its time.
enum Stamp {
    /// Since the writers began.
    At(Duration),
    /// It is the last one.
    End,
}

/// A payload of the usual size that begins with its stamp.
fn stamped(stamp: Stamp) -> Vec<u8> {
    let nanos = match stamp {
        Stamp::At(since) => since.as_nanos() as u64,
        Stamp::End => u64::MAX,
    };
    let mut stamped = payload(0, nanos & 0xf_ffff);
    stamped[..8].copy_from_slice(&nanos.to_be_bytes());
    stamped
}

fn stamp(payload: &[u8]) -> Stamp {
    assert_eq!(payload.len(), PAYLOAD_BYTES);
    let nanos = payload.first_chunk().expect("it is long enough");
    match u64::from_be_bytes(*nanos) {
        u64::MAX => Stamp::End,
        nanos => Stamp::At(Duration::from_nanos(nanos)),
    }
}
