//! Runs one command: loads, decides, appends, and retries after a conflict.

use super::{ExecuteResult, Repository};
use crate::model::aggregate::Aggregate;
use crate::model::repository::backoff;
use crate::model::repository::cache::Known;
use crate::model::repository::commit::{Failed, commit, stand};
use crate::model::repository::outcome::{ExecuteError, Executed};
use crate::model::repository::part::{Part, Trust};
use crate::model::repository::turn;
use crate::value::clock::Micros;
use crate::value::error::Result;
use crate::value::event::Metadata;
use crate::value::failpoint::failpoint;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// How one attempt ended, unless it failed for good.
enum Attempt<A: Aggregate> {
    Done(Executed<A>),
    Failed(Failed),
}

impl<A: Aggregate> Repository<A> {
    /// Attempts the command until it succeeds or has no retries left.
    pub(super) fn execute_now(
        &self,
        stream: &StreamId,
        command: &A::Command,
        metadata: &Metadata,
    ) -> ExecuteResult<A> {
        let (mut retries, mut trust) = (0, Trust::Handed);
        loop {
            match self.attempt(stream, command, metadata, trust)? {
                Attempt::Done(executed) => return Ok(Executed { retries, ..executed }),
                // Another command's conflict is no conflict of this one, and happens to it once at most.
                Attempt::Failed(Failed::Superseded) => trust = Trust::Durable,
                Attempt::Failed(Failed::Conflict(conflict)) if retries == self.retries => {
                    // The other writer may have executed this same command, sent twice.
                    let part = self.part(stream, None, metadata, Trust::Durable)?;
                    let executed = self.executed_before(stream, part.ran_before(), metadata)?;
                    let executed = executed.ok_or(ExecuteError::Conflict(conflict))?;
                    return Ok(Executed { retries, ..executed });
                }
                Attempt::Failed(Failed::Conflict(_)) => {
                    (retries, trust) = (retries + 1, Trust::Handed);
                    std::thread::sleep(backoff::wait(retries));
                }
                Attempt::Failed(Failed::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// One attempt: load, decide, append.
    fn attempt(
        &self,
        stream: &StreamId,
        command: &A::Command,
        metadata: &Metadata,
        trust: Trust,
    ) -> Result<Attempt<A>, ExecuteError<A::Error>> {
        let turn = turn::take(&self.log, stream);
        let mut part = self.part(stream, turn, metadata, trust)?;
        if let Some(executed) = self.executed_before(stream, part.ran_before(), metadata)? {
            return Ok(Attempt::Done(executed));
        }
        let decided = part.decide(command);
        if !matches!(decided, Ok(1..)) {
            if !stand(&mut [&mut part]) && !failpoint!("model::reject_on_a_queued_state") {
                return Ok(Attempt::Failed(Failed::Superseded));
            }
            decided?;
            return Ok(Attempt::Done(executed(part, None)));
        }
        match commit(self.log.engine(), &mut [&mut part]) {
            Ok((_, time)) => Ok(Attempt::Done(executed(part, Some(time)))),
            Err(failed) => Ok(Attempt::Failed(failed)),
        }
    }

    /// The outcome of the command, if its last event is at `version`.
    fn executed_before(
        &self,
        stream: &StreamId,
        version: Option<Version>,
        metadata: &Metadata,
    ) -> Result<Option<Executed<A>>> {
        let Some(version) = version else { return Ok(None) };
        let (mut events, mut event_ids, mut recorded_at) = (Vec::new(), Vec::new(), None);
        for event in self.backwards(stream, version) {
            let event = event?;
            if event.metadata.command_id != metadata.command_id {
                break;
            }
            events.push(event.decode::<A::Event>()?);
            event_ids.push(event.id);
            recorded_at = Some(event.recorded_at);
        }
        events.reverse();
        event_ids.reverse();
        let then = self.at(stream, version)?;
        Ok(Some(outcome(then, events, event_ids, recorded_at, true)))
    }
}

fn executed<A: Aggregate>(part: Part<A>, time: Option<Micros>) -> Executed<A> {
    let (known, events, ids) = part.end();
    outcome(known, events, ids, time.map(Micros::to_utc), false)
}

fn outcome<A: Aggregate>(
    known: Known<A>,
    events: Vec<A::Event>,
    event_ids: Vec<Uuid>,
    recorded_at: Option<DateTime<Utc>>,
    already_executed: bool,
) -> Executed<A> {
    let Known { state, version, position, .. } = known;
    Executed {
        state,
        version,
        position,
        events,
        event_ids,
        recorded_at,
        already_executed,
        view_lagging: false,
        retries: 0,
    }
}
