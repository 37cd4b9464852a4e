//! What a transaction returns.

use crate::log::commit::outcome::{Appended, Committed};
use crate::log::core::Log;
use crate::log::read::all::{AllEvents, AllRange};
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::model::aggregate::Aggregate;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use uuid::Uuid;

/// What an aggregate has decided within a transaction. It is recorded when the transaction is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DecidedPart<A: Aggregate> {
    /// The events; empty if there was nothing to do.
    pub events: Vec<A::Event>,
    /// The state after these events.
    pub state: A,
    /// The stream's version after these events.
    pub version: Version,
}

/// The outcome of a transaction. Its events are durable.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Transacted<T> {
    /// What the closure returned; `None` if the transaction had run before: its events are kept, and what its closure
    /// returned is not.
    pub outcome: Option<T>,
    /// A transaction with this command id has run before, and this is what it recorded.
    pub already_executed: bool,
    /// What was appended to each stream, in the order in which the closure asked for the streams; empty if nothing was
    /// decided.
    pub appended: Vec<Appended>,
    /// The position of the last of these events; the head if there are none.
    pub position: Position,
    /// The ids of all these events, in the order of their positions, which follow each other up to `position`.
    pub event_ids: Vec<Uuid>,
    /// When they were recorded; `None` if there are none.
    pub recorded_at: Option<DateTime<Utc>>,
    /// How often another writer was faster, so that the closure ran again.
    pub retries: u32,
}

impl<T> Transacted<T> {
    pub(super) fn nothing(outcome: T, head: Position) -> Transacted<T> {
        Transacted {
            outcome: Some(outcome),
            already_executed: false,
            appended: Vec::new(),
            position: head,
            event_ids: Vec::new(),
            recorded_at: None,
            retries: 0,
        }
    }

    pub(super) fn recorded(
        outcome: T,
        committed: Committed,
        event_ids: Vec<Uuid>,
        time: DateTime<Utc>,
    ) -> Transacted<T> {
        let Committed { appended, position, .. } = committed;
        Transacted {
            outcome: Some(outcome),
            already_executed: false,
            appended,
            position,
            event_ids,
            recorded_at: Some(time),
            retries: 0,
        }
    }

    /// The transaction of which one event is at `version` of `stream`: the events around it that answer the same
    /// command.
    pub(super) fn before(log: &Arc<Log>, stream: &StreamId, version: Version) -> Result<Self> {
        let range =
            StreamRange { first: version.get(), last: version.get(), backwards: false, limit: 1 };
        let one = StreamEvents::new(Arc::clone(log), stream.clone(), range).next();
        let one = one.expect("a read of one version yields an event or an error")?;
        let at = one.position.get();
        let mut events = neighbours(log, &one, 1..=at - 1, true)?;
        events.reverse();
        let after = neighbours(log, &one, at + 1..=log.head.position(), false)?;
        let recorded_at = Some(one.recorded_at);
        events.push(one);
        events.extend(after);
        Ok(Transacted {
            outcome: None,
            already_executed: true,
            appended: appended_before(&events),
            position: events.last().map_or(Position::START, |event| event.position),
            event_ids: events.iter().map(|event| event.id).collect(),
            recorded_at,
            retries: 0,
        })
    }
}

/// What a commit of these events has appended, which was recorded before.
pub(crate) fn appended_before(events: &[RecordedEvent]) -> Vec<Appended> {
    let mut appended: Vec<Appended> = Vec::new();
    for event in events {
        let last = appended.last_mut().filter(|last| last.stream == event.stream);
        match last {
            Some(last) => (last.version, last.position) = (event.version, event.position),
            None => appended.push(Appended {
                stream: event.stream.detached(),
                first: event.version,
                version: event.version,
                position: event.position,
                already_recorded: true,
            }),
        }
    }
    appended
}

/// The events next to `one` in these positions that answer the same command and were recorded at the same time.
fn neighbours(
    log: &Arc<Log>,
    one: &RecordedEvent,
    positions: std::ops::RangeInclusive<u64>,
    backwards: bool,
) -> Result<Vec<RecordedEvent>> {
    let (first, last) = positions.into_inner();
    let range = AllRange { first, last, backwards, limit: u64::MAX, filter: Filter::all() };
    let answers = |event: &RecordedEvent| {
        event.metadata.command_id == one.metadata.command_id && event.recorded_at == one.recorded_at
    };
    let events = AllEvents::new(Arc::clone(log), range);
    events.take_while(|event| event.as_ref().map_or(true, answers)).collect()
}
