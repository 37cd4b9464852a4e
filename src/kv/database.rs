//! One sled database. Nothing outside of this module calls sled.
//!
//! * Each call catches sled's panics. After a panic, every later call on this handle returns an error.
//! * No write of sled can destroy what was synced before it. See [`Database::keep_pace`].
//! * Replaced values give back their memory and their place in the log as fast as new ones are written.
//! * When `close` returns, sled has closed its files, and they can be opened again.

#[cfg(test)]
mod hooks;
pub(crate) mod opening;
mod syncing;

use crate::kv::failure::{is_the_systems, panicked};
use crate::kv::files::wait_for_release;
use crate::kv::sync_policy::{
    CHANGES_PACED_MAX, KEY_BYTES_MAX, STORED_BYTES_MAX, SyncPolicy, Unsynced, check_size,
};
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::held::Held;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use bytes::Bytes;
use parking_lot::Mutex;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// How many changes the removal of a tree counts as when garbage is collected.
const TREE_REMOVED_CHANGES: usize = 65_536;

/// An open sled database.
pub(crate) struct Database {
    owner: Owner,
    /// `None` only while it is being closed.
    db: Option<sled::Db>,
    path: PathBuf,
    cache_bytes: u64,
    /// Our own handle on sled's data file, because sled never syncs it in a way that survives a power
    /// loss.
    file: Arc<dyn DiskFile>,
    disk: Arc<dyn Disk>,
    pace: SyncPolicy,
    /// The directory. Files are created in it by its path; sled does so only while it opens.
    held: Arc<Held>,
    #[cfg(test)]
    counts: hooks::Counts,
    /// The message of sled's panic. sled is not called after one.
    panicked: OnceLock<String>,
    unsynced: Mutex<Unsynced>,
}

/// One tree of a database. It must be dropped before the database is closed.
pub(crate) struct Tree(Option<sled::Tree>);

impl Tree {
    fn sled(&self) -> &sled::Tree {
        self.0.as_ref().expect("only dropping takes it")
    }
}

impl Drop for Tree {
    /// sled flushes here, and may panic.
    fn drop(&mut self) {
        let tree = self.0.take();
        if let Err(panic) = catch(|| drop(tree)) {
            tracing::warn!(%panic, "sled panicked while it closed a tree");
        }
    }
}

/// Entries of a tree in the order of their keys, from either end.
pub(crate) struct Entries<'a> {
    db: &'a Database,
    entries: sled::Iter,
}

impl Entries<'_> {
    pub(crate) fn next(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        #[cfg(test)]
        self.db.counts.read_one();
        let next = self.db.call("read", |_| self.entries.next().transpose())?;
        Ok(next.map(|(key, value)| (bytes(&key), bytes(&value))))
    }

    pub(crate) fn next_back(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        #[cfg(test)]
        self.db.counts.read_one();
        let next = self.db.call("read", |_| self.entries.next_back().transpose())?;
        Ok(next.map(|(key, value)| (bytes(&key), bytes(&value))))
    }
}

/// Copies the value: sled's own may keep a much larger buffer alive.
fn bytes(from_sled: &sled::IVec) -> Bytes {
    Bytes::copy_from_slice(from_sled)
}

impl Database {
    /// Refuses a process that was forked from the one that opened the database.
    pub(crate) fn check_owner(&self) -> Result<()> {
        self.owner.check()
    }

    /// Bytes of keys and values that sled may read into memory to remove a tree.
    pub(crate) fn removed_bytes_max(&self) -> u64 {
        self.cache_bytes / 4
    }

    /// The disk that it is on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The directory it is in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same directory, for checks before a file is created there.
    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Opens the tree of this name; creates it if there is none.
    pub(crate) fn tree(&self, name: &str) -> Result<Tree> {
        // The lock keeps writes out between these two calls.
        let mut unsynced = self.unsynced.lock();
        self.catch_up(&mut unsynced)?;
        self.call("open a tree of", |db| db.open_tree(name)).map(|tree| Tree(Some(tree)))
    }

    /// The names of all trees.
    pub(crate) fn tree_names(&self) -> Result<Vec<Bytes>> {
        self.call("list the trees of", |db| Ok(db.tree_names().iter().map(bytes).collect()))
    }

    /// The value of `key`.
    pub(crate) fn get(&self, tree: &Tree, key: &[u8]) -> Result<Option<Bytes>> {
        #[cfg(test)]
        self.counts.read_one();
        Ok(self.call("read", |_| tree.sled().get(key))?.as_ref().map(bytes))
    }

