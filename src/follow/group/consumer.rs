//! A consumer of a group, and what is delivered to it.

use crate::follow::group::ledger::Nack;
use crate::follow::group::registry::Groups;
use crate::follow::group::running::{Next, RunningGroup};
use crate::follow::stopper::{Stopper, Stops};
use crate::log::handle::LogHandle;
use crate::telemetry::context::{self, Handling, Taken};
use crate::value::callback::{self, Holding};
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
#[cfg(feature = "async")]
use crate::value::failpoint::failpoint;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "async")]
use std::task::{Poll, Waker};
use std::time::Duration;

/// One of the consumers that share a group's events: an iterator that blocks until the next delivery.
///
/// It ends when it is stopped or the store is closed; an error is its last item. Dropping it leaves
/// the group.
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Position, Store};
/// let store = Store::temporary()?;
/// for n in [1, 2] {
///     store.append("Order-1", ExpectedVersion::Any, [NewEvent::json("Placed", &n)?])?;
/// }
/// let consumer = || store.subscribe().category("Order").group("mailer").start();
/// let (mut one, mut other) = (consumer()?, consumer()?); // in threads of their own, usually
///
/// let first = one.next().expect("two orders were placed")?;
/// let second = other.next().expect("two orders were placed")?;
/// second.ack()?; // the mail is sent
/// assert_eq!(store.group("mailer").cursor()?, Position::START); // the first is not finished
/// first.ack()?;
/// assert_eq!(store.group("mailer").cursor()?, Position::new(2));
/// # Ok::<(), filmstrip::Error>(())
/// ```
pub struct Consumer {
    member: Arc<Member>,
    stopped: Arc<AtomicBool>,
    stopper: Stopper,
}

/// What keeps the group running: a consumer and its deliveries hold it.
struct Member {
    group: Arc<RunningGroup>,
    groups: Arc<Groups>,
    name: String,
    /// After the group has been left, which writes.
    open: LogHandle,
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.open.log().owner.is_this_process() {
            let (open, groups) = (self.open.clone(), Arc::clone(&self.groups));
            let (name, group) = (std::mem::take(&mut self.name), Arc::clone(&self.group));
            callback::apart(move || open.log().at_one_time(|| groups.leave(&name, &group)));
        }
    }
}

struct Ending {
    group: Arc<RunningGroup>,
    stopped: Arc<AtomicBool>,
}

impl Stops for Ending {
    fn stop(&self) {
        self.group.stop_consumer(&self.stopped);
    }
}

impl Consumer {
    /// Returns the name of its group.
    #[must_use]
    pub fn group_name(&self) -> &str {
        &self.member.name
    }

    /// A consumer of `group`, which counts it already.
    pub(super) fn new(
        log: LogHandle,
        groups: Arc<Groups>,
        name: String,
        group: Arc<RunningGroup>,
    ) -> Consumer {
        let stopped = Arc::new(AtomicBool::new(false));
        let ending = Ending { group: Arc::clone(&group), stopped: Arc::clone(&stopped) };
        let member = Member { group, groups, name, open: log };
        Consumer { member: Arc::new(member), stopped, stopper: Stopper::new(Arc::new(ending)) }
    }

    /// Waits for the next event to handle, at most this long.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if none came; [`Closed`](ErrorKind::Closed) if none will come; errors of reading
    /// or writing.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Delivery> {
        self.member.open.log().owner.check()?;
        callback::refuse_if_commits_wait("Consumer::recv_timeout")?;
        let deadline = deadline_after(timeout);
        match self.member.group.next(deadline, &self.stopped) {
            Next::Event(event, attempt) => Ok(self.taken(event, attempt)),
            Next::Ended(error) => Err(error),
            Next::TimedOut => {
                let message = format!("no event came within {timeout:?}");
                Err(Error::new(ErrorKind::Timeout, message))
            }
            Next::Stopped => Err(Error::new(ErrorKind::Closed, "the consumer was stopped")),
        }
    }

    /// Returns a handle that ends this consumer from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    #[cfg(test)]
    pub(super) fn group(&self) -> &RunningGroup {
        &self.member.group
    }

    /// What is delivered next; or `waker` is woken when there is something.
    #[cfg(feature = "async")]
    pub(crate) fn poll_next(&self, waker: &Waker) -> Poll<Option<Result<Delivery>>> {
        if let Err(error) = self.member.open.log().owner.check() {
            let is_told = self.stopped.swap(true, Ordering::AcqRel);
            return Poll::Ready((!is_told).then_some(Err(error)));
        }
        if let Err(error) = callback::refuse_if_commits_wait("Consumer::poll_next") {
            return Poll::Ready(Some(Err(error)));
        }
        self.member.group.poll_next(waker, &self.stopped).map(|next| match next {
            Next::Event(event, attempt) if failpoint!("group::take_for_the_thread_of_a_task") => {
                Some(Ok(self.taken(event, attempt)))
            }
            // Its thread polls other tasks too, which do not handle this event.
            Next::Event(event, attempt) => Some(Ok(self.delivery(event, attempt, None))),
            Next::Ended(error) if error.kind() != ErrorKind::Closed => {
                self.stopper.stop();
                Some(Err(error))
            }
            Next::Ended(_) | Next::TimedOut | Next::Stopped => None,
        })
    }

    /// What this thread takes, and handles until it has answered.
    fn taken(&self, event: RecordedEvent, attempt: u32) -> Delivery {
        let taken = context::delivered(&event);
        self.delivery(event, attempt, taken)
    }

    fn delivery(&self, event: RecordedEvent, attempt: u32, taken: Option<Taken>) -> Delivery {
        Delivery { event, attempt, member: Arc::clone(&self.member), is_answered: false, taken }
    }
}

