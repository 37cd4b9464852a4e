//! Reading the global sequence, frame by frame: from memory where the frames are new, from the
//! journal elsewhere. Followers read through here too, so there is one way to an event.

use crate::codec::entry::EventParts;
use crate::codec::envelope::{self, Place};
use crate::codec::frame::{self, Chain, Frame, Header, Location};
use crate::codec::sparse_index::SparseEntry;
use crate::journal::read::{Frames, Journal};
use crate::journal::segment;
use crate::log::core::Log;
use crate::log::read::readahead::Readahead;
use crate::value::clock::Micros;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use std::ops::RangeInclusive;
use std::sync::Arc;

impl Log {
    /// A place in the journal where a frame begins whose events are not past `position`.
    fn place_before(&self, position: u64) -> Result<SparseEntry> {
        let segment = self.journal.segment_at(position).ok_or_else(|| {
            let message = format!("no segment of the journal holds position {position}");
            Error::new(ErrorKind::Corrupt, message)
        })?;
        let start = SparseEntry {
            position: segment.first_position,
            time: segment.time,
            location: Location { segment: segment.number, offset: segment::HEADER_BYTES },
        };
        if let Some(sparse_entry) = self.tail.sparse_entry_at_or_before(position) {
            return Ok(if sparse_entry.location < start.location { start } else { sparse_entry });
        }
        let sparse_entry = match self.index.ask(|index| index.sparse_entry_at_or_before(position)) {
            // It only shortens the way: without it, the journal can be read all the same.
            Err(_) if self.index.is_lost() => None,
            sparse_entry => sparse_entry?,
        };
        let sparse_entry =
            sparse_entry.filter(|sparse_entry| sparse_entry.location >= start.location);
        Ok(sparse_entry.filter(|sparse_entry| self.is_frame(sparse_entry)).unwrap_or(start))
    }

    /// Whether the frame that the sparse index entry names begins there.
    fn is_frame(&self, sparse_entry: &SparseEntry) -> bool {
        let Location { segment, offset } = sparse_entry.location;
        let bytes =
            self.journal.read(sparse_entry.location, frame::HEADER_BYTES).unwrap_or_default();
        let is_frame = Header::parse(&bytes).is_some_and(|header| {
            header.lies_at(self.journal.store(), segment, offset)
                && header.first_position == sparse_entry.position
        });
        if !is_frame {
            let position = sparse_entry.position;
            tracing::warn!(position, segment, offset, "a sparse index entry of the index is wrong");
        }
        is_frame
    }

    /// The last position that was recorded at or before `time`, of those up to the head.
    pub(crate) fn position_at(self: &Arc<Log>, time: Micros) -> Result<u64> {
        // Times never decrease along positions, so halving finds the frame.
        let (mut low, mut high) = (0, self.head.position());
        while low < high {
            let middle = high - (high - low) / 2;
            let frame = FrameCursor::new(Arc::clone(self)).frame_holding(middle)?;
            match frame.header.time <= time {
                true => low = frame.header.last_position(),
                false => high = frame.header.first_position - 1,
            }
        }
        Ok(low)
    }
}

/// The journal's chain after the frame that holds `position`, which is not past the head. It stands for
/// everything up to there: another continuation of the same store has another one.
pub(crate) fn chain_at(log: &Arc<Log>, position: Position) -> Result<Chain> {
    if position == Position::START {
        return Ok([0; 32]);
    }
    let frame = FrameCursor::new(Arc::clone(log)).frame_holding(position.get())?;
    Ok(frame.header.chain)
}

/// How many events a cursor goes on over to the next one that is asked for; beyond, it looks it up anew.
const NEAR_EVENTS: u64 = 256;

/// Reads single events; quick if they are asked for in order, however many of them a frame holds.
pub(crate) struct EventCursor {
    log: Arc<Log>,
    frames: FrameCursor,
    /// The frame of the last event, read up to there.
    events: Option<FrameEvents>,
    /// How many frames were looked up.
    #[cfg(test)]
    pub(crate) looked_up: usize,
}

