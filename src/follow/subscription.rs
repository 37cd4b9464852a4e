//! A subscription: an inbox, and the ways to take from it.
//!
//! * What is in the inbox, and how it gets there, is the business of `follow::live`. It needs no thread.
//! * A channel of the events, for a `select!`, needs one: it is started with the first call for it.

use crate::follow::group::registry::Groups;
use crate::follow::live::inbox::Inbox;
use crate::follow::live::roster::Roster;
use crate::follow::live::taking::Next;
#[cfg(feature = "async")]
use crate::follow::live::taking::Polled;
use crate::follow::open_subscriptions::OpenSubscriptions;
use crate::follow::stopper::{Stopper, Stops};
use crate::log::core::Log;
use crate::log::handle::LogHandle;
use crate::log::read::options::{ReadOptions, filter_methods, stream_method};
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::fork::Owned;
use crate::value::limits::{SUBSCRIPTION_BUFFER_DEFAULT, SUBSCRIPTION_BUFFER_MAX};
use crate::value::position::Position;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
#[cfg(feature = "async")]
use std::task::Waker;
use std::time::{Duration, Instant};

/// Describes a subscription; see [`Store::subscribe`](crate::Store::subscribe).
#[must_use = "a subscription begins with `start`"]
pub struct SubscriptionBuilder {
    pub(super) log: LogHandle,
    pub(super) groups: Arc<Groups>,
    live: Arc<Roster>,
    open: Arc<OpenSubscriptions>,
    pub(super) options: ReadOptions,
    pub(super) buffer: usize,
}

impl SubscriptionBuilder {
    pub(crate) fn new(
        log: LogHandle,
        live: Arc<Roster>,
        open: Arc<OpenSubscriptions>,
        groups: Arc<Groups>,
    ) -> SubscriptionBuilder {
        let (options, buffer) = (ReadOptions::everything(), SUBSCRIPTION_BUFFER_DEFAULT);
        SubscriptionBuilder { log, groups, live, open, options, buffer }
    }

    /// Begins after this position; the default is the start. Pass the head for live events only, or the
    /// [position](Subscription::position) of an earlier subscription to continue it.
    pub fn after(mut self, position: Position) -> SubscriptionBuilder {
        self.options.after = position.get();
        self
    }

    stream_method!();
    filter_methods!();

    /// Sets how many events are held ready for the consumer: 1 to 65,536, by default 1,024. Together with the size of
    /// the events it bounds the memory of a subscription. What comes when they are as many is not lost: it is read from
    /// the log once they are taken.
    pub fn buffer(mut self, events: usize) -> SubscriptionBuilder {
        self.buffer = events;
        self
    }

    /// Starts the subscription.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an invalid stream name or buffer, or a position past the head;
    /// [`Closed`](ErrorKind::Closed); [`Io`](ErrorKind::Io) if it is the first one and its thread cannot be started.
    pub fn start(self) -> Result<Subscription> {
        self.check()?;
        let subscription = Subscription::start(self.log, self.live, self.options, self.buffer)?;
        self.open.add(&subscription.follower.inbox);
        Ok(subscription)
    }

    /// Refuses invalid settings.
    pub(super) fn check(&self) -> Result<()> {
        self.options.check()?;
        if !(1..=SUBSCRIPTION_BUFFER_MAX).contains(&self.buffer) {
            let message = format!(
                "a subscription's buffer is {} events; 1 to {SUBSCRIPTION_BUFFER_MAX} are allowed",
                self.buffer
            );
            return Err(Error::invalid(message));
        }
        self.log.log().refuse_if_closed()?;
        let (after, head) = (self.options.after, self.log.log().head_position());
        if after > head.get() {
            let message =
                format!("a subscription after position {after} cannot begin; the head is {head}");
            return Err(Error::invalid(message));
        }
        Ok(())
    }
}

