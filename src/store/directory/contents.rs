//! What a store has in its directory, and what there is that no store puts there.

use crate::index::quarantine;
use crate::journal::names;
use crate::kv::files;
use crate::log::core::journal_directory;
use crate::storage::disk::{Disk, Kind, RealDisk, holds_only, refuse_no_directory};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::views;
use std::path::{Path, PathBuf};

/// What a store without a manifest may hold beside the index and the views: its creation, or the manifest
/// itself, was lost.
const OURS: [&str; 5] = [LOCK, "journal", "MANIFEST.tmp", "forgotten", "forgotten.tmp"];
/// The directory that a new ext volume has at its top. It is the filesystem's, and is never touched.
const LOST_AND_FOUND: &str = "lost+found";

/// The file that a process locks which has the store open, beside the directory itself.
pub(crate) const LOCK: &str = "lock";
/// The same while a backup is written.
pub(crate) const BACKUP_LOCK: &str = "backup.lock";

/// A directory with other files in it is not taken for a store to be created.
pub(super) fn refuse_foreign(path: &Path, disk: &dyn Disk) -> Result<()> {
    refuse_no_directory(disk, path)?;
    let names = disk.list(path).map_err(|e| Error::io("list", path, e))?;
    if names.iter().any(|name| name == "MANIFEST") {
        return Ok(());
    }
    let foreign = names.into_iter().find(|name| !is_ours(name) && !is_volumes(path, name));
    let foreign = match foreign {
        Some(foreign) => Some(foreign),
        None => foreign_below(path, disk)?,
    };
    foreign.map_or(Ok(()), |foreign| {
        let path = path.display();
        let message = format!("{path} is neither empty nor a store: it holds {foreign:?}");
        Err(Error::invalid(message))
    })
}

fn is_ours(name: &str) -> bool {
    OURS.contains(&name) || quarantine::is_ours(name) || views::is_ours(name)
}

/// Whether nothing is in the directory `path`, however deep, but what a store puts there.
pub(crate) fn holds_a_store(path: &Path) -> bool {
    holds_only(&RealDisk, path, |name, kind| match kind {
        Kind::Directory if name == "journal" => {
            let is_ours = |name: &str, kind| kind != Kind::Directory && names::is_ours(name);
            holds_only(&RealDisk, &path.join(name), is_ours)
        }
        Kind::Directory => is_ours(name) && files::holds_a_database(&RealDisk, &path.join(name)),
        _ => is_ours(name) || ["MANIFEST", BACKUP_LOCK].contains(&name),
    })
}

/// Whether `name` in the directory `path` is the filesystem's own.
pub(crate) fn is_volumes(path: &Path, name: &str) -> bool {
    let is_directory = |path: PathBuf| matches!(RealDisk.kind(&path), Ok(Some(Kind::Directory)));
    name == LOST_AND_FOUND && is_directory(path.join(name))
}

/// What there is in the directories of a store without a manifest that no store puts there: anybody may call a
/// directory `journal`, and its files would be taken for what a crash has left.
fn foreign_below(path: &Path, disk: &dyn Disk) -> Result<Option<String>> {
    if let Some(name) = foreign_in_journal(path, disk)? {
        return Ok(Some(name));
    }
    for directory in [quarantine::INDEX, views::VIEWS] {
        if let Some(name) = files::foreign_in(disk, &path.join(directory))? {
            return Ok(Some(format!("{directory}/{name}")));
        }
    }
    Ok(None)
}

/// What there is in the journal's directory that no journal puts there.
pub(crate) fn foreign_in_journal(path: &Path, disk: &dyn Disk) -> Result<Option<String>> {
    let name = names::foreign_in(disk, &journal_directory(path))?;
    Ok(name.map(|name| format!("journal/{name}")))
}

/// Refuses a symbolic link that leads nowhere: the disk that it leads to may not be mounted.
pub(crate) fn refuse_dangling(path: &Path) -> Result<()> {
    let leads_nowhere = || matches!(RealDisk.kind_there(path), Ok(None));
    let is_overlooked = failpoint!("store::take_dangling_link_for_ours");
    match is_link(path) && leads_nowhere() && !is_overlooked {
        true => {
            let message = format!("{} is a symbolic link that leads nowhere", path.display());
            Err(Error::invalid(message))
        }
        false => Ok(()),
    }
}

/// Whether nothing is at `path`, not even a symbolic link that leads nowhere.
pub(super) fn is_missing(path: &Path) -> bool {
    if failpoint!("store::take_dangling_link_for_ours") {
        return !matches!(RealDisk.kind_there(path), Ok(Some(_)));
    }
    matches!(RealDisk.kind(path), Ok(None))
}

pub(super) fn is_link(path: &Path) -> bool {
    matches!(RealDisk.kind(path), Ok(Some(Kind::Link)))
}
