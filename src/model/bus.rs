//! The command bus: a pool of threads that execute commands, fed by bounded channels.
//!
//! * All commands for one stream go to one worker, in the order in which they were sent.
//! * Every ticket gets an outcome: a command that was sent before the bus is closed is executed, or expires.
//! * A panic in `decide` fails its command, not its worker.

#[cfg(feature = "async")]
use crate::log::handle::LogHandle;
use crate::model::aggregate::Aggregate;
use crate::model::repository::Repository;
use crate::model::ticket::{Answer, Outcome, SendError, Ticket, is_one_of};
use crate::telemetry::context::{self, TraceContext};
use crate::value::callback::Holding;
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::event::Metadata;
use crate::value::failpoint::failpoint;
use crate::value::fork::{Owned, Owner};
use crate::value::limits::{
    BUS_QUEUE_DEFAULT, BUS_QUEUE_MAX, BUS_WORKERS_DEFAULT, BUS_WORKERS_MAX,
};
use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError, bounded};
use parking_lot::{Mutex, RwLock};
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

impl<A: Aggregate> Repository<A> {
    /// Describes a pool of threads that execute commands: for each aggregate in the order in which they are sent,
    /// across aggregates in parallel.
    pub fn bus(self) -> BusBuilder<A> {
        BusBuilder { repository: self, workers: BUS_WORKERS_DEFAULT, queue: BUS_QUEUE_DEFAULT }
    }
}

/// Describes a command bus; see [`Repository::bus`].
#[must_use = "a bus begins with `start`"]
pub struct BusBuilder<A: Aggregate> {
    repository: Repository<A>,
    workers: usize,
    queue: usize,
}

impl<A: Aggregate> BusBuilder<A> {
    /// Sets how many threads execute commands: 1 to 1,024, by default 16. They mostly wait for the disk, and commits
    /// that wait at the same time are written together, so use more threads than there are processors.
    pub fn workers(mut self, workers: usize) -> BusBuilder<A> {
        self.workers = workers;
        self
    }

    /// Sets how many commands may wait for each worker: 1 to 1,048,576, by default 1,024.
    pub fn queue(mut self, commands: usize) -> BusBuilder<A> {
        self.queue = commands;
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a number out of range;
    /// [`Io`](ErrorKind::Io) if a thread cannot be started.
    pub fn start(self) -> Result<Bus<A>> {
        let BusBuilder { repository, workers, queue } = self;
        repository.owner().check()?;
        check("workers", workers, BUS_WORKERS_MAX)?;
        check("commands in each queue", queue, BUS_QUEUE_MAX)?;
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| bounded::<Job<A>>(queue)).unzip();
        let mut inner = Inner {
            queues: RwLock::new(Some(senders)),
            threads: Mutex::new(Vec::new()),
            workers: Arc::default(),
            hasher: RandomState::new(),
            owner: repository.owner(),
            traces: repository.traces(),
            #[cfg(feature = "async")]
            log: repository.log_handle().clone(),
        };
        let mut ids = Vec::with_capacity(workers);
        for (number, jobs) in receivers.into_iter().enumerate() {
            let repository = repository.clone();
            let thread = std::thread::Builder::new().name(format!("filmstrip-bus-{number}"));
            let thread = thread.spawn(move || work(&repository, &jobs)).map_err(|e| {
                let message = format!("cannot start worker {number} of a bus: {e}");
                Error::with_source(ErrorKind::Io, message, e)
            })?;
            ids.push(thread.thread().id());
            inner.threads.get_mut().push(thread);
        }
        inner.workers = Arc::new(ids);
        Ok(Bus(Arc::new(inner)))
    }
}

fn check(what: &str, met: usize, max: usize) -> Result<()> {
    match (1..=max).contains(&met) {
        true => Ok(()),
        false => Err(Error::invalid(format!("a bus has {met} {what}; 1 to {max} are allowed"))),
    }
}

/// A running command bus. Cloning is cheap. When the last clone is dropped, what was sent is executed, and the workers
/// end.
///
/// ```
/// # use filmstrip::{Aggregate, Event, Store};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize)]
/// # enum Added { Added(u32) }
/// # impl Event for Added {}
/// # #[derive(Default, Clone)]
/// # struct Sum { sum: u32 }
/// # impl Aggregate for Sum {
/// #     const CATEGORY: &'static str = "Sum";
/// #     type Command = u32;
/// #     type Event = Added;
/// #     type Error = std::convert::Infallible;
/// #     fn decide(&self, n: &u32) -> Result<Vec<Added>, Self::Error> { Ok(vec![Added::Added(*n)]) }
/// #     fn evolve(&mut self, Added::Added(n): &Added) { self.sum += n; }
/// # }
/// let store = Store::temporary()?;
/// let bus = store.repository::<Sum>().bus().workers(4).start()?;
/// let tickets: Vec<_> = (1..=10).map(|n| bus.send("a", n)).collect::<Result<_, _>>()?;
/// let last = tickets.into_iter().last().expect("ten tickets").wait()?;
/// assert_eq!(last.state.sum, 55);
/// # Ok::<(), filmstrip::Error>(())
/// ```
pub struct Bus<A: Aggregate>(Arc<Inner<A>>);

