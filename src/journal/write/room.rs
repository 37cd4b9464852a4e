//! A frame for which there is no room.

use crate::codec::frame::Location;
use crate::journal::write::Writer;
use crate::value::failpoint::failpoint;

impl Writer {
    /// Clears what is left of a frame of `length` bytes that found no room. Returns true only if durably nothing is
    /// left.
    ///
    /// On a filesystem that copies on write (btrfs, say), a full disk has no room for a frame even if its segment has.
    /// The writer reads back what the failed write has written, because a later sync would write that out. It
    /// overwrites these bytes with zeros, which takes no new room.
    pub(super) fn take_back(&self, at: Location, length: usize) -> bool {
        if failpoint!("journal::leave_failed_frame") {
            return true;
        }
        let take_back = || {
            let brought = self.used(at, length)?;
            if brought > 0 {
                self.file.write_all_at(&vec![0; brought], at.offset)?;
                self.file.sync_data()?;
            }
            Ok::<_, std::io::Error>(brought == 0 || self.used(at, length)? == 0)
        };
        take_back().unwrap_or(false)
    }

    /// How many of the `length` bytes at `at` come before the zeros at their end.
    fn used(&self, at: Location, length: usize) -> std::io::Result<usize> {
        let mut bytes = vec![0; length];
        let read = self.file.read_at(&mut bytes, at.offset)?;
        bytes.truncate(read);
        Ok(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1))
    }
}
