//! A cache of recently read blocks: index blocks, and decompressed event blocks. A table's number is never
//! reused and its content never changes, so a cached block is always the one in the file.
//!
//! Index blocks: with 500,000 streams written in turn, each append to a stream that had left the tail read an index
//! block from the file, which took a fifth of the writer's time. Event blocks: 500 streams of 20 events that are read
//! again and again are read at 3,900,000 events a second with the cache and 2,050,000 without it; 4,000 of them at
//! 2,400,000 and 1,900,000. An event block is kept only at its second read: keeping each at its first made 8,000
//! streams, twice what there is room for, 10 % slower than keeping none (docs/decisions/0008).

use crate::codec::sst::BlockPlace;
use crate::codec::sst::block_index::IndexBlock;
use crate::telemetry::counters::Striped;
use crate::value::limits::{EVENT_BLOCKS_NOTED_MAX, TABLE_EVENT_BLOCK_BYTES_MAX};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// About how much memory a block takes besides its content: its key, its place in the cache, and the allocation. With
/// this estimate, many short blocks do not exceed the bound.
const OVERHEAD_BYTES: usize = 128;
/// About how much memory a block takes. It decides only how many places the cache begins with.
const BLOCK_BYTES: u64 = 4_096;

/// An event block is kept when it is read again, for any stream, before about as many other blocks as there is room
/// for. So a block that is read once evicts nothing.
pub(crate) struct BlockCache {
    blocks: Cache<(u64, u64), Block, ByBytes>,
    hasher: RandomState,
    /// Hashes of event blocks that were read lately and not kept. The hash gives the place, which holds the last two.
    /// With only one, two blocks with the same place that are read in turn would never be kept. Empty if there is no
    /// room for an event block.
    missed: Box<[[AtomicU64; 2]]>,
    /// Look-ups that found a block, and those that did not.
    pub(crate) hits: Striped,
    pub(crate) misses: Striped,
}

#[derive(Clone)]
enum Block {
    IndexBlock(IndexBlock),
    EventBlock(Bytes),
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<(u64, u64), Block> for ByBytes {
    fn weight(&self, _: &(u64, u64), block: &Block) -> u64 {
        let bytes = match block {
            Block::IndexBlock(index_block) => index_block.bytes(),
            Block::EventBlock(events) => events.len(),
        };
        (bytes + OVERHEAD_BYTES) as u64
    }
}

impl BlockCache {
    /// A cache for up to `bytes_max` bytes of blocks.
    pub(crate) fn new(bytes_max: u64) -> BlockCache {
        let blocks = usize::try_from(bytes_max / BLOCK_BYTES).unwrap_or(usize::MAX);
        let event_blocks =
            (bytes_max / TABLE_EVENT_BLOCK_BYTES_MAX as u64).min(EVENT_BLOCKS_NOTED_MAX);
        BlockCache {
            blocks: Cache::with_weighter(blocks, bytes_max, ByBytes),
            hasher: RandomState::new(),
            missed: (0..event_blocks).map(|_| Default::default()).collect(),
            hits: Striped::default(),
            misses: Striped::default(),
        }
    }

    /// Forgets all blocks.
    pub(crate) fn clear(&self) {
        self.blocks.clear();
    }

    /// The index block at `place` of table `number`, if it is cached.
    pub(crate) fn index_block(&self, number: u64, place: BlockPlace) -> Option<IndexBlock> {
        match self.get(number, place)? {
            Block::IndexBlock(index_block) => Some(index_block),
            Block::EventBlock(_) => None,
        }
    }

    fn get(&self, number: u64, place: BlockPlace) -> Option<Block> {
        let found = self.blocks.get(&(number, place.offset));
        match found {
            Some(_) => self.hits.increment(),
            None => self.misses.increment(),
        }
        found
    }

    pub(crate) fn put_index_block(&self, number: u64, place: BlockPlace, index_block: &IndexBlock) {
        self.blocks.insert((number, place.offset), Block::IndexBlock(index_block.clone()));
    }

    /// The events of the event block at `place` of table `number`, if they are cached.
    pub(crate) fn event_block(&self, number: u64, place: BlockPlace) -> Option<Bytes> {
        match self.get(number, place)? {
            Block::EventBlock(events) => Some(events),
            Block::IndexBlock(_) => None,
        }
    }

