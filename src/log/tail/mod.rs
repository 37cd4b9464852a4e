//! The tail, in memory: the places of the events that the index does not have yet, and the newest frames.
//!
//! * An event enters the tail at the moment when the head moves past it, and leaves the tail only when the index has
//!   it. So a reader that reads the tail first and the index second misses nothing, and a caller that has read an
//!   event finds the head at or past it.
//! * Memory is bounded: `TAIL_EVENTS_MAX` events, `TAIL_TAGGED_BYTES_MAX` of their tags, `TAIL_BODY_BYTES_MAX` of
//!   frames. At the bounds on events and tags, writers wait for the indexer; at the bound on frames, the oldest frames
//!   are dropped.

pub(crate) mod head;
pub(crate) mod sleepers;
pub(crate) mod stream_table;
pub(crate) mod tags;

use crate::codec::checkpoint::Checkpoint;
use crate::codec::envelope;
use crate::codec::frame::{EntryLocation, Frame, Location};
use crate::codec::sparse_index::SparseEntry;
use crate::codec::sst::event::LocatedEvent;
use crate::codec::state::StreamState;
use crate::log::read::located::{Located, is_next_sparse_entry, sparse_entry_of, try_each_located};
use crate::log::tail::stream_table::{Slot, Streams, TailEvent};
use crate::log::tail::tags::{PublishedTags, TailTags};
use crate::sst::postings::PostingsPage;
use crate::value::corruption::Corruption;
use crate::value::error::Error;
use crate::value::limits::TAIL_BODY_BYTES_MAX;
use crate::value::stream::StreamId;
use crate::value::tag::TagHash;
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::{HashMap, VecDeque};
use std::iter;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Streams that `trim` handles under one lock, for which commits and readers wait. Scanning all places in such steps,
/// instead of looking up each stream of a flush batch, gave 302,000 to 306,000 events a second instead of 281,000 to
/// 294,000 (100 in a commit, indexed and closed). The count was not measured separately.
const TRIM_STREAMS: usize = 1_024;

pub(crate) struct Tail {
    state: RwLock<State>,
    /// Locked alone, or inside `state`.
    tags: RwLock<TailTags>,
    /// About how much memory `tags` takes. Each group of commits asks.
    tagged_bytes: AtomicUsize,
    /// The position up to which tags were dropped. Each commit with a condition asks, and would wait for the leader.
    tags_dropped: AtomicU64,
}

struct State {
    streams: Streams,
    records: HashMap<String, TailRecord>,
    /// Where frames begin, about one entry for each 64 KiB.
    sparse_entries: VecDeque<SparseEntry>,
    newest: VecDeque<(Location, Frame)>,
    newest_bytes: usize,
    /// How far the index holds the journal.
    indexed: Checkpoint,
}

struct TailRecord {
    at: Location,
    value: Vec<u8>,
}

/// Consecutive events of one stream, in a frame that has become durable.
pub(crate) struct PublishedRun<'a, L> {
    pub(crate) stream: &'a StreamId,
    /// The stream's slot and the state that it was found in.
    pub(crate) found: (Slot, StreamState),
    pub(crate) first_version: u64,
    pub(crate) first_position: u64,
    /// Where each event is.
    pub(crate) locations: L,
}

/// An event's entry, or where to read it.
#[derive(Debug)]
pub(crate) enum TailBody {
    InMemory(Bytes),
    InJournal(EntryLocation),
}

/// Why a frame could not be added when a store was opened.
pub(crate) enum FillError {
    /// The frame is damaged.
    Frame(Corruption),
    /// The state of a stream before the frame could not be read.
    Base(Error),
}

impl From<Corruption> for FillError {
    fn from(what: Corruption) -> FillError {
        FillError::Frame(what)
    }
}

impl From<Error> for FillError {
    fn from(error: Error) -> FillError {
        FillError::Base(error)
    }
}

