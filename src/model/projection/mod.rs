//! Projections: durable views that follow the log.
//!
//! * A view's rows and its checkpoint move together, so after a crash each event is in it exactly
//!   once.
//! * A view is read between two batches, never torn, and is replaced as a whole.

mod apply;
pub(crate) mod audit;
pub(crate) mod contract;
pub(crate) mod indexed;
pub(crate) mod merged;
mod pages;
mod parked;
pub(crate) mod past;
pub(crate) mod registry;
mod replay;
mod replaying;
pub(crate) mod rows;
mod runner;
pub(crate) mod status;
mod taking_in;
mod target;
#[cfg(test)]
mod tests;
mod trees;
pub(crate) mod view;
pub(crate) mod writer;
mod writing;

use crate::follow::parked::Parked;
use crate::log::handle::LogHandle;
use crate::model::policy::{ErrorAction, OnError};
#[cfg(feature = "async")]
use crate::model::progress::Progress;
use crate::model::readable::Readable;
use crate::model::request::requests;
use crate::model::worker::Worker;
use crate::model::worker::ask::Ask;
use crate::model::worker::desk::Desk;
use crate::value::callback;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::limits::{PAST_VIEW_BYTES_MAX, VIEW_READERS_WAIT_MAX};
use crate::value::position::Position;
use crate::views::ViewTree;
use apply::being_read;
use contract::{Projection, check_indexes};
use parked::parked;
use registry::Projections;
use runner::Runner;
use status::{ProjectionRequest, ProjectionStatus, Shared, Shown};
use std::sync::Arc;
use std::time::{Duration, Instant};
use target::Target;
use trees::{Found, Generation, MadeBy};
use view::{Served, View};

/// Settings for running a projection, or for folding its events without running it; see
/// [`Store::project`](crate::Store::project).
#[must_use = "a projection begins with `start`"]
pub struct ProjectionBuilder<P> {
    log: LogHandle,
    pub(crate) projections: Arc<Projections>,
    projection: P,
    on_error: OnError,
    memory_bytes: usize,
}

impl<P: Projection> ProjectionBuilder<P> {
    pub(crate) fn new(
        log: LogHandle,
        projections: Arc<Projections>,
        projection: P,
    ) -> ProjectionBuilder<P> {
        let (on_error, memory_bytes) = (OnError::default(), PAST_VIEW_BYTES_MAX);
        ProjectionBuilder { log, projections, projection, on_error, memory_bytes }
    }

    /// Sets what to do with events for which `apply` fails. By default: 3 retries, then stop.
    pub fn on_error(mut self, on_error: OnError) -> ProjectionBuilder<P> {
        self.on_error = on_error;
        self
    }

    /// Starts the projection after the last event in its view; it catches up in the background.
    ///
    /// # Errors
    /// [`AlreadyRunning`](ErrorKind::AlreadyRunning); [`InvalidInput`](ErrorKind::InvalidInput) for an invalid name, or
    /// for parking instances;
    /// [`Corrupt`](ErrorKind::Corrupt) if the view holds events after the log's end. A view of another history of the
    /// log is rebuilt instead.
    pub fn start(self) -> Result<ProjectionHandle> {
        let ProjectionBuilder { log, projections, projection, on_error, .. } = self;
        callback::refuse_if_anything_waits("starting a projection")?;
        if on_error.then == ErrorAction::ParkInstance {
            let message = format!(
                "projection {} cannot do ParkInstance with an event; Stop, ParkEvent and ParkStream are allowed",
                P::NAME
            );
            return Err(Error::invalid(message));
        }
        let filter = projection.filter();
        filter.check()?;
        check_indexes::<P>()?;
        let trees = projections.trees(P::NAME)?;
        let (requests, asked) = requests();
        let mut found = None;
        let (shared, registered) = projections.known.register(P::NAME, |served| {
            let views = trees.find(MadeBy::of::<P>())?;
            refuse_ahead::<P>(&log, &views)?;
            let tree = Arc::clone(&views.current.tree);
            let served = match served {
                Some(served) => {
                    serve::<P>(&served, tree)?;
                    served
                }
                None => Arc::new(Readable::new(tree)),
            };
            let (current, building) = (views.current, views.building);
            let (number, at) = (current.number, current.place.position);
            let target = match building {
                Some(building) => Target::new(building, true)?,
                None => Target::new(current, false)?,
            };
            let (done, shown) = shown(at, &target);
            found = Some((number, target, Arc::clone(&served)));
            Ok((Shared::new("projection", P::NAME, done, shown, requests), served))
        })?;
        let (current, target, served) = found.expect("found where it was registered");
        let desk = Desk {
            shared: Arc::clone(&shared),
            on_error,
            requests: asked,
            closed: log.log().closing(),
        };
        let runner = Runner {
            projection,
            filter,
            log: Arc::clone(log.log()),
            trees,
            desk,
            served: Arc::clone(&served),
            current,
            target,
            has_outdated: true,
            replay: None,
            #[cfg(feature = "erasure")]
            shows_forgotten: false,
        };
        Worker::start(log.log(), "filmstrip-projector", runner, Arc::clone(&shared), registered)?;
        Ok(ProjectionHandle { shared, served, log })
    }
}

/// The first status of a projection whose served view is at `checkpoint`, and the position up to which waits return at
/// once.
fn shown(checkpoint: Position, target: &Target) -> (Position, Shown) {
    let shown = Shown {
        target: Arc::clone(&target.generation.tree),
        checkpoint,
        building: target.building.then_some(target.generation.place.position),
        parked: target.parked.all,
    };
    // While a view is being built, callers wait for the new one.
    let done = if target.building { Position::START } else { checkpoint };
    (done, shown)
}

