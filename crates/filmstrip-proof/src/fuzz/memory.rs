//! A small disk in memory that loses nothing.

use crate::storage::disk::{Disk, DiskFile, Kind};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The maximum bytes in one file; beyond it the disk is full.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;

type Bytes = Arc<Mutex<Vec<u8>>>;

/// Files in one directory. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<BTreeMap<PathBuf, Bytes>>>);

struct File(Bytes);

impl Memory {
    pub(super) fn put(&self, path: &Path, bytes: Vec<u8>) {
        self.0.lock().insert(path.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    pub(super) fn get(&self, path: &Path) -> Option<Vec<u8>> {
        self.0.lock().get(path).map(|bytes| bytes.lock().clone())
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock();
        let rest = bytes.get(offset as usize..).unwrap_or(&[]);
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset as usize + bytes.len();
        if end > FILE_BYTES_MAX {
            return Err(ErrorKind::StorageFull.into());
        }
        let mut file = self.0.lock();
        let length = file.len().max(end);
        file.resize(length, 0);
        file[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }
}

impl Disk for Memory {
    fn create_new(&self, path: &Path, _: u32) -> io::Result<Arc<dyn DiskFile>> {
        self.put(path, Vec::new());
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.0.lock().get(path) {
            Some(bytes) => Ok(Arc::new(File(Arc::clone(bytes)))),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.lock();
        let bytes = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.0.lock().remove(path);
        removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir_all(&self, _: &Path, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let files = self.0.lock();
        let below = files.keys().filter_map(|file| file.strip_prefix(path).ok());
        Ok(below.map(|name| name.to_string_lossy().into_owned()).collect())
    }
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        Ok(self.0.lock().contains_key(path).then_some(Kind::File))
    }
}
