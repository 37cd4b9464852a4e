//! The durable watermark, `journal/durable`: how far the journal was durable when this file was last written.
//!
//! ```text
//! offset  bytes  field
//!      0      8  magic "FSMARK\0\0"
//!      8     16  store id
//!     24      8  segment of the last durable frame
//!     32      8  where that frame begins
//!     40      8  where the next one will begin
//!     48      8  the last durable position
//!     56      4  CRC-32C of bytes 0–55
//! ```
//!
//! It is written after each `fdatasync` of the journal, but not synced itself. So it is always true, but
//! may be old. Followers in other processes read nothing beyond it. Recovery and lenient scans detect by it
//! that frames are *gone*, which the journal's frames alone cannot show.

use crate::codec::cursor::array_at;
use crate::codec::frame::Location;
use crate::storage::disk::{Disk, DiskFile, unless_no_directory};
use crate::storage::replace::{self, TEMPORARY};
use crate::storage::stat::FileIdentity;
use crate::value::error::{Error, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

const MAGIC: [u8; 8] = *b"FSMARK\0\0";
pub(crate) const BYTES: usize = 60;
const CRC_OFFSET: usize = 56;

/// How far the journal is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DurableWatermark {
    pub(crate) frame: Location,
    pub(crate) end: u64,
    pub(crate) position: u64,
}

impl DurableWatermark {
    fn encode(&self, store: Uuid) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..24].copy_from_slice(store.as_bytes());
        bytes[24..32].copy_from_slice(&self.frame.segment.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.frame.offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.end.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.position.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_OFFSET]);
        bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
        debug_assert_eq!(DurableWatermark::decode(&bytes), Some((store, *self)));
        bytes
    }

    /// The watermark in `bytes` and its store, if it is whole. A torn one is ignored.
    fn decode(bytes: &[u8]) -> Option<(Uuid, DurableWatermark)> {
        let bytes = bytes.get(..BYTES)?;
        let (said, crc) = bytes.split_at(CRC_OFFSET);
        let whole = crc == crc32c::crc32c(said).to_le_bytes();
        (whole && said.starts_with(&MAGIC)).then(|| {
            let watermark = DurableWatermark {
                frame: Location {
                    segment: u64::from_le_bytes(array_at(bytes, 24)),
                    offset: u64::from_le_bytes(array_at(bytes, 32)),
                },
                end: u64::from_le_bytes(array_at(bytes, 40)),
                position: u64::from_le_bytes(array_at(bytes, 48)),
            };
            (Uuid::from_bytes(array_at(bytes, 8)), watermark)
        })
    }
}

/// Whether `bytes` look like the watermark of any store.
pub(crate) fn is_watermark(bytes: &[u8]) -> bool {
    bytes.len() == BYTES && bytes.starts_with(&MAGIC)
}

/// The watermark's file, open for the writer.
pub(crate) struct WatermarkFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    store: Uuid,
}

impl WatermarkFile {
    /// Durably replaces the file by one with `watermark`, and keeps it open.
    pub(crate) fn create(
        disk: &dyn Disk,
        journal: &Path,
        store: Uuid,
        watermark: DurableWatermark,
    ) -> Result<WatermarkFile> {
        let path = path(journal);
        replace::replace(disk, &path, TEMPORARY, &watermark.encode(store))?;
        let file = disk.open_to_write(&path).map_err(|e| Error::io("open", &path, e))?;
        Ok(WatermarkFile { file, path, store })
    }

    pub(crate) fn write(&self, watermark: DurableWatermark) -> Result<()> {
        let written = self.file.write_all_at(&watermark.encode(self.store), 0);
        written.map_err(|e| Error::io("write", &self.path, e))
    }
}

/// Reads the watermark on disk, if there is a whole one of this store.
pub(crate) fn read(
    disk: &dyn Disk,
    journal: &Path,
    store: Uuid,
) -> Result<Option<DurableWatermark>> {
    Ok(match look(disk, journal)? {
        Look::Missing | Look::Empty | Look::Torn(_) => None,
        Look::Found { store: its_store, watermark, .. } => {
            (its_store == store).then_some(watermark)
        }
    })
}

/// What a follower reads of the watermark's file. It must notice when another file takes its place.
pub(crate) enum Look {
    /// There is no file.
    Missing,
    /// The file is empty. No writer leaves it so, not even for a moment: it gets its name after its bytes, and is
    /// never truncated.
    Empty,
    /// The file holds no whole watermark: it is just being written, or is damaged. These are its first bytes, and
    /// zeros behind its end.
    Torn([u8; BYTES]),
    /// The file, its identity, and what it says.
    Found {
        file: Arc<dyn DiskFile>,
        identity: Option<FileIdentity>,
        store: Uuid,
        watermark: DurableWatermark,
    },
}

/// Reads the watermark's file.
pub(crate) fn look(disk: &dyn Disk, journal: &Path) -> Result<Look> {
    let path = path(journal);
    let look = || {
        let file = disk.open(&path)?;
        let identity = file.identity()?;
        let mut bytes = [0; BYTES];
        let read = file.read_at(&mut bytes, 0)?;
        if read == 0 {
            return Ok(Look::Empty);
        }
        let decoded = DurableWatermark::decode(bytes.get(..read).unwrap_or_default());
        Ok(match decoded {
            Some((store, watermark)) => Look::Found { file, identity, store, watermark },
            None => Look::Torn(bytes),
        })
    };
    match look() {
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(Look::Missing),
        look => look.map_err(|e| unless_no_directory(disk, journal, Error::io("read", &path, e))),
    }
}

pub(crate) fn path(journal: &Path) -> PathBuf {
    journal.join("durable")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_has_its_golden_bytes_and_a_flipped_one_says_nothing() {
        let store = Uuid::from_u128(0xabcd);
        let frame = Location { segment: 3, offset: 4_096 };
        let watermark = DurableWatermark { frame, end: 4_200, position: 17 };
        let bytes = watermark.encode(store);
        let mut golden = b"FSMARK\0\0".to_vec();
        golden.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd]);
        golden.extend([3, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0]);
        golden.extend([104, 16, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend([0xf9, 0xc6, 0x79, 0xfc]);
        assert_eq!(bytes[..], golden[..]);
        assert_eq!(DurableWatermark::decode(&bytes), Some((store, watermark)));
        for at in 0..BYTES {
            let mut flipped = bytes;
            flipped[at] ^= 1;
            assert_eq!(DurableWatermark::decode(&flipped), None, "byte {at} went unnoticed");
        }
    }
}
