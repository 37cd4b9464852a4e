//! Repairs of a damaged store. Each is a choice of its own, and loses nothing silently.
//!
//! * Only the choice that says so changes a damaged store, and even that renames instead of deleting.

use crate::doctor::export::{Export, export};
use crate::index::quarantine::quarantine_index;
use crate::journal::manifest::{self, FORMAT_MAX, Manifest};
use crate::log::core::journal_directory;
use crate::storage::disk::{Disk, RealDisk};
use crate::storage::files;
use crate::store::Store;
use crate::store::directory::store_lock::{Lock, lock_existing};
use crate::store::export_target::ExportTarget;
use crate::store::verify::{
    Still, Verification, read_manifest, stores_of_journal, verify_still, with_still_site,
};
use crate::value::clock::{Clock, Micros, SystemClock};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::finding::{Finding, FindingKind, Findings};
use crate::value::fork::Owner;
use crate::value::position::{Position, Version};
use crate::value::progress::Progress;
use crate::value::shown;
use serde::Serialize;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// A closed store, to be examined and repaired; see [`Store::repair`].
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("orders");
/// let store = Store::open(&path)?;
/// store.append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("Placed", &7)?])?;
/// store.close()?;
///
/// let repair = Store::repair(&path)?; // changes nothing
/// assert!(repair.verify()?.is_whole());
/// repair.rebuild_index()?; // the old one is quarantined
/// drop(repair);
/// assert_eq!(Store::open(&path)?.head().get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Repair {
    owner: Owner,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    store: Uuid,
    /// What its manifest says; the newest, if that cannot be read.
    format: u32,
    /// Held from the beginning, so that nobody opens the store, or backs up into it, meanwhile.
    lock: Lock,
    /// What is wrong with the manifest besides what reading it shows.
    foreign: Option<String>,
}

/// The result of [`Repair::rebuild_index`] and [`Store::rebuild_index`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IndexRebuilt {
    /// Where the old index is now; `None` if there was none. The newest two are kept.
    #[serde(serialize_with = "shown::optional_path")]
    pub moved_to: Option<PathBuf>,
    /// How far the new index holds the journal; the start if it is built when the store is opened.
    pub position: Position,
}

impl Store {
    /// Locks the closed store in the directory `path`, to verify it and to choose a repair. This changes nothing, and
    /// the store cannot be opened while the returned value lives.
    ///
    /// # Errors
    /// * [`Locked`](crate::ErrorKind::Locked): it is open, or a backup is written into it.
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput): there is no store.
    /// * [`UnsupportedFormat`](crate::ErrorKind::UnsupportedFormat): a newer version wrote it.
    /// * [`Corrupt`](crate::ErrorKind::Corrupt): neither the manifest nor any segment says which store it is.
    pub fn repair(path: impl AsRef<Path>) -> Result<Repair> {
        Repair::on(&(Arc::new(RealDisk) as Arc<dyn Disk>), path.as_ref())
    }

    /// Quarantines the index and rebuilds it from the journal, as far as it was. Readers and
    /// writers of the index wait meanwhile. The new index has no snapshots; they are taken again.
    ///
    /// This is never necessary: an index that is missing, old or damaged is rebuilt automatically.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed), or the error that ended the rebuild (a full disk, for example). Then reads
    /// and appends that need the index return that error, and some of them retry the rebuild, after a
    /// pause that grows up to some seconds. So does another call of this.
    pub fn rebuild_index(&self) -> Result<IndexRebuilt> {
        self.log.log().owner.check()?;
        let (moved_to, position) = self.log.log().index.rebuild()?;
        Ok(IndexRebuilt { moved_to, position: Position::new(position) })
    }
}

/// Whether something is at `path`.
fn is_there(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let found = disk.kind_there(path).map_err(|e| Error::io("look for", path, e))?;
    Ok(found.is_some())
}

/// Which store it is, and what is wrong with the manifest if most of the journal's segments are of another one:
/// a file of a few bytes is exchanged more easily than the events.
fn which_store(
    manifest: Result<Manifest>,
    stores: &[(Uuid, usize)],
) -> Result<(Uuid, Option<String>)> {
    let most = stores.first().copied();
    let manifest = match (manifest, most) {
        (Ok(manifest), _) => manifest,
        (Err(_), Some((store, _))) => return Ok((store, None)),
        (Err(error), None) => return Err(error),
    };
    let named = manifest.store;
    let its_segments = stores.iter().find(|(store, _)| *store == named).map_or(0, |(_, n)| *n);
    match most {
        Some((store, segments))
            if segments > its_segments && !failpoint!("doctor::believe_any_manifest") =>
        {
            let all: usize = stores.iter().map(|(_, segments)| segments).sum();
            let what = format!(
                "it names the store {named}, but {segments} of the journal's {all} segments are of {store}"
            );
            Ok((store, Some(what)))
        }
        _ => Ok((named, None)),
    }
}

