//! The tags of the events that the index does not have yet.
//!
//! * A tag is known by its hash, so it takes no memory for its name. Two tags may share one: a reader compares the tags
//!   of the event itself.
//! * Events are kept in memtables, each of one segment. A memtable is dropped as a whole once the index has all
//!   its events, so no event is looked for to be removed.
//! * An event without tags is not here, and costs nothing.

use crate::codec::frame::EntryLocation;
use crate::codec::sst::posting::Posting;
use crate::sst::postings::PostingsPage;
use crate::value::clock::Micros;
use crate::value::limits::TAIL_MEMTABLE_BYTES;
use crate::value::tag::TagHash;
use bytes::Bytes;
use hashbrown::HashTable;
use std::collections::{HashMap, VecDeque};
use std::mem::size_of;
use std::ops::Range;

/// Consecutive events of one stream that have the same type and the same tags, in a frame that has become durable.
pub(crate) struct PublishedTags<'a, L> {
    pub(crate) first_position: u64,
    pub(crate) recorded_at: Micros,
    pub(crate) segment: u64,
    pub(crate) event_type: &'a str,
    pub(crate) hashes: &'a [TagHash],
    /// Where each event is.
    pub(crate) locations: L,
}

#[derive(Default)]
pub(super) struct TailTags {
    /// From the oldest to the newest. Their positions follow one another.
    memtables: VecDeque<Memtable>,
    /// Bytes of all memtables but the newest.
    older_bytes: usize,
    /// The position up to which events may be lacking here, because the index has them.
    dropped: u64,
}

/// Events of one segment.
pub(super) struct Memtable {
    segment: u64,
    /// The position of its first event.
    first: u64,
    /// In the order of their positions.
    events: Vec<TaggedEvent>,
    tags: HashTable<Tagged>,
    /// The events of each tag that has several, as their numbers in ascending order.
    lists: Vec<Vec<u32>>,
    /// The names of the events' types, and the number of each.
    types: Vec<Bytes>,
    numbers: HashMap<Bytes, u32>,
    /// Bytes of what is in `lists`, and of the types' names.
    listed_bytes: usize,
}

struct TaggedEvent {
    recorded_at: Micros,
    /// Its position, less that of the memtable's first event.
    distance: u32,
    /// The offset of its entry in the segment, and its length.
    offset: u32,
    length: u32,
    event_type: u32,
}

/// The events that have a tag, by the tag's hash.
struct Tagged {
    hash: TagHash,
    /// The number of the only event, or `LIST` and the number of a list.
    events: u32,
}

/// Says that a tag has several events. No memtable has so many events, or lists.
const LIST: u32 = 1 << 31;

impl TailTags {
    /// The tags of events after position `indexed`, which the index has reached.
    pub(super) fn after(indexed: u64) -> TailTags {
        TailTags { dropped: indexed, ..TailTags::default() }
    }

    /// Adds events that come after all others.
    pub(super) fn add<L: Iterator<Item = EntryLocation>>(&mut self, run: PublishedTags<'_, L>) {
        let segment = run.segment;
        let is_full = self.memtables.back().is_none_or(|newest| {
            newest.segment != segment || newest.bytes() >= TAIL_MEMTABLE_BYTES
        });
        if is_full {
            if let Some(full) = self.memtables.back_mut() {
                full.events.shrink_to_fit();
                self.older_bytes += full.bytes();
            }
            self.memtables.push_back(Memtable::new(segment, run.first_position));
        }
        if let Some(newest) = self.memtables.back_mut() {
            newest.add(run);
        }
    }

    /// Removes what the index has by `position`, and returns it: to free it takes long.
    #[must_use]
    pub(super) fn trim(&mut self, position: u64) -> Vec<Memtable> {
        let indexed = self.memtables.partition_point(|memtable| memtable.last() <= position);
        let dropped: Vec<_> = self.memtables.drain(..indexed).collect();
        let older = self.memtables.len().saturating_sub(1);
        self.older_bytes = self.memtables.iter().take(older).map(Memtable::bytes).sum();
        self.dropped = self.dropped.max(position);
        dropped
    }

    /// The position up to which the index must be asked, too.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// About how much memory this takes.
    pub(super) fn bytes(&self) -> usize {
        self.older_bytes + self.memtables.back().map_or(0, Memtable::bytes)
    }

    /// At least those events with `tag` that are after position `after` and not after `to`, no more than `limit`: some
    /// may have another tag.
    pub(super) fn postings(
        &self,
        tag: &str,
        (after, to): (u64, u64),
        limit: usize,
    ) -> PostingsPage {
        let mut page = PostingsPage::default();
        let passed = self.memtables.partition_point(|memtable| memtable.last() <= after);
        if passed == self.memtables.len() {
            return page;
        }
        let hash = TagHash::of(tag);
        for memtable in self.memtables.range(passed..) {
            for posting in memtable.postings(hash, after) {
                if posting.position > to {
                    return page;
                }
                if page.postings.len() == limit {
                    page.has_more = true;
                    return page;
                }
                page.postings.push(posting);
            }
        }
        page
    }

