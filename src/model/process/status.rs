//! The state of a process, for other threads.

use crate::codec::process::ParkedStep;
use crate::model::policy::Retrying;
use crate::model::request::NoReply;
use crate::model::worker::ask::Ask;
use crate::model::worker::status::{self, Doing};
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result, under_error};
use crate::value::position::Position;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Duration;

/// A process's state and progress. serde writes it as it writes a
/// [projection's](crate::projection::ProjectionStatus).
#[derive(Debug, Clone, Serialize)]
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
    /// How many instances have effects to run, or events that wait for them.
    pub active: u64,
    /// How many instances and single steps are parked; see
    /// [`ProcessHandle::parked`](crate::process::ProcessHandle::parked).
    pub parked: u64,
    /// What has failed last and is being retried, if anything is.
    pub retrying: Option<Retrying>,
}

/// A parked instance or step, which has failed too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Parked {
    /// The instance's id; empty for an event that [`route`](crate::ProcessManager::route) failed on.
    pub id: String,
    /// What waits: all of the instance, the step alone, or the process.
    pub kind: ParkedKind,
    /// The failed step: an event, an effect or a deadline, and its position or version.
    pub what: String,
    /// Why it failed the last time, up to 1 KiB.
    pub error: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was parked.
    pub parked_at: DateTime<Utc>,
}

/// What waits because a step has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum ParkedKind {
    /// The instance: the step and all that comes after it.
    Instance,
    /// The step alone.
    Step,
    /// The process: it has stopped at the step.
    Stopped,
}

impl Parked {
    pub(super) fn new(id: String, step: ParkedStep, kind: ParkedKind) -> Parked {
        let ParkedStep { what, error, attempts, parked_at, .. } = step;
        Parked { id, kind, what, error, attempts, parked_at: Micros(parked_at).to_utc() }
    }
}

/// The state of a process.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum ProcessState {
    /// It follows the log.
    Running,
    /// It was paused, and waits to be resumed.
    Paused,
    /// It has stopped at an error; resuming it retries.
    Faulted(#[serde(serialize_with = "under_error")] Error),
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

/// The requests that only a process handles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Own {
    /// Reply when nothing is left to do.
    Settle,
    /// Retry the parked steps of this instance.
    Replay(String),
    /// Discard the parked steps of this instance.
    Skip(String),
}

/// The part of the status that only a process has.
#[derive(Default)]
pub(crate) struct Shown {
    pub(super) deadlines: u64,
    pub(super) active: u64,
    pub(super) parked: u64,
    /// The instance and the step at which the process has stopped.
    pub(super) stopped_at: Option<(String, ParkedStep)>,
}

pub(super) type Shared = status::Shared<Own, Shown>;

impl Shared {
    pub(super) fn status(&self, head: Position) -> ProcessStatus {
        let seen = self.seen.lock();
        let state = ProcessState::from(&seen.doing);
        let Shown { deadlines, active, parked, .. } = seen.own;
        let retrying = seen.retrying.clone();
        drop(seen);
        let position = self.progress.position();
        let lag = head.get().saturating_sub(position.get());
        ProcessStatus { state, position, lag, deadlines, active, parked, retrying }
    }

    /// Waits until the process has nothing left to do. A process that has ended has nothing left to do.
    pub(super) fn settle(&self, timeout: Duration) -> Result<()> {
        match self.requests.ask(Ask::Own(Own::Settle), Some(timeout)) {
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
