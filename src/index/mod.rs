//! The index: the journal's events in stream order, in sled. Derived; the journal is the truth.
//!
//! * What it answers is right, or it answers with an error. An index that is missing, damaged, too
//!   old or not this store's is moved aside when it is opened, and an empty one stands in its place.
//! * It holds every event up to its checkpoint's position. After a crash it may hold some beyond it:
//!   a stream's state tells how far that stream is held, and the runs were durable before the state
//!   was, so a state never promises what is not there.
//! * A state never goes back, and a run that a state promises is never written again.
//! * The checkpoint is replaced after all that it covers is durable.

mod aside;
mod checkpoint;
mod database;
mod pieces;
mod read;
mod snapshots;
#[cfg(test)]
mod tests;
mod verify;
pub(crate) mod views;
mod write;

use crate::clock::Micros;
pub(crate) use crate::codec::checkpoint::Checkpoint;
use crate::codec::checkpoint::StoredCheckpoint;
use crate::codec::frame::EntryLocation;
pub(crate) use crate::codec::mark::Mark;
pub(crate) use crate::codec::run::{Body, IndexedEvent};
use crate::error::{Error, Result};
pub(crate) use crate::index::aside::move_aside;
use crate::index::database::{Database, OpenError, Tree};
use crate::stream::StreamId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::fs;
use std::path::Path;
use uuid::Uuid;

/// The directory of the index in that of the store.
const INDEX: &str = "index";
const MARKER_KEY: &[u8] = b"filmstrip index 1";

/// The index of one store.
pub(crate) struct Index {
    // Dropped before the database, which waits until nothing of sled's is left.
    trees: Trees,
    db: Database,
    checkpoint_file: checkpoint::CheckpointFile,
    progress: Mutex<Progress>,
    /// As the checkpoint file says; not held while a window is taken in.
    stored: Mutex<StoredCheckpoint>,
}

/// The trees, by what they hold.
struct Trees {
    events: Tree,
    global: Tree,
    streams: Tree,
    records: Tree,
    snapshots: Tree,
    pieces: Tree,
}

/// How far the index is, held by whoever inserts.
struct Progress {
    /// What the trees hold now: as of the checkpoint, and what was written since.
    now: verify::Sums,
    /// Removed records and replaced pieces that no checkpoint needs any more, once the next one is
    /// written.
    garbage: write::Garbage,
    /// A window that failed half-way may have left `now` behind the trees.
    broken: bool,
}

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

/// What was there when the index was opened.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The index holds what its checkpoint says.
    Whole(Checkpoint),
    /// It is empty, or holds nothing that a checkpoint covers.
    Fresh {
        /// Why the one that was there has been moved aside.
        reason: Option<String>,
    },
}

impl Index {
    /// Opens the index in `store_dir`, creating or replacing it where that is needed.
    pub(crate) fn open(store_dir: &Path, store: Uuid, cache_bytes: u64) -> Result<(Index, Opened)> {
        let reason = match Index::open_verified(store_dir, store, cache_bytes) {
            Ok(Some(index)) => {
                let checkpoint = index.checkpoint();
                let opened = checkpoint.map_or(Opened::Fresh { reason: None }, Opened::Whole);
                return Ok((index, opened));
            }
            Ok(None) => None,
            Err(OpenError::System(error)) => return Err(error),
            Err(OpenError::Unusable(reason)) => Some(reason),
        };
        if let Some(reason) = &reason {
            let moved = move_aside(store_dir)?;
            let moved = moved.display();
            tracing::warn!(%reason, %moved, "the index cannot be used and is built again");
        }
        let index = Index::create(store_dir, store, cache_bytes)?;
        Ok((index, Opened::Fresh { reason }))
    }

    /// The index that is there, if it holds what its checkpoint says; `None` if none is there.
    fn open_verified(
        store_dir: &Path,
        store: Uuid,
        cache_bytes: u64,
    ) -> Result<Option<Index>, OpenError> {
        let checkpoint_file = checkpoint::CheckpointFile::of(store_dir);
        let directory = store_dir.join(INDEX);
        let stored = checkpoint_file.read()?;
        let is_there = directory.symlink_metadata().is_ok();
        let stored = match (stored, is_there) {
            (None, false) => return Ok(None),
            (None, true) => return Err(unusable("it has no checkpoint")),
            (Some(_), false) => return Err(unusable("it is missing beside its checkpoint")),
            (Some(stored), true) => stored,
        };
        if stored.store != store {
            let met = stored.store;
            return Err(unusable(format!("it belongs to store {met}, not to {store}")));
        }
        if !directory.is_dir() {
            return Err(unusable("it is not a directory"));
        }
        let db = Database::open(&directory, cache_bytes)?;
        let trees = Trees::open_existing(&db, store)?;
        let (now, garbage) = verify::verify(&db, &trees, &stored)?;
        let progress = Mutex::new(Progress { now, garbage, broken: false });
        Ok(Some(Index { trees, db, checkpoint_file, progress, stored: Mutex::new(stored) }))
    }

