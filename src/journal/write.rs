//! The journal's one writer. For each frame it makes one write and one `fdatasync`.
//!
//! * When `write` returns, the frame is durable, and the watermark names it unless it could not be written. An
//!   unhurried writer does both in `finish`.
//! * Several frames may become durable together, and a replica writes frames as another journal has them: see
//!   `together`.
//! * After `WriteError::Stopped` or `WriteError::Unknown`, the writer must not be used again: the state on disk
//!   is unknown, and only recovery can decide.

mod room;
mod together;

use crate::codec::frame::{self, Chain, Frame, Header, Kind, Location, Meaning};
use crate::journal::prepare::{Prepared, Preparer};
use crate::journal::read::Journal;
use crate::journal::segment::{self, SegmentHeader};
use crate::journal::watermark::{DurableWatermark, WatermarkFile};
use crate::storage::disk::DiskFile;
use crate::storage::stat::FileIdentity;
use crate::telemetry::instruments::{Taken, Timing};
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Moved};
use crate::value::failpoint::failpoint;
use crate::value::limits::PREPARE_AFTER_BYTES;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Where the journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Where the next frame begins, unless it does not fit there.
    pub(crate) next: Location,
    /// The last assigned position.
    pub(crate) position: u64,
    pub(crate) time: Micros,
    pub(crate) chain: Chain,
}

/// A frame that was written. It is durable unless the writer is unhurried.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) at: Location,
    pub(crate) frame: Frame,
    /// How long the sync has taken.
    pub(crate) synced: Taken,
}

/// Why a frame was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Nothing was written to the journal, and the writer can go on. There was no room, for example.
    NotWritten(Error),
    /// Nothing of the frame was written, but a segment may have been begun for it: the directory was moved meanwhile.
    Stopped(Error),
    /// The frame may be durable or not.
    Unknown(Error),
}

impl WriteError {
    pub(crate) fn into_error(self) -> Error {
        match self {
            WriteError::NotWritten(error)
            | WriteError::Stopped(error)
            | WriteError::Unknown(error) => error,
        }
    }
}

/// Writes frames. A journal has only one writer.
pub(crate) struct Writer {
    journal: Arc<Journal>,
    file: Arc<dyn DiskFile>,
    /// The path and the identity of the file.
    place: (PathBuf, Option<FileIdentity>),
    segment: SegmentHeader,
    end: End,
    watermark: WatermarkFile,
    preparer: Preparer,
    /// Whether this writer has written a frame that no closing frame has followed.
    open: bool,
    /// Frames are durable only after `finish`. This is for a journal on which nobody relies before.
    is_unhurried: bool,
    /// Where the last frame begins; in a segment without a frame, where the first one will.
    last: Location,
    /// Whether it is timed how long a sync takes.
    pub(crate) timing: Timing,
    /// When this writer began to write to this segment, and at which offset.
    begun: (Instant, u64),
}

impl Writer {
    /// A writer that goes on at `end`, after the frame that begins at `last`.
    pub(crate) fn new(
        journal: Arc<Journal>,
        file: Arc<dyn DiskFile>,
        segment: SegmentHeader,
        (end, last): (End, Location),
        watermark: WatermarkFile,
        preparer: Preparer,
    ) -> Writer {
        assert_eq!(segment.number, end.next.segment, "the writer goes on in the last segment");
        let (open, is_unhurried) = (false, false);
        let begun = (Instant::now(), end.next.offset);
        let place = place(&journal, segment.number, &*file);
        Writer {
            journal,
            file,
            place,
            segment,
            end,
            watermark,
            preparer,
            open,
            is_unhurried,
            last,
            timing: Timing::OFF,
            begun,
        }
    }

    pub(crate) fn end(&self) -> End {
        self.end
    }

    /// Writes a frame. `buffer` has room for its header, and then its entries.
    pub(crate) fn write(
        &mut self,
        mut buffer: Vec<u8>,
        meaning: &Meaning,
    ) -> Result<Written, WriteError> {
        assert_eq!(meaning.first_position, self.end.position + 1, "positions are dense");
        assert!(meaning.time >= self.end.time, "time never decreases along positions");
        self.refuse_if_removed().map_err(WriteError::NotWritten)?;
        let bytes = frame::padded(buffer.len() as u64);
        if self.end.next.offset + bytes > self.segment.length {
            self.roll(segment::length_for(self.segment.number + 1, bytes))?;
        }
        let at = self.end.next;
        assert!(at.offset + bytes <= self.segment.length, "a frame is in one segment");
        let header = frame::complete(&mut buffer, meaning, self.journal.store(), at);
        debug_assert_eq!(buffer.len() as u64, bytes, "what is written is what was made room for");
        self.put(at, header, buffer)
    }

