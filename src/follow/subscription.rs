//! A subscription: a reader thread that follows the log and fills a bounded channel.
//!
//! * Followers get a wake-up, not events: the reader reads tail or journal past its own position. So
//!   there is no gap between catching up and live, and no second delivery path.
//! * A slow consumer fills its own channel and nothing else: it never blocks a writer.

use crate::follow::group::registry::Groups;
use crate::follow::stopper::{Stopper, Stops};
use crate::log::core::Log;
use crate::log::handle::LogHandle;
use crate::log::read::all::{FrameCursor, FrameEvents};
use crate::log::tail::head::{StopFlag, Waited};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::fork::Owned;
use crate::value::limits::{SUBSCRIPTION_BUFFER_DEFAULT, SUBSCRIPTION_BUFFER_MAX};
use crate::value::position::Position;
use crate::value::stream::StreamId;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, select};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Describes a subscription; see [`Store::subscribe`](crate::Store::subscribe).
#[must_use = "a subscription begins with `start`"]
pub struct SubscriptionBuilder {
    pub(super) log: LogHandle,
    pub(super) groups: Arc<Groups>,
    pub(super) after: Position,
    pub(super) filter: Filter,
    pub(super) buffer: usize,
    fault: Option<Error>,
}

impl SubscriptionBuilder {
    pub(crate) fn new(log: LogHandle, groups: Arc<Groups>) -> SubscriptionBuilder {
        SubscriptionBuilder {
            log,
            groups,
            after: Position::START,
            filter: Filter::all(),
            buffer: SUBSCRIPTION_BUFFER_DEFAULT,
            fault: None,
        }
    }

    /// Begins after this position: with the first event otherwise. Give the head for live events
    /// only, or where an earlier subscription has come to.
    pub fn after(mut self, position: Position) -> SubscriptionBuilder {
        self.after = position;
        self
    }

    /// Only events of this stream, or of the others named so.
    pub fn stream<S>(mut self, stream: S) -> SubscriptionBuilder
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        match stream.try_into() {
            Ok(stream) => self.filter = self.filter.and_stream(stream),
            Err(error) => {
                self.fault.get_or_insert(error.into());
            }
        }
        self
    }

    /// Only events of this category, or of the others named so.
    pub fn category(mut self, category: impl Into<String>) -> SubscriptionBuilder {
        self.filter = self.filter.and_category(category);
        self
    }

    /// Only events of this type, or of the others named so.
    pub fn event_type(mut self, event_type: impl Into<String>) -> SubscriptionBuilder {
        self.filter = self.filter.and_event_type(event_type);
        self
    }

    /// Only events that this filter wants, in place of what was named before.
    pub fn filter(mut self, filter: Filter) -> SubscriptionBuilder {
        self.filter = filter;
        self
    }

    /// How many events are read ahead of the consumer: 1 to 65,536, and 1,024 otherwise. It bounds
    /// the memory of a subscription, with the size of the events.
    pub fn buffer(mut self, events: usize) -> SubscriptionBuilder {
        self.buffer = events;
        self
    }

    /// Begins to read.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a stream name or buffer that cannot be, or a
    /// position past the head; [`Closed`](ErrorKind::Closed).
    pub fn start(self) -> Result<Subscription> {
        self.check()?;
        Subscription::start(self.log, self.after, self.filter, self.buffer)
    }

    /// Refuses what no subscription can be.
    pub(super) fn check(&self) -> Result<()> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.filter.check()?;
        if !(1..=SUBSCRIPTION_BUFFER_MAX).contains(&self.buffer) {
            let message = format!(
                "a subscription's buffer is {} events; 1 to {SUBSCRIPTION_BUFFER_MAX} are allowed",
                self.buffer
            );
            return Err(Error::invalid(message));
        }
        self.log.refuse_if_closed()?;
        let head = self.log.head_position();
        if self.after > head {
            let message = format!(
                "a subscription after position {} cannot begin; the head is {head}",
                self.after
            );
            return Err(Error::invalid(message));
        }
        Ok(())
    }
}

