//! The index as a whole: opened and verified, or created in place of one that cannot be used.

use crate::codec::checkpoint::{Checkpoint, StoredCheckpoint, Sum};
use crate::index::checkpoint::CheckpointFile;
use crate::index::quarantine::{
    INDEX, put_older_index_aside, quarantine_index, remove_older_indexes,
};
use crate::index::trees::{Garbage, Trees};
use crate::index::verify::{Verified, verify};
use crate::kv::database::Database;
use crate::kv::failure::{OpenError, Unusable};
use crate::kv::files::PACKS;
use crate::sst::block_cache::BlockCache;
use crate::sst::compaction::Compaction;
use crate::sst::reader::{self, Table};
use crate::sst::set::TableSet;
use crate::storage::disk::{Disk, Kind};
use crate::value::corruption::IndexFault;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use uuid::Uuid;

/// The index of one store.
pub(crate) struct Index {
    // Dropped before the database, whose drop waits until all of sled's objects are gone.
    pub(crate) tables: TableSet,
    pub(crate) blocks: Arc<BlockCache>,
    pub(crate) trees: Trees,
    pub(crate) progress: Mutex<Progress>,
    pub(crate) db: Database,
    pub(crate) checkpoint_file: CheckpointFile,
    /// The content of the checkpoint file. The lock is not held while a flush batch is ingested.
    pub(crate) stored: Mutex<StoredCheckpoint>,
    /// Counts ingested streams and steps of compactions, so that waiting callers see progress.
    pub(crate) signs_of_life: AtomicU64,
}

/// The state of ingesting. The ingesting thread holds the lock.
#[derive(Default)]
pub(crate) struct Progress {
    /// The sum of the records as they are now, including those written since the checkpoint.
    pub(crate) records: Sum,
    /// Removed records and replaced pieces that can be deleted once the next checkpoint is written.
    pub(crate) garbage: Garbage,
    /// The keys of records that an interrupted flush batch had written, as found when the index was opened.
    pub(crate) unfinished: BTreeSet<Vec<u8>>,
    /// The compaction in progress.
    pub(crate) compaction: Option<Compaction>,
    /// Tables that were replaced by a compaction and may still have readers.
    pub(crate) obsolete: Vec<Arc<Table>>,
    /// Set after a flush batch failed half-way: `records` may differ from the tree.
    pub(crate) broken: bool,
}

/// The directory of the tables in the index's directory.
pub(crate) fn tables_directory(index: &Path) -> PathBuf {
    index.join(PACKS)
}

/// What opening an index found.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The index holds what its checkpoint says.
    Whole(Checkpoint),
    /// It is empty, or holds nothing that a checkpoint covers.
    Fresh {
        /// Why the previous index was quarantined, if there was one.
        reason: Option<String>,
    },
}

