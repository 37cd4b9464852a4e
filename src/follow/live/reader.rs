//! Reading the log in order: frame by frame, and of each frame the events that are wanted.

use crate::log::core::Log;
use crate::log::interest::Named;
use crate::log::read::frame_cursor::FrameCursor;
use crate::log::read::frame_events::FrameEvents;
use crate::log::read::skip::SkipAhead;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use std::sync::Arc;

/// Reads for one inbox, or for all that are live.
pub(crate) struct Reader {
    log: Arc<Log>,
    cursor: FrameCursor,
    skips: SkipAhead,
    /// What is left of a frame, and its last position.
    frame: Option<(FrameEvents, u64)>,
}

/// What comes next of a frame.
pub(super) enum Step {
    Event(RecordedEvent),
    /// Nothing more is wanted of it. It ends with this position.
    Through(u64),
}

impl Reader {
    pub(super) fn new(log: &Arc<Log>) -> Reader {
        let (cursor, skips) = (FrameCursor::new(Arc::clone(log)), SkipAhead::default());
        Reader { cursor, skips, log: Arc::clone(log), frame: None }
    }

    /// A position at or after `after`, and before `head`, up to which `filter` wants nothing more. For a reader with
    /// one filter.
    pub(super) fn skip(&mut self, filter: &Filter, after: u64, head: u64) -> u64 {
        if self.frame.is_some() {
            return after;
        }
        let skipped = self.skips.from(&self.log, filter, after, head);
        if skipped > after {
            self.cursor.leave_unless_near(skipped + 1);
        }
        skipped
    }

    /// Opens the frame with the event after position `after`, which is before the head; nothing, if one is open.
    pub(super) fn open(&mut self, after: u64) -> Result<()> {
        if self.frame.is_none() {
            let frame = self.cursor.frame_holding(after + 1)?;
            let last = frame.header.last_position();
            self.frame = Some((FrameEvents::new(frame, after + 1..=last), last));
        }
        Ok(())
    }

    /// Goes on in the frame that is open, to the next event that `filter` wants.
    pub(super) fn next(&mut self, filter: &Filter) -> Result<Step> {
        let log = &self.log;
        Self::step(&mut self.frame, |events| events.next(&log.journal, filter))
    }

    /// The same, for `wants`, which is given what filters ask of an event.
    pub(super) fn next_named(&mut self, wants: impl FnMut(Named<'_>) -> bool) -> Result<Step> {
        let log = &self.log;
        Self::step(&mut self.frame, |events| events.next_named(&log.journal, wants))
    }

    fn step(
        frame: &mut Option<(FrameEvents, u64)>,
        next: impl FnOnce(&mut FrameEvents) -> Option<Result<RecordedEvent>>,
    ) -> Result<Step> {
        let (events, last) = frame.as_mut().expect("a frame is open");
        match next(events) {
            Some(Ok(event)) => Ok(Step::Event(event)),
            // Read again, it is met again.
            Some(Err(error)) => {
                *frame = None;
                Err(error)
            }
            None => {
                let last = *last;
                *frame = None;
                Ok(Step::Through(last))
            }
        }
    }
}