impl EventCursor {
    pub(crate) fn new(log: &Arc<Log>) -> EventCursor {
        EventCursor {
            log: Arc::clone(log),
            frames: FrameCursor::new(Arc::clone(log)),
            events: None,
            #[cfg(test)]
            looked_up: 0,
        }
    }

    /// The event at `position`, which is or was in the log.
    pub(crate) fn event_at(&mut self, position: Position) -> Result<RecordedEvent> {
        let wanted = position.get();
        let mut events = match self
            .events
            .take()
            .filter(|events| events.is_before(wanted) && !failpoint!("log::look_up_each_event"))
        {
            Some(events) => events,
            None => {
                #[cfg(test)]
                {
                    self.looked_up += 1;
                }
                self.frames.leave_unless_near(wanted);
                FrameEvents::new(self.frames.frame_holding(wanted)?, wanted..=wanted)
            }
        };
        events.wanted = wanted..=wanted;
        let event = events.next(&self.log.journal, &Filter::all()).unwrap_or_else(|| {
            let message = format!("the log holds no event at position {position}");
            Err(Error::new(ErrorKind::Corrupt, message))
        })?;
        self.events = Some(events);
        Ok(event)
    }

    /// Lets go of what was read.
    pub(crate) fn forget(&mut self) {
        self.events = None;
        self.frames.scan = None;
    }
}

/// Finds the frames that hold given positions; quick if they are asked for in order.
pub(crate) struct FrameCursor {
    log: Arc<Log>,
    /// The scan that yielded the last frame.
    scan: Option<Scan>,
    /// The position up to which a long scan is read ahead, if it is.
    ahead_until: Option<u64>,
}

impl FrameCursor {
    pub(crate) fn new(log: Arc<Log>) -> FrameCursor {
        FrameCursor { log, scan: None, ahead_until: None }
    }

    /// A cursor for who decodes on the thread that asks it: once the scan is long, another thread reads
    /// ahead of it, up to position `last`.
    pub(crate) fn reading_ahead(log: Arc<Log>, last: u64) -> FrameCursor {
        FrameCursor { log, scan: None, ahead_until: Some(last) }
    }

    /// Ends the scan, if there are many events between it and `position`.
    fn leave_unless_near(&mut self, position: u64) {
        if self.scan.as_ref().is_some_and(|scan| position.saturating_sub(scan.next) > NEAR_EVENTS) {
            self.scan = None;
        }
    }

    /// The frame with the event at `position`, which is not past the head.
    pub(crate) fn frame_holding(&mut self, position: u64) -> Result<Frame> {
        if let Some((_, frame)) = self.log.tail.newest_frame(position) {
            self.scan = None;
            return Ok(frame);
        }
        let mut scan = match self.scan.take() {
            Some(scan) if scan.next <= position => scan,
            _ => self.scan_from(position)?,
        };
        if let Source::Here(frames) = &mut scan.source {
            frames.extend(self.log.head.visible().1);
        }
        while scan.next <= position {
            match scan.read()? {
                Some(frame) if scan.next > position => {
                    self.scan = self.ahead(scan);
                    return Ok(frame);
                }
                Some(_) => {}
                // What has become visible since it began lies behind its end.
                None if matches!(scan.source, Source::Readahead(_)) => {
                    scan = self.scan_from(position)?;
                }
                None => return Err(self.missing(position)),
            }
        }
        Err(self.missing(position))
    }

    /// The same scan, read ahead if that is due. Without a thread to be had it is begun anew.
    fn ahead(&self, scan: Scan) -> Option<Scan> {
        match (scan.source, self.ahead_until) {
            (Source::Here(frames), Some(last)) if Readahead::is_due(scan.bytes) => {
                let ahead = Readahead::start(&self.log, frames, last).ok()?;
                Some(Scan { source: Source::Readahead(ahead), ..scan })
            }
            (source, _) => Some(Scan { source, ..scan }),
        }
    }

