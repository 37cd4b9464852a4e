//! Reads and replaces small files as a whole.

use crate::storage::disk::Disk;
use crate::storage::files::MODE_ALL;
use crate::storage::regular;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use std::io;
use std::path::{Path, PathBuf};

/// The suffix of a journal file's name while the file is being written.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Replaces the content of the file `path` by `bytes`. After a crash, the file is the old one or the new one. The
/// new file is written under its name with `suffix` appended, and then renamed.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, suffix: &str, bytes: &[u8]) -> Result<()> {
    replace_if(disk, path, suffix, bytes, &|| Ok(()))
}

/// The same, but calls `check` before it writes and before it renames, and stops if it fails.
pub(crate) fn replace_if(
    disk: &dyn Disk,
    path: &Path,
    suffix: &str,
    bytes: &[u8],
    check: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let temporary = with_suffix(path, suffix);
    check()?;
    // A file that a crash has left is removed and not opened: it may be a FIFO.
    remove_if_there(disk, &temporary)?;
    let write = || {
        let file = disk.create_new(&temporary, MODE_ALL)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()
    };
    write().map_err(|e| Error::io("write", path, e))?;
    check()?;
    rename(disk, &temporary, path).map_err(|e| Error::io("write", path, e))
}

/// Durably renames a file within its directory, and replaces the file of that name. The content must be durable.
pub(crate) fn rename(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let directory = to.parent().expect("a file of the store is in a directory");
    disk.rename(from, to)?;
    match failpoint!("storage::leave_name_unsynced") {
        true => Ok(()),
        false => disk.sync_dir(directory),
    }
}

/// Reads a whole file of at most `max` bytes; `None` if it does not exist.
///
/// # Errors
/// `Corrupt` if it is longer.
pub(crate) fn read_whole(disk: &dyn Disk, path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    match read(disk, path, max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

/// Reads a whole regular file of at most `max` bytes.
pub(crate) fn read(disk: &dyn Disk, path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let length = file.length()?;
    if length > max {
        return Err(regular::too_long(length, max));
    }
    let mut bytes = vec![0; length as usize];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Removes the file `path`, if there is one.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
