//! Files that sled creates and never syncs, does not remove, or keeps open.

use crate::storage::copy;
use crate::storage::disk::{Disk, DiskFile, Kind, holds_only};
use crate::storage::files;
use crate::storage::lock::LockHandle;
use crate::storage::regular;
use crate::value::error::{Error, ErrorKind, Result, Unfit};
use crate::value::failpoint::failpoint;
use crate::value::limits::{SCAN_CHUNK_BYTES, SLED_RELEASE_WAIT, SLED_RELEASE_WAITS_MAX};
use std::path::Path;
use std::sync::Arc;

/// The directory of the sorted tables, in the directory of an index.
pub(crate) const PACKS: &str = "packs";
/// The directory in which sled keeps values that are too long for its log. Ours never are.
const BLOBS: &str = "blobs";

/// Waits until nobody holds sled's lock on its data file.
///
/// The last handle is not always ours: a thread of sled's pool that has just written a buffer holds
/// one until it has done its bookkeeping, a moment after `flush` returned. sled's lock is an
/// advisory lock of the operating system on the file. A thread of its own waits for it in a system
/// call; if this function gives up first, that thread ends once the lock is free.
pub(crate) fn wait_for_release(file: &Path) -> Result<()> {
    // If the file is missing or cannot be opened, sled will report that.
    let Ok(handle) = LockHandle::open_to_write(file) else { return Ok(()) };
    if handle.try_lock().map_err(|e| Error::io("lock", file, e))? {
        return Ok(());
    }
    let (locked, wait) = crossbeam_channel::bounded(1);
    let waiter = std::thread::Builder::new().name("filmstrip-index-release".to_owned());
    let spawned = waiter.spawn(move || {
        // The receiver may have given up.
        let _ = locked.send(handle.lock());
    });
    spawned.map_err(|e| Error::io("wait for", file, e))?;
    for _ in 0..SLED_RELEASE_WAITS_MAX {
        match wait.recv_timeout(SLED_RELEASE_WAIT) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(e)) => return Err(Error::io("lock", file, e)),
            Err(_) => {}
        }
    }
    let seconds = (SLED_RELEASE_WAIT * SLED_RELEASE_WAITS_MAX).as_secs();
    let message = format!(
        "{} is still in use after {seconds} s, perhaps by a process that was forked from the one that used it",
        file.display()
    );
    Err(Error::new(ErrorKind::Locked, message))
}

/// Removes unfinished snapshots. A kill while sled opens leaves a half-written snapshot of its page
/// table, which makes its next open fail. The name of such a file says that it was never finished. Returns the name
/// of a file that sled would take for a snapshot and remove, although it is not one.
pub(crate) fn remove_unfinished_snapshots(disk: &dyn Disk, path: &Path) -> Result<Option<String>> {
    let mut foreign = None;
    for name in disk.list(path).unwrap_or_default() {
        if name.starts_with("snap.") && !is_sleds(&name) {
            foreign = Some(name);
        } else if is_unfinished_snapshot(&name) {
            let file = path.join(name);
            disk.remove(&file).map_err(|e| Error::io("remove", &file, e))?;
        }
    }
    Ok(foreign)
}

fn is_unfinished_snapshot(name: &str) -> bool {
    name.ends_with(".generating") && is_sleds(name)
}

/// Whether sled gives this name to a file in its directory.
fn is_sleds(name: &str) -> bool {
    let is_lsn = |name: &str| name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let snapshot = name.strip_prefix("snap.");
    let snapshot = snapshot.map(|name| name.strip_suffix(".generating").unwrap_or(name));
    name == "conf" || name == "db" || snapshot.is_some_and(is_lsn)
}

/// What is wrong with a file in the directory `path` that sled would open and cannot have written. sled would wait
/// forever for a FIFO, and read a file of holes to its end.
pub(crate) fn unfit_in(disk: &dyn Disk, path: &Path) -> Option<String> {
    let mut names = disk.list(path).ok()?.into_iter().filter(|name| is_sleds(name));
    names.find_map(|name| {
        let error = regular::check_dense(&path.join(&name)).err()?;
        let reason = Unfit::within(&error)?;
        Some(format!("{name} cannot be opened: {reason}"))
    })
}

/// Whether sled's files in the directory `path` can be read to their ends.
pub(crate) fn can_be_read(disk: &dyn Disk, path: &Path) -> bool {
    let mut chunk = vec![0; SCAN_CHUNK_BYTES];
    let mut read = |name: &String| -> std::io::Result<()> {
        let (file, mut at) = (disk.open(&path.join(name))?, 0);
        loop {
            match file.read_at(&mut chunk, at)? {
                0 => return Ok(()),
                read => at += read as u64,
            }
        }
    };
    let names = disk.list(path).unwrap_or_default();
    names.iter().any(|name| name == "db")
        && names.iter().filter(|name| is_sleds(name)).all(|name| read(name).is_ok())
}

