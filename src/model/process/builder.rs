//! Starting a process.

use crate::log::core::{Closer, Log};
use crate::log::handle::LogHandle;
use crate::model::aggregate::Aggregate;
use crate::model::policy::{ErrorAction, OnError};
use crate::model::process::conflicts::Conflicts;
use crate::model::process::contract::ProcessManager;
use crate::model::process::durable_state::{DurableState, Found};
use crate::model::process::effects::Executors;
use crate::model::process::handle::ProcessHandle;
use crate::model::process::incoming::Incoming;
use crate::model::process::instances::Instances;
use crate::model::process::lane::{LaneContext, Ran, Task};
use crate::model::process::lanes::{Closing, Lanes};
use crate::model::process::listening::Settling;
use crate::model::process::passing_on::PassOn;
use crate::model::process::plan::Plan;
use crate::model::process::registry::Processes;
use crate::model::process::runner::Runner;
use crate::model::process::status::{Own, Shared, Shown};
use crate::model::repository::Repository;
use crate::model::repository::kinds::Kinds;
use crate::model::request::requests;
use crate::model::worker::Worker;
use crate::model::worker::desk::Desk;
use crate::value::error::{Error, Result};
use crate::value::event::RecordedEvent;
use crate::value::limits::{LANES_DEFAULT, LANES_MAX};
use crate::value::position::Position;
use crate::value::stream::is_category;
use crossbeam_channel::{Receiver, bounded};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;

/// Settings for running a process; see [`Store::process`](crate::Store::process).
#[must_use = "a process begins with `start`"]
pub struct ProcessBuilder<M> {
    log: LogHandle,
    processes: Arc<Processes>,
    on_error: OnError,
    executors: Executors,
    begin_after: Position,
    lanes: usize,
    pass_on: PassOn,
    manager: PhantomData<M>,
}

impl<M: ProcessManager> ProcessBuilder<M> {
    pub(crate) fn new(log: LogHandle, processes: Arc<Processes>) -> ProcessBuilder<M> {
        let executors = Executors { log: log.downgrade(), kinds: Kinds::default() };
        ProcessBuilder {
            log,
            processes,
            on_error: OnError::default(),
            executors,
            begin_after: Position::START,
            lanes: LANES_DEFAULT,
            pass_on: PassOn::default(),
            manager: PhantomData,
        }
    }

    /// Sets how often, and after which waits, a failure of the application's code is retried, and what happens then.
    /// The default is 3 retries, and then the instance is [parked](ErrorAction::ParkInstance), which is logged as an
    /// error. Other instances go on meanwhile. A failure of the store that passes by itself is retried for as long as
    /// it takes; after one that does not, the process stops, whatever is set here.
    pub fn on_error(mut self, on_error: OnError) -> ProcessBuilder<M> {
        self.on_error = on_error;
        self
    }

    /// Sets how many instances' effects run at a time, from 1 to [`LANES_MAX`]: each lane is a thread. The default is
    /// 64, because effects mostly wait for commits, which share one `fdatasync`: a process keeps up with as many
    /// threads that write what it follows as it has lanes. An instance's effects run one after the other in any case.
    /// With 1 lane, no two effects of this process run at once.
    pub fn lanes(mut self, lanes: usize) -> ProcessBuilder<M> {
        self.lanes = lanes;
        self
    }

    /// Sets what of an event's metadata is passed on to what follows from it. The default is all of it.
    pub fn pass_on(mut self, pass_on: PassOn) -> ProcessBuilder<M> {
        self.pass_on = pass_on;
        self
    }

