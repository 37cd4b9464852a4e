//! The views: one tree for each, in a sled database separate from the index's.
//!
//! * After a crash, all changes of one `write`, rows and states together, are there, or none.
//! * Views can be rebuilt from the log. A database that cannot be used is quarantined, and replaced by an empty one.
//! * After `close` every call returns `Closed`, even on a tree that is still held.

pub(crate) mod changes;
pub(crate) mod entries;
#[cfg(feature = "erasure")]
pub(crate) mod forgetting;
mod inspect;
pub(crate) mod note;
pub(crate) mod range;
mod remove;
pub(crate) mod rows;

use crate::codec::row::{self, StoredRow};
use crate::index::quarantine::{is_quarantined, quarantine};
use crate::kv::database::{Database, Tree};
use crate::kv::failure::{OpenError, Unusable};
#[cfg(feature = "erasure")]
use crate::kv::files::{empty_database, remove_database};
use crate::kv::overflow;
use crate::storage::disk::{Disk, Kind};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use bytes::Bytes;
use parking_lot::{RwLock, RwLockReadGuard};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
#[cfg(feature = "erasure")]
use std::sync::atomic::Ordering;

/// The name of the views' directory in the store's directory.
pub(crate) const VIEWS: &str = "views";

/// Whether `name` belongs to the views in a store's directory.
pub(crate) fn is_ours(name: &str) -> bool {
    let is_aside = is_quarantined(VIEWS, name) || is_quarantined(note::NAME, name);
    name == VIEWS || note::is_note(name) || is_aside
}

/// The views of one store.
pub(crate) struct Views {
    open: RwLock<Option<Open>>,
    /// It is noted that the files hold something of a private event.
    #[cfg(feature = "erasure")]
    is_private: AtomicBool,
}

struct Open {
    // Dropped before the database, whose drop waits until all of sled's objects are gone.
    trees: HashMap<String, Tree>,
    db: Database,
    /// The store's directory, where closing writes the note of the closed views; `None` for a copy.
    noted_in: Option<PathBuf>,
}

impl Views {
    fn new(open: Open) -> Arc<Views> {
        Arc::new(Views {
            open: RwLock::new(Some(open)),
            #[cfg(feature = "erasure")]
            is_private: AtomicBool::new(false),
        })
    }

