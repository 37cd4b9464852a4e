//! Opens a journal: finds its end, and decides what a crash left there.
//!
//! * Only one write is ever in flight, and each is one frame. So a crash can damage only the last frame.
//!   An incomplete last frame, nearly always cut by a crash, is a torn write: it is copied to `torn-*`,
//!   reported, and zeroed. If the durable watermark names it, it is `acknowledged`: the disk lost it.
//! * Damage before the last frame is `Corrupt`, and nothing is changed. "Before" means that a frame
//!   follows that names this store, segment and offset, or that the durable watermark names a later one.
//! * If nothing is left of a last frame that the durable watermark names, that is `Corrupt` too: there is nothing
//!   to save and report, and its positions must not silently be assigned again.
//! * The last whole frame is written and synced again before anyone reads it: it may have been only in
//!   the page cache, and what a reader has seen must not vanish.
//! * A replica syncs several frames together ([`InFlight::SinceWatermark`]). So each frame that the watermark does not
//!   name may be damaged, whatever follows it, or be in the page cache only. The journal ends before the first damaged
//!   one, and the replica takes the rest from its source again.
//! * A journal with a form of a newer version is `UnsupportedFormat`, and nothing is changed.
//!
//! Opening reads the whole last segment, and the headers of the others.

pub(crate) mod torn_end;

use crate::codec::frame::{Frame, Header, Location};
use crate::codec::length::in_memory;
use crate::journal::names;
use crate::journal::prepare::{self, Preparer};
use crate::journal::read::Journal;
use crate::journal::segment::{self, HeaderError, SegmentHeader};
use crate::journal::torn::{TornWrite, set_aside};
use crate::journal::watermark::{self, DurableWatermark, WatermarkFile};
use crate::journal::write::{self, End, Writer};
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::files::MODE_ALL;
use crate::storage::replace;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::SEGMENT_LENGTH_MAX;
use bytes::Bytes;
use std::io;
use std::path::Path;
use std::sync::Arc;
use torn_end::{InFlight, refuse_if_more_followed};
use uuid::Uuid;

/// A journal that is ready to be read and written.
pub(crate) struct Opened {
    pub(crate) journal: Arc<Journal>,
    pub(crate) writer: Writer,
    pub(crate) torn: Option<TornWrite>,
}

/// Whether the journal in `directory` holds no frame, so that removing it loses nothing. A file that has the name of
/// a journal's file but other content counts as a frame.
pub(crate) fn is_empty(disk: &dyn Disk, directory: &Path) -> Result<bool> {
    for number in segment_numbers(disk, directory)? {
        let path = segment::path(directory, number);
        let bytes = replace::read_whole(disk, &path, SEGMENT_LENGTH_MAX)?.unwrap_or_default();
        let header = bytes.len().min(segment::HEADER_PAGE_BYTES);
        let (header, frames) = bytes.split_at(header);
        let is_segment = used(header) == 0 || SegmentHeader::decode(header).is_ok();
        if !is_segment || used(frames) > 0 {
            return Ok(false);
        }
    }
    let watermark =
        replace::read_whole(disk, &watermark::path(directory), watermark::BYTES as u64)?;
    Ok(watermark.is_none_or(|watermark| watermark::is_watermark(&watermark)))
}

/// Creates an empty journal in `directory`, and replaces an empty one. Keeps the copies of torn writes, and every
/// file that does not belong to the journal.
pub(crate) fn create(disk: &Arc<dyn Disk>, directory: &Path, store: Uuid) -> Result<()> {
    disk.create_dir_all(directory, MODE_ALL).map_err(|e| Error::io("create", directory, e))?;
    for name in names::list(&**disk, directory)? {
        if names::is_ours(&name) && !names::is_torn(&name) {
            replace::remove_if_there(&**disk, &directory.join(name))?;
        }
    }
    let prepared = prepare::prepare(&**disk, directory, 1, segment::usual_length(1))?;
    let header = SegmentHeader {
        store,
        number: 1,
        length: prepared.length,
        first_position: 1,
        time: Micros(i64::MIN),
        chain: [0; 32],
    };
    let journal = Journal::new(Arc::clone(disk), directory.to_owned(), store, Vec::new());
    write::activate(&journal, prepared, &header)?;
    Ok(())
}

