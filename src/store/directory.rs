//! A store's directory: who may use it, and whether it is a store at all.

use crate::index::quarantine;
use crate::journal::manifest::{self, Manifest};
use crate::journal::{names, recover, segment};
use crate::kv::files;
use crate::log::core::journal_directory;
use crate::storage::disk::{Disk, Kind, RealDisk, holds_only, refuse_no_directory};
use crate::storage::files::{MODE_ALL, absolute, resolve};
use crate::storage::guarded::GuardedDisk;
use crate::storage::held::Held;
use crate::storage::lock::LockHandle;
use crate::storage::lock_holder::LockHolder;
use crate::value::clock::{Clock, Micros};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::limits::LOCK_ATTEMPTS;
use crate::views;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// What a store without a manifest may hold beside the index and the views: its creation, or the manifest
/// itself, was lost.
const OURS: [&str; 3] = [LOCK, "journal", "MANIFEST.tmp"];
/// The directory that a new ext volume has at its top. It is the filesystem's, and is never touched.
const LOST_AND_FOUND: &str = "lost+found";

/// The file that a process locks which has the store open, beside the directory itself.
pub(crate) const LOCK: &str = "lock";
/// The same while a backup is written.
pub(crate) const BACKUP_LOCK: &str = "backup.lock";

/// A store's directory, locked.
pub(crate) struct Directory {
    pub(crate) store: Uuid,
    pub(crate) lock: Lock,
    /// For all that is made in it.
    pub(crate) disk: Arc<dyn Disk>,
}

/// A directory that nobody else opens, backs up into or repairs as long as this exists; the operating system releases
/// it when the process dies.
///
/// The directory itself is locked, so that it makes no difference whether a file in it was removed. The files
/// are locked for filesystems that cannot lock a directory.
pub(crate) struct Lock {
    owner: Owner,
    held: Arc<Held>,
    files: Vec<LockHandle>,
    /// Whether the journal's directory is one of them.
    has_journal: bool,
    /// The permissions of a file that is created to be locked.
    mode: u32,
    /// What was made for it, until it is settled.
    made: Made,
}

impl Lock {
    pub(crate) fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// The disk for files in the directory, which get at most the permissions `mode`.
    pub(crate) fn guard(&self, disk: &Arc<dyn Disk>, mode: u32) -> Arc<dyn Disk> {
        Arc::new(GuardedDisk::new(Arc::clone(disk), Arc::clone(&self.held), mode))
    }

    /// Creates the directory of the journal, unless it exists, and locks it. True if it was created.
    pub(crate) fn make_journal(&mut self, disk: &dyn Disk) -> Result<bool> {
        let path = journal_directory(self.held.path());
        refuse_dangling(&path)?;
        let is_new = is_missing(&path);
        if is_new {
            self.making(path.clone());
        }
        disk.create_dir_all(&path, MODE_ALL).map_err(|e| Error::io("create", &path, e))?;
        self.lock_journal()?;
        Ok(is_new)
    }

    /// Locks the directory of the journal, if there is one: `journal` may be a symbolic link, and two stores may
    /// have the same journal.
    fn lock_journal(&mut self) -> Result<()> {
        let path = journal_directory(self.held.path());
        let is_left =
            failpoint!("store::leave_journal_unlocked") || failpoint!("store::lock_files_only");
        let is_there = || matches!(RealDisk.kind_there(&path), Ok(Some(Kind::Directory)));
        if self.has_journal || is_left || !is_there() {
            return Ok(());
        }
        for _ in 0..LOCK_ATTEMPTS {
            let directory =
                LockHandle::open_directory(&path).map_err(|e| Error::io("open", &path, e))?;
            match directory.try_lock() {
                Ok(true) => {}
                Ok(false) => return Err(locked(&path)),
                Err(error) => {
                    tracing::debug!(%error, "the journal's directory cannot be locked");
                }
            }
            if directory.is_at(&path).map_err(|e| Error::io("find", &path, e))? {
                self.files.push(directory);
                self.has_journal = true;
                return Ok(());
            }
        }
        Err(locked(&path))
    }

    /// Takes back what it makes, if it is dropped before `keep`.
    pub(crate) fn making(&mut self, path: PathBuf) {
        self.made.paths.push(path);
    }

