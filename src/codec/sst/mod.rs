//! A sorted table: an immutable file with the events of a stretch of the journal, in the order of their streams.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "FSPACK\0\0"
//!      8      4  format, 3
//!     12     16  id of the index that it belongs to
//!     28      8  number of the table
//!     36      4  zero
//!     40         blocks, one after another: event blocks, and after some of them an index block;
//!                then the list of the index blocks, and the footer
//!    end-12   8  offset of the footer
//!    end-4    4  its length
//! ```
//!
//! A block:
//!
//! ```text
//! offset  bytes  field
//!      0      4  CRC-32C of the index's id, the table's number, the block's offset, and everything that follows
//!      4      1  kind: 1 an event block, 2 an index block, 3 the footer, 4 the list of index blocks
//!      5         content, which `block`, `block_index`, `footer` and `index_blocks` describe
//! ```
//!
//! The checksum covers a block's place. So a block that the disk has written elsewhere, in this file or in another, is
//! not valid there.

pub(crate) mod block;
pub(crate) mod block_index;
pub(crate) mod event;
pub(crate) mod event_types;
pub(crate) mod footer;
pub(crate) mod index_blocks;
pub(crate) mod posting;

use crate::codec::cursor::array_at;
use crate::value::failpoint::failpoint;
use bytes::Bytes;
use uuid::Uuid;

const MAGIC: [u8; 8] = *b"FSPACK\0\0";
const FORMAT: u32 = 3;
const CONTENT_OFFSET: usize = 5;
pub(crate) const HEADER_BYTES: usize = 40;
pub(crate) const TRAILER_BYTES: usize = 12;

/// An index and the number of a table in it. The checksum of each of the table's blocks covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableId {
    pub(crate) index: Uuid,
    pub(crate) number: u64,
}

/// A block's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Events = 1,
    Index = 2,
    Footer = 3,
    IndexBlocks = 4,
}

/// Where a block is in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

impl TableId {
    /// The first bytes of the table's file.
    pub(crate) fn header(self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        header[12..28].copy_from_slice(self.index.as_bytes());
        header[28..36].copy_from_slice(&self.number.to_le_bytes());
        header
    }

    /// Appends a block of this `kind`, which will be at `offset`. `content` appends its content.
    #[allow(clippy::indexing_slicing, reason = "the block was appended from `start` on")]
    pub(crate) fn seal(
        self,
        kind: BlockKind,
        offset: u64,
        out: &mut Vec<u8>,
        content: impl FnOnce(&mut Vec<u8>),
    ) -> BlockPlace {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.push(kind as u8);
        content(out);
        let crc = self.checksum(offset, &out[start..]).to_le_bytes();
        out[start..start + 4].copy_from_slice(&crc);
        let length = out.len() - start;
        debug_assert!(length > CONTENT_OFFSET, "a block holds something");
        BlockPlace { offset, length: u32::try_from(length).expect("a block is below 4 GiB") }
    }

    /// The content of the block that takes up all of `bytes`, if it is valid and of this `kind` at `offset`.
    pub(crate) fn unseal(self, kind: BlockKind, offset: u64, bytes: &Bytes) -> Option<Bytes> {
        let is_whole = bytes.len() >= CONTENT_OFFSET
            && (u32::from_le_bytes(array_at(bytes, 0)) == self.checksum(offset, bytes)
                || failpoint!("sst::read_without_checksum"))
            && bytes.get(4) == Some(&(kind as u8));
        is_whole.then(|| bytes.slice(CONTENT_OFFSET..))
    }

    #[allow(
        clippy::indexing_slicing,
        reason = "callers have compared the block's length, or made it"
    )]
    fn checksum(self, offset: u64, block: &[u8]) -> u32 {
        let mut place = [0; 32];
        place[..16].copy_from_slice(self.index.as_bytes());
        place[16..24].copy_from_slice(&self.number.to_le_bytes());
        place[24..].copy_from_slice(&offset.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(&place), &block[4..])
    }
}

impl BlockPlace {
    /// Where the block ends.
    pub(crate) fn end(self) -> u64 {
        self.offset.saturating_add(self.length.into())
    }

    /// The last bytes of the table's file, if this is the place of its footer.
    pub(crate) fn trailer(self) -> [u8; TRAILER_BYTES] {
        let mut trailer = [0; TRAILER_BYTES];
        trailer[..8].copy_from_slice(&self.offset.to_le_bytes());
        trailer[8..].copy_from_slice(&self.length.to_le_bytes());
        trailer
    }

    /// The place in a trailer, or in a value of a table's tree.
    pub(crate) fn decode(bytes: &[u8]) -> Option<BlockPlace> {
        let bytes: &[u8; TRAILER_BYTES] = bytes.try_into().ok()?;
        let offset = u64::from_le_bytes(array_at(bytes, 0));
        Some(BlockPlace { offset, length: u32::from_le_bytes(array_at(bytes, 8)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TableId = TableId { index: Uuid::from_u128(0xabcd), number: 3 };

    #[test]
    fn a_header_a_block_and_a_trailer_have_their_golden_bytes() {
        let mut golden = b"FSPACK\0\0\x03\0\0\0".to_vec();
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd]);
        golden.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(ID.header(), golden[..]);
        let mut block = Vec::new();
        let place = ID.seal(BlockKind::Events, 40, &mut block, |out| out.extend([7, 8]));
        assert_eq!(block[4..], [1, 7, 8]);
        assert_eq!(block[..4], [246, 40, 158, 156], "CRC");
        assert_eq!(place.trailer(), [40, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(BlockPlace::decode(&place.trailer()), Some(place));
        assert_eq!(BlockPlace::decode(&place.trailer()[1..]), None);
    }

    #[test]
    fn a_block_is_read_only_as_it_was_written_and_where_it_was_written() {
        let mut block = Vec::new();
        ID.seal(BlockKind::Index, 40, &mut block, |out| out.extend([7, 8, 9]));
        let block = Bytes::from(block);
        let read = |id: TableId, kind, offset, block: &Bytes| id.unseal(kind, offset, block);
        assert_eq!(read(ID, BlockKind::Index, 40, &block).as_deref(), Some(&[7, 8, 9][..]));
        assert_eq!(read(ID, BlockKind::Events, 40, &block), None, "another kind");
        assert_eq!(read(ID, BlockKind::Index, 48, &block), None, "another place");
        let other = TableId { number: 4, ..ID };
        assert_eq!(read(other, BlockKind::Index, 40, &block), None, "another table");
        let other = TableId { index: Uuid::nil(), ..ID };
        assert_eq!(read(other, BlockKind::Index, 40, &block), None, "another index");
        for length in 0..block.len() {
            assert_eq!(read(ID, BlockKind::Index, 40, &block.slice(..length)), None);
        }
        for bit in 0..block.len() * 8 {
            let mut flipped = block.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(ID, BlockKind::Index, 40, &flipped.into()), None, "bit {bit}");
        }
    }
}
