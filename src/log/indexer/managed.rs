//! The index as the log uses it: queried, filled from the journal, and healed when it is damaged.
//!
//! * The index is derived. If anything is wrong with it (also that a file of it may not be read), it is quarantined
//!   and rebuilt from the journal, and nobody has to repair anything. Only exhausted memory or descriptors say nothing
//!   about it.
//! * While it is rebuilt, callers that need it wait.
//! * If it cannot be rebuilt, because the disk is full for example, it is lost for now: callers that need it get an
//!   error with the reason. After a pause, which grows with each failure, the next caller retries the rebuild.

mod healing;

use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::Location;
use crate::index::core::{Index, Opened};
use crate::index::flush_batch::FlushBatch;
use crate::index::quarantine::quarantine_index;
use crate::journal::read::Journal;
use crate::log::indexer::next_batch::next_batch;
use crate::sst::compaction::CompactionPriority;
use crate::storage::held::Held;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{FLUSH_BATCH_BYTES_MIN, TAIL_TAGGED_BYTES_MAX, UNINDEXED_BYTES_MAX};
use parking_lot::{RwLock, RwLockReadGuard};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How much of the journal the index may lack. Tests use smaller bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of sealed segments that are worth a flush batch while writers are busy.
    pub(crate) batch_bytes_min: u64,
    /// Bytes of sealed segments beyond which writers wait.
    pub(crate) unindexed_bytes_max: u64,
    /// Bytes of tags in the tail beyond which writers wait.
    pub(crate) tagged_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            batch_bytes_min: FLUSH_BATCH_BYTES_MIN,
            unindexed_bytes_max: UNINDEXED_BYTES_MAX,
            tagged_bytes_max: TAIL_TAGGED_BYTES_MAX,
        }
    }
}

/// What is needed to open the index, also repeatedly.
pub(crate) struct IndexSite {
    pub(crate) directory: Arc<Held>,
    pub(crate) cache_bytes: u64,
    /// Bytes of journal after which a flush batch takes no further frame.
    pub(crate) batch_bytes: u64,
    pub(crate) bounds: Bounds,
    pub(crate) journal: Arc<Journal>,
}

impl IndexSite {
    fn check(&self) -> Result<()> {
        self.directory.check_before("open the index in")
    }

    fn quarantine_index(&self) -> Result<Option<PathBuf>> {
        self.check()?;
        quarantine_index(self.journal.disk(), self.directory.path())
    }
}

/// The one index of a log.
pub(crate) struct IndexSlot {
    site: IndexSite,
    slot: RwLock<Slot>,
    /// Counts the rebuilds, so that callers that find the same damage heal it once.
    healed: AtomicU64,
    /// Counts the frames that were read for the index, as a sign of life during a long flush batch.
    signs_of_life: AtomicU64,
}

enum Slot {
    Open(Box<Index>),
    Closed,
    /// It could not be opened or rebuilt.
    Lost(Lost),
}

/// An index that must be opened or rebuilt.
struct Lost {
    cause: Error,
    /// How far it must hold the journal before it can be queried: the tail begins there.
    reached: Location,
    /// Whether the files must be quarantined first.
    is_damaged: bool,
    failures: u32,
    next_attempt: Instant,
}

impl IndexSlot {
    /// Opens the index of `site`; replaces it by an empty one if it cannot be trusted. Returns how far it holds the
    /// journal.
    pub(crate) fn open(site: IndexSite) -> Result<(IndexSlot, Checkpoint)> {
        let (index, checkpoint) = open_index(&site)?;
        let slot = RwLock::new(Slot::Open(Box::new(index)));
        let (healed, signs_of_life) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok((IndexSlot { site, slot, healed, signs_of_life }, checkpoint))
    }

    /// The error for a moved store directory, if it was moved.
    pub(crate) fn moved(&self) -> Option<Error> {
        self.site.directory.check_before("write to").err()
    }

    /// How much of the journal the index may lack.
    pub(crate) fn bounds(&self) -> Bounds {
        self.site.bounds
    }

