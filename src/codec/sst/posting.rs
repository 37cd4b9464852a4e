//! A posting: that an event has a tag, and where the event is.
//!
//! Each table holds a tag as a stream of its own. The stream's name is U+0001 and the tag. No application's stream has
//! such a name, and all of them come after it. The events of that stream are postings, in the order of their positions,
//! and its versions count them, from 1 in each table.
//!
//! The body of a posting:
//!
//! ```text
//! offset  bytes  field
//!      0      8  segment of the event's entry
//!      8      4  offset of the entry in the segment
//!     12      4  length of the entry
//!     16         type of the event
//! ```
//!
//! In the key runs of a tag, positions are in the place of times: that of the table's first posting of the tag, and
//! that of the run's last one. So a posting is found by position without reading those before it.

use crate::codec::cursor::array_at;
use crate::codec::frame::EntryLocation;
use crate::codec::sst::block_index::KeyRun;
use crate::codec::sst::event::{Body, LocatedEvent};
use crate::value::clock::Micros;
use crate::value::stream::StreamId;
use bytes::{BufMut, Bytes, BytesMut};

const MARK: char = '\u{1}';
/// Comes after the name of every tag, and before that of every stream.
pub(crate) const AFTER_TAGS: &str = "\u{2}";
const LOCATION_BYTES: usize = 16;

/// An event that has the tag that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Posting {
    pub(crate) position: u64,
    pub(crate) recorded_at: Micros,
    /// The event's entry in the journal.
    pub(crate) location: EntryLocation,
    /// The name of the event's type.
    pub(crate) event_type: Bytes,
}

/// The name under which a table holds the postings of `tag`.
pub(crate) fn name_of_tag(tag: &str) -> StreamId {
    let mut name = String::with_capacity(MARK.len_utf8() + tag.len());
    name.push(MARK);
    name.push_str(tag);
    StreamId::from_stored(name.into()).expect("what was text is text")
}

/// The tag whose postings a table holds under this name; `None` if it is the name of a stream.
pub(crate) fn tag_of_name(name: &StreamId) -> Option<&str> {
    name.as_str().strip_prefix(MARK)
}

/// The body of a posting for an event of this type with its entry at `location`.
pub(crate) fn body_of_posting(location: EntryLocation, event_type: &str) -> Body {
    let mut body = BytesMut::with_capacity(LOCATION_BYTES + event_type.len());
    body.put_u64_le(location.segment);
    body.put_u32_le(location.offset);
    body.put_u32_le(location.length);
    body.put_slice(event_type.as_bytes());
    Body::Inline(body.freeze())
}

impl Posting {
    /// The posting that a table holds as this event of a tag; `None` if it is none.
    pub(crate) fn decode(event: &LocatedEvent) -> Option<Posting> {
        let Body::Inline(body) = &event.body else { return None };
        let place = body.get(..LOCATION_BYTES)?;
        let location = EntryLocation {
            segment: u64::from_le_bytes(array_at(place, 0)),
            offset: u32::from_le_bytes(array_at(place, 8)),
            length: u32::from_le_bytes(array_at(place, 12)),
        };
        let event_type = body.slice(LOCATION_BYTES..);
        let (position, recorded_at) = (event.position, event.recorded_at);
        Some(Posting { position, recorded_at, location, event_type })
    }
}

/// What a key run of a tag has in the place of a time.
#[allow(clippy::cast_possible_wrap, reason = "it comes back by the cast to the other side")]
pub(crate) fn in_place_of_time(position: u64) -> Micros {
    Micros(position as i64)
}

/// The position of the table's first posting of the tag of `run`.
#[allow(clippy::cast_sign_loss, reason = "it was a position")]
pub(crate) fn first_position(run: &KeyRun) -> u64 {
    run.state.created.0 as u64
}

/// The position of the last posting of `run`, a run of a tag.
#[allow(clippy::cast_sign_loss, reason = "it was a position")]
pub(crate) fn last_position(run: &KeyRun) -> u64 {
    run.state.written.0 as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCATION: EntryLocation = EntryLocation { segment: 3, offset: 4, length: 500 };

    #[test]
    fn a_posting_has_its_golden_bytes() {
        let body = body_of_posting(LOCATION, "Moved");
        let mut golden = vec![3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0xf4, 1, 0, 0];
        golden.extend(b"Moved");
        assert_eq!(body, Body::Inline(golden.into()));
        let event = LocatedEvent { version: 1, position: 7, recorded_at: Micros(9), body };
        let posting = Posting::decode(&event).unwrap();
        assert_eq!((posting.position, posting.recorded_at), (7, Micros(9)));
        assert_eq!((posting.location, &posting.event_type[..]), (LOCATION, &b"Moved"[..]));
        for body in [Body::At(LOCATION), Body::Inline(Bytes::from_static(&[0; 15]))] {
            assert_eq!(Posting::decode(&event.clone().with_body(body)), None);
        }
    }

    #[test]
    fn a_tags_name_is_no_streams_and_comes_before_them() {
        let name = name_of_tag("\u{10FFFF}");
        assert_eq!(tag_of_name(&name), Some("\u{10FFFF}"));
        let stream = StreamId::new("!").unwrap();
        assert_eq!(tag_of_name(&stream), None);
        assert!(name.as_str() < AFTER_TAGS && AFTER_TAGS < stream.as_str());
        assert!(StreamId::new(name.as_str()).is_err());
    }
}
