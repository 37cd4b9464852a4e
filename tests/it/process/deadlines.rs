//! Deadlines: fired once, over restarts, cancelled, and in their place among the events.

use crate::process::checkout::*;
use crate::process::start;
use filmstrip::Clock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[test]
fn a_deadline_fires_once_when_the_clock_shows_it() {
    let clock = clock();
    let store = temporary(&clock);
    let process = start::<20>(&store);
    process.wait_for(place(&store, "1", 0), LONG).unwrap();
    assert_eq!(process.status().deadlines, 1);
    clock.advance(HOUR - Duration::from_micros(1));
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked"]);
    clock.advance(Duration::from_micros(1));
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked", "Expired"]);
    clock.advance(HOUR * 100);
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked", "Expired"]);
    assert_eq!(process.status().deadlines, 0);
}

#[test]
fn a_moved_clock_wakes_a_process_that_nobody_drains() {
    let clock = clock();
    let store = temporary(&clock);
    let process = start::<21>(&store);
    process.wait_for(place(&store, "1", 0), LONG).unwrap();
    let expired = store.subscribe().after(store.head()).event_type("Expired").start().unwrap();
    clock.advance(HOUR);
    assert_eq!(expired.recv_timeout(LONG).unwrap().stream, "Checkout-1");
}

#[test]
fn a_clock_that_steps_back_or_far_ahead_fires_each_deadline_once() {
    let clock = clock();
    let noon = clock.now();
    let store = temporary(&clock);
    let process = start::<26>(&store);
    process.wait_for(place(&store, "1", 0), LONG).unwrap();
    clock.set(noon - HOUR * 48);
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked"]);
    clock.set(noon + HOUR * 1_000);
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked", "Expired"]);
    // What follows is recorded at the furthest time, and its hour begins there.
    clock.set(noon);
    process.wait_for(place(&store, "2", 0), LONG).unwrap();
    clock.set(noon + HOUR * 1_001 - Duration::from_micros(1));
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-2"), ["Asked"]);
    clock.advance(Duration::from_micros(1));
    store.drain(LONG).unwrap();
    for checkout in ["Checkout-1", "Checkout-2"] {
        assert_eq!(film(&store, checkout), ["Asked", "Expired"]);
    }
}

#[test]
fn a_deadline_fires_after_a_restart_and_not_again_after_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (path, clock) = (directory.path().join("s"), clock());
    let store = open(&path, &clock);
    start::<22>(&store).wait_for(place(&store, "1", 0), LONG).unwrap();
    store.close().unwrap();
    clock.advance(HOUR * 2);
    for _ in 0..3 {
        let store = open(&path, &clock);
        start::<22>(&store);
        store.drain(LONG).unwrap();
        assert_eq!(film(&store, "Checkout-1"), ["Asked", "Expired"]);
        store.close().unwrap();
    }
}

#[test]
fn a_state_without_a_deadline_cancels_it_and_another_one_moves_it() {
    let clock = clock();
    let store = temporary(&clock);
    let process = start::<23>(&store);
    process.wait_for(place(&store, "paid", 5), LONG).unwrap();
    assert_eq!(process.status().deadlines, 0);
    place(&store, "moved", 0);
    clock.advance(HOUR / 2);
    process.wait_for(place(&store, "moved", 0), LONG).unwrap();
    clock.advance(HOUR / 2);
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-moved"), ["Asked", "Asked"]);
    clock.advance(HOUR / 2);
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-moved"), ["Asked", "Asked", "Expired"]);
    assert_eq!(film(&store, "Checkout-paid"), ["Asked", "Taken"]);
}

/// What was recorded before a deadline comes before it, what was recorded later comes after it: also
/// if the process did not run, and meets all of it at once.
#[test]
fn a_deadline_has_its_place_among_the_events() {
    let directory = tempfile::tempdir().unwrap();
    let (path, clock) = (directory.path().join("s"), clock());
    let store = open(&path, &clock);
    start::<24>(&store).wait_for(place(&store, "1", 0), LONG).unwrap();
    store.close().unwrap();
    let store = open(&path, &clock);
    clock.advance(HOUR);
    place(&store, "2", 0);
    // Until it has expired, it does not thank.
    happened(&store, "1", "Thanked");
    clock.advance(Duration::from_secs(1));
    happened(&store, "1", "Thanked");
    clock.advance(HOUR * 3);
    start::<24>(&store);
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked", "Expired", "Thanked"]);
    assert_eq!(film(&store, "Checkout-2"), ["Asked", "Expired"]);
}

#[test]
fn a_time_that_a_state_goes_on_naming_fires_once() {
    let directory = tempfile::tempdir().unwrap();
    let (path, clock) = (directory.path().join("s"), clock());
    static REACTIONS: AtomicU32 = AtomicU32::new(0);
    hook(25, |point| {
        REACTIONS.fetch_add(u32::from(point == "react"), Ordering::SeqCst);
        Ok(())
    });
    for round in 0..3 {
        let store = open(&path, &clock);
        let process = start::<25>(&store);
        if round == 0 {
            place(&store, "1", STUBBORN);
        }
        store.drain(LONG).unwrap();
        clock.advance(HOUR);
        store.drain(LONG).unwrap();
        assert_eq!(REACTIONS.load(Ordering::SeqCst), 2, "the order, and its deadline");
        assert_eq!(process.status().deadlines, 0);
        store.close().unwrap();
    }
    assert_eq!(REACTIONS.load(Ordering::SeqCst), 2);
}
