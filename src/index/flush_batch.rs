//! A flush batch: a stretch of the journal, event by event, that the index ingests at once.

use crate::codec::checkpoint::Checkpoint;
use crate::codec::envelope;
use crate::codec::frame::EntryLocation;
use crate::codec::sparse_index::SparseEntry;
use crate::value::clock::Micros;
use crate::value::stream::StreamId;
use crate::value::tag::check_tag;
use bytes::Bytes;
use std::ops::Range;

/// An event for the index to ingest.
#[derive(Debug, Clone)]
pub(crate) struct EventToIndex {
    pub(crate) stream: StreamId,
    pub(crate) version: u64,
    pub(crate) position: u64,
    pub(crate) recorded_at: Micros,
    pub(crate) location: EntryLocation,
    pub(crate) envelope: Bytes,
}

/// A stretch of the journal, from the checkpoint to `end`.
#[derive(Debug, Clone)]
pub(crate) struct FlushBatch {
    /// In any order.
    pub(crate) events: Vec<EventToIndex>,
    pub(crate) sparse_entries: Vec<SparseEntry>,
    /// Each key with its newest value; an empty one removes it.
    pub(crate) records: Vec<(String, Vec<u8>)>,
    pub(crate) end: Checkpoint,
}

/// Bytes of memory that a posting takes while its flush batch is ingested: itself, and its place in the order.
pub(crate) const POSTING_BYTES: u64 = 40;

/// An event of a flush batch that has a tag.
#[derive(Clone, Copy)]
pub(crate) struct TaggedEvent<'a> {
    tag: &'a str,
    /// The number of the event.
    event: u32,
}

impl TaggedEvent<'_> {
    /// Each tag of each of `events`. What cannot be a tag is left out: nobody can ask for it.
    pub(crate) fn each_of(events: &[EventToIndex]) -> Vec<TaggedEvent<'_>> {
        let numbered = (0..).zip(events);
        let tagged = numbered.flat_map(|(event, EventToIndex { envelope, .. })| {
            let tags = envelope::tags(envelope).filter(|tag| check_tag(tag).is_ok());
            tags.map(move |tag| TaggedEvent { tag, event })
        });
        tagged.collect()
    }

    /// The event, which is one of `events`.
    pub(crate) fn of(self, events: &[EventToIndex]) -> &EventToIndex {
        &events[self.event as usize]
    }

    pub(crate) fn tag(&self) -> &str {
        self.tag
    }
}

/// What a flush batch is sorted by.
pub(crate) trait Named {
    /// The name of the stream, or the tag.
    fn name(&self) -> &[u8];

    /// The place among those of the same name.
    fn place(&self) -> u64;
}

impl Named for EventToIndex {
    fn name(&self) -> &[u8] {
        self.stream.as_str().as_bytes()
    }

    fn place(&self) -> u64 {
        self.version
    }
}

impl Named for TaggedEvent<'_> {
    fn name(&self) -> &[u8] {
        self.tag.as_bytes()
    }

    fn place(&self) -> u64 {
        self.event.into()
    }
}

/// The events of a flush batch by their names, in the order of these: stream by stream, and in each stream by version;
/// or tag by tag, and for each tag in the order of the journal.
pub(crate) struct ByName<'a, T> {
    events: &'a [T],
    order: Vec<Keyed>,
    /// The range in `order` of each name.
    names: Vec<Range<usize>>,
}

/// The number of an event, and some bytes of its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Keyed {
    key: u64,
    number: u32,
}

impl<'a, T: Named> ByName<'a, T> {
    /// Many names share a prefix. Skips the prefix that all names share, compares the next seven bytes as one number,
    /// and sorts each group of equal numbers in the same way. So few bytes of a name are read twice.
    pub(crate) fn sort(events: &'a [T]) -> ByName<'a, T> {
        let count =
            u32::try_from(events.len()).expect("a flush batch has far fewer than 2³² events");
        let order = (0..count).map(|number| Keyed { key: 0, number }).collect();
        let mut sorted = ByName { events, order, names: Vec::new() };
        if count > 0 {
            sorted.sort_part(0..events.len(), 0);
        }
        sorted
    }

    /// The number of different names.
    pub(crate) fn names(&self) -> usize {
        self.names.len()
    }

    /// The events of each name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = impl Iterator<Item = &'a T> + Clone> {
        let events = self.events;
        self.names
            .iter()
            .map(|name| self.order[name.clone()].iter().map(|keyed| &events[keyed.number as usize]))
    }