impl<A: Aggregate> Clone for Bus<A> {
    fn clone(&self) -> Bus<A> {
        Bus(Arc::clone(&self.0))
    }
}

struct Inner<A: Aggregate> {
    /// One for each worker; `None` once the bus is closed.
    queues: RwLock<Option<Vec<Sender<Job<A>>>>>,
    /// The lock is held by the thread that joins them.
    threads: Mutex<Vec<JoinHandle<()>>>,
    workers: Arc<Vec<ThreadId>>,
    hasher: RandomState,
    owner: Owner,
    traces: Option<Arc<dyn TraceContext>>,
    #[cfg(feature = "async")]
    log: LogHandle,
}

/// A command on its way to its worker.
struct Job<A: Aggregate> {
    id: String,
    command: A::Command,
    metadata: Metadata,
    expires_at: Option<Instant>,
    answer: Answer<Outcome<A>>,
}

impl<A: Aggregate> Bus<A> {
    #[cfg(feature = "async")]
    pub(crate) fn log_handle(&self) -> &LogHandle {
        &self.0.log
    }

    /// Sends a command to the aggregate `id`, and waits for room in its worker's queue. Within a command of this bus it
    /// does not wait, because that command's own worker may be the one to make room.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed); within a command of this bus also [`QueueFull`](ErrorKind::QueueFull).
    pub fn send(&self, id: impl Into<String>, command: A::Command) -> Result<Ticket<A>> {
        Ok(self.command(id, command).send()?)
    }

    /// Sends a command to the aggregate `id` if there is room in its worker's queue; otherwise returns it.
    ///
    /// # Errors
    /// [`QueueFull`](ErrorKind::QueueFull), [`Closed`](ErrorKind::Closed).
    pub fn try_send(
        &self,
        id: impl Into<String>,
        command: A::Command,
    ) -> Result<Ticket<A>, SendError<A::Command>> {
        self.command(id, command).try_send()
    }

    /// Begins a command that is to be sent with metadata or a deadline.
    pub fn command(&self, id: impl Into<String>, command: A::Command) -> CommandBuilder<'_, A> {
        CommandBuilder {
            bus: self,
            id: id.into(),
            command,
            metadata: Metadata::default(),
            expires_at: None,
        }
    }

    #[cfg(feature = "async")]
    pub(crate) fn traces(&self) -> Option<&dyn TraceContext> {
        self.0.traces.as_deref()
    }

    /// Closes the bus: it accepts no more commands, and returns when those that were sent are executed.
    pub fn close(&self) {
        self.0.close();
    }
}

impl<A: Aggregate> Inner<A> {
    fn close(&self) {
        // A forked process has no workers to wait for.
        if !self.owner.is_this_process() {
            return;
        }
        self.queues.write().take();
        let here = std::thread::current().id();
        let is_worker = is_one_of(&self.workers);
        let mut threads = match self.threads.try_lock() {
            Some(threads) => threads,
            // Another thread is joining this worker, so the worker must not wait for that thread.
            None if is_worker => return,
            None => self.threads.lock(),
        };
        // A command may hold the last handle; its worker cannot join itself.
        for thread in threads.extract_if(.., |thread| thread.thread().id() != here) {
            // A worker catches panics, so the result of `join` says nothing.
            let _ = thread.join();
        }
    }

    /// The queue of the worker for `id`; `None` if the bus is closed.
    fn queue(&self, id: &str) -> Option<Sender<Job<A>>> {
        let queues = self.queues.read();
        let queues = queues.as_ref()?;
        Some(queues[self.hasher.hash_one(id) as usize % queues.len()].clone())
    }
}

impl<A: Aggregate> Drop for Inner<A> {
    fn drop(&mut self) {
        self.close();
        if !self.owner.is_this_process() {
            std::mem::forget((
                self.queues.get_mut().take(),
                std::mem::take(self.threads.get_mut()),
            ));
        }
    }
}

/// A command that is about to be sent; see [`Bus::command`].
#[must_use = "a command is sent by `send` or `try_send`"]
pub struct CommandBuilder<'a, A: Aggregate> {
    bus: &'a Bus<A>,
    id: String,
    command: A::Command,
    metadata: Metadata,
    expires_at: Option<Instant>,
}

