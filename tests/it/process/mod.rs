//! Process managers: each event reacted to once, each command run once, deadlines, faults.

mod checkout;
mod crashes;
mod deadlines;
mod given_up;
mod kills;
mod lanes;
mod limits;
mod parking;
mod restarts;

use crate::common::whole::Tally;
use crate::common::{Random, seed, variable};
use crate::process::checkout::*;
use filmstrip::process::{PassOn, ProcessHandle, ProcessState, Trigger};
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::repository::StoredEvent;
use filmstrip::testing::ManualClock;
use filmstrip::{
    Commit, ErrorKind, Event, ExpectedVersion, Filter, HandlerError, Metadata, NewEvent, Position,
    ProcessManager, RecordedEvent, Store,
};
use serde::{Deserialize, Serialize};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

const SOON: Duration = Duration::from_millis(1);

/// Stops at what fails three times.
fn quick() -> OnError {
    OnError::default().retries(2).first_delay(SOON).then(ErrorAction::Stop)
}

fn start<const TEST: u32>(store: &Store) -> ProcessHandle {
    start_then::<TEST>(store, ErrorAction::Stop)
}

/// Starts a process that does `then` with what fails three times.
fn start_then<const TEST: u32>(store: &Store, then: ErrorAction) -> ProcessHandle {
    store.process::<Checkout<TEST>>().on_error(quick().then(then)).start().unwrap()
}

#[track_caller]
fn check_fault(process: &ProcessHandle, parts: &[&str]) {
    let error = process.wait_for(Position::new(u64::MAX), LONG).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Faulted);
    let ProcessState::Faulted(cause) = process.status().state else {
        panic!("{:?}", process.status())
    };
    for part in parts {
        assert!(cause.to_string().contains(part), "{cause}\ndoes not hold {part:?}");
    }
}

#[test]
fn an_event_is_reacted_to_once_over_restarts_and_instances_do_not_disturb_each_other() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3_u64 {
        let store = open(&directory.path().join("s"), &clock());
        for n in 0..5 {
            place(&store, &format!("{round}-{n}"), n + 1);
            happened(&store, &format!("{round}-{n}"), "Looked");
        }
        let process = start::<1>(&store);
        let last = place(&store, &format!("{round}-late"), 9);
        process.wait_for(last, LONG).unwrap();
        for n in 0..5 {
            let id = format!("{round}-{n}");
            assert_eq!(film(&store, &format!("Checkout-{id}")), ["Asked", "Taken"]);
            assert_eq!(added(&store, &id), [n + 1]);
        }
        store.drain(LONG).unwrap();
        let status = process.status();
        assert!(matches!(status.state, ProcessState::Running), "{status:?}");
        assert_eq!((status.position, status.lag), (store.head(), 0));
        let mut all: Vec<u64> =
            (0..=round).flat_map(|_| [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 9, 9]).collect();
        all.sort_unstable();
        // Instances run side by side.
        let mut added = added(&store, "all");
        added.sort_unstable();
        assert_eq!(added, all);
        if round == 1 {
            process.stop().unwrap();
        }
        store.close().unwrap();
    }
}

