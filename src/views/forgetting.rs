//! The empty file `views.forgetting`: the views may hold something of somebody who was forgotten, and are to be wiped
//! when the store is opened the next time.

use crate::storage::disk::Disk;
use crate::storage::replace;
use crate::value::error::{Error, Result};
use std::io::ErrorKind;
use std::path::Path;

const NAME: &str = "views.forgetting";
/// The suffix of the file's name while it is being written.
const NEW: &str = ".new";

/// Whether `name` is the name of the note, or of one that is being written.
pub(super) fn is_note(name: &str) -> bool {
    name.strip_prefix(NAME).is_some_and(|rest| rest.is_empty() || rest == NEW)
}

/// Writes the note durably.
#[cfg(feature = "erasure")]
pub(crate) fn note(disk: &dyn Disk, store_dir: &Path) -> Result<()> {
    replace::replace(disk, &store_dir.join(NAME), NEW, &[])
}

/// Whether the note is there.
#[cfg(feature = "erasure")]
pub(crate) fn is_noted(disk: &dyn Disk, store_dir: &Path) -> Result<bool> {
    let path = store_dir.join(NAME);
    let kind = disk.kind(&path).map_err(|e| Error::io("look for", &path, e))?;
    Ok(kind.is_some())
}

/// Removes the note, if it is there: the views were wiped.
#[cfg(feature = "erasure")]
pub(super) fn remove(disk: &dyn Disk, store_dir: &Path) -> Result<()> {
    let path = store_dir.join(NAME);
    match disk.remove(&path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("remove", &path, e)),
    }
}
