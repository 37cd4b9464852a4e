//! Copies a journal's durable prefix into another directory while its writer goes on.
//!
//! * A copy is complete when it gets its name: it was synced and read back, and its frames, their checksums and
//!   the hash chain hold.
//! * After each step, the other directory holds a journal that opens: that of the previous backup, or a longer
//!   prefix of this one.
//! * Sealed segments never change, so a segment that was copied is not copied again. Each backup reads the headers of
//!   these copies, and checks some of them as a whole, in turn and within a budget. A damaged copy is replaced.

use crate::codec::frame::{self, Chain, Header, Location};
use crate::codec::length::in_memory;
use crate::journal::names;
use crate::journal::read::Journal;
use crate::journal::recover::{self, Scan};
use crate::journal::segment::{self, HeaderError, SegmentHeader};
use crate::journal::watermark::{self, DurableWatermark, WatermarkFile};
use crate::journal::write::End;
use crate::storage::disk::Disk;
use crate::storage::files::MODE_ALL;
use crate::storage::replace;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::SEGMENT_LENGTH_MAX;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are read and written at once.
const COPY_BYTES: usize = 1 << 20;

/// What is copied: the journal up to some moment.
pub(crate) struct Prefix<'a> {
    pub(crate) journal: &'a Journal,
    /// The last frame's last position, the place after it, and the chain after it.
    pub(crate) position: u64,
    pub(crate) end: Location,
    pub(crate) chain: Chain,
}

/// How much of the existing copy is read and checked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Check {
    /// Sealed segments from number `from` on, continuing with the first after the last, until they are at least `bytes`
    /// long.
    Some {
        from: u64,
        bytes: u64,
    },
    All,
}

/// What a backup has copied, reused and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Copied {
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    pub(crate) reused: u64,
    /// Existing segments that were read and checked.
    pub(crate) checked: u64,
    pub(crate) bytes_checked: u64,
    /// Existing segments that were damaged and were copied again.
    pub(crate) replaced: u64,
    /// The segment with which the next check begins.
    pub(crate) next_check: u64,
}

struct Target {
    disk: Arc<dyn Disk>,
    /// The journal in the other directory, for its paths and its store.
    journal: Journal,
    directory: PathBuf,
}

/// The last segment in the other directory, which may grow, and what it holds; `None` if it is damaged.
struct Newest {
    number: u64,
    scan: Option<Scan>,
}

/// Which sealed segments are checked.
struct Checks {
    /// The first of them, and how many there are. Segment 1 follows the last one.
    from: u64,
    count: u64,
    sealed: u64,
}

impl Checks {
    fn new(check: Check, prefix: &Prefix<'_>, sealed: u64) -> Result<Checks> {
        let (from, bytes) = match check {
            Check::Some { from, bytes } if (1..=sealed).contains(&from) => (from, bytes),
            Check::Some { bytes, .. } => (1, bytes),
            Check::All => return Ok(Checks { from: 1, count: sealed, sealed }),
        };
        let mut checks = Checks { from, count: 0, sealed };
        let mut read = 0;
        while read < bytes && checks.count < sealed {
            read += header(prefix.journal, checks.next())?.length;
            checks.count += 1;
        }
        Ok(checks)
    }

    /// The segment after the last one that is checked.
    fn next(&self) -> u64 {
        match self.sealed {
            0 => 1,
            sealed => (self.from - 1 + self.count) % sealed + 1,
        }
    }

    fn contain(&self, number: u64) -> bool {
        (number + self.sealed - self.from) % self.sealed < self.count
    }
}

