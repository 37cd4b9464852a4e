//! The narrow interface through which the journal touches files, so that tests can fail, tear and
//! reorder what a disk does.

use crate::storage::held::{self, FileIdentity, MODE_ALL};
use crate::storage::regular;
use crate::value::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that is read and written at offsets.
pub(crate) trait DiskFile: Send + Sync {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes so many zeros, `at_once` with each write.
    fn write_zeros_at(&self, bytes: usize, offset: u64, at_once: usize) -> io::Result<()> {
        let zeros = vec![0; at_once.min(bytes)];
        for at in (0..bytes).step_by(at_once) {
            let bytes = at_once.min(bytes - at);
            self.write_all_at(&zeros[..bytes], offset + at as u64)?;
        }
        Ok(())
    }
    /// `fdatasync`: the written bytes and what is needed to find them again.
    fn sync_data(&self) -> io::Result<()>;
    fn length(&self) -> io::Result<u64>;
    /// What tells this file from every other one that exists at the same time; `None` if nothing does.
    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        Ok(None)
    }
    /// Whether it was removed, so that what is written to it goes with the last handle.
    fn is_removed(&self) -> io::Result<bool> {
        Ok(false)
    }
}

/// A directory tree.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Creates a file, with those permissions of its directory that are in `mode`.
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>>;
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and those above it that are missing, with the permissions `mode` at most.
    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// `fsync` of a directory: its entries become durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no order; none if it does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// What is at `path`, if [`DiskFile::identity`] can tell as well.
    fn identity_at(&self, _path: &Path) -> io::Result<Option<FileIdentity>> {
        Ok(None)
    }
    /// Whether a file that is not at `path` any more was taken out of its directory, or removed with it: if it
    /// was not, the directory was renamed, and the file is still in it.
    fn has_lost(&self, _path: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

/// The operating system's files.
pub(crate) struct RealDisk;

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match FileExt::read_at(self, &mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        Ok(Some(FileIdentity::of(&self.metadata()?)))
    }

    fn is_removed(&self) -> io::Result<bool> {
        Ok(self.metadata()?.nlink() == 0)
    }
}

impl Disk for RealDisk {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(held::create_file(path, mode)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(regular::open(path)?))
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        regular::check(path)?;
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        held::create_dir_all(path, mode)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn identity_at(&self, path: &Path) -> io::Result<Option<FileIdentity>> {
        Ok(Some(FileIdentity::of(&fs::metadata(path)?)))
    }
}

/// Writes `bytes` as the whole file `path`, so that after a crash it is the old file or the new one.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = with_suffix(path, ".tmp");
    let directory = path.parent().expect("a file of the store lies in a directory");
    remove_if_there(disk, &temporary)?;
    let write = || {
        let file = disk.create_new(&temporary, MODE_ALL)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        disk.rename(&temporary, path)?;
        disk.sync_dir(directory)
    };
    write().map_err(|e| Error::io("write", path, e))
}

/// The whole file of at most `max` bytes, or `None` if it does not exist.
///
/// # Errors
/// `Corrupt` if it is longer.
pub(crate) fn read_whole(disk: &dyn Disk, path: &Path, max: u64) -> Result<Option<Vec<u8>>> {
    let read = || {
        let file = disk.open(path)?;
        let length = file.length()?;
        if length > max {
            return Err(regular::too_long(length, max));
        }
        let mut bytes = vec![0; length as usize];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path, error)),
    }
}

pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
