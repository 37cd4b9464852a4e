//! A frame: the bytes of one write to the journal. One group, one header, one checksum.
//!
//! ```text
//! offset  bytes  field
//!      0      4  magic "FSFR"
//!      4      1  kind: 1 group, 2 closing; others belong to later versions
//!      5      3  zero
//!      8      4  length of the frame, header included, without padding
//!     12      4  events
//!     16     16  store id
//!     32      8  segment
//!     40      8  offset in the segment
//!     48      8  first position: of its first event, or of the next event if it holds none
//!     56      8  time, UTC microseconds: when the store recorded every event in it
//!     64     32  chain: BLAKE3 over the previous chain and this frame's logical fields
//!     96      4  CRC-32C of bytes 0–95 and of the body
//!    100      4  CRC-32C of bytes 0–99
//!    104         body: entries; then zeros up to a multiple of 8
//! ```
//!
//! The header's own checksum lets recovery tell a frame from a payload that looks like one. Segment
//! and offset distinguish a frame from a copy of it elsewhere.
//!
//! Every later form keeps this header. So this version can tell a newer version's frame from damage and refuse it. It
//! never treats such a frame as a torn write, which would be cleared.

use crate::codec::cursor::array_at;
use crate::codec::digest::{DIGESTED_TOGETHER, Digest, digest_each};
use crate::codec::entry::{self, Entry, EventParts};
use crate::codec::length::{in_four_bytes, in_memory, in_two_bytes};
use crate::value::clock::Micros;
use crate::value::corruption::Corruption;
use crate::value::failpoint::failpoint;
use bytes::Bytes;
use uuid::Uuid;

const MAGIC: [u8; 4] = *b"FSFR";
const CHAIN_OFFSET: usize = 64;
const WHOLE_CRC_OFFSET: usize = 96;
const HEADER_CRC_OFFSET: usize = 100;
pub(crate) const HEADER_BYTES: usize = 104;
/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT: u64 = 8;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Commits that became durable together.
    Group,
    /// The store was shut down with nothing in flight.
    Closing,
    /// A kind that only a newer version knows.
    Newer(u8),
}

/// Where a frame is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// Where an entry is in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryLocation {
    pub(crate) segment: u64,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// The BLAKE3 chain after a frame.
pub(crate) type Chain = [u8; 32];

/// A frame's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// The length of the frame in bytes, without its padding.
    pub(crate) length: u32,
    pub(crate) events: u32,
    pub(crate) store: Uuid,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) first_position: u64,
    pub(crate) time: Micros,
    pub(crate) chain: Chain,
    whole_crc: u32,
}

impl Header {
    /// The header at the beginning of `bytes`, if its checksum matches. Does not check the body.
    #[allow(clippy::indexing_slicing, reason = "constant places in a slice of `HEADER_BYTES`")]
    pub(crate) fn parse(bytes: &[u8]) -> Option<Header> {
        let header = bytes.get(..HEADER_BYTES)?;
        if header[..4] != MAGIC {
            return None;
        }
        let crc = u32::from_le_bytes(array_at(header, HEADER_CRC_OFFSET));
        if crc != crc32c::crc32c(&header[..HEADER_CRC_OFFSET]) {
            return None;
        }
        let kind = match (header[4], header[5..8] == [0; 3]) {
            (1, true) => Kind::Group,
            (2, true) => Kind::Closing,
            _ if failpoint!("codec::take_newer_frame_for_torn") => return None,
            (other, _) => Kind::Newer(other),
        };
        let length = u32::from_le_bytes(array_at(header, 8));
        let events = u32::from_le_bytes(array_at(header, 12));
        let first_position = u64::from_le_bytes(array_at(header, 48));
        // A forged header may have a correct checksum. Its positions must be possible.
        let has_positions =
            first_position > 0 && first_position.checked_add(events.into()).is_some();
        (length as usize >= HEADER_BYTES && has_positions).then(|| Header {
            kind,
            length,
            events,
            store: Uuid::from_bytes(array_at(header, 16)),
            segment: u64::from_le_bytes(array_at(header, 32)),
            offset: u64::from_le_bytes(array_at(header, 40)),
            first_position,
            time: Micros(i64::from_le_bytes(array_at(header, 56))),
            chain: array_at(header, CHAIN_OFFSET),
            whole_crc: u32::from_le_bytes(array_at(header, WHOLE_CRC_OFFSET)),
        })
    }

