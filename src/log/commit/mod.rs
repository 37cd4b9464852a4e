//! A commit: the caller's builder, and its encoded form, which is made before any lock is held.

pub(crate) mod admission;
pub(crate) mod admit;
mod assembly;
pub(crate) mod condition;
mod excluded;
pub(crate) mod gather;
pub(crate) mod group;
mod in_group;
pub(crate) mod judging;
pub(crate) mod outcome;
pub(crate) mod promise;
pub(crate) mod queue;
mod recorded;
pub(crate) mod turns;
#[cfg(test)]
mod turns_tests;

use crate::codec::digest::{DIGESTED_TOGETHER, Digest, digest, digest_each};
use crate::codec::entry;
use crate::codec::envelope;
use crate::codec::frame;
use crate::codec::record::Record;
use crate::log::commit::condition::{Condition, Conditions};
use crate::log::commit::promise::Promised;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::NewEvent;
use crate::value::filter::Filter;
use crate::value::limits::{
    COMMIT_BYTES_MAX, COMMIT_CONDITIONS_MAX, COMMIT_EVENTS_MAX, COMMIT_STREAMS_MAX,
    CONSUMER_NAME_BYTES_MAX, EVENT_BYTES_MAX, EVENT_TAGS_MAX, EVENT_TYPE_BYTES_MAX,
};
use crate::value::position::{ExpectedVersion, Position};
use crate::value::stream::StreamId;
use crate::value::tag::check_tag;
use std::collections::HashSet;
use std::ops::Range;
use uuid::Uuid;

/// Maximum bytes reserved for the events after the first one, whose lengths may differ from its own. Without the
/// reservation the buffer is copied each time it doubles: 64 events to one stream take 4.5 % more instructions
/// (`benches/instructions.rs`).
const RESERVED_BYTES_MAX: usize = 1 << 20;

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
                Ok(condition) => self.encoded.conditions.push(condition),
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

/// An encoded commit. Its entries do not have their versions and checksums yet.
#[derive(Debug, Default)]
pub(crate) struct EncodedCommit {
    pub(crate) appends: Vec<EncodedAppend>,
    pub(crate) checks: Vec<(StreamId, ExpectedVersion)>,
    pub(crate) records: Vec<Record>,
    pub(crate) conditions: Conditions,
    /// Room for a frame's header, then the event entries. This buffer becomes the frame if the commit is the first
    /// admitted one of its group. Empty if there are no events.
    pub(crate) frame: Vec<u8>,
    pub(crate) events: Vec<EncodedEvent>,
    /// Which of `events` have tags.
    pub(super) tagged: Vec<usize>,
    /// How many of `events` have their digest.
    digested: usize,
    /// When the caller asked for the commit.
    pub(crate) time: Micros,
    /// What others may build on, and what it builds on itself before that is durable.
    pub(crate) promised: Option<Promised>,
}

/// One stream's part of an encoded commit.
#[derive(Debug)]
pub(crate) struct EncodedAppend {
    pub(crate) stream: StreamId,
    pub(crate) expected: ExpectedVersion,
    /// Its events, as indices into the encoded commit's.
    pub(crate) events: Range<usize>,
}

/// One event of an encoded commit.
#[derive(Debug, Clone)]
pub(crate) struct EncodedEvent {
    pub(crate) id: Uuid,
    /// The digest of its envelope, set by the time the encoded commit is complete.
    pub(crate) digest: Digest,
    /// Its entry, as a range of the encoded commit's `frame`.
    pub(crate) entry: Range<usize>,
    /// Its envelope, as a range of the encoded commit's `frame`.
    pub(super) envelope: Range<usize>,
}

impl EncodedCommit {
    /// Checks `commit` as a whole, and returns what it has encoded.
    pub(crate) fn new(commit: Commit) -> Result<EncodedCommit> {
        let Commit { mut encoded, fault } = commit;
        if let Some(fault) = fault {
            return Err(fault);
        }
        encoded.check_shape()?;
        encoded.check_ids()?;
        encoded.digest_events();
        Ok(encoded)
    }

