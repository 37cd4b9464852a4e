//! What a file is, and how long, without a look at its times.
//!
//! From Linux 6.13 on, a file whose time of change was asked for gets a time of its own from the next write; without
//! that, all writes within one tick of the clock (4 ms, often) have the same time, and only the first of them changes
//! the inode (Documentation/filesystems/multigrain-ts.rst of the kernel). Each append looks whether its segment is
//! still in its place. A `stat` there asks for the times too: on ext4 every append then changed the inode, and one
//! write with its `fdatasync` took 215 us in place of 150. So this asks for the inode and the length, and nothing else.

use crate::storage::regular::is_loop;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The device of a file, and its number there. A number may be given out again once its file is gone and
/// nobody holds it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// That of the file to which `path` leads.
    pub(crate) fn at(path: &Path) -> io::Result<FileIdentity> {
        Ok(look_at(path)?.identity)
    }

    pub(crate) fn of(file: &File) -> io::Result<FileIdentity> {
        Ok(look(file)?.identity)
    }
}

/// Whether no name is left of `file`, so that what is written to it goes with the last handle.
pub(crate) fn is_removed(file: &File) -> io::Result<bool> {
    Ok(look(file)?.links == 0)
}

/// The bytes of `file`.
pub(crate) fn length(file: &File) -> io::Result<u64> {
    Ok(look(file)?.length)
}

/// The bytes of the file that `path` leads to: one that another library writes by its path.
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

/// Whether nothing can be at the path: a symbolic link that leads to itself leads to nothing either.
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

    /// The kernel does not have this call, or a sandbox does not let it through: each has `stat`.
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

    /// An append looks at its segment, and a look that asks for the times as well makes the next write change the
    /// inode: one commit after the other took half as long again. Files that are written within one tick of the
    /// kernel's clock have the same time, unless it was asked for.
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