/// A consumer group lost what was left of a batch. A process holds one too, while it reacts to an event in its
/// middle, does its effects, and hears requests. Whatever fails or comes in between, in the middle of whichever
/// batch, each order is asked for and paid once.
///
/// `FILMSTRIP_ROUNDS=1000 cargo test --release --test it process::whatever` for a long run.
#[test]
fn whatever_interrupts_a_batch_each_event_is_reacted_to_once() {
    let seed = seed();
    for round in 0..variable("FILMSTRIP_ROUNDS").unwrap_or(2) {
        let mut random = Random(seed.wrapping_add(round));
        let mood = Mutex::new(Random(random.next()));
        hook(16, move |_| match mood.lock().unwrap().below(10) {
            0 => Err("not now".into()),
            _ => Ok(()),
        });
        let store = temporary(&clock());
        let (lanes, then) = (1 + random.below(4) as usize, random.below(3));
        let then =
            [ErrorAction::Stop, ErrorAction::ParkInstance, ErrorAction::ParkEvent][then as usize];
        let start = || {
            let builder = store.process::<Checkout<16>>().on_error(quick().then(then));
            builder.lanes(lanes).start().unwrap()
        };
        let mut process = start();
        let mut placed = 0;
        for _ in 0..60 {
            match random.below(8) {
                0..=2 => {
                    let orders = placed..=placed + random.below(10);
                    placed = orders.end() + 1;
                    let event = |n| NewEvent::json("Placed", &(n + 1)).unwrap();
                    let append = |commit: Commit, n| {
                        commit.append(format!("Order-{n}"), ExpectedVersion::NoStream, [event(n)])
                    };
                    store.commit(orders.fold(Commit::new(), append)).unwrap();
                }
                3 => process.pause(),
                4 if random.one_in(3) => {
                    process.stop().unwrap();
                    process = start();
                }
                5 => std::thread::sleep(SOON),
                6 => {
                    for parked in process.parked().unwrap() {
                        // Another one of its instance may be tried again already.
                        let _ = process.replay(&parked.id);
                    }
                }
                _ => process.resume(),
            }
        }
        hook(16, |_| Ok(()));
        process.resume();
        process.wait_for(store.head(), LONG).unwrap();
        store.drain(LONG).unwrap();
        // What is tried again as an event of its own may have its effects parked at first.
        while process.status().parked > 0 {
            for parked in process.parked().unwrap() {
                let _ = process.replay(&parked.id);
            }
            store.drain(LONG).unwrap();
        }
        for n in 0..placed {
            let (film, added) =
                (film(&store, &format!("Checkout-{n}")), added(&store, &n.to_string()));
            assert_eq!(
                (film, added),
                (vec!["Asked".into(), "Taken".into()], vec![n + 1]),
                "round {round}, {lanes} lanes, {then:?}"
            );
        }
    }
}

