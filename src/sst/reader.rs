//! Reads one table.

use crate::codec::checkpoint::ListedTable;
use crate::codec::keys;
use crate::codec::sst::block::{self, STORED_EVENT_BLOCK_BYTES_MAX};
use crate::codec::sst::block_index::{IndexBlock, KeyRun};
use crate::codec::sst::event::LocatedEvent;
use crate::codec::sst::footer::{Footer, NameHash};
use crate::codec::sst::index_blocks;
use crate::codec::sst::{BlockKind, BlockPlace, HEADER_BYTES, TRAILER_BYTES, TableId};
use crate::kv::database::Tree;
use crate::kv::failure::is_the_systems;
use crate::sst::block_cache::BlockCache;
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::regular::is_loop;
use crate::value::corruption::Corruption;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::{STREAM_NAME_BYTES_MAX, TABLE_INDEX_BLOCK_BYTES};
use crate::value::stream::StreamId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where index blocks are found: see `sst::finder`.
pub(crate) trait BlockFinder {
    /// The last index block of `table` that begins at or before `version` of `stream`.
    fn up_to(&self, table: &Table, stream: &StreamId, version: u64) -> Result<Option<IndexBlock>>;

    /// The index block of `table` that begins with exactly this run. The caller goes through all blocks, so none is put
    /// into the cache.
    fn beginning(
        &self,
        table: &Table,
        stream: &StreamId,
        version: u64,
    ) -> Result<Option<IndexBlock>>;
}

/// A table whose footer has been read.
pub(crate) struct Table {
    pub(crate) listed: ListedTable,
    id: TableId,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    pub(crate) footer: Footer,
    /// The places of the index blocks, by the stream and version that they begin with; `None` in a process that has not
    /// opened sled.
    tree: Option<Tree>,
    /// The places of the index blocks as the file lists them, once they were read.
    index_blocks: Mutex<Option<Arc<[BlockPlace]>>>,
    /// The cache for the blocks of all tables.
    cache: Arc<BlockCache>,
    /// The index block that was looked up last. A reader of a stream's state often reads its events next.
    recent: Mutex<Option<IndexBlock>>,
}

/// The file of table `number` in the directory of tables.
pub(crate) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}"))
}

/// The name of the tree that belongs to table `number`.
pub(crate) fn tree_name(number: u64) -> String {
    format!("{TREE_PREFIX}{number:020}")
}

/// The prefix of these trees' names.
const TREE_PREFIX: &str = "events-";

/// The number of the table that the tree of this name belongs to, if it belongs to one.
pub(crate) fn number_of_tree(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.strip_prefix(TREE_PREFIX)?.parse().ok()
}

/// The numbers of the tables whose files are in `directory`.
pub(crate) fn numbers(disk: &dyn Disk, directory: &Path) -> Result<Vec<u64>> {
    // The directory may not exist: the first table creates it.
    let names = disk.list(directory).map_err(|e| match e.kind() {
        ErrorKind::NotADirectory => Error::corrupt(directory, 0, None, "it is not a directory"),
        _ if is_loop(&e) => {
            Error::corrupt(directory, 0, None, "it is a symbolic link that leads to itself")
        }
        _ => Error::io("list", directory, e),
    })?;
    let numbers = names.iter().filter_map(|name| {
        let number = name.parse().ok()?;
        // Other names that parse as a number are not those of tables.
        path(directory, number).ends_with(name).then_some(number)
    });
    Ok(numbers.collect())
}

/// Removes the file of table `number`.
pub(crate) fn remove(disk: &dyn Disk, directory: &Path, number: u64) -> Result<()> {
    let path = path(directory, number);
    disk.remove(&path).map_err(|e| match e.kind() {
        ErrorKind::IsADirectory => Error::corrupt(&path, 0, None, "it is a directory"),
        _ => Error::io("remove", &path, e),
    })
}

/// The error for a table that cannot be read. Unless the system is at fault, it counts as damaged and can be rebuilt.
fn unreadable(action: &str, path: &Path, offset: u64, e: std::io::Error) -> Error {
    match is_the_systems(&e) {
        true => Error::io(action, path, e),
        false => Error::corrupt(path, offset, None, format!("the system cannot {action} it: {e}")),
    }
}

