//! Whether an event that a condition excludes is one of the commit's own: then the commit is recorded already.
//!
//! * A commit is recognised by the commit that holds the event: all of its events must be there in a row, with the same
//!   ids, streams and content. So a commit that appends with `ExpectedVersion::Any` can be repeated, too.
//! * If no condition excludes one of its events, nobody looks, and the commit is not recognised.

use crate::codec::digest::{Digest, digest};
use crate::codec::entry::Entry;
use crate::codec::envelope;
use crate::codec::frame::{Frame, Location};
use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::outcome::Appended;
use crate::log::core::Log;
use crate::log::read::frame_cursor::FrameCursor;
use crate::value::corruption::Corruption;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::value::position::{Position, Version};
use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

/// The events of a recorded commit.
struct RecordedCommit {
    first_position: u64,
    events: Vec<RecordedEntry>,
}

/// An event's entry.
struct RecordedEntry {
    stream: Bytes,
    version: u64,
    envelope: Bytes,
}

/// A recorded event, as far as it is compared.
struct Compared<'a> {
    stream: &'a [u8],
    version: u64,
    id: Uuid,
    digest: Digest,
}

/// Where the events of `encoded` are recorded, if the one at `position`, which is durable, is one of them.
pub(super) fn recorded_at(
    log: &Arc<Log>,
    encoded: &EncodedCommit,
    position: u64,
) -> Result<Option<Vec<Appended>>> {
    let frame = FrameCursor::new(Arc::clone(log)).frame_holding(position)?;
    let RecordedCommit { first_position, events } =
        commit_holding(&frame, position).map_err(|what| {
            let header = &frame.header;
            let at = Location { segment: header.segment, offset: header.offset };
            log.journal.unreadable(at, header.first_position, &frame, what)
        })?;
    let place = (position - first_position) as usize;
    let id = events.get(place).and_then(|event| envelope::id(&event.envelope));
    let Some(skipped) = id.and_then(|id| skipped(encoded, id, place)) else { return Ok(None) };
    let compared = events.iter().skip(skipped).map(|event| Compared {
        stream: &event.stream,
        version: event.version,
        id: envelope::id(&event.envelope).unwrap_or_default(),
        digest: digest(&event.envelope),
    });
    Ok(recorded_as(encoded, first_position + skipped as u64, compared))
}

/// Where the events of `encoded` are, if the event `place` of `earlier` is one of them. Its group has admitted
/// `earlier` from position `first_position` on; `first_versions` are those of its appends.
pub(super) fn recorded_in_group(
    encoded: &EncodedCommit,
    earlier: &EncodedCommit,
    first_position: u64,
    first_versions: impl Iterator<Item = u64>,
    place: usize,
) -> Option<Vec<Appended>> {
    let skipped = skipped(encoded, earlier.events.get(place)?.id, place)?;
    let appends = earlier.appends.iter().zip(first_versions);
    let compared = appends.flat_map(|(append, first_version)| {
        let events = &earlier.events[append.events.clone()];
        (first_version..).zip(events).map(|(version, event)| Compared {
            stream: append.stream.as_str().as_bytes(),
            version,
            id: event.id,
            digest: event.digest,
        })
    });
    recorded_as(encoded, first_position + skipped as u64, compared.skip(skipped))
}

/// How many events of a recorded commit come before those of `encoded`, if its event `place`, with this id, is one.
fn skipped(encoded: &EncodedCommit, id: Uuid, place: usize) -> Option<usize> {
    if failpoint!("log::overlook_repeated_conditions") {
        return None;
    }
    place.checked_sub(encoded.events.iter().position(|event| event.id == id)?)
}

/// Where the events of `encoded` are, if `recorded` begins with them, the first one at this position.
fn recorded_as<'a>(
    encoded: &EncodedCommit,
    first_position: u64,
    mut recorded: impl Iterator<Item = Compared<'a>>,
) -> Option<Vec<Appended>> {
    let appended = encoded.appends.iter().map(|append| {
        let mut versions = None;
        for event in &encoded.events[append.events.clone()] {
            let Compared { stream, version, id, digest } = recorded.next()?;
            if stream != append.stream.as_str().as_bytes()
                || id != event.id
                || digest != event.digest
            {
                return None;
            }
            let (first, _) = versions.unwrap_or((version, version));
            versions = Some((first, version));
        }
        let (first, last) = versions?;
        Some(Appended {
            stream: append.stream.clone(),
            first: Version::new(first),
            version: Version::new(last),
            position: Position::new(first_position + append.events.end as u64 - 1),
            already_recorded: true,
        })
    });
    appended.collect()
}

/// The commit that holds the event at `position` of `frame`.
fn commit_holding(frame: &Frame, position: u64) -> Result<RecordedCommit, Corruption> {
    let mut next_position = frame.header.first_position;
    let mut commit = RecordedCommit { first_position: next_position, events: Vec::new() };
    for item in frame.entries() {
        let (offset, _, entry) = item?;
        if frame.begins_commit(offset) {
            if next_position > position {
                break;
            }
            commit = RecordedCommit { first_position: next_position, events: Vec::new() };
        }
        if let Entry::Event { stream, version, envelope } = entry {
            commit.events.push(RecordedEntry { stream, version, envelope });
            next_position += 1;
        }
    }
    Ok(commit)
}
