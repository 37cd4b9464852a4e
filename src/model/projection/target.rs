//! The view that a projection writes to, and its pending changes.

use crate::model::projection::apply::{ParkedCounts, Pending};
use crate::model::projection::trees::{Generation, Place, parked};
use crate::value::error::Result;
use crate::value::limits::{VIEW_BUILD_BYTES_MAX, VIEW_BUILD_EVENTS_MAX, VIEW_CHANGES_BYTES_MIN};
use crate::value::position::Position;
use crate::value::stream::StreamId;

/// The view that a projection writes to.
pub(super) struct Target {
    pub(super) generation: Generation,
    /// Whether it is a new view that will replace the served one.
    pub(super) building: bool,
    /// The place of its checkpoint on disk.
    pub(super) written: Place,
    /// Changes that are applied and not written yet.
    pub(super) pending: Pending,
    /// Whether a write failed half-way. The view then has no checkpoint and must be rebuilt.
    pub(super) torn: bool,
    pub(super) parked: ParkedCounts,
}

impl Target {
    pub(super) fn new(generation: Generation, building: bool) -> Result<Target> {
        let mut counts = ParkedCounts::default();
        for (_, record) in parked(&generation.tree)? {
            counts.add(StreamId::new(&record.stream)?);
        }
        let (written, pending, torn) = (generation.place, Pending::default(), false);
        Ok(Target { generation, building, written, pending, torn, parked: counts })
    }

    /// Whether `pending`, which reaches up to `position`, must be written now.
    pub(super) fn is_too_much(&self, pending: &Pending, position: Position) -> bool {
        if !self.building {
            return pending.bytes() >= VIEW_CHANGES_BYTES_MIN;
        }
        pending.bytes_in_memory() >= VIEW_BUILD_BYTES_MAX
            || position.get() - self.written.position.get() >= VIEW_BUILD_EVENTS_MAX
    }
}
