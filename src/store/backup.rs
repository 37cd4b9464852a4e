//! Backing a store up while it is open.

use crate::error::{Error, ErrorKind, Result};
use crate::head_hash::HeadHash;
use crate::journal::backup::{self, Prefix};
use crate::journal::disk::Disk;
use crate::journal::manifest;
use crate::log::core::journal_directory;
use crate::position::Position;
use crate::store::Store;
use crate::store::directory::{self, Lock};
use std::path::Path;
use uuid::Uuid;

/// What a directory of backups may hold.
const OURS: [&str; 4] = ["MANIFEST", "MANIFEST.tmp", "journal", LOCK];
/// Locked while a backup is written; a store that is open has another lock.
const LOCK: &str = "backup.lock";

/// What a backup came to; see [`Store::backup`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// The last position that is in it: the head when the backup began.
    pub position: Position,
    /// The hash of everything in it, to be noted elsewhere.
    pub head: HeadHash,
    /// Bytes that were written.
    pub bytes_copied: u64,
    /// Segments of the journal that were copied.
    pub segments_copied: u64,
    /// Segments that an earlier backup had copied, and that cannot have changed since.
    pub segments_reused: u64,
}

impl Store {
    /// Backs the store up into the directory `path`, as of now, while others go on writing.
    ///
    /// The backup is a store of its own, without an index, views and snapshots, which are made again
    /// from the journal: [`Store::open`] opens it, and [`Store::verify_at`] verifies it. It holds
    /// everything up to the head at the time of the call, and nothing else. What is copied is synced,
    /// read back and checked, down to the hash chain, before it takes its place.
    ///
    /// A second backup into the same directory copies only what is new: sealed segments of the journal
    /// never change. A crash meanwhile leaves the backup before, or a part of the new one that is
    /// whole in itself; the next backup goes on.
    ///
    /// A backup that has been opened has become a store that goes its own way, and takes no more
    /// backups. So open a copy of it, if backups are to go on in the directory.
    ///
    /// # Errors
    /// * [`InvalidInput`](ErrorKind::InvalidInput): the directory holds something else, the backup of
    ///   another store, a store that was opened, or history that this store does not have. The
    ///   message says what. Nothing is changed there.
    /// * [`Locked`](ErrorKind::Locked): another backup into it is under way.
    /// * [`Corrupt`](ErrorKind::Corrupt): this store's journal is damaged. Damage is not backed up, and
    ///   the backup before stays.
    /// * [`StorageFull`](ErrorKind::StorageFull), [`Io`](ErrorKind::Io),
    ///   [`Closed`](ErrorKind::Closed).
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, NewEvent, Store};
    /// # let directory = tempfile::tempdir()?;
    /// # let backups = directory.path().join("backups");
    /// let store = Store::temporary()?;
    /// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("Placed", &7)?])?;
    /// let backup = store.backup(&backups)?;
    /// assert_eq!(backup.position, store.head());
    ///
    /// let restored = Store::open(&backups)?;
    /// assert_eq!(restored.read_stream("Order-1").collect()?.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<Backup> {
        self.log.refuse_if_closed()?;
        let (path, journal) = (path.as_ref(), &self.log.journal);
        let disk = &**journal.disk();
        let (position, end, chain) = self.log.head.visible_with_chain();
        let _lock = take_directory(disk, path, &self.path, journal.store())?;
        let prefix = Prefix { journal, position, end, chain };
        let copied = backup::copy(&prefix, &journal_directory(path))?;
        directory::sync_with_parents(path, disk)?;
        if manifest::read(disk, path)?.is_none() {
            // Last: without it the directory is no store.
            let ours = manifest::read(disk, &self.path)?.ok_or_else(|| {
                Error::corrupt(&manifest::path(&self.path), 0, None, "it is missing")
            })?;
            manifest::write(disk, path, &ours)?;
        }
        Ok(Backup {
            position: Position::new(position),
            head: HeadHash::new(position, chain),
            bytes_copied: copied.bytes,
            segments_copied: copied.segments,
            segments_reused: copied.reused,
        })
    }
}

/// Makes sure that `path` may take a backup of `store`, which lies at `origin`, and locks it.
fn take_directory(disk: &dyn Disk, path: &Path, origin: &Path, store: Uuid) -> Result<Lock> {
    refuse_foreign(disk, path)?;
    match manifest::read(disk, path)? {
        Some(manifest) if manifest.store != store => {
            let (path, met) = (path.display(), manifest.store);
            let message =
                format!("{path} holds a backup of the store {met}; this store is {store}");
            return Err(Error::invalid(message));
        }
        _ => {}
    }
    if directory::lies_in(path, origin) {
        let message = format!("{} lies in the store that it is to back up", path.display());
        return Err(Error::invalid(message));
    }
    disk.create_dir_all(path).map_err(|e| Error::io("create", path, e))?;
    directory::lock_file(&path.join(LOCK), "a backup into it is under way")
}