/// Extends the journal in `directory` on `disk` to `prefix`. The existing copy must be a part of `prefix`, and is
/// checked as `check` says.
///
/// # Errors
/// `InvalidInput` if the existing copy is not a part of this journal; `Corrupt` if this journal is damaged. The
/// existing copy stays complete.
pub(crate) fn copy(
    prefix: &Prefix<'_>,
    disk: &Arc<dyn Disk>,
    directory: &Path,
    check: Check,
) -> Result<Copied> {
    let disk = Arc::clone(disk);
    disk.create_dir_all(directory, MODE_ALL).map_err(|e| Error::io("create", directory, e))?;
    let (store, directory) = (prefix.journal.store(), directory.to_owned());
    let journal = Journal::new(Arc::clone(&disk), directory.clone(), store, Vec::new());
    let target = Target { disk, journal, directory };
    let newest = target.newest(prefix)?;
    target.remove_leftovers()?;
    let sealed = newest.as_ref().map_or(0, |newest| newest.number - 1);
    let checks = Checks::new(check, prefix, sealed)?;
    let mut copied = Copied { next_check: checks.next(), ..Copied::default() };
    let mut last_frame = None;
    for number in 1..=prefix.end.segment {
        let source = header(prefix.journal, number)?;
        let (mut is_checked, mut is_damaged) = (false, false);
        let reused = match &newest {
            Some(newest) if number < newest.number => {
                is_checked = checks.contain(number);
                let holds = target.holds(prefix, &source, is_checked)?;
                is_damaged = !holds;
                holds
            }
            Some(Newest { scan: Some(scan), .. }) if number == sealed + 1 => {
                is_checked = true;
                last_frame = scan.last_frame;
                is_complete(prefix, &source, &scan.end)?
            }
            Some(_) if number == sealed + 1 => {
                (is_checked, is_damaged) = (true, true);
                false
            }
            _ => false,
        };
        copied.checked += u64::from(is_checked);
        copied.bytes_checked += if is_checked { source.length } else { 0 };
        copied.replaced += u64::from(is_damaged);
        if reused {
            copied.reused += 1;
            continue;
        }
        let (bytes, scan) = target.copy_segment(prefix, &source)?;
        last_frame = scan.last_frame;
        copied.bytes += bytes;
        copied.segments += 1;
    }
    let begin = Location { segment: prefix.end.segment, offset: segment::HEADER_BYTES };
    let frame = last_frame.filter(|at| at.segment == begin.segment).unwrap_or(begin);
    let watermark = DurableWatermark { frame, end: prefix.end.offset, position: prefix.position };
    // Last, because the watermark must never promise more than the copy holds.
    WatermarkFile::create(&*target.disk, &target.directory, store, watermark)?;
    Ok(copied)
}

/// Refuses a journal in `directory` with a segment or watermark that no backup has written. In a directory with a
/// manifest, such a file is a damaged file of the backup; without one, it may be somebody else's.
pub(crate) fn refuse_unknown(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let refuse = |path: &Path| {
        let message = format!(
            "{} was not written by a backup; back up into another directory, or remove it",
            path.display()
        );
        Err(Error::new(ErrorKind::InvalidInput, message))
    };
    for number in recover::segment_numbers(disk, directory)? {
        let path = segment::path(directory, number);
        let mut page = vec![0; segment::HEADER_PAGE_BYTES];
        let read = disk.open(&path).and_then(|file| file.read_at(&mut page, 0));
        page.truncate(read.map_err(|e| Error::io("read", &path, e))?);
        let is_ours = matches!(SegmentHeader::decode(&page), Ok(_) | Err(HeaderError::Format(_)));
        if !is_ours && !failpoint!("journal::replace_unknown_segment") {
            return refuse(&path);
        }
    }
    let path = watermark::path(directory);
    match replace::read_whole(disk, &path, watermark::BYTES as u64) {
        Ok(watermark) if watermark.as_deref().is_none_or(watermark::is_watermark) => Ok(()),
        Err(error) if error.kind() != ErrorKind::Corrupt => Err(error),
        _ => refuse(&path),
    }
}

fn header(journal: &Journal, number: u64) -> Result<SegmentHeader> {
    journal.segment(number).ok_or_else(|| {
        let at = Location { segment: number, offset: 0 };
        journal.corrupt(at, None, "the segment is missing")
    })
}

/// Whether `end`, where a segment's copy ends, is where the segment itself ends.
fn is_complete(prefix: &Prefix<'_>, source: &SegmentHeader, end: &End) -> Result<bool> {
    if source.number == prefix.end.segment {
        return Ok(end.next == prefix.end && end.chain == prefix.chain);
    }
    let next = header(prefix.journal, source.number + 1)?;
    Ok(end.position + 1 == next.first_position && end.chain == next.chain)
}

