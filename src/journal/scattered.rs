//! Reads entries at places that are known ahead, such as those of the events with a tag.
//!
//! * Entries that are close to each other are read at once.
//! * What the page cache has is read as it comes. At the first entry that it lacks, the system is told of the entries
//!   that follow, so that the disk reads them side by side: 20 of them, one after the other, are 20 waits for the disk.

use crate::codec::frame::{EntryLocation, Location};
use crate::journal::read::{Journal, buffer_of};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{ANNOUNCED_BYTES_MAX, SPAN_BYTES_MAX};
use bytes::Bytes;
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
        let mut bytes = buffer_of(length);
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
