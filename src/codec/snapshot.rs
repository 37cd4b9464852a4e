//! A snapshot of an aggregate as the index keeps it; what is in it is its writer's affair.
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32C of the key and of all that follows
//!      4      4  length of the snapshot
//!      8      4  CRC-32C of the snapshot
//!     12         the snapshot, if it is not longer than `VALUE_BYTES_MAX`; otherwise it is in pieces
//! ```

use crate::codec::cursor::Cursor;
use crate::value::limits::VALUE_BYTES_MAX;
use bytes::Bytes;

const CRC_BYTES: usize = 4;

/// A snapshot, or what it must be once its pieces are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredSnapshot {
    pub(crate) length: u32,
    pub(crate) crc: u32,
    /// `None`: it is in pieces.
    pub(crate) inline: Option<Bytes>,
}

impl StoredSnapshot {
    /// How `snapshot` is to be kept.
    pub(crate) fn of(snapshot: &[u8]) -> StoredSnapshot {
        let fits = snapshot.len() <= VALUE_BYTES_MAX;
        StoredSnapshot {
            length: u32::try_from(snapshot.len()).expect("a snapshot is far below 4 GiB"),
            crc: crc32c::crc32c(snapshot),
            inline: fits.then(|| Bytes::copy_from_slice(snapshot)),
        }
    }

    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut value = vec![0; CRC_BYTES];
        value.extend_from_slice(&self.length.to_le_bytes());
        value.extend_from_slice(&self.crc.to_le_bytes());
        value.extend_from_slice(self.inline.as_deref().unwrap_or_default());
        let crc = checksum(key, &value).to_le_bytes();
        value[..CRC_BYTES].copy_from_slice(&crc);
        value
    }

    /// The snapshot that was kept as `value` under `key`; `None` if these are not the bytes written.
    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Option<StoredSnapshot> {
        let mut cursor = Cursor::new(value);
        let checked = cursor.u32()?;
        let (length, crc, rest) = (cursor.u32()?, cursor.u32()?, cursor.rest());
        let fits = length as usize <= VALUE_BYTES_MAX;
        let expected = if fits { length as usize } else { 0 };
        if checked != checksum(key, value) || rest.len() != expected {
            return None;
        }
        Some(StoredSnapshot { length, crc, inline: fits.then_some(rest) })
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), &value[CRC_BYTES..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_has_its_golden_bytes() {
        let snapshot = StoredSnapshot::of(&[7, 8]);
        let value = snapshot.encode(b"k");
        let mut golden = vec![103, 98, 156, 126]; // CRC
        golden.extend([2, 0, 0, 0]);
        golden.extend(crc32c::crc32c(&[7, 8]).to_le_bytes());
        golden.extend([7, 8]);
        assert_eq!(value, golden);
        assert_eq!(StoredSnapshot::decode(b"k", &value.into()), Some(snapshot));
        let large = StoredSnapshot::of(&vec![9; VALUE_BYTES_MAX + 1]);
        let value = large.encode(b"k");
        assert_eq!(value.len(), 12);
        assert_eq!(StoredSnapshot::decode(b"k", &value.into()), Some(large));
    }

    #[test]
    fn a_snapshot_with_any_bit_flipped_or_under_another_key_is_not_read() {
        let value = StoredSnapshot::of(&[7, 8]).encode(b"k");
        let read = |key: &[u8], value: &[u8]| {
            StoredSnapshot::decode(key, &Bytes::copy_from_slice(value)).is_some()
        };
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
