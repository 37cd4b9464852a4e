//! Reads from the index. Damage is an error, never a wrong answer.

use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::Location;
use crate::codec::keys;
use crate::codec::sparse_index::SparseEntry;
use crate::codec::sst::event::LocatedEvent;
use crate::codec::state::{StoredRecord, StreamState};
use crate::index::core::Index;
use crate::index::verify::record_contribution;
use crate::sst::postings::PostingsPage;
use crate::value::error::Result;
use crate::value::stream::StreamId;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The remains of an interrupted flush batch in an index, which its checkpoint does not cover.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    /// Keys of records.
    pub(crate) records: BTreeSet<Vec<u8>>,
    pub(crate) sparse_entries: BTreeMap<u64, SparseEntry>,
}

impl Unfinished {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.sparse_entries.is_empty()
    }
}

impl Index {
    /// The remains of an interrupted flush batch, as found when the index was opened.
    pub(crate) fn unfinished(&self) -> Result<Unfinished> {
        let (position, next) = match self.checkpoint() {
            Some(Checkpoint { position, next, .. }) => (position, next),
            None => (0, Location { segment: 0, offset: 0 }),
        };
        let records = self.progress.lock().unfinished.clone();
        let mut unfinished = Unfinished { records, sparse_entries: BTreeMap::new() };
        let mut sparse_entries = self.db.range(&self.trees.global, keys::global_key(position)..);
        while let Some((key, value)) = sparse_entries.next()? {
            let sparse_entry = SparseEntry::decode(&key, &value);
            let sparse_entry = sparse_entry
                .ok_or_else(|| self.damaged(None, "a sparse index entry is damaged"))?;
            if sparse_entry.location >= next {
                unfinished.sparse_entries.insert(sparse_entry.position, sparse_entry);
            }
        }
        Ok(unfinished)
    }

    /// Drops the cached blocks of tables, so that the next reads come from the disk.
    pub(crate) fn forget_blocks(&self) {
        self.blocks.clear();
        self.tables.live().iter().for_each(|table| table.forget());
    }

    /// The events of the key run that holds `version`; none if the stream is not indexed that far.
    pub(crate) fn run_holding(&self, stream: &StreamId, version: u64) -> Result<Vec<LocatedEvent>> {
        self.tables.run_holding(&self.db, stream, version)
    }

    /// Consecutive events from `version` on, which the index must hold: at least one key run, and no further one
    /// after `limit` events. The first run may begin earlier.
    ///
    /// # Errors
    /// `Corrupt`, if it does not hold that version.
    pub(crate) fn events_from(
        &self,
        stream: &StreamId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<LocatedEvent>> {
        let events = self.tables.events_from(&self.db, stream, version, limit)?;
        match events.is_empty() {
            true => {
                Err(self.damaged(None, format!("no table holds version {version} of {stream}")))
            }
            false => Ok(events),
        }
    }

    /// The stream's state, as far as it is indexed.
    pub(crate) fn stream_state(&self, stream: &StreamId) -> Result<Option<StreamState>> {
        Ok(self.tables.last_run(&self.db, stream)?.map(|run| run.state))
    }

    /// Up to `limit` streams whose names begin with `prefix` and come after `after`, in order.
    pub(crate) fn streams_after(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(StreamId, StreamState)>> {
        self.tables.streams_after(&self.db, prefix, after, limit)
    }

    /// The postings of the tag with this `name` that are after the first position of `range` and not after the second:
    /// at least `limit`, if there are so many, and the rest of a key run.
    pub(crate) fn postings(
        &self,
        name: &StreamId,
        range: (u64, u64),
        limit: usize,
    ) -> Result<PostingsPage> {
        self.tables.postings(&self.db, name, range, limit)
    }

    /// The position of the first posting of the tag with this `name` that is after the first position of `range` and
    /// not after the second.
    pub(crate) fn first_posting(&self, name: &StreamId, range: (u64, u64)) -> Result<Option<u64>> {
        self.tables.first_posting(&self.db, name, range)
    }

    /// How many postings of the tag with this `name` there are at most after position `after`.
    pub(crate) fn postings_at_most(&self, name: &StreamId, after: u64) -> Result<u64> {
        self.tables.postings_at_most(&self.db, name, after)
    }

    /// The last sparse index entry at or before `position`.
    pub(crate) fn sparse_entry_at_or_before(&self, position: u64) -> Result<Option<SparseEntry>> {
        let mut sparse_entries = self.db.range(&self.trees.global, ..=keys::global_key(position));
        let Some((key, value)) = sparse_entries.next_back()? else {
            return Ok(None);
        };
        let sparse_entry = SparseEntry::decode(&key, &value);
        sparse_entry
            .map(Some)
            .ok_or_else(|| self.damaged(Some(position), "a sparse index entry is damaged"))
    }

    /// The newest value of the record `key`.
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
            records.extend(self.decoded_record(&key, &value)?);
        }
        Ok(records)
    }

    /// The same, no more than `limit` of them, whose keys are after `after`.
    pub(crate) fn records_page(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let range = (Bound::Excluded(after.as_bytes().to_vec()), Bound::Unbounded);
        let mut entries = self.db.range(&self.trees.records, range);
        let mut records = Vec::new();
        while records.len() < limit
            && let Some((key, value)) = entries.next()?
            && key.starts_with(prefix.as_bytes())
        {
            records.extend(self.decoded_record(&key, &value)?);
        }
        Ok(records)
    }

    /// The record of this entry, unless it was removed.
    fn decoded_record(&self, key: &[u8], value: &Bytes) -> Result<Option<(String, Vec<u8>)>> {
        let held = StoredRecord::decode(key, value);
        let (Some(held), Ok(name)) = (held, std::str::from_utf8(key)) else {
            let key = String::from_utf8_lossy(key);
            return Err(self.damaged(None, format!("the record {key:?} is damaged")));
        };
        Ok(self.content(key, &held)?.map(|content| (name.to_owned(), content)))
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
        if held.is_removed() {
            return Ok(None);
        }
        let content = self.whole(&held.content, &keys::record_pieces(key, held.stamp.epoch))?;
        let name = String::from_utf8_lossy(key);
        content.map(Some).ok_or_else(|| self.damaged(None, format!("{name:?} lacks a piece")))
    }
}
