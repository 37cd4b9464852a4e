//! The directory that an export is written into.
//!
//! * The file `export.unfinished` is in it, durably, before anything else is, and goes last. Beside it, what has no
//!   manifest is no store, and the next export into the directory replaces it.
//! * What is left out is listed in a file in the directory too. Once everything is durable, this file gets its second
//!   name, beside the directory. What is there is the export's own only if it is the same file.
//! * The manifest is written after that: with it, the export is finished, and the names of the unfinished one go.
//! * An export that fails removes what it has made. What it cannot remove, the next one replaces.

use crate::doctor::export::RejectLog;
use crate::journal::manifest::{self, Manifest};
use crate::journal::names;
use crate::log::core::journal_directory;
use crate::storage::disk::{Disk, DiskFile, Kind, refuse_no_directory};
use crate::storage::files::{MODE_ALL, mode_above};
use crate::storage::parents::sync_with_parents;
use crate::storage::replace::remove_if_there;
use crate::store::directory;
use crate::store::directory::contents::{self, is_volumes};
use crate::store::directory::store_lock::{Lock, lock_new};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that is there as long as the export is not finished.
pub(crate) const UNFINISHED: &str = "export.unfinished";
/// The list of what is left out, as long as the export is not finished.
const LEFT_OUT: &str = "export.unfinished.jsonl";
const MANIFEST_TMP: &str = "MANIFEST.tmp";
/// Bytes of the list that are copied at once.
const COPY_BYTES: usize = 64 << 10;