    /// The frames from a marked place up to the one with the event at `position`, in order: about
    /// 64 KiB, or one frame.
    fn block_until(&self, position: u64) -> Result<Vec<Frame>> {
        let mut scan = self.scan_from(position)?;
        let mut block = Vec::new();
        while let Some(frame) = scan.read()? {
            let found = frame.header.next_position() > position;
            if frame.header.events > 0 {
                block.push(frame);
            }
            if found {
                return Ok(block);
            }
        }
        Err(self.missing(position))
    }

    fn scan_from(&self, position: u64) -> Result<Scan> {
        let sparse_entry = self.log.place_before(position)?;
        let (_, end) = self.log.head.visible();
        let frames = self.log.journal.frames(sparse_entry.location, sparse_entry.position, end);
        Ok(Scan { source: Source::Here(frames), next: sparse_entry.position, bytes: 0 })
    }

    fn missing(&self, position: u64) -> Error {
        let message = format!("position {position} is not in the journal");
        Error::new(ErrorKind::Corrupt, message)
    }
}

/// A scan of the journal.
struct Scan {
    source: Source,
    /// The position that its next frame begins with.
    next: u64,
    /// Bytes of frames that it has read.
    bytes: usize,
}

/// Who reads: the thread that asks, or another one.
enum Source {
    Here(Frames),
    Readahead(Readahead),
}

impl Scan {
    fn read(&mut self) -> Result<Option<Frame>> {
        let item = match &mut self.source {
            Source::Here(frames) => frames.next().map(|item| item.map(|(_, frame)| frame)),
            Source::Readahead(ahead) => ahead.next(),
        };
        let frame = item.transpose()?;
        if let Some(frame) = &frame {
            self.next = frame.header.next_position();
            self.bytes += frame.bytes().len();
        }
        Ok(frame)
    }
}

/// The events of one frame at some positions, in order, each decoded when it is asked for.
pub(crate) struct FrameEvents {
    frame: Frame,
    entries: frame::Entries,
    recorded_at: DateTime<Utc>,
    /// The position of the next event.
    position: u64,
    wanted: RangeInclusive<u64>,
}

impl FrameEvents {
    /// The events of `frame` at the `wanted` positions.
    pub(crate) fn new(frame: Frame, wanted: RangeInclusive<u64>) -> FrameEvents {
        let (entries, position) = (frame.entries(), frame.header.first_position);
        let recorded_at = frame.header.time.to_utc();
        FrameEvents { frame, entries, recorded_at, position, wanted }
    }

    /// Whether the event at `position` is still to come.
    fn is_before(&self, position: u64) -> bool {
        (self.position..=self.frame.header.last_position()).contains(&position)
    }

    /// The next event that `filter` wants.
    #[inline]
    pub(crate) fn next(
        &mut self,
        journal: &Journal,
        filter: &Filter,
    ) -> Option<Result<RecordedEvent>> {
        match self.find(filter)? {
            Ok((position, parts)) => self.event(position, parts, journal),
            Err(what) => self.corrupt(journal, what),
        }
    }

    /// Appends all that are left and that `filter` wants.
    pub(crate) fn take_all(
        mut self,
        journal: &Journal,
        filter: &Filter,
        out: &mut Vec<RecordedEvent>,
    ) -> Result<()> {
        while let Some(event) = self.next(journal, filter) {
            out.push(event?);
        }
        Ok(())
    }

    /// The position of the next event that `filter` wants, and where it lies.
    #[inline]
    fn find(&mut self, filter: &Filter) -> Option<Result<(u64, EventParts), Corruption>> {
        loop {
            let parts = match self.entries.next_event()? {
                Ok(parts) => parts,
                Err(what) => return Some(Err(what)),
            };
            let position = self.position;
            self.position += 1;
            if !self.wanted.contains(&position) {
                continue;
            }
            match filter.wants_all() || self.wants(filter, &parts) {
                true => return Some(Ok((position, parts))),
                false => continue,
            }
        }
    }