    /// Whether the frame names the place where it was found.
    pub(crate) fn lies_at(&self, store: Uuid, segment: u64, offset: u64) -> bool {
        self.store == store && self.segment == segment && self.offset == offset
    }

    /// Describes the frame's kind, if this version does not know it.
    pub(crate) fn newer_form(&self) -> Option<String> {
        match self.kind {
            Kind::Newer(kind) => Some(format!("a frame of kind {kind}; 1 and 2 are known")),
            Kind::Group | Kind::Closing => None,
        }
    }

    /// The length on disk in bytes, with the padding.
    pub(crate) fn padded_length(&self) -> u64 {
        padded(self.length.into())
    }

    /// The position after the frame's last event.
    pub(crate) fn next_position(&self) -> u64 {
        self.first_position + u64::from(self.events)
    }

    /// The last position that is durable once this frame is.
    pub(crate) fn last_position(&self) -> u64 {
        self.next_position() - 1
    }
}

/// A whole frame with matching checksums.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    bytes: Bytes,
}

impl Frame {
    /// Verifies the frame with this header. `bytes` begin with the frame and its padding.
    #[allow(
        clippy::indexing_slicing,
        reason = "the length was compared, and padding is no shorter than what is padded"
    )]
    pub(crate) fn verify(header: Header, bytes: Bytes) -> Result<Frame, Corruption> {
        let length = header.length as usize;
        let padded = in_memory(header.padded_length());
        if bytes.len() < padded {
            let (held, padded) = (bytes.len() as u64, padded as u64);
            return Err(Corruption::FrameCut { held, padded });
        }
        if bytes[length..padded].iter().any(|byte| *byte != 0) {
            return Err(Corruption::FramePadding);
        }
        Frame::verify_unpadded(header, bytes.slice(..length))
    }

    /// The same for `bytes` that are the frame without its padding.
    #[inline]
    pub(crate) fn verify_unpadded(header: Header, bytes: Bytes) -> Result<Frame, Corruption> {
        debug_assert_eq!(bytes.len(), header.length as usize, "the checksum covers all of it");
        let is_sound =
            failpoint!("codec::accept_bad_checksum") || whole_crc(&bytes) == header.whole_crc;
        match is_sound {
            true => Ok(Frame { header, bytes }),
            false => Err(Corruption::FrameChecksum),
        }
    }

    /// The frame in a buffer that was just completed.
    pub(crate) fn written(header: Header, bytes: Bytes) -> Frame {
        debug_assert!(bytes.len() >= header.length as usize, "it is there as a whole");
        let bytes = bytes.slice(..header.length as usize);
        Frame { header, bytes }
    }

    /// Describes a form in the frame that this version does not know, if there is one. This walks over the entries, so
    /// it is called only before something irreversible is decided, or after something could not be read.
    pub(crate) fn newer_form(&self) -> Option<String> {
        if let Some(what) = self.header.newer_form() {
            return Some(what);
        }
        entry::newer_form(&self.bytes.slice(HEADER_BYTES..))
    }

    /// The frame's bytes without padding.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the entry at `offset` in the frame is the first one of its commit.
    pub(crate) fn begins_commit(&self, offset: u32) -> bool {
        self.bytes.get(offset as usize).is_some_and(|byte| entry::begins_commit(*byte))
    }

    /// The entries with their offsets in the *frame* and their lengths.
    pub(crate) fn entries(&self) -> Entries {
        Entries(entry::Entries::new(self.bytes.slice(HEADER_BYTES..)))
    }

    /// The chain after this frame, computed from the chain before it.
    pub(crate) fn chain_after(&self, previous: &Chain) -> Result<Chain, Corruption> {
        let header = &self.header;
        let mut chain = ChainHasher::new(
            previous,
            header.kind,
            header.first_position,
            header.time,
            header.events,
        );
        let mut entries = self.entries().map(|entry| entry.map(|(_, _, entry)| entry));
        loop {
            let together = entries.by_ref().take(DIGESTED_TOGETHER);
            let together = together.collect::<Result<Vec<Entry>, _>>()?;
            if together.is_empty() {
                return Ok(chain.finish());
            }
            let envelopes: Vec<&[u8]> = together.iter().filter_map(Entry::envelope).collect();
            let mut digests = digest_each(&envelopes).into_iter();
            for entry in &together {
                match entry {
                    Entry::Event { stream, version, .. } => {
                        let digest = digests.next().expect("each event has one");
                        chain.event(stream, *version, &digest);
                    }
                    Entry::Record(record) => chain.record(record),
                }
            }
        }
    }
}

