//! Durable views: exactly once, never torn, parked, rebuilt, removed.

use crate::common::domain::counted;
use crate::common::{Random, seed, variable, wait_until, within};
use filmstrip::projection::{ErrorAction, OnError, ProjectionHandle, ProjectionState};
use filmstrip::repair::FindingKind;
use filmstrip::{
    ErrorKind, ExpectedVersion, Filter, HandlerError, NewEvent, Position, Projection,
    RecordedEvent, Store, ViewWriter,
};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_millis(1);

fn append(store: &Store, stream: &str, events: impl IntoIterator<Item = NewEvent>) -> Position {
    store.append(stream, ExpectedVersion::Any, events).unwrap().position
}

/// Sums up by stream, and over all; fails and panics as its switches say.
#[derive(Clone, Default)]
struct Sums<const VERSION: u32> {
    failing: Arc<AtomicBool>,
    tries: Arc<AtomicU64>,
    /// Waits at each event until it is open.
    gate: Arc<Gate>,
}

struct Gate(parking_lot::Mutex<bool>, parking_lot::Condvar);

impl Default for Gate {
    fn default() -> Gate {
        Gate(parking_lot::Mutex::new(true), parking_lot::Condvar::new())
    }
}

impl Gate {
    fn set(&self, open: bool) {
        *self.0.lock() = open;
        self.1.notify_all();
    }

    fn pass(&self) {
        let mut open = self.0.lock();
        while !*open {
            self.1.wait(&mut open);
        }
    }
}

impl<const VERSION: u32> Projection for Sums<VERSION> {
    const NAME: &'static str = "sums";
    const VERSION: u32 = VERSION;

    fn filter(&self) -> Filter {
        Filter::category("Sum")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        self.gate.pass();
        let mut add = |key: &str, n: u64| {
            let sum = view.get::<u64>(key)?.unwrap_or(0);
            view.put(key, &(sum + n))
        };
        // Written before it fails, and gone if it does.
        add("events", 1)?;
        match event.event_type.as_str() {
            "Failing" if self.failing.load(Ordering::SeqCst) => {
                self.tries.fetch_add(1, Ordering::SeqCst);
                return Err("it fails on purpose".into());
            }
            "Panicking" if self.failing.load(Ordering::SeqCst) => {
                self.tries.fetch_add(1, Ordering::SeqCst);
                panic!("it panics on purpose");
            }
            "Failing" | "Panicking" => add("mended", 1)?,
            _ => add(&format!("sum/{}", event.stream), event.json::<u64>()? * u64::from(VERSION))?,
        }
        Ok(())
    }
}

fn failing() -> Sums<1> {
    let sums = Sums::default();
    sums.failing.store(true, Ordering::SeqCst);
    sums
}

fn get(projection: &ProjectionHandle, key: &str) -> u64 {
    projection.view().get(key).unwrap().unwrap_or(0)
}

fn patient(then: ErrorAction) -> OnError {
    OnError::default().retries(2).first_delay(SOON).then(then)
}

#[test]
fn a_view_has_each_event_once_before_and_after_it_was_started_and_over_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = 0;
    for round in 1..=4_u64 {
        let store = Store::open(directory.path().join("s")).unwrap();
        for n in 0..100 {
            append(&store, &format!("Sum-{}", n % 5), (0..10).map(|_| counted(round)));
        }
        let sums = store.project(Sums::<1>::default()).start().unwrap();
        for n in 0..50 {
            append(&store, &format!("Sum-{}", n % 5), [counted(round)]);
            append(&store, "Other-1", [counted(1_000)]);
        }
        if round % 2 == 0 {
            sums.wait_for(store.head(), LONG).unwrap();
            expected += 1_050;
            assert_eq!(get(&sums, "events"), expected);
            assert_eq!(sums.status().lag, 0);
            assert_eq!(sums.status().checkpoint, store.head());
        } else {
            // Closed wherever it is.
            expected += 1_050;
        }
        drop(sums);
        store.close().unwrap();
    }
    let store = Store::open(directory.path().join("s")).unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    sums.wait_for(store.head(), LONG).unwrap();
    assert_eq!(get(&sums, "events"), expected);
    let by_stream = sums.view().prefix::<u64>("sum/").unwrap();
    assert_eq!(by_stream.len(), 5);
    let sum: u64 = by_stream.iter().map(|(_, sum)| sum).sum();
    assert_eq!(sum, 1_050 * (1 + 2 + 3 + 4));
}

#[test]
fn rows_are_read_by_key_by_prefix_and_by_range() {
    let store = Store::temporary().unwrap();
    for name in ["Sum-a", "Sum-b", "Sum-ba", "Sum-c"] {
        append(&store, name, [counted(1)]);
    }
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    sums.wait_for(store.head(), LONG).unwrap();
    let view = sums.view();
    let keys = |rows: Vec<(String, u64)>| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(view.prefix("sum/Sum-b").unwrap()), ["sum/Sum-b", "sum/Sum-ba"]);
    assert_eq!(keys(view.range("sum/Sum-b", "sum/Sum-c").unwrap()), ["sum/Sum-b", "sum/Sum-ba"]);
    assert_eq!(keys(view.range("sum/Sum-b", "sum/Sum-b").unwrap()), [""; 0]);
    assert_eq!(keys(view.range("z", "a").unwrap()), [""; 0]);
    assert_eq!(keys(view.prefix("").unwrap()).len(), 5);
    assert_eq!(view.get::<u64>("nothing").unwrap(), None);
    let error = view.get::<String>("events").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Undecodable);
    let nested = view.read(|reader| (reader.get::<u64>("events"), view.get::<u64>("events")));
    assert_eq!((nested.0.unwrap(), nested.1.unwrap()), (Some(4), Some(4)));
}

