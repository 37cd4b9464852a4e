//! A directory that is held open.
//!
//! * Its path is resolved once. Later changes of the working directory, or of a symbolic link in the path, have no
//!   effect.
//! * Files are created, renamed and removed by their paths. Before each of these steps, the engine checks that the
//!   path still leads to the held directory, so that it changes no other directory that has taken its place.

use crate::storage::files::MODE_ALL;
use crate::storage::lock::LockHandle;
use crate::value::error::{Error, Moved, Result};
use crate::value::failpoint::failpoint;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A directory that is held open.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    /// While it is open, its inode number is not reused.
    directory: LockHandle,
}

impl Held {
    /// Opens and holds the directory `path`.
    pub(crate) fn open(path: &Path) -> Result<Held> {
        let open = || {
            let path = match failpoint!("storage::keep_relative_path") {
                true => path.to_owned(),
                false => fs::canonicalize(path)?,
            };
            // Opening a pipe would wait for its other end.
            if !fs::metadata(&path)?.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            let directory = LockHandle::open_directory(&path)?;
            Ok(Held { path, directory })
        };
        open().map_err(|e| Error::io("open", path, e))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A path that leads to the held directory wherever it is moved. It is for sled, which looks up its paths again
    /// each time. Where the system has no such path, this is the directory's own path.
    pub(crate) fn steady_path(&self) -> PathBuf {
        let steady = PathBuf::from(format!("/proc/self/fd/{}", self.directory.file().as_raw_fd()));
        let is_steady = !failpoint!("storage::look_up_each_path");
        match is_steady && self.directory.is_at(&steady).unwrap_or(false) {
            true => steady,
            false => self.path.clone(),
        }
    }

    /// The handle that locks the directory.
    pub(crate) fn directory(&self) -> &LockHandle {
        &self.directory
    }

    /// The permissions of the directory.
    pub(crate) fn mode(&self) -> Result<u32> {
        let metadata = self.directory.file().metadata();
        let metadata = metadata.map_err(|e| Error::io("look at", &self.path, e))?;
        Ok(metadata.mode() & MODE_ALL)
    }

    /// Checks that its path still leads to it.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.directory.is_at(&self.path)? {
            true => Ok(()),
            false if failpoint!("storage::overlook_moved_directory") => Ok(()),
            false => Err(io::Error::other(Moved::from_path(&self.path))),
        }
    }

    /// The same; an error names the `action` that the caller was about to take.
    pub(crate) fn check_before(&self, action: &str) -> Result<()> {
        self.check().map_err(|e| Error::io(action, &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sled creates the missing parents of its files. When a directory was renamed while sled opened it, sled created
    /// the old one again.
    #[test]
    fn what_is_made_by_a_steady_path_is_made_where_the_directory_is_now() {
        let directory = tempfile::tempdir().unwrap();
        let (before, after) = (directory.path().join("before"), directory.path().join("after"));
        fs::create_dir(&before).unwrap();
        let held = Held::open(&before).unwrap();
        fs::rename(&before, &after).unwrap();
        fs::create_dir_all(held.steady_path().join("made")).unwrap();
        assert!(after.join("made").is_dir());
        assert!(!before.exists(), "it was made again");
    }
}
