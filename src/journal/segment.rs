//! A segment file: its name, its size, and the header in its first 4 KiB.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "FSSEGMNT"
//!      8      4  format: 1
//!     12      4  zero
//!     16     16  store id
//!     32      8  number
//!     40      8  length of the file
//!     48      8  first position: of the first event in it
//!     56      8  time of the last frame before it, UTC microseconds
//!     64     32  chain after the last frame before it
//!     96      4  CRC-32C of bytes 0–95 and 100–4095
//!    100         zeros up to 4096, where the first frame begins
//! ```

use crate::codec::cursor::array_at;
use crate::codec::frame::{Chain, padded};
use crate::value::clock::Micros;
use crate::value::failpoint::failpoint;
use crate::value::limits::{SEGMENT_BYTES, SEGMENT_BYTES_FIRST, SEGMENT_LENGTH_MAX};
use std::fmt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

const MAGIC: [u8; 8] = *b"FSSEGMNT";
const FORMAT: u32 = 1;
const CRC_OFFSET: usize = 96;
/// Bytes of a segment's header. It has a page of its own, which is never rewritten.
pub(crate) const HEADER_PAGE_BYTES: usize = 4_096;
/// Where a segment's first frame begins.
pub(crate) const HEADER_BYTES: u64 = HEADER_PAGE_BYTES as u64;

/// More doublings than `SEGMENT_BYTES` allows, and few enough not to overflow.
const SEGMENT_DOUBLINGS_MAX: u64 = 16;
const _: () = assert!(SEGMENT_BYTES_FIRST << SEGMENT_DOUBLINGS_MAX >= SEGMENT_BYTES);

/// A segment's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store: Uuid,
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) first_position: u64,
    pub(crate) time: Micros,
    pub(crate) chain: Chain,
}

/// Why a segment's header cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// The segment has only this many bytes, less than a header.
    Cut(usize),
    Checksum,
    Magic,
    /// The header is whole, but of a format that this version does not know.
    Format(u32),
    /// A length that no segment has.
    Length(u64),
    /// The segment claims to begin at position 0.
    NoPosition,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::Cut(bytes) => write!(f, "a segment of {bytes} bytes has no whole header"),
            HeaderError::Checksum => f.write_str("the segment header's checksum does not match"),
            HeaderError::Magic => f.write_str("the segment header's magic does not match"),
            HeaderError::Format(met) => {
                write!(f, "the segment has format {met}; format {FORMAT} is known")
            }
            HeaderError::Length(met) => write!(
                f,
                "the segment says that it is {met} bytes long; {HEADER_BYTES} to {SEGMENT_LENGTH_MAX} are allowed"
            ),
            HeaderError::NoPosition => {
                f.write_str("the segment begins at position 0; positions are counted from 1")
            }
        }
    }
}

impl SegmentHeader {
    #[allow(clippy::indexing_slicing, reason = "constant places in a page")]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; HEADER_PAGE_BYTES];
        page[..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        page[16..32].copy_from_slice(self.store.as_bytes());
        page[32..40].copy_from_slice(&self.number.to_le_bytes());
        page[40..48].copy_from_slice(&self.length.to_le_bytes());
        page[48..56].copy_from_slice(&self.first_position.to_le_bytes());
        page[56..64].copy_from_slice(&self.time.0.to_le_bytes());
        page[64..96].copy_from_slice(&self.chain);
        let crc = checksum(&page).to_le_bytes();
        page[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc);
        page
    }

    /// Decodes the header in a segment's first page.
    pub(crate) fn decode(page: &[u8]) -> Result<SegmentHeader, HeaderError> {
        let page = page.get(..HEADER_PAGE_BYTES).ok_or(HeaderError::Cut(page.len()))?;
        if u32::from_le_bytes(array_at(page, CRC_OFFSET)) != checksum(page) {
            return Err(HeaderError::Checksum);
        }
        if !page.starts_with(&MAGIC) {
            return Err(HeaderError::Magic);
        }
        let format = u32::from_le_bytes(array_at(page, 8));
        if format != FORMAT {
            return Err(HeaderError::Format(format));
        }
        // A forged header may have a correct checksum, so its numbers are checked too.
        let length = u64::from_le_bytes(array_at(page, 40));
        let is_believed = failpoint!("journal::believe_any_length");
        if !is_believed && !(HEADER_BYTES..=SEGMENT_LENGTH_MAX).contains(&length) {
            return Err(HeaderError::Length(length));
        }
        let first_position = u64::from_le_bytes(array_at(page, 48));
        if first_position == 0 {
            return Err(HeaderError::NoPosition);
        }
        Ok(SegmentHeader {
            store: Uuid::from_bytes(array_at(page, 16)),
            number: u64::from_le_bytes(array_at(page, 32)),
            length,
            first_position,
            time: Micros(i64::from_le_bytes(array_at(page, 56))),
            chain: array_at(page, 64),
        })
    }
}

