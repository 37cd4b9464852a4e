//! Reads the event that a posting leads to.

use crate::codec::entry::{self, Entry};
use crate::codec::envelope::{self, Place};
use crate::codec::frame::{EntryLocation, Location};
use crate::codec::sst::posting::Posting;
use crate::journal::scattered::ScatteredReads;
use crate::log::core::Log;
use crate::log::read::postings::Found;
#[cfg(feature = "erasure")]
use crate::log::read::private;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::filter::Alternative;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use bytes::Bytes;

/// What a posting leads to.
pub(crate) enum Posted {
    Event(Box<RecordedEvent>),
    /// The event has other tags, with the same hashes.
    Other,
    /// The index was wrong, and is built again: what was read from it does not count.
    Rebuilt,
}

impl Log {
    /// The event of `found`, which must have the tags of `alternative`.
    pub(crate) fn posted(&self, found: &Found, alternative: &Alternative) -> Result<Posted> {
        let reads = &mut ScatteredReads::new();
        self.posted_before(found, alternative, reads, std::iter::empty())
    }

    /// The same, by `reads`. The events at `next` come after it, and are read next.
    pub(crate) fn posted_before(
        &self,
        found: &Found,
        alternative: &Alternative,
        reads: &mut ScatteredReads,
        next: impl Iterator<Item = EntryLocation> + Clone,
    ) -> Result<Posted> {
        let healed = self.index.healed();
        let posting = &found.posting;
        let bytes = match self.tail.entry_at(posting.location) {
            Some(bytes) => Ok(bytes),
            None => reads.read(&self.journal, posting.location, next),
        };
        let misled = match bytes.and_then(|bytes| self.event_of(posting, &bytes)) {
            Ok(event) if is_right(posting, &event, alternative) => {
                return Ok(Posted::Event(Box::new(event)));
            }
            Ok(_) if !found.is_certain => return Ok(Posted::Other),
            Ok(_) => None,
            Err(error) if error.kind() != ErrorKind::Corrupt => return Err(error),
            Err(error) => Some(error),
        };
        // Either the journal is damaged there, or the index refers to a wrong place.
        let at = posting.location;
        if self.is_at(posting.position, at) {
            let at = Location { segment: at.segment, offset: at.offset.into() };
            let damaged = || self.journal.corrupt(at, Some(posting.position), Corruption::Envelope);
            return Err(misled.unwrap_or_else(damaged));
        }
        let what = format!(
            "the event with the tags {:?} is not at byte {} of segment {}, where the index locates it",
            alternative.tags(),
            at.offset,
            at.segment
        );
        let position = Some(posting.position);
        let damage = self.index.inspect(|index| Ok(index.damaged(position, what)))?;
        self.index.heal(healed, &damage)?;
        Ok(Posted::Rebuilt)
    }

    /// The event of `posting`, whose entry has these bytes.
    fn event_of(&self, posting: &Posting, bytes: &Bytes) -> Result<RecordedEvent> {
        let at = posting.location;
        let damaged = |what: Corruption| {
            let at = Location { segment: at.segment, offset: at.offset.into() };
            self.journal.corrupt(at, Some(posting.position), what)
        };
        let entry = entry::decode(bytes).map_err(damaged)?;
        let Entry::Event { stream, version, envelope } = entry else {
            return Err(damaged(Corruption::EventEntry));
        };
        let stream =
            StreamId::from_stored(stream).ok_or_else(|| damaged(Corruption::StreamName))?;
        let Some(read) = envelope::read(&envelope) else {
            return Err(match envelope::newer_form(&envelope) {
                Some(newer) => {
                    let position = posting.position;
                    let message = format!(
                        "position {position} is {newer}: a newer version of filmstrip wrote it"
                    );
                    Error::new(ErrorKind::UnsupportedFormat, message)
                }
                None => damaged(Corruption::Envelope),
            });
        };
        let place = Place {
            position: Position::new(posting.position),
            stream,
            version: Version::new(version),
            recorded_at: posting.recorded_at.to_utc(),
        };
        #[cfg(feature = "erasure")]
        if read.is_sealed() {
            return private::event(read, envelope, place, &self.journal);
        }
        Ok(read.into_event(envelope, place))
    }
}

/// Whether `event` is of the type that the posting says, and has the tags of `alternative`.
fn is_right(posting: &Posting, event: &RecordedEvent, alternative: &Alternative) -> bool {
    event.event_type.as_str().as_bytes() == &posting.event_type[..]
        && alternative.tags().iter().all(|tag| event.tags().any(|held| held == tag))
}
