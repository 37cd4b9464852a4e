//! A feed: the events from which a view or a read model is made, in batches of whole frames.
//!
//! * Each batch says up to which position everything is in it, in an earlier one, or not wanted. So its consumer knows
//!   how far it has come, whatever the filter leaves out.
//! * A batch never holds a part of a commit, for a frame never does.
//! * One thread reads and decodes, another consumes, with a bounded channel between them. Far behind the head, batches
//!   are large; live, each holds what one wake-up brought.

use crate::codec::frame::{Chain, Header};
use crate::log::core::Log;
use crate::log::read::frame_cursor::FrameCursor;
use crate::log::read::frame_events::FrameEvents;
use crate::log::tail::head::{Waited, Waiter};
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::limits::{FEED_BATCH_BYTES_MIN, FEED_BATCH_EVENTS_MIN, FEED_BATCHES_WAITING_MAX};
use crate::value::position::Position;
use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::Mutex;
use std::sync::Arc;

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

/// Ends a feed from another thread.
#[derive(Clone)]
pub(crate) struct FeedStop(Arc<StopInner>);

struct StopInner {
    log: Arc<Log>,
    waiter: Arc<Waiter>,
    /// Dropping it wakes a reader that waits for room in the channel, and a consumer.
    stop: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
}

impl FeedStop {
    /// A stop for a feed that is still to begin.
    pub(crate) fn new(log: Arc<Log>) -> FeedStop {
        let (stop, stopped) = bounded(0);
        let stop = Mutex::new(Some(stop));
        FeedStop(Arc::new(StopInner { log, waiter: Arc::default(), stop, stopped }))
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

    /// Disconnected once it is stopped.
    pub(crate) fn stopped(&self) -> &Receiver<()> {
        &self.0.stopped
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
        filter.check()?;
        let log = &stop.0.log;
        let (sender, batches) = bounded(FEED_BATCHES_WAITING_MAX);
        let reader = Reader {
            cursor: FrameCursor::new(Arc::clone(log)),
            log: Arc::clone(log),
            position: after.get(),
            filter,
            sender,
            closed: log.closing(),
            stop: stop.clone(),
        };
        log.spawn(name, move || reader.run())?;
        Ok(Feed { batches, stop: stop.clone() })
    }

    /// The next batch; `None` when the feed was stopped or the store is closed.
    pub(crate) fn next(&self) -> Option<Result<Batch>> {
        if self.stop.is_stopped() {
            return None;
        }
        self.batches.recv().ok()
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
    log: Arc<Log>,
    cursor: FrameCursor,
    /// The last position that was read.
    position: u64,
    filter: Filter,
    sender: Sender<Result<Batch>>,
    closed: Receiver<()>,
    stop: FeedStop,
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

    /// Waits until the log holds more than was read; false if it was stopped, or the store is closed.
    fn has_more(&self) -> bool {
        self.log.head.wait_past(self.position, None, &self.stop.0.waiter) == Waited::Passed
    }

    /// Reads what there is, but not much more than one batch should hold.
    fn read_batch(&mut self) -> Result<Batch> {
        let (mut events, mut frames, mut bytes) = (Vec::new(), Vec::new(), 0);
        let head = self.log.head.position();
        while self.position < head
            && events.len() < FEED_BATCH_EVENTS_MIN
            && bytes < FEED_BATCH_BYTES_MIN
        {
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
