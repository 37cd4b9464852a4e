//! Reads views as they are: nothing is created, swept or quarantined.

use super::{Open, OpenViews, VIEWS, ViewTree, Views, closed};
use crate::codec::row;
use crate::kv::database::Database;
use crate::kv::failure::OpenError;
use crate::storage::disk::Disk;
use crate::value::error::{ErrorKind, Result};
use crate::value::limits::READ_AGAIN_MAX;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

impl Views {
    /// Opens the views in `store_dir`, which nobody else may have open. If they cannot be used, the error says why.
    pub(crate) fn open_existing(
        disk: &Arc<dyn Disk>,
        store_dir: &Path,
        cache_bytes: u64,
    ) -> Result<Arc<Views>, OpenError> {
        let db = Database::open(disk, &store_dir.join(VIEWS), cache_bytes)?;
        let (trees, noted_in) = (HashMap::new(), None);
        Ok(Arc::new(Views { open: RwLock::new(Some(Open { trees, db, noted_in })) }))
    }

    /// Returns the tree `name` as it is; `None` if there is none.
    pub(crate) fn existing(self: &Arc<Views>, name: &str) -> Result<Option<ViewTree>> {
        if !self.open_if_there(name)? {
            return Ok(None);
        }
        let (views, name) = (Arc::clone(self), name.to_owned());
        Ok(Some(ViewTree { views, name, has_pieces: AtomicBool::new(false) }))
    }

    /// Opens the tree `name`; false if there is none.
    pub(super) fn open_if_there(&self, name: &str) -> Result<bool> {
        let mut open = self.open.write();
        let Open { trees, db, .. } = open.as_mut().ok_or_else(closed)?;
        if !trees.contains_key(name) {
            // The write lock keeps others from removing the tree meanwhile; opening it would then create it again.
            if !db.tree_names()?.iter().any(|there| there == name.as_bytes()) {
                return Ok(false);
            }
            trees.insert(name.to_owned(), db.tree(name)?);
        }
        Ok(true)
    }
}

impl ViewTree {
    /// Calls `wrong` with a description of each row or state that cannot be read.
    pub(crate) fn each_unreadable(&self, mut wrong: impl FnMut(String)) -> Result<()> {
        let views = self.views.read()?;
        let tree = views.tree(&self.name)?;
        for prefix in [row::state_key(b""), row::row_key("")] {
            let mut entries = views.db().prefix(tree, &prefix);
            while let Some((key, _)) = entries.next()? {
                if let Err(error) = self.read_again(&views, &key) {
                    if error.kind() == ErrorKind::Closed {
                        return Err(error);
                    }
                    let name = row::name_of(&key).unwrap_or_default();
                    wrong(format!("{}: {error}", String::from_utf8_lossy(name)));
                }
            }
        }
        Ok(())
    }

    /// Reads the value of `key`. A row in pieces may be replaced while it is read; then the next attempt finds the
    /// new row complete.
    fn read_again(&self, views: &OpenViews<'_>, key: &[u8]) -> Result<()> {
        let mut read = self.value_in(views, key);
        for _ in 1..READ_AGAIN_MAX {
            if read.is_ok() {
                break;
            }
            read = self.value_in(views, key);
        }
        read.map(drop)
    }
}
