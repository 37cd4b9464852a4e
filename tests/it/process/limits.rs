//! A process at its limits, and one past them: what is refused is said, and nothing is lost.

use crate::process::checkout::*;
use crate::process::{SOON, quick};
use filmstrip::process::Effects;
use filmstrip::process::{ParkedKind, ProcessHandle, ProcessState, Trigger};
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::{
    Commit, ErrorKind, Event, ExpectedVersion, Filter, HandlerError, NewEvent, Position,
    ProcessManager, RecordedEvent, Store,
};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::Instant;

/// Instances and steps of one process that may be parked.
const PARKED_MAX: u64 = 16_384;
/// Instances of one process that may have something to do.
const ACTIVE_MAX: u64 = 1_024;

/// Places the orders of these numbers, in a few commits.
fn place_all(store: &Store, orders: std::ops::Range<u64>, amount: u64) {
    let orders: Vec<u64> = orders.collect();
    for some in orders.chunks(500) {
        let append = |commit: Commit, n: &u64| {
            let placed = NewEvent::json("Placed", &amount).unwrap();
            commit.append(format!("Order-{n}"), ExpectedVersion::Any, [placed])
        };
        store.commit(some.iter().fold(Commit::new(), append)).unwrap();
    }
}

/// Waits until it is so.
#[track_caller]
fn until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < LONG, "it does not come to that");
        std::thread::sleep(SOON);
    }
}

fn fault(process: &ProcessHandle) -> String {
    let error = process.wait_for(Position::new(u64::MAX), LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Faulted);
    let ProcessState::Faulted(cause) = process.status().state else {
        panic!("{:?}", process.status())
    };
    cause.to_string()
}

/// As many as may be are parked, by whatever they failed at; the next one stops the process, and says so. When it
/// is resumed and the cause is gone, it goes on, and what came after is not lost.
fn park_up_to_the_limit<const TEST: u32>(
    store: &Store,
    point: &'static str,
    then: ErrorAction,
) -> ProcessHandle {
    let failing = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&failing);
    hook(TEST, move |at| match at == point && fails.load(Ordering::SeqCst) {
        true => Err("on purpose".into()),
        false => Ok(()),
    });
    let on_error = OnError::default().retries(0).then(then);
    let start = || store.process::<Checkout<TEST>>().on_error(on_error).start().unwrap();
    let process = start();
    place_all(store, 0..PARKED_MAX, 0);
    process.wait_for(store.head(), LONG).expect("as many as this may be parked");
    assert_eq!(process.status().parked, PARKED_MAX);
    place_all(store, PARKED_MAX..PARKED_MAX + 3, 0);
    let said = fault(&process);
    let expected = "16384 instances and steps are parked, at most 16384 are allowed: on purpose";
    assert!(said.contains(expected), "{said}");
    assert_eq!(process.status().parked, PARKED_MAX);
    let parked = process.parked().unwrap();
    assert_eq!((parked.len() as u64, parked[0].kind), (PARKED_MAX + 1, ParkedKind::Stopped));
    // It is the same after a restart.
    process.stop().unwrap();
    let process = start();
    assert!(fault(&process).contains(expected));
    assert_eq!(process.status().parked, PARKED_MAX);
    // When the cause is gone, it goes on; what is parked stays parked.
    failing.store(false, Ordering::SeqCst);
    process.resume();
    process.wait_for(store.head(), LONG).unwrap();
    for n in PARKED_MAX..PARKED_MAX + 3 {
        assert_eq!(film(store, &format!("Checkout-{n}")), ["Asked"]);
    }
    process
}

#[test]
fn as_many_instances_as_may_be_are_parked_and_the_next_one_stops_the_process() {
    let store = temporary(&clock());
    let process = park_up_to_the_limit::<80>(&store, "react", ErrorAction::ParkInstance);
    let mut ids: Vec<u64> =
        process.parked().unwrap().iter().map(|parked| parked.id.parse().unwrap()).collect();
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..PARKED_MAX), "somebody is lost");
    for id in ["0", "16383"] {
        process.replay(id).unwrap();
        store.drain(LONG).unwrap();
        assert_eq!(film(&store, &format!("Checkout-{id}")), ["Asked"]);
    }
    assert_eq!(process.status().parked, PARKED_MAX - 2);
}

#[test]
fn as_many_events_of_no_known_instance_are_parked_and_the_next_one_stops_the_process() {
    let store = temporary(&clock());
    let process = park_up_to_the_limit::<81>(&store, "route", ErrorAction::ParkInstance);
    process.replay("").unwrap();
    store.drain(LONG).unwrap();
    assert_eq!(process.status().parked, 0);
    let mut ids: Vec<u64> = Vec::new();
    for asked in store.read_all().event_type("Asked").iter().unwrap() {
        ids.push(asked.unwrap().stream.id().unwrap().parse().unwrap());
    }
    ids.sort_unstable();
    assert!(ids.into_iter().eq(0..PARKED_MAX + 3), "somebody is lost, or asked twice");
}

