//! What a listing says of a stream.

use crate::codec::state::StreamState;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// Information about a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Its name.
    pub stream: StreamId,
    /// The version of its last event.
    pub version: Version,
    /// How many of its events can be read.
    pub count: u64,
    /// When its first event was recorded.
    pub created: DateTime<Utc>,
    /// When its last event was recorded.
    pub last_written: DateTime<Utc>,
}

impl StreamInfo {
    pub(crate) fn new(stream: StreamId, state: &StreamState) -> StreamInfo {
        StreamInfo {
            stream,
            version: state.version,
            // One for each of its versions: a stream is never truncated.
            count: state.version.get(),
            created: state.created.to_utc(),
            last_written: state.written.to_utc(),
        }
    }
}
