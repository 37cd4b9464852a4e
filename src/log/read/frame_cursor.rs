//! Finds frames of the global sequence: new ones in memory, others in the journal.
//!
//! * The search for a frame begins at the nearest place that the tail or the sparse index knows. If the index is lost
//!   or wrong, it begins at the start of the segment: the sparse index only shortens the search.
//! * A cursor that is read in order continues its scan, and a long scan is read ahead.

use crate::codec::frame::{self, Chain, Frame, Header, Location};
use crate::codec::sparse_index::SparseEntry;
use crate::journal::read::Frames;
use crate::journal::segment;
use crate::log::core::Log;
use crate::log::read::readahead::Readahead;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::position::Position;
use std::sync::Arc;

/// Distance in events up to which a cursor scans on to the next requested event; beyond it, the cursor looks the
/// event up. A lookup queries the tail and the index, and reads up to 64 KiB of journal up to the frame. The count
/// was not measured.
const NEAR_EVENTS: u64 = 256;

impl Log {
    /// A place in the journal where a frame begins that is at or before the event at `position`.
    fn place_before(&self, position: u64) -> Result<SparseEntry> {
        let segment = self.journal.segment_at(position).ok_or_else(|| {
            let message = format!("no segment of the journal holds position {position}");
            Error::new(ErrorKind::Corrupt, message)
        })?;
        let start = SparseEntry {
            position: segment.first_position,
            time: segment.time,
            location: Location { segment: segment.number, offset: segment::HEADER_BYTES },
        };
        if let Some(sparse_entry) = self.tail.sparse_entry_at_or_before(position) {
            return Ok(if sparse_entry.location < start.location { start } else { sparse_entry });
        }
        let sparse_entry = match self.index.ask(|index| index.sparse_entry_at_or_before(position)) {
            // The index only shortens the search; the journal can be read without it.
            Err(_) if self.index.is_lost() => None,
            sparse_entry => sparse_entry?,
        };
        let sparse_entry =
            sparse_entry.filter(|sparse_entry| sparse_entry.location >= start.location);
        Ok(sparse_entry.filter(|sparse_entry| self.is_frame(sparse_entry)).unwrap_or(start))
    }

    /// Whether the frame that the sparse index entry names begins at its location.
    fn is_frame(&self, sparse_entry: &SparseEntry) -> bool {
        let Location { segment, offset } = sparse_entry.location;
        let bytes =
            self.journal.read(sparse_entry.location, frame::HEADER_BYTES).unwrap_or_default();
        let is_frame = Header::parse(&bytes).is_some_and(|header| {
            header.lies_at(self.journal.store(), segment, offset)
                && header.first_position == sparse_entry.position
        });
        if !is_frame {
            let position = sparse_entry.position;
            tracing::warn!(position, segment, offset, "a sparse index entry names no frame");
        }
        is_frame
    }

    /// The last position up to the head that was recorded at or before `time`.
    pub(crate) fn position_at(self: &Arc<Log>, time: Micros) -> Result<u64> {
        // Times never decrease with positions, so a binary search finds the frame.
        let (mut low, mut high) = (0, self.head.position());
        while low < high {
            let middle = high - (high - low) / 2;
            let frame = FrameCursor::new(Arc::clone(self)).frame_holding(middle)?;
            match frame.header.time <= time {
                true => low = frame.header.last_position(),
                false => high = frame.header.first_position - 1,
            }
        }
        Ok(low)
    }
}

/// The journal's chain after the frame that holds `position`, which must not be past the head. The chain covers
/// everything up to that frame, so another continuation of the same store has another chain.
pub(crate) fn chain_at(log: &Arc<Log>, position: Position) -> Result<Chain> {
    if position == Position::START {
        return Ok([0; 32]);
    }
    let frame = FrameCursor::new(Arc::clone(log)).frame_holding(position.get())?;
    Ok(frame.header.chain)
}

/// Finds the frames that hold given positions. Fast if the positions are in order.
pub(crate) struct FrameCursor {
    log: Arc<Log>,
    /// The scan that yielded the last frame.
    scan: Option<Scan>,
    /// The position up to which a long scan is read ahead; `None` if scans are never read ahead.
    ahead_until: Option<u64>,
}

