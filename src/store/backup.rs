//! Backing a store up while it is open, in this process or in another one.

mod directory;
mod options;
#[cfg(test)]
mod tests;

pub use options::BackupOptions;

use crate::follow::follower::Follower;
use crate::follow::follower::durable::Durable;
use crate::journal::backup::prefix::Prefix;
use crate::journal::backup::{self, Check};
use crate::journal::manifest::{self, FORMAT_MAX, Manifest, Role};
use crate::log::core::journal_directory;
use crate::storage::disk::Disk;
use crate::storage::files;
use crate::storage::parents::sync_with_parents;
use crate::store::Store;
use crate::store::directory::contents::BACKUP_LOCK;
use crate::store::directory::store_lock::{Lock, lock_new};
use crate::telemetry::spans::enter_span;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::head_hash::HeadHash;
use crate::value::limits::BACKUP_CHECK_BYTES;
use crate::value::position::Position;
use directory::{next_check, note_next_check, refuse};
use serde::Serialize;
use std::path::Path;

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
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput): the directory holds something else, the backup of
    ///   another store, a store that was opened, or history that this store does not have. The
    ///   message says what. Nothing is changed there.
    /// * [`Locked`](crate::ErrorKind::Locked): another backup into it is under way, or it is being repaired.
    /// * [`Moved`](crate::ErrorKind::Moved): one of the two directories was renamed or replaced meanwhile.
    /// * [`Corrupt`](crate::ErrorKind::Corrupt): this store's journal is damaged. Damage is not backed up, and
    ///   the backup before stays.
    /// * [`StorageFull`](crate::ErrorKind::StorageFull), [`Io`](crate::ErrorKind::Io),
    ///   [`Closed`](crate::ErrorKind::Closed).
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
        self.backup_with(path, BackupOptions::new())
    }

    /// Like [`backup`](Store::backup), but checks everything that earlier backups have copied. This takes as long as
    /// reading it.
    ///
    /// # Errors
    /// Those of [`backup`](Store::backup).
    pub fn backup_checking_all(&self, path: impl AsRef<Path>) -> Result<Backup> {
        self.backup_with(path, BackupOptions::new().check_all())
    }

    /// Like [`backup`](Store::backup), with [options](BackupOptions): how much of earlier backups is checked, and whom
    /// to tell how far the backup is.
    ///
    /// # Errors
    /// Those of [`backup`](Store::backup).
    pub fn backup_with(
        &self,
        path: impl AsRef<Path>,
        options: BackupOptions<'_>,
    ) -> Result<Backup> {
        let (log, done) = (self.log.log(), self.back_up_now(path.as_ref(), &options));
        match &done {
            Ok(_) => {
                log.counters.backups.add(1);
                log.counters.last_backup.set(log.now());
            }
            Err(_) => log.counters.backup_failures.add(1),
        }
        done
    }

    fn back_up_now(&self, path: &Path, options: &BackupOptions<'_>) -> Result<Backup> {
        let log = self.log.log();
        log.refuse_if_closed()?;
        let (position, end, chain) = log.head.visible_with_chain();
        let prefix = Prefix { journal: &log.journal, position, end, chain };
        let source = Source { prefix, path: self.path(), mode: self.parts.directory.mode()? };
        source.back_up(path, options)
    }
}

impl Follower {
    /// Backs the store up into the directory `path`, beside the process that writes it.
    ///
    /// It makes the same backup as [`Store::backup`] does in that process: everything up to the last durable event, and
    /// at least all that was acknowledged before the call. Both may take turns in one directory. The writer is neither
    /// stopped nor told: its [statistics](crate::health::UpkeepStats) count only its own backups.
    ///
    /// # Errors
    /// Those of [`Store::backup`] and of [`head`](Follower::head);
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if no process has opened the store yet.
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, Follower, NewEvent, Store};
    /// # let directory = tempfile::tempdir()?;
    /// # let (path, backups) = (directory.path().join("orders"), directory.path().join("backups"));
    /// let store = Store::open(&path)?; // in one process
    /// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("Placed", &7)?])?;
    ///
    /// let backup = Follower::open(&path)?.backup(&backups)?; // in another
    /// assert_eq!(backup.head, store.head_hash());
    /// assert!(Store::verify_at(&backups)?.is_whole());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<Backup> {
        self.backup_with(path, BackupOptions::new())
    }

    /// Like [`backup`](Follower::backup), with options.
    ///
    /// # Errors
    /// Those of [`backup`](Follower::backup).
    pub fn backup_with(
        &self,
        path: impl AsRef<Path>,
        options: BackupOptions<'_>,
    ) -> Result<Backup> {
        let Durable { journal, position, end, chain } = self.durable()?;
        let prefix = Prefix { journal: &journal, position, end, chain };
        let from = self.path();
        let mode = files::mode(from).map_err(|e| Error::io("look at", from, e))?;
        let source = Source { prefix, path: from, mode };
        source.back_up(path.as_ref(), &options)
    }
}

