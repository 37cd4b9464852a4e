//! The files around sled's: what it creates and never syncs, leaves behind, or holds on to.

use crate::error::{Error, ErrorKind, Result};
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// The directory of an index's packs in that of the index.
pub(crate) const PACKS: &str = "packs";
/// How long to wait for sled's own threads to let go of a database that was closed.
const RELEASE_WAIT: Duration = Duration::from_secs(10);

/// Waits until nobody holds sled's lock on its data file.
///
/// sled's last handle is not always ours: a thread of its pool that has just written a buffer holds
/// one until it has done its bookkeeping, a moment after `flush` returned. The lock is an advisory
/// one of the operating system's on the file, so that waiting for it is a system call of its own
/// thread, which ends if the bound passes and the lock is free at last.
pub(crate) fn wait_for_release(file: &Path) -> Result<()> {
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
pub(crate) fn remove_unfinished_snapshots(path: &Path) -> Result<()> {
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
pub(crate) fn sync_files(path: &Path) -> Result<File> {
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

/// Copies the file or directory `from` to `to`, which does not exist yet. Nothing is copied if there
/// is nothing. Packs never change, so they need no copy where the filesystem has a second name for them.
pub(crate) fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let copy = || {
        if !from.try_exists()? {
            return Ok(());
        }
        if !from.is_dir() {
            let is_pack = from.parent().is_some_and(|directory| directory.ends_with(PACKS));
            if is_pack && fs::hard_link(from, to).is_ok() {
                return Ok(());
            }
            return fs::copy(from, to).map(drop);
        }
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            copy_all(&from, &to).map_err(std::io::Error::other)?;
        }
        Ok(())
    };
    copy().map_err(|e| Error::io("copy", from, e))
}
