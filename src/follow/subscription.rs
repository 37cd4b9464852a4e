//! A subscription: a reader thread that follows the log and fills a bounded channel.
//!
//! * Followers get a wake-up, not events: the reader reads tail or journal from its own position on. So there is no gap
//!   between catching up and live, and no second delivery path.
//! * A slow consumer fills its own channel and nothing else: it never blocks a writer.

use crate::follow::feed::{Ended, FeedStop, Reader};
use crate::follow::group::registry::Groups;
use crate::follow::stopper::Stopper;
use crate::log::handle::LogHandle;
use crate::log::read::options::{ReadOptions, filter_methods, stream_method};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::fork::Owned;
use crate::value::limits::{SUBSCRIPTION_BUFFER_DEFAULT, SUBSCRIPTION_BUFFER_MAX};
use crate::value::position::Position;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::Duration;

/// Describes a subscription; see [`Store::subscribe`](crate::Store::subscribe).
#[must_use = "a subscription begins with `start`"]
pub struct SubscriptionBuilder {
    pub(super) log: LogHandle,
    pub(super) groups: Arc<Groups>,
    pub(super) options: ReadOptions,
    pub(super) buffer: usize,
}

impl SubscriptionBuilder {
    pub(crate) fn new(log: LogHandle, groups: Arc<Groups>) -> SubscriptionBuilder {
        let (options, buffer) = (ReadOptions::everything(), SUBSCRIPTION_BUFFER_DEFAULT);
        SubscriptionBuilder { log, groups, options, buffer }
    }

    /// Begins after this position; the default is the start. Pass the head for live events only, or the last position
    /// of an earlier subscription to continue it.
    pub fn after(mut self, position: Position) -> SubscriptionBuilder {
        self.options.after = position.get();
        self
    }

    stream_method!();
    filter_methods!();

    /// Sets how many events are read ahead of the consumer: 1 to 65,536, by default 1,024. Together with the size of
    /// the events it bounds the memory of a subscription.
    pub fn buffer(mut self, events: usize) -> SubscriptionBuilder {
        self.buffer = events;
        self
    }

    /// Starts the subscription.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an invalid stream name or buffer, or a position past the head;
    /// [`Closed`](ErrorKind::Closed).
    pub fn start(self) -> Result<Subscription> {
        self.check()?;
        Subscription::start(self.log, self.options, self.buffer)
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
/// Each event comes once. A new subscription that begins after the last position of an earlier one continues it without
/// a gap. A subscription ends when it is stopped or dropped, or when the store is closed; an error is its last item.
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
    events: Owned<Receiver<Result<RecordedEvent>>>,
    /// It was used in a forked process.
    is_forked: bool,
    stop: FeedStop,
    open: LogHandle,
}

impl Subscription {
    fn start(log: LogHandle, options: ReadOptions, buffer: usize) -> Result<Subscription> {
        let ReadOptions { after, filter, .. } = options;
        let (name, after) = ("filmstrip-subscription", Position::new(after));
        let stop = FeedStop::new(Arc::clone(log.log()));
        let mut page = Vec::new();
        let events = Reader::start(&stop, name, after, filter, buffer, move |reader| {
            if let Err(error) = reader.read_frame(&mut page) {
                // Nothing can be read after an error, so it does not matter whether it is received.
                let _ = reader.send(Err(error));
                return Err(Ended);
            }
            page.drain(..).try_for_each(|event| reader.send(Ok(event)))
        })?;
        Ok(Subscription { events: Owned::new(events), is_forked: false, stop, open: log })
    }

    /// Waits for the next event, at most this long.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if none came; [`Closed`](ErrorKind::Closed) if none will come, also after a
    /// stop; or the reader's error.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<RecordedEvent> {
        self.open.log().owner.check()?;
        if self.stop.is_stopped() && !failpoint!("subscription::hand_out_after_stop") {
            return Err(Error::new(ErrorKind::Closed, "the subscription was stopped"));
        }
        match self.events.recv_timeout(timeout) {
            Ok(item) => item,
            Err(RecvTimeoutError::Timeout) => {
                let message = format!("no event came within {timeout:?}");
                Err(Error::new(ErrorKind::Timeout, message))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Error::new(ErrorKind::Closed, "the subscription has ended"))
            }
        }
    }

    /// Returns the channel that delivers the events, for a `select!` over several. After a [`stop`](Stopper::stop) it
    /// still holds what was read ahead.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Result<RecordedEvent>> {
        &self.events
    }

    /// Returns a handle that ends this subscription from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stop.stopper()
    }
}

impl Iterator for Subscription {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stop.is_stopped() || self.is_forked {
            return None;
        }
        if let Err(error) = self.open.log().owner.check() {
            self.is_forked = true;
            return Some(Err(error));
        }
        self.events.recv().ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
