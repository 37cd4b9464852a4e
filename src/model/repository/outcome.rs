//! What a command and a load return, and how a command can fail.

use crate::log::commit::outcome::{AppendError, Conflict};
use crate::model::aggregate::Aggregate;
use crate::value::error::{Error, ErrorKind};
use crate::value::event::RecordedEvent;
use crate::value::position::{Position, Version};
use chrono::{DateTime, Utc};
use std::any::Any;
use std::fmt;
use uuid::Uuid;

/// The outcome of a command. Its events are durable.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Executed<A: Aggregate> {
    /// The aggregate's state after these events.
    pub state: A,
    /// Its stream's version after these events.
    pub version: Version,
    /// The position of the last of these events; if there are none, of the last one before.
    pub position: Position,
    /// The events that it decided; empty if there was nothing to do.
    pub events: Vec<A::Event>,
    /// The ids of these events, in the same order. Their positions follow each other up to `position`.
    pub event_ids: Vec<Uuid>,
    /// When they were recorded; `None` if there are none.
    pub recorded_at: Option<DateTime<Utc>>,
    /// A command with this id has run before, and this is its first outcome.
    pub already_executed: bool,
    /// The view to wait for does not hold these events yet; see
    /// [`Repository::wait_for_view`](crate::Repository::wait_for_view).
    pub view_lagging: bool,
    /// How often another writer was faster, so that the command was decided again.
    pub retries: u32,
}

/// Why a command failed.
///
/// `?` turns it into an [`Error`]; a rejection becomes one of the kind [`Rejected`](ErrorKind::Rejected), whose
/// [source](std::error::Error::source) is the aggregate's own error:
///
/// ```
/// # use filmstrip::{Aggregate, ErrorKind, Event, Metadata, Store};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Clone, Serialize, Deserialize)]
/// # enum StockEvent { Sold }
/// # impl Event for StockEvent {}
/// # #[derive(Debug, PartialEq)]
/// # struct SoldOut;
/// # impl std::fmt::Display for SoldOut {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("sold out") }
/// # }
/// # impl std::error::Error for SoldOut {}
/// # #[derive(Default, Clone)]
/// # struct Stock;
/// # impl Aggregate for Stock {
/// #     const CATEGORY: &'static str = "Stock";
/// #     type Command = ();
/// #     type Event = StockEvent;
/// #     type Error = SoldOut;
/// #     fn decide(&self, _: &()) -> Result<Vec<StockEvent>, SoldOut> { Err(SoldOut) }
/// #     fn evolve(&mut self, _: &StockEvent) {}
/// # }
/// use std::error::Error as _;
///
/// fn sell(store: &Store) -> filmstrip::Result<()> {
///     store.repository::<Stock>().execute("tea", &())?;
///     Ok(())
/// }
///
/// fn sell_two(store: &Store) -> filmstrip::Result<()> {
///     store.transact(Metadata::default(), |tx| -> filmstrip::Result<()> {
///         tx.execute::<Stock>("tea", &())?;
///         tx.execute::<Stock>("coffee", &())?;
///         Ok(())
///     })?;
///     Ok(())
/// }
///
/// let store = Store::temporary()?;
/// for error in [sell(&store).unwrap_err(), sell_two(&store).unwrap_err()] {
///     assert_eq!(error.kind(), ErrorKind::Rejected);
///     assert_eq!(error.source().and_then(|why| why.downcast_ref()), Some(&SoldOut));
///     assert_eq!(error.to_string(), "the command was rejected: sold out");
/// }
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ExecuteError<E> {
    /// The aggregate rejected it; nothing was written.
    Rejected(E),
    /// Another writer wrote to the stream during each attempt; nothing was written.
    Conflict(Conflict),
    /// Anything else. If it is [`OutcomeUnknown`](ErrorKind::OutcomeUnknown), its events may be
    /// durable, and the store refuses further writes: reopen it and send the command again with the
    /// same id.
    Store(Error),
}

impl<E: fmt::Display> fmt::Display for ExecuteError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExecuteError::Rejected(reason) => reason.fmt(f),
            ExecuteError::Conflict(conflict) => conflict.fmt(f),
            ExecuteError::Store(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for ExecuteError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ExecuteError::Rejected(reason) => Some(reason),
            ExecuteError::Conflict(conflict) => Some(conflict),
            ExecuteError::Store(error) => Some(error),
        }
    }
}

impl<E> From<Error> for ExecuteError<E> {
    fn from(error: Error) -> ExecuteError<E> {
        ExecuteError::Store(error)
    }
}

impl<E> From<AppendError> for ExecuteError<E> {
    fn from(error: AppendError) -> ExecuteError<E> {
        match error {
            AppendError::Conflict(conflict) => ExecuteError::Conflict(conflict),
            error => ExecuteError::Store(error.into()),
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<ExecuteError<E>> for Error {
    fn from(error: ExecuteError<E>) -> Error {
        match error {
            ExecuteError::Rejected(reason) => rejection("the command", reason),
            ExecuteError::Conflict(conflict) => AppendError::Conflict(conflict).into(),
            ExecuteError::Store(error) => error,
        }
    }
}

/// The error that `what` was rejected, because of `reason`.
pub(crate) fn rejection<E>(what: &str, reason: E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    match known_rejection(&reason) {
        Some(error) => error.clone(),
        None => {
            let message = format!("{what} was rejected: {reason}");
            Error::with_source(ErrorKind::Rejected, message, reason)
        }
    }
}

/// `reason` as it is, if it is a rejection already: that of a command within a transaction, whose closure passed it on.
fn known_rejection<E: 'static>(reason: &E) -> Option<&Error> {
    let error = (reason as &dyn Any).downcast_ref::<Error>()?;
    (error.kind() == ErrorKind::Rejected).then_some(error)
}

/// An aggregate's state at some point of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<A> {
    /// The state; the default one if there was no event yet.
    pub state: A,
    /// The version of the last event in it, 0 if there is none.
    pub version: Version,
    /// The position of the last event in it, the start if there is none.
    pub position: Position,
}

/// A moment to load a state as of. Everything up to it is included, and so is what is at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AsOf {
    /// After the event of this version.
    Version(Version),
    /// After everything up to this position.
    Position(Position),
    /// After everything recorded at or before this time.
    Time(DateTime<Utc>),
}

impl From<Version> for AsOf {
    fn from(version: Version) -> AsOf {
        AsOf::Version(version)
    }
}

impl From<Position> for AsOf {
    fn from(position: Position) -> AsOf {
        AsOf::Position(position)
    }
}

impl From<DateTime<Utc>> for AsOf {
    fn from(time: DateTime<Utc>) -> AsOf {
        AsOf::Time(time)
    }
}

/// One event of an aggregate's history, with the state after it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HistoryEntry<A: Aggregate> {
    /// The event as the store holds it, with its time and metadata.
    pub event: RecordedEvent,
    /// The event as a value of the event set.
    pub decoded: A::Event,
    /// The state after it.
    pub state: A,
}