/// The name of a file that does not belong in the directory of an index or of views, if there is one.
pub(crate) fn foreign_in(disk: &dyn Disk, directory: &Path) -> Result<Option<String>> {
    let names = disk.list(directory).map_err(|e| Error::io("list", directory, e))?;
    let is_ours = |name: &String| name == PACKS || name == BLOBS || is_sleds(name);
    Ok(names.into_iter().find(|name| !is_ours(name)))
}

/// Whether the directory of an index or of views holds, at any depth, only what they put there.
pub(crate) fn holds_a_database(disk: &dyn Disk, directory: &Path) -> bool {
    holds_only(disk, directory, |name, kind| match kind {
        Kind::Directory if name == PACKS || name == BLOBS => {
            let is_ours = |name: &str, kind| kind != Kind::Directory && is_number(name);
            holds_only(disk, &directory.join(name), is_ours)
        }
        Kind::Directory => false,
        _ => is_sleds(name),
    })
}

/// Removes the directory of an index or of views. If it holds files that do not belong there, these and the directory
/// stay, and the result is an error.
pub(crate) fn remove_database(disk: &dyn Disk, directory: &Path) -> std::io::Result<()> {
    match disk.kind(directory)? {
        None => return Err(std::io::ErrorKind::NotFound.into()),
        Some(Kind::Directory) => {}
        Some(_) => return disk.remove(directory),
    }
    empty_database(disk, directory)?;
    disk.remove_dir(directory)
}

/// Removes the files of an index or of views from `directory`, which may be a link to one.
pub(crate) fn empty_database(disk: &dyn Disk, directory: &Path) -> std::io::Result<()> {
    let all_is_ours = failpoint!("kv::remove_what_is_not_ours");
    for name in disk.list(directory)? {
        let path = directory.join(&name);
        match disk.kind(&path)? {
            Some(Kind::Directory) if name == PACKS || name == BLOBS => {
                remove_numbered(disk, &path)?;
            }
            Some(Kind::Directory) | None => {}
            Some(_) if is_sleds(&name) || all_is_ours => disk.remove(&path)?,
            Some(_) => {}
        }
    }
    Ok(())
}

/// Removes a directory of files with numbers for names. If it holds something else, that and the directory stay.
fn remove_numbered(disk: &dyn Disk, directory: &Path) -> std::io::Result<()> {
    for name in disk.list(directory)? {
        let path = directory.join(&name);
        if is_number(&name) && disk.kind(&path)? != Some(Kind::Directory) {
            disk.remove(&path)?;
        }
    }
    disk.remove_dir(directory)
}

fn is_number(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit())
}

/// Syncs what sled creates and never syncs. Returns our own handle on its data file.
pub(crate) fn sync_files(disk: &dyn Disk, path: &Path) -> Result<Arc<dyn DiskFile>> {
    let (conf, db, blobs) = (path.join("conf"), path.join("db"), path.join(BLOBS));
    let synced = disk.open_foreign(&conf).and_then(|file| file.sync_all());
    synced.map_err(|e| Error::io("sync", &conf, e))?;
    let file = disk.open_foreign(&db).map_err(|e| Error::io("open", &db, e))?;
    restrict_files(disk, path).map_err(|e| Error::io("restrict access to", path, e))?;
    file.sync_all().map_err(|e| Error::io("sync", &db, e))?;
    for directory in [&*blobs, path] {
        disk.sync_dir(directory).map_err(|e| Error::io("sync", directory, e))?;
    }
    Ok(file)
}

/// Removes the permissions of sled's files that the directory does not have.
fn restrict_files(disk: &dyn Disk, path: &Path) -> std::io::Result<()> {
    for name in disk.list(path)? {
        if name == BLOBS || is_sleds(&name) {
            files::restrict(&path.join(name))?;
        }
    }
    Ok(())
}

/// Copies the file or directory `from` to `to`, which must not exist yet. Copies nothing if `from` does not
/// exist. Sorted tables never change, so they become hard links where the filesystem allows it.
pub(crate) fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let is_table = |file: &Path| file.parent().is_some_and(|directory| directory.ends_with(PACKS));
    copy::copy_all(from, to, &is_table).map_err(|e| Error::io("copy", from, e))
}
