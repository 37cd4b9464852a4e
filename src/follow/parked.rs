//! Events that were parked because they could not be handled.

use crate::codec::parked::ParkedRecord;
use crate::value::clock::Micros;
use crate::value::error::Result;
use crate::value::position::Position;
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// An event that a projection or a consumer group has parked, because handling it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Parked {
    /// The event's place in the global sequence.
    pub position: Position,
    /// Its stream.
    pub stream: StreamId,
    /// The event's type.
    pub event_type: String,
    /// Why it last failed; `None` if it only waits for an earlier event of its stream.
    pub error: Option<String>,
    /// How many attempts there were.
    pub attempts: u32,
    /// When it was parked, or last tried.
    pub parked_at: DateTime<Utc>,
}

impl Parked {
    pub(crate) fn new(position: Position, record: ParkedRecord) -> Result<Parked> {
        Ok(Parked {
            position,
            stream: StreamId::new(&record.stream)?,
            event_type: record.event_type,
            error: (!record.error.is_empty()).then_some(record.error),
            attempts: record.attempts,
            parked_at: Micros(record.parked_at).to_utc(),
        })
    }
}
