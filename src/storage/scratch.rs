//! Directories in the system's temporary directory that go with the process. They are locked, so that what a kill
//! leaves can be told from what is in use.

use crate::storage::lock::LockHandle;
use crate::value::limits::LOCK_ATTEMPTS;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A directory that is removed when this is dropped.
pub(crate) struct ScratchDirectory {
    // Removed before the lock goes.
    directory: TempDir,
    _lock: LockHandle,
}

impl ScratchDirectory {
    /// Where such directories are made.
    pub(crate) fn above() -> PathBuf {
        env::temp_dir()
    }

    /// Creates one whose name begins with `prefix`, with the permissions `mode`.
    pub(crate) fn create(prefix: &str, mode: u32) -> io::Result<ScratchDirectory> {
        for _ in 0..LOCK_ATTEMPTS {
            let mut builder = tempfile::Builder::new();
            let permissions = Permissions::from_mode(mode);
            let directory = builder.prefix(prefix).permissions(permissions).tempdir()?;
            if let Some(lock) = lock(directory.path()) {
                return Ok(ScratchDirectory { directory, _lock: lock });
            }
        }
        Err(io::Error::other("each new directory was removed or locked by somebody else"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Removes the directories of this user that a kill has left, of those that `is_ours` accepts by name and path.
    pub(crate) fn remove_abandoned(&self, is_ours: impl Fn(&OsStr, &Path) -> bool) {
        let owner = |path: &Path| {
            let found = path.symlink_metadata().ok().filter(Metadata::is_dir);
            found.map(|found| found.uid())
        };
        let ours = owner(self.path());
        let Ok(entries) = fs::read_dir(ScratchDirectory::above()) else { return };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path == self.path() || !is_ours(&name, &path) || owner(&path) != ours {
                continue;
            }
            let Some(_lock) = lock(&path) else { continue };
            match fs::remove_dir_all(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed an abandoned directory"),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "an abandoned directory could not be removed");
                }
            }
        }
    }
}

/// The directory `path`, locked, if nobody else has it locked or removed.
pub(crate) fn lock(path: &Path) -> Option<LockHandle> {
    let directory = LockHandle::open_directory(path).ok()?;
    let is_locked = directory.try_lock().ok()?;
    (is_locked && directory.is_at(path).ok()?).then_some(directory)
}
