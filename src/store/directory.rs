//! A store's directory: who may use it, and whether it is a store at all.

use crate::clock::{Clock, Micros};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::disk::Disk;
use crate::journal::manifest::{self, Manifest};
use crate::journal::recover;
use crate::log::core::journal_directory;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// What a store without a manifest may hold: its creation, or the manifest itself, was lost.
const OURS: [&str; 5] = ["lock", "journal", "index", "views", "MANIFEST.tmp"];
/// What stands in front of the index's other names: its checkpoint, what was moved aside.
const OF_THE_INDEX: &str = "index.";

/// A store's directory, locked.
pub(crate) struct Directory {
    pub(crate) store: Uuid,
    pub(crate) lock: Lock,
}

/// Held while the store is open; the operating system lets go of it when the process dies.
pub(crate) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A process that another thread is just starting holds a copy of the file for a moment, so that
        // closing ours would not let go of it.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "the store's lock could not be released before its file");
        }
    }
}

impl Directory {
    /// Locks the directory `path` and makes it a store if it is not one yet.
    pub(crate) fn open(path: &Path, disk: &Arc<dyn Disk>, clock: &dyn Clock) -> Result<Directory> {
        refuse_foreign(path, &**disk)?;
        disk.create_dir_all(path).map_err(|e| Error::io("create", path, e))?;
        let lock = lock(path)?;
        // Only under the lock is what is read here the last word.
        let manifest = match manifest::read(&**disk, path)? {
            Some(manifest) => manifest,
            None => create(path, disk, clock)?,
        };
        Ok(Directory { store: manifest.store, lock })
    }
}

/// A directory with other files in it is not taken for a store to be created.
fn refuse_foreign(path: &Path, disk: &dyn Disk) -> Result<()> {
    if path.exists() && !path.is_dir() {
        let message = format!("{} is not a directory", path.display());
        return Err(Error::invalid(message));
    }
    let names = disk.list(path).map_err(|e| Error::io("list", path, e))?;
    if names.iter().any(|name| name == "MANIFEST") {
        return Ok(());
    }
    match names.iter().find(|name| !is_ours(name)) {
        None => Ok(()),
        Some(foreign) => {
            let path = path.display();
            let message = format!("{path} is neither empty nor a store: it holds {foreign:?}");
            Err(Error::invalid(message))
        }
    }
}

fn is_ours(name: &str) -> bool {
    OURS.contains(&name) || name.starts_with(OF_THE_INDEX)
}

/// What is said of a store that is locked.
const IS_OPEN: &str = "the store is open already, in this process or another";

/// Locks the store in `path`.
pub(crate) fn lock(path: &Path) -> Result<Lock> {
    lock_file(&path.join("lock"), IS_OPEN)
}

/// Locks the store in `path` without writing anything; `None` if it was never opened, and so has no
/// lock.
pub(crate) fn lock_if_there(path: &Path) -> Result<Option<Lock>> {
    let path = path.join("lock");
    match File::open(&path) {
        Ok(file) => take(&path, file, IS_OPEN).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("open", &path, error)),
    }
}

/// Locks the file `path`, creating it if it is not there; `held` says what it means that somebody
/// has.
pub(crate) fn lock_file(path: &Path, held: &str) -> Result<Lock> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    take(path, file.map_err(|e| Error::io("open", path, e))?, held)
}

fn take(path: &Path, file: File, held: &str) -> Result<Lock> {
    match file.try_lock() {
        Ok(()) => Ok(Lock { file }),
        Err(TryLockError::WouldBlock) => {
            let directory = path.parent().unwrap_or(path).display();
            Err(Error::new(ErrorKind::Locked, format!("{directory} is locked: {held}")))
        }
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path, error)),
    }
}

/// Makes a store of the directory, or of what an interrupted creation left of it.
fn create(path: &Path, disk: &Arc<dyn Disk>, clock: &dyn Clock) -> Result<Manifest> {
    let journal = journal_directory(path);
    if !recover::is_empty(&**disk, &journal)? {
        let what = "it is missing, but the journal holds events";
        return Err(Error::corrupt(&manifest::path(path), 0, None, what));
    }
    // Times of day do not make an id unique where clocks stand still.
    let manifest = Manifest { store: Uuid::now_v7(), created: Micros::of(clock.now()) };
    recover::create(disk, &journal, manifest.store)?;
    sync_with_parents(path, &**disk)?;
    manifest::write(&**disk, path, &manifest)?;
    Ok(manifest)
}

/// Whether `path`, or where it will be, lies in the directory `outer`.
pub(crate) fn lies_in(path: &Path, outer: &Path) -> bool {
    let existing = path.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::canonicalize(path).ok()
    });
    match (existing, fs::canonicalize(outer)) {
        (Some(path), Ok(outer)) => path.starts_with(outer),
        _ => false,
    }
}

/// Makes the directory itself durable: its entries, its own entry in the one above, and so on up to
/// the root. Which of them were made for this store, a crash in between makes everybody forget.
pub(crate) fn sync_with_parents(path: &Path, disk: &dyn Disk) -> Result<()> {
    let path = fs::canonicalize(path).map_err(|e| Error::io("find", path, e))?;
    for (above, directory) in path.ancestors().enumerate() {
        match disk.sync_dir(directory) {
            // Nobody can have made a directory where nothing may be made or synced.
            Err(error) if above > 1 && cannot_be_synced(&error) => {}
            synced => synced.map_err(|e| Error::io("sync", directory, e))?,
        }
    }
    Ok(())
}

fn cannot_be_synced(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::journal::disk::RealDisk;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A process that is just being started holds a copy of every open file until it has become another
    /// program. A lock that only went with the last copy of its file was still held when a store had been
    /// closed while another thread started a process, and opening it again failed as `Locked`.
    #[test]
    fn a_closed_store_is_free_although_a_process_was_started_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        Command::new("true").status().unwrap();
                    }
                });
            }
            let opened: Vec<_> = (0..2_000)
                .map(|_| Directory::open(directory.path(), &disk, &SystemClock).map(drop))
                .collect();
            done.store(true, Ordering::Relaxed);
            let refused = opened.iter().filter(|opened| opened.is_err()).count();
            assert_eq!(refused, 0, "{:?}", opened.iter().find(|opened| opened.is_err()));
        });
    }
}