/// Iterates over the entries of a frame. An error ends the iteration.
pub(crate) struct Entries(entry::Entries);

impl Entries {
    /// The frame's body.
    pub(crate) fn body(&self) -> &Bytes {
        self.0.body()
    }

    /// The parts of the next event in the body, without sharing the buffer.
    pub(crate) fn next_event(&mut self) -> Option<Result<EventParts, Corruption>> {
        self.0.next_event()
    }

    /// Passes over what is left.
    pub(crate) fn end(&mut self) {
        self.0.end();
    }

    /// The next record. Skips events.
    pub(crate) fn next_record(&mut self) -> Option<Result<Bytes, Corruption>> {
        self.0.next_record()
    }
}

impl Iterator for Entries {
    type Item = Result<(u32, u32, Entry), Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.0.next()?;
        Some(item.map(|(at, length, entry)| {
            (in_four_bytes(HEADER_BYTES + at), in_four_bytes(length), entry)
        }))
    }
}

/// Computes the chain over a frame's logical fields. The frame's place is not one of them, so that a
/// scavenge can move the frame. An event's envelope is there as its digest, so that an erased event
/// can leave the digest behind.
pub(crate) struct ChainHasher {
    hasher: blake3::Hasher,
    /// Fields that are not hashed yet. BLAKE3 hashes many of them in parallel.
    fields: Vec<u8>,
}

/// How many bytes of fields are hashed at once.
const CHAIN_FIELDS_BYTES: usize = 16 * 1_024;
/// About how many bytes of fields an event adds.
const CHAIN_EVENT_BYTES: usize = 64;

impl ChainHasher {
    pub(crate) fn new(
        previous: &Chain,
        kind: Kind,
        first_position: u64,
        time: Micros,
        events: u32,
    ) -> ChainHasher {
        let mut head = [0; 53];
        head[..32].copy_from_slice(previous);
        head[32] = kind_number(kind);
        head[33..41].copy_from_slice(&first_position.to_le_bytes());
        head[41..49].copy_from_slice(&time.0.to_le_bytes());
        head[49..].copy_from_slice(&events.to_le_bytes());
        let expected = head.len() + events as usize * CHAIN_EVENT_BYTES;
        let mut fields = Vec::with_capacity(expected.min(CHAIN_FIELDS_BYTES));
        fields.extend_from_slice(&head);
        ChainHasher { hasher: blake3::Hasher::new(), fields }
    }

    pub(crate) fn event(&mut self, stream: &[u8], version: u64, digest: &Digest) {
        let mut fixed = [0; 43];
        fixed[0] = 1;
        fixed[1..3].copy_from_slice(&in_two_bytes(stream.len()).to_le_bytes());
        fixed[3..11].copy_from_slice(&version.to_le_bytes());
        fixed[11..].copy_from_slice(digest);
        self.put(&fixed);
        self.put(stream);
    }

    pub(crate) fn record(&mut self, record: &[u8]) {
        self.put(&[2]);
        self.put(blake3::hash(record).as_bytes());
    }

    pub(crate) fn finish(mut self) -> Chain {
        self.hasher.update(&self.fields);
        *self.hasher.finalize().as_bytes()
    }

