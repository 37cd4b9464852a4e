//! An event block: events of one or several streams, one after another, compressed together.
//!
//! ```text
//! offset  bytes  field
//!      0      4  bytes of the events, uncompressed
//!      4      1  1: the events are one LZ4 block; 0: they are not compressed, because LZ4 does not shorten them
//!      5         the events
//! ```
//!
//! The events:
//!
//! ```text
//!      8  the position of the first one
//!      8  its time, UTC microseconds
//! then for each event, in numbers of `varint`:
//!         its position, less that of the first (signed)
//!         its time, less that of the first (signed)
//!         twice the bytes of its body, and 1 more if the body is a reference
//!         its body: the envelope as it is in the journal, or for a reference the place of the event's
//!         entry there: segment (8), offset in the segment (4), length (4)
//! ```
//!
//! The block index holds the streams and versions of the events: each key run of a stream begins at a byte of the event
//! block and has a number of events. Events of one stream or category are alike, so they are compressed where that
//! makes them shorter. Decoding slices the one buffer into which the event block was read or decompressed.

use crate::codec::cursor::array_at;
use crate::codec::frame::EntryLocation;
use crate::codec::length::{in_four_bytes, in_memory};
use crate::codec::sst::event::{Body, LocatedEvent};
use crate::codec::varint;
use crate::value::clock::Micros;
use crate::value::corruption::Corruption;
use crate::value::limits::{
    TABLE_EVENT_BLOCK_BYTES_MAX, TABLE_EVENT_BLOCK_BYTES_MIN, TABLE_INLINE_BYTES_MAX,
};
use bytes::Bytes;
use lz4_flex::block::get_maximum_output_size;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into};

const FIXED_BYTES: usize = 5;
const BASE_BYTES: usize = 16;
const REFERENCE_BYTES: usize = 16;
/// The most bytes that an event takes besides its body.
const HEAD_BYTES_MAX: usize = 3 * varint::BYTES_MAX;
/// The most bytes of the events of an event block, with some to spare.
pub(crate) const EVENT_BLOCK_BYTES_MAX: usize =
    BASE_BYTES + HEAD_BYTES_MAX + TABLE_EVENT_BLOCK_BYTES_MAX;
// Any event fits into an event block of its own, and nearly any into a block where another stream may still begin.
const _: () =
    assert!(TABLE_EVENT_BLOCK_BYTES_MIN + TABLE_INLINE_BYTES_MAX <= TABLE_EVENT_BLOCK_BYTES_MAX);

/// The most bytes that an event block takes in the file. Events that compression does not shorten are stored as they
/// are.
pub(crate) const STORED_EVENT_BLOCK_BYTES_MAX: usize = EVENT_BLOCK_BYTES_MAX + 16;

/// Builds event blocks, and reuses its buffers from one to the next.
#[derive(Default)]
pub(crate) struct EventBlockBuilder {
    events: Vec<u8>,
    first: Option<(u64, Micros)>,
    table: CompressTable,
}

impl EventBlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether the next stream must begin another event block. A stream that begins in this one continues in it as far
    /// as possible, so that reading the stream decompresses little else.
    pub(crate) fn is_full(&self) -> bool {
        self.events.len() >= TABLE_EVENT_BLOCK_BYTES_MIN
    }

    /// Whether an event with this body must begin another event block.
    pub(crate) fn is_full_for(&self, body: &Body) -> bool {
        let body_bytes = match body {
            Body::Inline(envelope) => envelope.len(),
            Body::At(_) => REFERENCE_BYTES,
        };
        !self.is_empty()
            && self.events.len() + body_bytes + HEAD_BYTES_MAX > TABLE_EVENT_BLOCK_BYTES_MAX
    }

    /// Where the next event begins, if it is put into this event block.
    pub(crate) fn next_start(&self) -> u32 {
        in_four_bytes(self.events.len().max(BASE_BYTES))
    }

    /// Appends an event.
    pub(crate) fn put(&mut self, position: u64, recorded_at: Micros, body: &Body) {
        let (first_position, first_time) = *self.first.get_or_insert_with(|| {
            self.events.extend_from_slice(&position.to_le_bytes());
            self.events.extend_from_slice(&recorded_at.0.to_le_bytes());
            (position, recorded_at)
        });
        let out = &mut self.events;
        varint::put_signed(position.wrapping_sub(first_position) as i64, out);
        varint::put_signed(recorded_at.0.wrapping_sub(first_time.0), out);
        match body {
            Body::Inline(envelope) => {
                varint::put(2 * envelope.len() as u64, out);
                out.extend_from_slice(envelope);
            }
            Body::At(location) => {
                varint::put(2 * REFERENCE_BYTES as u64 + 1, out);
                out.extend_from_slice(&location.segment.to_le_bytes());
                out.extend_from_slice(&location.offset.to_le_bytes());
                out.extend_from_slice(&location.length.to_le_bytes());
            }
        }
    }

    /// Appends the content of the event block to `out`, and begins another block.
    #[allow(clippy::indexing_slicing, reason = "places in what was just appended")]
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        assert!(self.events.len() <= EVENT_BLOCK_BYTES_MAX, "a longer block would not be read");
        let begin = out.len();
        out.extend_from_slice(&in_four_bytes(self.events.len()).to_le_bytes());
        let start = out.len() + 1;
        out.push(1);
        out.resize(start + get_maximum_output_size(self.events.len()), 0);
        let compressed = compress_into_with_table(&self.events, &mut out[start..], &mut self.table)
            .expect("the buffer is as long as can be needed");
        if compressed < self.events.len() {
            out.truncate(start + compressed);
        } else {
            out[start - 1] = 0;
            out.truncate(start);
            out.extend_from_slice(&self.events);
        }
        debug_assert_eq!(
            unpack(&Bytes::copy_from_slice(&out[begin..])).as_deref(),
            Some(&self.events[..]),
            "what is written decompresses to the events"
        );
        self.events.clear();
        self.first = None;
    }
}

