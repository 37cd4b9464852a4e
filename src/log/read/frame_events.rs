//! Decodes the events of one frame one by one. They share the frame's buffer.

use crate::codec::entry::EventParts;
use crate::codec::envelope::{self, Place};
use crate::codec::frame::{self, Frame, Location};
use crate::journal::read::Journal;
use crate::log::interest::{Named, named};
#[cfg(feature = "erasure")]
use crate::log::read::private;
use crate::value::corruption::Corruption;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
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
    /// The position after the last event, as the header says.
    end: u64,
    wanted: RangeInclusive<u64>,
}

impl FrameEvents {
    /// The events of `frame` at the `wanted` positions.
    pub(crate) fn new(frame: Frame, wanted: RangeInclusive<u64>) -> FrameEvents {
        let (entries, position) = (frame.entries(), frame.header.first_position);
        let recorded_at = frame.header.time.to_utc();
        FrameEvents {
            end: frame.header.next_position(),
            frame,
            entries,
            recorded_at,
            position,
            wanted,
        }
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

    /// The next event that `wants` accepts, which is given what filters ask of it. One whose names cannot be read is
    /// an error.
    pub(crate) fn next_named(
        &mut self,
        journal: &Journal,
        mut wants: impl FnMut(Named<'_>) -> bool,
    ) -> Option<Result<RecordedEvent>> {
        self.next_of(journal, |body, parts| named(body, parts).is_none_or(&mut wants))
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
            let parts = match self.entries.next_event() {
                Some(Err(what)) => return Some(Err(what)),
                // More events than the frame says have no positions.
                Some(Ok(_)) if self.is_at_end() => return Some(Err(self.miscounted(1))),
                Some(Ok(parts)) => parts,
                None if self.position == self.end => return None,
                None => return Some(Err(self.miscounted(0))),
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

    #[inline]
    fn is_at_end(&self) -> bool {
        self.position == self.end && !failpoint!("read::show_more_than_the_frame_says")
    }

    /// The frame holds other events than it says: those that were counted, and at least `more`. It is told once.
    #[cold]
    fn miscounted(&mut self, more: u64) -> Corruption {
        let header = &self.frame.header;
        let held = self.position - header.first_position + more;
        self.position = self.end;
        self.entries.end();
        Corruption::FrameEvents { said: header.events, held }
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
        #[cfg(feature = "erasure")]
        if read.is_sealed() {
            return Some(private::event(read, envelope, place, journal));
        }
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
    let envelope = &body[parts.envelope.clone()];
    match envelope::event_type(envelope) {
        None => true,
        Some(event_type) if filter.wants_tagged(stream, event_type, envelope::tags(envelope)) => {
            filter.note_accepted(stream);
            true
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::commit::Commit;
    use crate::log::read::frame_cursor::FrameCursor;
    use crate::log::read::located::{Located, each_located};
    use crate::store::Store;
    use crate::value::event::NewEvent;
    use crate::value::position::ExpectedVersion;
    use std::sync::Arc;

    /// A frame whose header was forged: what it held beyond its count was read as events at the positions of the next
    /// frame's, and to count them overflowed at the last position that there is.
    #[test]
    fn a_frame_that_holds_other_events_than_it_says_is_damaged_and_shows_none_without_a_position() {
        let store = Store::temporary().unwrap();
        let event = || NewEvent::json("Stepped", &1).unwrap();
        let commit = Commit::new().append("A-1", ExpectedVersion::Any, [event(), event(), event()]);
        let log = store.commit(commit).map(|_| Arc::clone(store.log.log())).unwrap();
        let sound = FrameCursor::new(Arc::clone(&log)).frame_holding(1).unwrap();
        for (said, first, shown) in [(2, 1, 2), (4, 1, 3), (2, u64::MAX - 3, 2), (3, 1, 3)] {
            let mut frame = sound.clone();
            (frame.header.events, frame.header.first_position) = (said, first);
            let mut events = FrameEvents::new(frame.clone(), 0..=u64::MAX);
            let mut read = Vec::new();
            while let Some(event) = events.next(&log.journal, &Filter::all()) {
                read.push(event);
                assert!(read.len() < 10, "it is told once");
            }
            let ends_well = said == 3;
            assert_eq!(read.len(), shown + usize::from(!ends_well), "{said} said: {read:?}");
            assert_eq!(read.iter().all(Result::is_ok), ends_well);
            assert!(read[..shown].iter().all(Result::is_ok));
            let (at, mut taken) = (Location { segment: 1, offset: 4_096 }, 0);
            let located = each_located(at, &frame, |located| {
                taken += usize::from(matches!(located, Located::Event(_)));
            });
            let damage = Corruption::FrameEvents { said, held: 3 };
            assert_eq!(located, if ends_well { Ok(()) } else { Err(damage) });
            assert_eq!(taken, shown);
        }
    }
}