/// Opens the journal of `store` in `directory`.
pub(crate) fn open(disk: Arc<dyn Disk>, directory: &Path, store: Uuid) -> Result<Opened> {
    open_after(InFlight::LastFrame, disk, directory, store)
}

/// The same for a journal whose writer may have had so much in flight.
pub(crate) fn open_after(
    in_flight: InFlight,
    disk: Arc<dyn Disk>,
    directory: &Path,
    store: Uuid,
) -> Result<Opened> {
    if failpoint!("journal::remove_leftovers_first") {
        remove_leftovers(&*disk, directory)?;
    }
    // After a kill, the name of a segment may be only in the page cache. The watermark must not name the segment
    // before its name is durable.
    disk.sync_dir(directory).map_err(|e| Error::io("sync", directory, e))?;
    let watermark = watermark::read(&*disk, directory, store)?;
    let segments = read_headers(&*disk, directory, store, watermark)?;
    let last = segments.last().expect("read_headers returns at least one").clone();
    let journal = Arc::new(Journal::new(Arc::clone(&disk), directory.to_owned(), store, segments));
    let path = journal.path(last.number);
    let file = disk.open_to_write(&path).map_err(|e| Error::io("open", &path, e))?;

    let scanned = scan_last(&journal, &*file, &last, watermark, in_flight)?;
    // Only now: nothing is changed before the journal is known to be this store's and of a known format.
    remove_leftovers(&*disk, directory)?;
    let torn = match scanned.torn_bytes {
        0 => None,
        bytes => Some(set_aside(&journal, &*file, scanned.end.next, bytes, watermark)?),
    };
    lengthen(&journal, &*file, &last)?;
    if let Some((at, bytes)) = &scanned.again {
        write_again(&journal, &*file, *at, bytes)?;
    }
    let start = Location { segment: last.number, offset: segment::HEADER_BYTES };
    let (frame, end) = (scanned.last_frame.unwrap_or(start), scanned.end);
    let durable = DurableWatermark { frame, end: end.next.offset, position: end.position };
    let watermark = WatermarkFile::create(&*disk, directory, store, durable)?;
    let preparer = Preparer::start(Arc::clone(&disk), directory.to_owned())?;
    let writer = Writer::new(Arc::clone(&journal), file, last, (end, frame), watermark, preparer);
    Ok(Opened { journal, writer, torn })
}

/// Removes files that a crash has left and that were never in use.
fn remove_leftovers(disk: &dyn Disk, directory: &Path) -> Result<()> {
    for name in names::list(disk, directory)? {
        if names::is_leftover(&name) {
            replace::remove_if_there(disk, &directory.join(name))?;
        }
    }
    Ok(())
}

/// Reads the headers of all segments in order. Checks each against its file and the segment before it.
fn read_headers(
    disk: &dyn Disk,
    directory: &Path,
    store: Uuid,
    watermark: Option<DurableWatermark>,
) -> Result<Vec<SegmentHeader>> {
    let numbers = segment_numbers(disk, directory)?;
    let known = watermark.map_or(1, |watermark| watermark.frame.segment);
    let last = numbers.last().copied().unwrap_or(0);
    let missing = (1..=last.max(known))
        .zip(numbers.iter().copied().map(Some).chain(std::iter::repeat(None)))
        .find_map(|(expected, met)| (met != Some(expected)).then_some(expected));
    if let Some(number) = missing {
        let path = segment::path(directory, number);
        return Err(Error::corrupt(&path, 0, None, "the segment is missing"));
    }
    let mut headers: Vec<SegmentHeader> = Vec::with_capacity(numbers.len());
    for number in numbers {
        let header =
            read_header(disk, directory, store, number, number == last && watermark.is_some())?;
        let before = headers.last().map_or(1, |previous| previous.first_position);
        if header.first_position < before {
            let what = format!("it begins at position {}, before {before}", header.first_position);
            return Err(Error::corrupt(&segment::path(directory, number), 48, None, what));
        }
        if number == 1 && (header.first_position != 1 || header.chain != [0; 32]) {
            let what = format!("the journal begins at position {}", header.first_position);
            return Err(Error::corrupt(&segment::path(directory, 1), 48, None, what));
        }
        headers.push(header);
    }
    Ok(headers)
}

