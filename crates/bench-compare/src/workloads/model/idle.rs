//! Subscriptions that want nothing of what is appended: 5,000 of a stream each, and 500 of one category.

use super::{WRITERS, append, repeat, write};
use crate::tables::{MODEL, MODEL_LOW};
use crate::workloads::{figure, millis, quantile, sorted};
use filmstrip::{Store, Subscription};
use std::time::{Duration, Instant};

/// Short, and in many rounds: the rate of 64 writers changes by a tenth from one second to the next.
const SPAN: Duration = Duration::from_millis(150);
const ROUNDS: usize = 24;
const OF_STREAMS: u64 = 5_000;
const OF_A_CATEGORY: u64 = 500;

pub fn run(store: &Store) {
    let one = || repeat(1, SPAN, |_, nth| append(store, "Order-1", nth)).len() as f64;
    let many = || repeat(WRITERS, SPAN, |n, nth| write(store, n, nth)).len() as f64;
    let both = || (one(), many());
    // The first appends are to a store that is empty.
    both();
    let (mut ones, mut manys, mut drops) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // What changes with time is on both sides as much: the middle of a round is beside the subscriptions.
        let before = both();
        let subscriptions = subscribe(store);
        let beside = (both(), both());
        let began = Instant::now();
        drop(subscriptions);
        drops.push(millis(began.elapsed()));
        let after = both();
        ones.push((beside.0.0 + beside.1.0) / (before.0 + after.0));
        manys.push((beside.0.1 + beside.1.1) / (before.1 + after.1));
    }
    let median = |values| quantile(&sorted(values), 0.5);
    for (writers, ratios) in [("one writer", ones), ("64 writers", manys)] {
        let name = format!(
            "appends of {writers} beside 5,500 idle subscriptions / without (asked for: 0.95)"
        );
        figure(&MODEL, &name, median(ratios));
    }
    figure(&MODEL_LOW, "dropping 5,500 subscriptions, milliseconds", median(drops));
}

fn subscribe(store: &Store) -> Vec<Subscription> {
    let live = || store.subscribe().after(store.head());
    let of_streams = (0..OF_STREAMS).map(|n| live().stream(format!("Door-{n}")));
    let of_a_category = (0..OF_A_CATEGORY).map(|_| live().category("Lamp"));
    let all = of_streams.chain(of_a_category);
    all.map(|subscription| subscription.start().expect("a subscription")).collect()
}