#[test]
fn a_command_runs_once_though_its_effect_ran_again() {
    let store = temporary(&clock());
    let failures = AtomicU32::new(0);
    hook(2, move |point| match point {
        "effect ends" if failures.fetch_add(1, Ordering::SeqCst) < 2 => Err("not yet".into()),
        _ => Ok(()),
    });
    let process = start::<2>(&store);
    process.wait_for(place(&store, "1", 5), LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked", "Taken"]);
    assert_eq!(added(&store, "1"), [5]);
    assert_eq!(added(&store, "all"), [5, 5], "two commands of one effect are not the same");
}

#[test]
fn an_effect_that_is_done_does_not_come_again_when_the_store_was_at_rest() {
    static EFFECTS: AtomicU32 = AtomicU32::new(0);
    hook(15, |point| {
        EFFECTS.fetch_add(u32::from(point == "effect begins"), Ordering::SeqCst);
        Ok(())
    });
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=3 {
        let store = open(&directory.path().join("s"), &clock());
        start::<15>(&store);
        // Asked and Taken, of which the last leads to no event, and Asked without an answer.
        place(&store, &format!("{round}"), 5);
        place(&store, &format!("{round}-silent"), 0);
        store.drain(LONG).unwrap();
        store.close().unwrap();
        assert_eq!(EFFECTS.load(Ordering::SeqCst), 3 * round);
    }
}

#[test]
fn a_rejected_command_can_become_an_event() {
    let store = temporary(&clock());
    let process = start::<3>(&store);
    process.wait_for(place(&store, "1", 1_000), LONG).unwrap();
    assert_eq!(process.name(), "Checkout");
    assert_eq!(added(&store, "1"), [0; 0]);
    let refused = &events(&store, "Checkout-1")[1];
    let why = "1000 is too much".to_owned();
    assert_eq!(refused.decode::<CheckoutEvent>().unwrap(), CheckoutEvent::Refused { why });
}

#[test]
fn every_event_tells_what_it_follows_from() {
    let store = temporary(&clock());
    let process = start::<4>(&store);
    let (conversation, trigger) = (Uuid::from_u128(7), Uuid::from_u128(8));
    let metadata = Metadata::default().correlation_id(conversation);
    let metadata = metadata.user("ann").entry("tenant", "t");
    let placed = NewEvent::json("Placed", &5).unwrap().id(trigger).metadata(metadata);
    let placed = store.append("Order-1", ExpectedVersion::Any, [placed]).unwrap();
    process.wait_for(placed.position, LONG).unwrap();
    let own = events(&store, "Checkout-1");
    let (asked, taken) = (&own[0], &own[1]);
    let added = &events(&store, "Account-1")[0];
    let causes = [asked, added, taken].map(|event| event.metadata.causation_id);
    assert_eq!(causes, [Some(trigger), Some(asked.id), Some(asked.id)]);
    assert_eq!(added.metadata.command_id, Some(Uuid::new_v5(&asked.id, b"1")));
    for event in [asked, added, taken] {
        let Metadata { correlation_id, user, entries, .. } = &*event.metadata;
        assert_eq!((*correlation_id, user.as_deref()), (Some(conversation), Some("ann")));
        assert_eq!(entries.get("tenant").map(String::as_str), Some("t"));
    }
    let both = events(&store, "Account-all");
    let commands: Vec<_> = both.iter().map(|event| event.metadata.command_id.unwrap()).collect();
    assert_eq!(commands, ["1", "2"].map(|n| Uuid::new_v5(&taken.id, n.as_bytes())));
}

/// The story: who had asked for something was lost at the first process that it went through.
#[test]
fn what_is_passed_on_goes_over_deadlines_and_is_what_was_chosen() {
    let clock = clock();
    let store = temporary(&clock);
    let chosen = PassOn::correlation_id_only().entry("tenant");
    let process = store.process::<Checkout<17>>().pass_on(chosen).start().unwrap();
    let metadata = Metadata::default().user("ann").entry("tenant", "t").entry("trace", "1");
    let placed = NewEvent::json("Placed", &0).unwrap().metadata(metadata);
    let placed = store.append("Order-1", ExpectedVersion::Any, [placed]).unwrap();
    process.wait_for(placed.position, LONG).unwrap();
    process.stop().unwrap();
    // What the deadline goes on with is read from the stream then.
    let _process = store.process::<Checkout<17>>().start().unwrap();
    clock.advance(HOUR);
    store.drain(LONG).unwrap();
    let own = events(&store, "Checkout-1");
    assert_eq!(own.iter().map(|e| e.event_type.as_str()).collect::<Vec<_>>(), ["Asked", "Expired"]);
    for event in own {
        let entries: Vec<_> = event.metadata.entries.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!((event.metadata.user.as_deref(), entries), (None, vec![("tenant", "t")]));
    }
}

#[test]
fn a_panic_in_react_stops_the_process_with_the_cause_and_the_store_lives() {
    let store = temporary(&clock());
    static PANICS: Mutex<bool> = Mutex::new(true);
    hook(5, |point| {
        let panics = *PANICS.lock().unwrap();
        assert!(point != "react" || !panics, "on purpose");
        Ok(())
    });
    let process = start::<5>(&store);
    let placed = place(&store, "1", 5);
    check_fault(&process, &["Checkout", "position 1", "Placed of Order-1", "on purpose"]);
    assert_eq!(process.wait_for(placed, LONG).unwrap_err().kind(), ErrorKind::Faulted);
    assert_eq!(store.drain(LONG).unwrap_err().kind(), ErrorKind::Faulted);
    assert_eq!(store.repository::<Account>().execute("x", &1).unwrap().position.get(), 2);
    assert_eq!(film(&store, "Checkout-1"), [""; 0]);
    *PANICS.lock().unwrap() = false;
    process.resume();
    process.wait_for(placed, LONG).unwrap();
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked", "Taken"]);
}

#[test]
fn an_error_in_route_or_effect_is_tried_again_and_then_stops_the_process_there() {
    let store = temporary(&clock());
    static FAILING: Mutex<&str> = Mutex::new("route");
    static TRIES: AtomicU32 = AtomicU32::new(0);
    hook(6, |point| {
        if point == *FAILING.lock().unwrap() {
            TRIES.fetch_add(1, Ordering::SeqCst);
            return Err("it fails on purpose".into());
        }
        Ok(())
    });
    let process = start::<6>(&store);
    let placed = place(&store, "1", 5);
    check_fault(&process, &["position 1, event Placed of Order-1: it fails on purpose"]);
    assert_eq!(TRIES.load(Ordering::SeqCst), 3, "once, and two retries");
    *FAILING.lock().unwrap() = "effect begins";
    process.resume();
    check_fault(&process, &["the effect of position 2, event Asked of Checkout-1"]);
    assert!(process.status().position < placed, "its effects are not done");
    // A restart comes to the same place, and not to the reaction again.
    process.stop().unwrap();
    let process = start::<6>(&store);
    check_fault(&process, &["the effect of position 2"]);
    *FAILING.lock().unwrap() = "nowhere";
    process.resume();
    process.wait_for(placed, LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked", "Taken"]);
}

/// The story: while something was tried again, for up to a minute each, the status said `Running` and no more.
#[test]
fn while_something_is_tried_again_the_status_says_what_and_why() {
    let store = temporary(&clock());
    hook(40, |point| match point {
        "route" => Err("it fails on purpose".into()),
        _ => Ok(()),
    });
    let patient = quick().retries(1).first_delay(LONG);
    let process = store.process::<Checkout<40>>().on_error(patient).start().unwrap();
    place(&store, "1", 5);
    let begun = Instant::now();
    let retrying = loop {
        if let Some(retrying) = process.status().retrying {
            break retrying;
        }
        assert!(begun.elapsed() < LONG, "{:?}", process.status());
        std::thread::sleep(SOON);
    };
    assert_eq!(retrying.what, "position 1, event Placed of Order-1");
    assert_eq!((retrying.failures, &*retrying.cause), (1, "it fails on purpose"));
    process.stop().unwrap();
    store.close().unwrap();
}

#[test]
fn somebody_elses_event_in_its_stream_makes_the_instance_decide_again() {
    let store = temporary(&clock());
    let (writing, asked) = (store.clone(), AtomicU32::new(0));
    hook(7, move |point| {
        if point == "react" && asked.fetch_add(1, Ordering::SeqCst) < 3 {
            let expired = NewEvent::of(&CheckoutEvent::Expired).unwrap();
            writing.append("Checkout-1", ExpectedVersion::Any, [expired]).unwrap();
        }
        Ok(())
    });
    let process = start::<7>(&store);
    process.wait_for(place(&store, "1", 5), LONG).unwrap();
    let expected = ["Expired", "Expired", "Expired", "Asked", "Taken"];
    assert_eq!(film(&store, "Checkout-1"), expected);
    assert_eq!(added(&store, "1"), [5]);
    hook(7, |_| Ok(()));
}

#[test]
fn a_name_runs_once_and_what_cannot_be_is_refused() {
    let store = temporary(&clock());
    let process = start::<8>(&store);
    let error = store.process::<Checkout<8>>().start().map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyRunning);
    process.stop().unwrap();
    process.stop().expect("a second stop has nothing to do");
    assert!(matches!(process.status().state, ProcessState::Stopped));
    assert_eq!(process.wait_for(Position::new(9), LONG).unwrap_err().kind(), ErrorKind::Closed);
    let parking = OnError::default().then(ErrorAction::ParkStream);
    let error = store.process::<Checkout<8>>().on_error(parking).start().map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("ParkStream"), "{error}");
    for lanes in [0, 65] {
        let error = store.process::<Checkout<8>>().lanes(lanes).start().map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let message = error.to_string();
        assert!(message.contains(&format!("{lanes} lanes; 1 to 64 are allowed")), "{message}");
    }
    let ahead = store.process::<Checkout<8>>().begin_after(Position::new(1)).start();
    assert_eq!(ahead.map(|_| ()).unwrap_err().kind(), ErrorKind::InvalidInput);
    let again = start::<8>(&store);
    again.wait_for(place(&store, "1", 5), LONG).unwrap();
    let closing = store.clone();
    closing.close().unwrap();
    assert!(matches!(again.status().state, ProcessState::Stopped));
    let error = store.process::<Checkout<8>>().start().map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[test]
fn a_paused_process_rests_and_goes_on_with_what_came_meanwhile() {
    let clock = clock();
    let store = temporary(&clock);
    let process = start::<9>(&store);
    store.drain(LONG).unwrap();
    process.pause();
    place(&store, "1", 0);
    clock.advance(HOUR * 2);
    assert!(matches!(process.status().state, ProcessState::Paused));
    assert_eq!(store.drain(SOON).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(film(&store, "Checkout-1"), [""; 0]);
    assert_eq!(process.status().lag, 1);
    process.resume();
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked", "Expired"]);
}

#[test]
fn a_process_can_begin_where_the_store_is_and_not_with_its_past() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("s"), &clock());
    place(&store, "old", 5);
    let process = store.process::<Checkout<10>>().begin_after(store.head()).start().unwrap();
    process.stop().unwrap();
    place(&store, "new", 5);
    store.close().unwrap();
    let store = open(&directory.path().join("s"), &clock());
    // Where it began was settled then.
    let process = store.process::<Checkout<10>>().begin_after(store.head()).start().unwrap();
    process.wait_for(store.head(), LONG).unwrap();
    assert_eq!(film(&store, "Checkout-old"), [""; 0]);
    assert_eq!(film(&store, "Checkout-new"), ["Asked", "Taken"]);
}

