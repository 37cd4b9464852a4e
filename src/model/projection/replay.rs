//! A replay of parked events in progress.

use crate::log::core::Log;
use crate::log::read::event_cursor::EventCursor;
use crate::value::error::Result;
use crate::value::position::Position;
use crate::value::stream::StreamId;
use crossbeam_channel::Sender;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

pub(super) type ReplayReply = Sender<Result<()>>;

/// A replay in progress.
pub(super) struct Replay {
    /// What is still to be tried, in order.
    pub(super) left: VecDeque<Position>,
    /// The last that was taken from `left`.
    pub(super) tried_to: Position,
    /// Since it began, events were parked because an earlier one of their stream is parked: they are tried too.
    pub(super) more_wait: bool,
    /// Streams of which an event has failed again.
    pub(super) failed: HashSet<StreamId>,
    pub(super) events: EventCursor,
    answers: Vec<ReplayReply>,
    /// Callers who have asked for another one meanwhile.
    pub(super) then: Vec<ReplayReply>,
}

impl Replay {
    pub(super) fn new(
        log: &Arc<Log>,
        left: VecDeque<Position>,
        answers: Vec<ReplayReply>,
    ) -> Replay {
        Replay {
            left,
            tried_to: Position::START,
            more_wait: false,
            failed: HashSet::new(),
            events: EventCursor::new(log),
            answers,
            then: Vec::new(),
        }
    }

    /// Sends its result to all callers who have asked for it.
    pub(super) fn end(self, how: &Result<()>) {
        for answer in self.answers.into_iter().chain(self.then) {
            // The caller may not wait for the reply.
            let _ = answer.send(how.clone());
        }
    }
}
