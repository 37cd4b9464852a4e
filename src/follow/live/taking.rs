//! Taking from an inbox, and reading on where it lags.
//!
//! * Who takes from an inbox that is empty and not live reads on, and joins the roster at the head. One thread does so
//!   at a time, without the lock.

use crate::follow::live::inbox::{Inbox, State};
use crate::follow::live::reader::{Reader, Step};
use crate::follow::live::roster::Roster;
use crate::log::core::Log;
use crate::value::error::{Error, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::limits::SUBSCRIPTION_STEP_EVENTS_MAX;
use parking_lot::MutexGuard;
use std::collections::VecDeque;
use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::Waker;
use std::time::Instant;

/// Frames that are read in one step, before a stop or a deadline is looked at.
const FRAMES_AT_ONCE: usize = 64;

/// What there is to take.
#[derive(Debug)]
pub(crate) enum Next {
    Event(RecordedEvent),
    TimedOut,
    /// It was stopped, or the store is closed.
    Ended,
    /// It ends with an error.
    Failed(Error),
}

/// What there is for a task to take.
#[cfg(feature = "async")]
pub(crate) enum Polled {
    Next(Next),
    Pending,
    /// The log is to be read, which may take long.
    Lags,
}

/// What reading on came to.
enum Read {
    Events {
        events: VecDeque<RecordedEvent>,
        until: u64,
    },
    /// The head was reached; the inbox is live, or there is more by now.
    AtHead,
    Closed,
}

impl Inbox {
    /// Takes the next event; waits for it up to `deadline`. If it is to be held, it counts as not taken until
    /// `release`.
    pub(crate) fn next(
        self: &Arc<Inbox>,
        log: &Arc<Log>,
        roster: &Arc<Roster>,
        deadline: Option<Instant>,
        hold: bool,
    ) -> Next {
        let mut state = self.state.lock();
        let mut has_read = false;
        loop {
            if self.is_stopped() && !failpoint!("subscription::hand_out_after_stop") {
                return Next::Ended;
            }
            if let Some(event) = state.events.pop_front() {
                if hold {
                    state.held = Some(event.position.get());
                }
                drop(state);
                return Next::Event(log.as_of_now(event));
            }
            if let Some(end) = &mut state.end {
                return end.take().map_or(Next::Ended, Next::Failed);
            }
            if state.place.is_none() && !state.is_reading {
                // A look at the log, however short the time.
                if has_read && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return Next::TimedOut;
                }
                has_read = true;
                self.read_on(&mut state, log, roster);
                continue;
            }
            state.waiting += 1;
            let timed_out = match deadline {
                None => {
                    self.changed.wait(&mut state);
                    false
                }
                Some(deadline) => self.changed.wait_until(&mut state, deadline).timed_out(),
            };
            state.waiting -= 1;
            if timed_out && state.events.is_empty() && state.end.is_none() {
                return Next::TimedOut;
            }
        }
    }

    /// Takes the next event; or has `waker` woken when there may be one. If it lags, it is [`Polled::Lags`]: a thread
    /// is to call [`catch_up`](Inbox::catch_up), and then this is to be called again.
    #[cfg(feature = "async")]
    pub(crate) fn poll_next(&self, log: &Log, waker: &Waker) -> Polled {
        let waker = waker.clone();
        let mut state = self.state.lock();
        if self.is_stopped() {
            return Polled::Next(Next::Ended);
        }
        if let Some(event) = state.events.pop_front() {
            drop(state);
            return Polled::Next(Next::Event(log.as_of_now(event)));
        }
        if let Some(end) = &mut state.end {
            return Polled::Next(end.take().map_or(Next::Ended, Next::Failed));
        }
        if state.place.is_none() && !state.is_reading {
            return Polled::Lags;
        }
        // One task takes from it.
        let replaced = state.tasks.join(0, waker);
        drop(state);
        drop(replaced);
        Polled::Pending
    }

    /// Reads a step of what comes next, if it lags.
    #[cfg(feature = "async")]
    pub(crate) fn catch_up(self: &Arc<Inbox>, log: &Arc<Log>, roster: &Arc<Roster>) {
        let mut state = self.state.lock();
        let has_some = !state.events.is_empty() || state.end.is_some();
        if !has_some && state.place.is_none() && !state.is_reading {
            self.read_on(&mut state, log, roster);
        }
    }

    fn read_on(
        self: &Arc<Inbox>,
        state: &mut MutexGuard<'_, State>,
        log: &Arc<Log>,
        roster: &Arc<Roster>,
    ) {
        state.is_reading = true;
        let (until, mut reader) = (state.until, state.reader.take());
        let read = MutexGuard::unlocked(state, || self.read(log, roster, until, &mut reader));
        state.is_reading = false;
        match read {
            Ok(Read::Events { events, until }) => {
                state.events = events;
                state.until = until;
                state.reader = reader;
            }
            Ok(Read::AtHead) => {}
            Ok(Read::Closed) => state.end = Some(None),
            Err(_) if log.head.is_closed() => state.end = Some(None),
            Err(error) => state.end = Some(Some(error)),
        }
        if state.waiting > 0 {
            self.changed.notify_all();
        }
        let woken = state.tasks.take();
        if !woken.is_empty() {
            MutexGuard::unlocked(state, || woken.wake());
        }
    }

    /// Reads some of what comes after `until`; if that is the head, joins the roster.
    fn read(
        self: &Arc<Inbox>,
        log: &Arc<Log>,
        roster: &Arc<Roster>,
        mut until: u64,
        reader: &mut Option<Reader>,
    ) -> Result<Read> {
        if log.head.is_closed() {
            return Ok(Read::Closed);
        }
        if until >= log.head.position() {
            *reader = None;
            roster.join(log, self)?;
            return Ok(Read::AtHead);
        }
        let reader = reader.get_or_insert_with(|| Reader::new(log));
        let (mut events, mut frames) = (VecDeque::new(), 0);
        let room = self.room().min(SUBSCRIPTION_STEP_EVENTS_MAX);
        while events.len() < room && frames < FRAMES_AT_ONCE && until < log.head.position() {
            until = reader.skip(&self.filter, until, log.head.position());
            match reader.open(until).and_then(|()| reader.next(&self.filter)) {
                Ok(Step::Event(event)) => {
                    until = event.position.get();
                    events.push_back(event);
                }
                Ok(Step::Through(last)) => {
                    until = last;
                    frames += 1;
                }
                // What was read before it comes first; it is met again.
                Err(_) if !events.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Read::Events { events, until })
    }
}
