//! By how much the versions of streams have moved in a copy.
//!
//! A stream whose events all have one event each in the copy is not held here.

use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::limits::COPY_STREAMS_BYTES_MAX;
use std::collections::HashMap;

/// Bytes that a stream is counted with besides its name: its entry, and the allocation of the name.
const STREAM_BYTES: usize = 64;

/// The streams in which some event has other than one event in its place.
#[derive(Default)]
pub(super) struct Versions {
    /// How many events more the stream has in the copy; fewer, below 0.
    moved: HashMap<Box<str>, i64>,
    bytes: usize,
}

impl Versions {
    /// The version in the copy of the first event that takes the place of the one at `version` of `stream`.
    pub(super) fn first(&self, stream: &str, version: u64) -> u64 {
        match self.moved.is_empty() || failpoint!("doctor::copy_with_old_versions") {
            true => version,
            false => version.saturating_add_signed(self.moved.get(stream).copied().unwrap_or(0)),
        }
    }

    /// The next event of `stream` has so many events in its place.
    pub(super) fn moved(&mut self, stream: &str, written: u64) -> Result<()> {
        let by = written.cast_signed() - 1;
        if let Some(moved) = self.moved.get_mut(stream) {
            *moved += by;
            return Ok(());
        }
        if by == 0 {
            return Ok(());
        }
        self.bytes += stream.len() + STREAM_BYTES;
        if self.bytes > COPY_STREAMS_BYTES_MAX {
            let what = "what is to be known of the streams whose versions move";
            return Err(Error::too_large(
                what,
                self.bytes,
                COPY_STREAMS_BYTES_MAX,
                "bytes or more",
            ));
        }
        self.moved.insert(stream.into(), by);
        Ok(())
    }

    /// Whether versions of `stream` may have moved.
    pub(super) fn has_moved(&self, stream: &str) -> bool {
        self.moved.contains_key(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::error::ErrorKind;

    #[test]
    fn versions_move_by_what_came_before_them_in_their_stream() {
        let mut versions = Versions::default();
        let steps = [(1, 1), (3, 2), (0, 5), (1, 5), (0, 6), (2, 6)];
        for (version, (written, first)) in (1..).zip(steps) {
            assert_eq!(versions.first("A-1", version), first, "version {version}");
            assert_eq!(versions.first("A-2", version), version);
            versions.moved("A-1", written).unwrap();
        }
        assert!(versions.has_moved("A-1") && !versions.has_moved("A-2"));
    }

    #[test]
    fn more_streams_than_may_be_held_are_an_error_with_both_numbers() {
        let mut versions = Versions { bytes: COPY_STREAMS_BYTES_MAX - 200, ..Versions::default() };
        let name = |n: u32| format!("{n:0>40}");
        versions.moved(&name(1), 0).unwrap();
        // It is known already, or has not moved.
        (0..9).for_each(|_| versions.moved(&name(1), 2).unwrap());
        (2..99).for_each(|n| versions.moved(&name(n), 1).unwrap());
        let error = versions.moved(&name(100), 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let (met, allowed) = (COPY_STREAMS_BYTES_MAX + 8, COPY_STREAMS_BYTES_MAX);
        let said = error.to_string();
        assert!(said.contains(&met.to_string()) && said.contains(&allowed.to_string()), "{said}");
    }
}
