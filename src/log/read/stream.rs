//! Reads one stream: from the tail what the index lacks, from the index the rest.
//!
//! A read sees the stream as it was when the read began, so it never sees a part of a commit. It pins nothing and
//! holds one page in memory.

use crate::codec::entry;
use crate::codec::entry::Entry;
use crate::codec::envelope::{self, Place};
use crate::codec::frame::{EntryLocation, Frame, Location};
use crate::codec::sst::event::{Body, LocatedEvent};
use crate::index::core::Index;
use crate::index::flush_batch::EventToIndex;
use crate::journal::read::Journal;
use crate::journal::segment;
use crate::log::core::Log;
use crate::log::read::located::{Located, each_located};
#[cfg(feature = "erasure")]
use crate::log::read::private;
use crate::log::tail::TailBody;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::limits::STREAM_PAGE_EVENTS;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// An event of a known stream with its envelope.
pub(crate) type RawEvent = LocatedEvent<Bytes>;

impl Log {
    /// One page of the stream's events, from version `from` on, which must exist.
    pub(crate) fn stream_page(&self, stream: &StreamId, from: u64) -> Result<Vec<RawEvent>> {
        let found = self.tail.stream_events(stream, from, STREAM_PAGE_EVENTS);
        if !found.is_empty() {
            return self.fetch(stream, found);
        }
        let ask = |index: &Index| index.events_from(stream, from, STREAM_PAGE_EVENTS);
        let mut page = self.indexed(stream, ask)?;
        page.retain(|event| event.version >= from);
        Ok(page)
    }

    /// One page of the stream's events, up to version `last`, which must exist. They are in order.
    pub(crate) fn stream_page_until(&self, stream: &StreamId, last: u64) -> Result<Vec<RawEvent>> {
        let found = self.tail.stream_events_until(stream, last, STREAM_PAGE_EVENTS);
        if !found.is_empty() {
            return self.fetch(stream, found);
        }
        let mut page = self.indexed(stream, |index| index.run_holding(stream, last))?;
        page.retain(|event| event.version <= last);
        Ok(page)
    }

    /// The last version of `stream` that is not past `position`.
    pub(crate) fn version_at(
        &self,
        stream: &StreamId,
        version: u64,
        position: Position,
    ) -> Result<u64> {
        let (mut low, mut high) = (0, version);
        while low < high {
            let middle = high - (high - low) / 2;
            let page = self.stream_page(stream, middle)?;
            match page.first() {
                Some(event) if event.position <= position.get() => low = middle,
                Some(_) => high = middle - 1,
                None => return Err(missing(stream, middle)),
            }
        }
        Ok(low)
    }

    fn fetch(
        &self,
        stream: &StreamId,
        found: Vec<LocatedEvent<TailBody>>,
    ) -> Result<Vec<RawEvent>> {
        let events = found.into_iter().map(|found| {
            let envelope = match &found.body {
                TailBody::InMemory(bytes) => {
                    envelope_in(entry::decode(bytes), stream, found.version)
                        .map_err(|what| damaged_in_memory(stream, found.version, &what))?
                }
                TailBody::InJournal(at) => self.envelope_at(*at, stream, found.version)?,
            };
            Ok(found.with_body(envelope))
        });
        events.collect()
    }

    /// Reads events of the stream from the index. They exist and are no longer in the tail.
    fn indexed(
        &self,
        stream: &StreamId,
        ask: impl Fn(&Index) -> Result<Vec<LocatedEvent>>,
    ) -> Result<Vec<RawEvent>> {
        let healed = self.index.healed();
        let events = self.index.ask(&ask)?;
        let misled = match self.resolve(stream, events) {
            Ok(events) => return Ok(events),
            Err(misled) => misled,
        };
        // Either the journal is damaged there, or the index refers to a wrong place.
        if misled.error.kind() != ErrorKind::Corrupt || self.is_as_referred(stream, &misled) {
            return Err(misled.error);
        }
        let Misled { version, position, at, .. } = misled;
        let what = format!(
            "version {version} of {stream} is not at byte {} of segment {}, where the index locates it",
            at.offset, at.segment
        );
        let damage = self.index.inspect(|index| Ok(index.damaged(Some(position), what)))?;
        self.index.heal(healed, &damage)?;
        self.resolve(stream, self.index.ask(&ask)?).map_err(|misled| misled.error)
    }

