//! Which rows of a view are read, and from which end.

use std::ops::Bound;

/// Keys of rows, in their order or against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowRange {
    from: Bound<String>,
    to: Bound<String>,
    pub(crate) backwards: bool,
}

impl RowRange {
    /// All rows, the first one first.
    pub(crate) fn all() -> RowRange {
        RowRange { from: Bound::Unbounded, to: Bound::Unbounded, backwards: false }
    }

    /// Leaves out the keys that do not begin with `prefix`.
    pub(crate) fn keep_prefix(&mut self, prefix: &str) {
        self.keep(Bound::Included(prefix), as_str(&end_of(prefix)));
    }

    /// Leaves out the keys that are before `from` or after `to`.
    pub(crate) fn keep(&mut self, from: Bound<&str>, to: Bound<&str>) {
        if is_narrower(from, as_str(&self.from), |a, b| a > b) {
            self.from = from.map(str::to_owned);
        }
        if is_narrower(to, as_str(&self.to), |a, b| a < b) {
            self.to = to.map(str::to_owned);
        }
    }

    /// Leaves out `key`, and what is read before it.
    pub(crate) fn pass(&mut self, key: &str) {
        match self.backwards {
            true => self.keep(Bound::Unbounded, Bound::Excluded(key)),
            false => self.keep(Bound::Excluded(key), Bound::Unbounded),
        }
    }

    pub(crate) fn bounds(&self) -> (Bound<&str>, Bound<&str>) {
        (as_str(&self.from), as_str(&self.to))
    }

    /// Whether no key can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self.bounds() {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (
                Bound::Included(from) | Bound::Excluded(from),
                Bound::Included(to) | Bound::Excluded(to),
            ) => from >= to,
            _ => false,
        }
    }
}

fn as_str(bound: &Bound<String>) -> Bound<&str> {
    bound.as_ref().map(String::as_str)
}

/// Whether `bound` leaves out more than `than`; `is_further` says which of two keys does.
fn is_narrower(bound: Bound<&str>, than: Bound<&str>, is_further: fn(&str, &str) -> bool) -> bool {
    match (bound, than) {
        (Bound::Unbounded, _) => false,
        (_, Bound::Unbounded) => true,
        (Bound::Excluded(key), Bound::Included(than)) => key == than || is_further(key, than),
        (
            Bound::Included(key) | Bound::Excluded(key),
            Bound::Included(than) | Bound::Excluded(than),
        ) => is_further(key, than),
    }
}

/// The first key after all that begin with `prefix`.
fn end_of(prefix: &str) -> Bound<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // UTF-8 has the order of the characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_prefix(prefix: &str) -> RowRange {
        let mut range = RowRange::all();
        range.keep_prefix(prefix);
        range
    }

    #[test]
    fn the_end_of_a_prefix_is_after_all_that_begin_with_it_and_before_everything_else() {
        let ends = [
            ("a", Some("b")),
            ("a/", Some("a0")),
            ("a\u{7F}", Some("a\u{80}")),
            ("\u{D7FF}", Some("\u{E000}")),
            ("a\u{10FFFF}\u{10FFFF}", Some("b")),
            ("\u{10FFFF}", None),
            ("", None),
        ];
        for (prefix, end) in ends {
            let end = end.map_or(Bound::Unbounded, |end| Bound::Excluded(end.to_owned()));
            assert_eq!(end_of(prefix), end, "{prefix:?}");
        }
    }

    #[test]
    fn a_range_holds_what_all_its_parts_hold() {
        let of = |from, to| {
            let mut range = of_prefix("b");
            range.keep(from, to);
            range
        };
        let within = of(Bound::Excluded("b3"), Bound::Included("b7"));
        assert_eq!(within.bounds(), (Bound::Excluded("b3"), Bound::Included("b7")));
        let beyond = of(Bound::Excluded("a"), Bound::Included("z"));
        assert_eq!(beyond, of_prefix("b"));
        let same = of(Bound::Excluded("b"), Bound::Included("c"));
        assert_eq!(same.bounds(), (Bound::Excluded("b"), Bound::Excluded("c")));
        assert!(of(Bound::Included("c"), Bound::Unbounded).is_empty());
        assert!(of(Bound::Included("b5"), Bound::Excluded("b5")).is_empty());
        assert!(!of(Bound::Included("b5"), Bound::Included("b5")).is_empty());
        assert!(of(Bound::Included("b6"), Bound::Included("b5")).is_empty());
    }

    #[test]
    fn what_was_passed_is_left_out_in_either_direction() {
        let mut forwards = RowRange::all();
        forwards.pass("b");
        assert_eq!(forwards.bounds(), (Bound::Excluded("b"), Bound::Unbounded));
        let mut backwards = RowRange { backwards: true, ..RowRange::all() };
        backwards.pass("b");
        assert_eq!(backwards.bounds(), (Bound::Unbounded, Bound::Excluded("b")));
    }
}
