//! Whether a failure of sled comes from the system, so that a retry may succeed, or from the files, which can be
//! rebuilt.
//!
//! * An exhausted resource, a missing permission or a moved directory is the system's failure and never damage. sled
//!   reports some of these only by panics.
//! * A failure of the disk while a database is opened is the system's, unless the files cannot be read.
//! * Any other failure of sled while it opens or reads makes the files unusable.

use crate::value::corruption::{CheckpointFault, Corruption, IndexFault};
use crate::value::error::{Error, ErrorKind, Moved, is_exhaustion};
use crate::value::failpoint::failpoint;
use std::fmt;
use std::path::Path;

/// Why a database could not be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The files cannot be used. New ones may be created in their place.
    Unusable(Unusable),
    /// The system refuses. Another attempt with the same files may succeed.
    System(Error),
}

/// Why a database's files cannot be used.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// The database is damaged.
    Whole(Corruption),
    /// One file of it is damaged; the error names the file.
    File(Error),
}

impl Unusable {
    /// The format of the files, if only an older version knows it.
    pub(crate) fn older_format(&self) -> Option<u32> {
        match self {
            Unusable::Whole(Corruption::Checkpoint(CheckpointFault::Format { met, known })) => {
                (1..*known).contains(met).then_some(*met)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Whole(corruption) => corruption.fmt(f),
            Unusable::File(error) => error.fmt(f),
        }
    }
}

impl From<Corruption> for OpenError {
    fn from(corruption: Corruption) -> OpenError {
        OpenError::Unusable(Unusable::Whole(corruption))
    }
}

impl From<CheckpointFault> for OpenError {
    fn from(fault: CheckpointFault) -> OpenError {
        Corruption::from(fault).into()
    }
}

impl From<IndexFault> for OpenError {
    fn from(fault: IndexFault) -> OpenError {
        Corruption::from(fault).into()
    }
}

/// While an index is opened, damage makes it unusable, and every other error is the system's.
impl From<Error> for OpenError {
    fn from(error: Error) -> OpenError {
        match error.kind() {
            ErrorKind::Corrupt => OpenError::Unusable(Unusable::File(error)),
            _ => OpenError::System(error),
        }
    }
}

/// Why sled could not open the files in `path`, according to its message `said`.
pub(super) fn unusable_or_system(path: &Path, what: &str, said: &str) -> OpenError {
    match said_of_the_system(said) {
        Some(source) => OpenError::System(systems(path, what, said, source)),
        None => Corruption::Database(format!("{what}: {said}").into()).into(),
    }
}

/// The error for a panic of sled with `message` in the database in `path`.
pub(super) fn panicked(path: &Path, message: &str) -> Error {
    if let Some(source) = said_of_the_system(message) {
        return systems(path, "sled panicked", message, source);
    }
    Error::corrupt(path, 0, None, format!("sled panicked: {message}"))
}

fn systems(path: &Path, what: &str, said: &str, source: std::io::Error) -> Error {
    let message = format!("{}: {what}: {said}; the operating system refused it", path.display());
    Error::with_source(ErrorKind::Io, message, source)
}

/// The system's error, if sled's message comes from one. Most such messages are panics: sled cannot report otherwise
/// that there is no memory, and it unwraps the results of some system calls.
fn said_of_the_system(said: &str) -> Option<std::io::Error> {
    if failpoint!("kv::want_of_memory_is_damage") {
        return None;
    }
    const EXHAUSTED: [&str; 3] =
        ["failed to allocate", "converting zero into `Owned`", "IO thread unexpectedly panicked"];
    let code = said.split_once("Os { code: ").and_then(|(_, rest)| rest.split(',').next());
    let error = code.and_then(|code| code.parse().ok()).map(std::io::Error::from_raw_os_error);
    if EXHAUSTED.iter().any(|what| said.contains(what)) {
        return Some(std::io::ErrorKind::OutOfMemory.into());
    }
    error.filter(is_the_systems)
}

/// Whether an error is the system's and not the file's.
pub(crate) fn is_the_systems(e: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    is_exhaustion(e)
        || Moved::is_within(e)
        || matches!(
            e.kind(),
            Kind::PermissionDenied
                | Kind::ReadOnlyFilesystem
                | Kind::StorageFull
                | Kind::QuotaExceeded
                | Kind::Interrupted
                | Kind::TimedOut
        )
}

/// Whether a failure of the disk was one to write or to sync, although it does not say so: what is there
/// `can_be_read`. What cannot be read is built again.
pub(super) fn is_failed_write(e: &std::io::Error, can_be_read: impl FnOnce() -> bool) -> bool {
    /// EIO on every Unix; it has no kind of its own.
    const FAILED: i32 = 5;
    let is_damage = failpoint!("kv::failed_sync_is_damage");
    e.raw_os_error() == Some(FAILED) && !is_damage && can_be_read()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When memory was exhausted while sled opened its files, this was taken for damage: healthy views and a healthy
    /// index were quarantined, and the error said that they were damaged. sled reports it by these panics.
    #[test]
    fn a_panic_for_want_of_memory_is_the_systems_and_others_are_the_files() {
        let enomem = std::io::Error::from_raw_os_error(12);
        let unwrapped = format!("called `Result::unwrap()` on an `Err` value: {enomem:?}");
        let said = ["failed to allocate Arc", "failed to allocate critical IO buffer", &unwrapped];
        for said in said {
            let error =
                unusable_or_system(Path::new("views"), "sled panicked while it opened it", said);
            let OpenError::System(error) = error else { panic!("{said:?} is told as {error:?}") };
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.to_string().contains(said), "{error}");
        }
        let eio = std::io::Error::from_raw_os_error(5);
        let unwrapped = format!("called `Result::unwrap()` on an `Err` value: {eio:?}");
        for said in ["index out of bounds", "assertion failed", &unwrapped] {
            let error =
                unusable_or_system(Path::new("views"), "sled panicked while it opened it", said);
            assert!(matches!(error, OpenError::Unusable(_)), "{said:?} is told as {error:?}");
        }
    }
}
