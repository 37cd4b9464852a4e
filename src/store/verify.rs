//! Verifying a store: reports everything that is wrong with it, and changes nothing.
//!
//! * An open store is verified as of now, while writers continue.
//! * A store that another process has open is verified as far as another process can read it.
//! * A closed store is verified from outside: its databases are copied and the copies opened, because sled writes when
//!   it opens.

mod followed;
mod verified_views;

use crate::doctor::audit::audited::{Audited, IndexAccess};
use crate::doctor::audit::{Site, Walked, audit};
use crate::index::checkpoint::CHECKPOINT;
use crate::index::core::Index;
use crate::index::quarantine::INDEX;
use crate::journal::lenient_scan::Until;
use crate::journal::manifest::{self, Role};
use crate::journal::segment;
use crate::journal::watermark::{self, DurableWatermark};
use crate::kv::failure::{OpenError, Unusable};
use crate::kv::files::copy_all;
use crate::log::core::journal_directory;
use crate::storage::disk::{Disk, RealDisk};
use crate::store::Store;
use crate::store::scratch::{Purpose, Scratch};
use crate::telemetry::spans::enter_span;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::finding::{Finding, FindingKind, Findings};
use crate::value::limits::{READ_AGAIN_MAX, VERIFY_CACHE_BYTES};
use crate::value::position::Position;
use crate::value::progress::Progress;
use crate::views::VIEWS;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;
use verified_views::{SomeViews, copy_views};

/// The result of a verification; see [`Store::verify`].
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// let store = Store::temporary()?;
/// store.append("Door-1", ExpectedVersion::NoStream, [NewEvent::json("Opened", &())?])?;
/// let verified = store.verify()?;
/// assert!(verified.is_whole(), "{:?}", verified.findings);
/// assert_eq!((verified.events, verified.head.get()), (1, 1));
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// Everything that is wrong, in the order in which it was found. The first 10,000 are kept.
    pub findings: Vec<Finding>,
    /// How many findings were not kept.
    pub more_findings: u64,
    /// The last position that the journal has, or had room for.
    pub head: Position,
    /// Events that were read and checked.
    pub events: u64,
    /// Segments of the journal that were read.
    pub segments: u64,
    /// Bytes of the journal that were read.
    pub bytes: u64,
    /// The position up to which the index was compared with the journal; `None` if it is still empty, or cannot be
    /// used, which is a finding. Later events are only in the journal.
    pub indexed: Option<Position>,
    /// Views that were read.
    pub views: u64,
    /// What was not looked at, because only the process that has the store open can read it. It is empty but for
    /// [`Follower::verify`](crate::Follower::verify).
    pub unchecked: Vec<Unchecked>,
}

/// A part of a store that [`Follower::verify`](crate::Follower::verify) does not look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum Unchecked {
    /// The whole index: there is none that another process can read.
    Index,
    /// What the index keeps in its database: snapshots, records, and entries that say where a read begins. Its events,
    /// streams and tags were compared with the journal.
    IndexDatabase,
    /// The views.
    Views,
}

impl Verification {
    /// Returns whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    fn new(findings: Findings, walked: &Walked, indexed: Option<u64>, views: u64) -> Verification {
        Verification {
            findings: findings.kept,
            more_findings: findings.more,
            head: Position::new(walked.head),
            events: walked.events,
            segments: walked.segments,
            bytes: walked.bytes,
            indexed: indexed.map(Position::new),
            views,
            unchecked: Vec::new(),
        }
    }
}

