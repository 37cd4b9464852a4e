//! A snapshot of an aggregate as the index stores it. The index does not look into its content.
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32C of the key and of everything that follows
//!      4      4  length of the snapshot
//!      8      4  CRC-32C of the snapshot
//!     12         the snapshot, if it is not longer than `VALUE_BYTES_MAX`; otherwise it is in pieces
//! ```

use crate::codec::cursor::Cursor;
use crate::codec::overflow::Content;
use bytes::Bytes;

const CRC_BYTES: usize = 4;

/// The entry of a snapshot under `key`.
#[allow(clippy::indexing_slicing, reason = "the value begins with room for its checksum")]
pub(crate) fn encode(key: &[u8], snapshot: &Content) -> Vec<u8> {
    let mut value = vec![0; CRC_BYTES];
    snapshot.encode(&mut value);
    let crc = checksum(key, &value).to_le_bytes();
    value[..CRC_BYTES].copy_from_slice(&crc);
    debug_assert_eq!(decode(key, &Bytes::copy_from_slice(&value)).as_ref(), Some(snapshot));
    value
}

/// The snapshot that was stored as `value` under `key`; `None` if these are not the bytes that were written.
pub(crate) fn decode(key: &[u8], value: &Bytes) -> Option<Content> {
    let mut cursor = Cursor::new(value);
    let is_right = cursor.u32()? == checksum(key, value);
    is_right.then(|| Content::decode(cursor))?
}

#[allow(clippy::indexing_slicing, reason = "a value begins with its checksum")]
fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), &value[CRC_BYTES..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::limits::VALUE_BYTES_MAX;

    #[test]
    fn a_snapshot_has_its_golden_bytes() {
        let snapshot = Content::of(&[7, 8]);
        let value = encode(b"k", &snapshot);
        let mut golden = vec![103, 98, 156, 126]; // CRC
        golden.extend([2, 0, 0, 0]);
        golden.extend(crc32c::crc32c(&[7, 8]).to_le_bytes());
        golden.extend([7, 8]);
        assert_eq!(value, golden);
        assert_eq!(decode(b"k", &value.into()), Some(snapshot));
        let large = Content::of(&vec![9; VALUE_BYTES_MAX + 1]);
        let value = encode(b"k", &large);
        assert_eq!(value.len(), 12);
        assert_eq!(decode(b"k", &value.into()), Some(large));
    }

    #[test]
    fn a_snapshot_with_any_bit_flipped_or_under_another_key_is_not_read() {
        let value = encode(b"k", &Content::of(&[7, 8]));
        let read = |key: &[u8], value: &[u8]| decode(key, &Bytes::copy_from_slice(value)).is_some();
        assert!(read(b"k", &value) && !read(b"l", &value));
        for length in 0..value.len() {
            assert!(!read(b"k", &value[..length]), "cut to {length}");
        }
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!read(b"k", &flipped), "bit {bit} went unnoticed");
        }
    }
}
