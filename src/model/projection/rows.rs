//! Reading rows in the order of their keys: all that there are, a page, or one after the other.
//!
//! * What is read costs as much as the rows that are returned, however many there are.
//! * A source is asked for raw rows, and lets go of what it holds before any is decoded.

use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::json::told::Told;
use crate::value::limits::{VIEW_PAGE_BYTES_MIN, VIEW_PAGE_ROWS_MAX};
use crate::views::range::RowRange;
use crate::views::rows::EachRow;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow, RangeBounds};

/// Rows of the first page that an iterator reads; each further one has twice as many, up to the limit. So one that is
/// dropped early has read no more than about twice what it gave out.
pub(super) const FIRST_PAGE_ROWS: u64 = 16;

/// Where rows are read.
pub(crate) trait RowSource {
    /// The row of `key`.
    fn row(&self, key: &str) -> Result<Option<Bytes>>;

    /// Gives the rows in `range`, as of one moment, to `each` until it breaks off. It may hold what others wait for
    /// meanwhile.
    fn scan(&self, range: &RowRange, each: &mut EachRow<'_>) -> Result<()>;
}

/// A row as the value that it was written from.
pub(crate) fn decode<T: DeserializeOwned>(key: &str, row: &[u8]) -> Result<T> {
    serde_json::from_slice(row).map_err(|cause| {
        let cause = Told::from(cause);
        let message = format!("the row {key:?} does not decode as {}: {cause}", type_name::<T>());
        Error::with_source(ErrorKind::Undecodable, message, cause)
    })
}

/// Some rows of a view in the order of their keys, to be read as a whole, by pages, or one after the other. Made by
/// [`View::rows`](crate::View::rows), [`ViewReader::rows`](crate::projection::ViewReader::rows),
/// [`ViewWriter::rows`](crate::ViewWriter::rows) and [`PastView::rows`](crate::projection::PastView::rows).
///
/// `prefix`, `range`, `after` and `before` each leave out more rows. They mean the order of the keys, whichever end the
/// rows are read from. Reading takes time and memory for the rows that it returns, not for the other rows of the view.
///
/// ```
/// # use filmstrip::{ExpectedVersion, Filter, HandlerError, NewEvent, Projection, RecordedEvent, Store, ViewWriter};
/// # struct Numbers;
/// # impl Projection for Numbers {
/// #     const NAME: &'static str = "numbers";
/// #     const VERSION: u32 = 1;
/// #     fn filter(&self) -> Filter { Filter::all() }
/// #     fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
/// #         Ok(view.put(&format!("n/{:03}", event.position.get()), &event.position.get())?)
/// #     }
/// # }
/// # let store = Store::temporary()?;
/// # let numbers = store.project(Numbers).start()?;
/// # let events = (0..100).map(|n| NewEvent::json("Counted", &n)).collect::<Result<Vec<_>, _>>()?;
/// # let head = store.append("Counted-1", ExpectedVersion::Any, events)?.position;
/// # numbers.wait_for(head, std::time::Duration::from_secs(5))?;
/// let view = numbers.view();
/// let page: Vec<(String, u64)> = view.rows().prefix("n/").limit(20).collect()?;
/// let (last, _) = page.last().expect("20 rows");
/// let next: Vec<(String, u64)> = view.rows().prefix("n/").after(last).limit(20).collect()?;
/// assert_eq!(next[0], ("n/021".to_owned(), 21));
///
/// // The page before that one, from its end.
/// let back: Vec<(String, u64)> = view.rows().before(&next[0].0).backwards().limit(20).collect()?;
/// assert_eq!(back[0], ("n/020".to_owned(), 20));
///
/// let (_, greatest) = view.rows().prefix("n/").backwards().first::<u64>()?.expect("a row");
/// assert_eq!(greatest, 100);
///
/// // All of them, without holding them all.
/// let mut sum = 0;
/// for row in view.rows().range("n/010"..="n/020").iter::<u64>() {
///     sum += row?.1;
/// }
/// assert_eq!(sum, 165);
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is read before `collect`, `first`, `iter` or `count`"]
pub struct Rows<'a> {
    source: &'a dyn RowSource,
    range: RowRange,
    limit: u64,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(source: &'a dyn RowSource) -> Rows<'a> {
        Rows { source, range: RowRange::all(), limit: u64::MAX }
    }

    /// Reads only rows whose keys begin with `prefix`.
    pub fn prefix(mut self, prefix: &str) -> Rows<'a> {
        self.range.keep_prefix(prefix);
        self
    }