impl Store {
    /// Checks everything in the store, and reports everything that is wrong, not only the first problem.
    ///
    /// It walks the whole journal (checksums, the hash chain, positions without a gap, versions
    /// without a gap, what must be zero), looks up each event in the index and compares its bytes,
    /// compares each stream state, record, sparse index entry and snapshot of the index with the
    /// journal, and reads every row of every view. No view may be ahead of the log, or of another history.
    ///
    /// The store stays usable meanwhile, and is verified as of the call. Nothing is changed, repaired or quarantined.
    /// It takes as long as reading the store; memory is bounded, at about 150 MiB. Progress is logged as [`tracing`]
    /// events.
    ///
    /// A store that cannot be opened is verified by [`Store::verify_at`].
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed), or what prevented the verification itself. Damage is a finding, not an error.
    pub fn verify(&self) -> Result<Verification> {
        self.verify_with(|_| {})
    }

    /// Does the same as [`verify`](Store::verify), and calls `report` with how much of the journal was read and
    /// compared: about every MiB, and at the end. The journal of a store with very many streams is read more than once,
    /// and then the progress begins again.
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, NewEvent, Position, Store};
    /// use std::cell::Cell;
    /// let store = Store::temporary()?;
    /// store.append("Door-1", ExpectedVersion::NoStream, [NewEvent::json("Opened", &())?])?;
    /// let reached = Cell::new(Position::START);
    /// store.verify_with(|progress| reached.set(progress.position))?;
    /// assert_eq!(reached.get(), store.head());
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`verify`](Store::verify).
    pub fn verify_with(&self, report: impl Fn(Progress)) -> Result<Verification> {
        let span = enter_span!(
            INFO,
            "verify",
            filmstrip.position = tracing::field::Empty,
            filmstrip.outcome = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
        );
        let (counters, done) = (&self.log.log().counters, self.verify_now(&report));
        span.ended(&done);
        if let Ok(verified) = &done {
            span.record("filmstrip.position", verified.head.get());
        }
        match &done {
            Ok(verified) if verified.is_whole() => counters.verifications.add(1),
            _ => counters.verification_failures.add(1),
        }
        done
    }

    fn verify_now(&self, report: &dyn Fn(Progress)) -> Result<Verification> {
        self.log.log().refuse_if_closed()?;
        self.parts.directory.check_before("verify")?;
        let journal = &self.log.log().journal;
        let (disk, directory) = (journal.disk(), journal.directory());
        let mut findings = Findings::default();
        // What the manifest lacks is a finding, and prevents nothing.
        let _ = read_manifest(&**disk, self.path(), &mut findings)?;
        // The index and the views first: what they hold now is visible a moment later.
        let mut found = Findings::default();
        let opened =
            self.parts.projections.open_views(|| copy_views(&**disk, self.path(), &mut found));
        let views = match opened {
            Ok(views) => SomeViews::Live(views),
            Err(copy) => SomeViews::still(self.path(), copy?, &mut found)?,
        };
        let origins = views.origins()?;
        let access = IndexAccess::Live(&self.log.log().index);
        let index = match Audited::new(access, self.path().join(INDEX)) {
            Ok(index) => Some(index),
            Err(error) if self.log.log().index.is_lost() => {
                let path = self.path().join(INDEX);
                findings.add(Finding::new(FindingKind::Index, &path, error.to_string()));
                None
            }
            Err(error) => return Err(error),
        };
        let (_, end) = self.log.log().head.visible();
        read_mark(&**disk, directory, journal.store(), &mut findings)?;
        let indexed = index.as_ref().filter(|index| index.stored.epoch > 0);
        let indexed = indexed.map(|index| index.stored.checkpoint.position);
        let site = Site {
            disk: Arc::clone(disk),
            journal: directory.to_owned(),
            store: journal.store(),
            until: Until::Visible(end),
            index,
            chains_at: origins.positions(),
            report,
        };
        let walked = audit(&site, &mut findings)?;
        findings.append(found);
        origins.check(&self.path().join(VIEWS), site.store, &walked.chains, &mut findings);
        let views = views.audit(&**disk, self.path(), || self.head().get(), &mut findings)?;
        Ok(Verification::new(findings, &walked, indexed, views))
    }

    /// Verifies the closed store in the directory `path`: a damaged one that cannot be opened, for example, or a
    /// backup. See [`Store::verify`] for what is checked.
    ///
    /// Nothing is changed on disk. The index and the views are copied to the system's temporary
    /// directory and opened there. Only the user may read the copies; if a killed process leaves
    /// some, the next verification of the same user removes them.
    ///
    /// # Errors
    /// * [`Locked`](ErrorKind::Locked): it is open; verify it there.
    /// * [`InvalidInput`](ErrorKind::InvalidInput): there is no store.
    /// * [`UnsupportedFormat`](ErrorKind::UnsupportedFormat): a newer version wrote it.
    /// * What prevented the verification itself.
    pub fn verify_at(path: impl AsRef<Path>) -> Result<Verification> {
        Store::repair(path)?.verify()
    }
}

