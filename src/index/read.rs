//! Answering from the index. What is damaged is an error, never a wrong answer.

use crate::codec::keys;
use crate::codec::mark::Mark;
use crate::codec::run::{self, IndexedEvent, RUN_EVENTS_MAX};
use crate::codec::state::{Content, StoredRecord, StoredState, StreamState, contribution};
use crate::error::Result;
use crate::index::core::Index;
use crate::index::pieces;
use crate::index::verify::record_contribution;
use crate::stream::StreamId;
use std::ops::Bound;

impl Index {
    /// The events of the run that holds `version`, as far as the stream's state promises them;
    /// nothing, if the stream is not indexed that far.
    ///
    /// # Errors
    /// `Corrupt`, if the index should hold the version and does not.
    pub(crate) fn run_holding(&self, stream: &StreamId, version: u64) -> Result<Vec<IndexedEvent>> {
        let promised = self.stored_state(stream)?.map_or(0, |(held, _)| held.state.version.get());
        if version == 0 || version > promised {
            return Ok(Vec::new());
        }
        let mut events = self.promised_run(stream, version)?;
        let first = events.first().map_or(version, |first| first.version);
        events.truncate((promised + 1 - first) as usize);
        Ok(events)
    }

    /// The events of a run that holds `version`, for who knows that the stream's state promises it: to ask
    /// that again at each run would be half of the work. It may go on past the promise, with what a window
    /// that a crash cut short took from the journal.
    ///
    /// # Errors
    /// `Corrupt`, if there is none.
    pub(crate) fn promised_run(
        &self,
        stream: &StreamId,
        version: u64,
    ) -> Result<Vec<IndexedEvent>> {
        match self.run_beginning(stream, version)? {
            Some(events) => Ok(events),
            None => self.run_reaching(stream, version),
        }
    }

    /// The run that begins with `version`, if there is one: who reads a stream forwards asks for one
    /// such version after the other, and a look-up costs a fraction of a search.
    fn run_beginning(&self, stream: &StreamId, version: u64) -> Result<Option<Vec<IndexedEvent>>> {
        let key = keys::event_key(stream, version);
        let Some(value) = self.db.get(&self.trees.events, &key)? else { return Ok(None) };
        match run::decode(&key, version, &value) {
            Ok(events) => Ok(Some(events)),
            // Another run may hold it as well.
            Err(_) => Ok(None),
        }
    }

    fn run_reaching(&self, stream: &StreamId, version: u64) -> Result<Vec<IndexedEvent>> {
        // The run with the greatest key up to `version` is the one, unless an interrupted window
        // left a shorter one between; none begins further back than the longest run reaches.
        let from = keys::event_key(stream, version.saturating_sub(RUN_EVENTS_MAX - 1).max(1));
        let range = from..=keys::event_key(stream, version);
        let mut runs = self.db.range(&self.trees.events, range);
        let mut damage = "no run holds it".to_owned();
        while let Some((key, value)) = runs.next_back()? {
            let Some(first) = keys::version_of(&key) else { continue };
            match run::decode(&key, first, &value) {
                Ok(events) if events.last().is_some_and(|last| last.version >= version) => {
                    return Ok(events);
                }
                Ok(_) => {}
                Err(what) => damage = what,
            }
        }
        Err(self.damaged(None, format!("version {version} of {stream}: {damage}")))
    }

    /// The stream's state, as far as it is indexed.
    pub(crate) fn stream_state(&self, stream: &StreamId) -> Result<Option<StreamState>> {
        Ok(self.stored_state(stream)?.map(|(held, _)| held.state))
    }

    /// Up to `limit` streams whose names begin with `prefix` and come after `after`, in order.
    pub(crate) fn streams_after(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(StreamId, StreamState)>> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.as_bytes()),
            _ => Bound::Included(prefix.as_bytes()),
        };
        let mut entries = self.db.range::<&[u8]>(&self.trees.streams, (from, Bound::Unbounded));
        let mut streams = Vec::new();
        while streams.len() < limit {
            let Some((key, value)) = entries.next()? else { break };
            if !key.starts_with(prefix.as_bytes()) {
                break;
            }
            let held = StoredState::decode(&key, &value);
            let stream = StreamId::from_stored(key.clone());
            let (Some(held), Some(stream)) = (held, stream) else {
                let name = String::from_utf8_lossy(&key);
                return Err(self.damaged(None, format!("the state of {name} is damaged")));
            };
            streams.push((stream, held.state));
        }
        Ok(streams)
    }

    /// The last mark that is not beyond `position`.
    pub(crate) fn mark_at_or_before(&self, position: u64) -> Result<Option<Mark>> {
        let mut marks = self.db.range(&self.trees.global, ..=keys::global_key(position));
        let Some((key, value)) = marks.next_back()? else {
            return Ok(None);
        };
        let mark = Mark::decode(&key, &value);
        mark.map(Some).ok_or_else(|| self.damaged(Some(position), "a position mark is damaged"))
    }

    /// The newest value of a record's key.
    pub(crate) fn record(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match self.stored_record(key.as_bytes())? {
            Some((held, _)) => self.content(key.as_bytes(), &held),
            None => Ok(None),
        }
    }

    /// The records whose keys begin with `prefix`, in order.
    pub(crate) fn records_with_prefix(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let mut entries = self.db.prefix(&self.trees.records, prefix.as_bytes());
        let mut records = Vec::new();
        while let Some((key, value)) = entries.next()? {
            let held = StoredRecord::decode(&key, &value);
            let name = std::str::from_utf8(&key).ok();
            let (Some(held), Some(name)) = (held, name) else {
                let key = String::from_utf8_lossy(&key);
                return Err(self.damaged(None, format!("the record {key:?} is damaged")));
            };
            if let Some(content) = self.content(&key, &held)? {
                records.push((name.to_owned(), content));
            }
        }
        Ok(records)
    }

    /// What is kept of a stream, and what it contributes.
    pub(crate) fn stored_state(&self, stream: &StreamId) -> Result<Option<(StoredState, u64)>> {
        let key = stream.as_str().as_bytes();
        let Some(value) = self.db.get(&self.trees.streams, key)? else { return Ok(None) };
        match StoredState::decode(key, &value) {
            Some(held) => Ok(Some((held, contribution(key, &value)))),
            None => Err(self.damaged(None, format!("the state of {stream} is damaged"))),
        }
    }

    /// What is kept under a record's key, and what it contributes.
    pub(crate) fn stored_record(&self, key: &[u8]) -> Result<Option<(StoredRecord, u64)>> {
        let Some(value) = self.db.get(&self.trees.records, key)? else { return Ok(None) };
        match StoredRecord::decode(key, &value) {
            Some(held) => {
                let contributed = record_contribution(key, &value, &held);
                Ok(Some((held, contributed)))
            }
            None => {
                let key = String::from_utf8_lossy(key);
                Err(self.damaged(None, format!("the record {key:?} is damaged")))
            }
        }
    }

    fn content(&self, key: &[u8], held: &StoredRecord) -> Result<Option<Vec<u8>>> {
        let (length, crc) = match &held.content {
            Content::Removed => return Ok(None),
            Content::Inline(bytes) => return Ok(Some(bytes.to_vec())),
            Content::Pieces { length, crc } => (*length as usize, *crc),
        };
        let prefix = keys::record_pieces(key, held.stamp.epoch);
        let content = pieces::get(&self.db, &self.trees, &prefix, length, crc)?;
        let name = String::from_utf8_lossy(key);
        content.map(Some).ok_or_else(|| self.damaged(None, format!("{name:?} lacks a piece")))
    }
}
