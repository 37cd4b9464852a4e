//! What can be seen of a projection from outside its thread.

use crate::error::{Error, ErrorKind, Result};
use crate::index::views::ViewTree;
use crate::model::progress::Progress;
use crate::model::projection::view::Served;
use crate::position::Position;
use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;

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
pub(super) enum Ask {
    Pause,
    Resume,
    Rebuild,
    ReplayParked,
    DiscardParked,
    Stop,
}

/// A question with the channel that its answer goes to.
pub(super) struct Request {
    pub(super) ask: Ask,
    pub(super) answer: Sender<Result<()>>,
}

/// What a projection's thread and its handles share.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) served: Arc<Served>,
    pub(super) progress: Progress,
    pub(super) seen: Mutex<Seen>,
    /// Also keeps the channel open when no handle is left.
    pub(super) requests: Sender<Request>,
    /// Its thread, once it runs.
    pub(super) thread: OnceLock<ThreadId>,
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
        }
    }

    /// Asks the thread and waits for its answer. From within `apply`, which is on that thread, nobody
    /// waits: it answers when it is done with what it is at.
    pub(super) fn ask(&self, ask: Ask) -> Result<()> {
        let (answer, answered) = bounded(1);
        if self.thread.get() == Some(&std::thread::current().id()) {
            return self.requests.try_send(Request { ask, answer }).map_err(|_| {
                let message = format!("projection {} is asked too much at once", self.name);
                Error::new(ErrorKind::QueueFull, message)
            });
        }
        // Dropped unanswered if the thread has ended.
        let sent = self.requests.send(Request { ask, answer });
        match sent.ok().and_then(|()| answered.recv().ok()) {
            Some(answer) => answer,
            None if ask == Ask::Stop => Ok(()),
            None => {
                let message = format!("projection {} has stopped", self.name);
                Err(Error::new(ErrorKind::Closed, message))
            }
        }
    }

    /// From now on this thread is the projection's.
    pub(super) fn runs_here(&self) {
        // Set once: each run has a `Shared` of its own.
        let _ = self.thread.set(std::thread::current().id());
    }

    /// The thread does nothing more.
    pub(super) fn stopped(&self) {
        self.seen.lock().doing = Doing::Stopped;
        self.progress.close();
    }
}
