//! Opens files that somebody else may have replaced.
//!
//! * Opening a FIFO waits until another process opens its other end, and reading a device may never end. The engine
//!   opens only regular files and symbolic links to them.
//! * A sparse file of any length takes no room on disk. The engine never reads a whole file into memory without a
//!   bound that is independent of the file.

use crate::value::error::Unfit;
use crate::value::failpoint::failpoint;
use crate::value::limits::{HOLES_BYTES_MAX, HOLES_TIMES_MAX};
use std::fs::{self, File, FileType};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The unit of `st_blocks`, on every filesystem.
const BLOCK_BYTES: u64 = 512;

/// Refuses what is not a regular file.
///
/// # Errors
/// [`Unfit`] if it is something else; `NotFound` if nothing is there.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    let found = match fs::metadata(path) {
        Err(error) if is_loop(&error) && !failpoint!("storage::take_a_loop_for_the_systems") => {
            return Err(unfit("it is a symbolic link that leads to itself".to_owned()));
        }
        found => found?.file_type(),
    };
    match found.is_file() || failpoint!("storage::open_whatever_is_there") {
        true => Ok(()),
        false => Err(unfit(format!("it is {}, not a regular file", kind(found)))),
    }
}

/// Refuses what is not a regular file, and a file that is mostly holes: reading all of it would not end.
pub(crate) fn check_dense(path: &Path) -> io::Result<()> {
    check(path)?;
    let metadata = fs::metadata(path)?;
    let (length, occupied) = (metadata.len(), metadata.blocks().saturating_mul(BLOCK_BYTES));
    match length > HOLES_BYTES_MAX.saturating_add(occupied.saturating_mul(HOLES_TIMES_MAX)) {
        false => Ok(()),
        true => {
            Err(unfit(format!("it is {length} bytes long and occupies only {occupied} on disk")))
        }
    }
}

/// Opens a regular file to read it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    check(path)?;
    File::open(path)
}

/// The error for a file of `length` bytes where at most `max` are allowed.
pub(crate) fn too_long(length: u64, max: u64) -> io::Error {
    unfit(format!("it is {length} bytes long; at most {max} are allowed"))
}

/// Whether the error is `ELOOP`: a symbolic link leads to itself. std has no stable name for this error.
pub(crate) fn is_loop(error: &io::Error) -> bool {
    const ELOOP: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };
    error.raw_os_error() == Some(ELOOP)
}

fn unfit(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Unfit(what))
}

fn kind(found: FileType) -> &'static str {
    if found.is_dir() {
        "a directory"
    } else if found.is_fifo() {
        "a FIFO"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}
