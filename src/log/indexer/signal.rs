//! The signals between the indexer and its waiting callers. The times are in `value::limits`.

use crate::codec::frame::Location;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::limits::{
    INDEX_RETRY_MAX, INDEX_RETRY_MIN, INDEXER_IDLE, INDEXER_LOOK, INDEXER_LOOKS_MAX,
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The signals between the indexer and its waiting callers.
///
/// A frame wakes the indexer only if that makes work due. Waking the thread for each commit took a tenth of an
/// `fdatasync`: one writer with one event in each commit, 109 µs (median) instead of 96.
#[derive(Default)]
pub(crate) struct Control {
    state: Mutex<State>,
    /// Notified when the alarm is reached or the log closes.
    wake: Condvar,
    /// Notified when the index has made progress or failed.
    progressed: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts published frames, to detect idle writers.
    published: u64,
    /// The value of `published` when writers were found idle.
    idle_since: Option<u64>,
    /// While the indexer sleeps, the end of the journal that must wake it.
    alarm: Option<Location>,
    failed: Option<Error>,
    /// Failures since the last progress.
    failures: u32,
    closing: bool,
}

/// The work that is due, and the end of the journal at which other work becomes due.
pub(crate) enum Due {
    Now(Work),
    WhenIdle { work: Work, until: Location },
    Nothing { until: Location },
}

/// How long to wait until the next attempt, if there were `failures` failures before the latest one.
pub(crate) fn backoff(failures: u32) -> Duration {
    // 16 doublings of `INDEX_RETRY_MIN` are beyond `INDEX_RETRY_MAX`, and do not overflow.
    INDEX_RETRY_MIN.saturating_mul(1 << failures.min(16)).min(INDEX_RETRY_MAX)
}

/// A piece of work for the indexer.
pub(crate) enum Work {
    UpTo(Location),
    Compact,
    Close,
}

impl Control {
    /// Reports that a frame was published that ends at `end`.
    pub(crate) fn published(&self, end: Location) {
        let mut state = self.state.lock();
        state.published += 1;
        if state.alarm.is_some_and(|alarm| end >= alarm) {
            state.alarm = None;
            self.wake.notify_one();
        }
    }

    /// Lets the indexer look for work, which may be due before a further segment is sealed.
    pub(crate) fn look(&self) {
        let _state = self.state.lock();
        self.wake.notify_one();
    }

    /// Lets the indexer finish its work and end.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_one();
    }

    /// Waits for work: work that is `due` now, work that is due once writers pause, or the close.
    pub(crate) fn wait_for_work(&self, due: impl Fn() -> Due) -> Work {
        let mut state = self.state.lock();
        self.wait_after_failure(&mut state);
        loop {
            if state.closing {
                return Work::Close;
            }
            let seen = state.published;
            match due() {
                Due::Now(work) => return work,
                Due::WhenIdle { work, until } => {
                    if state.idle_since == Some(seen) {
                        return work;
                    }
                    state.alarm = Some(until);
                    let waited = self.wake.wait_for(&mut state, INDEXER_IDLE);
                    if waited.timed_out() && state.published == seen {
                        state.idle_since = Some(seen);
                    }
                }
                Due::Nothing { until } => {
                    state.alarm = Some(until);
                    self.wake.wait(&mut state);
                }
            }
        }
    }

    /// After a failure, waits before the next attempt. The wait grows with each further failure.
    fn wait_after_failure(&self, state: &mut MutexGuard<'_, State>) {
        if state.failed.is_none() {
            return;
        }
        let until = Instant::now() + backoff(state.failures);
        state.failures = state.failures.saturating_add(1);
        // No frame may wake it: an immediate attempt may cost as much as the failed one.
        state.alarm = None;
        while !state.closing {
            if self.wake.wait_until(state, until).timed_out() {
                break;
            }
        }
        state.failed = None;
    }

    pub(crate) fn progress(&self) {
        self.state.lock().failures = 0;
        self.progressed.notify_all();
    }

    pub(crate) fn fail(&self, error: &Error) {
        self.state.lock().failed = Some(error.clone());
        self.progressed.notify_all();
        // The `tracing` subscriber is the application's code; if it panics, the indexer must go on.
        let tell = || tracing::error!(%error, "the indexer failed; it retries after a pause");
        let _ = catch(tell);
    }

    /// Whether a failure is pending.
    #[cfg(test)]
    #[allow(dead_code, reason = "for the proofs")]
    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().failed.is_some()
    }

    /// Waits while `full` says that there is no room for more unindexed events. `signs_of_life` counts the work done
    /// for the index.
    ///
    /// # Errors
    /// The error of the indexer, which will retry; `Timeout`, if it made no progress during `INDEXER_LOOKS_MAX`
    /// looks. Nothing was written, and a later attempt may find room.
    pub(crate) fn wait_for_room(
        &self,
        full: impl Fn() -> bool,
        signs_of_life: impl Fn() -> u64,
    ) -> Result<()> {
        if !full() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let (mut looked, mut seen, begun) = (0, signs_of_life(), Instant::now());
        while full() {
            if let Some(cause) = state.failed.clone() {
                let message = format!(
                    "nothing was written: the index cannot follow the journal; the engine retries: {cause}"
                );
                return Err(Error::with_source(cause.kind(), message, cause));
            }
            // Count looks instead of measuring time, because time also passes while the process is stopped.
            if self.progressed.wait_for(&mut state, INDEXER_LOOK).timed_out() {
                looked += 1;
            }
            let now = signs_of_life();
            if now != seen {
                (looked, seen) = (0, now);
            }
            let by_clock = failpoint!("log::tell_stall_by_clock")
                && begun.elapsed() >= INDEXER_LOOK * INDEXER_LOOKS_MAX;
            if looked >= INDEXER_LOOKS_MAX || by_clock {
                let message = format!(
                    "nothing was written: the indexer has made no progress for {} s, and there is no room \
                     for more events",
                    (INDEXER_LOOK * INDEXER_LOOKS_MAX).as_secs()
                );
                return Err(Error::new(ErrorKind::Timeout, message));
            }
        }
        Ok(())
    }
}