/// The events of the log, in order, from a position on and for ever: blocks for the next one.
///
/// Each event comes once, and a subscription that begins after the last position it saw goes on
/// there. It ends when it is stopped or the store is closed; an error is its last item. Dropping it
/// ends it.
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
    flag: Arc<StopFlag>,
    /// It was used in a forked process.
    is_forked: bool,
    stopper: Stopper,
    open: LogHandle,
}

impl Subscription {
    fn start(
        log: LogHandle,
        after: Position,
        filter: Filter,
        buffer: usize,
    ) -> Result<Subscription> {
        let (sender, events) = bounded(buffer);
        let (stop, stopped) = bounded(0);
        let flag = Arc::new(StopFlag::default());
        let mut reader = Reader {
            cursor: FrameCursor::new(Arc::clone(log.log())),
            log: Arc::clone(log.log()),
            position: after.get(),
            filter,
            sender,
            stopped,
            closed: log.closing(),
            flag: Arc::clone(&flag),
        };
        log.spawn("filmstrip-subscription", move || reader.run())?;
        let stop = Mutex::new(Some(stop));
        let ending = Ending { log: Arc::clone(log.log()), flag: Arc::clone(&flag), stop };
        let (events, stopper) = (Owned::new(events), Stopper::new(ending));
        Ok(Subscription { events, flag, is_forked: false, stopper, open: log })
    }

    /// Waits for the next event, but no longer than this.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if none came; [`Closed`](ErrorKind::Closed) if none will
    /// come, also when it was stopped; or what the reader met.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<RecordedEvent> {
        self.open.owner.check()?;
        if self.flag.is_set() && !failpoint!("subscription::hand_out_after_stop") {
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

    /// The channel that the events come through, for a `select!` over several. After a
    /// [`stop`](Stopper::stop) it still holds what was read ahead.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Result<RecordedEvent>> {
        &self.events
    }

    /// Something that ends this subscription from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }
}

impl Iterator for Subscription {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.flag.is_set() || self.is_forked {
            return None;
        }
        if let Err(error) = self.open.owner.check() {
            self.is_forked = true;
            return Some(Err(error));
        }
        self.events.recv().ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

struct Ending {
    log: Arc<Log>,
    flag: Arc<StopFlag>,
    /// Dropping it wakes a reader that waits for room in the channel.
    stop: Mutex<Option<Sender<()>>>,
}

impl Stops for Ending {
    fn stop(&self) {
        // A forked process has no thread to stop.
        if !self.log.owner.is_this_process() {
            return;
        }
        self.stop.lock().take();
        self.log.head.stop(&self.flag);
    }
}

/// The thread's side.
struct Reader {
    log: Arc<Log>,
    cursor: FrameCursor,
    /// The last position that was read.
    position: u64,
    filter: Filter,
    sender: Sender<Result<RecordedEvent>>,
    stopped: Receiver<()>,
    closed: Receiver<()>,
    flag: Arc<StopFlag>,
}

/// The consumer wants nothing more.
struct Ended;

impl Reader {
    fn run(&mut self) {
        let mut page = Vec::new();
        while self.log.head.wait_past(self.position, None, &self.flag) == Waited::Passed {
            if let Err(error) = self.read(&mut page) {
                // Nothing can be read behind an error, so whether it is heard changes nothing.
                let _ = self.send(Err(error));
                return;
            }
            for event in page.drain(..) {
                if self.send(Ok(event)).is_err() {
                    return;
                }
            }
        }
    }

    fn read(&mut self, page: &mut Vec<RecordedEvent>) -> Result<()> {
        let first = self.position + 1;
        let frame = self.cursor.frame_holding(first)?;
        self.position = frame.header.last_position();
        FrameEvents::new(frame, first..=self.position).take_all(
            &self.log.journal,
            &self.filter,
            page,
        )
    }

    fn send(&self, item: Result<RecordedEvent>) -> Result<(), Ended> {
        let item = match self.sender.try_send(item) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(_)) => return Err(Ended),
            Err(TrySendError::Full(_)) if failpoint!("subscription::drop_what_has_no_room") => {
                return Ok(());
            }
            Err(TrySendError::Full(item)) => item,
        };
        select! {
            send(self.sender, item) -> sent => sent.map_err(|_| Ended),
            recv(self.stopped) -> _ => Err(Ended),
            recv(self.closed) -> _ => Err(Ended),
        }
    }
}
