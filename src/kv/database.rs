//! One sled database under discipline: the only place that calls sled.
//!
//! * No panic of sled's passes: each call is caught, and after a panic this handle answers every
//!   later call with an error.
//! * No write of sled's can destroy what was synced before it. See [`Database::keep_pace`].
//! * What sled has replaced is given back, memory and log, as fast as more is written.
//! * When `close` returns, sled has let go of its files, and they can be opened again.

#[cfg(test)]
mod hooks;

use crate::kv::failure::{OpenError, is_the_systems, panicked, unusable_or_system};
use crate::kv::files::{remove_unfinished_snapshots, sync_files, unfit_in, wait_for_release};
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

/// What removing a tree is taken for where garbage is collected.
const TREE_REMOVED_CHANGES: usize = 65_536;

/// An open sled database.
pub(crate) struct Database {
    owner: Owner,
    /// `None` only while it is being closed.
    db: Option<sled::Db>,
    path: PathBuf,
    cache_bytes: u64,
    /// An own handle on sled's one data file: sled never syncs it in a way that survives a power
    /// cut.
    file: Arc<dyn DiskFile>,
    disk: Arc<dyn Disk>,
    pace: SyncPolicy,
    /// The directory. Files are made in it by its path, by sled only while it is opened.
    held: Arc<Held>,
    /// What sled panicked with; it is not called again.
    panicked: OnceLock<String>,
    unsynced: Mutex<Unsynced>,
}

/// One tree of a database. Dropped before the database is closed.
pub(crate) struct Tree(Option<sled::Tree>);

impl Tree {
    fn sled(&self) -> &sled::Tree {
        self.0.as_ref().expect("only dropping takes it")
    }
}

impl Drop for Tree {
    /// sled flushes, and may panic in doing so.
    fn drop(&mut self) {
        let tree = self.0.take();
        if let Err(panic) = catch(|| drop(tree)) {
            tracing::warn!(%panic, "sled panicked at closing a tree");
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
        let next = self.db.call("read", |_| self.entries.next().transpose())?;
        Ok(next.map(|(key, value)| (bytes(&key), bytes(&value))))
    }

    pub(crate) fn next_back(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        let next = self.db.call("read", |_| self.entries.next_back().transpose())?;
        Ok(next.map(|(key, value)| (bytes(&key), bytes(&value))))
    }
}

/// A copy: what sled gives out may keep a buffer alive that is many times larger.
fn bytes(from_sled: &sled::IVec) -> Bytes {
    Bytes::copy_from_slice(from_sled)
}

impl Database {
    /// Opens the database in the directory `path`, which exists; creates it if it is empty.
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
        // sled makes what is missing on the way to its files, at any time: where its directory was before it was moved,
        // it would make another one.
        let config = sled::Config::new()
            .path(held.steady_path())
            .cache_capacity(cache_bytes.max(SLED_CACHE_BYTES_MIN))
            .segment_size(pace.segment_bytes)
            .flush_every_ms(None);
        let db = match catch(|| config.open()) {
            Ok(Ok(db)) => db,
            Ok(Err(sled::Error::Io(e))) if is_the_systems(&e) => {
                return Err(OpenError::System(Error::io("open", path, e)));
            }
            Ok(Err(e)) => {
                return Err(unusable_or_system(path, "sled cannot open it", &e.to_string()));
            }
            Err(panic) => {
                return Err(unusable_or_system(
                    path,
                    "sled panicked at opening it",
                    &panic.to_string(),
                ));
            }
        };
        let file = match held.check_before("open").and_then(|()| sync_files(&**disk, path)) {
            Ok(file) => file,
            Err(error) => {
                // sled flushes when it goes, and panics if that fails.
                let _ = catch(move || drop(db));
                return Err(OpenError::System(error));
            }
        };
        let unsynced = Mutex::new(Unsynced { synced_to: -1, ..Unsynced::default() });
        let (db, path, panicked) = (Some(db), path.to_owned(), OnceLock::new());
        let owner = Owner::this_process();
        let disk = Arc::clone(disk);
        Ok(Database { owner, db, path, cache_bytes, file, disk, pace, held, panicked, unsynced })
    }