impl Target {
    /// The last existing segment, if there is one. Refuses a segment that is not a part of the journal.
    fn newest(&self, prefix: &Prefix<'_>) -> Result<Option<Newest>> {
        let numbers = recover::segment_numbers(&*self.disk, &self.directory)?;
        let Some(&number) = numbers.last() else { return Ok(None) };
        if number > prefix.end.segment {
            return Err(self.foreign(number));
        }
        let damaged = Newest { number, scan: None };
        let Some(there) = self.header(number)? else { return Ok(Some(damaged)) };
        if prefix.journal.segment(number).as_ref() != Some(&there) {
            return Err(self.foreign(number));
        }
        let Some(scan) = self.whole(&there) else { return Ok(Some(damaged)) };
        // The chain in the last frame covers everything before it.
        if let Some(at) = scan.last_frame {
            let (end, chain) = (scan.end.next, scan.end.chain);
            let here = prefix.journal.read(at, frame::HEADER_BYTES)?;
            let same = Header::parse(&here).is_some_and(|header| {
                header.chain == chain && header.last_position() == scan.end.position
            });
            if end > prefix.end || !same {
                return Err(self.foreign(number));
            }
        }
        Ok(Some(Newest { number, scan: Some(scan) }))
    }

    /// The header of an existing segment; `None` if it is damaged. Refuses a segment of another store.
    fn header(&self, number: u64) -> Result<Option<SegmentHeader>> {
        let store = self.journal.store();
        let error = match recover::read_header(&*self.disk, &self.directory, store, number, false) {
            Ok(there) => return Ok(Some(there)),
            Err(error) if error.kind() == ErrorKind::UnsupportedFormat => return Err(error),
            Err(error) => error,
        };
        let mut page = vec![0; segment::HEADER_PAGE_BYTES];
        let read = self.disk.open(&self.path(number)).and_then(|it| it.read_at(&mut page, 0));
        let is_foreign = read.is_ok_and(|read| {
            page.truncate(read);
            SegmentHeader::decode(&page).is_ok_and(|header| header.store != store)
        });
        match is_foreign {
            true => Err(self.foreign(number)),
            false => {
                warn_of(number, &error);
                Ok(None)
            }
        }
    }

    /// Scans the frames of an existing segment; `None` if it is damaged.
    fn whole(&self, there: &SegmentHeader) -> Option<Scan> {
        match self.scan(&self.path(there.number), there) {
            Ok((scan, true)) => Some(scan),
            Ok((scan, false)) => {
                let what = "the bytes after its frames are neither a frame nor zeros";
                warn_of(there.number, &self.journal.corrupt(scan.end.next, None, what));
                None
            }
            Err(error) => {
                warn_of(there.number, &error);
                None
            }
        }
    }

    /// Removes the unfinished files of a backup that was killed.
    fn remove_leftovers(&self) -> Result<()> {
        for name in names::list(&*self.disk, &self.directory)? {
            if name.ends_with(".tmp") && names::is_leftover(&name) {
                replace::remove_if_there(&*self.disk, &self.directory.join(name))?;
            }
        }
        Ok(())
    }

    fn foreign(&self, number: u64) -> Error {
        let message = format!(
            "segment {number} in {} has a history that this store does not have: the backup is of \
             a store that was restored and written to, or of a newer one; back up into another \
             directory",
            self.directory.display()
        );
        Error::new(ErrorKind::InvalidInput, message)
    }

    /// Whether the sealed segment was copied before and the copy is right: its header, and with `all` everything in it.
    /// A damaged copy must be made again.
    fn holds(&self, prefix: &Prefix<'_>, source: &SegmentHeader, all: bool) -> Result<bool> {
        match self.header(source.number)? {
            None => Ok(false),
            Some(there) if there != *source => Err(self.foreign(source.number)),
            Some(_) if failpoint!("journal::reuse_unchecked") => Ok(true),
            Some(_) if !all => Ok(true),
            Some(there) => match self.whole(&there) {
                None => Ok(false),
                Some(scan) => {
                    let holds = is_complete(prefix, source, &scan.end)?;
                    if !holds {
                        let what = "its frames end too early";
                        warn_of(there.number, &self.journal.corrupt(scan.end.next, None, what));
                    }
                    Ok(holds)
                }
            },
        }
    }