/// The most bytes between two event blocks that are read at once: an index block, say.
const SPAN_GAP_BYTES: u64 = 4 << 10;
/// Bytes before an index block of tags that the disk reads with it. An index block leads to some 45 tags; if these have
/// 20 postings each, that is about 20 KiB.
const POSTINGS_BEFORE_BYTES: usize = 24 << 10;
/// The most bytes of an event block or an index block, with some to spare.
const BLOCK_BYTES_MAX: usize =
    STORED_EVENT_BLOCK_BYTES_MAX + 2 * (TABLE_INDEX_BLOCK_BYTES + STREAM_NAME_BYTES_MAX);

impl Table {
    /// Opens the table that a checkpoint lists.
    ///
    /// # Errors
    /// `Corrupt` if the table is not as it was written; the system's errors.
    pub(crate) fn open(
        disk: &dyn Disk,
        directory: &Path,
        index: uuid::Uuid,
        listed: ListedTable,
        tree: Option<Tree>,
        cache: Arc<BlockCache>,
    ) -> Result<Table> {
        let path = path(directory, listed.number);
        let id = TableId { index, number: listed.number };
        // The footer is read whole and is as long as the file says, which can be any length in a file of holes.
        let opened = match failpoint!("sst::open_file_of_holes") {
            true => disk.open(&path),
            false => disk.open_dense(&path),
        };
        let file = opened.map_err(|e| match e.kind() {
            ErrorKind::NotFound => Error::corrupt(&path, 0, None, "it is missing"),
            _ => unreadable("open", &path, 0, e),
        })?;
        let footer = RawTable { id, path: &path, file: &*file }.footer(listed.length)?;
        let (index_blocks, recent) = (Mutex::new(None), Mutex::new(None));
        Ok(Table { listed, id, path, file, footer, tree, index_blocks, cache, recent })
    }

    /// Whether the table may hold events of `stream`. Calls `hash` only if the name is within the table's range.
    pub(crate) fn may_hold(&self, stream: &StreamId, hash: impl FnOnce() -> NameHash) -> bool {
        (&self.footer.first.0..=&self.footer.last).contains(&stream)
            && self.footer.filter.may_hold(hash())
    }

    /// The last run of `stream` that begins at or before `version`.
    pub(crate) fn run_up_to(
        &self,
        finder: &dyn BlockFinder,
        stream: &StreamId,
        version: u64,
    ) -> Result<Option<KeyRun>> {
        let Some(index_block) = self.index_block_for(finder, stream, version)? else {
            return Ok(None);
        };
        let Some(last) =
            self.sound(index_block.runs_up_to(stream.as_str(), version))?.checked_sub(1)
        else {
            return Ok(None);
        };
        let run = self.sound(index_block.run(last))?;
        Ok((run.stream == *stream).then_some(run))
    }

    /// The index block that holds the run which begins with `version` of `stream`, if that run exists;
    /// `None` if that is before all runs.
    pub(crate) fn index_block_for(
        &self,
        finder: &dyn BlockFinder,
        stream: &StreamId,
        version: u64,
    ) -> Result<Option<IndexBlock>> {
        let (first, first_version) = &self.footer.first;
        if (stream, version) < (first, *first_version) {
            return Ok(None);
        }
        if let Some(recent) = self.recent.lock().as_ref()
            && self.sound(recent.covers(stream, version))?
        {
            return Ok(Some(recent.clone()));
        }
        let found = finder.up_to(self, stream, version)?;
        let index_block = found.ok_or_else(|| self.missing_block(stream, version))?;
        if !index_block.reaches(stream.as_str(), version) {
            return Err(self.missing_block(stream, version));
        }
        *self.recent.lock() = Some(index_block.clone());
        Ok(Some(index_block))
    }

    /// The index block that begins with exactly this run.
    pub(crate) fn index_block_beginning(
        &self,
        finder: &dyn BlockFinder,
        stream: &StreamId,
        version: u64,
    ) -> Result<IndexBlock> {
        let found = finder.beginning(self, stream, version)?;
        found.ok_or_else(|| self.missing_block(stream, version))
    }

    /// The tree of the index blocks.
    pub(crate) fn tree(&self) -> &Tree {
        self.tree.as_ref().expect("a table of an open index has a tree")
    }

