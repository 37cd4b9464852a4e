//! Reads a segment in chunks. Bytes that the disk cannot read are reported, and count as zeros.

use crate::codec::frame::{self, Header};
use crate::codec::length::in_memory;
use crate::journal::lenient_scan::{LenientScan, Open};
use crate::journal::recover::used;
use crate::value::finding::{Finding, FindingKind};
use crate::value::limits::{SCAN_CHUNK_BYTES, UNREADABLE_BYTES};
use bytes::Bytes;

impl LenientScan {
    /// Searches for the next frame, at least `first` bytes after the current place and before `limit`. Returns its
    /// offset, and that of the last byte seen that is not zero.
    pub(super) fn look_ahead(
        &mut self,
        open: &mut Open,
        limit: u64,
        first: u64,
    ) -> (Option<u64>, Option<u64>) {
        let from = open.at;
        let step = in_memory(frame::ALIGNMENT);
        let mut last_used = None;
        while open.at < limit {
            let ahead = self.fill(open, SCAN_CHUNK_BYTES);
            if ahead.is_empty() {
                break;
            }
            let used = used(&ahead);
            if used > 0 {
                last_used = Some(open.at + used as u64 - 1);
            }
            let begins_frame = |i: &usize| {
                let at = open.at + *i as u64;
                let header = ahead.get(*i..).and_then(Header::parse);
                header.is_some_and(|header| header.lies_at(self.store, open.number, at))
            };
            let first = in_memory((from + first).saturating_sub(open.at));
            if let Some(i) = (first..used).step_by(step).find(begins_frame) {
                return (Some(open.at + i as u64), last_used);
            }
            // A header may span this chunk and the next.
            let is_last = open.at + ahead.len() as u64 >= open.length;
            let on = ahead.len().saturating_sub(if is_last { 0 } else { frame::HEADER_BYTES });
            open.at += (on.next_multiple_of(step)).max(step) as u64;
        }
        (None, last_used)
    }

    /// At least `length` bytes from the current place, or all that the segment has left.
    pub(super) fn fill(&mut self, open: &mut Open, length: usize) -> Bytes {
        let skip = in_memory(open.at.saturating_sub(open.chunk_offset));
        let there = open.chunk.len().saturating_sub(skip);
        let is_before = open.at < open.chunk_offset;
        if is_before || there < length.min(in_memory(open.length - open.at)) {
            open.chunk = self.read(open, open.at, length.max(SCAN_CHUNK_BYTES));
            open.chunk_offset = open.at;
            return open.chunk.clone();
        }
        open.chunk.slice(skip..)
    }

    /// Reads up to `length` bytes. Bytes that the disk cannot read are reported, and count as zeros.
    pub(super) fn read(&mut self, open: &Open, offset: u64, length: usize) -> Bytes {
        let length = length.min(in_memory(open.length.saturating_sub(offset)));
        let mut bytes = vec![0; length];
        if open.file.read_at(&mut bytes, offset).is_err() {
            self.read_page_by_page(open, offset, &mut bytes);
        }
        self.bytes += bytes.len() as u64;
        bytes.into()
    }

    fn read_page_by_page(&mut self, open: &Open, offset: u64, bytes: &mut [u8]) {
        for (n, page) in bytes.chunks_mut(UNREADABLE_BYTES).enumerate() {
            let at = offset + (n * UNREADABLE_BYTES) as u64;
            if let Err(error) = open.file.read_at(page, at) {
                page.fill(0);
                let what = format!("the disk cannot read it: {error}");
                self.wrong(Finding::new(FindingKind::Unreadable, &open.path, what).at(at));
            }
        }
    }
}
