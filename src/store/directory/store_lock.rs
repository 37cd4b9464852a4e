//! The lock of a store's directory, and what is made in it before it is settled that it stays.

use crate::log::core::journal_directory;
use crate::storage::disk::{Disk, Kind, RealDisk};
use crate::storage::files::MODE_ALL;
use crate::storage::guarded::GuardedDisk;
use crate::storage::held::Held;
use crate::storage::lock::LockHandle;
use crate::storage::lock_holder::LockHolder;
use crate::store::directory::contents::{BACKUP_LOCK, LOCK, is_missing, refuse_dangling};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::limits::LOCK_ATTEMPTS;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory that nobody else opens, backs up into or repairs as long as this exists; the operating system releases
/// it when the process dies.
///
/// The directory itself is locked, so that it makes no difference whether a file in it was removed. The files
/// are locked for filesystems that cannot lock a directory.
pub(crate) struct Lock {
    owner: Owner,
    held: Arc<Held>,
    files: Vec<LockHandle>,
    /// Whether the journal's directory is one of them.
    has_journal: bool,
    /// The permissions of a file that is created to be locked.
    mode: u32,
    /// What was made for it, until it is settled.
    made: Made,
}

impl Lock {
    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// The disk for files in the directory, which get at most the permissions `mode`.
    pub(crate) fn guard(&self, disk: &Arc<dyn Disk>, mode: u32) -> Arc<dyn Disk> {
        Arc::new(GuardedDisk::new(Arc::clone(disk), Arc::clone(&self.held), mode))
    }

    /// Creates the directory of the journal, unless it exists, and locks it. True if it was created.
    pub(crate) fn make_journal(&mut self, disk: &dyn Disk) -> Result<bool> {
        let path = journal_directory(self.held.path());
        refuse_dangling(&path)?;
        let is_new = is_missing(&path);
        if is_new {
            self.making(path.clone());
        }
        disk.create_dir_all(&path, MODE_ALL).map_err(|e| Error::io("create", &path, e))?;
        self.lock_journal()?;
        Ok(is_new)
    }

    /// Locks the directory of the journal, if there is one: `journal` may be a symbolic link, and two stores may
    /// have the same journal.
    fn lock_journal(&mut self) -> Result<()> {
        let path = journal_directory(self.held.path());
        let is_left =
            failpoint!("store::leave_journal_unlocked") || failpoint!("store::lock_files_only");
        let is_there = || matches!(RealDisk.kind_there(&path), Ok(Some(Kind::Directory)));
        if self.has_journal || is_left || !is_there() {
            return Ok(());
        }
        for _ in 0..LOCK_ATTEMPTS {
            let directory =
                LockHandle::open_directory(&path).map_err(|e| Error::io("open", &path, e))?;
            match directory.try_lock() {
                Ok(true) => {}
                Ok(false) => return Err(locked(&path)),
                Err(error) => {
                    tracing::debug!(%error, "the journal's directory cannot be locked");
                }
            }
            if directory.is_at(&path).map_err(|e| Error::io("find", &path, e))? {
                self.files.push(directory);
                self.has_journal = true;
                return Ok(());
            }
        }
        Err(locked(&path))
    }

    /// Takes back what it makes, if it is dropped before `keep`.
    pub(crate) fn making(&mut self, path: PathBuf) {
        self.made.paths.push(path);
    }

    /// Everything that was made is to stay.
    pub(crate) fn keep(&mut self) {
        self.made.paths.clear();
    }

    fn lock_file(&mut self, name: &str, create: bool) -> Result<()> {
        let path = self.held.path().join(name);
        for _ in 0..LOCK_ATTEMPTS {
            let opened = match create {
                true => self.create_or_open(&path),
                false => LockHandle::open(&path),
            };
            let file = match opened {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
                    refuse_dangling(&path)?;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(Error::io("open", &path, error)),
            };
            if !file.try_lock().map_err(|e| Error::io("lock", &path, e))? {
                return Err(locked(self.held.path()));
            }
            // If it was removed in between, the lock keeps nobody out.
            if file.is_at(&path).map_err(|e| Error::io("find", &path, e))? {
                self.files.push(file);
                return Ok(());
            }
        }
        Err(locked(self.held.path()))
    }

