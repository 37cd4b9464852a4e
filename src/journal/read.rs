//! Reads the journal: its frames in order, and single entries by their places.
//!
//! A reader is given an end, and everything before it is durable. So an incomplete frame there is damage, and
//! never one that is being written.

use crate::codec::entry::{self, Entry};
use crate::codec::frame::{self, EntryLocation, Frame, Header, Location};
use crate::codec::length::in_memory;
use crate::journal::segment::{self, SegmentHeader};
#[cfg(feature = "erasure")]
use crate::sealing::source::KeySource;
use crate::storage::disk::{Disk, DiskFile};
use crate::value::error::{Error, Result};
use crate::value::limits::{
    READ_AHEAD_CHUNK_BYTES, READ_HANDLES_MAX, SCAN_CHUNK_BYTES, SEGMENT_LENGTH_MAX,
};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(feature = "erasure")]
use std::sync::OnceLock;
use uuid::Uuid;

/// The journal as readers see it. The writer adds segments to it.
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    store: Uuid,
    pub(super) segments: RwLock<BTreeMap<u64, SegmentHeader>>,
    handles: Mutex<Handles>,
    /// Where readers have the keys of private events from, if they have any.
    #[cfg(feature = "erasure")]
    keys: OnceLock<Box<dyn KeySource>>,
}

/// The open segment files for readers, by number.
#[derive(Default)]
struct Handles {
    open: HashMap<u64, Handle>,
    /// The number of uses of all handles.
    uses: u64,
}

struct Handle {
    file: Arc<dyn DiskFile>,
    last_use: u64,
}

impl Handles {
    fn get(&mut self, number: u64) -> Option<Arc<dyn DiskFile>> {
        self.uses += 1;
        let handle = self.open.get_mut(&number)?;
        handle.last_use = self.uses;
        Some(Arc::clone(&handle.file))
    }

    /// Keeps `file`. If there are too many handles, drops the least recently used one.
    fn keep(&mut self, number: u64, file: Arc<dyn DiskFile>) {
        if self.open.len() >= READ_HANDLES_MAX {
            let oldest = self.open.iter().min_by_key(|(_, handle)| handle.last_use);
            if let Some(number) = oldest.map(|(number, _)| *number) {
                self.open.remove(&number);
            }
        }
        self.open.insert(number, Handle { file, last_use: self.uses });
    }
}

