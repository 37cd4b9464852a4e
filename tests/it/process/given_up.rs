//! Which step is given up, parked or replayed, when several things go wrong at once.

use crate::process::checkout::*;
use crate::process::start_then;
use filmstrip::process::Parked;
use filmstrip::projection::ErrorAction;
use filmstrip::{ErrorKind, ExpectedVersion, NewEvent, Store};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Appends `event` to the stream of the instance `id`, as nobody but the process should.
fn intrude(store: &Store, id: &str, event: NewEvent) {
    store.append(format!("Checkout-{id}"), ExpectedVersion::Any, [event]).unwrap();
}

fn thanked() -> NewEvent {
    NewEvent::of(&CheckoutEvent::Thanked).unwrap()
}

/// Another writer writes to the stream of the instance "a" whenever that comes to `point`, as often as is set.
fn intrudes_at(test: u32, store: &Store, point: &'static str) -> Arc<AtomicU32> {
    let (left, weak) = (Arc::new(AtomicU32::new(0)), store.downgrade());
    let times = Arc::clone(&left);
    hook(test, move |at| {
        if at == point && times.load(Ordering::SeqCst) > 0 {
            times.fetch_sub(1, Ordering::SeqCst);
            intrude(&weak.upgrade()?, "a", thanked());
        }
        Ok(())
    });
    left
}

/// The types of the instance's events without those that another writer may have written.
fn own(store: &Store, id: &str) -> Vec<String> {
    let mut own = film(store, &format!("Checkout-{id}"));
    own.retain(|event_type| event_type != "Thanked");
    own
}

/// The story: `skip` gave up an event that was parked alone, and its instance, which waited from before it on, read it
/// again and reacted to it.
#[test]
fn an_event_that_is_skipped_with_its_instance_is_not_read_again_for_it() {
    for restarts in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let failing = Arc::new(Mutex::new(HashSet::from(["react a"])));
        let at = Arc::clone(&failing);
        hook(88, move |point| match at.lock().unwrap().contains(point) {
            true => Err("on purpose".into()),
            false => Ok(()),
        });
        let mut store = open(&path, &clock());
        let mut process = start_then::<88>(&store, ErrorAction::ParkInstance);
        place(&store, "a", 5);
        store.drain(LONG).unwrap();
        failing.lock().unwrap().insert("route a");
        happened(&store, "a", "Thanked");
        store.drain(LONG).unwrap();
        failing.lock().unwrap().remove("route a");
        happened(&store, "a", "Thanked");
        store.drain(LONG).unwrap();
        process.replay("").unwrap();
        let ids: Vec<_> = process.parked().unwrap().into_iter().map(|parked| parked.id).collect();
        assert_eq!(ids, ["a", "a"], "the instance, and an event of it");
        failing.lock().unwrap().clear();
        if restarts {
            process.pause();
        }
        process.skip("a").unwrap();
        if restarts {
            store.close().unwrap();
            store = open(&path, &clock());
            process = start_then::<88>(&store, ErrorAction::ParkInstance);
        }
        store.drain(LONG).unwrap();
        assert_eq!(film(&store, "Checkout-a"), ["Thanked"], "restarts: {restarts}");
        assert_eq!(process.status().parked, 0);
        store.close().unwrap();
    }
}