#[test]
fn a_view_is_never_seen_between_two_parts_of_a_commit() {
    let store = Store::temporary().unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let view = sums.view();
                while !done.load(Ordering::Relaxed) {
                    let (events, sum) = view.read(|view| {
                        let events = view.get::<u64>("events").unwrap().unwrap_or(0);
                        let rows = view.prefix::<u64>("sum/").unwrap();
                        (events, rows.iter().map(|(_, sum)| sum).sum::<u64>())
                    });
                    assert_eq!(events % 3, 0, "a part of a commit was seen");
                    assert_eq!(sum, events, "two moments were seen");
                }
            });
        }
        for n in 0..300 {
            append(&store, &format!("Sum-{}", n % 7), [1, 1, 1].map(counted));
        }
        sums.wait_for(store.head(), LONG).unwrap();
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(get(&sums, "events"), 900);
}

#[test]
fn rows_of_any_size_come_back_whole_also_after_they_were_replaced_and_reopened() {
    struct Texts;
    impl Projection for Texts {
        const NAME: &'static str = "texts";
        const VERSION: u32 = 1;
        fn filter(&self) -> Filter {
            Filter::all()
        }
        fn apply(
            &self,
            event: &RecordedEvent,
            view: &mut ViewWriter<'_>,
        ) -> Result<(), HandlerError> {
            match event.json::<Option<String>>()? {
                Some(text) => view.put(event.stream.as_str(), &text)?,
                None => view.delete(event.stream.as_str()),
            }
            Ok(())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 4_000, 4_094, 4_095, 8_190, 8_191, 100_000, 3_000_000, 10];
    for round in 0..3 {
        let store = Store::open(directory.path().join("s")).unwrap();
        let texts = store.project(Texts).start().unwrap();
        for n in 0..sizes.len() {
            let text = (n != 4 || round != 2).then(|| "x".repeat(sizes[(n + round) % sizes.len()]));
            append(&store, &format!("Text-{n}"), [NewEvent::json("Set", &text).unwrap()]);
        }
        texts.wait_for(store.head(), LONG).unwrap();
        let check = |texts: &ProjectionHandle| {
            for n in 0..sizes.len() {
                let row: Option<String> = texts.view().get(&format!("Text-{n}")).unwrap();
                let size = (n != 4 || round != 2).then_some(sizes[(n + round) % sizes.len()]);
                assert_eq!(row.map(|row| row.len()), size, "row {n} in round {round}");
            }
            let rows = texts.view().prefix::<String>("Text-").unwrap().len();
            assert_eq!(rows, sizes.len() - usize::from(round == 2));
        };
        check(&texts);
        store.close().unwrap();
        drop(texts);
        let store = Store::open(directory.path().join("s")).unwrap();
        check(&store.project(Texts).start().unwrap());
    }
}

// ---- what fails --------------------------------------------------------------------------------

#[test]
fn an_event_that_fails_stops_the_projection_with_the_cause_and_leaves_no_writes() {
    for (event_type, cause) in [("Failing", "it fails on purpose"), ("Panicking", "it panics")] {
        let store = Store::temporary().unwrap();
        let projection = failing();
        let tries = Arc::clone(&projection.tries);
        let mend = Arc::clone(&projection.failing);
        let sums = store.project(projection).on_error(patient(ErrorAction::Stop)).start().unwrap();
        append(&store, "Sum-1", [counted(5), NewEvent::json(event_type, &()).unwrap(), counted(6)]);
        let error = sums.wait_for(Position::new(3), LONG).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Faulted);
        let message = error.to_string();
        assert!(message.contains(cause) && message.contains("position 2"), "{message}");
        assert_eq!(tries.load(Ordering::SeqCst), 3);
        wait_until(LONG, "the fault", || {
            matches!(sums.status().state, ProjectionState::Faulted(_))
        });
        assert_eq!((get(&sums, "events"), get(&sums, "sum/Sum-1")), (1, 5));
        assert_eq!(sums.status().checkpoint, Position::new(1));
        assert_eq!(store.drain(LONG).unwrap_err().kind(), ErrorKind::Faulted);

        mend.store(false, Ordering::SeqCst);
        sums.resume();
        sums.wait_for(Position::new(3), LONG).unwrap();
        assert_eq!((get(&sums, "events"), get(&sums, "sum/Sum-1")), (3, 11));
        assert!(matches!(sums.status().state, ProjectionState::Running));
        store.drain(LONG).unwrap();
    }
}

#[test]
fn a_failure_that_passes_is_tried_again_until_it_does() {
    let store = Store::temporary().unwrap();
    let projection = failing();
    let (tries, mend) = (Arc::clone(&projection.tries), Arc::clone(&projection.failing));
    let on_error = OnError::default().retries(u32::MAX).first_delay(Duration::from_micros(1));
    let sums = store.project(projection).on_error(on_error).start().unwrap();
    append(&store, "Sum-1", [NewEvent::json("Failing", &()).unwrap()]);
    wait_until(LONG, "the tenth try", || tries.load(Ordering::SeqCst) >= 10);
    mend.store(false, Ordering::SeqCst);
    sums.wait_for(Position::new(1), LONG).unwrap();
    assert_eq!((get(&sums, "events"), get(&sums, "mended")), (1, 1));
}