    /// How many events have `tag` at most.
    pub(super) fn postings_at_most(&self, tag: &str) -> u64 {
        let hash = TagHash::of(tag);
        let found = self.memtables.iter().filter_map(|memtable| memtable.numbers(hash));
        found.map(|numbers| numbers.len() as u64).sum()
    }
}

impl Memtable {
    fn new(segment: u64, first: u64) -> Memtable {
        Memtable {
            segment,
            first,
            events: Vec::new(),
            tags: HashTable::new(),
            lists: Vec::new(),
            types: Vec::new(),
            numbers: HashMap::new(),
            listed_bytes: 0,
        }
    }

    /// The position of its last event.
    fn last(&self) -> u64 {
        self.events.last().map_or(self.first, |last| self.position(last))
    }

    fn position(&self, event: &TaggedEvent) -> u64 {
        self.first + u64::from(event.distance)
    }

    fn bytes(&self) -> usize {
        self.events.capacity() * size_of::<TaggedEvent>()
            // A table of hashes has a byte for each place besides the place itself.
            + self.tags.capacity() * (size_of::<Tagged>() + 1) * 8 / 7
            + self.lists.capacity() * size_of::<Vec<u32>>()
            + self.listed_bytes
    }

    fn add<L: Iterator<Item = EntryLocation>>(&mut self, run: PublishedTags<'_, L>) {
        let PublishedTags {
            first_position,
            recorded_at,
            segment: _,
            event_type,
            hashes,
            locations,
        } = run;
        let event_type = self.number_of_type(event_type);
        let (first, first_of_all) = (self.events.len(), self.first);
        self.events.extend((first_position..).zip(locations).map(|(position, location)| {
            let EntryLocation { segment: _, offset, length } = location;
            let distance = u32::try_from(position - first_of_all);
            let distance = distance.expect("a segment has fewer events than bytes");
            TaggedEvent { recorded_at, distance, offset, length, event_type }
        }));
        let number = |n| u32::try_from(n).expect("the bound on bytes is far below");
        let numbers = number(first)..number(self.events.len());
        hashes.iter().for_each(|hash| self.add_to_tag(*hash, numbers.clone()));
    }

    fn add_to_tag(&mut self, hash: TagHash, mut numbers: Range<u32>) {
        let Some(tagged) = self.tags.find_mut(hash.spread(), |tagged| tagged.hash == hash) else {
            let Some(events) = numbers.next() else { return };
            let tagged = Tagged { hash, events };
            self.tags.insert_unique(hash.spread(), tagged, |tagged| tagged.hash.spread());
            if !numbers.is_empty() {
                self.add_to_tag(hash, numbers);
            }
            return;
        };
        if tagged.events & LIST == 0 {
            let list = u32::try_from(self.lists.len()).expect("there are fewer than events");
            self.lists.push(vec![tagged.events]);
            self.listed_bytes += size_of::<u32>();
            tagged.events = LIST | list;
        }
        let list = &mut self.lists[(tagged.events & !LIST) as usize];
        let before = list.capacity();
        list.extend(numbers);
        self.listed_bytes += size_of::<u32>() * (list.capacity() - before);
    }

