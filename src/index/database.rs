//! One sled database under discipline: the only place that calls sled.
//!
//! * No panic of sled's passes: each call is caught, and after a panic this handle answers every
//!   later call with an error.
//! * No write of sled's can destroy what was synced before it. See [`Database::pace`].
//! * When `close` returns, sled has let go of its files, and they can be opened again.

use crate::error::{Error, ErrorKind, Result, panic_message};
use crate::limits::{SLED_SEGMENT_BYTES, SLED_UNSYNCED_BYTES_MAX};
use bytes::Bytes;
use parking_lot::Mutex;
use std::fs::{self, File, TryLockError};
use std::ops::RangeBounds;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// How long to wait for sled's own threads to let go of a database that was closed.
const RELEASE_WAIT: Duration = Duration::from_secs(10);

/// An open sled database.
pub(crate) struct Database {
    /// `None` only while it is being closed.
    db: Option<sled::Db>,
    path: PathBuf,
    /// An own handle on sled's one data file: sled never syncs it in a way that survives a power
    /// cut.
    file: File,
    /// What sled panicked with; it is not called again.
    panicked: OnceLock<String>,
    unsynced: Mutex<Unsynced>,
}

/// What may not have reached the disk yet.
#[derive(Default)]
struct Unsynced {
    /// sled's log is on disk up to here.
    synced_to: i64,
    /// Bytes of keys and values written since.
    bytes: u64,
    /// `fdatasync`s so far.
    syncs: u64,
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
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(tree))) {
            let message = panic_message(&*panic);
            tracing::warn!(message, "sled panicked at closing a tree");
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

/// Why a database could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// What lies there cannot be used. Another may be made in its place.
    Unusable(String),
    /// The system refuses; another attempt may succeed, with the same files.
    System(Error),
}

/// What is there cannot be used, and why.
pub(crate) fn unusable(reason: impl Into<String>) -> OpenError {
    OpenError::Unusable(reason.into())
}

/// While an index is opened, whatever sled says of it makes it unusable, unless the system is full
/// or forbids it.
impl From<Error> for OpenError {
    fn from(error: Error) -> OpenError {
        match error.kind() {
            ErrorKind::Corrupt => OpenError::Unusable(error.to_string()),
            _ => OpenError::System(error),
        }
    }
}

impl Database {
    /// Opens the database in the directory `path`, which exists; creates it if it is empty.
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Database, OpenError> {
        wait_for_release(&path.join("db")).map_err(OpenError::System)?;
        remove_unfinished_snapshots(path).map_err(OpenError::System)?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SLED_SEGMENT_BYTES)
            .flush_every_ms(None);
        let db = match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => db,
            Ok(Err(sled::Error::Io(e))) if is_the_systems(&e) => {
                return Err(OpenError::System(Error::io("open", path, e)));
            }
            Ok(Err(e)) => return Err(OpenError::Unusable(format!("sled cannot open it: {e}"))),
            Err(panic) => {
                let message = panic_message(&*panic);
                return Err(OpenError::Unusable(format!("sled panicked at opening it: {message}")));
            }
        };
        let file = sync_files(path).map_err(OpenError::System)?;
        let unsynced = Mutex::new(Unsynced { synced_to: -1, ..Unsynced::default() });
        let (db, path, panicked) = (Some(db), path.to_owned(), OnceLock::new());
        Ok(Database { db, path, file, panicked, unsynced })
    }

    /// The directory it is in.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The tree of this name, created if there is none.
    pub(crate) fn tree(&self, name: &str) -> Result<Tree> {
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

    /// The entries whose keys are in `range`, from either end. Not a snapshot: each step reads anew.
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

    /// Sets `key` to `value`. Durable after [`Database::sync`], or earlier.
    pub(crate) fn insert(&self, tree: &Tree, key: &[u8], value: Vec<u8>) -> Result<()> {
        let bytes = key.len() + value.len();
        self.write(bytes, || tree.sled().insert(key, value).map(drop))
    }

    /// Removes `key`.
    pub(crate) fn remove(&self, tree: &Tree, key: &[u8]) -> Result<()> {
        self.write(key.len(), || tree.sled().remove(key).map(drop))
    }

    /// Makes all of these changes, or, if a power cut comes in between, none; `None` removes a key.
    pub(crate) fn batch(
        &self,
        tree: &Tree,
        changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<()> {
        let mut batch = sled::Batch::default();
        let mut bytes = 0;
        for (key, value) in changes {
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.write(bytes, || tree.sled().apply_batch(batch))
    }

    /// Removes a whole tree. Handles to it must not be used any more.
    pub(crate) fn remove_tree(&self, name: &str) -> Result<()> {
        self.call("remove a tree of", |db| db.drop_tree(name).map(drop))
    }

    /// Has everything that was written so far on disk when it returns.
    pub(crate) fn sync(&self) -> Result<()> {
        self.flush_and_sync(&mut self.unsynced.lock())
    }

    /// `fdatasync`s so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.unsynced.lock().syncs
    }

    /// Writers take turns, so that none runs ahead of the pace of another.
    fn write(&self, bytes: usize, f: impl FnOnce() -> sled::Result<()>) -> Result<()> {
        let mut unsynced = self.unsynced.lock();
        self.call("write", |_| f())?;
        unsynced.bytes += bytes as u64;
        self.pace(&mut unsynced)
    }

    /// Syncs, after each write, as soon as sled has written log that is not synced.
    ///
    /// sled is log-structured: it gives a segment of its file to new log once everything that
    /// lived there has been written again further on. It takes "written" for safe. If a power cut
    /// then loses what was written further on, while the new log reached the segment, both are gone.
    ///
    /// From sled's source (`SegmentAccountant`): a segment X is handed out for log that begins at N
    /// only when all that replaced it lies before some H, where H is how far the log was written
    /// when a segment M was begun, and M has since been written, so H ≤ M and M < N. M is written
    /// when it is full (at least `SLED_SEGMENT_BYTES` of log after it was begun, so after many
    /// writes of ours, each of which ends here) or when we flush. So if, when a write returns, all
    /// log that sled has written by then is synced, then everything before H is on disk before N
    /// begins, and a power cut can only take away the log's end. One write logs less than a
    /// segment, as `limits` asserts.
    ///
    /// The bound on the bytes keeps the end that a power cut takes short, and lets a writer that is
    /// faster than the disk wait for it.
    fn pace(&self, unsynced: &mut Unsynced) -> Result<()> {
        let written_to = self.written_to();
        if unsynced.bytes >= SLED_UNSYNCED_BYTES_MAX {
            return self.flush_and_sync(unsynced);
        }
        if written_to > unsynced.synced_to {
            self.sync_file(unsynced, written_to)?;
        }
        Ok(())
    }

    fn flush_and_sync(&self, unsynced: &mut Unsynced) -> Result<()> {
        self.call("flush", |db| db.flush().map(drop))?;
        let written_to = self.written_to();
        unsynced.bytes = 0;
        self.sync_file(unsynced, written_to)
    }

    fn sync_file(&self, unsynced: &mut Unsynced, written_to: i64) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("sync", &self.path.join("db"), e))?;
        unsynced.synced_to = written_to;
        unsynced.syncs += 1;
        Ok(())
    }

    /// How far sled has written its log.
    fn written_to(&self) -> i64 {
        self.db.as_ref().map_or(-1, |db| db.context.pagecache.log.stable_offset())
    }

    /// Calls sled and turns what goes wrong, panics included, into an error.
    fn call<T>(&self, action: &str, f: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T> {
        if let Some(message) = self.panicked.get() {
            return Err(self.panic_error(message));
        }
        let db = self.db.as_ref().expect("a database that is being closed is not called");
        match catch_unwind(AssertUnwindSafe(|| f(db))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sled::Error::Io(e))) if is_the_systems(&e) => {
                Err(Error::io(action, &self.path, e))
            }
            Ok(Err(e)) => {
                let what = format!("sled cannot {action} it: {e}");
                Err(Error::corrupt(&self.path, 0, None, what))
            }
            Err(panic) => {
                let message = self.panicked.get_or_init(|| panic_message(&*panic));
                Err(self.panic_error(message))
            }
        }
    }

    fn panic_error(&self, message: &str) -> Error {
        Error::corrupt(&self.path, 0, None, format!("sled panicked: {message}"))
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
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(db))) {
            return Err(self.panic_error(&panic_message(&*panic)));
        }
        wait_for_release(&self.path.join("db"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!(%error, "sled did not close in order");
        }
    }
}