    /// Everything that was made is to stay.
    pub(crate) fn keep(&mut self) {
        self.made.paths.clear();
    }

    fn lock_file(&mut self, name: &str, create: bool) -> Result<()> {
        let path = self.held.path().join(name);
        for _ in 0..LOCK_ATTEMPTS {
            let opened = match create {
                true => self.create_or_open(&path),
                false => LockHandle::open(&path),
            };
            let file = match opened {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
                    refuse_dangling(&path)?;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(Error::io("open", &path, error)),
            };
            if !file.try_lock().map_err(|e| Error::io("lock", &path, e))? {
                return Err(locked(self.held.path()));
            }
            // If it was removed in between, the lock keeps nobody out.
            if file.is_at(&path).map_err(|e| Error::io("find", &path, e))? {
                self.files.push(file);
                return Ok(());
            }
        }
        Err(locked(self.held.path()))
    }

    fn create_or_open(&mut self, path: &Path) -> io::Result<LockHandle> {
        match LockHandle::create(path, self.mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => LockHandle::open(path),
            created => created.inspect(|_| self.made.paths.push(path.to_owned())),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if !self.owner.is_this_process() {
            // A forked process shares the lock with its parent: it may close its copy, and not unlock.
            self.made.paths.clear();
            return;
        }
        match self.held.check() {
            Ok(()) => self.made.undo(),
            Err(_) => self.made.paths.clear(),
        }
        // A process that another thread is just starting holds a copy of the file for a moment, so that
        // closing ours would not let go of it.
        for file in self.files.iter().chain([self.held.directory()]) {
            if let Err(error) = file.unlock() {
                tracing::warn!(%error, "the store's lock could not be released before its file");
            }
        }
    }
}

/// Paths that were made for something that may still be refused, in their order.
struct Made {
    disk: Arc<dyn Disk>,
    paths: Vec<PathBuf>,
}

impl Made {
    /// Creates the directory `path` and those above it that are missing.
    fn directory(path: &Path, mode: u32, disk: &Arc<dyn Disk>) -> Result<Made> {
        let is_missing = |path: &&Path| match disk.kind(path) {
            Ok(found) => found.is_none(),
            Err(error) => error.kind() != io::ErrorKind::PermissionDenied,
        };
        let missing = path.ancestors().take_while(is_missing);
        let mut paths: Vec<_> = missing.map(Path::to_owned).collect();
        paths.reverse();
        let made = Made { disk: Arc::clone(disk), paths };
        disk.create_dir_all(path, mode).map_err(|e| Error::io("create", path, e))?;
        Ok(made)
    }

