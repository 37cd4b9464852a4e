//! An entry of the sparse index: a position, and the place in the journal of the frame that begins with it.
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32C of the key (the position) and of everything that follows
//!      4      8  time, UTC microseconds
//!     12      8  segment
//!     20      8  offset of the frame in the segment
//! ```

use crate::codec::cursor::array_at;
use crate::codec::frame::Location;
use crate::codec::keys;
use crate::value::clock::Micros;

const BYTES: usize = 28;

/// A frame's first position, its time and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SparseEntry {
    pub(crate) position: u64,
    pub(crate) time: Micros,
    pub(crate) location: Location,
}

impl SparseEntry {
    /// The key and the value of this sparse index entry.
    pub(crate) fn encode(&self) -> (Vec<u8>, [u8; BYTES]) {
        let key = keys::global_key(self.position);
        let mut value = [0; BYTES];
        value[4..12].copy_from_slice(&self.time.0.to_le_bytes());
        value[12..20].copy_from_slice(&self.location.segment.to_le_bytes());
        value[20..].copy_from_slice(&self.location.offset.to_le_bytes());
        let crc = checksum(&key, &value).to_le_bytes();
        value[..4].copy_from_slice(&crc);
        debug_assert_eq!(SparseEntry::decode(&key, &value), Some(*self));
        (key, value)
    }

    /// The entry that was stored as `value` under `key`; `None` if these are not the bytes that were written.
    pub(crate) fn decode(key: &[u8], value: &[u8]) -> Option<SparseEntry> {
        let position = keys::position_of(key)?;
        if value.len() != BYTES || u32::from_le_bytes(array_at(value, 0)) != checksum(key, value) {
            return None;
        }
        let segment = u64::from_le_bytes(array_at(value, 12));
        let offset = u64::from_le_bytes(array_at(value, 20));
        let time = Micros(i64::from_le_bytes(array_at(value, 4)));
        Some(SparseEntry { position, time, location: Location { segment, offset } })
    }
}

#[allow(clippy::indexing_slicing, reason = "a value is of `BYTES`")]
fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), &value[4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse_entry() -> SparseEntry {
        let location = Location { segment: 2, offset: 4_096 };
        SparseEntry { position: 300, time: Micros(-2), location }
    }

    #[test]
    fn a_mark_has_its_golden_bytes() {
        let (key, value) = sparse_entry().encode();
        assert_eq!(key, b"00000000000000000300");
        let mut golden = vec![2, 165, 187, 139]; // CRC
        golden.extend((-2i64).to_le_bytes());
        golden.extend([2, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0]);
        assert_eq!(value.as_slice(), golden);
    }

    #[test]
    fn a_mark_with_any_bit_flipped_or_under_another_key_is_not_read() {
        let (key, value) = sparse_entry().encode();
        assert_eq!(SparseEntry::decode(&key, &value), Some(sparse_entry()));
        assert_eq!(SparseEntry::decode(&keys::global_key(301), &value), None);
        assert_eq!(SparseEntry::decode(&key, &value[..27]), None);
        for bit in 0..value.len() * 8 {
            let mut flipped = value;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SparseEntry::decode(&key, &flipped), None, "bit {bit} went unnoticed");
        }
    }
}
