//! The streams in memory: all that have events which the index lacks, and the most recently used others.
//!
//! * The state of a stream is its newest durable one. Only the leader updates it.
//! * Each append looks its stream up by name once, and keeps the [`Slot`].
//! * Memory is bounded: by the bound on the tail's events, and by `IDLE_STREAMS_MAX`.

use crate::codec::frame::EntryLocation;
use crate::codec::state::StreamState;
use crate::value::clock::Micros;
use crate::value::corruption::Corruption;
use crate::value::limits::IDLE_STREAMS_MAX;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

/// Capacity up to which an idle stream keeps its buffer. With 500,000 streams in turn, each append allocated a buffer
/// and the indexer freed it, which took a tenth of the writer's time. `VecDeque` begins with room for four, so a
/// larger buffer belongs to a stream that had more events, and is freed.
const KEPT_EVENTS: usize = 4;

#[derive(Default)]
pub(crate) struct Streams {
    hasher: RandomState,
    places: HashTable<Place>,
    known: Vec<KnownStream>,
    free: Vec<u32>,
    /// Places of streams without events, in the order in which they became idle. Some may have events again.
    idle: VecDeque<u32>,
    events: usize,
    /// Counts the streams that ever got a place.
    serial: u64,
}

/// The place of a stream, and the hash of its name. A table of these fits into the processor's cache when the streams
/// do not: a lookup in a hash map of names waited for memory four times and took 300 ns for each of 100 events; this
/// table takes 100 ns.
struct Place {
    hash: NameHash,
    number: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct NameHash(u32);

impl NameHash {
    /// Spreads the hash over 64 bits: the table uses both the highest and the lowest bits.
    fn spread(self) -> u64 {
        // 2⁶⁴ over the golden ratio (Knuth's multiplicative hash).
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Where a stream is kept. Valid until the stream is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    place: u32,
    serial: u64,
}

// Aligned to a cache line, so that an entry never spans one line more than it needs. Without it, commits ran at 0.96 to
// 0.99 of their rate in pairs of runs.
#[repr(align(64))]
pub(crate) struct KnownStream {
    name: StreamId,
    serial: u64,
    is_in_idle: bool,
    state: StreamState,
    /// The events that the index lacks: consecutive, up to the stream's version.
    events: VecDeque<TailEvent>,
}

/// The place of an event that the index lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TailEvent {
    pub(crate) position: u64,
    pub(crate) recorded_at: Micros,
    pub(crate) location: EntryLocation,
}

impl KnownStream {
    pub(crate) fn state(&self) -> StreamState {
        self.state
    }

    pub(crate) fn events(&self) -> &VecDeque<TailEvent> {
        &self.events
    }

    /// The version of the first event that the index lacks; without one, the next version.
    pub(crate) fn first_version(&self) -> u64 {
        self.state.version.get() + 1 - self.events.len() as u64
    }
}

impl Streams {
    pub(crate) fn get(&self, stream: &StreamId) -> Option<&KnownStream> {
        Some(&self.known[self.place(stream)? as usize])
    }

    /// The slot and the state of `stream`.
    pub(crate) fn find(&self, stream: &StreamId) -> Option<(Slot, StreamState)> {
        Some(self.found(self.place(stream)?))
    }

    /// The result of `find` for each of `streams`. Each step is done for all streams before the next step, so that
    /// the processor waits for many memory reads at once. Looking up each stream under a lock of its own took twice
    /// as long. A lone stream needs no lists: with them, a commit of one event takes 3 % more instructions.
    pub(crate) fn find_each(&self, streams: &[&StreamId]) -> Vec<Option<(Slot, StreamState)>> {
        if let [stream] = streams {
            return vec![self.find(stream)];
        }
        let of_hash = |stream: &&StreamId| {
            let hash = self.hash(stream);
            self.places.find(hash.spread(), |place| place.hash == hash).map(|place| place.number)
        };
        let places: Vec<Option<u32>> = streams.iter().map(of_hash).collect();
        let found = |place: &Option<u32>| {
            place.map(|place| (&self.known[place as usize].name, self.found(place)))
        };
        let found: Vec<Option<(&StreamId, (Slot, StreamState))>> =
            places.iter().map(found).collect();
        let checked = streams.iter().zip(found).map(|(stream, found)| match found {
            // Another name with the same hash was found.
            Some((name, _)) if name != *stream => self.find(stream),
            Some((_, found)) => Some(found),
            None => None,
        });
        checked.collect()
    }