/// Decompresses the events of an event block with this content.
pub(crate) fn decompress(content: &Bytes) -> Result<Bytes, Corruption> {
    unpack(content).ok_or(Corruption::EventBlock)
}

fn unpack(content: &Bytes) -> Option<Bytes> {
    let (&[a, b, c, d, form], packed) = content.split_first_chunk::<FIXED_BYTES>()?;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let events = match form {
        0 => content.slice(FIXED_BYTES..),
        1 if length <= EVENT_BLOCK_BYTES_MAX => {
            let mut events = vec![0; length];
            let held = decompress_into(packed, &mut events).ok()?;
            events.truncate(held);
            events.into()
        }
        _ => return None,
    };
    (events.len() == length && length >= BASE_BYTES).then_some(events)
}

/// Decodes the run of `count` events at byte `start` of an event block's `events`. The first of them has
/// `first_version`.
pub(crate) fn decode_run(
    events: &Bytes,
    start: u32,
    count: u64,
    first_version: u64,
) -> Result<Vec<LocatedEvent>, Corruption> {
    let run = read_run(events, start as usize, count, first_version);
    run.ok_or(Corruption::KeyRun)
}

fn read_run(
    events: &Bytes,
    start: usize,
    count: u64,
    first_version: u64,
) -> Option<Vec<LocatedEvent>> {
    let first_position = u64::from_le_bytes(array_at(events.get(..8)?, 0));
    let first_time = i64::from_le_bytes(array_at(events.get(8..BASE_BYTES)?, 0));
    let mut left = events.get(start.max(BASE_BYTES)..)?;
    // Each event takes more than a byte, so a forged count cannot allocate much memory.
    let mut run = Vec::with_capacity(in_memory(count).min(left.len()));
    for n in 0..count {
        let distance = varint::take_signed(&mut left)?;
        let since = varint::take_signed(&mut left)?;
        let length = varint::take(&mut left)?;
        let begin = events.len() - left.len();
        let (body, rest) = left.split_at_checked(usize::try_from(length / 2).ok()?)?;
        left = rest;
        run.push(LocatedEvent {
            version: first_version.checked_add(n)?,
            position: first_position.wrapping_add_signed(distance),
            recorded_at: Micros(first_time.wrapping_add(since)),
            body: match length % 2 {
                0 => Body::Inline(events.slice(begin..begin + body.len())),
                _ => reference(body)?,
            },
        });
    }
    Some(run)
}

