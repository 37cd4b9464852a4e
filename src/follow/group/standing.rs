//! What an unfinished event waits for, now and in a later run.
//!
//! A wait is kept as the time at which it ends, because instants mean nothing to another process. A delivery is not
//! kept: a later run has other consumers, and delivers again.

use crate::value::clock::Micros;
use std::time::{Duration, Instant};

/// The present moment, on the clock that measures and on the one that dates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) time: Micros,
}

/// What is kept of an event that waits for nothing.
const NOT_WAITING: i64 = 0;
/// What is kept of an event that waits for ever.
const FOR_GOOD: i64 = i64::MAX;

/// What an unfinished event waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// An earlier event of its stream is unfinished.
    Held,
    Ready,
    /// Until then, or, without a time, for good.
    Delivered(Option<Instant>),
    /// Until then, or, without a time, for good.
    Waiting(Option<Instant>),
}

impl Standing {
    /// When it is over, if it ends by itself.
    pub(super) fn timer(self) -> Option<Instant> {
        match self {
            Standing::Held | Standing::Ready => None,
            Standing::Delivered(until) | Standing::Waiting(until) => until,
        }
    }

    /// What is kept of it for a later run: the time before which there is no delivery, or `NOT_WAITING`.
    pub(super) fn due(self, now: Now) -> i64 {
        match self {
            Standing::Held | Standing::Ready | Standing::Delivered(_) => NOT_WAITING,
            Standing::Waiting(None) => FOR_GOOD,
            Standing::Waiting(Some(until)) => {
                let wait = until.saturating_duration_since(now.instant).as_micros();
                match i64::try_from(wait).map(|wait| now.time.0.saturating_add(wait)) {
                    Ok(NOT_WAITING) => 1,
                    Ok(due) => due,
                    Err(_) => FOR_GOOD,
                }
            }
        }
    }

    /// The standing of which an earlier run has kept `due`.
    pub(super) fn of_due(due: i64, now: Now) -> Standing {
        let wait = u64::try_from(due.saturating_sub(now.time.0)).unwrap_or(0);
        match due {
            NOT_WAITING => Standing::Held,
            FOR_GOOD => Standing::Waiting(None),
            _ if wait == 0 => Standing::Held,
            _ => Standing::Waiting(now.instant.checked_add(Duration::from_micros(wait))),
        }
    }
}