    /// Sets the repository for commands to this kind of aggregate: one of another store, or one with snapshots or other
    /// retries. The process does not keep that store open, and does not wait for the repository's view.
    pub fn executes<A: Aggregate>(self, repository: Repository<A>) -> ProcessBuilder<M> {
        self.executors.kinds.put(&repository);
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
    /// parking streams, a number of lanes that is not allowed, or a position past the head;
    /// [`NotAnEventSet`](crate::ErrorKind::NotAnEventSet) if its filter was made from a type that is not one;
    /// [`UnsupportedFormat`](crate::ErrorKind::UnsupportedFormat) if a newer version has run it;
    /// [`Replica`](crate::ErrorKind::Replica) on a replica, because a process writes.
    pub fn start(self) -> Result<ProcessHandle> {
        const {
            assert!(
                is_category(M::NAME),
                "NAME must not be empty, hold a '-' or a control character, or begin with '$'"
            );
        }
        self.check()?;
        let ProcessBuilder { log, processes, on_error, executors, begin_after, .. } = self;
        let (requests, asked) = requests();
        let mut found = None;
        let (shared, registered) = processes.0.register(M::NAME, |_| {
            let mut state: Found<_> = DurableState::load(log.log(), M::NAME)?;
            if state.kept.is_new() {
                state.kept.pass(begin_after);
            }
            let done = state.kept.done(&state.schedule);
            let shown = Shown { deadlines: state.kept.deadlines(), ..Shown::default() };
            found = Some(state);
            Ok((Shared::new("process", M::NAME, done, shown, requests), ()))
        })?;
        let found = found.expect("found where it was registered");
        let closed = log.log().closing();
        let desk = Desk { shared: Arc::clone(&shared), on_error, requests: asked, closed };
        let (ring, bell) = bounded(1);
        let lanes = Arc::new(Lanes::new(move || {
            // One message is enough, so a full channel needs no other.
            let _ = ring.try_send(());
        }));
        let mut runner = runner::<M>(&log, self.pass_on.clone(), desk, found, &lanes, bell);
        // Fix the position where it begins now, not at its first commit.
        runner.write()?;
        runner.show();
        let context = LaneContext::<M> {
            engine: Arc::clone(log.engine()),
            executors: Arc::new(executors),
            pass_on: self.pass_on,
            lanes,
        };
        start_lanes(&log, context, &shared, self.lanes)?;
        Worker::start(log.log(), "filmstrip-process", runner, Arc::clone(&shared), registered)?;
        Ok(ProcessHandle { shared, log, name: M::NAME })
    }

    fn check(&self) -> Result<()> {
        M::filter().check()?;
        self.log.log().refuse_if_closed()?;
        self.log.engine().refuse_replica()?;
        if self.on_error.then == ErrorAction::ParkStream {
            let message = format!(
                "process {} cannot do ParkStream with an event; Stop, ParkInstance and ParkEvent are allowed",
                M::NAME
            );
            return Err(Error::invalid(message));
        }
        if !(1..=LANES_MAX).contains(&self.lanes) {
            let (name, lanes) = (M::NAME, self.lanes);
            let message = format!("process {name} has {lanes} lanes; 1 to {LANES_MAX} are allowed");
            return Err(Error::invalid(message));
        }
        let (after, head) = (self.begin_after, self.log.log().head_position());
        if after > head {
            let message =
                format!("process {} cannot begin after {after}; the head is {head}", M::NAME);
            return Err(Error::invalid(message));
        }
        Ok(())
    }
}

/// A runner that begins at the state `found`.
fn runner<M: ProcessManager>(
    log: &LogHandle,
    pass_on: PassOn,
    desk: Desk<Own, Shown>,
    found: Found<RecordedEvent>,
    lanes: &Arc<Lanes<Task<M>, Ran<M>>>,
    bell: Receiver<()>,
) -> Runner<M> {
    let Found { kept, schedule, deadlines } = found;
    Runner {
        engine: Arc::clone(log.engine()),
        filter: M::filter(),
        pass_on,
        desk,
        settling: Settling::default(),
        kept,
        schedule,
        deadlines,
        instances: Instances::new(),
        plan: Plan::default(),
        lanes: Closing(Arc::clone(lanes)),
        _closer: close_with(log.log(), lanes),
        bell,
        ran: VecDeque::new(),
        incoming: Incoming::default(),
        rereading: None,
        replays: HashMap::new(),
        to_replay: VecDeque::new(),
        replayed: Vec::new(),
        woken: Vec::new(),
        failing: HashMap::new(),
        retries: BTreeSet::new(),
        clock: log.log().watch_clock(),
        came_due: None,
        must_write: false,
        stale: false,
        conflicts: Conflicts::default(),
    }
}

/// Closes `lanes` when the log closes, for as long as the caller holds the result.
fn close_with<M: ProcessManager>(log: &Log, lanes: &Arc<Lanes<Task<M>, Ran<M>>>) -> Arc<Closer> {
    let lanes = Arc::downgrade(lanes);
    let closer: Arc<Closer> = Arc::new(move || {
        if let Some(lanes) = lanes.upgrade() {
            lanes.close();
        }
    });
    log.when_closing(&closer);
    closer
}

fn start_lanes<M: ProcessManager>(
    log: &LogHandle,
    context: LaneContext<M>,
    shared: &Arc<Shared>,
    lanes: usize,
) -> Result<()> {
    let context = Arc::new(context);
    for _ in 0..lanes {
        let (context, shared) = (Arc::clone(&context), Arc::clone(shared));
        log.log().spawn("filmstrip-lane", move || {
            // A caller within an effect would wait for itself.
            shared.requests.answered_here();
            context.run();
        })?;
    }
    Ok(())
}