    /// Opens the views in `store_dir`. Creates them if there are none, and replaces them if they cannot be used.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        store_dir: &Path,
        cache_bytes: u64,
    ) -> Result<Arc<Views>> {
        let directory = store_dir.join(VIEWS);
        let is_directory = is_directory(&**disk, &directory)?;
        if is_directory == Some(false) && !failpoint!("views::keep_what_is_no_directory") {
            let moved = set_aside(&**disk, store_dir)?.unwrap_or_default();
            let moved = moved.display();
            tracing::warn!(%moved, "the views are not a directory and are rebuilt");
        }
        if is_directory != Some(true) {
            create(&**disk, store_dir, &directory)?;
        }
        note::remove(&**disk, store_dir)?;
        let db = match Database::open(disk, &directory, cache_bytes) {
            Ok(db) => db,
            Err(OpenError::System(error)) => return Err(error),
            Err(OpenError::Unusable(reason)) => replace(disk, store_dir, cache_bytes, &reason)?,
        };
        let (trees, noted_in) = (HashMap::new(), Some(store_dir.to_owned()));
        Ok(Views::new(Open { trees, db, noted_in }))
    }

    /// Returns the tree `name`, and creates it if there is none.
    pub(crate) fn tree(self: &Arc<Views>, name: &str) -> Result<ViewTree> {
        {
            let mut open = self.open.write();
            let Open { trees, db, .. } = open.as_mut().ok_or_else(closed)?;
            if !trees.contains_key(name) {
                trees.insert(name.to_owned(), db.tree(name)?);
            }
        }
        let tree = ViewTree {
            views: Arc::clone(self),
            name: name.to_owned(),
            has_pieces: AtomicBool::new(false),
            indexes: Vec::new(),
        };
        tree.sweep()?;
        Ok(tree)
    }

    /// The names of all trees.
    pub(crate) fn tree_names(&self) -> Result<Vec<String>> {
        let open = self.read()?;
        let names = open.db().tree_names()?;
        Ok(names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    /// Notes durably that the files hold something of a private event.
    #[cfg(feature = "erasure")]
    pub(crate) fn note_private(&self) -> Result<()> {
        if self.is_private.load(Ordering::Acquire) {
            return Ok(());
        }
        let open = self.read()?;
        if let Some(store_dir) = &open.open().noted_in {
            forgetting::note_private(&**open.db().disk(), store_dir)?;
        }
        self.is_private.store(true, Ordering::Release);
        Ok(())
    }

    /// Syncs everything that was written so far.
    pub(crate) fn sync(&self) -> Result<()> {
        self.read()?.db().sync()
    }

    /// How many entries were read so far, and how many writes were made.
    #[cfg(test)]
    pub(crate) fn reads_and_writes(&self) -> (u64, u64) {
        let views = self.read().expect("open");
        (views.db().entries_read(), views.db().writes())
    }

    /// Removes one key of a tree, as no version of filmstrip does.
    #[cfg(test)]
    pub(crate) fn remove_key(&self, tree: &str, key: &[u8]) {
        let views = self.read().expect("open");
        views.db().remove(views.tree(tree).expect("there"), key).expect("removed");
    }

    /// Makes every write after the next `writes` fail.
    #[cfg(test)]
    pub(crate) fn die_after(&self, writes: u64) {
        self.read().expect("open").db().die_after(writes);
    }

    /// Makes one write fail after the next `writes`.
    #[cfg(test)]
    pub(crate) fn fail_once_after(&self, writes: u64) {
        self.read().expect("open").db().fail_once_after(writes);
    }

    /// Syncs everything and closes the files.
    pub(crate) fn close(&self) -> Result<()> {
        let Some(Open { trees, db, noted_in }) = self.open.write().take() else { return Ok(()) };
        drop(trees);
        let (names, disk) = (db.tree_names(), Arc::clone(db.disk()));
        let note = || {
            let Some(store_dir) = noted_in else { return Ok(()) };
            let names = names?.into_iter().map(|name| String::from_utf8_lossy(&name).into_owned());
            // Without the note, a verification only finds less.
            if let Err(error) =
                note::write(&*disk, &store_dir, &store_dir.join(VIEWS), names.collect())
            {
                tracing::warn!(%error, "the note of the closed views could not be written");
            }
            Ok(())
        };
        if failpoint!("views::note_before_sync") {
            note()?;
            return db.close();
        }
        db.close()?;
        note()
    }

    fn read(&self) -> Result<OpenViews<'_>> {
        let guard = self.open.read();
        match &*guard {
            Some(_) => Ok(OpenViews(guard)),
            None => Err(closed()),
        }
    }
}

/// Whether `path` is a directory, or a symbolic link to one; `None` if nothing is there.
///
/// # Errors
/// The system's error.
pub(crate) fn is_directory(disk: &dyn Disk, path: &Path) -> Result<Option<bool>> {
    let look = || match disk.kind(path)? {
        None => Ok(None),
        // A link that leads nowhere, or to itself, is not a directory.
        Some(_) => Ok(Some(disk.kind_there(path)? == Some(Kind::Directory))),
    };
    look().map_err(|e| Error::io("look at", path, e))
}

/// Quarantines the views in `store_dir`, if there are any, so that they are rebuilt from the log. Returns their new
/// path. Keeps the newest two quarantined ones.
pub(crate) fn set_aside(disk: &dyn Disk, store_dir: &Path) -> Result<Option<PathBuf>> {
    quarantine(disk, store_dir, VIEWS)
}

/// Removes what the views in `store_dir` hold, and the quarantined ones. Nobody has them open. sled's files keep what
/// was removed from them for a while, so removing rows would not do.
#[cfg(feature = "erasure")]
pub(crate) fn wipe(disk: &dyn Disk, store_dir: &Path) -> Result<()> {
    let directory = store_dir.join(VIEWS);
    if is_directory(disk, &directory)? == Some(true) {
        empty_database(disk, &directory).map_err(|e| Error::io("empty", &directory, e))?;
        disk.sync_dir(&directory).map_err(|e| Error::io("sync", &directory, e))?;
    }
    let names = disk.list(store_dir).map_err(|e| Error::io("list", store_dir, e))?;
    for name in names.iter().filter(|name| is_quarantined(VIEWS, name)) {
        let path = store_dir.join(name);
        remove_database(disk, &path).map_err(|e| Error::io("remove", &path, e))?;
    }
    note::remove(disk, store_dir)?;
    disk.sync_dir(store_dir).map_err(|e| Error::io("sync", store_dir, e))
}