    /// Removes its events, so that only its records are written.
    pub(crate) fn drop_events(&mut self) {
        self.appends.clear();
        self.events.clear();
        self.tagged.clear();
        self.frame.clear();
    }

    /// Bytes that this encoded commit takes in a frame.
    pub(crate) fn bytes(&self) -> usize {
        self.entries().len() + self.records.iter().map(Record::bytes).sum::<usize>()
    }

    /// Bytes that this encoded commit takes while it waits.
    pub(crate) fn bytes_waiting(&self) -> usize {
        self.bytes() + self.conditions.as_slice().iter().map(Condition::bytes).sum::<usize>()
    }

    /// The envelope of an event, by its number.
    fn envelope(&self, event: usize) -> &[u8] {
        &self.frame[self.events[event].envelope.clone()]
    }

    /// The event entries.
    pub(crate) fn entries(&self) -> &[u8] {
        self.frame.get(frame::HEADER_BYTES..).unwrap_or_default()
    }

    /// The streams that it names; those that it appends to come first.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &StreamId> {
        let checked = self.checks.iter().map(|(stream, _)| stream);
        self.appends.iter().map(|append| &append.stream).chain(checked)
    }

    /// Encodes `events` one by one, so that only one of them is in memory unencoded.
    fn append(
        &mut self,
        stream: StreamId,
        expected: ExpectedVersion,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<()> {
        let (first, events) = (self.events.len(), events.into_iter());
        let expected_events = events.size_hint().0.min(COMMIT_EVENTS_MAX);
        self.events.reserve(expected_events);
        let more = expected_events.saturating_sub(1);
        for event in events {
            let start = self.frame.len();
            self.encode(&stream, &event)?;
            if self.events.len() == first + 1 {
                // Events that are appended together mostly have similar lengths.
                let likely = more.saturating_mul(self.frame.len() - start);
                self.frame.reserve(likely.min(RESERVED_BYTES_MAX));
            }
        }
        let events = first..self.events.len();
        if events.is_empty() {
            let message = format!("an append to {stream} has no events; it needs at least 1");
            return Err(Error::invalid(message));
        }
        self.appends.push(EncodedAppend { stream, expected, events });
        Ok(())
    }

    fn encode(&mut self, stream: &StreamId, event: &NewEvent) -> Result<()> {
        check_event(event)?;
        let (stream, begins_commit) = (stream.as_str(), self.events.is_empty());
        let header = if self.frame.is_empty() { frame::HEADER_BYTES } else { 0 };
        self.frame.reserve(header + stream.len() + envelope::bytes_without_extras(event) + 64);
        self.frame.resize(self.frame.len() + header, 0);
        let start = self.frame.len();
        let write = |out: &mut Vec<u8>| envelope::encode(event, out);
        let range = entry::begin_event(stream, begins_commit, write, &mut self.frame);
        check_event_bytes(event, range.len())?;
        if !event.tags.is_empty() {
            self.tagged.push(self.events.len());
        }
        self.events.push(EncodedEvent {
            id: event.id,
            digest: Digest::default(),
            entry: start..self.frame.len(),
            envelope: range,
        });
        if self.events.len() - self.digested == DIGESTED_TOGETHER {
            self.digest_events();
        }
        let (events, bytes) = (self.events.len(), self.entries().len());
        if events > COMMIT_EVENTS_MAX {
            return Err(Error::too_large("a commit", events, COMMIT_EVENTS_MAX, "events or more"));
        }
        if bytes > COMMIT_BYTES_MAX {
            return Err(Error::too_large("a commit", bytes, COMMIT_BYTES_MAX, "bytes or more"));
        }
        Ok(())
    }

    /// Computes the digests of the events that were encoded since the last call.
    fn digest_events(&mut self) {
        let events = &mut self.events[self.digested..];
        let envelope = |event: &EncodedEvent| &self.frame[event.envelope.clone()];
        if let [event] = events {
            event.digest = digest(envelope(event));
            self.digested += 1;
            return;
        }
        let envelopes: Vec<&[u8]> = events.iter().map(envelope).collect();
        let digests = digest_each(&envelopes);
        events.iter_mut().zip(digests).for_each(|(event, digest)| event.digest = digest);
        self.digested = self.events.len();
    }

    fn check_ids(&self) -> Result<()> {
        // Ids that are generated one after the other ascend.
        if self.events.is_sorted_by(|a, b| a.id < b.id) {
            return Ok(());
        }
        let mut seen = HashSet::with_capacity(self.events.len());
        match self.events.iter().find(|event| !seen.insert(event.id)) {
            Some(event) => {
                Err(Error::invalid(format!("event id {} occurs twice in one commit", event.id)))
            }
            None => Ok(()),
        }
    }

    fn check_shape(&self) -> Result<()> {
        let EncodedCommit { appends, checks, records, conditions, .. } = self;
        if appends.is_empty() && records.is_empty() && conditions.is_empty() {
            let message = "a commit has nothing to write; it needs at least 1 event";
            return Err(Error::invalid(message));
        }
        let met = conditions.as_slice().len();
        if met > COMMIT_CONDITIONS_MAX {
            return Err(Error::too_large("a commit", met, COMMIT_CONDITIONS_MAX, "conditions"));
        }
        let streams = appends.len() + checks.len();
        if streams > COMMIT_STREAMS_MAX {
            return Err(Error::too_large("a commit", streams, COMMIT_STREAMS_MAX, "streams"));
        }
        if streams > 1 {
            let mut seen = HashSet::with_capacity(streams);
            for stream in self.streams() {
                if !seen.insert(stream) {
                    return Err(Error::invalid(format!(
                        "stream {stream} occurs twice in one commit"
                    )));
                }
            }
        }
        let mut seen = HashSet::new();
        for record in records {
            if let Record::Tracked { consumer, .. } = record {
                check_name("a consumer's", consumer)?;
                if !seen.insert(consumer) {
                    let message = format!("consumer {consumer:?} is tracked twice in one commit");
                    return Err(Error::invalid(message));
                }
            }
        }
        Ok(())
    }
}