/// What is backed up.
struct Source<'a> {
    prefix: Prefix<'a>,
    /// The directory of the store, and its permissions: the copy must not be readable for more users.
    path: &'a Path,
    mode: u32,
}

impl Source<'_> {
    fn back_up(&self, path: &Path, options: &BackupOptions<'_>) -> Result<Backup> {
        let span = enter_span!(
            INFO,
            "backup",
            filmstrip.position = tracing::field::Empty,
            filmstrip.outcome = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
        );
        let done = self.copy_into(path, options);
        span.ended(&done);
        if let Ok(backup) = &done {
            span.record("filmstrip.position", backup.position.get());
        }
        done
    }

    fn copy_into(&self, path: &Path, options: &BackupOptions<'_>) -> Result<Backup> {
        let Prefix { journal, position, chain, .. } = self.prefix;
        let mut lock = self.take_directory(&files::absolute(path)?)?;
        let path = &lock.held().path().to_owned();
        let disk = &lock.guard(journal.disk(), self.mode);
        let check = match options.checks_all {
            true => Check::All,
            false => {
                let from = next_check(&**disk, path)?;
                Check::Some { from, bytes: BACKUP_CHECK_BYTES }
            }
        };
        let there = journal_directory(path);
        lock.make_journal(&**disk)?;
        match manifest::read(&**disk, path)? {
            None => backup::refuse_unknown(&**disk, &there)?,
            // Before the events that make it necessary: the store has private events, and had none.
            Some(before) => self.renew_manifest(&**disk, path, &before)?,
        }
        if failpoint!("store::backup_manifest_first") {
            self.copy_manifest(&**disk, path)?;
        }
        let copied = backup::copy(&self.prefix, disk, &there, check, options.report)?;
        let disk = &**disk;
        sync_with_parents(path, disk)?;
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

    /// Gives the backup in `path` the manifest of this store, unless it has it.
    fn copy_manifest(&self, disk: &dyn Disk, path: &Path) -> Result<()> {
        if manifest::read(disk, path)?.is_some() {
            return Ok(());
        }
        manifest::write(disk, path, &self.manifest(disk)?)
    }

    /// Gives the backup in `path`, whose manifest was `before`, the format that the store has now.
    fn renew_manifest(&self, disk: &dyn Disk, path: &Path, before: &Manifest) -> Result<()> {
        if before.format == FORMAT_MAX {
            return Ok(());
        }
        let ours = self.manifest(disk)?;
        match ours.format > before.format {
            true => manifest::write(disk, path, &ours),
            false => Ok(()),
        }
    }

    /// The manifest of this store.
    fn manifest(&self, disk: &dyn Disk) -> Result<Manifest> {
        let missing = || Error::corrupt(&manifest::path(self.path), 0, None, "it is missing");
        let ours = manifest::read(disk, self.path)?.ok_or_else(missing)?;
        let store = self.prefix.journal.store();
        if ours.store != store {
            let (from, met) = (self.path.display(), ours.store);
            let message = format!("{from} holds the store {met} now; the backup is of {store}");
            return Err(Error::new(ErrorKind::Replaced, message));
        }
        // Whatever this store is, its backup is to be opened as a store.
        Ok(Manifest { role: Role::Store, ..ours })
    }

    /// Checks that `path` may take a backup of this store, and locks it.
    fn take_directory(&self, path: &Path) -> Result<Lock> {
        let (disk, store) = (self.prefix.journal.disk(), self.prefix.journal.store());
        refuse(&**disk, path, self.path, store)?;
        let lock = lock_new(path, self.mode, disk, Some(BACKUP_LOCK))?;
        // What is read there is final only under the lock.
        refuse(&**disk, lock.held().path(), self.path, store)?;
        Ok(lock)
    }
}
