//! The store: the handle that a user holds.

pub(crate) mod backup;
pub(crate) mod builder;
pub(crate) mod causation;
pub(crate) mod copy;
pub(crate) mod directory;
mod export_target;
pub(crate) mod figures;
#[cfg(feature = "erasure")]
pub(crate) mod forgetting;
pub(crate) mod health;
mod history;
mod model;
pub(crate) mod reads;
#[cfg(feature = "metrics")]
mod record_metrics;
pub(crate) mod repair;
mod replication;
mod scratch;
mod segments;
mod stats;
pub(crate) mod verify;
pub(crate) mod weak;

#[cfg(test)]
mod as_json;
#[cfg(test)]
mod records;
#[cfg(test)]
mod unreadable;

use crate::log::read::stream_info::StreamInfo;
#[cfg(feature = "async")]
pub(crate) use reads::stream_info;
pub use reads::{ReadAll, ReadStream, Streams};

use crate::follow::group::ConsumerGroup;
use crate::follow::group::registry::Groups;
use crate::follow::live::roster::Roster;
use crate::follow::open_subscriptions::OpenSubscriptions;
use crate::follow::subscription::SubscriptionBuilder;
use crate::journal::torn::TornWrite;
use crate::log::commit::Commit;
use crate::log::commit::encoded::{EncodedCommit, check_name};
use crate::log::commit::gather::tracked;
use crate::log::commit::outcome::{AppendError, Appended, Committed};
use crate::log::handle::LogHandle;
use crate::model::process::registry::Processes;
use crate::model::projection::registry::Projections;
use crate::model::relay::registry::Relays;
use crate::model::repository::kinds::Kinds;
use crate::storage::held::Held;
use crate::telemetry::context;
use crate::value::error::{Error, Result};
use crate::value::event::{Metadata, NewEvent};
use crate::value::position::{ExpectedVersion, Position};
use crate::value::stream::StreamId;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// An open event store. The handle is cheap to clone, and made to be shared.
///
/// A store is a directory. One process at a time has it open for writing; within it, any number of threads use clones
/// of this handle. The store closes when the last handle is dropped; [`close`](Store::close) also returns errors. A
/// command that a process or a bus runs at that moment holds a handle until it is done.
/// What was made from a store and uses it (a subscription, a consumer, a repository, a bus, an iterator, the handle of
/// a projection) keeps it open in the same way. What the store runs itself, such as a projection, runs as long as the
/// store is open, so it holds a [`WeakStore`](crate::WeakStore) if it needs the store.
///
/// A store belongs to the process that opened it. In a process that was forked from it, each call returns
/// [`Forked`](crate::ErrorKind::Forked), and dropping a handle changes nothing for the parent. So open stores after
/// a fork, not before.
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store, Version};
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("customers");
/// let store = Store::open(&path)?;
/// let registered = NewEvent::json("CustomerRegistered", &serde_json::json!({"name": "Alice"}))?;
/// store.append("Customer-1001", ExpectedVersion::NoStream, [registered])?;
/// let moved = NewEvent::json("AddressUpdated", &serde_json::json!({"city": "Cambridge"}))?;
/// store.append("Customer-1001", Version::new(1), [moved])?;
/// store.close()?;
///
/// let store = Store::open(&path)?;
/// let types: Vec<String> = store
///     .read_stream("Customer-1001")
///     .iter()?
///     .map(|event| Ok(event?.event_type.to_string()))
///     .collect::<filmstrip::Result<_>>()?;
/// assert_eq!(types, ["CustomerRegistered", "AddressUpdated"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Store {
    pub(crate) log: LogHandle,
    parts: Arc<StoreParts>,
}

/// What all handles of an open store share besides its log.
struct StoreParts {
    directory: Arc<Held>,
    projections: Arc<Projections>,
    groups: Arc<Groups>,
    live: Arc<Roster>,
    subscriptions: Arc<OpenSubscriptions>,
    processes: Arc<Processes>,
    relays: Arc<Relays>,
    /// What transactions load from.
    kinds: Arc<Kinds>,
}

