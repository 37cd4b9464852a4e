//! The effects of a process: commands to aggregates, each of which runs once.

use crate::log::commit::outcome::AppendError;
use crate::log::handle::WeakLogHandle;
use crate::model::aggregate::Aggregate;
use crate::model::process::passing_on::Passed;
use crate::model::repository::Repository;
use crate::model::repository::kinds::Kinds;
use crate::model::repository::outcome::{ExecuteError, Executed};
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use std::fmt;
use uuid::Uuid;

/// What came of a command that an [effect](crate::ProcessManager::effect) has sent.
///
/// Both are answers, and neither is a failure: what stopped the command from being answered is the error that
/// [`Effects::execute`] returns instead.
#[must_use = "a rejection is an answer that the process may have to record; `into_result` makes it a failure"]
pub enum CommandOutcome<A: Aggregate> {
    /// It was executed, now or before.
    Done(Executed<A>),
    /// The aggregate rejected it, and nothing was written.
    Rejected(A::Error),
}

impl<A: Aggregate> fmt::Debug for CommandOutcome<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandOutcome::Done(Executed { version, .. }) => {
                f.debug_struct("Done").field("version", version).finish_non_exhaustive()
            }
            CommandOutcome::Rejected(why) => f.debug_tuple("Rejected").field(why).finish(),
        }
    }
}

impl<A: Aggregate> CommandOutcome<A> {
    /// Returns whether it was executed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, CommandOutcome::Done(_))
    }

    /// Returns a rejection as an error, for an effect that cannot go on after one: with `?` it is a failure, which is
    /// retried, and then parks the instance.
    ///
    /// # Errors
    /// The aggregate's rejection.
    pub fn into_result(self) -> Result<Executed<A>, A::Error> {
        match self {
            CommandOutcome::Done(executed) => Ok(executed),
            CommandOutcome::Rejected(why) => Err(why),
        }
    }
}

/// Executes the commands of an [effect](crate::ProcessManager::effect).
pub struct Effects<'a> {
    event: &'a RecordedEvent,
    passed: &'a Passed,
    executors: &'a Executors,
    /// Commands sent so far.
    given: u32,
}

impl<'a> Effects<'a> {
    pub(super) fn new(
        event: &'a RecordedEvent,
        passed: &'a Passed,
        executors: &'a Executors,
    ) -> Effects<'a> {
        Effects { event, passed, executors, given: 0 }
    }

    /// Returns the own event that this is the effect of, as it is in the instance's stream.
    #[must_use]
    pub fn event(&self) -> &'a RecordedEvent {
        self.event
    }

    /// Returns the id of the instance: what [`route`](crate::ProcessManager::route) returned for it. It does not borrow
    /// from `self`, so it can be passed to [`execute`](Effects::execute).
    #[must_use]
    pub fn id(&self) -> &'a str {
        self.event.stream.id().expect("the stream of an instance is named after it")
    }

    /// Executes a command on the aggregate `id` of this store, or of the repository that
    /// [`executes`](crate::process::ProcessBuilder::executes) set.
    ///
    /// The command's id is the UUID of version 5 of the own event's id and the command's place among those of this
    /// effect ("1", "2", …). So it runs once, however often the effect is repeated. Its events carry what the process
    /// [passes on](crate::process::PassOn) of the own event's metadata, and the own event's id as their causation id.
    ///
    /// A rejection is an answer: [`CommandOutcome::Rejected`].
    ///
    /// # Errors
    /// Failures of a store; return them with `?`, and the effect is tried again. A conflict, a full disk and a time-out
    /// are tried again for as long as it takes; others as often as
    /// [`on_error`](crate::process::ProcessBuilder::on_error) says.
    pub fn execute<A: Aggregate>(
        &mut self,
        id: &str,
        command: &A::Command,
    ) -> Result<CommandOutcome<A>> {
        self.given += 1;
        let mut metadata = self.passed.metadata(Some(self.event.id));
        metadata.command_id = Some(command_id(self.event.id, self.given));
        match self.executors.repository::<A>()?.execute_with(id, command, metadata) {
            Ok(executed) => Ok(CommandOutcome::Done(executed)),
            Err(ExecuteError::Rejected(why)) => Ok(CommandOutcome::Rejected(why)),
            Err(ExecuteError::Conflict(conflict)) => Err(AppendError::Conflict(conflict).into()),
            Err(ExecuteError::Store(error)) => Err(error),
        }
    }
}

fn command_id(event: Uuid, place: u32) -> Uuid {
    if failpoint!("process::give_commands_new_ids") {
        return Uuid::now_v7();
    }
    Uuid::new_v5(&event, place.to_string().as_bytes())
}

/// The repositories that a process executes commands with: of this log, unless another one is put. They keep no store
/// open.
pub(super) struct Executors {
    pub(super) log: WeakLogHandle,
    pub(super) kinds: Kinds,
}

impl Executors {
    fn repository<A: Aggregate>(&self) -> Result<Repository<A>> {
        self.kinds.get_or_make(|| self.log.upgrade())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_command_is_that_of_its_event_and_its_place() {
        let event = Uuid::from_u128(1);
        let expected = "c6ae59cd-4100-5d14-850d-f8202b722a98";
        assert_eq!(command_id(event, 1).to_string(), expected);
        assert_ne!(command_id(event, 2), command_id(event, 1));
    }
}