#[test]
fn commands_can_go_to_another_store_which_they_do_not_keep_open() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (directory.path().join("here"), directory.path().join("there"));
    let (store, other) = (open(&here, &clock()), open(&there, &clock()));
    let accounts = other.repository::<Account>();
    let process = store.process::<Checkout<11>>().executes(accounts).on_error(quick());
    let process = process.start().unwrap();
    process.wait_for(place(&store, "1", 5), LONG).unwrap();
    assert_eq!((added(&store, "1"), added(&other, "1")), (vec![], vec![5]));
    drop(other);
    let other = Store::open(&there).expect("the process keeps it open");
    place(&store, "2", 5);
    check_fault(&process, &["the effect of", "the store is closed"]);
    process.stop().unwrap();
    let again = store.process::<Checkout<11>>().executes(other.repository::<Account>());
    let again = again.start().unwrap();
    again.wait_for(store.head(), LONG).unwrap();
    assert_eq!(added(&other, "2"), [5]);
    // Nor does it keep its own store open.
    drop((process, again, store));
    Store::open(&here).expect("the process keeps its store open");
}

/// Thanks each customer whose payment was taken: it follows the events of another process.
#[derive(Default, Clone)]
struct Thanks;

#[derive(Clone, Serialize, Deserialize)]
enum ThanksEvent {
    Sent,
}
impl Event for ThanksEvent {}

