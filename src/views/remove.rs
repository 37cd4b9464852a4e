//! Removes views.
//!
//! * sled reads a whole tree into memory to remove it. So a large tree is first emptied row by row, until the rest
//!   fits into a part of the cache.
//! * Other threads can read and write meanwhile.

use super::{Open, Views, closed};
use crate::value::error::Result;
use crate::value::limits::VIEW_ROWS_REMOVED_AT_ONCE;
use bytes::Bytes;

impl Views {
    /// Removes the tree `name`, if there is one. For a large tree this takes a while: it calls `goes_on` now and
    /// then, and stops if that returns false. Returns whether the whole tree is removed.
    pub(crate) fn remove_tree(&self, name: &str, goes_on: impl Fn() -> bool) -> Result<bool> {
        if !self.open_if_there(name)? {
            return Ok(true);
        }
        if let Some(end) = self.end_of_excess(name)? {
            while self.remove_before(name, &end)? {
                if !goes_on() {
                    return Ok(false);
                }
            }
        }
        let mut open = self.open.write();
        let Open { trees, db, .. } = open.as_mut().ok_or_else(closed)?;
        trees.remove(name);
        db.remove_tree(name)?;
        Ok(true)
    }

    /// The key from which on the tree is small enough to be removed at once; `None` if the whole tree is.
    fn end_of_excess(&self, name: &str) -> Result<Option<Bytes>> {
        let views = self.read()?;
        let tree = views.tree(name)?;
        let mut entries = views.db().prefix(tree, b"");
        let mut bytes = 0;
        while let Some((key, value)) = entries.next_back()? {
            bytes += (key.len() + value.len()) as u64;
            if bytes > views.db().removed_bytes_max() {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Removes some of the first entries before `end`; false if there was none.
    fn remove_before(&self, name: &str, end: &Bytes) -> Result<bool> {
        let views = self.read()?;
        let (db, tree) = (views.db(), views.tree(name)?);
        let mut entries = db.range::<&[u8]>(tree, ..end.as_ref());
        let mut keys = Vec::with_capacity(VIEW_ROWS_REMOVED_AT_ONCE);
        while keys.len() < VIEW_ROWS_REMOVED_AT_ONCE {
            let Some((key, _)) = entries.next()? else { break };
            keys.push(key);
        }
        for key in &keys {
            db.remove(tree, key)?;
        }
        Ok(!keys.is_empty())
    }
}
