//! An event without its place: the part that its writer decides.
//!
//! ```text
//! offset  bytes  field
//!      0     16  id
//!     16      2  flags: bit 0 the payload is JSON; bit 1 it is sealed; others zero
//!     18      2  schema version
//!     20      8  occurred at, UTC microseconds; i64::MIN: the same as recorded at
//!     28      2  length of the type's name
//!     30      4  length of the extras, 0 if there are none
//!     34         type, UTF-8; extras, bincode; payload, the rest
//! ```
//!
//! The extras hold what most events do not have: metadata, tags (sorted, each once), the id of an encryption key. An
//! event's digest is the BLAKE3 hash of its envelope, so an erased event can leave its digest in the chain.

use crate::codec::cursor::Cursor;
use crate::codec::extras::{self, decode_extras, put_extras};
use crate::codec::length::{in_four_bytes, in_two_bytes};
#[cfg(feature = "erasure")]
use crate::codec::private_part;
use crate::codec::tags::Tags;
use crate::value::clock::Micros;
use crate::value::corruption::Corruption;
use crate::value::event::{EventType, NewEvent, PayloadFormat, RecordedEvent, RecordedMetadata};
use crate::value::failpoint::failpoint;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use bytes::{Buf, Bytes};
use chrono::{DateTime, Utc};
use uuid::Uuid;

const FLAG_JSON: u16 = 1;
/// The event is private: its extras have a key id, and end with it; `sealing::event` has made the payload.
const FLAG_SEALED: u16 = 2;
const FLAGS_KNOWN: u16 =
    if cfg!(feature = "erasure") { FLAG_JSON | FLAG_SEALED } else { FLAG_JSON };
const NOT_SAID: i64 = i64::MIN;
pub(crate) const FIXED_BYTES: usize = 34;
pub(super) const FLAGS_OFFSET: usize = 16;
pub(super) const TYPE_LENGTH_OFFSET: usize = 28;
pub(super) const EXTRAS_LENGTH_OFFSET: usize = 30;

/// Appends the envelope of `event` to `out`. That of a private event is not sealed yet.
pub(crate) fn encode(event: &NewEvent, out: &mut Vec<u8>) {
    #[cfg(feature = "erasure")]
    if event.subject.is_some() {
        put_clear(event, FLAG_SEALED, out, |out| {
            extras::put_private_extras(&event.metadata, &event.tags, out);
        });
        return private_part::encode_with_room(&event.metadata, &event.payload, out);
    }
    put_clear(event, 0, out, |out| put_extras(&event.metadata, &event.tags, out));
    out.extend_from_slice(&event.payload);
}

/// Appends what precedes the payload, with the extras that `put_extras` appends.
#[inline]
fn put_clear(
    event: &NewEvent,
    flags: u16,
    out: &mut Vec<u8>,
    put_extras: impl FnOnce(&mut Vec<u8>),
) {
    let flags = flags | if event.format == PayloadFormat::Json { FLAG_JSON } else { 0 };
    let occurred_at = event.occurred_at.map_or(NOT_SAID, |time| Micros::of(time).0);
    out.extend_from_slice(event.id.as_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&event.schema_version.to_le_bytes());
    out.extend_from_slice(&occurred_at.to_le_bytes());
    out.extend_from_slice(&in_two_bytes(event.event_type.len()).to_le_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(event.event_type.as_bytes());
    let extras_at = out.len();
    put_extras(out);
    let extras = out.len() - extras_at;
    if extras > 0
        && let Some(length) = out.get_mut(length_at..length_at + 4)
    {
        length.copy_from_slice(&in_four_bytes(extras).to_le_bytes());
    }
}

/// Bytes of the envelope of `event`, but for its metadata and tags.
pub(crate) fn bytes_without_extras(event: &NewEvent) -> usize {
    FIXED_BYTES + event.event_type.len() + event.payload.len()
}

/// The id of the event in `envelope`, without decoding the rest.
pub(crate) fn id(envelope: &[u8]) -> Option<Uuid> {
    Some(Uuid::from_bytes(envelope.get(..16)?.try_into().ok()?))
}

/// The type of the event in `envelope`, without decoding the rest.
pub(crate) fn event_type(envelope: &[u8]) -> Option<&str> {
    let length = u16::from_le_bytes(*envelope.get(TYPE_LENGTH_OFFSET..)?.first_chunk()?);
    let name = envelope.get(FIXED_BYTES..FIXED_BYTES + usize::from(length))?;
    std::str::from_utf8(name).ok()
}

/// The tags of the event in `envelope`, without decoding the rest.
#[inline]
pub(crate) fn tags(envelope: &[u8]) -> Tags<'_> {
    let Some(length) = envelope.get(EXTRAS_LENGTH_OFFSET..).and_then(<[u8]>::first_chunk) else {
        return Tags::default();
    };
    match u32::from_le_bytes(*length) {
        0 => Tags::default(),
        length => tags_in_extras(envelope, length),
    }
}

