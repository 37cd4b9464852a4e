//! The narrow interface through which the engine uses files. Tests implement it with disks that fail,
//! tear and reorder writes.

use crate::storage::allocate;
use crate::storage::cached;
use crate::storage::files;
use crate::storage::regular;
use crate::storage::stat::{self, FileIdentity};
#[cfg(target_os = "linux")]
use crate::storage::unfilled;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use std::fs::{self, File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A file that is read and written at offsets.
pub(crate) trait DiskFile: Send + Sync {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Reads up to `length` bytes into a buffer of their own; fewer only at the end of the file.
    fn read_new_at(&self, length: usize, offset: u64) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; length];
        let read = self.read_at(&mut buffer, offset)?;
        buffer.truncate(read);
        Ok(buffer)
    }
    /// Fills `buffer`, if that takes no wait for the disk. If it returns false, `buffer` may hold anything.
    fn read_cached_at(&self, _buffer: &mut [u8], _offset: u64) -> bool {
        false
    }
    /// Says that these bytes are read soon, so that the disk can begin to read them.
    fn announce(&self, _offset: u64, _length: usize) {}
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes `bytes` zeros, at most `at_once` with each write.
    fn write_zeros_at(&self, bytes: usize, offset: u64, at_once: usize) -> io::Result<()> {
        let zeros = vec![0; at_once.min(bytes)];
        for at in (0..bytes).step_by(at_once) {
            let bytes = at_once.min(bytes - at);
            self.write_all_at(&zeros[..bytes], offset + at as u64)?;
        }
        Ok(())
    }
    /// Lengthens an empty file to `bytes`, which read as zeros, and takes the space for them from the disk. Returns
    /// false, and leaves the file empty, if the file system cannot do that without writing them.
    fn allocate(&self, _bytes: u64) -> io::Result<bool> {
        Ok(false)
    }
    /// `fdatasync`: syncs the written bytes and the metadata that is needed to read them.
    fn sync_data(&self) -> io::Result<()>;
    /// `fsync`: syncs the file's permissions as well.
    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
    fn length(&self) -> io::Result<u64>;
    /// Tells this file from every other file that exists at the same time; `None` if the disk cannot tell.
    fn identity(&self) -> io::Result<Option<FileIdentity>> {
        Ok(None)
    }
    /// Whether the file was removed. What is written to it is then lost when its last handle is closed.
    fn is_removed(&self) -> io::Result<bool> {
        Ok(false)
    }
}

/// A directory tree.
pub(crate) trait Disk: Send + Sync + 'static {
    /// Creates a file. Its permissions are those of its directory, limited to `mode`.
    fn create_new(&self, path: &Path, mode: u32) -> io::Result<Arc<dyn DiskFile>>;
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that will be read whole, unless most of it is holes.
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
    /// Creates a directory with the permissions of its parent.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its missing parents, with at most the permissions `mode`.
    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// `fsync` of a directory: its entries become durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no particular order; none if it does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// The identity of the file that `path` leads to; `None` if [`DiskFile::identity`] returns none either.
    fn identity_at(&self, _path: &Path) -> io::Result<Option<FileIdentity>> {
        Ok(None)
    }
    /// For a file that is no longer at `path`: whether it was removed from its directory, or with it. If not, the
    /// directory was renamed, and the file is still in it.
    fn has_lost(&self, _path: &Path) -> io::Result<bool> {
        Ok(false)
    }
    /// What is at `path`, without following a symbolic link; `None` if nothing is there.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>>;
    /// What `path` leads to, following symbolic links; `None` if nothing is there, or a link leads nowhere.
    fn kind_there(&self, path: &Path) -> io::Result<Option<Kind>> {
        self.kind(path)
    }
    /// Opens a file that another library writes, in order to sync it.
    fn open_foreign(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.open(path)
    }
}

/// What may be at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// A symbolic link. [`Disk::kind_there`] returns it only for a link that leads to itself.
    Link,
    /// A pipe, a socket or a device.
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

/// Refuses a path that leads to something other than a directory.
pub(crate) fn refuse_no_directory(disk: &dyn Disk, path: &Path) -> Result<()> {
    let is_taken = failpoint!("storage::take_file_for_directory");
    match disk.kind_there(path) {
        Ok(Some(Kind::File | Kind::Other)) if !is_taken => {
            Err(Error::invalid(format!("{} is not a directory", path.display())))
        }
        _ => Ok(()),
    }
}

/// The reason for `error`, which concerns something in `directory`, if that is not a directory; else `error`.
pub(crate) fn unless_no_directory(disk: &dyn Disk, directory: &Path, error: Error) -> Error {
    refuse_no_directory(disk, directory).err().unwrap_or(error)
}

/// Whether `is_ours` accepts the name and the kind of everything in the directory `path`.
pub(crate) fn holds_only(
    disk: &dyn Disk,
    path: &Path,
    is_ours: impl Fn(&str, Kind) -> bool,
) -> bool {
    let is_ours = |name: &String| match disk.kind(&path.join(name)) {
        Ok(Some(Kind::Directory)) if failpoint!("storage::look_at_top_names_only") => true,
        Ok(Some(kind)) => is_ours(name, kind),
        _ => false,
    };
    disk.list(path).is_ok_and(|names| names.iter().all(is_ours))
}

/// Writes a file sequentially from its beginning.
pub(crate) struct SequentialWriter {
    file: Arc<dyn DiskFile>,
    written: u64,
}

impl SequentialWriter {
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> SequentialWriter {
        SequentialWriter { file, written: 0 }
    }

    /// Syncs everything that was written.
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

    #[cfg(target_os = "linux")]
    fn read_new_at(&self, length: usize, offset: u64) -> io::Result<Vec<u8>> {
        unfilled::read_new(self, length, offset)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> bool {
        cached::read_cached(self, buffer, offset)
    }

    fn announce(&self, offset: u64, length: usize) {
        cached::announce(self, offset, length);
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn allocate(&self, bytes: u64) -> io::Result<bool> {
        allocate::allocate(self, bytes)
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