    /// Whether `filter` wants an event; one that cannot be read is, and fails.
    fn wants(&self, filter: &Filter, parts: &EventParts) -> bool {
        let body = self.entries.body();
        let Ok(stream) = std::str::from_utf8(&body[parts.stream.clone()]) else { return true };
        filter.wants_stream(stream)
            && envelope::event_type(&body[parts.envelope.clone()])
                .is_none_or(|event_type| filter.wants(stream, event_type))
    }

    /// The event at `position`, sharing the frame's buffer. Never `None`: what the caller returns in its
    /// turn is made in its place.
    #[inline]
    fn event(
        &self,
        position: u64,
        parts: EventParts,
        journal: &Journal,
    ) -> Option<Result<RecordedEvent>> {
        let body = self.entries.body();
        let Some(stream) = StreamId::from_stored(body.slice(parts.stream)) else {
            return self.corrupt(journal, Corruption::StreamName);
        };
        let envelope = body.slice(parts.envelope);
        let Some(read) = envelope::read(&envelope) else {
            return self.corrupt(journal, Corruption::Envelope);
        };
        let place = Place {
            position: Position::new(position),
            stream,
            version: Version::new(parts.version),
            recorded_at: self.recorded_at,
        };
        Some(Ok(read.into_event(envelope, place)))
    }

    #[cold]
    fn corrupt(&self, journal: &Journal, what: Corruption) -> Option<Result<RecordedEvent>> {
        let header = &self.frame.header;
        let at = Location { segment: header.segment, offset: header.offset };
        Some(Err(journal.unreadable(at, header.first_position, &self.frame, what)))
    }
}

/// Pages that a read turns before it is asked again whether its process was forked meanwhile.
const PAGES_UNASKED: u32 = 64;

/// What a read of the global sequence asks for.
#[derive(Debug, Clone)]
pub(crate) struct AllRange {
    /// The first and last position wanted; empty if the first is greater.
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
    /// Backwards: the frames of the block that is being read, the next one last.
    block: Vec<Frame>,
    page: Page,
    /// How many pages were turned.
    turned: u32,
}

/// What is read of the frame that the events come from.
enum Page {
    Forwards(Option<FrameEvents>),
    /// All of them, the next one last.
    Backwards(Vec<RecordedEvent>),
}

impl AllEvents {
    pub(crate) fn new(log: Arc<Log>, range: AllRange) -> AllEvents {
        let cursor = FrameCursor::reading_ahead(Arc::clone(&log), range.last);
        let page = match range.backwards {
            false => Page::Forwards(None),
            true => Page::Backwards(Vec::new()),
        };
        AllEvents { log, cursor, range, block: Vec::new(), page, turned: 0 }
    }

    /// Goes on to a page that may hold a further event; false if there is none.
    fn go_on(&mut self) -> Result<bool> {
        if self.range.first > self.range.last {
            return Ok(false);
        }
        self.turned = self.turned.wrapping_add(1);
        // Whose process this is was asked when the read began; a page may be one event, and asking is dear.
        match self.turned.is_multiple_of(PAGES_UNASKED) {
            true => self.log.refuse_if_closed()?,
            false => self.log.refuse_if_ended()?,
        }
        self.turn_page()?;
        Ok(true)
    }

    fn turn_page(&mut self) -> Result<()> {
        let wanted = self.range.first..=self.range.last;
        match &mut self.page {
            Page::Forwards(events) => {
                let frame = self.cursor.frame_holding(self.range.first)?;
                self.range.first = frame.header.next_position();
                *events = Some(FrameEvents::new(frame, wanted));
            }
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

/// The frame that holds `last`: from the block that is being read, or a new one.
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
