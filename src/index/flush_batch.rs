//! A flush batch: a stretch of the journal, event by event, that the index ingests at once.

use crate::codec::checkpoint::Checkpoint;
use crate::codec::envelope;
use crate::codec::frame::EntryLocation;
use crate::codec::sparse_index::SparseEntry;
use crate::value::clock::Micros;
use crate::value::limits::{EVENT_BYTES_MAX, TAG_BYTES_MAX};
use crate::value::stream::StreamId;
use crate::value::tag::check_tag;
use bytes::Bytes;
use std::num::NonZeroU32;
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

/// Bytes of memory that a posting takes while its flush batch is ingested: its place in the order, and the end of its
/// name there.
pub(crate) const POSTING_BYTES: u64 = (size_of::<Named>() + size_of::<u32>()) as u64;

/// The events of a flush batch by their names, in the order of these: stream by stream, and in each stream by version;
/// or tag by tag, and for each tag in the order of the journal.
pub(crate) struct ByName<'a> {
    events: &'a [EventToIndex],
    order: Vec<Named>,
    /// Where in `order` each name ends, and the next one begins.
    ends: Vec<u32>,
}

/// A name of an event: that of its stream, or a tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    /// Some bytes of the name.
    key: u64,
    /// The number of the event.
    event: u32,
    /// The tag; none for the stream.
    tag: Option<TagPlace>,
}

impl Named {
    fn new(event: u32, tag: Option<TagPlace>) -> Named {
        Named { key: 0, event, tag }
    }

    fn name<'a>(&self, events: &'a [EventToIndex]) -> &'a [u8] {
        let event = &events[self.event as usize];
        match self.tag {
            None => event.stream.as_str().as_bytes(),
            Some(tag) => event.envelope.get(tag.range()).unwrap_or_default(),
        }
    }

    /// The place among those of the same name.
    fn place(&self, events: &[EventToIndex]) -> u64 {
        match self.tag {
            None => events[self.event as usize].version,
            Some(_) => self.event.into(),
        }
    }
}

impl<'a> ByName<'a> {
    /// By the names of their streams.
    pub(crate) fn streams(events: &'a [EventToIndex]) -> ByName<'a> {
        ByName::sort(events, numbered(events).map(|(event, _)| Named::new(event, None)).collect())
    }

    /// By their tags. What cannot be a tag is left out: nobody can ask for it.
    pub(crate) fn tags(events: &'a [EventToIndex]) -> ByName<'a> {
        // A vector that grows takes up to three times as much memory.
        let count = events.iter().map(|event| envelope::tags(&event.envelope).count()).sum();
        let mut order = Vec::with_capacity(count);
        order.extend(numbered(events).flat_map(|(event, EventToIndex { envelope, .. })| {
            let tags = envelope::tags(envelope).filter(|tag| check_tag(tag).is_ok());
            let places = tags.filter_map(|tag| TagPlace::of(tag, envelope));
            places.map(move |tag| Named::new(event, Some(tag)))
        }));
        ByName::sort(events, order)
    }

    /// Many names share a prefix. Skips the prefix that all names share, compares the next seven bytes as one number,
    /// and sorts each group of equal numbers in the same way. So few bytes of a name are read twice.
    fn sort(events: &'a [EventToIndex], order: Vec<Named>) -> ByName<'a> {
        u32::try_from(order.len()).expect("a flush batch has far fewer than 2³² postings");
        let mut sorted = ByName { events, order, ends: Vec::new() };
        if !sorted.order.is_empty() {
            sorted.sort_part(0..sorted.order.len(), 0);
        }
        sorted
    }

    /// The number of different names.
    pub(crate) fn names(&self) -> usize {
        self.ends.len()
    }

    /// How often an event has a name.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Each name, and its events.
    pub(crate) fn iter(
        &self,
    ) -> impl Iterator<Item = (&'a str, impl Iterator<Item = &'a EventToIndex> + Clone)> {
        let events = self.events;
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let named = &self.order[std::mem::replace(&mut start, *end as usize)..*end as usize];
            let name = named.first().map_or(&[][..], |first| first.name(events));
            let name = std::str::from_utf8(name).expect("it was text when it was sorted");
            (name, named.iter().map(|named| &events[named.event as usize]))
        })
    }

    /// Sorts `part`, in which all names share the first `shared` bytes.
    fn sort_part(&mut self, part: Range<usize>, shared: usize) {
        let events = self.events;
        let order = &mut self.order[part.clone()];
        let first = order[0].name(events);
        let (mut common, mut are_equal) = (first.len(), true);
        for named in &order[1..] {
            let name = named.name(events);
            if name != first {
                let alike = |(a, b): &(&u8, &u8)| a == b;
                let rest = first[shared..common].iter().zip(&name[shared..]);
                common = shared + rest.take_while(alike).count();
                are_equal = false;
            }
        }
        if are_equal {
            // Events from the journal are sorted already.
            order.sort_by_key(|named| named.place(events));
            self.ends.push(part.end as u32);
            return;
        }
        for named in &mut *order {
            named.key = key_at(named.name(events), common);
        }
        order.sort_unstable();
        let mut start = part.start;
        while start < part.end {
            let key = self.order[start].key;
            let length = self.order[start..part.end].iter().take_while(|k| k.key == key).count();
            let shared = (common + KEY_BYTES).min(self.order[start].name(events).len());
            self.sort_part(start..start + length, shared);
            start += length;
        }
    }
}

/// Each event with its number.
fn numbered(events: &[EventToIndex]) -> impl Iterator<Item = (u32, &EventToIndex)> {
    (0..).zip(events)
}

/// Where in its event's envelope a tag is: the offset times 256, and the tag's length less one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct TagPlace(NonZeroU32);

const _: () = assert!(EVENT_BYTES_MAX <= 1 << 24 && TAG_BYTES_MAX <= 1 << 8);

impl TagPlace {
    /// The place of `tag`, which is a part of `envelope`; `None` if no event that was accepted has a tag there.
    fn of(tag: &str, envelope: &[u8]) -> Option<TagPlace> {
        let offset = tag.as_ptr().addr().checked_sub(envelope.as_ptr().addr())?;
        let offset = u32::try_from(offset).ok().filter(|offset| *offset < 1 << 24)?;
        let length = u8::try_from(tag.len().checked_sub(1)?).ok()?;
        NonZeroU32::new(offset << 8 | u32::from(length)).map(TagPlace)
    }

