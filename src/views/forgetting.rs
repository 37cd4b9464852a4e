//! Two empty files beside the views.
//!
//! * `views.private`: their files hold, or held, something of a private event. sled's files keep what was removed from
//!   them, so this holds until the views are wiped.
//! * `views.forgetting`, of a replica: somebody was forgotten, and they are to be wiped when it is opened the next
//!   time.

use crate::index::quarantine::is_quarantined;
use crate::storage::disk::Disk;
use crate::storage::replace;
use crate::value::error::{Error, Result};
use crate::views::note::{FORGETTING, NEW, PRIVATE};
use std::io::ErrorKind;
use std::path::Path;

/// Notes durably that the views are to be wiped.
pub(crate) fn note(disk: &dyn Disk, store_dir: &Path) -> Result<()> {
    replace::replace(disk, &store_dir.join(FORGETTING), NEW, &[])
}

/// Whether it is noted that the views are to be wiped.
pub(crate) fn is_noted(disk: &dyn Disk, store_dir: &Path) -> Result<bool> {
    exists(disk, &store_dir.join(FORGETTING))
}

/// Notes durably that the views' files hold something of a private event.
pub(super) fn note_private(disk: &dyn Disk, store_dir: &Path) -> Result<()> {
    replace::replace(disk, &store_dir.join(PRIVATE), NEW, &[])
}

/// Whether files of the views, also quarantined ones, may hold something of a private event.
pub(crate) fn may_be_private(disk: &dyn Disk, store_dir: &Path, views: &str) -> Result<bool> {
    let names = disk.list(store_dir).map_err(|e| Error::io("list", store_dir, e))?;
    Ok(names.iter().any(|name| name == PRIVATE || is_quarantined(views, name)))
}

/// Removes the notes, if they are there: nothing of a private event is left in the views' files.
pub(crate) fn remove(disk: &dyn Disk, store_dir: &Path) -> Result<()> {
    for path in [PRIVATE, FORGETTING].map(|name| store_dir.join(name)) {
        match disk.remove(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("remove", &path, e)),
        }
    }
    Ok(())
}

fn exists(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let kind = disk.kind(path).map_err(|e| Error::io("look for", path, e))?;
    Ok(kind.is_some())
}