    fn found(&self, place: u32) -> (Slot, StreamState) {
        let known = &self.known[place as usize];
        (Slot { place, serial: known.serial }, known.state)
    }

    fn place(&self, stream: &StreamId) -> Option<u32> {
        let hash = self.hash(stream);
        let place = self.places.find(hash.spread(), |place| {
            place.hash == hash && self.known[place.number as usize].name == *stream
        });
        place.map(|place| place.number)
    }

    fn hash(&self, stream: &StreamId) -> NameHash {
        NameHash(self.hasher.hash_one(stream) as u32)
    }

    /// The streams that have events which the index lacks, in no order.
    pub(crate) fn with_events(&self) -> impl Iterator<Item = (&StreamId, &KnownStream)> {
        self.known.iter().filter(|known| !known.events.is_empty()).map(|known| (&known.name, known))
    }

    /// The number of events that the index lacks.
    pub(crate) fn events(&self) -> usize {
        self.events
    }

    /// Adds `stream`, which is not in the table, with its `state`.
    pub(crate) fn remember(&mut self, stream: &StreamId, state: StreamState) -> Slot {
        self.serial += 1;
        let known = KnownStream {
            // Copy the name: the event's own shares the frame's buffer and would keep it in memory.
            name: stream.detached(),
            serial: self.serial,
            is_in_idle: true,
            state,
            events: VecDeque::new(),
        };
        let hash = self.hash(&known.name);
        let number = match self.free.pop() {
            Some(number) => {
                let place = &mut self.known[number as usize];
                let events = std::mem::take(&mut place.events);
                *place = KnownStream { events, ..known };
                number
            }
            None => {
                self.known.push(known);
                u32::try_from(self.known.len() - 1).expect("the bounds are far below 2³² streams")
            }
        };
        let place = Place { hash, number };
        self.places.insert_unique(hash.spread(), place, |place| place.hash.spread());
        self.idle.push_back(number);
        self.forget();
        Slot { place: number, serial: self.serial }
    }

    /// Adds the event of `version` to `stream`, which was found in `slot` in the state `base`.
    pub(crate) fn push(
        &mut self,
        stream: &StreamId,
        (slot, base): (Slot, StreamState),
        version: u64,
        event: TailEvent,
    ) -> Result<(), Corruption> {
        let place = match self.known.get(slot.place as usize) {
            Some(known) if known.serial == slot.serial => slot.place,
            // The stream was forgotten meanwhile.
            _ => match self.place(stream) {
                Some(place) => place,
                None => self.remember(stream, base).place,
            },
        };
        let known = &mut self.known[place as usize];
        let before = known.state.version.get();
        if version != before + 1 {
            let stream = stream.as_str().into();
            return Err(Corruption::VersionOrder { stream, version, before });
        }
        if before == 0 {
            known.state.created = event.recorded_at;
        }
        known.state.version = Version::new(version);
        known.state.written = event.recorded_at;
        known.events.push_back(event);
        self.events += 1;
        Ok(())
    }

    /// Drops the events up to `position`, which the index has, of the streams in `places` places from `from` on.
    /// Returns where to continue; `None` at the end.
    pub(crate) fn trim(&mut self, from: usize, places: usize, position: u64) -> Option<usize> {
        let to = self.known.len().min(from + places);
        for place in from..to {
            self.trim_place(place as u32, position);
        }
        (to < self.known.len()).then_some(to)
    }

