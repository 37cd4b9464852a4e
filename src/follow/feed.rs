//! A feed: the events from which a view or a read model is made, in batches of whole frames.
//!
//! * Each batch says up to which position everything is in it, in an earlier one, or not wanted. So its consumer knows
//!   how far it has come, whatever the filter leaves out.
//! * A batch never holds a part of a commit, for a frame never does.
//! * One thread reads and decodes, another consumes, with a bounded channel between them. Far behind the head, batches
//!   are large; live, each holds what one wake-up brought.
//! * The reading thread sleeps at the head until there is something for its filter, and does not read what it passed
//!   over. Meanwhile its consumer, once it has consumed everything, may count itself at the head: see
//!   [`Feed::reached`].
//! * Who waits for a consumer to come to a position that is not there yet has the thread woken at that position: see
//!   [`FeedStop::await_position`].

#[cfg(test)]
mod tests;

use crate::codec::frame::{Chain, Header};
use crate::log::core::Log;
use crate::log::read::frame_cursor::FrameCursor;
use crate::log::read::frame_events::FrameEvents;
#[cfg(feature = "erasure")]
use crate::log::read::private::leaving_sealed;
use crate::log::read::skip::SkipAhead;
use crate::log::tail::sleepers::{EndOfFrame, Enrolled, Slept, Waiter};
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::limits::{FEED_BATCH_BYTES_MIN, FEED_BATCH_EVENTS_MIN, FEED_BATCHES_WAITING_MAX};
use crate::value::position::Position;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

/// Some events in order, and how far they reach.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) events: Vec<RecordedEvent>,
    /// Everything up to here is in this batch, in an earlier one, or not wanted.
    pub(crate) until: Position,
    /// The last position of each frame that was read for it, and the journal's chain there.
    pub(crate) frames: Vec<(Position, Chain)>,
}

impl Batch {
    /// The chain after the frame that holds `position`; `None` if an earlier batch reached there.
    pub(crate) fn chain_at(&self, position: Position) -> Option<Chain> {
        let next = self.frames.partition_point(|(last, _)| *last < position);
        self.frames.get(next).map(|(_, chain)| *chain)
    }
}

/// The consuming side of a feed. Dropping it ends the feed.
pub(crate) struct Feed {
    batches: Receiver<Result<Batch>>,
    stop: FeedStop,
}

/// Ends a feed from another thread, and tells how far it has come.
#[derive(Clone)]
pub(crate) struct FeedStop(Arc<StopInner>);

struct StopInner {
    log: Arc<Log>,
    waiter: Arc<Waiter>,
    /// Set when the feed begins.
    reader: OnceLock<Enrolled>,
    /// Dropping it wakes a reader that waits for room in the channel, and a consumer.
    stop: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
}

impl FeedStop {
    /// A stop for a feed that is still to begin.
    pub(crate) fn new(log: Arc<Log>) -> FeedStop {
        let (stop, stopped) = bounded(0);
        let stop = Mutex::new(Some(stop));
        let (waiter, reader) = (Arc::default(), OnceLock::new());
        FeedStop(Arc::new(StopInner { log, waiter, reader, stop, stopped }))
    }

    pub(crate) fn stop(&self) {
        // A forked process has no thread to stop.
        if self.0.log.owner.is_this_process() {
            self.0.stop.lock().take();
            self.0.log.head.stop(&self.0.waiter);
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.waiter.is_stopped()
    }

    /// Where a consumer is that has consumed everything up to `done`: at the head, if nothing between them is wanted.
    pub(crate) fn reached(&self, done: Position) -> Position {
        self.place_reached(done).map_or(done, |(position, _)| Position::new(position))
    }

    fn place_reached(&self, done: Position) -> Option<EndOfFrame> {
        let reader = self.0.reader.get()?;
        self.0.log.head.reached(reader, done.get())
    }

    /// Has the consumer get a batch when the log comes to `position`, whatever is wanted, until this is dropped.
    pub(crate) fn await_position(&self, position: Position) -> Awaited {
        if let Some(reader) = self.0.reader.get() {
            self.0.log.head.await_position(reader, position.get());
        }
        Awaited { feed: self.clone(), position }
    }

    /// Disconnected once it is stopped.
    pub(crate) fn stopped(&self) -> &Receiver<()> {
        &self.0.stopped
    }
}

/// Somebody waits for a feed to come to a position.
pub(crate) struct Awaited {
    feed: FeedStop,
    position: Position,
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let inner = &self.feed.0;
        if let Some(reader) = inner.reader.get() {
            inner.log.head.no_longer_await(reader, self.position.get());
        }
    }
}

impl Feed {
    /// Begins to read after `position`, on a thread of its own called `name`.
    pub(crate) fn start(
        stop: &FeedStop,
        name: &str,
        after: Position,
        filter: Filter,
    ) -> Result<Feed> {
        Feed::start_by(stop, name, after, filter, Reader::run)
    }

    /// The same, but private events stay sealed.
    #[cfg(feature = "erasure")]
    pub(crate) fn start_sealed(
        stop: &FeedStop,
        name: &str,
        after: Position,
        filter: Filter,
    ) -> Result<Feed> {
        Feed::start_by(stop, name, after, filter, |reader| {
            if failpoint!("relay::send_private_in_clear") {
                return reader.run();
            }
            leaving_sealed(|| reader.run());
        })
    }

