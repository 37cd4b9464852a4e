//! Reading rows, from either end, and states in the order of their keys.

use super::ViewTree;
use crate::codec::row;
use crate::value::error::Result;
use crate::views::range::RowRange;
use bytes::Bytes;
use std::ops::{Bound, ControlFlow};

/// What is done with each row: it gets the key, and what reads the row, and says whether to go on.
pub(crate) type EachRow<'a> =
    dyn FnMut(String, &dyn Fn() -> Result<Bytes>) -> Result<ControlFlow<()>> + 'a;

impl ViewTree {
    /// Gives the rows in `range` to `each`, which must not read views itself, until it breaks off: no other row is
    /// touched, but one at most after the last.
    pub(crate) fn scan(&self, range: &RowRange, each: &mut EachRow<'_>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let bounds = match range.bounds() {
            (from, Bound::Unbounded) => (from.map(row::row_key), Bound::Excluded(row::rows_end())),
            (from, to) => (from.map(row::row_key), to.map(row::row_key)),
        };
        let bounds = match bounds {
            (Bound::Unbounded, to) => (Bound::Included(row::row_key("")), to),
            bounds => bounds,
        };
        let views = self.views.read()?;
        let mut entries = views.db().range(views.tree(&self.name)?, bounds);
        loop {
            let entry = match range.backwards {
                true => entries.next_back()?,
                false => entries.next()?,
            };
            let Some((key, value)) = entry else { return Ok(()) };
            let name = row::name_of(&key).and_then(|name| std::str::from_utf8(name).ok());
            let name = name.ok_or_else(|| self.damaged(&views))?.to_owned();
            if each(name, &|| self.whole(&views, &key, &value))?.is_break() {
                return Ok(());
            }
        }
    }

    /// The states whose names begin with `prefix`, in order.
    pub(crate) fn states_with_prefix(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Bytes)>> {
        self.states_from(prefix, prefix, usize::MAX)
    }

    /// The first `most` states from `first` on whose names begin with `prefix`, in order.
    pub(crate) fn states_from(
        &self,
        prefix: &[u8],
        first: &[u8],
        most: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>> {
        let views = self.views.read()?;
        let mut entries = views.db().range(views.tree(&self.name)?, row::state_key(first)..);
        let mut states = Vec::new();
        while states.len() < most
            && let Some((key, value)) = entries.next()?
            && key.starts_with(&row::state_key(prefix))
        {
            let name = row::name_of(&key).unwrap_or_default().to_vec();
            states.push((name, self.whole(&views, &key, &value)?));
        }
        Ok(states)
    }
}