    /// Writes a whole frame, with its padding, at `at`.
    #[inline]
    fn put(
        &mut self,
        at: Location,
        header: Header,
        buffer: Vec<u8>,
    ) -> Result<Written, WriteError> {
        let failed = |e| Error::io("write", &self.journal.path(at.segment), e);
        if let Err(error) = self.file.write_all_at(&buffer, at.offset) {
            let has_no_room = is_full(&error);
            let error = failed(error);
            return Err(match has_no_room && self.take_back(at, buffer.len()) {
                true => not_written(error),
                false => WriteError::Unknown(error),
            });
        }
        let syncing = self.timing.start();
        if !self.is_unhurried {
            self.sync().map_err(|e| WriteError::Unknown(failed(e)))?;
        }
        let synced = syncing.taken();
        let frame = Frame::written(header, buffer.into());
        self.advance(&frame);
        self.last = at;
        if !self.is_unhurried {
            self.say_durable(at);
        }
        Ok(Written { at, frame, synced })
    }

    /// Refuses to write to a segment that was removed. Writes to a removed file are lost when its last handle is
    /// closed, even if they are synced; or they go to a copy made of hard links, which is not the store that
    /// returned `Ok`.
    fn refuse_if_removed(&self) -> Result<(), Error> {
        let (path, identity) = &self.place;
        let disk = self.journal.disk();
        let met = identity.map(|_| disk.identity_at(path));
        if met.is_none_or(|met| met.is_ok_and(|met| met == *identity)) {
            return Ok(());
        }
        let is_removed = || {
            let has_other_links =
                !failpoint!("journal::count_links_only") && disk.has_lost(path)?;
            Ok(has_other_links || self.file.is_removed()?)
        };
        let is_removed = is_removed().map_err(|e| Error::io("look at", path, e))?;
        match is_removed && !failpoint!("journal::write_to_removed_segment") {
            true => Err(Error::io("write", path, std::io::Error::other(Moved::removed(path)))),
            false => Ok(()),
        }
    }

    fn sync(&self) -> std::io::Result<()> {
        if failpoint!("journal::acknowledge_before_sync")
            || failpoint!("log::publish_before_durable")
        {
            return Ok(());
        }
        self.file.sync_data()
    }

    /// Makes the sync that the failpoint `log::publish_before_durable` has delayed.
    pub(crate) fn sync_late(&self) {
        self.file.sync_data().expect("no other fault is injected");
    }

    /// Writes the closing frame, unless nothing was written since the last one, or there is no room.
    pub(crate) fn close(&mut self) -> Result<(), WriteError> {
        let room = self.segment.length - self.end.next.offset;
        if !self.open || room < frame::HEADER_BYTES as u64 {
            return Ok(());
        }
        let (position, time) = (self.end.position + 1, self.end.time);
        let hasher = frame::ChainHasher::new(&self.end.chain, Kind::Closing, position, time, 0);
        let meaning = Meaning {
            kind: Kind::Closing,
            events: 0,
            first_position: position,
            time,
            chain: hasher.finish(),
        };
        self.write(vec![0; frame::HEADER_BYTES], &meaning).map(|_| ())
    }

    /// Ends the thread that prepares segments. Nothing writes to the journal's directory after this.
    pub(crate) fn end_preparing(&mut self) {
        self.preparer.end();
    }

    fn advance(&mut self, frame: &Frame) {
        let header = &frame.header;
        self.end.next.offset += header.padded_length();
        self.end.position = header.last_position();
        self.end.time = header.time;
        self.end.chain = header.chain;
        self.open = header.kind != Kind::Closing;
        self.order_next();
    }

    /// Orders the next segment before this one is full. Preparing one takes up to a quarter of a second, and many
    /// writers can fill a segment in a third of a second. A process that writes little orders none.
    fn order_next(&mut self) {
        let (since, from) = self.begun;
        let (written, room) =
            (self.end.next.offset - from, self.segment.length - self.end.next.offset);
        let enough = PREPARE_AFTER_BYTES.min(self.segment.length / 2);
        if written > enough || room < enough {
            self.preparer.order(self.segment.number + 1, room, written, since);
        }
    }

