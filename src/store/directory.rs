//! A store's directory: making a store of it, making that durable, and telling where its parts are.

pub(crate) mod contents;
pub(crate) mod store_lock;

use crate::index::quarantine;
use crate::journal::manifest::{self, Manifest, Role};
use crate::journal::{names, recover, segment};
use crate::log::core::journal_directory;
use crate::storage::disk::Disk;
use crate::storage::files::{MODE_ALL, absolute, resolve};
use crate::storage::parents::sync_with_parents;
use crate::value::clock::{Clock, Micros};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::views;
use contents::{BACKUP_LOCK, LOCK, is_link, refuse_dangling, refuse_foreign};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store_lock::{Lock, lock_new};
use uuid::Uuid;

/// A store's directory, locked.
pub(crate) struct Directory {
    pub(crate) manifest: Manifest,
    pub(crate) lock: Lock,
    /// For all that is made in it.
    pub(crate) disk: Arc<dyn Disk>,
}

impl Directory {
    /// Locks the directory `path` and makes it a store if it is not one yet: with the id and time of its creation that
    /// `new` returns. If that fails, nothing is left of what was made.
    ///
    /// # Errors
    /// `Replica` or `InvalidInput` for a directory of the other role.
    pub(crate) fn open(
        path: &Path,
        disk: &Arc<dyn Disk>,
        role: Role,
        new: impl FnOnce() -> Result<(Uuid, Micros)>,
    ) -> Result<Directory> {
        let path = &absolute(path)?;
        refuse_foreign(path, &**disk)?;
        if role == Role::Replica {
            adopt_backup(path, disk)?;
        }
        let mut lock = lock_new(path, MODE_ALL, disk, Some(LOCK))?;
        let disk = lock.guard(disk, lock.held().mode()?);
        let path = lock.held().path().to_owned();
        // What is read here is final only under the lock.
        let manifest = match manifest::read(&*disk, &path)? {
            Some(manifest) => manifest,
            None => {
                refuse_foreign(&path, &*disk)?;
                let (store, created) = new()?;
                create(&mut lock, &disk, &Manifest { role, ..Manifest::of_store(store, created) })?
            }
        };
        refuse_other_role(&path, manifest.role, role)?;
        lock.keep();
        Ok(Directory { manifest, lock, disk })
    }
}

/// The id and time of creation of a store that is new.
pub(crate) fn new_store(clock: &dyn Clock) -> (Uuid, Micros) {
    // Times of day do not make an id unique if clocks stop.
    (Uuid::now_v7(), Micros::of(clock.now()))
}

/// Makes a replica of a backup that was never opened: nothing of its own can be in it. A store that was opened may hold
/// what no source has.
fn adopt_backup(path: &Path, disk: &Arc<dyn Disk>) -> Result<()> {
    let is_store = |manifest: Option<Manifest>| manifest.filter(|it| it.role == Role::Store);
    let was_opened = || disk.kind(&path.join(LOCK)).map(|kind| kind.is_some());
    let was_opened = was_opened().map_err(|e| Error::io("look for", &path.join(LOCK), e))?;
    if was_opened || is_store(manifest::read(&**disk, path)?).is_none() {
        return Ok(());
    }
    let mut lock = lock_new(path, MODE_ALL, disk, Some(BACKUP_LOCK))?;
    let disk = lock.guard(disk, lock.held().mode()?);
    let path = lock.held().path().to_owned();
    if let Some(manifest) = is_store(manifest::read(&*disk, &path)?) {
        manifest::write(&*disk, &path, &Manifest { role: Role::Replica, ..manifest })?;
    }
    lock.keep();
    Ok(())
}

/// Refuses a replica that is to be opened as a store, and a store that is to be opened as a replica.
fn refuse_other_role(path: &Path, met: Role, wanted: Role) -> Result<()> {
    let path = path.display();
    match (met, wanted) {
        (Role::Replica, Role::Store) => Err(Error::new(
            ErrorKind::Replica,
            format!(
                "{path} is a replica: open it with `StoreBuilder::replica`, which can also promote it"
            ),
        )),
        (Role::Store, Role::Replica) => Err(Error::invalid(format!(
            "{path} was opened as a store, which may hold what no source has: make the replica in an empty directory, \
             or of a backup of its source"
        ))),
        _ => Ok(()),
    }
}

/// Makes a store of the directory, or of what an interrupted creation left of it.
fn create(lock: &mut Lock, disk: &Arc<dyn Disk>, manifest: &Manifest) -> Result<Manifest> {
    let path = &lock.held().path().to_owned();
    let journal = journal_directory(path);
    refuse_dangling(&manifest::path(path))?;
    if !recover::is_empty(&**disk, &journal)? {
        let what = "it is missing, but the journal holds events";
        return Err(Error::corrupt(&manifest::path(path), 0, None, what));
    }
    refuse_linked(&**disk, &journal)?;
    if lock.make_journal(&**disk)? {
        let file = segment::path(&journal, 1);
        let temporary = [segment::prepared_path(&journal, 1), path.join("MANIFEST.tmp")];
        let made = [file, manifest::path(path)];
        made.into_iter().chain(temporary).for_each(|path| lock.making(path));
    }
    recover::create(disk, &journal, manifest.store)?;
    sync_with_parents(path, &**disk)?;
    manifest::write(&**disk, path, manifest)?;
    Ok(manifest.clone())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::RealDisk;
    use crate::storage::faulty::{Faults, FaultyDisk};
    use crate::value::clock::SystemClock;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn open(path: &Path, disk: &Arc<dyn Disk>) -> Result<Directory> {
        Directory::open(path, disk, Role::Store, || Ok(new_store(&SystemClock)))
    }

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
            let opened: Vec<_> =
                (0..2_000).map(|_| open(directory.path(), &disk).map(drop)).collect();
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
            let opened = open(&path, &disk);
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
