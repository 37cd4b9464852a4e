//! Walks over the runs of one table in order. It can skip runs, which costs a look-up only if the target is not in
//! the current block.

use crate::codec::sst::block_index::{IndexBlock, KeyRun};
use crate::sst::reader::{BlockFinder, Table};
use crate::value::error::Result;
use crate::value::stream::StreamId;
use std::sync::Arc;

/// A place between two runs of a table.
pub(crate) struct TableCursor {
    pub(crate) table: Arc<Table>,
    block: Option<IndexBlock>,
    /// The number of the next run in its block.
    at: usize,
    /// The next run, once it is decoded.
    next: Option<KeyRun>,
}

impl TableCursor {
    /// A cursor before the first run.
    pub(crate) fn of(finder: &dyn BlockFinder, table: &Arc<Table>) -> Result<TableCursor> {
        let (stream, version) = &table.footer.first;
        let block = Some(table.index_block_beginning(finder, stream, *version)?);
        Ok(TableCursor { table: Arc::clone(table), block, at: 0, next: None })
    }

    /// A cursor without a place. The caller must call [`TableCursor::seek_behind`] first.
    pub(crate) fn anywhere(table: &Arc<Table>) -> TableCursor {
        TableCursor { table: Arc::clone(table), block: None, at: 0, next: None }
    }

    /// Returns the next run without taking it; `None` at the end.
    pub(crate) fn peek(&mut self, finder: &dyn BlockFinder) -> Result<Option<&KeyRun>> {
        if self.next.is_none() {
            self.enter_next_block(finder)?;
            if let Some(block) = self.block.as_ref().filter(|block| self.at < block.count()) {
                self.next = Some(self.table.sound(block.run(self.at))?);
            }
        }
        Ok(self.next.as_ref())
    }

    /// Takes the next run; `None` at the end.
    pub(crate) fn take(&mut self, finder: &dyn BlockFinder) -> Result<Option<KeyRun>> {
        self.peek(finder)?;
        let run = self.next.take();
        self.at += usize::from(run.is_some());
        Ok(run)
    }

    /// Takes the next run, if it is of `stream`.
    pub(crate) fn take_of(
        &mut self,
        finder: &dyn BlockFinder,
        stream: &StreamId,
    ) -> Result<Option<KeyRun>> {
        self.enter_next_block(finder)?;
        let Some(block) = self.block.as_ref().filter(|block| self.at < block.count()) else {
            return Ok(None);
        };
        // Usually the run is another stream's, and need not be decoded.
        match self.table.sound(block.name(self.at))? == stream.as_str().as_bytes() {
            true => self.take(finder),
            false => Ok(None),
        }
    }

    fn enter_next_block(&mut self, finder: &dyn BlockFinder) -> Result<()> {
        let Some(block) = self.block.as_ref().filter(|block| self.at == block.count()) else {
            return Ok(());
        };
        if let Some((stream, version)) = block.next() {
            self.block = Some(self.table.index_block_beginning(finder, stream, version)?);
            self.at = 0;
        }
        Ok(())
    }

    /// Moves after all runs that begin at or before `version` of `stream`. Returns the last of these, if it is of that
    /// stream.
    pub(crate) fn seek_behind(
        &mut self,
        finder: &dyn BlockFinder,
        stream: &StreamId,
        version: u64,
    ) -> Result<Option<KeyRun>> {
        self.next = None;
        let is_here = self.block.as_ref().map(|block| block.covers(stream, version)).transpose();
        if self.table.sound(is_here)? != Some(true) {
            match self.table.index_block_for(finder, stream, version)? {
                Some(block) => self.block = Some(block),
                None => {
                    let (first, version) = &self.table.footer.first;
                    self.block = Some(self.table.index_block_beginning(finder, first, *version)?);
                    self.at = 0;
                    return Ok(None);
                }
            }
        }
        let Some(block) = &self.block else { return Ok(None) };
        self.at = self.table.sound(block.runs_up_to(stream.as_str(), version))?;
        let Some(before) = self.at.checked_sub(1) else { return Ok(None) };
        let run = self.table.sound(block.run(before))?;
        Ok((run.stream == *stream).then_some(run))
    }
}
