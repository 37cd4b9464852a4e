//! Instances side by side, and each of them in order.

use crate::process::checkout::*;
use crate::process::quick;
use filmstrip::process::{Effects, Trigger};
use filmstrip::projection::ErrorAction;
use filmstrip::{
    Commit, ExpectedVersion, Filter, HandlerError, NewEvent, Position, ProcessManager,
    RecordedEvent, Store,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

fn start<const TEST: u32>(store: &Store, lanes: usize) -> filmstrip::process::ProcessHandle {
    store.process::<Checkout<TEST>>().on_error(quick()).lanes(lanes).start().unwrap()
}

#[test]
fn effects_of_several_instances_run_at_once() {
    let store = temporary(&clock());
    // None goes on before all have begun.
    let all = Arc::new(Barrier::new(4));
    hook(60, move |point| {
        if point.starts_with("effect begins") {
            all.wait();
        }
        Ok(())
    });
    let process = start::<60>(&store, 4);
    for n in 0..4 {
        place(&store, &n.to_string(), 0);
    }
    process.wait_for(Position::new(4), LONG).expect("effects wait for each other");
}

/// An effect of one instance that takes its time, a slow service say, held up all others.
#[test]
fn an_instance_whose_effect_takes_long_holds_up_nobody_and_its_own_events_wait_for_it() {
    let store = temporary(&clock());
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    hook(61, move |point| {
        if point == "effect begins slow" {
            let _ = gone.lock().unwrap().recv_timeout(LONG);
        }
        Ok(())
    });
    let process = start::<61>(&store, 2);
    let slow = place(&store, "slow", 0);
    for n in 0..20 {
        // More than wait in memory for one instance.
        for _ in 0..20 {
            place(&store, "slow", 0);
        }
        place(&store, &n.to_string(), 5);
    }
    let done = |n: u64| film(&store, &format!("Checkout-{n}")) == ["Asked", "Taken"];
    let begun = std::time::Instant::now();
    while !(0..20).all(done) {
        assert!(begun.elapsed() < LONG, "they wait for the slow one");
        std::thread::yield_now();
    }
    assert!(process.status().position < slow, "what it says is done");
    assert_eq!(film(&store, "Checkout-slow"), ["Asked"], "it reacts before its effect is done");
    drop(go);
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-slow"), ["Asked"; 401]);
    process.wait_for(store.head(), LONG).unwrap();
}

#[test]
fn no_two_effects_of_an_instance_run_at_once_and_they_come_in_order() {
    let store = temporary(&clock());
    let running: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let most = Arc::new(Mutex::new(0));
    let (its, seen) = (Arc::clone(&running), Arc::clone(&most));
    hook(62, move |point| {
        let mut running = its.lock().unwrap();
        if let Some(id) = point.strip_prefix("effect begins ") {
            let count = running.entry(id.to_owned()).or_insert(0);
            *count += 1;
            assert_eq!(*count, 1, "two effects of {id}");
            let together = running.values().filter(|count| **count > 0).count();
            let mut most = seen.lock().unwrap();
            *most = together.max(*most);
        } else if let Some(id) = point.strip_prefix("effect ends ") {
            *running.get_mut(id).unwrap() -= 1;
        }
        Ok(())
    });
    let process = start::<62>(&store, 8);
    for round in 0..30 {
        let placed = |n| NewEvent::json("Placed", &(1 + round * 10 + n)).unwrap();
        let append = |commit: Commit, n| {
            commit.append(format!("Order-{n}"), ExpectedVersion::Any, [placed(n)])
        };
        store.commit((0..10).fold(Commit::new(), append)).unwrap();
    }
    process.wait_for(store.head(), LONG).unwrap();
    store.drain(LONG).unwrap();
    for n in 0..10 {
        let expected: Vec<u64> = (0..30).map(|round| 1 + round * 10 + n).collect();
        assert_eq!(added(&store, &n.to_string()), expected, "out of order");
    }
    assert_eq!(added(&store, "all").len(), 600);
}

/// Requests are answered when no lane is at anything, and what lanes had done is not done again.
#[test]
fn who_has_paused_or_stopped_a_process_finds_all_lanes_at_rest() {
    let store = temporary(&clock());
    let running = Arc::new(Mutex::new((0_i32, 0_u32)));
    let its = Arc::clone(&running);
    hook(63, move |point| {
        if point == "effect begins" {
            let mut running = its.lock().unwrap();
            running.0 += 1;
            running.1 += 1;
        } else if point == "effect ends" {
            std::thread::yield_now();
            its.lock().unwrap().0 -= 1;
        }
        Ok(())
    });
    let mut process = start::<63>(&store, 4);
    for round in 0..30 {
        for n in 0..4 {
            place(&store, &format!("{round}-{n}"), 0);
        }
        match round % 2 {
            0 => process.pause(),
            _ => process.stop().unwrap(),
        }
        assert_eq!(running.lock().unwrap().0, 0, "a lane goes on");
        match round % 2 {
            0 => process.resume(),
            _ => process = start::<63>(&store, 4),
        }
    }
    store.drain(LONG).unwrap();
    assert_eq!(running.lock().unwrap().1, 120, "an effect ran twice, or not at all");
}

/// A handle that is used within an effect is not waited for by the process, which waits for that effect.
#[test]
fn a_process_can_be_paused_within_an_effect() {
    let store = temporary(&clock());
    let process = start::<64>(&store, 4);
    let own = process.clone();
    hook(64, move |point| {
        if point == "effect begins 1" {
            own.pause();
        }
        Ok(())
    });
    place(&store, "1", 0);
    let begun = std::time::Instant::now();
    while !matches!(process.status().state, filmstrip::process::ProcessState::Paused) {
        assert!(begun.elapsed() < LONG, "{:?}", process.status());
        std::thread::yield_now();
    }
    hook(64, |_| Ok(()));
    process.resume();
    store.drain(LONG).unwrap();
    assert_eq!(film(&store, "Checkout-1"), ["Asked"]);
}

/// A state that panics when it is dropped, once a point is reached.
#[derive(Default, Clone)]
struct Fragile;

static BREAKS_FROM: Mutex<&str> = Mutex::new("");
static BROKEN: AtomicBool = AtomicBool::new(false);

impl Fragile {
    fn at(point: &str) {
        BROKEN.fetch_or(*BREAKS_FROM.lock().unwrap() == point, Ordering::SeqCst);
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(!BROKEN.load(Ordering::SeqCst), "on purpose, when it is dropped");
    }
}

impl ProcessManager for Fragile {
    const NAME: &'static str = "Fragile";
    type Event = CheckoutEvent;

    fn filter() -> Filter {
        Filter::category("Order")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.id().map(str::to_owned))
    }

    fn react(&self, _: Trigger<'_>) -> Result<Vec<CheckoutEvent>, HandlerError> {
        Fragile::at("react");
        Ok(vec![CheckoutEvent::Thanked])
    }

    fn evolve(&mut self, _: &CheckoutEvent) {}

    fn effect(
        &self,
        event: &CheckoutEvent,
        _: &mut Effects<'_>,
    ) -> Result<Vec<CheckoutEvent>, HandlerError> {
        Fragile::at("effect");
        assert!(!BROKEN.load(Ordering::SeqCst), "on purpose");
        let is_first = *event == CheckoutEvent::Thanked;
        Ok(is_first.then_some(CheckoutEvent::Expired).into_iter().collect())
    }
}

/// The story: an effect panicked, and so did its instance's state when it was dropped for that. The lane was gone, and
/// who paused, stopped or replayed the process waited for it until the store was closed.
#[test]
fn a_state_that_panics_when_it_is_dropped_ends_nothing_further() {
    for from in ["effect", "react"] {
        *BREAKS_FROM.lock().unwrap() = from;
        let store = temporary(&clock());
        let builder = store.process::<Fragile>().on_error(quick().then(ErrorAction::ParkInstance));
        let process = builder.lanes(1).start().unwrap();
        place(&store, "1", 5);
        store.drain(Duration::from_secs(20)).expect("a thread is gone");
        assert_eq!(process.status().parked, 1, "from {from} on");
        process.pause();
        process.resume();
        *BREAKS_FROM.lock().unwrap() = "";
        BROKEN.store(false, Ordering::SeqCst);
        process.replay("1").unwrap();
        store.drain(LONG).unwrap();
        assert_eq!(film(&store, "Fragile-1"), ["Thanked", "Expired"]);
        store.close().unwrap();
    }
}
