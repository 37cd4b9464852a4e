//! The writer for `apply`: the rows of a view, with pending changes.
//!
//! * The writes of one event are kept as a whole, when `apply` has succeeded, or not at all.
//! * Reads see the writes of this event, then those of earlier ones, then the view.

use crate::codec::view_entry::Entries;
use crate::model::projection::indexed::no_index;
use crate::model::projection::merged::{Changes, scan_merged};
use crate::model::projection::rows::{RowSource, Rows, decode};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::json;
use crate::value::json::told::Told;
use crate::value::limits::{
    VIEW_ENTRIES_BYTES_MAX, VIEW_ENTRY_BYTES_MAX, VIEW_KEY_BYTES_MAX, VIEW_ROW_BYTES_MAX,
};
use crate::views::changes::Row;
use crate::views::range::RowRange;
use crate::views::rows::EachRow;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;

/// The rows of a view, which an event changes. See [`Projection::apply`](crate::Projection::apply).
pub struct ViewWriter<'a> {
    view: &'a dyn RowSource,
    /// The names of the view's indexes.
    indexes: &'a [&'a str],
    /// Changes of earlier events that are not yet in the view.
    earlier: &'a Changes,
    changes: Changes,
    /// The first failure to read the view itself, for which the event is not at fault.
    unreadable: RefCell<Option<Error>>,
}

