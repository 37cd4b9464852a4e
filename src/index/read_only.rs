//! The index of a store that another process has open, read without its database.
//!
//! Two processes cannot open one sled database. What leads to a stream's events is not in sled alone: the checkpoint,
//! a plain file that is replaced as a whole, lists the sorted tables; and each of these lists its index blocks.
//! Tables never change. One that a compaction has replaced is removed, but only once the checkpoint lists its
//! successor: who has opened it goes on, and who comes too late reads the checkpoint again.
//!
//! Nothing is locked and nothing is written. An index that cannot be opened counts as none: the journal has everything.

use crate::codec::checkpoint::{Checkpoint, ListedTable, StoredCheckpoint};
use crate::codec::sst::event::LocatedEvent;
use crate::codec::state::StreamState;
use crate::index::checkpoint::CheckpointFile;
use crate::index::core::tables_directory;
use crate::index::quarantine::INDEX;
use crate::sst::block_cache::BlockCache;
use crate::sst::finder::ListedBlocks;
use crate::sst::reader::Table;
use crate::sst::set::TableSet;
use crate::storage::disk::Disk;
use crate::value::error::Result;
use crate::value::limits::FOLLOWER_CACHE_BYTES;
use crate::value::stream::StreamId;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// How often the checkpoint is read again when a table that it lists has gone meanwhile. Compactions are seconds apart.
const ATTEMPTS_MAX: usize = 8;

/// Opens the index again and again, as it grows.
pub(crate) struct IndexReader {
    disk: Arc<dyn Disk>,
    store_dir: PathBuf,
    store: Uuid,
    /// What was opened last.
    last: parking_lot::Mutex<Option<Arc<ReadOnlyIndex>>>,
}

/// The tables that one checkpoint lists. What is read of it stays, whatever the writer does.
pub(crate) struct ReadOnlyIndex {
    stored: StoredCheckpoint,
    tables: TableSet,
    /// Of the blocks of this index: another one numbers its tables from 1 again.
    cache: Arc<BlockCache>,
}

impl IndexReader {
    pub(crate) fn new(disk: &Arc<dyn Disk>, store_dir: &Path, store: Uuid) -> IndexReader {
        IndexReader {
            disk: Arc::clone(disk),
            store_dir: store_dir.to_owned(),
            store,
            last: parking_lot::Mutex::new(None),
        }
    }

    /// The index as it is now; `None` if there is none, or none that can be read.
    pub(crate) fn open(&self) -> Option<Arc<ReadOnlyIndex>> {
        let last = &mut *self.last.lock();
        let checkpoint_file = CheckpointFile::of(&self.disk, &self.store_dir);
        let mut failed = None;
        for _ in 0..ATTEMPTS_MAX {
            let stored = checkpoint_file.read().ok().flatten();
            let stored = stored.filter(|stored| stored.store == self.store && stored.epoch > 0)?;
            if let Some(last) = last.as_ref().filter(|last| last.stored == stored) {
                return Some(Arc::clone(last));
            }
            if failed.as_ref().is_some_and(|(before, _)| *before == stored) {
                break;
            }
            match self.open_tables(stored.clone(), last.as_deref()) {
                Ok(index) => return Some(Arc::clone(last.insert(Arc::new(index)))),
                Err(error) => failed = Some((stored, error)),
            }
        }
        if let Some((_, error)) = failed {
            tracing::debug!(%error, "the index cannot be read: the journal is read instead");
        }
        None
    }

    /// The index with the tables that `stored` lists. Those of `last` stay open.
    fn open_tables(
        &self,
        stored: StoredCheckpoint,
        last: Option<&ReadOnlyIndex>,
    ) -> Result<ReadOnlyIndex> {
        let last = last.filter(|last| last.stored.index == stored.index);
        let open = last.map(|last| last.tables.live()).unwrap_or_default();
        let cache = last.map(|last| Arc::clone(&last.cache));
        let cache = cache.unwrap_or_else(|| Arc::new(BlockCache::new(FOLLOWER_CACHE_BYTES)));
        let directory = tables_directory(&self.store_dir.join(INDEX));
        let table = |listed: &ListedTable| match open.iter().find(|open| open.listed == *listed) {
            Some(table) => Ok(Arc::clone(table)),
            None => {
                let cache = Arc::clone(&cache);
                Table::open(&*self.disk, &directory, stored.index, *listed, None, cache)
                    .map(Arc::new)
            }
        };
        let tables = stored.tables.iter().map(table).collect::<Result<_>>()?;
        Ok(ReadOnlyIndex { stored, tables: TableSet::of(tables), cache })
    }
}

impl ReadOnlyIndex {
    /// What lists its tables.
    pub(crate) fn stored(&self) -> &StoredCheckpoint {
        &self.stored
    }

    pub(crate) fn tables(&self) -> &TableSet {
        &self.tables
    }

    /// Drops the cached blocks of tables, so that the next reads come from the disk.
    pub(crate) fn forget_blocks(&self) {
        self.cache.clear();
        self.tables.live().iter().for_each(|table| table.forget());
    }

    /// How far it holds the journal.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.stored.checkpoint
    }

    /// The stream's state, as far as it is indexed.
    pub(crate) fn stream_state(&self, stream: &StreamId) -> Result<Option<StreamState>> {
        Ok(self.tables.last_run(&ListedBlocks, stream)?.map(|run| run.state))
    }

    /// Consecutive events of `stream`: at least the key run that holds `version`, which may begin earlier, and no
    /// further one after `limit` events. None, if no key run holds it.
    pub(crate) fn events_from(
        &self,
        stream: &StreamId,
        version: u64,
        limit: usize,
    ) -> Result<Vec<LocatedEvent>> {
        self.tables.events_from(&ListedBlocks, stream, version, limit)
    }

    /// Up to `limit` streams whose names begin with `prefix` and come after `after`, in order.
    pub(crate) fn streams_after(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(StreamId, StreamState)>> {
        self.tables.streams_after(&ListedBlocks, prefix, after, limit)
    }
}
