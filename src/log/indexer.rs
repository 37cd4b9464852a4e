//! The thread that moves the tail into the index.
//!
//! It works when a segment is sealed (several at a time when it is behind), when writers have been
//! idle for a moment, and at close: so it does not slow a busy writer. A tail that is small costs
//! less than a small window does (its runs would be short, and stay so), so it is left where it is:
//! the next opening reads the last segment anyway.

use crate::codec::frame::Location;
use crate::error::{Error, ErrorKind, Result, panic_message};
use crate::journal::segment;
use crate::limits::{
    INDEXER_IDLE, INDEXER_STALL, TAIL_EVENTS_MAX, UNINDEXED_BYTES_IDLE, UNINDEXED_SEGMENTS_MAX,
};
use crate::log::core::Log;
use parking_lot::{Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// What the indexer and those who wait for it tell each other.
#[derive(Default)]
pub(crate) struct Control {
    state: Mutex<State>,
    /// Something was published, or the log closes.
    wake: Condvar,
    /// The index has moved, or failed to.
    progressed: Condvar,
}

#[derive(Default)]
struct State {
    /// Counts frames, so that idleness can be told.
    published: u64,
    windows: u64,
    failed: Option<Error>,
    closing: bool,
}

enum Work {
    UpTo(Location),
    Close,
}

impl Control {
    /// A frame was published.
    pub(crate) fn published(&self) {
        self.state.lock().published += 1;
        self.wake.notify_one();
    }

    /// Lets the indexer finish its work and end.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.wake.notify_one();
    }

    fn progress(&self) {
        self.state.lock().windows += 1;
        self.progressed.notify_all();
    }

    fn fail(&self, error: &Error) {
        tracing::error!(%error, "the indexer failed; it tries again when the next segment is full");
        self.state.lock().failed = Some(error.clone());
        self.progressed.notify_all();
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
            if let Some(cause) = &state.failed {
                let message = format!("the index cannot follow the journal: {cause}");
                return Err(Error::with_source(ErrorKind::Refusing, message, cause.clone()));
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

/// Whether the tail is so large that writers must wait.
pub(crate) fn is_full(log: &Log) -> bool {
    let (_, end) = log.head.visible();
    let indexed = log.tail.indexed().next.segment;
    end.segment.saturating_sub(indexed) > UNINDEXED_SEGMENTS_MAX
        || log.tail.events() >= TAIL_EVENTS_MAX
}

/// The indexer thread's whole life.
pub(crate) fn run(log: &Arc<Log>) {
    loop {
        let work = wait_for_work(log);
        let to = match &work {
            Work::UpTo(to) => *to,
            Work::Close => log.head.visible().1,
        };
        let worth_it = matches!(work, Work::UpTo(_)) || is_worth_a_window(log, to);
        if worth_it {
            index_up_to(log, to);
        }
        if matches!(work, Work::Close) {
            return;
        }
    }
}

fn wait_for_work(log: &Log) -> Work {
    let control = &log.indexer;
    let mut state = control.state.lock();
    let mut seen = state.published;
    loop {
        if state.closing {
            return Work::Close;
        }
        let (_, end) = log.head.visible();
        let indexed = log.tail.indexed().next.segment;
        let sealed = Location { segment: end.segment, offset: segment::HEADER_BYTES };
        if end.segment > indexed && state.failed.is_none() {
            return Work::UpTo(sealed);
        }
        if !is_worth_a_window(log, end) {
            control.wake.wait(&mut state);
        } else if control.wake.wait_for(&mut state, INDEXER_IDLE).timed_out()
            && state.published == seen
            && state.failed.is_none()
        {
            return Work::UpTo(end);
        }
        if state.published != seen {
            seen = state.published;
            // A new frame may find the disk in better order.
            if end.segment > indexed {
                state.failed = None;
            }
        }
    }
}

fn is_worth_a_window(log: &Log, end: Location) -> bool {
    let indexed = log.tail.indexed().next;
    end.segment > indexed.segment || end.offset - indexed.offset >= UNINDEXED_BYTES_IDLE
}

fn index_up_to(log: &Log, to: Location) {
    let advance = || {
        log.index.advance(to, |advanced| {
            log.tail.trim(&advanced.streams, advanced.checkpoint);
            log.indexer.progress();
        })
    };
    match catch_unwind(AssertUnwindSafe(advance)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => log.indexer.fail(&error),
        Err(panic) => {
            let message = format!("the indexer panicked: {}", panic_message(&*panic));
            log.indexer.fail(&Error::new(ErrorKind::Panicked, message));
        }
    }
}