    fn range(self) -> Range<usize> {
        let (offset, length) = (self.0.get() >> 8, (self.0.get() & 0xFF) + 1);
        offset as usize..(offset + length) as usize
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
    use crate::value::event::{Metadata, NewEvent};
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
            let sorted = ByName::streams(&events);
            let place = |event: &EventToIndex| (event.stream.as_str().to_owned(), event.version);
            let met: Vec<Vec<_>> =
                sorted.iter().map(|(_, stream)| stream.map(place).collect()).collect();
            let stream = |(name, last): (&String, &u64)| {
                (1..=*last).map(|version| (name.clone(), version)).collect()
            };
            let expected: Vec<Vec<_>> = versions.iter().map(stream).collect();
            assert_eq!(met, expected, "seed {seed}");
            assert_eq!(sorted.names(), expected.len());
        }
    }

    #[test]
    fn events_are_sorted_by_tag_and_place_whatever_the_tags_and_a_posting_takes_few_bytes() {
        assert_eq!(POSTING_BYTES, 20);
        for seed in first_seed()..first_seed() + rounds(100) {
            let random = &mut Random::new(seed);
            let mut truth: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            let mut events = Vec::new();
            for position in 0..random.below(200) {
                let mut new = NewEvent::bytes("T", &b"x"[..]);
                if random.below(4) == 0 {
                    new = new.metadata(Metadata::default().user("u".repeat(70_000)));
                }
                for _ in 0..random.below(5) {
                    let length = [1, 2, 9, 250, 251, TAG_BYTES_MAX][random.below(6) as usize];
                    new = new.tag(format!("{:x<length$}", random.below(30)));
                }
                for tag in &new.tags {
                    truth.entry(tag.clone()).or_default().push(position);
                }
                let mut envelope = Vec::new();
                envelope::encode(&new, &mut envelope);
                events.push(EventToIndex { envelope: envelope.into(), ..event("S", 1, position) });
            }
            let sorted = ByName::tags(&events);
            let met = sorted.iter().map(|(tag, events)| {
                let positions = events.map(|event| event.position);
                (tag.to_owned(), positions.collect::<Vec<u64>>())
            });
            assert!(met.eq(truth.clone()), "seed {seed}");
            assert_eq!(sorted.names(), truth.len(), "seed {seed}");
            let postings: usize = truth.values().map(Vec::len).sum();
            assert_eq!(sorted.len(), postings, "seed {seed}");
        }
    }
}
