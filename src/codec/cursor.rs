//! Reads fixed forms from bytes without a panic: every read returns `None` if the bytes end too early.

use bytes::Bytes;
use std::ops::Range;

/// Reads little-endian values from the front of a shared buffer.
pub(crate) struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a Bytes) -> Cursor<'a> {
        Cursor::within(bytes, 0..bytes.len())
    }

    /// A cursor over `range` of `bytes`, which must be within them.
    pub(crate) fn within(bytes: &'a Bytes, range: Range<usize>) -> Cursor<'a> {
        Cursor { bytes, at: range.start, end: range.end }
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.pass(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn bytes16(&mut self) -> Option<[u8; 16]> {
        self.array()
    }

    /// The next `length` bytes, sharing the buffer.
    pub(crate) fn take(&mut self, length: usize) -> Option<Bytes> {
        let start = self.at;
        self.pass(length)?;
        Some(self.bytes.slice(start..self.at))
    }

    /// The next `length` bytes, borrowed, where sharing the buffer is not needed.
    pub(crate) fn pass(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.end)?;
        let passed = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(passed)
    }

    /// The remaining bytes, sharing the buffer.
    pub(crate) fn rest(self) -> Bytes {
        self.bytes.slice(self.at..self.end)
    }

    /// Where the next read begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }
}

/// The array at a constant offset in a slice that is known to be long enough.
#[allow(clippy::indexing_slicing, reason = "callers have compared the slice's length")]
pub(crate) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes[offset..offset + N].try_into().expect("the slice is N long")
}
