//! Parked events: what it takes to apply them in the end, against applying them at once.

use super::rows::{ByNumber, FAILS, Failing, Row};
use super::{LONG, append_many};
use crate::tables::MODEL_LOW;
use crate::workloads::{figure, millis};
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::{Projection, Store};
use std::sync::atomic::Ordering;
use std::time::Instant;

const EVENTS: u64 = 100_000;
const NUMBERS: u64 = 1_000;

pub fn run(store: &Store) {
    append_many(store, EVENTS, NUMBERS);
    let began = Instant::now();
    let view = store.project(ByNumber).start().expect("a projection");
    view.wait_for(store.head(), LONG).expect("in time");
    let applied = millis(began.elapsed());
    view.stop().expect("stopped");
    figure(&MODEL_LOW, "applying 100,000 events, milliseconds", applied);
    for (then, kept) in
        [(ErrorAction::ParkEvent, ""), (ErrorAction::ParkStream, " with their streams")]
    {
        let replayed = replay(store, then);
        let name = format!("replaying 100,000 that were parked{kept}, milliseconds");
        figure(&MODEL_LOW, &name, replayed);
        let name = format!("replaying those parked{kept} / applying (asked for: at most 1)");
        figure(&MODEL_LOW, &name, replayed / applied);
    }
}

/// How many milliseconds the replay of all events took.
fn replay(store: &Store, then: ErrorAction) -> f64 {
    FAILS.store(true, Ordering::Relaxed);
    let on_error = OnError::default().retries(0).then(then);
    let view = store.project(Failing).on_error(on_error).start().expect("a projection");
    view.wait_for(store.head(), LONG).expect("in time");
    assert_eq!(view.status().parked, EVENTS, "not all of them are parked");
    FAILS.store(false, Ordering::Relaxed);
    let began = Instant::now();
    view.replay_parked().expect("replayed");
    let took = millis(began.elapsed());
    assert_eq!(view.status().parked, 0, "some are still parked");
    let rows: Vec<(String, Row)> = view.view().rows().collect().expect("read");
    assert_eq!(rows.iter().map(|(_, row)| row.events).sum::<u64>(), EVENTS, "some are missing");
    view.stop().expect("stopped");
    drop(view);
    store.remove_projection(Failing::NAME).expect("removed");
    took
}
