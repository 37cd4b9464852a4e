//! Own events whose effects are to come.

use std::collections::VecDeque;

/// The versions of own events whose effects are to come, as ranges: a reaction's events follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pending(VecDeque<(u64, u64)>);

impl Pending {
    pub(crate) fn of(ranges: impl IntoIterator<Item = (u64, u64)>) -> Pending {
        let mut pending = Pending::default();
        for (first, last) in ranges {
            pending.extend(first, last);
        }
        pending
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.0.front().map(|(first, _)| *first)
    }

    /// The ranges, each the first and the last version.
    pub(crate) fn ranges(&self) -> Vec<(u64, u64)> {
        self.0.iter().copied().collect()
    }

    pub(crate) fn remove_first(&mut self) {
        match self.0.front_mut() {
            Some(range) if range.0 < range.1 => range.0 += 1,
            _ => drop(self.0.pop_front()),
        }
    }

    /// Adds the versions from `first` to `last`, which are after all others; none if `last` is before `first`.
    pub(crate) fn extend(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        match self.0.back_mut() {
            Some((_, before)) if *before + 1 == first => *before = last,
            _ => self.0.push_back((first, last)),
        }
    }

    /// Adds one version, wherever its place is.
    pub(crate) fn insert(&mut self, version: u64) {
        let at = self.0.partition_point(|(first, _)| *first < version);
        if at.checked_sub(1).is_none_or(|before| self.0[before].1 < version) {
            self.0.insert(at, (version, version));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_go_from_the_front_and_come_at_the_end_or_where_they_were() {
        let mut pending = Pending::of([(2, 3), (4, 4), (7, 6)]);
        assert_eq!(pending.ranges(), [(2, 4)]);
        pending.remove_first();
        pending.extend(8, 9);
        pending.insert(2);
        pending.insert(6);
        pending.insert(9);
        assert_eq!(pending.ranges(), [(2, 2), (3, 4), (6, 6), (8, 9)]);
        let mut left = Vec::new();
        while let Some(first) = pending.first() {
            left.push(first);
            pending.remove_first();
        }
        assert_eq!(left, [2, 3, 4, 6, 8, 9]);
        assert!(pending.is_empty());
    }
}
