//! A running group: its ledger, the requests of its consumers, and the one way in which it is written.
//!
//! * One write is under way at a time, and each covers everything that changed before it began.
//! * What was parked, and the cursor that passes it, are in one commit.

use crate::codec::bin;
use crate::codec::group::shelf_key;
use crate::follow::feed::{Feed, FeedStop};
use crate::follow::group::durable_state::DurableState;
use crate::follow::group::ledger::{Late, Ledger, Move, Nack};
use crate::follow::group::standing::Now;
use crate::log::commit::Commit;
use crate::log::commit::encoded::EncodedCommit;
use crate::log::engine::Engine;
use crate::telemetry::counters::Counter;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::filter_names::FilterNames;
use crate::value::position::Position;
use crate::value::tasks::{Tasks, Woken};
use crossbeam_channel::{Sender, bounded};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(feature = "async")]
use std::task::{Poll, Waker};
use std::time::Instant;

/// What the consumers of a group share.
pub(super) struct RunningGroup {
    pub(super) name: String,
    /// What its filter names.
    pub(super) filter: FilterNames,
    pub(super) engine: Arc<Engine>,
    pub(super) state: Mutex<State>,
    /// Notified when an event may be ready, or when none will be any more.
    pub(super) ready: Condvar,
    /// A write has ended.
    written: Condvar,
    /// Wakes the thread: there is room, an earlier timer, something to replay, or nothing to do.
    nudges: Sender<()>,
    stop: FeedStop,
    /// How often an event was delivered again.
    pub(super) redelivered: Counter,
    /// How many events were parked when somebody last asked.
    pub(super) parked: AtomicU64,
}

pub(super) struct State {
    pub(super) ledger: Ledger,
    /// Consumers and deliveries that users hold.
    members: usize,
    /// Why nothing is delivered any more.
    pub(super) ended: Option<Error>,
    /// The group was started again since, and what is kept of it is no longer this one's to write.
    replaced: bool,
    /// Until when the thread sleeps.
    pub(super) alarm: Option<Instant>,
    /// The thread waits until the next batch is wanted.
    pub(super) is_full: bool,
    /// The number of changes that must be durable before their callers get their replies.
    pub(super) changes: u64,
    /// How many of them are durable.
    written: u64,
    is_writing: bool,
    /// Tasks that wait for an event, and those to wake once the lock is released.
    pub(super) tasks: Tasks,
    pub(super) woken: Woken,
    /// Up to which change the last write should have covered, and why it did not.
    failure: Option<(u64, Error)>,
    /// The cursor as it was last written.
    pub(super) cursor: u64,
    /// How the group is kept.
    kept: DurableState,
}

/// What a consumer may get.
pub(super) enum Next {
    Event(RecordedEvent, u32),
    TimedOut,
    Ended(Error),
    Stopped,
}

impl RunningGroup {
    /// Starts the thread of the group.
    pub(super) fn start(
        name: &str,
        engine: &Arc<Engine>,
        ledger: Ledger,
        kept: DurableState,
        filter: Filter,
    ) -> Result<Arc<RunningGroup>> {
        let (nudges, nudged) = bounded(1);
        let stop = FeedStop::new(Arc::clone(engine.log()));
        let cursor = ledger.cursor();
        let after = Position::new(cursor);
        let group = Arc::new(RunningGroup {
            name: name.to_owned(),
            filter: filter.names(),
            engine: Arc::clone(engine),
            state: Mutex::new(State {
                ledger,
                members: 0,
                ended: None,
                replaced: false,
                alarm: None,
                is_full: false,
                changes: 0,
                written: 0,
                is_writing: false,
                tasks: Tasks::default(),
                woken: Woken::default(),
                failure: None,
                cursor,
                kept,
            }),
            ready: Condvar::new(),
            written: Condvar::new(),
            nudges,
            stop,
            redelivered: Counter::default(),
            parked: AtomicU64::new(0),
        });
        let feed = Feed::start(&group.stop, "filmstrip-read", after, filter)?;
        let its_group = Arc::clone(&group);
        engine.log().spawn("filmstrip-group", move || its_group.run(&feed, &nudged))?;
        Ok(group)
    }

