//! Reading a view's indexes: entries in the order of their secondary keys, from either end, each with its row.

use super::{OpenViews, ViewTree};
use crate::codec::row;
use crate::codec::view_entry::{self, Entries};
use crate::value::error::Result;
use bytes::Bytes;
use std::ops::{Bound, ControlFlow, RangeBounds};

/// The entries of one index in the order of their keys, or against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryRange {
    pub(crate) index: String,
    /// The first key, and the one after the last.
    from: Vec<u8>,
    to: Vec<u8>,
    pub(crate) backwards: bool,
}

impl EntryRange {
    /// All entries of `index`, the first one first.
    pub(crate) fn all(index: &str) -> EntryRange {
        let from = view_entry::prefix(index, b"");
        let to = end_of(from.clone());
        EntryRange { index: index.to_owned(), from, to, backwards: false }
    }

    /// Leaves out the secondary keys that do not begin with `prefix`.
    pub(crate) fn keep_prefix(&mut self, prefix: &[u8]) {
        let from = view_entry::prefix(&self.index, prefix);
        self.keep(Some(from.clone()), Some(end_of(from)));
    }

    /// Leaves out the secondary keys that are not `by`.
    pub(crate) fn keep_equal(&mut self, by: &[u8]) {
        let from = view_entry::prefix_of_equal(&self.index, by);
        self.keep(Some(from.clone()), Some(end_of(from)));
    }

    /// Leaves out the secondary keys that are not in `range`.
    pub(crate) fn keep_range<'k>(&mut self, range: &impl RangeBounds<&'k [u8]>) {
        let of = |by: &&[u8]| view_entry::prefix_of_equal(&self.index, by);
        let from = match range.start_bound() {
            Bound::Included(by) => Some(of(by)),
            Bound::Excluded(by) => Some(end_of(of(by))),
            Bound::Unbounded => None,
        };
        let to = match range.end_bound() {
            Bound::Included(by) => Some(end_of(of(by))),
            Bound::Excluded(by) => Some(of(by)),
            Bound::Unbounded => None,
        };
        self.keep(from, to);
    }

    /// Leaves out the entry of the row `key`, and those before it.
    pub(crate) fn keep_after(&mut self, by: &[u8], key: &str) {
        let mut first = view_entry::entry_key(&self.index, by, key);
        first.push(0);
        self.keep(Some(first), None);
    }

    /// Leaves out the entry of the row `key`, and those after it.
    pub(crate) fn keep_before(&mut self, by: &[u8], key: &str) {
        self.keep(None, Some(view_entry::entry_key(&self.index, by, key)));
    }

    /// Leaves out this entry, and what is read before it.
    pub(crate) fn pass(&mut self, Entry { by, row }: &Entry) {
        match self.backwards {
            true => self.keep_before(by, row),
            false => self.keep_after(by, row),
        }
    }

    fn keep(&mut self, from: Option<Vec<u8>>, to: Option<Vec<u8>>) {
        if let Some(from) = from {
            self.from = from.max(std::mem::take(&mut self.from));
        }
        if let Some(to) = to {
            self.to = to.min(std::mem::take(&mut self.to));
        }
    }

    /// The keys in the tree; `None` if there can be none.
    pub(crate) fn keys(&self) -> Option<std::ops::Range<&[u8]>> {
        (self.from < self.to).then_some(&self.from..&self.to)
    }
}

/// The first key after all that begin with `prefix`, which is not all 255.
fn end_of(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            return prefix;
        }
    }
    prefix
}

/// An entry of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The secondary key.
    pub(crate) by: Vec<u8>,
    /// The row's key.
    pub(crate) row: String,
}

/// What is done with each entry: it gets the entry, and what reads its row, and says whether to go on.
pub(crate) type EachEntry<'a> =
    dyn FnMut(Entry, &dyn Fn() -> Result<Bytes>) -> Result<ControlFlow<()>> + 'a;

impl ViewTree {
    /// The same tree with indexes of these names.
    pub(crate) fn with_indexes(mut self, names: Vec<String>) -> ViewTree {
        self.indexes = names;
        self
    }