    /// The places of all index blocks, as the file lists them.
    pub(super) fn index_blocks(&self) -> Result<Arc<[BlockPlace]>> {
        let listed = &mut *self.index_blocks.lock();
        if let Some(places) = listed {
            return Ok(Arc::clone(places));
        }
        let content = self.raw().block(BlockKind::IndexBlocks, self.footer.index_blocks, false)?;
        let places =
            self.sound(index_blocks::decode(&content).ok_or(Corruption::IndexBlockList))?;
        Ok(Arc::clone(listed.insert(places.into())))
    }

    /// An index block from the cache, or else from the file: see `read_index_block`.
    pub(super) fn cached_index_block(
        &self,
        place: BlockPlace,
        with_events: bool,
    ) -> Result<IndexBlock> {
        let number = self.listed.number;
        if let Some(index_block) = self.cache.index_block(number, place) {
            return Ok(index_block);
        }
        let index_block = self.read_index_block(place, with_events)?;
        self.cache.put_index_block(number, place, &index_block);
        Ok(index_block)
    }

    pub(super) fn place(&self, place: &[u8]) -> Result<BlockPlace> {
        self.sound(BlockPlace::decode(place).ok_or(Corruption::IndexBlockTree))
    }

    /// Reads an index block. If it has the disk read, then `with_events` those before it too: most event blocks that it
    /// leads to, if these are postings.
    pub(super) fn read_index_block(
        &self,
        place: BlockPlace,
        with_events: bool,
    ) -> Result<IndexBlock> {
        let content = self.raw().block(BlockKind::Index, place, with_events)?;
        self.sound(IndexBlock::decode(content))
    }

    /// Checks that `index_block` begins as the tree's `key` says.
    pub(super) fn check_begin(&self, index_block: IndexBlock, key: &[u8]) -> Result<IndexBlock> {
        let is_right = keys::begin_of(key) == Some(self.sound(index_block.begin())?);
        self.sound(is_right.then_some(index_block).ok_or(Corruption::IndexBlockTree))
    }

    /// The events of `runs`, which must be in order. Event blocks that are close to each other are read at once.
    pub(crate) fn events_of(&self, runs: &[KeyRun]) -> Result<Vec<LocatedEvent>> {
        let counts = runs.iter().map(|run| usize::try_from(run.events).unwrap_or_default());
        let mut events = Vec::with_capacity(counts.sum());
        let number = self.listed.number;
        for span in runs.chunk_by(|a, b| are_close(a.event_block, b.event_block)) {
            let Some(last) = span.last() else { continue };
            let end = last.event_block.end();
            let mut read: Option<(u64, Bytes)> = None;
            for runs in span.chunk_by(|a, b| a.event_block == b.event_block) {
                let Some(first) = runs.first() else { continue };
                let place = first.event_block;
                let event_block = match self.cache.event_block(number, place) {
                    Some(event_block) => event_block,
                    None => {
                        // Read from here: the blocks before were cached.
                        let (from, bytes) = match &read {
                            Some(read) => read,
                            None => {
                                let bytes = self.raw().read(place.offset, end - place.offset, 0)?;
                                read.insert((place.offset, bytes))
                            }
                        };
                        let block = usize::try_from(place.offset - *from);
                        let block = block.expect("it is in what was read");
                        let block = bytes.slice(block..block + place.length as usize);
                        let event_block = self.open_event_block(place, &block)?;
                        self.cache.put_event_block(number, place, &event_block);
                        event_block
                    }
                };
                for run in runs {
                    events.extend(self.events_in(&event_block, run)?);
                }
            }
        }
        Ok(events)
    }

    /// The events of the event block at `place`, decompressed.
    pub(crate) fn event_block(&self, place: BlockPlace) -> Result<Bytes> {
        let bytes = self.raw().read(place.offset, place.length.into(), 0)?;
        self.open_event_block(place, &bytes)
    }

    fn open_event_block(&self, place: BlockPlace, block: &Bytes) -> Result<Bytes> {
        let content = self.raw().unseal(BlockKind::Events, place, block)?;
        self.sound(block::decompress(&content))
    }

    /// The events of `run`, from the decompressed `events` of its event block.
    pub(crate) fn events_in(&self, events: &Bytes, run: &KeyRun) -> Result<Vec<LocatedEvent>> {
        self.sound(block::decode_run(events, run.start, run.events, run.first_version))
    }

