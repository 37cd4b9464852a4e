//! The results and errors of an append.

use crate::value::error::{Error, ErrorKind};
use crate::value::filter::Filter;
use crate::value::filter_words::InWords;
use crate::value::position::{ExpectedVersion, Position, Version};
use crate::value::stream::StreamId;
use std::fmt;
use std::sync::Arc;

/// The result of an append to one stream, which is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The stream.
    pub stream: StreamId,
    /// The version of the first of these events.
    pub first: Version,
    /// The version of the last: the stream's version after this append.
    pub version: Version,
    /// The position of the last of these events.
    pub position: Position,
    /// True if the same events were recorded already, so that nothing was written.
    pub already_recorded: bool,
}

/// The result of a commit, which is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// One result for each stream appended to, in the commit's order.
    pub appended: Vec<Appended>,
    /// The position of the commit's last event; the head if it has none.
    pub position: Position,
    /// True if the same events were recorded already, so that none was written. A newer position
    /// that the commit [tracks](crate::Commit::tracking) was written.
    pub already_recorded: bool,
}

/// A conflict: a stream's version was not the expected one, so nothing of the commit was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The stream.
    pub stream: StreamId,
    /// The version that the writer expected.
    pub expected: ExpectedVersion,
    /// The stream's actual version.
    pub actual: Version,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conflict { stream, expected, actual } = self;
        write!(f, "stream {stream} is at version {actual}; {expected} was expected")
    }
}

impl std::error::Error for Conflict {}

/// A condition that does not hold: an event that its filter accepts was recorded after its position, so nothing of the
/// commit was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Matched {
    /// The filter of the [condition](crate::Commit::unless).
    pub filter: Arc<Filter>,
    /// The position after which no such event was to be recorded.
    pub after: Position,
    /// The position of the first such event.
    pub position: Position,
}

impl fmt::Display for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Matched { filter, after, position } = self;
        let met = InWords(filter);
        match *after {
            Position::START => write!(
                f,
                "{met} is recorded at position {position}, and the commit allows none; read it, and decide again"
            ),
            after => write!(
                f,
                "{met} was recorded at position {position}, and the commit allows none after {after}; read on from \
                 {after}, and decide again"
            ),
        }
    }
}

impl std::error::Error for Matched {}

/// The error of an append: nothing was written, or it is not known whether something was.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AppendError {
    /// Nothing was written; read the stream and decide again.
    Conflict(Conflict),
    /// Nothing was written; read on from the condition's position and decide again.
    Matched(Matched),
    /// Anything else. If it is [`ErrorKind::OutcomeUnknown`], the events may be durable, and the
    /// store refuses further writes: reopen it and read the stream. Otherwise nothing was written.
    Store(Error),
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::Conflict(conflict) => conflict.fmt(f),
            AppendError::Matched(matched) => matched.fmt(f),
            AppendError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AppendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AppendError::Conflict(conflict) => Some(conflict),
            AppendError::Matched(matched) => Some(matched),
            AppendError::Store(error) => Some(error),
        }
    }
}

impl From<Error> for AppendError {
    fn from(error: Error) -> AppendError {
        AppendError::Store(error)
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Error {
        match error {
            AppendError::Conflict(conflict) => {
                Error::with_source(ErrorKind::Conflict, conflict.to_string(), conflict)
            }
            AppendError::Matched(matched) => {
                Error::with_source(ErrorKind::Conflict, matched.to_string(), matched)
            }
            AppendError::Store(error) => error,
        }
    }
}