impl Journal {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        store: Uuid,
        segments: Vec<SegmentHeader>,
    ) -> Journal {
        let segments = segments.into_iter().map(|header| (header.number, header)).collect();
        Journal {
            disk,
            directory,
            store,
            segments: RwLock::new(segments),
            handles: Mutex::default(),
            #[cfg(feature = "erasure")]
            keys: OnceLock::new(),
        }
    }

    /// From now on private events are opened by these keys.
    #[cfg(feature = "erasure")]
    pub(crate) fn open_private_by(&self, keys: Box<dyn KeySource>) {
        let is_first = self.keys.set(keys).is_ok();
        debug_assert!(is_first, "readers that have keys keep them");
    }

    /// Where readers have the keys of private events from; `None` if they have none.
    #[cfg(feature = "erasure")]
    pub(crate) fn keys(&self) -> Option<&dyn KeySource> {
        self.keys.get().map(|keys| &**keys)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn store(&self) -> Uuid {
        self.store
    }

    pub(crate) fn add_segment(&self, header: SegmentHeader) {
        self.segments.write().insert(header.number, header);
    }

    /// Where the first frame is.
    pub(crate) fn start(&self) -> Location {
        let segments = self.segments.read();
        let (&segment, _) = segments.first_key_value().expect("a journal has a segment");
        Location { segment, offset: segment::HEADER_BYTES }
    }

    /// The header of the last segment that begins at or before `position`.
    pub(crate) fn segment_at(&self, position: u64) -> Option<SegmentHeader> {
        let segments = self.segments.read();
        segments.values().rev().find(|header| header.first_position <= position).cloned()
    }

    pub(crate) fn segment(&self, number: u64) -> Option<SegmentHeader> {
        self.segments.read().get(&number).cloned()
    }

    /// The length in bytes of the segments with these numbers.
    pub(crate) fn bytes_of(&self, segments: Range<u64>) -> u64 {
        if segments.is_empty() {
            return 0;
        }
        self.segments.read().range(segments).map(|(_, header)| header.length).sum()
    }

    pub(crate) fn path(&self, segment: u64) -> PathBuf {
        segment::path(&self.directory, segment)
    }

    pub(crate) fn corrupt(
        &self,
        at: Location,
        position: Option<u64>,
        what: impl std::fmt::Display,
    ) -> Error {
        Error::corrupt(&self.path(at.segment), at.offset, position, what)
    }

    /// The error for a frame at `at` that cannot be read because of `what`: the frame is damaged, or has a form that
    /// only a newer version knows.
    pub(crate) fn unreadable(
        &self,
        at: Location,
        position: u64,
        frame: &Frame,
        what: impl std::fmt::Display,
    ) -> Error {
        match frame.newer_form() {
            Some(newer) => self.newer(at, position, newer),
            None => self.corrupt(at, Some(position), what),
        }
    }

    pub(crate) fn newer(&self, at: Location, position: u64, what: String) -> Error {
        Error::newer(&self.path(at.segment), at.offset, Some(position), what)
    }

    /// Reads up to `length` bytes; fewer only at the end of the file.
    pub(crate) fn read(&self, at: Location, length: usize) -> Result<Bytes> {
        let file = self.handle(at.segment)?;
        let read = || {
            let mut length = length;
            if length > READ_AHEAD_CHUNK_BYTES {
                // A damaged length must not allocate more memory than the file has bytes.
                let left = file.length()?.saturating_sub(at.offset).min(SEGMENT_LENGTH_MAX);
                length = length.min(left as usize);
            }
            Ok(file.read_new_at(length, at.offset)?.into())
        };
        read().map_err(|e| Error::io("read", &self.path(at.segment), e))
    }

    /// The entry at `at`, after its own checksum was verified.
    pub(crate) fn entry(&self, at: EntryLocation) -> Result<Entry> {
        let place = Location { segment: at.segment, offset: at.offset.into() };
        let bytes = self.read(place, at.length as usize)?;
        entry::decode(&bytes).map_err(|what| self.corrupt(place, None, what))
    }

    /// The frames from `from` up to `end`. The frame at `from` begins with `next_position`; `end` is the place
    /// after the last frame.
    pub(crate) fn frames(
        self: &Arc<Journal>,
        from: Location,
        next_position: u64,
        end: Location,
    ) -> Frames {
        Frames {
            journal: Arc::clone(self),
            at: from,
            end,
            chunk_bytes: SCAN_CHUNK_BYTES,
            chunk: Bytes::new(),
            chunk_offset: 0,
            next_position,
        }
    }

    pub(super) fn handle(&self, number: u64) -> Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.handles.lock().get(number) {
            return Ok(file);
        }
        // Not under the lock: opening may take long, and callers with an open file must not wait for it.
        let path = self.path(number);
        let file = self.disk.open(&path).map_err(|e| Error::io("open", &path, e))?;
        self.handles.lock().keep(number, Arc::clone(&file));
        Ok(file)
    }
}

/// A scan of frames. After an error it yields nothing more.
pub(crate) struct Frames {
    journal: Arc<Journal>,
    at: Location,
    end: Location,
    chunk_bytes: usize,
    /// Bytes that were read ahead, and where in the segment they begin.
    chunk: Bytes,
    chunk_offset: u64,
    /// The position that the next frame must begin with.
    next_position: u64,
}

impl Frames {
    /// Where the next frame begins.
    pub(crate) fn at(&self) -> Location {
        self.at
    }

    /// Whether `journal` reads them.
    pub(crate) fn are_of(&self, journal: &Arc<Journal>) -> bool {
        Arc::ptr_eq(&self.journal, journal)
    }

    /// Sets how many bytes each further read takes.
    pub(crate) fn read_in(&mut self, chunk_bytes: usize) {
        self.chunk_bytes = chunk_bytes;
    }

    /// Moves the end of the scan to `end`, if that is later.
    pub(crate) fn extend(&mut self, end: Location) {
        if end > self.end {
            // The chunk may hold zeros from before the newer frames were written.
            self.chunk = Bytes::new();
            self.end = end;
        }
    }

    fn read_next(&mut self) -> Result<Option<(Location, Frame)>> {
        loop {
            if self.at >= self.end {
                return Ok(None);
            }
            if let Some(header) = self.header()? {
                return self.frame(header).map(Some);
            }
            self.enter_next_segment()?;
        }
    }

