//! Backing a store up while it is open.

use crate::journal::backup::prefix::Prefix;
use crate::journal::backup::{self, Check};
use crate::journal::manifest::{self, Manifest, Role};
use crate::log::core::journal_directory;
use crate::storage::disk::{Disk, Kind, refuse_no_directory};
use crate::storage::files;
use crate::storage::replace;
use crate::store::Store;
use crate::store::directory;
use crate::store::directory::contents::{BACKUP_LOCK, LOCK, foreign_in_journal, is_volumes};
use crate::store::directory::store_lock::{Lock, lock_new};
use crate::telemetry::spans::enter_span;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::head_hash::HeadHash;
use crate::value::limits::{BACKUP_CHECK_BYTES, BACKUP_NOTE_BYTES_MAX};
use crate::value::position::Position;
use serde::Serialize;
use std::io;
use std::path::Path;
use uuid::Uuid;

/// What a directory of backups may hold.
const OURS: [&str; 4] = ["MANIFEST", "MANIFEST.tmp", "journal", BACKUP_LOCK];

/// The result of a backup; see [`Store::backup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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
    /// Segments that an earlier backup had copied, and that were not copied again.
    pub segments_reused: u64,
    /// Segments that an earlier backup had copied, and of which this one has read and checked every byte.
    pub segments_checked: u64,
    /// Bytes of those segments.
    pub bytes_checked: u64,
    /// Segments that an earlier backup had copied and that were damaged since: they were copied again.
    pub segments_replaced: u64,
}

impl Store {
    /// Backs the store up into the directory `path`, as of now, while others continue to write.
    ///
    /// The backup is a store of its own, without index, views and snapshots, which are rebuilt
    /// from the journal: [`Store::open`] opens it, and [`Store::verify_at`] verifies it. It holds
    /// everything up to the head at the time of the call, and nothing else. What is copied is synced,
    /// read back and checked, down to the hash chain, before it takes its place.
    ///
    /// A second backup into the same directory copies only what is new: sealed segments of the journal
    /// never change. Copies can rot, so each backup reads 64 MiB of them again (at least one
    /// segment) and checks them as if they were new, in turn from backup to backup. The header of each is checked
    /// every time. A damaged copy is replaced, and [`Backup`] says
    /// what was checked and replaced. [`backup_checking_all`](Store::backup_checking_all) checks all of them.
    ///
    /// A crash during a backup leaves the previous backup, or a part of the new one that is
    /// consistent in itself; the next backup continues from there.
    ///
    /// Only users who may read the store may read the backup: new files have at most the permissions of the store's
    /// directory.
    ///
    /// A backup that has been opened has become a store with a history of its own, and takes no more
    /// backups. To continue backing up into the directory, open a copy of it instead.
    ///
    /// # Errors
    /// * [`InvalidInput`](ErrorKind::InvalidInput): the directory holds something else, the backup of
    ///   another store, a store that was opened, or history that this store does not have. The
    ///   message says what. Nothing is changed there.
    /// * [`Locked`](ErrorKind::Locked): another backup into it is under way, or it is being repaired.
    /// * [`Moved`](ErrorKind::Moved): one of the two directories was renamed or replaced meanwhile.
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
        self.back_up(path.as_ref(), false)
    }

    /// Like [`backup`](Store::backup), but checks everything that earlier backups have copied. This takes as long as
    /// reading it.
    ///
    /// # Errors
    /// Those of [`backup`](Store::backup).
    pub fn backup_checking_all(&self, path: impl AsRef<Path>) -> Result<Backup> {
        self.back_up(path.as_ref(), true)
    }

    fn back_up(&self, path: &Path, checks_all: bool) -> Result<Backup> {
        let span = enter_span!(
            INFO,
            "backup",
            filmstrip.position = tracing::field::Empty,
            filmstrip.outcome = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
        );
        let (log, done) = (self.log.log(), self.back_up_now(path, checks_all));
        span.ended(&done);
        match &done {
            Ok(backup) => {
                span.record("filmstrip.position", backup.position.get());
                log.counters.backups.add(1);
                log.counters.last_backup.set(log.now());
            }
            Err(_) => log.counters.backup_failures.add(1),
        }
        done
    }

    fn back_up_now(&self, path: &Path, checks_all: bool) -> Result<Backup> {
        self.log.log().refuse_if_closed()?;
        let (path, journal) = (files::absolute(path)?, &self.log.log().journal);
        let (position, end, chain) = self.log.log().head.visible_with_chain();
        let mut lock = self.take_directory(&path)?;
        let path = &lock.held().path().to_owned();
        // The copy must not be readable for more users than the store.
        let disk = &lock.guard(journal.disk(), self.parts.directory.mode()?);
        let prefix = Prefix { journal, position, end, chain };
        let check = match checks_all {
            true => Check::All,
            false => {
                let from = next_check(&**disk, path)?;
                Check::Some { from, bytes: BACKUP_CHECK_BYTES }
            }
        };
        let there = journal_directory(path);
        lock.make_journal(&**disk)?;
        if manifest::read(&**disk, path)?.is_none() {
            backup::refuse_unknown(&**disk, &there)?;
        }
        if failpoint!("store::backup_manifest_first") {
            self.copy_manifest(&**disk, path)?;
        }
        let copied = backup::copy(&prefix, disk, &there, check)?;
        let disk = &**disk;
        directory::sync_with_parents(path, disk)?;
        // Last: without it the directory is not a store.
        self.copy_manifest(disk, path)?;
        note_next_check(disk, path, copied.next_check)?;
        lock.keep();
        Ok(Backup {
            position: Position::new(position),
            head: HeadHash::new(position, chain),
            bytes_copied: copied.bytes,
            segments_copied: copied.segments,
            segments_reused: copied.reused,
            segments_checked: copied.checked,
            bytes_checked: copied.bytes_checked,
            segments_replaced: copied.replaced,
        })
    }
}