impl<A: Aggregate> CommandBuilder<'_, A> {
    /// Sets the metadata of the command's events; see
    /// [`execute_with`](Repository::execute_with).
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets a deadline. If the command has not begun by then, it does not run: its outcome is
    /// [`Expired`](ErrorKind::Expired).
    pub fn expires_at(mut self, deadline: Instant) -> Self {
        self.expires_at = Some(deadline);
        self
    }

    /// Sets the deadline from now. If the command has not begun within this time, it does not run: its outcome is
    /// [`Expired`](ErrorKind::Expired).
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires_at = deadline_after(time);
        self
    }

    /// Sends it, and waits for room in its worker's queue, but not beyond its deadline. Without a deadline it does not
    /// wait within a command of this bus, whose worker may be the one to make room. Nor does it wait within a clock, or
    /// within a listener of `tracing` that a commit calls.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed), [`Expired`](ErrorKind::Expired); within a command of this bus also
    /// [`QueueFull`](ErrorKind::QueueFull).
    pub fn send(self) -> Result<Ticket<A>, SendError<A::Command>> {
        let waits_for_itself = is_one_of(&self.bus.0.workers) || Holding::Commits.is_held();
        if self.expires_at.is_none() && waits_for_itself && !failpoint!("bus::wait_for_own_room") {
            return self.try_send();
        }
        self.send_by(|queue, job, expires_at| match expires_at {
            None => queue.send(job).err().map(|refused| (refused.into_inner(), closed())),
            Some(deadline) => {
                queue.send_deadline(job, deadline).err().map(|refused| match refused {
                    SendTimeoutError::Timeout(job) => (job, expired()),
                    SendTimeoutError::Disconnected(job) => (job, closed()),
                })
            }
        })
    }

    /// Sends it if there is room in its worker's queue.
    ///
    /// # Errors
    /// [`QueueFull`](ErrorKind::QueueFull), [`Closed`](ErrorKind::Closed).
    pub fn try_send(self) -> Result<Ticket<A>, SendError<A::Command>> {
        self.send_by(|queue, job, _| {
            queue.try_send(job).err().map(|refused| match refused {
                TrySendError::Full(job) => {
                    let waiting = queue.capacity().unwrap_or_default();
                    let message =
                        format!("the queue is full: {waiting} commands wait for the worker");
                    (job, Error::new(ErrorKind::QueueFull, message))
                }
                TrySendError::Disconnected(job) => (job, closed()),
            })
        })
    }

    fn send_by(
        self,
        send: impl FnOnce(&Sender<Job<A>>, Job<A>, Option<Instant>) -> Option<(Job<A>, Error)>,
    ) -> Result<Ticket<A>, SendError<A::Command>> {
        let CommandBuilder { bus, id, command, mut metadata, expires_at } = self;
        if let Err(error) = bus.0.owner.check() {
            return Err(SendError { command, error });
        }
        let Some(queue) = bus.0.queue(&id) else {
            return Err(SendError { command, error: closed() });
        };
        // On its own thread the worker handles nothing.
        context::stamp(&mut metadata, bus.0.traces.as_deref());
        let (answer, answered) = bounded(1);
        let answer = Answer::new(answer);
        #[cfg(feature = "async")]
        let tasks = answer.tasks();
        let job = Job { id, command, metadata, expires_at, answer };
        match send(&queue, job, expires_at) {
            None => Ok(Ticket {
                answered: Owned::new(answered),
                owner: bus.0.owner,
                workers: Arc::clone(&bus.0.workers),
                #[cfg(feature = "async")]
                tasks,
            }),
            Some((job, error)) => Err(SendError { command: job.command, error }),
        }
    }
}

fn work<A: Aggregate>(repository: &Repository<A>, jobs: &Receiver<Job<A>>) {
    for job in jobs {
        let (id, answer) = (job.id.clone(), job.answer.clone());
        // The command is also dropped in `execute`, and dropping it may panic.
        let outcome = catch(|| execute(repository, job)).unwrap_or_else(|cause| {
            let message = format!("a command to {}-{id} panicked: {cause}", A::CATEGORY);
            Err(Error::new(ErrorKind::Panicked, message).into())
        });
        // If the sender does not wait for the outcome, it is dropped here.
        let _ = catch(|| answer.send(outcome));
    }
}

fn execute<A: Aggregate>(repository: &Repository<A>, job: Job<A>) -> Outcome<A> {
    let Job { id, command, metadata, expires_at, .. } = job;
    if expires_at.is_some_and(|deadline| Instant::now() >= deadline) {
        return Err(expired().into());
    }
    repository.execute_with(&id, &command, metadata)
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the bus is closed")
}

fn expired() -> Error {
    Error::new(
        ErrorKind::Expired,
        "the command's deadline passed before its turn came; it did not run",
    )
}
