//! Reads the events of a frame whose body is damaged, with their positions.

use crate::codec::entry::{self, Entry, Salvaged};
use crate::codec::frame::{EntryLocation, HEADER_BYTES, Header, Location};
use crate::index::flush_batch::EventToIndex;
use crate::value::stream::StreamId;
use bytes::Bytes;

/// The readable events of the frame at `at` whose positions are certain.
pub(crate) fn events(at: Location, header: &Header, bytes: &Bytes) -> Vec<EventToIndex> {
    let body = bytes.slice(HEADER_BYTES..header.length as usize);
    let Salvaged { entries, whole } = entry::salvage(&body);
    let readable = entries.iter().filter(|(_, _, e)| matches!(e, Some(Entry::Event { .. })));
    let readable = readable.count() as u64;
    let damaged = entries.iter().filter(|(_, _, e)| e.is_none()).count() as u64;
    // A damaged entry does not show whether it was an event. The header's count does, unless the damaged entries are
    // of both kinds.
    let events = u64::from(header.events);
    let each_damaged = match whole {
        true if readable + damaged == events => Some(1),
        true if readable == events => Some(0),
        _ => None,
    };
    let mut position = header.first_position;
    let mut found = Vec::new();
    for (offset, length, entry) in entries {
        // What is more than the header says has no position.
        if position == header.next_position() {
            break;
        }
        let Some(entry) = entry else {
            let Some(passed) = each_damaged else { break };
            position += passed;
            continue;
        };
        let Entry::Event { stream, version, envelope } = entry else { continue };
        let location = EntryLocation {
            segment: at.segment,
            offset: at.offset as u32 + (HEADER_BYTES + offset) as u32,
            length: length as u32,
        };
        if let Some(stream) = StreamId::from_stored(stream) {
            let recorded_at = header.time;
            found.push(EventToIndex { stream, version, position, recorded_at, location, envelope });
        }
        position += 1;
    }
    found
}