impl<'a> ViewWriter<'a> {
    pub(crate) fn new(
        view: &'a dyn RowSource,
        indexes: &'a [&'a str],
        earlier: &'a Changes,
    ) -> ViewWriter<'a> {
        let unreadable = RefCell::new(None);
        ViewWriter { view, indexes, earlier, changes: Changes::new(), unreadable }
    }

    /// The changes, and the error of reading the view, if there was one.
    pub(crate) fn finish(self) -> (Changes, Option<Error>) {
        (self.changes, self.unreadable.into_inner())
    }

    fn noted<T>(&self, read: Result<T>) -> Result<T> {
        if let Err(error) = &read {
            self.unreadable.borrow_mut().get_or_insert_with(|| error.clone());
        }
        read
    }

    /// The row of `key`, if there is one.
    ///
    /// # Errors
    /// [`Undecodable`](ErrorKind::Undecodable) if the row is not a `T`; errors of reading it.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.row(key)?.map(|row| decode(key, &row)).transpose()
    }

    /// The rows whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`get`](ViewWriter::get).
    pub fn prefix<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>> {
        self.rows().prefix(prefix).collect()
    }

    /// The rows with keys from `from` up to, but not including, `to`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`get`](ViewWriter::get).
    pub fn range<T: DeserializeOwned>(&self, from: &str, to: &str) -> Result<Vec<(String, T)>> {
        self.rows().range(from..to).collect()
    }

    /// Reads rows, as this event and the ones before it have left them, by pages, from either end, or one after the
    /// other.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(self)
    }

    /// Writes the row of `key`, and replaces the one that may be there. The row is in none of the view's indexes, also
    /// if the one before was.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it cannot be written as JSON;
    /// [`TooLarge`](ErrorKind::TooLarge) for a key over 1,024 bytes or a row over 16 MiB.
    pub fn put<T: Serialize + ?Sized>(&mut self, key: &str, row: &T) -> Result<()> {
        let bytes = encoded(key, row)?;
        self.changes.insert(key.to_owned(), Some(Row::plain(bytes)));
        Ok(())
    }

    /// Writes the row of `key` like [`put`](ViewWriter::put), with its secondary keys: each with the name of one of the
    /// view's [`INDEXES`](crate::Projection::INDEXES). They replace those of the row before. A row may have several
    /// in one index, such as one for each tag, and several rows may have the same.
    ///
    /// An index has the order of the bytes of its secondary keys, and of the rows' keys where those are equal. So write
    /// numbers with their first byte first (`to_be_bytes`), and let several parts end with a NUL each.
    ///
    /// The row and what the indexes hold of it are written together: after a crash too, they agree. `apply` itself
    /// reads rows only by their keys; [`View::index`](crate::View::index) reads an index.
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, Filter, HandlerError, NewEvent, Projection, RecordedEvent, Store, ViewWriter};
    ///
    /// struct Customers;
    ///
    /// impl Projection for Customers {
    ///     const NAME: &'static str = "customers";
    ///     const VERSION: u32 = 1;
    ///     const INDEXES: &'static [&'static str] = &["city", "orders"];
    ///
    ///     fn filter(&self) -> Filter {
    ///         Filter::category("Customer")
    ///     }
    ///
    ///     fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
    ///         let (city, orders): (String, u32) = event.json()?;
    ///         let keys = [("city", city.as_bytes()), ("orders", &orders.to_be_bytes())];
    ///         Ok(view.put_indexed(event.stream.as_str(), &city, &keys)?)
    ///     }
    /// }
    ///
    /// let store = Store::temporary()?;
    /// let customers = store.project(Customers).start()?;
    /// let mut last = store.head();
    /// for (stream, city, orders) in [("Customer-1", "Boston", 7), ("Customer-2", "Bath", 300)] {
    ///     let moved = NewEvent::json("Moved", &(city, orders))?;
    ///     last = store.append(stream, ExpectedVersion::Any, [moved])?.position;
    /// }
    /// customers.wait_for(last, std::time::Duration::from_secs(5))?;
    ///
    /// let most = customers.view().index("orders").backwards().first::<String>()?.expect("a row");
    /// assert_eq!((most.key.as_str(), most.row.as_str()), ("Customer-2", "Bath"));
    /// let in_boston = customers.view().index("city").key(b"Boston").collect::<String>()?;
    /// assert_eq!(in_boston[0].key, "Customer-1");
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`put`](ViewWriter::put); [`InvalidInput`](ErrorKind::InvalidInput) for an index that the projection
    /// does not name; [`TooLarge`](ErrorKind::TooLarge) if an index's name, a secondary key, in which a NUL counts
    /// twice, and the row's key take more than 1,084 bytes together, or the row's names and secondary keys more than
    /// 4 KiB.
    pub fn put_indexed<T: Serialize + ?Sized>(
        &mut self,
        key: &str,
        row: &T,
        secondary_keys: &[(&str, &[u8])],
    ) -> Result<()> {
        let bytes = encoded(key, row)?;
        for (index, by) in secondary_keys {
            if !self.indexes.contains(index) {
                return Err(no_index(index, self.indexes));
            }
            let nuls = by.iter().filter(|byte| **byte == 0).count();
            let length = index.len() + by.len() + nuls + key.len();
            if length > VIEW_ENTRY_BYTES_MAX {
                let what = format!("an entry of the index {index:?}");
                return Err(Error::too_large(&what, length, VIEW_ENTRY_BYTES_MAX, "bytes"));
            }
        }
        let entries = Entries::new(secondary_keys);
        let length = entries.as_bytes().len();
        if length > VIEW_ENTRIES_BYTES_MAX {
            let max = VIEW_ENTRIES_BYTES_MAX;
            return Err(Error::too_large("the secondary keys of a row", length, max, "bytes"));
        }
        self.changes.insert(key.to_owned(), Some(Row { bytes, entries }));
        Ok(())
    }

    /// Deletes the row of `key`, if there is one.
    pub fn delete(&mut self, key: &str) {
        self.changes.insert(key.to_owned(), None);
    }
}

