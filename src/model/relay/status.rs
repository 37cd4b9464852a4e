//! The state of a relay, for other threads.

use crate::model::policy::Retrying;
use crate::model::worker::status::{self, Doing};
use crate::value::error::{Error, under_error};
use crate::value::position::Position;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// A relay's state and progress. serde writes it as it writes a
/// [projection's](crate::projection::ProjectionStatus).
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RelayStatus {
    /// Its state.
    pub state: RelayState,
    /// The position up to which the target holds every event, or it is not wanted. It is the start until the target was
    /// reached for the first time.
    pub position: Position,
    /// How many events the head is past that, wanted or not.
    pub lag: u64,
    /// Events that were sent and are not confirmed.
    pub in_flight: u64,
    /// What has failed last and is being tried again, if anything is.
    pub retrying: Option<Retrying>,
    /// Since when it has not worked, if it does not: the first failure after which nothing was confirmed.
    pub failing_since: Option<DateTime<Utc>>,
}

/// The state of a relay.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum RelayState {
    /// It sends what comes, or tries to reach its target again.
    Running,
    /// It was paused, and waits to be resumed.
    Paused,
    /// It has stopped at an error; resuming it opens the target again.
    Faulted(#[serde(serialize_with = "under_error")] Error),
    /// It was stopped, or the store is closed.
    Stopped,
}

impl From<&Doing> for RelayState {
    fn from(doing: &Doing) -> RelayState {
        match doing {
            Doing::Following => RelayState::Running,
            Doing::Paused => RelayState::Paused,
            Doing::Faulted(error) => RelayState::Faulted(error.clone()),
            Doing::Stopped => RelayState::Stopped,
        }
    }
}

/// The requests that only a relay handles: there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {}

/// The part of the status that only a relay has.
#[derive(Default)]
pub(crate) struct Shown {
    pub(super) in_flight: u64,
    pub(super) failing_since: Option<DateTime<Utc>>,
}

pub(super) type Shared = status::Shared<Own, Shown>;

impl Shared {
    pub(super) fn status(&self, head: Position) -> RelayStatus {
        let seen = self.seen.lock();
        let state = RelayState::from(&seen.doing);
        let Shown { in_flight, failing_since } = seen.own;
        let retrying = seen.retrying.clone();
        drop(seen);
        let position = self.progress.position();
        let lag = head.get().saturating_sub(position.get());
        RelayStatus { state, position, lag, in_flight, retrying, failing_since }
    }
}
