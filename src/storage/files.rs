//! Creates files and limits their permissions.
//!
//! A file gets no permission that its directory does not have.

use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Permission to read, write and search, for everybody.
pub(crate) const MODE_ALL: u32 = 0o777;
/// The same for a file, which nobody searches.
const FILE_MODE: u32 = 0o666;

/// The absolute path, which stays valid when the working directory changes. It need not exist yet.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    match path.as_os_str().is_empty() {
        true => Err(Error::invalid("the path is empty")),
        false if failpoint!("storage::keep_relative_path") => Ok(path.to_owned()),
        false => std::path::absolute(path).map_err(|e| Error::io("find", path, e)),
    }
}

/// The absolute path with all symbolic links resolved.
pub(crate) fn resolve(path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

/// Creates the file `path`. Its permissions are those of its directory, limited to `mode`.
pub(crate) fn create_file(path: &Path, mode: u32) -> io::Result<File> {
    let above = if failpoint!("storage::overlook_mode") { MODE_ALL } else { mode_above(path)? };
    let mode = above & mode & FILE_MODE;
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
}

/// Creates the directory `path` with the permissions of its parent.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(mode_above(path)?).create(path)
}

/// Creates the directory `path` and its missing parents, with at most the permissions `mode`.
pub(crate) fn create_dir_all(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Removes the permissions of `path` that its directory does not have.
pub(crate) fn restrict(path: &Path) -> io::Result<()> {
    let (above, met) = (mode_above(path)?, fs::symlink_metadata(path)?);
    let allowed = if met.is_dir() { above } else { above & FILE_MODE };
    let mode = met.mode() & MODE_ALL;
    if met.is_symlink() || mode & !allowed == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode & allowed))
}

/// What may be done with the directory that `path` is in, and by whom.
pub(crate) fn mode_above(path: &Path) -> io::Result<u32> {
    mode(path.parent().ok_or(io::ErrorKind::InvalidInput)?)
}

/// What may be done with the file or directory `path`, and by whom.
pub(crate) fn mode(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.mode() & MODE_ALL)
}
