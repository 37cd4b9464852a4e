//! A page of 20 rows, at random, of views of 1,000 and of 1,000,000; and one of 50, beside the same rows by their keys
//! and by an index.

use super::rows::{ByEvent, Indexed, Row, key_of, rank_of};
use super::{LONG, append_many};
use crate::payload::Random;
use crate::tables::MODEL_LOW;
use crate::workloads::{figure, micros, quantile, sorted};
use filmstrip::{Store, View};
use std::time::Instant;

const SMALL: u64 = 1_000;
const LARGE: u64 = 1_000_000;
const PAGE: u64 = 20;
const PAGES: usize = 5_000;
const LONG_PAGE: u64 = 50;

pub fn run(open: &dyn Fn(&str) -> Store) {
    let stores = [(SMALL, open("small-view")), (LARGE, open("large-view"))];
    let views = stores.map(|(rows, store)| {
        append_many(&store, rows, rows);
        let view = store.project(ByEvent).start().expect("a projection");
        view.wait_for(store.head(), LONG).expect("in time");
        (rows, view.view(), store)
    });
    let mut random = Random::new();
    let [small, large] = views.map(|(rows, view, _open)| {
        let took = (0..PAGES).map(|_| page(&view, random.below(rows - PAGE), PAGE));
        let took = quantile(&sorted(took.collect()), 0.5);
        if rows == LARGE {
            beside_keys(&view, &mut random);
        }
        took
    });
    figure(&MODEL_LOW, "a page of 20 out of 1,000 rows, microseconds", small);
    figure(&MODEL_LOW, "a page of 20 out of 1,000,000 rows, microseconds", large);
    figure(&MODEL_LOW, "the latter / the former (asked for: at most 2)", large / small);
}

/// Pages of 50 of the large view, and as many rows by their keys, in turn: each at places of its own, so that neither
/// finds in memory what the other has read.
fn beside_keys(view: &View, random: &mut Random) {
    let (mut pages, mut keys) = (Vec::new(), Vec::new());
    for _ in 0..PAGES {
        pages.push(page(view, random.below(LARGE - LONG_PAGE), LONG_PAGE));
        keys.push(by_key(view, random.below(LARGE - LONG_PAGE)));
    }
    let [pages, keys] = [pages, keys].map(|took| quantile(&sorted(took), 0.5));
    figure(&MODEL_LOW, "a page of 50 out of 1,000,000 rows, microseconds", pages);
    figure(&MODEL_LOW, "these 50 rows by their keys, microseconds", keys);
    figure(&MODEL_LOW, "the page / by their keys (asked for: at most 2)", pages / keys);
    let began = Instant::now();
    assert_eq!(view.count("row/").expect("counted"), LARGE);
    let took = micros(began.elapsed()) / 1_000.0;
    figure(&MODEL_LOW, "counting these 1,000,000 rows, milliseconds", took);
}

/// How many microseconds it took to read 50 rows by their keys.
fn by_key(view: &View, after: u64) -> f64 {
    let keys: Vec<_> = (after + 1..=after + LONG_PAGE).map(key_of).collect();
    let began = Instant::now();
    let rows: Vec<Row> =
        (keys.iter()).map(|key| view.get(key).expect("read").expect("a row")).collect();
    let took = micros(began.elapsed());
    assert!(rows.iter().map(|row| row.events).eq(after + 1..=after + LONG_PAGE));
    took
}

/// A page of 50 rows by a secondary key, which has them in the opposite order.
pub fn by_index(store: &Store) {
    append_many(store, LARGE, LARGE);
    let indexed = store.project(Indexed).start().expect("a projection");
    indexed.wait_for(store.head(), LONG).expect("in time");
    let (view, mut random) = (indexed.view(), Random::new());
    let took = (0..PAGES).map(|_| {
        let after = LONG_PAGE + 1 + random.below(LARGE - LONG_PAGE);
        let began = Instant::now();
        let rows = view.index("rank").after(rank_of(after), &key_of(after)).limit(LONG_PAGE);
        let page = rows.collect::<Row>().expect("read");
        let took = micros(began.elapsed());
        let numbers = page.iter().map(|row| row.row.events);
        assert!(
            numbers.eq((after - LONG_PAGE..after).rev()),
            "other rows than those after {after}"
        );
        took
    });
    let took = quantile(&sorted(took.collect()), 0.5);
    figure(&MODEL_LOW, "a page of 50 out of 1,000,000 rows by an index, microseconds", took);
}

/// How many microseconds the page after this row took.
fn page(view: &View, after: u64, rows: u64) -> f64 {
    let (key, began) = (key_of(after), Instant::now());
    let page: Vec<(String, Row)> =
        view.rows().prefix("row/").after(&key).limit(rows).collect().expect("read");
    let took = micros(began.elapsed());
    let numbers = page.iter().map(|(_, row)| row.events);
    assert!(numbers.eq(after + 1..=after + rows), "other rows than those after {after}");
    took
}
