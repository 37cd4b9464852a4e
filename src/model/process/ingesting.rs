//! Taking in events: whose each is, and what that instance does with it.
//!
//! * An event waits with its instance first, and is then taken from there. So at every commit, what the cursor is past
//!   is ingested or known to wait.

use crate::codec::process::StoredStep;
use crate::model::aggregate::stream_in;
use crate::model::policy::ErrorAction;
use crate::model::process::contract::ProcessManager;
use crate::model::process::failure::{Failed, step_event};
use crate::model::process::listening::{Interrupt, Step};
use crate::model::process::runner::Runner;
use crate::model::process::schedule::Id;
use crate::value::error::{HandlerError, catch};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::json::told;
use crate::value::position::Position;
use std::time::Instant;

impl<M: ProcessManager> Runner<M> {
    /// Takes in what was read, as far as there is room.
    pub(super) fn ingest_incoming(&mut self) -> Step {
        if self.incoming.retry_at().is_some_and(|at| at > Instant::now()) {
            return Ok(());
        }
        while self.has_room()
            && let Some(event) = self.incoming.events.front().cloned()
        {
            let event = self.log().as_of_now(event);
            if !self.ingest(&event)? {
                return Ok(());
            }
            self.incoming.events.pop_front();
            self.incoming.failing = None;
            self.commit_if_large()?;
            let heard = self.settling.listen(&self.desk);
            if let Some(until) = self.incoming.until
                && heard.is_err()
                && failpoint!("process::drop_half_taken_batch")
            {
                self.kept.pass(until);
            }
            heard?;
        }
        if self.incoming.events.is_empty()
            && let Some(until) = self.incoming.until.take()
        {
            self.kept.pass(until);
        }
        Ok(())
    }

    /// Takes in one event; false if it is not known whose it is, and that is tried again.
    fn ingest(&mut self, event: &RecordedEvent) -> Result<bool, Interrupt> {
        let id = match self.route(event) {
            Ok(Some(id)) => id,
            Ok(None) => {
                self.kept.pass(event.position);
                return Ok(true);
            }
            Err(cause) => return self.not_routed(event, cause),
        };
        // What is passed without being ingested waits.
        self.kept.pass(event.position);
        let waited = self.schedule.waits_from(&id).is_some();
        let is_idle = !self.schedule.is_active(&id);
        if is_idle {
            self.activate(&id, Position::new(event.position.get() - 1));
        }
        self.schedule.wait(&id, event.position, event.payload.len(), event.clone());
        if !waited {
            self.kept.touch(&id);
        }
        if is_idle {
            self.advance(&id)?;
        }
        Ok(true)
    }

    /// The instance that `event` concerns.
    pub(super) fn route(&self, event: &RecordedEvent) -> Result<Option<Id>, HandlerError> {
        let routed = match catch(|| M::route(event)) {
            Ok(routed) => routed?,
            Err(panic) => return Err(format!("it panicked: {panic}").into()),
        };
        let Some(id) = routed else { return Ok(None) };
        if let Some(known) = self.schedule.id(&id) {
            return Ok(Some(known));
        }
        if self.instances.get(&id).is_none() {
            // It must be possible to record something of it.
            stream_in(M::NAME, &id)?;
        }
        Ok(Some(id.into()))
    }

    /// It could not be found out whose `event` is. That is of no instance, so no instance's order is kept by waiting.
    fn not_routed(
        &mut self,
        event: &RecordedEvent,
        cause: HandlerError,
    ) -> Result<bool, Interrupt> {
        let cause = told::by_handler(cause);
        let step = StoredStep::Route(event.position.get());
        let failures = self.incoming.failing.map_or(0, |(_, failures)| failures) + 1;
        let stops =
            self.desk.on_error.then.or_usual(ErrorAction::ParkInstance) == ErrorAction::Stop;
        let at = step_event(event).to_string();
        // It is pure: it would fail again. Only who stops for it has a reason to be sure.
        if let Some(delay) = self.desk.on_error.delay_after(failures).filter(|_| stops) {
            self.desk.shared.retrying(at, failures, cause.to_string());
            self.incoming.failing = Some((Instant::now() + delay, failures));
            return Ok(false);
        }
        let (id, failed) = (Id::from(""), Failed { step, at, cause });
        if stops {
            return self.stop_at(&id, failed, failures).map(|()| false);
        }
        if let Some(full) = self.no_more_parked(&failed) {
            let failed = Failed { cause: full, ..failed };
            return self.stop_at(&id, failed, failures).map(|()| false);
        }
        let parked = self.parked_step(&failed, failures);
        tracing::error!(
            process = M::NAME,
            at = parked.what,
            cause = failed.cause.to_string(),
            "an event was parked"
        );
        self.kept.set_aside(&id, &parked);
        self.kept.pass(event.position);
        self.must_write = true;
        Ok(true)
    }
}
