//! Runs one command: loads, decides, appends, and retries after a conflict.

use super::{ExecuteResult, Repository};
use crate::log::commit::outcome::{AppendError, Appended};
use crate::log::commit::{Commit, EncodedCommit};
use crate::model::aggregate::{Aggregate, fold};
use crate::model::event_set;
use crate::model::repository::backoff;
use crate::model::repository::cache::Known;
use crate::model::repository::outcome::{ExecuteError, Executed};
use crate::value::error::Result;
use crate::value::event::{Metadata, NewEvent};
use crate::value::position::{ExpectedVersion, Version};
use crate::value::stream::StreamId;
use uuid::Uuid;

impl<A: Aggregate> Repository<A> {
    /// Attempts the command until it succeeds or has no retries left.
    pub(super) fn execute_now(
        &self,
        stream: &StreamId,
        command: &A::Command,
        metadata: &Metadata,
    ) -> ExecuteResult<A> {
        let mut retries = 0;
        loop {
            let turn = self.memory.locks.take(stream);
            let tried = self.attempt(stream, command, metadata);
            drop(turn);
            match tried {
                Err(ExecuteError::Conflict(conflict)) if retries == self.retries => {
                    // The other writer may have executed this same command, sent twice.
                    let known = self.newest(stream, metadata.command_id.is_some())?;
                    let executed = self.executed_before(stream, &known, metadata.command_id)?;
                    let executed = executed.ok_or(ExecuteError::Conflict(conflict))?;
                    return Ok(Executed { retries, ..executed });
                }
                Err(ExecuteError::Conflict(_)) => {
                    retries += 1;
                    std::thread::sleep(backoff::wait(retries));
                }
                tried => return tried.map(|executed| Executed { retries, ..executed }),
            }
        }
    }

    /// One attempt: load, decide, append.
    fn attempt(
        &self,
        stream: &StreamId,
        command: &A::Command,
        metadata: &Metadata,
    ) -> ExecuteResult<A> {
        let mut known = self.newest(stream, metadata.command_id.is_some())?;
        if let Some(executed) = self.executed_before(stream, &known, metadata.command_id)? {
            return Ok(executed);
        }
        let decided = known.state.decide(command).map_err(ExecuteError::Rejected)?;
        // Apply the events as they will be loaded; they may lack fields that serde skips.
        let mut events = Vec::with_capacity(decided.len());
        if !decided.is_empty() {
            let mut new = Vec::with_capacity(decided.len());
            for event in &decided {
                let (event, stored) = event_set::write(event)?;
                new.push(event.metadata(metadata.clone()));
                events.push(stored);
            }
            let appended = self.append(stream, known.version, new)?;
            fold(&mut known.state, &events);
            known.version = appended.version;
            known.position = appended.position;
            if let (Some(commands), Some(id)) = (&known.commands, metadata.command_id) {
                commands.answered(id, appended.version);
            }
            self.remember(stream, &mut known);
        }
        Ok(executed(known, events, false))
    }

    fn append(
        &self,
        stream: &StreamId,
        expected: Version,
        new: Vec<NewEvent>,
    ) -> Result<Appended, AppendError> {
        let commit = Commit::new().append(stream, ExpectedVersion::Exact(expected), new);
        let committed = self.log.engine().commit(EncodedCommit::new(commit)?)?;
        let appended = committed.appended.into_iter().next();
        Ok(appended.expect("a commit with one append has appended once"))
    }

    /// The outcome of the command with this id, if it has run.
    fn executed_before(
        &self,
        stream: &StreamId,
        known: &Known<A>,
        command: Option<Uuid>,
    ) -> Result<Option<Executed<A>>> {
        let (Some(command), Some(commands)) = (command, &known.commands) else { return Ok(None) };
        let Some(version) = commands.ran(command) else { return Ok(None) };
        let mut events = Vec::new();
        for event in self.backwards(stream, version) {
            let event = event?;
            if event.metadata.command_id != Some(command) {
                break;
            }
            events.push(event.decode::<A::Event>()?);
        }
        events.reverse();
        let then = self.at(stream, version)?;
        Ok(Some(executed(then, events, true)))
    }
}

fn executed<A: Aggregate>(
    known: Known<A>,
    events: Vec<A::Event>,
    already_executed: bool,
) -> Executed<A> {
    let Known { state, version, position, .. } = known;
    Executed { state, version, position, events, already_executed, view_lagging: false, retries: 0 }
}
