//! The copy of a journal in another directory: what an earlier backup has left there, and the segments that are added.

use crate::codec::frame::{self, Header, Location};
use crate::codec::length::in_memory;
use crate::journal::backup::prefix::Prefix;
use crate::journal::names;
use crate::journal::read::Journal;
use crate::journal::recover::{self, Scan};
use crate::journal::segment::{self, SegmentHeader};
use crate::storage::disk::Disk;
use crate::storage::files::MODE_ALL;
use crate::storage::replace;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::SEGMENT_LENGTH_MAX;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// Bytes that are read and written at once.
const COPY_BYTES: usize = 1 << 20;

/// The directory that a journal is copied into.
pub(super) struct Target {
    pub(super) disk: Arc<dyn Disk>,
    /// The journal in the other directory, for its paths and its store.
    journal: Journal,
    pub(super) directory: PathBuf,
}

/// The last segment in the other directory, which may grow, and what it holds; `None` if it is damaged.
pub(super) struct Newest {
    pub(super) number: u64,
    pub(super) scan: Option<Scan>,
}

impl Target {
    pub(super) fn new(disk: &Arc<dyn Disk>, directory: &Path, store: Uuid) -> Target {
        let (disk, directory) = (Arc::clone(disk), directory.to_owned());
        let journal = Journal::new(Arc::clone(&disk), directory.clone(), store, Vec::new());
        Target { disk, journal, directory }
    }

    /// The last existing segment, if there is one. Refuses a segment that is not a part of the journal.
    pub(super) fn newest(&self, prefix: &Prefix<'_>) -> Result<Option<Newest>> {
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
    pub(super) fn remove_leftovers(&self) -> Result<()> {
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
    pub(super) fn holds(
        &self,
        prefix: &Prefix<'_>,
        source: &SegmentHeader,
        all: bool,
    ) -> Result<bool> {
        match self.header(source.number)? {
            None => Ok(false),
            Some(there) if there != *source => Err(self.foreign(source.number)),
            Some(_) if failpoint!("journal::reuse_unchecked") => Ok(true),
            Some(_) if !all => Ok(true),
            Some(there) => match self.whole(&there) {
                None => Ok(false),
                Some(scan) => {
                    let holds = prefix.is_complete(source, &scan.end)?;
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
    /// a scan of the copy. `copying` is told how far it is in the segment.
    pub(super) fn copy_segment(
        &self,
        prefix: &Prefix<'_>,
        source: &SegmentHeader,
        copying: &mut dyn FnMut(u64),
    ) -> Result<(u64, Scan)> {
        let path = self.path(source.number);
        let temporary = self.directory.join(format!("{:020}.tmp", source.number));
        replace::remove_if_there(&*self.disk, &temporary)?;
        let copied = self.copy_to(prefix, source, &temporary, &path, copying);
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
        copying: &mut dyn FnMut(u64),
    ) -> Result<(u64, Scan)> {
        let bytes = self.write(prefix, source, temporary, copying)?;
        let (scan, _) = self.scan(temporary, source)?;
        if !prefix.is_complete(source, &scan.end)? {
            let at = scan.end.next;
            let what = "frames are missing or damaged here; the segment is not backed up";
            return Err(prefix.journal.corrupt(at, Some(scan.end.position + 1), what));
        }
        let named = replace::rename(&*self.disk, temporary, path);
        named.map_err(|e| Error::io("complete", path, e))?;
        tracing::info!(segment = source.number, bytes, "a segment was backed up");
        Ok((bytes, scan))
    }

    fn write(
        &self,
        prefix: &Prefix<'_>,
        source: &SegmentHeader,
        to: &Path,
        copying: &mut dyn FnMut(u64),
    ) -> Result<u64> {
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
            copying(at);
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
