//! The newest durable position, and those who wait for it to move.
//!
//! * `Head` never moves backwards.
//! * `Head` ≥ every position that `append` has returned.
//! * Only who has the journal's writer moves it: the leader of a group, or what applies a replica's frames.
//! * What moves it wakes each thread that waits and may want what is new (`log::tail::sleepers`), by its own condition
//!   variable. To end one wait wakes nobody else.
//! * One thread may watch the head for many followers (`follow::live`). A writer whose events none of them wants moves
//!   `seen` for it and lets it sleep.

mod waits;

use crate::codec::frame::{Chain, Location};
use crate::log::tail::sleepers::{EndOfFrame, Enrolled, Sleepers, Slept, Waiter, Wanted};
use crate::value::clock::Micros;
use crate::value::failpoint::failpoint;
use crate::value::filter_index::FilterId;
use crate::value::tasks::Tasks;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

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
    /// How many threads have enrolled that may sleep.
    enrolled: AtomicU64,
    /// How many of them sleep.
    asleep: AtomicUsize,
    state: Mutex<State>,
    /// Notified when the head has moved and somebody waits for a position.
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
    /// The threads that wait for something to read for a follower.
    sleepers: Sleepers,
    /// The thread that watches, while it sleeps.
    watching: Option<Arc<Waiter>>,
    /// How many threads wait for a position.
    waiting: usize,
    /// Tasks that wait for one.
    tasks: Tasks,
    /// How many tasks have begun to.
    #[cfg(feature = "async")]
    tasks_begun: u64,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Passed,
    Stopped,
}

/// What a writer found out about who wants the events that it shows next.
#[derive(Default)]
pub(crate) struct Audience {
    pub(crate) unwanted: Option<Unwanted>,
    pub(crate) wanted: Option<Wanted>,
}

/// What it found out for those for whom one thread watches: nobody who had joined by then wants one of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unwanted {
    joined: u64,
}

