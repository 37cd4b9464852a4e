//! What a process has read and not taken in yet.

use crate::follow::feed::Batch;
use crate::value::event::RecordedEvent;
use crate::value::position::Position;
use std::collections::VecDeque;
use std::time::Instant;

/// What was read and is not taken in yet.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) events: VecDeque<RecordedEvent>,
    pub(super) until: Option<Position>,
    /// Whose the first event is could not be found out: when that is tried again, and how often it has failed.
    pub(super) failing: Option<(Instant, u32)>,
}

impl Incoming {
    pub(super) fn put(&mut self, batch: Batch) {
        self.events = batch.events.into();
        self.until = Some(batch.until);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.until.is_none()
    }

    pub(super) fn is_retrying(&self) -> bool {
        self.failing.is_some()
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.failing.map(|(at, _)| at)
    }
}