#[test]
fn a_parked_event_counts_as_passed_and_can_be_replayed_or_discarded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let store = Store::open(&path).unwrap();
    let builder = store.project(failing()).on_error(patient(ErrorAction::ParkEvent));
    let sums = builder.start().unwrap();
    let bad = || NewEvent::json("Failing", &()).unwrap();
    append(&store, "Sum-1", [counted(1), bad(), counted(2)]);
    append(&store, "Sum-2", [bad(), counted(3)]);
    sums.wait_for(Position::new(5), LONG).unwrap();
    assert_eq!(get(&sums, "events"), 3);
    assert_eq!(sums.status().parked, 2);
    let parked = sums.parked().unwrap();
    let places: Vec<_> = parked.iter().map(|p| (p.position.get(), p.stream.as_str())).collect();
    assert_eq!(places, [(2, "Sum-1"), (4, "Sum-2")]);
    assert_eq!((parked[0].attempts, parked[0].event_type.as_str()), (3, "Failing"));
    assert_eq!(parked[0].error.as_deref(), Some("it fails on purpose"));
    sums.replay_parked().unwrap();
    assert_eq!(sums.parked().unwrap()[0].attempts, 4, "what fails again stays");
    store.close().unwrap();
    drop(sums);

    let store = Store::open(&path).unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    assert_eq!(sums.parked().unwrap().len(), 2, "parked events are forgotten over a restart");
    sums.replay_parked().unwrap();
    assert!(sums.parked().unwrap().is_empty());
    assert_eq!((get(&sums, "events"), get(&sums, "mended")), (5, 2));
    assert_eq!(sums.status().parked, 0);
    sums.stop().unwrap();

    let sums = store.project(failing()).on_error(patient(ErrorAction::ParkEvent)).start().unwrap();
    let last = append(&store, "Sum-3", [bad()]);
    sums.wait_for(last, LONG).unwrap();
    assert_eq!(sums.parked().unwrap().len(), 1);
    sums.discard_parked().unwrap();
    assert!(sums.parked().unwrap().is_empty());
    assert_eq!(get(&sums, "events"), 5);
}

#[test]
fn behind_a_parked_event_its_stream_waits_in_order_and_others_flow() {
    let store = Store::temporary().unwrap();
    let projection = failing();
    let mend = Arc::clone(&projection.failing);
    let builder = store.project(projection).on_error(patient(ErrorAction::ParkStream));
    let sums = builder.start().unwrap();
    let bad = NewEvent::json("Failing", &()).unwrap();
    append(&store, "Sum-1", [counted(1), bad, counted(2)]);
    let last = append(&store, "Sum-2", [counted(3)]);
    sums.wait_for(last, LONG).unwrap();
    let last = append(&store, "Sum-1", [counted(4)]);
    sums.wait_for(last, LONG).unwrap();
    assert_eq!((get(&sums, "sum/Sum-1"), get(&sums, "sum/Sum-2")), (1, 3));
    let errors: Vec<_> = sums.parked().unwrap().into_iter().map(|p| p.error).collect();
    assert_eq!(errors, [Some("it fails on purpose".to_owned()), None, None]);
    sums.replay_parked().unwrap();
    assert_eq!(sums.parked().unwrap().len(), 3, "a waiting event overtook the failing one");
    assert_eq!(get(&sums, "sum/Sum-1"), 1);

    mend.store(false, Ordering::SeqCst);
    sums.replay_parked().unwrap();
    assert!(sums.parked().unwrap().is_empty());
    assert_eq!((get(&sums, "sum/Sum-1"), get(&sums, "mended")), (7, 1));
    let last = append(&store, "Sum-1", [counted(5)]);
    sums.wait_for(last, LONG).unwrap();
    assert_eq!(get(&sums, "sum/Sum-1"), 12, "its stream does not flow again");
}

/// Keeps the positions of each stream's events in the order in which they were applied. Each event fails as
/// often as it is told, from never to more often than it is tried.
#[derive(Clone, Default)]
struct Notes {
    seed: u64,
    /// How often an event still fails; those that are not named are told when they come.
    failures: Arc<parking_lot::Mutex<std::collections::HashMap<u64, u64>>>,
    mended: Arc<AtomicBool>,
}

impl Projection for Notes {
    const NAME: &'static str = "notes";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Note")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let position = event.position.get();
        let mut notes: Vec<u64> = view.get(event.stream.as_str())?.unwrap_or_default();
        notes.push(position);
        view.put(event.stream.as_str(), &notes)?;
        let mut failures = self.failures.lock();
        let told = || Random(self.seed ^ position).below(12).saturating_sub(7);
        let failures = failures.entry(position).or_insert_with(told);
        if *failures > 0 && !self.mended.load(Ordering::SeqCst) {
            *failures -= 1;
            return Err("not yet".into());
        }
        Ok(())
    }
}

