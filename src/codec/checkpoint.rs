//! `index.checkpoint`: how far the index is known to hold the journal, and what it held at that point.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "FSINDEX\0"
//!      8      4  format, 4
//!     12     16  store id
//!     28     16  id of the index: a new one each time it is built again
//!     44      8  epoch: how many flush batches the index has ingested; 0: created, nothing indexed
//!     52      8  number of the next table
//!     60      8  record keys that have a value
//!     68      8  wrapping sum of the contributions of all records
//!     76      8  position up to which the index holds every event
//!     84      8  segment of the next frame to index
//!     92      8  its offset there
//!    100      8  time after the last indexed frame, UTC microseconds
//!    108     32  chain after the last indexed frame
//!    140      4  tables
//!    144         for each table, from the oldest to the newest: its number (8), the bytes of its file (8),
//!                and how often its content was compacted (1)
//!             4  CRC-32C of everything before
//! ```

use crate::codec::cursor::array_at;
use crate::codec::frame::{Chain, Location};
use crate::codec::length::in_four_bytes;
use crate::value::clock::Micros;
use crate::value::corruption::CheckpointFault;
use crate::value::failpoint::failpoint;
use uuid::Uuid;

const MAGIC: [u8; 8] = *b"FSINDEX\0";
/// An index of format 2 may hold events with tags without postings of them. The tables of one of format 3 have no list
/// of their index blocks.
const FORMAT: u32 = 4;
const TABLES_OFFSET: usize = 144;
const TABLE_BYTES: usize = 17;
const CRC_BYTES: usize = 4;
/// A bound far above any number in a checkpoint that the index continues to count.
const NUMBER_MAX: u64 = 1 << 62;

/// The numbers that the index continues to count, and their offsets.
const COUNTED: [(&str, usize); 5] =
    [("epoch", 44), ("next table", 52), ("position", 76), ("segment", 84), ("offset", 92)];

/// How far the index holds the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The index holds every event up to this position.
    pub(crate) position: u64,
    /// Where the next frame to index begins.
    pub(crate) next: Location,
    /// The chain after the last indexed frame.
    pub(crate) chain: Chain,
    /// The time of the last indexed frame.
    pub(crate) time: Micros,
}

/// How many values a tree holds, and the wrapping sum of their contributions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    pub(crate) sum: u64,
}

impl Sum {
    /// Replaces a value with the contribution `old` by one with the contribution `new`; 0 means no value.
    pub(crate) fn replace(&mut self, old: u64, new: u64) {
        self.sum = self.sum.wrapping_sub(old).wrapping_add(new);
        self.count = self.count.wrapping_sub((old != 0).into()).wrapping_add((new != 0).into());
    }
}

/// A table that belongs to the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListedTable {
    pub(crate) number: u64,
    /// The length of its file.
    pub(crate) length: u64,
    /// How often its content was compacted.
    pub(crate) level: u8,
}

/// The file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredCheckpoint {
    pub(crate) store: Uuid,
    pub(crate) index: Uuid,
    pub(crate) epoch: u64,
    pub(crate) next_table: u64,
    pub(crate) records: Sum,
    /// Meaningless in epoch 0.
    pub(crate) checkpoint: Checkpoint,
    pub(crate) tables: Vec<ListedTable>,
}

