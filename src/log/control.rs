//! What the indexer and those who wait for it tell each other.

use crate::codec::frame::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{INDEXER_IDLE, INDEXER_STALL};
use parking_lot::{Condvar, Mutex};
use std::time::Instant;

/// What the indexer and those who wait for it tell each other.
///
/// A frame wakes the indexer only if it gives it work: a thread that is woken costs a commit a tenth
/// of an `fdatasync`.
#[derive(Default)]
pub(crate) struct Control {
    state: Mutex<State>,
    /// The alarm was reached, or the log closes.
    wake: Condvar,
    /// The index has moved, or failed to.
    progressed: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts frames, so that idleness can be told.
    published: u64,
    /// How many there were when writers were found idle.
    idle_since: Option<u64>,
    /// While the indexer sleeps: the end of the journal that must wake it.
    alarm: Option<Location>,
    windows: u64,
    failed: Option<Error>,
    closing: bool,
}

/// What is due, and the end of the journal that makes something else due.
pub(crate) enum Due {
    Now(Work),
    WhenIdle { work: Work, until: Location },
    Nothing { until: Location },
}

/// Every frame ends behind it.
const ANY_FRAME: Location = Location { segment: 0, offset: 0 };

/// What the indexer is to do.
pub(crate) enum Work {
    UpTo(Location),
    Merge,
    Close,
}

impl Control {
    /// A frame was published that ends at `end`.
    pub(crate) fn published(&self, end: Location) {
        let mut state = self.state.lock();
        state.published += 1;
        if state.alarm.is_some_and(|alarm| end >= alarm) {
            state.alarm = None;
            self.wake.notify_one();
        }
    }

    /// Lets the indexer finish its work and end.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_one();
    }

    /// Waits until there is something to do: what is `due` now, what is due when writers pause and
    /// they do, or the end.
    pub(crate) fn wait_for_work(&self, due: impl Fn() -> Due) -> Work {
        let mut state = self.state.lock();
        let tried = state.published;
        loop {
            if state.closing {
                return Work::Close;
            }
            let seen = state.published;
            match due() {
                // After a failure, a new frame may find the disk in better order.
                Due::Now(work @ Work::UpTo(_)) if state.failed.is_none() || seen != tried => {
                    state.failed = None;
                    return work;
                }
                Due::Now(work) if state.failed.is_none() => return work,
                Due::WhenIdle { work, until } if state.failed.is_none() => {
                    if state.idle_since == Some(seen) {
                        return work;
                    }
                    state.alarm = Some(until);
                    let waited = self.wake.wait_for(&mut state, INDEXER_IDLE);
                    if waited.timed_out() && state.published == seen {
                        state.idle_since = Some(seen);
                    }
                }
                Due::Nothing { until } if state.failed.is_none() => {
                    state.alarm = Some(until);
                    self.wake.wait(&mut state);
                }
                _ => {
                    state.alarm = Some(ANY_FRAME);
                    self.wake.wait(&mut state);
                }
            }
        }
    }

    pub(crate) fn progress(&self) {
        self.state.lock().windows += 1;
        self.progressed.notify_all();
    }

    pub(crate) fn fail(&self, error: &Error) {
        tracing::error!(%error, "the indexer failed; it tries again with the next commit");
        self.state.lock().failed = Some(error.clone());
        self.progressed.notify_all();
    }

    /// Whether a failure stands.
    #[cfg(test)]
    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().failed.is_some()
    }

    /// Waits while `full` says that there is no room for more that is not indexed.
    ///
    /// # Errors
    /// `Refusing`, if the indexer failed or stood still for `INDEXER_STALL`.
    pub(crate) fn wait_for_room(&self, full: impl Fn() -> bool) -> Result<()> {
        if !full() {
            return Ok(());
        }
        let mut state = self.state.lock();
        let mut windows = state.windows;
        let mut deadline = Instant::now() + INDEXER_STALL;
        while full() {
            if let Some(cause) = state.failed.clone() {
                // Nobody publishes a frame any more that would have it tried again.
                if cause.kind() != ErrorKind::Refusing {
                    state.published += 1;
                    self.wake.notify_one();
                }
                let message = format!("the index cannot follow the journal: {cause}");
                return Err(Error::with_source(ErrorKind::Refusing, message, cause));
            }
            if self.progressed.wait_until(&mut state, deadline).timed_out() {
                let message = format!(
                    "the indexer has stood still for {} s and nothing more fits before it",
                    INDEXER_STALL.as_secs()
                );
                return Err(Error::new(ErrorKind::Refusing, message));
            }
            if state.windows != windows {
                windows = state.windows;
                deadline = Instant::now() + INDEXER_STALL;
            }
        }
        Ok(())
    }
}
