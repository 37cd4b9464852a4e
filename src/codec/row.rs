//! How a view stores rows: the keys and values of its tree.
//!
//! ```text
//! key                                        value
//! 0  name                                    a state of the view itself
//! 1  row key                                 a row
//! 2  row key, NUL, generation (8), number (4)   a piece of a row too large for one value
//!
//! value of a row or state
//! offset  bytes  field
//!      0      4  CRC-32C of the key and of everything that follows
//!      4      1  0: the bytes follow; 1: they are in pieces, and these fields follow:
//!      5      8  generation
//!     13      4  length of all pieces
//!     17      4  CRC-32C of all pieces
//! ```
//!
//! Numbers in keys are big-endian, so that pieces are in order.

use crate::codec::cursor::Cursor;
use crate::codec::overflow::Overflow;
use crate::value::failpoint::failpoint;
use crate::value::limits::VIEW_ROW_BYTES_MAX;
use bytes::Bytes;

const SPACE_STATE: u8 = 0;
const SPACE_ROW: u8 = 1;
const SPACE_PIECE: u8 = 2;
const INLINE: u8 = 0;
const OVERFLOW: u8 = 1;
const CRC_BYTES: usize = 4;
/// The bytes that a piece's key has after its row's key.
const PIECE_SUFFIX_BYTES: usize = 1 + 8 + 4;

/// The key of a state of the view itself.
pub(crate) fn state_key(name: &[u8]) -> Vec<u8> {
    spaced(SPACE_STATE, name)
}

/// The key in the tree of the row `key`.
pub(crate) fn row_key(key: &str) -> Vec<u8> {
    spaced(SPACE_ROW, key.as_bytes())
}

/// The name of a state, or the key of a row, in a key of the tree.
pub(crate) fn name_of(key: &[u8]) -> Option<&[u8]> {
    key.split_first().map(|(_, name)| name)
}

/// The first key after all rows.
pub(crate) fn rows_end() -> Vec<u8> {
    vec![SPACE_PIECE]
}

/// The prefix of all keys of pieces.
pub(crate) fn pieces_prefix() -> Vec<u8> {
    vec![SPACE_PIECE]
}

/// The key of a piece of the row whose key in the tree is `row_key`.
pub(crate) fn piece_key(row_key: &[u8], generation: u64, number: u32) -> Vec<u8> {
    let (_, row) = row_key.split_first().expect("a row's key begins with its space");
    let mut key = spaced(SPACE_PIECE, row);
    key.push(0);
    key.extend_from_slice(&generation.to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The key in the tree of a piece's row, and the piece's generation and number.
pub(crate) fn piece_of(piece_key: &[u8]) -> Option<(Vec<u8>, u64, u32)> {
    let at = piece_key.len().checked_sub(PIECE_SUFFIX_BYTES)?;
    let (row, suffix) = piece_key.get(1..)?.split_at_checked(at.checked_sub(1)?)?;
    let (generation, number) = suffix.get(1..)?.split_first_chunk()?;
    let generation = u64::from_be_bytes(*generation);
    let number = u32::from_be_bytes(number.try_into().ok()?);
    Some((spaced(SPACE_ROW, row), generation, number))
}

fn spaced(space: u8, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len() + PIECE_SUFFIX_BYTES);
    key.push(space);
    key.extend_from_slice(name);
    key
}

/// The value of a row in the tree: the row itself, or what its pieces are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredRow {
    Inline(Bytes),
    Overflow { generation: u64, overflow: Overflow },
}