impl StoredCheckpoint {
    /// The checkpoint of an index that was just created.
    pub(crate) fn initial(store: Uuid, index: Uuid) -> StoredCheckpoint {
        let next = Location { segment: 0, offset: 0 };
        StoredCheckpoint {
            store,
            index,
            epoch: 0,
            next_table: 1,
            records: Sum::default(),
            checkpoint: Checkpoint { position: 0, next, chain: [0; 32], time: Micros(0) },
            tables: Vec::new(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let checkpoint = &self.checkpoint;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(self.store.as_bytes());
        bytes.extend_from_slice(self.index.as_bytes());
        for number in [
            self.epoch,
            self.next_table,
            self.records.count,
            self.records.sum,
            checkpoint.position,
            checkpoint.next.segment,
            checkpoint.next.offset,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&checkpoint.time.0.to_le_bytes());
        bytes.extend_from_slice(&checkpoint.chain);
        bytes.extend_from_slice(&in_four_bytes(self.tables.len()).to_le_bytes());
        for table in &self.tables {
            bytes.extend_from_slice(&table.number.to_le_bytes());
            bytes.extend_from_slice(&table.length.to_le_bytes());
            bytes.push(table.level);
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        debug_assert_eq!(StoredCheckpoint::decode(&bytes).as_ref(), Ok(self));
        bytes
    }

    /// Decodes the file's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<StoredCheckpoint, CheckpointFault> {
        if bytes.get(..8) != Some(&MAGIC) {
            return Err(CheckpointFault::Magic);
        }
        let format = bytes.get(8..12).map(|format| u32::from_le_bytes(array_at(format, 0)));
        if format != Some(FORMAT) {
            let met = format.unwrap_or_default();
            return Err(CheckpointFault::Format { met, known: FORMAT });
        }
        let tables = bytes.get(TABLES_OFFSET - 4..TABLES_OFFSET);
        let tables = tables.map_or(0, |tables| u32::from_le_bytes(array_at(tables, 0)) as usize);
        let crc_offset = TABLES_OFFSET + tables * TABLE_BYTES;
        let (said, crc) = match bytes.split_at_checked(crc_offset) {
            Some((said, crc)) if crc.len() == CRC_BYTES => (said, crc),
            _ => {
                let (met, expected) = (bytes.len() as u64, (crc_offset + CRC_BYTES) as u64);
                return Err(CheckpointFault::Length { met, expected });
            }
        };
        if crc != crc32c::crc32c(said).to_le_bytes() {
            return Err(CheckpointFault::Checksum);
        }
        let number = |offset| u64::from_le_bytes(array_at(bytes, offset));
        for (what, offset) in COUNTED {
            let met = number(offset);
            if met > NUMBER_MAX && !failpoint!("codec::believe_any_checkpoint") {
                return Err(CheckpointFault::Number { what, met, allowed: NUMBER_MAX });
            }
        }
        let next = Location { segment: number(84), offset: number(92) };
        let checkpoint = Checkpoint {
            position: number(76),
            next,
            chain: array_at(bytes, 108),
            time: Micros(i64::from_le_bytes(array_at(bytes, 100))),
        };
        let tables = said.get(TABLES_OFFSET..).unwrap_or_default();
        let tables = tables.as_chunks::<TABLE_BYTES>().0.iter().map(|table| ListedTable {
            number: u64::from_le_bytes(array_at(table, 0)),
            length: u64::from_le_bytes(array_at(table, 8)),
            level: u8::from_le_bytes(array_at(table, 16)),
        });
        Ok(StoredCheckpoint {
            store: Uuid::from_bytes(array_at(bytes, 12)),
            index: Uuid::from_bytes(array_at(bytes, 28)),
            epoch: number(44),
            next_table: number(52),
            records: Sum { count: number(60), sum: number(68) },
            checkpoint,
            tables: tables.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StoredCheckpoint {
        let next = Location { segment: 6, offset: 7 };
        StoredCheckpoint {
            store: Uuid::from_u128(0xabcd),
            index: Uuid::from_u128(0xef),
            epoch: 1,
            next_table: 2,
            records: Sum { count: 3, sum: 4 },
            checkpoint: Checkpoint { position: 5, next, chain: [0xcc; 32], time: Micros(8) },
            tables: vec![
                ListedTable { number: 1, length: 300, level: 2 },
                ListedTable { number: 9, length: 40, level: 0 },
            ],
        }
    }

    #[test]
    fn a_checkpoint_has_its_golden_bytes() {
        let bytes = sample().encode();
        let mut golden = b"FSINDEX\0\x04\0\0\0".to_vec();
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd]);
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xef]);
        for number in 1..=8 {
            golden.extend([number, 0, 0, 0, 0, 0, 0, 0]);
        }
        golden.extend([0xcc; 32]);
        golden.extend([2, 0, 0, 0]);
        golden.extend([1, 0, 0, 0, 0, 0, 0, 0, 0x2c, 1, 0, 0, 0, 0, 0, 0, 2]);
        golden.extend([9, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[..178], golden);
        assert_eq!(bytes[178..], [71, 250, 255, 68], "CRC");
    }

    /// Numbers that the index continues to count must be far from overflow, even if they are forged.
    #[test]
    fn a_checkpoint_with_a_number_that_no_store_reaches_is_not_used() {
        for (what, offset) in COUNTED {
            for (met, is_possible) in
                [(NUMBER_MAX, true), (NUMBER_MAX + 1, false), (u64::MAX, false)]
            {
                let mut bytes = sample().encode();
                bytes[offset..offset + 8].copy_from_slice(&met.to_le_bytes());
                let crc_offset = bytes.len() - CRC_BYTES;
                let crc = crc32c::crc32c(&bytes[..crc_offset]).to_le_bytes();
                bytes[crc_offset..].copy_from_slice(&crc);
                let decoded = StoredCheckpoint::decode(&bytes);
                assert_eq!(decoded.is_ok(), is_possible, "{what} {met}: {decoded:?}");
            }
        }
    }

    #[test]
    fn a_checkpoint_with_any_bit_flipped_or_any_byte_missing_is_not_used() {
        let bytes = sample().encode();
        assert_eq!(StoredCheckpoint::decode(&bytes), Ok(sample()));
        for length in 0..bytes.len() {
            assert!(StoredCheckpoint::decode(&bytes[..length]).is_err(), "cut to {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(StoredCheckpoint::decode(&flipped).is_err(), "bit {bit} went unnoticed");
        }
    }

    #[test]
    fn a_sum_counts_what_appears_and_what_goes() {
        let mut sum = Sum::default();
        sum.replace(0, 5);
        sum.replace(0, u64::MAX);
        sum.replace(5, 6);
        assert_eq!(sum, Sum { count: 2, sum: 5 });
        sum.replace(u64::MAX, 0);
        sum.replace(6, 0);
        assert_eq!(sum, Sum::default());
    }
}
