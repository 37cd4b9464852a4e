//! The view that a projection writes to, and what is not written yet.

use crate::model::projection::apply::{ParkedCounts, Pending};
use crate::model::projection::trees::{Generation, Place, parked};
use crate::value::error::Result;
use crate::value::limits::{VIEW_BUILD_BYTES_MAX, VIEW_BUILD_EVENTS_MAX, VIEW_CHANGES_BYTES_MIN};
use crate::value::position::Position;
use crate::value::stream::StreamId;

/// The view that is written to.
pub(super) struct Target {
    pub(super) generation: Generation,
    /// It is to take the place of the one that is served.
    pub(super) building: bool,
    /// Up to where its checkpoint says that it has everything.
    pub(super) written: Place,
    /// What is applied and not written yet.
    pub(super) pending: Pending,
    /// A write failed half-way: it no longer has a checkpoint, and must be rebuilt.
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

    /// Whether `pending`, which reaches up to `position`, is too much to be held.
    pub(super) fn is_too_much(&self, pending: &Pending, position: Position) -> bool {
        if !self.building {
            return pending.bytes() >= VIEW_CHANGES_BYTES_MIN;
        }
        pending.bytes_in_memory() >= VIEW_BUILD_BYTES_MAX
            || position.get() - self.written.position.get() >= VIEW_BUILD_EVENTS_MAX
    }
}
