//! Quarantines a damaged index or damaged views, and never leaves a wrong checkpoint behind. Nothing is wrong with an
//! index of an older format: it is only put aside until the next opening finds the one that was built in its place.

use crate::index::checkpoint::{CheckpointFile, is_checkpoint};
use crate::kv::files::remove_database;
use crate::storage::disk::Disk;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{QUARANTINE_KEPT, QUARANTINE_REMOVED_MAX};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the index's directory in the store's directory.
pub(crate) const INDEX: &str = "index";

/// Between the name of the index's directory and the number of its older format.
const FORMAT: &str = ".format-";

/// Removes `index.checkpoint`, renames `index/` to the next free `index.damaged-<n>`, and removes all quarantined
/// ones but the newest two. Returns the new path, if there was an `index/`.
pub(crate) fn quarantine_index(disk: &Arc<dyn Disk>, store_dir: &Path) -> Result<Option<PathBuf>> {
    // Remove the checkpoint first: a crash in between leaves an index to be rebuilt, and never a checkpoint beside an
    // index that lacks what the checkpoint covers.
    CheckpointFile::of(disk, store_dir).remove()?;
    quarantine(&**disk, store_dir, INDEX)
}

/// Removes `index.checkpoint`, and renames `index/`, which is of an older `format`, to `index.format-<format>`. Returns
/// the new path, if there was an `index/`.
pub(crate) fn put_older_index_aside(
    disk: &Arc<dyn Disk>,
    store_dir: &Path,
    format: u32,
) -> Result<Option<PathBuf>> {
    let to = store_dir.join(format!("{INDEX}{FORMAT}{format}"));
    let is_free = match remove_database(&**disk, &to) {
        Ok(()) => true,
        Err(e) => e.kind() == ErrorKind::NotFound,
    };
    if !is_free {
        return quarantine_index(disk, store_dir);
    }
    // As when an index is quarantined.
    CheckpointFile::of(disk, store_dir).remove()?;
    let from = store_dir.join(INDEX);
    let is_there = put_aside(&**disk, store_dir, &from, &to)?;
    Ok(is_there.then_some(to))
}

/// Removes what [`put_older_index_aside`] has put aside.
pub(crate) fn remove_older_indexes(disk: &dyn Disk, store_dir: &Path) {
    for name in disk.list(store_dir).unwrap_or_default().iter().filter(|name| is_older(name)) {
        let path = store_dir.join(name);
        if let Err(error) = remove_database(disk, &path) {
            tracing::warn!(%error, path = %path.display(), "an index of an older format could not be removed");
        }
    }
}

/// Whether `name` is the name of an index of an older format.
fn is_older(name: &str) -> bool {
    let format = name.strip_prefix(INDEX).and_then(|rest| rest.strip_prefix(FORMAT));
    format.and_then(|format| format.parse::<u32>().ok()).is_some_and(|format| {
        // Other spellings of a number are not ours.
        name == format!("{INDEX}{FORMAT}{format}")
    })
}

/// Renames `from` in the store's directory to `to`, durably. Returns whether it existed.
fn put_aside(disk: &dyn Disk, store_dir: &Path, from: &Path, to: &Path) -> Result<bool> {
    let is_there = match disk.rename(from, to) {
        Ok(()) => true,
        Err(e) if e.kind() == ErrorKind::NotFound => false,
        Err(e) => return Err(Error::io("quarantine", from, e)),
    };
    disk.sync_dir(store_dir).map_err(|e| Error::io("sync", store_dir, e))?;
    Ok(is_there)
}

/// Renames `what` in the store's directory to the next free `<what>.damaged-<n>`, and removes all quarantined ones
/// but the newest two. Returns the new path, if `what` existed.
pub(crate) fn quarantine(disk: &dyn Disk, store_dir: &Path, what: &str) -> Result<Option<PathBuf>> {
    let mut numbers = damaged(disk, store_dir, what)?;
    let next = next_number(&numbers);
    let to = named(store_dir, what, next);
    let is_there = put_aside(disk, store_dir, &store_dir.join(what), &to)?;
    if is_there {
        numbers.push(next);
    }
    let kept = if failpoint!("index::keep_all_aside") { usize::MAX } else { QUARANTINE_KEPT };
    let excess = numbers.len().saturating_sub(kept);
    // Directories that cannot be removed stay, and there may be any number of them. Begin with the newest excess one:
    // each is tried once, when it is no longer one of those that are kept.
    let removed =
        if failpoint!("index::look_at_all_aside") { usize::MAX } else { QUARANTINE_REMOVED_MAX };
    for number in numbers[..excess].iter().rev().take(removed) {
        let old = named(store_dir, what, *number);
        if let Err(error) = remove_database(disk, &old) {
            tracing::warn!(%error, path = %old.display(), "earlier quarantined data could not be removed");
        }
    }
    Ok(is_there.then_some(to))
}

