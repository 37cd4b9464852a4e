//! A commit's encoded form, which its caller makes before any lock is held.

use crate::codec::digest::{DIGESTED_TOGETHER, Digest, digest, digest_each};
use crate::codec::entry;
use crate::codec::envelope;
use crate::codec::frame;
use crate::codec::record::Record;
use crate::log::commit::condition::Condition;
#[cfg(feature = "erasure")]
use crate::log::commit::private::Private;
use crate::log::commit::promise::Promised;
use crate::log::commit::tagged::{TaggedRun, TaggedRuns};
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::NewEvent;
use crate::value::limits::{
    COMMIT_BYTES_MAX, COMMIT_CONDITIONS_MAX, COMMIT_EVENTS_MAX, COMMIT_STREAMS_MAX,
    CONSUMER_NAME_BYTES_MAX, EVENT_BYTES_MAX, EVENT_TAGS_MAX, EVENT_TYPE_BYTES_MAX,
};
use crate::value::position::ExpectedVersion;
use crate::value::stream::StreamId;
use crate::value::tag::check_tag;
use crate::value::text::has_control;
use std::collections::HashSet;
use std::ops::Range;
use uuid::Uuid;

/// Maximum bytes reserved for the events after the first one, whose lengths may differ from its own. Without the
/// reservation the buffer is copied each time it doubles: 64 events to one stream take 4.5 % more instructions
/// (`benches/instructions.rs`).
const RESERVED_BYTES_MAX: usize = 1 << 20;

/// An encoded commit. Its entries do not have their versions and checksums yet.
#[derive(Debug, Default)]
pub(crate) struct EncodedCommit {
    pub(crate) appends: Vec<EncodedAppend>,
    pub(crate) checks: Vec<(StreamId, ExpectedVersion)>,
    pub(crate) records: Vec<Record>,
    seldom: Seldom,
    /// Room for a frame's header, then the event entries. This buffer becomes the frame if the commit is the first
    /// admitted one of its group. Empty if there are no events.
    pub(crate) frame: Vec<u8>,
    pub(crate) events: Vec<EncodedEvent>,
    /// How many of `events` have their digest.
    digested: usize,
    /// When the caller asked for the commit.
    pub(crate) time: Micros,
    /// What others may build on, and what it builds on itself before that is durable.
    pub(crate) promised: Option<Promised>,
}

/// What most commits do not have. So it takes the room of a pointer in what is moved along with each commit: with a
/// `Vec` of conditions, an append of one event took 2.4 % more instructions.
#[derive(Debug, Default)]
struct Seldom(Option<Box<SeldomParts>>);

#[derive(Debug, Default)]
struct SeldomParts {
    conditions: Vec<Condition>,
    tagged: TaggedRuns,
    #[cfg(feature = "erasure")]
    private: Private,
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

impl Seldom {
    fn get_mut(&mut self) -> &mut SeldomParts {
        self.0.get_or_insert_default()
    }
}

impl EncodedCommit {
    /// Checks it as a whole, and digests what is not digested yet.
    pub(super) fn complete(&mut self) -> Result<()> {
        self.check_shape()?;
        self.check_ids()?;
        self.digest_events();
        Ok(())
    }

    /// Adds a condition.
    pub(super) fn unless(&mut self, condition: Condition) {
        let conditions = &mut self.seldom.get_mut().conditions;
        if conditions.is_empty() {
            // Most commits with conditions have one.
            conditions.reserve_exact(1);
        }
        conditions.push(condition);
    }

    /// Removes its events, so that only its records are written.
    pub(crate) fn drop_events(&mut self) {
        self.appends.clear();
        self.events.clear();
        if let Some(parts) = &mut self.seldom.0 {
            parts.tagged = TaggedRuns::default();
        }
        self.frame.clear();
    }

    /// Bytes that this encoded commit takes in a frame.
    pub(crate) fn bytes(&self) -> usize {
        self.entries().len() + self.records.iter().map(Record::bytes).sum::<usize>()
    }

    /// Bytes that this encoded commit takes while it waits.
    pub(crate) fn bytes_waiting(&self) -> usize {
        self.bytes() + self.conditions().iter().map(Condition::bytes).sum::<usize>()
    }

    pub(crate) fn conditions(&self) -> &[Condition] {
        self.seldom.0.as_ref().map_or(&[], |parts| &parts.conditions)
    }

    pub(super) fn conditions_mut(&mut self) -> &mut [Condition] {
        self.seldom.0.as_mut().map_or(&mut [], |parts| &mut parts.conditions)
    }

    #[cfg(feature = "erasure")]
    pub(super) fn private(&self) -> Option<&Private> {
        self.seldom.0.as_ref().map(|parts| &parts.private)
    }

    #[cfg(feature = "erasure")]
    pub(super) fn private_mut(&mut self) -> &mut Private {
        &mut self.seldom.get_mut().private
    }

    /// Its events with tags.
    pub(super) fn tagged(&self) -> impl Iterator<Item = TaggedRun<'_>> {
        self.seldom.0.iter().flat_map(|parts| parts.tagged.iter())
    }

    /// The envelope of an event, by its number.
    pub(super) fn envelope(&self, event: usize) -> &[u8] {
        &self.frame[self.events[event].envelope.clone()]
    }

    /// The stream to which an event is appended, by the event's number.
    pub(super) fn stream_of(&self, event: usize) -> &StreamId {
        let append = self.appends.partition_point(|append| append.events.end <= event);
        &self.appends[append].stream
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
    pub(super) fn append(
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
            self.encode(&stream, first, &event)?;
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

    /// Encodes `event` of an append whose events begin with the number `first`.
    fn encode(&mut self, stream: &StreamId, first: usize, event: &NewEvent) -> Result<()> {
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
            let before =
                self.events[first..].last().map(|before| &self.frame[before.envelope.clone()]);
            let tagged = &mut self.seldom.get_mut().tagged;
            tagged.add(self.events.len(), &self.frame[range.clone()], before);
        }
        #[cfg(feature = "erasure")]
        if let Some(subject) = &event.subject {
            self.seldom.get_mut().private.add(self.events.len(), subject);
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
        let EncodedCommit { appends, checks, records, .. } = self;
        let conditions = self.conditions();
        if appends.is_empty() && records.is_empty() && conditions.is_empty() {
            let message = "a commit has nothing to write; it needs at least 1 event";
            return Err(Error::invalid(message));
        }
        let met = conditions.len();
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
    if has_control(name) {
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
    if has_control(event_type) {
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
