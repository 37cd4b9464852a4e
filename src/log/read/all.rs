//! Reads the global sequence frame by frame: new frames from memory, others from the journal. Followers read the same
//! frames, so there is one way to an event.

use crate::codec::frame::Frame;
use crate::log::core::Log;
use crate::log::read::frame_cursor::FrameCursor;
use crate::log::read::frame_events::FrameEvents;
use crate::log::read::tagged::TaggedEvents;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use std::sync::Arc;

/// Pages after which a read checks again whether its process was forked. The check is a system call, and a page may
/// be one event. The count was not measured.
const PAGES_UNASKED: u32 = 64;

/// The range of a read of the global sequence.
#[derive(Debug, Clone)]
pub(crate) struct AllRange {
    /// The first and last position to read; the range is empty if `first` is greater.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) backwards: bool,
    pub(crate) limit: u64,
    pub(crate) filter: Filter,
}

/// The events of the global sequence. After an error it yields nothing more.
pub(crate) struct AllEvents {
    log: Arc<Log>,
    cursor: FrameCursor,
    range: AllRange,
    /// For a backward read: the frames of the current block; the next one is last.
    block: Vec<Frame>,
    page: Page,
    /// How many pages were read.
    turned: u32,
    /// Whether it is known if the read is done by postings.
    is_decided: bool,
}

/// The remaining events of the current frame.
enum Page {
    Forwards(Option<FrameEvents>),
    /// What is left of the read is done by postings.
    Tagged(Box<TaggedEvents>),
    /// The next one is last.
    Backwards(Vec<RecordedEvent>),
}

impl AllEvents {
    pub(crate) fn new(log: Arc<Log>, range: AllRange) -> AllEvents {
        let cursor = FrameCursor::reading_ahead(Arc::clone(&log), range.last);
        let page = match range.backwards {
            false => Page::Forwards(None),
            true => Page::Backwards(Vec::new()),
        };
        let is_decided = range.backwards;
        AllEvents { log, cursor, range, block: Vec::new(), page, turned: 0, is_decided }
    }

    /// Reads the next page, which may hold further events; false if there is none.
    fn go_on(&mut self) -> Result<bool> {
        if self.range.first > self.range.last {
            return Ok(false);
        }
        self.turned = self.turned.wrapping_add(1);
        // The process was checked when the read began. A page may be one event, and the check is expensive.
        match self.turned.is_multiple_of(PAGES_UNASKED) {
            true => self.log.refuse_if_closed()?,
            false => self.log.refuse_if_ended()?,
        }
        self.turn_page()?;
        Ok(true)
    }

    fn turn_page(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.is_decided, true) {
            let AllRange { first, last, filter, .. } = &self.range;
            if let Some(events) = TaggedEvents::if_few(&self.log, filter, *first, *last)? {
                self.page = Page::Tagged(Box::new(events));
                return Ok(());
            }
        }
        let wanted = self.range.first..=self.range.last;
        match &mut self.page {
            Page::Forwards(events) => {
                let frame = self.cursor.frame_holding(self.range.first)?;
                self.range.first = frame.header.next_position();
                *events = Some(FrameEvents::new(frame, wanted));
            }
            // All of them were in one page.
            Page::Tagged(_) => self.range.first = self.range.last.saturating_add(1),
            Page::Backwards(page) => {
                let frame = frame_before(&mut self.block, &self.cursor, self.range.last)?;
                self.range.last = frame.header.first_position - 1;
                FrameEvents::new(frame, wanted).take_all(
                    &self.log.journal,
                    &self.range.filter,
                    page,
                )?;
            }
        }
        Ok(())
    }
}

/// The frame that holds `last`, from the current block or from a new one.
fn frame_before(block: &mut Vec<Frame>, cursor: &FrameCursor, last: u64) -> Result<Frame> {
    if block.is_empty() {
        *block = cursor.block_until(last)?;
    }
    block.pop().ok_or_else(|| cursor.missing(last))
}

impl Iterator for AllEvents {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.range.limit == 0 {
                return None;
            }
            let item = match &mut self.page {
                Page::Forwards(None) => None,
                Page::Forwards(Some(events)) => events.next(&self.log.journal, &self.range.filter),
                Page::Tagged(events) => match events.next_event() {
                    // The log can be read without the index.
                    Err(_) if self.log.index.is_lost() => {
                        self.page = Page::Forwards(None);
                        continue;
                    }
                    Ok(Some(event)) => {
                        self.range.first = event.position.get() + 1;
                        Some(Ok(event))
                    }
                    end => end.transpose(),
                },
                Page::Backwards(events) => events.pop().map(Ok),
            };
            if item.is_some() {
                let failed = matches!(item, Some(Err(_)));
                self.range.limit = if failed { 0 } else { self.range.limit - 1 };
                return item;
            }
            match self.go_on() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.range.limit = 0;
                    return Some(Err(error));
                }
            }
        }
    }
}