pub(crate) fn read_header(
    disk: &dyn Disk,
    directory: &Path,
    store: Uuid,
    number: u64,
    may_be_short: bool,
) -> Result<SegmentHeader> {
    let path = segment::path(directory, number);
    let read = || {
        let file = disk.open(&path)?;
        let mut page = vec![0; segment::HEADER_PAGE_BYTES];
        let read = file.read_at(&mut page, 0)?;
        page.truncate(read);
        Ok((page, file.length()?))
    };
    let (page, length) = read().map_err(|e: io::Error| match e.kind() {
        io::ErrorKind::NotFound => Error::corrupt(&path, 0, None, "the segment is missing"),
        _ => Error::io("read", &path, e),
    })?;
    let corrupt = |offset, what: String| Error::corrupt(&path, offset, None, what);
    let header = SegmentHeader::decode(&page).map_err(|error| match error {
        HeaderError::Format(_) => {
            Error::new(ErrorKind::UnsupportedFormat, format!("{}: {error}", path.display()))
        }
        damage => corrupt(0, damage.to_string()),
    })?;
    if header.store != store {
        let what = format!("it belongs to the store {}, not to {store}", header.store);
        return Err(corrupt(16, what));
    }
    if header.number != number {
        return Err(corrupt(32, format!("it is segment {}, not {number}", header.number)));
    }
    // A segment has its whole length before it has its name, so a shorter one was cut. Only the
    // watermark can tell whether frames were cut off, and only for the last segment.
    if length > header.length || (length < header.length && !may_be_short) {
        let what = format!("it is {length} bytes long; it was created with {}", header.length);
        return Err(corrupt(length.min(header.length), what));
    }
    Ok(header)
}

struct Scanned {
    end: End,
    last_frame: Option<Location>,
    /// What must be written again, because it may not be durable.
    again: Option<(Location, Bytes)>,
    /// Bytes from the end to the last one that is not zero; 0 if there is none.
    torn_bytes: u64,
}

fn scan_last(
    journal: &Journal,
    file: &dyn DiskFile,
    segment: &SegmentHeader,
    watermark: Option<DurableWatermark>,
    in_flight: InFlight,
) -> Result<Scanned> {
    let start = Location { segment: segment.number, offset: 0 };
    let length = file.length().map_err(|e| Error::io("read", &journal.path(segment.number), e))?;
    // The header may claim more than the file has.
    let bytes = journal.read(start, in_memory(length.min(segment.length)))?;
    let (end, last_frame) = whole_frames(journal, &bytes, segment)?;
    let rest = bytes.get(in_memory(end.next.offset)..).unwrap_or(&[]);
    let torn_bytes = used(rest);
    refuse_if_more_followed(journal, rest, torn_bytes, &end, watermark, in_flight)?;
    let torn_bytes = torn_bytes as u64;
    let last_frame = last_frame.map(|(at, _)| at);
    let again = last_frame.map(|last| match (in_flight, watermark) {
        (InFlight::SinceWatermark, Some(watermark)) if watermark.frame.segment == last.segment => {
            watermark.frame.min(last)
        }
        (InFlight::SinceWatermark, _) => Location { offset: segment::HEADER_BYTES, ..last },
        (InFlight::LastFrame, _) => last,
    });
    let again = again.and_then(|from| {
        let whole = in_memory(from.offset)..in_memory(end.next.offset);
        bytes.get(whole.clone()).map(|_| (from, bytes.slice(whole)))
    });
    Ok(Scanned { end, last_frame, again, torn_bytes })
}

/// Where a segment's whole frames end, and where the last one begins.
pub(crate) struct Scan {
    pub(crate) end: End,
    pub(crate) last_frame: Option<Location>,
}