/// The events of the log, in order, from a position on and without end: an iterator that blocks until the next one.
///
/// Each event comes once. A new subscription that begins after the [position](Subscription::position) of an earlier one
/// continues it without a gap. A subscription ends when it is stopped or dropped, or when the store is closed; an error
/// is its last item.
///
/// A store has one thread that reads new events, once for all subscriptions, and gives each event to those that want
/// it. A subscription that lags (it began at an earlier position, or its buffer was full) reads for itself, on the
/// thread that takes from it, until it has come to the head. So a subscription has no thread, takes no time of the
/// writers' or the others' when nothing is for it, and does not hold them up when it takes nothing.
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// let store = Store::temporary()?;
/// let doors = store.subscribe().category("Door").start()?;
/// store.append("Door-1", ExpectedVersion::Any, [NewEvent::json("Opened", &())?])?;
/// store.append("Lamp-1", ExpectedVersion::Any, [NewEvent::json("Lit", &())?])?;
/// store.append("Door-1", ExpectedVersion::Any, [NewEvent::json("Closed", &())?])?;
/// let seen: Vec<u64> = doors.take(2).map(|e| Ok(e?.position.get())).collect::<Result<_, filmstrip::Error>>()?;
/// assert_eq!(seen, [1, 3]);
/// # Ok::<(), filmstrip::Error>(())
/// ```
pub struct Subscription {
    follower: Owned<Arc<Follower>>,
    /// What `receiver` was asked for.
    channel: Owned<OnceLock<Receiver<Result<RecordedEvent>>>>,
    /// The last position that was told, or taken from the channel.
    known: AtomicU64,
    /// It was used in a forked process.
    is_forked: bool,
    open: LogHandle,
}

/// What a subscription shares with its stopper and the thread of its channel.
struct Follower {
    log: Arc<Log>,
    live: Arc<Roster>,
    inbox: Arc<Inbox>,
    /// Dropping it ends the thread of the channel.
    stop: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
}

impl Follower {
    fn next(&self, deadline: Option<Instant>, hold: bool) -> Next {
        let next = self.inbox.next(&self.log, &self.live, deadline, hold);
        if let Next::Event(event) = &next {
            // It may call the application's listener, so not where events are handed out, under locks.
            self.inbox.filter.note_accepted(event.stream.as_str());
        }
        next
    }

    /// Fills the channel, until the end.
    fn fill(&self, channel: &Sender<Result<RecordedEvent>>) {
        let closed = self.log.closing();
        loop {
            let (item, is_last) = match self.next(None, true) {
                Next::Event(event) => (Ok(event), false),
                Next::Failed(error) => (Err(error), true),
                Next::Ended | Next::TimedOut => return,
            };
            let is_sent = select! {
                send(channel, item) -> sent => sent.is_ok(),
                recv(self.stopped) -> _ => false,
                recv(closed) -> _ => false,
            };
            if is_last || !is_sent {
                return;
            }
            self.inbox.release();
        }
    }
}

impl Stops for Follower {
    fn stop(&self) {
        // In a forked process nobody waits.
        if self.log.owner.is_this_process() {
            self.inbox.stop();
            self.live.leave(&self.log, &self.inbox);
            self.stop.lock().take();
        }
    }
}

impl Subscription {
    fn start(
        log: LogHandle,
        live: Arc<Roster>,
        options: ReadOptions,
        buffer: usize,
    ) -> Result<Subscription> {
        let ReadOptions { after, filter, .. } = options;
        let inbox = Arc::new(Inbox::new(filter, after, buffer));
        live.join(log.log(), &inbox)?;
        let (stop, stopped) = bounded(0);
        let (its_log, stop) = (Arc::clone(log.log()), Mutex::new(Some(stop)));
        let follower = Arc::new(Follower { log: its_log, live, inbox, stop, stopped });
        Ok(Subscription {
            follower: Owned::new(follower),
            channel: Owned::new(OnceLock::new()),
            known: AtomicU64::new(after),
            is_forked: false,
            open: log,
        })
    }

