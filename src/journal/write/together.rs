//! Writing frames that become durable together, by one `fdatasync`: those of a journal on which nobody relies yet, and
//! those that a replica takes from its source.
//!
//! * A frame that is taken from another journal gets the place that it has there, byte for byte. Segments begin where
//!   the other journal's begin, with the same length. So both journals are equal.
//! * Before a segment is begun, everything in the one before it is durable. So only the last segment can hold frames
//!   that are not.

use crate::codec::frame::Frame;
use crate::codec::length::in_memory;
use crate::journal::segment;
use crate::journal::shipped::{JournalEnd, JournalFrame};
use crate::journal::write::{WriteError, Writer, Written};
use crate::value::error::Error;
use crate::value::limits::{EMPTY_SEGMENTS_SHIPPED_MAX, SEGMENT_LENGTH_MAX};

impl Writer {
    /// A writer whose frames become durable together, in `finish`.
    pub(crate) fn unhurried(self) -> Writer {
        Writer { is_unhurried: true, ..self }
    }

    /// From now on each frame is durable when it is written. Everything is durable by now.
    pub(crate) fn hurry(&mut self) {
        self.is_unhurried = false;
    }

    /// Syncs everything and writes the watermark.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        let path = self.journal.path(self.segment.number);
        self.file.sync_data().map_err(|e| Error::io("sync", &path, e))?;
        // No later write would repair half a watermark, so a failure is an error here.
        self.watermark.write(self.durable_at(self.last))
    }

    /// Where the journal ends, for a source of frames.
    pub(crate) fn shipped_end(&self) -> JournalEnd {
        JournalEnd::new(self.end)
    }

    /// Checks that `shipped` is the frame that follows in this journal: by its store, its position, its time, the hash
    /// chain and its place.
    ///
    /// # Errors
    /// `Diverged`; `UnsupportedFormat` if a newer version wrote it.
    pub(crate) fn refuse_unless_next(&self, shipped: &JournalFrame) -> Result<(), Error> {
        shipped.refuse_unless_after(&self.end, self.journal.store())?;
        let (at, end) = (shipped.place(), shipped.end().next().offset);
        let length = shipped.segment_length();
        let is_next = match at.segment.checked_sub(self.segment.number) {
            Some(0) => at.offset == self.end.next.offset && end <= self.segment.length,
            Some(further) => {
                let is_near = further <= 1 + EMPTY_SEGMENTS_SHIPPED_MAX;
                let has_room = end <= length && length <= SEGMENT_LENGTH_MAX;
                is_near && at.offset == segment::HEADER_BYTES && has_room
            }
            None => false,
        };
        match is_next {
            true => Ok(()),
            false => Err(shipped.misplaced(self.end.next)),
        }
    }

    /// Writes a frame of another journal as it is, at the place that it has there. `refuse_unless_next` has passed.
    pub(crate) fn write_verbatim(&mut self, shipped: &JournalFrame) -> Result<Written, WriteError> {
        self.refuse_if_removed().map_err(WriteError::NotWritten)?;
        let (at, frame) = (shipped.place(), shipped.frame());
        while self.segment.number < at.segment {
            let number = self.segment.number + 1;
            // A segment that is passed over was begun for a frame that found no room. Its length is the usual one.
            let length = match number == at.segment {
                true => shipped.segment_length(),
                false => segment::usual_length(number),
            };
            self.roll(length)?;
        }
        assert_eq!(self.end.next, at, "a frame is written where it is in the other journal");
        self.put(at, frame.header.clone(), padded(frame))
    }
}

fn padded(frame: &Frame) -> Vec<u8> {
    let length = in_memory(frame.header.padded_length());
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(frame.bytes());
    bytes.resize(length, 0);
    bytes
}