impl Repair {
    /// The closed store in the directory `path` on `disk`.
    pub(crate) fn on(disk: &Arc<dyn Disk>, path: &Path) -> Result<Repair> {
        let path = files::absolute(path)?;
        if !is_there(&**disk, &manifest::path(&path))?
            && !is_there(&**disk, &journal_directory(&path))?
        {
            let message = format!("{} is not a store", path.display());
            return Err(Error::invalid(message));
        }
        let lock = lock_existing(&path, disk)?;
        let path = lock.held().path().to_owned();
        let disk = lock.guard(disk, lock.held().mode()?);
        let stores = stores_of_journal(&*disk, &journal_directory(&path))?;
        let manifest = read_manifest(&*disk, &path, &mut Findings::default())?;
        // If it cannot be read, the journal may hold anything that this build knows.
        let format = manifest.as_ref().map_or(FORMAT_MAX, |manifest| manifest.format);
        let (store, foreign) = which_store(manifest, &stores)?;
        if let Some(foreign) = &foreign {
            tracing::warn!(path = %manifest::path(&path).display(), "{foreign}");
        }
        let owner = Owner::this_process();
        Ok(Repair { owner, path, disk, store, format, lock, foreign })
    }

    /// Everything that is wrong with the store; see [`Store::verify_at`].
    ///
    /// # Errors
    /// What prevented the verification itself. Damage is not an error.
    pub fn verify(&self) -> Result<Verification> {
        self.verify_with(|_| {})
    }

    /// Does the same as [`verify`](Repair::verify), and calls `report` as [`Store::verify_with`] does.
    ///
    /// # Errors
    /// Those of [`verify`](Repair::verify).
    pub fn verify_with(&self, report: impl Fn(Progress)) -> Result<Verification> {
        self.owner.check()?;
        let mut findings = Findings::default();
        // What the manifest lacks is a finding, and did not prevent anything.
        let _ = read_manifest(&*self.disk, &self.path, &mut findings)?;
        if let Some(foreign) = &self.foreign {
            let file = manifest::path(&self.path);
            findings.add(Finding::new(FindingKind::Manifest, &file, foreign.as_str()));
        }
        verify_still(&self.still(), findings, &report)
    }

    fn still(&self) -> Still<'_> {
        Still { path: &self.path, disk: &self.disk, store: self.store }
    }

    /// Quarantines the index, so that opening the store rebuilds it from the journal.
    ///
    /// Afterwards a store opens even if its index was ahead of its journal. Either the journal has lost durable events,
    /// or it was put beneath the index of another history of the store, from a backup, say. Check the result of
    /// [`verify`](Repair::verify), and keep the quarantined index.
    ///
    /// # Errors
    /// Errors of moving it.
    pub fn rebuild_index(&self) -> Result<IndexRebuilt> {
        self.owner.check()?;
        self.lock.held().check_before("quarantine the index in")?;
        let moved_to = quarantine_index(&self.disk, &self.path)?;
        Ok(IndexRebuilt { moved_to, position: Position::START })
    }
}

