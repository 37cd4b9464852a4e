//! Retries parked events, a few at a time, so that new events are applied in between.

use crate::model::policy::ErrorAction;
use crate::model::projection::apply::{Failure, Pending, apply};
use crate::model::projection::contract::Projection;
use crate::model::projection::replay::{Replay, ReplayReply};
use crate::model::projection::runner::{Interrupt, Runner, Step};
use crate::model::projection::trees::{parked, parked_at};
use crate::model::projection::writing::Waits;
use crate::model::worker::Work;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::value::limits::{REPLAY_EVENTS_MAX, REPLAY_TIME_MAX};
use crate::value::position::Position;
use crate::value::stream::StreamId;
use std::time::Instant;

impl<P: Projection> Runner<P> {
    /// Begins a replay for the caller that waits for `answer`. A projection that does not follow the log does the
    /// whole replay at once.
    pub(super) fn begin_replay(&mut self, answer: &ReplayReply, follows: bool) {
        if let Some(replay) = &mut self.replay {
            replay.then.push(answer.clone());
            return;
        }
        if let Err(error) = self.prepare().and_then(|()| self.start_replay(vec![answer.clone()])) {
            let _ = answer.send(Err(error));
            return;
        }
        while !follows && self.replay.is_some() {
            if self.replay_some().is_err() || self.log.refuse_if_closed().is_err() {
                // Dropping the replay tells the callers that it has ended.
                self.replay = None;
            }
        }
    }

    fn start_replay(&mut self, answers: Vec<ReplayReply>) -> Result<()> {
        let parked = parked(&self.target.generation.tree)?;
        let left = parked.into_iter().map(|(position, _)| position).collect();
        self.replay = Some(Replay::new(&self.log, left, answers));
        Ok(())
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
                if !then.is_empty()
                    && let Err(error) = self.start_replay(then.clone())
                {
                    then.iter().for_each(|answer| drop(answer.send(Err(error.clone()))));
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
        let mut pending = Pending::default();
        let begun = Instant::now();
        let most = if failpoint!("projection::replay_all_at_once") {
            usize::MAX
        } else {
            REPLAY_EVENTS_MAX
        };
        for _ in 0..most {
            let Some(position) = replay.left.pop_front() else { break };
            replay.tried_to = position;
            self.replay_event(position, replay, &mut pending).map_err(Interrupt::Fault)?;
            if failpoint!("projection::replay_all_at_once") {
                continue;
            }
            if begun.elapsed() >= REPLAY_TIME_MAX
                || self.target.is_enough(&pending, self.position())
            {
                break;
            }
        }
        if !pending.is_empty() {
            self.write_as(pending, self.place(), true, Waits::ForAWhile)?;
        }
        if replay.left.is_empty() && std::mem::take(&mut replay.more_wait) {
            let parked = parked(&self.target.generation.tree).map_err(Interrupt::Fault)?;
            for (position, record) in parked {
                match position > replay.tried_to {
                    // This event was parked because of an earlier one, which this replay may have handled.
                    true if record.attempts == 0 => replay.left.push_back(position),
                    // This event has failed since the replay began. The replay skips it and the later events of its
                    // stream.
                    true => {
                        let stream = StreamId::new(&record.stream).map_err(Interrupt::Fault)?;
                        replay.failed.insert(stream);
                    }
                    false => {}
                }
            }
        }
        Ok(!replay.left.is_empty())
    }

    fn replay_event(
        &mut self,
        position: Position,
        replay: &mut Replay,
        pending: &mut Pending,
    ) -> Result<()> {
        let tree = &self.target.generation.tree;
        // The event may have been discarded meanwhile.
        let Some(record) = parked_at(tree, position)? else { return Ok(()) };
        let event = replay.events.event_at(position)?;
        if self.desk.on_error.then == ErrorAction::ParkStream
            && replay.failed.contains(&event.stream)
        {
            return Ok(());
        }
        match apply(&self.projection, &event, tree, pending.rows()) {
            Ok(changes) => {
                pending.take(changes);
                pending.release(position, &event.stream);
            }
            Err(Failure::View(error)) => return Err(error),
            Err(Failure::Event(cause)) => {
                pending.park_again(&event, cause, record.attempts.saturating_add(1), self.now());
                replay.failed.insert(event.stream.detached());
            }
        }
        Ok(())
    }
}