/// A directory that an export is being written into. Dropped before `finish`, it is left as it was found.
pub(super) struct ExportTarget {
    path: PathBuf,
    /// The name of the list beside the directory.
    beside: PathBuf,
    /// The file that may have this name, and is this export's or an unfinished one's.
    list: Option<Arc<dyn DiskFile>>,
    /// The permissions of the list at most: nobody may read it who may not read what is beside the directory.
    mode: u32,
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
        let lock = lock_new(to, mode, disk, None)?;
        let path = lock.held().path().to_owned();
        // Only under the lock is what is read there the last word.
        let is_begun = refuse(&**disk, &path, origin)?;
        let mut beside = path.clone().into_os_string();
        beside.push(".left-out.jsonl");
        let beside = PathBuf::from(beside);
        let disk = lock.guard(disk, mode);
        let list = if is_begun { open_list(&*disk, &path)? } else { None };
        let is_there = disk.kind(&beside).map_err(|e| Error::io("look for", &beside, e))?;
        if is_there.is_some() && !is_at(&*disk, &beside, list.as_ref())? {
            return Err(Error::invalid(format!("{} is there already", beside.display())));
        }
        let mode = mode & mode_above(&path).map_err(|e| Error::io("look above", &path, e))?;
        let target = ExportTarget { path, beside, list, mode, disk, is_finished: false, lock };
        target.mark(is_begun)?;
        target.remove_list()?;
        Ok(target)
    }

    /// Says, durably, that what will be here is unfinished. What a process that was killed has said may not be
    /// durable yet.
    fn mark(&self, is_begun: bool) -> Result<()> {
        if failpoint!("store::leave_export_unmarked")
            || is_begun && failpoint!("store::trust_found_mark")
        {
            return Ok(());
        }
        let marker = self.path.join(UNFINISHED);
        if !is_begun {
            self.disk.create_new(&marker, MODE_ALL).map_err(|e| Error::io("create", &marker, e))?;
        }
        sync_with_parents(&self.path, &*self.disk)
    }

    /// Creates and locks the directory of the journal. Returns the directory that it is in, and the disk for both.
    pub(super) fn make_journal(&mut self) -> Result<(PathBuf, Arc<dyn Disk>)> {
        self.lock.make_journal(&*self.disk)?;
        Ok((self.path.clone(), Arc::clone(&self.disk)))
    }

    /// The list of what is left out, which is still to be written.
    pub(super) fn left_out(&self) -> RejectLog {
        RejectLog::new(&self.disk, self.path.join(LEFT_OUT), self.mode)
    }

    /// Makes a store of what was written. Returns where the list of what is left out is, if there is one.
    pub(super) fn finish(mut self, manifest: &Manifest) -> Result<Option<PathBuf>> {
        sync_with_parents(&self.path, &*self.disk)?;
        let left_out = self.name_list()?;
        // Last: without it the directory is no store.
        manifest::write(&*self.disk, &self.path, manifest)?;
        self.lock.keep();
        self.is_finished = true;
        // Beside a manifest they say nothing.
        let remove = || {
            remove_if_there(&*self.disk, &self.path.join(LEFT_OUT))?;
            remove_if_there(&*self.disk, &self.path.join(UNFINISHED))?;
            self.sync(&self.path)
        };
        if let Err(error) = remove() {
            tracing::warn!(%error, "a file that is not needed any more stays");
        }
        Ok(left_out)
    }

    /// Gives the list its name beside the directory, durably.
    fn name_list(&mut self) -> Result<Option<PathBuf>> {
        let Some(list) = open_list(&*self.disk, &self.path)? else { return Ok(None) };
        self.list = Some(Arc::clone(&list));
        let named = match self.disk.link(&self.path.join(LEFT_OUT), &self.beside) {
            Err(error) if has_one_name(&error) => self.copy_list(&*list),
            linked => linked,
        };
        named.map_err(|e| Error::io("create", &self.beside, e))?;
        self.sync(self.above())?;
        Ok(Some(self.beside.clone()))
    }

    /// The same where a file cannot have two names. If a crash ends the export before its manifest is written, the
    /// next one does not know the copy, and is refused.
    fn copy_list(&mut self, list: &dyn DiskFile) -> io::Result<()> {
        self.list = None;
        let copy = self.disk.create_new(&self.beside, self.mode)?;
        self.list = Some(Arc::clone(&copy));
        let (mut buffer, mut at) = (vec![0; COPY_BYTES], 0);
        loop {
            match list.read_at(&mut buffer, at)? {
                0 => return copy.sync_data(),
                read => {
                    copy.write_all_at(&buffer[..read], at)?;
                    at += read as u64;
                }
            }
        }
    }

    /// Removes the list. Its name beside the directory goes first, durably: without the other one nothing says whose
    /// it is.
    fn remove_list(&self) -> Result<()> {
        let is_ours = is_at(&*self.disk, &self.beside, self.list.as_ref())?;
        if is_ours {
            remove_if_there(&*self.disk, &self.beside)?;
        }
        if is_ours || failpoint!("store::sync_above_at_any_rate") {
            self.sync(self.above())?;
        }
        remove_if_there(&*self.disk, &self.path.join(LEFT_OUT))
    }

    /// Removes what was made. Each step is durable before the next one: whatever is left is an unfinished export.
    fn discard(&self) -> Result<()> {
        let disk = &*self.disk;
        remove_if_there(disk, &manifest::path(&self.path))?;
        remove_if_there(disk, &self.path.join(MANIFEST_TMP))?;
        self.sync(&self.path)?;
        let journal = journal_directory(&self.path);
        for name in names::list(disk, &journal)? {
            if names::is_ours(&name) {
                remove_if_there(disk, &journal.join(name))?;
            }
        }
        if disk.kind(&journal).map_err(|e| Error::io("look for", &journal, e))?.is_some() {
            disk.remove_dir(&journal).map_err(|e| Error::io("remove", &journal, e))?;
        }
        self.remove_list()?;
        self.sync(&self.path)?;
        remove_if_there(disk, &self.path.join(UNFINISHED))
    }

    fn sync(&self, directory: &Path) -> Result<()> {
        self.disk.sync_dir(directory).map_err(|e| Error::io("sync", directory, e))
    }

    /// The directory that it is in.
    fn above(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
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
    refuse_no_directory(disk, to)?;
    let names = disk.list(to).map_err(|e| Error::io("list", to, e))?;
    let is_begun = names.iter().any(|name| name == UNFINISHED);
    let ours = [UNFINISHED, LEFT_OUT, "journal", MANIFEST_TMP];
    let is_ours = |name: &str| is_volumes(to, name) || (is_begun && ours.contains(&name));
    let foreign = match names.into_iter().find(|name| !is_ours(name)) {
        None if is_begun => foreign_in_journal(disk, to)?,
        foreign => foreign,
    };
    if let Some(name) = foreign {
        let message = format!("{} is not empty: it holds {name:?}", to.display());
        return Err(Error::invalid(message));
    }
    if directory::lies_in_store(to, origin) {
        let message = format!("{} is inside the store that it would be made from", to.display());
        return Err(Error::invalid(message));
    }
    Ok(is_begun)
}

/// What is in the journal of an unfinished export and is not its own. A symbolic link leads to somebody else's files.
fn foreign_in_journal(disk: &dyn Disk, to: &Path) -> Result<Option<String>> {
    let journal = journal_directory(to);
    match disk.kind(&journal).map_err(|e| Error::io("look for", &journal, e))? {
        None => Ok(None),
        Some(Kind::Directory) => contents::foreign_in_journal(to, disk),
        Some(_) => Ok(Some("journal".to_owned())),
    }
}

