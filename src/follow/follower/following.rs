//! Reading a followed store, and waiting for more of it.

use crate::codec::frame::Location;
use crate::follow::follower::watch::Shared;
use crate::follow::stopper::{Stopper, Stops};
use crate::journal::read::Frames;
use crate::journal::segment;
use crate::journal::watermark::DurableWatermark;
use crate::log::read::frame_events::FrameEvents;
use crate::log::read::options::ReadOptions;
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::position::Position;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The events of a followed store, in order and without end: an iterator that blocks the caller's thread until the next
/// one, unless the read has an end. An error is its last item. See
/// [`FollowerRead::follow`](crate::follow::FollowerRead::follow).
///
/// ```
/// use filmstrip::{ErrorKind, ExpectedVersion, Follower, NewEvent, Store};
/// use std::time::Duration;
/// # let directory = tempfile::tempdir()?;
/// # let store = Store::open(directory.path())?;
/// # store.append("Door-1", ExpectedVersion::NoStream, [NewEvent::json("Opened", &())?])?;
/// let mut following = Follower::open(directory.path())?.read().follow();
/// assert_eq!(following.recv_timeout(Duration::from_secs(5))?.event_type, "Opened");
/// let nothing_yet = following.recv_timeout(Duration::from_millis(1));
/// assert_eq!(nothing_yet.unwrap_err().kind(), ErrorKind::Timeout);
/// assert_eq!(following.position().get(), 1); // where to go on another time
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Following {
    shared: Arc<Shared>,
    /// What is still wanted: `after` is the last position that was read.
    options: ReadOptions,
    poll: Duration,
    frames: Option<Frames>,
    page: VecDeque<RecordedEvent>,
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stops for Stop {
    fn stop(&self) {
        *self.stopped.lock() = true;
        self.changed.notify_all();
    }
}

impl Following {
    pub(super) fn new(shared: Arc<Shared>, options: ReadOptions, poll: Duration) -> Following {
        let stop = Arc::new(Stop::default());
        Following { shared, options, poll, frames: None, page: VecDeque::new(), stop }
    }

    /// The position up to which everything has been read, or was not wanted: where to continue another time.
    #[must_use]
    pub fn position(&self) -> Position {
        let unread = self.page.front().map(|event| event.position.get() - 1);
        Position::new(unread.unwrap_or(self.options.after))
    }

    /// Returns a handle that ends it from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper::new(Arc::clone(&self.stop) as Arc<dyn Stops>)
    }

    /// Waits for the next event, at most this long.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout) if none came; [`Closed`](ErrorKind::Closed) if none will come; errors of
    /// reading.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<RecordedEvent> {
        let deadline = deadline_after(timeout);
        match self.read_next(deadline)? {
            Next::Event(event) => Ok(*event),
            Next::TimedOut => {
                let message = format!("no event came within {timeout:?}");
                Err(Error::new(ErrorKind::Timeout, message))
            }
            Next::Ended => Err(Error::new(ErrorKind::Closed, "the read has ended")),
        }
    }

    fn read_next(&mut self, deadline: Option<Instant>) -> Result<Next> {
        self.options.check()?;
        loop {
            if self.options.limit == 0 || *self.stop.stopped.lock() {
                return Ok(Next::Ended);
            }
            if let Some(event) = self.page.pop_front() {
                self.options.limit -= 1;
                return Ok(Next::Event(Box::new(event)));
            }
            if self.options.after >= self.options.until {
                return Ok(Next::Ended);
            }
            match self.shared.look(1)?.filter(|watermark| watermark.position > self.options.after) {
                Some(watermark) => self.read_frame(&watermark)?,
                None if !self.wait(deadline) => return Ok(Next::TimedOut),
                None => {}
            }
        }
    }

    /// Waits for the time of another look; false if the deadline has passed.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let now = Instant::now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return false;
        }
        let look = deadline_after(self.poll);
        let until = [look, deadline].into_iter().flatten().min();
        let mut stopped = self.stop.stopped.lock();
        if !*stopped {
            // Only stopping notifies; otherwise the interval passes, which is the bound.
            match until {
                Some(until) => drop(self.stop.changed.wait_until(&mut stopped, until)),
                None => self.stop.changed.wait(&mut stopped),
            }
        }
        true
    }

    /// Reads the next frame that is not past `watermark`, which names more than was read.
    fn read_frame(&mut self, watermark: &DurableWatermark) -> Result<()> {
        let end = Location { segment: watermark.frame.segment, offset: watermark.end };
        let mut frames = match self.frames.take() {
            Some(frames) => frames,
            None => self.begin(end)?,
        };
        frames.extend(end);
        let (first, last) = (self.options.after + 1, self.options.until);
        let next = frames.next().transpose()?;
        let (at, frame) = next.ok_or_else(|| {
            let what = format!(
                "the durable watermark names position {}, which does not exist",
                watermark.position
            );
            self.shared.journal.corrupt(frames.at(), Some(first), what)
        })?;
        self.shared.note(at, &frame.header);
        let read_up_to = frame.header.last_position();
        if failpoint!("follow::pass_before_reading") {
            self.options.after = self.options.after.max(read_up_to);
        }
        let mut page = Vec::new();
        let events = FrameEvents::new(frame, first..=last);
        events.take_all(&self.shared.journal, &self.options.filter, &mut page)?;
        // Not before: a frame that could not be read was not passed, and is read again by the next call.
        self.options.after = self.options.after.max(read_up_to);
        self.page = page.into();
        self.frames = Some(frames);
        Ok(())
    }

    /// A scan from the segment on that holds the next position.
    fn begin(&self, end: Location) -> Result<Frames> {
        let journal = &self.shared.journal;
        let header = journal.segment_at(self.options.after + 1).ok_or_else(|| {
            journal.corrupt(end, Some(self.options.after + 1), "no segment holds the position")
        })?;
        let from = Location { segment: header.number, offset: segment::HEADER_BYTES };
        Ok(journal.frames(from, header.first_position, end))
    }
}

enum Next {
    Event(Box<RecordedEvent>),
    TimedOut,
    Ended,
}

impl Iterator for Following {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read_next(None) {
            Ok(Next::Event(event)) => Some(Ok(*event)),
            Ok(Next::Ended | Next::TimedOut) => None,
            Err(error) => {
                self.options.end();
                Some(Err(error))
            }
        }
    }
}
