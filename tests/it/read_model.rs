//! Models in memory that follow a store.

use crate::common::domain::counted;
use filmstrip::{
    ErrorKind, ExpectedVersion, Filter, HandlerError, NewEvent, Position, ReadModel, RecordedEvent,
    Store,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);

/// Sums up, and remembers where each event stood.
#[derive(Default)]
struct Sum {
    sum: u64,
    positions: Vec<u64>,
}

impl ReadModel for Sum {
    fn filter() -> Filter {
        Filter::category("Wanted")
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), HandlerError> {
        match event.event_type.as_str() {
            "Failing" => return Err("it fails on purpose".into()),
            "Panicking" => panic!("it panics on purpose"),
            _ => self.sum += event.json::<u64>()?,
        }
        self.positions.push(event.position.get());
        Ok(())
    }
}

#[test]
fn a_model_has_what_was_recorded_before_and_after_it_was_started() {
    let store = Store::temporary().unwrap();
    for n in 1..=1_000 {
        let events = (0..10).map(|_| counted(n));
        store.append(format!("Wanted-{}", n % 7), ExpectedVersion::Any, events).unwrap();
    }
    let model = store.read_model::<Sum>().unwrap();
    for n in 1_001..=1_100 {
        store.append("Wanted-x", ExpectedVersion::Any, [counted(n)]).unwrap();
    }
    model.wait_for(store.head(), LONG).unwrap();
    let expected = 10 * (1..=1_000).sum::<u64>() + (1_001..=1_100).sum::<u64>();
    assert_eq!(model.read(|model| model.sum).unwrap(), expected);
    let positions = model.read(|model| model.positions.clone()).unwrap();
    assert_eq!(positions, (1..=store.head().get()).collect::<Vec<_>>());
}

#[test]
fn what_the_filter_leaves_out_counts_as_done() {
    let store = Store::temporary().unwrap();
    let model = store.read_model::<Sum>().unwrap();
    store.append("Wanted-1", ExpectedVersion::Any, [counted(5)]).unwrap();
    for _ in 0..20 {
        store.append("Other-1", ExpectedVersion::Any, [counted(1)]).unwrap();
    }
    model.wait_for(Position::new(21), LONG).unwrap();
    assert_eq!(model.position(), Position::new(21));
    assert_eq!(model.read(|model| model.sum).unwrap(), 5);
    let late = model.wait_for(Position::new(22), Duration::from_millis(1)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
}

#[test]
fn a_failing_or_panicking_model_is_faulted_with_the_cause_and_harms_nobody() {
    for (event_type, cause) in [("Failing", "it fails on purpose"), ("Panicking", "it panics")] {
        let store = Store::temporary().unwrap();
        let model = store.read_model::<Sum>().unwrap();
        let bad = NewEvent::json(event_type, &()).unwrap();
        store.append("Wanted-1", ExpectedVersion::Any, [counted(1)]).unwrap();
        store.append("Wanted-1", ExpectedVersion::Any, [bad, counted(2)]).unwrap();
        for error in [
            model.wait_for(Position::new(3), LONG).unwrap_err(),
            model.read(|model| model.sum).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Faulted);
            let message = error.to_string();
            assert!(message.contains(cause) && message.contains("position 2"), "{message}");
        }
        store.append("Wanted-1", ExpectedVersion::Any, [counted(1)]).unwrap();
        store.close().unwrap();
    }
}

#[test]
fn a_reader_never_sees_a_part_of_a_commit() {
    let store = Store::temporary().unwrap();
    let model = store.read_model::<Sum>().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let seen = model.read(|model| model.positions.len()).unwrap();
                assert_eq!(seen % 3, 0, "a commit of three was seen in part");
            }
        });
        for n in 0..300 {
            store.append("Wanted-1", ExpectedVersion::Any, [n, n, n].map(counted)).unwrap();
        }
        model.wait_for(store.head(), LONG).unwrap();
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_model_outlives_the_handle_of_its_store_and_says_when_that_is_closed() {
    let store = Store::temporary().unwrap();
    let model = store.read_model::<Sum>().unwrap();
    store.append("Wanted-1", ExpectedVersion::Any, [counted(5)]).unwrap();
    let clone = store.clone();
    drop(store);
    model.wait_for(Position::new(1), LONG).unwrap();
    clone.close().unwrap();
    assert_eq!(model.read(|model| model.sum).unwrap(), 5);
    let closed = model.wait_for(Position::new(2), LONG).unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
}

#[test]
fn draining_the_store_waits_for_its_models_as_long_as_they_are_held() {
    #[derive(Default)]
    struct Slow(u64);
    impl ReadModel for Slow {
        fn filter() -> Filter {
            Filter::all()
        }
        fn apply(&mut self, _: &RecordedEvent) -> Result<(), HandlerError> {
            std::thread::sleep(Duration::from_millis(1));
            self.0 += 1;
            Ok(())
        }
    }
    let store = Store::temporary().unwrap();
    let model = store.read_model::<Slow>().unwrap();
    drop(store.read_model::<Slow>().unwrap());
    for n in 1..=20 {
        store.append("A-1", ExpectedVersion::Any, [counted(n)]).unwrap();
    }
    store.drain(LONG).unwrap();
    assert_eq!(model.read(|model| model.0).unwrap(), 20);
    drop(model);
    store.drain(LONG).unwrap();
}

#[test]
fn a_model_that_nobody_holds_stops() {
    static DROPPED: AtomicBool = AtomicBool::new(false);
    #[derive(Default)]
    struct Watched;
    impl Drop for Watched {
        fn drop(&mut self) {
            DROPPED.store(true, Ordering::SeqCst);
        }
    }
    impl ReadModel for Watched {
        fn filter() -> Filter {
            Filter::all()
        }
        fn apply(&mut self, _: &RecordedEvent) -> Result<(), HandlerError> {
            Ok(())
        }
    }
    let store = Store::temporary().unwrap();
    let model = store.read_model::<Watched>().unwrap();
    drop(model.clone());
    store.append("Wanted-1", ExpectedVersion::Any, [counted(5)]).unwrap();
    model.wait_for(Position::new(1), LONG).unwrap();
    assert!(!DROPPED.load(Ordering::SeqCst), "it went with a clone");
    drop(model);
    store.close().unwrap();
    assert!(DROPPED.load(Ordering::SeqCst), "its thread still runs");
}
