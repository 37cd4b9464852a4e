//! What a restart finds: how far the process was done, what was skipped, and what is parked apart from its instance.

use crate::process::checkout::*;
use crate::process::{SOON, start_then};
use filmstrip::process::{ProcessHandle, ProcessState};
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::{ErrorKind, Position, Store};
use std::path::Path;

#[track_caller]
fn runs(process: &ProcessHandle) {
    let status = process.status();
    assert!(matches!(status.state, ProcessState::Running), "{status:?}");
}

/// The story: after a restart with an effect to come, the status said that nothing was ever done, and who waited for an
/// event of last year waited for that effect.
#[test]
fn after_a_restart_what_was_done_before_the_effects_to_come_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    fails_at(83, &["effect begins slow"]);
    let patient = OnError::default().retries(9).first_delay(LONG);
    let start = |store: &Store| store.process::<Checkout<83>>().on_error(patient).start().unwrap();
    let store = open(&path, &clock());
    let process = start(&store);
    for n in 0..20 {
        place(&store, &n.to_string(), 5);
    }
    store.drain(LONG).unwrap();
    let slow = place(&store, "slow", 5);
    let done = Position::new(slow.get() - 1);
    place(&store, "later", 5);
    let begun = std::time::Instant::now();
    while film(&store, "Checkout-later") != ["Asked", "Taken"] {
        assert!(begun.elapsed() < LONG, "{:?}", process.status());
        std::thread::sleep(SOON);
    }
    process.wait_for(done, LONG).unwrap();
    assert_eq!(process.status().position, done);
    process.stop().unwrap();
    let process = start(&store);
    assert_eq!(process.status().position, done, "when it was stopped and started");
    process.pause();
    process.resume();
    assert_eq!(process.status().position, done, "when it was paused and resumed");
    store.close().unwrap();
    let store = open(&path, &clock());
    let process = start(&store);
    process.wait_for(done, LONG).expect("when the store was opened again");
    let status = process.status();
    assert_eq!((status.position, status.lag), (done, store.head().get() - done.get()));
    // And no more than was done.
    assert_eq!(process.wait_for(slow, SOON * 20).unwrap_err().kind(), ErrorKind::Timeout);
    hook(83, |_| Ok(()));
    process.pause();
    process.resume();
    process.wait_for(store.head(), LONG).unwrap();
    assert_eq!(added(&store, "slow"), [5]);
    store.close().unwrap();
}

#[test]
fn an_event_of_no_known_instance_that_was_skipped_is_not_reacted_to_after_a_restart() {
    for then in [ErrorAction::Stop, ErrorAction::ParkInstance] {
        let directory = tempfile::tempdir().unwrap();
        let failing = fails_at(84, &["route bad"]);
        let store = open(&directory.path().join("s"), &clock());
        let process = start_then::<84>(&store, then);
        place(&store, "bad", 5);
        let placed = place(&store, "good", 5);
        let met = process.wait_for(placed, LONG).map_err(|error| error.kind());
        let stops = then == ErrorAction::Stop;
        assert_eq!(met, if stops { Err(ErrorKind::Faulted) } else { Ok(()) });
        process.skip("").unwrap();
        // As a kill leaves it: the journal as it is when the call has returned.
        let image = copy_of(&directory.path().join("s"), directory.path());
        store.close().unwrap();
        // Its code is mended.
        failing.lock().unwrap().clear();
        for path in [directory.path().join("s"), image] {
            let store = open(&path, &clock());
            let process = start_then::<84>(&store, then);
            process.wait_for(placed, LONG).unwrap();
            store.drain(LONG).unwrap();
            assert_eq!(film(&store, "Checkout-bad"), [""; 0], "{then:?}");
            assert_eq!(film(&store, "Checkout-good"), ["Asked", "Taken"]);
            assert!(process.parked().unwrap().is_empty());
            store.close().unwrap();
        }
    }
}

/// A copy of the journal of an open store, beside it.
fn copy_of(store: &Path, beside: &Path) -> std::path::PathBuf {
    let image = beside.join("image");
    std::fs::create_dir_all(image.join("journal")).unwrap();
    std::fs::copy(store.join("MANIFEST"), image.join("MANIFEST")).unwrap();
    for file in std::fs::read_dir(store.join("journal")).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, image.join("journal").join(path.file_name().unwrap())).unwrap();
    }
    image
}