impl StoredRow {
    #[allow(clippy::indexing_slicing, reason = "the value begins with room for its checksum")]
    pub(crate) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut value = vec![0; CRC_BYTES];
        match self {
            StoredRow::Inline(row) => {
                value.push(INLINE);
                value.extend_from_slice(row);
            }
            StoredRow::Overflow { generation, overflow } => {
                value.push(OVERFLOW);
                value.extend_from_slice(&generation.to_le_bytes());
                overflow.encode(&mut value);
            }
        }
        let crc = checksum(key, &value).to_le_bytes();
        value[..CRC_BYTES].copy_from_slice(&crc);
        let read = || StoredRow::decode(key, &Bytes::copy_from_slice(&value));
        // A test forges an overflow that is too long to be decoded.
        debug_assert!(matches!(self, StoredRow::Overflow { .. }) || read().as_ref() == Some(self));
        value
    }

    /// The row that was stored as `value` under `key`; `None` if these are not the bytes that were written.
    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Option<StoredRow> {
        let mut cursor = Cursor::new(value);
        if cursor.u32()? != checksum(key, value) {
            return None;
        }
        match cursor.u8()? {
            INLINE => Some(StoredRow::Inline(cursor.rest())),
            OVERFLOW => {
                let (generation, overflow) = (cursor.u64()?, Overflow::decode(&mut cursor)?);
                // This length decides how many pieces are read and removed.
                let is_possible = overflow.length as usize <= VIEW_ROW_BYTES_MAX;
                let is_believed = is_possible || failpoint!("codec::believe_any_row_length");
                is_believed.then_some(StoredRow::Overflow { generation, overflow })
            }
            _ => None,
        }
    }
}

#[allow(clippy::indexing_slicing, reason = "a value begins with its checksum")]
fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), &value[CRC_BYTES..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overflowing(length: u32, crc: u32) -> StoredRow {
        StoredRow::Overflow { generation: 2, overflow: Overflow { length, crc } }
    }

    #[test]
    fn keys_have_their_golden_bytes_and_stand_apart() {
        assert_eq!(state_key(b"ab"), [0, b'a', b'b']);
        assert_eq!(row_key("ab"), [1, b'a', b'b']);
        let piece = piece_key(&row_key("ab"), 3, 258);
        assert_eq!(piece, [2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 1, 2]);
        assert_eq!(piece_of(&piece), Some((row_key("ab"), 3, 258)));
        assert_eq!(piece_of(&piece_key(&row_key(""), 1, 0)), Some((row_key(""), 1, 0)));
        assert_eq!(piece_of(&[2, 0, 0]), None);
        assert!(row_key("\u{10FFFF}") < rows_end() && state_key(b"\xFF") < row_key(""));
        assert_eq!(name_of(&row_key("ab")), Some(&b"ab"[..]));
    }

    #[test]
    fn values_have_their_golden_bytes() {
        let key = row_key("k");
        let inline = StoredRow::Inline(Bytes::from_static(b"{}"));
        let golden = [82, 31, 156, 77, 0, b'{', b'}'];
        assert_eq!(inline.encode(&key), golden);
        let pieces = overflowing(5_000, 0x0102_0304);
        let encoded = pieces.encode(&key);
        assert_eq!(encoded[4..], [1, 2, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x13, 0, 0, 4, 3, 2, 1]);
        for stored in [inline, pieces] {
            let value = Bytes::from(stored.encode(&key));
            assert_eq!(StoredRow::decode(&key, &value), Some(stored.clone()));
            assert_eq!(StoredRow::decode(&row_key("other"), &value), None);
            for bit in 0..value.len() * 8 {
                let mut flipped = value.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(StoredRow::decode(&key, &flipped.into()), None, "bit {bit}");
            }
        }
    }

    /// Memory for a row in pieces was allocated by its length before a piece was read, up to 4 GiB.
    #[test]
    fn a_row_in_pieces_that_is_longer_than_any_is_not_what_was_written() {
        let key = row_key("k");
        for (length, is_possible) in [(VIEW_ROW_BYTES_MAX, true), (VIEW_ROW_BYTES_MAX + 1, false)] {
            let row = overflowing(length as u32, 3);
            let found = StoredRow::decode(&key, &row.encode(&key).into());
            assert_eq!(found, is_possible.then_some(row), "{length} bytes");
        }
    }
}
