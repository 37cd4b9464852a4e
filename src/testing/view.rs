//! Tests of a projection, without a store.

use crate::model::event_set::set::Event;
use crate::model::projection::contract::Projection;
use crate::model::projection::indexed::IndexRows;
use crate::model::projection::merged::Changes;
use crate::model::projection::past::memory::MemoryRows;
use crate::model::projection::rows::{RowSource, decode};
use crate::model::projection::writer::ViewWriter;
use crate::testing::diff::differ;
use crate::testing::recording::Recording;
use crate::value::error::HandlerError;
use crate::value::event::{NewEvent, RecordedEvent};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Makes a projection with an empty view, to be given events.
///
/// ```
/// use filmstrip::testing::projecting;
/// # use filmstrip::{Event, Filter, HandlerError, Projection, RecordedEvent, ViewWriter};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// # enum DoorEvent { Opened, Closed }
/// # impl Event for DoorEvent {}
/// # struct VisitsByDoor;
/// # impl Projection for VisitsByDoor {
/// #     const NAME: &'static str = "visits-by-door";
/// #     const VERSION: u32 = 1;
/// #     fn filter(&self) -> Filter { Filter::event_type("Opened") }
/// #     fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
/// #         let visits: u64 = view.get(event.stream.as_str())?.unwrap_or(0);
/// #         Ok(view.put(event.stream.as_str(), &(visits + 1))?)
/// #     }
/// # }
/// projecting(VisitsByDoor)
///     .given("Door-1", [DoorEvent::Opened, DoorEvent::Closed, DoorEvent::Opened])
///     .given("Door-2", [DoorEvent::Opened])
///     .then_rows([("Door-1", 2), ("Door-2", 1)]);
/// ```
#[must_use = "nothing is tested before `given` and `then_rows`"]
pub fn projecting<P: Projection>(projection: P) -> Projecting<P> {
    Projecting { projection, rows: MemoryRows::new(P::INDEXES), recording: Recording::default() }
}

/// A projection and its rows. Made by [`projecting`].
pub struct Projecting<P> {
    projection: P,
    rows: MemoryRows,
    recording: Recording,
}

impl<P: Projection> Projecting<P> {
    /// Sets the time at which the next events are recorded; the default is the beginning of 1970.
    #[must_use]
    pub fn at(mut self, time: DateTime<Utc>) -> Projecting<P> {
        self.recording.now = time;
        self
    }

    /// Records these events in `stream`; the projection applies those that its filter accepts.
    ///
    /// # Panics
    /// If the stream's name is invalid, an event cannot be stored, or `apply` fails.
    #[track_caller]
    #[must_use = "nothing is tested before `then_rows`"]
    pub fn given<E: Event>(
        mut self,
        stream: &str,
        events: impl IntoIterator<Item = E>,
    ) -> Projecting<P> {
        for event in events {
            self = match NewEvent::of(&event) {
                Ok(new) => self.given_new(stream, new),
                Err(error) => panic!("an event of {stream} cannot be stored: {error}"),
            };
        }
        self
    }

    /// Records this event in `stream`: for one with metadata or an id of its own, or outside an event set.
    ///
    /// # Panics
    /// As for [`given`](Projecting::given).
    #[track_caller]
    #[must_use = "nothing is tested before `then_rows`"]
    pub fn given_new(mut self, stream: &str, event: NewEvent) -> Projecting<P> {
        let event = match StreamId::new(stream) {
            Ok(stream) => self.recording.record(stream, event),
            Err(error) => panic!("{error}"),
        };
        if self.projection.filter().wants_event(&event)
            && let Err(error) = self.apply(&event)
        {
            panic!("apply failed for event {} of {stream}: {error}", event.event_type);
        }
        self
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), HandlerError> {
        let nothing = Changes::new();
        let mut view = ViewWriter::new(&self.rows, P::INDEXES, &nothing);
        self.projection.apply(event, &mut view)?;
        let changes = view.finish().0;
        self.rows.apply(changes);
        Ok(())
    }

    /// Expects exactly these rows, in the order of their keys.
    ///
    /// # Panics
    /// If the view has others, or one does not decode as a `T`.
    #[track_caller]
    pub fn then_rows<K, T>(self, expected: impl IntoIterator<Item = (K, T)>) -> Projecting<P>
    where
        K: Into<String>,
        T: DeserializeOwned + Debug + PartialEq,
    {
        let expected: Vec<_> = expected.into_iter().map(|(key, row)| (key.into(), row)).collect();
        let actual: Vec<_> = self.rows.keys().map(|key| (key.clone(), self.read(key))).collect();
        if actual != expected {
            differ("the view has other rows", &expected, &actual);
        }
        self
    }

    /// Expects this row under `key`, or none.
    ///
    /// # Panics
    /// If the view has another, or one that does not decode as a `T`.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a test reads better without &")]
    pub fn then_row<T>(self, key: &str, expected: Option<T>) -> Projecting<P>
    where
        T: DeserializeOwned + Debug + PartialEq,
    {
        let actual = self.rows.keys().any(|there| there == key).then(|| self.read::<T>(key));
        if actual != expected {
            differ(&format!("the row {key:?} is another one"), &expected, &actual);
        }
        self
    }

    /// Expects exactly these entries of the index, in its order: a secondary key, and the key of a row that has it.
    ///
    /// # Panics
    /// If the index has others, or the projection does not name it.
    #[track_caller]
    pub fn then_index<B, K>(
        self,
        index: &str,
        expected: impl IntoIterator<Item = (B, K)>,
    ) -> Projecting<P>
    where
        B: AsRef<[u8]>,
        K: Into<String>,
    {
        let expected: Vec<(Vec<u8>, String)> =
            expected.into_iter().map(|(by, key)| (by.as_ref().to_vec(), key.into())).collect();
        let rows = IndexRows::new(&self.rows, index).collect::<serde::de::IgnoredAny>();
        let actual: Vec<_> = match rows {
            Ok(rows) => rows.into_iter().map(|row| (row.by, row.key)).collect(),
            Err(error) => panic!("{error}"),
        };
        if actual != expected {
            differ(&format!("the index {index:?} has other entries"), &expected, &actual);
        }
        self
    }

    #[track_caller]
    fn read<T: DeserializeOwned>(&self, key: &str) -> T {
        let read = self.rows.row(key).and_then(|row| decode(key, &row.unwrap_or_default()));
        match read {
            Ok(row) => row,
            Err(error) => panic!("{error}"),
        }
    }
}