/// Quarantines damaged views and makes empty ones.
fn replace(
    disk: &Arc<dyn Disk>,
    store_dir: &Path,
    cache_bytes: u64,
    reason: &Unusable,
) -> Result<Database> {
    let directory = store_dir.join(VIEWS);
    let aside = set_aside(&**disk, store_dir)?.unwrap_or_default();
    create(&**disk, store_dir, &directory)?;
    let moved = aside.display();
    tracing::warn!(%reason, %moved, "the views cannot be used and are rebuilt");
    Database::open(disk, &directory, cache_bytes).map_err(|error| match error {
        OpenError::System(error) => error,
        OpenError::Unusable(reason) => Error::corrupt(&directory, 0, None, reason),
    })
}

/// Creates the directory of the views, durably.
fn create(disk: &dyn Disk, store_dir: &Path, directory: &Path) -> Result<()> {
    disk.create_dir(directory).map_err(|e| Error::io("create", directory, e))?;
    disk.sync_dir(store_dir).map_err(|e| Error::io("sync", store_dir, e))
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed")
}

/// A guard that keeps the views open.
struct OpenViews<'a>(RwLockReadGuard<'a, Option<Open>>);

impl OpenViews<'_> {
    fn open(&self) -> &Open {
        self.0.as_ref().expect("checked when the guard was made")
    }

    fn db(&self) -> &Database {
        &self.open().db
    }

    fn tree(&self, name: &str) -> Result<&Tree> {
        let tree = self.open().trees.get(name);
        tree.ok_or_else(|| {
            Error::new(ErrorKind::Closed, format!("the view {name:?} has been removed"))
        })
    }
}

/// One view's rows and states.
pub(crate) struct ViewTree {
    views: Arc<Views>,
    name: String,
    /// Whether a row may be in pieces. If not, a write need not look up the rows that it replaces.
    has_pieces: AtomicBool,
    /// The names of the indexes that it has. If there are none, a write need not look up what they hold.
    indexes: Vec<String>,
}

impl ViewTree {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The row of `key`.
    pub(crate) fn row(&self, key: &str) -> Result<Option<Bytes>> {
        self.value(&row::row_key(key))
    }

    /// The state `name`.
    pub(crate) fn state(&self, name: &[u8]) -> Result<Option<Bytes>> {
        self.value(&row::state_key(name))
    }

    fn value(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.value_in(&self.views.read()?, key)
    }

    /// For a caller that already holds the read lock. Taking it twice would deadlock with a thread that waits for the
    /// write lock.
    fn value_in(&self, views: &OpenViews<'_>, key: &[u8]) -> Result<Option<Bytes>> {
        match views.db().get(views.tree(&self.name)?, key)? {
            Some(value) => self.whole(views, key, &value).map(Some),
            None => Ok(None),
        }
    }

    /// The whole value that is stored as `value` under `key`, with its pieces, if it has any.
    fn whole(&self, views: &OpenViews<'_>, key: &[u8], value: &Bytes) -> Result<Bytes> {
        let damaged = || self.damaged(views);
        let (generation, overflow) = match StoredRow::decode(key, value).ok_or_else(damaged)? {
            StoredRow::Inline(row) => return Ok(row),
            StoredRow::Overflow { generation, overflow } => (generation, overflow),
        };
        let (db, tree) = (views.db(), views.tree(&self.name)?);
        let row = overflow::get(db, tree, |n| row::piece_key(key, generation, n), overflow)?;
        row.map(Bytes::from).ok_or_else(damaged)
    }

    fn damaged(&self, views: &OpenViews<'_>) -> Error {
        let what = format!("a row of the view {:?} is not what was written", self.name);
        Error::corrupt(views.db().path(), 0, None, what)
    }
}
