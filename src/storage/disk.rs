//! The narrow interface through which the engine touches files, so that tests can fail, tear and
//! reorder what a disk does.

use crate::storage::files;
use crate::storage::regular;
use crate::storage::stat::{self, FileIdentity};
use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
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
    /// `fsync`: the file's permissions as well.
    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
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
    /// Opens a file to read as much of it as it says, unless most of it is holes.
    fn open_dense(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }
    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file another name, unless something has it already.
    fn link(&self, _file: &Path, _name: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory, with the permissions of the one that it is in.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
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
    /// What is at `path` itself, a symbolic link not followed; `None` if there is nothing.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>>;
    /// What is where `path` leads; `None` if there is nothing, a symbolic link that leads nowhere included.
    fn kind_there(&self, path: &Path) -> io::Result<Option<Kind>> {
        self.kind(path)
    }
    /// Opens a file that another party writes, by its path, in order to sync it.
    fn open_foreign(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }
}

/// What may be at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// A symbolic link; where a path leads, one that leads to itself.
    Link,
    /// A pipe, a device.
    Other,
}

impl Kind {
    fn of(found: FileType) -> Kind {
        if found.is_file() {
            Kind::File
        } else if found.is_dir() {
            Kind::Directory
        } else if found.is_symlink() {
            Kind::Link
        } else {
            Kind::Other
        }
    }
}

/// Writes a file from its beginning on.
pub(crate) struct SequentialWriter {
    file: Arc<dyn DiskFile>,
    written: u64,
}

impl SequentialWriter {
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> SequentialWriter {
        SequentialWriter { file, written: 0 }
    }

    /// Has everything on disk that was written.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl io::Write for SequentialWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }

    fn length(&self) -> io::Result<u64> {
        stat::length(self)
    }

    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        FileIdentity::of(self).map(Some)
    }

    fn is_removed(&self) -> io::Result<bool> {
        stat::is_removed(self)
    }
}

impl Disk for RealDisk {
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(files::create_file(path, mode)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(regular::open(path)?))
    }

    fn open_dense(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        regular::check_dense(path)?;
        self.open(path)
    }

    fn open_to_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        regular::check(path)?;
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        fs::hard_link(file, name)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        files::create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        files::create_dir_all(path, mode)
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

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => Ok(Some(Kind::of(found?.file_type()))),
        }
    }

    fn kind_there(&self, path: &Path) -> io::Result<Option<Kind>> {
        match fs::metadata(path) {
            Err(error) if stat::is_gone(&error) => Ok(None),
            Err(error) if regular::is_loop(&error) => Ok(Some(Kind::Link)),
            found => Ok(Some(Kind::of(found?.file_type()))),
        }
    }

    fn identity_at(&self, path: &Path) -> io::Result<Option<FileIdentity>> {
        FileIdentity::at(path).map(Some)
    }
}