impl Head {
    pub(crate) fn new(position: u64, end: Location, chain: Chain, time: Micros) -> Head {
        let (sleepers, watching) = (Sleepers::default(), None);
        Head {
            position: AtomicU64::new(position),
            seen: AtomicU64::new(position),
            joined: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            enrolled: AtomicU64::new(0),
            asleep: AtomicUsize::new(0),
            state: Mutex::new(State {
                end,
                chain,
                time,
                closed: false,
                sleepers,
                watching,
                waiting: 0,
                tasks: Tasks::default(),
                #[cfg(feature = "async")]
                tasks_begun: 0,
            }),
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

    /// Makes everything up to `position` visible, which ends at `end` and was recorded at `time`. Returns whether a
    /// thread is to be woken: then `wake` must follow, once the caller holds no lock that such a thread needs.
    #[must_use = "who waits must be woken"]
    pub(crate) fn advance(
        &self,
        (position, end): (u64, Location),
        chain: Chain,
        time: Micros,
        judged: &Audience,
    ) -> bool {
        let mut state = self.state.lock();
        let before = self.position();
        assert!(position >= before && end > state.end, "the head never moves back");
        state.end = end;
        let chain_before = std::mem::replace(&mut state.chain, chain);
        state.time = time;
        if position == before {
            return false;
        }
        self.position.store(position, Ordering::Release);
        state.sleepers.advance((before, chain_before), (position, chain), judged.wanted.as_ref());
        self.asleep.store(state.sleepers.len(), Ordering::Release);
        let mut is_awaited =
            state.sleepers.must_notify() || state.waiting > 0 || !state.tasks.is_empty();
        if state.watching.is_some() {
            // Under the lock under which others join: they find `seen` moved, or are in the count.
            let joined = self.joined.load(Ordering::Acquire);
            let is_judged = judged.unwanted.is_some_and(|unwanted| {
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

    /// Wakes those who may want what is visible now.
    pub(crate) fn wake(&self) {
        let mut state = self.state.lock();
        for waiter in state.sleepers.unnotified() {
            waiter.woken.notify_one();
        }
        if self.seen() < self.position() {
            self.wake_watching(&mut state);
        }
        if state.waiting > 0 {
            self.moved.notify_all();
        }
        let tasks = state.tasks.take();
        drop(state);
        tasks.wake();
    }

    fn wake_watching(&self, state: &mut State) {
        if let Some(waiter) = state.watching.take() {
            self.is_watched.store(false, Ordering::Release);
            waiter.woken.notify_one();
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
        for waiter in state.sleepers.all() {
            waiter.woken.notify_one();
        }
        self.wake_watching(&mut state);
        self.moved.notify_all();
        let tasks = state.tasks.take();
        drop(state);
        tasks.wake();
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

/// For threads that read for one follower each.
impl Head {
    /// A thread that may sleep, with a filter that writers know by now.
    pub(crate) fn enroll(&self, filter: FilterId, waiter: &Arc<Waiter>) -> Enrolled {
        let number = self.enrolled.fetch_add(1, Ordering::AcqRel) + 1;
        Enrolled { number, filter, waiter: Arc::clone(waiter) }
    }

    /// Sleeps until there may be something after `position` that `who` wants, or its alarm. Returns at once if the head
    /// is past it.
    pub(crate) fn sleep(&self, who: &Enrolled, position: u64) -> Slept {
        let mut state = self.state.lock();
        let is_past = self.position() > position;
        if !is_past {
            state.sleepers.put(who, position);
        }
        loop {
            if who.waiter.is_stopped() || state.closed {
                state.sleepers.forget(who.number);
                self.asleep.store(state.sleepers.len(), Ordering::Release);
                return Slept::Stopped;
            }
            if is_past {
                return Slept::Woken(None);
            }
            if let Some(until) = state.sleepers.take_woken(who.number) {
                return Slept::Woken(Some(until));
            }
            self.asleep.store(state.sleepers.len(), Ordering::Release);
            who.waiter.woken.wait(&mut state);
        }
    }

    /// Who of those that sleep wants what comes next: `by` gives the filters, if it can tell.
    pub(crate) fn judge_for_sleepers(
        &self,
        by: impl FnOnce() -> Option<Vec<FilterId>>,
    ) -> Option<Wanted> {
        if self.asleep.load(Ordering::Acquire) == 0 || failpoint!("feed::wake_for_the_unwanted") {
            return None;
        }
        // Before the filters are asked: who enrolls afterwards is not in the count.
        let enrolled = self.enrolled.load(Ordering::Acquire);
        by().map(|by| Wanted { enrolled, by })
    }

    /// Up to where `who` wants nothing after `done`, if it is known that it had come no further than that before it
    /// slept: while it sleeps, up to the head.
    pub(crate) fn reached(&self, who: &Enrolled, done: u64) -> Option<EndOfFrame> {
        let state = self.state.lock();
        let head = (self.position(), state.chain);
        state.sleepers.reached(who.number, done, head).filter(|(position, _)| *position > done)
    }

    /// `who` will not sleep any more.
    pub(crate) fn dismiss(&self, who: &Enrolled) {
        self.state.lock().sleepers.forget(who.number);
    }

    /// Wakes `who` once the head is at `position`, until `no_longer_await` is called.
    pub(crate) fn await_position(&self, who: &Enrolled, position: u64) {
        self.state.lock().sleepers.await_position(who.number, position);
    }

    pub(crate) fn no_longer_await(&self, who: &Enrolled, position: u64) {
        self.state.lock().sleepers.no_longer_await(who.number, position);
    }

    /// Whether somebody waits for a sleeper to come to `position`.
    #[cfg(test)]
    pub(crate) fn is_awaited(&self, position: u64) -> bool {
        self.state.lock().sleepers.is_awaited(position)
    }

    /// How many sleep.
    #[cfg(test)]
    pub(crate) fn asleep(&self) -> usize {
        self.state.lock().sleepers.len()
    }

    /// How often a sleeper was woken.
    #[cfg(test)]
    pub(crate) fn wake_ups(&self) -> u64 {
        self.state.lock().sleepers.wake_ups
    }
}
