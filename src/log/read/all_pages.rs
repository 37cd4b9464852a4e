//! Reads the global sequence as pages of frames, for a caller that decodes the events on another thread.
//!
//! * What may wait for the disk is done by `next`; what a page holds is in memory.
//! * Backwards, a page holds decoded events: a frame is decoded from its beginning. So does one that is read by the
//!   postings of tags.

use crate::codec::frame::Frame;
use crate::journal::read::Journal;
use crate::log::core::Log;
use crate::log::read::all::AllRange;
use crate::log::read::frame_cursor::FrameCursor;
use crate::log::read::frame_events::FrameEvents;
use crate::log::read::tagged::TaggedEvents;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::limits::{SCAN_PAGE_BYTES_FIRST, SCAN_PAGE_BYTES_MAX};
use std::collections::VecDeque;
use std::sync::Arc;

/// What an event counts in a page that is read by postings, besides its payload: to read it takes as long as to pass
/// over so many bytes of frames. It is an estimate.
const READ_BY_POSTING_BYTES: usize = 1_024;

/// The pages of a read. After an error there are no more.
pub(crate) struct AllPages {
    log: Arc<Log>,
    cursor: FrameCursor,
    range: AllRange,
    /// For a backward read: the frames of the current block; the next one is last.
    block: Vec<Frame>,
    /// Reads the events instead, once that is decided.
    tagged: Option<TaggedEvents>,
    is_decided: bool,
    /// Bytes of frames from which on the next page takes no further one.
    room: usize,
    has_failed: bool,
}

/// Some frames, whose events are in the order of the read.
pub(crate) enum AllPage {
    Forwards(VecDeque<FrameEvents>),
    Decoded(VecDeque<RecordedEvent>),
}

impl AllPages {
    pub(crate) fn new(log: Arc<Log>, range: AllRange) -> AllPages {
        let cursor = FrameCursor::new(Arc::clone(&log));
        let room = SCAN_PAGE_BYTES_FIRST;
        let (block, is_decided) = (Vec::new(), range.backwards);
        AllPages { log, cursor, range, block, tagged: None, is_decided, room, has_failed: false }
    }

    fn read(&mut self) -> Result<Option<AllPage>> {
        if self.range.first > self.range.last {
            return Ok(None);
        }
        self.log.refuse_if_closed()?;
        if !std::mem::replace(&mut self.is_decided, true) {
            let AllRange { first, last, filter, .. } = &self.range;
            self.tagged = TaggedEvents::if_few(&self.log, filter, *first, *last)?;
        }
        let page = match self.range.backwards {
            false if self.tagged.is_some() => self.tagged()?,
            false => self.forwards()?,
            true => self.backwards()?,
        };
        self.room = (2 * self.room).min(SCAN_PAGE_BYTES_MAX);
        Ok(Some(page))
    }

    fn forwards(&mut self) -> Result<AllPage> {
        let (mut frames, mut held) = (VecDeque::new(), 0);
        while held < self.room && self.range.first <= self.range.last {
            let frame = match self.cursor.frame_holding(self.range.first) {
                Ok(frame) => frame,
                // What was read before it comes first; it is met again.
                Err(_) if !frames.is_empty() => break,
                Err(error) => return Err(error),
            };
            held += frame.bytes().len();
            let wanted = self.range.first..=self.range.last;
            self.range.first = frame.header.next_position();
            frames.push_back(FrameEvents::new(frame, wanted));
        }
        Ok(AllPage::Forwards(frames))
    }

    fn tagged(&mut self) -> Result<AllPage> {
        let (mut events, mut held) = (VecDeque::new(), 0);
        while held < self.room {
            let next = self.tagged.as_mut().map_or(Ok(None), TaggedEvents::next_event);
            match next {
                Ok(Some(event)) => {
                    held += event.payload.len() + READ_BY_POSTING_BYTES;
                    self.range.first = event.position.get() + 1;
                    events.push_back(event);
                }
                Ok(None) => {
                    self.range.first = self.range.last.saturating_add(1);
                    break;
                }
                // What was read before it comes first; it is met again.
                Err(_) if !events.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(AllPage::Decoded(events))
    }

    fn backwards(&mut self) -> Result<AllPage> {
        if self.block.is_empty() {
            self.block = self.cursor.block_until(self.range.last)?;
        }
        let frame = self.block.pop().ok_or_else(|| self.cursor.missing(self.range.last))?;
        let wanted = self.range.first..=self.range.last;
        self.range.last = frame.header.first_position - 1;
        let mut events = Vec::new();
        let (journal, filter) = (&self.log.journal, &self.range.filter);
        FrameEvents::new(frame, wanted).take_all(journal, filter, &mut events)?;
        Ok(AllPage::Decoded(events.into_iter().rev().collect()))
    }
}

impl Iterator for AllPages {
    type Item = Result<AllPage>;

    fn next(&mut self) -> Option<Result<AllPage>> {
        if self.has_failed {
            return None;
        }
        let page = self.read();
        self.has_failed = page.is_err();
        page.transpose()
    }
}

impl AllPage {
    /// The next event that `filter` accepts; `None` if the page has no more.
    #[inline]
    pub(crate) fn next(
        &mut self,
        journal: &Journal,
        filter: &Filter,
    ) -> Option<Result<RecordedEvent>> {
        let frames = match self {
            AllPage::Decoded(events) => return events.pop_front().map(Ok),
            AllPage::Forwards(frames) => frames,
        };
        loop {
            // Not taken apart, so that it is built in its place.
            let event = frames.front_mut()?.next(journal, filter);
            if event.is_some() {
                return event;
            }
            frames.pop_front();
        }
    }
}