impl FrameCursor {
    pub(crate) fn new(log: Arc<Log>) -> FrameCursor {
        FrameCursor { log, scan: None, ahead_until: None }
    }

    /// A cursor for a caller that decodes on its own thread: once the scan is long, another thread reads ahead of it,
    /// up to position `last`.
    pub(crate) fn reading_ahead(log: Arc<Log>, last: u64) -> FrameCursor {
        FrameCursor { log, scan: None, ahead_until: Some(last) }
    }

    /// Ends the scan.
    pub(super) fn leave(&mut self) {
        self.scan = None;
    }

    /// Ends the scan, if there are many events between it and `position`.
    pub(crate) fn leave_unless_near(&mut self, position: u64) {
        if self.scan.as_ref().is_some_and(|scan| position.saturating_sub(scan.next) > NEAR_EVENTS) {
            self.scan = None;
        }
    }

    /// The frame with the event at `position`, which is not past the head.
    pub(crate) fn frame_holding(&mut self, position: u64) -> Result<Frame> {
        if let Some((_, frame)) = self.log.tail.newest_frame(position) {
            self.scan = None;
            return Ok(frame);
        }
        let mut scan = match self.scan.take() {
            Some(scan) if scan.next <= position => scan,
            _ => self.scan_from(position)?,
        };
        if let Source::Here(frames) = &mut scan.source {
            frames.extend(self.log.head.visible().1);
        }
        while scan.next <= position {
            match scan.read()? {
                Some(frame) if scan.next > position => {
                    self.scan = self.ahead(scan);
                    return Ok(frame);
                }
                Some(_) => {}
                // Frames that became visible after the readahead began are past its end.
                None if matches!(scan.source, Source::Readahead(_)) => {
                    scan = self.scan_from(position)?;
                }
                None => return Err(self.missing(position)),
            }
        }
        Err(self.missing(position))
    }

    /// The same scan, with readahead if that is due. `None` if the thread cannot be started; the next search begins a
    /// new scan.
    fn ahead(&self, scan: Scan) -> Option<Scan> {
        match (scan.source, self.ahead_until) {
            (Source::Here(frames), Some(last)) if Readahead::is_due(scan.bytes) => {
                let ahead = Readahead::start(&self.log, frames, last).ok()?;
                Some(Scan { source: Source::Readahead(ahead), ..scan })
            }
            (source, _) => Some(Scan { source, ..scan }),
        }
    }

    /// The frames from a sparse index entry up to the one with the event at `position`, in order: about 64 KiB, or
    /// one frame.
    pub(super) fn block_until(&self, position: u64) -> Result<Vec<Frame>> {
        let mut scan = self.scan_from(position)?;
        let mut block = Vec::new();
        while let Some(frame) = scan.read()? {
            let found = frame.header.next_position() > position;
            if frame.header.events > 0 {
                block.push(frame);
            }
            if found {
                return Ok(block);
            }
        }
        Err(self.missing(position))
    }

    fn scan_from(&self, position: u64) -> Result<Scan> {
        let sparse_entry = self.log.place_before(position)?;
        let (_, end) = self.log.head.visible();
        let frames = self.log.journal.frames(sparse_entry.location, sparse_entry.position, end);
        Ok(Scan { source: Source::Here(frames), next: sparse_entry.position, bytes: 0 })
    }

    pub(super) fn missing(&self, position: u64) -> Error {
        let message = format!("position {position} is not in the journal");
        Error::new(ErrorKind::Corrupt, message)
    }
}

/// A scan of the journal.
struct Scan {
    source: Source,
    /// The first position of its next frame.
    next: u64,
    /// Bytes of frames that it has read.
    bytes: usize,
}

/// Which thread reads: the caller's, or another one.
enum Source {
    Here(Frames),
    Readahead(Readahead),
}

impl Scan {
    fn read(&mut self) -> Result<Option<Frame>> {
        let item = match &mut self.source {
            Source::Here(frames) => frames.next().map(|item| item.map(|(_, frame)| frame)),
            Source::Readahead(ahead) => ahead.next(),
        };
        let frame = item.transpose()?;
        if let Some(frame) = &frame {
            self.next = frame.header.next_position();
            self.bytes += frame.bytes().len();
        }
        Ok(frame)
    }
}