    fn start_by(
        stop: &FeedStop,
        name: &str,
        after: Position,
        filter: Filter,
        run: impl FnOnce(Reader) + Send + 'static,
    ) -> Result<Feed> {
        filter.check()?;
        let log = &stop.0.log;
        let (sender, batches) = bounded(FEED_BATCHES_WAITING_MAX);
        let enrolled = log.head.enroll(log.interest.add_feed(&filter), &stop.0.waiter);
        let enrolled = stop.0.reader.get_or_init(|| enrolled).clone();
        let reader = Reader {
            enrolled,
            passed: None,
            cursor: FrameCursor::new(Arc::clone(log)),
            skips: SkipAhead::default(),
            log: Arc::clone(log),
            position: after.get(),
            filter,
            sender,
            closed: log.closing(),
            stop: stop.clone(),
        };
        log.spawn(name, move || run(reader))?;
        Ok(Feed { batches, stop: stop.clone() })
    }

    /// The next batch; `None` when the feed was stopped or the store is closed.
    pub(crate) fn next(&self) -> Option<Result<Batch>> {
        if self.stop.is_stopped() {
            return None;
        }
        self.batches.recv().ok()
    }

    /// Where its consumer is, if it has consumed everything up to `done` and nothing between them is wanted: at the
    /// head, while the feed sleeps. The next batch begins there, or later.
    pub(crate) fn reached(&self, done: Position) -> Option<(Position, Chain)> {
        let reached = self.stop.place_reached(done);
        reached.map(|(position, chain)| (Position::new(position), chain))
    }

    /// The channel that the batches come through, for a `select!` over several.
    pub(crate) fn batches(&self) -> &Receiver<Result<Batch>> {
        &self.batches
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

/// The thread that reads for one feed, and fills its channel.
struct Reader {
    enrolled: Enrolled,
    /// The end of what was passed over in sleep since the last batch.
    passed: Option<EndOfFrame>,
    log: Arc<Log>,
    cursor: FrameCursor,
    skips: SkipAhead,
    /// The last position that was read, or passed over.
    position: u64,
    filter: Filter,
    sender: Sender<Result<Batch>>,
    closed: Receiver<()>,
    stop: FeedStop,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.head.dismiss(&self.enrolled);
        self.log.interest.remove_feed(self.enrolled.filter);
    }
}

impl Reader {
    fn run(mut self) {
        while self.has_more() {
            let batch = self.read_batch();
            // Nothing can be read after an error.
            let is_last = batch.is_err();
            if !self.send(batch) || is_last {
                return;
            }
        }
    }

    /// Sleeps until there may be something to read; false if it was stopped, or the store is closed.
    fn has_more(&mut self) -> bool {
        match self.log.head.sleep(&self.enrolled, self.position) {
            Slept::Stopped => return false,
            Slept::Woken(Some(until)) if until.0 > self.position => {
                self.position = until.0;
                self.passed = Some(until);
                self.cursor.leave_unless_near(self.position + 1);
            }
            Slept::Woken(_) => {}
        }
        true
    }

    /// Reads what there is, but not much more than one batch should hold.
    fn read_batch(&mut self) -> Result<Batch> {
        let passed = self.passed.take().map(|(position, chain)| (Position::new(position), chain));
        let (mut events, mut frames, mut bytes) = (Vec::new(), Vec::from_iter(passed), 0);
        let head = self.log.head.position();
        while self.position < head
            && events.len() < FEED_BATCH_EVENTS_MIN
            && bytes < FEED_BATCH_BYTES_MIN
        {
            let skipped = self.skips.from(&self.log, &self.filter, self.position, head);
            if skipped > self.position {
                // The frame that ends right before an event is read, too: its consumer may stop there, and needs the
                // chain.
                self.position = match failpoint!("feed::skip_the_frame_before") {
                    true => skipped,
                    false => skipped - 1,
                };
                self.cursor.leave_unless_near(self.position + 1);
            }
            let header = self.read_frame(&mut events)?;
            bytes += header.length as usize;
            frames.push((Position::new(self.position), header.chain));
        }
        Ok(Batch { events, until: Position::new(self.position), frames })
    }

    /// Reads one frame, and adds the events that are wanted of it.
    fn read_frame(&mut self, events: &mut Vec<RecordedEvent>) -> Result<Header> {
        let first = self.position + 1;
        let frame = self.cursor.frame_holding(first)?;
        let header = frame.header.clone();
        self.position = header.last_position();
        let wanted = first..=self.position;
        FrameEvents::new(frame, wanted).take_all(&self.log.journal, &self.filter, events)?;
        Ok(header)
    }

    /// Waits for room; false if nothing more is wanted.
    fn send(&self, batch: Result<Batch>) -> bool {
        select! {
            send(self.sender, batch) -> sent => sent.is_ok(),
            recv(self.stop.stopped()) -> _ => false,
            recv(self.closed) -> _ => false,
        }
    }
}
