//! Opens and rebuilds the index: a damaged one is quarantined, and the journal has everything.
//!
//! * Callers that find the same damage heal it once: they compare the counter `healed`.
//! * An index that cannot be rebuilt stays lost; the next attempt continues where this one stopped.

use super::{
    IndexSlot, Lost, Slot, checkpoint_or_start, closed, insert, is_damage, keep_few, open_index,
};
use crate::codec::checkpoint::Checkpoint;
use crate::index::core::Index;
use crate::log::indexer::signal::backoff;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Lost {
    fn failed(&mut self, cause: Error) {
        self.next_attempt = Instant::now() + backoff(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.cause = cause;
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next_attempt && !failpoint!("log::never_try_index_again")
    }

    fn error(&self) -> Error {
        let cause = self.cause.clone();
        let message =
            format!("the index could not be rebuilt; the engine retries shortly: {cause}");
        Error::with_source(cause.kind(), message, cause)
    }
}

impl IndexSlot {
    /// Quarantines the index and creates an empty one. Returns the new one's checkpoint.
    pub(crate) fn discard(&self) -> Result<Checkpoint> {
        let mut slot = self.slot.write();
        if let Slot::Open(index) = std::mem::replace(&mut *slot, Slot::Closed) {
            index.close()?;
        }
        self.site.quarantine_index()?;
        let (index, checkpoint) = open_index(&self.site)?;
        *slot = Slot::Open(Box::new(index));
        Ok(checkpoint)
    }

    /// Quarantines the index and rebuilds it up to its old checkpoint. Returns the path of the old one, if there was
    /// one, and the position that the new one has reached.
    pub(crate) fn rebuild(&self) -> Result<(Option<PathBuf>, u64)> {
        let slot = &mut *self.slot.write();
        self.site.check()?;
        let cause = Error::new(ErrorKind::Io, "a rebuild was requested");
        self.lose(slot, &cause, true)?;
        self.restore(slot)
    }

    /// Quarantines the index and rebuilds it up to its old checkpoint, unless another thread did so since `healed`
    /// was read.
    pub(crate) fn heal(&self, healed: u64, damage: &Error) -> Result<()> {
        self.replace(healed, damage, true)
    }

    /// Closes an index that no longer ingests and reopens it, unless another thread did so since `healed` was read.
    pub(super) fn reopen(&self, healed: u64) -> Result<()> {
        let cause = Error::new(ErrorKind::Io, "a flush batch failed half-way");
        self.replace(healed, &cause, false)
    }

    pub(super) fn replace(&self, healed: u64, cause: &Error, is_damaged: bool) -> Result<()> {
        let slot = &mut *self.slot.write();
        match slot {
            _ if self.healed.load(Ordering::Acquire) != healed => return Ok(()),
            // Another thread found the same damage and could not repair it.
            Slot::Lost(lost) => return Err(self.lost_error(lost)),
            Slot::Open(_) | Slot::Closed => {}
        }
        // An open index whose directory was moved stays readable, so check this before it is closed.
        self.site.check()?;
        self.lose(slot, cause, is_damaged)?;
        if is_damaged {
            tracing::warn!(damage = %cause, "the index is damaged; it is rebuilt from the journal");
        }
        self.restore(slot).map(drop)
    }

    /// Closes the index and marks it as lost.
    fn lose(&self, slot: &mut Slot, cause: &Error, is_damaged: bool) -> Result<()> {
        match std::mem::replace(slot, Slot::Closed) {
            Slot::Closed => return Err(closed()),
            Slot::Lost(mut lost) => {
                lost.is_damaged |= is_damaged;
                *slot = Slot::Lost(lost);
            }
            Slot::Open(index) => {
                let reached = checkpoint_or_start(&index, &self.site.journal).next;
                let (cause, failures, next_attempt) = (cause.clone(), 0, Instant::now());
                *slot = Slot::Lost(Lost { cause, reached, is_damaged, failures, next_attempt });
                // If closing fails, the index is reopened or quarantined anyway.
                let _ = index.close();
            }
        }
        Ok(())
    }

    /// Why the index is lost. If the store's directory was moved, that is the reason for missing files. Check it
    /// again here: the move may have happened only after the last attempt, which may have met a removal half-way.
    pub(super) fn lost_error(&self, lost: &Lost) -> Error {
        self.site.check().err().unwrap_or_else(|| lost.error())
    }

    /// Reopens or rebuilds the lost index. If that fails, it stays lost, and the next attempt continues where this
    /// one stopped.
    pub(super) fn restore(&self, slot: &mut Slot) -> Result<(Option<PathBuf>, u64)> {
        let Slot::Lost(lost) = slot else { return Err(closed()) };
        match self.build_again(lost) {
            Ok((index, moved, position)) => {
                *slot = Slot::Open(Box::new(index));
                self.healed.fetch_add(1, Ordering::Release);
                Ok((moved, position))
            }
            Err(error) => {
                lost.failed(error);
                let error = self.lost_error(lost);
                tracing::error!(%error, "the index cannot be rebuilt for now");
                Err(error)
            }
        }
    }

    fn build_again(&self, lost: &mut Lost) -> Result<(Index, Option<PathBuf>, u64)> {
        let mut moved = None;
        if lost.is_damaged {
            moved = self.site.quarantine_index()?;
            lost.is_damaged = false;
        }
        let (index, mut from) = open_index(&self.site)?;
        let mut build = || {
            while let Some(batch) = self.next_batch(&from, lost.reached)? {
                let inserted = insert(&index, batch);
                // Only an error of `insert` says something about the index; damage to the journal is returned by
                // `next_batch`.
                lost.is_damaged = matches!(&inserted, Err(error) if is_damage(error));
                from = inserted?;
                keep_few(|| index.compaction_priority(), || index.compact());
                tracing::info!(position = from.position, "the index is being rebuilt");
            }
            Ok(())
        };
        match build() {
            Ok(()) => Ok((index, moved, from.position)),
            Err(error) => {
                let _ = index.close();
                Err(error)
            }
        }
    }
}