    /// The entries with keys in `range`, from either end. It is no snapshot: each step reads again.
    pub(crate) fn range<K: AsRef<[u8]>>(
        &self,
        tree: &Tree,
        range: impl RangeBounds<K>,
    ) -> Entries<'_> {
        Entries { db: self, entries: tree.sled().range(range) }
    }

    /// The entries with keys that begin with `prefix`.
    pub(crate) fn prefix(&self, tree: &Tree, prefix: &[u8]) -> Entries<'_> {
        Entries { db: self, entries: tree.sled().scan_prefix(prefix) }
    }

    /// Opens or creates the tree of this name in order to write to it.
    pub(crate) fn new_tree(&self, name: &str) -> Result<Tree> {
        let mut unsynced = self.unsynced.lock();
        self.catch_up(&mut unsynced)?;
        self.change("create a tree of", |db| db.open_tree(name)).map(|tree| Tree(Some(tree)))
    }

    /// Sets `key` to `value`. The change is durable once [`Database::sync`] returns, or earlier.
    pub(crate) fn insert(&self, tree: &Tree, key: &[u8], value: Vec<u8>) -> Result<()> {
        check_size("a key of the index", key.len(), KEY_BYTES_MAX)?;
        check_size("a value of the index", value.len(), STORED_BYTES_MAX)?;
        let bytes = key.len() + value.len();
        self.write(1, bytes, || tree.sled().insert(key, value).map(drop))
    }

    /// Removes `key`.
    pub(crate) fn remove(&self, tree: &Tree, key: &[u8]) -> Result<()> {
        self.write(1, key.len(), || tree.sled().remove(key).map(drop))
    }

    /// Makes these changes atomically: after a power loss, either all are there or none. `None` removes a key.
    pub(crate) fn batch(
        &self,
        tree: &Tree,
        changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<()> {
        let mut batch = sled::Batch::default();
        let (mut bytes, count) = (0, changes.len());
        if changes.len() > CHANGES_PACED_MAX {
            // The sync policy counts a batch as one write, but a batch may log more than a segment.
            self.sync()?;
        }
        for (key, value) in changes {
            check_size("a key of the index", key.len(), KEY_BYTES_MAX)?;
            let value_bytes = value.as_ref().map_or(0, Vec::len);
            check_size("a value of the index", value_bytes, STORED_BYTES_MAX)?;
            bytes += key.len() + value_bytes;
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.write(count, bytes, || tree.sled().apply_batch(batch))
    }

    /// Removes a whole tree. sled reads it into memory first. The caller must not use handles to it any more.
    pub(crate) fn remove_tree(&self, name: &str) -> Result<()> {
        let mut unsynced = self.unsynced.lock();
        // sled logs a few bytes for each node of the tree.
        self.flush_and_sync(&mut unsynced)?;
        self.change("remove a tree of", |db| db.drop_tree(name).map(drop))?;
        self.collect(&mut unsynced, TREE_REMOVED_CHANGES)?;
        self.flush_and_sync(&mut unsynced)
    }

    /// Calls sled to read. Data that cannot be read counts as damage, because it can be rebuilt.
    fn call<T>(&self, action: &str, f: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T> {
        self.call_sled(action, is_the_systems, f)
    }

    /// Calls sled to write. A failed write does not mean that the data on disk is damaged.
    fn change<T>(&self, action: &str, f: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T> {
        // A write may read, and a file that was cut short then fails with these kinds. sled's copies
        // of an error have no code, so only the kind can be compared.
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        self.call_sled(action, |e| !matches!(e.kind(), InvalidData | UnexpectedEof), f)
    }

    /// Calls sled and turns its errors and panics into errors of ours.
    fn call_sled<T>(
        &self,
        action: &str,
        is_the_systems: impl Fn(&std::io::Error) -> bool,
        f: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T> {
        if let Some(message) = self.panicked.get() {
            return Err(panicked(&self.path, message));
        }
        let db = self.db.as_ref().expect("a database that is being closed is not called");
        match catch(|| f(db)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sled::Error::Io(e))) if is_the_systems(&e) => {
                Err(Error::io(action, &self.path, e))
            }
            Ok(Err(e)) => {
                let offset = match &e {
                    sled::Error::Corruption { at: Some(at), .. } => at.lid(),
                    _ => 0,
                };
                let what = format!("sled cannot {action} it: {e}");
                Err(Error::corrupt(&self.path.join("db"), offset, None, what))
            }
            Err(panic) => {
                let message = self.panicked.get_or_init(|| panic.to_string());
                Err(panicked(&self.path, message))
            }
        }
    }

    /// Whether sled has panicked. Then it is not called any more, and the database must be opened again.
    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.get().is_some()
    }

    /// Syncs and closes the database. After `Ok`, everything is on disk and the files can be opened again.
    /// The caller must have dropped every [`Tree`] of it.
    pub(crate) fn close(mut self) -> Result<()> {
        let synced = self.sync();
        let released = self.release();
        synced.and(released)
    }

    /// Drops sled's handle and waits until its threads have dropped theirs.
    fn release(&mut self) -> Result<()> {
        let Some(db) = self.db.take() else { return Ok(()) };
        if let Err(panic) = catch(|| drop(db)) {
            // It damages nothing: everything that counts was synced before.
            let (path, message) = (self.path.display(), panic);
            let message = format!("sled panicked while it closed {path}: {message}");
            return Err(Error::new(ErrorKind::Panicked, message));
        }
        let file = self.path.join("db");
        let is_ours = || Ok(self.disk.identity_at(&file)? == self.file.identity()?);
        let is_ours: std::io::Result<bool> = is_ours();
        match is_ours {
            // Another process's file is there now, and that process may keep it open for long.
            Ok(false) if !failpoint!("kv::wait_for_a_strangers_file") => Ok(()),
            _ => wait_for_release(&file),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !self.owner.is_this_process() {
            // sled writes when it is dropped, and waits for threads that a forked process does not have.
            std::mem::forget(self.db.take());
        }
        if let Err(error) = self.release() {
            tracing::warn!(%error, "sled did not close cleanly");
        }
    }
}
