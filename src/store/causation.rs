//! What led to an event, and what followed from it.
//!
//! * There is no index of causes: the log is read. An effect comes after its cause, so one forward scan finds all
//!   effects. A cause is searched for around the time in its id, and then everywhere before its effect.
//! * The events read and the events kept are bounded. The result says whether that was enough.

use crate::log::core::Log;
use crate::log::read::all::{AllEvents, AllRange};
use crate::store::Store;
use crate::telemetry::context::correlation_of;
use crate::value::clock::Micros;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::limits::{
    CAUSATION_CLOCK_SLACK, CAUSATION_EVENTS_MAX, CAUSATION_EVENTS_READ_MAX,
};
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// What led to an event, and what followed from it; see [`Store::causation`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Causation {
    /// The chain of events that led to it: the first cause first, its direct cause last.
    pub causes: Vec<CausedEvent>,
    /// The event itself; `None` if no event that was read has this id.
    pub event: Option<CausedEvent>,
    /// All events that followed from it, directly or not, in the order in which they were recorded.
    pub effects: Vec<CausedEvent>,
    /// The causation id of the first of `causes` (of the event, if there are none), if no event that was read has this
    /// id: the id of a command, for example, or of an event of another store.
    pub unknown_cause: Option<Uuid>,
    /// Whether the search was complete. If it reached a limit, there may be more causes and effects.
    pub complete: bool,
    /// How many events were read.
    pub events_read: u64,
}

/// An event's place in a [`Causation`], without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CausedEvent {
    /// Its id.
    pub id: Uuid,
    /// The id of what caused it, if that was recorded.
    pub causation_id: Option<Uuid>,
    /// Its correlation id; its own id, if it has none.
    pub correlation_id: Uuid,
    /// How many steps of causation it is after the event that was asked for: 1 for a direct effect, -1 for the direct
    /// cause, 0 for the event itself.
    pub distance: i64,
    /// Its position in the global sequence.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// Its version in its stream.
    pub version: Version,
    /// Its type.
    pub event_type: String,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

impl CausedEvent {
    fn new(event: &RecordedEvent, distance: i64) -> CausedEvent {
        CausedEvent {
            id: event.id,
            causation_id: event.metadata.causation_id,
            correlation_id: correlation_of(event.id, &event.metadata),
            distance,
            position: event.position,
            stream: event.stream.detached(),
            version: event.version,
            event_type: event.event_type.as_str().to_owned(),
            recorded_at: event.recorded_at,
        }
    }
}

/// How many events may be read in each of the two directions, and kept in total.
#[derive(Clone, Copy)]
struct Bounds {
    read_max: u64,
    kept_max: usize,
}

impl Store {
    /// Returns what led to the event with this id, and what followed from it, across all streams. It uses the
    /// [causation ids](crate::Metadata::causation_id) of events, which are set automatically on commands that are
    /// executed while an event is handled.
    ///
    /// There is no index of causes, so this reads the log. For effects, it reads everything after the event. For a
    /// cause, it reads the minute before and after the time in the cause's id, if that is a UUID of version 7 (as the
    /// ids made by this crate are); if the cause is not there, it reads everything before its effect. In each of the
    /// two directions it reads up to 1,000,000 events, which takes some tenths of a second. It returns up to 10,000
    /// events, without payloads. The search for the event itself counts for the direction of its causes. If a limit is
    /// reached, the result is not [`complete`](Causation::complete); and if the event was not found by then, that does
    /// not mean that there is none.
    ///
    /// ```
    /// use filmstrip::uuid::Uuid;
    /// use filmstrip::{ExpectedVersion, Metadata, NewEvent, Store};
    /// let store = Store::temporary()?;
    /// let (asked, paid) = (Uuid::now_v7(), Uuid::now_v7());
    /// store.append("Order-1", ExpectedVersion::Any, [NewEvent::json("Placed", &7)?.id(asked)])?;
    /// let caused = Metadata::default().causation_id(asked);
    /// let payment = NewEvent::json("Taken", &7)?.id(paid).metadata(caused);
    /// store.append("Payment-1", ExpectedVersion::Any, [payment])?;
    ///
    /// let why = store.causation(paid)?;
    /// assert_eq!(why.causes[0].stream, "Order-1");
    /// let then = store.causation(asked)?;
    /// assert!(then.complete && then.effects[0].id == paid);
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed); errors of reading. It is no error if there is no such event.
    pub fn causation(&self, event: Uuid) -> Result<Causation> {
        self.log.log().refuse_if_closed()?;
        let (read_max, kept_max) = (CAUSATION_EVENTS_READ_MAX, CAUSATION_EVENTS_MAX);
        search(self.log.log(), event, Bounds { read_max, kept_max })
    }
}