    /// Waits for the next event, at most this long.
    ///
    /// With [`Duration::ZERO`] it returns what is there already, and does not wait: so one thread can ask many
    /// subscriptions in turn. One that lags takes a look at the log even then. That look is bounded, and may end before
    /// a wanted event: ask again as long as [`position`](Subscription::position) moves on.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if none came; [`Closed`](ErrorKind::Closed) if none will come, also after a
    /// stop; or an error of reading, once.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<RecordedEvent> {
        self.open.log().owner.check()?;
        let next = match self.channel.get() {
            None => self.follower.next(deadline_after(timeout), false),
            Some(_) if self.is_stopped() => Next::Ended,
            Some(channel) => self.taken(channel.recv_timeout(timeout)),
        };
        match next {
            Next::Event(event) => Ok(event),
            Next::Failed(error) => Err(error),
            Next::TimedOut => {
                let message = format!("no event came within {timeout:?}");
                Err(Error::new(ErrorKind::Timeout, message))
            }
            Next::Ended => Err(Error::new(ErrorKind::Closed, "the subscription has ended")),
        }
    }

    /// Returns the position up to which every event was returned, or is not wanted. Store it, and pass it to
    /// [`after`](SubscriptionBuilder::after) to continue: it is never past an event that was not returned. It moves on
    /// while nothing is wanted of what is appended, too.
    ///
    /// While a subscription lags, it moves on as events are taken, or waited for. While there is something in the
    /// channel of [`receiver`](Subscription::receiver), it is the position that was returned last, or that of the last
    /// event that this subscription's own methods took. In a forked process it is the one that was known there.
    #[must_use]
    pub fn position(&self) -> Position {
        if !self.open.log().owner.is_this_process() {
            return Position::new(self.known.load(Ordering::Acquire));
        }
        let position = self.follower.inbox.position(&self.follower.log);
        // After the position was asked for: what is in the channel by then comes before it.
        match self.channel.get() {
            Some(channel) if !channel.is_empty() => {}
            _ => {
                self.known.fetch_max(position, Ordering::AcqRel);
            }
        }
        Position::new(self.known.load(Ordering::Acquire))
    }

    /// Returns a channel of the events, for a `select!` over several.
    ///
    /// With the first call, the subscription gets a thread, which moves events into the channel; so use the other
    /// methods where they will do. From then on all events come through the channel: the other methods take from it,
    /// too. It holds as many events as the subscription's buffer, and is disconnected at the end. After a
    /// [`stop`](Stopper::stop) it still holds what was moved before, which the other methods no longer return.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Result<RecordedEvent>> {
        self.channel.get_or_init(|| self.open_channel())
    }

    fn open_channel(&self) -> Receiver<Result<RecordedEvent>> {
        let (sender, events) = bounded(self.follower.inbox.room());
        let (follower, filled) = (Arc::clone(&self.follower), sender.clone());
        let fill = move || follower.fill(&filled);
        if let Err(error) = self.open.log().spawn("filmstrip-subscription", fill) {
            // The channel is empty, and has room for one.
            let _ = sender.send(Err(error));
        }
        events
    }

    /// What there is for a task to take. After [`Polled::Lags`], a thread is to do what
    /// [`catching_up`](Subscription::catching_up) returns.
    #[cfg(feature = "async")]
    pub(crate) fn poll_next(&self, waker: &Waker) -> Polled {
        if let Err(error) = self.open.log().owner.check() {
            return Polled::Next(Next::Failed(error));
        }
        let polled = self.follower.inbox.poll_next(self.open.log(), waker);
        if let Polled::Next(Next::Event(event)) = &polled {
            self.follower.inbox.filter.note_accepted(event.stream.as_str());
        }
        polled
    }

    /// Reads a step of what comes next. It keeps nothing open.
    #[cfg(feature = "async")]
    pub(crate) fn catching_up(&self) -> impl FnOnce() + Send + 'static {
        let follower = Arc::clone(&*self.follower);
        move || follower.inbox.catch_up(&follower.log, &follower.live)
    }

    #[cfg(feature = "async")]
    pub(crate) fn log_handle(&self) -> &LogHandle {
        &self.open
    }

    fn is_stopped(&self) -> bool {
        self.follower.inbox.is_stopped() && !failpoint!("subscription::hand_out_after_stop")
    }

    /// What was taken from the channel.
    fn taken(&self, taken: Result<Result<RecordedEvent>, RecvTimeoutError>) -> Next {
        match taken {
            Ok(Ok(event)) => {
                self.known.fetch_max(event.position.get(), Ordering::AcqRel);
                Next::Event(event)
            }
            Ok(Err(error)) => Next::Failed(error),
            Err(RecvTimeoutError::Timeout) => Next::TimedOut,
            Err(RecvTimeoutError::Disconnected) => Next::Ended,
        }
    }

    /// Returns a handle that ends this subscription from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper::new(Arc::clone(&self.follower) as Arc<dyn Stops>)
    }
}

impl Iterator for Subscription {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_stopped() || self.is_forked {
            return None;
        }
        if let Err(error) = self.open.log().owner.check() {
            self.is_forked = true;
            return Some(Err(error));
        }
        let next = match self.channel.get() {
            None => self.follower.next(None, false),
            Some(channel) => self.taken(channel.recv().map_err(|_| RecvTimeoutError::Disconnected)),
        };
        match next {
            Next::Event(event) => Some(Ok(event)),
            Next::Failed(error) => Some(Err(error)),
            Next::TimedOut | Next::Ended => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.follower.stop();
    }
}
