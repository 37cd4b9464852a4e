//! A disk over real files that fails where a test asks for it.

use crate::storage::disk::{Disk, DiskFile, Kind, RealDisk};
use crate::storage::stat::FileIdentity;
use parking_lot::Mutex;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

/// Which operation fails, and how. Operations are writes, syncs of files and directories, and whatever creates,
/// renames or removes a file or directory.
#[derive(Default)]
pub(crate) struct Faults {
    done: AtomicU64,
    fail_at: AtomicU64,
    /// All operations after that fail, too.
    fails_on: AtomicBool,
    /// The `errno` that it fails with; 0 for an error without one.
    errno: AtomicI32,
    /// A failing write writes the first half of its bytes.
    halves: AtomicBool,
    /// Files cannot grow.
    full: AtomicBool,
    /// If set, the disk is full and copies on write.
    copying: Mutex<Option<Copying>>,
    /// The operation panics instead of failing.
    panics: AtomicBool,
    /// No file gets a second name.
    has_no_links: AtomicBool,
    /// Nothing is in the page cache.
    is_cold: AtomicBool,
    /// Reads that waited for the disk, where it is cold.
    waits: AtomicU64,
    /// Places that were announced.
    announced: AtomicU64,
}

/// A panic's payload that panics again when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropping the payload of a panic panics");
    }
}

/// A full disk that copies on write. It accepts only a write over bytes that its last failed write has written.
#[derive(Default)]
struct Copying {
    /// Bytes that the next write still writes before it fails.
    room: usize,
    /// What the last failed write has written. It can be overwritten.
    brought: Range<u64>,
    /// Not even that can be overwritten.
    refuses_all: bool,
}

impl Faults {
    /// Makes the `n`-th operation from now fail, counted from 1; 0 for none.
    pub(crate) fn fail_in(&self, n: u64) {
        let at = if n == 0 { 0 } else { self.done.load(Ordering::SeqCst) + n };
        self.fails_on.store(false, Ordering::SeqCst);
        self.fail_at.store(at, Ordering::SeqCst);
    }

    /// Makes the `n`-th operation from now fail, counted from 1, and each one after it, until the next call of
    /// [`Faults::fail_in`].
    pub(crate) fn fail_from(&self, n: u64) {
        self.fail_in(n);
        self.fails_on.store(true, Ordering::SeqCst);
    }

