//! Reading a followed store, and waiting for more of it.

use crate::codec::frame::{Header, Location};
use crate::follow::follower::watch::{Known, Shared};
use crate::follow::stopper::{Stopper, Stops};
use crate::journal::read::{Frames, Journal};
use crate::journal::segment;
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
    /// What the last look has found, if no frame was read since.
    known: Option<Known>,
    /// The last frame that was read, and where it is.
    last: Option<(Location, Header)>,
    frames: Option<Frames>,
    page: VecDeque<RecordedEvent>,
    /// Where the frame after position `after` begins, if that is known when nothing is read yet.
    start: Option<Location>,
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
        let (known, last, frames, page) = (None, None, None, VecDeque::new());
        Following { shared, options, poll, known, last, frames, page, start: None, stop }
    }

    /// Begins at `start`, where the frame after the first position to pass over begins.
    pub(super) fn starting_at(mut self, start: Location) -> Following {
        self.start = Some(start);
        self
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
            let after = self.options.after;
            match self.known.take().filter(|known| known.watermark.position > after) {
                Some(known) => self.read_frame(&known)?,
                None => {
                    self.known = self.shared.look()?;
                    let is_more =
                        self.known.as_ref().is_some_and(|known| known.watermark.position > after);
                    if !is_more && !self.wait(deadline) {
                        return Ok(Next::TimedOut);
                    }
                }
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

    /// Reads the next frame that is not past what is `known`, which is more than was read.
    fn read_frame(&mut self, known: &Known) -> Result<()> {
        let read = self.next_page(known);
        // Not before: what is read while other files take the places of these may be of either. What this look finds is
        // what the next frame is read by.
        self.known = self.shared.look()?;
        if !self.shared.note(&known.journal, read.as_ref().ok().map(|(frame, _)| frame))
            && !failpoint!("follow::show_what_was_replaced")
        {
            return Ok(());
        }
        let (frame, page) = read?;
        // Not before: a frame that could not be read was not passed, and is read again by the next call.
        self.options.after = self.options.after.max(frame.1.last_position());
        (self.last, self.page) = (Some(frame), page);
        Ok(())
    }

    /// The next frame's place and header, and the events in it that are wanted.
    fn next_page(
        &mut self,
        known: &Known,
    ) -> Result<((Location, Header), VecDeque<RecordedEvent>)> {
        let (Known { journal, watermark }, end) = (known, known.end());
        let mut frames = match self.frames.take() {
            Some(frames) if frames.are_of(journal) => frames,
            _ => self.begin(journal, end)?,
        };
        frames.extend(end);
        let (first, last) = (self.options.after + 1, self.options.until);
        let next = frames.next().transpose()?;
        let (at, frame) = next.ok_or_else(|| {
            let what = format!(
                "the durable watermark names position {}, which does not exist",
                watermark.position
            );
            journal.corrupt(frames.at(), Some(first), what)
        })?;
        let header = frame.header.clone();
        if failpoint!("follow::pass_before_reading") {
            self.options.after = self.options.after.max(header.last_position());
        }
        let mut page = Vec::new();
        FrameEvents::new(frame, first..=last).take_all(journal, &self.options.filter, &mut page)?;
        self.frames = Some(frames);
        Ok(((at, header), page.into()))
    }

    /// A scan from behind the last frame that was read, or from the segment on that holds the next position: in other
    /// files the frame may be elsewhere.
    fn begin(&mut self, journal: &Arc<Journal>, end: Location) -> Result<Frames> {
        if let Some(last) = self.last.as_ref()
            && self.shared.holds(last)?
        {
            let (at, header) = last;
            let from = Location { offset: at.offset + header.padded_length(), ..*at };
            return Ok(journal.frames(from, header.next_position(), end));
        }
        if let Some(start) = self.start.take() {
            return Ok(journal.frames(start, self.options.after + 1, end));
        }
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
