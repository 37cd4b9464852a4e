//! How much sled may write between two syncs, the bounds that this relies on, and when sled's garbage is collected.

use crate::codec::keys::EVENT_KEY_BYTES_MAX;
#[cfg(test)]
use crate::value::error::ErrorKind;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{SLED_SEGMENT_BYTES, SLED_UNSYNCED_BYTES_MAX, VALUE_BYTES_MAX};
#[cfg(test)]
use std::path::Path;

/// The most bytes of a key: the longest name of a stream, and what the key's form adds.
pub(crate) const KEY_BYTES_MAX: usize = 1_088;
/// The most bytes of a stored value: `VALUE_BYTES_MAX`, and its header.
pub(crate) const STORED_BYTES_MAX: usize = VALUE_BYTES_MAX + 64;

// sled splits a leaf of more than 16 entries and an inner node of more than 256 when it next visits
// them. Each entry has a few bytes of lengths or a page number, each node its bounds and links.
const LEAF_BYTES_MAX: usize = 17 * (KEY_BYTES_MAX + STORED_BYTES_MAX + 16) + NODE_FIXED_BYTES_MAX;
const INNER_BYTES_MAX: usize = 257 * (KEY_BYTES_MAX + 16) + NODE_FIXED_BYTES_MAX;
const NODE_FIXED_BYTES_MAX: usize = 2 * KEY_BYTES_MAX + 64;
// sled would write a longer node to a file of its own, which it never syncs, instead of to its log.
const NODE_IN_LOG_BYTES_MAX: usize = SLED_SEGMENT_BYTES / 4 - 64;
const _: () = assert!(max(LEAF_BYTES_MAX, INNER_BYTES_MAX) <= NODE_IN_LOG_BYTES_MAX);

/// The most changes of a batch that logs less than a segment, as one write does.
pub(crate) const CHANGES_PACED_MAX: usize = 8;

/// Changes after which sled's garbage is collected. Each change retires a node or two, and sled's notes about them.
const CHANGES_PER_COLLECTION: usize = 64;

/// The most bytes that one write may add to sled's log, with keys of up to `key_bytes`: the two halves
/// of a leaf and the new form of its parent, the same on each level above, and for each replaced form
/// one node, from anywhere, that sled moves out of an old segment.
pub(crate) const fn log_bytes_of_one_write(key_bytes: usize) -> usize {
    const LEVELS: usize = 4;
    let fixed = 2 * key_bytes + 96;
    let leaf = 17 * (key_bytes + STORED_BYTES_MAX + 16) + fixed;
    let inner = 257 * (key_bytes + 16) + fixed;
    let moved = max(leaf, inner);
    (leaf + moved + inner + moved) + (LEVELS - 1) * 2 * (inner + moved)
}
const _: () = assert!(log_bytes_of_one_write(400) <= SLED_SEGMENT_BYTES);
// A piece of a snapshot has the longest key.
const _: () = assert!(EVENT_KEY_BYTES_MAX + 10 <= KEY_BYTES_MAX);

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// Refuses a size over a bound that the sync policy relies on.
pub(crate) fn check_size(what: &str, met: usize, allowed: usize) -> Result<()> {
    if met > allowed {
        return Err(Error::too_large(what, met, allowed, "bytes"));
    }
    Ok(())
}

/// How much may be written between two syncs. Tests set smaller numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SyncPolicy {
    pub(crate) segment_bytes: usize,
    pub(crate) unsynced_bytes_max: u64,
}

impl Default for SyncPolicy {
    fn default() -> SyncPolicy {
        SyncPolicy {
            segment_bytes: SLED_SEGMENT_BYTES,
            unsynced_bytes_max: SLED_UNSYNCED_BYTES_MAX,
        }
    }
}

/// What may not be on disk yet.
#[derive(Default)]
pub(crate) struct Unsynced {
    /// How far sled's log is synced.
    pub(crate) synced_to: i64,
    /// Bytes of keys and values written since the last flush.
    pub(crate) bytes: u64,
    /// The last write could not be synced. The next one does not begin before it is.
    pub(crate) is_behind: bool,
    /// Changes since sled's garbage was last collected.
    pub(crate) changes: usize,
    #[cfg(test)]
    pub(crate) faults: Faults,
}

impl Unsynced {
    /// Frees what `changes` further changes have replaced, once no thread can be reading it any more.
    ///
    /// For each change, sled writes a new form of a node and retires the old one, with the places in the
    /// log that only the old one needed. A collector frees both: some 500 objects for every 128 times that a
    /// thread begins to use sled. A batch begins once, however many changes it has. Without this function, a
    /// writer of batches would retire more than is ever freed, in memory and on disk.
    pub(crate) fn collect(&mut self, changes: usize) {
        if failpoint!("kv::leave_garbage") {
            return;
        }
        self.changes += changes;
        while self.changes >= CHANGES_PER_COLLECTION {
            self.changes -= CHANGES_PER_COLLECTION;
            crossbeam_epoch::pin().flush();
        }
    }
}

/// The faults that a test injects, and what it observes.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Faults {
    /// Writes that still succeed. Every later one fails, as if the process were dead.
    pub(crate) writes_left: Option<u64>,
    /// Only the first later one fails.
    pub(crate) fails_once: bool,
    pub(crate) keeps_synced: bool,
    /// The data file as of the last sync, if it is kept.
    pub(crate) synced: Vec<u8>,
}

#[cfg(test)]
impl Faults {
    /// Called before each write.
    pub(crate) fn die_if_told(&mut self) -> Result<()> {
        match &mut self.writes_left {
            None => Ok(()),
            Some(0) => {
                if self.fails_once {
                    self.writes_left = None;
                }
                Err(Error::new(ErrorKind::Io, "a failure that the test injects"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// Called after each sync of the data file.
    pub(crate) fn synced(&mut self, file: &Path) {
        if self.keeps_synced {
            self.synced = std::fs::read(file).expect("sled's data file can be read");
        }
    }
}
