//! Advisory locks of the operating system, on open files and directories.

use crate::storage::files;
use crate::storage::regular;
use crate::storage::stat::leads_to;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// An open file or directory that can be locked. The operating system unlocks it when the process dies.
#[derive(Debug)]
pub(crate) struct LockHandle(File);

impl LockHandle {
    /// Creates the file `path`. Its permissions are those of its directory, limited to `mode`.
    pub(crate) fn create(path: &Path, mode: u32) -> io::Result<LockHandle> {
        files::create_file(path, mode).map(LockHandle)
    }

    /// Opens the regular file `path`.
    pub(crate) fn open(path: &Path) -> io::Result<LockHandle> {
        regular::open(path).map(LockHandle)
    }

    /// The same, for writing: some filesystems lock only files that are open for writing.
    pub(crate) fn open_to_write(path: &Path) -> io::Result<LockHandle> {
        regular::check(path)?;
        OpenOptions::new().read(true).write(true).open(path).map(LockHandle)
    }

    /// Opens the directory `path`.
    pub(crate) fn open_directory(path: &Path) -> io::Result<LockHandle> {
        File::open(path).map(LockHandle)
    }

    /// Tries to lock it. Returns false if another handle has it locked.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits until no other handle has it locked, and locks it.
    pub(crate) fn lock(&self) -> io::Result<()> {
        self.0.lock()
    }

    pub(crate) fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }

    /// Whether `path` leads to it.
    pub(crate) fn is_at(&self, path: &Path) -> io::Result<bool> {
        leads_to(path, &self.0)
    }

    pub(super) fn file(&self) -> &File {
        &self.0
    }
}
