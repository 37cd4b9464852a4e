//! What one subscription was handed and has not taken.
//!
//! * While the inbox is live, the roster's thread puts events in. It never waits for room: without any, the inbox is
//!   live no longer, and ends before that event.

use crate::follow::live::reader::Reader;
use crate::log::core::Log;
use crate::value::error::Error;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::filter_index::FilterId;
use crate::value::tasks::{Tasks, Woken};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct Inbox {
    pub(crate) filter: Filter,
    room: usize,
    is_stopped: AtomicBool,
    pub(super) state: Mutex<State>,
    /// Notified when there may be something to take, to read, or nothing more.
    pub(super) changed: Condvar,
}

pub(super) struct State {
    pub(super) events: VecDeque<RecordedEvent>,
    /// Up to here everything was put in, or is not wanted. While it is live, that is so up to what the head says was
    /// seen, too.
    pub(super) until: u64,
    /// Where the roster has it, while it is live.
    pub(super) place: Option<Place>,
    /// A thread reads on, or joins the roster.
    pub(super) is_reading: bool,
    /// What it reads with, while nobody does.
    pub(super) reader: Option<Reader>,
    /// Nothing more will come, and what is still to be said of that.
    pub(super) end: Option<Option<Error>>,
    /// The position of an event that was taken and not yet passed on.
    pub(super) held: Option<u64>,
    /// Threads that wait.
    pub(super) waiting: usize,
    /// Tasks that wait.
    pub(super) tasks: Tasks,
}

/// Where the roster has an inbox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) filter: FilterId,
    pub(super) number: u64,
}

impl Inbox {
    /// An inbox for what comes after `position`, with so much `room`.
    pub(crate) fn new(filter: Filter, position: u64, room: usize) -> Inbox {
        let state = State {
            events: VecDeque::new(),
            until: position,
            place: None,
            is_reading: false,
            reader: None,
            end: None,
            held: None,
            waiting: 0,
            tasks: Tasks::default(),
        };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Inbox { filter, room, is_stopped: AtomicBool::new(false), state, changed }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Events that it holds at most.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// What was taken last has been passed on.
    pub(crate) fn release(&self) {
        self.state.lock().held = None;
    }

    /// Up to here everything was taken, or is not wanted.
    pub(crate) fn position(&self, log: &Log) -> u64 {
        // Before the lock: what was seen by now is in the inbox by then, if it is live.
        let seen = log.head.seen();
        let state = self.state.lock();
        let first = state.events.front().map(|event| event.position.get());
        match state.held.or(first) {
            Some(next) if !failpoint!("subscription::pass_what_waits") => next - 1,
            _ if state.place.is_some() => state.until.max(seen),
            _ => state.until,
        }
    }

    /// Lets nobody take anything more. The roster may still have it.
    pub(crate) fn stop(&self) {
        // Under the lock, so that a waiter sees the flag before it sleeps or is woken after.
        let mut state = self.state.lock();
        self.is_stopped.store(true, Ordering::Release);
        self.changed.notify_all();
        let woken = state.tasks.take();
        drop(state);
        woken.wake();
    }
}

/// For the roster, under its lock.
impl Inbox {
    /// Makes it live, unless there is more up to `seen` than it has, or it was stopped.
    pub(super) fn go_live(&self, place: Place, seen: u64) -> bool {
        let mut state = self.state.lock();
        let has_all = state.until >= seen || failpoint!("live::join_past_what_was_seen");
        if !has_all || self.is_stopped() {
            return false;
        }
        state.place = Some(place);
        true
    }

    /// Puts an event in. If it has no room for it, it is live no longer: where it was in the roster. Adds the tasks
    /// that wait to `woken`.
    pub(super) fn push(&self, event: &RecordedEvent, woken: &mut Woken) -> Option<Place> {
        let mut state = self.state.lock();
        state.place?;
        let position = event.position.get();
        if position <= state.until {
            return None;
        }
        if state.events.len() < self.room {
            state.events.push_back(event.clone());
            state.until = position;
            if state.waiting > 0 {
                self.changed.notify_one();
            }
            if !failpoint!("live::leave_tasks_asleep") {
                woken.add(state.tasks.take());
            }
            return None;
        }
        if failpoint!("subscription::drop_what_has_no_room") {
            return None;
        }
        state.until = position - 1;
        if state.waiting > 0 {
            // They were to take what is here. What is after it, one of them reads.
            self.changed.notify_all();
        }
        woken.add(state.tasks.take());
        state.place.take()
    }

    /// Makes it live no longer: everything up to `seen` was put in. Where it was in the roster.
    pub(super) fn leave(&self, seen: u64) -> Option<Place> {
        let mut state = self.state.lock();
        let place = state.place.take()?;
        state.until = state.until.max(seen);
        Some(place)
    }

    /// Ends it, if it is live: nothing more comes than what is in it, and `error`. Adds the tasks that wait to `woken`.
    pub(super) fn end(&self, seen: u64, error: Option<Error>, woken: &mut Woken) {
        if self.leave(seen).is_some() {
            let mut state = self.state.lock();
            state.end = Some(error);
            self.changed.notify_all();
            woken.add(state.tasks.take());
        }
    }
}