/// Effects that wait for each other's end while they are held.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    begun: AtomicU64,
}

impl Gate {
    fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Opens it at the end of a test, however it ends: the store waits for its effects.
struct Opens(Arc<Gate>);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Effects are slower than events come: no more instances than may be are at something, deadlines that come meanwhile
/// included, and the others are not forgotten.
#[test]
fn no_more_instances_than_may_be_are_at_something_and_the_others_come_later() {
    let (gate, clock) = (Arc::new(Gate::default()), clock());
    let store = temporary(&clock);
    // So many will be due at a time at which there is room for none.
    let process = store.process::<Checkout<82>>().on_error(quick()).start().unwrap();
    place_all(&store, 0..100, 0);
    store.drain(LONG).unwrap();
    assert_eq!(process.status().deadlines, 100);
    let (its, _opens) = (Arc::clone(&gate), Opens(Arc::clone(&gate)));
    hook(82, move |point| {
        if point == "effect begins" {
            its.pass();
        }
        Ok(())
    });
    let all = 100..100 + 3 * ACTIVE_MAX;
    place_all(&store, all.clone(), 5);
    until(|| process.status().active == ACTIVE_MAX);
    clock.advance(HOUR * 2);
    for n in all.clone() {
        assert!(process.status().active <= ACTIVE_MAX, "more than may be");
        if n % 100 == 0 {
            std::thread::sleep(SOON);
        }
    }
    let status = process.status();
    assert!((status.active, status.lag > 2 * ACTIVE_MAX) == (ACTIVE_MAX, true), "{status:?}");
    let asked = store.read_all().event_type("Asked").collect().unwrap().len() as u64;
    assert_eq!(asked, 100 + ACTIVE_MAX, "somebody reacts for whom there is no room");
    // Over a restart they are at the same.
    std::thread::scope(|scope| {
        scope.spawn(|| process.stop().unwrap());
        gate.open();
    });
    let process = store.process::<Checkout<82>>().on_error(quick()).start().unwrap();
    store.drain(LONG).unwrap();
    process.wait_for(store.head(), LONG).unwrap();
    for n in 0..100 {
        assert_eq!(film(&store, &format!("Checkout-{n}")), ["Asked", "Expired"]);
    }
    for n in all {
        assert_eq!(film(&store, &format!("Checkout-{n}")), ["Asked", "Taken"]);
        assert_eq!(added(&store, &n.to_string()), [5]);
    }
    assert_eq!((process.status().active, process.status().deadlines), (0, 0));
    hook(82, |_| Ok(()));
}

/// The story: all events of no known instance were replayed at once, and all of their instances were at something.
#[test]
fn no_more_instances_than_may_be_are_at_something_when_many_events_are_replayed() {
    let gate = Arc::new(Gate::default());
    let store = temporary(&clock());
    let (its, _opens) = (Arc::clone(&gate), Opens(Arc::clone(&gate)));
    let routes = Arc::new(AtomicBool::new(false));
    let is_known = Arc::clone(&routes);
    hook(93, move |point| match point {
        "route" if !is_known.load(Ordering::SeqCst) => Err("on purpose".into()),
        "effect begins" => {
            its.begun.fetch_add(1, Ordering::SeqCst);
            its.pass();
            Ok(())
        }
        _ => Ok(()),
    });
    let on_error = OnError::default().retries(0).then(ErrorAction::ParkInstance);
    let process = store.process::<Checkout<93>>().on_error(on_error).lanes(1).start().unwrap();
    place_all(&store, 0..ACTIVE_MAX + 500, 5);
    store.drain(LONG).unwrap();
    assert_eq!(process.status().parked, ACTIVE_MAX + 500);
    routes.store(true, Ordering::SeqCst);
    process.replay("").unwrap();
    until(|| gate.begun.load(Ordering::SeqCst) == 1);
    assert_eq!(process.status().active, ACTIVE_MAX);
    assert_eq!(process.status().parked, 500, "those for which there is no room");
    gate.open();
    store.drain(LONG).unwrap();
    assert_eq!((process.status().active, process.status().parked), (0, 0));
    for n in 0..ACTIVE_MAX + 500 {
        assert_eq!(film(&store, &format!("Checkout-{n}")), ["Asked", "Taken"]);
    }
    hook(93, |_| Ok(()));
}

/// Records what it is told to: so many events, of so many bytes.
#[derive(Default, Clone)]
struct Talkative;

static SILENT: AtomicBool = AtomicBool::new(false);
static HELD: LazyLock<Gate> = LazyLock::new(Gate::default);

#[derive(Clone, Serialize, Deserialize)]
enum Told {
    Told { what: String },
    Later { bytes: usize },
}
impl Event for Told {}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Ask {
    events: u64,
    bytes: usize,
    /// By its effect, not at once.
    later: bool,
}

impl Told {
    fn of(bytes: usize) -> Told {
        Told::Told { what: "x".repeat(bytes) }
    }
}

impl ProcessManager for Talkative {
    const NAME: &'static str = "Talkative";
    type Event = Told;

