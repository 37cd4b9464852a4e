//! What passes events on, processes and relays, takes nothing private along in clear.

use super::derived::{MARKER, is_in_a_file};
use super::*;
use crate::common::whole::PATIENCE;
use filmstrip::process::{Effects, Trigger};
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::relay::{LastEvent, Receipts, RelayError, RelaySource, RelayTarget};
use filmstrip::{HandlerError, ProcessManager};
use std::sync::Mutex;

/// Sends what was said in orders somewhere, and fails at orders that are `bad`, with what was said in its error.
#[derive(Debug, Default, Clone)]
struct Courier;

#[derive(Debug, Clone, Serialize, Deserialize)]
enum CourierEvent {
    Sent,
}
impl Event for CourierEvent {}

impl ProcessManager for Courier {
    const NAME: &'static str = "Courier";
    type Event = CourierEvent;

    fn filter() -> Filter {
        Filter::category("Order")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.as_str().strip_prefix("Order-").map(str::to_owned))
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<CourierEvent>, HandlerError> {
        let Trigger::Event(event) = trigger else { return Ok(vec![]) };
        if event.stream.as_str().starts_with("Order-bad") {
            let said = String::from_utf8_lossy(&event.payload);
            return Err(format!("nobody delivers to {said}").into());
        }
        Ok(vec![CourierEvent::Sent])
    }

    fn evolve(&mut self, _: &CourierEvent) {}

    fn effect(
        &self,
        _: &CourierEvent,
        _: &mut Effects<'_>,
    ) -> Result<Vec<CourierEvent>, HandlerError> {
        Ok(vec![])
    }
}

/// The message of a failed step is a record of the journal, which is never changed; and the user and the entries of an
/// event's metadata are passed on to what it leads to.
#[test]
fn a_process_records_nothing_of_a_private_event_in_clear() {
    let place = Place::new();
    let store = place.open();
    let on_error = OnError::default().retries(0).then(ErrorAction::ParkInstance);
    let process = store.process::<Courier>().on_error(on_error).start().unwrap();
    let by_alice = || Metadata::default().user("alice").entry("where", MARKER);
    let about_7 = || private("7", MARKER).metadata(by_alice());
    let said = NewEvent::json("AddressGiven", &"no marker").unwrap();
    let public = said.metadata(Metadata::default().user("bob"));
    for (stream, event) in [
        ("Order-1", about_7()),
        ("Order-2", public.clone()),
        ("Order-bad1", about_7()),
        ("Order-bad2", public),
    ] {
        store.append(stream, ExpectedVersion::Any, [event]).unwrap();
    }
    store.drain(PATIENCE).unwrap();
    let caused = |stream| store.read_stream(stream).collect().unwrap().remove(0);
    let of_private = caused("Courier-1");
    assert_eq!((&of_private.metadata.user, of_private.metadata.entries.len()), (&None, 0));
    assert!(of_private.metadata.correlation_id.is_some());
    assert_eq!(caused("Courier-2").metadata.user.as_deref(), Some("bob"));
    let parked = process.parked().unwrap();
    let ids: Vec<_> = parked.iter().map(|parked| &*parked.id).collect();
    assert_eq!(ids, ["bad1", "bad2"]);
    // What a step had to do with a private event, nobody knows but the application.
    assert!(parked.iter().all(|parked| parked.error.starts_with("not recorded")), "{parked:?}");
    store.close().unwrap();
    assert!(!is_in_a_file(place.0.path()));
}

#[derive(Clone, Default)]
struct Target(Arc<Mutex<Vec<RecordedEvent>>>, Arc<Mutex<Option<Receipts>>>);

impl RelayTarget for Target {
    fn name(&self) -> String {
        "shelf".to_owned()
    }

    fn open(
        &mut self,
        _: &RelaySource,
        receipts: Receipts,
    ) -> Result<Option<LastEvent>, RelayError> {
        *self.1.lock().unwrap() = Some(receipts);
        Ok(None)
    }

    fn send(&mut self, events: &[RecordedEvent]) -> Result<(), RelayError> {
        self.0.lock().unwrap().extend_from_slice(events);
        let last = events.last().map_or(Position::START, |event| event.position);
        self.1.lock().unwrap().as_ref().unwrap().confirm(last);
        Ok(())
    }
}

/// What a target holds, nobody can forget.
#[test]
fn a_relay_sends_private_events_sealed() {
    let place = Place::new();
    let store = place.open();
    let about_7 = private("7", MARKER).metadata(Metadata::default().user(MARKER));
    store.append("Order-1", ExpectedVersion::Any, [public(), about_7]).unwrap();
    let target = Target::default();
    let relay = store.relay(target.clone()).start().unwrap();
    relay.wait_for(store.head(), PATIENCE).unwrap();
    // This one it is sent at once.
    store.append("Order-2", ExpectedVersion::Any, [private("8", MARKER)]).unwrap();
    relay.wait_for(store.head(), PATIENCE).unwrap();
    let sent = target.0.lock().unwrap();
    assert_eq!(sent[0].format, PayloadFormat::Json);
    let has_marker = |bytes: &[u8]| bytes.windows(MARKER.len()).any(|it| it == MARKER.as_bytes());
    for event in &sent[1..] {
        assert_eq!((event.format, &event.metadata.user), (PayloadFormat::Sealed, &None));
        assert!(!has_marker(&event.payload));
    }
    assert_eq!(sent.len(), 3);
    assert_eq!(read(&store)[1].json::<String>().unwrap(), MARKER);
}
