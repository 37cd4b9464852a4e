//! Makes a key ring, opens one, and keeps everybody else out while it is open.

use crate::keyring::head::{self, HEAD, Head};
use crate::keyring::kek::KeyEncryptingKey;
use crate::keyring::rekey::remove_other_generations;
use crate::keyring::ring::Ring;
use crate::storage::disk::{Disk, Kind};
use crate::storage::files::absolute;
use crate::storage::guarded::GuardedDisk;
use crate::storage::held::Held;
use crate::storage::lock::LockHandle;
use crate::storage::lock_holder::LockHolder;
use crate::storage::parents::sync_with_parents;
use crate::storage::replace::TEMPORARY;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::Owner;
use crate::value::limits::LOCK_ATTEMPTS;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Permissions of the directory: for its owner only.
const MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The file that is locked while a process has the ring open.
const LOCK: &str = "lock";

/// Keeps other processes, and other handles of this one, out of a ring. The operating system releases it when the
/// process dies.
pub(super) struct RingLock {
    owner: Owner,
    file: LockHandle,
}

impl Drop for RingLock {
    fn drop(&mut self) {
        // A forked process shares the lock with its parent: it may close its copy, and not unlock.
        if self.owner.is_this_process()
            && let Err(error) = self.file.unlock()
        {
            tracing::warn!(%error, "the lock of a key ring could not be released before its file");
        }
    }
}

/// Makes a ring in `path`, which is empty or missing, and opens it.
pub(super) fn create(
    path: &Path,
    disk: &Arc<dyn Disk>,
    kek: KeyEncryptingKey,
) -> Result<(Ring, RingLock)> {
    let path = absolute(path)?;
    refuse_within_store(&path, &**disk)?;
    disk.create_dir_all(&path, MODE).map_err(|e| Error::io("create", &path, e))?;
    let held = hold(&path)?;
    let (path, disk) = (held.path().to_owned(), guard(disk, &held));
    refuse_contents(&path, &*disk)?;
    let lock = lock(&path)?;
    let head = Head::new()?;
    let buckets = head::buckets(&path, head.generation);
    if !is_directory(&*disk, &buckets)? {
        disk.create_dir(&buckets).map_err(|e| Error::io("create", &buckets, e))?;
    }
    sync_with_parents(&path, &*disk)?;
    // Last: with it, the directory is a ring.
    head.write(&*disk, &path, &kek)?;
    Ok((Ring::new(disk, &path, head, kek), lock))
}

/// Opens the ring in `path`.
pub(super) fn open(
    path: &Path,
    disk: &Arc<dyn Disk>,
    kek: KeyEncryptingKey,
) -> Result<(Ring, RingLock)> {
    let path = absolute(path)?;
    refuse_within_store(&path, &**disk)?;
    let held = hold(&path)?;
    let (path, disk) = (held.path().to_owned(), guard(disk, &held));
    // Before anything is made in a directory that is no ring.
    Head::refuse_none(&*disk, &path)?;
    let lock = lock(&path)?;
    let head = Head::read(&*disk, &path, &kek)?;
    let buckets = head::buckets(&path, head.generation);
    if !is_directory(&*disk, &buckets)? {
        return Err(Error::corrupt(&buckets, 0, None, "the directory of the keys is missing"));
    }
    // A process that was killed may have left names that are not durable, that of the head among them.
    for directory in [&path, &buckets] {
        disk.sync_dir(directory).map_err(|e| Error::io("sync", directory, e))?;
    }
    remove_other_generations(&*disk, &path, head.generation)?;
    Ok((Ring::new(disk, &path, head, kek), lock))
}

fn guard(disk: &Arc<dyn Disk>, held: &Arc<Held>) -> Arc<dyn Disk> {
    Arc::new(GuardedDisk::new(Arc::clone(disk), Arc::clone(held), MODE))
}

/// Holds the directory, if only its owner may use it.
fn hold(path: &Path) -> Result<Arc<Held>> {
    let held = Held::open(path)?;
    let mode = held.mode()?;
    if mode & !MODE != 0 {
        let path = path.display();
        let message = format!(
            "{path} has the permissions {mode:04o}; the directory of a key ring may have {MODE:04o} at most"
        );
        return Err(Error::invalid(message));
    }
    Ok(Arc::new(held))
}

fn is_directory(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let kind = disk.kind_there(path).map_err(|e| Error::io("look at", path, e))?;
    Ok(kind == Some(Kind::Directory))
}

/// A ring within a store would be copied with it, and what was forgotten would be in the copy.
fn refuse_within_store(path: &Path, disk: &dyn Disk) -> Result<()> {
    let is_store = |directory: &&Path| {
        let is = |name, kind| disk.kind_there(&directory.join(name)).ok().flatten() == Some(kind);
        is("MANIFEST", Kind::File) && is("journal", Kind::Directory)
    };
    match path.ancestors().find(is_store) {
        Some(store) if !failpoint!("keyring::allow_ring_in_store") => {
            let (path, store) = (path.display(), store.display());
            let message = format!(
                "{path} is within the store {store}; a key ring is kept apart from the store, and from its backups"
            );
            Err(Error::invalid(message))
        }
        _ => Ok(()),
    }
}

/// Refuses a directory that is a ring, or holds anything that an interrupted creation does not leave.
fn refuse_contents(path: &Path, disk: &dyn Disk) -> Result<()> {
    let list = |path: &Path| disk.list(path).map_err(|e| Error::io("list", path, e));
    let first = head::buckets(path, 1);
    let temporary = format!("{HEAD}{TEMPORARY}");
    for name in list(path)? {
        let message = match name.as_str() {
            LOCK => continue,
            HEAD => "is a key ring already: `KeyDirectory::open` opens it".to_owned(),
            name if name == temporary => continue,
            name if path.join(name) == first => match list(&first)?.first() {
                None => continue,
                Some(bucket) => format!(
                    "holds keys, such as {name}/{bucket}, and the file {HEAD} is missing: restore it from a backup"
                ),
            },
            name => format!("is neither empty nor a key ring: it holds {name:?}"),
        };
        return Err(Error::invalid(format!("{} {message}", path.display())));
    }
    Ok(())
}

fn lock(path: &Path) -> Result<RingLock> {
    let file_path = path.join(LOCK);
    for _ in 0..LOCK_ATTEMPTS {
        let file = match LockHandle::create(&file_path, FILE_MODE) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                LockHandle::open_to_write(&file_path)
            }
            created => created,
        };
        let file = file.map_err(|e| Error::io("open", &file_path, e))?;
        if !file.try_lock().map_err(|e| Error::io("lock", &file_path, e))? {
            return Err(locked(path, &file_path));
        }
        // If it was removed in between, the lock keeps nobody out.
        if file.is_at(&file_path).map_err(|e| Error::io("find", &file_path, e))? {
            return Ok(RingLock { owner: Owner::this_process(), file });
        }
    }
    Err(locked(path, &file_path))
}

fn locked(path: &Path, file: &Path) -> Error {
    let by = LockHolder::of(file).map(|holder| holder.to_string());
    let by = by.as_deref().unwrap_or("this process or another");
    let message = format!("the key ring {} is open already, by {by}", path.display());
    Error::new(ErrorKind::Locked, message)
}