/// A consumer group lost what was left of a batch. A projection holds one too: when an event in its middle is
/// tried again, is parked, or a request comes while it waits. Whatever happens in the middle of whichever
/// batch, each event is applied once, and in the order of its stream if the stream is parked with it.
///
/// `FILMSTRIP_ROUNDS=1000 cargo test --release --test it projection::whatever` for a long run.
#[test]
fn whatever_interrupts_a_batch_each_event_is_applied_once() {
    let seed = seed();
    for round in 0..variable("FILMSTRIP_ROUNDS").unwrap_or(6) {
        let mut random = Random(seed.wrapping_add(round));
        let store = Store::temporary().unwrap();
        let then = if random.one_in(2) { ErrorAction::ParkEvent } else { ErrorAction::ParkStream };
        let projection = Notes { seed: random.next(), ..Notes::default() };
        let start = || store.project(projection.clone()).on_error(patient(then)).start().unwrap();
        let mut notes = start();
        for _ in 0..80 {
            match random.below(12) {
                0..=4 => {
                    let events = (0..=random.below(20)).map(counted);
                    append(&store, &format!("Note-{}", random.below(5)), events);
                }
                5 => drop(append(&store, "Other-1", [counted(0)])),
                6 => notes.pause(),
                7 => notes.replay_parked().unwrap(),
                8 if random.one_in(3) => notes.rebuild().unwrap(),
                9 if random.one_in(3) => {
                    notes.stop().unwrap();
                    notes = start();
                }
                10 => std::thread::sleep(SOON),
                _ => notes.resume(),
            }
        }
        projection.mended.store(true, Ordering::SeqCst);
        notes.resume();
        notes.wait_for(store.head(), LONG).unwrap();
        notes.replay_parked().unwrap();
        assert_eq!(notes.parked().unwrap(), [], "round {round}");
        for n in 0..5 {
            let stream = format!("Note-{n}");
            let mut applied: Vec<u64> = notes.view().get(&stream).unwrap().unwrap_or_default();
            if then == ErrorAction::ParkEvent {
                applied.sort_unstable();
            }
            let events = store.read_all().collect().unwrap().into_iter();
            let events = events.filter(|event| event.stream.as_str() == stream);
            let recorded: Vec<_> = events.map(|event| event.position.get()).collect();
            assert_eq!(applied, recorded, "round {round}, {then:?}, {stream}");
        }
    }
}

// ---- rebuilding --------------------------------------------------------------------------------

#[test]
fn another_version_is_built_beside_the_old_view_which_is_served_until_the_swap() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let store = Store::open(&path).unwrap();
    for n in 0..100 {
        append(&store, &format!("Sum-{}", n % 3), [counted(1)]);
    }
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    sums.wait_for(store.head(), LONG).unwrap();
    sums.stop().unwrap();
    for version in [2, 1] {
        let (handle, gate, factor) = if version == 2 {
            let next = Sums::<2>::default();
            let gate = Arc::clone(&next.gate);
            gate.set(false);
            (store.project(next).start().unwrap(), gate, 2)
        } else {
            let next = Sums::<1>::default();
            let gate = Arc::clone(&next.gate);
            gate.set(false);
            (store.project(next).start().unwrap(), gate, 1)
        };
        let before = get(&handle, "sum/Sum-0");
        assert_eq!(before, 34 * (3 - factor), "the old view is not served");
        assert!(matches!(handle.status().state, ProjectionState::Rebuilding { .. }));
        let late = handle.wait_for(Position::new(1), SOON).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout, "who waits, waits for the new view");
        gate.set(true);
        handle.wait_for(store.head(), LONG).unwrap();
        assert_eq!(get(&handle, "sum/Sum-0"), 34 * factor);
        assert_eq!(get(&handle, "events"), 100);
        assert!(matches!(handle.status().state, ProjectionState::Running));
        handle.stop().unwrap();
    }
}

#[test]
fn a_rebuild_under_way_goes_on_after_a_restart_and_the_old_view_is_served_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let store = Store::open(&path).unwrap();
    for _ in 0..2_000 {
        append(&store, "Sum-0", [counted(1)]);
    }
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    sums.wait_for(store.head(), LONG).unwrap();
    sums.stop().unwrap();
    let next = Sums::<2>::default();
    next.gate.set(false);
    let gate = Arc::clone(&next.gate);
    let handle = store.project(next).start().unwrap();
    let closing = std::thread::spawn(move || store.close());
    gate.set(true);
    closing.join().unwrap().unwrap();
    drop(handle);

    let store = Store::open(&path).unwrap();
    let handle = store.project(Sums::<2>::default()).start().unwrap();
    let seen = get(&handle, "sum/Sum-0");
    assert!(seen == 2_000 || seen == 4_000, "{seen} is neither the old nor the new view");
    handle.wait_for(store.head(), LONG).unwrap();
    assert_eq!((get(&handle, "sum/Sum-0"), get(&handle, "events")), (4_000, 2_000));
}