/// The list in the directory `path` of an unfinished export.
fn open_list(disk: &dyn Disk, path: &Path) -> Result<Option<Arc<dyn DiskFile>>> {
    let list = path.join(LEFT_OUT);
    let open = || match disk.kind(&list)? {
        Some(Kind::File) => disk.open(&list).map(Some),
        _ => Ok(None),
    };
    open().map_err(|e: io::Error| Error::io("open", &list, e))
}

/// Whether `file` is what has the name `path`.
fn is_at(disk: &dyn Disk, path: &Path, file: Option<&Arc<dyn DiskFile>>) -> Result<bool> {
    let is_at = || match (disk.kind(path)?, file) {
        (Some(_), _) if failpoint!("store::take_any_list_for_ours") => Ok(true),
        // A symbolic link to it is somebody else's.
        (Some(Kind::File), Some(file)) => Ok(disk.identity_at(path)? == file.identity()?),
        _ => Ok(false),
    };
    is_at().map_err(|e: io::Error| Error::io("look at", path, e))
}

/// Whether the reason why a file was given no second name is that it cannot have one there.
fn has_one_name(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), CrossesDevices | PermissionDenied | TooManyLinks | Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::segment;
    use crate::storage::disk::RealDisk;
    use crate::storage::faulty::{Faults, FaultyDisk};
    use crate::store::Store;
    use crate::store::repair::Repair;
    use crate::value::clock::Micros;
    use crate::value::event::NewEvent;
    use crate::value::position::ExpectedVersion;
    use std::fs;
    use uuid::Uuid;

    /// A store of which one event cannot be read, so that the one after it is left out.
    fn damaged(path: &Path) {
        let store = Store::open(path).unwrap();
        for n in 1..=3 {
            let event = NewEvent::bytes("T", format!("payload {n}"));
            store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
        }
        store.close().unwrap();
        Store::repair(path).unwrap().rebuild_index().unwrap();
        let segment = segment::path(&journal_directory(path), 1);
        let mut bytes = fs::read(&segment).unwrap();
        let at = bytes.windows(9).position(|found| found == b"payload 2").unwrap();
        bytes[at] ^= 1;
        fs::write(segment, bytes).unwrap();
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names = RealDisk.list(directory).unwrap();
        names.sort();
        names
    }

    #[test]
    fn whichever_step_of_an_export_fails_its_list_is_whole_or_gone() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        damaged(&at("store"));
        for has_links in [true, false] {
            let faults = Arc::new(Faults::default());
            let disk: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
            if !has_links {
                faults.refuse_links();
            }
            let repair = Repair::on(&disk, &at("store")).unwrap();
            for n in 1.. {
                faults.fail_in(n);
                let exported = repair.export(at("new"));
                let has_failed = faults.has_failed();
                faults.fail_in(0);
                let Ok(exported) = exported else {
                    assert_eq!(names(directory.path()), ["store"], "step {n}, {has_links}");
                    continue;
                };
                assert_eq!(exported.left_out_file, Some(at("new.left-out.jsonl")));
                let list = fs::read_to_string(at("new.left-out.jsonl")).unwrap();
                assert!(list.ends_with("}\n") && list.contains("payload 3"), "step {n}: {list}");
                fs::remove_file(at("new.left-out.jsonl")).unwrap();
                fs::remove_dir_all(at("new")).unwrap();
                if !has_failed {
                    assert!(n > 20, "only {n} steps were tried");
                    break;
                }
            }
        }
    }

    /// An export that failed removed a file that somebody else had given the name of its list.
    #[test]
    fn a_strangers_file_that_appears_beside_an_export_stays() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (has_list, has_links) in [(false, true), (true, true), (true, false)] {
            let faults = Arc::new(Faults::default());
            let disk: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
            if !has_links {
                faults.refuse_links();
            }
            let target = ExportTarget::begin(&at("new"), &at("store"), &disk, MODE_ALL).unwrap();
            if has_list {
                fs::write(at("new").join(LEFT_OUT), "{}\n").unwrap();
            }
            fs::write(at("new.left-out.jsonl"), "a stranger's").unwrap();
            match has_list {
                true => {
                    let manifest = Manifest::of_store(Uuid::now_v7(), Micros(1));
                    let error = target.finish(&manifest).expect_err("the name is taken");
                    assert!(error.to_string().contains("new.left-out.jsonl"), "{error}");
                }
                false => drop(target),
            }
            let kept = fs::read_to_string(at("new.left-out.jsonl")).unwrap();
            assert_eq!(kept, "a stranger's");
            assert_eq!(names(directory.path()), ["new.left-out.jsonl"]);
            fs::remove_file(at("new.left-out.jsonl")).unwrap();
        }
    }
}