    /// Runs `question` on the index. If that finds damage, heals the index and runs it again.
    pub(crate) fn ask<T>(&self, question: impl Fn(&Index) -> Result<T>) -> Result<T> {
        let healed = self.healed.load(Ordering::Acquire);
        // Healing takes the lock exclusively, so the shared lock must be released before the `match`.
        let answer = self.ask_once(&question);
        match answer {
            // Memory or descriptors were exhausted, which says nothing about the index.
            Err(error) if error.is_exhaustion() && !failpoint!("log::heal_when_exhausted") => {
                if !self.inspect(|index| Ok(index.db.has_panicked()))? {
                    return Err(error);
                }
                self.replace(healed, &error, false)?;
                self.ask_once(&question)
            }
            Err(error) if is_damage(&error) || error.kind() == ErrorKind::Io => {
                self.heal(healed, &error)?;
                self.ask_once(&question)
            }
            answer => answer,
        }
    }

    /// How often the index was rebuilt.
    pub(crate) fn healed(&self) -> u64 {
        self.healed.load(Ordering::Acquire)
    }

    fn ask_once<T>(&self, question: &impl Fn(&Index) -> Result<T>) -> Result<T> {
        self.inspect(question)
    }

    /// Runs `question` on the index as it is: damage is returned as an error, and nothing is healed.
    pub(crate) fn inspect<T>(&self, question: impl FnOnce(&Index) -> Result<T>) -> Result<T> {
        question(self.read()?.index())
    }

    /// Ingests the journal up to `to` into the index, batch by batch. Calls `after` after each batch.
    pub(crate) fn advance(&self, to: Location, mut after: impl FnMut(Checkpoint)) -> Result<()> {
        let mut refused = None;
        loop {
            let healed = self.healed.load(Ordering::Acquire);
            let (from, step) = {
                let guard = self.read()?;
                let index = guard.index();
                if index.is_broken() && !failpoint!("log::keep_broken_index") {
                    drop(guard);
                    self.reopen(healed)?;
                    continue;
                }
                let from = checkpoint_or_start(index, &self.site.journal);
                let batch = self.next_batch(&from, to)?;
                (from, batch.map(|batch| insert(index, batch)))
            };
            match step {
                None => return Ok(()),
                Some(Ok(checkpoint)) => after(checkpoint),
                // A full or failing disk is no reason to rebuild an index that can still be read.
                Some(Err(error)) if !is_damage(&error) => return Err(error),
                // The rebuilt index refuses the same batch: the journal's checksums are right, but its content is
                // inconsistent, which only a forger can achieve.
                Some(Err(error)) if refused == Some(from.next) => {
                    let what = format!("a rebuilt index cannot ingest it: {error}");
                    return Err(self.site.journal.corrupt(
                        from.next,
                        Some(from.position + 1),
                        what,
                    ));
                }
                Some(Err(error)) => {
                    refused = Some(from.next);
                    self.heal(healed, &error)?;
                }
            }
        }
    }

    fn next_batch(&self, from: &Checkpoint, to: Location) -> Result<Option<FlushBatch>> {
        let IndexSite { journal, batch_bytes, .. } = &self.site;
        next_batch(journal, *batch_bytes, &self.signs_of_life, from, to)
    }

    /// Like `advance`, for a distance that may be long: it compacts in between, so that there are few tables.
    pub(crate) fn bring_up(&self, to: Location, mut after: impl FnMut(Checkpoint)) -> Result<()> {
        self.advance(to, |checkpoint| {
            after(checkpoint);
            keep_few(|| self.compaction_priority(), || self.compact());
        })
    }

    /// How urgently tables of the index should be compacted.
    pub(crate) fn compaction_priority(&self) -> CompactionPriority {
        self.inspect(|index| Ok(index.compaction_priority())).unwrap_or(CompactionPriority::None)
    }

    /// Does one step of compaction.
    pub(crate) fn compact(&self) -> Result<()> {
        let healed = self.healed.load(Ordering::Acquire);
        match self.inspect(Index::compact) {
            Err(error) if is_damage(&error) => self.heal(healed, &error),
            compacted => compacted,
        }
    }

