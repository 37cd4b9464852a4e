//! A disk that refuses to work in a directory that was moved, or in another one that took its place. This goes for
//! the directory that is held, and for directories in it, such as `journal`.

use crate::storage::disk::{Disk, DiskFile, Kind};
use crate::storage::held::Held;
use crate::storage::stat::{FileIdentity, is_removed, leads_to};
use crate::value::error::Moved;
use crate::value::failpoint::failpoint;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk that guards one held directory, and the directories in it that were used.
pub(crate) struct GuardedDisk {
    disk: Arc<dyn Disk>,
    held: Arc<Held>,
    /// The directories in it, open since their first use. The inode number of an open directory is not reused.
    below: Mutex<HashMap<PathBuf, File>>,
    /// The most permissions that a file created there gets.
    mode: u32,
}

impl GuardedDisk {
    pub(crate) fn new(disk: Arc<dyn Disk>, held: Arc<Held>, mode: u32) -> GuardedDisk {
        GuardedDisk { disk, held, below: Mutex::default(), mode }
    }

    /// The disk, if the directory of the file `path` was not moved or replaced.
    fn at(&self, path: &Path) -> io::Result<&dyn Disk> {
        self.within(path.parent().unwrap_or(path))
    }

    /// The disk, if the directory `path` was not moved or replaced.
    fn within(&self, path: &Path) -> io::Result<&dyn Disk> {
        if self.is_held(path) {
            self.held.check()?;
            if path != self.held.path() && !failpoint!("journal::hold_only_the_stores_directory") {
                self.check_below(path)?;
            }
        }
        Ok(&*self.disk)
    }

    /// Checks that `path` leads to the directory that it led to at its first use.
    fn check_below(&self, path: &Path) -> io::Result<()> {
        let mut below = self.below.lock();
        if let Some(directory) = below.get(path) {
            return match leads_to(path, directory)? {
                true => Ok(()),
                false => Err(io::Error::other(Moved::from_path(path))),
            };
        }
        // If there is no directory, the call itself reports it.
        if path.is_dir() {
            below.insert(path.to_owned(), File::open(path)?);
        }
        Ok(())
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

    fn open_dense(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.at(path)?.open_dense(path)
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.at(path)?.open_to_write(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(to)?;
        self.at(from)?.rename(from, to)?;
        self.below.lock().retain(|path, _| !path.starts_with(from));
        Ok(())
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.at(name)?;
        self.at(file)?.link(file, name)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.at(path)?.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.at(path)?.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.at(path)?.remove_dir(path)?;
        self.below.lock().remove(path);
        Ok(())
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        // A directory that was used and is gone is not created again.
        let disk = self.at(path)?;
        if self.below.lock().contains_key(path) {
            self.check_below(path)?;
        }
        disk.create_dir_all(path, self.mode_at(path, mode))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.within(path)?.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.within(path)?.list(path)
    }

    /// Does not check the directories: this is called for each group of commits, and changes nothing.
    fn identity_at(&self, path: &Path) -> io::Result<Option<FileIdentity>> {
        self.disk.identity_at(path)
    }

    fn has_lost(&self, path: &Path) -> io::Result<bool> {
        let directory = path.parent().unwrap_or(path);
        match self.below.lock().get(directory) {
            Some(held) => Ok(is_removed(held)? || leads_to(directory, held)?),
            None => Ok(false),
        }
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        self.at(path)?.kind(path)
    }

    fn kind_there(&self, path: &Path) -> io::Result<Option<Kind>> {
        self.at(path)?.kind_there(path)
    }

    fn open_foreign(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.at(path)?.open_foreign(path)
    }
}
