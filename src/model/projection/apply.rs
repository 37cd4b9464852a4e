//! Applies events, and holds the changes that are not written yet.

use crate::codec::parked::{ParkedEvents, ParkedRecord};
use crate::model::policy::of_store;
use crate::model::projection::contract::Projection;
use crate::model::projection::merged::Changes;
use crate::model::projection::parked::{left_changes, parked_changes};
use crate::model::projection::rows::RowSource;
#[cfg(feature = "erasure")]
use crate::model::projection::trees::PRIVATE;
use crate::model::projection::trees::{MadeBy, Place, checkpoint_changes};
use crate::model::projection::writer::ViewWriter;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, catch};
use crate::value::event::RecordedEvent;
use crate::value::json::told;
use crate::value::stream::StreamId;
use crate::views::changes::{Change, Row};
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// Bytes of memory that a row takes besides its key and its value: two allocations, and the map's entry.
const ROW_OVERHEAD_BYTES: usize = 128;

/// Why an event was not applied.
pub(super) enum Failure {
    /// The view cannot be read; the event is not at fault.
    View(Error),
    /// `apply` returned an error or panicked. The error may be one of a store.
    Event(String, Option<Error>),
}

/// Applies `event` on top of the changes `earlier`; returns its own changes.
pub(super) fn apply<P: Projection>(
    projection: &P,
    event: &RecordedEvent,
    view: &dyn RowSource,
    earlier: &Changes,
) -> Result<Changes, Failure> {
    let mut writer = ViewWriter::new(view, P::INDEXES, earlier);
    let applied = catch(|| projection.apply(event, &mut writer));
    let (changes, unreadable) = writer.finish();
    if let Some(error) = unreadable {
        return Err(Failure::View(error));
    }
    match applied {
        Ok(Ok(())) => Ok(changes),
        Ok(Err(cause)) => {
            let cause = told::by_handler(cause);
            Err(Failure::Event(cause.to_string(), of_store(&*cause)))
        }
        Err(panic) => Err(Failure::Event(format!("apply panicked: {}", panic), None)),
    }
}

/// Changes that will be written to a view at once.
#[derive(Default)]
pub(super) struct Pending {
    rows: Changes,
    bytes: usize,
    parked: ParkedEvents,
    parked_counts: ParkedCounts,
    /// What is left of entries with events that were parked before, by the positions in their keys.
    left: Vec<(u64, ParkedEvents)>,
    /// The streams of events that are parked no longer.
    released: Vec<StreamId>,
    /// Whether a private event is among those that led to the changes.
    #[cfg(feature = "erasure")]
    is_private: bool,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && !self.parks()
    }

    /// Whether it parks or releases events.
    pub(super) fn parks(&self) -> bool {
        !self.parked.is_empty() || !self.left.is_empty()
    }

    /// The approximate number of bytes to write.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The approximate memory that it takes, in bytes.
    pub(super) fn bytes_in_memory(&self) -> usize {
        self.bytes + self.rows.len() * ROW_OVERHEAD_BYTES
    }

    pub(super) fn rows(&self) -> &Changes {
        &self.rows
    }

    /// Notes that the next changes are those of `event`.
    #[cfg(feature = "erasure")]
    pub(super) fn note_private(&mut self, event: &RecordedEvent) {
        self.is_private |= event.key_id().is_some();
    }

    /// Whether a private event is among those that led to the changes.
    #[cfg(feature = "erasure")]
    pub(super) fn is_private(&self) -> bool {
        self.is_private
    }

    /// Adds the changes of one event.
    pub(super) fn take(&mut self, changes: Changes) {
        let bytes_of = |row: &Row| row.bytes.len() + row.entries.as_bytes().len();
        let bytes = |row: &Option<Row>| row.as_ref().map_or(0, bytes_of);
        for (key, row) in changes {
            let (key_bytes, row_bytes) = (key.len(), bytes(&row));
            self.bytes += row_bytes;
            match self.rows.insert(key, row) {
                Some(replaced) => self.bytes -= bytes(&replaced),
                None => self.bytes += key_bytes,
            }
        }
    }

    pub(super) fn park(
        &mut self,
        event: &RecordedEvent,
        error: String,
        attempts: u32,
        now: Micros,
    ) {
        let record = record(event, error, attempts, now);
        self.bytes += bytes_of(&record);
        self.parked.push((event.position.get(), record));
        self.parked_counts.add(event.stream.detached());
    }

    /// Leaves `events` of the entry `key`, whose others are released.
    pub(super) fn leave(&mut self, key: u64, events: ParkedEvents) {
        self.bytes += events.iter().map(|(_, record)| bytes_of(record)).sum::<usize>();
        self.left.push((key, events));
    }

    /// Releases a parked event of `stream`. Its entry is left without it.
    pub(super) fn release(&mut self, stream: StreamId) {
        self.released.push(stream);
    }

    /// Whether it parks an event of `stream`.
    pub(super) fn parks_of(&self, stream: &StreamId) -> bool {
        self.parked_counts.has(stream)
    }

    /// How many events are parked with these changes, of `before`.
    fn parked_after(&self, before: u64) -> u64 {
        (before + self.parked_counts.all).saturating_sub(self.released.len() as u64)
    }

    /// Converts everything into changes, which also move the view's checkpoint to `place`; `before` events are parked
    /// already. Returns too how many they park, and the streams of those that they release.
    pub(super) fn into_changes(
        self,
        made_by: MadeBy,
        store: Uuid,
        place: Place,
        before: u64,
    ) -> (Vec<Change>, ParkedCounts, Vec<StreamId>) {
        let after = self.parked_after(before);
        let rows = self.rows.into_iter().map(|(key, row)| Change::Row(key, row));
        let left = self.left.iter().flat_map(|(key, events)| left_changes(*key, events));
        let checkpoint = checkpoint_changes(made_by, store, place, after);
        let parked = parked_changes(&self.parked);
        let changes = rows.chain(left).chain(parked);
        #[cfg(feature = "erasure")]
        let changes = {
            // First: the changes may be written in parts.
            let private = self.is_private.then(|| Change::State(PRIVATE.to_vec(), Some(vec![1])));
            private.into_iter().chain(changes)
        };
        let changes = changes.chain(checkpoint).collect();
        (changes, self.parked_counts, self.released)
    }
}

