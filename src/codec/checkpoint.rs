//! `index.checkpoint`: how far the index is known to hold the journal, and what it held then.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "FSINDEX\0"
//!      8      4  format, 1
//!     12     16  store id
//!     28      8  epoch: how many checkpoints the index has had; 0: created, nothing indexed
//!     36      8  streams
//!     44      8  wrapping sum of the contributions of all streams' states
//!     52      8  record keys that have a value
//!     60      8  wrapping sum of the contributions of all records
//!     68      8  position up to which the index holds every event
//!     76      8  segment of the next frame to index
//!     84      8  its offset there
//!     92      8  time after the last indexed frame, UTC microseconds
//!    100     32  chain after the last indexed frame
//!    132      4  CRC-32C of all before
//! ```

use crate::clock::Micros;
use crate::codec::cursor::array_at;
use crate::codec::frame::{Chain, Location};
use uuid::Uuid;

const MAGIC: [u8; 8] = *b"FSINDEX\0";
const FORMAT: u32 = 1;
const CRC_OFFSET: usize = 132;
const BYTES: usize = 136;

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
    /// Replaces a value of contribution `old` by one of contribution `new`; 0 stands for none.
    pub(crate) fn replace(&mut self, old: u64, new: u64) {
        self.sum = self.sum.wrapping_sub(old).wrapping_add(new);
        self.count = self.count.wrapping_sub((old != 0).into()).wrapping_add((new != 0).into());
    }
}

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredCheckpoint {
    pub(crate) store: Uuid,
    pub(crate) epoch: u64,
    pub(crate) streams: Sum,
    pub(crate) records: Sum,
    /// Meaningless in epoch 0.
    pub(crate) checkpoint: Checkpoint,
}

impl StoredCheckpoint {
    /// Of an index that was just created.
    pub(crate) fn initial(store: Uuid) -> StoredCheckpoint {
        let next = Location { segment: 0, offset: 0 };
        StoredCheckpoint {
            store,
            epoch: 0,
            streams: Sum::default(),
            records: Sum::default(),
            checkpoint: Checkpoint { position: 0, next, chain: [0; 32], time: Micros(0) },
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let checkpoint = &self.checkpoint;
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(self.store.as_bytes());
        for number in [
            self.epoch,
            self.streams.count,
            self.streams.sum,
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
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// What the file's bytes say; otherwise, why they cannot be used.
    pub(crate) fn decode(bytes: &[u8]) -> Result<StoredCheckpoint, String> {
        if bytes.get(..8) != Some(&MAGIC) {
            return Err("the checkpoint does not begin with its magic".to_owned());
        }
        let format = bytes.get(8..12).map(|format| u32::from_le_bytes(array_at(format, 0)));
        if format != Some(FORMAT) {
            let format = format.unwrap_or_default();
            return Err(format!("the checkpoint has format {format}; {FORMAT} is known"));
        }
        if bytes.len() != BYTES {
            return Err(format!("the checkpoint is {} bytes instead of {BYTES}", bytes.len()));
        }
        let crc = u32::from_le_bytes(array_at(bytes, CRC_OFFSET));
        if crc != crc32c::crc32c(&bytes[..CRC_OFFSET]) {
            return Err("the checkpoint's checksum does not match".to_owned());
        }
        let number = |offset| u64::from_le_bytes(array_at(bytes, offset));
        let next = Location { segment: number(76), offset: number(84) };
        let checkpoint = Checkpoint {
            position: number(68),
            next,
            chain: array_at(bytes, 100),
            time: Micros(i64::from_le_bytes(array_at(bytes, 92))),
        };
        Ok(StoredCheckpoint {
            store: Uuid::from_bytes(array_at(bytes, 12)),
            epoch: number(28),
            streams: Sum { count: number(36), sum: number(44) },
            records: Sum { count: number(52), sum: number(60) },
            checkpoint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> StoredCheckpoint {
        let next = Location { segment: 7, offset: 8 };
        StoredCheckpoint {
            store: Uuid::from_u128(0xabcd),
            epoch: 1,
            streams: Sum { count: 2, sum: 3 },
            records: Sum { count: 4, sum: 5 },
            checkpoint: Checkpoint { position: 6, next, chain: [0xcc; 32], time: Micros(9) },
        }
    }

    #[test]
    fn a_checkpoint_has_its_golden_bytes() {
        let bytes = sample().encode();
        let mut golden = b"FSINDEX\0\x01\0\0\0".to_vec();
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd]);
        for number in 1..=9 {
            golden.extend([number, 0, 0, 0, 0, 0, 0, 0]);
        }
        golden.extend([0xcc; 32]);
        assert_eq!(bytes[..CRC_OFFSET], golden);
        assert_eq!(bytes[CRC_OFFSET..], [78, 133, 158, 20], "CRC");
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
