//! What holds events, or what it made of them, when somebody is forgotten.

use super::derived::MARKER;
use super::*;
use crate::common::wait_until;
use crate::common::whole::PATIENCE;
use filmstrip::group::Nack;
use filmstrip::process::{Effects, ProcessState, Trigger};
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::{HandlerError, ProcessManager};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Both handed out the address after the forget: the one from a buffer, the other because it had been tried before.
#[test]
fn what_waits_to_be_handed_out_is_erased_by_then() {
    let place = Place::new();
    let store = place.open();
    let about_7 = || private("7", MARKER).metadata(Metadata::default().user(MARKER));
    store
        .append("Order-1", ExpectedVersion::Any, [about_7(), private("8", "x"), about_7()])
        .unwrap();
    let mut waiting = store.subscribe().start().unwrap();
    assert_eq!(waiting.next().unwrap().unwrap().json::<String>().unwrap(), MARKER);
    let mut group = store.subscribe().group("mailer").start().unwrap();
    let first = group.next().unwrap().unwrap();
    assert_eq!(first.event.json::<String>().unwrap(), MARKER);
    first.nack(Nack::Retry(Duration::ZERO)).unwrap();

    store.forget("7").unwrap();
    let (json, erased) = (PayloadFormat::Json, PayloadFormat::Erased);
    let rest: Vec<_> = waiting.by_ref().take(2).map(Result::unwrap).collect();
    assert_eq!([rest[0].format, rest[1].format], [json, erased]);
    assert_eq!((&rest[1].metadata.user, rest[1].payload.len()), (&None, 0));
    for _ in 0..3 {
        let delivery = group.next().unwrap().unwrap();
        let event = &delivery.event;
        let expected = if event.version == Version::new(2) { json } else { erased };
        assert_eq!(event.format, expected, "{}", event.version);
        assert!(event.metadata.user.is_none());
        delivery.ack().unwrap();
    }
}

static FAILS: AtomicBool = AtomicBool::new(true);

/// Records what orders say; fails as long as `FAILS` says.
#[derive(Debug, Default, Clone)]
struct Notes(Vec<String>);

#[derive(Debug, Clone, Serialize, Deserialize)]
enum NotesEvent {
    Noted { text: String },
    Counted { texts: Vec<String> },
}

impl Event for NotesEvent {
    fn subject(&self) -> Option<String> {
        matches!(self, NotesEvent::Noted { .. }).then(|| "7".to_owned())
    }

    fn erased(event: &RecordedEvent) -> Option<NotesEvent> {
        (event.event_type == "Noted").then(|| NotesEvent::Noted { text: "gone".into() })
    }
}

impl ProcessManager for Notes {
    const NAME: &'static str = "Notes";
    type Event = NotesEvent;

    fn filter() -> Filter {
        Filter::category("Order")
    }

    fn route(_: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(Some("1".to_owned()))
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<NotesEvent>, HandlerError> {
        let Trigger::Event(event) = trigger else { return Ok(vec![]) };
        if &*event.event_type == "Placed" {
            return Ok(vec![NotesEvent::Counted { texts: self.0.clone() }]);
        }
        if event.version == Version::new(2) && FAILS.load(Ordering::Relaxed) {
            return Err("on purpose".into());
        }
        match event.format {
            PayloadFormat::Erased => Ok(vec![NotesEvent::Counted { texts: vec![] }]),
            _ => Ok(vec![NotesEvent::Noted { text: event.json()? }]),
        }
    }

    fn evolve(&mut self, event: &NotesEvent) {
        if let NotesEvent::Noted { text } = event {
            self.0.push(text.clone());
        }
    }

    fn effect(&self, _: &NotesEvent, _: &mut Effects<'_>) -> Result<Vec<NotesEvent>, HandlerError> {
        Ok(vec![])
    }
}

/// An event that waited with its instance was reacted to in clear, after the forget. So was the state that an instance
/// had in memory.
#[test]
fn the_state_of_an_instance_is_computed_again() {
    let place = Place::new();
    let store = place.open();
    let on_error = OnError::default().retries(10_000).first_delay(Duration::from_millis(10));
    let on_error = on_error.then(ErrorAction::Stop);
    let process = store.process::<Notes>().on_error(on_error).start().unwrap();
    let append = |event| store.append("Order-1", ExpectedVersion::Any, [event]).unwrap();
    let texts = |n: usize| {
        let events = store.read_stream("Notes-1").collect().unwrap();
        match events[n].decode().unwrap() {
            NotesEvent::Counted { texts } => texts,
            NotesEvent::Noted { text } => vec![text],
        }
    };
    let recorded = |n| {
        move |store: &Store| {
            store.stream_info("Notes-1").is_ok_and(|info| info.version >= Version::new(n))
        }
    };
    append(private("7", MARKER));
    wait_until(PATIENCE, "the first note", || recorded(1)(&store));
    append(private("7", MARKER));
    wait_until(PATIENCE, "a failure", || process.status().retrying.is_some());

    store.forget("7").unwrap();
    FAILS.store(false, Ordering::Relaxed);
    append(public());
    wait_until(PATIENCE, "the rest", || recorded(3)(&store));
    assert!(matches!(process.status().state, ProcessState::Running));
    assert_eq!(
        [texts(0), texts(1), texts(2)],
        [vec!["gone".to_owned()], vec![], vec!["gone".to_owned()]]
    );
    store.close().unwrap();
    assert!(!super::derived::is_in_a_file(place.0.path()));
}