impl Store {
    /// Gives the backup in `path` the manifest of this store, unless it has it.
    fn copy_manifest(&self, disk: &dyn Disk, path: &Path) -> Result<()> {
        if manifest::read(disk, path)?.is_some() {
            return Ok(());
        }
        let ours = manifest::read(disk, self.path())?.ok_or_else(|| {
            Error::corrupt(&manifest::path(self.path()), 0, None, "it is missing")
        })?;
        // Whatever this store is, its backup is to be opened as a store.
        manifest::write(disk, path, &Manifest { role: Role::Store, ..ours })
    }

    /// Checks that `path` may take a backup of this store, and locks it.
    fn take_directory(&self, path: &Path) -> Result<Lock> {
        let (disk, store) = (self.log.log().journal.disk(), self.log.log().journal.store());
        refuse(&**disk, path, self.path(), store)?;
        let lock = lock_new(path, self.parts.directory.mode()?, disk, Some(BACKUP_LOCK))?;
        // What is read there is final only under the lock.
        refuse(&**disk, lock.held().path(), self.path(), store)?;
        Ok(lock)
    }
}

/// Refuses a directory `path` that cannot take a backup of `store`, which is at `origin`.
fn refuse(disk: &dyn Disk, path: &Path, origin: &Path, store: Uuid) -> Result<()> {
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
    if directory::lies_in_store(path, origin) {
        let message = format!("{} is inside the store that is to be backed up", path.display());
        return Err(Error::invalid(message));
    }
    if directory::has_part_of(path, origin) {
        let message = format!("the store that is to be backed up is inside {}", path.display());
        return Err(Error::invalid(message));
    }
    Ok(())
}

/// The segment that the next check of a backup in `path` begins with. The file of the lock says so; if it says
/// nothing, the first one.
fn next_check(disk: &dyn Disk, path: &Path) -> Result<u64> {
    let noted = replace::read_whole(disk, &path.join(BACKUP_LOCK), BACKUP_NOTE_BYTES_MAX)?;
    let noted = noted.unwrap_or_default();
    let noted = std::str::from_utf8(&noted).ok().and_then(|noted| noted.trim_end().parse().ok());
    Ok(noted.unwrap_or(1))
}

/// Notes where the next check begins. It need not be durable: if it is lost, something is checked again.
fn note_next_check(disk: &dyn Disk, path: &Path, segment: u64) -> Result<()> {
    let path = path.join(BACKUP_LOCK);
    let note = || disk.open_to_write(&path)?.write_all_at(format!("{segment:020}\n").as_bytes(), 0);
    note().map_err(|e| Error::io("write", &path, e))
}

/// Bytes of the note in the file of the lock.
const NOTE_BYTES: u64 = 21;

/// Refuses a file of the lock that the note would destroy: one that is longer than a note, or a link to somewhere else.
fn refuse_foreign_note(disk: &dyn Disk, path: &Path) -> Result<()> {
    let note = path.join(BACKUP_LOCK);
    let is_ours = || match disk.kind(&note)? {
        Some(Kind::File) => match disk.open(&note).and_then(|file| file.length()) {
            // It is gone meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            length => Ok(length? <= NOTE_BYTES),
        },
        Some(Kind::Link) => Ok(false),
        // What is no file is refused where it is to be locked.
        _ => Ok(true),
    };
    match is_ours().map_err(|e| Error::io("look at", &note, e))? {
        false if !failpoint!("store::overwrite_foreign_note") => {
            let note = note.display();
            Err(Error::invalid(format!(
                "{note} was not made by a backup; back up into another directory"
            )))
        }
        _ => Ok(()),
    }
}

