//! Rows and their indexes in memory. It counts the bytes that they take.

use crate::codec::view_entry;
use crate::model::projection::indexed::{EntrySource, no_index};
use crate::model::projection::merged::Changes;
use crate::model::projection::rows::RowSource;
use crate::value::error::{Error, ErrorKind, Result};
use crate::views::changes::Row;
use crate::views::entries::{EachEntry, Entry, EntryRange};
use crate::views::range::RowRange;
use crate::views::rows::EachRow;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of memory that a row takes besides its key and value: two allocations, and its share of the map's nodes.
pub(crate) const ROW_OVERHEAD_BYTES: usize = 160;
/// The same for an entry of an index.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// A view in memory.
pub(crate) struct MemoryRows {
    rows: BTreeMap<String, Row>,
    /// The keys of all entries, in the form that they have in a tree.
    entries: BTreeSet<Vec<u8>>,
    indexes: &'static [&'static str],
    /// The approximate memory that it takes.
    bytes: usize,
}

impl MemoryRows {
    /// Makes an empty view with these indexes.
    pub(crate) fn new(indexes: &'static [&'static str]) -> MemoryRows {
        MemoryRows { rows: BTreeMap::new(), entries: BTreeSet::new(), indexes, bytes: 0 }
    }

    /// Returns the approximate memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the keys of all rows, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.rows.keys()
    }

    pub(crate) fn apply(&mut self, changes: Changes) {
        for (key, row) in changes {
            if let Some(old) = self.rows.remove(&key) {
                self.bytes -= bytes_of(&key, &old);
                for entry in old.entries.keys(&key) {
                    self.entries.remove(&entry);
                }
            }
            let Some(Row { bytes, entries }) = row else { continue };
            // A copy, because what `apply` has written may have room for more.
            let row = Row { bytes: Bytes::copy_from_slice(&bytes), entries };
            self.bytes += bytes_of(&key, &row);
            self.entries.extend(row.entries.keys(&key));
            self.rows.insert(key, row);
        }
    }
}

fn bytes_of(key: &str, row: &Row) -> usize {
    let listed = row.entries.as_bytes().len();
    let entries = row.entries.iter().count() * (ENTRY_OVERHEAD_BYTES + key.len());
    ROW_OVERHEAD_BYTES + key.len() + row.bytes.len() + 2 * listed + entries
}

impl RowSource for MemoryRows {
    fn row(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.rows.get(key).map(|row| row.bytes.clone()))
    }

    fn scan(&self, range: &RowRange, each: &mut EachRow<'_>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let mut rows = self.rows.range::<str, _>(range.bounds());
        let next = || if range.backwards { rows.next_back() } else { rows.next() };
        for (key, row) in std::iter::from_fn(next) {
            if each(key.clone(), &|| Ok(row.bytes.clone()))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl EntrySource for MemoryRows {
    fn scan_entries(&self, range: &EntryRange, each: &mut EachEntry<'_>) -> Result<()> {
        if !self.indexes.contains(&range.index.as_str()) {
            return Err(no_index(&range.index, self.indexes));
        }
        let Some(keys) = range.keys() else { return Ok(()) };
        let keys = (std::ops::Bound::Included(keys.start), std::ops::Bound::Excluded(keys.end));
        let mut entries = self.entries.range::<[u8], _>(keys);
        let next = || if range.backwards { entries.next_back() } else { entries.next() };
        for entry in std::iter::from_fn(next) {
            let lost = || Error::new(ErrorKind::Corrupt, "an entry of an index in memory is lost");
            let (by, row) = view_entry::entry_of(entry).ok_or_else(lost)?;
            let bytes = self.rows.get(&row).map(|row| row.bytes.clone());
            if each(Entry { by, row }, &|| bytes.clone().ok_or_else(lost))?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::view_entry::Entries;

    /// What it takes is what is there, whatever was there before.
    #[test]
    fn the_bytes_are_those_of_the_rows_that_are_there() {
        let mut rows = MemoryRows::new(&["a"]);
        let change = |key: &str, row: Option<(&'static str, &[u8])>| {
            let row =
                row.map(|(row, by)| Row { bytes: row.into(), entries: Entries::new(&[("a", by)]) });
            Changes::from([(key.to_owned(), row)])
        };
        rows.apply(change("k", Some(("1", b"x"))));
        let one = rows.bytes();
        rows.apply(change("l", Some(("a longer row", b"longer"))));
        rows.apply(change("k", Some(("another", b"y"))));
        assert!(rows.bytes() > one);
        rows.apply(change("l", None));
        rows.apply(change("k", Some(("1", b"x"))));
        assert_eq!((rows.bytes(), rows.entries.len()), (one, 1));
        rows.apply(change("k", None));
        rows.apply(change("none", None));
        assert_eq!((rows.bytes(), rows.entries.len()), (0, 0));
    }
}
