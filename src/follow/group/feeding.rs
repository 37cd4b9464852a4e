//! The thread of a group: it feeds the ledger, and looks after its timers.

use crate::follow::feed::{Batch, Feed};
use crate::follow::group::running::RunningGroup;
use crate::log::read::event_cursor::EventCursor;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::limits::GROUP_CURSOR_EVENTS_MAX;
use crate::value::position::Position;
use crossbeam_channel::{Receiver, at, never, select};
use parking_lot::MutexGuard;
use std::time::Instant;

impl RunningGroup {
    pub(super) fn run(&self, feed: &Feed, nudged: &Receiver<()>) {
        let followed = catch(|| self.follow(feed, nudged));
        let error = followed.unwrap_or_else(|panic| {
            let message = format!("the thread of a group panicked: {}", panic);
            Error::new(ErrorKind::Panicked, message)
        });
        if error.kind() != ErrorKind::Closed {
            tracing::error!(group = self.name, %error, "a group no longer delivers");
        }
        let mut state = self.state.lock();
        state.ended.get_or_insert(error);
        self.ready.notify_all();
        let woken = state.tasks.take();
        drop(state);
        woken.wake();
    }

    /// Feeds the ledger, and looks after its timers, until the end; returns why it is the end.
    fn follow(&self, feed: &Feed, nudged: &Receiver<()>) -> Error {
        let (closed, nothing) = (self.engine.log().closing(), never());
        let mut replays = EventCursor::new(self.engine.log());
        loop {
            let (alarm, wants_batch) =
                match self.engine.log().at_one_time(|| self.tend(&mut replays)) {
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
            let woken = state.tasks.take();
            if !woken.is_empty() {
                MutexGuard::unlocked(&mut state, || woken.wake());
            }
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
