//! The state of a process, for other threads.

use crate::model::policy::Retrying;
use crate::model::request::NoReply;
use crate::model::worker::ask::Ask;
use crate::model::worker::status::{self, Doing};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::position::Position;
use std::time::Duration;

/// A process's state and progress.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessStatus {
    /// Its state.
    pub state: ProcessState,
    /// The position up to which every event is ingested, or not wanted, and the resulting effects are done.
    pub position: Position,
    /// How many events the head is past that, wanted or not.
    pub lag: u64,
    /// How many instances wait for a deadline.
    pub deadlines: u64,
    /// What has failed and is being retried, if anything is.
    pub retrying: Option<Retrying>,
}

/// The state of a process.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ProcessState {
    /// It follows the log.
    Running,
    /// It was paused, and waits to be resumed.
    Paused,
    /// It has stopped at an error; resuming it retries.
    Faulted(Error),
    /// It was stopped, or the store is closed.
    Stopped,
}

impl From<&Doing> for ProcessState {
    fn from(doing: &Doing) -> ProcessState {
        match doing {
            Doing::Following => ProcessState::Running,
            Doing::Paused => ProcessState::Paused,
            Doing::Faulted(error) => ProcessState::Faulted(error.clone()),
            Doing::Stopped => ProcessState::Stopped,
        }
    }
}

/// The request that only a process handles: reply when nothing is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settle;

/// The part of the status that only a process has.
pub(crate) struct Shown {
    pub(super) deadlines: u64,
}

pub(super) type Shared = status::Shared<Settle, Shown>;

impl Shared {
    pub(super) fn status(&self, head: Position) -> ProcessStatus {
        let seen = self.seen.lock();
        let (state, deadlines) = (ProcessState::from(&seen.doing), seen.own.deadlines);
        let retrying = seen.retrying.clone();
        drop(seen);
        let position = self.progress.position();
        let lag = head.get().saturating_sub(position.get());
        ProcessStatus { state, position, lag, deadlines, retrying }
    }

    /// Waits until the process has nothing left to do. A process that has ended has nothing left to do.
    pub(super) fn settle(&self, timeout: Duration) -> Result<()> {
        match self.requests.ask(Ask::Own(Settle), Some(timeout)) {
            Ok(answer) => answer,
            Err(NoReply::Ended) => Ok(()),
            Err(_) => {
                let (who, position) = (&self.who, self.progress.position());
                let message = format!(
                    "{who}, at position {position}, still has work to do after {timeout:?}"
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }
}
