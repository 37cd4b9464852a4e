//! What can be seen of a projection from outside its thread.

use crate::model::policy::Retrying;
use crate::model::progress::Progress;
use crate::model::projection::view::Served;
use crate::model::request::{NoReply, RequestSender};
use crate::value::error::{Error, Result};
use crate::value::position::Position;
use crate::views::ViewTree;
use parking_lot::Mutex;
use std::sync::Arc;

/// How a projection does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// What it is doing.
    pub state: ProjectionState,
    /// Up to where the view that is served has everything.
    pub checkpoint: Position,
    /// How many events the log is ahead of that, wanted or not.
    pub lag: u64,
    /// How many events are parked.
    pub parked: u64,
    /// What has failed and is being tried again, if anything is.
    pub retrying: Option<Retrying>,
}

/// What a projection is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ProjectionState {
    /// It follows the log.
    Running,
    /// A new view is being made; the one that is served stands still until it is done.
    Rebuilding {
        /// Up to where the new view has everything.
        done: Position,
        /// Where the log ends.
        of: Position,
    },
    /// It was paused, and waits to be resumed.
    Paused,
    /// It has met something that it cannot pass; resuming tries again, rebuilding begins again.
    Faulted(Error),
    /// It was stopped, or the store is closed.
    Stopped,
}

/// What a handle asks of the projection's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProjectionRequest {
    Pause,
    Resume,
    Rebuild,
    ReplayParked,
    DiscardParked,
    Stop,
}

/// What a projection's thread and its handles share.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) served: Arc<Served>,
    pub(super) progress: Progress,
    pub(super) seen: Mutex<Seen>,
    pub(super) requests: RequestSender<ProjectionRequest>,
}

/// What its thread was last seen doing.
pub(super) struct Seen {
    pub(super) doing: Doing,
    /// The tree that it writes to.
    pub(super) target: Arc<ViewTree>,
    /// Up to where the view that is served has everything.
    pub(super) checkpoint: Position,
    /// Up to where the view that is being built has everything.
    pub(super) building: Option<Position>,
    pub(super) parked: u64,
    pub(super) retrying: Option<Retrying>,
}

#[derive(Clone)]
pub(super) enum Doing {
    Following,
    Paused,
    Faulted(Error),
    Stopped,
}

impl Shared {
    pub(super) fn status(&self, head: Position) -> Status {
        let seen = self.seen.lock();
        let state = match (&seen.doing, seen.building) {
            (Doing::Following, Some(done)) => ProjectionState::Rebuilding { done, of: head },
            (Doing::Following, None) => ProjectionState::Running,
            (Doing::Paused, _) => ProjectionState::Paused,
            (Doing::Faulted(error), _) => ProjectionState::Faulted(error.clone()),
            (Doing::Stopped, _) => ProjectionState::Stopped,
        };
        Status {
            state,
            checkpoint: seen.checkpoint,
            lag: head.get().saturating_sub(seen.checkpoint.get()),
            parked: seen.parked,
            retrying: seen.retrying.clone(),
        }
    }

    /// Asks the thread and waits for its answer. From within `apply`, which is on that thread, nobody
    /// waits: it answers when it is done with what it is at.
    pub(super) fn ask(&self, ask: ProjectionRequest) -> Result<()> {
        match self.requests.ask(ask, None) {
            Ok(answer) => answer,
            Err(NoReply::Ended) if ask == ProjectionRequest::Stop => Ok(()),
            Err(unanswered) => Err(unanswered.by(&format!("projection {}", self.name))),
        }
    }

    /// The thread does nothing more.
    pub(super) fn stopped(&self) {
        let mut seen = self.seen.lock();
        (seen.doing, seen.retrying) = (Doing::Stopped, None);
        drop(seen);
        self.progress.close();
    }
}
