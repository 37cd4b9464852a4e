//! The segments as an operator sees them, from their headers in memory.

use crate::codec::frame::Location;
use crate::journal::read::Journal;
use crate::value::clock::Micros;
use crate::value::position::Position;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// One file of the journal; see [`Store::segments`](crate::Store::segments).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// The position of the first event in it; past the head if there is none yet.
    pub first_position: Position,
    /// When the last event before it was recorded; `None` if there is none.
    pub begun_after: Option<DateTime<Utc>>,
    /// Its bytes on disk; of the last one, those that are in use.
    pub bytes: u64,
}

impl Journal {
    /// The segments up to `end`, which is in the last of them.
    pub(crate) fn extents(&self, end: Location) -> Vec<SegmentInfo> {
        let segments = self.segments.read();
        let until_end = segments.range(..=end.segment).map(|(number, header)| SegmentInfo {
            first_position: Position::new(header.first_position),
            // Before the first event it is the smallest number.
            begun_after: (header.time > Micros(i64::MIN)).then(|| header.time.to_utc()),
            bytes: if *number == end.segment { end.offset } else { header.length },
        });
        until_end.collect()
    }
}