impl Tail {
    pub(crate) fn new(indexed: Checkpoint) -> Tail {
        Tail {
            state: RwLock::new(State {
                streams: Streams::default(),
                records: HashMap::new(),
                sparse_entries: VecDeque::new(),
                newest: VecDeque::new(),
                newest_bytes: 0,
                indexed,
            }),
            tags: RwLock::new(TailTags::after(indexed.position)),
            tagged_bytes: AtomicUsize::new(0),
            tags_dropped: AtomicU64::new(indexed.position),
        }
    }

    /// The slot and the newest state of `stream`, if the tail knows it.
    pub(crate) fn find(&self, stream: &StreamId) -> Option<(Slot, StreamState)> {
        self.state.read().streams.find(stream)
    }

    /// The result of `find` for each of `streams`.
    pub(crate) fn find_each(&self, streams: &[&StreamId]) -> Vec<Option<(Slot, StreamState)>> {
        self.state.read().streams.find_each(streams)
    }

    /// Adds `stream`, which the tail does not know, with its `state`. Only the leader may call this.
    pub(crate) fn remember(&self, stream: &StreamId, state: StreamState) -> Slot {
        self.state.write().streams.remember(stream, state)
    }

    /// Adds the events of a durable frame that have tags, and returns whether there are any. Call it before `publish`,
    /// which moves the head: a reader looks no further than the head.
    pub(crate) fn publish_tags<'a, L: Iterator<Item = EntryLocation>>(
        &self,
        mut tagged: impl Iterator<Item = PublishedTags<'a, L>>,
    ) -> bool {
        let Some(first) = tagged.next() else { return false };
        let tags = &mut *self.tags.write();
        tags.add(first);
        tagged.for_each(|run| tags.add(run));
        self.tagged_bytes.store(tags.bytes(), Ordering::Relaxed);
        true
    }

    /// Adds the durable frame at `at` with its runs and records. `shown` moves the head; the lock is held until it
    /// has.
    pub(crate) fn publish<'a, L: Iterator<Item = EntryLocation>>(
        &self,
        at: Location,
        frame: &Frame,
        runs: impl Iterator<Item = PublishedRun<'a, L>>,
        records: impl Iterator<Item = (String, Vec<u8>)>,
        shown: impl FnOnce(),
    ) -> Result<(), Corruption> {
        let recorded_at = frame.header.time;
        let state = &mut *self.state.write();
        for PublishedRun { stream, found, first_version, first_position, locations } in runs {
            let numbers = (first_version..).zip(first_position..);
            for ((version, position), location) in numbers.zip(locations) {
                let event = TailEvent { position, recorded_at, location };
                state.streams.push(stream, found, version, event)?;
            }
        }
        for (key, value) in records {
            state.records.insert(key, TailRecord { at, value });
        }
        state.keep_frame(at, frame);
        shown();
        Ok(())
    }

    /// Adds the durable frame at `at` when a store is opened. `base` returns the state that a stream had before the
    /// given version.
    pub(crate) fn fill(
        &self,
        at: Location,
        frame: &Frame,
        mut base: impl FnMut(&StreamId, u64) -> Result<StreamState, Error>,
    ) -> Result<(), FillError> {
        let state = &mut *self.state.write();
        let take = |located| match located {
            Located::Event(event) => {
                let stream = &event.stream;
                let found = match state.streams.find(stream) {
                    Some(found) => found,
                    None => {
                        let base = base(stream, event.version)?;
                        (state.streams.remember(stream, base), base)
                    }
                };
                let (position, recorded_at) = (event.position, event.recorded_at);
                let hashes: Vec<_> = envelope::tags(&event.envelope).map(TagHash::of).collect();
                if !hashes.is_empty() {
                    self.publish_tags(iter::once(PublishedTags {
                        first_position: position,
                        recorded_at,
                        segment: event.location.segment,
                        event_type: envelope::event_type(&event.envelope).unwrap_or_default(),
                        hashes: &hashes,
                        locations: iter::once(event.location),
                    }));
                }
                let located = TailEvent { position, recorded_at, location: event.location };
                Ok(state.streams.push(stream, found, event.version, located)?)
            }
            Located::Record { key, value } => {
                state.records.insert(key, TailRecord { at, value });
                Ok(())
            }
        };
        try_each_located::<FillError>(at, frame, take)?;
        state.keep_frame(at, frame);
        Ok(())
    }

    /// Drops everything that the index holds by `checkpoint`.
    pub(crate) fn trim(&self, checkpoint: Checkpoint) {
        self.trim_tags(checkpoint.position);
        let mut from = Some(0);
        while let Some(place) = from {
            from = self.state.write().streams.trim(place, TRIM_STREAMS, checkpoint.position);
        }
        let state = &mut *self.state.write();
        state.records.retain(|_, record| record.at >= checkpoint.next);
        while state
            .sparse_entries
            .front()
            .is_some_and(|sparse_entry| sparse_entry.location < checkpoint.next)
        {
            state.sparse_entries.pop_front();
        }
        state.indexed = checkpoint;
    }

    /// Drops the tags of events up to `position`, which the index holds.
    pub(crate) fn trim_tags(&self, position: u64) {
        let dropped = {
            let tags = &mut *self.tags.write();
            let dropped = tags.trim(position);
            self.tags_dropped.store(tags.dropped(), Ordering::Relaxed);
            self.tagged_bytes.store(tags.bytes(), Ordering::Relaxed);
            dropped
        };
        drop(dropped);
    }

    /// About how much memory the tags take of events that the index lacks.
    pub(crate) fn tagged_bytes(&self) -> usize {
        self.tagged_bytes.load(Ordering::Relaxed)
    }

    /// At least those events with `tag` after position `after` and not after `to` which the index lacks, no more than
    /// `limit`; and the position up to which the index must be asked, too. Some of the events may have another tag.
    pub(crate) fn postings(
        &self,
        tag: &str,
        range: (u64, u64),
        limit: usize,
    ) -> (PostingsPage, u64) {
        let tags = self.tags.read();
        let indexed = tags.dropped();
        let (after, to) = range;
        (tags.postings(tag, (after.max(indexed), to), limit), indexed)
    }

    /// Whether the tail has the tags of all events after position `after`; until it is trimmed again.
    pub(crate) fn has_tags_after(&self, after: u64) -> bool {
        self.tags_dropped.load(Ordering::Relaxed) <= after
    }

    /// The bytes of the entry at `location`, if it is in one of the newest frames.
    pub(crate) fn entry_at(&self, location: EntryLocation) -> Option<Bytes> {
        self.state.read().entry_in_memory(location)
    }

    /// How many events with `tag` there are at most which the index lacks.
    pub(crate) fn postings_at_most(&self, tag: &str) -> u64 {
        self.tags.read().postings_at_most(tag)
    }

    /// How far the index holds the journal.
    pub(crate) fn indexed(&self) -> Checkpoint {
        self.state.read().indexed
    }

    /// The number of events that the index lacks.
    pub(crate) fn events(&self) -> usize {
        self.state.read().streams.events()
    }

    /// The names and states of the streams that have events in the tail and for which `wanted` returns true, in no
    /// order.
    pub(crate) fn streams(
        &self,
        wanted: impl Fn(&StreamId) -> bool,
    ) -> Vec<(StreamId, StreamState)> {
        let state = self.state.read();
        let streams = state.streams.with_events().filter(|(stream, _)| wanted(stream));
        streams.map(|(name, known)| (name.clone(), known.state())).collect()
    }

    /// At most `limit` events of a stream, from version `from` on; none if `from` itself is not in the tail.
    pub(crate) fn stream_events(
        &self,
        stream: &StreamId,
        from: u64,
        limit: usize,
    ) -> Vec<LocatedEvent<TailBody>> {
        let state = self.state.read();
        let Some(found) = state.streams.get(stream) else { return Vec::new() };
        let first = found.first_version();
        let Some(skip) = from.checked_sub(first) else { return Vec::new() };
        let events = found.events().iter().enumerate().skip(skip as usize).take(limit);
        events.map(|(n, event)| state.find(first + n as u64, *event)).collect()
    }

    /// At most `limit` events of a stream, up to version `last`, in order; none if `last` itself is not in the tail.
    pub(crate) fn stream_events_until(
        &self,
        stream: &StreamId,
        last: u64,
        limit: usize,
    ) -> Vec<LocatedEvent<TailBody>> {
        let first = {
            let state = self.state.read();
            let Some(found) = state.streams.get(stream) else { return Vec::new() };
            found.first_version()
        };
        // Between the two locks the indexer may remove events; then this returns none.
        let from = first.max((last + 1).saturating_sub(limit as u64));
        if last < from {
            return Vec::new();
        }
        self.stream_events(stream, from, (last - from + 1) as usize)
    }

    /// The newest value of a record's key, if the index does not have it yet. An empty value means that the key was
    /// removed.
    pub(crate) fn record(&self, key: &str) -> Option<Vec<u8>> {
        self.state.read().records.get(key).map(|record| record.value.clone())
    }

    /// The keys that begin with `prefix` and are in the tail, with their values.
    pub(crate) fn records_with_prefix(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let state = self.state.read();
        let records = state.records.iter().filter(|(key, _)| key.starts_with(prefix));
        records.map(|(key, record)| (key.clone(), record.value.clone())).collect()
    }

    /// The last sparse index entry at or before `position`, if the tail has one.
    pub(crate) fn sparse_entry_at_or_before(&self, position: u64) -> Option<SparseEntry> {
        let state = self.state.read();
        let after =
            state.sparse_entries.partition_point(|sparse_entry| sparse_entry.position <= position);
        after.checked_sub(1).map(|last| state.sparse_entries[last])
    }

    /// The frame that holds `position`, if it is one of the newest frames.
    pub(crate) fn newest_frame(&self, position: u64) -> Option<(Location, Frame)> {
        let state = self.state.read();
        let after =
            state.newest.partition_point(|(_, frame)| frame.header.next_position() <= position);
        let (at, frame) = state.newest.get(after)?;
        (frame.header.first_position <= position).then(|| (*at, frame.clone()))
    }
}