/// Checks a name. `whose` says in the error what it names, such as "a consumer's".
pub(crate) fn check_name(whose: &str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(format!("{whose} name is empty; it needs at least 1 byte")));
    }
    if name.len() > CONSUMER_NAME_BYTES_MAX {
        let what = format!("{whose} name");
        return Err(Error::too_large(&what, name.len(), CONSUMER_NAME_BYTES_MAX, "bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{whose} name {name:?} holds a control character")));
    }
    Ok(())
}

/// Whether this can be an event, but for the bytes of its metadata and tags.
pub(crate) fn check_event(event: &NewEvent) -> Result<()> {
    check_event_type(&event.event_type)?;
    if event.payload.len() > EVENT_BYTES_MAX {
        let max = EVENT_BYTES_MAX;
        return Err(Error::too_large("event payload", event.payload.len(), max, "bytes"));
    }
    if event.tags.len() > EVENT_TAGS_MAX {
        let met = event.tags.len();
        let message = format!("an event has {met} tags; at most {EVENT_TAGS_MAX} are allowed");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    event.tags.iter().try_for_each(|tag| check_tag(tag))
}

/// Whether this can be an event's type.
pub(crate) fn check_event_type(event_type: &str) -> Result<()> {
    if event_type.is_empty() {
        return Err(Error::invalid("an event type is empty; it needs at least 1 byte"));
    }
    if event_type.len() > EVENT_TYPE_BYTES_MAX {
        let max = EVENT_TYPE_BYTES_MAX;
        return Err(Error::too_large("an event type", event_type.len(), max, "bytes"));
    }
    if event_type.chars().any(char::is_control) {
        let message = format!("event type {event_type:?} holds a control character");
        return Err(Error::invalid(message));
    }
    Ok(())
}

/// Whether an event may have an envelope of so many bytes.
pub(crate) fn check_event_bytes(event: &NewEvent, envelope: usize) -> Result<()> {
    let met = envelope - envelope::FIXED_BYTES - event.event_type.len();
    if met > EVENT_BYTES_MAX {
        let what = "event payload, metadata and tags together";
        return Err(Error::too_large(what, met, EVENT_BYTES_MAX, "bytes"));
    }
    Ok(())
}
