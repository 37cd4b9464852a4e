//! A view of 1,000 hot keys, which follows more than 100,000 events a second.

use super::LONG;
use super::rows::{ByNumber, Row};
use crate::tables::{MODEL, MODEL_LOW};
use crate::workloads::{figure, quantile, sorted};
use filmstrip::{ExpectedVersion, NewEvent, Store};
use std::time::{Duration, Instant};

const SPAN: Duration = Duration::from_secs(5);
/// How many events a second are written, a tenth more than are asked for.
const RATE: u64 = 110_000;
const WRITERS: u64 = 2;
const COMMIT_EVENTS: u64 = 100;
const KEYS: u64 = 1_000;
/// How often it is looked how far the view is behind.
const LOOK: Duration = Duration::from_millis(5);

pub fn run(store: &Store) {
    let view = store.project(ByNumber).start().expect("a projection");
    let began = Instant::now();
    let (written, lags) = std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut lags = Vec::new();
            while began.elapsed() < SPAN {
                lags.push(view.status().lag as f64);
                std::thread::sleep(LOOK);
            }
            lags
        });
        let commits = super::repeat(WRITERS, SPAN, |writer, nth| commit(store, began, writer, nth));
        (commits.len() as u64 * COMMIT_EVENTS, looks.join().expect("a thread panicked"))
    });
    let (span, behind) = (began.elapsed().as_secs_f64(), view.status().lag);
    view.wait_for(store.head(), LONG).expect("in time");
    let rows: Vec<(String, Row)> = view.view().rows().collect().expect("read");
    assert_eq!(rows.len() as u64, KEYS);
    assert_eq!(rows.iter().map(|(_, row)| row.events).sum::<u64>(), written, "some are missing");
    figure(&MODEL, "events of 1,000 hot keys written, per second", written as f64 / span);
    let name = "of them applied to a view meanwhile (asked for: 100,000)";
    figure(&MODEL, name, (written - behind) as f64 / span);
    let lag = quantile(&sorted(lags), 0.99);
    figure(&MODEL_LOW, "the view of hot keys is behind by so many events, p99", lag);
}

/// A commit of one of the writers, when it is due.
fn commit(store: &Store, began: Instant, writer: u64, nth: u64) {
    let before = nth * WRITERS * COMMIT_EVENTS;
    let due = Duration::from_secs(before) / RATE as u32;
    std::thread::sleep(due.saturating_sub(began.elapsed()));
    // A prime, so that each commit has other keys.
    let key = |n| (before + writer * COMMIT_EVENTS + n) * 7_919 % KEYS;
    let events = (0..COMMIT_EVENTS).map(|n| NewEvent::json("Sold", &key(n)).expect("an event"));
    let stream = format!("Sale-{writer}-{}", nth % 50);
    store.append(stream, ExpectedVersion::Any, events).expect("appended");
}