    /// The present moment.
    pub(super) fn now(&self) -> Now {
        now(&self.engine)
    }

    /// Looks at the ledger, or changes what need not be written at once.
    pub(super) fn with_ledger<R>(&self, work: impl FnOnce(&mut Ledger) -> R) -> R {
        work(&mut self.state.lock().ledger)
    }

    /// How far the group has come, durably.
    pub(super) fn cursor(&self) -> Result<u64> {
        let mut state = self.state.lock();
        self.pass_unwanted(&mut state);
        let cursor = state.ledger.cursor();
        if cursor > state.cursor {
            state.changes += 1;
            self.write(state)?;
        }
        Ok(cursor)
    }

    /// How far the group has come, and how many events it holds that are not finished. Nothing is written.
    pub(super) fn reached(&self) -> (u64, u64) {
        let mut state = self.state.lock();
        self.pass_unwanted(&mut state);
        (state.ledger.cursor(), state.ledger.unfinished() as u64)
    }

    /// Counts as read what the feed has passed over.
    fn pass_unwanted(&self, state: &mut State) {
        let read = state.ledger.read();
        let reached = self.stop.reached(Position::new(read)).get();
        if reached > read {
            state.ledger.take_batch(Vec::new(), reached);
        }
    }

    /// Why nothing is delivered any more.
    pub(super) fn ended(&self) -> Option<Error> {
        self.state.lock().ended.clone()
    }

    /// The group, which has ended, is about to be started again: from here on this one writes nothing.
    pub(super) fn replace(&self) {
        let mut state = self.state.lock();
        state.replaced = true;
        while state.is_writing {
            self.written.wait(&mut state);
        }
    }

    /// Ends the group as an error of its thread does.
    #[cfg(test)]
    pub(super) fn fail(&self, error: Error) {
        self.state.lock().ended = Some(error);
        self.nudge();
    }

    /// One more consumer or delivery.
    pub(super) fn join(&self) {
        self.state.lock().members += 1;
    }

    /// One consumer or delivery less; whether it was the last.
    pub(super) fn leave(&self) -> bool {
        let mut state = self.state.lock();
        state.members -= 1;
        state.members == 0
    }

