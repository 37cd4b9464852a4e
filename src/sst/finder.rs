//! Finds the index block of a table that a look-up needs.
//!
//! The process that has the store open asks sled: each table has a tree of its index blocks, by the key that each begins
//! with. Another process cannot open sled's database; it searches the list of index blocks that the table holds itself.

use crate::codec::keys;
use crate::codec::sst::block_index::IndexBlock;
use crate::codec::sst::posting::tag_of_name;
use crate::kv::database::Database;
use crate::sst::reader::{BlockFinder, Table};
use crate::value::error::Result;
use crate::value::stream::StreamId;

impl BlockFinder for Database {
    fn up_to(&self, table: &Table, stream: &StreamId, version: u64) -> Result<Option<IndexBlock>> {
        let key = keys::event_key(stream, version);
        let mut blocks = self.range::<&[u8]>(table.tree(), ..=key.as_slice());
        let Some((begin, place)) = blocks.next_back()? else { return Ok(None) };
        let is_tag = tag_of_name(stream).is_some();
        let index_block = table.cached_index_block(table.place(&place)?, is_tag)?;
        table.check_begin(index_block, &begin).map(Some)
    }

    fn beginning(
        &self,
        table: &Table,
        stream: &StreamId,
        version: u64,
    ) -> Result<Option<IndexBlock>> {
        let key = keys::event_key(stream, version);
        let Some(place) = self.get(table.tree(), &key)? else { return Ok(None) };
        let index_block = table.read_index_block(table.place(&place)?, false)?;
        table.check_begin(index_block, &key).map(Some)
    }
}

/// The lists that the tables hold themselves.
pub(crate) struct ListedBlocks;

impl ListedBlocks {
    /// How many index blocks of `table` begin at or before `version` of `stream`.
    fn count_up_to(table: &Table, stream: &StreamId, version: u64) -> Result<usize> {
        let places = table.index_blocks()?;
        let (mut low, mut high) = (0, places.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let index_block = table.cached_index_block(places[middle], false)?;
            match table.sound(index_block.begin())? <= (stream.as_str().as_bytes(), version) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }
}

impl BlockFinder for ListedBlocks {
    fn up_to(&self, table: &Table, stream: &StreamId, version: u64) -> Result<Option<IndexBlock>> {
        let count = ListedBlocks::count_up_to(table, stream, version)?;
        let last = count.checked_sub(1).map(|last| table.index_blocks().map(|at| at[last]));
        last.transpose()?.map(|place| table.cached_index_block(place, false)).transpose()
    }

    fn beginning(
        &self,
        table: &Table,
        stream: &StreamId,
        version: u64,
    ) -> Result<Option<IndexBlock>> {
        let found = self.up_to(table, stream, version)?;
        let begins = (stream.as_str().as_bytes(), version);
        let is_it = found.as_ref().map(|found| table.sound(found.begin())).transpose()?;
        Ok(if is_it == Some(begins) { found } else { None })
    }
}
