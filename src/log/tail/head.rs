//! The newest durable position, and waits for it to pass a given one.
//!
//! * `Head` never moves backwards.
//! * `Head` ≥ every position that `append` has returned.
//! * Only `log::commit::group` moves it.
//! * What moves it wakes each thread that waits, by its own condition variable. To end one wait wakes nobody else.
//! * One thread may watch the head for many followers (`follow::live`). A writer whose events none of them wants moves
//!   `seen` for it and lets it sleep.

use crate::codec::frame::{Chain, Location};
use crate::value::clock::Micros;
use crate::value::failpoint::failpoint;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// The visible end of the log.
pub(crate) struct Head {
    position: AtomicU64,
    /// Up to here everything was handed out to those for whom one thread watches, or none of them wants it. The thread
    /// moves it; while it sleeps, and the head is here, who moves the head does.
    seen: AtomicU64,
    /// How often somebody joined them: what was judged before is judged without the newest.
    joined: AtomicU64,
    /// The thread that watches sleeps.
    is_watched: AtomicBool,
    state: Mutex<State>,
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
    /// The threads that wait for the head to pass a position.
    waiting: Vec<Arc<Waiter>>,
    /// The thread that watches, while it sleeps.
    watching: Option<Arc<Waiter>>,
}

/// One thread's waits for the head. They can be ended, for good, from another thread.
#[derive(Default)]
pub(crate) struct Waiter {
    is_stopped: AtomicBool,
    woken: Condvar,
}

impl Waiter {
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Passed,
    Stopped,
    TimedOut,
}

/// What a writer found out about the events that it shows next: nobody who had joined by then wants one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unwanted {
    joined: u64,
}

impl Head {
    pub(crate) fn new(position: u64, end: Location, chain: Chain, time: Micros) -> Head {
        let (waiting, watching) = (Vec::new(), None);
        Head {
            position: AtomicU64::new(position),
            seen: AtomicU64::new(position),
            joined: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            state: Mutex::new(State { end, chain, time, closed: false, waiting, watching }),
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

    /// Makes everything up to `position` visible, which ends at `end` and was recorded at `time`. Returns whether a
    /// thread waits for it: then `wake` must follow, once the caller holds no lock that such a thread needs.
    #[must_use = "who waits must be woken"]
    pub(crate) fn advance(
        &self,
        (position, end): (u64, Location),
        chain: Chain,
        time: Micros,
        unwanted: Option<Unwanted>,
    ) -> bool {
        let mut state = self.state.lock();
        let before = self.position();
        assert!(position >= before && end > state.end, "the head never moves back");
        state.end = end;
        state.chain = chain;
        state.time = time;
        if position == before {
            return false;
        }
        self.position.store(position, Ordering::Release);
        let mut is_awaited = !state.waiting.is_empty();
        if state.watching.is_some() {
            // Under the lock under which others join: they find `seen` moved, or are in the count.
            let joined = self.joined.load(Ordering::Acquire);
            let is_judged = unwanted.is_some_and(|unwanted| {
                unwanted.joined == joined || failpoint!("live::believe_older_judgement")
            });
            if is_judged && self.seen() == before {
                self.seen.store(position, Ordering::Release);
            } else {
                is_awaited = true;
            }
        }
        is_awaited
    }

    /// Wakes those who wait for what is visible now.
    pub(crate) fn wake(&self) {
        let mut state = self.state.lock();
        for waiter in state.waiting.drain(..) {
            waiter.woken.notify_one();
        }
        if self.seen() < self.position() {
            self.wake_watching(&mut state);
        }
    }

    fn wake_watching(&self, state: &mut State) {
        if let Some(waiter) = state.watching.take() {
            self.is_watched.store(false, Ordering::Release);
            waiter.woken.notify_one();
        }
    }

    /// Waits until the head is past `position`.
    pub(crate) fn wait_past(
        &self,
        position: u64,
        deadline: Option<Instant>,
        waiter: &Arc<Waiter>,
    ) -> Waited {
        let mut state = self.state.lock();
        loop {
            if waiter.is_stopped() || state.closed {
                return Waited::Stopped;
            }
            if self.position() > position {
                return Waited::Passed;
            }
            state.waiting.push(Arc::clone(waiter));
            let timed_out = match deadline {
                None => {
                    waiter.woken.wait(&mut state);
                    false
                }
                Some(deadline) => waiter.woken.wait_until(&mut state, deadline).timed_out(),
            };
            state.waiting.retain(|other| !Arc::ptr_eq(other, waiter));
            if timed_out {
                return Waited::TimedOut;
            }
        }
    }

    /// Ends the waits of `waiter`, and nobody else's.
    pub(crate) fn stop(&self, waiter: &Arc<Waiter>) {
        // Set the flag under the lock, so that a waiter either sees it before it sleeps or is woken afterwards.
        let mut state = self.state.lock();
        waiter.is_stopped.store(true, Ordering::Release);
        if state.watching.as_ref().is_some_and(|watching| Arc::ptr_eq(watching, waiter)) {
            return self.wake_watching(&mut state);
        }
        waiter.woken.notify_one();
    }

    /// Ends every wait, now and later.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for waiter in state.waiting.drain(..) {
            waiter.woken.notify_one();
        }
        self.wake_watching(&mut state);
    }
}

/// For one thread, and those for whom it watches.
impl Head {
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Acquire)
    }

    /// Waits until the head is past what was seen.
    pub(crate) fn watch(&self, waiter: &Arc<Waiter>) -> Waited {
        let mut state = self.state.lock();
        loop {
            if waiter.is_stopped() || state.closed {
                return Waited::Stopped;
            }
            if self.position() > self.seen() {
                return Waited::Passed;
            }
            state.watching = Some(Arc::clone(waiter));
            self.is_watched.store(true, Ordering::Release);
            waiter.woken.wait(&mut state);
            if state.watching.as_ref().is_some_and(|watching| Arc::ptr_eq(watching, waiter)) {
                state.watching = None;
                self.is_watched.store(false, Ordering::Release);
            }
        }
    }

    /// Everything up to `position` was handed out, or is not wanted. The thread that watches says so when it is awake.
    pub(crate) fn set_seen(&self, position: u64) {
        self.seen.store(position, Ordering::Release);
    }

    /// Somebody more is watched for, whose filter is known by now; or, if `is_first`, somebody at all, from the head
    /// on. What is after the position that is returned is judged with that filter. `None`: the log is closed.
    pub(crate) fn join(&self, is_first: bool) -> Option<u64> {
        let state = self.state.lock();
        if state.closed {
            return None;
        }
        self.joined.fetch_add(1, Ordering::AcqRel);
        if is_first {
            self.set_seen(self.position());
        }
        Some(self.seen())
    }

    /// Whether what comes next is unwanted, if a thread sleeps that would otherwise be woken: `wants` says whether
    /// somebody wants it.
    pub(crate) fn judge(&self, wants: impl FnOnce() -> bool) -> Option<Unwanted> {
        if !self.is_watched.load(Ordering::Acquire) {
            return None;
        }
        // Before the filters are asked: who joins afterwards is not in the count.
        let joined = self.joined.load(Ordering::Acquire);
        (!wants() && !failpoint!("live::wake_for_the_unwanted")).then_some(Unwanted { joined })
    }
}
