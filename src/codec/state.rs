//! A stream's state, and the value that the index stores for each record's key.
//!
//! A record:
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32C of the key and of everything that follows
//!      4      8  epoch: the number of the checkpoint that first covers this value
//!     12      8  contribution of the value that the checkpoint before that one covered, 0 for none
//!     20      4  length of the content; 0: the key was removed
//!     24      4  CRC-32C of the content
//!     28         the content, if it is not longer than `VALUE_BYTES_MAX`; otherwise it is in pieces
//! ```

use crate::codec::cursor::{Cursor, array_at};
use crate::codec::length::in_four_bytes;
use crate::codec::overflow::Content;
use crate::value::clock::Micros;
use crate::value::position::Version;
use bytes::Bytes;

const EPOCH_OFFSET: usize = 4;
const PREVIOUS_OFFSET: usize = 12;
const HEAD_BYTES: usize = 20;
const RECORD_FIXED_BYTES: usize = 28;

/// A stream's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamState {
    pub(crate) version: Version,
    /// 1, because no stream can be truncated yet. Readers ignore it: the journal has every event, and reading a
    /// stream, loading an aggregate and counting events begin with the first one.
    pub(crate) first_readable: Version,
    /// When its first event was recorded.
    pub(crate) created: Micros,
    /// When its last event was recorded.
    pub(crate) written: Micros,
    pub(crate) deleted: bool,
}

impl StreamState {
    /// The state of a stream that was never written.
    pub(crate) fn absent() -> StreamState {
        StreamState {
            version: Version::NONE,
            first_readable: Version::new(1),
            created: Micros(0),
            written: Micros(0),
            deleted: false,
        }
    }
}

/// When a value was written, and the contribution of the value that the checkpoint before covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) epoch: u64,
    pub(crate) previous: u64,
}

/// The newest value of a record's key as the index stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    pub(crate) stamp: Stamp,
    /// Empty if the key was removed.
    pub(crate) content: Content,
}

impl StoredRecord {
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut value = head(self.stamp);
        self.content.encode(&mut value);
        let value = seal(key, value);
        debug_assert_eq!(
            StoredRecord::decode(key, &Bytes::copy_from_slice(&value)).as_ref(),
            Some(self)
        );
        value
    }

    /// The record that was stored as `value` under `key`; `None` if these are not the bytes that were written.
    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Option<StoredRecord> {
        let stamp = unseal(key, value)?;
        let mut cursor = Cursor::new(value);
        cursor.pass(HEAD_BYTES)?;
        Some(StoredRecord { stamp, content: Content::decode(cursor)? })
    }

    /// Whether the key was removed.
    pub(crate) fn is_removed(&self) -> bool {
        self.content.is_empty()
    }
}

/// A value's contribution to its tree's sum. Never 0, which means no value.
pub(crate) fn contribution(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&in_four_bytes(key.len()).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    u64::from_le_bytes(array_at(hasher.finalize().as_bytes(), 0)).max(1)
}

#[allow(clippy::indexing_slicing, reason = "constant places in `HEAD_BYTES`")]
fn head(stamp: Stamp) -> Vec<u8> {
    let mut value = vec![0; HEAD_BYTES];
    value[EPOCH_OFFSET..PREVIOUS_OFFSET].copy_from_slice(&stamp.epoch.to_le_bytes());
    value[PREVIOUS_OFFSET..].copy_from_slice(&stamp.previous.to_le_bytes());
    value
}

#[allow(clippy::indexing_slicing, reason = "a value begins with its head")]
fn seal(key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let crc = checksum(key, &value).to_le_bytes();
    value[..EPOCH_OFFSET].copy_from_slice(&crc);
    value
}

fn unseal(key: &[u8], value: &[u8]) -> Option<Stamp> {
    if value.len() < RECORD_FIXED_BYTES
        || u32::from_le_bytes(array_at(value, 0)) != checksum(key, value)
    {
        return None;
    }
    Some(Stamp {
        epoch: u64::from_le_bytes(array_at(value, EPOCH_OFFSET)),
        previous: u64::from_le_bytes(array_at(value, PREVIOUS_OFFSET)),
    })
}

#[allow(clippy::indexing_slicing, reason = "a value begins with its head")]
fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), &value[EPOCH_OFFSET..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::limits::VALUE_BYTES_MAX;

    const STAMP: Stamp = Stamp { epoch: 3, previous: 0x0807_0605_0403_0201 };
    const HEAD: [u8; 16] = [3, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn record(content: &[u8]) -> StoredRecord {
        StoredRecord { stamp: STAMP, content: Content::of(content) }
    }

    #[test]
    fn a_record_has_its_golden_bytes() {
        let value = record(&[7, 8]).encode(b"k");
        let mut golden = vec![96, 178, 39, 11]; // CRC
        golden.extend(HEAD);
        golden.extend([2, 0, 0, 0]);
        golden.extend(crc32c::crc32c(&[7, 8]).to_le_bytes());
        golden.extend([7, 8]);
        assert_eq!(value, golden);
        assert_eq!(record(&[]).encode(b"k").len(), RECORD_FIXED_BYTES);
        let large = vec![9; VALUE_BYTES_MAX + 1];
        assert_eq!(record(&large).encode(b"k").len(), RECORD_FIXED_BYTES);
        for content in [&[][..], &[7, 8], &large] {
            let value = record(content).encode(b"k").into();
            assert_eq!(StoredRecord::decode(b"k", &value), Some(record(content)));
        }
    }

    #[test]
    fn a_value_with_any_bit_flipped_or_under_another_key_is_not_read() {
        let value = record(&[7, 8]).encode(b"k");
        let read = |key: &[u8], value: &[u8]| {
            StoredRecord::decode(key, &Bytes::copy_from_slice(value)).is_some()
        };
        assert!(read(b"k", &value));
        assert!(!read(b"l", &value), "another key");
        for length in 0..value.len() {
            assert!(!read(b"k", &value[..length]), "cut to {length}");
        }
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!read(b"k", &flipped), "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn contributions_tell_keys_and_values_apart() {
        let contributions =
            [contribution(b"a", b"b"), contribution(b"ab", b""), contribution(b"", b"ab")];
        assert_eq!(contributions[0], 9_906_803_437_177_211_366, "it stands on disk, in sums");
        assert_ne!(contributions[0], contributions[1]);
        assert_ne!(contributions[1], contributions[2]);
    }
}
