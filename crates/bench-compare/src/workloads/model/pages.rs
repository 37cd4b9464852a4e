//! A page of 20 rows, at random, of views of 1,000 and of 1,000,000.

use super::rows::{ByEvent, Row, key_of};
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
        let took = (0..PAGES).map(|_| page(&view, random.below(rows - PAGE)));
        quantile(&sorted(took.collect()), 0.5)
    });
    figure(&MODEL_LOW, "a page of 20 out of 1,000 rows, microseconds", small);
    figure(&MODEL_LOW, "a page of 20 out of 1,000,000 rows, microseconds", large);
    figure(&MODEL_LOW, "the latter / the former (asked for: at most 2)", large / small);
}

/// How many microseconds the page after this row took.
fn page(view: &View, after: u64) -> f64 {
    let (key, began) = (key_of(after), Instant::now());
    let page: Vec<(String, Row)> =
        view.rows().prefix("row/").after(&key).limit(PAGE).collect().expect("read");
    let took = micros(began.elapsed());
    let numbers = page.iter().map(|(_, row)| row.events);
    assert!(numbers.eq(after + 1..=after + PAGE), "other rows than those after {after}");
    took
}