    /// Keeps the events of an event block if they were read before, not long ago.
    pub(crate) fn put_event_block(&self, number: u64, place: BlockPlace, events: &Bytes) {
        let key = (number, place.offset);
        let hash = self.hasher.hash_one(key);
        let place = hash.checked_rem(self.missed.len() as u64);
        let missed = place.and_then(|place| self.missed.get(usize::try_from(place).ok()?));
        let Some([last, before]) = missed else { return };
        // A race with other threads affects only which blocks are kept.
        let was_last = last.swap(hash, Ordering::Relaxed);
        if was_last == hash || before.swap(was_last, Ordering::Relaxed) == hash {
            // A copy, because an uncompressed event block shares its buffer with other blocks.
            self.blocks.insert(key, Block::EventBlock(Bytes::copy_from_slice(events)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::sst::block_index::{IndexBlockBuilder, KeyRun};
    use crate::codec::state::StreamState;
    use crate::value::position::Version;
    use crate::value::stream::StreamId;

    fn place(offset: u64) -> BlockPlace {
        BlockPlace { offset, length: 1 }
    }

    fn index_block() -> IndexBlock {
        let stream = StreamId::new("A-1").unwrap();
        let state = StreamState { version: Version::new(1), ..StreamState::absent() };
        let mut builder = IndexBlockBuilder::default();
        let event_block = place(0);
        builder.put(&KeyRun { stream, first_version: 1, events: 1, state, event_block, start: 0 });
        let mut content = Vec::new();
        builder.finish(None, &mut content);
        IndexBlock::decode(content.into()).unwrap()
    }

    #[test]
    fn a_block_is_known_by_its_table_its_place_and_its_kind() {
        let cache = BlockCache::new(1 << 20);
        cache.put_index_block(1, place(0), &index_block());
        let events = Bytes::from_static(b"events");
        cache.put_event_block(1, place(7), &events);
        assert!(cache.event_block(1, place(7)).is_none(), "it was read once");
        cache.put_event_block(1, place(7), &events);
        assert_eq!(cache.index_block(1, place(0)).unwrap().count(), 1);
        assert_eq!(cache.event_block(1, place(7)).unwrap(), "events");
        assert!(
            cache.index_block(1, place(7)).is_none() && cache.event_block(1, place(0)).is_none()
        );
        assert!(
            cache.index_block(2, place(0)).is_none() && cache.event_block(1, place(8)).is_none()
        );
    }

    #[test]
    fn it_keeps_no_more_than_it_may() {
        for bytes_max in [0, 1, 10_000, 1 << 20] {
            let cache = BlockCache::new(bytes_max);
            for offset in 0..20_000 {
                match offset % 2 {
                    0 => cache.put_index_block(1, place(offset), &index_block()),
                    _ => (0..2).for_each(|_| {
                        cache.put_event_block(1, place(offset), &vec![0; 4_096].into());
                    }),
                }
            }
            assert!(cache.blocks.weight() <= bytes_max, "{} of {bytes_max}", cache.blocks.weight());
        }
    }

    /// How many of `places` are kept after each was read `times` times in a row.
    fn kept(cache: &BlockCache, times: u64, places: std::ops::Range<u64>) -> usize {
        let event_block = Bytes::from(vec![0; TABLE_EVENT_BLOCK_BYTES_MAX]);
        for offset in places.clone() {
            (0..times).for_each(|_| cache.put_event_block(1, place(offset), &event_block));
        }
        places.filter(|offset| cache.event_block(1, place(*offset)).is_some()).count()
    }

    /// Of the first hundred, each hash is left with a probability of 0.1 %: of ten times as many blocks as there is
    /// room for, ten come to its place, which holds two. With half as many it was 4 %, and the test failed at times.
    #[test]
    fn what_is_read_once_is_not_kept_and_what_is_read_again_is() {
        let cache = BlockCache::new(1_000 * (TABLE_EVENT_BLOCK_BYTES_MAX + OVERHEAD_BYTES) as u64);
        assert_eq!(kept(&cache, 1, 0..10_000), 0);
        // Blocks that were read long ago are forgotten, but a few hashes may be left.
        assert!(kept(&cache, 1, 0..100) < 10);
        let again = kept(&cache, 1, 0..100);
        assert!(again > 90, "{again} of 100 were kept");
        assert_eq!(kept(&cache, 2, 200..300), 100);
        // Blocks that are read once evict nothing.
        kept(&cache, 1, 1_000..9_000);
        assert_eq!(kept(&cache, 0, 200..300), 100);
    }

    #[test]
    fn where_there_is_no_room_for_a_chunk_none_is_kept() {
        let cache = BlockCache::new(TABLE_EVENT_BLOCK_BYTES_MAX as u64 - 1);
        assert_eq!(kept(&cache, 3, 0..10), 0);
    }
}