fn search(log: &Arc<Log>, id: Uuid, bounds: Bounds) -> Result<Causation> {
    let mut up = Walk { log, left: bounds.read_max, is_cut: false };
    let head = log.head.position();
    let Some(event) = up.find(id, head)? else {
        let (read, complete) = (bounds.read_max - up.left, !up.is_cut);
        return Ok(Causation {
            causes: Vec::new(),
            event: None,
            effects: Vec::new(),
            unknown_cause: None,
            complete,
            events_read: read,
        });
    };
    let (mut causes, mut unknown_cause, mut effect) = (Vec::new(), None, event.clone());
    while let Some(cause) = effect.causation_id {
        if causes.len() == bounds.kept_max {
            up.is_cut = true;
            break;
        }
        // A cause was recorded before its effect, so this ends.
        match up.find(cause, effect.position.get() - 1)? {
            Some(found) => {
                effect = CausedEvent { distance: effect.distance - 1, ..found };
                causes.push(effect.clone());
            }
            None => {
                unknown_cause = Some(cause);
                break;
            }
        }
    }
    causes.reverse();
    let mut down = Walk { log, left: bounds.read_max, is_cut: false };
    let effects = down.effects(&event, head, bounds.kept_max - causes.len())?;
    Ok(Causation {
        causes,
        event: Some(event),
        effects,
        unknown_cause,
        complete: !(up.is_cut || down.is_cut),
        events_read: 2 * bounds.read_max - up.left - down.left,
    })
}

/// A bounded read in one direction.
struct Walk<'a> {
    log: &'a Arc<Log>,
    /// How many events may still be read.
    left: u64,
    /// Whether a limit was reached.
    is_cut: bool,
}

