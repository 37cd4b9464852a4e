//! Whether an index that was just opened holds what its checkpoint says.
//!
//! sled can lose a value, or show an older one, without an error. An old `streams` entry would give
//! out a version twice, and an old record would deliver a mail twice. So the checkpoint holds the
//! sum of the contributions of all states and records that it covers, and one scan tells whether
//! they are all there. A crash in the middle of a window leaves values of the next epoch; each of
//! them says what it replaced, so that the sum as of the checkpoint still comes out exactly.

use crate::codec::checkpoint::{StoredCheckpoint, Sum};
use crate::codec::keys;
use crate::codec::state::{Content, Stamp, StoredRecord, StoredState, contribution};
use crate::error::Result;
use crate::index::database::{Database, OpenError, Tree};
use crate::index::trees::{Garbage, Trees};
use bytes::Bytes;
use std::collections::BTreeMap;

/// What `streams` and `records` hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) streams: Sum,
    pub(crate) records: Sum,
    /// Of any event in any stream.
    pub(crate) newest_position: u64,
}

/// What the trees hold now, if as of the checkpoint they held what it says; and what of it nobody
/// needs.
pub(crate) fn verify(
    db: &Database,
    trees: &Trees,
    stored: &StoredCheckpoint,
) -> Result<(Sums, Garbage), OpenError> {
    let mut now = Sums::default();
    let mut then = Sums::default();
    scan(db, &trees.streams, |key, value| {
        let state = StoredState::decode(key, value).ok_or("a stream's state is damaged")?;
        let contributed = contribution(key, value);
        now.streams.replace(0, contributed);
        then.streams.replace(0, as_of(stored.epoch, state.stamp, contributed)?);
        now.newest_position = now.newest_position.max(state.position);
        Ok(())
    })?;
    let mut garbage = Garbage::default();
    let mut in_pieces = BTreeMap::new();
    scan(db, &trees.records, |key, value| {
        let record = StoredRecord::decode(key, value).ok_or("a record is damaged")?;
        let contributed = record_contribution(key, value, &record);
        now.records.replace(0, contributed);
        then.records.replace(0, as_of(stored.epoch, record.stamp, contributed)?);
        match record.content {
            Content::Removed => garbage.removed.push(key.to_vec()),
            Content::Pieces { .. } => drop(in_pieces.insert(key.to_vec(), record.stamp.epoch)),
            Content::Inline(_) => {}
        }
        Ok(())
    })?;
    for (name, expected, met) in
        [("streams", stored.streams, then.streams), ("records", stored.records, then.records)]
    {
        if expected != met {
            let reason = format!(
                "its {name} are not those of its checkpoint: {} instead of {}, some lost or of \
                 another time",
                met.count, expected.count
            );
            return Err(OpenError::Unusable(reason));
        }
    }
    orphans(db, trees, &in_pieces, &mut garbage)?;
    Ok((now, garbage))
}

/// What a value contributes now to the sum of its tree.
pub(crate) fn record_contribution(key: &[u8], value: &[u8], record: &StoredRecord) -> u64 {
    match record.content {
        // A removed key may vanish at any time.
        Content::Removed => 0,
        Content::Inline(_) | Content::Pieces { .. } => contribution(key, value),
    }
}

/// What stood at a value's key as of the checkpoint of `epoch`.
fn as_of(epoch: u64, stamp: Stamp, contribution: u64) -> Result<u64, String> {
    match stamp.epoch {
        written if written <= epoch => Ok(contribution),
        written if written == epoch + 1 => Ok(stamp.previous),
        written => Err(format!("a value is of epoch {written}, the checkpoint of {epoch}")),
    }
}

fn scan(
    db: &Database,
    tree: &Tree,
    mut visit: impl FnMut(&[u8], &Bytes) -> Result<(), String>,
) -> Result<(), OpenError> {
    let mut entries = db.prefix(tree, b"");
    while let Some((key, value)) = entries.next()? {
        visit(&key, &value).map_err(OpenError::Unusable)?;
    }
    Ok(())
}

/// Pieces of records that no record refers to: a crash came before they were removed.
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