/// The number after the last of `numbers`, which are sorted. If the last one has no successor, the first free number.
fn next_number(numbers: &[u64]) -> u64 {
    let Some(last) = numbers.last() else { return 1 };
    let is_free = |number: &u64| numbers.binary_search(number).is_err();
    let after = last.checked_add(1).filter(|next| *next < u64::MAX);
    after.unwrap_or_else(|| (1..u64::MAX).find(is_free).expect("fewer files than numbers"))
}

fn named(store_dir: &Path, what: &str, number: u64) -> PathBuf {
    store_dir.join(format!("{what}.damaged-{number}"))
}

/// The number in the name of a quarantined `what`.
fn number_of(what: &str, name: &str) -> Option<u64> {
    let number = name.strip_prefix(what)?.strip_prefix(".damaged-")?.parse().ok()?;
    // Other spellings of a number are not ours, and neither is the largest number, which has no successor.
    let is_ours = number < u64::MAX && name == format!("{what}.damaged-{number}");
    is_ours.then_some(number)
}

/// Whether `name` is the name of a quarantined `what`.
pub(crate) fn is_quarantined(what: &str, name: &str) -> bool {
    number_of(what, name).is_some()
}

/// Whether `name` belongs to the index in a store's directory.
pub(crate) fn is_ours(name: &str) -> bool {
    name == INDEX || is_checkpoint(name) || is_quarantined(INDEX, name) || is_older(name)
}

/// The sorted numbers of the quarantined `what`.
fn damaged(disk: &dyn Disk, store_dir: &Path, what: &str) -> Result<Vec<u64>> {
    let names = disk.list(store_dir).map_err(|e| Error::io("list", store_dir, e))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(what, name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::RealDisk;
    use std::fs;

    /// After a directory with the second largest number, the next quarantine got the largest number, which is not
    /// recognised. That number was then chosen again, and the store no longer opened.
    #[test]
    fn after_the_last_number_the_first_free_one_is_taken() {
        assert_eq!(next_number(&[]), 1);
        assert_eq!(next_number(&[1, 7]), 8);
        assert_eq!(next_number(&[1, 2, 4, u64::MAX - 1]), 3);
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(named(directory.path(), INDEX, u64::MAX - 1)).unwrap();
        for _ in 0..4 {
            fs::create_dir(directory.path().join(INDEX)).unwrap();
            let moved = quarantine(&RealDisk, directory.path(), INDEX).unwrap().unwrap();
            assert!(is_quarantined(INDEX, moved.file_name().unwrap().to_str().unwrap()));
        }
    }

    fn asides(store_dir: &Path) -> Vec<u64> {
        damaged(&RealDisk, store_dir, INDEX).unwrap()
    }

    /// With 20,000 quarantined indexes, each further quarantine tried to remove all of them, which took half a
    /// minute. Now each one removes a few, and directories that cannot be removed do not keep it from the others.
    #[test]
    fn moving_aside_looks_at_a_few_of_those_that_were_moved_aside_before() {
        let directory = tempfile::tempdir().unwrap();
        let store_dir = directory.path();
        for number in 1..=50 {
            let foreign = named(store_dir, INDEX, number);
            fs::create_dir(&foreign).unwrap();
            fs::write(foreign.join("diary"), "not ours").unwrap();
        }
        for number in 51..=150 {
            fs::create_dir(named(store_dir, INDEX, number)).unwrap();
        }
        let mut before = asides(store_dir).len();
        for _ in 0..10 {
            fs::create_dir(store_dir.join(INDEX)).unwrap();
            let to = quarantine(&RealDisk, store_dir, INDEX).unwrap();
            let now = asides(store_dir);
            assert_eq!(now.last().map(|last| named(store_dir, INDEX, *last)), to);
            assert!(
                before + 1 - now.len() <= QUARANTINE_REMOVED_MAX,
                "{before}, then {}",
                now.len()
            );
            before = now.len();
        }
        assert_eq!(asides(store_dir), (1..=50).chain([159, 160]).collect::<Vec<u64>>());
    }

    /// The successor of the largest number overflowed, so that quarantining an index panicked or continued with 0.
    #[test]
    fn a_name_whose_number_has_no_next_one_is_none_of_ours() {
        assert!(is_quarantined(INDEX, "index.damaged-18446744073709551614"));
        assert!(!is_quarantined(INDEX, "index.damaged-18446744073709551615"));
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("index.damaged-18446744073709551615")).unwrap();
        fs::create_dir(directory.path().join(INDEX)).unwrap();
        let moved_to =
            quarantine_index(&(Arc::new(RealDisk) as Arc<dyn Disk>), directory.path()).unwrap();
        assert_eq!(moved_to, Some(directory.path().join("index.damaged-1")));
    }
}