#[test]
fn a_rebuild_on_call_shows_the_old_view_then_the_new_one_and_never_a_mixture() {
    let store = Store::temporary().unwrap();
    let projection = failing();
    let mend = Arc::clone(&projection.failing);
    let sums = store.project(projection).on_error(patient(ErrorAction::ParkEvent)).start().unwrap();
    append(&store, "Sum-0", [NewEvent::json("Failing", &()).unwrap()]);
    for n in 0..500 {
        append(&store, &format!("Sum-{}", n % 3), [1, 1, 1].map(counted));
    }
    sums.wait_for(store.head(), LONG).unwrap();
    mend.store(false, Ordering::SeqCst);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut least, mut reads) = (0, 0_u64);
            while !stop.load(Ordering::Relaxed) {
                let (events, mended, sum) = sums.view().read(|view| {
                    let get = |key| view.get::<u64>(key).unwrap().unwrap_or(0);
                    let rows = view.prefix::<u64>("sum/").unwrap();
                    (get("events"), get("mended"), rows.iter().map(|(_, n)| n).sum::<u64>())
                });
                assert_eq!(events - mended, sum, "a mixture was seen");
                assert!(sum >= least, "the view went back from {least} to {sum}");
                (least, reads) = (sum, reads + 1);
            }
            reads
        });
        sums.rebuild().unwrap();
        for n in 0..200 {
            append(&store, &format!("Sum-{}", n % 3), [1, 1, 1].map(counted));
        }
        sums.wait_for(store.head(), LONG).unwrap();
        stop.store(true, Ordering::Relaxed);
        assert!(reading.join().unwrap() > 0);
    });
    assert_eq!((get(&sums, "events"), get(&sums, "mended")), (2_101, 1));
    assert!(sums.parked().unwrap().is_empty(), "a rebuild keeps parked events");
    assert_eq!(sums.status().parked, 0);
}

// ---- handles -----------------------------------------------------------------------------------

#[test]
fn one_name_runs_once_and_again_after_it_was_stopped() {
    let store = Store::temporary().unwrap();
    let first = store.project(Sums::<1>::default()).start().unwrap();
    let error = store.project(Sums::<1>::default()).start().map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyRunning);
    let error = store.remove_projection("sums").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyRunning);
    first.stop().unwrap();
    first.stop().unwrap();
    assert!(matches!(first.status().state, ProjectionState::Stopped));
    append(&store, "Sum-1", [counted(1)]);
    assert_eq!(first.wait_for(Position::new(1), LONG).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(first.rebuild().unwrap_err().kind(), ErrorKind::Closed);
    let second = store.project(Sums::<1>::default()).start().unwrap();
    second.wait_for(Position::new(1), LONG).unwrap();
    assert_eq!((get(&first, "events"), get(&second, "events")), (1, 1));
}

#[test]
fn a_removed_projection_leaves_nothing_and_begins_anew() {
    let store = Store::temporary().unwrap();
    append(&store, "Sum-1", [counted(1)]);
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    sums.wait_for(Position::new(1), LONG).unwrap();
    sums.stop().unwrap();
    store.remove_projection("sums").unwrap();
    store.remove_projection("sums").unwrap();
    store.remove_projection("never heard of").unwrap();
    let error = sums.view().get::<u64>("events").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let gated = Sums::<1>::default();
    let gate = Arc::clone(&gated.gate);
    gate.set(false);
    let sums = store.project(gated).start().unwrap();
    assert_eq!(get(&sums, "events"), 0);
    gate.set(true);
    sums.wait_for(Position::new(1), LONG).unwrap();
    assert_eq!(get(&sums, "events"), 1);
}

#[test]
fn a_paused_projection_rests_until_it_is_resumed() {
    let store = Store::temporary().unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    sums.wait_for(append(&store, "Sum-1", [counted(1)]), LONG).unwrap();
    sums.pause();
    assert!(matches!(sums.status().state, ProjectionState::Paused));
    let last = append(&store, "Sum-1", [counted(1)]);
    assert_eq!(sums.wait_for(last, SOON).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(sums.status().lag, 1);
    assert_eq!(get(&sums, "events"), 1);
    sums.resume();
    sums.wait_for(last, LONG).unwrap();
    assert_eq!(get(&sums, "events"), 2);
}

/// A rebuild that was asked for while the projection was paused, so that nothing would run, ran at once.
#[test]
fn a_rebuild_of_a_paused_projection_waits_until_it_is_resumed_or_started_again() {
    let store = Store::temporary().unwrap();
    for is_reopened in [false, true] {
        let mut sums = store.project(Sums::<1>::default()).start().unwrap();
        let before = append(&store, "Sum-1", (1..4).map(counted));
        sums.wait_for(before, LONG).unwrap();
        let events = get(&sums, "events");
        sums.pause();
        sums.rebuild().unwrap();
        assert!(matches!(sums.status().state, ProjectionState::Paused));
        let head = append(&store, "Sum-1", [counted(4)]);
        // A wait is for the new view already.
        let early = sums.wait_for(before, SOON).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::Timeout);
        assert!(matches!(sums.status().state, ProjectionState::Paused));
        assert_eq!(get(&sums, "events"), events, "the view that is served has changed");
        if is_reopened {
            sums.stop().unwrap();
            sums = store.project(Sums::<1>::default()).start().unwrap();
        } else {
            sums.resume();
        }
        sums.wait_for(head, LONG).unwrap();
        assert_eq!(get(&sums, "events"), head.get());
        sums.stop().unwrap();
    }
}

/// Each commit writes its number into three rows, the last of them slowly.
struct Three;

impl Projection for Three {
    const NAME: &'static str = "three";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let (row, commit): (u64, u64) = event.json()?;
        if row == 2 {
            std::thread::sleep(5 * SOON);
        }
        view.put(&format!("commit/{row}"), &commit)?;
        Ok(view.put(&format!("large/{row}/{}", commit % 10), &"x".repeat(35_000))?)
    }
}

