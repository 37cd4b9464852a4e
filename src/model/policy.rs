//! How failures to handle an event are treated.

use crate::value::error::{Error, ErrorKind};
use crate::value::failpoint::failpoint;
use crate::value::limits::{RECOVERY_WAIT_MAX, RECOVERY_WAIT_MIN, RETRY_WAIT_MAX};
use serde::Serialize;
use std::time::Duration;

/// What to do when the application's code fails or panics while it handles an event: retry a few
/// times, then give up as `then` says.
///
/// ```
/// use filmstrip::projection::{ErrorAction, OnError};
/// use std::time::Duration;
/// let patient = OnError::default().retries(10).then(ErrorAction::ParkEvent);
/// assert_eq!(patient.first_delay, Duration::from_millis(100));
/// assert_eq!(OnError::default().retries, 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnError {
    /// How often it is retried: 3 times by default.
    pub retries: u32,
    /// How long to wait before the first retry: 100 ms by default. Each further
    /// wait is twice as long, up to a minute.
    pub first_delay: Duration,
    /// What to do then: by default what is [usual](ErrorAction::Usual).
    pub then: ErrorAction,
}

/// What to do with an event, or another step of a process, that has failed too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ErrorAction {
    /// What is usual: a projection stops, a process parks the instance.
    #[default]
    Usual,
    /// Stop; the status holds the cause.
    Stop,
    /// Park the event, and continue with the next one. In a process: park the event, effect or deadline, and continue
    /// with the next one of the same instance.
    ParkEvent,
    /// Park the event and all later events of its stream, so that the stream's order
    /// is kept; continue with other streams. For projections.
    ParkStream,
    /// Park the instance: what failed and all that comes after it for this instance waits, so that the instance's order
    /// is kept; continue with other instances. For processes.
    ParkInstance,
}

impl ErrorAction {
    /// This, with `usual` for what is usual.
    pub(crate) fn or_usual(self, usual: ErrorAction) -> ErrorAction {
        match self {
            ErrorAction::Usual => usual,
            other => other,
        }
    }
}

/// What is being retried, and why. The next attempt is automatic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Retrying {
    /// What is tried: an event, a deadline, an effect, or following the log.
    pub what: String,
    /// How often it has failed so far.
    pub failures: u32,
    /// Why it failed the last time.
    pub cause: String,
}

/// How long to wait before the retry, after `failures` consecutive failures of the store, the last with `error`.
/// `None` if the failure needs an operator.
pub(crate) fn recovery_delay(error: &Error, failures: u32) -> Option<Duration> {
    if failpoint!("model::full_disk_is_for_good") || !passes_by_itself(error.kind()) {
        return None;
    }
    Some(recovery_wait(failures))
}

fn passes_by_itself(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::StorageFull | ErrorKind::Timeout | ErrorKind::Unavailable => true,
        // A key service comes back, and a key ring is mounted.
        #[cfg(feature = "erasure")]
        ErrorKind::KeysUnavailable => true,
        _ => false,
    }
}

/// As [`recovery_delay`], for effects of a process, which are also retried after a conflict and when a queue is full.
pub(crate) fn outage_delay(error: &Error, failures: u32) -> Option<Duration> {
    match error.kind() {
        ErrorKind::Conflict | ErrorKind::QueueFull => Some(recovery_wait(failures)),
        _ => recovery_delay(error, failures),
    }
}

/// Whether a store with this error does not work at all, until somebody does something about it.
pub(crate) fn is_down(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::OutcomeUnknown
            | ErrorKind::ReadOnly
            | ErrorKind::Locked
            | ErrorKind::Io
            | ErrorKind::Moved
            | ErrorKind::Closed
            | ErrorKind::Replaced
            | ErrorKind::Forked
    )
}

fn recovery_wait(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    RECOVERY_WAIT_MIN.saturating_mul(doubled).min(RECOVERY_WAIT_MAX)
}

/// The store's error behind `cause`, if there is one.
pub(crate) fn of_store(cause: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut sources = std::iter::successors(Some(cause), |cause| cause.source());
    sources.find_map(|cause| cause.downcast_ref::<Error>()).cloned()
}

impl Default for OnError {
    fn default() -> OnError {
        OnError { retries: 3, first_delay: Duration::from_millis(100), then: ErrorAction::Usual }
    }
}

impl OnError {
    /// Sets how often it is retried.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> OnError {
        self.retries = retries;
        self
    }

    /// Sets how long to wait before the first retry.
    #[must_use]
    pub fn first_delay(mut self, delay: Duration) -> OnError {
        self.first_delay = delay;
        self
    }

    /// Sets what to do then.
    #[must_use]
    pub fn then(mut self, then: ErrorAction) -> OnError {
        self.then = then;
        self
    }

    /// How long to wait before the next attempt after `failures` failures; `None` if there is none.
    pub(crate) fn delay_after(&self, failures: u32) -> Option<Duration> {
        if failures > self.retries {
            return None;
        }
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        Some(self.first_delay.saturating_mul(doubled).min(RETRY_WAIT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_twice_as_long_until_there_is_none() {
        let on_error = OnError::default();
        let delays: Vec<_> = (1..=5).map(|failures| on_error.delay_after(failures)).collect();
        let millis = |n| Some(Duration::from_millis(n));
        assert_eq!(delays, [millis(100), millis(200), millis(400), None, None]);
        let endless = on_error.retries(u32::MAX);
        assert_eq!(endless.delay_after(u32::MAX), Some(RETRY_WAIT_MAX));
        assert_eq!(on_error.retries(0).delay_after(1), None);
    }
}