    /// Sorts `part`, in which all names share the first `shared` bytes.
    fn sort_part(&mut self, part: Range<usize>, shared: usize) {
        let events = self.events;
        let name = |keyed: &Keyed| events[keyed.number as usize].name();
        let order = &mut self.order[part.clone()];
        let first = name(&order[0]);
        let (mut common, mut are_equal) = (first.len(), true);
        for keyed in &order[1..] {
            let name = name(keyed);
            if name != first {
                let alike = |(a, b): &(&u8, &u8)| a == b;
                let rest = first[shared..common].iter().zip(&name[shared..]);
                common = shared + rest.take_while(alike).count();
                are_equal = false;
            }
        }
        if are_equal {
            // Events from the journal are sorted already.
            order.sort_by_key(|keyed| events[keyed.number as usize].place());
            self.names.push(part);
            return;
        }
        for keyed in &mut *order {
            keyed.key = key_at(name(keyed), common);
        }
        order.sort_unstable();
        let mut start = part.start;
        while start < part.end {
            let key = self.order[start].key;
            let length = self.order[start..part.end].iter().take_while(|k| k.key == key).count();
            let shared = (common + KEY_BYTES).min(name(&self.order[start]).len());
            self.sort_part(start..start + length, shared);
            start += length;
        }
    }
}

const KEY_BYTES: usize = 7;

/// The next bytes of `name` from `at` on as a big-endian number, with their count in the lowest byte.
fn key_at(name: &[u8], at: usize) -> u64 {
    let length = (name.len() - at).min(KEY_BYTES);
    let mut key = [0; KEY_BYTES + 1];
    key[..length].copy_from_slice(&name[at..at + length]);
    key[KEY_BYTES] = length as u8;
    u64::from_be_bytes(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::random::{Random, first_seed, rounds};
    use std::collections::BTreeMap;

    fn event(stream: &str, version: u64, position: u64) -> EventToIndex {
        EventToIndex {
            stream: StreamId::from_stored(stream.to_owned().into()).unwrap(),
            version,
            position,
            recorded_at: Micros(0),
            location: EntryLocation { segment: 1, offset: 0, length: 1 },
            envelope: Bytes::new(),
        }
    }

    /// Names of various lengths that share prefixes of various lengths.
    fn name(random: &mut Random) -> String {
        const PARTS: [&str; 6] = ["a", "b", "a-long-beginning-", "\u{10FFFF}", "1234567", "\0"];
        let parts = (0..=random.below(4)).map(|_| PARTS[random.below(6) as usize]);
        parts.collect()
    }

    #[test]
    fn events_are_sorted_by_name_and_version_whatever_the_names() {
        for seed in first_seed()..first_seed() + rounds(300) {
            let random = &mut Random::new(seed);
            let mut versions: BTreeMap<String, u64> = BTreeMap::new();
            let mut events = Vec::new();
            for position in 0..random.below(400) {
                let name = name(random);
                let version = versions.entry(name.clone()).or_default();
                *version += 1;
                events.push(event(&name, *version, position));
            }
            if random.below(4) == 0 {
                events.reverse();
            }
            let sorted = ByName::sort(&events);
            let place = |event: &EventToIndex| (event.stream.as_str().to_owned(), event.version);
            let met: Vec<Vec<_>> =
                sorted.iter().map(|stream| stream.map(place).collect()).collect();
            let stream = |(name, last): (&String, &u64)| {
                (1..=*last).map(|version| (name.clone(), version)).collect()
            };
            let expected: Vec<Vec<_>> = versions.iter().map(stream).collect();
            assert_eq!(met, expected, "seed {seed}");
            assert_eq!(sorted.names(), expected.len());
        }
    }
}
