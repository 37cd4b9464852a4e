//! Events as a store would record them, without a store.

use crate::value::event::{NewEvent, RecordedEvent, RecordedMetadata};
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use std::collections::HashMap;

/// Gives events their versions, positions and times.
#[derive(Debug, Clone, Default)]
pub(super) struct Recording {
    versions: HashMap<StreamId, u64>,
    position: u64,
    /// When the next ones are recorded.
    pub(super) now: DateTime<Utc>,
}

impl Recording {
    pub(super) fn record(&mut self, stream: StreamId, event: NewEvent) -> RecordedEvent {
        let version = self.versions.entry(stream.clone()).or_default();
        (*version, self.position) = (*version + 1, self.position + 1);
        let (version, position) = (Version::new(*version), Position::new(self.position));
        let NewEvent {
            id,
            event_type,
            schema_version,
            format,
            payload,
            metadata,
            tags,
            occurred_at,
            ..
        } = event;
        RecordedEvent {
            position,
            stream,
            version,
            id,
            event_type: event_type.into(),
            schema_version,
            recorded_at: self.now,
            occurred_at: occurred_at.unwrap_or(self.now),
            metadata: RecordedMetadata::new(metadata, tags),
            format,
            payload,
        }
    }
}
