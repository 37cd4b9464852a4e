//! Finds the index block of a table that a look-up needs.
//!
//! The process that has the store open asks sled: each table has a tree of its index blocks, by the key that each
//! begins with. Another process cannot open sled's database; it searches the list of index blocks that the table
//! holds itself.

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

impl BlockFinder for ListedBlocks {
    fn up_to(&self, table: &Table, stream: &StreamId, version: u64) -> Result<Option<IndexBlock>> {
        let places = table.index_blocks()?;
        let (mut left, mut found) = (&*places, None);
        // A binary search that keeps the last block that begins early enough.
        while let Some(place) = left.get(left.len() / 2) {
            let index_block = table.cached_index_block(*place, false)?;
            let (before, after) = left.split_at(left.len() / 2);
            let begins = table.sound(index_block.begin())?;
            (left, found) = match begins <= (stream.as_str().as_bytes(), version) {
                true => (after.get(1..).unwrap_or_default(), Some(index_block)),
                false => (before, found),
            };
        }
        Ok(found)
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