impl Iterator for Consumer {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = self.member.open.log().owner.check() {
            let is_told = self.stopped.swap(true, Ordering::AcqRel);
            return (!is_told).then_some(Err(error));
        }
        if let Err(error) = callback::refuse_if_commits_wait("Consumer::next") {
            return Some(Err(error));
        }
        match self.member.group.next(None, &self.stopped) {
            Next::Event(event, attempt) => Some(Ok(self.taken(event, attempt))),
            Next::Ended(error) if error.kind() != ErrorKind::Closed => {
                self.stopper.stop();
                Some(Err(error))
            }
            Next::Ended(_) | Next::TimedOut | Next::Stopped => None,
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let stopper = self.stopper.clone();
        callback::apart(move || stopper.stop());
    }
}

/// An event for this consumer to handle. Answer with [`ack`](Delivery::ack) or [`nack`](Delivery::nack): a delivery
/// that is dropped without an answer is delivered again at once.
#[must_use = "an event that is not acknowledged is delivered again"]
#[non_exhaustive]
pub struct Delivery {
    /// The event.
    pub event: RecordedEvent,
    /// How often it has been delivered, this time included. After a crash, attempts that led to nothing may be missing.
    pub attempt: u32,
    member: Arc<Member>,
    is_answered: bool,
    /// Until it is answered, the thread that took it handles it.
    taken: Option<Taken>,
}

impl Delivery {
    /// Runs `work`, which handles the event: commands that it gives on this thread are caused by the event, and carry
    /// its id as their causation id, and its correlation id.
    ///
    /// On the thread that has taken the delivery from its consumer this holds without it, until the delivery is
    /// answered, as long as the thread has no other one that is not answered. Use it for a delivery that was handed to
    /// another thread, and where a thread has several.
    pub fn handle<T>(&self, work: impl FnOnce() -> T) -> T {
        let _handling = Handling::begin(&self.event);
        work()
    }

    /// Says that the event is handled. When this returns, that is durable: the event is not delivered again. A late
    /// call counts too: an event that was delivered again, or parked, meanwhile is handled all the same, and is no
    /// longer parked.
    ///
    /// # Errors
    /// Errors of writing: a later run may then deliver the event again. The same holds after
    /// [`Closed`](ErrorKind::Closed): the store was closed, or the group had ended with an error and was started again.
    pub fn ack(mut self) -> Result<()> {
        self.member.open.log().owner.check()?;
        callback::refuse_if_commits_wait("Delivery::ack")?;
        self.is_answered = true;
        self.taken.take();
        let Member { group, groups, .. } = &*self.member;
        let position = self.event.position.get();
        self.member.open.log().at_one_time(|| groups.finish(group, position))
    }

    /// Says that the event is not handled, and what to do with it. When this returns, that is durable.
    ///
    /// # Errors
    /// [`Expired`](ErrorKind::Expired), and nothing is done, if the event was meanwhile delivered again, parked, or
    /// finished; those of [`ack`](Delivery::ack).
    pub fn nack(mut self, nack: Nack) -> Result<()> {
        self.member.open.log().owner.check()?;
        callback::refuse_if_commits_wait("Delivery::nack")?;
        self.is_answered = true;
        self.taken.take();
        let (group, position) = (&self.member.group, self.event.position.get());
        self.member.open.log().at_one_time(|| group.refuse(position, self.attempt, nack))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // In a clock that the group asks, it would wait for itself: there the time of the delivery runs out.
        let may_tell =
            self.member.open.log().owner.is_this_process() && !Holding::Commits.is_held();
        if !self.is_answered && may_tell {
            self.member.group.abandon(self.event.position.get(), self.attempt);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Delivery { event, attempt, .. } = self;
        f.debug_struct("Delivery").field("event", event).field("attempt", attempt).finish()
    }
}