impl Store {
    /// The store's directory: an absolute path, whose symbolic links were resolved when it was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.parts.directory.path()
    }

    /// Appends `events` to `stream`, if its version is as `expected`. When this returns, they are durable: they survive
    /// a power cut.
    ///
    /// Appending the same event ids with the same content again, with `NoStream` or `Exact`, writes
    /// nothing and returns their versions and positions, so a caller that lost the reply can simply retry.
    ///
    /// # Errors
    /// * [`AppendError::Conflict`]: nothing was written; read the stream and decide again.
    /// * [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown): the events may be durable. The store
    ///   refuses further writes; reopen it and read the stream.
    /// * Others: nothing was written.
    ///
    /// ```
    /// use filmstrip::{AppendError, ExpectedVersion, NewEvent, Store, Version};
    /// let store = Store::temporary()?;
    /// let opened = || NewEvent::json("Opened", &());
    /// store.append("Door-1", ExpectedVersion::NoStream, [opened()?])?;
    /// match store.append("Door-1", Version::new(7), [opened()?]) {
    ///     Err(AppendError::Conflict(conflict)) => assert_eq!(conflict.actual, Version::new(1)),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    pub fn append<S>(
        &self,
        stream: S,
        expected: impl Into<ExpectedVersion>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Appended, AppendError>
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        let committed = self.commit(Commit::new().append(stream, expected, events))?;
        let appended = committed.appended.into_iter().next();
        Ok(appended.expect("a commit with one append has appended once"))
    }

    /// Makes a commit durable, as a whole or not at all.
    ///
    /// # Errors
    /// As for [`append`](Store::append); also [`AppendError::Matched`], if a [condition](Commit::unless) does not hold,
    /// and [`AlreadyTracked`](crate::ErrorKind::AlreadyTracked).
    pub fn commit(&self, commit: Commit) -> Result<Committed, AppendError> {
        self.log.engine().commit(EncodedCommit::new(commit)?)
    }

    /// Returns metadata for events that the application appends itself on this thread: the causation and correlation
    /// ids of the event that the thread handles, and the `traceparent` of its trace, as far as they are known.
    ///
    /// Repositories, transactions, buses and processes fill this in without being asked. An append does not, because it
    /// must be the same, byte by byte, when it is repeated: so make the metadata once, and repeat the append with it.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::default();
        context::stamp(&mut metadata, self.log.log().observers.traces());
        metadata
    }

    /// Returns the position up to which `consumer` has ingested another log, as [`Commit::tracking`] recorded it; the
    /// start if it never did.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a name that is not valid for a consumer.
    pub fn tracked(&self, consumer: &str) -> Result<Position> {
        check_name("a consumer's", consumer)?;
        self.log.log().refuse_if_closed()?;
        tracked(self.log.log(), consumer).map(Position::new)
    }

    /// Reads one stream.
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, NewEvent, Store, Version};
    /// let store = Store::temporary()?;
    /// let steps = (1..=5).map(|n| NewEvent::json("Stepped", &n)).collect::<Result<Vec<_>, _>>()?;
    /// store.append("Walk-1", ExpectedVersion::NoStream, steps)?;
    /// let last_two: Vec<i32> = store
    ///     .read_stream("Walk-1")
    ///     .backwards()
    ///     .limit(2)
    ///     .iter()?
    ///     .map(|event| event?.json())
    ///     .collect::<filmstrip::Result<_>>()?;
    /// assert_eq!(last_two, [5, 4]);
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    pub fn read_stream<S>(&self, stream: S) -> ReadStream
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        ReadStream::new(self.log.clone(), stream.try_into().map_err(Error::from))
    }

    /// Reads the global sequence: all events, in the order in which they became durable.
    pub fn read_all(&self) -> ReadAll {
        ReadAll::new(self.log.clone())
    }

    /// Returns what is known about a stream.
    ///
    /// # Errors
    /// [`StreamNotFound`](crate::ErrorKind::StreamNotFound) if it was never written.
    pub fn stream_info<S>(&self, stream: S) -> Result<StreamInfo>
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        reads::stream_info(&self.log, stream.try_into()?)
    }

    /// Lists the streams, in the order of their names.
    pub fn streams(&self) -> Streams {
        Streams::new(self.log.clone())
    }

    /// Returns the position of the last durable event; the start if there is none.
    #[must_use]
    pub fn head(&self) -> Position {
        self.log.log().head_position()
    }

    /// Returns how far the [clock](crate::StoreBuilder::clock) lags behind the time of the last commit: zero, unless
    /// the clock was set back, or was ahead when that commit was recorded.
    ///
    /// Recorded times never decrease along positions, so a read `as_of` a time ends at one position and never
    /// splits a commit. While the clock lags, commits get the time of the last one, and `as_of` a time in between
    /// includes everything before the clock was ahead, and nothing after. This ends when the clock passes that
    /// time. Recorded times cannot be changed. A lag of more than 5 s is logged as a warning, when the store is
    /// opened and when a commit meets it.
    ///
    /// ```
    /// use chrono::{TimeDelta, Utc};
    /// use filmstrip::testing::ManualClock;
    /// use filmstrip::{ExpectedVersion, NewEvent, Store};
    /// use std::time::Duration;
    /// # let directory = tempfile::tempdir()?;
    /// let clock = ManualClock::new(Utc::now() + TimeDelta::days(365));
    /// let store = Store::builder().clock(clock.clone()).open(directory.path())?;
    /// store.append("Door-1", ExpectedVersion::Any, [NewEvent::json("Opened", &())?])?;
    /// clock.set(Utc::now());
    /// assert!(store.clock_behind() > Duration::from_secs(364 * 86_400));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn clock_behind(&self) -> Duration {
        self.log.log().clock_behind()
    }

    /// Follows the log: first the recorded events, then new ones.
    pub fn subscribe(&self) -> SubscriptionBuilder {
        let (live, groups) = (Arc::clone(&self.parts.live), Arc::clone(&self.parts.groups));
        let open = Arc::clone(&self.parts.subscriptions);
        SubscriptionBuilder::new(self.log.clone(), live, open, groups)
    }

    /// Returns a handle to the consumer group `name`: its progress and its parked events. Start its consumers with
    /// [`SubscriptionBuilder::group`].
    #[must_use]
    pub fn group(&self, name: impl Into<String>) -> ConsumerGroup {
        ConsumerGroup::new(self.log.clone(), Arc::clone(&self.parts.groups), name.into())
    }

    /// Returns the incomplete last frame, if opening the store found one; a crash is nearly always the cause. None of
    /// it was acknowledged, unless it says so. Its bytes are kept in a file in the journal's directory.
    #[must_use]
    pub fn torn_write(&self) -> Option<&TornWrite> {
        self.log.log().torn()
    }

    /// Closes the store for every handle: finishes commits in flight, joins the engine's threads, and returns errors
    /// that `Drop` could only log. A caller whose commit is in flight may get its result a moment after this returns.
    /// Later calls return [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Errors
    /// Errors of closing. Nothing acknowledged is lost.
    pub fn close(self) -> Result<()> {
        self.log.close()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path()).field("head", &self.head()).finish()
    }
}
