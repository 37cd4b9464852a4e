//! What becomes of a step that fails: it is tried again beside the others, and then the process stops, the instance is
//! parked, or the step alone is.

use crate::codec::process::{Alarm, ParkedStep, StoredStep};
use crate::model::policy::ErrorAction;
use crate::model::process::contract::ProcessManager;
use crate::model::process::failure::{Failed, Fault, fault_of};
use crate::model::process::instances::{Instance, alarm};
use crate::model::process::listening::{Interrupt, Step};
use crate::model::process::runner::Runner;
use crate::model::process::schedule::{Id, State};
use crate::value::error::{Error, ErrorKind, HandlerError};
use crate::value::failpoint::failpoint;
use crate::value::json::told;
use crate::value::limits::{PARKED_ERROR_BYTES_MAX, PROCESS_PARKED_MAX};
use crate::value::position::Position;
use std::sync::Arc;
use std::time::Instant;

impl<M: ProcessManager> Runner<M> {
    /// A step of the active instance `id` has failed.
    pub(super) fn failed(&mut self, id: &Id, failed: Failed) -> Step {
        let failed = Failed { cause: told::by_handler(failed.cause), ..failed };
        let mut failing = self.failing.get(id).copied().unwrap_or_default();
        let fault = fault_of(&failed.cause, failing.outages + 1);
        if let Fault::Store = fault {
            // The end of the store is no fault of anybody.
            self.log().refuse_if_ended()?;
        }
        let delay = match fault {
            Fault::Passing(delay) => {
                failing.outages += 1;
                Some(delay)
            }
            Fault::Store | Fault::Instance => {
                failing.failures += 1;
                self.desk.on_error.delay_after(failing.failures)
            }
        };
        let Some(delay) = delay else {
            self.failing.remove(id);
            let stops = matches!(fault, Fault::Store);
            return self.give_up(id, failed, failing.failures, stops);
        };
        let tries = failing.failures + failing.outages;
        self.desk.shared.retrying(failed.at, tries, failed.cause.to_string());
        self.failing.insert(Arc::clone(id), failing);
        self.retries.insert((Instant::now() + delay, Arc::clone(id)));
        Ok(())
    }

    /// A step of the instance `id` has succeeded.
    pub(super) fn succeeded(&mut self, id: &Id) {
        if !self.failing.is_empty() {
            self.failing.remove(id);
        }
    }

    /// Tries again what has waited long enough.
    pub(super) fn retry_due(&mut self) -> Step {
        let now = Instant::now();
        while let Some((at, _)) = self.retries.first()
            && *at <= now
        {
            let Some((_, id)) = self.retries.pop_first() else { break };
            if self.schedule.state(&id) == Some(State::Busy) {
                self.woken.push(id);
            }
        }
        Ok(())
    }

    /// A step has failed too often.
    pub(super) fn give_up(&mut self, id: &Id, failed: Failed, attempts: u32, stops: bool) -> Step {
        let then = match stops {
            true => ErrorAction::Stop,
            false => self.desk.on_error.then.or_usual(ErrorAction::ParkInstance),
        };
        if then == ErrorAction::Stop {
            return self.stop_at(id, failed, attempts);
        }
        if let Some(full) = self.no_more_parked(&failed) {
            return self.stop_at(id, Failed { cause: full, ..failed }, attempts);
        }
        let parked = self.parked_step(&failed, attempts);
        let said = failed.cause.to_string();
        let (process, at, cause) = (M::NAME, &parked.what, &said);
        self.must_write = true;
        if then == ErrorAction::ParkInstance {
            tracing::error!(process, instance = &**id, at, cause, "an instance was parked");
            self.kept.park(id, &parked);
            self.schedule.park(id);
            return Ok(());
        }
        tracing::error!(process, instance = &**id, at, cause, "a step was parked");
        self.kept.set_aside(id, &parked);
        self.pass_step(id, parked.step)?;
        self.woken.push(Arc::clone(id));
        Ok(())
    }

    /// Why `failed` cannot be parked, if so many are parked that it cannot.
    pub(super) fn no_more_parked(&self, failed: &Failed) -> Option<HandlerError> {
        let (parked, cause) = (self.kept.parked(), &failed.cause);
        let is_full = parked >= PROCESS_PARKED_MAX && !failpoint!("process::park_without_end");
        is_full.then(|| {
            let full = format!(
                "{parked} instances and steps are parked, at most {PROCESS_PARKED_MAX} are allowed: {cause}"
            );
            full.into()
        })
    }

    /// The process stops at a step.
    pub(super) fn stop_at(&mut self, id: &Id, failed: Failed, attempts: u32) -> Step {
        // So that what it stopped at can be skipped, and the others have come as far as they could.
        self.commit()?;
        let parked = self.parked_step(&failed, attempts);
        self.desk.shared.seen.lock().own.stopped_at = Some((id.to_string(), parked));
        let message =
            format!("{} stopped at {}: {}", self.desk.shared.who, failed.at, failed.cause);
        Err(Interrupt::Fault(Error::with_source(ErrorKind::Faulted, message, failed.cause)))
    }

    /// What is kept of a step that has failed.
    pub(super) fn parked_step(&self, failed: &Failed, attempts: u32) -> ParkedStep {
        let mut error = self.recordable(failed);
        error.truncate(error.floor_char_boundary(PARKED_ERROR_BYTES_MAX));
        let parked_at = self.log().now().0;
        ParkedStep { step: failed.step, what: failed.at.clone(), error, attempts, parked_at }
    }

    /// The message of `failed`, for a record that is never changed. In a store with private events it may quote one,
    /// wherever the application has that from; what it said is in the log then.
    fn recordable(&self, failed: &Failed) -> String {
        #[cfg(feature = "erasure")]
        if self.log().privacy.is_marked() && !failpoint!("process::record_private_error") {
            return "not recorded, because the store has private events; the log has it".to_owned();
        }
        failed.cause.to_string()
    }

    /// The active instance `id` goes on without `step`, which is its next one.
    pub(super) fn pass_step(&mut self, id: &Id, step: StoredStep) -> Step {
        if self.schedule.is_active(id) {
            self.kept.touch(id);
        }
        match step {
            StoredStep::Event(position) => self.schedule.give_up(id, Position::new(position)),
            StoredStep::Effect(version) => {
                if self.schedule.effects(id).first() == Some(version) {
                    self.schedule.effects_done(id, 1);
                }
            }
            StoredStep::Deadline(due) => self.set_fired(id, due, true)?,
            StoredStep::Route(position) if position <= self.kept.position().get() => {
                self.kept.give_up(vec![Position::new(position)], &self.schedule)?;
            }
            StoredStep::Route(position) => self.kept.pass(Position::new(position)),
        }
        Ok(())
    }

    /// Whether the instance `id` was woken at `due` changes without its being asked. It may be one that does not load.
    pub(super) fn set_fired(&mut self, id: &Id, due: i64, fired: bool) -> Result<(), Error> {
        if failpoint!("process::load_to_skip") {
            self.instance(id)?;
        }
        let before = match self.kept.unwritten_alarm(id) {
            Some(unwritten) => unwritten,
            None => alarm(self.log(), M::NAME, id)?,
        };
        let after = before.map(|alarm| match alarm.due == due {
            true => Alarm { due, fired },
            false => alarm,
        });
        self.kept.set_alarm(id, before, after);
        if let Some(instance) = self.instances.take(id) {
            self.instances.put(id, Instance { alarm: after, ..instance });
        }
        Ok(())
    }
}
