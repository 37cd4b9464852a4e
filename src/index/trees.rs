//! The trees of an index except those of its tables, and the marker that names their store.

use crate::kv::database::{Database, Tree};
use crate::kv::failure::OpenError;
use crate::value::corruption::IndexFault;
use crate::value::error::Result;
use uuid::Uuid;

const MARKER_KEY: &[u8] = b"filmstrip index 2";

/// The trees of an index, except those of its tables.
pub(crate) struct Trees {
    pub(crate) global: Tree,
    pub(crate) records: Tree,
    pub(crate) snapshots: Tree,
    pub(crate) pieces: Tree,
}

/// Data that can be removed once the next checkpoint is written.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    /// Keys of records that were removed.
    pub(crate) removed: Vec<Vec<u8>>,
    /// Keys of records, with epochs of pieces that the record no longer referred to when this was added.
    pub(crate) pieces: Vec<(Vec<u8>, u64)>,
}

impl Trees {
    const NAMES: [&str; 4] = ["global", "records", "snapshots", "pieces"];

    /// Creates the trees of a new index and its marker.
    pub(crate) fn create(db: &Database, store: Uuid) -> Result<Trees> {
        let trees = Trees::open(db)?;
        // Write the marker last: sled keeps the order of writes.
        db.insert(&db.tree("marker")?, MARKER_KEY, store.as_bytes().to_vec())?;
        Ok(trees)
    }

    /// Opens the trees of an existing index. Checks that they exist, because sled creates missing trees without an
    /// error.
    pub(crate) fn open_existing(db: &Database, store: Uuid) -> Result<Trees, OpenError> {
        let names = db.tree_names()?;
        let is_there = |name: &str| names.iter().any(|there| *there == name.as_bytes());
        if let Some(name) = Trees::NAMES.iter().chain(&["marker"]).find(|name| !is_there(name)) {
            return Err(IndexFault::NoTree(name).into());
        }
        let marker = db.tree("marker")?;
        let marker = db.get(&marker, MARKER_KEY)?;
        if marker.as_deref() != Some(store.as_bytes()) {
            return Err(IndexFault::NoMarker.into());
        }
        Ok(Trees::open(db)?)
    }

    fn open(db: &Database) -> Result<Trees> {
        Ok(Trees {
            global: db.tree("global")?,
            records: db.tree("records")?,
            snapshots: db.tree("snapshots")?,
            pieces: db.tree("pieces")?,
        })
    }
}
