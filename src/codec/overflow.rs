//! Values that may be too long for one entry of a database. A value that is too long overflows: it is cut into pieces,
//! each in an entry of its own. The value's own entry then holds its length and checksum.
//!
//! ```text
//! offset  bytes  field
//!      0      4  length of the value
//!      4      4  CRC-32C of the value
//!      8         the value, if it is not longer than `VALUE_BYTES_MAX`; otherwise it is in pieces
//! ```
//!
//! Records and snapshots have this form within their entries. A row that overflows has only the first two fields.

use crate::codec::cursor::Cursor;
use crate::codec::length::in_four_bytes;
use crate::value::limits::VALUE_BYTES_MAX;
use bytes::Bytes;

/// The length and checksum of a value that is stored in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflow {
    pub(crate) length: u32,
    pub(crate) crc: u32,
}

impl Overflow {
    /// `None` if the value fits into one entry.
    pub(crate) fn of(value: &[u8]) -> Option<Overflow> {
        (value.len() > VALUE_BYTES_MAX).then(|| Overflow::unchecked(value))
    }

    fn unchecked(value: &[u8]) -> Overflow {
        let length = u32::try_from(value.len()).expect("a value is far below 4 GiB");
        Overflow { length, crc: crc32c::crc32c(value) }
    }

    /// How many pieces there are.
    pub(crate) fn pieces(self) -> u32 {
        self.length.div_ceil(in_four_bytes(VALUE_BYTES_MAX))
    }

    /// Whether `value` is the one that was cut into pieces.
    pub(crate) fn is(self, value: &[u8]) -> bool {
        value.len() == self.length as usize && crc32c::crc32c(value) == self.crc
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
    }

    pub(crate) fn decode(cursor: &mut Cursor<'_>) -> Option<Overflow> {
        Some(Overflow { length: cursor.u32()?, crc: cursor.u32()? })
    }
}

/// A value as its entry holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Inline(Bytes),
    Overflow(Overflow),
}

impl Content {
    /// How to store `value`.
    pub(crate) fn of(value: &[u8]) -> Content {
        match Overflow::of(value) {
            None => Content::Inline(Bytes::copy_from_slice(value)),
            Some(overflow) => Content::Overflow(overflow),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Content::Inline(value) if value.is_empty())
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Content::Inline(value) => {
                Overflow::unchecked(value).encode(out);
                out.extend_from_slice(value);
            }
            Content::Overflow(overflow) => overflow.encode(out),
        }
    }

    /// The content in the rest of an entry. The caller has verified the entry's checksum.
    pub(crate) fn decode(mut cursor: Cursor<'_>) -> Option<Content> {
        let (overflow, rest) = (Overflow::decode(&mut cursor)?, cursor.rest());
        let length = overflow.length as usize;
        match length > VALUE_BYTES_MAX {
            true => rest.is_empty().then_some(Content::Overflow(overflow)),
            false => (rest.len() == length).then_some(Content::Inline(rest)),
        }
    }
}