impl ProcessManager for Thanks {
    const NAME: &'static str = "Thanks";
    type Event = ThanksEvent;

    fn filter() -> Filter {
        Filter::category("Checkout").and_event_type("Taken")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.as_str().strip_prefix("Checkout-").map(str::to_owned))
    }

    fn react(&self, _: Trigger<'_>) -> Result<Vec<ThanksEvent>, HandlerError> {
        Ok(vec![ThanksEvent::Sent])
    }

    fn evolve(&mut self, _: &ThanksEvent) {}

    fn effect(
        &self,
        _: &ThanksEvent,
        out: &mut filmstrip::process::Effects<'_>,
    ) -> Result<Vec<ThanksEvent>, HandlerError> {
        out.execute::<Account>("thanks", &1)?.into_result()?;
        Ok(vec![])
    }
}

#[test]
fn a_drained_store_is_at_rest_whatever_led_to_what() {
    let clock = clock();
    let store = temporary(&clock);
    let count = store.project(Tally).start().unwrap();
    let _checkout = start::<12>(&store);
    let _thanks = store.process::<Thanks>().start().unwrap();
    for n in 0..20 {
        place(&store, &n.to_string(), n % 2);
    }
    store.drain(LONG).unwrap();
    clock.advance(HOUR);
    store.drain(LONG).unwrap();
    let view = count.view();
    let counted = |category| view.get::<u64>(category).unwrap().unwrap_or(0);
    // Ten are paid and thanked for, by one command and two others; ten expire.
    let counts = ["Order", "Checkout", "Account", "Thanks"].map(counted);
    assert_eq!(counts, [20, 40, 10 + 20 + 10, 10]);
    assert_eq!(added(&store, "thanks"), [1; 10]);
}

