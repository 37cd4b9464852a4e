//! A second reading of the log, for events that wait and were not kept in memory.

use crate::follow::feed::{Batch, Feed};
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::position::Position;
use crossbeam_channel::Receiver;
use std::collections::VecDeque;
use std::time::Instant;

pub(super) struct Rereading {
    pub(super) feed: Feed,
    /// Everything up to here was taken in again.
    pub(super) position: Position,
    /// What was read, and has found no room yet.
    pub(super) left: VecDeque<RecordedEvent>,
    pub(super) until: Option<Position>,
    /// Whose the first event is could not be found out: when that is tried again, and how often it has failed.
    pub(super) failing: Option<(Instant, u32)>,
}

impl Rereading {
    /// The channel of further batches, if one is wanted.
    pub(super) fn batches(&self) -> Option<&Receiver<Result<Batch>>> {
        self.until.is_none().then(|| self.feed.batches())
    }

    pub(super) fn is_retrying(&self) -> bool {
        self.failing.is_some()
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.failing.map(|(at, _)| at)
    }
}