/// Serves `tree` to callers who hold the view from an earlier run.
fn serve<P: Projection>(served: &Served, tree: Arc<ViewTree>) -> Result<()> {
    let begun = Instant::now();
    let late = || {
        let waited = begun.elapsed();
        (waited >= VIEW_READERS_WAIT_MAX).then(|| being_read(P::NAME, waited))
    };
    *served.change(late)? = tree;
    Ok(())
}

/// Refuses a view that is ahead of the log: the log has lost durable events, or an older copy of it was restored.
fn refuse_ahead<P: Projection>(log: &LogHandle, found: &Found) -> Result<()> {
    let head = log.log().head_position();
    let ahead = |generation: &&Generation| generation.place.position > head;
    match [Some(&found.current), found.building.as_ref()].into_iter().flatten().find(ahead) {
        None => Ok(()),
        Some(generation) => {
            let message = format!(
                "the view of projection {} holds events up to position {}, but the log ends at {head}: \
                 the log has lost events, or an older copy of it was restored; \
                 `Store::remove_projection` gives the view up",
                P::NAME,
                generation.place.position
            );
            Err(Error::new(ErrorKind::Corrupt, message))
        }
    }
}

/// A running projection. Cloning is cheap. Dropping it does not stop the projection; holding it keeps the store open.
///
/// A call from within its own `apply` (to stop, for example) returns at once, and takes effect after the current
/// events.
#[derive(Clone)]
pub struct ProjectionHandle {
    shared: Arc<Shared>,
    served: Arc<Served>,
    log: LogHandle,
}

impl ProjectionHandle {
    #[cfg(feature = "async")]
    pub(crate) fn log_handle(&self) -> &LogHandle {
        &self.log
    }

    #[cfg(feature = "async")]
    pub(crate) fn progress(&self) -> &Progress {
        &self.shared.progress
    }

    /// Returns the projection's [`NAME`](Projection::NAME).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns its view, to read the rows.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(Arc::clone(&self.served), self.log.log().owner)
    }

    /// Waits until every event up to `position` is in the view, or parked, or not wanted. While the
    /// view is being rebuilt, it waits for the new one.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout); at once [`Faulted`](ErrorKind::Faulted) or
    /// [`Closed`](ErrorKind::Closed) if it will not get there.
    pub fn wait_for(&self, position: Position, timeout: Duration) -> Result<()> {
        self.shared.progress.wait_for(position, timeout)
    }

    /// Returns its state and progress.
    #[must_use]
    pub fn status(&self) -> ProjectionStatus {
        self.shared.status(self.log.log().head_position())
    }

    /// Returns the parked events, in order. They can be replayed or discarded all together, not one of them: see
    /// [`replay_parked`](ProjectionHandle::replay_parked) and [`discard_parked`](ProjectionHandle::discard_parked).
    ///
    /// This [`Parked`] is an event, as a consumer group's. A process parks instances and single steps, with causes of
    /// their own: [`process::Parked`](crate::process::Parked).
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed); errors of reading them.
    pub fn parked(&self) -> Result<Vec<Parked>> {
        self.log.log().owner.check()?;
        let target = Arc::clone(&self.shared.seen.lock().own.target);
        let records = parked(&target)?.into_iter();
        records.map(|(position, record)| Parked::new(position, record)).collect()
    }

    /// Retries each parked event once, in order; those that fail again stay parked, and so do the later events of
    /// their streams. New events are applied meanwhile, between turns of the replay. A turn ends after 100 ms, or
    /// 16,384 parked events, or when what it has changed is enough for one write; so the view lags for as long as a
    /// turn takes.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed); [`Timeout`](ErrorKind::Timeout) if a read of the view does not end; errors of
    /// reading or writing. If `apply` fails with an error of a store that does not work, such as
    /// [`StorageFull`](ErrorKind::StorageFull), the replay ends with it, and the event is parked as it was before.
    pub fn replay_parked(&self) -> Result<()> {
        self.shared.ask(Ask::Own(ProjectionRequest::ReplayParked))
    }

    /// Discards the parked events: they will not be in the view until it is rebuilt. They are discarded some thousands
    /// at a time: after an error or a crash, those that are left are still parked.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed); errors of writing.
    pub fn discard_parked(&self) -> Result<()> {
        self.shared.ask(Ask::Own(ProjectionRequest::DiscardParked))
    }

    /// Rebuilds the view from the first event on, beside the one that is served, which no longer changes until the new
    /// one replaces it. Clears the parked events. Returns when the rebuild has begun. It ends a fault, but not a pause:
    /// a paused projection begins to build when it is resumed, or started again.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed); errors of writing.
    pub fn rebuild(&self) -> Result<()> {
        self.shared.ask(Ask::Own(ProjectionRequest::Rebuild))
    }

    /// Pauses it after the current event.
    pub fn pause(&self) {
        // A stopped projection is paused already.
        let _ = self.shared.ask(Ask::Pause);
    }

    /// Resumes it, after a pause or a fault, with the event that it stopped at.
    pub fn resume(&self) {
        // Only its builder starts a stopped projection again.
        let _ = self.shared.ask(Ask::Resume);
    }

    /// Stops it. Its view can still be read, and continues when it is started again.
    ///
    /// # Errors
    /// Errors of writing its checkpoint.
    pub fn stop(&self) -> Result<()> {
        self.shared.ask(Ask::Stop)
    }
}
