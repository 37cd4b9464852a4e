//! What an instance does when it is its turn: it reacts to what waits for it, or hands its effects to a lane.

use crate::codec::process::StoredStep;
use crate::model::process::contract::{ProcessManager, Trigger};
use crate::model::process::failure::{Failed, step_event};
use crate::model::process::instances::{Decided, Instance, alarm};
use crate::model::process::lane::{End, Ran};
use crate::model::process::listening::{Interrupt, Step};
use crate::model::process::plan;
use crate::model::process::replaying::Replayed;
use crate::model::process::runner::Runner;
use crate::model::process::schedule::{Id, Next, State};
use crate::model::process::spans::{ended, enter_step};
use crate::telemetry::context::{self, Handling};
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, HandlerError, Panicked, Result, catch};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::position::Position;
use std::sync::Arc;

/// What an instance has done with an event.
enum Reacted {
    Ingested,
    /// A deadline came before it.
    Woken,
}

impl<M: ProcessManager> Runner<M> {
    /// The instance `id` has something to do.
    pub(super) fn activate(&mut self, id: &Id, floor: Position) {
        self.deadlines.take(id);
        self.schedule.activate(id, floor);
    }

    pub(super) fn advance_woken(&mut self) -> Step {
        for id in std::mem::take(&mut self.woken) {
            // It may have been woken twice, and have nothing left to do.
            if self.schedule.state(&id) == Some(State::Busy) {
                self.advance(&id)?;
            }
            self.commit_if_large()?;
        }
        Ok(())
    }

    /// Lets a busy instance do all that it can do now.
    pub(super) fn advance(&mut self, id: &Id) -> Step {
        loop {
            match self.schedule.next(id) {
                Next::Effects => {
                    self.kept.touch(id);
                    self.schedule.make_ready(id);
                    return Ok(());
                }
                Next::Event(_) => {
                    if !self.react_to_first(id)? {
                        return Ok(());
                    }
                }
                Next::Reread => {
                    self.kept.touch(id);
                    return Ok(());
                }
                Next::Nothing => match self.replay_next(id)? {
                    Replayed::One => {}
                    Replayed::Later => return Ok(()),
                    Replayed::All => return self.retire(id),
                },
            }
        }
    }

    /// The instance `id` has nothing left to do but to wait for its deadline.
    fn retire(&mut self, id: &Id) -> Step {
        self.schedule.retire(id);
        self.conflicts.none(id);
        self.kept.touch_retired(id);
        let alarm = match (self.kept.unwritten_alarm(id), self.instances.get(id)) {
            (Some(unwritten), _) => unwritten,
            (None, Some(instance)) => instance.alarm,
            (None, None) => alarm(self.log(), M::NAME, id)?,
        };
        if let Some(alarm) = alarm.filter(|alarm| !alarm.fired) {
            self.deadlines.put(id, alarm.due);
        }
        Ok(())
    }

    /// Lets the instance react to the first event that waits for it; false if it has failed.
    fn react_to_first(&mut self, id: &Id) -> Result<bool, Interrupt> {
        let Some(event) = self.schedule.first(id).cloned() else { return Ok(false) };
        let event = self.log().as_of_now(event);
        match self.react(id, &event, true) {
            Ok(reacted) => {
                self.succeeded(id);
                if let Reacted::Ingested = reacted {
                    self.schedule.ingested(id);
                    self.kept.touch(id);
                }
                Ok(true)
            }
            Err(failed) => self.failed(id, failed).map(|()| false),
        }
    }

    /// Lets the instance react to `event`, or before that, if it is in order, to the deadline that comes before it.
    fn react(&mut self, id: &Id, event: &RecordedEvent, in_order: bool) -> Result<Reacted, Failed> {
        let failed = |cause| Failed {
            step: StoredStep::Event(event.position.get()),
            at: step_event(event).to_string(),
            cause,
        };
        let instance = self.instance(id).map_err(|error| failed(error.into()))?;
        let recorded_at = Micros::of(event.recorded_at).0;
        let before = instance.alarm.filter(|alarm| !alarm.fired && alarm.due < recorded_at);
        if let Some(alarm) = before.filter(|_| in_order)
            && !failpoint!("process::react_before_deadline")
        {
            self.wake(id, instance, alarm.due)?;
            return Ok(Reacted::Woken);
        }
        let (traces, _handling) = (self.log().observers.traces(), Handling::begin(event));
        let position = event.position.get();
        let stream = &instance.stream;
        let span = enter_step!("react", event, stream, filmstrip.position = position);
        context::link(traces, &span, event);
        let decided = catch(|| {
            let decided = instance.state.react(Trigger::Event(event))?;
            let passed = self.pass_on.of_event(event).in_trace(traces);
            instance.decide(&decided, passed, Some(event.id))
        });
        let decided = unless_panicked(decided);
        ended(&span, &decided);
        drop(span);
        let decided = decided.map_err(failed)?;
        self.record(id, decided).map_err(failed)?;
        Ok(Reacted::Ingested)
    }

    /// Lets the instance react to an event that was parked alone.
    pub(super) fn react_late(&mut self, id: &Id, event: &RecordedEvent) -> Result<(), Failed> {
        self.react(id, event, false).map(drop)
    }