    /// Refuses a process that was forked from the one that opened it.
    pub(crate) fn check_owner(&self) -> Result<()> {
        self.owner.check()
    }

    /// Bytes of a tree's keys and values that sled may read into memory to remove it.
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

    /// The directory it is in, which is checked before a file is made there.
    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// The tree of this name, created if there is none.
    pub(crate) fn tree(&self, name: &str) -> Result<Tree> {
        // No write comes between the two.
        let mut unsynced = self.unsynced.lock();
        self.catch_up(&mut unsynced)?;
        self.call("open a tree of", |db| db.open_tree(name)).map(|tree| Tree(Some(tree)))
    }

    /// The names of the trees that were ever created.
    pub(crate) fn tree_names(&self) -> Result<Vec<Bytes>> {
        self.call("list the trees of", |db| Ok(db.tree_names().iter().map(bytes).collect()))
    }

    /// The value of `key`.
    pub(crate) fn get(&self, tree: &Tree, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.call("read", |_| tree.sled().get(key))?.as_ref().map(bytes))
    }

    /// The entries whose keys are in `range`, from either end. Not a snapshot: each step reads again.
    pub(crate) fn range<K: AsRef<[u8]>>(
        &self,
        tree: &Tree,
        range: impl RangeBounds<K>,
    ) -> Entries<'_> {
        Entries { db: self, entries: tree.sled().range(range) }
    }

    /// The entries whose keys begin with `prefix`.
    pub(crate) fn prefix(&self, tree: &Tree, prefix: &[u8]) -> Entries<'_> {
        Entries { db: self, entries: tree.sled().scan_prefix(prefix) }
    }

    /// The tree of this name, which is about to be written.
    pub(crate) fn new_tree(&self, name: &str) -> Result<Tree> {
        let mut unsynced = self.unsynced.lock();
        self.catch_up(&mut unsynced)?;
        self.change("create a tree of", |db| db.open_tree(name)).map(|tree| Tree(Some(tree)))
    }

    /// Sets `key` to `value`. Durable after [`Database::sync`], or earlier.
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

    /// Makes all of these changes, or, if a power cut comes in between, none; `None` removes a key.
    pub(crate) fn batch(
        &self,
        tree: &Tree,
        changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<()> {
        let mut batch = sled::Batch::default();
        let (mut bytes, count) = (0, changes.len());
        if changes.len() > CHANGES_PACED_MAX {
            // A batch is one write to the pace, but may log more than a segment.
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

    /// Frees what `changes` have replaced. It calls sled, as every thread that happens to free may.
    fn collect(&self, unsynced: &mut Unsynced, changes: usize) -> Result<()> {
        if failpoint!("kv::leave_garbage") {
            return Ok(());
        }
        self.change("collect the garbage of", |_| {
            unsynced.collect(changes);
            Ok(())
        })
    }

    /// Removes a whole tree, which sled reads into memory for it. Handles to it must not be used any more.
    pub(crate) fn remove_tree(&self, name: &str) -> Result<()> {
        let mut unsynced = self.unsynced.lock();
        // It logs a few bytes for each node of the tree.
        self.flush_and_sync(&mut unsynced)?;
        self.change("remove a tree of", |db| db.drop_tree(name).map(drop))?;
        self.collect(&mut unsynced, TREE_REMOVED_CHANGES)?;
        self.flush_and_sync(&mut unsynced)
    }

    /// Has everything that was written so far on disk when it returns.
    pub(crate) fn sync(&self) -> Result<()> {
        self.flush_and_sync(&mut self.unsynced.lock())
    }

    /// Writers take turns, so that none runs ahead of the pace of another.
    ///
    /// An error means that nothing was changed: the caller may do the same again. What was changed and could not be
    /// synced is synced before the next write, which fails if that fails.
    fn write(
        &self,
        changes: usize,
        bytes: usize,
        f: impl FnOnce() -> sled::Result<()>,
    ) -> Result<()> {
        let mut unsynced = self.unsynced.lock();
        #[cfg(test)]
        unsynced.faults.die_if_told()?;
        self.catch_up(&mut unsynced)?;
        self.change("write", |_| f())?;
        unsynced.bytes += bytes as u64;
        if let Err(error) = self.keep_pace(&mut unsynced) {
            if failpoint!("kv::fail_write_that_was_made") {
                return Err(error);
            }
            tracing::warn!(%error, "what was written cannot be synced for now");
            unsynced.is_behind = true;
        }
        if let Err(error) = self.collect(&mut unsynced, changes) {
            tracing::warn!(%error, "what was replaced cannot be freed for now");
        }
        Ok(())
    }

    /// Syncs what the last write made, if that could not be done then.
    fn catch_up(&self, unsynced: &mut Unsynced) -> Result<()> {
        if unsynced.is_behind {
            self.keep_pace(unsynced)?;
            unsynced.is_behind = false;
        }
        Ok(())
    }

    /// Syncs, between two writes, as soon as sled has written log that is not synced.
    ///
    /// sled is log-structured: it gives a segment of its file to new log once everything that
    /// lived there has been written again further on. It takes "written" for safe. If a power cut
    /// then loses what was written further on, while the new log reached the segment, both are gone.
    ///
    /// From sled's source (`SegmentAccountant`): a segment X is handed out for log that begins at N
    /// only when all that replaced it is before some H, where H is how far the log was written
    /// when a segment M was begun, and M has since been written, so H ≤ M and M < N. M is written
    /// when it is full (at least `SLED_SEGMENT_BYTES` of log after it was begun, so after many
    /// writes of ours, each of which ends here) or when we flush. So if, when the next write begins, all
    /// log that sled has written by then is synced, then everything before H is on disk before N
    /// begins, and a power cut can only take away the log's end. One write logs less than a segment:
    /// always with keys of up to 400 bytes; with longer ones, unless nodes on three levels that are
    /// full of them split at once.
    ///
    /// The bound on the bytes keeps the end that a power cut takes short, and lets a writer that is
    /// faster than the disk wait for it.
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

    /// Calls sled to read. What the system cannot read counts as damage: it can be built again.
    fn call<T>(&self, action: &str, f: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T> {
        self.call_sled(action, is_the_systems, f)
    }

    /// Calls sled to write. What the system cannot write says nothing against what is there.
    fn change<T>(&self, action: &str, f: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T> {
        // A file that is cut short fails to be read on the way; sled's copies of an error have lost
        // its code, so that nothing more can be asked of them.
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        self.call_sled(action, |e| !matches!(e.kind(), InvalidData | UnexpectedEof), f)
    }

    /// Calls sled and turns what goes wrong, panics included, into an error.
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

    /// Whether sled has panicked: it is not called any more, and the database must be opened again.
    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.get().is_some()
    }

    /// Has everything on disk and the files free for another open, if it returns without an error.
    /// Every [`Tree`] of it must have been dropped.
    pub(crate) fn close(mut self) -> Result<()> {
        let synced = self.sync();
        let released = self.release();
        synced.and(released)
    }

    /// Drops sled's handle and waits until its threads have dropped theirs.
    fn release(&mut self) -> Result<()> {
        let Some(db) = self.db.take() else { return Ok(()) };
        if let Err(panic) = catch(|| drop(db)) {
            // That nothing is damaged by it is certain: all that counts was synced before.
            let (path, message) = (self.path.display(), panic);
            let message = format!("sled panicked at closing {path}: {message}");
            return Err(Error::new(ErrorKind::Panicked, message));
        }
        let file = self.path.join("db");
        let is_ours = || Ok(self.disk.identity_at(&file)? == self.file.identity()?);
        let is_ours: std::io::Result<bool> = is_ours();
        match is_ours {
            // Somebody else's is there now, and he may have it open for long.
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

/// sled's threads are made once for a process, and are not made again in one that was forked from it: what it opened
/// there would wait for them for ever.
pub(crate) fn refuse_forked() -> Result<()> {
    static FIRST: OnceLock<Owner> = OnceLock::new();
    if FIRST.get_or_init(Owner::this_process).is_this_process() {
        return Ok(());
    }
    let message = "this process was forked from one that had opened a store, and cannot open any: \
                   open stores after the fork, or start another program";
    Err(Error::new(ErrorKind::Forked, message))
}
