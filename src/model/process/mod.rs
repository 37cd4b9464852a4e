//! Process managers: state that follows events of several streams, and gives commands.
//!
//! * A reaction's events and the position that was taken in are one commit, so no event is reacted
//!   to twice.
//! * An own event's effect comes after the event is durable and before anything else is taken in. It
//!   comes at least once; commands are known by the event that they follow from, and run once.
//! * What is kept besides the own events is in the journal: a lost index changes nothing.

pub(crate) mod contract;
mod durable_state;
pub(crate) mod effects;
mod instances;
mod reaction;
pub(crate) mod registry;
mod retries;
mod runner;
pub(crate) mod status;

use crate::log::handle::LogHandle;
use crate::model::aggregate::{Aggregate, is_category};
use crate::model::policy::{ErrorAction, OnError};
use crate::model::repository::Repository;
use crate::model::request::requests;
use crate::model::worker::Worker;
use crate::model::worker::ask::Ask;
use crate::model::worker::desk::Desk;
use crate::value::error::{Error, Result};
use crate::value::position::Position;
use contract::ProcessManager;
use durable_state::DurableState;
use effects::Executors;
use instances::Instances;
use registry::Processes;
use retries::RetryLoop;
use runner::{Runner, done};
use status::{ProcessStatus, Shared, Shown};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// Describes how a process is to run; see [`Store::process`](crate::Store::process).
#[must_use = "a process begins with `start`"]
pub struct ProcessBuilder<M> {
    log: LogHandle,
    processes: Arc<Processes>,
    on_error: OnError,
    executors: Executors,
    begin_after: Position,
    manager: PhantomData<M>,
}

impl<M: ProcessManager> ProcessBuilder<M> {
    pub(crate) fn new(log: LogHandle, processes: Arc<Processes>) -> ProcessBuilder<M> {
        let executors = Executors::new(log.downgrade());
        ProcessBuilder {
            log,
            processes,
            on_error: OnError::default(),
            executors,
            begin_after: Position::START,
            manager: PhantomData,
        }
    }

    /// How often, and after what waits, something that the application's code fails for is tried
    /// again before the process stops. Without it: 3 times. A process does not pass over an event, so
    /// [`ErrorAction::Stop`] is all that can follow.
    pub fn on_error(mut self, on_error: OnError) -> ProcessBuilder<M> {
        self.on_error = on_error;
        self
    }

    /// Commands to this kind of aggregate are executed with this repository: one of another store, or
    /// one with snapshots or other retries. The process does not keep its store open, and does not
    /// wait for its view.
    pub fn executes<A: Aggregate>(self, repository: Repository<A>) -> ProcessBuilder<M> {
        self.executors.put(&repository);
        self
    }

    /// Lets a process that has never run begin after this position, in place of the first event: to
    /// leave out what was before it. It has no say once the process has run.
    pub fn begin_after(mut self, position: Position) -> ProcessBuilder<M> {
        self.begin_after = position;
        self
    }

    /// Starts it where it has come to; it catches up in the background.
    ///
    /// # Errors
    /// [`AlreadyRunning`](crate::ErrorKind::AlreadyRunning);
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for parking, or a position past the head;
    /// [`NotAnEventSet`](crate::ErrorKind::NotAnEventSet) if its filter was made of one that is none.
    pub fn start(self) -> Result<ProcessHandle> {
        const {
            assert!(
                is_category(M::NAME),
                "NAME must not be empty, hold a '-' or a control character, or begin with '$'"
            );
        }
        let ProcessBuilder { log, processes, on_error, executors, begin_after, .. } = self;
        let filter = M::filter();
        filter.check()?;
        check::<M>(&log, on_error, begin_after)?;
        let (requests, asked) = requests();
        let mut found = None;
        let (shared, registered) = processes.0.register(M::NAME, |_| {
            let mut kept = DurableState::load(log.log(), M::NAME)?;
            if kept.is_new() {
                kept.pass(begin_after);
            }
            let (done, shown) = (done(&kept), Shown { deadlines: kept.deadlines() });
            found = Some(kept);
            Ok((Shared::new("process", M::NAME, done, shown, requests), ()))
        })?;
        let desk = Desk {
            shared: Arc::clone(&shared),
            on_error,
            requests: asked,
            closed: log.log().closing(),
        };
        let mut runner = Runner::<M> {
            engine: Arc::clone(log.engine()),
            filter,
            tries: RetryLoop { desk, settling: Vec::new(), fault: None },
            instances: Instances::new(),
            kept: found.expect("found where it was registered"),
            executors: Arc::new(executors),
            clock: log.log().watch_clock(),
            came_due: None,
        };
        // Where it begins is settled now, whenever the first commit will be.
        runner.write()?;
        Worker::start(log.log(), "filmstrip-process", runner, Arc::clone(&shared), registered)?;
        Ok(ProcessHandle { shared, log })
    }
}

fn check<M: ProcessManager>(
    log: &LogHandle,
    on_error: OnError,
    begin_after: Position,
) -> Result<()> {
    log.log().refuse_if_closed()?;
    if on_error.then != ErrorAction::Stop {
        let message = format!(
            "process {} cannot do {:?} with an event; only Stop is allowed",
            M::NAME,
            on_error.then
        );
        return Err(Error::invalid(message));
    }
    let head = log.log().head_position();
    if begin_after > head {
        let message =
            format!("process {} cannot begin after {begin_after}; the head is {head}", M::NAME);
        return Err(Error::invalid(message));
    }
    Ok(())
}

/// A running process. Cheap to clone; dropping it stops nothing, but it keeps the store open.
#[derive(Clone)]
pub struct ProcessHandle {
    shared: Arc<Shared>,
    log: LogHandle,
}

impl ProcessHandle {
    /// Waits until every event up to `position` is taken in, or not wanted, and the effects of what
    /// that led to are done.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout); at once [`Faulted`](crate::ErrorKind::Faulted) or
    /// [`Closed`](crate::ErrorKind::Closed) if it does not come so far.
    pub fn wait_for(&self, position: Position, timeout: Duration) -> Result<()> {
        self.shared.progress.wait_for(position, timeout)
    }

    /// What it is doing, and how far it has come.
    #[must_use]
    pub fn status(&self) -> ProcessStatus {
        self.shared.status(self.log.log().head_position())
    }

    /// Lets it rest where it is, deadlines included. It finishes what it is at.
    pub fn pause(&self) {
        // A process that has stopped rests already.
        let _ = self.shared.ask(Ask::Pause);
    }

    /// Resumes it, after a pause or a fault, with what it stopped at.
    pub fn resume(&self) {
        // A process that has stopped is started again by its builder only.
        let _ = self.shared.ask(Ask::Resume);
    }

    /// Stops it. It continues from there when it is started again.
    ///
    /// # Errors
    /// What writing down how far it has come met.
    pub fn stop(&self) -> Result<()> {
        self.shared.ask(Ask::Stop)
    }
}
