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
    /// The positions that are still to be retried, in order.
    pub(super) left: VecDeque<Position>,
    /// The last position taken from `left`.
    pub(super) tried_to: Position,
    /// Whether events were parked since the replay began because an earlier event of their stream is parked. They are
    /// retried too.
    pub(super) more_wait: bool,
    /// The streams of events that have failed again.
    pub(super) failed: HashSet<StreamId>,
    pub(super) events: EventCursor,
    answers: Vec<ReplayReply>,
    /// Callers who have requested another replay meanwhile.
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

    /// Sends the result to all callers.
    pub(super) fn end(self, how: &Result<()>) {
        for answer in self.answers.into_iter().chain(self.then) {
            // The caller may have stopped waiting.
            let _ = answer.send(how.clone());
        }
    }
}