/// A batch of several commits that changed more than 256 KiB together was cut where it had so many, in the middle of a
/// commit of 105 KB.
#[test]
fn a_commit_is_not_seen_half_though_what_is_written_together_is_cut() {
    let store = Store::temporary().unwrap();
    let mut head = Position::START;
    for commit in 0..60_u64 {
        let event = |row: u64| NewEvent::json("Written", &(row, commit)).unwrap();
        head = append(&store, "Three-1", (0..3).map(event));
    }
    let three = store.project(Three).start().unwrap();
    let view = three.view();
    let mut seen = std::collections::BTreeSet::new();
    while three.status().checkpoint < head {
        let rows: Vec<(String, u64)> = view.prefix("commit/").unwrap();
        let Some((_, commit)) = rows.first() else { continue };
        assert!(rows.len() == 3 && rows.iter().all(|(_, other)| other == commit), "{rows:?}");
        seen.insert(*commit);
    }
    assert!(seen.len() > 1, "it was written at once");
}

#[test]
fn what_is_not_wanted_counts_as_done_and_is_not_read_again_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let store = Store::open(&path).unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    append(&store, "Sum-1", [counted(1)]);
    for _ in 0..100 {
        append(&store, "Other-1", (0..100).map(counted));
    }
    sums.wait_for(store.head(), LONG).unwrap();
    assert_eq!(get(&sums, "events"), 1);
    store.close().unwrap();
    drop(sums);
    let store = Store::open(&path).unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    assert!(sums.status().checkpoint.get() > 4_000, "{:?}", sums.status());
    sums.wait_for(store.head(), LONG).unwrap();
}

#[test]
fn a_closed_store_ends_its_projections_and_their_views_say_so() {
    let store = Store::temporary().unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    sums.wait_for(append(&store, "Sum-1", [counted(1)]), LONG).unwrap();
    store.close().unwrap();
    assert_eq!(sums.view().get::<u64>("events").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sums.wait_for(Position::new(2), LONG).unwrap_err().kind(), ErrorKind::Closed);
    assert!(matches!(sums.status().state, ProjectionState::Stopped));
    assert_eq!(sums.parked().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn damaged_views_are_moved_aside_and_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let store = Store::open(&path).unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    for _ in 0..50 {
        append(&store, "Sum-1", [counted(1)]);
    }
    sums.wait_for(store.head(), LONG).unwrap();
    store.close().unwrap();
    drop(sums);
    // Each time is more, and the newest two are kept: they were kept for ever, and filled the disk.
    for times in 1..=4 {
        fs::write(path.join("views").join("conf"), b"not what sled wrote").unwrap();
        let store = Store::open(&path).unwrap();
        let sums = store.project(Sums::<1>::default()).start().unwrap();
        sums.wait_for(store.head(), LONG).unwrap();
        assert_eq!(get(&sums, "events"), 50);
        store.close().unwrap();
        let kept: Vec<u32> =
            (1..=5).filter(|n| path.join(format!("views.damaged-{n}")).is_dir()).collect();
        assert_eq!(kept, ((times - 1).max(1)..=times).collect::<Vec<_>>());
    }
}

/// A store in `path` whose `Sums` have applied `events` on top of `journal`, if that is one.
fn written(path: &Path, journal: Option<&Path>, events: u64, each: u64) {
    if let Some(journal) = journal {
        restore(journal, path);
    }
    let store = Store::open(path).unwrap();
    for _ in 0..events {
        append(&store, "Sum-1", [counted(each)]);
    }
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    sums.wait_for(store.head(), LONG).unwrap();
    sums.stop().unwrap();
    store.close().unwrap();
}

/// Copies the backup `from` over the store `to`, of which views and index stay.
fn restore(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to.join("journal"));
    fs::create_dir_all(to.join("journal")).unwrap();
    for entry in fs::read_dir(from.join("journal")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join("journal").join(entry.file_name())).unwrap();
    }
    fs::copy(from.join("MANIFEST"), to.join("MANIFEST")).unwrap();
}

/// What `verify_at` says of the views in `path`.
fn said_of_views(path: &Path) -> Vec<String> {
    let findings = Store::verify_at(path).unwrap().findings.into_iter();
    findings.filter(|f| f.kind == FindingKind::View).map(|f| f.to_string()).collect()
}

#[test]
fn a_view_ahead_of_the_log_is_corrupt_and_can_be_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let (path, backup) = (directory.path().join("store"), directory.path().join("backup"));
    written(&path, None, 2, 1);
    Store::open(&path).unwrap().backup(&backup).unwrap();
    written(&path, None, 3, 1);
    restore(&backup, &path);
    Store::repair(&path).unwrap().rebuild_index().unwrap();
    let said = said_of_views(&path);
    assert!(said.len() == 1 && said[0].contains("position 5, the log at 2"), "{said:?}");
    let store = Store::open(&path).unwrap();
    let error = store.project(Sums::<1>::default()).start().map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("position 5"), "{error}");
    assert!(error.to_string().contains("remove_projection"), "{error}");
    store.remove_projection("sums").unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    sums.wait_for(store.head(), LONG).unwrap();
    assert_eq!(get(&sums, "events"), 2);
}