impl Repair {
    /// Writes everything that can be read of the store as a new one into the directory `to`, which is
    /// empty or absent, or holds an export that a crash ended. The store itself is only read.
    ///
    /// Events that the journal has lost are taken from the index if it has them. What cannot be read
    /// anywhere is lost, and what could not be kept is left out:
    ///
    /// * **Positions** are dense in every store, so events after a lost or left-out one move up. They
    ///   keep their order, ids, versions, times and content; [`Exported::renumbered`] has their old positions.
    ///   Positions of the old store that were noted elsewhere must be translated.
    /// * **A stream that lacks a version** is cut before the gap ([`Exported::cut_streams`]), because a
    ///   state computed over a gap would be wrong. Its later events are left out.
    /// * **What consumers have tracked** of other logs is copied in its newest state. The engine's own
    ///   state (of consumer groups, for instance), which holds positions of this store, is copied
    ///   as of before the first damage, so that its work is repeated rather than skipped.
    /// * Snapshots and views are built again.
    ///
    /// A file beside `to`, whose name ends in `.left-out.jsonl`, lists everything that is lost, renumbered, cut or left
    /// out: one JSON object on each line, left-out events whole. The new store has an id of its own, and becomes a
    /// store only once all of it is durable.
    ///
    /// # Errors
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput): `to` is not empty, or is inside the store, or there
    ///   is a file beside it that is not an unfinished export's.
    /// * Errors of reading or writing. What was written by then is removed. After a crash it is not a store, and
    ///   the next export into the directory replaces it.
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, NewEvent, Store};
    /// # let directory = tempfile::tempdir()?;
    /// # let (damaged, mended) = (directory.path().join("damaged"), directory.path().join("mended"));
    /// # let store = Store::open(&damaged)?;
    /// # for n in 1..=3 {
    /// #     let stream = format!("Order-{n}");
    /// #     store.append(stream, ExpectedVersion::NoStream, [NewEvent::json("Placed", &n)?])?;
    /// # }
    /// # store.close()?;
    /// # let segment = damaged.join("journal/00000000000000000001");
    /// # let mut bytes = std::fs::read(&segment)?;
    /// # let second = bytes.windows(7).position(|name| name == b"Order-2").unwrap();
    /// # bytes[second] ^= 1;
    /// # std::fs::write(&segment, bytes)?;
    /// // Somebody has damaged the event at position 2.
    /// assert!(Store::open(&damaged).is_err());
    /// let exported = Store::repair(&damaged)?.export(&mended)?;
    /// assert_eq!((exported.events, exported.lost.len()), (2, 1));
    /// let moved = &exported.renumbered[0];
    /// assert_eq!((moved.first.get(), moved.now.get()), (3, 2));
    /// assert_eq!(Store::open(&mended)?.head().get(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(&self, to: impl AsRef<Path>) -> Result<Exported> {
        self.export_with(to, |_| {})
    }

    /// Does the same as [`export`](Repair::export), and calls `report` with how much of the journal was read: about
    /// every MiB, and at the end. It is read at least three times, and each time the progress begins again.
    ///
    /// # Errors
    /// Those of [`export`](Repair::export).
    pub fn export_with(&self, to: impl AsRef<Path>, report: impl Fn(Progress)) -> Result<Exported> {
        self.owner.check()?;
        let to = files::absolute(to.as_ref())?;
        // The copy must not be readable for more users than the store.
        let mode = self.lock.held().mode()?;
        let mut target = ExportTarget::begin(&to, &self.path, &self.disk, mode)?;
        let (to, its_disk) = target.make_journal()?;
        let aside = target.left_out();
        let store = Uuid::now_v7();
        let export = with_still_site(
            &self.still(),
            &mut Findings::default(),
            BTreeSet::new(),
            &report,
            |site| export(site, &its_disk, &to, store, aside),
        )?;
        let created = Micros::of(SystemClock.now());
        let manifest = Manifest { format: self.format, ..Manifest::of_store(store, created) };
        let left_out_file = target.finish(&manifest)?;
        Ok(Exported::new(export, left_out_file))
    }
}

/// What [`Repair::export`] has copied into the new store, and what it has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Exported {
    /// Events in the new store.
    pub events: u64,
    /// How many of them the journal had lost and the index still had.
    pub from_index: u64,
    /// Positions of the old store that can no longer be read.
    pub lost: Vec<RangeInclusive<Position>>,
    /// Streams that lack a version, and so were cut.
    pub cut_streams: Vec<CutStream>,
    /// Events that can be read and were left out: those after a gap in their stream.
    pub left_out: u64,
    /// Changes of the engine's own state that were left out.
    pub states_left_out: u64,
    /// Events that have another position now.
    pub renumbered: Vec<Renumbered>,
    /// The file that lists all of this, if there was anything to list.
    #[serde(serialize_with = "shown::optional_path")]
    pub left_out_file: Option<PathBuf>,
}

/// A stream that was cut at a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CutStream {
    /// Its name.
    pub stream: String,
    /// The last version that is in the new store; none if it is not there at all.
    pub kept_up_to: Version,
}

/// Consecutive events that have moved up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Renumbered {
    /// The position of the first of them in the old store.
    pub first: Position,
    /// The position of the last of them in the old store.
    pub last: Position,
    /// The position of the first of them in the new store; the others follow.
    pub now: Position,
}

impl Exported {
    fn new(export: Export, left_out_file: Option<PathBuf>) -> Exported {
        let position = Position::new;
        let lost = export.lost.into_iter().map(|(a, b)| position(a)..=position(b)).collect();
        let cut = |(stream, last)| CutStream { stream, kept_up_to: Version::new(last) };
        let moved = |(first, last, now)| Renumbered {
            first: position(first),
            last: position(last),
            now: position(now),
        };
        Exported {
            events: export.events,
            from_index: export.from_index,
            lost,
            cut_streams: export.cuts.into_iter().map(cut).collect(),
            left_out: export.left_out,
            states_left_out: export.states_left_out,
            renumbered: export.renumbered.into_iter().map(moved).collect(),
            left_out_file,
        }
    }
}

impl std::fmt::Debug for Repair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repair").field("path", &self.path).field("store", &self.store).finish()
    }
}