impl State {
    fn keep_frame(&mut self, at: Location, frame: &Frame) {
        let sparse_entry = sparse_entry_of(at, frame);
        if is_next_sparse_entry(self.sparse_entries.back(), &sparse_entry) {
            self.sparse_entries.push_back(sparse_entry);
        }
        self.keep_newest(at, frame);
    }

    fn keep_newest(&mut self, at: Location, frame: &Frame) {
        if frame.header.events == 0 {
            return;
        }
        self.newest_bytes += frame.bytes().len();
        self.newest.push_back((at, frame.clone()));
        while self.newest_bytes > TAIL_BODY_BYTES_MAX {
            let Some((_, oldest)) = self.newest.pop_front() else { return };
            self.newest_bytes -= oldest.bytes().len();
        }
    }

    fn find(&self, version: u64, event: TailEvent) -> LocatedEvent<TailBody> {
        let body = match self.entry_in_memory(event.location) {
            Some(entry) => TailBody::InMemory(entry),
            None => TailBody::InJournal(event.location),
        };
        LocatedEvent { version, position: event.position, recorded_at: event.recorded_at, body }
    }

    fn entry_in_memory(&self, location: EntryLocation) -> Option<Bytes> {
        let at = Location { segment: location.segment, offset: location.offset.into() };
        let after = self.newest.partition_point(|(frame_at, _)| *frame_at <= at);
        let (frame_at, frame) = self.newest.get(after.checked_sub(1)?)?;
        let start = at.offset.checked_sub(frame_at.offset)? as usize;
        let end = start + location.length as usize;
        (frame_at.segment == at.segment && end <= frame.bytes().len())
            .then(|| frame.bytes().slice(start..end))
    }
}
