//! The feeds that a read model follows one after the other: it begins again when somebody is forgotten.

use crate::follow::feed::FeedStop;
use crate::model::progress::Progress;
use crate::value::position::Position;
use parking_lot::Mutex;

/// The feed that is followed, and what is known of the model that is made from it.
pub(super) struct Feeds(Mutex<State>);

struct State {
    stop: FeedStop,
    /// Whether the last handle was dropped.
    has_ended: bool,
    /// Whether a private event was applied to the model.
    is_private: bool,
    /// Whether somebody was forgotten since the feed began.
    is_anew: bool,
}

impl Feeds {
    pub(super) fn new(stop: FeedStop) -> Feeds {
        Feeds(Mutex::new(State { stop, has_ended: false, is_private: false, is_anew: false }))
    }

    /// Ends the model.
    pub(super) fn end(&self) {
        let mut state = self.0.lock();
        state.has_ended = true;
        state.stop.stop();
    }

    /// Lets the model begin again if it may hold something of a private event, and drops what was read ahead.
    pub(super) fn begin_again(&self, progress: &Progress) {
        let mut state = self.0.lock();
        state.is_anew = true;
        if state.is_private {
            progress.restart(Position::START);
        }
        state.stop.stop();
    }

    /// Notes that private events are about to be applied.
    pub(super) fn note_private(&self) {
        self.0.lock().is_private = true;
    }

    /// Moves `progress`, unless the model is to begin again.
    pub(super) fn advance(&self, progress: &Progress, position: Position) {
        let state = self.0.lock();
        if !(state.is_anew && state.is_private) {
            progress.advance(position);
        }
    }

    /// From where the model goes on with the feed of `stop`, now that its feed has ended; `None` if it does not.
    pub(super) fn next(&self, stop: &FeedStop, progress: &Progress) -> Option<Position> {
        let mut state = self.0.lock();
        if !state.is_anew || state.has_ended {
            return None;
        }
        (state.is_anew, state.stop) = (false, stop.clone());
        if std::mem::take(&mut state.is_private) {
            progress.restart(Position::START);
            return Some(Position::START);
        }
        Some(progress.position())
    }
}
