//! Reads a view.
//!
//! * Readers share a lock with the projector, which takes it exclusively for each batch of rows that it writes. So
//!   reads under the lock see one state, between two batches. `model::readable` prevents deadlocks between them.

use crate::model::projection::writer::{Rows, decode};
use crate::model::readable::Readable;
use crate::value::error::Result;
use crate::value::fork::Owner;
use crate::views::ViewTree;
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
        self.read(|view| view.get(key))
    }

    /// Returns the rows whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`get`](View::get).
    pub fn prefix<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>> {
        self.read(|view| view.prefix(prefix))
    }

    /// Returns the rows with keys from `from` up to, but not including, `to`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`get`](View::get).
    pub fn range<T: DeserializeOwned>(&self, from: &str, to: &str) -> Result<Vec<(String, T)>> {
        self.read(|view| view.range(from, to))
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
        self.tree()?.row(key)?.map(|row| decode(key, &row)).transpose()
    }

    /// Returns the rows whose keys begin with `prefix`, in the order of their keys.
    ///
    /// # Errors
    /// Those of [`View::get`].
    pub fn prefix<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>> {
        decode_all(self.tree()?.rows_with_prefix(prefix)?)
    }

    /// Returns the rows with keys from `from` up to, but not including, `to`, in the order of their keys.
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
