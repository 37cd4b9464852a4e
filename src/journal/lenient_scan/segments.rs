//! Enters and leaves segments: checks a segment's header, its length, and whether the next segment follows it.

use crate::codec::frame::Location;
use crate::journal::lenient_scan::{Expected, LenientScan, Open, Until};
use crate::journal::segment::{self, HeaderError, SegmentHeader};
use crate::value::error::{Error, ErrorKind, Result, is_exhaustion};
use crate::value::finding::{Finding, FindingKind};
use crate::value::limits::SEGMENT_LENGTH_MAX;
use bytes::Bytes;

impl LenientScan {
    pub(super) fn enter(&mut self) -> Result<()> {
        let number = self.next_number;
        if number > self.last_number {
            self.end();
            return Ok(());
        }
        self.next_number += 1;
        let path = segment::path(&self.directory, number);
        let next = self.numbers.front().copied();
        if next != Some(number) {
            // One finding for all missing segments up to the next one: a stray file name or a forged
            // watermark can make them as many as there are numbers.
            self.lose(FindingKind::SegmentMissing, path, 0, "the segment is missing");
            match next {
                Some(next) => self.next_number = next,
                None => self.end(),
            }
            return Ok(());
        }
        self.numbers.pop_front();
        let opened = self.disk.open(&path).and_then(|file| Ok((file.length()?, file)));
        let (length, file) = match opened {
            Ok(opened) => opened,
            // Exhaustion says nothing about the segment.
            Err(error) if is_exhaustion(&error) => return Err(Error::io("open", &path, error)),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a segment cannot be opened");
                self.lose(FindingKind::Unreadable, path, 0, "the segment cannot be opened");
                return Ok(());
            }
        };
        self.segments += 1;
        let (at, chunk) = (segment::HEADER_BYTES, Bytes::new());
        let mut open = Open { number, path, file, length, at, chunk, chunk_offset: 0 };
        let page = self.read(&open, 0, segment::HEADER_PAGE_BYTES);
        match SegmentHeader::decode(&page) {
            Ok(header) => self.enter_with(&mut open, &header),
            Err(newer @ HeaderError::Format(_)) => {
                let message = format!("{}: {newer}", open.path.display());
                return Err(Error::new(ErrorKind::UnsupportedFormat, message));
            }
            Err(damage) => {
                let what = damage.to_string();
                self.wrong(Finding::new(FindingKind::SegmentHeader, &open.path, what).at(0));
            }
        }
        // A damaged header gives no length. No segment is longer than this.
        open.length = open.length.min(SEGMENT_LENGTH_MAX);
        self.open = Some(open);
        Ok(())
    }

    fn enter_with(&mut self, open: &mut Open, header: &SegmentHeader) {
        let finding = |kind, offset, what: String| Finding::new(kind, &open.path, what).at(offset);
        if header.store != self.store || header.number != open.number {
            let (store, number) = (header.store, header.number);
            let what = format!("it is segment {number} of the store {store}");
            self.wrong(finding(FindingKind::SegmentHeader, 16, what));
            return;
        }
        if open.length != header.length {
            let what =
                format!("it is {} bytes long; it was created with {}", open.length, header.length);
            let at = open.length.min(header.length);
            self.wrong(finding(FindingKind::SegmentLength, at, what));
            open.length = open.length.min(header.length);
        }
        let follows = Expected {
            position: header.first_position,
            time: header.time,
            chain: Some(header.chain),
        };
        self.settle(&follows);
        let before = self.expected;
        if before.chain.is_some_and(|chain| chain != header.chain) {
            let what = "the hash chain breaks between the segment before and this one".to_owned();
            self.wrong(finding(FindingKind::Chain, 64, what));
        } else if before.chain.is_some() && before.position != header.first_position {
            let (met, expected) = (header.first_position, before.position);
            let what = format!("it begins at position {met} instead of {expected}");
            self.wrong(finding(FindingKind::Sequence, 48, what));
        }
        self.expected = follows;
    }

    /// Leaves a segment after its last frame. Only zeros may follow that frame, and the next segment must
    /// continue from it.
    pub(super) fn leave(&mut self, open: Open, last_used: Option<u64>) {
        let Open { number, path, at: from, .. } = open;
        if number == self.last_number {
            if matches!(self.until, Until::Visible(_)) {
                return;
            }
            if self.was_durable(Location { segment: number, offset: from }) {
                let what = "the journal ends before the end that was durable";
                self.lose(FindingKind::Frame, path, from, what);
            } else if let Some(last) = last_used {
                let what = format!("{} bytes follow the journal's last frame", last + 1 - from);
                self.wrong(Finding::new(FindingKind::TornWrite, &path, what).at(from));
            }
        } else if !self.next_segment_follows(number + 1) {
            let what =
                "frames are missing at the segment's end, or the next segment does not follow it";
            self.lose(FindingKind::Frame, path, from, what);
        } else if last_used.is_some() {
            let what = "the bytes after the segment's last frame are not zero";
            self.wrong(Finding::new(FindingKind::Unused, &path, what).at(from));
        }
    }

    /// Whether segment `number` begins at the current position. True also if its header cannot be read,
    /// which is reported when the segment is entered.
    fn next_segment_follows(&self, number: u64) -> bool {
        let path = segment::path(&self.directory, number);
        let Ok(file) = self.disk.open(&path) else { return true };
        let mut page = vec![0; segment::HEADER_PAGE_BYTES];
        if file.read_at(&mut page, 0).is_err() {
            return true;
        }
        let Ok(header) = SegmentHeader::decode(&page) else { return true };
        let Expected { position, chain, .. } = self.expected;
        header.first_position == position && chain.is_none_or(|chain| chain == header.chain)
    }
}