fn bytes_of(record: &ParkedRecord) -> usize {
    record.error.len() + record.stream.len()
}

/// The record of `event`, which has failed with `error`.
pub(super) fn record(
    event: &RecordedEvent,
    error: String,
    attempts: u32,
    now: Micros,
) -> ParkedRecord {
    ParkedRecord {
        stream: event.stream.as_str().to_owned(),
        event_type: event.event_type.as_str().to_owned(),
        error,
        attempts,
        parked_at: now.0,
    }
}

/// The number of parked events, for each stream and in total.
#[derive(Default)]
pub(super) struct ParkedCounts {
    streams: HashMap<StreamId, u64>,
    pub(super) all: u64,
}

impl ParkedCounts {
    pub(super) fn add(&mut self, stream: StreamId) {
        *self.streams.entry(stream).or_default() += 1;
        self.all += 1;
    }

    pub(super) fn add_all(&mut self, counts: ParkedCounts) {
        self.all += counts.all;
        for (stream, events) in counts.streams {
            *self.streams.entry(stream).or_default() += events;
        }
    }

    pub(super) fn remove(&mut self, stream: &StreamId) {
        let Some(events) = self.streams.get_mut(stream) else { return };
        (*events, self.all) = (*events - 1, self.all - 1);
        if *events == 0 {
            self.streams.remove(stream);
        }
    }

    pub(super) fn has(&self, stream: &StreamId) -> bool {
        self.streams.contains_key(stream)
    }
}

/// The error for a projection that has stopped at an event.
pub(super) fn stopped_at(name: &str, event: &RecordedEvent, cause: &str) -> Error {
    let RecordedEvent { position, event_type, stream, .. } = event;
    let message = format!(
        "projection {name} stopped at position {position}, event {event_type} of {stream}: {cause}"
    );
    Error::new(ErrorKind::Faulted, message)
}

/// The error for a view that could not be changed because it was being read all the time.
pub(super) fn being_read(name: &str, waited: Duration) -> Error {
    let message = format!(
        "the view of projection {name} is being read, and could not be changed for {waited:?}"
    );
    Error::new(ErrorKind::Timeout, message)
}