/// The story: which step had conflicted was guessed. Another instance's event was parked for this one, and when that
/// was replayed, it reacted to it.
#[test]
fn a_step_that_conflicts_time_after_time_is_the_one_that_is_parked() {
    // While an order of nothing is handled, no other commit succeeds: the conflicts follow each other.
    for (point, amounts, others, what) in [
        ("react a", [1, 2, 3], vec!["Asked", "Taken"], "position 2, event Placed of Order-a"),
        ("effect ends a", [0, 2, 0], vec!["Asked"], ", event Asked of Checkout-a"),
        (
            "react a",
            [0, 0, 0],
            vec!["Asked", "Expired"],
            "the deadline 2024-05-01 13:00:00 UTC of Checkout-a",
        ),
    ] {
        let waits = amounts == [0; 3];
        for (then, skips) in [
            (ErrorAction::ParkInstance, false),
            (ErrorAction::ParkInstance, true),
            (ErrorAction::ParkEvent, false),
            (ErrorAction::ParkEvent, true),
        ] {
            let case = format!("{what}, {then:?}, skipped: {skips}");
            let clock = clock();
            let store = temporary(&clock);
            let left = intrudes_at(89, &store, point);
            for (id, amount) in ["b", "a", "c"].into_iter().zip(amounts) {
                place(&store, id, amount);
            }
            if !waits {
                left.store(101, Ordering::SeqCst);
            }
            let process = start_then::<89>(&store, then);
            store.drain(LONG).unwrap();
            if waits {
                left.store(101, Ordering::SeqCst);
                clock.advance(HOUR);
                store.drain(LONG).unwrap();
            }
            assert_eq!(left.load(Ordering::SeqCst), 0);
            for id in ["b", "c"] {
                assert_eq!(own(&store, id), others, "{case}");
            }
            let before = own(&store, "a");
            assert_eq!(before.len(), usize::from(!what.starts_with("position")), "{case}");
            let mut parked = process.parked().unwrap();
            assert_eq!(parked.len(), 1, "{parked:#?}");
            let Parked { id, what: told, error, attempts, .. } = parked.remove(0);
            assert_eq!((&*id, attempts), ("a", 101), "{case}");
            assert!(told.ends_with(what), "{told}, and not {what}");
            assert_eq!(error, "another writer has written to its stream 101 times meanwhile");
            match skips {
                true => process.skip("a").unwrap(),
                false => process.replay("a").unwrap(),
            }
            store.drain(LONG).unwrap();
            let last = if waits { "Expired" } else { "Taken" };
            let whole = if skips { before } else { vec!["Asked".to_owned(), last.to_owned()] };
            assert_eq!(own(&store, "a"), whole, "{case}");
            let paid: &[u64] = if skips || waits { &[] } else { &[2] };
            if point == "react a" {
                assert_eq!(added(&store, "a"), paid, "{case}");
            }
            assert_eq!(process.status().parked, 0, "{case}");
        }
    }
}

/// The story: conflicts were counted for all instances together, and any commit that succeeded ended the count. A step
/// that met another writer each time was tried for ever while other instances went on.
#[test]
fn a_step_that_conflicts_time_after_time_is_parked_though_others_go_on_meanwhile() {
    let store = temporary(&clock());
    let (times, weak) = (Arc::new(AtomicU32::new(0)), store.downgrade());
    let met = Arc::clone(&times);
    hook(92, move |at| {
        if at == "effect ends a" && met.load(Ordering::SeqCst) < 150 {
            let (n, store) = (met.fetch_add(1, Ordering::SeqCst), weak.upgrade()?);
            place(&store, &format!("b{n}"), 0);
            while film(&store, &format!("Checkout-b{n}")).is_empty() {
                std::thread::yield_now();
            }
            intrude(&store, "a", thanked());
        }
        Ok(())
    });
    let process = start_then::<92>(&store, ErrorAction::ParkInstance);
    place(&store, "a", 5);
    store.drain(LONG).unwrap();
    let parked = process.parked().unwrap();
    let attempts: Vec<_> = parked.iter().map(|parked| (&*parked.id, parked.attempts)).collect();
    assert_eq!(attempts, [("a", 101)]);
    times.store(150, Ordering::SeqCst);
    process.replay("a").unwrap();
    store.drain(LONG).unwrap();
    assert_eq!(own(&store, "a"), ["Asked", "Taken"]);
}

/// The story: to set that the deadline of an instance has passed, the instance was loaded. One that did not load
/// stopped the process at each look at the clock, and could not be skipped.
#[test]
fn the_deadline_of_an_instance_that_does_not_load_is_parked_and_can_be_skipped() {
    for then in [ErrorAction::ParkInstance, ErrorAction::ParkEvent, ErrorAction::Stop] {
        for replays in [false, true] {
            let clock = clock();
            let store = temporary(&clock);
            let process = start_then::<90>(&store, then);
            for id in ["x", "y"] {
                place(&store, id, 0);
            }
            store.drain(LONG).unwrap();
            intrude(&store, "x", NewEvent::json("Strange", &()).unwrap());
            clock.advance(HOUR);
            let stops = then == ErrorAction::Stop;
            let is_parked = || {
                let met = store.drain(LONG).map_err(|error| error.kind());
                assert_eq!(met, if stops { Err(ErrorKind::Faulted) } else { Ok(()) }, "{then:?}");
                let parked = process.parked().unwrap();
                let told: Vec<_> = parked.iter().map(|parked| &*parked.what).collect();
                assert_eq!(told, ["the deadline 2024-05-01 13:00:00 UTC of Checkout-x"]);
            };
            is_parked();
            if replays {
                match stops {
                    true => process.resume(),
                    false => process.replay("x").unwrap(),
                }
                is_parked();
            }
            process.skip("x").unwrap();
            place(&store, "z", 5);
            store.drain(LONG).unwrap();
            assert_eq!(film(&store, "Checkout-y"), ["Asked", "Expired"], "{then:?}");
            assert_eq!(film(&store, "Checkout-x"), ["Asked", "Strange"]);
            assert_eq!(film(&store, "Checkout-z"), ["Asked", "Taken"]);
            assert_eq!((process.status().parked, process.status().deadlines), (0, 0), "{then:?}");
        }
    }
}

