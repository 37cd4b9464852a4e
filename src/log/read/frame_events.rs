//! Decodes the events of one frame one by one. They share the frame's buffer.

use crate::codec::entry::EventParts;
use crate::codec::envelope::{self, Place};
use crate::codec::frame::{self, Frame, Location};
use crate::journal::read::Journal;
use crate::log::interest::names;
use crate::value::corruption::Corruption;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use std::ops::RangeInclusive;

/// The events of one frame in a range of positions, in order. Each is decoded when it is read.
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

    /// Replaces the range of positions for the rest of the frame.
    pub(super) fn want(&mut self, wanted: RangeInclusive<u64>) {
        self.wanted = wanted;
    }

    /// Whether the event at `position` is in the frame and not read yet.
    pub(super) fn is_before(&self, position: u64) -> bool {
        (self.position..=self.frame.header.last_position()).contains(&position)
    }

    /// The next event that `filter` accepts.
    #[inline]
    pub(crate) fn next(
        &mut self,
        journal: &Journal,
        filter: &Filter,
    ) -> Option<Result<RecordedEvent>> {
        let wants_all = filter.wants_all();
        self.next_of(journal, |body, parts| wants_all || wants(filter, body, parts))
    }

    /// The next event that `wants`, which is given its stream and type, accepts. One whose names cannot be read is
    /// an error.
    pub(crate) fn next_named(
        &mut self,
        journal: &Journal,
        mut wants: impl FnMut(&str, &str) -> bool,
    ) -> Option<Result<RecordedEvent>> {
        self.next_of(journal, |body, parts| {
            names(body, parts).is_none_or(|(stream, event_type)| wants(stream, event_type))
        })
    }

    #[inline]
    fn next_of(
        &mut self,
        journal: &Journal,
        wants: impl FnMut(&[u8], &EventParts) -> bool,
    ) -> Option<Result<RecordedEvent>> {
        match self.find(wants)? {
            Ok((position, parts)) => self.event(position, parts, journal),
            Err(what) => self.corrupt(journal, what),
        }
    }

    /// Appends all remaining events that `filter` accepts.
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

    /// The position and the parts of the next event that `wants` accepts.
    #[inline]
    fn find(
        &mut self,
        mut wants: impl FnMut(&[u8], &EventParts) -> bool,
    ) -> Option<Result<(u64, EventParts), Corruption>> {
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
            match wants(self.entries.body(), &parts) {
                true => return Some(Ok((position, parts))),
                false => continue,
            }
        }
    }

    /// The event at `position`, sharing the frame's buffer. Never `None`: with its caller's return type, the value is
    /// built in place.
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

/// Whether `filter` accepts an event. An event that cannot be read is accepted, so that the read fails.
fn wants(filter: &Filter, body: &[u8], parts: &EventParts) -> bool {
    let Ok(stream) = std::str::from_utf8(&body[parts.stream.clone()]) else { return true };
    if !filter.wants_stream(stream) {
        return false;
    }
    match envelope::event_type(&body[parts.envelope.clone()]) {
        None => true,
        Some(event_type) if filter.wants(stream, event_type) => {
            filter.note_accepted(stream);
            true
        }
        Some(_) => false,
    }
}