    /// Writes the watermark. The frame is durable already, so a failure only delays followers.
    fn say_durable(&self, frame: Location) {
        if let Err(error) = self.watermark.write(self.durable_at(frame)) {
            tracing::warn!(%error, "the durable watermark could not be written");
        }
    }

    /// The watermark for everything up to the end. The last frame begins at `frame`.
    fn durable_at(&self, frame: Location) -> DurableWatermark {
        debug_assert_eq!(frame.segment, self.end.next.segment, "the last frame is in this segment");
        debug_assert!(frame.offset <= self.end.next.offset);
        DurableWatermark { frame, end: self.end.next.offset, position: self.end.position }
    }

    /// Continues in the next segment, which has `length` bytes.
    fn roll(&mut self, length: u64) -> Result<(), WriteError> {
        if self.is_unhurried {
            self.finish().map_err(WriteError::Unknown)?;
        }
        let number = self.segment.number + 1;
        let prepared = self.preparer.take(number, length).map_err(not_written)?;
        let header = SegmentHeader {
            store: self.journal.store(),
            number,
            length: prepared.length,
            first_position: self.end.position + 1,
            time: self.end.time,
            chain: self.end.chain,
        };
        self.file = activate(&self.journal, prepared, &header).map_err(|error| match error {
            ActivateError::Before(error) => not_written(error),
            ActivateError::Unknown(error) if error.kind() == ErrorKind::Moved => {
                WriteError::Stopped(error)
            }
            ActivateError::Unknown(error) => WriteError::Unknown(error),
        })?;
        self.place = place(&self.journal, number, &*self.file);
        self.journal.add_segment(header.clone());
        self.segment = header;
        self.end.next = Location { segment: number, offset: segment::HEADER_BYTES };
        self.last = self.end.next;
        self.begun = (Instant::now(), self.end.next.offset);
        Ok(())
    }
}

/// The path of segment `number`, built only once, and the identity of `file`.
fn place(journal: &Journal, number: u64, file: &dyn DiskFile) -> (PathBuf, Option<FileIdentity>) {
    (journal.path(number), file.identity().ok().flatten())
}

/// Why a prepared file is not a segment.
#[derive(Debug)]
pub(crate) enum ActivateError {
    /// There was no room, or the directory was moved. The journal is unchanged.
    Before(Error),
    /// It may be a segment or not.
    Unknown(Error),
}

impl From<ActivateError> for Error {
    fn from(error: ActivateError) -> Error {
        match error {
            ActivateError::Before(error) | ActivateError::Unknown(error) => error,
        }
    }
}

/// Durably turns a prepared file into the segment that `header` describes.
pub(crate) fn activate(
    journal: &Journal,
    prepared: Prepared,
    header: &SegmentHeader,
) -> Result<Arc<dyn DiskFile>, ActivateError> {
    let directory = journal.directory();
    let (from, path) =
        (segment::prepared_path(directory, header.number), segment::path(directory, header.number));
    let failed = |e| Error::io("begin the journal segment", &path, e);
    let page = header.encode();
    debug_assert_eq!(SegmentHeader::decode(&page).as_ref(), Ok(header));
    let begin = || {
        prepared.file.write_all_at(&page, 0)?;
        prepared.file.sync_data()?;
        journal.disk().rename(&from, &path)
    };
    begin().map_err(|error| {
        let (is_full, error) = (is_full(&error), failed(error));
        if is_full {
            // Without its final name it is no segment; the next attempt prepares it again.
            let _ = journal.disk().remove(&from);
        }
        match is_full || error.kind() == ErrorKind::Moved {
            true => ActivateError::Before(error),
            false => ActivateError::Unknown(error),
        }
    })?;
    if failpoint!("journal::skip_directory_sync") {
        return Ok(prepared.file);
    }
    let synced = journal.disk().sync_dir(directory);
    synced.map_err(|error| ActivateError::Unknown(failed(error)))?;
    Ok(prepared.file)
}

/// Whether a write failed only because there was no room.
fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// The error for a segment that could not be prepared, which leaves the journal unchanged.
fn not_written(error: Error) -> WriteError {
    match error.kind() {
        ErrorKind::StorageFull => {
            let message = format!("nothing was written: {error}");
            WriteError::NotWritten(Error::with_source(ErrorKind::StorageFull, message, error))
        }
        _ => WriteError::NotWritten(error),
    }
}
