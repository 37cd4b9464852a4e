//! Letting go on what was parked: with what it stopped at, or without.

use crate::codec::process::{ParkedStep, StoredStep, aside_prefix, aside_suffix, decode};
use crate::log::read::event_cursor::EventCursor;
use crate::model::process::contract::ProcessManager;
use crate::model::process::durable_state::damaged;
use crate::model::process::failure::{Failed, Fault, fault_of};
use crate::model::process::listening::Interrupt;
use crate::model::process::runner::Runner;
use crate::model::process::schedule::Id;
use crate::value::error::{Error, HandlerError, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::json::told;
use crate::value::position::Position;
use std::collections::VecDeque;
use std::sync::Arc;

/// What came of the events of an instance that are to be replayed.
pub(super) enum Replayed {
    /// The next one was tried.
    One,
    /// The next one is tried again later.
    Later,
    /// There are no more.
    All,
}

impl<M: ProcessManager> Runner<M> {
    /// Lets go on what is parked of the instance `id`; with an empty one, the events whose instance is not known.
    pub(super) fn replay(&mut self, id: &str) -> Result<()> {
        let (id, aside) = self.parked_of(id)?;
        // They are in order, and may be of one frame.
        let mut events = EventCursor::new(self.log());
        for step in aside {
            match step {
                StoredStep::Route(position) => {
                    let event = events.event_at(Position::new(position))?;
                    self.replay_unrouted(&id, &event)?;
                }
                StoredStep::Event(position) => {
                    let replays = self.replays.entry(Arc::clone(&id)).or_default();
                    if !replays.contains(&Position::new(position)) {
                        replays.push_back(Position::new(position));
                    }
                }
                StoredStep::Effect(version) => {
                    self.keep_active(&id);
                    self.schedule.effect_again(&id, version);
                    self.kept.take_back(&id, step);
                    self.kept.touch(&id);
                }
                StoredStep::Deadline(due) => {
                    self.set_fired(&id, due, false)?;
                    self.kept.take_back(&id, step);
                }
            }
        }
        self.go_on(&id)
    }

    /// Gives up what the instance `id` stopped at; true if that is what the process has stopped at.
    pub(super) fn skip(&mut self, id: &str) -> Result<bool> {
        let stopped_at = self.desk.shared.seen.lock().own.stopped_at.clone();
        if let Some((_, parked)) = stopped_at.filter(|(stopped, _)| stopped == id) {
            let id = self.schedule.id(id).unwrap_or_else(|| id.into());
            if self.kept.is_aside(&id, parked.step) {
                self.kept.take_back(&id, parked.step);
            }
            self.give_up_step(&id, parked.step)?;
            return Ok(true);
        }
        let (id, aside) = self.parked_of(id)?;
        let waits_from = self.schedule.waits_from(&id);
        let events = aside.iter().filter_map(|step| match *step {
            StoredStep::Route(position) => Some(Position::new(position)),
            // It would be read again.
            StoredStep::Event(position)
                if waits_from.is_some_and(|from| from.get() <= position)
                    && !failpoint!("process::read_again_what_was_skipped") =>
            {
                Some(Position::new(position))
            }
            _ => None,
        });
        self.kept.give_up(events.collect(), &self.schedule)?;
        for step in aside {
            self.kept.take_back(&id, step);
        }
        if let Some(step) = self.kept.parked_at(&id) {
            self.give_up_step(&id, step)?;
        }
        self.go_on(&id).map(|()| false)
    }

    /// The id, and the steps that are parked alone; an error if nothing is parked.
    fn parked_of(&self, id: &str) -> Result<(Id, Vec<StoredStep>)> {
        let (known, aside) = (Id::from(id), self.kept.aside(id));
        if aside.is_empty() && self.kept.parked_at(id).is_none() {
            let message =
                format!("nothing is parked of the instance {id:?} of process {}", M::NAME);
            return Err(Error::invalid(message));
        }
        Ok((known, aside))
    }

    fn give_up_step(&mut self, id: &Id, step: StoredStep) -> Result<()> {
        if !matches!(step, StoredStep::Route(_)) {
            self.keep_active(id);
        }
        match self.pass_step(id, step) {
            Err(Interrupt::Fault(error)) => Err(error),
            _ => self.write_now(),
        }
    }

    /// What was parked of the instance `id` goes on.
    fn go_on(&mut self, id: &Id) -> Result<()> {
        if self.kept.parked_at(id).is_some() {
            self.kept.unpark(id);
            self.schedule.unpark(id);
        }
        if self.replays.contains_key(id) {
            self.keep_active(id);
        }
        if !self.schedule.is_active(id) && !id.is_empty() {
            // Its deadline may be to come again.
            self.keep_active(id);
        }
        self.write_now()
    }

    fn keep_active(&mut self, id: &Id) {
        if !self.schedule.is_active(id) {
            self.activate(id, self.kept.position());
        }
    }

    fn write_now(&mut self) -> Result<()> {
        self.write().map_err(Error::from)
    }

    /// Finds out once more whose `event` is.
    fn replay_unrouted(&mut self, none: &Id, event: &RecordedEvent) -> Result<()> {
        let position = event.position;
        let step = StoredStep::Route(position.get());
        match self.route(event) {
            Ok(None) => self.kept.take_back(none, step),
            Ok(Some(id)) => {
                let parked = self.record_of(none, step)?;
                self.kept.take_back(none, step);
                let step = StoredStep::Event(position.get());
                self.kept.set_aside(&id, &ParkedStep { step, ..parked });
                self.replays.entry(Arc::clone(&id)).or_default().push_back(position);
                self.to_replay.push_back(id);
            }
            Err(cause) => self.park_again(none, step, cause)?,
        }
        Ok(())
    }

    /// Wakes the instances with events to be replayed for which there is room.
    pub(super) fn begin_replays(&mut self) {
        while (self.has_room() || failpoint!("process::replay_without_room"))
            && let Some(id) = self.to_replay.pop_front()
        {
            // It may have tried them, or have something else to do first.
            if self.replays.contains_key(&id) && !self.schedule.is_active(&id) {
                self.activate(&id, self.kept.position());
                self.woken.push(id);
            }
        }
    }

    /// Lets the instance `id` react to the next event that was parked alone.
    pub(super) fn replay_next(&mut self, id: &Id) -> Result<Replayed, Interrupt> {
        if self.replays.is_empty() {
            return Ok(Replayed::All);
        }
        let Some(&position) = self.replays.get(id).and_then(VecDeque::front) else {
            self.replays.remove(id);
            return Ok(Replayed::All);
        };
        // It may have been skipped meanwhile.
        if self.kept.is_aside(id, StoredStep::Event(position.get())) {
            if !self.replay_event(id, position)? {
                return Ok(Replayed::Later);
            }
            self.replayed.push((Arc::clone(id), position));
            self.must_write = true;
        }
        self.replays.get_mut(id).map(VecDeque::pop_front);
        Ok(Replayed::One)
    }

    /// False if a store has failed: then nothing is said of the event, and it is tried again, as any other step.
    fn replay_event(&mut self, id: &Id, position: Position) -> Result<bool, Interrupt> {
        let step = StoredStep::Event(position.get());
        let event: RecordedEvent = EventCursor::new(self.log()).event_at(position)?;
        match self.react_late(id, &event) {
            Ok(()) => {
                self.succeeded(id);
                if !failpoint!("process::keep_what_was_replayed") {
                    self.kept.take_back(id, step);
                }
            }
            Err(failed) if is_of_store(&failed.cause) => {
                self.failed(id, failed)?;
                return Ok(false);
            }
            Err(Failed { cause, .. }) => {
                // It is tried again only when that is asked for.
                self.failing.remove(id);
                self.park_again(id, step, cause)?;
            }
        }
        Ok(true)
    }

    /// After a commit that failed: what was asked to be replayed, and is still parked, is replayed.
    pub(super) fn resume_replays(&mut self) {
        for (id, position) in std::mem::take(&mut self.replayed).into_iter().rev() {
            self.replays.entry(id).or_default().push_front(position);
        }
        self.to_replay = self.replays.keys().map(Arc::clone).collect();
    }

    /// What was parked alone has failed once more.
    fn park_again(&mut self, id: &Id, step: StoredStep, cause: HandlerError) -> Result<()> {
        let ParkedStep { what, attempts, .. } = self.record_of(id, step)?;
        let failed = Failed { step, at: what, cause: told::by_handler(cause) };
        let parked = self.parked_step(&failed, attempts.saturating_add(1));
        self.kept.set_aside(id, &parked);
        Ok(())
    }

    fn record_of(&self, id: &Id, step: StoredStep) -> Result<ParkedStep> {
        let key = format!("{}{}", aside_prefix(M::NAME), aside_suffix(step, id));
        let record = self.log().record(&key)?;
        let record = record.map(|bytes| decode(&bytes)).transpose();
        let record = record.map_err(|what| damaged(M::NAME, what))?;
        record.ok_or_else(|| damaged(M::NAME, format!("{key:?} is missing")))
    }
}

/// Whether a failure is a store's, not the instance's.
fn is_of_store(cause: &HandlerError) -> bool {
    !matches!(fault_of(cause, 1), Fault::Instance) && !failpoint!("process::blame_replay_for_store")
}