    /// The names of its indexes.
    pub(crate) fn indexes(&self) -> &[String] {
        &self.indexes
    }

    /// Gives the entries in `range` to `each`, which must not read views itself, until it breaks off: no other entry is
    /// touched, but one at most after the last.
    pub(crate) fn scan_entries(&self, range: &EntryRange, each: &mut EachEntry<'_>) -> Result<()> {
        let Some(keys) = range.keys() else { return Ok(()) };
        let views = self.views.read()?;
        let mut entries = views.db().range(views.tree(&self.name)?, keys);
        loop {
            let entry = match range.backwards {
                true => entries.next_back()?,
                false => entries.next()?,
            };
            let Some((key, _)) = entry else { return Ok(()) };
            let damaged = || self.damaged(&views);
            let (by, row) = view_entry::entry_of(&key).ok_or_else(damaged)?;
            let row_key = row::row_key(&row);
            let read = || self.value_in(&views, &row_key)?.ok_or_else(damaged);
            if each(Entry { by, row }, &read)?.is_break() {
                return Ok(());
            }
        }
    }

    /// The entries of the row `key`.
    pub(super) fn entries_in(&self, views: &OpenViews<'_>, key: &str) -> Result<Entries> {
        match self.value_in(views, &view_entry::entries_key(key))? {
            None => Ok(Entries::default()),
            Some(list) => Entries::decode(&list).ok_or_else(|| self.damaged(views)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_prefix(prefix: &[u8]) -> EntryRange {
        let mut range = EntryRange::all("i");
        range.keep_prefix(prefix);
        range
    }

    fn holds(range: &EntryRange, by: &[u8]) -> bool {
        let key = view_entry::entry_key("i", by, "k");
        range.keys().is_some_and(|keys| keys.contains(&&key[..]))
    }

    #[test]
    fn a_range_holds_its_own_index_alone() {
        let all = EntryRange::all("i");
        for by in [&b""[..], b"\0", b"\xFF\xFF"] {
            assert!(holds(&all, by), "{by:?}");
        }
        for other in ["", "h", "i\u{1}", "ii", "j"] {
            let key = view_entry::entry_key(other, b"", "k");
            assert!(!all.keys().unwrap().contains(&&key[..]), "{other:?}");
        }
    }

    #[test]
    fn a_prefix_holds_the_keys_that_begin_with_it() {
        let keys = [&b""[..], b"a", b"a\0", b"a\0\0", b"a\0\x01", b"ab", b"a\xFF", b"b", b"\xFF"];
        for prefix in keys {
            let range = of_prefix(prefix);
            for key in keys {
                assert_eq!(holds(&range, key), key.starts_with(prefix), "{prefix:?}, {key:?}");
            }
        }
    }

    #[test]
    fn each_bound_leaves_out_more() {
        let mut range = of_prefix(b"b");
        range.keep_range(&(&b"a"[..]..));
        assert_eq!(range, of_prefix(b"b"));
        range.keep_range(&(Bound::Excluded(&b"b1"[..]), Bound::Included(&b"b5"[..])));
        let held = |range: &EntryRange| -> Vec<u8> {
            (0..9).filter(|n| holds(range, &[b'b', b'0' + n])).collect()
        };
        assert_eq!(held(&range), [2, 3, 4, 5]);
        range.keep_after(b"b3", "k");
        range.keep_before(b"b5", "k");
        assert_eq!(held(&range), [4]);
        range.keep_equal(b"b7");
        assert_eq!(range.keys(), None);
        let (mut forwards, mut backwards) = (EntryRange::all("i"), EntryRange::all("i"));
        backwards.backwards = true;
        let entry = Entry { by: b"b4".to_vec(), row: "k".to_owned() };
        forwards.pass(&entry);
        backwards.pass(&entry);
        assert_eq!(held(&forwards), [5, 6, 7, 8]);
        assert_eq!(held(&backwards), [0, 1, 2, 3]);
    }
}
