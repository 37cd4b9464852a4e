//! Writing a table: runs in their order, in one pass, in bounded memory.
//!
//! Nothing reads it before it is finished, and then it is durable: its file, and the file's name. The places of its
//! index blocks go into its tree as they are written, to be synced by the code that lists it.

use crate::codec::checkpoint::ListedTable;
use crate::codec::keys;
use crate::codec::sst::block::EventBlockBuilder;
use crate::codec::sst::block_index::{IndexBlockBuilder, KeyRun};
use crate::codec::sst::event::Body;
use crate::codec::sst::footer::{Filter, Footer, NameHash};
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

/// Bytes that are handed to the system at once.
const WRITE_BYTES: usize = 256 << 10;

/// A table that is being written.
pub(crate) struct TableWriter {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// The directory of the index, as long as the table is written.
    held: Arc<Held>,
    id: TableId,
    /// For the table's readers.
    cache: Arc<BlockCache>,
    file: Arc<dyn DiskFile>,
    /// Until the table is finished.
    tree: Option<Tree>,
    /// What is not handed to the system yet, and where in the file it begins.
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
    is_finished: bool,
    event_block: EventBlockBuilder,
    /// Runs whose event block is not written yet.
    waiting: Vec<WaitingRun>,
    /// The stream that is being written, and its state before what comes next.
    stream: Option<(StreamId, StreamState)>,
    runs: IndexBlockBuilder,
    events: u64,
    first: Option<(StreamId, u64)>,
    last: Option<StreamId>,
    filter: Filter,
    streams: u64,
}

struct WaitingRun {
    stream: StreamId,
    first_version: u64,
    events: u64,
    state: StreamState,
    start: u32,
}

impl TableWriter {
    /// Begins table `number` in the directory of tables, for events of up to so many streams.
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
            runs: IndexBlockBuilder::default(),
            events: 0,
            first: None,
            last: None,
            filter: Filter::for_names(streams),
            streams: 0,
        })
    }

    /// Goes on with the next stream. `before` is its state before the first event that will come.
    pub(crate) fn begin_stream(&mut self, stream: &StreamId, hash: NameHash, before: StreamState) {
        assert!(self.last.as_ref().is_none_or(|last| last < stream), "streams come in order");
        if self.first.is_none() {
            self.first = Some((stream.clone(), before.version.get() + 1));
        }
        self.filter.put(hash);
        self.streams += 1;
        self.last = Some(stream.clone());
        self.stream = Some((stream.clone(), before));
    }

    /// Takes over what `state` says of the stream besides its versions and times, for what comes next.
    pub(crate) fn take_over(&mut self, state: &StreamState) {
        if let Some((_, here)) = &mut self.stream {
            (here.first_readable, here.deleted) = (state.first_readable, state.deleted);
        }
    }

    /// Puts in the next event of the stream.
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
        let (stream, state) = self.stream.as_mut().expect("a stream was begun");
        if state.version == Version::NONE {
            state.created = recorded_at;
        }
        state.version = Version::new(state.version.get() + 1);
        state.written = recorded_at;
        let start = self.event_block.next_start();
        self.event_block.put(position, recorded_at, body);
        self.events += 1;
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
        let tree = self.tree.as_ref().expect("it is there until the table is finished");
        db.insert(tree, &key, place.trailer().to_vec())
    }

    /// Where what is put into the buffer next will be.
    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Hands the buffer to the system if it has at least so many bytes.
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

    /// Has the whole table on disk, and opens it; its tree is still to be synced. `None` if no event was
    /// put in.
    pub(crate) fn finish(mut self, db: &Database, level: u8) -> Result<Option<Table>> {
        self.finish_event_block(db)?;
        let (Some(first), Some(last)) = (self.first.take(), self.last.take()) else {
            return Ok(None);
        };
        self.finish_index_block(db, None)?;
        let offset = self.offset();
        let mut filter = std::mem::replace(&mut self.filter, Filter::for_names(0));
        filter.fold_for(self.streams);
        let footer = Footer { events: self.events, first, last, filter };
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
        let tree = self.tree.take().expect("it is there until the table is finished");
        let cache = Arc::clone(&self.cache);
        Table::open(&*self.disk, &self.directory, self.id.index, listed, tree, cache).map(Some)
    }
}

impl Drop for TableWriter {
    /// What is not finished is nothing, and gives back at once what a full disk needs most. Its tree goes
    /// when the index is opened.
    fn drop(&mut self) {
        if !self.is_finished && self.held.check().is_ok() {
            let _ = reader::remove(&*self.disk, &self.directory, self.id.number);
        }
    }
}
