//! The newest durable position, and waits for it to pass a given one.
//!
//! * `Head` never moves backwards.
//! * `Head` ≥ every position that `append` has returned.
//! * Only `log::commit::group` moves it.

use crate::codec::frame::{Chain, Location};
use crate::value::clock::Micros;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// The visible end of the log.
pub(crate) struct Head {
    position: AtomicU64,
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    /// Where the frame after the last visible one will begin.
    end: Location,
    /// The chain after the last visible frame.
    chain: Chain,
    /// The time of the last visible frame.
    time: Micros,
    /// Set once, when the log closes; it ends all waits.
    closed: bool,
}

/// Ends waits for the head from another thread.
#[derive(Default)]
pub(crate) struct StopFlag(AtomicBool);

impl StopFlag {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Passed,
    Stopped,
    TimedOut,
}

impl Head {
    pub(crate) fn new(position: u64, end: Location, chain: Chain, time: Micros) -> Head {
        Head {
            position: AtomicU64::new(position),
            state: Mutex::new(State { end, chain, time, closed: false }),
            moved: Condvar::new(),
        }
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// The head's position and the end of the journal's visible part, read under one lock.
    pub(crate) fn visible(&self) -> (u64, Location) {
        let state = self.state.lock();
        (self.position(), state.end)
    }

    /// Like `visible`, with the chain at the head.
    pub(crate) fn visible_with_chain(&self) -> (u64, Location, Chain) {
        let state = self.state.lock();
        (self.position(), state.end, state.chain)
    }

    /// The time of the last visible frame.
    pub(crate) fn time(&self) -> Micros {
        self.state.lock().time
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Makes everything up to `position` visible, which ends at `end` and was recorded at `time`, and wakes waiting
    /// threads.
    pub(crate) fn advance(&self, position: u64, end: Location, chain: Chain, time: Micros) {
        let mut state = self.state.lock();
        assert!(position >= self.position() && end > state.end, "the head never moves back");
        state.end = end;
        state.chain = chain;
        state.time = time;
        self.position.store(position, Ordering::Release);
        drop(state);
        self.moved.notify_all();
    }

    /// Waits until the head is past `position`.
    pub(crate) fn wait_past(
        &self,
        position: u64,
        deadline: Option<Instant>,
        stop: &StopFlag,
    ) -> Waited {
        let mut state = self.state.lock();
        loop {
            if stop.is_set() || state.closed {
                return Waited::Stopped;
            }
            if self.position() > position {
                return Waited::Passed;
            }
            match deadline {
                None => self.moved.wait(&mut state),
                Some(deadline) if self.moved.wait_until(&mut state, deadline).timed_out() => {
                    return Waited::TimedOut;
                }
                Some(_) => {}
            }
        }
    }

    /// Ends the waits that watch `stop`.
    pub(crate) fn stop(&self, stop: &StopFlag) {
        // Set the flag under the lock, so that a waiter either sees it before it sleeps or is woken afterwards.
        let _state = self.state.lock();
        stop.0.store(true, Ordering::Release);
        self.moved.notify_all();
    }

    /// Ends every wait, now and later.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.moved.notify_all();
    }
}