    fn resolve(
        &self,
        stream: &StreamId,
        events: Vec<LocatedEvent>,
    ) -> Result<Vec<RawEvent>, Misled> {
        let events = events.into_iter().map(|event| {
            let LocatedEvent { version, position, recorded_at, body } = event;
            let envelope =
                match body {
                    Body::Inline(envelope) => envelope,
                    Body::At(at) => self
                        .envelope_at(at, stream, version)
                        .map_err(|error| Misled { error, version, position, at })?,
                };
            Ok(LocatedEvent { version, position, recorded_at, body: envelope })
        });
        events.collect()
    }

    /// Whether the index is right: the journal, read by position, has the event at the location that the index gives,
    /// or cannot be read there.
    fn is_as_referred(&self, stream: &StreamId, misled: &Misled) -> bool {
        let Misled { version, position, at, .. } = *misled;
        self.is_there(position, |event| {
            event.stream == *stream
                && (event.version, event.position, event.location) == (version, position, at)
        })
    }

    /// Whether the journal, read by position, has the event at `position` at this location, or cannot be read there.
    pub(super) fn is_at(&self, position: u64, at: EntryLocation) -> bool {
        self.is_there(position, |event| (event.position, event.location) == (position, at))
    }

    fn is_there(&self, position: u64, is_it: impl Fn(&EventToIndex) -> bool) -> bool {
        let Ok(frame) = self.frame_by_scan(position) else { return true };
        let mut is_there = false;
        let read = each_located(frame.0, &frame.1, |item| {
            is_there |= matches!(&item, Located::Event(event) if is_it(event));
        });
        read.is_err() || is_there
    }

    /// Finds the frame that holds `position` by reading the journal from the start of its segment.
    fn frame_by_scan(&self, position: u64) -> Result<(Location, Frame)> {
        let (head, end) = self.head.visible();
        let segment = self.journal.segment_at(position).filter(|_| position <= head);
        let missing = || {
            let message = format!("the journal holds no event at position {position}");
            Error::new(ErrorKind::Corrupt, message)
        };
        let segment = segment.ok_or_else(missing)?;
        let from = Location { segment: segment.number, offset: segment::HEADER_BYTES };
        for frame in self.journal.frames(from, segment.first_position, end) {
            let (at, frame) = frame?;
            if frame.header.next_position() > position {
                return Ok((at, frame));
            }
        }
        Err(missing())
    }

    fn envelope_at(&self, at: EntryLocation, stream: &StreamId, version: u64) -> Result<Bytes> {
        envelope_at(&self.journal, at, stream, version)
    }
}

/// The envelope of the event `version` of `stream`, whose entry is at `at`.
pub(crate) fn envelope_at(
    journal: &Journal,
    at: EntryLocation,
    stream: &StreamId,
    version: u64,
) -> Result<Bytes> {
    let entry = journal.entry(at)?;
    envelope_in(Ok(entry), stream, version).map_err(|what| {
        let at = Location { segment: at.segment, offset: at.offset.into() };
        journal.corrupt(at, None, what)
    })
}

/// An event that is not at the location that the index gives.
struct Misled {
    error: Error,
    version: u64,
    position: u64,
    at: EntryLocation,
}

/// The envelope of `entry`, which must be the event `version` of `stream`.
fn envelope_in(
    entry: Result<Entry, Corruption>,
    stream: &StreamId,
    version: u64,
) -> Result<Bytes, Corruption> {
    match entry? {
        Entry::Event { stream: name, version: at, envelope }
            if name == stream.as_str().as_bytes() && at == version =>
        {
            Ok(envelope)
        }
        _ => Err(Corruption::OtherEvent { stream: stream.as_str().into(), version }),
    }
}

