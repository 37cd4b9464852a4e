//! The view that a projection writes to, and its pending changes.

use crate::model::projection::apply::{ParkedCounts, Pending};
use crate::model::projection::parked::each_parked;
use crate::model::projection::trees::{Generation, Place};
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::value::limits::{VIEW_BUILD_BYTES_MAX, VIEW_BUILD_EVENTS_MAX, VIEW_CHANGES_BYTES_MIN};
use crate::value::position::Position;
use crate::value::stream::StreamId;
use std::time::{Duration, Instant};

/// The last write to a view.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastWrite {
    pub(super) ended: Instant,
    /// Includes the wait for readers of the view.
    pub(super) took: Duration,
}

/// The view that a projection writes to.
pub(super) struct Target {
    pub(super) generation: Generation,
    /// Whether it is a new view that will replace the served one.
    pub(super) building: bool,
    /// The place of its checkpoint on disk.
    pub(super) written: Place,
    /// Changes that are applied and not written yet.
    pub(super) pending: Pending,
    /// The last write since the projection began to write to it.
    pub(super) last_write: Option<LastWrite>,
    /// Whether a write failed half-way. The view then has no checkpoint and must be rebuilt.
    pub(super) torn: bool,
    pub(super) parked: ParkedCounts,
}

impl Target {
    pub(super) fn new(generation: Generation, building: bool) -> Result<Target> {
        let mut counts = ParkedCounts::default();
        each_parked(&generation.tree, |_, record| {
            counts.add(StreamId::new(&record.stream)?);
            Ok(())
        })?;
        let (written, pending, torn) = (generation.place, Pending::default(), false);
        let last_write = None;
        Ok(Target { generation, building, written, pending, last_write, torn, parked: counts })
    }

    /// Whether `pending`, which reaches up to `position`, must be written now, also in the middle of a commit.
    pub(super) fn is_too_much(&self, pending: &Pending, position: Position) -> bool {
        let is_whole = pending.bytes() < 2 * VIEW_CHANGES_BYTES_MIN;
        let waits = is_whole && !self.building && !failpoint!("projection::cut_within_commits");
        !waits && self.is_enough(pending, position)
    }

    /// Whether `pending`, which reaches up to `position`, must be written at the end of the commit.
    pub(super) fn is_enough(&self, pending: &Pending, position: Position) -> bool {
        if !self.building {
            return pending.bytes() >= VIEW_CHANGES_BYTES_MIN;
        }
        pending.bytes_in_memory() >= VIEW_BUILD_BYTES_MAX
            || position.get() - self.written.position.get() >= VIEW_BUILD_EVENTS_MAX
    }
}
