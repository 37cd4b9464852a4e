//! Where pages read: an open store, or a follower of one that another process writes.
//!
//! Everything blocks, and is called on threads for that. Events come one by one, so that a page holds no more of them
//! than it shows.

mod follower;
pub(crate) mod overview;
mod store;

use crate::limits::{PAGE_ROWS, PREVIEW_BYTES};
use filmstrip::causation::CausedEvent;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::read::{PayloadFormat, StreamInfo};
use filmstrip::uuid::Uuid;
use filmstrip::{ErrorKind, Filter, Position, RecordedEvent, Result, StreamId, Version};
use overview::Overview;
use std::path::Path;

/// Events, one by one.
pub(crate) type Events = Box<dyn Iterator<Item = Result<RecordedEvent>> + Send>;

/// A stream in a list.
pub(crate) struct Listed {
    pub(crate) stream: StreamId,
    pub(crate) version: Version,
    pub(crate) created: DateTime<Utc>,
    pub(crate) last_written: DateTime<Utc>,
}

impl From<StreamInfo> for Listed {
    fn from(info: StreamInfo) -> Listed {
        let StreamInfo { stream, version, created, last_written, .. } = info;
        Listed { stream, version, created, last_written }
    }
}

/// `None` where a stream was never written.
fn unless_new<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::StreamNotFound => Ok(None),
        found => found.map(Some),
    }
}

/// The events that were found; none, if there is no such stream.
fn events_of<I>(found: Result<I>) -> Result<Events>
where
    I: Iterator<Item = Result<RecordedEvent>> + Send + 'static,
{
    Ok(match unless_new(found)? {
        Some(events) => Box::new(events),
        None => Box::new(std::iter::empty()),
    })
}

/// The first page of these streams.
fn page_of(streams: impl Iterator<Item = Result<StreamInfo>>) -> Result<Page<Listed>> {
    let rows = streams.take(PAGE_ROWS + 1).map(|info| info.map(Listed::from));
    let mut rows: Vec<Listed> = rows.collect::<Result<_>>()?;
    let has_more = rows.len() > PAGE_ROWS;
    rows.truncate(PAGE_ROWS);
    Ok(Page { rows, has_more, is_partial: false })
}

/// A page of a list.
pub(crate) struct Page<T> {
    pub(crate) rows: Vec<T>,
    /// Whether there are more after them.
    pub(crate) has_more: bool,
    /// Whether only the newest events were looked at.
    pub(crate) is_partial: bool,
}

/// An event in a list, without its payload.
pub(crate) struct Brief {
    pub(crate) position: Position,
    pub(crate) stream: StreamId,
    pub(crate) version: Version,
    pub(crate) event_type: String,
    pub(crate) recorded_at: DateTime<Utc>,
    /// The beginning of the payload.
    pub(crate) preview: String,
}

impl Brief {
    pub(crate) fn of(event: &RecordedEvent) -> Brief {
        Brief {
            position: event.position,
            stream: own_name(&event.stream),
            version: event.version,
            event_type: event.event_type.to_string(),
            recorded_at: event.recorded_at,
            preview: preview(event),
        }
    }
}

/// The beginning of a payload, in one line.
fn preview(event: &RecordedEvent) -> String {
    let start = &event.payload[..event.payload.len().min(PREVIEW_BYTES)];
    let more = if event.payload.len() > start.len() { "…" } else { "" };
    match event.format {
        PayloadFormat::Json => format!("{}{more}", String::from_utf8_lossy(start)),
        PayloadFormat::Sealed => format!("sealed, {} bytes", event.payload.len()),
        PayloadFormat::Erased => "erased".to_owned(),
        _ => format!("{} bytes", event.payload.len()),
    }
}

/// The same name in a buffer of its own: an event's shares the one that the event was read into.
pub(crate) fn own_name(stream: &StreamId) -> StreamId {
    StreamId::new(stream.as_str()).unwrap_or_else(|_| stream.clone())
}

/// What led to an event, and what followed from it.
#[derive(Default)]
pub(crate) struct Why {
    pub(crate) causes: Vec<Cause>,
    pub(crate) event: Option<Cause>,
    pub(crate) effects: Vec<Cause>,
    /// What the first of them names as its cause, and is no event that was read.
    pub(crate) unknown_cause: Option<Uuid>,
    /// Whether everything was looked at.
    pub(crate) is_complete: bool,
}

/// An event among causes and effects.
#[derive(Clone)]
pub(crate) struct Cause {
    pub(crate) id: Uuid,
    pub(crate) causation_id: Option<Uuid>,
    pub(crate) correlation_id: Uuid,
    pub(crate) position: Position,
    pub(crate) stream: StreamId,
    pub(crate) version: Version,
    pub(crate) event_type: String,
    pub(crate) recorded_at: DateTime<Utc>,
}

impl From<CausedEvent> for Cause {
    fn from(event: CausedEvent) -> Cause {
        Cause {
            id: event.id,
            causation_id: event.causation_id,
            correlation_id: event.correlation_id,
            position: event.position,
            stream: event.stream,
            version: event.version,
            event_type: event.event_type,
            recorded_at: event.recorded_at,
        }
    }
}

/// What a list of streams is narrowed to.
#[derive(Default)]
pub(crate) struct StreamQuery {
    pub(crate) prefix: String,
    pub(crate) category: Option<String>,
    /// The last stream of the page before.
    pub(crate) after: Option<StreamId>,
}

pub(crate) trait Source: Send + Sync {
    /// The directory of the store.
    fn path(&self) -> &Path;

    /// The position of the last durable event.
    fn head(&self) -> Result<Position>;

    /// What is known of a stream; `None` if it was never written.
    fn stream(&self, stream: &StreamId) -> Result<Option<Listed>>;

    /// The events of a stream with versions after `after`, up to `until`.
    fn events(&self, stream: &StreamId, after: Version, until: Version) -> Result<Events>;

    /// The last version of a stream that was recorded at or before `time`; `Version::NONE` if none was.
    fn version_at(&self, stream: &StreamId, time: DateTime<Utc>) -> Result<Version>;

    /// Streams in the order of their names.
    fn streams(&self, query: StreamQuery) -> Result<Page<Listed>>;

    /// The categories that streams have, in the order of their names.
    fn categories(&self) -> Result<Page<String>>;

    /// The events after `after`, up to `until`, that `filter` accepts.
    fn all(&self, after: Position, until: Position, filter: Filter) -> Result<Events>;

    /// The newest events that `filter` accepts, the newest one first.
    fn latest(&self, filter: Filter, rows: usize) -> Result<Page<Brief>>;

    /// What led to the event with this id, and what followed from it.
    fn why(&self, event: Uuid) -> Result<Why>;

    /// How the log grew, and its largest streams, as far as bounded work finds them.
    fn overview(&self) -> Result<Overview>;
}