    fn put(&mut self, field: &[u8]) {
        if self.fields.len() + field.len() > CHAIN_FIELDS_BYTES {
            self.hasher.update(&self.fields);
            self.fields.clear();
        }
        self.fields.extend_from_slice(field);
    }
}

/// The logical fields of the header of a frame that is about to be written.
pub(crate) struct Meaning {
    pub(crate) kind: Kind,
    pub(crate) events: u32,
    pub(crate) first_position: u64,
    pub(crate) time: Micros,
    pub(crate) chain: Chain,
}

/// Completes and pads the frame in `buffer`, which holds `HEADER_BYTES` of anything and then the body.
#[allow(clippy::indexing_slicing, reason = "constant places in a header that there is room for")]
pub(crate) fn complete(
    buffer: &mut Vec<u8>,
    meaning: &Meaning,
    store: Uuid,
    at: Location,
) -> Header {
    assert!(buffer.len() >= HEADER_BYTES, "a frame's buffer begins with room for its header");
    assert_eq!(at.offset % ALIGNMENT, 0, "frames are aligned");
    let length = u32::try_from(buffer.len()).expect("the limits keep a frame below 4 GiB");
    buffer[..4].copy_from_slice(&MAGIC);
    buffer[4..8].copy_from_slice(&[kind_number(meaning.kind), 0, 0, 0]);
    buffer[8..12].copy_from_slice(&length.to_le_bytes());
    buffer[12..16].copy_from_slice(&meaning.events.to_le_bytes());
    buffer[16..32].copy_from_slice(store.as_bytes());
    buffer[32..40].copy_from_slice(&at.segment.to_le_bytes());
    buffer[40..48].copy_from_slice(&at.offset.to_le_bytes());
    buffer[48..56].copy_from_slice(&meaning.first_position.to_le_bytes());
    buffer[56..64].copy_from_slice(&meaning.time.0.to_le_bytes());
    buffer[CHAIN_OFFSET..WHOLE_CRC_OFFSET].copy_from_slice(&meaning.chain);
    let whole = whole_crc(buffer);
    buffer[WHOLE_CRC_OFFSET..HEADER_CRC_OFFSET].copy_from_slice(&whole.to_le_bytes());
    let header = crc32c::crc32c(&buffer[..HEADER_CRC_OFFSET]);
    buffer[HEADER_CRC_OFFSET..HEADER_BYTES].copy_from_slice(&header.to_le_bytes());
    buffer.resize(in_memory(padded(length.into())), 0);
    let header = Header::parse(buffer).expect("what was just written can be read");
    debug_assert!(header.lies_at(store, at.segment, at.offset), "it says where it will be");
    debug_assert_eq!(header.first_position, meaning.first_position);
    header
}

/// `length` rounded up to the alignment of frames.
pub(crate) fn padded(length: u64) -> u64 {
    length.next_multiple_of(ALIGNMENT)
}

