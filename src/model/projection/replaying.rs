//! Retries parked events, a few at a time, so that new events are applied in between.

use crate::codec::parked::ParkedRecord;
use crate::model::policy::ErrorAction;
use crate::model::projection::apply::{Failure, Pending, apply};
use crate::model::projection::contract::Projection;
use crate::model::projection::replay::{Replay, ReplayReply};
use crate::model::projection::runner::{Interrupt, Runner, Step};
use crate::model::projection::trees::parked_after;
use crate::model::projection::writing::Waits;
use crate::model::worker::Work;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::value::limits::{PARKED_PAGE, REPLAY_EVENTS_MAX, REPLAY_TIME_MAX};
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
        let mut pending = Pending::default();
        let begun = Instant::now();
        let at_once = failpoint!("projection::replay_all_at_once");
        let (mut tried, mut is_over) = (0, false);
        while !is_over && (tried < REPLAY_EVENTS_MAX || at_once) {
            let tree = &self.target.generation.tree;
            let page =
                parked_after(tree, replay.tried_to, PARKED_PAGE).map_err(Interrupt::Fault)?;
            tried += page.len();
            let last = page.last().map(|(position, _)| *position);
            is_over = last.is_none_or(|last| last >= replay.until);
            let page = page.into_iter().take_while(|(position, _)| *position <= replay.until);
            let in_time = self.replay_page(page.collect(), replay, &mut pending, begun);
            if !in_time.map_err(Interrupt::Fault)? && !at_once {
                is_over = false;
                break;
            }
        }
        if !pending.is_empty() {
            self.write_as(pending, self.place(), true, Waits::ForAWhile)?;
        }
        if is_over && std::mem::take(&mut replay.more_wait) {
            (replay.tried_to, replay.until) = (replay.until, self.position());
            return Ok(true);
        }
        Ok(!is_over)
    }

    /// Retries the parked events in `page`, until it is time to write. Returns whether all of them were retried.
    fn replay_page(
        &mut self,
        page: Vec<(Position, ParkedRecord)>,
        replay: &mut Replay,
        pending: &mut Pending,
        begun: Instant,
    ) -> Result<bool> {
        for (position, record) in page {
            replay.tried_to = position;
            self.replay_event(position, &record, replay, pending)?;
            if begun.elapsed() >= REPLAY_TIME_MAX || self.target.is_enough(pending, self.position())
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn replay_event(
        &mut self,
        position: Position,
        record: &ParkedRecord,
        replay: &mut Replay,
        pending: &mut Pending,
    ) -> Result<()> {
        if position > replay.began_at && record.attempts > 0 {
            // This event has failed since the replay began. The replay skips it and the later events of its stream.
            replay.failed.insert(StreamId::new(&record.stream)?);
            return Ok(());
        }
        let event = replay.events.event_at(position)?;
        if self.desk.on_error.then == ErrorAction::ParkStream
            && replay.failed.contains(&event.stream)
        {
            return Ok(());
        }
        let tree = &self.target.generation.tree;
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
