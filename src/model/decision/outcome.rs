//! What a decision leads to, and how it can fail.

use crate::log::commit::outcome::{AppendError, Appended, Committed, Matched};
use crate::model::event_set::set::Event;
use crate::model::repository::outcome::rejection;
use crate::model::transaction::outcome::appended_before;
use crate::value::clock::Micros;
use crate::value::error::{Error, Result};
use crate::value::event::RecordedEvent;
use crate::value::position::Position;
use chrono::{DateTime, Utc};
use std::fmt;
use uuid::Uuid;

/// The outcome of a decision. Its events are durable.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Decided<E> {
    /// The events that were decided, in the order of their positions; empty if there was nothing to do.
    pub events: Vec<E>,
    /// The ids of these events, in the same order. Their positions follow each other up to `position`.
    pub event_ids: Vec<Uuid>,
    /// What was appended to each stream, in the order in which the decision named them.
    pub appended: Vec<Appended>,
    /// The position of the last of these events. If there are none, the head that was decided on: no event after it was
    /// taken into account.
    pub position: Position,
    /// When they were recorded; `None` if there are none.
    pub recorded_at: Option<DateTime<Utc>>,
    /// A decision with this command id was recorded before, and these are its events.
    pub already_executed: bool,
    /// How often another writer was faster, so that it was decided again.
    pub retries: u32,
}

impl<E> Decided<E> {
    pub(super) fn nothing(head: Position) -> Decided<E> {
        Decided {
            events: Vec::new(),
            event_ids: Vec::new(),
            appended: Vec::new(),
            position: head,
            recorded_at: None,
            already_executed: false,
            retries: 0,
        }
    }

    pub(super) fn recorded(
        events: Vec<E>,
        event_ids: Vec<Uuid>,
        (committed, time): (Committed, Micros),
    ) -> Decided<E> {
        let Committed { appended, position, .. } = committed;
        Decided {
            events,
            event_ids,
            appended,
            position,
            recorded_at: Some(time.to_utc()),
            already_executed: false,
            retries: 0,
        }
    }

    /// What these events, which were recorded by one commit before, are the outcome of.
    pub(super) fn before(recorded: &[RecordedEvent]) -> Result<Decided<E>>
    where
        E: Event,
    {
        Ok(Decided {
            events: recorded.iter().map(RecordedEvent::decode).collect::<Result<_>>()?,
            event_ids: recorded.iter().map(|event| event.id).collect(),
            appended: appended_before(recorded),
            position: recorded.last().map_or(Position::START, |event| event.position),
            recorded_at: recorded.last().map(|event| event.recorded_at),
            already_executed: true,
            retries: 0,
        })
    }
}

/// Why a decision failed.
///
/// `?` turns it into an [`Error`]; a rejection becomes one of the kind [`Rejected`](crate::ErrorKind::Rejected), whose
/// [source](std::error::Error::source) is the decision's own error.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum DecideError<E> {
    /// The decision rejected it; nothing was written.
    Rejected(E),
    /// During each attempt another writer recorded an event that the decision depends on; nothing was written.
    Conflict(Matched),
    /// Anything else. If it is [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown), the events may be durable, and the
    /// store refuses further writes: reopen it and decide again, with the same command id.
    Store(Error),
}

impl<E: fmt::Display> fmt::Display for DecideError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecideError::Rejected(reason) => reason.fmt(f),
            DecideError::Conflict(matched) => matched.fmt(f),
            DecideError::Store(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for DecideError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DecideError::Rejected(reason) => Some(reason),
            DecideError::Conflict(matched) => Some(matched),
            DecideError::Store(error) => Some(error),
        }
    }
}

impl<E> From<Error> for DecideError<E> {
    fn from(error: Error) -> DecideError<E> {
        DecideError::Store(error)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<DecideError<E>> for Error {
    fn from(error: DecideError<E>) -> Error {
        match error {
            DecideError::Rejected(reason) => rejection("the decision", reason),
            DecideError::Conflict(matched) => AppendError::Matched(matched).into(),
            DecideError::Store(error) => error,
        }
    }
}
