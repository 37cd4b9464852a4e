//! A directory that is held open.
//!
//! * Its path is resolved once. A change of the working directory, or of a symbolic link on the way, makes no
//!   difference afterwards.
//! * Files are created, renamed and removed by their paths. Each of these steps is preceded by a look whether
//!   the path still leads to the directory that is held, so that nothing is ever done to another one that has
//!   taken its place.

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
    /// While it is open, its number is given to no other.
    directory: LockHandle,
}

impl Held {
    /// Holds the directory `path`.
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

    /// A path that leads to it wherever it is moved, as long as it is held, for code that takes paths and looks
    /// each of them up again: sled. Its own path where the system has none.
    pub(crate) fn steady_path(&self) -> PathBuf {
        let steady = PathBuf::from(format!("/proc/self/fd/{}", self.directory.file().as_raw_fd()));
        let is_steady = !failpoint!("storage::look_up_each_path");
        match is_steady && self.directory.is_at(&steady).unwrap_or(false) {
            true => steady,
            false => self.path.clone(),
        }
    }

    /// To lock it.
    pub(crate) fn directory(&self) -> &LockHandle {
        &self.directory
    }

    /// What may be done with what it holds, and by whom.
    pub(crate) fn mode(&self) -> Result<u32> {
        let metadata = self.directory.file().metadata();
        let metadata = metadata.map_err(|e| Error::io("look at", &self.path, e))?;
        Ok(metadata.mode() & MODE_ALL)
    }

    /// Makes sure that its path still leads to it.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.directory.is_at(&self.path)? {
            true => Ok(()),
            false if failpoint!("storage::overlook_moved_directory") => Ok(()),
            false => Err(io::Error::other(Moved::from_path(&self.path))),
        }
    }

    /// The same, for a caller that is about to `action` something in it.
    pub(crate) fn check_before(&self, action: &str) -> Result<()> {
        self.check().map_err(|e| Error::io(action, &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sled makes the directories on the way to its files. In a directory that was renamed while sled opened, it made
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
