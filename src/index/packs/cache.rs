//! Blocks of packs' directories that were read lately. A pack's number is given out once, and what it holds never
//! changes, so a block that is here is the one in the file.

use crate::codec::pack::BlockPlace;
use crate::codec::pack::directory::Directory;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// What a block takes in memory beside its content.
const OVERHEAD_BYTES: usize = 128;
/// About what a block takes.
const BLOCK_BYTES: u64 = 2_048;

pub(crate) struct DirectoryCache(Cache<(u64, u64), Directory, ByBytes>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<(u64, u64), Directory> for ByBytes {
    fn weight(&self, _: &(u64, u64), block: &Directory) -> u64 {
        (block.bytes() + OVERHEAD_BYTES) as u64
    }
}

impl DirectoryCache {
    /// A cache of blocks of up to so many bytes.
    pub(crate) fn new(bytes_max: u64) -> DirectoryCache {
        DirectoryCache(Cache::with_weighter((bytes_max / BLOCK_BYTES) as usize, bytes_max, ByBytes))
    }

    /// The block at `place` of pack `number`, read by `read` if it is not here.
    pub(crate) fn get_or_read<E>(
        &self,
        number: u64,
        place: BlockPlace,
        read: impl FnOnce() -> Result<Directory, E>,
    ) -> Result<Directory, E> {
        let key = (number, place.offset);
        if let Some(block) = self.0.get(&key) {
            return Ok(block);
        }
        let block = read()?;
        self.0.insert(key, block.clone());
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::pack::directory::{DirectoryBuilder, Run};
    use crate::codec::state::StreamState;
    use crate::position::Version;
    use crate::stream::StreamId;
    use std::cell::Cell;

    fn place(offset: u64) -> BlockPlace {
        BlockPlace { offset, length: 1 }
    }

    fn block() -> Directory {
        let stream = StreamId::new("A-1").unwrap();
        let state = StreamState { version: Version::new(1), ..StreamState::absent() };
        let mut builder = DirectoryBuilder::default();
        let chunk = place(0);
        builder.put(&Run { stream, first_version: 1, events: 1, state, chunk, start: 0 });
        let mut content = Vec::new();
        builder.finish(None, &mut content);
        Directory::decode(content.into()).unwrap()
    }

    /// How many of `places` have to be read.
    fn read(cache: &DirectoryCache, places: impl Iterator<Item = (u64, u64)>) -> usize {
        let reads = Cell::new(0);
        for (number, offset) in places {
            let read = || {
                reads.set(reads.get() + 1);
                Ok::<_, ()>(block())
            };
            assert_eq!(cache.get_or_read(number, place(offset), read).unwrap().count(), 1);
        }
        reads.get()
    }

    #[test]
    fn a_block_is_read_once_for_each_pack_and_place() {
        let cache = DirectoryCache::new(1 << 20);
        let places = || (1..=3).flat_map(|number| [(number, 0), (number, 7)]);
        assert_eq!(read(&cache, places().chain(places())), 6);
        assert!(cache.get_or_read(9, place(0), || Err("unreadable")).is_err());
        assert_eq!(read(&cache, [(9, 0)].into_iter()), 1, "an error was kept");
    }

    #[test]
    fn it_keeps_no_more_than_it_may() {
        for bytes_max in [0, 1, 10_000, 1 << 20] {
            let cache = DirectoryCache::new(bytes_max);
            read(&cache, (0..20_000).map(|offset| (1, offset)));
            assert!(cache.0.weight() <= bytes_max, "{} of {bytes_max}", cache.0.weight());
        }
    }
}
