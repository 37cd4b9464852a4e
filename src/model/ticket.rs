//! What the sender of a command gets: a ticket for the outcome, or the command back with the reason.

use crate::model::aggregate::Aggregate;
use crate::model::repository::outcome::{ExecuteError, Executed};
use crate::value::callback;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::fork::{Owned, Owner};
#[cfg(feature = "async")]
use crate::value::tasks::Tasks;
#[cfg(feature = "async")]
use crossbeam_channel::TryRecvError;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
#[cfg(feature = "async")]
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::{Poll, Waker};
use std::thread::ThreadId;
use std::time::Duration;

/// The outcome of a command.
pub(crate) type Outcome<A> = Result<Executed<A>, ExecuteError<<A as Aggregate>::Error>>;

/// A command that was not sent, and why.
#[non_exhaustive]
pub struct SendError<C> {
    /// The command, so that it can be sent again.
    pub command: C,
    /// Why it was not sent.
    pub error: Error,
}

impl<C> fmt::Debug for SendError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<C> fmt::Display for SendError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the command was not sent: {}", self.error)
    }
}

impl<C> std::error::Error for SendError<C> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<C> From<SendError<C>> for Error {
    fn from(not_sent: SendError<C>) -> Error {
        not_sent.error
    }
}

/// Returns the outcome of a sent command. Dropping it does not cancel the command.
#[must_use = "whether the command was executed, only its ticket tells"]
pub struct Ticket<A: Aggregate> {
    pub(super) answered: Owned<Receiver<Outcome<A>>>,
    pub(super) owner: Owner,
    /// The workers that may have to execute the command.
    pub(super) workers: Arc<Vec<ThreadId>>,
    /// The tasks that wait.
    #[cfg(feature = "async")]
    pub(super) tasks: Arc<Mutex<Tasks>>,
}

impl<A: Aggregate> Ticket<A> {
    /// Waits until the command was executed or refused.
    ///
    /// # Errors
    /// Those of [`Repository::execute_with`](crate::model::repository::Repository::execute_with);
    /// [`Expired`](ErrorKind::Expired), if its deadline passed before it began; [`Panicked`](ErrorKind::Panicked), if
    /// `decide` or `evolve` did. Within a command of the same bus it is [`InvalidInput`](ErrorKind::InvalidInput) if it
    /// was not executed yet, because the waiting worker may be the one to execute it;
    /// [`wait_timeout`](Ticket::wait_timeout) waits there too.
    pub fn wait(self) -> Outcome<A> {
        self.owner.check()?;
        callback::refuse_if_commits_wait("Ticket::wait")?;
        if self.answered.is_empty()
            && is_one_of(&self.workers)
            && !failpoint!("bus::wait_for_own_ticket")
        {
            let message = "a command's ticket is waited for within a command of the same bus, by a worker \
                           that may have to execute it";
            return Err(Error::invalid(message).into());
        }
        self.answered.recv().unwrap_or_else(|_| Err(unanswered().into()))
    }

    /// The outcome; or `waker` is woken when it is there.
    #[cfg(feature = "async")]
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Outcome<A>> {
        if let Err(error) = self.owner.check() {
            return Poll::Ready(Err(error.into()));
        }
        let waker = waker.clone();
        let replaced = self.tasks.lock().join(0, waker);
        drop(replaced);
        match self.answered.try_recv() {
            Ok(outcome) => Poll::Ready(outcome),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Disconnected) => Poll::Ready(Err(unanswered().into())),
        }
    }

    /// The task no longer waits.
    #[cfg(feature = "async")]
    pub(crate) fn leave(&self) {
        if self.owner.check().is_ok() {
            let left = self.tasks.lock().leave(0);
            drop(left);
        }
    }

    /// Waits at most this long; `None` if the command is not done by then. The outcome is returned once.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Outcome<A>> {
        if let Err(error) = self.owner.check() {
            return Some(Err(error.into()));
        }
        match self.answered.recv_timeout(timeout) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(unanswered().into())),
        }
    }
}

/// Where the outcome of a command goes.
pub(super) struct Answer<T> {
    /// Nothing only while it is dropped.
    sender: Option<Sender<T>>,
    #[cfg(feature = "async")]
    tasks: Arc<Mutex<Tasks>>,
}

impl<T> Answer<T> {
    pub(super) fn new(sender: Sender<T>) -> Answer<T> {
        Answer {
            sender: Some(sender),
            #[cfg(feature = "async")]
            tasks: Arc::default(),
        }
    }

    /// The tasks that wait for it.
    #[cfg(feature = "async")]
    pub(super) fn tasks(&self) -> Arc<Mutex<Tasks>> {
        Arc::clone(&self.tasks)
    }

    /// Sends it. If nobody waits for it, it is dropped.
    pub(super) fn send(&self, outcome: T) {
        if let Some(sender) = &self.sender {
            drop(sender.send(outcome));
        }
        self.wake();
    }

    fn wake(&self) {
        #[cfg(feature = "async")]
        {
            let woken = self.tasks.lock().take();
            woken.wake();
        }
    }
}

impl<T> Clone for Answer<T> {
    fn clone(&self) -> Answer<T> {
        Answer {
            sender: self.sender.clone(),
            #[cfg(feature = "async")]
            tasks: Arc::clone(&self.tasks),
        }
    }
}

/// Who waits learns that there will be none.
impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        self.sender = None;
        self.wake();
    }
}

/// Whether the current thread is one of `workers`.
pub(super) fn is_one_of(workers: &[ThreadId]) -> bool {
    workers.contains(&std::thread::current().id())
}

fn unanswered() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the command's outcome was already returned, or its worker has ended",
    )
}