    /// Makes the chosen operation panic instead, with a payload that panics when it is dropped. On the thread that
    /// prepares segments, the operation succeeds.
    pub(crate) fn panic_instead(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// Makes the chosen operation fail with this error of the operating system.
    pub(crate) fn fail_with(&self, errno: i32) {
        self.errno.store(errno, Ordering::SeqCst);
    }

    pub(crate) fn halve_writes(&self) {
        self.halves.store(true, Ordering::SeqCst);
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// Sets whether reads have to wait for the disk.
    pub(crate) fn set_cold(&self, is_cold: bool) {
        self.is_cold.store(is_cold, Ordering::SeqCst);
    }

    /// How many reads of a cold disk there were, and how many places were announced, since the last call.
    pub(crate) fn waits_and_announced(&self) -> (u64, u64) {
        (self.waits.swap(0, Ordering::SeqCst), self.announced.swap(0, Ordering::SeqCst))
    }

    /// Makes the disk one that supports no hard links.
    pub(crate) fn refuse_links(&self) {
        self.has_no_links.store(true, Ordering::SeqCst);
    }

    /// Makes the disk full and copy on write, as btrfs does: the next write writes `room` bytes and fails. With
    /// `refuses_all`, not even these can be overwritten.
    pub(crate) fn set_copying(&self, room: usize, refuses_all: bool) {
        *self.copying.lock() = Some(Copying { room, refuses_all, ..Copying::default() });
    }

    /// Undoes [`Faults::set_copying`].
    pub(crate) fn end_copying(&self) {
        *self.copying.lock() = None;
    }

    /// How many bytes of a write at `offset` are written if the disk is full and copies on write.
    fn taken(&self, offset: u64, bytes: usize) -> usize {
        let mut copying = self.copying.lock();
        let Some(Copying { room, brought, refuses_all }) = &mut *copying else { return bytes };
        let end = offset + bytes as u64;
        if brought.contains(&offset) && end <= brought.end && !*refuses_all {
            return bytes;
        }
        let taken = std::mem::take(room).min(bytes);
        *brought = offset..offset + taken as u64;
        taken
    }

    /// Whether the chosen operation has been reached.
    pub(crate) fn has_failed(&self) -> bool {
        let at = self.fail_at.load(Ordering::SeqCst);
        at != 0 && self.done.load(Ordering::SeqCst) >= at
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    fn next(&self) -> io::Result<()> {
        let n = self.done.fetch_add(1, Ordering::SeqCst) + 1;
        let at = self.fail_at.load(Ordering::SeqCst);
        let is_after = at != 0 && n > at && self.fails_on.load(Ordering::SeqCst);
        if n != at && !is_after {
            return Ok(());
        }
        if !self.panics.load(Ordering::SeqCst) {
            return Err(match self.errno.load(Ordering::SeqCst) {
                0 => io::Error::other("injected"),
                errno => io::Error::from_raw_os_error(errno),
            });
        }
        match std::thread::current().name() {
            Some("filmstrip-preparer") => Ok(()),
            _ => std::panic::panic_any(Bomb),
        }
    }
}

pub(crate) struct FaultyDisk(pub(crate) Arc<Faults>);

struct FaultyFile {
    file: Arc<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    fn wrap(&self, file: io::Result<Arc<dyn DiskFile>>) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FaultyFile { file: file?, faults: Arc::clone(&self.0) }))
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.faults.is_cold.load(Ordering::SeqCst) {
            self.faults.waits.fetch_add(1, Ordering::SeqCst);
        }
        self.file.read_at(buffer, offset)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        let is_cold = self.faults.is_cold.load(Ordering::SeqCst);
        !is_cold && self.file.read_at(buffer, offset).is_ok_and(|read| read == buffer.len())
    }

    fn announce(&self, _: u64, _: usize) {
        self.faults.announced.fetch_add(1, Ordering::SeqCst);
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let grows = offset + bytes.len() as u64 > self.file.length()?;
        if grows && self.faults.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let taken = self.faults.taken(offset, bytes.len());
        if taken < bytes.len() {
            self.file.write_all_at(&bytes[..taken], offset)?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if let Err(error) = self.faults.next() {
            if self.faults.halves.load(Ordering::SeqCst) {
                self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            }
            return Err(error);
        }
        self.file.write_all_at(bytes, offset)
    }

    /// One operation, because tests make each operation fail once.
    fn write_zeros_at(&self, bytes: usize, offset: u64, _: usize) -> io::Result<()> {
        self.write_all_at(&vec![0; bytes], offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.next()?;
        self.file.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        self.file.identity()
    }
}

impl Disk for FaultyDisk {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>> {
        self.0.next()?;
        self.wrap(RealDisk.create_new(path, mode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.wrap(RealDisk.open(path))
    }

    fn open_dense(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.wrap(RealDisk.open_dense(path))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.wrap(RealDisk.open_to_write(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.next()?;
        RealDisk.rename(from, to)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.0.next()?;
        match self.0.has_no_links.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::CrossesDevices.into()),
            false => RealDisk.link(file, name),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.next()?;
        RealDisk.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.next()?;
        RealDisk.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.next()?;
        RealDisk.remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.0.next()?;
        RealDisk.create_dir_all(path, mode)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.next()?;
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }

    fn identity_at(&self, path: &Path) -> io::Result<Option<FileIdentity>> {
        RealDisk.identity_at(path)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        RealDisk.kind(path)
    }

    fn kind_there(&self, path: &Path) -> io::Result<Option<Kind>> {
        RealDisk.kind_there(path)
    }
}