/// Waits until nobody holds sled's lock on its data file.
///
/// sled's last handle is not always ours: a thread of its pool that has just written a buffer holds
/// one until it has done its bookkeeping, a moment after `flush` returned. The lock is an advisory
/// one of the operating system's on the file, so that waiting for it is a system call of its own
/// thread, which ends if the bound passes and the lock is free at last.
fn wait_for_release(file: &Path) -> Result<()> {
    let handle = match File::options().read(true).write(true).open(file) {
        Ok(handle) => handle,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        // sled will say what is wrong with it.
        Err(_) => return Ok(()),
    };
    match handle.try_lock() {
        Ok(()) => return Ok(()),
        Err(TryLockError::Error(e)) => return Err(Error::io("lock", file, e)),
        Err(TryLockError::WouldBlock) => {}
    }
    let (locked, wait) = crossbeam_channel::bounded(1);
    let waiter = std::thread::Builder::new().name("filmstrip-index-release".to_owned());
    let spawned = waiter.spawn(move || {
        // The receiver may have given up.
        let _ = locked.send(handle.lock());
    });
    spawned.map_err(|e| Error::io("wait for", file, e))?;
    match wait.recv_timeout(RELEASE_WAIT) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(Error::io("lock", file, e)),
        Err(_) => {
            let seconds = RELEASE_WAIT.as_secs();
            let message = format!("{} is still in use after {seconds} s", file.display());
            Err(Error::new(ErrorKind::Locked, message))
        }
    }
}

/// A kill while sled opens leaves a half-written snapshot of its page table, which makes its next
/// open fail. The name says that it was never finished, so it can go.
fn remove_unfinished_snapshots(path: &Path) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(_) => return Ok(()),
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            let file = entry.path();
            fs::remove_file(&file).map_err(|e| Error::io("remove", &file, e))?;
        }
    }
    Ok(())
}

/// Syncs what sled creates and never syncs, and returns an own handle on its data file.
fn sync_files(path: &Path) -> Result<File> {
    sync(&path.join("conf"))?;
    let db = path.join("db");
    let file = File::open(&db).map_err(|e| Error::io("open", &db, e))?;
    file.sync_all().map_err(|e| Error::io("sync", &db, e))?;
    sync(&path.join("blobs"))?;
    sync(path)?;
    Ok(file)
}

/// Syncs a file or a directory.
pub(crate) fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| Error::io("sync", path, e))
}

/// Whether a failure says more of the system than of the file.
fn is_the_systems(e: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        e.kind(),
        Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::OutOfMemory
            | Kind::Interrupted
            | Kind::TimedOut
    )
}
