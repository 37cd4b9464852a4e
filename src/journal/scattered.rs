//! Reads entries at places that are known ahead, such as those of the events with a tag.
//!
//! * Entries that are close to each other are read at once.
//! * What the page cache has is read as it comes. At the first entry that it lacks, the system is told of the entries
//!   that follow, so that the disk reads them side by side: 20 of them, one after the other, are 20 waits for the disk.

use crate::codec::frame::{EntryLocation, Location};
use crate::journal::read::Journal;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{ANNOUNCED_BYTES_MAX, SPAN_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use std::iter::Peekable;

/// The most bytes between two entries that are read at once: a page of the page cache. It was not measured.
const GAP_BYTES_MAX: u64 = 4 << 10;

/// Reads entries whose places ascend.
pub(crate) struct ScatteredReads {
    /// The bytes that were read last, and where they are.
    span: Option<(Location, Bytes)>,
    /// The system was told of what is before this place.
    announced: Location,
}

/// Entries that are read at once.
struct Span {
    begin: Location,
    length: usize,
}

impl ScatteredReads {
    pub(crate) fn new() -> ScatteredReads {
        ScatteredReads { span: None, announced: Location { segment: 0, offset: 0 } }
    }

    /// The bytes of the entry at `at`; fewer only at the end of its file. The entries at `next`, which come after it in
    /// this order, are read next.
    pub(crate) fn read(
        &mut self,
        journal: &Journal,
        at: EntryLocation,
        next: impl Iterator<Item = EntryLocation> + Clone,
    ) -> Result<Bytes> {
        if let Some(bytes) = self.read_before(at) {
            return Ok(bytes);
        }
        let mut places = std::iter::once(at).chain(next).peekable();
        let mut ahead = places.clone();
        let Some(span) = Span::of(&mut places) else { return Ok(Bytes::new()) };
        if span.length > SPAN_BYTES_MAX {
            // One large entry. The disk is busy with it for a while, whatever comes next.
            return journal.read(span.begin, span.length);
        }
        let Span { begin, length } = span;
        let file = journal.handle(begin.segment)?;
        // Memory that must be zero comes from a slower path of glibc's, which for the few hundred bytes of most entries
        // takes more instructions than to fill them.
        let mut bytes = BytesMut::with_capacity(length);
        bytes.resize(length, 0);
        let is_announced = begin < self.announced;
        if is_announced || !file.read_cached_at(&mut bytes, begin.offset) {
            if !is_announced {
                self.announce(journal, &mut ahead);
            }
            let read = file.read_at(&mut bytes, begin.offset);
            let read = read.map_err(|e| Error::io("read", &journal.path(begin.segment), e))?;
            bytes.truncate(read);
        }
        let bytes = bytes.freeze();
        let entry = bytes.slice(..bytes.len().min(at.length as usize));
        self.span = Some((begin, bytes));
        Ok(entry)
    }

    /// The entry at `at`, if it is in what was read last.
    fn read_before(&self, at: EntryLocation) -> Option<Bytes> {
        let (begin, bytes) = self.span.as_ref()?;
        let from = u64::from(at.offset).checked_sub(begin.offset)?;
        let from = usize::try_from(from).ok()?;
        let is_within = at.segment == begin.segment && from + at.length as usize <= bytes.len();
        is_within.then(|| bytes.slice(from..from + at.length as usize))
    }

    /// Tells the system of the entries at `places`.
    fn announce(
        &mut self,
        journal: &Journal,
        places: &mut Peekable<impl Iterator<Item = EntryLocation>>,
    ) {
        let mut left = ANNOUNCED_BYTES_MAX;
        while let Some(Span { begin, length }) = Span::of(places) {
            let Ok(file) = journal.handle(begin.segment) else { return };
            let Some(after) = left.checked_sub(length) else { return };
            left = after;
            if failpoint!("journal::announce_nothing") {
                return;
            }
            file.announce(begin.offset, length);
            self.announced = Location { offset: begin.offset + length as u64, ..begin };
        }
    }
}

impl Span {
    /// Takes the first of `places`, and those that are read at once with it.
    fn of(places: &mut Peekable<impl Iterator<Item = EntryLocation>>) -> Option<Span> {
        let first = places.next()?;
        let begin = Location { segment: first.segment, offset: first.offset.into() };
        let end = |place: &EntryLocation| u64::from(place.offset) + u64::from(place.length);
        let mut reached = end(&first);
        let is_close = |place: &EntryLocation, reached: u64| {
            let offset = u64::from(place.offset);
            place.segment == begin.segment
                && (reached..=reached + GAP_BYTES_MAX).contains(&offset)
                && end(place) - begin.offset <= SPAN_BYTES_MAX as u64
                && !failpoint!("journal::read_each_entry_by_itself")
        };
        while let Some(next) = places.next_if(|place| is_close(place, reached)) {
            reached = end(&next);
        }
        let length = usize::try_from(reached - begin.offset).ok()?;
        Some(Span { begin, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::faulty::{Faults, FaultyDisk};
    use crate::value::limits::POSTINGS_AHEAD_MAX;
    use crate::value::random::{Random, first_seed, rounds};
    use std::sync::Arc;
    use tempfile::TempDir;
    use uuid::Uuid;

    const SEGMENT_BYTES: usize = 4 << 20;

    struct Setup {
        journal: Journal,
        faults: Arc<Faults>,
        segments: Vec<Vec<u8>>,
        _directory: TempDir,
    }

    fn setup() -> Setup {
        let (directory, random) = (tempfile::tempdir().unwrap(), &mut Random::new(1));
        let faults = Arc::new(Faults::default());
        let disk = Arc::new(FaultyDisk(Arc::clone(&faults)));
        let journal = Journal::new(disk, directory.path().to_owned(), Uuid::nil(), Vec::new());
        let segments: Vec<Vec<u8>> = (1..=2_u64)
            .map(|number| {
                let bytes: Vec<u8> = (0..SEGMENT_BYTES).map(|_| random.below(256) as u8).collect();
                std::fs::write(journal.path(number), &bytes).unwrap();
                bytes
            })
            .collect();
        Setup { journal, faults, segments, _directory: directory }
    }

    impl Setup {
        /// Reads the entries at `places`, and compares them.
        fn read(&self, places: &[EntryLocation]) -> (u64, u64) {
            let mut reads = ScatteredReads::new();
            for (number, place) in places.iter().enumerate() {
                let next = places[number + 1..].iter().take(POSTINGS_AHEAD_MAX).copied();
                let read = reads.read(&self.journal, *place, next).unwrap();
                let (from, length) = (place.offset as usize, place.length as usize);
                let whole = &self.segments[place.segment as usize - 1];
                assert!(read == whole[from..from + length], "{place:?}");
            }
            self.faults.waits_and_announced()
        }
    }

    fn places(count: u32, distance: u32, length: u32) -> Vec<EntryLocation> {
        let place = |n| EntryLocation { segment: 1, offset: 4_096 + n * distance, length };
        (0..count).map(place).collect()
    }

    /// Each of them was waited for by itself: 20 events far apart took 20 times as long as one.
    #[test]
    fn what_the_page_cache_lacks_is_announced_before_the_first_of_it_is_waited_for() {
        let setup = setup();
        let far = places(20, 100_000, 400);
        assert_eq!(setup.read(&far), (0, 0), "all of it is in memory");
        setup.faults.set_cold(true);
        let first = ScatteredReads::new().read(&setup.journal, far[0], far[1..].iter().copied());
        assert_eq!(first.unwrap().len(), 400);
        assert_eq!(setup.faults.waits_and_announced(), (1, 20));
        assert_eq!(setup.read(&far), (20, 20));
    }

    #[test]
    fn entries_that_are_close_to_each_other_are_read_at_once() {
        let setup = setup();
        setup.faults.set_cold(true);
        assert_eq!(setup.read(&places(30, 500, 400)), (1, 1));
        let (waits, announced) = setup.read(&places(1_000, 500, 400));
        let least = 500_000 / SPAN_BYTES_MAX as u64;
        assert!((least..least + 10).contains(&waits), "{waits} reads of 500 KB");
        assert!((least..2 * least).contains(&announced), "{announced} announced");
    }

    #[test]
    fn whatever_is_read_is_what_is_there_in_no_more_reads_than_entries() {
        let setup = setup();
        for seed in first_seed()..first_seed() + rounds(200) {
            let random = &mut Random::new(seed);
            setup.faults.set_cold(random.below(4) > 0);
            let distance = [10, 1_000, 20_000, 100_000][random.below(4) as usize];
            let (mut places, mut segment, mut offset) = (Vec::new(), 1, 0);
            while places.len() < 100 {
                offset += random.below(distance) as usize;
                let length = match random.below(20) {
                    0 => random.below(100_000),
                    _ => random.below(600),
                };
                if offset + length as usize > SEGMENT_BYTES {
                    (segment, offset) = (segment + 1, 0);
                    if segment > 2 {
                        break;
                    }
                    continue;
                }
                let place = EntryLocation { segment, offset: offset as u32, length: length as u32 };
                places.push(place);
                offset += length as usize;
            }
            let (waits, announced) = setup.read(&places);
            let most = places.len() as u64;
            assert!(waits <= most && announced <= most, "seed {seed}: {waits}, {announced}");
        }
    }

    /// An index that is damaged may say any length.
    #[test]
    fn an_entry_that_is_longer_than_its_file_takes_no_more_memory_than_the_file_has() {
        let setup = setup();
        let forged = EntryLocation { segment: 2, offset: 1_000, length: u32::MAX };
        let next = EntryLocation { segment: 2, offset: 900, length: u32::MAX };
        let mut reads = ScatteredReads::new();
        let read = reads.read(&setup.journal, forged, [next].into_iter()).unwrap();
        assert_eq!(read.len(), SEGMENT_BYTES - 1_000);
        let behind = EntryLocation { segment: 2, offset: SEGMENT_BYTES as u32 - 10, length: 100 };
        let read = reads.read(&setup.journal, behind, std::iter::empty()).unwrap();
        assert_eq!(read.len(), 10);
    }
}
