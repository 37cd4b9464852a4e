//! What the index takes in: a stretch of the journal, event by event.

use crate::clock::Micros;
use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::EntryLocation;
use crate::codec::mark::Mark;
use crate::stream::StreamId;
use bytes::Bytes;

/// An event for the index to take in.
#[derive(Debug, Clone)]
pub(crate) struct WindowEvent {
    pub(crate) stream: StreamId,
    pub(crate) version: u64,
    pub(crate) position: u64,
    pub(crate) recorded_at: Micros,
    pub(crate) location: EntryLocation,
    pub(crate) envelope: Bytes,
}

/// A stretch of the journal, from the checkpoint to `end`.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// In any order.
    pub(crate) events: Vec<WindowEvent>,
    pub(crate) marks: Vec<Mark>,
    /// Each key with its newest value; an empty one removes it.
    pub(crate) records: Vec<(String, Vec<u8>)>,
    pub(crate) end: Checkpoint,
}
