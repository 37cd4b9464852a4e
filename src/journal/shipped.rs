//! Frames on their way from one journal to another.
//!
//! A frame names its store, its segment and its offset there, and the hash chain after it covers everything before it.
//! So a journal that takes each frame as it is, and checks the chain at each, is equal to the one it takes them from.

use crate::codec::frame::{Frame, Header, Location};
use crate::journal::segment;
use crate::journal::write::End;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::head_hash::HeadHash;
use crate::value::position::Position;
use bytes::Bytes;
use std::fmt;
use uuid::Uuid;

/// Where a journal ends: what a source of frames goes on from.
///
/// Two journals of one store that have the same end are equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JournalEnd(End);

impl JournalEnd {
    pub(crate) fn new(end: End) -> JournalEnd {
        JournalEnd(end)
    }

    /// The end of a journal that holds nothing yet.
    #[must_use]
    pub fn start() -> JournalEnd {
        let next = Location { segment: 1, offset: segment::HEADER_BYTES };
        JournalEnd(End { next, position: 0, time: Micros(i64::MIN), chain: [0; 32] })
    }

    /// Returns the position of the last event.
    #[must_use]
    pub fn position(&self) -> Position {
        Position::new(self.0.position)
    }

    /// Returns the hash of everything up to here. It covers frames without events too, so two ends at one position may
    /// have different hashes.
    #[must_use]
    pub fn hash(&self) -> HeadHash {
        HeadHash::new(self.0.position, self.0.chain)
    }

    /// Where the next frame begins, unless it is in a later segment.
    pub(crate) fn next(&self) -> Location {
        self.0.next
    }
}

impl fmt::Debug for JournalEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Location { segment, offset } = self.0.next;
        write!(f, "JournalEnd({}, segment {segment}, byte {offset})", self.hash())
    }
}

/// A frame as a journal holds it: one group of commits, or the note that the store was closed.
///
/// Its checksums have been verified. Whether it is the one that follows in another journal, that journal decides.
#[derive(Debug, Clone)]
pub struct JournalFrame {
    frame: Frame,
    segment_length: u64,
}

impl JournalFrame {
    pub(crate) fn new(frame: Frame, segment_length: u64) -> JournalFrame {
        JournalFrame { frame, segment_length }
    }

    /// Takes a frame from what [`bytes`](JournalFrame::bytes) and [`segment_length`](JournalFrame::segment_length) have
    /// returned elsewhere, and verifies its checksums.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorKind::Corrupt): the bytes are not one whole frame.
    pub fn decode(bytes: Bytes, segment_length: u64) -> Result<JournalFrame> {
        let corrupt = |what: &dyn fmt::Display| {
            Error::new(ErrorKind::Corrupt, format!("what was shipped is no frame: {what}"))
        };
        let header = Header::parse(&bytes).ok_or_else(|| corrupt(&"it has no sound header"))?;
        if bytes.len() as u64 != u64::from(header.length) {
            let what = format!("it has {} bytes, and says {}", bytes.len(), header.length);
            return Err(corrupt(&what));
        }
        let frame = Frame::verify_unpadded(header, bytes).map_err(|what| corrupt(&what))?;
        Ok(JournalFrame { frame, segment_length })
    }

    /// Returns the frame's bytes: what to hand to [`decode`](JournalFrame::decode) elsewhere.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.frame.bytes()
    }

    /// Returns the length of the journal's file that the frame is in, in bytes.
    #[must_use]
    pub fn segment_length(&self) -> u64 {
        self.segment_length
    }

    /// Returns the id of the store whose frame it is.
    #[must_use]
    pub fn store_id(&self) -> Uuid {
        self.frame.header.store
    }

    /// Returns where the journal ends after this frame.
    #[must_use]
    pub fn end(&self) -> JournalEnd {
        let (header, at) = (&self.frame.header, self.place());
        JournalEnd(End {
            // A forged header may name any offset.
            next: Location { offset: at.offset.saturating_add(header.padded_length()), ..at },
            position: header.last_position(),
            time: header.time,
            chain: header.chain,
        })
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Where it is in its journal.
    pub(crate) fn place(&self) -> Location {
        let header = &self.frame.header;
        Location { segment: header.segment, offset: header.offset }
    }

    /// Checks that the frame continues the history of `store` that ends at `end`.
    pub(super) fn refuse_unless_after(&self, end: &End, store: Uuid) -> Result<()> {
        let header = &self.frame.header;
        let (first, met) = (end.position + 1, header.first_position);
        if header.store != store {
            let what = format!("it is of the store {}, and not of {store}", header.store);
            return Err(self.diverged(&what));
        }
        if let Some(newer) = self.frame.newer_form() {
            let message = format!(
                "the source has at position {met} {newer}: a newer version of filmstrip wrote it; update this one, \
                 and open the replica again"
            );
            return Err(Error::new(ErrorKind::UnsupportedFormat, message));
        }
        if failpoint!("replica::leave_chain_unchecked") {
            return Ok(());
        }
        let follows = self.frame.chain_after(&end.chain);
        let chain = follows.map_err(|what| self.diverged(&what.to_string()))?;
        if chain == header.chain && met == first && header.time >= end.time {
            return Ok(());
        }
        let here = HeadHash::new(end.position, end.chain);
        let follows = HeadHash::new(header.last_position(), chain);
        Err(self.diverged(&format!(
            "position {first} follows {here} here, and the frame begins at position {met}; its hash would be {follows}"
        )))
    }

    /// The error for a frame that is not at `next`, where the journal goes on.
    pub(super) fn misplaced(&self, next: Location) -> Error {
        let (met, length) = (self.place(), self.segment_length);
        self.diverged(&format!(
            "it is in segment {} at byte {}, of {length}, and this journal goes on in segment {} at byte {}",
            met.segment, met.offset, next.segment, next.offset
        ))
    }

    fn diverged(&self, what: &str) -> Error {
        let met = self.end().hash();
        diverged(&format!("the source's frame {met} is not the next one: {what}"))
    }
}

/// The error for a source that has another history than its replica.
pub(crate) fn diverged(what: &str) -> Error {
    let message = format!(
        "the source and this replica have different histories: {what}; make a new replica from a backup of the source"
    );
    Error::new(ErrorKind::Diverged, message)
}

/// The error for a source that has `theirs`, where the replica ends at `end`.
pub(crate) fn diverged_at(end: &JournalEnd, theirs: HeadHash) -> Error {
    diverged(&format!("the replica ends at {}, and the source has {theirs} there", end.hash()))
}
