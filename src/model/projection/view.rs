//! Reading a view.
//!
//! * Readers share a lock with the projector, which takes it alone for each batch of rows that it writes: so
//!   what is read under it is of one moment, between two batches. What keeps them from waiting for each other
//!   is in `model::readable`.

use crate::model::projection::writer::{Rows, decode};
use crate::model::readable::Readable;
use crate::value::error::Result;
use crate::value::fork::Owner;
use crate::views::ViewTree;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The tree that is served; it changes when a rebuilt view takes its place.
pub(crate) type Served = Readable<Arc<ViewTree>>;

/// The rows that a projection has made, to be read. Cheap to clone.
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

    /// The row of `key`, if there is one.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the row is no `T`;
    /// [`Closed`](crate::ErrorKind::Closed); errors of reading it.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.read(|view| view.get(key))
    }

    /// The rows whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`get`](View::get).
    pub fn prefix<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>> {
        self.read(|view| view.prefix(prefix))
    }

    /// The rows with keys from `from` up to, but not including, `to`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`get`](View::get).
    pub fn range<T: DeserializeOwned>(&self, from: &str, to: &str) -> Result<Vec<(String, T)>> {
        self.read(|view| view.range(from, to))
    }

    /// Reads several times from one state of the view. Keep it short: while it lasts, nothing is
    /// written to the view. Other views, and this one, may be read in it, here and by threads that it waits for.
    /// What a projection is asked for in it (to stop, say) is done after it; waiting, starting a projection and
    /// closing the store are refused as [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock).
    pub fn read<R>(&self, read: impl FnOnce(&ViewReader<'_>) -> R) -> R {
        if let Err(forked) = self.owner.check() {
            return read(&ViewReader { tree: Err(forked) });
        }
        let served = self.served.read();
        read(&ViewReader { tree: Ok(&served) })
    }
}

/// One state of a view.
pub struct ViewReader<'a> {
    /// Or why there is none to be read.
    tree: Result<&'a ViewTree>,
}

impl<'a> ViewReader<'a> {
    fn tree(&self) -> Result<&'a ViewTree> {
        self.tree.clone()
    }

    /// The row of `key`, if there is one.
    ///
    /// # Errors
    /// Those of [`View::get`].
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.tree()?.row(key)?.map(|row| decode(key, &row)).transpose()
    }

    /// The rows whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`View::get`].
    pub fn prefix<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>> {
        decode_all(self.tree()?.rows_with_prefix(prefix)?)
    }

    /// The rows with keys from `from` up to, but not including, `to`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`View::get`].
    pub fn range<T: DeserializeOwned>(&self, from: &str, to: &str) -> Result<Vec<(String, T)>> {
        decode_all(self.tree()?.rows_between(from, Some(to))?)
    }
}

fn decode_all<T: DeserializeOwned>(rows: Vec<(String, Bytes)>) -> Result<Vec<(String, T)>> {
    rows.into_iter().map(|(key, row)| decode(&key, &row).map(|row| (key, row))).collect()
}

impl Rows for ViewTree {
    fn row(&self, key: &str) -> Result<Option<Bytes>> {
        ViewTree::row(self, key)
    }

    fn rows(&self, prefix: &str) -> Result<Vec<(String, Bytes)>> {
        self.rows_with_prefix(prefix)
    }
}
