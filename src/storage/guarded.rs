//! A disk on which nothing is done in a directory that was moved away, or to one that took its place.

use crate::storage::disk::{Disk, DiskFile};
use crate::storage::held::Held;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A disk on which one directory is held.
pub(crate) struct GuardedDisk {
    disk: Arc<dyn Disk>,
    held: Arc<Held>,
    /// The permissions that what is created there gets at most.
    mode: u32,
}

impl GuardedDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, held: Arc<Held>, mode: u32) -> GuardedDisk {
        GuardedDisk { disk, held, mode }
    }

    /// The disk, if what is at `path` is still what was held there.
    fn at(&self, path: &Path) -> io::Result<&dyn Disk> {
        if self.is_held(path) {
            self.held.check()?;
        }
        Ok(&*self.disk)
    }

    fn is_held(&self, path: &Path) -> bool {
        path.starts_with(self.held.path())
    }

    fn mode_at(&self, path: &Path, mode: u32) -> u32 {
        if self.is_held(path) { self.mode & mode } else { mode }
    }
}

impl Disk for GuardedDisk {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>> {
        self.at(path)?.create_new(path, self.mode_at(path, mode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.at(path)?.open(path)
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.at(path)?.open_to_write(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(from)?.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.at(path)?.remove(path)
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.at(path)?.create_dir_all(path, self.mode_at(path, mode))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.at(path)?.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.at(path)?.list(path)
    }
}