/// A backup was restored over a store whose `views/` stayed. The view knew its position and nothing else, so
/// it served the rows of the history that had been given up, never applied the events that got its
/// positions, and verifying found nothing. A view says which history it was made from, and one of another
/// history is made again.
#[test]
fn a_view_of_a_history_that_was_given_up_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let (path, backup) = (directory.path().join("store"), directory.path().join("backup"));
    written(&path, None, 3, 1);
    Store::open(&path).unwrap().backup(&backup).unwrap();
    written(&path, None, 4, 10);
    restore(&backup, &path);
    Store::repair(&path).unwrap().rebuild_index().unwrap();
    let store = Store::open(&path).unwrap();
    for _ in 0..6 {
        append(&store, "Sum-1", [counted(100)]);
    }
    // Beside a writer it is found as well as from outside.
    let findings = store.verify().unwrap().findings;
    assert!(findings.len() == 1 && findings[0].kind == FindingKind::View, "{findings:?}");
    store.close().unwrap();
    let said = said_of_views(&path);
    assert!(said.len() == 1 && said[0].contains("another history"), "{said:?}");
    let store = Store::open(&path).unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    sums.wait_for(store.head(), LONG).unwrap();
    assert_eq!((get(&sums, "events"), get(&sums, "sum/Sum-1")), (9, 603));
    assert!(store.verify().unwrap().is_whole(), "{:?}", store.verify().unwrap().findings);
}

#[test]
fn a_view_of_the_part_that_a_backup_has_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (path, backup) = (directory.path().join("store"), directory.path().join("backup"));
    written(&path, None, 3, 1);
    let store = Store::open(&path).unwrap();
    append(&store, "Sum-1", [counted(1)]);
    store.backup(&backup).unwrap();
    append(&store, "Sum-1", [counted(10)]);
    store.close().unwrap();
    restore(&backup, &path);
    Store::repair(&path).unwrap().rebuild_index().unwrap();
    let store = Store::open(&path).unwrap();
    for _ in 0..5 {
        append(&store, "Sum-1", [counted(100)]);
    }
    assert!(store.verify().unwrap().is_whole(), "{:?}", store.verify().unwrap().findings);
    let gated = Sums::<1>::default();
    gated.gate.set(false);
    let sums = store.project(gated.clone()).start().unwrap();
    assert_eq!(get(&sums, "events"), 3, "it goes on where it was");
    gated.gate.set(true);
    sums.wait_for(store.head(), LONG).unwrap();
    assert_eq!((get(&sums, "events"), get(&sums, "sum/Sum-1")), (9, 504));
}

#[test]
fn the_views_of_another_store_are_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let (long, short) = (directory.path().join("long"), directory.path().join("short"));
    for other_is_ahead in [true, false] {
        let (ours, theirs) = if other_is_ahead { (2, 5) } else { (5, 2) };
        written(&short, None, ours, 1);
        written(&long, None, theirs, 10);
        fs::remove_dir_all(short.join("views")).unwrap();
        fs::rename(long.join("views"), short.join("views")).unwrap();
        let said = said_of_views(&short);
        assert!(said.iter().any(|what| what.contains("is of store")), "{said:?}");
        let store = Store::open(&short).unwrap();
        let sums = store.project(Sums::<1>::default()).start().unwrap();
        sums.wait_for(store.head(), LONG).unwrap();
        assert_eq!((get(&sums, "events"), get(&sums, "sum/Sum-1")), (ours, ours));
        assert!(store.verify().unwrap().is_whole(), "{:?}", store.verify().unwrap().findings);
        store.close().unwrap();
        for path in [&long, &short] {
            fs::remove_dir_all(path).unwrap();
        }
    }
}

/// Views that were emptied, halved or taken away were whole to `verify_at`: nothing outside of them said that
/// they had been there. Views that were closed in order are noted, and held against the note.
#[test]
fn views_that_were_emptied_halved_or_taken_away_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let db = path.join("views").join("db");
    written(&path, None, 50, 1);
    assert!(said_of_views(&path).is_empty());
    let cut = |length: u64| {
        let file = fs::File::options().write(true).open(&db).unwrap();
        let length = length.min(file.metadata().unwrap().len() / 2);
        file.set_len(length).unwrap();
    };
    let damages: [(&str, &dyn Fn()); 6] = [
        ("nothing", &|| ()),
        ("taken away", &|| fs::remove_dir_all(path.join("views")).unwrap()),
        ("emptied", &|| cut(0)),
        ("halved", &|| cut(u64::MAX)),
        ("without their file", &|| fs::remove_file(&db).unwrap()),
        ("rebuilt", &|| {
            fs::remove_dir_all(path.join("views")).unwrap();
            let other = directory.path().join("other");
            let store = Store::open(&other).unwrap();
            store.remove_projection("sums").unwrap();
            store.close().unwrap();
            fs::rename(other.join("views"), path.join("views")).unwrap();
        }),
    ];
    for (case, damage) in damages {
        damage();
        let said = said_of_views(&path);
        assert_eq!(said.is_empty(), case == "nothing", "{case}: {said:?}");
        let findings = Store::open(&path).unwrap().verify().unwrap().findings;
        assert_eq!(findings.is_empty(), case == "nothing", "{case}: {findings:?}");
        // They are made again, and noted again.
        written(&path, None, 1, 1);
        assert!(said_of_views(&path).is_empty(), "{case}: {:?}", said_of_views(&path));
    }
    let store = Store::open(&path).unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    assert_eq!(get(&sums, "events"), 56);
    // As long as somebody has them open, nothing is noted, and a kill leaves no note that is wrong.
    assert!(!path.join("views.closed").exists());
}

