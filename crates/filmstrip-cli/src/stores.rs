//! The store of a command: followed, or opened if no other process has it.

use crate::fault::Fault;
use filmstrip::chrono::{DateTime, SecondsFormat, Utc};
use filmstrip::{Error, ErrorKind, Follower, RecordedEvent, StreamId, Version};
use std::path::Path;

/// The store in `path`, to look into: beside the process that writes it, and without a change.
pub(crate) fn follow(path: &Path) -> Result<Follower, Fault> {
    Ok(Follower::open(path)?)
}

/// The events of a stream after `after`, in order; none, if there is no such stream.
pub(crate) fn events_of(
    follower: &Follower,
    stream: &StreamId,
    after: Version,
) -> Result<Box<dyn Iterator<Item = filmstrip::Result<RecordedEvent>> + Send>, Fault> {
    match follower.read_stream(stream.clone()).after(after).iter() {
        Ok(events) => Ok(Box::new(events)),
        Err(error) if error.kind() == ErrorKind::StreamNotFound => Ok(Box::new(std::iter::empty())),
        Err(error) => Err(error.into()),
    }
}

/// What was opened for this process alone; `None` if another process has the store open.
pub(crate) fn unless_open_elsewhere<T>(opened: filmstrip::Result<T>) -> Result<Option<T>, Fault> {
    match opened {
        Err(error) if error.kind() == ErrorKind::Locked => Ok(None),
        opened => Ok(Some(opened?)),
    }
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

/// A time on the command line.
pub(crate) fn parsed_time(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.to_utc())
        .map_err(|_| "a time is written as in RFC 3339, such as 2026-01-31T23:59:59Z".to_owned())
}

/// A time as people and programs read it.
pub(crate) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
