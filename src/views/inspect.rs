//! Reads views as they are: nothing is created, swept or quarantined.

use super::{Open, OpenViews, VIEWS, ViewTree, Views, closed};
use crate::codec::{row, view_entry};
use crate::kv::database::Database;
use crate::kv::failure::OpenError;
use crate::storage::disk::Disk;
use crate::value::error::{ErrorKind, Result};
use crate::value::limits::READ_AGAIN_MAX;
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
        Ok(Views::new(Open { trees, db, noted_in }))
    }

    /// Returns the tree `name` as it is; `None` if there is none.
    pub(crate) fn existing(self: &Arc<Views>, name: &str) -> Result<Option<ViewTree>> {
        if !self.open_if_there(name)? {
            return Ok(None);
        }
        let (views, name) = (Arc::clone(self), name.to_owned());
        let has_pieces = AtomicBool::new(false);
        Ok(Some(ViewTree { views, name, has_pieces, indexes: Vec::new() }))
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
        drop(views);
        self.each_wrong_entry(wrong)
    }

    /// Calls `wrong` with a description of each entry of an index that its row does not have, and of each that is
    /// missing.
    fn each_wrong_entry(&self, mut wrong: impl FnMut(String)) -> Result<()> {
        let views = self.views.read()?;
        let (db, tree) = (views.db(), views.tree(&self.name)?);
        let [entries, lists] = view_entry::spaces();
        let mut there = db.prefix(tree, &entries);
        while let Some((entry, _)) = there.next()? {
            let Some((_, row)) = view_entry::entry_of(&entry) else {
                wrong("an index has an entry whose key is none".to_owned());
                continue;
            };
            let is_orphan = || {
                let is_of_row = self.entries_in(&views, &row)?.keys(&row).any(|key| key == entry)
                    && db.get(tree, &row::row_key(&row))?.is_some();
                Ok(!is_of_row && db.get(tree, &entry)?.is_some())
            };
            if again(is_orphan)? {
                wrong(format!("{row}: an index has an entry of it that the row does not have"));
            }
        }
        let mut there = db.prefix(tree, &lists);
        while let Some((list, _)) = there.next()? {
            let name = row::name_of(&list).and_then(|name| std::str::from_utf8(name).ok());
            let Some(row) = name else {
                wrong("the entries of a row whose key is no text".to_owned());
                continue;
            };
            let read = again_until(|| self.entries_in(&views, row));
            let listed = match read {
                Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
                Err(error) => {
                    wrong(format!("{row}: {error}"));
                    continue;
                }
                Ok(listed) => listed,
            };
            for entry in listed.keys(row) {
                let lacks = || {
                    let listed = self.entries_in(&views, row)?;
                    Ok(listed.keys(row).any(|key| key == entry) && db.get(tree, &entry)?.is_none())
                };
                if again(lacks)? {
                    wrong(format!("{row}: an index lacks an entry of it"));
                }
            }
        }
        Ok(())
    }

    /// Reads the value of `key`. A row in pieces may be replaced while it is read; then the next attempt finds the
    /// new row complete.
    fn read_again(&self, views: &OpenViews<'_>, key: &[u8]) -> Result<()> {
        again_until(|| self.value_in(views, key)).map(drop)
    }
}

/// Reads again, because a write may come in between, until that succeeds.
fn again_until<T>(read: impl Fn() -> Result<T>) -> Result<T> {
    (1..READ_AGAIN_MAX).fold(read(), |done, _| done.or_else(|_| read()))
}

/// Whether something is wrong each time that it is looked at: a write may come in between, and then the next look finds
/// both sides of it. What cannot be read is reported elsewhere.
fn again(mut is_wrong: impl FnMut() -> Result<bool>) -> Result<bool> {
    for _ in 0..READ_AGAIN_MAX {
        match is_wrong() {
            Ok(true) => {}
            Err(error) if error.kind() == ErrorKind::Closed => return Err(error),
            Ok(false) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}