/// The story: a store that did not work was noted as what a replayed event had failed with.
#[test]
fn a_store_that_fails_within_a_replay_leaves_what_is_parked_as_it_was() {
    let other = Store::temporary().unwrap();
    let append = || other.append("Other-1", ExpectedVersion::NoStream, [thanked()]);
    append().unwrap();
    let passes = filmstrip::Error::from(append().unwrap_err());
    other.clone().close().unwrap();
    let lasts = filmstrip::Error::from(append().unwrap_err());
    assert_eq!((passes.kind(), lasts.kind()), (ErrorKind::Conflict, ErrorKind::Closed));
    for skips in [false, true] {
        let store = temporary(&clock());
        let failure: Arc<Mutex<(u32, Option<filmstrip::Error>)>> = Arc::new(Mutex::new((1, None)));
        let its = Arc::clone(&failure);
        hook(95, move |point| match &mut *its.lock().unwrap() {
            (0, _) => Ok(()),
            _ if point != "react a" => Ok(()),
            (_, None) => Err("on purpose".into()),
            (times, Some(error)) => {
                *times -= 1;
                Err(error.clone().into())
            }
        });
        let process = start_then::<95>(&store, ErrorAction::ParkEvent);
        for _ in 0..2 {
            happened(&store, "a", "Thanked");
        }
        store.drain(LONG).unwrap();
        let before = process.parked().unwrap();
        assert_eq!(before.len(), 2);
        // It is tried again by itself, as often as it takes; two retries are allowed.
        *failure.lock().unwrap() = (4, Some(passes.clone()));
        process.replay("a").unwrap();
        store.drain(LONG).unwrap();
        assert_eq!((film(&store, "Checkout-a").len(), process.status().parked), (2, 0));
        // After one that does not pass, the process stops.
        *failure.lock().unwrap() = (1, None);
        happened(&store, "a", "Thanked");
        store.drain(LONG).unwrap();
        let before = process.parked().unwrap();
        *failure.lock().unwrap() = (u32::MAX, Some(lasts.clone()));
        process.replay("a").unwrap();
        assert_eq!(store.drain(LONG).unwrap_err().kind(), ErrorKind::Faulted);
        let mut parked = process.parked().unwrap();
        assert_eq!((parked.remove(0).error, &parked), (lasts.to_string(), &before));
        *failure.lock().unwrap() = (0, None);
        match skips {
            true => process.skip("a").unwrap(),
            false => process.resume(),
        }
        store.drain(LONG).unwrap();
        assert_eq!(
            (film(&store, "Checkout-a").len(), process.status().parked),
            (3 - usize::from(skips), 0)
        );
    }
}

/// The story: `replay` returned `Ok`, the next commit met another writer, and nothing of what was parked was tried.
#[test]
fn what_is_to_be_replayed_is_replayed_after_a_commit_that_failed() {
    let store = temporary(&clock());
    hook(91, |point| match point {
        "react a" => Err("on purpose".into()),
        _ => Ok(()),
    });
    let process = start_then::<91>(&store, ErrorAction::ParkEvent);
    for _ in 0..3 {
        happened(&store, "a", "Thanked");
    }
    store.drain(LONG).unwrap();
    assert_eq!(process.status().parked, 3);
    intrudes_at(91, &store, "react a").store(1, Ordering::SeqCst);
    process.replay("a").unwrap();
    store.drain(LONG).unwrap();
    assert_eq!(process.status().parked, 0);
    assert_eq!(film(&store, "Checkout-a"), ["Thanked"; 1 + 3]);
}
