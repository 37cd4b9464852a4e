//! A view as it was, and how a row came about, of 1,000,000 events of which 20 are of each row.

use super::rows::{ByNumber, Rare, Row};
use super::{append, append_many};
use crate::tables::MODEL_LOW;
use crate::workloads::figure;
use filmstrip::projection::RowChange;
use filmstrip::{Position, Projection, Store};
use std::time::Instant;

const EVENTS: u64 = 1_000_000;
const EACH: u64 = 20;
const NUMBERS: u64 = EVENTS / EACH;

pub fn run(store: &Store) {
    append_many(store, EVENTS / 2, NUMBERS);
    (0..EACH).for_each(|number| append(store, "Rare-1", number % NUMBERS));
    append_many(store, EVENTS / 2, NUMBERS);

    let key = format!("product/{:04}", NUMBERS / 2);
    let (changes, seconds) = explain(store, ByNumber, &key);
    let last: Row =
        changes.last().and_then(|change| change.after_as().ok()).flatten().expect("a row");
    assert_eq!(
        (changes.len() as u64, last.events),
        (EACH, EACH),
        "other events than those of the row"
    );
    figure(
        &MODEL_LOW,
        "explaining a row of 20 events, of 1,000,000 that the filter selects, seconds",
        seconds,
    );
    let (changes, seconds) = explain(store, Rare, "Rare-1");
    assert_eq!(changes.len() as u64, EACH);
    let millis = seconds * 1_000.0;
    figure(&MODEL_LOW, "the same, where it selects these 20 of 1,000,000, milliseconds", millis);

    let began = Instant::now();
    let middle = Position::new(EVENTS / 2);
    let past = store.project(ByNumber).as_of_position(middle).expect("folded");
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(past.rows().count().expect("read"), NUMBERS);
    figure(&MODEL_LOW, "a view of 50,000 rows as of event 500,000, seconds", seconds);
}

fn explain<P: Projection>(store: &Store, projection: P, key: &str) -> (Vec<RowChange>, f64) {
    let began = Instant::now();
    let explained = store.project(projection).explain(key).expect("begun");
    let changes = explained.collect::<Result<Vec<_>, _>>().expect("folded");
    (changes, began.elapsed().as_secs_f64())
}