/// A row as its bytes.
fn encoded<T: Serialize + ?Sized>(key: &str, row: &T) -> Result<Bytes> {
    if key.len() > VIEW_KEY_BYTES_MAX {
        return Err(Error::too_large("a row's key", key.len(), VIEW_KEY_BYTES_MAX, "bytes"));
    }
    let row = json::to_vec(row).map_err(|cause| {
        let cause = Told::from(cause);
        let message = format!("the row {key:?} cannot be written as JSON: {cause}");
        Error::with_source(ErrorKind::InvalidInput, message, cause)
    })?;
    if row.len() > VIEW_ROW_BYTES_MAX {
        return Err(Error::too_large("a row", row.len(), VIEW_ROW_BYTES_MAX, "bytes"));
    }
    Ok(row.into())
}

/// The rows as `apply` sees them.
impl RowSource for ViewWriter<'_> {
    fn row(&self, key: &str) -> Result<Option<Bytes>> {
        match self.changes.get(key).or_else(|| self.earlier.get(key)) {
            Some(row) => Ok(row.as_ref().map(|row| row.bytes.clone())),
            None => self.noted(self.view.row(key)),
        }
    }

    fn scan(&self, range: &RowRange, each: &mut EachRow<'_>) -> Result<()> {
        self.noted(scan_merged(self.view, self.earlier, &self.changes, range, each))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::projection::past::memory::MemoryRows;

    fn view(rows: &[(&str, &str)]) -> MemoryRows {
        let mut view = MemoryRows::new(&[]);
        let row =
            |(key, row): &(&str, &str)| ((*key).to_owned(), Some(Row::plain((*row).to_owned())));
        view.apply(rows.iter().map(row).collect());
        view
    }

    #[test]
    fn reads_see_this_events_writes_then_earlier_ones_then_the_view() {
        let view = view(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
        let nothing = Changes::new();
        let mut writer = ViewWriter::new(&view, &[], &nothing);
        for key in ["b", "c", "d", "e"] {
            writer.put(key, &2).unwrap();
        }
        writer.delete("d");
        let earlier = writer.finish().0;
        let mut writer = ViewWriter::new(&view, &[], &earlier);
        writer.put("c", &3).unwrap();
        writer.delete("e");
        let read = |key| writer.get::<u8>(key).unwrap();
        let rows = ["a", "b", "c", "d", "e", "f"].map(read);
        assert_eq!(rows, [Some(1), Some(2), Some(3), None, None, None]);
        let all: Vec<(String, u8)> = writer.prefix("").unwrap();
        assert_eq!(all, [("a".into(), 1), ("b".into(), 2), ("c".into(), 3)]);
        writer.delete("a");
        writer.put("d", &4).unwrap();
        assert_eq!(writer.get::<u8>("a").unwrap(), None);
        assert_eq!(writer.get::<u8>("d").unwrap(), Some(4));
    }

    #[test]
    fn a_prefix_takes_the_rows_that_begin_so_and_no_others() {
        let view = view(&[("a", "1"), ("a/1", "1"), ("a/2", "1"), ("a0", "1"), ("b", "1")]);
        let nothing = Changes::new();
        let mut writer = ViewWriter::new(&view, &[], &nothing);
        writer.put("a/3", &2).unwrap();
        writer.put("z", &2).unwrap();
        let rows: Vec<(String, u8)> = writer.prefix("a/").unwrap();
        let keys: Vec<_> = rows.into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["a/1", "a/2", "a/3"]);
    }

    #[test]
    fn what_cannot_be_a_row_is_refused_with_what_it_is() {
        let view = view(&[("a", "\"text\"")]);
        let nothing = Changes::new();
        let mut writer = ViewWriter::new(&view, &[], &nothing);
        let error = writer.get::<u8>("a").unwrap_err();
        assert!(error.to_string().contains("\"a\" does not decode as u8"), "{error}");
        let error = writer.put("n", &f64::NAN).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = writer.put(&"k".repeat(1_025), &1).unwrap_err();
        assert!(error.to_string().contains("1025 bytes; at most 1024"), "{error}");
        let error = writer.put("k", &"x".repeat(VIEW_ROW_BYTES_MAX)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(writer.finish().0.is_empty(), "a refused row was kept");
    }
}
