//! Why a target did not take events.

use crate::value::error::HandlerError;
use std::fmt;

/// Why a target did not take events.
#[derive(Debug)]
pub enum RelayError {
    /// It may pass by itself: a broken connection, a full disk. The relay tries again after a pause of 100 ms, twice as
    /// long after each further failure, up to 10 s, for as long as it takes.
    Outage(HandlerError),
    /// Another attempt would fail as well until an operator has done something: wrong settings, another store's events
    /// in it, an event that is too large. The relay stops, and goes on when it is
    /// [resumed](crate::relay::RelayHandle::resume).
    Refused(HandlerError),
}

impl RelayError {
    /// Makes an outage with this cause.
    pub fn outage(cause: impl Into<HandlerError>) -> RelayError {
        RelayError::Outage(cause.into())
    }

    /// Makes a refusal with this cause.
    pub fn refused(cause: impl Into<HandlerError>) -> RelayError {
        RelayError::Refused(cause.into())
    }
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (RelayError::Outage(cause) | RelayError::Refused(cause)) = self;
        cause.fmt(f)
    }
}

impl std::error::Error for RelayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let (RelayError::Outage(cause) | RelayError::Refused(cause)) = self;
        Some(&**cause)
    }
}
