//! Reads what the operating system has in memory, and tells it what is read next.
//!
//! A caller that reads several places of a file that is not in memory waits for the disk once for each place. If the
//! system is told of all of them first, the disk reads them side by side. Telling costs a system call for each place,
//! so it is worth it only where the disk has to be waited for.

#[cfg(target_os = "linux")]
pub(super) use linux::{announce, read_cached};

#[cfg(target_os = "linux")]
mod linux {
    use rustix::fs::{Advice, fadvise};
    use rustix::io::{ReadWriteFlags, preadv2};
    use std::fs::File;
    use std::io::IoSliceMut;
    use std::num::NonZeroU64;

    /// Fills `buffer` from `offset` on, if that takes no wait for the disk. A file system that cannot tell counts as
    /// one that has to wait, and so does any error: the read that follows meets it again.
    pub(crate) fn read_cached(file: &File, buffer: &mut [u8], offset: u64) -> bool {
        let length = buffer.len();
        let read = preadv2(file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT);
        read == Ok(length)
    }

    /// Has the system begin to read `length` bytes at `offset`. It need not, so an error changes nothing.
    pub(crate) fn announce(file: &File, offset: u64, length: usize) {
        let _ = fadvise(file, offset, NonZeroU64::new(length as u64), Advice::WillNeed);
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read_cached(_: &std::fs::File, _: &mut [u8], _: u64) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(super) fn announce(_: &std::fs::File, _: u64, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn what_is_read_without_a_wait_is_what_the_file_holds_and_never_less_than_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = File::open(&path).unwrap();
        announce(&file, 0, 100);
        announce(&file, 9_990, 1_000_000);
        let mut buffer = vec![0xAA; 3_000];
        if read_cached(&file, &mut buffer, 5_000) {
            assert_eq!(buffer, content[5_000..8_000]);
        }
        assert!(!read_cached(&file, &mut buffer, 9_000), "the file ends before");
        assert!(!read_cached(&file, &mut buffer, 20_000), "the file ends before");
    }
}