impl Walk<'_> {
    /// Finds the event `id` at a position up to `last`.
    fn find(&mut self, id: Uuid, last: u64) -> Result<Option<CausedEvent>> {
        let mut near = (0, 0);
        if let Some(time) = id.get_timestamp() {
            let (seconds, nanos) = time.to_unix();
            let micros = seconds.saturating_mul(1_000_000).saturating_add(u64::from(nanos / 1_000));
            let micros = i64::try_from(micros).unwrap_or(i64::MAX);
            let slack = i64::try_from(CAUSATION_CLOCK_SLACK.as_micros()).unwrap_or(i64::MAX);
            let first = self.log.position_at(Micros(micros.saturating_sub(slack)))? + 1;
            near = (first, last.min(self.log.position_at(Micros(micros.saturating_add(slack)))?));
            if let Some(found) = self.find_in(id, near.0, near.1)? {
                return Ok(Some(found));
            }
        }
        if failpoint!("causation::look_near_only") {
            return Ok(None);
        }
        // It was recorded long after its id was made, the clocks differ, or the id contains no time.
        match self.find_in(id, 1, last.min(near.0.saturating_sub(1)))? {
            None => self.find_in(id, near.1 + 1, last),
            found => Ok(found),
        }
    }

    fn find_in(&mut self, id: Uuid, first: u64, last: u64) -> Result<Option<CausedEvent>> {
        for event in self.events(first, last) {
            if self.left == 0 {
                self.is_cut = true;
                break;
            }
            self.left -= 1;
            let event = event?;
            if event.id == id {
                return Ok(Some(CausedEvent::new(&event, 0)));
            }
        }
        Ok(None)
    }

    /// Finds what followed from `cause`, up to the position `last`.
    fn effects(&mut self, cause: &CausedEvent, last: u64, max: usize) -> Result<Vec<CausedEvent>> {
        let mut distances = HashMap::from([(cause.id, cause.distance)]);
        let mut effects = Vec::new();
        for event in self.events(cause.position.get() + 1, last) {
            if self.left == 0 {
                self.is_cut = true;
                break;
            }
            self.left -= 1;
            let event = event?;
            let distance = event.metadata.causation_id.and_then(|cause| distances.get(&cause));
            let Some(distance) = distance.map(|distance| distance + 1) else { continue };
            if effects.len() == max {
                self.is_cut = true;
                break;
            }
            effects.push(CausedEvent::new(&event, distance));
            if !failpoint!("causation::stop_at_direct_effects") {
                distances.insert(event.id, distance);
            }
        }
        Ok(effects)
    }

    fn events(&self, first: u64, last: u64) -> AllEvents {
        let (limit, filter) = (u64::MAX, Filter::all());
        let range = AllRange { first, last, backwards: false, limit, filter };
        AllEvents::new(Arc::clone(self.log), range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::event::{Metadata, NewEvent};
    use crate::value::position::ExpectedVersion;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    /// Events 1 to `n`, each caused by the one before it.
    fn chain(n: u128) -> Store {
        let store = Store::temporary().unwrap();
        for n in 1..=n {
            let metadata = match n {
                1 => Metadata::default(),
                n => Metadata::default().causation_id(id(n - 1)),
            };
            let event = NewEvent::bytes("Happened", &b""[..]).id(id(n)).metadata(metadata);
            store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
        }
        store
    }

    fn of(store: &Store, n: u128, read_max: u64, kept_max: usize) -> Causation {
        search(store.log.log(), id(n), Bounds { read_max, kept_max }).unwrap()
    }

    #[test]
    fn the_whole_chain_is_there_if_there_is_room() {
        let store = chain(7);
        let found = of(&store, 4, 1_000, 10);
        let ids = |events: &[CausedEvent]| {
            events.iter().map(|event| (event.id.as_u128(), event.distance)).collect::<Vec<_>>()
        };
        assert_eq!(ids(&found.causes), [(1, -3), (2, -2), (3, -1)]);
        assert_eq!(ids(&found.effects), [(5, 1), (6, 2), (7, 3)]);
        assert!(found.complete && found.unknown_cause.is_none());
        let absent = of(&store, 99, 1_000, 10);
        assert!(absent.event.is_none() && absent.complete);
        assert_eq!(absent.events_read, 7);
    }

    #[test]
    fn what_is_read_and_what_is_kept_is_bounded_and_the_answer_says_so() {
        let store = chain(7);
        for (read_max, kept_max) in [(3, 10), (5, 10), (1_000, 0), (1_000, 2), (1_000, 5)] {
            let found = of(&store, 4, read_max, kept_max);
            assert!(!found.complete, "{read_max} {kept_max}: {found:?}");
            assert!(found.causes.len() + found.effects.len() <= kept_max);
            assert!(found.events_read <= 2 * read_max);
        }
        assert!(of(&store, 4, 1_000, 6).complete);
        assert!(of(&store, 3, 3, 10).event.is_some() && of(&store, 4, 3, 10).event.is_none());
    }

    #[test]
    fn a_cause_that_is_no_event_is_named() {
        let store = Store::temporary().unwrap();
        let metadata = Metadata::default().causation_id(id(77)).correlation_id(id(5));
        let event = NewEvent::bytes("Happened", &b""[..]).id(id(1)).metadata(metadata);
        store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
        let found = of(&store, 1, 1_000, 10);
        assert_eq!((found.unknown_cause, found.complete), (Some(id(77)), true));
        assert_eq!(found.event.unwrap().correlation_id, id(5));
    }
}