/// The story: a changed program could not find out whose an event is that was read again for another instance. The
/// process read it again and again, without a pause and without an end; and where it stopped, to skip the event helped
/// until the next restart.
#[test]
fn an_event_that_was_skipped_when_it_was_read_again_stays_skipped_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let failing = fails_at(85, &["effect begins bad", "effect begins worse"]);
    let store = open(&path, &clock());
    let process = start_then::<85>(&store, ErrorAction::ParkInstance);
    for id in ["bad", "worse"] {
        place(&store, id, 5);
    }
    store.drain(LONG).unwrap();
    for id in ["bad", "worse"] {
        happened(&store, id, "Thanked");
    }
    place(&store, "lost", 0);
    store.drain(LONG).unwrap();
    let fail = |points: &[&str]| {
        let mut failing = failing.lock().unwrap();
        failing.clear();
        failing.extend(points.iter().map(|point| (*point).to_owned()));
    };
    fail(&["route lost"]);
    process.replay("bad").unwrap();
    let last = Position::new(u64::MAX);
    assert_eq!(process.wait_for(last, LONG / 4).unwrap_err().kind(), ErrorKind::Faulted);
    process.skip("").unwrap();
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-bad"), ["Asked", "Taken", "Thanked"]);
    store.close().unwrap();
    let store = open(&path, &clock());
    let process = start_then::<85>(&store, ErrorAction::ParkInstance);
    process.replay("worse").unwrap();
    store.drain(LONG).expect("it stops at what was skipped");
    assert_eq!(film(&store, "Checkout-worse"), ["Asked", "Taken", "Thanked"]);
    runs(&process);
    store.close().unwrap();
}

/// The story: an event was parked alone, since nobody knew whose it was. Its instance was parked too, and read it again
/// when the program was mended; and when it was replayed, the instance reacted to it once more.
#[test]
fn an_event_that_is_parked_alone_comes_once_though_its_instance_reads_again() {
    // What is done with it: it is replayed before or after its instance is, or skipped, over a restart or not.
    for (round, (first, second, restarts)) in [
        ("", "bad", false),
        ("", "bad", true),
        ("bad", "", false),
        ("bad", "", true),
        ("skip", "bad", false),
        ("skip", "bad", true),
    ]
    .into_iter()
    .enumerate()
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let failing = fails_at(86, &["effect begins bad"]);
        let mut store = open(&path, &clock());
        let mut process = start_then::<86>(&store, ErrorAction::ParkInstance);
        place(&store, "bad", 5);
        store.drain(LONG).unwrap();
        happened(&store, "bad", "Thanked");
        store.drain(LONG).unwrap();
        failing.lock().unwrap().insert("route bad".into());
        happened(&store, "bad", "Thanked");
        store.drain(LONG).unwrap();
        failing.lock().unwrap().clear();
        happened(&store, "bad", "Thanked");
        store.drain(LONG).unwrap();
        assert_eq!(process.status().parked, 2);
        for act in [first, second] {
            match act {
                "skip" => process.skip("").unwrap(),
                id => process.replay(id).unwrap(),
            }
            if restarts {
                store.close().unwrap();
                store = open(&path, &clock());
                process = start_then::<86>(&store, ErrorAction::ParkInstance);
            }
            store.drain(LONG).unwrap();
        }
        // A restart forgets that an event of a known instance was being replayed.
        if process.status().parked > 0 {
            process.replay("bad").unwrap();
            store.drain(LONG).unwrap();
        }
        let mut whole = vec!["Asked", "Taken", "Thanked", "Thanked"];
        whole.extend((first != "skip").then_some("Thanked"));
        assert_eq!(film(&store, "Checkout-bad"), whole, "round {round}");
        assert_eq!(process.status().parked, 0);
        runs(&process);
        store.close().unwrap();
    }
}

/// What `docs/book/processes.md` says of a replay that a restart interrupts.
#[test]
fn an_event_that_was_to_be_replayed_is_still_parked_after_a_restart_and_an_effect_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let failing = fails_at(94, &["react event", "route unknown", "effect begins effect"]);
    let store = open(&path, &clock());
    let process = start_then::<94>(&store, ErrorAction::ParkEvent);
    for id in ["event", "unknown", "effect"] {
        place(&store, id, 5);
    }
    store.drain(LONG).unwrap();
    let parked = |process: &ProcessHandle| -> Vec<String> {
        let mut ids: Vec<_> =
            process.parked().unwrap().into_iter().map(|parked| parked.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(parked(&process), ["", "effect", "event"]);
    failing.lock().unwrap().clear();
    process.pause();
    for id in ["event", "", "effect"] {
        process.replay(id).unwrap();
    }
    assert_eq!(parked(&process), ["event", "unknown"], "nothing else is parked");
    store.close().unwrap();
    let store = open(&path, &clock());
    let process = start_then::<94>(&store, ErrorAction::ParkEvent);
    store.drain(LONG).unwrap();
    assert_eq!(added(&store, "effect"), [5], "it goes on by itself");
    assert_eq!(parked(&process), ["event", "unknown"]);
    for id in ["event", "unknown"] {
        assert!(film(&store, &format!("Checkout-{id}")).is_empty(), "{id} goes on by itself");
        process.replay(id).unwrap();
        store.drain(LONG).unwrap();
        assert_eq!(added(&store, id), [5]);
    }
    assert_eq!(process.status().parked, 0);
    store.close().unwrap();
}
