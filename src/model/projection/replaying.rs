//! Retries parked events, a few at a time, so that new events are applied in between.

use crate::codec::parked::ParkedRecord;
use crate::model::policy::{ErrorAction, is_down, recovery_delay};
use crate::model::projection::apply::{Failure, Pending, apply, record as parked_record};
use crate::model::projection::contract::Projection;
use crate::model::projection::parked::{Entry, entries_after};
use crate::model::projection::replay::{Replay, ReplayReply};
use crate::model::projection::runner::{Interrupt, Runner, Step};
use crate::model::projection::writing::Waits;
use crate::model::worker::Work;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{REPLAY_EVENTS_MAX, REPLAY_TIME_MAX};
use crate::value::position::Position;
use crate::value::stream::StreamId;
use std::time::Instant;

/// What a replay does between two batches of new events.
struct Turn {
    begun: Instant,
    tried: usize,
    pending: Pending,
}

/// What came of a parked event.
enum Tried {
    /// It was not retried.
    Not,
    /// It has failed again, and gets another record.
    Again(ParkedRecord),
    /// It was applied. This is its stream.
    Applied(StreamId),
}

impl<P: Projection> Runner<P> {
    /// Begins a replay for the caller that waits for `answer`. A projection that does not follow the log does the
    /// whole replay at once.
    pub(super) fn begin_replay(&mut self, answer: &ReplayReply, follows: bool) {
        if let Some(replay) = &mut self.replay {
            replay.then.push(answer.clone());
            return;
        }
        if let Err(error) = self.prepare() {
            let _ = answer.send(Err(error));
            return;
        }
        self.start_replay(vec![answer.clone()]);
        while !follows && self.replay.is_some() {
            if self.replay_some().is_err() || self.log.refuse_if_closed().is_err() {
                // Dropping the replay tells the callers that it has ended.
                self.replay = None;
            }
        }
    }

    fn start_replay(&mut self, answers: Vec<ReplayReply>) {
        self.replay = Some(Replay::new(&self.log, self.position(), answers));
    }

    /// Retries some of the parked events. After the last one, replies to the callers.
    pub(super) fn replay_some(&mut self) -> Step {
        if self.replay.is_some() && !self.target.pending.is_empty() {
            // Write the pending changes first; retried events are applied on top of them.
            let pending = std::mem::take(&mut self.target.pending);
            self.write(pending, self.place(), true)?;
        }
        let Some(mut replay) = self.replay.take() else { return Ok(()) };
        match self.replay_next(&mut replay) {
            Ok(true) => self.replay = Some(replay),
            Ok(false) => {
                let then = std::mem::take(&mut replay.then);
                replay.end(&Ok(()));
                if !then.is_empty() {
                    self.start_replay(then);
                }
            }
            Err(Interrupt::Fault(error)) => {
                replay.end(&Err(error));
                // Follow again, which reads the view's state and position again.
                return Err(Interrupt::Again);
            }
            Err(interrupt) => return Err(interrupt),
        }
        Ok(())
    }

    /// Retries the next events. Returns whether there are more.
    fn replay_next(&mut self, replay: &mut Replay) -> Result<bool, Interrupt> {
        let mut turn = Turn { begun: Instant::now(), tried: 0, pending: Pending::default() };
        let mut is_all = false;
        while !is_all && !self.is_over(&turn) {
            let tree = &self.target.generation.tree;
            let entries = entries_after(tree, replay.tried_to).map_err(Interrupt::Fault)?;
            is_all = entries.last().is_none_or(|last| last.key >= replay.until.get());
            for entry in entries {
                let is_whole = self.replay_entry(entry, replay, &mut turn);
                if !is_whole.map_err(Interrupt::Fault)? {
                    is_all = false;
                    break;
                }
            }
        }
        if !turn.pending.is_empty() {
            self.write_as(turn.pending, self.place(), true, Waits::ForAWhile)?;
        }
        if is_all && std::mem::take(&mut replay.more_wait) {
            (replay.tried_to, replay.until) = (replay.until, self.position());
            return Ok(true);
        }
        Ok(!is_all)
    }

    /// Whether it is time to write, and to take in new events.
    fn is_over(&self, turn: &Turn) -> bool {
        turn.tried > 0
            && !failpoint!("projection::replay_all_at_once")
            && (turn.tried >= REPLAY_EVENTS_MAX
                || turn.begun.elapsed() >= REPLAY_TIME_MAX
                || self.target.is_enough(&turn.pending, self.position()))
    }

    /// Retries the events of `entry`, until the turn is over. Returns whether it was not.
    fn replay_entry(&mut self, entry: Entry, replay: &mut Replay, turn: &mut Turn) -> Result<bool> {
        let (mut left, mut is_changed, mut is_whole) = (Vec::new(), false, true);
        for (at, record) in entry.events {
            let position = Position::new(at);
            if position <= replay.tried_to || position > replay.until {
                left.push((at, record));
                continue;
            }
            is_whole = is_whole && !self.is_over(turn);
            if !is_whole {
                if !failpoint!("projection::lose_rest_of_entry") {
                    left.push((at, record));
                }
                continue;
            }
            turn.tried += 1;
            let tried = self.replay_event(position, &record, replay, &mut turn.pending)?;
            replay.tried_to = position;
            is_changed |= !matches!(tried, Tried::Not);
            match tried {
                Tried::Not => left.push((at, record)),
                Tried::Again(record) => left.push((at, record)),
                Tried::Applied(stream) => turn.pending.release(stream),
            }
        }
        if is_whole {
            replay.tried_to = replay.tried_to.max(replay.until.min(Position::new(entry.key)));
        }
        if is_changed {
            turn.pending.leave(entry.key, left);
        }
        Ok(is_whole)
    }

    fn replay_event(
        &mut self,
        position: Position,
        record: &ParkedRecord,
        replay: &mut Replay,
        pending: &mut Pending,
    ) -> Result<Tried> {
        if position > replay.began_at && record.attempts > 0 {
            // This event has failed since the replay began. The replay skips it and the later events of its stream.
            replay.failed.insert(StreamId::new(&record.stream)?);
            return Ok(Tried::Not);
        }
        let event = replay.events.event_at(position)?;
        if self.desk.on_error.then == ErrorAction::ParkStream
            && replay.failed.contains(&event.stream)
        {
            return Ok(Tried::Not);
        }
        #[cfg(feature = "erasure")]
        pending.note_private(&event);
        let tree = &*self.target.generation.tree;
        match apply(&self.projection, &event, tree, pending.rows()) {
            Ok(changes) => {
                pending.take(changes);
                Ok(Tried::Applied(event.stream.detached()))
            }
            Err(Failure::View(error)) => Err(error),
            Err(Failure::Event(_, Some(error))) if is_of_store(&error) => Err(error),
            Err(Failure::Event(cause, _)) => {
                replay.failed.insert(event.stream.detached());
                let attempts = record.attempts.saturating_add(1);
                Ok(Tried::Again(parked_record(&event, cause, attempts, self.now())))
            }
        }
    }
}

/// Whether `apply` failed because a store did, and the event is not at fault.
fn is_of_store(error: &Error) -> bool {
    let fails = is_down(error) || error.kind() == ErrorKind::Corrupt;
    (fails || recovery_delay(error, 1).is_some())
        && !failpoint!("projection::blame_replay_for_store")
}