impl Index {
    /// Opens the index in `store_dir`. Creates it if there is none, and replaces it if it cannot be used.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        store_dir: &Path,
        store: Uuid,
        cache_bytes: u64,
    ) -> Result<(Index, Opened)> {
        let reason = match Index::open_verified(disk, store_dir, store, cache_bytes) {
            Ok(Some(index)) => {
                let checkpoint = index.checkpoint();
                if checkpoint.is_some() && !failpoint!("index::keep_older_indexes") {
                    remove_older_indexes(&**disk, store_dir);
                }
                let opened = checkpoint.map_or(Opened::Fresh { reason: None }, Opened::Whole);
                return Ok((index, opened));
            }
            Ok(None) => None,
            Err(OpenError::System(error)) => return Err(error),
            Err(OpenError::Unusable(reason)) => {
                put_unusable_aside(disk, store_dir, &reason)?;
                Some(reason.to_string())
            }
        };
        let index = Index::create(disk, store_dir, store, cache_bytes)?;
        Ok((index, Opened::Fresh { reason }))
    }

    /// Opens the existing index if it holds what its checkpoint covers; `None` if there is none.
    pub(crate) fn open_verified(
        disk: &Arc<dyn Disk>,
        store_dir: &Path,
        store: Uuid,
        cache_bytes: u64,
    ) -> Result<Option<Index>, OpenError> {
        let checkpoint_file = CheckpointFile::of(disk, store_dir);
        let directory = store_dir.join(INDEX);
        let stored = checkpoint_file.read()?;
        let is_there = matches!(disk.kind(&directory), Ok(Some(_)));
        let stored = match (stored, is_there) {
            (None, false) => return Ok(None),
            (None, true) => return Err(IndexFault::NoCheckpoint.into()),
            (Some(_), false) => return Err(IndexFault::Missing.into()),
            (Some(stored), true) => stored,
        };
        if stored.store != store {
            let met = stored.store;
            return Err(IndexFault::OtherStore { met, store }.into());
        }
        if !matches!(disk.kind_there(&directory), Ok(Some(Kind::Directory))) {
            return Err(IndexFault::NoDirectory.into());
        }
        let (db, blocks) = open_cached(disk, &directory, cache_bytes)?;
        let trees = Trees::open_existing(&db, store)?;
        let tables = open_tables(&db, &tables_directory(&directory), &stored, &blocks)?;
        let tables = TableSet::new(tables);
        let Verified { records, garbage, unfinished } = verify(&db, &trees, &stored)?;
        let progress = Progress { records, garbage, unfinished, ..Progress::default() };
        let progress = Mutex::new(progress);
        let stored = Mutex::new(stored);
        let signs_of_life = AtomicU64::new(0);
        Ok(Some(Index {
            tables,
            blocks,
            trees,
            db,
            checkpoint_file,
            progress,
            stored,
            signs_of_life,
        }))
    }

    fn create(
        disk: &Arc<dyn Disk>,
        store_dir: &Path,
        store: Uuid,
        cache_bytes: u64,
    ) -> Result<Index> {
        let directory = store_dir.join(INDEX);
        disk.create_dir(&directory).map_err(|e| Error::io("create", &directory, e))?;
        let opened = open_cached(disk, &directory, cache_bytes).map_err(|error| match error {
            OpenError::System(error) => error,
            OpenError::Unusable(reason) => Error::corrupt(&directory, 0, None, reason),
        });
        let (db, blocks) = opened?;
        let trees = Trees::create(&db, store)?;
        db.sync()?;
        let checkpoint_file = CheckpointFile::of(disk, store_dir);
        let stored = StoredCheckpoint::initial(store, Uuid::now_v7());
        // The checkpoint is beside the new directory, so this also makes the directory's name durable.
        checkpoint_file.replace(&stored, db.held())?;
        let (tables, progress) = (TableSet::new(Vec::new()), Mutex::default());
        let (stored, signs_of_life) = (Mutex::new(stored), AtomicU64::new(0));
        Ok(Index { tables, blocks, trees, db, checkpoint_file, progress, stored, signs_of_life })
    }

    /// The directory of the tables.
    pub(crate) fn tables_directory(&self) -> PathBuf {
        tables_directory(self.db.path())
    }

    /// How far the index holds the journal; `None` if it has ingested nothing yet.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        let stored = self.stored.lock();
        (stored.epoch > 0).then_some(stored.checkpoint)
    }

    /// Whether it ingests nothing more after a failure half-way. It must then be reopened.
    pub(crate) fn is_broken(&self) -> bool {
        self.progress.lock().broken
    }

    /// Syncs everything and closes the files, even if it returns an error.
    pub(crate) fn close(self) -> Result<()> {
        let obsolete = self.remove_obsolete(&mut self.progress.lock());
        if let Err(error) = obsolete {
            tracing::warn!(%error, "obsolete tables stay until the index is opened again");
        }
        let Index { tables, trees, db, progress, .. } = self;
        drop((tables, trees, progress));
        db.close()
    }

    /// The error for data that sled should hold and does not.
    pub(crate) fn damaged(&self, position: Option<u64>, what: impl std::fmt::Display) -> Error {
        Error::corrupt(self.db.path(), 0, position, what)
    }
}

/// Makes room for an index in place of one that cannot be used, for this `reason`.
fn put_unusable_aside(disk: &Arc<dyn Disk>, store_dir: &Path, reason: &Unusable) -> Result<()> {
    if let Some(format) = reason.older_format() {
        let moved = put_older_index_aside(disk, store_dir, format)?.unwrap_or_default();
        let moved = moved.display();
        tracing::info!(format, %moved, "the index is of an older format and is rebuilt");
        return Ok(());
    }
    let moved = quarantine_index(disk, store_dir)?.unwrap_or_default();
    let moved = moved.display();
    tracing::warn!(%reason, %moved, "the index cannot be used and is rebuilt");
    Ok(())
}

/// Opens the database in `directory`, and makes a cache for the blocks of tables. Each gets half of `cache_bytes`.
fn open_cached(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    cache_bytes: u64,
) -> Result<(Database, Arc<BlockCache>), OpenError> {
    let db = Database::open(disk, directory, cache_bytes / 2)?;
    Ok((db, Arc::new(BlockCache::new(cache_bytes / 2))))
}

/// Opens the tables that the checkpoint lists, and removes the remains of others that a crash left.
fn open_tables(
    db: &Database,
    directory: &Path,
    stored: &StoredCheckpoint,
    cache: &Arc<BlockCache>,
) -> Result<Vec<Table>, OpenError> {
    let is_listed = |number: u64| stored.tables.iter().any(|table| table.number == number);
    let trees = db.tree_names()?;
    let mut numbers: Vec<u64> =
        trees.iter().filter_map(|name| reader::number_of_tree(name)).collect();
    if let Some(lacking) = stored.tables.iter().find(|table| !numbers.contains(&table.number)) {
        return Err(IndexFault::NoTreeOfTable(lacking.number).into());
    }
    numbers.retain(|number| !is_listed(*number));
    for number in numbers {
        db.remove_tree(&reader::tree_name(number))?;
    }
    for number in
        reader::numbers(&**db.disk(), directory)?.into_iter().filter(|number| !is_listed(*number))
    {
        reader::remove(&**db.disk(), directory, number)?;
    }
    let tables = stored.tables.iter().map(|listed| {
        let tree = db.tree(&reader::tree_name(listed.number))?;
        Table::open(&**db.disk(), directory, stored.index, *listed, Some(tree), Arc::clone(cache))
    });
    Ok(tables.collect::<Result<_>>()?)
}
