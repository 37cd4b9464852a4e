//! What `evolve_at` sees of an event beside its content.

use crate::value::event::{Metadata, RecordedEvent};
use crate::value::position::{Position, Version};
use chrono::{DateTime, Utc};
use std::cell::OnceCell;
use uuid::Uuid;

/// What an event has beside its content: its id, its place, its times and its metadata.
///
/// An aggregate sees it in [`evolve_at`](crate::Aggregate::evolve_at). Position and recorded time are given when the
/// event is recorded. Asked for before that, in a state that only its own transaction sees, they are what they would
/// be now; the state that remains is computed again with what they have become.
pub struct Envelope<'a> {
    id: Uuid,
    version: Version,
    metadata: &'a Metadata,
    occurred_at: Option<DateTime<Utc>>,
    recorded: Recorded<'a>,
}

/// Where and when an event was recorded.
enum Recorded<'a> {
    At(Position, DateTime<Utc>),
    /// Not yet: where and when it would be, and what was said if anybody has asked.
    Expected(&'a dyn Fn() -> (Position, DateTime<Utc>), OnceCell<(Position, DateTime<Utc>)>),
}

impl<'a> Envelope<'a> {
    /// The envelope of a recorded event.
    ///
    /// ```
    /// use filmstrip::repository::Envelope;
    /// use filmstrip::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::temporary()?;
    /// store.append("Door-1", ExpectedVersion::Any, [NewEvent::json("Opened", &())?])?;
    /// let opened = store.read_stream("Door-1").iter()?.next().expect("one event")?;
    /// let envelope = Envelope::of(&opened);
    /// assert_eq!((envelope.id(), envelope.recorded_at()), (opened.id, opened.recorded_at));
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    #[must_use]
    pub fn of(event: &'a RecordedEvent) -> Envelope<'a> {
        Envelope {
            id: event.id,
            version: event.version,
            metadata: &event.metadata,
            occurred_at: Some(event.occurred_at),
            recorded: Recorded::At(event.position, event.recorded_at),
        }
    }

    /// The envelope of an event that its writer has just recorded.
    pub(crate) fn recorded(
        id: Uuid,
        version: Version,
        metadata: &'a Metadata,
        (position, time): (Position, DateTime<Utc>),
    ) -> Envelope<'a> {
        let recorded = Recorded::At(position, time);
        Envelope { id, version, metadata, occurred_at: None, recorded }
    }

    /// The envelope of an event that is to be recorded; `expected` says where and when it would be.
    pub(crate) fn expected(
        id: Uuid,
        version: Version,
        metadata: &'a Metadata,
        expected: &'a dyn Fn() -> (Position, DateTime<Utc>),
    ) -> Envelope<'a> {
        let recorded = Recorded::Expected(expected, OnceCell::new());
        Envelope { id, version, metadata, occurred_at: None, recorded }
    }

    /// The id that its writer gave it.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Its place in its stream.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its place in the global sequence.
    #[must_use]
    pub fn position(&self) -> Position {
        self.place().0
    }

    /// When the store recorded it.
    #[must_use]
    pub fn recorded_at(&self) -> DateTime<Utc> {
        self.place().1
    }

    /// When it happened: `recorded_at`, unless its writer set another time.
    #[must_use]
    pub fn occurred_at(&self) -> DateTime<Utc> {
        self.occurred_at.unwrap_or_else(|| self.recorded_at())
    }

    /// Why it was recorded, and what else its writer stored with it.
    #[must_use]
    pub fn metadata(&self) -> &'a Metadata {
        self.metadata
    }

    /// Whether it was asked for what is not known yet.
    pub(crate) fn was_asked(&self) -> bool {
        matches!(&self.recorded, Recorded::Expected(_, said) if said.get().is_some())
    }

    fn place(&self) -> (Position, DateTime<Utc>) {
        match &self.recorded {
            Recorded::At(position, time) => (*position, *time),
            Recorded::Expected(expected, said) => *said.get_or_init(expected),
        }
    }
}

impl std::fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Envelope");
        debug.field("id", &self.id).field("version", &self.version);
        if let Recorded::At(position, time) = &self.recorded {
            debug.field("position", position).field("recorded_at", time);
        }
        debug.field("metadata", &self.metadata).finish_non_exhaustive()
    }
}
