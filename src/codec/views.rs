//! `views.closed`: what the views' database was when it was closed properly.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "FSVIEWS\0"
//!      8      4  format, 1
//!     12      8  bytes of the database's file
//!     20         the names of its trees, as bincode
//!             4  CRC-32C of everything before
//! ```

use crate::codec::bin;
use crate::codec::cursor::array_at;
use crate::value::corruption::{Corruption, NoteFault};

const MAGIC: [u8; 8] = *b"FSVIEWS\0";
const FORMAT: u32 = 1;
const NAMES_OFFSET: usize = 20;
const CRC_BYTES: usize = 4;

/// What the views' database was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClosedViews {
    /// The length of the database's file.
    pub(crate) bytes: u64,
    pub(crate) trees: Vec<String>,
}

impl ClosedViews {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes.extend_from_slice(&bin::encode(&self.trees));
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        debug_assert_eq!(ClosedViews::decode(&bytes).as_ref(), Ok(self));
        bytes
    }

    /// Decodes the file's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<ClosedViews, Corruption> {
        if bytes.get(..8) != Some(&MAGIC) || bytes.len() < NAMES_OFFSET + CRC_BYTES {
            return Err(NoteFault::Magic.into());
        }
        let format = u32::from_le_bytes(array_at(bytes, 8));
        if format != FORMAT {
            return Err(NoteFault::Format { met: format, known: FORMAT }.into());
        }
        let (said, crc) = bytes.split_at(bytes.len() - CRC_BYTES);
        if crc != crc32c::crc32c(said).to_le_bytes() {
            return Err(NoteFault::Checksum.into());
        }
        let trees = bin::decode(said.get(NAMES_OFFSET..).unwrap_or_default())?;
        Ok(ClosedViews { bytes: u64::from_le_bytes(array_at(bytes, 12)), trees })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_closed_views_were_has_its_golden_bytes_and_no_bit_of_it_may_change() {
        let closed = ClosedViews { bytes: 0x0201, trees: vec!["ab".to_owned(), "c".to_owned()] };
        let mut golden = b"FSVIEWS\0\x01\0\0\0\x01\x02\0\0\0\0\0\0\x02\x02ab\x01c".to_vec();
        golden.extend(crc32c::crc32c(&golden).to_le_bytes());
        assert_eq!(closed.encode(), golden);
        assert_eq!(ClosedViews::decode(&golden), Ok(closed));
        for length in 0..golden.len() {
            assert!(ClosedViews::decode(&golden[..length]).is_err(), "cut to {length}");
        }
        for bit in 0..golden.len() * 8 {
            let mut flipped = golden.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(ClosedViews::decode(&flipped).is_err(), "bit {bit} went unnoticed");
        }
    }
}
