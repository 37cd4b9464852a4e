//! A feed: what a view or a read model is made from, in batches of whole frames.
//!
//! * Each batch says up to which position everything is in it, in an earlier one, or not wanted: so
//!   its taker knows how far it has come, whatever the filter leaves out.
//! * A batch never holds a part of a commit, for a frame never does.
//! * One thread reads and decodes, another takes; a bounded channel lies between. Far behind, batches
//!   are large; live, each is what one wake-up brought.

use crate::codec::frame::Chain;
use crate::log::core::Log;
use crate::log::read::all::{FrameCursor, FrameEvents};
use crate::log::tail::head::{StopFlag, Waited};
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

/// The taking side of a feed. Dropping it ends the feed.
pub(crate) struct Feed {
    batches: Receiver<Result<Batch>>,
    stop: FeedStop,
}

/// Ends a feed from another thread.
#[derive(Clone)]
pub(crate) struct FeedStop(Arc<StopInner>);

struct StopInner {
    log: Arc<Log>,
    flag: StopFlag,
    /// Dropping it wakes a reader that waits for room in the channel, and a taker.
    stop: Mutex<Option<Sender<()>>>,
    stopped: Receiver<()>,
}

impl FeedStop {
    /// A stop for a feed that is still to begin.
    pub(crate) fn new(log: Arc<Log>) -> FeedStop {
        let (stop, stopped) = bounded(0);
        let stop = Mutex::new(Some(stop));
        FeedStop(Arc::new(StopInner { log, flag: StopFlag::default(), stop, stopped }))
    }

    pub(crate) fn stop(&self) {
        // A forked process has no thread to stop.
        if !self.0.log.owner.is_this_process() {
            return;
        }
        self.0.stop.lock().take();
        self.0.log.head.stop(&self.0.flag);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.flag.is_set()
    }

    /// Disconnected once it is stopped.
    pub(crate) fn stopped(&self) -> &Receiver<()> {
        &self.0.stopped
    }
}

impl Feed {
    /// Begins to read after `position`, on a thread of its own called `name`.
    pub(crate) fn start(
        log: &Arc<Log>,
        name: &str,
        after: Position,
        filter: Filter,
        stop: &FeedStop,
    ) -> Result<Feed> {
        filter.check()?;
        let (sender, batches) = bounded(FEED_BATCHES_WAITING_MAX);
        let mut reader = Reader {
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

/// The taker wants nothing more.
struct Ended;

impl Reader {
    fn run(&mut self) {
        let Reader { log, stop, .. } = self;
        let (log, stop) = (Arc::clone(log), stop.clone());
        while log.head.wait_past(self.position, None, &stop.0.flag) == Waited::Passed {
            let batch = self.read();
            // Nothing can be read behind an error.
            let last = batch.is_err();
            if self.send(batch).is_err() || last {
                return;
            }
        }
    }

    /// What there is, but not much more than is worth a batch.
    fn read(&mut self) -> Result<Batch> {
        let (mut events, mut frames, mut bytes) = (Vec::new(), Vec::new(), 0);
        let head = self.log.head.position();
        while self.position < head
            && events.len() < FEED_BATCH_EVENTS_MIN
            && bytes < FEED_BATCH_BYTES_MIN
        {
            let first = self.position + 1;
            let frame = self.cursor.frame_holding(first)?;
            bytes += frame.header.length as usize;
            self.position = frame.header.last_position();
            frames.push((Position::new(self.position), frame.header.chain));
            let wanted = first..=self.position;
            FrameEvents::new(frame, wanted).take_all(
                &self.log.journal,
                &self.filter,
                &mut events,
            )?;
        }
        Ok(Batch { events, until: Position::new(self.position), frames })
    }

    fn send(&self, batch: Result<Batch>) -> Result<(), Ended> {
        select! {
            send(self.sender, batch) -> sent => sent.map_err(|_| Ended),
            recv(self.stop.stopped()) -> _ => Err(Ended),
            recv(self.closed) -> _ => Err(Ended),
        }
    }
}