/// A store that no process has open.
pub(super) struct Still<'a> {
    pub(super) path: &'a Path,
    pub(super) disk: &'a Arc<dyn Disk>,
    pub(super) store: Uuid,
}

/// Verifies a closed store.
pub(super) fn verify_still(
    still: &Still<'_>,
    mut findings: Findings,
    report: &dyn Fn(Progress),
) -> Result<Verification> {
    let Still { path, disk, store } = *still;
    let (mut found, mut of_views) = (Findings::default(), Findings::default());
    let copy = copy_views(&**disk, path, &mut of_views)?;
    let views = SomeViews::still(path, copy, &mut of_views)?;
    let origins = views.origins()?;
    let chains_at = origins.positions();
    let walk = |site: &Site<'_>| {
        let indexed = site.index.as_ref().filter(|index| index.stored.epoch > 0);
        let indexed = indexed.map(|index| index.stored.checkpoint.position);
        Ok((audit(site, &mut found)?, indexed))
    };
    let (walked, indexed) = with_still_site(still, &mut findings, chains_at, report, walk)?;
    findings.append(found);
    findings.append(of_views);
    origins.check(&path.join(VIEWS), store, &walked.chains, &mut findings);
    let views = views.audit(&**disk, path, || walked.head, &mut findings)?;
    Ok(Verification::new(findings, &walked, indexed, views))
}