/// Walks over the whole frames in the bytes of `segment`, and checks that each continues the one before.
pub(crate) fn scan(journal: &Journal, bytes: &Bytes, segment: &SegmentHeader) -> Result<Scan> {
    let (end, last_frame) = whole_frames(journal, bytes, segment)?;
    Ok(Scan { end, last_frame: last_frame.map(|(at, _)| at) })
}

fn whole_frames(
    journal: &Journal,
    bytes: &Bytes,
    segment: &SegmentHeader,
) -> Result<(End, Option<(Location, Frame)>)> {
    let mut end = End {
        next: Location { segment: segment.number, offset: segment::HEADER_BYTES },
        position: segment.first_position - 1,
        time: segment.time,
        chain: segment.chain,
    };
    let mut last_frame = None;
    while let Some(frame) = whole_frame(journal, bytes, &end)? {
        let at = end.next;
        end = End {
            next: Location { offset: at.offset + frame.header.padded_length(), ..at },
            position: frame.header.last_position(),
            time: frame.header.time,
            chain: frame.header.chain,
        };
        last_frame = Some((at, frame));
    }
    Ok((end, last_frame))
}

/// The length of `bytes` without the zeros at the end. Compares whole pages, because nearly all of a young segment is
/// zeros.
#[allow(
    clippy::indexing_slicing,
    reason = "a part of a slice is no longer than the slice, nor than the page that it was cut by"
)]
pub(crate) fn used(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4_096] = [0; 4_096];
    let zeros = bytes.rchunks(ZEROS.len()).take_while(|page| **page == ZEROS[..page.len()]);
    let bytes = &bytes[..bytes.len() - zeros.map(<[u8]>::len).sum::<usize>()];
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// The whole frame at `end`; `None` if there are zeros, or damage of any kind. A whole frame that does
/// not continue the one before it is an error, because no crash causes that.
fn whole_frame(journal: &Journal, bytes: &Bytes, end: &End) -> Result<Option<Frame>> {
    let at = end.next;
    let here = in_memory(at.offset);
    let Some(header) = bytes.get(here..).and_then(Header::parse) else {
        return Ok(None);
    };
    if !header.lies_at(journal.store(), at.segment, at.offset) {
        return Ok(None);
    }
    // Whole or torn, only a newer version may clear away what it wrote.
    if let Some(newer) = header.newer_form() {
        return Err(journal.newer(at, end.position + 1, newer));
    }
    let Ok(frame) = Frame::verify(header, bytes.slice(here..)) else {
        return Ok(None);
    };
    if let Some(newer) = frame.newer_form() {
        return Err(journal.newer(at, end.position + 1, newer));
    }
    let corrupt = |what: String| journal.corrupt(at, Some(end.position + 1), what);
    let header = &frame.header;
    if header.first_position != end.position + 1 {
        let what = format!("a frame begins at position {}", header.first_position);
        return Err(corrupt(what));
    }
    if header.time < end.time {
        return Err(corrupt("a frame is older than the one before it".to_owned()));
    }
    if frame.chain_after(&end.chain).map_err(|what| corrupt(what.to_string()))? != header.chain {
        return Err(corrupt("the hash chain breaks".to_owned()));
    }
    Ok(Some(frame))
}

/// Restores the length of a last segment that was cut after its frames.
fn lengthen(journal: &Journal, file: &dyn DiskFile, segment: &SegmentHeader) -> Result<()> {
    let extend = || prepare::fill(file, file.length()?, segment.length);
    extend().map_err(|e| Error::io("lengthen", &journal.path(segment.number), e))
}

fn write_again(journal: &Journal, file: &dyn DiskFile, at: Location, bytes: &[u8]) -> Result<()> {
    if failpoint!("journal::show_last_frame_unsynced") {
        return Ok(());
    }
    let again = || {
        file.write_all_at(bytes, at.offset)?;
        file.sync_data()
    };
    again().map_err(|e| Error::io("sync", &journal.path(at.segment), e))
}

pub(crate) fn segment_numbers(disk: &dyn Disk, directory: &Path) -> Result<Vec<u64>> {
    let names = names::list(disk, directory)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|n| segment::number_of(n)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