/// Whether two events have the same type, metadata and tags. May miss it in an envelope that cannot be read.
pub(crate) fn are_alike(one: &[u8], other: &[u8]) -> bool {
    type_and_extras(one).is_some_and(|bytes| Some(bytes) == type_and_extras(other))
}

/// The type and the extras, and before them their lengths.
fn type_and_extras(envelope: &[u8]) -> Option<&[u8]> {
    let type_length = u16::from_le_bytes(*envelope.get(TYPE_LENGTH_OFFSET..)?.first_chunk()?);
    let extras_length = u32::from_le_bytes(*envelope.get(EXTRAS_LENGTH_OFFSET..)?.first_chunk()?);
    let bytes = usize::from(type_length) + extras_length as usize;
    envelope.get(TYPE_LENGTH_OFFSET..FIXED_BYTES + bytes)
}

fn tags_in_extras(envelope: &[u8], length: u32) -> Tags<'_> {
    let extras = || {
        let type_length = envelope.get(TYPE_LENGTH_OFFSET..)?.first_chunk()?;
        let extras = envelope.get(FIXED_BYTES + usize::from(u16::from_le_bytes(*type_length))..)?;
        extras.get(..length as usize)
    };
    extras().map(Tags::of_extras).unwrap_or_default()
}

/// An event's place in the store, which is not in its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: Position,
    pub(crate) stream: StreamId,
    pub(crate) version: Version,
    pub(crate) recorded_at: DateTime<Utc>,
}

/// Decodes the event in `envelope`, sharing its buffer.
pub(crate) fn decode(envelope: Bytes, place: Place) -> Result<RecordedEvent, Corruption> {
    let Some(read) = read(&envelope) else { return Err(Corruption::Envelope) };
    Ok(read.into_event(envelope, place))
}

/// Describes a form in `envelope` that this version does not know, if there is one.
pub(crate) fn newer_form(envelope: &Bytes) -> Option<String> {
    let mut cursor = Cursor::new(envelope);
    cursor.take(FLAGS_OFFSET)?;
    let flags = cursor.u16()?;
    if flags & !FLAGS_KNOWN != 0 && !failpoint!("codec::ignore_newer_flags") {
        return Some(format!("an event with flags {flags:#06x}; {FLAGS_KNOWN:#06x} are known"));
    }
    cursor.take(TYPE_LENGTH_OFFSET - FLAGS_OFFSET - 2)?;
    let type_length = cursor.u16()?;
    let extras_length = cursor.u32()?;
    if extras_length == 0 || failpoint!("codec::ignore_newer_extras") {
        return None;
    }
    cursor.take(type_length.into())?;
    let has_key_id = extras::has_key_id(&cursor.take(extras_length as usize)?);
    (has_key_id && !is_sealed(flags))
        .then(|| "an event with an encryption key, which this version does not know".to_owned())
}

/// Whether an event with these flags is private.
#[inline]
pub(super) fn is_sealed(flags: u16) -> bool {
    cfg!(feature = "erasure") && flags & FLAG_SEALED != 0
}

