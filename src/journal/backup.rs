//! Copying a journal's durable prefix into another directory, beside its writer.
//!
//! * What is copied is whole when it gets its name: it was synced, read back, and its frames, their
//!   checksums and the hash chain hold.
//! * Each step leaves a journal in the other directory that opens: the one of the backup before, or a
//!   longer prefix of this one.
//! * Sealed segments never change, so one that is there already is not copied again.

use crate::codec::frame::{self, Chain, Header, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::disk::{self, Disk};
use crate::journal::mark::{DurableMark, MarkFile};
use crate::journal::read::Journal;
use crate::journal::recover::{self, Scan};
use crate::journal::segment::{self, SegmentHeader};
use crate::journal::write::End;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are copied at once.
const COPY_BYTES: usize = 1 << 20;

/// What is copied: the journal up to a moment.
pub(crate) struct Prefix<'a> {
    pub(crate) journal: &'a Journal,
    /// The position, the place and the chain behind the last frame.
    pub(crate) position: u64,
    pub(crate) end: Location,
    pub(crate) chain: Chain,
}

/// What copying came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Copied {
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    pub(crate) reused: u64,
}

struct Target {
    disk: Arc<dyn Disk>,
    /// The journal over there, for its paths and its store.
    journal: Journal,
    directory: PathBuf,
}

/// The segment over there that may go on, and what it holds.
struct Newest {
    number: u64,
    scan: Scan,
}

/// Brings the journal in `directory` up to `prefix`, which it must be a part of already.
///
/// # Errors
/// `InvalidInput`, if what lies there is not a part of this journal; `Corrupt`, if this journal is
/// damaged. What lies there stays whole.
pub(crate) fn copy(prefix: &Prefix<'_>, directory: &Path) -> Result<Copied> {
    let disk = Arc::clone(prefix.journal.disk());
    disk.create_dir_all(directory).map_err(|e| Error::io("create", directory, e))?;
    let (store, directory) = (prefix.journal.store(), directory.to_owned());
    let journal = Journal::new(Arc::clone(&disk), directory.clone(), store, Vec::new());
    let target = Target { disk, journal, directory };
    let newest = target.newest(prefix)?;
    let mut copied = Copied::default();
    let mut last_frame = None;
    for number in 1..=prefix.end.segment {
        let source = header(prefix.journal, number)?;
        let reused = match &newest {
            Some(newest) if number < newest.number => target.holds(&source)?,
            Some(newest) if number == newest.number => {
                last_frame = newest.scan.last_frame;
                is_complete(prefix, &source, &newest.scan.end)?
            }
            _ => false,
        };
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
    let mark = DurableMark { frame, end: prefix.end.offset, position: prefix.position };
    // Last: it must never say more than is there.
    MarkFile::create(&*target.disk, &target.directory, store, mark)?;
    Ok(copied)
}

fn header(journal: &Journal, number: u64) -> Result<SegmentHeader> {
    journal.segment(number).ok_or_else(|| {
        let at = Location { segment: number, offset: 0 };
        journal.corrupt(at, None, "the segment is missing")
    })
}

/// Whether `end`, which is where a segment's copy ends, is where the segment does.
fn is_complete(prefix: &Prefix<'_>, source: &SegmentHeader, end: &End) -> Result<bool> {
    if source.number == prefix.end.segment {
        return Ok(end.next == prefix.end && end.chain == prefix.chain);
    }
    let next = header(prefix.journal, source.number + 1)?;
    Ok(end.position + 1 == next.first_position && end.chain == next.chain)
}

impl Target {
    /// The last segment that is there, if any is; refuses one that is not a part of the journal.
    fn newest(&self, prefix: &Prefix<'_>) -> Result<Option<Newest>> {
        let numbers = recover::segment_numbers(&*self.disk, &self.directory)?;
        let Some(&number) = numbers.last() else { return Ok(None) };
        let store = self.journal.store();
        let there = recover::read_header(&*self.disk, &self.directory, store, number, false)?;
        let here = prefix.journal.segment(number);
        if number > prefix.end.segment || here.as_ref() != Some(&there) {
            return Err(self.foreign(number));
        }
        let scan = self.scan(&self.path(number), &there)?;
        // The chain in the last frame stands for everything before it.
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
        Ok(Some(Newest { number, scan }))
    }

    fn foreign(&self, number: u64) -> Error {
        let message = format!(
            "segment {number} in {} holds a history that this store does not have: it is of a \
             store that went on from a backup, or of a newer one; back up into another directory",
            self.directory.display()
        );
        Error::new(ErrorKind::InvalidInput, message)
    }

    /// Whether the sealed segment is there already, as it is here.
    fn holds(&self, source: &SegmentHeader) -> Result<bool> {
        let store = self.journal.store();
        let there = recover::read_header(&*self.disk, &self.directory, store, source.number, false);
        match there {
            Ok(there) if there == *source => Ok(true),
            Ok(_) => Err(self.foreign(source.number)),
            // Whatever is wrong with it, it is copied again.
            Err(error) => {
                tracing::warn!(%error, "a segment of the backup is damaged and is copied again");
                Ok(false)
            }
        }
    }

    /// Copies one segment, as far as it counts. Returns the bytes that were written and what they
    /// hold.
    fn copy_segment(&self, prefix: &Prefix<'_>, source: &SegmentHeader) -> Result<(u64, Scan)> {
        let path = self.path(source.number);
        let temporary = self.directory.join(format!("{:020}.tmp", source.number));
        disk::remove_if_there(&*self.disk, &temporary)?;
        let bytes = self.write(prefix, source, &temporary)?;
        let scan = self.scan(&temporary, source)?;
        if !is_complete(prefix, source, &scan.end)? {
            let at = scan.end.next;
            let what = "its frames do not go on here as they must; it is not backed up";
            return Err(prefix.journal.corrupt(at, Some(scan.end.position + 1), what));
        }
        let rename = || {
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_dir(&self.directory)
        };
        rename().map_err(|e| Error::io("complete", &path, e))?;
        tracing::info!(segment = source.number, bytes, "a segment was backed up");
        Ok((bytes, scan))
    }

    fn write(&self, prefix: &Prefix<'_>, source: &SegmentHeader, to: &Path) -> Result<u64> {
        let used = match source.number == prefix.end.segment {
            true => prefix.end.offset,
            false => source.length,
        };
        let create = self.disk.create_new(to);
        let file = create.map_err(|e| Error::io("create", to, e))?;
        let (mut at, mut written) = (0, 0);
        while at < used {
            let from = Location { segment: source.number, offset: at };
            let bytes = prefix.journal.read(from, COPY_BYTES.min((used - at) as usize))?;
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
                // What lies between reads as zeros.
                file.write_all_at(&[0], source.length - 1)?;
            }
            file.sync_data()
        };
        complete().map_err(|e| Error::io("write", to, e))?;
        Ok(written)
    }

    /// What the frames in the file come to, up to the first place where none is.
    fn scan(&self, path: &Path, header: &SegmentHeader) -> Result<Scan> {
        let bytes = disk::read_whole(&*self.disk, path)?.unwrap_or_default();
        recover::scan(&self.journal, &bytes.into(), header)
    }

    fn path(&self, number: u64) -> PathBuf {
        segment::path(&self.directory, number)
    }
}
