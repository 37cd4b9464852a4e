//! Compares the sparse index with the frames, in order.

use crate::codec::frame::{Frame, Location};
use crate::codec::sparse_index::SparseEntry;
use crate::doctor::audit::audited::Audited;
use crate::index::inspect::Page;
use crate::log::read::located::{is_next_sparse_entry, sparse_entry_of};
use crate::value::error::Result;
use crate::value::finding::{Finding, FindingKind, Findings};
use std::collections::VecDeque;

/// A walk over the sparse index entries, in parallel with the walk over the frames.
pub(super) struct SparseEntries<'a> {
    index: &'a Audited<'a>,
    page: VecDeque<SparseEntry>,
    after: Option<Vec<u8>>,
    ended: bool,
    /// The newest sparse index entry that points at a frame.
    last: Option<SparseEntry>,
    /// The audit does not read the frames of entries after this position.
    walked: u64,
}

impl<'a> SparseEntries<'a> {
    pub(super) fn new(index: &'a Audited<'a>) -> SparseEntries<'a> {
        SparseEntries {
            index,
            page: VecDeque::new(),
            after: None,
            ended: false,
            last: None,
            walked: 0,
        }
    }

    /// Compares the frame at `at` with the sparse index entries.
    pub(super) fn frame(
        &mut self,
        at: Location,
        frame: &Frame,
        findings: &mut Findings,
    ) -> Result<()> {
        if !self.index.holds(at) {
            return Ok(());
        }
        let expected = sparse_entry_of(at, frame);
        self.walked = expected.position;
        while let Some(sparse_entry) = self.next(findings)? {
            if sparse_entry.position >= expected.position {
                break;
            }
            self.page.pop_front();
            findings.add(self.astray(&sparse_entry));
        }
        let here = self
            .page
            .front()
            .filter(|sparse_entry| sparse_entry.position == expected.position)
            .copied();
        if here == Some(expected) {
            self.page.pop_front();
            self.last = Some(expected);
            return Ok(());
        }
        // Frames without events share a position, and so a sparse index entry, with the frame after them.
        let has_mark =
            here.is_some() || self.last.is_some_and(|last| last.position == expected.position);
        if is_next_sparse_entry(self.last.as_ref(), &expected) && !has_mark {
            let what =
                format!("there is no sparse index entry for the frame at byte {}", at.offset);
            let finding = self.index.finding(FindingKind::IndexPosition, what);
            findings.add(finding.positions(expected.position, frame.header.last_position()));
            // Report only the first missing entry, not those that depend on it.
            self.last = Some(expected);
        }
        Ok(())
    }

    /// Reports the remaining sparse index entries.
    pub(super) fn end(&mut self, findings: &mut Findings) -> Result<()> {
        while let Some(sparse_entry) = self.next(findings)? {
            self.page.pop_front();
            let is_of_the_walk = sparse_entry.position <= self.walked || !self.index.is_live();
            let is_beyond = sparse_entry.location >= self.index.stored.checkpoint.next;
            if is_of_the_walk && !is_beyond {
                findings.add(self.astray(&sparse_entry));
            }
        }
        Ok(())
    }

    fn astray(&self, sparse_entry: &SparseEntry) -> Finding {
        let Location { segment, offset } = sparse_entry.location;
        let what = format!(
            "a sparse index entry points at byte {offset} of segment {segment}, where no such frame begins"
        );
        let finding = self.index.finding(FindingKind::IndexPosition, what);
        finding.positions(sparse_entry.position, sparse_entry.position)
    }

    fn next(&mut self, findings: &mut Findings) -> Result<Option<SparseEntry>> {
        while self.page.is_empty() && !self.ended {
            let after = self.after.clone();
            let page = self.index.ask(|index| index.sparse_entries_after(after.as_deref()));
            let page = self.index.unless_damaged(findings, page)?;
            self.take(page.unwrap_or_default(), findings);
        }
        Ok(self.page.front().copied())
    }

    fn take(&mut self, page: Page<SparseEntry>, findings: &mut Findings) {
        self.ended = page.is_empty();
        self.after = page.last().map(|(key, _)| key.to_vec());
        for (_, sparse_entry) in page {
            match sparse_entry {
                Ok(sparse_entry) => self.page.push_back(sparse_entry),
                Err(what) => {
                    findings.add(self.index.finding(FindingKind::IndexPosition, what));
                }
            }
        }
    }
}
