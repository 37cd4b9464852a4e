//! The names of a journal's files. The journal never removes a file with another name.

use crate::journal::segment;
use crate::storage::disk::{Disk, unless_no_directory};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use std::path::Path;

/// The names of the files in the journal's directory.
pub(crate) fn list(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>> {
    let names = disk.list(directory).map_err(|e| Error::io("list", directory, e));
    names.map_err(|error| unless_no_directory(disk, directory, error))
}

/// Whether the journal gives this name to a file.
pub(crate) fn is_ours(name: &str) -> bool {
    is_final(name) || is_leftover(name) || failpoint!("journal::take_any_name_for_ours")
}

/// Whether a file of this name was never in use: a crash left it, and it can be removed.
pub(crate) fn is_leftover(name: &str) -> bool {
    if failpoint!("journal::remove_any_leftover") {
        return name.ends_with(".tmp") || name.ends_with(".prepared");
    }
    let is_prepared = |name: &str| segment::number_of(name).is_some();
    name.strip_suffix(".prepared").is_some_and(is_prepared)
        || name.strip_suffix(".tmp").is_some_and(is_final)
}

/// Whether this is the name of a torn write's copy.
pub(crate) fn is_torn(name: &str) -> bool {
    torn_place(name).is_some()
}

/// Where a torn write was, and how many were at the same place before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TornPlace {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) again: u64,
}

impl TornPlace {
    /// The name of its copy.
    pub(crate) fn name(&self) -> String {
        let TornPlace { segment, offset, again } = self;
        match again {
            0 => format!("torn-{segment:020}-{offset:010}"),
            _ => format!("torn-{segment:020}-{offset:010}-{again}"),
        }
    }
}

/// Parses the name of a torn write's copy.
pub(crate) fn torn_place(name: &str) -> Option<TornPlace> {
    let mut parts = name.strip_prefix("torn-")?.split('-');
    let mut number = || parts.next().map(|part| part.parse::<u64>().ok());
    let (segment, offset) = (number()??, number()??);
    let again = number().unwrap_or(Some(0))?;
    let place = TornPlace { segment, offset, again };
    // Other names that read as a number are not ours.
    (place.name() == name).then_some(place)
}

fn is_final(name: &str) -> bool {
    name == "durable" || segment::number_of(name).is_some() || is_torn(name)
}

/// A name in `directory` that the journal does not use, if there is one.
pub(crate) fn foreign_in(disk: &dyn Disk, directory: &Path) -> Result<Option<String>> {
    Ok(list(disk, directory)?.into_iter().find(|name| !is_ours(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_ours() {
        let segment = "00000000000000000012";
        let torn = "torn-00000000000000000001-0000004096";
        for name in [segment, "durable", torn, &format!("{torn}-3")] {
            assert!(is_ours(name) && !is_leftover(name), "{name}");
            let temporary = format!("{name}.tmp");
            assert!(is_ours(&temporary) && is_leftover(&temporary), "{temporary}");
        }
        assert!(is_leftover(&format!("{segment}.prepared")));
        for name in [
            "diary.tmp",
            "diary.prepared",
            "12.prepared",
            "durable.prepared",
            "durable.tmp.tmp",
            "torn-",
            "torn-1-2",
            &format!("{torn}-"),
            &format!("{torn}-x"),
            &format!("{torn}-1-2"),
            ".tmp",
            ".prepared",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