    fn trim_place(&mut self, place: u32, position: u64) {
        let known = &mut self.known[place as usize];
        if known.events.front().is_none_or(|first| first.position > position) {
            return;
        }
        let indexed = known.events.partition_point(|event| event.position <= position);
        known.events.drain(..indexed);
        if known.events.is_empty() && known.events.capacity() > KEPT_EVENTS {
            known.events = VecDeque::new();
        }
        self.events -= indexed;
        if known.events.is_empty() && !known.is_in_idle {
            known.is_in_idle = true;
            self.idle.push_back(place);
            self.forget();
        }
    }

    /// Forgets the streams that have been idle longest, as many as exceed the bound.
    fn forget(&mut self) {
        while self.idle.len() > IDLE_STREAMS_MAX {
            let Some(place) = self.idle.pop_front() else { return };
            let known = &mut self.known[place as usize];
            known.is_in_idle = false;
            if known.events.is_empty() {
                // This invalidates all slots that lead here.
                known.serial = 0;
                let hash = self.hash(&self.known[place as usize].name);
                let entry = self.places.find_entry(hash.spread(), |p| p.number == place);
                entry.map(|entry| entry.remove()).ok();
                self.free.push(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(number: usize) -> StreamId {
        StreamId::new(format!("Known-{number}")).unwrap()
    }

    fn event(position: u64) -> TailEvent {
        let location = EntryLocation { segment: 1, offset: 0, length: 1 };
        TailEvent { position, recorded_at: Micros(position as i64), location }
    }

    fn at(version: u64) -> StreamState {
        StreamState { version: Version::new(version), ..StreamState::absent() }
    }

    #[test]
    fn a_stream_with_events_is_known_until_the_index_has_them_and_for_a_while_after() {
        let mut streams = Streams::default();
        let found = (streams.remember(&stream(0), at(4)), at(4));
        streams.push(&stream(0), found, 5, event(10)).unwrap();
        streams.push(&stream(0), found, 6, event(11)).unwrap();
        for n in 1..=2 * IDLE_STREAMS_MAX {
            streams.remember(&stream(n), at(1));
        }
        let known = streams.get(&stream(0)).unwrap();
        assert_eq!((known.first_version(), known.events().len(), streams.events()), (5, 2, 2));
        assert!(streams.places.len() <= IDLE_STREAMS_MAX + 1);
        assert_eq!(streams.trim(0, usize::MAX / 2, 10), None);
        assert_eq!(streams.get(&stream(0)).unwrap().first_version(), 6);
        let mut from = Some(0);
        while let Some(place) = from {
            from = streams.trim(place, 1_000, 11);
        }
        let known = streams.get(&stream(0)).unwrap();
        assert_eq!((known.state().version.get(), known.first_version()), (6, 7));
        assert_eq!((streams.events(), streams.with_events().count()), (0, 0));
        for n in 0..IDLE_STREAMS_MAX {
            streams.remember(&stream(usize::MAX - n), at(1));
        }
        assert!(streams.get(&stream(0)).is_none());
        assert_eq!(streams.places.len(), IDLE_STREAMS_MAX);
        assert!(streams.known.len() <= IDLE_STREAMS_MAX + 2, "places are used again");
    }

    #[test]
    fn a_stream_that_was_forgotten_since_it_was_found_is_remembered_as_it_was() {
        let mut streams = Streams::default();
        let found = (streams.remember(&stream(0), at(4)), at(4));
        for n in 1..=IDLE_STREAMS_MAX {
            streams.remember(&stream(n), at(9));
        }
        assert!(streams.get(&stream(0)).is_none());
        streams.push(&stream(0), found, 5, event(10)).unwrap();
        // Another append of the same group found it in the same slot.
        streams.push(&stream(0), found, 6, event(11)).unwrap();
        let known = streams.get(&stream(0)).unwrap();
        assert_eq!((known.state().version.get(), known.first_version()), (6, 5));
    }

    #[test]
    fn a_stream_goes_on_at_its_next_version_or_not_at_all() {
        let mut streams = Streams::default();
        let found = (streams.remember(&stream(0), at(4)), at(4));
        for version in [0, 4, 6] {
            let error = streams.push(&stream(0), found, version, event(10)).unwrap_err();
            let text = format!("stream Known-0 continues at version {version} after 4");
            assert_eq!(error.to_string(), text);
        }
    }
}