/// The story: while an event was tried again, up to a minute each time, what had been applied before it in its batch
/// could not be seen, waiting for it failed, and the status said that the projection runs.
#[test]
fn while_an_event_is_tried_again_what_came_before_it_can_be_seen_and_the_status_says_why() {
    let store = Store::temporary().unwrap();
    let failing_event = NewEvent::json("Failing", &1).unwrap();
    append(&store, "Sum-1", [counted(1), counted(2), failing_event, counted(4)]);
    let on_error = OnError::default().first_delay(LONG);
    let projection = store.project(failing()).on_error(on_error).start().unwrap();
    projection.wait_for(Position::new(2), LONG).unwrap();
    assert_eq!(get(&projection, "sum/Sum-1"), 3);
    wait_until(LONG, "the first failure", || projection.status().retrying.is_some());
    let status = projection.status();
    assert!(matches!(status.state, ProjectionState::Running), "{status:?}");
    assert_eq!(status.checkpoint, Position::new(2));
    let retrying = status.retrying.unwrap();
    assert_eq!(retrying.what, "position 3, event Failing of Sum-1");
    assert_eq!((retrying.failures, &*retrying.cause), (1, "it fails on purpose"));
    let late = projection.wait_for(Position::new(3), SOON).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    projection.stop().unwrap();
    assert!(projection.status().retrying.is_none());
}

/// Fails while it is told to; then it is slow, and when it comes to one of the parked events, it appends.
struct Replayed {
    store: Store,
    failing: Arc<AtomicBool>,
    order: Arc<parking_lot::Mutex<Vec<u64>>>,
}

impl Projection for Replayed {
    const NAME: &'static str = "replayed";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Sum")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        if self.failing.load(Ordering::SeqCst) {
            return Err("it fails on purpose".into());
        }
        self.order.lock().push(event.position.get());
        if event.position.get() == 10 {
            append(&self.store, "Sum-new", [counted(0)]);
        }
        std::thread::sleep(SOON);
        let events = view.get::<u64>("events")?.unwrap_or(0);
        Ok(view.put("events", &(events + 1))?)
    }
}

#[test]
fn parking_instances_is_refused_for_a_projection_has_none() {
    let store = Store::temporary().unwrap();
    let on_error = OnError::default().then(ErrorAction::ParkInstance);
    let error = store.project(Three).on_error(on_error).start().map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let expected = "projection three cannot do ParkInstance with an event; \
                    Stop, ParkEvent and ParkStream are allowed";
    assert_eq!(error.to_string(), expected);
}

/// The story: a replay read all that was parked again for each parked event: 8,000 took two minutes, and no new
/// event was applied meanwhile.
#[test]
fn a_replay_goes_in_parts_between_which_new_events_are_taken_in() {
    const PARKED: u64 = 2_000;
    for then in [ErrorAction::ParkEvent, ErrorAction::ParkStream] {
        let store = Store::temporary().unwrap();
        append(&store, "Sum-1", (0..PARKED).map(counted));
        let failing = Arc::new(AtomicBool::new(true));
        let order = Arc::default();
        let replayed = Replayed {
            store: store.clone(),
            failing: Arc::clone(&failing),
            order: Arc::clone(&order),
        };
        let on_error = OnError::default().retries(0).then(then);
        let projection = store.project(replayed).on_error(on_error).start().unwrap();
        projection.wait_for(store.head(), LONG).unwrap();
        assert_eq!(projection.status().parked, PARKED);
        failing.store(false, Ordering::SeqCst);
        projection.replay_parked().unwrap();
        projection.wait_for(Position::new(PARKED + 1), LONG).unwrap();
        assert_eq!(projection.status().parked, 0);
        assert!(projection.parked().unwrap().is_empty());
        assert_eq!(get(&projection, "events"), PARKED + 1, "{then:?}");
        let order = order.lock();
        let last = order.last().copied();
        assert_eq!(last, Some(PARKED), "{then:?}: the new event waited for the whole replay");
        projection.stop().unwrap();
        store.close().unwrap();
    }
}

/// The story: two threads that read two views within each other, in different orders, hung with both projectors as
/// soon as events came; so did a thread that waited in a read for another one that read the same view.
#[test]
fn reads_of_views_within_each_other_and_for_each_other_end() {
    within(LONG, read_views_within_each_other);
}

fn read_views_within_each_other() {
    let store = Store::temporary().unwrap();
    let sums = store.project(Sums::<1>::default()).start().unwrap();
    let order = Arc::default();
    let failing = Arc::default();
    let other = Replayed { store: store.clone(), failing, order };
    let other = store.project(other).start().unwrap();
    let views = [sums.view(), other.view()];
    let done = AtomicBool::new(false);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                append(&store, "Sum-1", [counted(1)]);
            }
        });
        for (outer, inner) in [(0, 1), (1, 0)] {
            let (tell, views, store) = (tell.clone(), &views, &store);
            scope.spawn(move || {
                for _ in 0..200 {
                    views[outer].read(|_| {
                        std::thread::sleep(SOON);
                        views[inner].get::<u64>("events").unwrap();
                    });
                }
                // Another thread, which holds nothing, reads for this one.
                views[outer].read(|_| {
                    append(store, "Sum-1", [counted(1)]);
                    std::thread::sleep(20 * SOON);
                    let read = || views[outer].get::<u64>("events").unwrap();
                    std::thread::scope(|scope| scope.spawn(read).join().unwrap());
                });
                tell.send(()).unwrap();
            });
        }
        told.iter().take(2).for_each(drop);
        done.store(true, Ordering::SeqCst);
    });
    store.close().unwrap();
}