/// Lets `work` look at a closed store, with a copy of its index if that can be used.
pub(super) fn with_still_site<T>(
    still: &Still<'_>,
    findings: &mut Findings,
    chains_at: BTreeSet<u64>,
    report: &dyn Fn(Progress),
    work: impl FnOnce(&Site<'_>) -> Result<T>,
) -> Result<T> {
    let Still { path, disk, store } = *still;
    let journal = journal_directory(path);
    let watermark = read_mark(&**disk, &journal, store, findings)?;
    let copied = copy_index(&**disk, path, findings)?;
    let index = match &copied {
        Some(copy) => open_still(path, copy, store, findings)?,
        None => None,
    };
    let audited = match &index {
        Some(index) => Some(Audited::new(IndexAccess::Still(index), path.join(INDEX))?),
        None => None,
    };
    let until = match (watermark, is_replica(&**disk, path)) {
        (Some(watermark), true) => Until::EndOfReplica(watermark),
        (watermark, _) => Until::End(watermark),
    };
    let (disk, index_of_site) = (Arc::clone(disk), audited);
    let site = Site { disk, journal, store, until, index: index_of_site, chains_at, report };
    let done = work(&site);
    drop(site);
    if let Some(Err(error)) = index.map(Index::close) {
        tracing::warn!(%error, "the copy of the index could not be closed cleanly");
    }
    done
}

fn is_replica(disk: &dyn Disk, path: &Path) -> bool {
    matches!(manifest::read(disk, path), Ok(Some(manifest)) if manifest.role == Role::Replica)
}

/// What the manifest says, or why that cannot be used, which then is a finding as well.
pub(super) fn read_manifest(
    disk: &dyn Disk,
    path: &Path,
    findings: &mut Findings,
) -> Result<std::result::Result<manifest::Manifest, Error>> {
    let file = manifest::path(path);
    let error = match manifest::read(disk, path) {
        Ok(Some(manifest)) => return Ok(Ok(manifest)),
        Ok(None) => Error::corrupt(&file, 0, None, "it is missing"),
        Err(error) if error.kind() == ErrorKind::Corrupt => error,
        Err(error) => return Err(error),
    };
    findings.add(Finding::new(FindingKind::Manifest, &file, error.to_string()).at(0));
    Ok(Err(error))
}

fn read_mark(
    disk: &dyn Disk,
    journal: &Path,
    store: Uuid,
    findings: &mut Findings,
) -> Result<Option<DurableWatermark>> {
    for _ in 0..READ_AGAIN_MAX {
        if let Some(watermark) = watermark::read(disk, journal, store)? {
            return Ok(Some(watermark));
        }
    }
    let what = "the durable watermark is missing or damaged";
    findings
        .add(Finding::new(FindingKind::DurableWatermark, &watermark::path(journal), what).at(0));
    Ok(None)
}

/// A copy of the index and its checkpoint, if there are any.
fn copy_index(disk: &dyn Disk, path: &Path, findings: &mut Findings) -> Result<Option<Scratch>> {
    let (index, checkpoint) = (path.join(INDEX), path.join(CHECKPOINT));
    let is_there = |path: &Path| matches!(disk.kind_there(path), Ok(Some(_)));
    match (is_there(&index), is_there(&checkpoint)) {
        (false, false) => return Ok(None),
        (true, true) => {}
        (is_there, _) => {
            let missing = if is_there { &checkpoint } else { &index };
            let what = "it is missing, but its other half exists; the index is rebuilt";
            findings.add(Finding::new(FindingKind::Index, missing, what));
            return Ok(None);
        }
    }
    let copy = Scratch::new(Purpose::Copy)?;
    for name in [INDEX, CHECKPOINT] {
        if let Err(error) = copy_all(&path.join(name), &copy.path().join(name)) {
            let kind = FindingKind::Unreadable;
            findings.add(Finding::new(kind, &path.join(name), error.to_string()));
            return Ok(None);
        }
    }
    Ok(Some(copy))
}

fn open_still(
    path: &Path,
    copy: &Scratch,
    store: Uuid,
    findings: &mut Findings,
) -> Result<Option<Index>> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    match Index::open_verified(&disk, copy.path(), store, VERIFY_CACHE_BYTES) {
        Ok(index) => Ok(index),
        Err(OpenError::System(error)) => Err(error),
        Err(OpenError::Unusable(reason)) => {
            let file = match reason {
                Unusable::Whole(Corruption::Checkpoint(_)) => path.join(CHECKPOINT),
                Unusable::Whole(_) | Unusable::File(_) => path.join(INDEX),
            };
            // A finding about the copy is about the store.
            let at = path.display().to_string();
            let reason = reason.to_string().replace(&copy.path().display().to_string(), &at);
            findings.add(Finding::new(FindingKind::Index, &file, reason));
            Ok(None)
        }
    }
}

/// How many segments of the journal in `directory` are of which store, as far as their headers can be read;
/// the most frequent first.
pub(super) fn stores_of_journal(disk: &dyn Disk, directory: &Path) -> Result<Vec<(Uuid, usize)>> {
    let mut stores: Vec<(Uuid, usize)> = Vec::new();
    for number in crate::journal::recover::segment_numbers(disk, directory)? {
        let mut page = vec![0; segment::HEADER_BYTES as usize];
        let read = disk.open(&segment::path(directory, number));
        if read.and_then(|file| file.read_at(&mut page, 0)).is_err() {
            continue;
        }
        let Ok(header) = segment::SegmentHeader::decode(&page) else { continue };
        match stores.iter_mut().find(|(store, _)| *store == header.store) {
            Some((_, segments)) => *segments += 1,
            None => stores.push((header.store, 1)),
        }
    }
    // Of equally many, the one that came first.
    stores.sort_by_key(|(_, segments)| std::cmp::Reverse(*segments));
    Ok(stores)
}
