//! The store of a command: followed, or opened if nobody else has it.

use crate::fault::Fault;
use filmstrip::chrono::{DateTime, SecondsFormat, Utc};
use filmstrip::{Error, ErrorKind, Follower, Store};
use std::path::Path;

/// The store in `path`, to look into: beside the process that writes it, and without a change.
pub(crate) fn follow(path: &Path) -> Result<Follower, Fault> {
    Ok(Follower::open(path)?)
}

/// The store in `path`, which exists, for this process alone. `command` is what needs it.
pub(crate) fn open(path: &Path, command: &str) -> Result<Store, Fault> {
    // Opening would create one.
    follow(path)?;
    Store::open(path).map_err(|error| needs_it_alone(&error, command))
}

/// The fault for `error`, which says whether another process has the store that `command` needs to itself.
pub(crate) fn needs_it_alone(error: &Error, command: &str) -> Fault {
    match error.kind() {
        ErrorKind::Locked => {
            Fault::bad(format!("{error}; `filmstrip {command}` needs the store to itself"))
        }
        _ => Fault::bad(error.to_string()),
    }
}

/// A time as people and programs read it.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