    /// Reads only rows whose keys are in `range`: `"a".."m"`, `"a"..="m"`, or `"a"..`, for example.
    pub fn range<'k>(mut self, range: impl RangeBounds<&'k str>) -> Rows<'a> {
        self.range.keep(range.start_bound().cloned(), range.end_bound().cloned());
        self
    }

    /// Reads only rows whose keys are greater than `key`: with the last key of a page, those of the next one.
    pub fn after(mut self, key: &str) -> Rows<'a> {
        self.range.keep(Bound::Excluded(key), Bound::Unbounded);
        self
    }

    /// Reads only rows whose keys are less than `key`: with the last key of a page that was read backwards, those of
    /// the next one in that direction.
    pub fn before(mut self, key: &str) -> Rows<'a> {
        self.range.keep(Bound::Unbounded, Bound::Excluded(key));
        self
    }

    /// Reads the row with the greatest key first.
    pub fn backwards(mut self) -> Rows<'a> {
        self.range.backwards = true;
        self
    }

    /// Reads at most so many rows.
    pub fn limit(mut self, rows: u64) -> Rows<'a> {
        self.limit = rows;
        self
    }

    /// Reads all of it at once, as of one moment.
    ///
    /// # Errors
    /// Those of [`View::get`](crate::View::get).
    pub fn collect<T: DeserializeOwned>(self) -> Result<Vec<(String, T)>> {
        if failpoint!("projection::decode_all_within_the_scan") {
            return self.decode_all_within_the_scan();
        }
        let page = read_page(self.source, &self.range, self.limit, usize::MAX)?;
        page.rows.into_iter().map(|(key, row)| decode(&key, &row).map(|row| (key, row))).collect()
    }

    /// Reads the first row: after [`backwards`](Rows::backwards), the one with the greatest key.
    ///
    /// # Errors
    /// Those of [`View::get`](crate::View::get).
    pub fn first<T: DeserializeOwned>(self) -> Result<Option<(String, T)>> {
        let limit = self.limit.min(1);
        Ok(self.limit(limit).collect()?.pop())
    }

    /// Counts them, without reading or decoding a row: it walks over the keys of one moment, which takes time for each
    /// of them, about a microsecond, and meanwhile nothing is written to the view. Where a number is read often, let
    /// `apply` keep it in a row of its own.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed); errors of reading.
    pub fn count(self) -> Result<u64> {
        let mut count = 0;
        if self.limit > 0 {
            self.source.scan(&self.range, &mut |_, _| {
                count += 1;
                let goes_on = count < self.limit;
                Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
        }
        Ok(count)
    }

    /// Reads the rows one after the other. It holds a page of them, of at most 512 rows, and reads the next one when
    /// they are used up; what becomes of the rows does not hold up the projection.
    ///
    /// Each page is of one moment, and later pages of later ones. So a row that is there all the while is given out
    /// once; one that is changed meanwhile, as it was or as it is; one that is put or deleted, or not. If a rebuilt
    /// view takes the place of this one meanwhile, the next page is the new view's. Within
    /// [`View::read`](crate::View::read), and within `apply`, all pages are of one moment.
    ///
    /// To leave early, drop it, or use [`try_for_each`](Iterator::try_for_each) with a
    /// [`ControlFlow`](std::ops::ControlFlow).
    pub fn iter<T: DeserializeOwned>(
        self,
    ) -> impl Iterator<Item = Result<(String, T)>> + use<'a, T> {
        let Rows { source, range, limit } = self;
        let (page, page_rows, row) = (Vec::new().into_iter(), FIRST_PAGE_ROWS, PhantomData);
        Iter { source, range, limit, page, page_rows, is_over: false, row }
    }

    fn decode_all_within_the_scan<T: DeserializeOwned>(self) -> Result<Vec<(String, T)>> {
        let mut rows = Vec::new();
        self.source.scan(&self.range, &mut |key, row| {
            rows.push((decode(&key, &row()?)?, key));
            Ok(ControlFlow::Continue(()))
        })?;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        Ok(rows.into_iter().map(|(row, key)| (key, row)).take(limit).collect())
    }
}

/// Raw rows of one moment.
struct Page {
    rows: Vec<(String, Bytes)>,
    /// There are no more.
    is_last: bool,
}

/// Reads at most `rows_max` rows, and none after that with which they have `bytes_min` bytes.
fn read_page(
    source: &dyn RowSource,
    range: &RowRange,
    rows_max: u64,
    bytes_min: usize,
) -> Result<Page> {
    let mut page = Page { rows: Vec::new(), is_last: rows_max == 0 };
    if page.is_last {
        return Ok(page);
    }
    let (mut bytes, mut is_full) = (0, false);
    source.scan(range, &mut |key, row| {
        let row = row()?;
        bytes += key.len() + row.len();
        page.rows.push((key, row));
        is_full = page.rows.len() as u64 >= rows_max || bytes >= bytes_min;
        let goes_on = !is_full || failpoint!("projection::read_past_the_page");
        Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    page.rows.truncate(usize::try_from(rows_max).unwrap_or(usize::MAX));
    page.is_last = !is_full;
    Ok(page)
}

/// Rows that are read page by page.
struct Iter<'a, T> {
    source: &'a dyn RowSource,
    /// What is still to be read.
    range: RowRange,
    limit: u64,
    page: std::vec::IntoIter<(String, Bytes)>,
    /// Of the next page.
    page_rows: u64,
    is_over: bool,
    row: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Iter<'_, T> {
    /// The next raw row.
    fn next_row(&mut self) -> Result<Option<(String, Bytes)>> {
        if self.page.len() == 0 && !self.is_over {
            let rows_max = self.page_rows.min(self.limit);
            let page = read_page(self.source, &self.range, rows_max, VIEW_PAGE_BYTES_MIN)?;
            if let Some((last, _)) = page.rows.last() {
                self.range.pass(last);
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
    type Item = Result<(String, T)>;

    fn next(&mut self) -> Option<Result<(String, T)>> {
        let next = self.next_row().and_then(|next| match next {
            Some((key, row)) => decode(&key, &row).map(|row| Some((key, row))),
            None => Ok(None),
        });
        if next.is_err() {
            self.is_over = true;
            self.page = Vec::new().into_iter();
        }
        next.transpose()
    }
}
