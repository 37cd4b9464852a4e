//! Reads rows in the order of an index's secondary keys: all of them, a page, or one after the other.
//!
//! * The cost depends on the entries and rows that are returned, not on the size of the view.
//! * A source returns raw rows, and releases what it holds before any of them is decoded.

use crate::model::projection::rows::{FIRST_PAGE_ROWS, decode};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{VIEW_PAGE_BYTES_MIN, VIEW_PAGE_ROWS_MAX};
use crate::views::entries::{EachEntry, Entry, EntryRange};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::ops::{ControlFlow, RangeBounds};

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
    source: &'a dyn EntrySource,
    range: EntryRange,
    limit: u64,
}

impl<'a> IndexRows<'a> {
    pub(crate) fn new(source: &'a dyn EntrySource, index: &str) -> IndexRows<'a> {
        IndexRows { source, range: EntryRange::all(index), limit: u64::MAX }
    }

    /// Reads only rows with this secondary key, in the order of their own keys.
    pub fn key(mut self, by: impl AsRef<[u8]>) -> IndexRows<'a> {
        self.range.keep_equal(by.as_ref());
        self
    }

    /// Reads only rows whose secondary keys begin with `prefix`.
    pub fn prefix(mut self, prefix: impl AsRef<[u8]>) -> IndexRows<'a> {
        self.range.keep_prefix(prefix.as_ref());
        self
    }

    /// Reads only rows whose secondary keys are in `range`.
    pub fn range<'k>(mut self, range: impl RangeBounds<&'k [u8]>) -> IndexRows<'a> {
        self.range.keep_range(&range);
        self
    }

    /// Reads only what comes after the row `key` with the secondary key `by`. With the keys of the last row of a page,
    /// this is the next page.
    pub fn after(mut self, by: impl AsRef<[u8]>, key: &str) -> IndexRows<'a> {
        self.range.keep_after(by.as_ref(), key);
        self
    }

    /// Reads only what comes before the row `key` with the secondary key `by`. With the keys of the last row of a page
    /// that was read backwards, this is the next page in that direction.
    pub fn before(mut self, by: impl AsRef<[u8]>, key: &str) -> IndexRows<'a> {
        self.range.keep_before(by.as_ref(), key);
        self
    }

    /// Reads the greatest secondary key first.
    pub fn backwards(mut self) -> IndexRows<'a> {
        self.range.backwards = true;
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
        let page = read_page(self.source, &self.range, self.limit, usize::MAX)?;
        page.rows.into_iter().map(decoded).collect()
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
        let mut count = 0;
        if self.limit > 0 {
            self.source.scan_entries(&self.range, &mut |_, _| {
                count += 1;
                let goes_on = count < self.limit;
                Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
        }
        Ok(count)
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
        let IndexRows { source, range, limit } = self;
        let page = Vec::new().into_iter();
        let row = PhantomData;
        Iter { source, range, limit, page, page_rows: FIRST_PAGE_ROWS, is_over: false, row }
    }
}

fn decoded<T: DeserializeOwned>((entry, row): (Entry, Bytes)) -> Result<IndexedRow<T>> {
    let Entry { by, row: key } = entry;
    decode(&key, &row).map(|row| IndexedRow { by, key, row })
}

/// Raw rows of one moment.
struct Page {
    rows: Vec<(Entry, Bytes)>,
    /// Whether there are no more.
    is_last: bool,
}

/// Reads at most `rows_max` rows, and stops after the one with which they have `bytes_min` bytes.
fn read_page(
    source: &dyn EntrySource,
    range: &EntryRange,
    rows_max: u64,
    bytes_min: usize,
) -> Result<Page> {
    let mut page = Page { rows: Vec::new(), is_last: true };
    if rows_max == 0 {
        return Ok(page);
    }
    let mut bytes = 0;
    source.scan_entries(range, &mut |entry, row| {
        let row = row()?;
        bytes += entry.by.len() + entry.row.len() + row.len();
        page.rows.push((entry, row));
        let is_full = page.rows.len() as u64 >= rows_max || bytes >= bytes_min;
        page.is_last = !is_full;
        Ok(if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(page)
}

/// Rows that are read page by page.
struct Iter<'a, T> {
    source: &'a dyn EntrySource,
    /// What is still to be read.
    range: EntryRange,
    limit: u64,
    page: std::vec::IntoIter<(Entry, Bytes)>,
    /// Of the next page.
    page_rows: u64,
    is_over: bool,
    row: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iter<'_, T> {
    /// The next raw row.
    fn next_row(&mut self) -> Result<Option<(Entry, Bytes)>> {
        if self.page.len() == 0 && !self.is_over {
            let rows_max = self.page_rows.min(self.limit);
            let page = read_page(self.source, &self.range, rows_max, VIEW_PAGE_BYTES_MIN)?;
            if let Some((last, _)) = page.rows.last() {
                self.range.pass(last);
                if failpoint!("projection::pass_by_the_secondary_key") {
                    // Leaves out the rows with the same secondary key.
                    self.range.pass(&Entry { row: "\u{10FFFF}".repeat(9), ..last.clone() });
                }
            }
            self.limit -= page.rows.len() as u64;
            self.is_over = page.is_last || self.limit == 0;
            self.page_rows = (2 * self.page_rows).min(VIEW_PAGE_ROWS_MAX);
            self.page = page.rows.into_iter();
        }
        Ok(self.page.next())
    }
}

impl<T: DeserializeOwned> Iterator for Iter<'_, T> {
    type Item = Result<IndexedRow<T>>;

    fn next(&mut self) -> Option<Result<IndexedRow<T>>> {
        let next = self.next_row().and_then(|next| next.map(decoded).transpose());
        if next.is_err() {
            self.is_over = true;
            self.page = Vec::new().into_iter();
        }
        next.transpose()
    }
}
