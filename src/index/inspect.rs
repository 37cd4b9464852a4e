//! Reads the index as it is, page by page. A damaged item is returned as an item.

use crate::codec::aggregate::{AggregateImage, ImageEvent};
use crate::codec::keys;
use crate::codec::sparse_index::SparseEntry;
use crate::codec::sst::event::LocatedEvent;
use crate::codec::sst::posting::tag_of_name;
use crate::codec::state::StoredRecord;
use crate::index::core::Index;
use crate::kv::database::Tree;
use crate::sst::cursor::TableCursor;
use crate::sst::reader::Table;
use crate::sst::set::OpenEventBlock;
use crate::value::corruption::Corruption;
use crate::value::error::Result;
use crate::value::limits::INSPECT_PAGE;
use crate::value::stream::StreamId;
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;

/// Keys with their values, or with the damage of the value.
pub(crate) type Page<T> = Vec<(Bytes, std::result::Result<T, Corruption>)>;

/// A snapshot's place, from its key and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotPlace {
    pub(crate) stream: StreamId,
    pub(crate) version: u64,
    pub(crate) position: u64,
    /// The last event in it, if it is recorded.
    pub(crate) event: Option<ImageEvent>,
}

impl Index {
    /// The next sparse index entries after the key `after`; none at the end.
    pub(crate) fn sparse_entries_after(&self, after: Option<&[u8]>) -> Result<Page<SparseEntry>> {
        self.page(&self.trees.global, after, |key, value| {
            SparseEntry::decode(key, value).ok_or(Corruption::SparseEntry)
        })
    }

    /// The next records after the key `after`; none at the end. Overflow values are not assembled.
    pub(crate) fn records_after(&self, after: Option<&[u8]>) -> Result<Page<StoredRecord>> {
        self.page(&self.trees.records, after, |key, value| {
            let damaged = || Corruption::RecordOf(String::from_utf8_lossy(key).into());
            StoredRecord::decode(key, value).ok_or_else(damaged)
        })
    }

    /// Calls `take` with each readable key run of a stream, table by table.
    pub(crate) fn each_run(&self, mut take: impl FnMut(&StreamId, Vec<LocatedEvent>)) {
        for table in self.tables.live().iter() {
            if let Err(error) = self.each_run_of(table, &mut take) {
                let path = self.tables_directory();
                tracing::warn!(%error, path = %path.display(), "the rest of a table cannot be read");
            }
        }
    }

    fn each_run_of(
        &self,
        table: &Arc<Table>,
        take: &mut impl FnMut(&StreamId, Vec<LocatedEvent>),
    ) -> Result<()> {
        let mut walk = TableCursor::of(&self.db, table)?;
        let mut event_block = OpenEventBlock::default();
        while let Some(run) = walk.take(&self.db)? {
            if tag_of_name(&run.stream).is_some() {
                continue;
            }
            // Damage to one event block does not affect the others.
            if let Ok(events) = event_block.events(table, &run) {
                take(&run.stream, events);
            }
        }
        Ok(())
    }

    /// The next snapshots after the key `after`, with their overflow values; none at the end.
    pub(crate) fn snapshots_after(&self, after: Option<&[u8]>) -> Result<Page<SnapshotPlace>> {
        self.page(&self.trees.snapshots, after, |key, value| {
            self.snapshot_place(key, value).ok_or_else(|| {
                let key = String::from_utf8_lossy(key).replace('\0', " at ");
                Corruption::Snapshot(key.into())
            })
        })
    }

    fn snapshot_place(&self, key: &[u8], value: &Bytes) -> Option<SnapshotPlace> {
        let version = keys::version_of(key)?;
        let stream = stream_of(key)?;
        let content = self.snapshot_content(key, value).ok()??;
        let AggregateImage { position, event, .. } = AggregateImage::decode(&content)?;
        Some(SnapshotPlace { stream, version, position, event })
    }

    fn page<T>(
        &self,
        tree: &Tree,
        after: Option<&[u8]>,
        read: impl Fn(&[u8], &Bytes) -> std::result::Result<T, Corruption>,
    ) -> Result<Page<T>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries = self.db.range::<&[u8]>(tree, (from, Bound::Unbounded));
        let mut page = Vec::new();
        while page.len() < INSPECT_PAGE {
            let Some((key, value)) = entries.next()? else { break };
            let item = read(&key, &value);
            page.push((key, item));
        }
        Ok(page)
    }
}

/// The stream in a key of `snapshots`. A name contains no NUL.
fn stream_of(key: &[u8]) -> Option<StreamId> {
    let name = key.split(|byte| *byte == 0).next()?;
    StreamId::from_stored(Bytes::copy_from_slice(name))
}
