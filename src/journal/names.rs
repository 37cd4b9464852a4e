//! The names of a journal's files. No file with another name is ever removed.

use crate::error::{Error, Result};
use crate::journal::disk::Disk;
use crate::journal::segment;
use std::path::Path;

/// Whether `name` is one that the journal gives to a file.
pub(crate) fn is_ours(name: &str) -> bool {
    is_final(name) || is_leftover(name)
}

/// Whether a file of this name was never in use: a crash left it, and it can go.
pub(crate) fn is_leftover(name: &str) -> bool {
    let is_prepared = |name: &str| segment::number_of(name).is_some();
    name.strip_suffix(".prepared").is_some_and(is_prepared)
        || name.strip_suffix(".tmp").is_some_and(is_final)
}

/// Whether `name` is that of a torn write's copy.
pub(crate) fn is_torn(name: &str) -> bool {
    let is_number = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let Some(place) = name.strip_prefix("torn-") else { return false };
    let mut parts = place.split('-');
    parts.next().is_some_and(|segment| is_number(segment, 20))
        && parts.next().is_some_and(|offset| is_number(offset, 10))
        && parts.next().is_none_or(|again| !again.is_empty() && is_number(again, again.len()))
        && parts.next().is_none()
}

fn is_final(name: &str) -> bool {
    name == "durable" || segment::number_of(name).is_some() || is_torn(name)
}

/// A name in `directory` that is none of a journal's, if there is one.
pub(crate) fn foreign_in(disk: &dyn Disk, directory: &Path) -> Result<Option<String>> {
    let names = disk.list(directory).map_err(|e| Error::io("list", directory, e))?;
    Ok(names.into_iter().find(|name| !is_ours(name)))
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
