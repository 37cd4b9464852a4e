//! A replay of parked events in progress.

use crate::log::core::Log;
use crate::log::read::event_cursor::EventCursor;
use crate::value::error::Result;
use crate::value::position::Position;
use crate::value::stream::StreamId;
use crossbeam_channel::Sender;
use std::collections::HashSet;
use std::sync::Arc;

pub(super) type ReplayReply = Sender<Result<()>>;

/// A replay in progress.
pub(super) struct Replay {
    /// The position up to which parked events were retried.
    pub(super) tried_to: Position,
    /// The position up to which they are to be retried.
    pub(super) until: Position,
    /// The projection's position when the replay began. Later events are retried only if they wait for an earlier one.
    pub(super) began_at: Position,
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
    /// Of everything that is parked when the log was read up to `began_at`.
    pub(super) fn new(log: &Arc<Log>, began_at: Position, answers: Vec<ReplayReply>) -> Replay {
        Replay {
            tried_to: Position::START,
            until: began_at,
            began_at,
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
