//! What a backup copies of a journal: all of it up to some moment.

use crate::codec::frame::{Chain, Location};
use crate::journal::read::Journal;
use crate::journal::segment::SegmentHeader;
use crate::journal::write::End;
use crate::value::error::Result;

/// What is copied: the journal up to some moment.
pub(crate) struct Prefix<'a> {
    pub(crate) journal: &'a Journal,
    /// The last frame's last position, the place after it, and the chain after it.
    pub(crate) position: u64,
    pub(crate) end: Location,
    pub(crate) chain: Chain,
}

impl Prefix<'_> {
    /// The header of a segment.
    pub(super) fn header(&self, number: u64) -> Result<SegmentHeader> {
        self.journal.segment(number).ok_or_else(|| {
            let at = Location { segment: number, offset: 0 };
            self.journal.corrupt(at, None, "the segment is missing")
        })
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> Result<u64> {
        let sealed = (1..self.end.segment).map(|number| Ok(self.header(number)?.length));
        Ok(sealed.sum::<Result<u64>>()? + self.end.offset)
    }

    /// Whether `end`, where a segment's copy ends, is where the segment itself ends.
    pub(super) fn is_complete(&self, source: &SegmentHeader, end: &End) -> Result<bool> {
        if source.number == self.end.segment {
            return Ok(end.next == self.end && end.chain == self.chain);
        }
        let next = self.header(source.number + 1)?;
        Ok(end.position + 1 == next.first_position && end.chain == next.chain)
    }
}