    fn number_of_type(&mut self, name: &str) -> u32 {
        // Mostly the type of the event before it.
        if let Some(newest) = self.events.last()
            && self.types[newest.event_type as usize] == name.as_bytes()
        {
            return newest.event_type;
        }
        if let Some(number) = self.numbers.get(name.as_bytes()) {
            return *number;
        }
        let number = u32::try_from(self.types.len()).expect("there is one for each event at most");
        // Copy the name: the event's own shares the frame's buffer and would keep it in memory.
        let name = Bytes::copy_from_slice(name.as_bytes());
        self.listed_bytes += 2 * size_of::<Bytes>() + name.len();
        self.types.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    fn numbers(&self, hash: TagHash) -> Option<&[u32]> {
        let tagged = self.tags.find(hash.spread(), |tagged| tagged.hash == hash)?;
        Some(match tagged.events & LIST {
            0 => std::slice::from_ref(&tagged.events),
            _ => &self.lists[(tagged.events & !LIST) as usize],
        })
    }

    /// The events with the tag of this hash that are after position `after`.
    fn postings(&self, hash: TagHash, after: u64) -> impl Iterator<Item = Posting> {
        let numbers = self.numbers(hash).unwrap_or_default();
        let passed = numbers
            .partition_point(|number| self.position(&self.events[*number as usize]) <= after);
        numbers[passed..].iter().map(|number| self.posting(&self.events[*number as usize]))
    }

    fn posting(&self, event: &TaggedEvent) -> Posting {
        let TaggedEvent { recorded_at, distance: _, offset, length, event_type } = *event;
        let position = self.position(event);
        let location = EntryLocation { segment: self.segment, offset, length };
        let event_type = self.types[event_type as usize].clone();
        Posting { position, recorded_at, location, event_type }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::random::{Random, first_seed, rounds};
    use std::collections::{BTreeMap, BTreeSet};
    use std::ops::RangeInclusive;

    /// Adds events with these positions, which are alike.
    fn add(
        tags: &mut TailTags,
        positions: RangeInclusive<u64>,
        segment: u64,
        (event_type, names): (&str, &[String]),
    ) {
        let names: BTreeSet<_> = names.iter().collect();
        let hashes: Vec<_> = names.into_iter().map(|tag| TagHash::of(tag)).collect();
        tags.add(PublishedTags {
            first_position: *positions.start(),
            recorded_at: Micros(*positions.start() as i64),
            segment,
            event_type,
            hashes: &hashes,
            locations: positions.map(|at| EntryLocation { segment, offset: at as u32, length: 9 }),
        });
    }

    fn positions(page: &PostingsPage) -> Vec<u64> {
        page.postings.iter().map(|posting| posting.position).collect()
    }

    #[test]
    fn the_tail_knows_the_events_of_a_tag_until_the_index_has_them_all() {
        for seed in first_seed()..first_seed() + rounds(100) {
            let random = &mut Random::new(seed);
            let (mut tags, mut truth) = (TailTags::after(100), BTreeMap::new());
            let (mut segment, mut last) = (1, 100);
            for _ in 0..random.below(300) {
                let first = last + 1 + random.below(3);
                last = first + random.below(3);
                segment += u64::from(random.below(50) == 0);
                let names: Vec<_> =
                    (0..1 + random.below(4)).map(|_| format!("t{}", random.below(20))).collect();
                let event_type = format!("T{}", random.below(3));
                for name in &names {
                    let of_tag = truth.entry(name.clone()).or_insert_with(BTreeMap::new);
                    of_tag.extend((first..=last).map(|at| (at, (at, segment, event_type.clone()))));
                }
                add(&mut tags, first..=last, segment, (&event_type, &names));
            }
            let trimmed = 100 + random.below(last + 2 - 100);
            drop(tags.trim(trimmed));
            assert_eq!(tags.dropped(), trimmed);
            for tag in 0..22 {
                let tag = format!("t{tag}");
                let after = trimmed + random.below(20);
                let to = after + random.below(200);
                let limit = 1 + random.below(8) as usize;
                let page = tags.postings(&tag, (after, to), limit);
                let held = truth.get(&tag).into_iter().flatten();
                let mut expected: Vec<_> =
                    held.filter(|(at, _)| **at > after && **at <= to).collect();
                assert_eq!(page.has_more, expected.len() > limit, "seed {seed}");
                expected.truncate(limit);
                let places: Vec<_> = page
                    .postings
                    .iter()
                    .map(|found| {
                        let event_type = String::from_utf8(found.event_type.to_vec()).unwrap();
                        assert_eq!(found.location.offset, found.position as u32);
                        (found.position, found.location.segment, event_type)
                    })
                    .collect();
                let expected: Vec<_> = expected.into_iter().map(|(_, held)| held.clone()).collect();
                assert_eq!(places, expected, "seed {seed}");
                let all = tags.postings(&tag, (trimmed, u64::MAX), usize::MAX);
                assert!(tags.postings_at_most(&tag) >= all.postings.len() as u64);
            }
            drop(tags.trim(last));
            assert_eq!((tags.bytes(), tags.memtables.len()), (0, 0), "seed {seed}");
        }
    }

    #[test]
    fn what_tags_take_is_about_what_is_counted_and_a_full_memtable_is_followed_by_another() {
        let mut tags = TailTags::default();
        let mut position = 0;
        while tags.memtables.len() < 3 {
            position += 1;
            let names = [format!("t{position}"), "hot".to_owned()];
            add(&mut tags, position..=position, 1, ("T", &names));
        }
        let each = 2 * TAIL_MEMTABLE_BYTES;
        assert!(tags.bytes() < 2 * each, "{}", tags.bytes());
        assert!(tags.bytes() / position as usize > size_of::<TaggedEvent>());
        let page = tags.postings("hot", (0, position), usize::MAX);
        assert!(positions(&page).into_iter().eq(1..=position));
        drop(tags.trim(position - 1));
        assert_eq!(positions(&tags.postings("hot", (position - 1, position), 9)), [position]);
    }
}
