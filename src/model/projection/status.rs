//! The state of a projection, for other threads.

use crate::model::policy::Retrying;
use crate::model::worker::status::{self, Doing};
use crate::value::error::{Error, under_error};
use crate::value::position::Position;
use crate::views::ViewTree;
use serde::Serialize;
use std::sync::Arc;

/// A projection's state and lag.
///
/// As JSON, which a page of an operator's can show, the fields have the names that they have here:
///
/// ```
/// # use filmstrip::{Filter, HandlerError, Projection, RecordedEvent, Store, ViewWriter};
/// # struct Doors;
/// # impl Projection for Doors {
/// #     const NAME: &'static str = "doors";
/// #     const VERSION: u32 = 1;
/// #     fn filter(&self) -> Filter { Filter::category("Door") }
/// #     fn apply(&self, _: &RecordedEvent, _: &mut ViewWriter<'_>) -> Result<(), HandlerError> { Ok(()) }
/// # }
/// let store = Store::temporary()?;
/// let doors = store.project(Doors).start()?;
/// assert_eq!(
///     serde_json::to_value(doors.status())?,
///     serde_json::json!({
///         "state": {"name": "running"}, // also rebuilding with `done` and `of`; faulted with `error`
///         "checkpoint": 0,
///         "lag": 0,
///         "parked": 0,
///         "retrying": null,
///     })
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ProjectionStatus {
    /// Its state.
    pub state: ProjectionState,
    /// The position up to which the view that is served has everything.
    pub checkpoint: Position,
    /// How many events the head is past that, wanted or not.
    pub lag: u64,
    /// How many events are parked.
    pub parked: u64,
    /// What has failed and is being retried, if anything is.
    pub retrying: Option<Retrying>,
}

/// The state of a projection.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum ProjectionState {
    /// It follows the log.
    Running,
    /// A new view is being built; until it is done, the one that is served does not change.
    Rebuilding {
        /// The position up to which the new view has everything.
        done: Position,
        /// The head.
        of: Position,
    },
    /// It was paused, and waits to be resumed.
    Paused,
    /// It has stopped at an error; resuming it retries, rebuilding it begins again.
    Faulted(#[serde(serialize_with = "under_error")] Error),
    /// It was stopped, or the store is closed.
    Stopped,
}

/// The requests that only a projection handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProjectionRequest {
    Rebuild,
    ReplayParked,
    DiscardParked,
    /// Somebody was forgotten.
    #[cfg(feature = "erasure")]
    Forget,
}

/// The part of the status that only a projection has.
pub(crate) struct Shown {
    /// The tree that the projection writes to.
    pub(super) target: Arc<ViewTree>,
    /// The position up to which the view that is served has everything.
    pub(super) checkpoint: Position,
    /// The position up to which the view that is being built has everything, if there is one.
    pub(super) building: Option<Position>,
    pub(super) parked: u64,
}

pub(super) type Shared = status::Shared<ProjectionRequest, Shown>;

impl Shared {
    pub(super) fn status(&self, head: Position) -> ProjectionStatus {
        let reached = self.progress.position();
        let seen = self.seen.lock();
        let state = match (&seen.doing, seen.own.building) {
            (Doing::Following, Some(done)) => ProjectionState::Rebuilding { done, of: head },
            (Doing::Following, None) => ProjectionState::Running,
            (Doing::Paused, _) => ProjectionState::Paused,
            (Doing::Faulted(error), _) => ProjectionState::Faulted(error.clone()),
            (Doing::Stopped, _) => ProjectionState::Stopped,
        };
        // While a view is being built, its position is not that of the one that is served.
        let checkpoint = match seen.own.building {
            None => seen.own.checkpoint.max(reached),
            Some(_) => seen.own.checkpoint,
        };
        ProjectionStatus {
            state,
            checkpoint,
            lag: head.get().saturating_sub(checkpoint.get()),
            parked: seen.own.parked,
            retrying: seen.retrying.clone(),
        }
    }
}
