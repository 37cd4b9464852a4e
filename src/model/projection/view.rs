//! Reads a view.
//!
//! * Readers share a lock with the projector, which takes it exclusively for each batch of rows that it writes. So
//!   reads under the lock see one state, between two batches. `model::readable` prevents deadlocks between them.
//! * Rows are decoded by the application's code after the lock is released, except within `View::read`.

use crate::model::projection::indexed::{EntrySource, IndexRows, no_index};
use crate::model::projection::rows::{RowSource, Rows, decode};
use crate::model::readable::Readable;
use crate::value::error::Result;
use crate::value::fork::Owner;
use crate::views::ViewTree;
use crate::views::entries::{EachEntry, EntryRange};
use crate::views::range::RowRange;
use crate::views::rows::EachRow;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The served tree. It changes when a rebuilt view replaces it.
pub(crate) type Served = Readable<Arc<ViewTree>>;

/// The rows of a projection, for reading. Cloning is cheap.
///
/// Each call reads the view as it is between two batches of events. See
/// [`Projection`](crate::Projection) for an example.
#[derive(Clone)]
pub struct View {
    served: Arc<Served>,
    owner: Owner,
}

impl View {
    pub(crate) fn new(served: Arc<Served>, owner: Owner) -> View {
        View { served, owner }
    }

    /// Returns the row of `key`, if there is one.
    ///
    /// # Errors
    /// [`Undecodable`](crate::ErrorKind::Undecodable) if the row is not a `T`;
    /// [`Closed`](crate::ErrorKind::Closed); errors of reading it.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.row(key)?.map(|row| decode(key, &row)).transpose()
    }

    /// Returns the rows whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`get`](View::get).
    pub fn prefix<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>> {
        self.rows().prefix(prefix).collect()
    }

    /// Returns the rows with keys from `from` up to, but not including, `to`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`get`](View::get).
    pub fn range<T: DeserializeOwned>(&self, from: &str, to: &str) -> Result<Vec<(String, T)>> {
        self.rows().range(from..to).collect()
    }

    /// Reads rows by pages, from either end, or one after the other.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(self)
    }

    /// Returns the first `limit` rows whose keys begin with `prefix`; with `after`, those that are greater than it. So
    /// the last key of a page gives the next one. An empty page, or a short one, is the last.
    ///
    /// # Errors
    /// Those of [`get`](View::get).
    pub fn page<T: DeserializeOwned>(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u64,
    ) -> Result<Vec<(String, T)>> {
        let rows = self.rows().prefix(prefix).limit(limit);
        match after {
            Some(key) => rows.after(key),
            None => rows,
        }
        .collect()
    }

    /// Returns the last `limit` rows whose keys begin with `prefix`, in the order of their keys; with `before`, those
    /// that are less than it. So the first key of a page gives the page before it.
    ///
    /// # Errors
    /// Those of [`get`](View::get).
    pub fn page_before<T: DeserializeOwned>(
        &self,
        prefix: &str,
        before: Option<&str>,
        limit: u64,
    ) -> Result<Vec<(String, T)>> {
        let rows = self.rows().prefix(prefix).limit(limit).backwards();
        let page = match before {
            Some(key) => rows.before(key),
            None => rows,
        };
        let mut page = page.collect()?;
        page.reverse();
        Ok(page)
    }

    /// Counts the rows whose keys begin with `prefix`: see [`Rows::count`] for what it costs.
    ///
    /// # Errors
    /// Those of [`Rows::count`].
    pub fn count(&self, prefix: &str) -> Result<u64> {
        self.rows().prefix(prefix).count()
    }

    /// Reads rows in the order of one of the view's [`INDEXES`](crate::Projection::INDEXES). While a view is served
    /// that was stored without it, until the new one is built, reading returns
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput).
    pub fn index(&self, index: &str) -> IndexRows<'_> {
        IndexRows::new(self, index)
    }

    /// Reads several times from one state of the view. Keep the read short: while it lasts, nothing is written to the
    /// view. Within it, this view and others may be read, also by threads that it waits for. Requests to a projection
    /// within it (to stop, for example) take effect after it. Waiting, starting a projection and closing the store
    /// return [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock).
    pub fn read<R>(&self, read: impl FnOnce(&ViewReader<'_>) -> R) -> R {
        if let Err(forked) = self.owner.check() {
            return read(&ViewReader { tree: Err(forked) });
        }
        let served = self.served.read();
        read(&ViewReader { tree: Ok(&served) })
    }
}

/// What is given out was read under the lock, and is decoded after it.
impl RowSource for View {
    fn row(&self, key: &str) -> Result<Option<Bytes>> {
        self.read(|view| view.row(key))
    }

    fn scan(&self, range: &RowRange, each: &mut EachRow<'_>) -> Result<()> {
        self.read(|view| view.scan(range, each))
    }
}

/// One state of a view.
pub struct ViewReader<'a> {
    /// The tree, or the reason why it cannot be read.
    tree: Result<&'a ViewTree>,
}

impl<'a> ViewReader<'a> {
    fn tree(&self) -> Result<&'a ViewTree> {
        self.tree.clone()
    }

    /// Returns the row of `key`, if there is one.
    ///
    /// # Errors
    /// Those of [`View::get`].
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.row(key)?.map(|row| decode(key, &row)).transpose()
    }

    /// Returns the rows whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`View::get`].
    pub fn prefix<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>> {
        self.rows().prefix(prefix).collect()
    }

    /// Returns the rows with keys from `from` up to, but not including, `to`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`View::get`].
    pub fn range<T: DeserializeOwned>(&self, from: &str, to: &str) -> Result<Vec<(String, T)>> {
        self.rows().range(from..to).collect()
    }

    /// Reads rows by pages, from either end, or one after the other.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(self)
    }

    /// Reads rows in the order of an index: see [`View::index`].
    pub fn index(&self, index: &str) -> IndexRows<'_> {
        IndexRows::new(self, index)
    }
}

impl RowSource for ViewReader<'_> {
    fn row(&self, key: &str) -> Result<Option<Bytes>> {
        self.tree()?.row(key)
    }

    fn scan(&self, range: &RowRange, each: &mut EachRow<'_>) -> Result<()> {
        self.tree()?.scan(range, each)
    }
}

impl EntrySource for View {
    fn scan_entries(&self, range: &EntryRange, each: &mut EachEntry<'_>) -> Result<()> {
        self.read(|view| view.scan_entries(range, each))
    }
}

impl EntrySource for ViewReader<'_> {
    fn scan_entries(&self, range: &EntryRange, each: &mut EachEntry<'_>) -> Result<()> {
        let tree = self.tree()?;
        if !tree.indexes().contains(&range.index) {
            return Err(no_index(&range.index, tree.indexes()));
        }
        tree.scan_entries(range, each)
    }
}

impl RowSource for ViewTree {
    fn row(&self, key: &str) -> Result<Option<Bytes>> {
        ViewTree::row(self, key)
    }

    fn scan(&self, range: &RowRange, each: &mut EachRow<'_>) -> Result<()> {
        ViewTree::scan(self, range, each)
    }
}