/// The same checkout a year later: `Asked` knows its currency.
#[derive(Default, Clone)]
struct NewCheckout {
    known: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum NewCheckoutEvent {
    Requested {
        amount: u64,
        currency: String,
    },
    #[serde(other)]
    Other,
}
impl Event for NewCheckoutEvent {
    fn schema_version(_: &str) -> u16 {
        2
    }

    fn upcast(old: StoredEvent) -> Result<StoredEvent, HandlerError> {
        match (&*old.event_type, old.schema_version) {
            ("Asked", 1) => {
                let mut fields: serde_json::Value = old.json()?;
                let fields =
                    serde_json::json!({"amount": fields["amount"].take(), "currency": "EUR"});
                Ok(StoredEvent::json_of("Requested", 2, &fields)?)
            }
            _ => Ok(old),
        }
    }

    fn former_types() -> &'static [&'static str] {
        &["Asked"]
    }
}

impl ProcessManager for NewCheckout {
    const NAME: &'static str = "Checkout";
    type Event = NewCheckoutEvent;

    fn filter() -> Filter {
        Filter::category("Order")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.as_str().strip_prefix("Order-").map(str::to_owned))
    }

    fn react(&self, _: Trigger<'_>) -> Result<Vec<NewCheckoutEvent>, HandlerError> {
        let currency = format!("{} of {:?}", self.known.len(), self.known);
        Ok(vec![NewCheckoutEvent::Requested { amount: 1, currency }])
    }

    fn evolve(&mut self, event: &NewCheckoutEvent) {
        if let NewCheckoutEvent::Requested { amount, currency } = event {
            self.known.push(format!("{amount} {currency}"));
        }
    }

    fn effect(
        &self,
        _: &NewCheckoutEvent,
        _: &mut filmstrip::process::Effects<'_>,
    ) -> Result<Vec<NewCheckoutEvent>, HandlerError> {
        Ok(vec![])
    }
}

#[test]
fn own_events_of_an_older_program_are_upcast() {
    let store = temporary(&clock());
    let old = start::<13>(&store);
    old.wait_for(place(&store, "1", 7), LONG).unwrap();
    old.stop().unwrap();
    let new = store.process::<NewCheckout>().start().unwrap();
    new.wait_for(place(&store, "1", 8), LONG).unwrap();
    let last = events(&store, "Checkout-1").pop().unwrap().decode::<NewCheckoutEvent>().unwrap();
    let currency = "1 of [\"7 EUR\"]".to_owned();
    assert_eq!(last, NewCheckoutEvent::Requested { amount: 1, currency });
}

#[test]
fn a_lost_index_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let clock: ManualClock = clock();
    let store = open(&path, &clock);
    let process = start::<14>(&store);
    place(&store, "paid", 5);
    place(&store, "silent", 0);
    // Enough for the index to hold all of it when the store closes.
    let filling = (0..2_000).map(|_| NewEvent::bytes("Filling", vec![7; 1_000]));
    store.append("Other-1", ExpectedVersion::Any, filling).unwrap();
    process.wait_for(store.head(), LONG).unwrap();
    store.close().unwrap();
    std::fs::remove_dir_all(path.join("index")).unwrap();
    std::fs::remove_file(path.join("index.checkpoint")).unwrap();
    let store = open(&path, &clock);
    let process = start::<14>(&store);
    assert_eq!(process.status().deadlines, 1);
    clock.advance(HOUR);
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-paid"), ["Asked", "Taken"]);
    assert_eq!(film(&store, "Checkout-silent"), ["Asked", "Expired"]);
    assert_eq!(added(&store, "paid"), [5]);
}