    fn filter() -> Filter {
        Filter::category("Ask")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.id().map(str::to_owned))
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<Told>, HandlerError> {
        let Trigger::Event(event) = trigger else { return Ok(vec![]) };
        if SILENT.load(Ordering::SeqCst) {
            return Err("not yet".into());
        }
        let Ask { events, bytes, later } = event.json()?;
        Ok(match later {
            true => vec![Told::Later { bytes }],
            false => (0..events).map(|_| Told::of(bytes)).collect(),
        })
    }

    fn evolve(&mut self, _: &Told) {}

    fn effect(&self, own: &Told, _: &mut Effects<'_>) -> Result<Vec<Told>, HandlerError> {
        let Told::Later { bytes } = own else { return Ok(vec![]) };
        HELD.begun.fetch_add(1, Ordering::SeqCst);
        HELD.pass();
        Ok(vec![Told::of(*bytes)])
    }
}

fn ask(store: &Store, asks: &[(String, Ask)]) -> Position {
    let append = |commit: Commit, (id, ask): &(String, Ask)| {
        let event = NewEvent::json("Ask", ask).unwrap();
        commit.append(format!("Ask-{id}"), ExpectedVersion::Any, [event])
    };
    store.commit(asks.iter().fold(Commit::new(), append)).unwrap().position
}

fn told(store: &Store, id: &str) -> u64 {
    store.stream_info(format!("Talkative-{id}")).map_or(0, |info| info.version.get())
}

/// The story: what two instances decided was one commit's worth each, and together more than a commit may hold. The
/// process stopped at its own commit. What many that were tried again at once decided had no bound at all.
#[test]
fn what_instances_decide_together_is_as_many_commits_as_it_takes() {
    let store = temporary(&clock());
    let patient = OnError::default().retries(3).first_delay(LONG);
    let process = store.process::<Talkative>().on_error(patient).start().unwrap();
    let of = |events, bytes| Ask { events, bytes, later: false };
    // One less than what is enough for a commit, and then the largest reaction; and one event more.
    let asks = [("few", 8_191), ("many", 57_344), ("more", 57_345), ("last", 1)];
    ask(&store, &asks.map(|(id, events)| (id.to_owned(), of(events, 1))));
    until(|| process.status().retrying.is_some());
    let retrying = process.status().retrying.unwrap();
    let expected = "what an instance records at once is 57345 events; at most 57344 are allowed";
    assert_eq!(retrying.cause, expected);
    for (id, events) in [("few", 8_191), ("many", 57_344), ("more", 0), ("last", 1)] {
        until(|| told(&store, id) == events);
    }
    // 80 MB, all at once.
    SILENT.store(true, Ordering::SeqCst);
    let large: Vec<_> = (0..80).map(|n| (n.to_string(), of(1, 1_000_000))).collect();
    ask(&store, &large);
    until(|| process.status().active >= 80);
    process.pause();
    SILENT.store(false, Ordering::SeqCst);
    process.resume();
    for (id, _) in &large {
        until(|| told(&store, id) == 1);
    }
    assert!(matches!(process.status().state, ProcessState::Running), "{:?}", process.status());
    // 80 MB again, of what the effects of all lanes have led to when it is paused.
    process.stop().unwrap();
    let process = store.process::<Talkative>().lanes(64).start().unwrap();
    let later = Ask { events: 0, bytes: 1_250_000, later: true };
    let asks: Vec<_> = (0..64).map(|n| (format!("later-{n}"), later)).collect();
    ask(&store, &asks);
    until(|| HELD.begun.load(Ordering::SeqCst) == 64);
    let head = store.head();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(10 * SOON);
            HELD.open();
        });
        process.pause();
    });
    assert_eq!(store.head().get(), head.get() + 64, "what they have led to is not recorded");
    process.resume();
    store.drain(LONG).unwrap();
    assert!(matches!(process.status().state, ProcessState::Running), "{:?}", process.status());
    assert_eq!(HELD.begun.load(Ordering::SeqCst), 64, "effects that were done came again");
}
