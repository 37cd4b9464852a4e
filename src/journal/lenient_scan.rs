//! A walk over a journal that continues after damage. It returns everything that can be read and everything that is
//! wrong, each with its place.
//!
//! * It writes nothing, and trusts nothing: bytes are a frame only if their checksums hold and they name this store,
//!   segment and offset.
//! * After damage, it continues at the next frame that can be distinguished from a user's payload (see `found`), or in
//!   the next segment. Everything between is lost, and is reported with its positions.
//! * It holds one frame, or one chunk of the file, in memory at a time.

mod chunk;
mod found;
mod segments;

use crate::codec::frame::{self, Chain, Frame, Header, Location};
use crate::codec::length::in_memory;
use crate::journal::recover::segment_numbers;
use crate::journal::segment;
use crate::journal::watermark::DurableWatermark;
use crate::storage::disk::{Disk, DiskFile};
use crate::value::clock::Micros;
use crate::value::error::{Error, Result};
use crate::value::finding::{Finding, FindingKind};
use bytes::Bytes;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// One step of the walk.
pub(crate) enum Step {
    /// A whole frame.
    Frame { at: Location, frame: Frame },
    /// A frame with a whole header and a damaged body, and its bytes.
    Broken { at: Location, header: Header, bytes: Bytes },
    /// A whole frame that nothing links to the others. It may be a payload that a user stored.
    Doubtful { at: Location, frame: Frame },
    /// Damage.
    Wrong(Finding),
}

/// What the next frame must continue.
#[derive(Debug, Clone, Copy)]
struct Expected {
    position: u64,
    time: Micros,
    /// `None` after damage that destroyed the chain.
    chain: Option<Chain>,
}

/// How far to walk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// A writer has the journal open: walk up to here, and ignore everything after it.
    Visible(Location),
    /// Nobody has the journal open: walk all of it. It must hold at least what the watermark names.
    End(Option<DurableWatermark>),
    /// The same for a replica, which has several frames in flight: any that the watermark does not name may be torn.
    EndOfReplica(DurableWatermark),
}

impl Until {
    /// What is known to have been durable when the journal was closed.
    pub(crate) fn watermark(&self) -> Option<&DurableWatermark> {
        match self {
            Until::End(Some(watermark)) | Until::EndOfReplica(watermark) => Some(watermark),
            Until::Visible(_) | Until::End(None) => None,
        }
    }
}

/// A segment that is being walked.
struct Open {
    number: u64,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    length: u64,
    at: u64,
    chunk: Bytes,
    chunk_offset: u64,
}

/// Damage whose lost positions are known only when the next frame or segment is found.
struct Pending {
    kind: FindingKind,
    path: PathBuf,
    offset: u64,
    what: &'static str,
}

const NO_FRAME: &str = "there is no frame where one must be";

/// The walk.
pub(crate) struct LenientScan {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    store: Uuid,
    until: Until,
    numbers: VecDeque<u64>,
    last_number: u64,
    next_number: u64,
    open: Option<Open>,
    expected: Expected,
    pending: Vec<Pending>,
    steps: VecDeque<Step>,
    ended: bool,
    /// Bytes that were read.
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
}

