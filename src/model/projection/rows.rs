//! Rows of a view in the order of their keys, and where they are read.

use crate::model::projection::pages::{self, Each, Pages, Selection};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::json::told::Told;
use crate::views::range::RowRange;
use crate::views::rows::EachRow;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::any::type_name;
use std::ops::{Bound, ControlFlow, RangeBounds};

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
    selected: Selected<'a>,
    limit: u64,
}

/// Rows with keys in a range.
#[derive(Clone)]
struct Selected<'a> {
    source: &'a dyn RowSource,
    range: RowRange,
}

impl Selection for Selected<'_> {
    type Key = String;

    fn scan(&self, each: &mut Each<'_, String>) -> Result<()> {
        self.source.scan(&self.range, each)
    }

    fn pass(&mut self, last: &String) {
        self.range.pass(last);
    }

    fn bytes_of(key: &String) -> usize {
        key.len()
    }
}

impl<'a> Rows<'a> {
    pub(crate) fn new(source: &'a dyn RowSource) -> Rows<'a> {
        Rows { selected: Selected { source, range: RowRange::all() }, limit: u64::MAX }
    }

    /// Reads only rows whose keys begin with `prefix`.
    pub fn prefix(mut self, prefix: &str) -> Rows<'a> {
        self.selected.range.keep_prefix(prefix);
        self
    }

    /// Reads only rows whose keys are in `range`: `"a".."m"`, `"a"..="m"`, or `"a"..`, for example.
    pub fn range<'k>(mut self, range: impl RangeBounds<&'k str>) -> Rows<'a> {
        self.selected.range.keep(range.start_bound().cloned(), range.end_bound().cloned());
        self
    }

    /// Reads only rows whose keys are greater than `key`: with the last key of a page, those of the next one.
    pub fn after(mut self, key: &str) -> Rows<'a> {
        self.selected.range.keep(Bound::Excluded(key), Bound::Unbounded);
        self
    }

    /// Reads only rows whose keys are less than `key`: with the last key of a page that was read backwards, those of
    /// the next one in that direction.
    pub fn before(mut self, key: &str) -> Rows<'a> {
        self.selected.range.keep(Bound::Unbounded, Bound::Excluded(key));
        self
    }

    /// Reads the row with the greatest key first.
    pub fn backwards(mut self) -> Rows<'a> {
        self.selected.range.backwards = true;
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
        pages::all(&self.selected, self.limit, decoded)
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
        pages::count(&self.selected, self.limit)
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
        Pages::new(self.selected, self.limit, decoded)
    }

    fn decode_all_within_the_scan<T: DeserializeOwned>(self) -> Result<Vec<(String, T)>> {
        let mut rows = Vec::new();
        self.selected.scan(&mut |key, row| {
            rows.push((decode(&key, &row()?)?, key));
            Ok(ControlFlow::Continue(()))
        })?;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        Ok(rows.into_iter().map(|(row, key)| (key, row)).take(limit).collect())
    }
}

fn decoded<T: DeserializeOwned>((key, row): (String, Bytes)) -> Result<(String, T)> {
    decode(&key, &row).map(|row| (key, row))
}
