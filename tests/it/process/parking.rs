//! What fails for good: it stops itself, and nobody else.

use crate::process::checkout::*;
use crate::process::{SOON, start_then};
use filmstrip::process::{Parked, ParkedKind, ProcessHandle, ProcessState};
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::{ErrorKind, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn only(process: &ProcessHandle) -> Parked {
    let mut parked = process.parked().unwrap();
    assert_eq!((parked.len(), process.status().parked), (1, 1), "{parked:#?}");
    parked.remove(0)
}

#[track_caller]
fn is_done(store: &Store, id: &str) {
    assert_eq!(film(store, &format!("Checkout-{id}")), ["Asked", "Taken"]);
    assert_eq!(added(store, id).len(), 1);
}

/// The story: one command that was rejected behind `?` stopped the process for all, 1,000 later orders among them. It
/// could not be parked, and there was no way past it.
#[test]
fn an_instance_that_fails_for_good_is_parked_and_all_others_go_on_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let failing = fails_at(50, &["effect begins bad"]);
    let store = open(&path, &clock());
    let process =
        store.process::<Checkout<50>>().on_error(OnError::default().retries(1).first_delay(SOON));
    let process = process.start().unwrap();
    place(&store, "bad", 5);
    for n in 0..50 {
        place(&store, &format!("good-{n}"), 5);
        // What is the bad one's waits in the journal, not in memory.
        happened(&store, "bad", "Thanked");
    }
    store.drain(LONG).unwrap();
    process.wait_for(store.head(), LONG).unwrap();
    (0..50).for_each(|n| is_done(&store, &format!("good-{n}")));
    let Parked { id, kind, what, error, attempts, .. } = only(&process);
    assert_eq!((&*id, kind, attempts), ("bad", ParkedKind::Instance, 2));
    assert!(what.starts_with("the effect of position "), "{what}");
    assert!(what.ends_with(", event Asked of Checkout-bad"), "{what}");
    assert_eq!(error, "on purpose");
    assert!(matches!(process.status().state, ProcessState::Running));
    store.close().unwrap();
    // Over a restart it stays parked, and what has come for it stays its.
    let store = open(&path, &clock());
    let process = start_then::<50>(&store, ErrorAction::ParkInstance);
    is_done(&store, "good-1");
    place(&store, "late", 5);
    store.drain(LONG).unwrap();
    is_done(&store, "late");
    assert_eq!(only(&process).attempts, 2, "it was tried again without being asked");
    assert_eq!(film(&store, "Checkout-bad"), ["Asked"]);
    assert_eq!(only(&process).id, "bad");
    // It fails again, and is parked again.
    process.replay("bad").unwrap();
    store.drain(LONG).unwrap();
    assert_eq!(only(&process).id, "bad");
    failing.lock().unwrap().clear();
    process.replay("bad").unwrap();
    store.drain(LONG).unwrap();
    let mut whole = vec!["Asked", "Taken"];
    whole.extend(["Thanked"; 50]);
    assert_eq!(film(&store, "Checkout-bad"), whole, "all that waited for it comes, once, in order");
    assert_eq!((process.status().parked, process.parked().unwrap()), (0, vec![]));
    assert_eq!(process.replay("bad").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(process.skip("bad").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn what_a_parked_instance_stopped_at_is_skipped_and_the_rest_comes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    for (test, point, expected) in [
        // Its effect is given up, and it waits for the end of its hour.
        (0, "effect begins", vec!["Asked", "Expired", "Thanked"]),
        // The order itself is given up.
        (1, "react", vec!["Thanked"]),
    ] {
        let clock = clock();
        let failing = fails_at(51, &[&format!("{point} bad")]);
        let store = open(&path.join(test.to_string()), &clock);
        let process = start_then::<51>(&store, ErrorAction::ParkInstance);
        place(&store, "bad", 5);
        store.drain(LONG).unwrap();
        assert_eq!(only(&process).id, "bad");
        clock.advance(HOUR * 2);
        happened(&store, "bad", "Thanked");
        store.drain(LONG).unwrap();
        failing.lock().unwrap().clear();
        process.skip("bad").unwrap();
        // What was skipped stays skipped.
        store.close().unwrap();
        let store = open(&path.join(test.to_string()), &clock);
        let process = start_then::<51>(&store, ErrorAction::ParkInstance);
        store.drain(LONG).unwrap();
        assert_eq!(film(&store, "Checkout-bad"), expected, "{point}");
        assert_eq!(process.status().parked, 0);
        assert_eq!(added(&store, "bad"), [0; 0]);
        store.close().unwrap();
    }
}

#[test]
fn a_deadline_that_fails_parks_its_instance_and_can_be_skipped_or_replayed() {
    for skips in [true, false] {
        let clock = clock();
        let failing = fails_at(52, &[]);
        let store = temporary(&clock);
        let process = start_then::<52>(&store, ErrorAction::ParkInstance);
        for id in ["bad", "good"] {
            place(&store, id, 0);
        }
        store.drain(LONG).unwrap();
        failing.lock().unwrap().insert("react bad".into());
        clock.advance(HOUR);
        store.drain(LONG).unwrap();
        assert_eq!(film(&store, "Checkout-good"), ["Asked", "Expired"]);
        assert_eq!(only(&process).what, "the deadline 2024-05-01 13:00:00 UTC of Checkout-bad");
        failing.lock().unwrap().clear();
        match skips {
            true => process.skip("bad").unwrap(),
            false => process.replay("bad").unwrap(),
        }
        store.drain(LONG).unwrap();
        let expected: &[&str] = if skips { &["Asked"] } else { &["Asked", "Expired"] };
        assert_eq!(film(&store, "Checkout-bad"), expected);
        assert_eq!(process.status().deadlines, 0);
    }
}

#[test]
fn with_park_event_the_step_alone_is_set_aside_and_its_instance_goes_on() {
    let clock = clock();
    let store = temporary(&clock);
    let failing = fails_at(53, &["react bad", "effect begins worse"]);
    let process = start_then::<53>(&store, ErrorAction::ParkEvent);
    place(&store, "bad", 5);
    place(&store, "worse", 0);
    store.drain(LONG).unwrap();
    failing.lock().unwrap().remove("react bad");
    happened(&store, "bad", "Thanked");
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-bad"), ["Thanked"], "it goes on without its order");
    assert_eq!(film(&store, "Checkout-worse"), ["Asked"]);
    let mut parked = process.parked().unwrap();
    parked.sort_by(|a, b| a.id.cmp(&b.id));
    let told: Vec<_> = parked.iter().map(|p| (&*p.id, p.kind, &*p.what)).collect();
    let step = ParkedKind::Step;
    assert_eq!(
        told,
        [
            ("bad", step, "position 1, event Placed of Order-bad"),
            ("worse", step, "the effect of position 3, event Asked of Checkout-worse")
        ]
    );
    // What was parked comes late, and once.
    failing.lock().unwrap().clear();
    process.replay("bad").unwrap();
    process.skip("worse").unwrap();
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-bad"), ["Thanked", "Asked", "Taken"]);
    assert_eq!((added(&store, "bad"), process.status().parked), (vec![5], 0));
    clock.advance(HOUR);
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-worse"), ["Asked", "Expired"]);
}

#[test]
fn an_event_that_nobody_is_found_for_is_parked_alone() {
    let store = temporary(&clock());
    let failing = fails_at(54, &["route bad"]);
    let process = start_then::<54>(&store, ErrorAction::ParkInstance);
    place(&store, "bad", 5);
    place(&store, "good", 5);
    store.drain(LONG).unwrap();
    is_done(&store, "good");
    let parked = only(&process);
    let expected = ("", ParkedKind::Step, "position 1, event Placed of Order-bad");
    assert_eq!((&*parked.id, parked.kind, &*parked.what), expected);
    process.replay("").unwrap();
    assert_eq!(only(&process).attempts, parked.attempts + 1);
    failing.lock().unwrap().clear();
    process.replay("").unwrap();
    store.drain(LONG).unwrap();
    is_done(&store, "bad");
    assert_eq!(process.status().parked, 0);
    failing.lock().unwrap().insert("route bad".into());
    happened(&store, "bad", "Thanked");
    store.drain(LONG).unwrap();
    process.skip("").unwrap();
    assert_eq!(process.status().parked, 0);
}

#[test]
fn a_process_that_stopped_at_a_step_goes_on_without_it_when_it_is_skipped() {
    for point in ["route bad", "react bad", "effect begins bad"] {
        let store = temporary(&clock());
        fails_at(55, &[point]);
        let process = start_then::<55>(&store, ErrorAction::Stop);
        place(&store, "bad", 5);
        let good = place(&store, "good", 5);
        let last = filmstrip::Position::new(u64::MAX);
        assert_eq!(process.wait_for(last, LONG).unwrap_err().kind(), ErrorKind::Faulted);
        let parked = process.parked().unwrap();
        let id = if point == "route bad" { "" } else { "bad" };
        assert_eq!((parked.len(), parked[0].kind, &*parked[0].id), (1, ParkedKind::Stopped, id));
        assert_eq!(process.skip("good").unwrap_err().kind(), ErrorKind::InvalidInput);
        process.skip(id).unwrap();
        process.wait_for(good, LONG).unwrap();
        store.drain(LONG).unwrap();
        is_done(&store, "good");
        assert_eq!(added(&store, "bad"), [0; 0], "{point}");
        assert!(process.parked().unwrap().is_empty());
    }
}

/// The story: with `?` behind `execute`, an answer of the aggregate was an outage. Now what is behind `?` is a failure
/// of a store, which is tried again by itself.
#[test]
fn what_passes_by_itself_is_tried_again_without_parking_anybody() {
    let store = temporary(&clock());
    let failures = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&failures);
    hook(56, move |point| {
        if point == "effect begins bad" && counted.fetch_add(1, Ordering::SeqCst) < 4 {
            // A real time-out of the store's.
            return Err(timed_out().into());
        }
        Ok(())
    });
    let on_error = OnError::default().retries(0);
    let process = store.process::<Checkout<56>>().on_error(on_error).start().unwrap();
    place(&store, "bad", 5);
    let good = place(&store, "good", 5);
    process.wait_for(good, LONG).unwrap();
    is_done(&store, "good");
    store.drain(LONG).unwrap();
    is_done(&store, "bad");
    assert_eq!(process.status().parked, 0);
    // Those of its order, and the one of its payment.
    assert_eq!(failures.load(Ordering::SeqCst), 4 + 1 + 1);
}

fn timed_out() -> filmstrip::Error {
    let store = Store::temporary().unwrap();
    let process = store.process::<Checkout<0>>().start().unwrap();
    process.wait_for(filmstrip::Position::new(9), SOON).unwrap_err()
}
