//! Process managers: they follow events of several streams, and send commands.
//!
//! * A reaction's events and the ingested position are one commit, so each event gets one reaction.
//! * An own event's effect runs after the event is durable and before anything else is ingested. It runs at least once;
//!   its commands are identified by the event that caused them, and run once.
//! * All other durable state of a process is in the journal too: a lost index changes nothing.

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
use crate::model::aggregate::Aggregate;
use crate::model::policy::{ErrorAction, OnError};
use crate::model::repository::Repository;
use crate::model::request::requests;
use crate::model::worker::Worker;
use crate::model::worker::ask::Ask;
use crate::model::worker::desk::Desk;
use crate::value::error::{Error, Result};
use crate::value::position::Position;
use crate::value::stream::is_category;
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

/// Settings for running a process; see [`Store::process`](crate::Store::process).
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

    /// Sets how often, and after which waits, a failure of the application's code is retried before the process stops.
    /// The default is 3 retries. A process never skips an event, so only [`ErrorAction::Stop`] can follow.
    pub fn on_error(mut self, on_error: OnError) -> ProcessBuilder<M> {
        self.on_error = on_error;
        self
    }

    /// Sets the repository for commands to this kind of aggregate: one of another store, or one with snapshots or other
    /// retries. The process does not keep that store open, and does not wait for the repository's view.
    pub fn executes<A: Aggregate>(self, repository: Repository<A>) -> ProcessBuilder<M> {
        self.executors.put(&repository);
        self
    }

    /// Sets the position after which a process that has never run begins; the default is the start. Once the process
    /// has run, this has no effect.
    pub fn begin_after(mut self, position: Position) -> ProcessBuilder<M> {
        self.begin_after = position;
        self
    }

    /// Starts the process at the position that it has reached; it catches up in the background.
    ///
    /// # Errors
    /// [`AlreadyRunning`](crate::ErrorKind::AlreadyRunning); [`InvalidInput`](crate::ErrorKind::InvalidInput) for
    /// parking, or a position past the head; [`NotAnEventSet`](crate::ErrorKind::NotAnEventSet) if its filter was made
    /// from a type that is not one.
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
        // Fix the position where it begins now, not at its first commit.
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

/// A running process. Cloning is cheap. Dropping it does not stop the process; holding it keeps the store open.
#[derive(Clone)]
pub struct ProcessHandle {
    shared: Arc<Shared>,
    log: LogHandle,
}

impl ProcessHandle {
    /// Returns the process's [`NAME`](ProcessManager::NAME).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Waits until every event up to `position` is ingested, or not wanted, and the resulting effects are done.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout); at once [`Faulted`](crate::ErrorKind::Faulted) or
    /// [`Closed`](crate::ErrorKind::Closed) if it will not get there.
    pub fn wait_for(&self, position: Position, timeout: Duration) -> Result<()> {
        self.shared.progress.wait_for(position, timeout)
    }

    /// Returns its state and progress.
    #[must_use]
    pub fn status(&self) -> ProcessStatus {
        self.shared.status(self.log.log().head_position())
    }

    /// Pauses it, deadlines included, after the current step.
    pub fn pause(&self) {
        // A stopped process is paused already.
        let _ = self.shared.ask(Ask::Pause);
    }

    /// Resumes it, after a pause or a fault, with the step that it stopped at.
    pub fn resume(&self) {
        // Only its builder starts a stopped process again.
        let _ = self.shared.ask(Ask::Resume);
    }

    /// Stops it. It continues from there when it is started again.
    ///
    /// # Errors
    /// Errors of writing its position.
    pub fn stop(&self) -> Result<()> {
        self.shared.ask(Ask::Stop)
    }
}