fn refuse_foreign(disk: &dyn Disk, path: &Path) -> Result<()> {
    refuse_no_directory(disk, path)?;
    refuse_foreign_note(disk, path)?;
    let names = disk.list(path).map_err(|e| Error::io("list", path, e))?;
    let is_ours = |name: &str| OURS.contains(&name) || is_volumes(path, name);
    let foreign = match names.iter().find(|name| !is_ours(name)) {
        Some(foreign) => Some(foreign.clone()),
        None => foreign_in_journal(path, disk)?,
    };
    let Some(foreign) = foreign else { return Ok(()) };
    let path = path.display();
    let message = match names.iter().any(|name| name == LOCK) {
        true => format!("{path} has been opened as a store; back up into another directory"),
        false => format!("{path} is not a directory of backups: it holds {foreign:?}"),
    };
    Err(Error::new(ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::faulty::{Faults, FaultyDisk};
    use crate::value::event::NewEvent;
    use crate::value::position::ExpectedVersion;
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
        crate::kv::files::copy_all(from, &to.path().join("copy")).unwrap();
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

    /// A backup that failed left the segment that it was at, as large as the one beside it, where the disk was full,
    /// perhaps for ever.
    #[test]
    fn a_backup_that_failed_leaves_nothing_and_what_a_killed_one_left_goes() {
        let directory = tempfile::tempdir().unwrap();
        let backups = directory.path().join("backups");
        let (faults, store) = faulty(&directory.path().join("store"), |store| append(store, 4));
        store.backup(&backups).unwrap();
        append(&store, 6);
        let leftovers = || {
            let names = fs::read_dir(backups.join("journal")).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.ends_with(".tmp")).collect::<Vec<_>>()
        };
        faults.set_full(true);
        let error = store.backup(&backups).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        assert_eq!(leftovers(), [""; 0]);
        faults.set_full(false);
        fs::write(backups.join("journal/00000000000000000001.tmp"), "killed").unwrap();
        store.backup(&backups).unwrap();
        assert_eq!(leftovers(), [""; 0]);
        assert!(Store::verify_at(&backups).unwrap().is_whole());
    }

    #[test]
    fn what_is_there_is_checked_in_turn_within_a_budget() {
        let directory = tempfile::tempdir().unwrap();
        let backups = directory.path().join("backups");
        let store = Store::open(directory.path().join("store")).unwrap();
        append(&store, 20);
        let sealed = store.backup(&backups).unwrap().segments_copied - 1;
        assert!(sealed >= 3, "{sealed} segments");
        store.backup(&backups).unwrap();
        assert_eq!(
            next_check(&**store.log.log().journal.disk(), &backups).unwrap(),
            1,
            "all of them fit"
        );
        let check = |from, bytes| {
            let (position, end, chain) = store.log.log().head.visible_with_chain();
            let prefix = Prefix { journal: &store.log.log().journal, position, end, chain };
            let check = Check::Some { from, bytes };
            backup::copy(&prefix, prefix.journal.disk(), &journal_directory(&backups), check)
                .unwrap()
        };
        // One at a time, and the last one, which may go on and is read each time.
        let mut next = 1;
        for turn in 0..2 * sealed {
            let checked = check(next, 1);
            assert_eq!((checked.checked, checked.replaced), (2, 0), "turn {turn}");
            assert_eq!(checked.next_check, (turn + 1) % sealed + 1);
            next = checked.next_check;
        }
        assert_eq!(check(1, 2 << 20).next_check, 3, "one MiB, and then two");
        assert_eq!(check(sealed, u64::MAX).checked, sealed + 1);
        assert_eq!(check(99, 1).next_check, 2, "what cannot be begins again");
        // Found in its turn, and not before.
        let third = backups.join("journal/00000000000000000003");
        let mut bytes = fs::read(&third).unwrap();
        bytes[500_000] ^= 1;
        fs::write(&third, bytes).unwrap();
        assert_eq!([1, 2, 3].map(|from| check(from, 1).replaced), [0, 0, 1]);
        assert!(Store::verify_at(&backups).unwrap().is_whole());
        note_next_check(&**store.log.log().journal.disk(), &backups, 3).unwrap();
        assert_eq!(next_check(&**store.log.log().journal.disk(), &backups).unwrap(), 3);
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
            if path.exists() && !path.join("MANIFEST").exists() {
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
