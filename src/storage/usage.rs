//! How much room files take.

use std::fs;
use std::io;
use std::path::Path;

/// The length in bytes of the file `path`, or of all files below it. What vanishes meanwhile, and what a symbolic link
/// leads to, does not count.
pub(crate) fn bytes_below(path: &Path) -> io::Result<u64> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    if !found.is_dir() {
        return Ok(if found.is_file() { found.len() } else { 0 });
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut bytes = 0;
    for entry in entries {
        bytes += bytes_below(&entry?.path())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_length_of_all_files_and_of_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("below");
        fs::create_dir(&below).unwrap();
        fs::write(directory.path().join("a"), [0; 10]).unwrap();
        fs::write(below.join("b"), [0; 7]).unwrap();
        std::os::unix::fs::symlink(directory.path(), below.join("up")).unwrap();
        assert_eq!(bytes_below(directory.path()).unwrap(), 17);
        assert_eq!(bytes_below(&below.join("b")).unwrap(), 7);
        assert_eq!(bytes_below(&below.join("none")).unwrap(), 0);
    }
}