    /// Counts the work done for the index: while the count rises, the index makes progress.
    pub(crate) fn signs_of_life(&self) -> u64 {
        // While the index is locked, it is being rebuilt, and `self.signs_of_life` counts that work.
        let inside = match self.slot.try_read().as_deref() {
            Some(Slot::Open(index)) => index.signs_of_life.load(Ordering::Relaxed),
            _ => 0,
        };
        self.signs_of_life.load(Ordering::Relaxed) + inside
    }

    /// Whether the index is being rebuilt, so that a question would wait for that.
    pub(crate) fn is_busy(&self) -> bool {
        self.slot.try_read().is_none() && !failpoint!("log::ask_while_rebuilt")
    }

    /// Runs `work` as if the index was being rebuilt meanwhile.
    #[cfg(test)]
    pub(crate) fn while_rebuilt<T>(&self, work: impl FnOnce() -> T) -> T {
        let _slot = self.slot.write();
        work()
    }

    /// Whether the index could not be rebuilt, for now.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(*self.slot.read(), Slot::Lost(_))
    }

    pub(crate) fn close(&self) -> Result<()> {
        match std::mem::replace(&mut *self.slot.write(), Slot::Closed) {
            Slot::Open(index) => index.close(),
            Slot::Closed | Slot::Lost(_) => Ok(()),
        }
    }

    fn read(&self) -> Result<OpenIndex<'_>> {
        loop {
            let guard = self.slot.read();
            match &*guard {
                Slot::Open(_) => return Ok(OpenIndex(guard)),
                Slot::Closed => return Err(closed()),
                Slot::Lost(lost) if !lost.is_due() => return Err(self.lost_error(lost)),
                Slot::Lost(_) => {}
            }
            drop(guard);
            let slot = &mut *self.slot.write();
            // Another thread may have tried meanwhile.
            if matches!(slot, Slot::Lost(lost) if lost.is_due()) {
                self.restore(slot)?;
            }
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed")
}

struct OpenIndex<'a>(RwLockReadGuard<'a, Slot>);

impl OpenIndex<'_> {
    fn index(&self) -> &Index {
        match &*self.0 {
            Slot::Open(index) => index,
            Slot::Closed | Slot::Lost(_) => unreachable!("`read` has checked, and holds the lock"),
        }
    }
}

/// Compacts tables until there is room for another one, because each table is an open file. A failure only means that
/// there are more tables.
fn keep_few(due: impl Fn() -> CompactionPriority, compact: impl Fn() -> Result<()>) {
    while due() == CompactionPriority::Urgent {
        if let Err(error) = compact() {
            tracing::warn!(%error, "tables of the index cannot be compacted; their number grows");
            return;
        }
    }
}

/// Whether an error of the index means that its content cannot be trusted.
fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Panicked)
}

fn open_index(site: &IndexSite) -> Result<(Index, Checkpoint)> {
    let store = site.journal.store();
    site.check()?;
    let (disk, directory) = (site.journal.disk(), site.directory.path());
    let (index, opened) = Index::open(disk, directory, store, site.cache_bytes)?;
    let checkpoint = match opened {
        Opened::Whole(checkpoint) => checkpoint,
        Opened::Fresh { reason } => {
            if let Some(reason) = reason {
                tracing::info!(reason, "the index is rebuilt from the journal's start");
            }
            start(&site.journal)
        }
    };
    Ok((index, checkpoint))
}

fn checkpoint_or_start(index: &Index, journal: &Journal) -> Checkpoint {
    index.checkpoint().unwrap_or_else(|| start(journal))
}

/// The checkpoint of an empty index: the start of the journal.
fn start(journal: &Journal) -> Checkpoint {
    let next = journal.start();
    let header = journal.segment(next.segment).expect("the journal starts in a segment of its own");
    Checkpoint { position: header.first_position - 1, next, chain: header.chain, time: header.time }
}

fn insert(index: &Index, batch: FlushBatch) -> Result<Checkpoint> {
    let (events, checkpoint) = (batch.events.len(), batch.end);
    index.insert(batch)?;
    tracing::debug!(events, position = checkpoint.position, "indexed");
    Ok(checkpoint)
}
