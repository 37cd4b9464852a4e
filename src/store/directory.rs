//! A store's directory: who may use it, and whether it is a store at all.

use crate::clock::{Clock, Micros};
use crate::error::{Error, ErrorKind, Result};
use crate::fork::Owner;
use crate::index::{aside, files, views};
use crate::journal::disk::Disk;
use crate::journal::manifest::{self, Manifest};
use crate::journal::{names, recover};
use crate::log::core::journal_directory;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// What a store without a manifest may hold beside the index and the views: its creation, or the manifest
/// itself, was lost.
const OURS: [&str; 3] = ["lock", "journal", "MANIFEST.tmp"];
/// The directory that a new ext volume has at its top. It is the filesystem's, and is never touched.
const LOST_AND_FOUND: &str = "lost+found";

/// A store's directory, locked.
pub(crate) struct Directory {
    pub(crate) store: Uuid,
    pub(crate) lock: Lock,
}

/// Held while the store is open; the operating system lets go of it when the process dies.
pub(crate) struct Lock {
    file: File,
    owner: Owner,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.owner.is_this_process() {
            // A forked process shares the lock with its parent: it may close its copy, and not unlock.
            return;
        }
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
    let foreign = names.into_iter().find(|name| !is_ours(name) && !is_volumes(path, name));
    let foreign = match foreign {
        Some(foreign) => Some(foreign),
        None => foreign_below(path, disk)?,
    };
    foreign.map_or(Ok(()), |foreign| {
        let path = path.display();
        let message = format!("{path} is neither empty nor a store: it holds {foreign:?}");
        Err(Error::invalid(message))
    })
}

fn is_ours(name: &str) -> bool {
    OURS.contains(&name) || aside::is_ours(name) || views::is_ours(name)
}

/// Whether `name` in the directory `path` is the filesystem's own.
pub(crate) fn is_volumes(path: &Path, name: &str) -> bool {
    let is_directory = |path: PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    name == LOST_AND_FOUND && is_directory(path.join(name))
}

/// What there is in the directories of a store without a manifest that no store puts there: anybody may call
/// a directory `journal`, and what lies in it would be taken for what a crash has left.
fn foreign_below(path: &Path, disk: &dyn Disk) -> Result<Option<String>> {
    if let Some(name) = foreign_in_journal(path, disk)? {
        return Ok(Some(name));
    }
    for directory in [aside::INDEX, views::VIEWS] {
        if let Some(name) = files::foreign_in(&path.join(directory))? {
            return Ok(Some(format!("{directory}/{name}")));
        }
    }
    Ok(None)
}

/// What there is in the journal's directory that no journal puts there.
pub(crate) fn foreign_in_journal(path: &Path, disk: &dyn Disk) -> Result<Option<String>> {
    let name = names::foreign_in(disk, &journal_directory(path))?;
    Ok(name.map(|name| format!("journal/{name}")))
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
        Ok(()) => Ok(Lock { file, owner: Owner::this_process() }),
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
