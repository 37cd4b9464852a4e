//! Rows of a view in the order of an index's secondary keys.

use crate::model::projection::pages::{self, Each, Pages, Selection};
use crate::model::projection::rows::decode;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::views::entries::{EachEntry, Entry, EntryRange};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::ops::RangeBounds;

/// A source of index entries.
pub(crate) trait EntrySource {
    /// Calls `each` with the entries in `range`, as of one moment, until it breaks. It may hold a lock meanwhile.
    ///
    /// # Errors
    /// Among others [`no_index`].
    fn scan_entries(&self, range: &EntryRange, each: &mut EachEntry<'_>) -> Result<()>;
}

/// The error for an index that a view does not have; `there` are the indexes that it has.
pub(crate) fn no_index<N: AsRef<str>>(index: &str, there: &[N]) -> Error {
    let there: Vec<_> = there.iter().map(AsRef::as_ref).collect();
    let has = match there.is_empty() {
        true => "it has none".to_owned(),
        false => format!("it has {}", there.join(", ")),
    };
    let message = format!(
        "the view has no index {index:?}; {has}. The projection's INDEXES name them, and a view from before they did \
         gets them when it is rebuilt"
    );
    Error::invalid(message)
}

/// A row, with the secondary key by which it was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct IndexedRow<T> {
    /// The secondary key.
    pub by: Vec<u8>,
    /// The row's key.
    pub key: String,
    /// The row.
    pub row: T,
}

/// Rows of a view in the order of an index: that of the bytes of their secondary keys, and of the rows' keys where
/// those are equal. A row appears once for each of its secondary keys. Made by [`View::index`](crate::View::index),
/// [`ViewReader::index`](crate::projection::ViewReader::index) and
/// [`PastView::index`](crate::projection::PastView::index); see
/// [`ViewWriter::put_indexed`](crate::ViewWriter::put_indexed) for an example.
///
/// `key`, `prefix`, `range`, `after` and `before` each narrow the selection. They refer to the order of the index, from
/// whichever end it is read. A read takes time and memory for the rows that it returns, not for the others.
#[derive(Clone)]
#[must_use = "nothing is read before `collect`, `first`, `iter` or `count`"]
pub struct IndexRows<'a> {
    selected: Selected<'a>,
    limit: u64,
}

/// Entries of an index in a range.
#[derive(Clone)]
struct Selected<'a> {
    source: &'a dyn EntrySource,
    range: EntryRange,
}

impl Selection for Selected<'_> {
    type Key = Entry;

    fn scan(&self, each: &mut Each<'_, Entry>) -> Result<()> {
        self.source.scan_entries(&self.range, each)
    }

    fn pass(&mut self, last: &Entry) {
        self.range.pass(last);
        if failpoint!("projection::pass_by_the_secondary_key") {
            // Leaves out the rows with the same secondary key.
            self.range.pass(&Entry { row: "\u{10FFFF}".repeat(9), ..last.clone() });
        }
    }

    fn bytes_of(key: &Entry) -> usize {
        key.by.len() + key.row.len()
    }
}

impl<'a> IndexRows<'a> {
    pub(crate) fn new(source: &'a dyn EntrySource, index: &str) -> IndexRows<'a> {
        IndexRows { selected: Selected { source, range: EntryRange::all(index) }, limit: u64::MAX }
    }

    /// Reads only rows with this secondary key, in the order of their own keys.
    pub fn key(mut self, by: impl AsRef<[u8]>) -> IndexRows<'a> {
        self.selected.range.keep_equal(by.as_ref());
        self
    }

    /// Reads only rows whose secondary keys begin with `prefix`.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> IndexRows<'a> {
        self.selected.range.keep_prefix(prefix.as_ref());
        self
    }

    /// Reads only rows whose secondary keys are in `range`.
    pub fn range<'k>(mut self, range: impl RangeBounds<&'k [u8]>) -> IndexRows<'a> {
        self.selected.range.keep_range(&range);
        self
    }

    /// Reads only what comes after the row `key` with the secondary key `by`. With the keys of the last row of a page,
    /// this is the next page.
    pub fn after(mut self, by: impl AsRef<[u8]>, key: &str) -> IndexRows<'a> {
        self.selected.range.keep_after(by.as_ref(), key);
        self
    }

    /// Reads only what comes before the row `key` with the secondary key `by`. With the keys of the last row of a page
    /// that was read backwards, this is the next page in that direction.
    pub fn before(mut self, by: impl AsRef<[u8]>, key: &str) -> IndexRows<'a> {
        self.selected.range.keep_before(by.as_ref(), key);
        self
    }

    /// Reads the greatest secondary key first.
    pub fn backwards(mut self) -> IndexRows<'a> {
        self.selected.range.backwards = true;
        self
    }

    /// Reads at most this many rows.
    pub fn limit(mut self, rows: u64) -> IndexRows<'a> {
        self.limit = rows;
        self
    }

    /// Reads all selected rows at once, as of one moment.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the view has no such index; those of
    /// [`View::get`](crate::View::get).
    pub fn collect<T: DeserializeOwned>(self) -> Result<Vec<IndexedRow<T>>> {
        pages::all(&self.selected, self.limit, decoded)
    }

    /// Reads the first row: after [`backwards`](IndexRows::backwards), the one with the greatest secondary key.
    ///
    /// # Errors
    /// Those of [`collect`](IndexRows::collect).
    pub fn first<T: DeserializeOwned>(self) -> Result<Option<IndexedRow<T>>> {
        let limit = self.limit.min(1);
        Ok(self.limit(limit).collect()?.pop())
    }

    /// Counts the selected rows without reading them. It walks over their entries, as of one moment, so its time grows
    /// with the count.
    ///
    /// # Errors
    /// Those of [`collect`](IndexRows::collect), except those of decoding.
    pub fn count(self) -> Result<u64> {
        pages::count(&self.selected, self.limit)
    }

    /// Reads the rows one after the other. The iterator holds one page of at most 512 rows, and reads the next page
    /// when that is used up; the projection does not wait for the iterator's caller.
    ///
    /// Each page is of one moment, and later pages are of later moments, as with
    /// [`Rows::iter`](crate::projection::Rows::iter). A row whose secondary key changes meanwhile may be returned with
    /// the old key, the new one, both or neither.
    pub fn iter<T: DeserializeOwned>(
        self,
    ) -> impl Iterator<Item = Result<IndexedRow<T>>> + use<'a, T> {
        Pages::new(self.selected, self.limit, decoded)
    }
}

fn decoded<T: DeserializeOwned>((entry, row): (Entry, Bytes)) -> Result<IndexedRow<T>> {
    let Entry { by, row: key } = entry;
    decode(&key, &row).map(|row| IndexedRow { by, key, row })
}