fn refuse_foreign(disk: &dyn Disk, path: &Path) -> Result<()> {
    if path.exists() && !path.is_dir() {
        return Err(Error::invalid(format!("{} is not a directory", path.display())));
    }
    let names = disk.list(path).map_err(|e| Error::io("list", path, e))?;
    let is_ours = |name: &str| OURS.contains(&name) || directory::is_volumes(path, name);
    let foreign = match names.iter().find(|name| !is_ours(name)) {
        Some(foreign) => Some(foreign.clone()),
        None => directory::foreign_in_journal(path, disk)?,
    };
    let Some(foreign) = foreign else { return Ok(()) };
    let path = path.display();
    let message = match names.iter().any(|name| name == "lock") {
        true => format!("{path} has been opened as a store; back up into another directory"),
        false => format!("{path} is no directory of backups: it holds {foreign:?}"),
    };
    Err(Error::new(ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::NewEvent;
    use crate::journal::faulty::{Faults, FaultyDisk};
    use crate::position::ExpectedVersion;
    use std::fs;
    use std::sync::Arc;

    /// A store on a disk that fails as it is told to, of which nothing else uses that disk.
    fn faulty(path: &Path, write: impl FnOnce(&Store)) -> (Arc<Faults>, Store) {
        let faults = Arc::new(Faults::default());
        let open = || {
            let disk = Arc::new(FaultyDisk(Arc::clone(&faults)));
            Store::builder().disk(disk).open(path).unwrap()
        };
        let store = open();
        write(&store);
        // The next segment may still be being prepared, on this disk.
        store.close().unwrap();
        (Arc::clone(&faults), open())
    }

    fn append(store: &Store, events: u64) {
        for _ in 0..events {
            let event = NewEvent::bytes("T", vec![7; 400_000]);
            store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
        }
    }

    fn copy_of(from: &Path) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        crate::index::files::copy_all(from, &to.path().join("copy")).unwrap();
        to
    }

    #[test]
    fn whichever_step_of_a_backup_fails_the_one_before_it_stays_whole() {
        let directory = tempfile::tempdir().unwrap();
        let before = directory.path().join("before");
        let (faults, store) = faulty(&directory.path().join("store"), |store| {
            append(store, 4);
            store.backup(&before).unwrap();
            append(store, 5);
        });
        for n in 1.. {
            let copy = copy_of(&before);
            let path = copy.path().join("copy");
            faults.fail_in(n);
            let backup = store.backup(&path);
            let has_failed = faults.has_failed();
            faults.fail_in(0);
            assert_eq!(backup.is_err(), has_failed, "step {n}: {backup:?}");
            let verified = Store::verify_at(&path).unwrap();
            assert!(verified.is_whole(), "step {n}: {:#?}", verified.findings);
            assert!(verified.head.get() >= 4, "step {n}: it ends at {}", verified.head);
            let again = store.backup(&path).unwrap_or_else(|e| panic!("step {n}, again: {e}"));
            assert_eq!(again.position.get(), 9, "step {n}");
            let restored = Store::open(&path).unwrap_or_else(|e| panic!("step {n}: {e}"));
            let (all, head) = (restored.read_all().collect().unwrap(), restored.head());
            assert_eq!((all.len(), head), (9, store.head()), "step {n}");
            if !has_failed {
                assert!(n > 5, "only {n} steps were tried");
                return;
            }
        }
    }

    #[test]
    fn a_first_backup_that_was_cut_short_is_no_store() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let (faults, store) = faulty(&path, |store| append(store, 4));
        for n in 1.. {
            let path = directory.path().join(format!("backup-{n}"));
            faults.fail_in(n);
            let backup = store.backup(&path);
            let has_failed = faults.has_failed();
            faults.fail_in(0);
            if !has_failed {
                backup.unwrap();
                return;
            }
            if !path.join("MANIFEST").exists() {
                let error = Store::open(&path).expect_err("half a backup was opened");
                let expected = [ErrorKind::InvalidInput, ErrorKind::Corrupt];
                assert!(expected.contains(&error.kind()), "step {n}: {error}");
            }
            let _ = fs::remove_file(path.join("lock"));
            store.backup(&path).unwrap_or_else(|e| panic!("step {n}, again: {e}"));
            assert!(Store::verify_at(&path).unwrap().is_whole(), "step {n}");
        }
    }
}