    fn create(store_dir: &Path, store: Uuid, cache_bytes: u64) -> Result<Index> {
        let directory = store_dir.join(INDEX);
        fs::create_dir(&directory).map_err(|e| Error::io("create", &directory, e))?;
        let db = Database::open(&directory, cache_bytes).map_err(|error| match error {
            OpenError::System(error) => error,
            OpenError::Unusable(reason) => Error::corrupt(&directory, 0, None, reason),
        })?;
        let trees = Trees::create(&db, store)?;
        db.sync()?;
        let checkpoint_file = checkpoint::CheckpointFile::of(store_dir);
        let stored = StoredCheckpoint::initial(store);
        // Beside it, this also makes the new directory's name durable.
        checkpoint_file.replace(&stored)?;
        let (now, garbage) = (verify::Sums::default(), write::Garbage::default());
        let progress = Mutex::new(Progress { now, garbage, broken: false });
        Ok(Index { trees, db, checkpoint_file, progress, stored: Mutex::new(stored) })
    }

    /// How far the index holds the journal; `None` if it has taken in nothing yet.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        let stored = *self.stored.lock();
        (stored.epoch > 0).then_some(stored.checkpoint)
    }

    /// The newest position of any event that the index holds; after a crash it may be beyond the
    /// checkpoint. The journal must hold it too.
    pub(crate) fn newest_position(&self) -> u64 {
        self.progress.lock().now.newest_position
    }

    /// How often the index had sled's file synced.
    pub(crate) fn syncs(&self) -> u64 {
        self.db.syncs()
    }

    /// Has everything on disk and lets go of the files, whether or not it returns an error.
    pub(crate) fn close(self) -> Result<()> {
        let Index { trees, db, .. } = self;
        drop(trees);
        db.close()
    }

    /// The error for what sled should hold and does not.
    fn damaged(&self, position: Option<u64>, what: impl std::fmt::Display) -> Error {
        Error::corrupt(self.db.path(), 0, position, what)
    }
}

impl Trees {
    const NAMES: [&str; 6] = ["events", "global", "streams", "records", "snapshots", "pieces"];

    /// The trees of a new index, and its marker.
    fn create(db: &Database, store: Uuid) -> Result<Trees> {
        let trees = Trees::open(db)?;
        // Last: sled keeps the order of writes.
        db.insert(&db.tree("marker")?, MARKER_KEY, store.as_bytes().to_vec())?;
        Ok(trees)
    }

    /// The trees of an index that was created; sled itself would make an empty one of anything.
    fn open_existing(db: &Database, store: Uuid) -> Result<Trees, OpenError> {
        let names = db.tree_names()?;
        let is_there = |name: &str| names.iter().any(|there| *there == name.as_bytes());
        if let Some(name) = Trees::NAMES.iter().chain(&["marker"]).find(|name| !is_there(name)) {
            return Err(unusable(format!("it lacks its tree {name:?}")));
        }
        let marker = db.tree("marker")?;
        let marker = db.get(&marker, MARKER_KEY)?;
        if marker.as_deref() != Some(store.as_bytes()) {
            return Err(unusable("it lacks its marker"));
        }
        Ok(Trees::open(db)?)
    }

    fn open(db: &Database) -> Result<Trees> {
        Ok(Trees {
            events: db.tree("events")?,
            global: db.tree("global")?,
            streams: db.tree("streams")?,
            records: db.tree("records")?,
            snapshots: db.tree("snapshots")?,
            pieces: db.tree("pieces")?,
        })
    }
}

fn unusable(reason: impl Into<String>) -> OpenError {
    OpenError::Unusable(reason.into())
}

/// While an index is opened, whatever sled says of it makes it unusable, unless the system is full
/// or forbids it.
impl From<Error> for OpenError {
    fn from(error: Error) -> OpenError {
        match error.kind() {
            crate::error::ErrorKind::Corrupt => OpenError::Unusable(error.to_string()),
            _ => OpenError::System(error),
        }
    }
}
