//! Relays: a target gets each wanted event once and in order, whatever it confirms, loses or refuses.
//!
//! The target here is a vector. What it keeps is what it was sent and has confirmed; the rest is lost with each outage,
//! as it is with a broker whose connection breaks.

use crate::common::{Random, seed, wait_until, within};
use filmstrip::relay::{
    LastEvent, Receipts, RelayError, RelayHandle, RelaySource, RelayState, RelayTarget,
};
use filmstrip::replica::StoreDirectory;
use filmstrip::{ErrorKind, ExpectedVersion, Filter, NewEvent, Position, RecordedEvent, Store};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(60);

/// What a target holds, and how it behaves.
#[derive(Default)]
struct Shelf {
    held: Vec<(u64, Uuid)>,
    /// Sent, and not confirmed.
    sent: Vec<(u64, Uuid)>,
    most_sent: usize,
    opened: u32,
    /// What the next calls to open and to send do instead.
    refuse_open: Option<RelayError>,
    refuse_send: Option<RelayError>,
    panic_next: bool,
    /// It confirms nothing by itself.
    is_silent: bool,
    /// The chance, of 100, that a send loses what was not confirmed.
    losing: u64,
    source: Option<RelaySource>,
    receipts: Option<Receipts>,
    /// It says that it holds an event of this id last.
    claims: Option<LastEvent>,
}

impl Shelf {
    /// Keeps the first `count` of what was sent.
    fn keep(&mut self, count: usize) {
        self.held.extend(self.sent.drain(..count));
        if let (Some(receipts), Some((last, _))) = (&self.receipts, self.held.last()) {
            receipts.confirm(Position::new(*last));
        }
    }
}

#[derive(Clone)]
struct Target {
    shelf: Arc<Mutex<Shelf>>,
    random: Arc<Mutex<Random>>,
}

impl Target {
    fn new() -> Target {
        Target { shelf: Arc::default(), random: Arc::new(Mutex::new(Random(7))) }
    }

    fn change(&self, change: impl FnOnce(&mut Shelf)) {
        change(&mut self.shelf.lock().unwrap_or_else(|panicked| panicked.into_inner()));
    }

    fn see<R>(&self, see: impl FnOnce(&Shelf) -> R) -> R {
        see(&self.shelf.lock().unwrap_or_else(|panicked| panicked.into_inner()))
    }

    fn positions(&self) -> Vec<u64> {
        self.see(|shelf| shelf.held.iter().map(|(position, _)| *position).collect())
    }
}

impl RelayTarget for Target {
    fn name(&self) -> String {
        "shelf".to_owned()
    }

    fn open(
        &mut self,
        source: &RelaySource,
        receipts: Receipts,
    ) -> Result<Option<LastEvent>, RelayError> {
        let mut shelf = self.shelf.lock().unwrap();
        shelf.opened += 1;
        if let Some(error) = shelf.refuse_open.take() {
            return Err(error);
        }
        shelf.sent.clear();
        (shelf.source, shelf.receipts) = (Some(source.clone()), Some(receipts));
        let held = shelf
            .held
            .last()
            .map(|(position, id)| LastEvent { position: Position::new(*position), id: Some(*id) });
        Ok(shelf.claims.or(held))
    }

    fn send(&mut self, events: &[RecordedEvent]) -> Result<(), RelayError> {
        let mut random = self.random.lock().unwrap();
        let mut shelf = self.shelf.lock().unwrap_or_else(|panicked| panicked.into_inner());
        if std::mem::take(&mut shelf.panic_next) {
            panic!("the shelf fell");
        }
        if let Some(error) = shelf.refuse_send.take() {
            return Err(error);
        }
        for event in events {
            shelf.sent.push((event.position.get(), event.id));
        }
        shelf.most_sent = shelf.most_sent.max(shelf.sent.len());
        if random.below(100) < shelf.losing {
            let kept = random.below(shelf.sent.len() as u64 + 1) as usize;
            // Of what is kept, the relay is not always told.
            let receipts = shelf.receipts.take();
            shelf.keep(kept);
            shelf.sent.clear();
            receipts.unwrap().fail(RelayError::outage("the connection broke"));
        } else if !shelf.is_silent {
            let all = shelf.sent.len();
            shelf.keep(all);
        }
        Ok(())
    }
}

