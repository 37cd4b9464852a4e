//! What the index takes in: a stretch of the journal, event by event.

use crate::clock::Micros;
use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::EntryLocation;
use crate::codec::mark::Mark;
use crate::stream::StreamId;
use bytes::Bytes;
use std::collections::HashMap;

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

/// The events stream by stream, in the order of their names, and in each stream by version.
///
/// A window has many more events than streams, whose names begin alike: so the names are sorted, and the
/// events follow theirs.
pub(crate) fn by_stream(events: &[WindowEvent]) -> Vec<Vec<&WindowEvent>> {
    let mut numbers: HashMap<&StreamId, usize> = HashMap::new();
    let mut streams: Vec<Vec<&WindowEvent>> = Vec::new();
    for event in events {
        let number = *numbers.entry(&event.stream).or_insert(streams.len());
        match streams.get_mut(number) {
            Some(stream) => stream.push(event),
            None => streams.push(vec![event]),
        }
    }
    streams.sort_unstable_by(|a, b| a[0].stream.cmp(&b[0].stream));
    for stream in &mut streams {
        // As the journal has them, they are sorted already.
        stream.sort_by_key(|event| event.version);
    }
    streams
}
