//! A group that runs: its ledger, the thread that feeds it, and the one way in which it is written.
//!
//! * One write is under way at a time, and each covers everything that changed before it began.
//! * What was parked, and the cursor that passes it, are in one commit.

use crate::codec::bin;
use crate::codec::group::shelf_key;
use crate::follow::feed::{Batch, Feed, FeedStop};
use crate::follow::group::durable_state::DurableState;
use crate::follow::group::ledger::{Late, Ledger, Move, Nack, Now};
use crate::log::commit::{Commit, EncodedCommit};
use crate::log::engine::Engine;
use crate::log::read::all::EventCursor;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::limits::GROUP_CURSOR_EVENTS_MAX;
use crate::value::position::Position;
use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What the consumers of a group share.
pub(super) struct RunningGroup {
    name: String,
    engine: Arc<Engine>,
    state: Mutex<State>,
    /// An event may be ready, or none will be any more.
    ready: Condvar,
    /// A write has ended.
    written: Condvar,
    /// Wakes the thread: there is room, an earlier timer, something to replay, or nothing to do.
    nudges: Sender<()>,
    stop: FeedStop,
}

struct State {
    ledger: Ledger,
    /// Consumers and deliveries that users hold.
    members: usize,
    /// Why nothing is delivered any more.
    ended: Option<Error>,
    /// The group was started again since, and what is kept of it is no longer this one's to write.
    replaced: bool,
    /// Until when the thread sleeps.
    alarm: Option<Instant>,
    /// The thread waits until the next batch is wanted.
    is_full: bool,
    /// Changes that must be durable before who made them is answered.
    changes: u64,
    /// How many of them are.
    written: u64,
    is_writing: bool,
    /// Up to which change the last write should have covered, and why it did not.
    failure: Option<(u64, Error)>,
    /// The cursor as it was last written.
    cursor: u64,
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
                failure: None,
                cursor,
                kept,
            }),
            ready: Condvar::new(),
            written: Condvar::new(),
            nudges,
            stop,
        });
        let feed = Feed::start(&group.stop, "filmstrip-read", after, filter)?;
        let its_group = Arc::clone(&group);
        engine.spawn("filmstrip-group", move || its_group.run(&feed, &nudged))?;
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
        let cursor = state.ledger.cursor();
        if cursor > state.cursor {
            state.changes += 1;
            self.write(state)?;
        }
        Ok(cursor)
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
        let closed = || Error::new(ErrorKind::Closed, "the group has no consumers any more");
        state.ended.get_or_insert_with(closed);
        self.stop.stop();
        self.nudge();
        if state.ledger.cursor() == state.cursor && state.changes == state.written {
            return;
        }
        state.changes += 1;
        let written = self.write(state);
        if let Err(error) = written.or_else(unless_closed) {
            let group = &self.name;
            tracing::warn!(group, %error, "how far a group has come could not be written");
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
            if let Some((event, attempt)) = state.ledger.deliver(now) {
                self.keep_alarm(&mut state);
                if state.ledger.has_ready() {
                    // One change can make several events ready, and wakes one consumer.
                    self.ready.notify_one();
                }
                return Next::Event(event, attempt);
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

    /// Ends the waits of the consumers that watch `stopped`.
    pub(super) fn stop_consumer(&self, stopped: &AtomicBool) {
        // In a forked process nobody waits.
        if !self.engine.owner.is_this_process() {
            return;
        }
        // Under the lock, so that a waiter sees the flag before it sleeps or is woken after.
        let _state = self.state.lock();
        stopped.store(true, Ordering::Release);
        self.ready.notify_all();
    }

    /// The event is handled; returns when that is durable. False, and nothing was done: it is not
    /// unfinished.
    pub(super) fn finish(&self, position: u64) -> Result<bool> {
        let mut is_finished = false;
        self.change(|ledger| {
            is_finished = ledger.finish(position);
            is_finished
        })?;
        Ok(is_finished)
    }

    /// The event is handled, although it may be parked meanwhile; returns when it is so no longer, durably.
    /// No other thread may move parked events in the meantime.
    pub(super) fn finish_parked(&self, position: u64) -> Result<()> {
        self.change(|ledger| {
            if !ledger.finish(position) {
                ledger.unpark(position);
            }
            true
        })
    }

    /// The event could not be handled; returns when what becomes of it is durable.
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

    /// The consumer of the event went away without a word.
    pub(super) fn abandon(&self, position: u64, attempt: u32) {
        let now = self.now();
        let mut state = self.state.lock();
        state.ledger.abandon(position, attempt, now);
        self.wake(&mut state);
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
        self.write(state)
    }

    /// Tells everyone whom a change of the ledger may concern.
    fn wake(&self, state: &mut State) {
        if state.ledger.has_ready() {
            self.ready.notify_one();
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
    fn write(&self, mut state: MutexGuard<'_, State>) -> Result<()> {
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

    fn run(&self, feed: &Feed, nudged: &Receiver<()>) {
        let followed = catch(|| self.follow(feed, nudged));
        let error = followed.unwrap_or_else(|panic| {
            let message = format!("the thread of a group panicked: {}", panic);
            Error::new(ErrorKind::Panicked, message)
        });
        if error.kind() != ErrorKind::Closed {
            tracing::error!(group = self.name, %error, "a group delivers nothing any more");
        }
        self.state.lock().ended.get_or_insert(error);
        self.ready.notify_all();
    }

    /// Feeds the ledger, and looks after its timers, until the end; returns why it is the end.
    fn follow(&self, feed: &Feed, nudged: &Receiver<()>) -> Error {
        let (closed, nothing) = (self.engine.closing(), never());
        let mut replays = EventCursor::new(self.engine.log());
        loop {
            let (alarm, wants_batch) = match self.engine.at_one_time(|| self.tend(&mut replays)) {
                Ok(Some(tended)) => tended,
                Ok(None) => return Error::new(ErrorKind::Closed, "the group has ended"),
                Err(error) => return error,
            };
            let alarm = alarm.map_or(never(), at);
            let batches = if wants_batch { feed.batches() } else { &nothing };
            select! {
                recv(batches) -> batch => match batch {
                    Ok(Ok(Batch { events, until, .. })) => {
                        self.with_ledger(|ledger| ledger.take_batch(events, until.get()));
                    }
                    Ok(Err(error)) => return error,
                    Err(_) => return Error::new(ErrorKind::Closed, "the store is closed"),
                },
                recv(nudged) -> _ => {}
                recv(alarm) -> _ => {}
                recv(closed) -> _ => return Error::new(ErrorKind::Closed, "the store is closed"),
            }
        }
    }

    /// Does what is due: until when there is nothing more to do, and whether the next batch should be
    /// read. `None`: the group has ended.
    fn tend(&self, replays: &mut EventCursor) -> Result<Option<(Option<Instant>, bool)>> {
        self.load_replays(replays)?;
        let now = self.now();
        let mut state = self.state.lock();
        if state.ended.is_some() {
            return Ok(None);
        }
        state.ledger.expire(now);
        if state.ledger.has_ready() {
            self.ready.notify_all();
        }
        if state.ledger.has_moves() {
            state.changes += 1;
        }
        let is_behind = state.ledger.cursor() >= state.cursor + GROUP_CURSOR_EVENTS_MAX;
        if state.ledger.has_moves() || is_behind {
            state.changes += u64::from(is_behind);
            self.write(state)?;
            state = self.state.lock();
        }
        state.alarm = state.ledger.next_timer();
        state.is_full = !state.ledger.wants_batch();
        Ok(Some((state.alarm, !state.is_full)))
    }

    /// Reads the parked events that are to be tried again, as far as there is room.
    fn load_replays(&self, replays: &mut EventCursor) -> Result<()> {
        let next = || self.with_ledger(|l| if l.has_room() { l.next_replay() } else { None });
        while let Some(position) = next() {
            let event = replays.event_at(Position::new(position))?;
            self.with_ledger(|ledger| ledger.restore(event));
        }
        if !self.with_ledger(|ledger| ledger.has_replays()) {
            replays.forget();
        }
        Ok(())
    }
}

/// Makes a commit of nothing but the engine's own state durable.
pub(super) fn commit_state(engine: &Engine, commit: Commit) -> Result<()> {
    engine.commit(EncodedCommit::new(commit)?).map(drop).map_err(Error::from)
}

/// The store's time never goes back, as it stands in the journal: a delivery that is due soon by a clock
/// that was far ahead is due soon by the right one, too.
pub(super) fn now(engine: &Engine) -> Now {
    let time = engine.now().max(engine.head.time());
    Now { instant: Instant::now(), time }
}

fn unless_closed(error: Error) -> Result<()> {
    match error.kind() {
        ErrorKind::Closed => Ok(()),
        _ => Err(error),
    }
}
