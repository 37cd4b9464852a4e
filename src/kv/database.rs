//! One sled database. Nothing else calls sled.
//!
//! * Each call catches sled's panics. After a panic, every later call on this handle returns an
//!   error.
//! * No write of sled can destroy what was synced before it. See [`Database::keep_pace`].
//! * Replaced values give back their memory and their place in the log as fast as new ones are written.
//! * When `close` returns, sled has closed its files, and they can be opened again.

#[cfg(test)]
mod hooks;

use crate::kv::failure::{
    OpenError, is_failed_write, is_the_systems, panicked, unusable_or_system,
};
use crate::kv::files::{
    can_be_read, remove_unfinished_snapshots, sync_files, unfit_in, wait_for_release,
};
use crate::kv::sync_policy::{
    CHANGES_PACED_MAX, KEY_BYTES_MAX, STORED_BYTES_MAX, SyncPolicy, Unsynced, check_size,
};
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::held::Held;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::limits::SLED_CACHE_BYTES_MIN;
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
    /// Opens the database in the directory `path`, which must exist; creates one if the directory is empty.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        path: &Path,
        cache_bytes: u64,
    ) -> Result<Database, OpenError> {
        Database::open_paced(disk, path, cache_bytes, SyncPolicy::default())
    }

    pub(crate) fn open_paced(
        disk: &Arc<dyn Disk>,
        path: &Path,
        cache_bytes: u64,
        pace: SyncPolicy,
    ) -> Result<Database, OpenError> {
        refuse_forked().map_err(OpenError::System)?;
        if let Some(reason) = unfit_in(&**disk, path) {
            return Err(Corruption::Database(reason.into()).into());
        }
        let held = Arc::new(Held::open(path).map_err(OpenError::System)?);
        wait_for_release(&path.join("db")).map_err(OpenError::System)?;
        if let Some(name) = remove_unfinished_snapshots(&**disk, path).map_err(OpenError::System)? {
            let reason = format!("it holds {name:?}, which sled would remove");
            return Err(Corruption::Database(reason.into()).into());
        }
        let db = open_sled(&**disk, path, &held, cache_bytes, pace)?;
        let file = match held.check_before("open").and_then(|()| sync_files(&**disk, path)) {
            Ok(file) => file,
            Err(error) => {
                // sled flushes when it is dropped, and panics if that fails.
                let _ = catch(move || drop(db));
                return Err(OpenError::System(error));
            }
        };
        let unsynced = Mutex::new(Unsynced { synced_to: -1, ..Unsynced::default() });
        let (db, path, panicked) = (Some(db), path.to_owned(), OnceLock::new());
        let owner = Owner::this_process();
        let disk = Arc::clone(disk);
        Ok(Database {
            owner,
            db,
            path,
            cache_bytes,
            file,
            disk,
            pace,
            held,
            panicked,
            unsynced,
            #[cfg(test)]
            counts: hooks::Counts::default(),
        })
    }

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

    /// Frees what `changes` changes have replaced. Freeing runs sled's code on this thread.
    fn collect(&self, unsynced: &mut Unsynced, changes: usize) -> Result<()> {
        if failpoint!("kv::leave_garbage") {
            return Ok(());
        }
        self.change("collect the garbage of", |_| {
            unsynced.collect(changes);
            Ok(())
        })
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

    /// Syncs everything that was written so far.
    pub(crate) fn sync(&self) -> Result<()> {
        self.flush_and_sync(&mut self.unsynced.lock())
    }

    /// Writes are made one at a time, so that the sync policy holds for all writers together.
    ///
    /// An error means that nothing was changed, and the caller may retry. A change that was made but could not be
    /// synced returns `Ok`. It is synced before the next write, which fails if that fails.
    fn write(
        &self,
        changes: usize,
        bytes: usize,
        f: impl FnOnce() -> sled::Result<()>,
    ) -> Result<()> {
        let mut unsynced = self.unsynced.lock();
        #[cfg(test)]
        self.counts.write_one();
        #[cfg(test)]
        unsynced.faults.die_if_told()?;
        self.catch_up(&mut unsynced)?;
        self.change("write", |_| f())?;
        unsynced.bytes += bytes as u64;
        if let Err(error) = self.keep_pace(&mut unsynced) {
            if failpoint!("kv::fail_write_that_was_made") {
                return Err(error);
            }
            tracing::warn!(%error, "the last write cannot be synced yet; the next write tries again");
            unsynced.is_behind = true;
        }
        if let Err(error) = self.collect(&mut unsynced, changes) {
            tracing::warn!(%error, "sled's garbage cannot be collected yet");
        }
        Ok(())
    }

    /// Syncs the last write, if that failed at the time.
    fn catch_up(&self, unsynced: &mut Unsynced) -> Result<()> {
        if unsynced.is_behind {
            self.keep_pace(unsynced)?;
            unsynced.is_behind = false;
        }
        Ok(())
    }

    /// Called between two writes. Syncs if sled has written log that is not synced.
    ///
    /// sled is log-structured: it reuses a segment of its file for new log once everything in the
    /// segment has been rewritten further on. It treats what is written as durable. If a power loss
    /// then takes what was written further on, but not the new log in the segment, both copies are gone.
    ///
    /// From sled's source (`SegmentAccountant`): sled reuses a segment X for log that begins at N
    /// only when everything that replaced X is before some H. H is how far the log was written
    /// when sled began a segment M, and M has since been written, so H ≤ M and M < N. M is written
    /// when it is full (after at least `SLED_SEGMENT_BYTES` of log, so after many writes of ours,
    /// each of which ends with this call) or when we flush. So if all log that sled has written is
    /// synced when the next write begins, everything before H is on disk before N begins, and a
    /// power loss can take only the end of the log. One write logs less than a segment: always with
    /// keys of up to 400 bytes; with longer keys, unless nodes on three levels that are full of them
    /// split at once.
    ///
    /// The bound on unsynced bytes limits what a power loss takes, and makes a writer that is faster
    /// than the disk wait for it.
    fn keep_pace(&self, unsynced: &mut Unsynced) -> Result<()> {
        if failpoint!("kv::leave_sled_log_unsynced") {
            return Ok(());
        }
        let written_to = self.written_to();
        if unsynced.bytes >= self.pace.unsynced_bytes_max {
            return self.flush_and_sync(unsynced);
        }
        if written_to > unsynced.synced_to {
            self.sync_file(unsynced, written_to)?;
        }
        Ok(())
    }

    fn flush_and_sync(&self, unsynced: &mut Unsynced) -> Result<()> {
        self.change("flush", |db| db.flush().map(drop))?;
        let written_to = self.written_to();
        unsynced.bytes = 0;
        self.sync_file(unsynced, written_to)
    }

    fn sync_file(&self, unsynced: &mut Unsynced, written_to: i64) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("sync", &self.path.join("db"), e))?;
        unsynced.synced_to = written_to;
        #[cfg(test)]
        unsynced.faults.synced(&self.path.join("db"));
        Ok(())
    }

    /// How far sled has written its log.
    fn written_to(&self) -> i64 {
        self.db.as_ref().map_or(-1, |db| db.context.pagecache.log.stable_offset())
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

/// Opens sled, and tells a database that is damaged from a system that fails.
fn open_sled(
    disk: &dyn Disk,
    path: &Path,
    held: &Held,
    cache_bytes: u64,
    pace: SyncPolicy,
) -> Result<sled::Db, OpenError> {
    // While it opens, sled creates the missing parents of its files. If its directory was moved meanwhile, it would
    // create another one at the old path.
    let config = sled::Config::new()
        .path(held.steady_path())
        .cache_capacity(cache_bytes.max(SLED_CACHE_BYTES_MIN))
        .segment_size(pace.segment_bytes)
        .flush_every_ms(None);
    match catch(|| config.open()) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(e)))
            if is_the_systems(&e) || is_failed_write(&e, || can_be_read(disk, path)) =>
        {
            Err(OpenError::System(Error::io("open", path, e)))
        }
        Ok(Err(e)) => Err(unusable_or_system(path, "sled cannot open it", &e.to_string())),
        Err(panic) => {
            let what = "sled panicked while it opened it";
            Err(unusable_or_system(path, what, &panic.to_string()))
        }
    }
}

/// Refuses a process that was forked from one that had called this. sled starts its threads once for a process and not
/// again after a fork, so a database that is opened there would wait for them forever.
pub(crate) fn refuse_forked() -> Result<()> {
    static FIRST: OnceLock<Owner> = OnceLock::new();
    if FIRST.get_or_init(Owner::this_process).is_this_process() {
        return Ok(());
    }
    let message = "this process was forked from one that had opened a store, and cannot open any: \
                   open stores after the fork, or start another program";
    Err(Error::new(ErrorKind::Forked, message))
}
