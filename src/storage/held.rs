//! A directory that is held open, and files made in it.
//!
//! * Its path is resolved once. A change of the working directory, or of a symbolic link on the way, makes no
//!   difference afterwards.
//! * Files are created, renamed and removed by their paths. Each of these steps is preceded by a look whether
//!   the path still leads to the directory that is held, so that nothing is ever done to another one that has
//!   taken its place.
//! * A file gets no permission that its directory does not have.

use crate::storage::lock::LockHandle;
use crate::value::error::{Error, Moved, Result};
use crate::value::failpoint::failpoint;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Reading, writing and searching, for everybody.
pub(crate) const MODE_ALL: u32 = 0o777;
/// The same of a file: it is searched by nobody.
const FILE_MODE: u32 = 0o666;

/// The device of a file, and its number there. A number may be given out again once its file is gone and
/// nobody holds it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    pub(crate) fn of(metadata: &Metadata) -> FileIdentity {
        FileIdentity { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Whether `path` leads to `file`.
pub(crate) fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(met) => Ok(FileIdentity::of(&met) == FileIdentity::of(&file.metadata()?)),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The path from the root on, whatever the working directory will be. It may lead nowhere yet.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    match path.as_os_str().is_empty() {
        true => Err(Error::invalid("the path is empty")),
        false if failpoint!("storage::keep_relative_path") => Ok(path.to_owned()),
        false => std::path::absolute(path).map_err(|e| Error::io("find", path, e)),
    }
}

/// The path itself, without symbolic links on the way.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

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
            // A pipe would keep whoever opens it waiting.
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

    /// The same, for whoever is about to `action` something in it.
    pub(crate) fn check_before(&self, action: &str) -> Result<()> {
        self.check().map_err(|e| Error::io(action, &self.path, e))
    }
}

/// Creates the file `path`, with those permissions of its directory that are in `mode`.
pub(crate) fn create_file(path: &Path, mode: u32) -> io::Result<File> {
    let above = if failpoint!("storage::overlook_mode") { MODE_ALL } else { mode_above(path)? };
    let mode = above & mode & FILE_MODE;
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
}

/// Creates the directory `path`, with the permissions of the one that it is in.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(mode_above(path)?).create(path)
}

/// Creates the directory `path` and those above it that are missing, with the permissions `mode` at most.
pub(crate) fn create_dir_all(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Takes those permissions of `path` away that the directory which it is in does not have.
pub(crate) fn restrict(path: &Path) -> io::Result<()> {
    let (above, met) = (mode_above(path)?, fs::symlink_metadata(path)?);
    let allowed = if met.is_dir() { above } else { above & FILE_MODE };
    let mode = met.mode() & MODE_ALL;
    if met.is_symlink() || mode & !allowed == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode & allowed))
}

fn mode_above(path: &Path) -> io::Result<u32> {
    let above = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(fs::metadata(above)?.mode() & MODE_ALL)
}
