//! Reading events again: those that wait for instances and were not kept in memory.
//!
//! * After a restart, when an instance that was parked goes on, and when more waited than there was room for.
//! * What is read here is never past the process's own position: there the events come from its feed.

use crate::codec::process::StoredStep;
use crate::follow::feed::{Batch, Feed, FeedStop};
use crate::model::process::contract::ProcessManager;
use crate::model::process::failure::{Failed, step_event};
use crate::model::process::listening::{Interrupt, Step};
use crate::model::process::runner::Runner;
use crate::model::process::schedule::Id;
use crate::model::process::second_reading::Rereading;
use crate::value::error::{HandlerError, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::json::told;
use crate::value::position::Position;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

impl<M: ProcessManager> Runner<M> {
    /// This batch was read again.
    pub(super) fn reread(&mut self, batch: Batch) {
        if let Some(rereading) = &mut self.rereading {
            rereading.left = batch.events.into();
            rereading.until = Some(batch.until);
        }
    }

    /// Gives the instances what was read again, and begins to read where something is lacking.
    pub(super) fn ingest_reread(&mut self) -> Step {
        if let Some(rereading) = self.rereading.take() {
            self.rereading = self.take_again(rereading)?;
        }
        let Some(after) = self.schedule.to_reread() else { return Ok(()) };
        if self.rereading.as_ref().is_some_and(|rereading| rereading.position <= after) {
            return Ok(());
        }
        if after >= self.kept.position() {
            // Nothing has come since.
            self.woken.extend(self.schedule.read_again(after, true));
            return Ok(());
        }
        let stop = FeedStop::new(Arc::clone(self.log()));
        let feed = Feed::start(&stop, "filmstrip-read", after, self.filter.clone())?;
        self.rereading = Some(Rereading {
            feed,
            position: after,
            left: VecDeque::new(),
            until: None,
            failing: None,
        });
        Ok(())
    }

    /// Takes in what there is room for; `None` if nothing is lacking any more.
    fn take_again(&mut self, mut rereading: Rereading) -> Result<Option<Rereading>, Interrupt> {
        let waits = rereading.retry_at().is_some_and(|at| at > Instant::now());
        let Some(until) = rereading.until.filter(|_| !waits) else { return Ok(Some(rereading)) };
        while let Some(event) = rereading.left.front() {
            if event.position > self.kept.position() {
                rereading.left.clear();
                break;
            }
            let (position, bytes) = (event.position, event.payload.len());
            let id = match self.route_again(event) {
                Ok(id) => id,
                Err(cause) => {
                    if !failpoint!("process::read_again_without_end") {
                        // Otherwise those that lack what was read so far would have it read once more.
                        let before = Position::new(position.get() - 1);
                        self.woken.extend(self.schedule.read_again(before, false));
                    }
                    let failures = rereading.failing.map_or(0, |(_, failures)| failures) + 1;
                    rereading.failing =
                        Some((self.not_routed_again(event, cause, failures)?, failures));
                    return Ok(Some(rereading));
                }
            };
            rereading.failing = None;
            if let Some(id) = id
                && !self.schedule.wait_again(&id, position, bytes, event.clone())
            {
                let before = Position::new(position.get() - 1);
                self.woken.extend(self.schedule.read_again(before, false));
                return Ok(Some(rereading));
            }
            rereading.left.pop_front();
            rereading.position = position;
        }
        // Its feed may sleep, and give no further batch.
        let until = rereading.feed.reached(until).map_or(until, |(position, _)| position);
        rereading.until = None;
        rereading.position = until;
        let caught_up = until >= self.kept.position();
        self.woken.extend(self.schedule.read_again(until.min(self.kept.position()), caught_up));
        Ok((!caught_up).then_some(rereading))
    }

    /// The instance that gets `event`, which was read again; none if it was settled that none gets it, or not here.
    fn route_again(&self, event: &RecordedEvent) -> Result<Option<Id>, HandlerError> {
        let is_apart = !failpoint!("process::read_again_what_is_apart");
        if is_apart && self.kept.is_withheld(event.position, &Id::from("")) {
            return Ok(None);
        }
        let step = StoredStep::Event(event.position.get());
        Ok(self.route(event)?.filter(|id| !(is_apart && self.kept.is_aside(id, step))))
    }

    /// Whose `event` is was known once. Without knowing it now, its instance could lose it: after the last retry the
    /// process stops. Returns when it is tried again.
    fn not_routed_again(
        &mut self,
        event: &RecordedEvent,
        cause: HandlerError,
        failures: u32,
    ) -> Result<Instant, Interrupt> {
        let (at, cause) = (step_event(event).to_string(), told::by_handler(cause));
        if let Some(delay) = self.desk.on_error.delay_after(failures) {
            self.desk.shared.retrying(at, failures, cause.to_string());
            return Ok(Instant::now() + delay);
        }
        let step = StoredStep::Route(event.position.get());
        let stopped = self.stop_at(&Id::from(""), Failed { step, at, cause }, failures);
        Err(stopped.err().unwrap_or(Interrupt::Again))
    }
}
