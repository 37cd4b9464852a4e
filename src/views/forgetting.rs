//! The empty file `views.forgetting`: the views may hold something of somebody who was forgotten, and are to be wiped
//! when the store is opened the next time.

use crate::storage::disk::Disk;
use crate::storage::replace;
use crate::value::error::{Error, Result};
use crate::views::note::{FORGETTING, NEW};
use std::io::ErrorKind;
use std::path::Path;

/// Writes the note durably.
pub(crate) fn note(disk: &dyn Disk, store_dir: &Path) -> Result<()> {
    replace::replace(disk, &store_dir.join(FORGETTING), NEW, &[])
}

/// Whether the note is there.
pub(crate) fn is_noted(disk: &dyn Disk, store_dir: &Path) -> Result<bool> {
    let path = store_dir.join(FORGETTING);
    let kind = disk.kind(&path).map_err(|e| Error::io("look for", &path, e))?;
    Ok(kind.is_some())
}

/// Removes the note, if it is there: the views were wiped.
pub(super) fn remove(disk: &dyn Disk, store_dir: &Path) -> Result<()> {
    let path = store_dir.join(FORGETTING);
    match disk.remove(&path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("remove", &path, e)),
    }
}
