//! Reads into memory that was not filled before. The standard library reads at an offset only into bytes that have
//! values, so each buffer would be filled with zeros first: a quarter of the instructions of reading everything.

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use std::fs::File;
use std::io;

/// Reads up to `length` bytes from `offset` on; fewer only at the end of the file.
pub(super) fn read_new(file: &File, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = offset + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The memory may have more room than was asked for.
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_read_is_what_the_file_holds_and_ends_with_it() {
        let file = tempfile::tempfile().unwrap();
        let held: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
        file.write_all_at(&held, 0).unwrap();
        for (length, offset) in [(0, 0), (1, 0), (10_000, 0), (100, 9_900), (4_096, 4_096)] {
            let read = read_new(&file, length, offset as u64).unwrap();
            assert_eq!(read, held[offset..offset + length], "{length} bytes at {offset}");
        }
        assert_eq!(read_new(&file, 200, 9_900).unwrap(), held[9_900..]);
        assert!(read_new(&file, 200, 20_000).unwrap().is_empty());
        assert!(read_new(&file, 1, u64::MAX - 8).is_err(), "no file has such an offset");
    }
}
