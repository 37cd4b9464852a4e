//! Moving a damaged index out of the way, without ever leaving a checkpoint that lies.

use crate::error::{Error, Result};
use crate::index::checkpoint::{CheckpointFile, is_checkpoint};
use crate::index::files::{remove_database, sync};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The directory of the index in that of the store.
pub(crate) const INDEX: &str = "index";
const DAMAGED: &str = "index.damaged-";
/// Damaged indexes kept for who wants to look at them.
const KEPT: usize = 2;

/// Removes `index.checkpoint`, renames `index/` to the next free `index.damaged-<n>` and removes
/// older ones but the newest two. Returns the new name. Without an `index/` only the rest is done.
pub(crate) fn move_aside(store_dir: &Path) -> Result<PathBuf> {
    // The checkpoint goes first: a crash in between leaves an index to be rebuilt, and never a
    // checkpoint beside an index that lacks what it says.
    CheckpointFile::of(store_dir).remove()?;
    let mut numbers = damaged(store_dir)?;
    let next = numbers.last().map_or(1, |last| last + 1);
    let to = named(store_dir, next);
    let from = store_dir.join(INDEX);
    match fs::rename(&from, &to) {
        Ok(()) => numbers.push(next),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io("move aside", &from, e)),
    }
    sync(store_dir)?;
    let excess = numbers.len().saturating_sub(KEPT);
    for number in &numbers[..excess] {
        let old = named(store_dir, *number);
        if let Err(error) = remove_database(&old) {
            tracing::warn!(%error, path = %old.display(), "an old damaged index stays");
        }
    }
    Ok(to)
}

fn named(store_dir: &Path, number: u64) -> PathBuf {
    store_dir.join(format!("{DAMAGED}{number}"))
}

/// The number in the name of an index that was moved aside.
fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix(DAMAGED)?.parse().ok()?;
    // What else reads as a number is none of ours.
    (name == format!("{DAMAGED}{number}")).then_some(number)
}

/// Whether `name` is one that the index has in the directory of a store.
pub(crate) fn is_ours(name: &str) -> bool {
    name == INDEX || is_checkpoint(name) || number_of(name).is_some()
}

/// The numbers of the damaged indexes that are kept, in order.
fn damaged(store_dir: &Path) -> Result<Vec<u64>> {
    let entries = fs::read_dir(store_dir).map_err(|e| Error::io("list", store_dir, e))?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut numbers: Vec<u64> = names.filter_map(|name| number_of(name.to_str()?)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
