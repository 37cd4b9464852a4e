//! Copies files and directories of a store that nobody changes meanwhile.

use crate::storage::files;
use crate::storage::regular;
use crate::value::error::Error;
use std::fs;
use std::io;
use std::path::Path;

/// Copies the file or directory `from` to `to`, which must not exist yet. Copies nothing if `from` does not exist.
/// A file for which `never_changes` returns true becomes a hard link where the filesystem allows one.
pub(crate) fn copy_all(
    from: &Path,
    to: &Path,
    never_changes: &dyn Fn(&Path) -> bool,
) -> io::Result<()> {
    if !from.try_exists()? {
        return Ok(());
    }
    if !from.is_dir() {
        if never_changes(from) && fs::hard_link(from, to).is_ok() {
            return Ok(());
        }
        regular::check_dense(from)?;
        fs::copy(from, to)?;
        return files::restrict(to);
    }
    files::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        copy_all(&from, &to, never_changes)
            .map_err(|e| io::Error::other(Error::io("copy", &from, e)))?;
    }
    Ok(())
}
