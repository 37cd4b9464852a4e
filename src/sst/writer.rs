//! Writes a table: runs in order, in one pass, in bounded memory.
//!
//! Nothing reads the table before it is finished. Then its file and the file's name are durable. The writer inserts the
//! places of the index blocks into the table's tree; the code that lists the table syncs the tree.

use crate::codec::checkpoint::ListedTable;
use crate::codec::keys;
use crate::codec::sst::block::EventBlockBuilder;
use crate::codec::sst::block_index::{IndexBlockBuilder, KeyRun};
use crate::codec::sst::event::Body;
use crate::codec::sst::event_types::EventTypes;
use crate::codec::sst::footer::{Filter, Footer, NameHash};
use crate::codec::sst::index_blocks;
use crate::codec::sst::posting;
use crate::codec::sst::{BlockKind, BlockPlace, TRAILER_BYTES, TableId};
use crate::codec::state::StreamState;
use crate::kv::database::{Database, Tree};
use crate::sst::block_cache::BlockCache;
use crate::sst::reader::{self, Table, tree_name};
use crate::storage::disk::{Disk, DiskFile, Kind};
use crate::storage::files::MODE_ALL;
use crate::storage::held::Held;
use crate::value::clock::Micros;
use crate::value::error::{Error, Result};
use crate::value::limits::TABLE_SYNC_BYTES;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// About how many bytes are written to the file at once.
const WRITE_BYTES: usize = 256 << 10;

/// A table that is being written.
pub(crate) struct TableWriter {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// The directory of the index, held while the table is written.
    held: Arc<Held>,
    id: TableId,
    /// The block cache for the finished table.
    cache: Arc<BlockCache>,
    file: Arc<dyn DiskFile>,
    /// `None` once the table is finished.
    tree: Option<Tree>,
    /// Bytes that are not written yet, and where in the file they begin.
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
    is_finished: bool,
    event_block: EventBlockBuilder,
    /// Runs of the current event block.
    waiting: Vec<WaitingRun>,
    /// The stream that is being written, and its state before the next event.
    stream: Option<(StreamId, StreamState)>,
    runs: IndexBlockBuilder,
    /// Whether that stream is a tag, and its events are postings.
    is_tag: bool,
    events: u64,
    postings: u64,
    /// The positions of the events, from the least to the greatest.
    positions: Option<(u64, u64)>,
    first: Option<(StreamId, u64)>,
    last: Option<StreamId>,
    filter: Filter,
    /// Streams and tags.
    streams: u64,
    /// The places of the index blocks: 12 bytes for each 2 KiB of key runs.
    index_blocks: Vec<BlockPlace>,
}

struct WaitingRun {
    stream: StreamId,
    first_version: u64,
    events: u64,
    state: StreamState,
    start: u32,
}

impl TableWriter {
    /// Begins table `id` in the directory of tables, for events of up to `streams` streams, tags included.
    pub(crate) fn create(
        db: &Database,
        directory: &Path,
        id: TableId,
        streams: u64,
        cache: &Arc<BlockCache>,
    ) -> Result<TableWriter> {
        let held = Arc::clone(db.held());
        held.check_before("create a table in")?;
        let disk = Arc::clone(db.disk());
        if !matches!(disk.kind_there(directory), Ok(Some(Kind::Directory))) {
            disk.create_dir(directory).map_err(|e| Error::io("create", directory, e))?;
            disk.sync_dir(db.path()).map_err(|e| Error::io("sync", db.path(), e))?;
        }
        let path = reader::path(directory, id.number);
        let file = disk.create_new(&path, MODE_ALL).map_err(|e| Error::io("create", &path, e))?;
        Ok(TableWriter {
            disk,
            directory: directory.to_owned(),
            held,
            id,
            cache: Arc::clone(cache),
            file,
            tree: Some(db.new_tree(&tree_name(id.number))?),
            buffer: id.header().to_vec(),
            written: 0,
            synced: 0,
            is_finished: false,
            event_block: EventBlockBuilder::default(),
            waiting: Vec::new(),
            stream: None,
            is_tag: false,
            runs: IndexBlockBuilder::default(),
            events: 0,
            postings: 0,
            positions: None,
            first: None,
            last: None,
            filter: Filter::for_names(streams),
            streams: 0,
            index_blocks: Vec::new(),
        })
    }

    /// Begins the next stream, or tag. `before` is its state before its first event in this table; each table counts
    /// the postings of a tag from 1.
    pub(crate) fn begin_stream(&mut self, stream: &StreamId, hash: NameHash, before: StreamState) {
        assert!(self.last.as_ref().is_none_or(|last| last < stream), "streams come in order");
        if self.first.is_none() {
            self.first = Some((stream.clone(), before.version.get() + 1));
        }
        self.filter.put(hash);
        self.streams += 1;
        self.last = Some(stream.clone());
        self.is_tag = posting::tag_of_name(stream).is_some();
        self.stream = Some((stream.clone(), before));
    }

    /// Copies what `state` says besides versions and times to the current stream's state.
    pub(crate) fn take_over(&mut self, state: &StreamState) {
        if let Some((_, here)) = &mut self.stream {
            (here.first_readable, here.deleted) = (state.first_readable, state.deleted);
        }
    }

