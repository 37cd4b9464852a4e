//! Copies a journal's durable prefix into another directory while its writer goes on.
//!
//! * A copy is complete when it gets its name: it was synced and read back, and its frames, their checksums and
//!   the hash chain hold.
//! * After each step, the other directory holds a journal that opens: that of the previous backup, or a longer
//!   prefix of this one.
//! * Sealed segments never change, so a segment that was copied is not copied again. Each backup reads the headers of
//!   these copies, and checks some of them as a whole, in turn and within a budget. A damaged copy is replaced.

pub(crate) mod prefix;
mod target;

use crate::codec::frame::Location;
use crate::journal::recover;
use crate::journal::segment::{self, HeaderError, SegmentHeader};
use crate::journal::watermark::{self, DurableWatermark, WatermarkFile};
use crate::storage::disk::Disk;
use crate::storage::files::MODE_ALL;
use crate::storage::replace;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::progress::{Progress, Reporter};
use prefix::Prefix;
use std::path::Path;
use std::sync::Arc;
use target::{Newest, Target};

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
            read += prefix.header(checks.next())?.length;
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
/// checked as `check` says. `report` is called about every MiB, and at the end.
///
/// # Errors
/// `InvalidInput` if the existing copy is not a part of this journal; `Corrupt` if this journal is damaged. The
/// existing copy stays complete.
pub(crate) fn copy(
    prefix: &Prefix<'_>,
    disk: &Arc<dyn Disk>,
    directory: &Path,
    check: Check,
    report: &dyn Fn(Progress),
) -> Result<Copied> {
    disk.create_dir_all(directory, MODE_ALL).map_err(|e| Error::io("create", directory, e))?;
    let store = prefix.journal.store();
    let target = Target::new(disk, directory, store);
    let newest = target.newest(prefix)?;
    target.remove_leftovers()?;
    let sealed = newest.as_ref().map_or(0, |newest| newest.number - 1);
    let checks = Checks::new(check, prefix, sealed)?;
    let mut copied = Copied { next_check: checks.next(), ..Copied::default() };
    let mut progress = Reporter::new(report, "backed up", prefix.bytes()?);
    let (mut handled, mut last_frame) = (0, None);
    for number in 1..=prefix.end.segment {
        let source = prefix.header(number)?;
        let before = handled;
        handled += source.length;
        let mut copying = |offset| progress.reached(source.first_position - 1, before + offset);
        copying(0);
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
                prefix.is_complete(&source, &scan.end)?
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
        let (bytes, scan) = target.copy_segment(prefix, &source, &mut copying)?;
        last_frame = scan.last_frame;
        copied.bytes += bytes;
        copied.segments += 1;
    }
    let begin = Location { segment: prefix.end.segment, offset: segment::HEADER_BYTES };
    let frame = last_frame.filter(|at| at.segment == begin.segment).unwrap_or(begin);
    let watermark = DurableWatermark { frame, end: prefix.end.offset, position: prefix.position };
    // Last, because the watermark must never promise more than the copy holds.
    WatermarkFile::create(&*target.disk, &target.directory, store, watermark)?;
    progress.ended(prefix.position);
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