fn append(store: &Store, stream: &str, events: usize) {
    let events = (0..events).map(|n| NewEvent::json("Counted", &n).unwrap());
    store.append(stream, ExpectedVersion::Any, events).unwrap();
}

fn state(relay: &RelayHandle) -> &'static str {
    match relay.status().state {
        RelayState::Running => "running",
        RelayState::Paused => "paused",
        RelayState::Faulted(_) => "faulted",
        _ => "stopped",
    }
}

#[test]
fn a_target_gets_every_event_once_and_in_order_and_goes_on_with_what_it_lacks() {
    let (store, target) = (Store::temporary().unwrap(), Target::new());
    append(&store, "A-1", 3_000);
    let relay = store.relay(target.clone()).start().unwrap();
    append(&store, "A-1", 10);
    relay.wait_for(store.head(), LONG).unwrap();
    assert_eq!(target.positions(), Vec::from_iter(1..=3_010));
    let status = relay.status();
    assert_eq!((status.position, status.lag, status.in_flight), (store.head(), 0, 0));
    assert!(status.failing_since.is_none() && status.retrying.is_none());
    assert_eq!(relay.lag_seconds().unwrap(), 0.0);
    assert_eq!(target.see(|shelf| shelf.source.clone().unwrap().filter), None);

    let twice = store.relay(target.clone()).start().map(drop).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::AlreadyRunning);
    relay.stop().unwrap();
    assert_eq!(state(&relay), "stopped");
    append(&store, "A-1", 5);
    let relay = store.relay(target.clone()).start().unwrap();
    relay.wait_for(store.head(), LONG).unwrap();
    assert_eq!(target.positions(), Vec::from_iter(1..=3_015));
}

/// Whatever is lost on the way, and whatever of that had arrived unnoticed.
#[test]
fn whatever_is_lost_on_the_way_each_event_arrives_once_and_in_order() {
    let (store, target) = (Store::temporary().unwrap(), Target::new());
    *target.random.lock().unwrap() = Random(seed());
    target.change(|shelf| shelf.losing = 30);
    let relay = store.relay(target.clone()).window(7).start().unwrap();
    for _ in 0..20 {
        append(&store, "A-1", 10);
        append(&store, "B-1", 1);
    }
    relay.wait_for(store.head(), LONG).unwrap();
    assert_eq!(target.positions(), Vec::from_iter(1..=220));
    assert!(target.see(|shelf| shelf.opened) > 1, "nothing was lost");
    assert!(target.see(|shelf| shelf.most_sent) <= 7);
}