    /// Appends the next event of the stream, or posting of the tag.
    pub(crate) fn put(
        &mut self,
        db: &Database,
        position: u64,
        recorded_at: Micros,
        body: &Body,
    ) -> Result<()> {
        let (stream, _) = self.stream.as_ref().expect("a stream was begun");
        let goes_on = self.waiting.last().is_some_and(|run| run.stream == *stream);
        if self.event_block.is_full_for(body) || !goes_on && self.event_block.is_full() {
            self.finish_event_block(db)?;
        }
        let time = match self.is_tag {
            false => recorded_at,
            true => posting::in_place_of_time(position),
        };
        self.count(position);
        let (stream, state) = self.stream.as_mut().expect("a stream was begun");
        if state.version == Version::NONE {
            state.created = time;
        }
        state.version = Version::new(state.version.get() + 1);
        state.written = time;
        let start = self.event_block.next_start();
        self.event_block.put(position, recorded_at, body);
        match self.waiting.last_mut().filter(|run| run.stream == *stream) {
            Some(run) => {
                run.events += 1;
                run.state = *state;
            }
            None => self.waiting.push(WaitingRun {
                stream: stream.clone(),
                first_version: state.version.get(),
                events: 1,
                state: *state,
                start,
            }),
        }
        Ok(())
    }

    fn count(&mut self, position: u64) {
        if self.is_tag {
            self.postings += 1;
            return;
        }
        self.events += 1;
        let (first, last) = self.positions.get_or_insert((position, position));
        *first = position.min(*first);
        *last = position.max(*last);
    }

    fn finish_event_block(&mut self, db: &Database) -> Result<()> {
        if self.event_block.is_empty() {
            return Ok(());
        }
        let offset = self.offset();
        let event_block = &mut self.event_block;
        let place = self
            .id
            .seal(BlockKind::Events, offset, &mut self.buffer, |out| event_block.finish(out));
        let waiting = std::mem::take(&mut self.waiting);
        for WaitingRun { stream, first_version, events, state, start } in waiting {
            let run = KeyRun { stream, first_version, events, state, event_block: place, start };
            if self.runs.is_full() {
                self.finish_index_block(db, Some((&run.stream, run.first_version)))?;
            }
            self.runs.put(&run);
        }
        self.write_out(WRITE_BYTES)
    }

    fn finish_index_block(&mut self, db: &Database, next: Option<(&StreamId, u64)>) -> Result<()> {
        let first = self.runs.first().expect("a block has a run");
        let key = keys::event_key(&first.stream, first.first_version);
        let offset = self.offset();
        let runs = &mut self.runs;
        let place = self.id.seal(BlockKind::Index, offset, &mut self.buffer, |out| {
            runs.finish(next, out);
        });
        self.index_blocks.push(place);
        let tree = self.tree.as_ref().expect("it is there until the table is finished");
        db.insert(tree, &key, place.trailer().to_vec())
    }

    /// Where in the file the buffer ends.
    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Writes the buffer to the file if it has at least `bytes_min` bytes.
    fn write_out(&mut self, bytes_min: usize) -> Result<()> {
        if self.buffer.len() < bytes_min {
            return Ok(());
        }
        let mut write = || {
            self.file.write_all_at(&self.buffer, self.written)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
            if self.written - self.synced >= TABLE_SYNC_BYTES as u64 {
                self.file.sync_data()?;
                self.synced = self.written;
            }
            Ok(())
        };
        let written = write();
        written.map_err(|e| Error::io("write", &reader::path(&self.directory, self.id.number), e))
    }

    /// Completes and syncs the table, and opens it. Its events are of these `types`. The caller must still sync its
    /// tree. `None` if the table has no event.
    pub(crate) fn finish(
        mut self,
        db: &Database,
        level: u8,
        types: EventTypes,
    ) -> Result<Option<Table>> {
        self.finish_event_block(db)?;
        let (Some(first), Some(last), Some(positions)) =
            (self.first.take(), self.last.take(), self.positions)
        else {
            return Ok(None);
        };
        self.finish_index_block(db, None)?;
        let (offset, places) = (self.offset(), std::mem::take(&mut self.index_blocks));
        let index_blocks = self.id.seal(BlockKind::IndexBlocks, offset, &mut self.buffer, |out| {
            index_blocks::encode(&places, out);
        });
        let offset = self.offset();
        let mut filter = std::mem::replace(&mut self.filter, Filter::for_names(0));
        filter.fold_for(self.streams);
        let (events, postings) = (self.events, self.postings);
        let footer =
            Footer { events, postings, positions, index_blocks, first, last, types, filter };
        let seal = |out: &mut Vec<u8>| footer.encode(out);
        let place: BlockPlace = self.id.seal(BlockKind::Footer, offset, &mut self.buffer, seal);
        self.buffer.extend_from_slice(&place.trailer());
        self.write_out(0)?;
        let end = place.end() + TRAILER_BYTES as u64;
        assert_eq!(self.written, end, "a table ends with what says where its footer is");
        let path = reader::path(&self.directory, self.id.number);
        self.file.sync_data().map_err(|e| Error::io("sync", &path, e))?;
        self.held.check_before("complete a table in")?;
        let synced = self.disk.sync_dir(&self.directory);
        synced.map_err(|e| Error::io("sync", &self.directory, e))?;
        self.is_finished = true;
        let listed = ListedTable { number: self.id.number, length: self.written, level };
        let tree = self.tree.take();
        let cache = Arc::clone(&self.cache);
        Table::open(&*self.disk, &self.directory, self.id.index, listed, tree, cache).map(Some)
    }
}

impl Drop for TableWriter {
    /// Removes the file of an unfinished table at once: the disk may be full. Its tree is removed when the
    /// index is opened.
    fn drop(&mut self) {
        if !self.is_finished && self.held.check().is_ok() {
            let _ = reader::remove(&*self.disk, &self.directory, self.id.number);
        }
    }
}