    /// The header at the current place; `None` if the segment's frames end here.
    fn header(&mut self) -> Result<Option<Header>> {
        if self.at.offset + frame::HEADER_BYTES as u64 > self.segment_length() {
            return Ok(None);
        }
        self.fill(frame::HEADER_BYTES)?;
        let bytes = self.ahead();
        if let Some(header) = Header::parse(bytes)
            && header.lies_at(self.journal.store, self.at.segment, self.at.offset)
        {
            return Ok(Some(header));
        }
        let ends = bytes.iter().take(frame::HEADER_BYTES).all(|byte| *byte == 0);
        if ends && self.at.segment < self.end.segment {
            return Ok(None);
        }
        Err(self.damaged("there is no frame where one must be"))
    }

    fn frame(&mut self, header: Header) -> Result<(Location, Frame)> {
        if let Some(newer) = header.newer_form() {
            return Err(self.journal.newer(self.at, self.next_position, newer));
        }
        if header.first_position != self.next_position {
            let what = format!("a frame begins at position {}", header.first_position);
            return Err(self.damaged(&what));
        }
        let padded = header.padded_length();
        if self.at.offset + padded > self.segment_length() {
            return Err(self.damaged("a frame reaches beyond its segment"));
        }
        self.fill(in_memory(padded))?;
        let at = self.at;
        let frame = Frame::verify(header, self.ahead_shared())
            .map_err(|what| self.journal.corrupt(at, Some(self.next_position), what))?;
        self.next_position = frame.header.next_position();
        self.at.offset += padded;
        Ok((at, frame))
    }

    fn segment_length(&self) -> u64 {
        self.journal.segment(self.at.segment).map_or(0, |header| header.length)
    }

    fn enter_next_segment(&mut self) -> Result<()> {
        let number = self.at.segment + 1;
        let Some(next) = self.journal.segment(number) else {
            return Err(self.damaged("the journal's next segment is missing"));
        };
        if next.first_position != self.next_position {
            let what = format!("the next segment begins at position {}", next.first_position);
            return Err(self.damaged(&what));
        }
        self.at = Location { segment: number, offset: segment::HEADER_BYTES };
        self.chunk = Bytes::new();
        Ok(())
    }

    /// Reads at least `length` bytes from the current place into the chunk, or all that the file has.
    fn fill(&mut self, length: usize) -> Result<()> {
        if self.ahead().len() < length {
            self.chunk = self.journal.read(self.at, length.max(self.chunk_bytes))?;
            self.chunk_offset = self.at.offset;
        }
        Ok(())
    }

    fn ahead(&self) -> &[u8] {
        let skip = in_memory(self.at.offset.saturating_sub(self.chunk_offset));
        self.chunk.get(skip..).unwrap_or(&[])
    }

    fn ahead_shared(&self) -> Bytes {
        let skip = in_memory(self.at.offset - self.chunk_offset);
        self.chunk.slice(skip..)
    }

    fn damaged(&self, what: &str) -> Error {
        self.journal.corrupt(self.at, Some(self.next_position), what)
    }
}

impl Iterator for Frames {
    type Item = Result<(Location, Frame)>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read_next().transpose();
        if matches!(item, Some(Err(_))) {
            self.end = self.at;
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When there were too many handles, the one with the lowest number was closed. A reader of old events uses that
    /// one all the time: each of its reads opened the file again, and closed another reader's.
    #[test]
    fn the_handle_that_was_not_used_for_the_longest_time_makes_room() {
        let mut handles = Handles::default();
        let file: Arc<dyn DiskFile> = Arc::new(tempfile::tempfile().unwrap());
        for number in 1..=READ_HANDLES_MAX as u64 {
            handles.keep(number, Arc::clone(&file));
        }
        for more in 0..10 * READ_HANDLES_MAX as u64 {
            assert!(handles.get(1).is_some(), "it is in use, and was closed for {more} others");
            let number = 1_000 + more;
            assert!(handles.get(number).is_none());
            handles.keep(number, Arc::clone(&file));
            assert!(handles.get(number).is_some());
            assert_eq!(handles.open.len(), READ_HANDLES_MAX);
        }
        assert!(handles.get(2).is_none(), "nobody used it");
    }
}