    /// Copies the part of a segment that belongs to `prefix`. Returns the number of bytes that were written, and
    /// a scan of the copy.
    fn copy_segment(&self, prefix: &Prefix<'_>, source: &SegmentHeader) -> Result<(u64, Scan)> {
        let path = self.path(source.number);
        let temporary = self.directory.join(format!("{:020}.tmp", source.number));
        replace::remove_if_there(&*self.disk, &temporary)?;
        let copied = self.copy_to(prefix, source, &temporary, &path);
        if copied.is_err() {
            // Perhaps the disk is full. What cannot be removed now, the next backup removes.
            let _ = self.disk.remove(&temporary);
        }
        copied
    }

    fn copy_to(
        &self,
        prefix: &Prefix<'_>,
        source: &SegmentHeader,
        temporary: &Path,
        path: &Path,
    ) -> Result<(u64, Scan)> {
        let bytes = self.write(prefix, source, temporary)?;
        let (scan, _) = self.scan(temporary, source)?;
        if !is_complete(prefix, source, &scan.end)? {
            let at = scan.end.next;
            let what = "frames are missing or damaged here; the segment is not backed up";
            return Err(prefix.journal.corrupt(at, Some(scan.end.position + 1), what));
        }
        let named = replace::rename(&*self.disk, temporary, path);
        named.map_err(|e| Error::io("complete", path, e))?;
        tracing::info!(segment = source.number, bytes, "a segment was backed up");
        Ok((bytes, scan))
    }

    fn write(&self, prefix: &Prefix<'_>, source: &SegmentHeader, to: &Path) -> Result<u64> {
        let used = match source.number == prefix.end.segment {
            true => prefix.end.offset,
            false => source.length,
        };
        let create = self.disk.create_new(to, MODE_ALL);
        let file = create.map_err(|e| Error::io("create", to, e))?;
        let (mut at, mut written) = (0, 0);
        while at < used {
            let from = Location { segment: source.number, offset: at };
            let bytes = prefix.journal.read(from, COPY_BYTES.min(in_memory(used - at)))?;
            if bytes.is_empty() {
                return Err(prefix.journal.corrupt(from, None, "the segment ends too early"));
            }
            if bytes.iter().any(|byte| *byte != 0) {
                file.write_all_at(&bytes, at).map_err(|e| Error::io("write", to, e))?;
                written += bytes.len() as u64;
            }
            at += bytes.len() as u64;
        }
        let complete = || {
            if file.length()? < source.length {
                // The bytes between read as zeros.
                file.write_all_at(&[0], source.length - 1)?;
            }
            match failpoint!("journal::leave_copy_unsynced") {
                true => Ok(()),
                false => file.sync_data(),
            }
        };
        complete().map_err(|e| Error::io("write", to, e))?;
        Ok(written)
    }

    /// Scans the frames in the file up to the first place without one. Also returns whether only zeros follow.
    fn scan(&self, path: &Path, header: &SegmentHeader) -> Result<(Scan, bool)> {
        let bytes = replace::read_whole(&*self.disk, path, SEGMENT_LENGTH_MAX)?;
        let bytes = Bytes::from(bytes.unwrap_or_default());
        let scan = recover::scan(&self.journal, &bytes, header)?;
        let rest = bytes.get(in_memory(scan.end.next.offset)..).unwrap_or_default();
        Ok((scan, rest.iter().all(|byte| *byte == 0)))
    }

    fn path(&self, number: u64) -> PathBuf {
        segment::path(&self.directory, number)
    }
}

fn warn_of(segment: u64, error: &Error) {
    tracing::warn!(segment, %error, "a segment of the backup is damaged and is copied again");
}
