//! The directory that an export is written into.
//!
//! * The file `export.unfinished` is in it, durably, before anything else is, and goes last. Beside it, what has no
//!   manifest is no store, and the next export into the directory replaces it.
//! * The manifest is written once everything else is durable: with it, the export is finished.
//! * An export that fails removes what it has made. What it cannot remove, the next one replaces.

use crate::doctor::export::left_out_beside;
use crate::journal::manifest::{self, Manifest};
use crate::journal::names;
use crate::log::core::journal_directory;
use crate::storage::disk::{Disk, Kind};
use crate::storage::files::MODE_ALL;
use crate::storage::replace::remove_if_there;
use crate::store::directory::{self, Lock};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that is there as long as the export is not finished.
pub(crate) const UNFINISHED: &str = "export.unfinished";
const MANIFEST_TMP: &str = "MANIFEST.tmp";

/// A directory that an export is being written into. Dropped before `finish`, it is left as it was found.
pub(super) struct ExportTarget {
    path: PathBuf,
    left_out: PathBuf,
    disk: Arc<dyn Disk>,
    is_finished: bool,
    // Dropped last: what is removed is removed under it.
    lock: Lock,
}

impl ExportTarget {
    /// Locks the directory `to`, which is absent, or empty but for an unfinished export. What is created there gets
    /// the permissions `mode` at most. `origin` is what is exported.
    pub(super) fn begin(
        to: &Path,
        origin: &Path,
        disk: &Arc<dyn Disk>,
        mode: u32,
    ) -> Result<ExportTarget> {
        refuse(&**disk, to, origin)?;
        let lock = directory::lock_new(to, mode, disk, None)?;
        let path = lock.held().path().to_owned();
        // Only under the lock is what is read there the last word.
        let is_begun = refuse(&**disk, &path, origin)?;
        let left_out = left_out_beside(&path)?;
        let disk = lock.guard(disk, mode);
        let is_there = disk.kind(&left_out).map_err(|e| Error::io("look for", &left_out, e))?;
        if is_there.is_some() && !is_begun {
            return Err(Error::invalid(format!("{} is there already", left_out.display())));
        }
        let target = ExportTarget { path, left_out, disk, is_finished: false, lock };
        match is_begun {
            true => remove_if_there(&*target.disk, &target.left_out)?,
            false => target.mark()?,
        }
        Ok(target)
    }

    /// Says, durably, that what will be here is unfinished. With the names of the directories above: the file of what
    /// is left out is in one of them.
    fn mark(&self) -> Result<()> {
        if failpoint!("store::leave_export_unmarked") {
            return Ok(());
        }
        let marker = self.path.join(UNFINISHED);
        self.disk.create_new(&marker, MODE_ALL).map_err(|e| Error::io("create", &marker, e))?;
        directory::sync_with_parents(&self.path, &*self.disk)
    }

    /// Creates and locks the directory of the journal. Returns the directory that it is in, and the disk for both.
    pub(super) fn make_journal(&mut self) -> Result<(PathBuf, Arc<dyn Disk>)> {
        self.lock.make_journal(&*self.disk)?;
        Ok((self.path.clone(), Arc::clone(&self.disk)))
    }

    /// Makes a store of what was written.
    pub(super) fn finish(mut self, manifest: &Manifest) -> Result<()> {
        directory::sync_with_parents(&self.path, &*self.disk)?;
        // Last: without it the directory is no store.
        manifest::write(&*self.disk, &self.path, manifest)?;
        self.lock.keep();
        self.is_finished = true;
        // Beside a manifest it says nothing.
        let remove = || {
            remove_if_there(&*self.disk, &self.path.join(UNFINISHED))?;
            self.disk.sync_dir(&self.path).map_err(|e| Error::io("sync", &self.path, e))
        };
        if let Err(error) = remove() {
            tracing::warn!(%error, "a file that is not needed any more stays");
        }
        Ok(())
    }

    /// Removes what was made. Each step is durable before the next one: whatever is left is an unfinished export.
    fn discard(&self) -> Result<()> {
        let disk = &*self.disk;
        let sync = |path: &Path| disk.sync_dir(path).map_err(|e| Error::io("sync", path, e));
        remove_if_there(disk, &manifest::path(&self.path))?;
        remove_if_there(disk, &self.path.join(MANIFEST_TMP))?;
        sync(&self.path)?;
        let journal = journal_directory(&self.path);
        for name in disk.list(&journal).map_err(|e| Error::io("list", &journal, e))? {
            if names::is_ours(&name) {
                remove_if_there(disk, &journal.join(name))?;
            }
        }
        if disk.kind(&journal).map_err(|e| Error::io("look for", &journal, e))?.is_some() {
            disk.remove_dir(&journal).map_err(|e| Error::io("remove", &journal, e))?;
        }
        remove_if_there(disk, &self.left_out)?;
        sync(&self.path)?;
        sync(self.path.parent().unwrap_or(&self.path))?;
        remove_if_there(disk, &self.path.join(UNFINISHED))
    }
}

impl Drop for ExportTarget {
    fn drop(&mut self) {
        if self.is_finished || failpoint!("store::leave_failed_export") {
            return;
        }
        if let Err(error) = self.discard() {
            let path = self.path.display();
            tracing::warn!(%error, %path, "what an export that failed has made stays until the next one");
        }
    }
}

/// Refuses a directory `to` that cannot take an export of what is in `origin`. Returns whether it holds an unfinished
/// one.
fn refuse(disk: &dyn Disk, to: &Path, origin: &Path) -> Result<bool> {
    directory::refuse_no_directory(disk, to)?;
    let names = disk.list(to).map_err(|e| Error::io("list", to, e))?;
    let is_begun = names.iter().any(|name| name == UNFINISHED);
    let ours = [UNFINISHED, "journal", MANIFEST_TMP];
    let is_ours =
        |name: &str| directory::is_volumes(to, name) || (is_begun && ours.contains(&name));
    let foreign = match names.into_iter().find(|name| !is_ours(name)) {
        None if is_begun => foreign_in_journal(disk, to)?,
        foreign => foreign,
    };
    if let Some(name) = foreign {
        let message = format!("{} is not empty: it holds {name:?}", to.display());
        return Err(Error::invalid(message));
    }
    if directory::lies_in_store(to, origin) {
        let message = format!("{} is inside the store that is exported", to.display());
        return Err(Error::invalid(message));
    }
    Ok(is_begun)
}

/// What is in the journal of an unfinished export and is not its own. A symbolic link leads to somebody else's files.
fn foreign_in_journal(disk: &dyn Disk, to: &Path) -> Result<Option<String>> {
    let journal = journal_directory(to);
    match disk.kind(&journal).map_err(|e| Error::io("look for", &journal, e))? {
        None => Ok(None),
        Some(Kind::Directory) => directory::foreign_in_journal(to, disk),
        Some(_) => Ok(Some("journal".to_owned())),
    }
}
