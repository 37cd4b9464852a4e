//! The index's position marks, held against the frames in order.

use crate::codec::frame::{Frame, Location};
use crate::codec::sparse_index::Mark;
use crate::doctor::audit::audited::Audited;
use crate::index::inspect::Page;
use crate::log::read::located::{is_next_mark, mark_of};
use crate::value::error::Result;
use crate::value::finding::{Finding, FindingKind, Findings};
use std::collections::VecDeque;

/// A walk over the marks beside the walk over the frames.
pub(super) struct Marks<'a> {
    index: &'a Audited<'a>,
    page: VecDeque<Mark>,
    after: Option<Vec<u8>>,
    ended: bool,
    /// The newest mark that points at a frame.
    last: Option<Mark>,
    /// Marks behind this are of frames that the audit does not walk over.
    walked: u64,
}

impl<'a> Marks<'a> {
    pub(super) fn new(index: &'a Audited<'a>) -> Marks<'a> {
        Marks { index, page: VecDeque::new(), after: None, ended: false, last: None, walked: 0 }
    }

    /// Holds the frame at `at` against the marks.
    pub(super) fn frame(
        &mut self,
        at: Location,
        frame: &Frame,
        findings: &mut Findings,
    ) -> Result<()> {
        if !self.index.holds(at) {
            return Ok(());
        }
        let expected = mark_of(at, frame);
        self.walked = expected.position;
        while let Some(mark) = self.next(findings)? {
            if mark.position >= expected.position {
                break;
            }
            self.page.pop_front();
            findings.add(self.astray(&mark));
        }
        let here = self.page.front().filter(|mark| mark.position == expected.position).copied();
        if here == Some(expected) {
            self.page.pop_front();
            self.last = Some(expected);
            return Ok(());
        }
        // Frames without events share a position, and so a mark, with the frame behind them.
        let has_mark =
            here.is_some() || self.last.is_some_and(|last| last.position == expected.position);
        if is_next_mark(self.last.as_ref(), &expected) && !has_mark {
            let what = format!("there is no position mark for the frame at byte {}", at.offset);
            let finding = self.index.finding(FindingKind::IndexPosition, what);
            findings.add(finding.positions(expected.position, frame.header.last_position()));
            // Only the first that is missing is named, not all that could lean on it.
            self.last = Some(expected);
        }
        Ok(())
    }

    /// Names the marks that are left over.
    pub(super) fn end(&mut self, findings: &mut Findings) -> Result<()> {
        while let Some(mark) = self.next(findings)? {
            self.page.pop_front();
            let is_of_the_walk = mark.position <= self.walked || !self.index.is_live();
            let is_beyond = mark.location >= self.index.stored.checkpoint.next;
            if is_of_the_walk && !is_beyond {
                findings.add(self.astray(&mark));
            }
        }
        Ok(())
    }

    fn astray(&self, mark: &Mark) -> Finding {
        let Location { segment, offset } = mark.location;
        let what = format!(
            "a position mark points at byte {offset} of segment {segment}, where no such frame begins"
        );
        let finding = self.index.finding(FindingKind::IndexPosition, what);
        finding.positions(mark.position, mark.position)
    }

    fn next(&mut self, findings: &mut Findings) -> Result<Option<Mark>> {
        while self.page.is_empty() && !self.ended {
            let after = self.after.clone();
            let page = self.index.answer(findings, |index| index.marks_after(after.as_deref()))?;
            self.take(page.unwrap_or_default(), findings);
        }
        Ok(self.page.front().copied())
    }

    fn take(&mut self, page: Page<Mark>, findings: &mut Findings) {
        self.ended = page.is_empty();
        self.after = page.last().map(|(key, _)| key.to_vec());
        for (_, mark) in page {
            match mark {
                Ok(mark) => self.page.push_back(mark),
                Err(what) => {
                    findings.add(self.index.finding(FindingKind::IndexPosition, what));
                }
            }
        }
    }
}