/// An envelope's content.
pub(crate) struct Read {
    id: Uuid,
    event_type: EventType,
    schema_version: u16,
    occurred_at: Option<DateTime<Utc>>,
    metadata: RecordedMetadata,
    format: PayloadFormat,
    payload_offset: usize,
}

impl Read {
    /// Whether the event is private, and its payload sealed.
    #[cfg(feature = "erasure")]
    #[inline]
    pub(crate) fn is_sealed(&self) -> bool {
        self.format == PayloadFormat::Sealed
    }

    /// The event in `envelope`, from which this was read. Callers should create it where it is used: moving a value
    /// this large costs as much as reading it.
    #[inline]
    pub(crate) fn into_event(self, envelope: Bytes, place: Place) -> RecordedEvent {
        // The payload takes over the envelope's reference, which saves two changes of the reference count.
        let mut payload = envelope;
        payload.advance(self.payload_offset);
        RecordedEvent {
            position: place.position,
            stream: place.stream,
            version: place.version,
            id: self.id,
            event_type: self.event_type,
            schema_version: self.schema_version,
            recorded_at: place.recorded_at,
            occurred_at: self.occurred_at.unwrap_or(place.recorded_at),
            metadata: self.metadata,
            format: self.format,
            payload,
        }
    }
}

/// Reads everything in `envelope` but its payload.
#[inline]
pub(crate) fn read(envelope: &Bytes) -> Option<Read> {
    let mut cursor = Cursor::new(envelope);
    let id = Uuid::from_bytes(cursor.bytes16()?);
    let flags = cursor.u16()?;
    let schema_version = cursor.u16()?;
    let occurred_at = cursor.i64()?;
    let type_length = cursor.u16()?;
    let extras_length = cursor.u32()?;
    if flags & !FLAGS_KNOWN != 0 {
        return None;
    }
    let event_type = EventType::from_stored(cursor.take(type_length.into())?)?;
    let extras = cursor.pass(extras_length as usize)?;
    let metadata = match extras.is_empty() {
        #[cfg(feature = "erasure")]
        _ if is_sealed(flags) => extras::decode_private_extras(extras)?,
        true => RecordedMetadata::default(),
        false => decode_extras(extras)?,
    };
    let occurred_at = (occurred_at != NOT_SAID).then(|| Micros(occurred_at).to_utc());
    #[cfg(feature = "erasure")]
    let format = if is_sealed(flags) { PayloadFormat::Sealed } else { format_of(flags) };
    #[cfg(not(feature = "erasure"))]
    let format = format_of(flags);
    let payload_offset = cursor.at();
    Some(Read { id, event_type, schema_version, occurred_at, metadata, format, payload_offset })
}