/// The checksum of everything in the page but the checksum itself.
#[allow(clippy::indexing_slicing, reason = "constant places in a page")]
fn checksum(page: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&page[..CRC_OFFSET]), &page[CRC_OFFSET + 4..])
}

/// The path of segment `number` once it is in use.
pub(crate) fn path(journal: &Path, number: u64) -> PathBuf {
    journal.join(format!("{number:020}"))
}

/// The path of segment `number` while it is being prepared.
pub(crate) fn prepared_path(journal: &Path, number: u64) -> PathBuf {
    journal.join(format!("{number:020}.prepared"))
}

/// The number of the segment that has this file name, if it is that of a segment in use.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let is_number = name.len() == 20 && name.bytes().all(|b| b.is_ascii_digit());
    // The highest number has no successor.
    is_number.then(|| name.parse().ok())?.filter(|number| *number < u64::MAX)
}

/// The usual length of segment `number`: small for a young store, doubling up to `SEGMENT_BYTES`.
pub(crate) fn usual_length(number: u64) -> u64 {
    let doublings = (number - 1).min(SEGMENT_DOUBLINGS_MAX);
    (SEGMENT_BYTES_FIRST << doublings).min(SEGMENT_BYTES)
}

/// The length of segment `number` if it must hold a frame of `frame_bytes`.
pub(crate) fn length_for(number: u64, frame_bytes: u64) -> u64 {
    usual_length(number).max(HEADER_BYTES + padded(frame_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SegmentHeader {
        SegmentHeader {
            store: Uuid::from_u128(0xabcd),
            number: 2,
            length: 2 << 20,
            first_position: 7,
            time: Micros(5),
            chain: [0xcc; 32],
        }
    }

    #[test]
    fn a_segment_header_has_its_golden_bytes() {
        let page = sample().encode();
        let mut golden = b"FSSEGMNT\x01\0\0\0\0\0\0\0".to_vec();
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd]);
        golden.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([0, 0, 0x20, 0, 0, 0, 0, 0]);
        golden.extend([7, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([0xcc; 32]);
        assert_eq!(page[..96], golden);
        assert_eq!(page[96..100], [0x80, 0xcf, 0x8a, 0x2f], "checksum");
        assert!(page[100..].iter().all(|b| *b == 0));
        assert_eq!(SegmentHeader::decode(&page), Ok(sample()));
    }

    #[test]
    fn every_flipped_byte_of_a_segment_header_is_found() {
        let page = sample().encode();
        for at in 0..page.len() {
            let mut flipped = page.clone();
            flipped[at] ^= 0x40;
            assert!(SegmentHeader::decode(&flipped).is_err(), "byte {at} went unnoticed");
        }
    }

    /// Found by a fuzzer that corrects checksums: opening such a journal took all memory, or panicked.
    #[test]
    fn a_forged_header_that_claims_what_cannot_be_is_damaged_and_says_why() {
        let refused = |header: SegmentHeader| match SegmentHeader::decode(&header.encode()) {
            Err(error) => error.to_string(),
            whole => panic!("{whole:?}"),
        };
        let what = refused(SegmentHeader { length: u64::MAX, ..sample() });
        assert!(what.contains(&u64::MAX.to_string()) && what.contains("268435456"), "{what}");
        refused(SegmentHeader { length: HEADER_BYTES - 1, ..sample() });
        let what = refused(SegmentHeader { first_position: 0, ..sample() });
        assert!(what.contains("position 0"), "{what}");
    }

    #[test]
    fn a_young_store_has_small_segments() {
        let lengths: Vec<u64> = (1..=8).map(|n| usual_length(n) >> 20).collect();
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 64, 64]);
        assert_eq!(usual_length(u64::MAX), SEGMENT_BYTES);
        assert_eq!(length_for(1, 5 << 20), (5 << 20) + HEADER_BYTES);
    }

    #[test]
    fn only_whole_segment_names_are_segments() {
        assert_eq!(number_of("00000000000000000012"), Some(12));
        for name in [
            "12",
            "00000000000000000012.prepared",
            "durable",
            "0000000000000000001x",
            "18446744073709551615",
        ] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
