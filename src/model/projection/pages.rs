//! Reading what is selected of a view: all of it, a page, or one after the other; rows by their keys, or by those of an
//! index.
//!
//! * What is read costs as much as what is returned, however much there is.
//! * A source is asked for raw rows, and lets go of what it holds before any is decoded.

use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::value::limits::{VIEW_PAGE_BYTES_MIN, VIEW_PAGE_ROWS_MAX};
use bytes::Bytes;
use std::ops::ControlFlow;

/// Rows of the first page that an iterator reads; each further one has twice as many, up to the limit. So one that is
/// dropped early has read no more than about twice what it gave out.
const FIRST_PAGE_ROWS: u64 = 16;

/// What is done with each row: it gets what the row was found by, and what reads the row, and says whether to go on.
pub(super) type Each<'a, K> =
    dyn FnMut(K, &dyn Fn() -> Result<Bytes>) -> Result<ControlFlow<()>> + 'a;

/// Rows that are selected, and where they are.
pub(super) trait Selection {
    /// What a row is found by.
    type Key;

    /// Gives the rows, as of one moment, to `each` until it breaks off.
    fn scan(&self, each: &mut Each<'_, Self::Key>) -> Result<()>;

    /// Leaves out the row of `last`, and what is read before it.
    fn pass(&mut self, last: &Self::Key);

    fn bytes_of(key: &Self::Key) -> usize;
}

/// Turns a raw row into what is returned.
type Decode<K, R> = fn((K, Bytes)) -> Result<R>;

/// Reads at most `limit` rows at once.
pub(super) fn all<S: Selection, R>(
    selection: &S,
    limit: u64,
    decode: Decode<S::Key, R>,
) -> Result<Vec<R>> {
    read_page(selection, limit, usize::MAX)?.rows.into_iter().map(decode).collect()
}

/// Counts at most `limit` rows, without reading them.
pub(super) fn count<S: Selection>(selection: &S, limit: u64) -> Result<u64> {
    let mut count = 0;
    if limit > 0 {
        selection.scan(&mut |_, _| {
            count += 1;
            let goes_on = count < limit;
            Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
    }
    Ok(count)
}

/// Raw rows of one moment.
struct Page<K> {
    rows: Vec<(K, Bytes)>,
    /// There are no more.
    is_last: bool,
}

/// Reads at most `rows_max` rows, and none after that with which they have `bytes_min` bytes.
fn read_page<S: Selection>(selection: &S, rows_max: u64, bytes_min: usize) -> Result<Page<S::Key>> {
    let mut page = Page { rows: Vec::new(), is_last: rows_max == 0 };
    if page.is_last {
        return Ok(page);
    }
    let (mut bytes, mut is_full) = (0, false);
    selection.scan(&mut |key, row| {
        let row = row()?;
        bytes += S::bytes_of(&key) + row.len();
        page.rows.push((key, row));
        is_full = page.rows.len() as u64 >= rows_max || bytes >= bytes_min;
        let goes_on = !is_full || failpoint!("projection::read_past_the_page");
        Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    page.rows.truncate(usize::try_from(rows_max).unwrap_or(usize::MAX));
    page.is_last = !is_full;
    Ok(page)
}

/// At most `limit` rows, which are read page by page.
pub(super) struct Pages<S: Selection, R> {
    /// What is still to be read.
    selection: S,
    limit: u64,
    decode: Decode<S::Key, R>,
    page: std::vec::IntoIter<(S::Key, Bytes)>,
    /// Of the next page.
    page_rows: u64,
    is_over: bool,
}

impl<S: Selection, R> Pages<S, R> {
    pub(super) fn new(selection: S, limit: u64, decode: Decode<S::Key, R>) -> Pages<S, R> {
        let page = Vec::new().into_iter();
        Pages { selection, limit, decode, page, page_rows: FIRST_PAGE_ROWS, is_over: false }
    }

    /// The next raw row.
    fn next_row(&mut self) -> Result<Option<(S::Key, Bytes)>> {
        if self.page.len() == 0 && !self.is_over {
            let rows_max = self.page_rows.min(self.limit);
            let page = read_page(&self.selection, rows_max, VIEW_PAGE_BYTES_MIN)?;
            if let Some((last, _)) = page.rows.last() {
                self.selection.pass(last);
            }
            self.limit -= page.rows.len() as u64;
            self.is_over = page.is_last || self.limit == 0;
            self.page_rows = (2 * self.page_rows).min(VIEW_PAGE_ROWS_MAX);
            self.page = page.rows.into_iter();
        }
        Ok(self.page.next())
    }
}

impl<S: Selection, R> Iterator for Pages<S, R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        let next = self.next_row().and_then(|next| next.map(self.decode).transpose());
        if next.is_err() {
            self.is_over = true;
            self.page = Vec::new().into_iter();
        }
        next.transpose()
    }
}