#[allow(clippy::indexing_slicing, reason = "a frame is as long as its header at least")]
fn whole_crc(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..WHOLE_CRC_OFFSET]), &frame[HEADER_BYTES..])
}

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Group => 1,
        Kind::Closing => 2,
        Kind::Newer(kind) => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::entry;

    const AT: Location = Location { segment: 3, offset: 4_096 };

    fn sample() -> Vec<u8> {
        let mut buffer = vec![0; HEADER_BYTES];
        entry::put_record(&[7, 8], true, &mut buffer);
        let meaning = Meaning {
            kind: Kind::Group,
            events: 0,
            first_position: 6,
            time: Micros(9),
            chain: [0xcc; 32],
        };
        complete(&mut buffer, &meaning, Uuid::from_u128(0xabcd), AT);
        buffer
    }

    fn verify(bytes: &[u8]) -> Option<Frame> {
        let header = Header::parse(bytes)?;
        Frame::verify(header, Bytes::copy_from_slice(bytes)).ok()
    }

    #[test]
    fn a_frame_has_its_golden_bytes() {
        let bytes = sample();
        let mut golden = b"FSFR\x01\0\0\0".to_vec();
        golden.extend([115, 0, 0, 0, 0, 0, 0, 0]); // length, events
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd]); // store
        golden.extend([3, 0, 0, 0, 0, 0, 0, 0]); // segment
        golden.extend([0, 16, 0, 0, 0, 0, 0, 0]); // offset
        golden.extend([6, 0, 0, 0, 0, 0, 0, 0]); // first position
        golden.extend([9, 0, 0, 0, 0, 0, 0, 0]); // time
        golden.extend([0xcc; 32]); // chain
        assert_eq!(bytes[..96], golden);
        assert_eq!(bytes.len(), 120, "115 bytes are padded to a multiple of 8");
        assert_eq!(bytes[96..104], [246, 160, 178, 24, 48, 195, 144, 105], "checksums");
        assert_eq!(bytes[115..], [0; 5], "padding");
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_found_by_a_checksum() {
        let bytes = sample();
        let frame = verify(&bytes).expect("a whole frame");
        assert!(frame.header.lies_at(Uuid::from_u128(0xabcd), 3, 4_096));
        assert_eq!(frame.header.padded_length() as usize, bytes.len());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&flipped).is_none(), "bit {bit} went unnoticed");
        }
    }

    /// The fuzzer's first find: with a forged header and its correct checksum, verifying a store computed
    /// a position beyond the last possible one, and panicked.
    #[test]
    fn a_header_whose_positions_cannot_be_given_out_is_none() {
        let parse = |first_position: u64, events: u32| {
            let mut header = sample();
            header[12..16].copy_from_slice(&events.to_le_bytes());
            header[48..56].copy_from_slice(&first_position.to_le_bytes());
            let crc = crc32c::crc32c(&header[..HEADER_CRC_OFFSET]).to_le_bytes();
            header[HEADER_CRC_OFFSET..HEADER_BYTES].copy_from_slice(&crc);
            Header::parse(&header)
        };
        assert!(
            parse(u64::MAX - 3, 3).is_some_and(|header| header.last_position() == u64::MAX - 1)
        );
        assert_eq!(parse(u64::MAX - 3, 4), None, "beyond the last position");
        assert_eq!(parse(0, 0), None, "positions are counted from 1");
    }

    #[test]
    fn the_chain_does_not_depend_on_where_a_frame_lies() {
        let chain = |at| {
            let mut buffer = vec![0; HEADER_BYTES];
            entry::put_record(&[7, 8], true, &mut buffer);
            let meaning = Meaning {
                kind: Kind::Group,
                events: 0,
                first_position: 6,
                time: Micros(9),
                chain: [0; 32],
            };
            complete(&mut buffer, &meaning, Uuid::nil(), at);
            verify(&buffer).unwrap().chain_after(&[1; 32]).unwrap()
        };
        assert_eq!(chain(AT), chain(Location { segment: 4, offset: 8 }));
        assert_ne!(chain(AT), [0; 32]);
    }

    /// Fields are hashed many at once, which must not change the result.
    #[test]
    fn the_chain_is_the_hash_of_all_fields_one_after_the_other() {
        let stream = [b'x'; 300];
        let mut chain = ChainHasher::new(&[3; 32], Kind::Group, 7, Micros(9), 200);
        let mut fields = [&[3; 32][..], &[1], &[7, 0, 0, 0, 0, 0, 0, 0]].concat();
        fields.extend([&[9, 0, 0, 0, 0, 0, 0, 0][..], &[200, 0, 0, 0]].concat());
        for version in 1..=200_u64 {
            chain.event(&stream, version, &[5; 32]);
            fields.extend([&[1, 44, 1][..], &version.to_le_bytes(), &[5; 32], &stream].concat());
        }
        chain.record(&[8; 20]);
        fields.push(2);
        fields.extend(blake3::hash(&[8; 20]).as_bytes());
        assert!(fields.len() > 2 * CHAIN_FIELDS_BYTES);
        assert_eq!(chain.finish(), *blake3::hash(&fields).as_bytes());
    }
}
