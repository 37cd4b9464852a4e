//! Directories in the system's temporary directory that do not outlive the process. They are locked, so that one
//! that a kill has left can be told from one in use.

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
    // Dropped before the lock: the directory is removed while it is locked.
    directory: TempDir,
    _lock: LockHandle,
}

impl ScratchDirectory {
    /// Where such directories are created.
    pub(crate) fn above() -> PathBuf {
        env::temp_dir()
    }

    /// Creates a directory whose name begins with `prefix`, with the permissions `mode`.
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

    /// Removes this user's directories that a kill has left, if `is_ours` accepts their name and path.
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

/// Opens and locks the directory `path`; `None` if another handle has it locked, or it was removed.
pub(crate) fn lock(path: &Path) -> Option<LockHandle> {
    let directory = LockHandle::open_directory(path).ok()?;
    let is_locked = directory.try_lock().ok()?;
    (is_locked && directory.is_at(path).ok()?).then_some(directory)
}