#[test]
fn a_filtered_relay_passes_what_is_not_wanted_and_resumes_by_the_last_event() {
    let (store, target) = (Store::temporary().unwrap(), Target::new());
    let filter = || Filter::category("B").and_event_type("Counted");
    for _ in 0..50 {
        append(&store, "A-1", 20);
        append(&store, "B-1", 1);
    }
    append(&store, "A-1", 20);
    let relay = store.relay(target.clone()).filter(filter()).start().unwrap();
    relay.wait_for(store.head(), LONG).unwrap();
    let expected: Vec<u64> = (1..=50).map(|n| n * 21).collect();
    assert_eq!(target.positions(), expected);
    let told = target.see(|shelf| shelf.source.clone().unwrap().filter);
    assert_eq!(told.unwrap(), r#"[{"categories":["B"],"types":["Counted"]}]"#);
    relay.stop().unwrap();
    append(&store, "B-1", 1);
    let relay = store.relay(target.clone()).filter(filter()).start().unwrap();
    relay.wait_for(store.head(), LONG).unwrap();
    assert_eq!(target.positions().len(), 51);
}

#[test]
fn no_more_is_under_way_than_the_window_allows_and_writers_do_not_wait() {
    let (store, target) = (Store::temporary().unwrap(), Target::new());
    target.change(|shelf| shelf.is_silent = true);
    append(&store, "A-1", 2_000);
    let relay = store.relay(target.clone()).window(10).start().unwrap();
    wait_until(LONG, "a full window", || relay.status().in_flight == 10);
    append(&store, "A-1", 100);
    let status = relay.status();
    assert_eq!((status.position, status.lag), (Position::START, 2_100));
    assert!(relay.lag_seconds().unwrap() >= 0.0);
    let late = relay.wait_for(Position::new(1), Duration::from_millis(5)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    target.change(|shelf| {
        shelf.is_silent = false;
        shelf.keep(4);
    });
    relay.wait_for(store.head(), LONG).unwrap();
    assert_eq!(target.positions(), Vec::from_iter(1..=2_100));
    assert_eq!(target.see(|shelf| shelf.most_sent), 10);
}

/// A broker that hangs breaks no connection.
#[test]
fn a_target_that_confirms_nothing_is_opened_again() {
    let (store, target) = (Store::temporary().unwrap(), Target::new());
    target.change(|shelf| shelf.is_silent = true);
    append(&store, "A-1", 3);
    let relay = store.relay(target.clone()).start().unwrap();
    wait_until(LONG, "a second attempt", || target.see(|shelf| shelf.opened) > 1);
    wait_until(LONG, "a status", || relay.status().failing_since.is_some());
    let cause = relay.status().retrying.unwrap().cause;
    assert!(cause.contains("3 events are sent, and none was confirmed for 2s"), "{cause}");
    target.change(|shelf| shelf.is_silent = false);
    relay.wait_for(store.head(), LONG).unwrap();
    wait_until(LONG, "a status that is well", || relay.status().failing_since.is_none());
    assert_eq!(target.positions(), [1, 2, 3]);
}

#[test]
fn an_outage_is_retried_and_shown_and_a_refusal_stops_the_relay_until_it_is_resumed() {
    let (store, target) = (Store::temporary().unwrap(), Target::new());
    target.change(|shelf| shelf.refuse_open = Some(RelayError::outage("nobody is there")));
    append(&store, "A-1", 1);
    let relay = store.relay(target.clone()).start().unwrap();
    relay.wait_for(store.head(), LONG).unwrap();
    assert_eq!(target.see(|shelf| shelf.opened), 2);

    target.change(|shelf| shelf.refuse_send = Some(RelayError::refused("it is too large")));
    append(&store, "A-1", 1);
    let fault = relay.wait_for(store.head(), LONG).unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Refused);
    assert_eq!(fault.to_string(), "relay shelf: it is too large");
    assert_eq!(state(&relay), "faulted");
    let health = store.health().unwrap();
    assert_eq!(health.faults()[0].0, "relay shelf");
    let stats = store.stats().unwrap().followers;
    assert_eq!((stats[0].kind.as_str(), stats[0].faults, stats[0].lag), ("relay", 1, 1));
    relay.resume();
    relay.wait_for(store.head(), LONG).unwrap();
    assert!(store.health().unwrap().is_healthy());

    target.change(|shelf| shelf.panic_next = true);
    append(&store, "A-1", 1);
    let fault = relay.wait_for(store.head(), LONG).unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::Panicked);
    assert_eq!(target.positions(), [1, 2]);
}

#[test]
fn a_paused_relay_sends_nothing_and_goes_on_when_it_is_resumed() {
    let (store, target) = (Store::temporary().unwrap(), Target::new());
    let relay = store.relay(target.clone()).start().unwrap();
    relay.pause();
    append(&store, "A-1", 3);
    assert_eq!((state(&relay), target.positions().len()), ("paused", 0));
    relay.resume();
    relay.wait_for(store.head(), LONG).unwrap();
    assert_eq!(target.positions(), [1, 2, 3]);
}

/// A store that was restored from a backup gives out positions again, for other events.
#[test]
fn a_target_with_another_history_is_refused_by_name() {
    let (store, target) = (Store::temporary().unwrap(), Target::new());
    append(&store, "A-1", 3);
    let claim = |position, id| {
        target.change(|shelf| {
            shelf.claims = Some(LastEvent { position: Position::new(position), id });
        });
        store.relay(target.clone()).start().map(drop)
    };
    let beyond = claim(4, None).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::Refused);
    assert!(beyond.to_string().contains("position 4, but the store's head is 3"), "{beyond}");
    let other = claim(2, Some(Uuid::nil())).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Refused);
    assert!(other.to_string().contains("it was sent from another history"), "{other}");
    // A refused relay has ended: its name is free.
    let second = store.read_all().collect().unwrap()[1].id;
    claim(2, Some(second)).unwrap();
}