    /// Ends the group, whose members have left, and writes how far it has come.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        let closed = || Error::new(ErrorKind::Closed, "the group no longer has consumers");
        state.ended.get_or_insert_with(closed);
        self.pass_unwanted(&mut state);
        self.stop.stop();
        self.nudge();
        if state.ledger.cursor() == state.cursor && state.changes == state.written {
            return;
        }
        state.changes += 1;
        let written = self.write(state);
        if let Err(error) = written.or_else(unless_closed) {
            let group = &self.name;
            tracing::warn!(group, %error, "the cursor of a group could not be written");
        }
    }

    /// Waits for an event to deliver.
    pub(super) fn next(&self, deadline: Option<Instant>, stopped: &AtomicBool) -> Next {
        let mut state = self.state.lock();
        loop {
            // The clock is the application's, and may wait for somebody who waits for the lock.
            let now = MutexGuard::unlocked(&mut state, || self.now());
            if stopped.load(Ordering::Acquire) {
                return Next::Stopped;
            }
            if let Some(error) = &state.ended {
                return Next::Ended(error.clone());
            }
            if let Some(next) = self.deliver(&mut state, now) {
                return next;
            }
            match deadline {
                None => self.ready.wait(&mut state),
                Some(deadline) => {
                    let timed_out = self.ready.wait_until(&mut state, deadline).timed_out();
                    if timed_out && !state.ledger.has_ready() {
                        return Next::TimedOut;
                    }
                }
            }
        }
    }

    fn deliver(&self, state: &mut State, now: Now) -> Option<Next> {
        let (event, attempt) = state.ledger.deliver(now)?;
        let event = self.engine.log().as_of_now(event);
        self.keep_alarm(state);
        if attempt > 1 {
            self.redelivered.add(1);
        }
        if state.ledger.has_ready() {
            // One change can make several events ready, and wakes one consumer.
            self.ready.notify_one();
        }
        Some(Next::Event(event, attempt))
    }

    /// What there is to deliver; or `waker` is woken when there may be something. `stopped` tells consumers apart.
    #[cfg(feature = "async")]
    pub(super) fn poll_next(&self, waker: &Waker, stopped: &AtomicBool) -> Poll<Next> {
        let (now, waker) = (self.now(), waker.clone());
        let mut state = self.state.lock();
        if stopped.load(Ordering::Acquire) {
            return Poll::Ready(Next::Stopped);
        }
        if let Some(error) = &state.ended {
            return Poll::Ready(Next::Ended(error.clone()));
        }
        if let Some(next) = self.deliver(&mut state, now) {
            return Poll::Ready(next);
        }
        let replaced = state.tasks.join(std::ptr::from_ref(stopped).addr() as u64, waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Wakes the tasks that something has become ready for.
    fn wake_tasks(state: &mut MutexGuard<'_, State>) {
        let woken = std::mem::take(&mut state.woken);
        if !woken.is_empty() {
            MutexGuard::unlocked(state, || woken.wake());
        }
    }

    /// Ends the waits of the consumers that watch `stopped`.
    pub(super) fn stop_consumer(&self, stopped: &AtomicBool) {
        // In a forked process nobody waits.
        if !self.engine.log().owner.is_this_process() {
            return;
        }
        // Under the lock, so that a waiter sees the flag before it sleeps or is woken after.
        let mut state = self.state.lock();
        stopped.store(true, Ordering::Release);
        self.ready.notify_all();
        let woken = state.tasks.take();
        drop(state);
        woken.wake();
    }

    /// Marks the event as handled; returns when that is durable. False if it is not unfinished; then nothing was done.
    pub(super) fn finish(&self, position: u64) -> Result<bool> {
        let mut is_finished = false;
        self.change(|ledger| {
            is_finished = ledger.finish(position);
            is_finished
        })?;
        Ok(is_finished)
    }

    /// Marks the event as handled although it may be parked meanwhile; returns when it is durably no longer parked. No
    /// other thread may move parked events in the meantime: returns too the tasks to wake, once the caller has released
    /// the lock that keeps others from it.
    pub(super) fn finish_parked(&self, position: u64) -> (Woken, Result<()>) {
        let mut state = self.state.lock();
        if !state.ledger.finish(position) {
            state.ledger.unpark(position);
        }
        state.changes += 1;
        self.wake(&mut state);
        (std::mem::take(&mut state.woken), self.write(state))
    }

    /// The event could not be handled; returns when the consequence is durable.
    pub(super) fn refuse(&self, position: u64, attempt: u32, nack: Nack) -> Result<()> {
        let now = self.now();
        let mut refused = Ok(());
        self.change(|ledger| {
            refused = ledger.refuse(position, attempt, nack, now);
            refused.is_ok()
        })?;
        refused.map_err(|Late| {
            let message = format!(
                "attempt {attempt} at position {position} comes too late: the event was delivered \
                 again, parked, or finished"
            );
            Error::new(ErrorKind::Expired, message)
        })
    }

    /// The consumer of the event went away without an answer.
    pub(super) fn abandon(&self, position: u64, attempt: u32) {
        let now = self.now();
        let mut state = self.state.lock();
        state.ledger.abandon(position, attempt, now);
        self.wake(&mut state);
        Self::wake_tasks(&mut state);
    }

    /// Has these parked events, which are on the shelf for it, tried again.
    pub(super) fn replay(&self, positions: Vec<u64>) {
        self.with_ledger(|ledger| ledger.replay(positions));
        self.nudge();
    }

    /// Makes a change and writes it, if `change` says that it was one.
    fn change(&self, change: impl FnOnce(&mut Ledger) -> bool) -> Result<()> {
        let mut state = self.state.lock();
        if !change(&mut state.ledger) {
            return Ok(());
        }
        state.changes += 1;
        self.wake(&mut state);
        Self::wake_tasks(&mut state);
        self.write(state)
    }

    /// Wakes everyone whom a change of the ledger may concern.
    fn wake(&self, state: &mut State) {
        if state.ledger.has_ready() {
            self.ready.notify_one();
            let tasks = state.tasks.take();
            state.woken.add(tasks);
        }
        let has_room_again = state.is_full && state.ledger.wants_batch();
        if has_room_again || state.ledger.has_moves() {
            state.is_full = false;
            self.nudge();
        }
        self.keep_alarm(state);
    }

    /// Wakes the thread if it would sleep past the next timer.
    fn keep_alarm(&self, state: &mut State) {
        let Some(timer) = state.ledger.next_timer() else { return };
        if state.alarm.is_none_or(|alarm| timer < alarm) {
            state.alarm = Some(timer);
            self.nudge();
        }
    }

    fn nudge(&self) {
        // A nudge that waits already is as good.
        let _ = self.nudges.try_send(());
    }

    /// Returns when everything that has changed by now is durable.
    pub(super) fn write(&self, mut state: MutexGuard<'_, State>) -> Result<()> {
        let wanted = state.changes;
        loop {
            if state.written >= wanted {
                return Ok(());
            }
            if let Some((covered, error)) = &state.failure
                && *covered >= wanted
            {
                return Err(error.clone());
            }
            match state.is_writing {
                true => self.written.wait(&mut state),
                false if state.replaced => {
                    let message = format!(
                        "group {:?} was started again, and delivers what was not finished before",
                        self.name
                    );
                    return Err(Error::new(ErrorKind::Closed, message));
                }
                false => self.write_now(&mut state),
            }
        }
    }

    fn write_now(&self, state: &mut MutexGuard<'_, State>) {
        state.is_writing = true;
        let now = MutexGuard::unlocked(state, || self.now());
        let covered = state.changes;
        let (kept, cursor) = (state.kept, state.ledger.cursor());
        let (records, intended) = kept.write(&self.name, &mut state.ledger, now);
        let moves = state.ledger.take_moves();
        let records = records.into_iter();
        let mut commit =
            records.fold(Commit::new(), |commit, (key, value)| commit.state(key, value));
        for Move { shelf, position, record } in &moves {
            let value = record.as_ref().map(bin::encode).unwrap_or_default();
            commit = commit.state(shelf_key(&self.name, *shelf, *position), value);
        }
        state.failure = None;
        let written = MutexGuard::unlocked(state, || commit_state(&self.engine, commit));
        state.is_writing = false;
        match written {
            Ok(()) => {
                state.written = covered;
                state.cursor = cursor;
                state.kept = intended;
            }
            Err(error) => {
                state.ledger.put_back_moves(moves);
                state.kept = kept.unless(intended);
                state.failure = Some((covered, error));
            }
        }
        self.written.notify_all();
    }
}

/// Makes a commit of nothing but the engine's own state durable.
pub(super) fn commit_state(engine: &Engine, commit: Commit) -> Result<()> {
    engine.commit(EncodedCommit::new(commit)?).map(drop).map_err(Error::from)
}

/// The store's time, which never goes back because it is that of the journal: a delivery that is due soon by a clock
/// that was far ahead is due soon by the correct one, too.
pub(super) fn now(engine: &Engine) -> Now {
    let time = engine.log().now().max(engine.log().head.time());
    Now { instant: Instant::now(), time }
}

fn unless_closed(error: Error) -> Result<()> {
    match error.kind() {
        ErrorKind::Closed => Ok(()),
        _ => Err(error),
    }
}