    /// Removes them again, in the opposite order, up to a directory in which something else is by now.
    fn undo(&mut self) {
        if failpoint!("store::leave_what_was_made") {
            return;
        }
        for path in self.paths.drain(..).rev() {
            let removed = match self.disk.kind(&path) {
                Ok(Some(Kind::Directory)) => self.disk.remove_dir(&path),
                _ => self.disk.remove(&path),
            };
            if removed.is_err_and(|error| error.kind() == io::ErrorKind::DirectoryNotEmpty) {
                return;
            }
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.undo();
    }
}

impl Directory {
    /// Locks the directory `path` and makes it a store if it is not one yet. If that fails, nothing is left of
    /// what was made.
    pub(crate) fn open(path: &Path, disk: &Arc<dyn Disk>, clock: &dyn Clock) -> Result<Directory> {
        let path = &absolute(path)?;
        refuse_foreign(path, &**disk)?;
        let mut lock = lock_new(path, MODE_ALL, disk, Some(LOCK))?;
        let disk = lock.guard(disk, lock.held().mode()?);
        let path = lock.held().path().to_owned();
        // What is read here is final only under the lock.
        let manifest = match manifest::read(&*disk, &path)? {
            Some(manifest) => manifest,
            None => {
                refuse_foreign(&path, &*disk)?;
                create(&mut lock, &disk, clock)?
            }
        };
        lock.keep();
        Ok(Directory { store: manifest.store, lock, disk })
    }
}

/// Locks the directory `path`, and the file `name` in it if one is named; both are created if they are not there. New
/// directories get the permissions `mode` at most. What was created is removed with the lock, unless the lock is told
/// to keep it.
pub(crate) fn lock_new(
    path: &Path,
    mode: u32,
    disk: &Arc<dyn Disk>,
    name: Option<&str>,
) -> Result<Lock> {
    let made = Made::directory(path, mode, disk)?;
    lock_with(path, made, name, mode)
}

/// Locks the store in `path`, which exists, without writing anything.
pub(crate) fn lock_existing(path: &Path, disk: &Arc<dyn Disk>) -> Result<Lock> {
    lock_with(path, Made { disk: Arc::clone(disk), paths: Vec::new() }, None, 0)
}

fn lock_with(path: &Path, made: Made, creates: Option<&str>, mode: u32) -> Result<Lock> {
    let held = Arc::new(hold_locked(path)?);
    let (owner, files) = (Owner::this_process(), Vec::new());
    let mut lock = Lock { owner, held, files, has_journal: false, mode, made };
    for name in [LOCK, BACKUP_LOCK] {
        if failpoint!("store::lock_files_only") && creates != Some(name) {
            continue;
        }
        lock.lock_file(name, creates == Some(name))?;
    }
    lock.lock_journal()?;
    Ok(lock)
}

fn hold_locked(path: &Path) -> Result<Held> {
    for _ in 0..LOCK_ATTEMPTS {
        let held = Held::open(path)?;
        match held.directory().try_lock() {
            _ if failpoint!("store::lock_files_only") => {}
            Ok(true) => {}
            Ok(false) => return Err(locked(path)),
            Err(error) => {
                tracing::debug!(%error, "the directory itself cannot be locked; files in it are");
            }
        }
        // It may have been replaced in between, and then the lock keeps nobody out.
        if held.check().is_ok() {
            return Ok(held);
        }
    }
    Err(locked(path))
}

fn locked(path: &Path) -> Error {
    let places =
        [path.to_owned(), path.join(LOCK), path.join(BACKUP_LOCK), journal_directory(path)];
    let by = match places.iter().find_map(|place| LockHolder::of(place)) {
        Some(holder) if !failpoint!("store::hide_lock_holder") => holder.to_string(),
        _ => "this process or another".to_owned(),
    };
    let path = path.display();
    let message = format!(
        "{path} is locked by {by}: it is open as a store, backed up into, or being repaired there"
    );
    Error::new(ErrorKind::Locked, message)
}

/// A directory with other files in it is not taken for a store to be created.
fn refuse_foreign(path: &Path, disk: &dyn Disk) -> Result<()> {
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
pub(super) fn holds_a_store(path: &Path) -> bool {
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

/// Makes a store of the directory, or of what an interrupted creation left of it.
fn create(lock: &mut Lock, disk: &Arc<dyn Disk>, clock: &dyn Clock) -> Result<Manifest> {
    let path = &lock.held().path().to_owned();
    let journal = journal_directory(path);
    refuse_dangling(&manifest::path(path))?;
    if !recover::is_empty(&**disk, &journal)? {
        let what = "it is missing, but the journal holds events";
        return Err(Error::corrupt(&manifest::path(path), 0, None, what));
    }
    refuse_linked(&**disk, &journal)?;
    // Times of day do not make an id unique if clocks stop.
    let manifest = Manifest { store: Uuid::now_v7(), created: Micros::of(clock.now()) };
    if lock.make_journal(&**disk)? {
        let file = segment::path(&journal, 1);
        let temporary = [segment::prepared_path(&journal, 1), path.join("MANIFEST.tmp")];
        let made = [file, manifest::path(path)];
        made.into_iter().chain(temporary).for_each(|path| lock.making(path));
    }
    recover::create(disk, &journal, manifest.store)?;
    sync_with_parents(path, &**disk)?;
    manifest::write(&**disk, path, &manifest)?;
    Ok(manifest)
}

/// Refuses a `journal` without a manifest that is a symbolic link to files: nothing says that they are not the
/// journal of another store, which creating one would replace.
fn refuse_linked(disk: &dyn Disk, journal: &Path) -> Result<()> {
    let names = names::list(disk, journal)?;
    let is_linked = is_link(journal) && !failpoint!("store::replace_linked_journal");
    let Some(name) = names.first().filter(|_| is_linked) else { return Ok(()) };
    let journal = journal.display();
    let message = format!(
        "{journal} is a symbolic link to a directory that is not empty: it holds {name:?}, which may belong to \
         another store"
    );
    Err(Error::invalid(message))
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
fn is_missing(path: &Path) -> bool {
    if failpoint!("store::take_dangling_link_for_ours") {
        return !matches!(RealDisk.kind_there(path), Ok(Some(_)));
    }
    matches!(RealDisk.kind(path), Ok(None))
}

fn is_link(path: &Path) -> bool {
    matches!(RealDisk.kind(path), Ok(Some(Kind::Link)))
}

/// Whether `path`, or where it will be, is in the store `store`, or in what its links to directories lead to.
pub(super) fn lies_in_store(path: &Path, store: &Path) -> bool {
    parts(store).iter().any(|part| lies_in(path, part))
}

/// Whether the store `store`, or what a link in it leads to, is in the directory `path`.
pub(super) fn has_part_of(path: &Path, store: &Path) -> bool {
    parts(store).iter().any(|part| lies_in(part, path))
}

/// The directory of the store, and those in it that may be elsewhere, by a symbolic link.
fn parts(store: &Path) -> Vec<PathBuf> {
    let mut parts = vec![store.to_owned()];
    if !failpoint!("store::overlook_linked_parts") {
        parts.push(journal_directory(store));
        parts.extend([quarantine::INDEX, views::VIEWS].map(|name| store.join(name)));
    }
    parts
}

/// Whether `path`, or where it will be, is in the directory `outer`.
fn lies_in(path: &Path, outer: &Path) -> bool {
    let existing = path.ancestors().find_map(|path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        resolve(path).ok()
    });
    match (existing, resolve(outer)) {
        (Some(path), Ok(outer)) => path.starts_with(outer),
        _ => false,
    }
}

/// Makes the directory itself durable: its entries, its own entry in the one above, and so on up to
/// the root. Which of them were made for this store, a crash in between makes everybody forget.
pub(crate) fn sync_with_parents(path: &Path, disk: &dyn Disk) -> Result<()> {
    let path = resolve(path).map_err(|e| Error::io("find", path, e))?;
    for (above, directory) in path.ancestors().enumerate() {
        match disk.sync_dir(directory) {
            // Nobody can have made a directory where nothing may be made or synced.
            Err(error) if above > 1 && cannot_be_synced(&error) => {}
            synced => synced.map_err(|e| Error::io("sync", directory, e))?,
        }
    }
    Ok(())
}

fn cannot_be_synced(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::faulty::{Faults, FaultyDisk};
    use crate::value::clock::SystemClock;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A process that is just being started holds a copy of every open file until it has become another
    /// program. A lock that only went with the last copy of its file was still held when a store had been
    /// closed while another thread started a process, and opening it again failed as `Locked`.
    #[test]
    fn a_closed_store_is_free_although_a_process_was_started_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        Command::new("true").status().unwrap();
                    }
                });
            }
            let opened: Vec<_> = (0..2_000)
                .map(|_| Directory::open(directory.path(), &disk, &SystemClock).map(drop))
                .collect();
            done.store(true, Ordering::Relaxed);
            let refused = opened.iter().filter(|opened| opened.is_err()).count();
            assert_eq!(refused, 0, "{:?}", opened.iter().find(|opened| opened.is_err()));
        });
    }

    /// A creation that failed on its way left a lock, a journal and directories behind.
    #[test]
    fn a_creation_that_fails_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let disk: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
        let path = directory.path().join("a/b/store");
        for n in 1.. {
            faults.fail_in(n);
            let opened = Directory::open(&path, &disk, &SystemClock);
            let has_failed = faults.has_failed();
            faults.fail_in(0);
            assert_eq!(opened.is_err(), has_failed, "step {n}");
            if !has_failed {
                assert!(n > 5, "only {n} steps were tried");
                return;
            }
            assert_eq!(directory.path().read_dir().unwrap().count(), 0, "step {n}");
        }
    }
}
