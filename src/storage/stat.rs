//! A file's identity and length, without reading its timestamps.
//!
//! Since Linux 6.13, the next write after a query of a file's change time gives the file a distinct timestamp.
//! Otherwise all writes within one tick of the clock (often 4 ms) get the same timestamp, and only the first of them
//! changes the inode (Documentation/filesystems/multigrain-ts.rst in the kernel's source). Each append checks that its
//! segment is still in its place. A `stat` for this queries the timestamps too: on ext4, every append then changed the
//! inode, and one write with its `fdatasync` took 215 us instead of 150. So this module queries only the inode number,
//! the number of links and the length.

use crate::storage::regular::is_loop;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file's device and inode number. The filesystem may reuse the number once the file is removed and no longer
/// open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// The identity of the file that `path` leads to.
    pub(crate) fn at(path: &Path) -> io::Result<FileIdentity> {
        Ok(look_at(path)?.identity)
    }

    pub(crate) fn of(file: &File) -> io::Result<FileIdentity> {
        Ok(look(file)?.identity)
    }

    /// Its name in `/proc/locks`: the device's major and minor number, in hexadecimal, and the inode number.
    pub(super) fn name(self) -> String {
        let major = (self.device >> 32 & 0xffff_f000) | (self.device >> 8 & 0xfff);
        let minor = (self.device >> 12 & 0xffff_ff00) | (self.device & 0xff);
        format!("{major:02x}:{minor:02x}:{}", self.inode)
    }
}

/// Whether `file` has no name any more. What is written to it is then lost when its last handle is closed.
pub(crate) fn is_removed(file: &File) -> io::Result<bool> {
    Ok(look(file)?.links == 0)
}

/// The length of `file` in bytes.
pub(crate) fn length(file: &File) -> io::Result<u64> {
    Ok(look(file)?.length)
}

/// The length in bytes of the file that `path` leads to. It is for files that another library writes.
pub(crate) fn length_at(path: &Path) -> io::Result<u64> {
    Ok(look_at(path)?.length)
}

/// Whether `path` leads to `file`.
pub(crate) fn leads_to(path: &Path, file: &File) -> io::Result<bool> {
    match FileIdentity::at(path) {
        Ok(met) => Ok(met == FileIdentity::of(file)?),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the error says that nothing is at the path. A symbolic link that leads to itself leads to nothing.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) || is_loop(error)
}

struct Look {
    identity: FileIdentity,
    links: u64,
    length: u64,
}

impl From<Metadata> for Look {
    fn from(metadata: Metadata) -> Look {
        let identity = FileIdentity { device: metadata.dev(), inode: metadata.ino() };
        Look { identity, links: metadata.nlink(), length: metadata.len() }
    }
}

#[cfg(target_os = "linux")]
use linux::{look, look_at};

#[cfg(target_os = "linux")]
mod linux {
    use super::{FileIdentity, Look};
    use crate::value::failpoint::failpoint;
    use rustix::fs::{AtFlags, CWD, Statx, StatxFlags, makedev, statx};
    use rustix::io::Errno;
    use std::fs::{self, File};
    use std::io;
    use std::path::Path;

    pub(super) fn look_at(path: &Path) -> io::Result<Look> {
        if failpoint!("storage::look_at_times") {
            return Ok(fs::metadata(path)?.into());
        }
        match statx(CWD, path, AtFlags::empty(), wanted()) {
            Err(error) if is_unknown(error) => Ok(fs::metadata(path)?.into()),
            found => Ok(found?.into()),
        }
    }

    pub(super) fn look(file: &File) -> io::Result<Look> {
        match statx(file, c"", AtFlags::EMPTY_PATH, wanted()) {
            Err(error) if is_unknown(error) => Ok(file.metadata()?.into()),
            found => Ok(found?.into()),
        }
    }

    fn wanted() -> StatxFlags {
        StatxFlags::INO | StatxFlags::NLINK | StatxFlags::SIZE
    }

    /// Whether the kernel lacks this call, or a sandbox forbids it. `stat` is always there.
    fn is_unknown(error: Errno) -> bool {
        matches!(error, Errno::NOSYS | Errno::PERM)
    }

    impl From<Statx> for Look {
        fn from(found: Statx) -> Look {
            let device = makedev(found.stx_dev_major, found.stx_dev_minor);
            let identity = FileIdentity { device, inode: found.stx_ino };
            Look { identity, links: found.stx_nlink.into(), length: found.stx_size }
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn look_at(path: &Path) -> io::Result<Look> {
    Ok(std::fs::metadata(path)?.into())
}

#[cfg(not(target_os = "linux"))]
fn look(file: &File) -> io::Result<Look> {
    Ok(file.metadata()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::io::Write;

    /// An append queries its segment. A query that includes the timestamps makes the next write change the inode:
    /// commits, one after the other, took half as long again. Files that are written within one tick of the kernel's
    /// clock have the same timestamp, unless it was queried.
    #[test]
    fn a_look_leaves_the_time_of_the_next_write_as_coarse_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..200).map(|n| directory.path().join(n.to_string())).collect();
        let files: Vec<_> = paths.iter().map(|path| File::create(path).unwrap()).collect();
        for (path, mut file) in paths.iter().zip(&files) {
            file.write_all(b"one").unwrap();
            assert!(leads_to(path, file).unwrap() && !is_removed(file).unwrap());
            assert_eq!(length(file).unwrap(), 3);
            file.write_all(b"two").unwrap();
        }
        let times = files.iter().map(|file| file.metadata().unwrap().modified().unwrap());
        let different = times.collect::<HashSet<_>>().len();
        assert!(
            different < files.len(),
            "{different} of {} files have a time of their own",
            files.len()
        );
    }

    #[test]
    fn a_file_is_known_by_another_name_and_after_its_removal() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        let file = File::create(&one).unwrap();
        let other = File::create(&two).unwrap();
        assert_eq!(FileIdentity::at(&one).unwrap(), FileIdentity::of(&file).unwrap());
        assert_eq!(Look::from(file.metadata().unwrap()).identity, FileIdentity::of(&file).unwrap());
        assert!(!leads_to(&one, &other).unwrap());
        std::fs::rename(&one, &two).unwrap();
        assert!(leads_to(&two, &file).unwrap() && !leads_to(&one, &file).unwrap());
        assert!(is_removed(&other).unwrap() && !is_removed(&file).unwrap());
        // A store that was renamed, with a link to itself in its place, once refused every append with `ELOOP`.
        std::os::unix::fs::symlink(&one, &one).unwrap();
        assert!(!leads_to(&one, &file).unwrap());
    }
}
