//! A disk that does not read a page any more: verifying names the page and what it cost, and goes on.

use crate::storage::disk::{Disk, DiskFile, Kind, RealDisk};
use crate::store::Store;
use crate::value::event::NewEvent;
use crate::value::finding::FindingKind;
use crate::value::position::ExpectedVersion;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads that touch the byte at this offset fail; 0: none do.
#[derive(Clone, Default)]
struct Broken(Arc<AtomicU64>);

struct BrokenFile(Arc<dyn DiskFile>, Broken);

impl DiskFile for BrokenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let at = self.1.0.load(Ordering::SeqCst);
        match at > 0 && (offset..offset + buffer.len() as u64).contains(&at) {
            true => Err(io::Error::other("a bad sector")),
            false => self.0.read_at(buffer, offset),
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
}

impl Disk for Broken {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(BrokenFile(RealDisk.create_new(path, mode)?, self.clone())))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(BrokenFile(RealDisk.open(path)?, self.clone())))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(BrokenFile(RealDisk.open_to_write(path)?, self.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        RealDisk.create_dir_all(path, mode)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        RealDisk.kind(path)
    }
}

#[test]
fn a_page_that_the_disk_does_not_read_is_named_with_the_events_that_it_cost() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Broken::default();
    let store = Store::builder().disk(Arc::new(disk.clone())).open(directory.path()).unwrap();
    for n in 0..30 {
        // The first bytes differ, so that a page of zeros in their place is another content.
        let event = NewEvent::bytes("T", vec![n + 1; 10_000]);
        store.append(format!("S-{n}"), ExpectedVersion::NoStream, [event]).unwrap();
    }
    assert!(store.verify().unwrap().is_whole());
    disk.0.store(155_000, Ordering::SeqCst);
    let verified = store.verify().unwrap();
    let kinds: Vec<_> = verified.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Unreadable, FindingKind::Frame], "{:#?}", verified.findings);
    let offset = verified.findings[0].offset.unwrap();
    assert!((offset..offset + 4_096).contains(&155_000), "{}", verified.findings[0]);
    let lost = verified.findings[1].positions.clone().unwrap();
    assert_eq!(lost.start(), lost.end(), "{}", verified.findings[1]);
    assert_eq!(verified.events, 29);
    disk.0.store(0, Ordering::SeqCst);
    assert!(store.verify().unwrap().is_whole());
}