/// What a target lost after it had confirmed it is in the store.
#[test]
fn what_a_target_has_lost_is_sent_again() {
    let (store, target) = (Store::temporary().unwrap(), Target::new());
    append(&store, "A-1", 10);
    let relay = store.relay(target.clone()).start().unwrap();
    relay.wait_for(store.head(), LONG).unwrap();
    target.change(|shelf| {
        shelf.held.truncate(4);
        shelf.receipts.take().unwrap().fail(RelayError::outage("it was restored"));
    });
    wait_until(LONG, "the rest", || target.positions().len() == 10);
    append(&store, "A-1", 1);
    relay.wait_for(store.head(), LONG).unwrap();
    assert_eq!(target.positions(), Vec::from_iter(1..=11));
}

#[test]
fn a_store_closes_under_a_relay_whose_target_is_silent() {
    let (store, target) = (Store::temporary().unwrap(), Target::new());
    target.change(|shelf| shelf.is_silent = true);
    append(&store, "A-1", 3);
    let relay = store.relay(target).start().unwrap();
    wait_until(LONG, "events under way", || relay.status().in_flight == 3);
    within(LONG, move || store.close().unwrap());
    assert_eq!(state(&relay), "stopped");
    let closed = relay.wait_for(Position::new(1), LONG).unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::Closed);
}

#[test]
fn a_window_that_is_not_allowed_is_refused() {
    let store = Store::temporary().unwrap();
    for window in [0, 65_537] {
        let refused = store.relay(Target::new()).window(window).start().map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let expected = format!("a relay's window is {window} events; 1 to 65536 are allowed");
        assert_eq!(refused.to_string(), expected);
    }
}

/// A relay writes nothing to its store, so it can be moved to a replica, which may lag behind the target; and it goes
/// on there when the replica is promoted.
#[test]
fn a_relay_runs_on_a_replica_and_waits_for_what_the_target_has_already() {
    let directory = tempfile::tempdir().unwrap();
    let [path, backup] = ["source", "copy"].map(|name| directory.path().join(name));
    let (store, target) = (Store::open(&path).unwrap(), Target::new());
    append(&store, "A-1", 3);
    store.backup(&backup).unwrap();
    append(&store, "A-1", 4);
    let relay = store.relay(target.clone()).start().unwrap();
    relay.wait_for(store.head(), LONG).unwrap();
    relay.stop().unwrap();

    // The source cannot be read yet.
    let hidden = directory.path().join("hidden");
    let source = StoreDirectory::at(&hidden);
    let replica = Store::builder().replica(source).open(&backup).unwrap();
    let relay = replica.relay(target.clone()).start().unwrap();
    wait_until(LONG, "a first attempt", || relay.status().retrying.is_some());
    let cause = relay.status().retrying.unwrap().cause;
    assert!(cause.contains("this replica does not have that yet"), "{cause}");
    store.close().unwrap();
    std::fs::rename(&path, &hidden).unwrap();
    relay.wait_for(Position::new(7), LONG).unwrap();
    replica.promote().unwrap();
    append(&replica, "A-1", 2);
    relay.wait_for(replica.head(), LONG).unwrap();
    assert_eq!(target.positions(), Vec::from_iter(1..=9));
    relay.stop().unwrap();

    // Promoted too early, it does not have what the target has, and never will.
    let [late, early] = ["late", "early"].map(|name| directory.path().join(name));
    let store = Store::open(&late).unwrap();
    append(&store, "A-1", 1);
    store.backup(&early).unwrap();
    append(&store, "A-1", 1);
    let target = Target::new();
    let relay = store.relay(target.clone()).start().unwrap();
    relay.wait_for(store.head(), LONG).unwrap();
    relay.stop().unwrap();
    let gone = StoreDirectory::at(directory.path().join("gone"));
    let replica = Store::builder().replica(gone).open(&early).unwrap();
    replica.promote().unwrap();
    let refused = replica.relay(target).start().map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
}
