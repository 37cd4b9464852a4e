//! Takes space for a file from the disk without writing it.

use std::fs::File;
use std::io;

/// Lengthens the empty `file` to `bytes`, which read as zeros. Returns false if the file system has no such operation.
#[cfg(target_os = "linux")]
pub(super) fn allocate(file: &File, bytes: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    loop {
        return match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(Errno::INTR) => continue,
            Err(error) => Err(error.into()),
        };
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn allocate(_: &File, _: u64) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn allocated_space_reads_as_zeros_and_what_cannot_be_had_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        if !allocate(&file, 3 << 20).unwrap() {
            return;
        }
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 3 << 20);
        assert!(metadata.blocks() * 512 >= 3 << 20);
        let more_than_there_is = 1 << 60;
        allocate(&file, more_than_there_is).unwrap_err();
    }
}