    /// Lets the instance, which has nothing to do, react to its deadline, which was to be at `due`.
    pub(super) fn fire(&mut self, id: &Id, due: i64) -> Step {
        self.activate(id, self.kept.position());
        let woken = match self.instance(id) {
            Ok(instance) => self.wake(id, instance, due),
            Err(error) => Err(deadline_failed::<M>(id, due, error.into())),
        };
        match woken {
            Ok(()) => {
                self.succeeded(id);
                self.advance(id)
            }
            Err(failed) => self.failed(id, failed),
        }
    }

    fn wake(&mut self, id: &Id, mut instance: Instance<M>, due: i64) -> Result<(), Failed> {
        let before = instance.alarm;
        let alarm = instance.alarm.as_mut().filter(|alarm| alarm.due == due && !alarm.fired);
        let Some(alarm) = alarm else { return Ok(()) };
        alarm.fired = true;
        let decided = catch(|| {
            // A program that has changed may want another time for the same state.
            let decided = match instance.due() == Some(due) {
                true => instance.state.react(Trigger::Deadline)?,
                false => Vec::new(),
            };
            let decided = instance.decide(&decided, instance.passed.clone(), None)?;
            Ok(Decided { before, ..decided })
        });
        let recorded = unless_panicked(decided).and_then(|decided| self.record(id, decided));
        recorded.map_err(|cause| deadline_failed::<M>(id, due, cause))
    }

    /// Adds what an instance has decided to the next commit.
    fn record(&mut self, id: &Id, decided: Decided<M>) -> Result<(), HandlerError> {
        let Decided { before, expected, events, then } = decided;
        if !events.is_empty() {
            self.refuse_if_contested(id)?;
        }
        plan::check(&then.stream, &events)?;
        self.kept.set_alarm(id, before, then.alarm);
        if !events.is_empty() {
            self.schedule.recorded(id, expected.get() + 1, then.version.get());
            self.kept.touch(id);
            self.plan.add(&then.stream, expected, events);
        }
        self.instances.put(id, then);
        Ok(())
    }

    /// An error if other writers have been in this instance's stream too often. Each time counts as a failure of the
    /// step that is decided now.
    fn refuse_if_contested(&mut self, id: &Id) -> Result<(), HandlerError> {
        let Some(times) = self.conflicts.take_if_too_many(id) else { return Ok(()) };
        self.failing.entry(Arc::clone(id)).or_default().failures = times - 1;
        Err(format!("another writer has written to its stream {times} times meanwhile").into())
    }

    /// The instance `id` as it is with everything that is recorded of it or will be with the next commit.
    pub(super) fn instance(&mut self, id: &Id) -> Result<Instance<M>> {
        let (log, unwritten) = (self.engine.log(), self.kept.unwritten_alarm(id));
        let known = self.instances.get(id);
        let loaded = catch(|| {
            let mut instance = match known {
                Some(known) => known.clone(),
                None => Instance::load(log, &self.pass_on, id)?,
            };
            instance.refresh(log, &self.pass_on)?;
            Ok(Instance { alarm: unwritten.unwrap_or(instance.alarm), ..instance })
        });
        loaded.unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Panicked, format!("it panicked: {panic}")))
        })
    }

    /// Takes over what lanes have done.
    pub(super) fn hear_lanes(&mut self) -> Step {
        self.ran.extend(self.lanes.0.results());
        while let Some(ran) = self.ran.pop_front() {
            self.take_over(ran)?;
            self.commit_if_large()?;
        }
        Ok(())
    }

    fn take_over(&mut self, ran: Ran<M>) -> Step {
        let id = Arc::clone(&ran.id);
        match self.note(ran) {
            None => self.advance(&id),
            Some(failed) => self.failed(&id, failed),
        }
    }

    /// Notes what a lane has done; returns what has failed, if something has.
    pub(super) fn note(&mut self, ran: Ran<M>) -> Option<Failed> {
        let Ran { id, instance, done, end } = ran;
        self.schedule.back_from_lane(&id);
        self.kept.touch(&id);
        if done > 0 {
            self.schedule.effects_done(&id, done);
            self.succeeded(&id);
        }
        if let Some(instance) = instance {
            self.instances.put(&id, instance);
        }
        match end {
            End::Nothing => None,
            End::Failed { version, at, cause } => {
                Some(Failed { step: StoredStep::Effect(version), at, cause })
            }
            End::Events { version, at, decided } => {
                self.schedule.effects_done(&id, 1);
                self.succeeded(&id);
                let recorded = self.record(&id, decided);
                recorded.err().map(|cause| {
                    self.schedule.effect_again(&id, version);
                    Failed { step: StoredStep::Effect(version), at, cause }
                })
            }
        }
    }
}

fn deadline_failed<M: ProcessManager>(id: &Id, due: i64, cause: HandlerError) -> Failed {
    let at = format!("the deadline {} of {}-{id}", Micros(due).to_utc(), M::NAME);
    Failed { step: StoredStep::Deadline(due), at, cause }
}

/// What the application's code has said, if it has not panicked.
fn unless_panicked<T>(said: Result<Result<T, HandlerError>, Panicked>) -> Result<T, HandlerError> {
    said.unwrap_or_else(|panic| Err(format!("it panicked: {panic}").into()))
}
