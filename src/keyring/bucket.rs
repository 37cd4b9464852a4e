//! A bucket: one of the 4,096 files of a ring, with the slots of the subjects whose hash begins with its number.
//!
//! ```text
//! level 0: 1 page of 32 slots; level 1: 2 pages; level 2: 4 pages; … one level after the other
//! ```
//!
//! A subject has one page on each level, chosen by further bits of its hash: its *way*. A new slot takes the first
//! free place on the way. So no slot is ever moved, which would leave a copy of a wrapped key where nothing overwrites
//! it; a bucket of n slots is looked through by reading about log2(n / 32) pages; and pages that nobody needed yet are
//! holes in the file, or beyond its end.
//!
//! The bits are also the first of a key's id, so a key is found by its id as by its subject.

use crate::codec::cursor::array_at;
use crate::keyring::slot::{self, Found, PLACE_BYTES, SLOT_BYTES, Slot};
use crate::storage::disk::DiskFile;
use crate::value::limits::KEY_LEVELS_MAX;
use std::io;

/// Buckets of a ring.
pub(crate) const BUCKETS: usize = 4_096;
/// Bytes of a page, which is read at once.
pub(crate) const PAGE_BYTES: usize = 4_096;

/// Where in a ring the slots of a subject are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    bucket: u16,
    path: u32,
}

impl Way {
    pub(crate) fn of(place: [u8; PLACE_BYTES]) -> Way {
        let bucket = u16::from_be_bytes(array_at(&place, 0)) >> 4;
        Way { bucket, path: u32::from_be_bytes(array_at(&place, 2)) }
    }

    /// The number of its bucket, below [`BUCKETS`].
    pub(crate) fn bucket(self) -> usize {
        self.bucket.into()
    }

    /// The offset of its page on this level.
    fn page(self, level: u32) -> u64 {
        let before = (1 << level) - 1;
        (before + u64::from(self.path & before as u32)) * PAGE_BYTES as u64
    }
}

/// The name of a bucket's file.
pub(crate) fn file_name(bucket: usize) -> String {
    format!("{bucket:03x}")
}

/// What a look along a way has found.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// The slots that were looked for, and their offsets.
    pub(crate) wanted: Vec<(u64, Slot)>,
    /// The offset of the first free slot; `None` if the way is full.
    pub(crate) free: Option<u64>,
    /// The offset of the first damaged slot. It may be any of those that were looked for and not found.
    pub(crate) damaged: Option<u64>,
}

impl Slots {
    /// Looks along `way` for slots that `wants` accepts; in a bucket without a file, everything is free.
    pub(crate) fn find(
        file: Option<&dyn DiskFile>,
        way: Way,
        wants: impl Fn(&Slot) -> bool,
    ) -> io::Result<Slots> {
        let mut slots = Slots::default();
        let length = file.map_or(Ok(0), DiskFile::length)?;
        let mut page = [0; PAGE_BYTES];
        for level in 0..KEY_LEVELS_MAX {
            let at = way.page(level);
            let Some(file) = file.filter(|_| at < length) else {
                slots.free = slots.free.or(Some(at));
                return Ok(slots);
            };
            let read = file.read_at(&mut page, at)?;
            page[read..].fill(0);
            slots.take(&page, at, &wants);
        }
        Ok(slots)
    }

    fn take(&mut self, page: &[u8; PAGE_BYTES], page_at: u64, wants: &impl Fn(&Slot) -> bool) {
        for (n, bytes) in page.as_chunks::<SLOT_BYTES>().0.iter().enumerate() {
            let at = page_at + (n * SLOT_BYTES) as u64;
            match slot::decode(bytes) {
                Found::Free => self.free = self.free.or(Some(at)),
                Found::Slot(slot) if wants(&slot) => self.wanted.push((at, slot)),
                Found::Slot(_) => {}
                Found::Damaged => self.damaged = self.damaged.or(Some(at)),
            }
        }
    }

    /// The newest of the slots that were looked for.
    pub(crate) fn newest(&self) -> Option<&(u64, Slot)> {
        self.wanted.iter().max_by_key(|(_, slot)| slot.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_way_has_a_page_on_each_level_and_no_two_levels_share_one() {
        let way = Way::of([0xab, 0xcd, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!((way.bucket(), file_name(way.bucket()).as_str()), (0xabc, "abc"));
        let last_of_level = (0..KEY_LEVELS_MAX).map(|level| way.page(level) / PAGE_BYTES as u64);
        assert!(
            last_of_level.eq([0, 2, 6, 14, 30, 62, 126, 254, 510, 1022, 2046, 4094, 8190, 16382])
        );
        let first = Way::of([0xab, 0xc0, 0, 0, 0, 0]);
        let first_of_level = (0..4).map(|level| first.page(level) / PAGE_BYTES as u64);
        assert!(first_of_level.eq([0, 1, 3, 7]));
        let pages = (0..4_u8).flat_map(|path| {
            let way = Way::of([0, 0, 0, 0, 0, path]);
            (0..3).map(move |level| (level, way.page(level)))
        });
        assert_eq!(pages.collect::<HashSet<_>>().len(), 1 + 2 + 4);
    }
}
