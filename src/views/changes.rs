//! Writing rows and states, all of one write or none, and the pieces of long ones.

use super::{OpenViews, ViewTree};
use crate::codec::overflow::Overflow;
use crate::codec::row::{self, StoredRow};
use crate::codec::view_entry::{Entries, entries_key};
use crate::kv::database::{Database, Tree};
use crate::kv::overflow;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// A row, and what the view's indexes hold of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) bytes: Bytes,
    pub(crate) entries: Entries,
}

impl Row {
    /// A row that is in no index.
    pub(crate) fn plain(bytes: impl Into<Bytes>) -> Row {
        Row { bytes: bytes.into(), entries: Entries::default() }
    }
}

/// One change of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Sets or deletes a row, and its entries in the view's indexes.
    Row(String, Option<Row>),
    /// Sets or deletes one of the view's own states, such as its checkpoint.
    State(Vec<u8>, Option<Vec<u8>>),
}

impl ViewTree {
    /// Makes all of `changes`, or none of them. They are durable after the views' `sync`, or earlier.
    pub(crate) fn write(&self, changes: Vec<Change>) -> Result<()> {
        self.write_to(&self.views.read()?, changes)
    }

    /// Makes the changes of each part in turn. Closing the views waits for the last part.
    pub(crate) fn write_each(&self, mut parts: impl Iterator<Item = Vec<Change>>) -> Result<()> {
        let views = self.views.read()?;
        parts.try_for_each(|part| self.write_to(&views, part))
    }

    fn write_to(&self, views: &OpenViews<'_>, changes: Vec<Change>) -> Result<()> {
        // The application's code, which ran before this, may have forked.
        views.db().check_owner()?;
        let (db, tree) = (views.db(), views.tree(&self.name)?);
        let mut batch = Vec::with_capacity(changes.len());
        let mut replaced = Vec::new();
        for change in changes {
            let (key, value) = match change {
                Change::Row(key, row) => {
                    self.change_entries(views, &key, row.as_ref(), &mut batch)?;
                    (row::row_key(&key), row.map(|row| row.bytes))
                }
                Change::State(name, value) => (row::state_key(&name), value.map(Bytes::from)),
            };
            let old = self.overflow_of(db, tree, &key)?;
            replaced.extend(old.map(|(generation, overflow)| (key.clone(), generation, overflow)));
            let value = match value {
                Some(value) => {
                    let generation = old.map_or(0, |(generation, _)| generation).wrapping_add(1);
                    Some(self.stored(db, tree, &key, generation, value)?.encode(&key))
                }
                None => None,
            };
            batch.push((key, value));
        }
        if failpoint!("views::checkpoint_before_view") {
            let (states, rows) = batch.into_iter().partition(|(key, _)| key[0] == 0);
            db.batch(tree, states)?;
            batch = rows;
        }
        if failpoint!("views::entries_apart_from_rows") {
            let (entries, rest) = batch.into_iter().partition(|(key, _)| key[0] > 2);
            db.batch(tree, entries)?;
            batch = rest;
        }
        db.batch(tree, batch)?;
        // The changes are made. An error would say that none was, and the same events would be applied again.
        // Leftover pieces are never read, and are removed with the view.
        let removed = replaced.iter().try_for_each(|(key, generation, overflow)| {
            let mut pieces = 0..overflow.pieces();
            pieces.try_for_each(|number| db.remove(tree, &row::piece_key(key, *generation, number)))
        });
        match removed {
            Err(error) if failpoint!("views::fail_write_that_was_made") => Err(error),
            Err(error) => {
                tracing::warn!(%error, "pieces of rows that were replaced could not be removed");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Adds to `batch` what makes the entries of the row `key` those of `row`.
    fn change_entries(
        &self,
        views: &OpenViews<'_>,
        key: &str,
        row: Option<&Row>,
        batch: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> Result<()> {
        if self.indexes.is_empty() {
            return Ok(());
        }
        let old = self.entries_in(views, key)?;
        let new = row.map(|row| row.entries.clone()).unwrap_or_default();
        if old == new {
            return Ok(());
        }
        let [had, has]: [BTreeSet<_>; 2] = [old.iter().collect(), new.iter().collect()];
        if !failpoint!("views::keep_entries_of_replaced_row") {
            let gone = old.iter().zip(old.keys(key)).filter(|(entry, _)| !has.contains(entry));
            batch.extend(gone.map(|(_, entry)| (entry, None)));
        }
        let added = new.iter().zip(new.keys(key)).filter(|(entry, _)| !had.contains(entry));
        batch.extend(added.map(|(_, entry)| {
            let value = StoredRow::Inline(Bytes::new()).encode(&entry);
            (entry, Some(value))
        }));
        let list = entries_key(key);
        let stored = StoredRow::Inline(Bytes::copy_from_slice(new.as_bytes())).encode(&list);
        batch.push((list, Some(stored).filter(|_| !new.is_empty())));
        Ok(())
    }

    /// The stored form of `value`. Writes its pieces, if it needs any.
    fn stored(
        &self,
        db: &Database,
        tree: &Tree,
        key: &[u8],
        generation: u64,
        value: Bytes,
    ) -> Result<StoredRow> {
        let Some(overflow) = Overflow::of(&value) else { return Ok(StoredRow::Inline(value)) };
        self.has_pieces.store(true, Ordering::Relaxed);
        overflow::put(db, tree, |number| row::piece_key(key, generation, number), &value)?;
        Ok(StoredRow::Overflow { generation, overflow })
    }

    /// The generation and the overflow of the value of `key`, if it has pieces.
    fn overflow_of(
        &self,
        db: &Database,
        tree: &Tree,
        key: &[u8],
    ) -> Result<Option<(u64, Overflow)>> {
        if !self.has_pieces.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some(value) = db.get(tree, key)? else { return Ok(None) };
        match StoredRow::decode(key, &value) {
            Some(StoredRow::Overflow { generation, overflow }) => Ok(Some((generation, overflow))),
            _ => Ok(None),
        }
    }

    /// Removes the pieces that a crash has left without a row.
    pub(super) fn sweep(&self) -> Result<()> {
        let views = self.views.read()?;
        let (db, tree) = (views.db(), views.tree(&self.name)?);
        let mut entries = db.prefix(tree, &row::pieces_prefix());
        let mut orphans = Vec::new();
        let mut last: Option<(Vec<u8>, Option<StoredRow>)> = None;
        while let Some((key, _)) = entries.next()? {
            self.has_pieces.store(true, Ordering::Relaxed);
            let Some((row_key, generation, number)) = row::piece_of(&key) else { continue };
            if last.as_ref().is_none_or(|(last, _)| *last != row_key) {
                let value = db.get(tree, &row_key)?;
                let stored = value.and_then(|value| StoredRow::decode(&row_key, &value));
                last = Some((row_key, stored));
            }
            let wanted = matches!(&last, Some((_, Some(StoredRow::Overflow { generation: of, overflow })))
                if *of == generation && number < overflow.pieces());
            if !wanted {
                orphans.push(key);
            }
        }
        for key in orphans {
            db.remove(tree, &key)?;
        }
        Ok(())
    }
}