fn reference(body: &[u8]) -> Option<Body> {
    let body: &[u8; REFERENCE_BYTES] = body.try_into().ok()?;
    Some(Body::At(EntryLocation {
        segment: u64::from_le_bytes(array_at(body, 0)),
        offset: u32::from_le_bytes(array_at(body, 8)),
        length: u32::from_le_bytes(array_at(body, 12)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::sst::event::body_of;
    use crate::value::random::{Random, first_seed, rounds};

    const LOCATION: EntryLocation = EntryLocation { segment: 3, offset: 4, length: 500 };

    fn event(version: u64, body: Body) -> LocatedEvent {
        let recorded_at = Micros(1_000 - version as i64);
        LocatedEvent { version, position: 10 * version, recorded_at, body }
    }

    fn inline(bytes: usize) -> Body {
        Body::Inline(vec![7; bytes].into())
    }

    /// The content of the event block of `events`.
    fn table(events: &[LocatedEvent]) -> Bytes {
        let mut event_block = EventBlockBuilder::default();
        for event in events {
            event_block.put(event.position, event.recorded_at, &event.body);
        }
        let mut content = Vec::new();
        event_block.finish(&mut content);
        assert!(event_block.is_empty());
        content.into()
    }

    fn unpack(content: &Bytes, count: u64, version: u64) -> Result<Vec<LocatedEvent>, Corruption> {
        decode_run(&decompress(content)?, BASE_BYTES as u32, count, version)
    }

    fn sample() -> Vec<LocatedEvent> {
        vec![event(5, inline(2)), event(6, Body::At(LOCATION)), event(7, inline(0))]
    }

    #[test]
    fn a_chunk_has_its_golden_bytes() {
        let mut golden = vec![43, 0, 0, 0, 0];
        golden.extend([50, 0, 0, 0, 0, 0, 0, 0, 0xe3, 3, 0, 0, 0, 0, 0, 0]);
        golden.extend([0, 0, 4, 7, 7]);
        golden.extend([20, 1, 33, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 244, 1, 0, 0]);
        golden.extend([40, 3, 0]);
        let golden = Bytes::from(golden);
        assert_eq!(unpack(&golden, 3, 5), Ok(sample()));
        // LZ4 shortens even this, in its own way, so the written bytes differ.
        assert_eq!(decompress(&table(&sample())), decompress(&golden));
        let mut noise = [0; 200];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let (position, recorded_at) = (0x0123_4567_89ab_cdef, Micros(0x7654_3210_1357_9bdf));
        let body = Body::Inline(noise.to_vec().into());
        let content = table(&[LocatedEvent { version: 5, position, recorded_at, body }]);
        assert_eq!(content[..5], [220, 0, 0, 0, 0], "what is not made shorter stays as it is");
    }

    /// The compressor may improve, so the test only reads these bytes.
    #[test]
    fn a_compressed_chunk_is_read_from_its_golden_bytes() {
        let events = vec![event(5, inline(200))];
        let mut golden = vec![220, 0, 0, 0, 1];
        // 21 literals: the base, the event's head, and the first byte of its body.
        golden.extend([0xff, 6]);
        golden.extend([50, 0, 0, 0, 0, 0, 0, 0, 0xe3, 3, 0, 0, 0, 0, 0, 0]);
        golden.extend([0, 0, 0x90, 3, 7]);
        // 194 bytes as one byte before; 15 + 175 + 4 of them. The last 5 are literals again.
        golden.extend([1, 0, 175, 0x50, 7, 7, 7, 7, 7]);
        assert_eq!(unpack(&golden.into(), 1, 5), Ok(events.clone()));
        let written = table(&events);
        assert!(written.len() < 80 && written[4] == 1, "{written:?}");
    }

    #[test]
    fn what_claims_to_be_a_chunk_and_is_not_is_an_error() {
        let read = |content: &[u8]| unpack(&Bytes::copy_from_slice(content), 1, 5);
        assert!(read(&[]).is_err(), "nothing");
        assert!(read(&[16, 0, 0, 0]).is_err(), "no content");
        assert!(read(&[3, 0, 0, 0, 0, 1, 2, 3]).is_err(), "no base");
        assert!(read(&[255, 255, 255, 255, 1, 0x50, 7, 7, 7, 7, 7]).is_err(), "4 GiB");
        assert!(read(&[9, 0, 0, 0, 1, 0x50, 7, 7, 7, 7, 7]).is_err(), "less than it says");
        assert!(read(&[1, 0, 0, 0, 1, 0x50, 7, 7, 7, 7, 7]).is_err(), "more than it says");
        assert!(read(&[9, 0, 0, 0, 1, 0x15, 7, 99, 0, 0]).is_err(), "from before the beginning");
        let whole = table(&sample());
        assert!(unpack(&whole, 4, 5).is_err(), "more events than there are");
        assert!(unpack(&whole, u64::MAX, 5).is_err(), "far more events than there are");
        assert!(unpack(&whole, 3, u64::MAX).is_err(), "versions beyond the last");
        let events = decompress(&whole).unwrap();
        assert!(decode_run(&events, u32::MAX, 1, 5).is_err(), "after the end");
    }

    #[test]
    fn a_body_is_held_or_referred_to_by_its_length() {
        let body = |bytes| body_of(&vec![7; bytes].into(), LOCATION);
        assert_eq!(body(TABLE_INLINE_BYTES_MAX), inline(TABLE_INLINE_BYTES_MAX));
        assert_eq!(body(TABLE_INLINE_BYTES_MAX + 1), Body::At(LOCATION));
    }

    #[test]
    fn whatever_is_packed_comes_back_from_wherever_it_begins() {
        for seed in first_seed()..first_seed() + rounds(200) {
            let random = &mut Random::new(seed);
            let values = [256, 4, 1][random.below(3) as usize];
            let mut event_block = EventBlockBuilder::default();
            let mut events = Vec::new();
            for version in 1..=1 + random.below(150) {
                let most = if random.below(20) == 0 { TABLE_INLINE_BYTES_MAX as u64 } else { 600 };
                let bytes = random.below(most + 1);
                let body: Vec<u8> = (0..bytes).map(|_| random.below(values) as u8).collect();
                let event = event(version, Body::Inline(body.into()));
                if event_block.is_full_for(&event.body) {
                    break;
                }
                events.push((event_block.next_start(), event.clone()));
                event_block.put(event.position, event.recorded_at, &event.body);
            }
            let mut content = Vec::new();
            event_block.finish(&mut content);
            let unpacked = decompress(&content.into()).unwrap();
            assert!(unpacked.len() <= EVENT_BLOCK_BYTES_MAX);
            for (n, (start, first)) in events.iter().enumerate() {
                let count = (events.len() - n) as u64;
                let run = decode_run(&unpacked, *start, count, first.version).unwrap();
                assert!(run.iter().eq(events[n..].iter().map(|(_, event)| event)), "{seed}");
            }
        }
    }
}