fn damaged_in_memory(stream: &StreamId, version: u64, what: &Corruption) -> Error {
    let message = format!("version {version} of {stream} is damaged in memory: {what}");
    Error::new(ErrorKind::Corrupt, message)
}

fn missing(stream: &StreamId, version: u64) -> Error {
    let message = format!("version {version} of {stream} is neither in the tail nor in the index");
    Error::new(ErrorKind::Corrupt, message)
}

/// The range of a read of one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamRange {
    /// The first and last version to read; the range is empty if `first` is greater.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) backwards: bool,
    pub(crate) limit: u64,
}

/// The events of one stream, read page by page. After an error it yields nothing more.
pub(crate) struct StreamEvents {
    log: Arc<Log>,
    stream: StreamId,
    range: StreamRange,
    page: VecDeque<RawEvent>,
    has_begun: bool,
}

impl StreamEvents {
    pub(crate) fn new(log: Arc<Log>, stream: StreamId, range: StreamRange) -> StreamEvents {
        StreamEvents { log, stream, range, page: VecDeque::new(), has_begun: false }
    }

    fn read_next(&mut self) -> Result<Option<RecordedEvent>> {
        let range = self.range;
        if range.limit == 0 || range.first > range.last {
            return Ok(None);
        }
        if self.page.is_empty() {
            // The process was checked just before the first page.
            match std::mem::replace(&mut self.has_begun, true) {
                true => self.log.refuse_if_closed()?,
                false => self.log.refuse_if_ended()?,
            }
            self.page = match range.backwards {
                false => self.log.stream_page(&self.stream, range.first)?,
                true => self.log.stream_page_until(&self.stream, range.last)?,
            }
            .into();
        }
        let (wanted, event) = match range.backwards {
            false => (range.first, self.page.pop_front()),
            true => (range.last, self.page.pop_back()),
        };
        let event = event
            .filter(|event| event.version == wanted)
            .ok_or_else(|| missing(&self.stream, wanted))?;
        match range.backwards {
            false => self.range.first += 1,
            true => self.range.last -= 1,
        }
        self.range.limit -= 1;
        decode(&self.stream, event, &self.log.journal).map(Some)
    }
}

impl Iterator for StreamEvents {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read_next().transpose();
        if matches!(item, Some(Err(_))) {
            self.range.limit = 0;
        }
        item
    }
}

/// The event of `stream`, decoded. If it is private, the journal's readers say with which key.
pub(crate) fn decode(
    stream: &StreamId,
    event: RawEvent,
    journal: &Journal,
) -> Result<RecordedEvent> {
    let Some(read) = envelope::read(&event.body) else { return Err(unreadable(stream, &event)) };
    let place = Place {
        position: Position::new(event.position),
        stream: stream.clone(),
        version: Version::new(event.version),
        recorded_at: event.recorded_at.to_utc(),
    };
    #[cfg(feature = "erasure")]
    if read.is_sealed() {
        return private::event(read, event.body, place, journal);
    }
    #[cfg(not(feature = "erasure"))]
    let _ = journal;
    Ok(read.into_event(event.body, place))
}

#[cold]
fn unreadable(stream: &StreamId, event: &RawEvent) -> Error {
    let version = event.version;
    match envelope::newer_form(&event.body) {
        Some(newer) => {
            let message = format!(
                "version {version} of {stream} is {newer}: a newer version of filmstrip wrote it"
            );
            Error::new(ErrorKind::UnsupportedFormat, message)
        }
        None => {
            let what = Corruption::Envelope;
            let message = format!("version {version} of {stream} is damaged: {what}");
            Error::new(ErrorKind::Corrupt, message)
        }
    }
}
