//! A commit: the caller's builder, and the way from there to the journal.

pub(crate) mod admission;
pub(crate) mod admit;
mod assembly;
pub(crate) mod condition;
pub(crate) mod encoded;
mod excluded;
pub(crate) mod gather;
pub(crate) mod group;
mod in_group;
pub(crate) mod judging;
pub(crate) mod outcome;
#[cfg(feature = "erasure")]
pub(crate) mod private;
pub(crate) mod promise;
pub(crate) mod queue;
mod recorded;
#[cfg(feature = "erasure")]
mod sealing;
mod tagged;
pub(crate) mod turns;
#[cfg(test)]
mod turns_tests;

use crate::codec::record::Record;
use crate::log::commit::condition::Condition;
use crate::log::commit::encoded::EncodedCommit;
use crate::value::error::{Error, Result};
use crate::value::event::NewEvent;
use crate::value::filter::Filter;
use crate::value::position::{ExpectedVersion, Position};
use crate::value::stream::StreamId;

/// Events for one or several streams that become durable together or not at all.
///
/// Each stream is named once, either to be appended to or only to be checked.
///
/// ```
/// use filmstrip::{Commit, ExpectedVersion, NewEvent, Store, Version};
/// let store = Store::temporary()?;
/// store.append("Account-a", ExpectedVersion::NoStream, [NewEvent::json("Opened", &100)?])?;
///
/// let transfer = Commit::new()
///     .append("Account-a", Version::new(1), [NewEvent::json("Withdrawn", &30)?])
///     .append("Account-b", ExpectedVersion::NoStream, [NewEvent::json("Deposited", &30)?]);
/// let done = store.commit(transfer)?;
/// assert_eq!(done.position.get(), 3);
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a commit does nothing until `Store::commit` takes it"]
pub struct Commit {
    encoded: EncodedCommit,
    /// The first error in the builder's arguments.
    fault: Option<Error>,
}

impl Commit {
    /// Makes an empty commit.
    pub fn new() -> Commit {
        Commit::default()
    }

    /// Appends `events` to `stream`, if its version is as `expected`.
    pub fn append<S>(
        mut self,
        stream: S,
        expected: impl Into<ExpectedVersion>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Commit
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        if let Some(stream) = self.stream(stream)
            && let Err(fault) = self.encoded.append(stream, expected.into(), events)
        {
            self.fault = Some(fault);
        }
        self
    }

    /// Writes nothing to `stream`, but commits only if its version is as `expected`.
    pub fn check<S>(mut self, stream: S, expected: impl Into<ExpectedVersion>) -> Commit
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        if let Some(stream) = self.stream(stream) {
            self.encoded.checks.push((stream, expected.into()));
        }
        self
    }

    /// Commits only if no event that `filter` accepts was recorded after `after`: the condition for what one decision
    /// depends on, whatever the streams. All conditions of a commit must hold, and all of its expected versions.
    ///
    /// `after` is the position up to which you know the log: take the head, read up to it what the decision depends on,
    /// and give the same position to the condition. The event at `after` and those before it do not matter. After
    /// [`Position::START`], no such event may ever have been recorded: a name is free, an address is not taken. The
    /// commit's own events do not matter either.
    ///
    /// If an event matches, nothing is written, and the error is [`AppendError::Matched`](crate::AppendError::Matched)
    /// with the position of the first one. Then read on from `after`, and decide again. A commit with conditions only,
    /// or with conditions and checks, writes nothing: if they hold, its position is the head for which they hold.
    ///
    /// ```
    /// use filmstrip::{AppendError, Commit, ExpectedVersion, Filter, NewEvent, Position, Store};
    /// let store = Store::temporary()?;
    /// let register = |user: &str, address: &str| {
    ///     let tag = format!("email:{address}");
    ///     let event = NewEvent::json("Registered", &address)?.tag(&tag);
    ///     let commit = Commit::new()
    ///         .append(format!("User-{user}"), ExpectedVersion::NoStream, [event])
    ///         .unless(Filter::tag(tag), Position::START);
    ///     Ok::<_, filmstrip::Error>(store.commit(commit))
    /// };
    /// register("1", "ada@example.org")?.expect("the address is free");
    /// match register("2", "ada@example.org")? {
    ///     Err(AppendError::Matched(matched)) => assert_eq!(matched.position, Position::new(1)),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// A commit that is sent again, with the same events and conditions, is recognised if its conditions exclude one of
    /// its own events, also if it appends with [`ExpectedVersion::Any`]: it writes nothing, and
    /// [`already_recorded`](crate::Committed::already_recorded) is true. If its filters accept none of its events, and
    /// it appends with `Any`, it is not recognised.
    ///
    /// Events are compared as they were recorded: one that a stream no longer shows matches for as long as it is in the
    /// log. That something is over must be said by an event. A filter of streams, tags or event types is cheap; one of
    /// whole categories is a read of all events after `after`, and is refused after the start.
    pub fn unless(mut self, filter: Filter, after: impl Into<Position>) -> Commit {
        if self.fault.is_none() {
            match Condition::new(filter, after.into()) {
                Ok(condition) => self.encoded.unless(condition),
                Err(fault) => self.fault = Some(fault),
            }
        }
        self
    }

    /// Records, together with these events, that `consumer` has ingested another log up to `position`. A position that
    /// is not past the one recorded before is refused as [`AlreadyTracked`](crate::ErrorKind::AlreadyTracked).
    ///
    /// A commit whose events are recorded already is a repetition. If its checks hold and all of its positions are past
    /// the recorded ones, it records them; if only some are, it is `AlreadyTracked`; if none is, everything was
    /// recorded before.
    pub fn tracking(mut self, consumer: impl Into<String>, position: Position) -> Commit {
        let (consumer, position) = (consumer.into(), position.get());
        self.encoded.records.push(Record::Tracked { consumer, position });
        self
    }

    /// Stores `value` under `key` in the engine's own keyed state, together with these events. An empty value removes
    /// the key.
    pub(crate) fn state(mut self, key: impl Into<String>, value: Vec<u8>) -> Commit {
        self.encoded.records.push(Record::State { key: key.into(), value });
        self
    }

    /// Converts `stream`; `None` after the first error, because nothing is encoded after it.
    fn stream<S>(&mut self, stream: S) -> Option<StreamId>
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        if self.fault.is_some() {
            return None;
        }
        match stream.try_into() {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.fault = Some(error.into());
                None
            }
        }
    }
}

impl EncodedCommit {
    /// Checks `commit` as a whole, and returns what it has encoded.
    pub(crate) fn new(commit: Commit) -> Result<EncodedCommit> {
        let Commit { mut encoded, fault } = commit;
        if let Some(fault) = fault {
            return Err(fault);
        }
        encoded.complete()?;
        Ok(encoded)
    }
}
