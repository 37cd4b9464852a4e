//! Checks that an index that was just opened holds what its checkpoint covers.
//!
//! sled can lose a value, or return an older one, without an error. An old record could, for example, send a mail
//! twice. So the checkpoint holds the sum of the contributions of all records that it covers, and one scan checks
//! that they are all there. A crash in the middle of a flush batch leaves values of the next epoch. Each of them
//! holds the contribution of the value that it replaced, so the sum as of the checkpoint can still be computed
//! exactly. Tables need no such scan: each part of a table names its table.

use crate::codec::checkpoint::{StoredCheckpoint, Sum};
use crate::codec::keys;
use crate::codec::overflow::Content;
use crate::codec::state::{Stamp, StoredRecord, contribution};
use crate::index::trees::{Garbage, Trees};
use crate::kv::database::{Database, Tree};
use crate::kv::failure::OpenError;
use crate::value::corruption::Corruption;
use crate::value::error::Result;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// The result of the scan over an index's records.
pub(crate) struct Verified {
    /// The sum of the records as they are now.
    pub(crate) records: Sum,
    /// Data that is no longer needed.
    pub(crate) garbage: Garbage,
    /// The keys of records that an interrupted flush batch has written.
    pub(crate) unfinished: BTreeSet<Vec<u8>>,
}

/// Scans `records`. Returns an error unless the sum as of the checkpoint is the one that the checkpoint holds.
pub(crate) fn verify(
    db: &Database,
    trees: &Trees,
    stored: &StoredCheckpoint,
) -> Result<Verified, OpenError> {
    let mut now = Sum::default();
    let mut then = Sum::default();
    let mut garbage = Garbage::default();
    let mut in_pieces = BTreeMap::new();
    let mut unfinished = BTreeSet::new();
    scan(db, &trees.records, |key, value| {
        let record = StoredRecord::decode(key, value).ok_or(Corruption::Record)?;
        let contributed = record_contribution(key, value, &record);
        now.replace(0, contributed);
        then.replace(0, as_of(stored.epoch, record.stamp, contributed)?);
        if record.stamp.epoch > stored.epoch {
            unfinished.insert(key.to_vec());
        }
        if record.is_removed() {
            garbage.removed.push(key.to_vec());
        }
        if let Content::Overflow(_) = record.content {
            in_pieces.insert(key.to_vec(), record.stamp.epoch);
        }
        Ok(())
    })?;
    if stored.records != then {
        let (held, said) = (then.count, stored.records.count);
        return Err(Corruption::Records { held, said }.into());
    }
    orphans(db, trees, &in_pieces, &mut garbage)?;
    Ok(Verified { records: now, garbage, unfinished })
}

/// The present contribution of a value to the sum of its tree.
pub(crate) fn record_contribution(key: &[u8], value: &[u8], record: &StoredRecord) -> u64 {
    // A removed key may vanish at any time.
    if record.is_removed() { 0 } else { contribution(key, value) }
}

/// The contribution of a value's key as of the checkpoint of `epoch`.
fn as_of(epoch: u64, stamp: Stamp, contribution: u64) -> Result<u64, Corruption> {
    match stamp.epoch {
        written if written <= epoch => Ok(contribution),
        written if written == epoch + 1 => Ok(stamp.previous),
        written => Err(Corruption::RecordEpoch { written, checkpoint: epoch }),
    }
}

fn scan(
    db: &Database,
    tree: &Tree,
    mut visit: impl FnMut(&[u8], &Bytes) -> Result<(), Corruption>,
) -> Result<(), OpenError> {
    let mut entries = db.prefix(tree, b"");
    while let Some((key, value)) = entries.next()? {
        visit(&key, &value)?;
    }
    Ok(())
}

/// Finds pieces of records that no record refers to, because a crash came before they were removed.
fn orphans(
    db: &Database,
    trees: &Trees,
    in_pieces: &BTreeMap<Vec<u8>, u64>,
    garbage: &mut Garbage,
) -> Result<(), OpenError> {
    let mut entries = db.prefix(&trees.pieces, b"r");
    while let Some((key, _)) = entries.next()? {
        let Some((record, epoch)) = keys::record_of_piece(&key) else { continue };
        let orphan = (record.to_vec(), epoch);
        if in_pieces.get(record) != Some(&epoch) && garbage.pieces.last() != Some(&orphan) {
            garbage.pieces.push(orphan);
        }
    }
    Ok(())
}
