//! Takes arbitrary bytes as a journal of one segment: recovers it, writes to it, recovers it again, and scans it
//! leniently.

use crate::codec::cursor::array_at;
use crate::codec::digest::digest;
use crate::codec::entry;
use crate::codec::frame::{self, ChainHasher, Kind, Meaning};
use crate::fuzz::memory::{FILE_BYTES_MAX, Memory};
use crate::fuzz::mend;
use crate::journal::lenient_scan::{LenientScan, Step, Until};
use crate::journal::recover::{self, Opened};
use crate::journal::write::End;
use crate::journal::{segment, watermark};
use crate::storage::disk::Disk;
use crate::value::clock::Micros;
use crate::value::error::{ErrorKind, Result};
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// Bytes of an input's watermark, and of the segment header's page; the rest of the page is zeros.
pub(super) const MARK_BYTES: usize = 60;
pub(super) const PAGE_BYTES: usize = 100;

const DIRECTORY: &str = "/journal";

/// The bits of the first byte say whether to repair the checksums (1), whether there is no watermark (2), and whether
/// the segment ends after its frames (4). Then come the watermark, the segment's header, which also gives the store's
/// id, and the frames, followed by zeros.
///
/// A journal that opens must be readable and writable, open again, and have no finding in a scan. A journal that does
/// not open must be left unchanged, and the scan must find the reason.
pub fn journal(input: &[u8]) -> bool {
    let Some((disk, store)) = disk_of(input) else { return false };
    let segment = segment::path(Path::new(DIRECTORY), 1);
    let before = disk.get(&segment);
    let found = findings(&disk, store);
    let mut opened = match open(&disk, store) {
        Ok(opened) => opened,
        Err(error) => {
            let kinds = [ErrorKind::Corrupt, ErrorKind::UnsupportedFormat, ErrorKind::StorageFull];
            assert!(kinds.contains(&error.kind()), "{error}");
            if error.kind() == ErrorKind::Corrupt {
                assert!(error.damage().is_some(), "no place: {error}");
                assert_eq!(disk.get(&segment), before, "changed, and then refused: {error}");
                assert!(!found.is_empty(), "the scan finds nothing of {error}");
            }
            return false;
        }
    };
    let end = opened.writer.end();
    assert_eq!(last_position(&opened).expect("what was opened is read"), end.position);
    let written = write(&mut opened, end).is_ok();
    let end = opened.writer.end();
    drop(opened);
    let found = findings(&disk, store);
    assert!(found.is_empty(), "the scan finds something in what was recovered: {found:?}");
    let opened = open(&disk, store).expect("what was opened opens again");
    assert_eq!(opened.writer.end(), end, "it ends elsewhere");
    assert!(opened.torn.is_none(), "torn, without a crash");
    assert_eq!(last_position(&opened).expect("what was opened is read"), end.position);
    written
}

/// Makes the disk that an input describes, and the store's id.
fn disk_of(input: &[u8]) -> Option<(Memory, Uuid)> {
    let (mode, rest) = input.split_first()?;
    let (watermark, rest) = rest.split_at_checked(MARK_BYTES)?;
    let (page, frames) = rest.split_at_checked(PAGE_BYTES)?;
    let header_bytes = segment::HEADER_BYTES as usize;
    let mut watermark = watermark.to_vec();
    let mut bytes = page.to_vec();
    bytes.resize(header_bytes, 0);
    bytes.extend_from_slice(frames);
    let length = u64::from_le_bytes(array_at(page, 40)) as usize;
    if mode & 4 == 0 && (bytes.len()..=FILE_BYTES_MAX).contains(&length) {
        bytes.resize(length, 0);
    }
    if mend::is_wanted(*mode) {
        mend::watermark(&mut watermark);
        mend::segment_header(&mut bytes);
        let (page, frames) = bytes.split_at_mut(header_bytes);
        mend::frames(frames, &array_at(page, 64));
    }
    let (disk, directory) = (Memory::default(), Path::new(DIRECTORY));
    disk.put(&segment::path(directory, 1), bytes);
    if mode & 2 == 0 {
        disk.put(&watermark::path(directory), watermark);
    }
    Some((disk, Uuid::from_bytes(array_at(page, 16))))
}

fn open(disk: &Memory, store: Uuid) -> Result<Opened> {
    recover::open(Arc::new(disk.clone()), Path::new(DIRECTORY), store)
}

/// The findings of a lenient scan.
fn findings(disk: &Memory, store: Uuid) -> Vec<String> {
    let (disk, directory): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), Path::new(DIRECTORY));
    let watermark = watermark::read(&*disk, directory, store).expect("memory can be read");
    let scan = LenientScan::new(disk, directory, store, Until::End(watermark));
    let mut scan = scan.expect("memory can be listed");
    let mut found = Vec::new();
    loop {
        match scan.next() {
            Ok(Some(Step::Wrong(finding))) => found.push(finding.to_string()),
            Ok(Some(Step::Frame { .. } | Step::Broken { .. } | Step::Doubtful { .. })) => {}
            Ok(None) => return found,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{error}");
                found.push(error.to_string());
                return found;
            }
        }
    }
}

/// Reads all frames and returns the last position.
fn last_position(opened: &Opened) -> Result<u64> {
    let mut last = 0;
    for frame in opened.journal.frames(opened.journal.start(), 1, opened.writer.end().next) {
        last = frame?.1.header.last_position();
    }
    Ok(last)
}

/// Writes a frame of one event at `end`.
fn write(opened: &mut Opened, end: End) -> std::result::Result<(), String> {
    let (position, time) = (end.position + 1, Micros(end.time.0.saturating_add(1)));
    let mut buffer = vec![0; frame::HEADER_BYTES];
    let content = b"an envelope";
    entry::begin_event("A-1", true, |out| out.extend_from_slice(content), &mut buffer);
    entry::seal_event(&mut buffer[frame::HEADER_BYTES..], position);
    let mut chain = ChainHasher::new(&end.chain, Kind::Group, position, time, 1);
    chain.event(b"A-1", position, &digest(content));
    let chain = chain.finish();
    let meaning = Meaning { kind: Kind::Group, events: 1, first_position: position, time, chain };
    opened.writer.write(buffer, &meaning).map(drop).map_err(|error| format!("{error:?}"))
}
