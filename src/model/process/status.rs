//! What can be seen of a process from outside its thread.

use crate::model::policy::Retrying;
use crate::model::progress::Progress;
use crate::model::request::{NoReply, RequestSender};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::position::Position;
use parking_lot::Mutex;
use std::time::Duration;

/// How a process does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessStatus {
    /// What it is doing.
    pub state: ProcessState,
    /// Up to where every event is taken in, or not wanted, and the effects of what it led to are done.
    pub position: Position,
    /// How many events the log is ahead of that, wanted or not.
    pub lag: u64,
    /// How many instances wait for a deadline.
    pub deadlines: u64,
    /// What has failed and is being tried again, if anything is.
    pub retrying: Option<Retrying>,
}

/// What a process is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ProcessState {
    /// It follows the log.
    Running,
    /// It was paused, and waits to be resumed.
    Paused,
    /// It has met something that it cannot pass; resuming tries again.
    Faulted(Error),
    /// It was stopped, or the store is closed.
    Stopped,
}

/// What is asked of a process's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessRequest {
    Pause,
    Resume,
    Stop,
    /// To be answered when nothing is left to do.
    Settle,
}

/// What a process's thread and its handles share.
pub(super) struct Shared {
    pub(super) name: &'static str,
    pub(super) progress: Progress,
    pub(super) seen: Mutex<Seen>,
    pub(super) requests: RequestSender<ProcessRequest>,
}

/// What its thread was last seen doing.
pub(super) struct Seen {
    pub(super) state: ProcessState,
    pub(super) deadlines: u64,
    pub(super) retrying: Option<Retrying>,
}

impl Shared {
    pub(super) fn status(&self, head: Position) -> ProcessStatus {
        let seen = self.seen.lock();
        let (state, deadlines) = (seen.state.clone(), seen.deadlines);
        let retrying = seen.retrying.clone();
        drop(seen);
        let position = self.progress.position();
        let lag = head.get().saturating_sub(position.get());
        ProcessStatus { state, position, lag, deadlines, retrying }
    }

    /// Shows what has failed and will be tried again, or that nothing has.
    pub(super) fn retrying(&self, retrying: Option<Retrying>) {
        self.seen.lock().retrying = retrying;
    }

    /// Asks the thread and waits for its answer.
    pub(super) fn ask(&self, ask: ProcessRequest) -> Result<()> {
        match self.requests.ask(ask, None) {
            Ok(answer) => answer,
            Err(NoReply::Ended) if ask == ProcessRequest::Stop => Ok(()),
            Err(unanswered) => Err(unanswered.by(&format!("process {}", self.name))),
        }
    }

    /// Waits until it has nothing left to do. One that has ended has nothing.
    pub(super) fn settle(&self, timeout: Duration) -> Result<()> {
        match self.requests.ask(ProcessRequest::Settle, Some(timeout)) {
            Ok(answer) => answer,
            Err(NoReply::Ended) => Ok(()),
            Err(_) => {
                let (name, position) = (self.name, self.progress.position());
                let message = format!(
                    "process {name}, at position {position}, is not at rest after {timeout:?}"
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }

    /// The thread does nothing more.
    pub(super) fn stopped(&self) {
        let mut seen = self.seen.lock();
        (seen.state, seen.retrying) = (ProcessState::Stopped, None);
        drop(seen);
        self.progress.close();
    }
}
