//! The events past the cursor that are finished, as ranges of positions.
//!
//! * Two ranges are joined if everything between them was ingested and nothing of it is unfinished: so there are never
//!   more ranges than unfinished events, and one.
//! * What the cursor has passed is in no range.

use std::collections::{BTreeMap, BTreeSet};

/// First and last positions of what is finished.
pub(super) struct Finished(BTreeMap<u64, u64>);

impl Finished {
    pub(super) fn new(ranges: Vec<(u64, u64)>) -> Finished {
        Finished(ranges.into_iter().collect())
    }

    pub(super) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn holds(&self, position: u64) -> bool {
        let before = self.0.range(..=position).next_back();
        before.is_some_and(|(_, last)| position <= *last)
    }

    /// Adds `position`, and joins the ranges beside it where nothing in between is in `open`. Everything up to
    /// `taken` was ingested.
    pub(super) fn mark(&mut self, position: u64, taken: u64, open: &BTreeSet<u64>) {
        let (mut first, mut last) = (position, position);
        if let Some((&start, &end)) = self.0.range(..position).next_back()
            && open.range(end..position).next().is_none()
        {
            first = start;
        }
        if let Some((&start, &end)) = self.0.range(position..).next()
            && start <= taken
            && open.range(position..start).next().is_none()
        {
            self.0.remove(&start);
            last = end;
        }
        self.0.insert(first, last);
    }

    /// Joins the range that an earlier run began at `position`, which is ingested now, to the one before, if nothing
    /// in between is in `open`.
    pub(super) fn join(&mut self, position: u64, open: &BTreeSet<u64>) {
        let mut ranges = self.0.range(..=position).rev();
        let (Some((&start, &last)), Some((&first, &end))) = (ranges.next(), ranges.next()) else {
            return;
        };
        if start == position && open.range(end..start).next().is_none() {
            self.0.remove(&start);
            self.0.insert(first, last);
        }
    }

    /// Drops the ranges that end at `cursor` or before.
    pub(super) fn forget_up_to(&mut self, cursor: u64) {
        while let Some(range) = self.0.first_entry() {
            if *range.get() > cursor {
                return;
            }
            range.remove();
        }
    }
}