    fn create_or_open(&mut self, path: &Path) -> io::Result<LockHandle> {
        match LockHandle::create(path, self.mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => LockHandle::open(path),
            created => created.inspect(|_| self.made.paths.push(path.to_owned())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.owner.is_this_process() {
            // A forked process shares the lock with its parent: it may close its copy, and not unlock.
            self.made.paths.clear();
            return;
        }
        match self.held.check() {
            Ok(()) => self.made.undo(),
            Err(_) => self.made.paths.clear(),
        }
        // A process that another thread is just starting holds a copy of the file for a moment, so that
        // closing ours would not let go of it.
        for file in self.files.iter().chain([self.held.directory()]) {
            if let Err(error) = file.unlock() {
                tracing::warn!(%error, "the store's lock could not be released before its file");
            }
        }
    }
}

/// Paths that were made for something that may still be refused, in their order.
struct Made {
    disk: Arc<dyn Disk>,
    paths: Vec<PathBuf>,
}

impl Made {
    /// Creates the directory `path` and those above it that are missing.
    fn directory(path: &Path, mode: u32, disk: &Arc<dyn Disk>) -> Result<Made> {
        let is_missing = |path: &&Path| match disk.kind(path) {
            Ok(found) => found.is_none(),
            Err(error) => error.kind() != io::ErrorKind::PermissionDenied,
        };
        let missing = path.ancestors().take_while(is_missing);
        let mut paths: Vec<_> = missing.map(Path::to_owned).collect();
        paths.reverse();
        let made = Made { disk: Arc::clone(disk), paths };
        disk.create_dir_all(path, mode).map_err(|e| Error::io("create", path, e))?;
        Ok(made)
    }

    /// Removes them again, in the opposite order, up to a directory in which something else is by now.
    fn undo(&mut self) {
        if failpoint!("store::leave_what_was_made") {
            return;
        }
        for path in self.paths.drain(..).rev() {
            let removed = match self.disk.kind(&path) {
                Ok(Some(Kind::Directory)) => self.disk.remove_dir(&path),
                _ => self.disk.remove(&path),
            };
            if removed.is_err_and(|error| error.kind() == io::ErrorKind::DirectoryNotEmpty) {
                return;
            }
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.undo();
    }
}

/// Locks the directory `path`, and the file `name` in it if one is named; both are created if they are not there. New
/// directories get the permissions `mode` at most. What was created is removed with the lock, unless the lock is told
/// to keep it.
pub(crate) fn lock_new(
    path: &Path,
    mode: u32,
    disk: &Arc<dyn Disk>,
    name: Option<&str>,
) -> Result<Lock> {
    let made = Made::directory(path, mode, disk)?;
    lock_with(path, made, name, mode)
}

/// Locks the store in `path`, which exists, without writing anything.
pub(crate) fn lock_existing(path: &Path, disk: &Arc<dyn Disk>) -> Result<Lock> {
    lock_with(path, Made { disk: Arc::clone(disk), paths: Vec::new() }, None, 0)
}

fn lock_with(path: &Path, made: Made, creates: Option<&str>, mode: u32) -> Result<Lock> {
    let held = Arc::new(hold_locked(path)?);
    let (owner, files) = (Owner::this_process(), Vec::new());
    let mut lock = Lock { owner, held, files, has_journal: false, mode, made };
    for name in [LOCK, BACKUP_LOCK] {
        if failpoint!("store::lock_files_only") && creates != Some(name) {
            continue;
        }
        lock.lock_file(name, creates == Some(name))?;
    }
    lock.lock_journal()?;
    Ok(lock)
}

fn hold_locked(path: &Path) -> Result<Held> {
    for _ in 0..LOCK_ATTEMPTS {
        let held = Held::open(path)?;
        match held.directory().try_lock() {
            _ if failpoint!("store::lock_files_only") => {}
            Ok(true) => {}
            Ok(false) => return Err(locked(path)),
            Err(error) => {
                tracing::debug!(%error, "the directory itself cannot be locked; files in it are");
            }
        }
        // It may have been replaced in between, and then the lock keeps nobody out.
        if held.check().is_ok() {
            return Ok(held);
        }
    }
    Err(locked(path))
}

fn locked(path: &Path) -> Error {
    let places =
        [path.to_owned(), path.join(LOCK), path.join(BACKUP_LOCK), journal_directory(path)];
    let by = match places.iter().find_map(|place| LockHolder::of(place)) {
        Some(holder) if !failpoint!("store::hide_lock_holder") => holder.to_string(),
        _ => "this process or another".to_owned(),
    };
    let path = path.display();
    let message = format!(
        "{path} is locked by {by}: it is open as a store, backed up into, or being repaired there"
    );
    Error::new(ErrorKind::Locked, message)
}