impl LenientScan {
    /// Walks the journal in `directory` of `store` from its first segment on.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: &Path,
        store: Uuid,
        until: Until,
    ) -> Result<LenientScan> {
        let mut numbers: VecDeque<u64> = segment_numbers(&*disk, directory)?.into();
        let mut last_number = numbers.back().copied().unwrap_or(0);
        match &until {
            Until::Visible(end) => {
                numbers.retain(|number| *number <= end.segment);
                last_number = end.segment;
            }
            until => {
                let known = until.watermark().map_or(1, |watermark| watermark.frame.segment);
                last_number = last_number.max(known);
            }
        }
        Ok(LenientScan {
            disk,
            directory: directory.to_owned(),
            store,
            until,
            numbers,
            last_number,
            next_number: 1,
            open: None,
            expected: Expected { position: 1, time: Micros(i64::MIN), chain: Some([0; 32]) },
            pending: Vec::new(),
            steps: VecDeque::new(),
            ended: false,
            bytes: 0,
            segments: 0,
        })
    }

    /// Bytes of the journal that are to be walked, as the files are now.
    pub(crate) fn total_bytes(&self) -> u64 {
        let length = |number: u64| {
            let file = self.disk.open(&segment::path(&self.directory, number));
            // What cannot be read is a finding of the walk.
            let length = file.and_then(|file| file.length()).unwrap_or(0);
            match &self.until {
                Until::Visible(end) if end.segment == number => end.offset.min(length),
                _ => length,
            }
        };
        self.numbers.iter().map(|number| length(*number)).sum()
    }

    /// The position after everything walked so far.
    pub(crate) fn next_position(&self) -> u64 {
        self.expected.position
    }

    /// The next step, or `None` at the end.
    ///
    /// # Errors
    /// `UnsupportedFormat` if a newer version wrote the journal.
    pub(crate) fn next(&mut self) -> Result<Option<Step>> {
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Ok(Some(step));
            }
            if self.ended {
                return Ok(None);
            }
            match self.open.take() {
                Some(open) => self.walk(open)?,
                None => self.enter()?,
            }
        }
    }

    fn wrong(&mut self, finding: Finding) {
        self.steps.push_back(Step::Wrong(finding));
    }

    fn end(&mut self) {
        self.ended = true;
        if !self.pending.is_empty() {
            // Nothing follows that shows how much is lost. Only the watermark may know.
            let known = self.until.watermark().map_or(0, |watermark| watermark.position);
            self.lost_up_to(known);
            self.expected.position = self.expected.position.max(known.saturating_add(1));
        }
    }

    // ---- damage ----------------------------------------------------------------------------------

    /// Remembers damage until the next frame or segment shows its positions.
    fn lose(&mut self, kind: FindingKind, path: PathBuf, offset: u64, what: &'static str) {
        self.expected.chain = None;
        self.pending.push(Pending { kind, path, offset, what });
    }

    /// Reports the remembered damage: everything before `follows` is lost.
    fn settle(&mut self, follows: &Expected) {
        if !self.pending.is_empty() {
            self.lost_up_to(follows.position - 1);
            self.expected = Expected { chain: None, ..*follows };
        }
    }

    fn lost_up_to(&mut self, last: u64) {
        for Pending { kind, path, offset, what } in std::mem::take(&mut self.pending) {
            let finding = Finding::new(kind, &path, what).at(offset);
            self.wrong(finding.positions(self.expected.position, last));
        }
    }

    // ---- frames ------------------------------------------------------------------------------------

    /// Takes one step in the segment.
    fn walk(&mut self, mut open: Open) -> Result<()> {
        let visible_end = match &self.until {
            Until::Visible(end) if end.segment == open.number => Some(end.offset),
            _ => None,
        };
        if visible_end.is_some_and(|end| open.at >= end) {
            self.end();
            return Ok(());
        }
        if open.at + frame::HEADER_BYTES as u64 > open.length {
            self.leave(open, None);
            return Ok(());
        }
        match self.header_here(&mut open) {
            Some(header) => return self.take_frame(open, header),
            None => self.find_next(open, visible_end),
        }
        Ok(())
    }

    /// The header at the current place, if it names that place.
    fn header_here(&mut self, open: &mut Open) -> Option<Header> {
        if open.at + frame::HEADER_BYTES as u64 > open.length {
            return None;
        }
        let ahead = self.fill(open, frame::HEADER_BYTES);
        Header::parse(&ahead)
            .filter(|header| header.lies_at(self.store, open.number, open.at))
            .filter(|header| open.at + header.padded_length() <= open.length)
    }

    fn take_frame(&mut self, mut open: Open, header: Header) -> Result<()> {
        let at = Location { segment: open.number, offset: open.at };
        refuse_newer(&open.path, at, &header, header.newer_form())?;
        let padded = in_memory(header.padded_length());
        let bytes = self.fill(&mut open, padded).slice(..padded);
        open.at += header.padded_length();
        let verified = Frame::verify(header.clone(), bytes.clone());
        if let Ok(frame) = &verified {
            refuse_newer(&open.path, at, &header, frame.newer_form())?;
        }
        if verified.is_err() && self.is_torn(&mut open, at) {
            let what = "a write was cut short by a crash";
            self.wrong(Finding::new(FindingKind::TornWrite, &open.path, what).at(at.offset));
            return Ok(());
        }
        let follows = Expected {
            position: header.first_position,
            time: header.time,
            chain: self.expected.chain,
        };
        self.settle(&follows);
        self.check_sequence(&open, at, &header);
        self.expected.time = self.expected.time.max(header.time);
        match verified {
            Ok(frame) => {
                self.check_chain(&open, at, &frame);
                self.steps.push_back(Step::Frame { at, frame });
            }
            Err(what) => {
                let finding = Finding::new(FindingKind::Frame, &open.path, what).at(at.offset);
                self.wrong(finding.positions(header.first_position, header.last_position()));
                self.steps.push_back(Step::Broken { at, header: header.clone(), bytes });
            }
        }
        self.expected = Expected {
            position: header.next_position(),
            time: header.time,
            chain: Some(header.chain),
        };
        self.open = Some(open);
        Ok(())
    }

    /// Whether a crash left this incomplete frame: nothing follows it, and it is not known to have been durable.
    /// Recovery also treats a frame that was durable as a torn write (`refuse_if_more_followed` in `recover`), because
    /// it saves the bytes and reports the write as `acknowledged`. Here, that frame is damaged and its events are lost.
    fn is_torn(&mut self, open: &mut Open, at: Location) -> bool {
        let is_last = open.number == self.last_number;
        if !is_last || matches!(self.until, Until::Visible(_)) || self.was_durable(at) {
            return false;
        }
        if matches!(self.until, Until::EndOfReplica(_)) {
            return true;
        }
        let (behind, length) = (open.at, open.length);
        // The next frame may follow without a gap.
        let (next, _) = self.look_ahead(open, length, 0);
        open.at = behind;
        next.is_none()
    }

    /// Whether the watermark names a durable frame at `at` or after it.
    fn was_durable(&self, at: Location) -> bool {
        let Some(watermark) = self.until.watermark() else { return false };
        // The watermark of a journal without frames names the place of the first frame.
        watermark.frame > at || (watermark.frame == at && watermark.end > at.offset)
    }

    fn check_sequence(&mut self, open: &Open, at: Location, header: &Header) {
        let (before, met) = (self.expected, header.first_position);
        let finding = |what| {
            let finding = Finding::new(FindingKind::Sequence, &open.path, what).at(at.offset);
            finding.positions(met, header.last_position())
        };
        if met != before.position {
            let what = format!("a frame begins at position {met} instead of {}", before.position);
            self.wrong(finding(what));
        } else if header.time < before.time {
            self.wrong(finding("a frame is older than the one before it".to_owned()));
        }
    }

    fn check_chain(&mut self, open: &Open, at: Location, frame: &Frame) {
        let (first, last) = (frame.header.first_position, frame.header.last_position());
        let finding = |kind, what: String| {
            Finding::new(kind, &open.path, what).at(at.offset).positions(first, last)
        };
        // Without the chain before it, the frame's chain cannot be checked. Its entries can still be read.
        let before = self.expected.chain.unwrap_or_default();
        match frame.chain_after(&before) {
            Err(what) => self.wrong(finding(FindingKind::Entry, what.to_string())),
            Ok(chain) if self.expected.chain.is_some() && chain != frame.header.chain => {
                self.wrong(finding(FindingKind::Chain, "the hash chain breaks".to_owned()));
            }
            Ok(_) => {}
        }
    }
}

/// Refuses a frame of a newer version: this version can judge neither that it is whole nor that it is damaged.
fn refuse_newer(path: &Path, at: Location, header: &Header, newer: Option<String>) -> Result<()> {
    match newer {
        Some(what) => Err(Error::newer(path, at.offset, Some(header.first_position), what)),
        None => Ok(()),
    }
}
