//! One commit for all that instances have decided since the last one, and for what the journal does not know yet.
//!
//! * Its expected versions decide. If another writer has written to an instance's stream, nothing of the commit is
//!   there, and everything is decided again.

use crate::log::commit::outcome::{AppendError, Conflict};
use crate::model::process::conflicts::Conflicts;
use crate::model::process::contract::ProcessManager;
use crate::model::process::durable_state::{DurableState, Found};
use crate::model::process::listening::{Interrupt, Step};
use crate::model::process::runner::Runner;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{CHECKPOINT_EVENTS_MAX, INSTANCES_UNWRITTEN_MAX};
use crate::value::stream::StreamId;

impl<M: ProcessManager> Runner<M> {
    /// Writes what instances have decided; what can wait for the next commit waits, within its bounds.
    pub(super) fn commit_if_needed(&mut self) -> Step {
        let must = self.must_write
            || !self.plan.is_empty()
            || self.kept.lagging() >= INSTANCES_UNWRITTEN_MAX
            || self.kept.ahead() >= CHECKPOINT_EVENTS_MAX;
        if must { self.commit() } else { Ok(()) }
    }

    /// Writes what instances have decided, if it is so much that nothing may be added.
    pub(super) fn commit_if_large(&mut self) -> Step {
        match self.plan.is_large() && !failpoint!("process::add_to_a_large_commit") {
            true => self.commit(),
            false => Ok(()),
        }
    }

    /// Writes all that the journal does not know.
    pub(super) fn commit(&mut self) -> Step {
        match self.write() {
            Ok(()) => Ok(()),
            Err(AppendError::Conflict(conflict)) => self.conflicted(&conflict),
            Err(error) => Err(Error::from(error).into()),
        }
    }

    /// The same.
    pub(super) fn write(&mut self) -> Result<(), AppendError> {
        if self.plan.is_empty() && self.kept.ahead() == 0 && self.kept.lagging() == 0 {
            return Ok(());
        }
        self.kept.forget_given_up(&self.schedule);
        let records = self.kept.records(&self.schedule);
        let streams = match self.conflicts.is_empty() {
            true => Vec::new(),
            false => self.plan.streams(),
        };
        let commit = std::mem::take(&mut self.plan).into_commit(records);
        // Until it is known to be durable.
        self.stale = true;
        self.engine.commit(commit?)?;
        self.stale = false;
        self.must_write = false;
        streams.iter().for_each(|stream| self.conflicts.none(id_of(stream)));
        if failpoint!("process::forgive_conflicts_of_others") {
            self.conflicts = Conflicts::default();
        }
        self.replayed.clear();
        self.kept.written(&self.schedule);
        Ok(())
    }

    /// Somebody else has written to an instance's stream: all is decided again. If that is so time after time, the step
    /// of that instance fails when it is decided again.
    fn conflicted(&mut self, conflict: &Conflict) -> Step {
        self.conflicts.met(id_of(&conflict.stream));
        Err(Interrupt::Again)
    }

    /// After a commit that failed: makes memory again from the journal. What lanes have done meanwhile is done again.
    pub(super) fn reload_if_stale(&mut self) -> Result<(), Error> {
        if !self.stale {
            return Ok(());
        }
        let Found { kept, schedule, deadlines } = DurableState::load(self.engine.log(), M::NAME)?;
        (self.kept, self.schedule, self.deadlines) = (kept, schedule, deadlines);
        self.instances.clear();
        self.plan = super::plan::Plan::default();
        self.ran.clear();
        self.woken.clear();
        self.retries.clear();
        self.rereading = None;
        self.came_due = None;
        let schedule = &self.schedule;
        self.failing.retain(|id, _| schedule.is_active(id));
        self.stale = false;
        if !failpoint!("process::forget_replays") {
            self.resume_replays();
        }
        Ok(())
    }
}

/// The instance whose stream this is.
fn id_of(stream: &StreamId) -> &str {
    stream.id().unwrap_or_default()
}