#[inline]
pub(super) fn format_of(flags: u16) -> PayloadFormat {
    if flags & FLAG_JSON != 0 { PayloadFormat::Json } else { PayloadFormat::Bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::bin;
    use crate::codec::extras::{Extras, encode_extras};
    use crate::value::event::Metadata;
    use crate::value::random::{Random, first_seed, rounds};
    use std::collections::BTreeMap;

    fn place() -> Place {
        Place {
            position: Position::new(7),
            stream: StreamId::new("Customer-1").unwrap(),
            version: Version::new(3),
            recorded_at: Micros(1_700_000_000_000_000).to_utc(),
        }
    }

    fn sample() -> NewEvent {
        NewEvent::bytes("Moved", &b"abc"[..]).id(Uuid::from_u128(0x0102)).schema_version(2)
    }

    #[test]
    fn an_envelope_has_its_golden_bytes() {
        let mut bytes = Vec::new();
        encode(&sample(), &mut bytes);
        let golden = [
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, // id
            0, 0, // flags
            2, 0, // schema version
            0, 0, 0, 0, 0, 0, 0, 0x80, // occurred at: not said
            5, 0, // type length
            0, 0, 0, 0, // extras length
            b'M', b'o', b'v', b'e', b'd', b'a', b'b', b'c',
        ];
        assert_eq!(bytes, golden);
    }

    #[test]
    fn extras_have_their_golden_bytes() {
        let metadata =
            Metadata::default().command_id(Uuid::from_u128(5)).user("al").entry("k", "v");
        let golden = [
            0, 0, // no correlation, no causation
            1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, // command id
            1, 2, b'a', b'l', // user
            1, 1, b'k', 1, b'v', // entries
            0,    // tags
            0,    // key id
        ];
        assert_eq!(encode_extras(&metadata, &[]), golden);
        let tags = ["a:1".to_owned(), "b".to_owned()];
        let with_tags =
            [&golden[..golden.len() - 2], &[2, 3, b'a', b':', b'1', 1, b'b', 0]].concat();
        assert_eq!(encode_extras(&metadata, &tags), with_tags);
    }

    /// Tags are looked for in every event that is read with a filter of tags, and indexed from the same bytes that the
    /// journal holds. So they are found by passing over the rest, which must agree with decoding all of it.
    #[test]
    fn the_tags_are_found_without_decoding_the_rest() {
        for seed in first_seed()..first_seed() + rounds(2_000) {
            let random = &mut Random::new(seed);
            let text = |random: &mut Random| {
                let bytes = [0, 1, 7, 250, 251, 252, 300, 70_000][random.below(8) as usize];
                "x".repeat(bytes) + &random.below(9).to_string()
            };
            let mut metadata = Metadata {
                correlation_id: (random.below(2) == 0).then(|| Uuid::from_u128(1)),
                causation_id: (random.below(2) == 0).then(Uuid::max),
                command_id: (random.below(2) == 0).then(Uuid::nil),
                user: (random.below(2) == 0).then(|| text(random)),
                entries: BTreeMap::new(),
            };
            for _ in 0..[0, 1, 3, 300][random.below(4) as usize] {
                metadata = metadata
                    .entry(random.below(1_000).to_string(), "v".repeat(random.below(300) as usize));
            }
            let mut event = sample().metadata(metadata);
            for _ in 0..[0, 0, 1, 2, 64][random.below(5) as usize] {
                event = event.tag(format!(
                    "tag:{}{}",
                    random.below(90),
                    "y".repeat(random.below(260) as usize)
                ));
            }
            let mut bytes = Vec::new();
            encode(&event, &mut bytes);
            let found: Vec<&str> = tags(&bytes).collect();
            assert!(found.iter().eq(&event.tags), "seed {seed}");
            assert_eq!(tags(&bytes) == Tags::default(), event.tags.is_empty(), "seed {seed}");
            let back = decode(bytes.clone().into(), place()).unwrap();
            assert!(back.tags().eq(found.iter().copied()), "seed {seed}");
            // Whatever the bytes are, it ends.
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.below(256) as u8;
            bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            let _ = tags(&bytes).count();
        }
    }

    /// Tags without metadata are written by hand: with bincode, and the strings that it wanted, an event with one tag
    /// took 2,000 instructions more than one without.
    #[test]
    fn tags_alone_are_written_as_the_form_of_all_extras_has_them() {
        for seed in first_seed()..first_seed() + rounds(500) {
            let random = &mut Random::new(seed);
            let tag = |random: &mut Random, n| {
                let bytes = [1, 7, 200, 249, 250, 251, 256][random.below(7) as usize];
                format!("{n:02}{}", "y".repeat(bytes))
            };
            let count = [1, 2, 3, 64, 250, 251, 300][random.below(7) as usize];
            let tags: Vec<String> = (0..count).map(|n| tag(random, n)).collect();
            let mut written = b"before".to_vec();
            put_extras(&Metadata::default(), &tags, &mut written);
            let expected = [&b"before"[..], &encode_extras(&Metadata::default(), &tags)].concat();
            assert_eq!(written, expected, "seed {seed}");
        }
    }

    #[test]
    fn events_that_differ_in_type_metadata_or_tags_are_not_alike() {
        let made = |event: NewEvent| {
            let mut bytes = Vec::new();
            encode(&event, &mut bytes);
            bytes
        };
        let tagged = |event_type: &str, payload: &'static [u8]| {
            NewEvent::bytes(event_type, payload).tag("a:1")
        };
        let event = made(tagged("Moved", b"x"));
        assert!(are_alike(&event, &made(tagged("Moved", b"another payload").schema_version(7))));
        let user = Metadata::default().user("al");
        let others = [
            tagged("Move", b"x"),
            tagged("Movee", b"x"),
            tagged("Moved", b"x").tag("a:2"),
            tagged("Moved", b"x").metadata(user),
            NewEvent::bytes("Moved", &b"x"[..]),
        ];
        for other in others {
            assert!(!are_alike(&event, &made(other.clone())), "{other:?}");
        }
        assert!(!are_alike(&event[..40], &event[..40]));
    }

    /// Extras that hold nothing but tags are read without bincode. What is read so must be what bincode reads.
    #[test]
    fn tags_alone_are_read_as_with_all_the_rest() {
        for seed in first_seed()..first_seed() + rounds(5_000) {
            let random = &mut Random::new(seed);
            let mut event = sample();
            for _ in 0..random.below(5) {
                let length = [0, 5, 240, 300][random.below(4) as usize];
                event = event.tag(format!("{}{}", random.below(90), "y".repeat(length)));
            }
            if random.below(4) == 0 {
                event = event.metadata(Metadata::default().user("u"));
            }
            let mut extras = Vec::new();
            put_extras(&event.metadata, &event.tags, &mut extras);
            let is_alone = event.metadata.is_empty() && !event.tags.is_empty();
            assert_eq!(Tags::alone_in(&extras).is_some(), is_alone, "seed {seed}");
            let bytes = random.below(extras.len() as u64 + 1) as usize;
            match extras.get_mut(bytes) {
                Some(byte) => *byte = random.below(256) as u8,
                None => extras.extend([0; 1]),
            }
            if let Some(tags) = Tags::alone_in(&extras) {
                let all: Extras = bin::decode(&extras).expect("it is what bincode writes");
                assert!(tags.eq(all.tags.iter().map(String::as_str)), "seed {seed}");
                assert!(all == Extras { tags: all.tags.clone(), ..Extras::default() });
            }
        }
    }

    #[test]
    fn tags_in_another_order_are_damage() {
        let extras = |tags: &[&str]| Extras {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Extras::default()
        };
        assert!(decode_extras(&bin::encode(&extras(&["a", "b"]))).is_some());
        assert!(decode_extras(&bin::encode(&extras(&["b", "a"]))).is_none());
        assert!(decode_extras(&bin::encode(&extras(&["a", "a"]))).is_none());
    }

    #[test]
    fn an_event_comes_back_as_it_went_in() {
        let metadata = Metadata::default().correlation_id(Uuid::from_u128(9)).user("bob");
        let event = NewEvent::json("Renamed", &"x")
            .unwrap()
            .metadata(metadata.clone())
            .occurred_at(Micros(5).to_utc());
        let mut bytes = Vec::new();
        encode(&event, &mut bytes);
        let back = decode(bytes.into(), place()).unwrap();
        assert_eq!(back.id, event.id);
        assert_eq!(back.event_type, "Renamed");
        assert_eq!(back.format, PayloadFormat::Json);
        assert_eq!(back.payload, event.payload);
        assert_eq!(*back.metadata, metadata);
        assert_eq!(back.occurred_at, Micros(5).to_utc());
        assert_eq!(back.recorded_at, Micros(1_700_000_000_000_000).to_utc());
    }

    #[test]
    fn every_truncation_and_unknown_flag_is_an_error_and_no_panic() {
        let mut bytes = Vec::new();
        encode(&sample().metadata(Metadata::default().user("u")), &mut bytes);
        let payload = 3;
        for length in 0..bytes.len() - payload {
            let cut = Bytes::copy_from_slice(&bytes[..length]);
            assert!(decode(cut, place()).is_err(), "{length} bytes decoded");
        }
        bytes[16] = 2;
        assert!(decode(bytes.into(), place()).is_err(), "a flag of the future decoded");
    }
}
