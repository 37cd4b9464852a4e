//! The files around sled's: what it creates and never syncs, leaves behind, or holds on to.

use crate::storage::held::{self, MODE_ALL};
use crate::storage::regular;
use crate::value::error::{Error, ErrorKind, Result, Unfit};
use crate::value::failpoint::failpoint;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

/// The directory of an index's tables in that of the index.
pub(crate) const PACKS: &str = "packs";
/// The directory in which sled keeps values that are too long for its log. Ours never are.
const BLOBS: &str = "blobs";
/// How long to wait for sled's own threads to let go of a database that was closed.
const RELEASE_WAIT: Duration = Duration::from_millis(100);
/// How many such waits in a row are in vain at most: 10 s, not counting the time in which the process as a whole
/// does not run.
const RELEASE_WAITS_MAX: u32 = 100;

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
    for _ in 0..RELEASE_WAITS_MAX {
        match wait.recv_timeout(RELEASE_WAIT) {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(e)) => return Err(Error::io("lock", file, e)),
            Err(_) => {}
        }
    }
    let seconds = (RELEASE_WAIT * RELEASE_WAITS_MAX).as_secs();
    let message = format!(
        "{} is still in use after {seconds} s, perhaps by a process that was forked from the one that used it",
        file.display()
    );
    Err(Error::new(ErrorKind::Locked, message))
}

/// A kill while sled opens leaves a half-written snapshot of its page table, which makes its next
/// open fail. The name says that it was never finished, so it can go. Returns the name of a file that sled
/// would take for a snapshot and remove, although it is none.
pub(crate) fn remove_unfinished_snapshots(path: &Path) -> Result<Option<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(_) => return Ok(None),
    };
    let mut foreign = None;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") && !is_sleds(&name) {
            foreign = Some(name);
        } else if is_unfinished_snapshot(&name) {
            let file = entry.path();
            fs::remove_file(&file).map_err(|e| Error::io("remove", &file, e))?;
        }
    }
    Ok(foreign)
}

fn is_unfinished_snapshot(name: &str) -> bool {
    name.ends_with(".generating") && is_sleds(name)
}

/// Whether `name` is one that sled gives to a file in its directory.
fn is_sleds(name: &str) -> bool {
    let is_lsn = |name: &str| name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit());
    let snapshot = name.strip_prefix("snap.");
    let snapshot = snapshot.map(|name| name.strip_suffix(".generating").unwrap_or(name));
    name == "conf" || name == "db" || snapshot.is_some_and(is_lsn)
}

/// What is wrong with a file that sled would open in the directory `path`, if it is none that sled could have
/// written: it would wait for ever for a FIFO, and read a file of holes to its end.
pub(crate) fn unfit_in(path: &Path) -> Option<String> {
    let names = fs::read_dir(path).ok()?.flatten().map(|entry| entry.file_name());
    let mut names = names.filter(|name| name.to_str().is_some_and(is_sleds));
    names.find_map(|name| {
        let error = regular::check_dense(&path.join(&name)).err()?;
        let reason = Unfit::within(&error)?;
        Some(format!("{} cannot be opened: {reason}", name.display()))
    })
}

/// A name in the directory of an index or of views that is none of theirs, if there is one.
pub(crate) fn foreign_in(directory: &Path) -> Result<Option<String>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(|e| Error::io("list", directory, e))?,
    };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_ours = |name: &String| name == PACKS || name == BLOBS || is_sleds(name);
    Ok(names.into_iter().find(|name| !is_ours(name)))
}

/// Removes the directory of an index or of views, but nothing in it that is none of theirs: then it stays.
pub(crate) fn remove_database(directory: &Path) -> std::io::Result<()> {
    if !directory.symlink_metadata()?.is_dir() {
        return fs::remove_file(directory);
    }
    if failpoint!("kv::remove_what_is_not_ours") {
        return fs::remove_dir_all(directory);
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let is_directory = entry.file_type()?.is_dir();
        if is_directory && (name == PACKS || name == BLOBS) {
            remove_numbered(&path)?;
        } else if !is_directory && is_sleds(&name) {
            fs::remove_file(path)?;
        }
    }
    fs::remove_dir(directory)
}

/// Removes a directory of files that are named by numbers, unless something else is in it.
fn remove_numbered(directory: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().iter().all(u8::is_ascii_digit) && !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

/// Syncs what sled creates and never syncs, and returns an own handle on its data file.
pub(crate) fn sync_files(path: &Path) -> Result<File> {
    sync(&path.join("conf"))?;
    let db = path.join("db");
    let file = File::open(&db).map_err(|e| Error::io("open", &db, e))?;
    restrict_files(path).map_err(|e| Error::io("restrict access to", path, e))?;
    file.sync_all().map_err(|e| Error::io("sync", &db, e))?;
    sync(&path.join(BLOBS))?;
    sync(path)?;
    Ok(file)
}

/// Gives what sled has made no permission that the directory does not have.
fn restrict_files(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == BLOBS || is_sleds(&name) {
            held::restrict(&entry.path())?;
        }
    }
    Ok(())
}

/// Creates a file in the place of the one that a crash may have left. What is there is not opened: it may be a FIFO.
pub(crate) fn create_over(path: &Path) -> std::io::Result<File> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => held::create_file(path, MODE_ALL),
    }
}

/// Syncs a file or a directory.
pub(crate) fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| Error::io("sync", path, e))
}

/// Copies the file or directory `from` to `to`, which does not exist yet. Nothing is copied if there
/// is nothing. Tables never change, so they need no copy where the filesystem has a second name for them.
pub(crate) fn copy_all(from: &Path, to: &Path) -> Result<()> {
    let copy = || {
        if !from.try_exists()? {
            return Ok(());
        }
        if !from.is_dir() {
            let is_table = from.parent().is_some_and(|directory| directory.ends_with(PACKS));
            if is_table && fs::hard_link(from, to).is_ok() {
                return Ok(());
            }
            regular::check_dense(from)?;
            fs::copy(from, to)?;
            return held::restrict(to);
        }
        held::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            copy_all(&from, &to).map_err(std::io::Error::other)?;
        }
        Ok(())
    };
    copy().map_err(|e| Error::io("copy", from, e))
}