    /// Forgets the index block that was looked up last.
    pub(crate) fn forget(&self) {
        *self.recent.lock() = None;
    }

    fn raw(&self) -> RawTable<'_> {
        RawTable { id: self.id, path: &self.path, file: &*self.file }
    }

    /// Turns a decoding failure into an error that names this file. We have never written bytes that have a matching
    /// checksum and cannot be decoded.
    pub(crate) fn sound<T>(&self, decoded: Result<T, Corruption>) -> Result<T> {
        decoded.map_err(|what| Error::corrupt(&self.path, 0, None, what))
    }

    fn missing_block(&self, stream: &StreamId, version: u64) -> Error {
        let what = format!("its block index lacks the block for version {version} of {stream}");
        Error::corrupt(&self.path, 0, None, what)
    }
}

/// Whether to read two event blocks at once: `b` is `a`, or comes soon after it.
fn are_close(a: BlockPlace, b: BlockPlace) -> bool {
    a == b || (a.end()..=a.end().saturating_add(SPAN_GAP_BYTES)).contains(&b.offset)
}

/// A table's file, read block by block.
struct RawTable<'a> {
    id: TableId,
    path: &'a Path,
    file: &'a dyn DiskFile,
}

impl RawTable<'_> {
    /// The footer, after the file's length, header and trailer are checked.
    fn footer(&self, length: u64) -> Result<Footer> {
        let met = self.file.length().map_err(|e| unreadable("look at", self.path, 0, e))?;
        if met != length {
            return Err(self.damaged(0, "its length is not the one that the index lists"));
        }
        if self.read(0, HEADER_BYTES as u64, 0)? != self.id.header()[..] {
            return Err(self.damaged(0, "its header is not that of this table"));
        }
        let trailer = length.saturating_sub(TRAILER_BYTES as u64);
        let footer = BlockPlace::decode(&self.read(trailer, TRAILER_BYTES as u64, 0)?)
            .filter(|footer| footer.offset.checked_add(footer.length.into()) == Some(trailer))
            .ok_or_else(|| self.damaged(trailer, "its trailer is damaged"))?;
        let content = self.block(BlockKind::Footer, footer, false)?;
        let decoded = Footer::decode(&content);
        decoded.ok_or_else(|| self.damaged(footer.offset, "its footer is malformed"))
    }

    fn block(&self, kind: BlockKind, at: BlockPlace, with_before: bool) -> Result<Bytes> {
        // A damaged place must not allocate more memory than any block takes.
        let is_long = matches!(kind, BlockKind::Footer | BlockKind::IndexBlocks);
        if !is_long && at.length as usize > BLOCK_BYTES_MAX {
            return Err(self.damaged(at.offset, "a block is longer than any block can be"));
        }
        let before = if with_before { POSTINGS_BEFORE_BYTES } else { 0 };
        self.unseal(kind, at, &self.read(at.offset, at.length.into(), before)?)
    }

    fn unseal(&self, kind: BlockKind, at: BlockPlace, block: &Bytes) -> Result<Bytes> {
        let content = self.id.unseal(kind, at.offset, block);
        content.ok_or_else(|| self.damaged(at.offset, "a block is not as it was written"))
    }

    /// Reads `length` bytes at `offset`. If the disk has to be waited for, it reads the bytes `before` them too, which
    /// are likely to be wanted next.
    fn read(&self, offset: u64, length: u64, before: usize) -> Result<Bytes> {
        let length = usize::try_from(length).map_err(|_| self.damaged(offset, "it is too long"))?;
        let mut bytes = vec![0; length];
        if before > 0 {
            if self.file.read_cached_at(&mut bytes, offset) {
                return Ok(bytes.into());
            }
            self.file.announce(offset.saturating_sub(before as u64), before + length);
        }
        match self.file.read_at(&mut bytes, offset) {
            Ok(read) if read == bytes.len() => Ok(bytes.into()),
            Ok(_) => Err(self.damaged(offset, "it ends before a block does")),
            Err(e) => Err(unreadable("read", self.path, offset, e)),
        }
    }

    fn damaged(&self, offset: u64, what: &str) -> Error {
        Error::corrupt(self.path, offset, None, what)
    }
}
