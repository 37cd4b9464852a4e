//! Repairs the checksums in changed bytes, at the places that docs/FORMAT.md gives.

use crate::codec::frame::{self, Chain, Frame, Header};
use crate::codec::sst::TableId;
use bytes::Bytes;

/// Whether an input that begins with `mode` gets its checksums repaired.
pub(super) fn is_wanted(mode: u8) -> bool {
    mode & 1 != 0
}

fn put(bytes: &mut [u8], at: usize, crc: u32) {
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize)
}

/// Repairs the checksum of a table's block. It covers the block's place and everything after the checksum.
pub(super) fn block(id: TableId, offset: u64, block: &mut [u8]) {
    if block.len() >= 4 {
        let mut place = id.index.as_bytes().to_vec();
        place.extend_from_slice(&id.number.to_le_bytes());
        place.extend_from_slice(&offset.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&place), &block[4..]);
        put(block, 0, crc);
    }
}

/// Repairs the checksum of a segment header, which covers its page.
pub(super) fn segment_header(page: &mut [u8]) {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&page[..96]), &page[100..4_096]);
    put(page, 96, crc);
}

/// Repairs the checksum of a watermark.
pub(super) fn watermark(watermark: &mut [u8]) {
    let crc = crc32c::crc32c(&watermark[..56]);
    put(watermark, 56, crc);
}

/// Repairs the checksums of all consecutive frames in `bytes` and of their entries, and the chain, which is `chain`
/// before the first frame.
pub(super) fn frames(bytes: &mut [u8], chain: &Chain) {
    let (mut at, mut chain) = (0, *chain);
    while let Some(length) = word(bytes, at + 8) {
        let Some(frame) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..length)) else {
            return;
        };
        if length < frame::HEADER_BYTES {
            return;
        }
        entries(&mut frame[frame::HEADER_BYTES..]);
        if let Some(next) = chain_of(frame, &chain) {
            frame[64..96].copy_from_slice(&next);
            chain = next;
        }
        seal(frame);
        at += frame::padded(length as u64) as usize;
    }
}

fn entries(body: &mut [u8]) {
    let mut at = 0;
    while let Some(length) = word(body, at + 1) {
        let Some(entry) = body.get_mut(at..).and_then(|rest| rest.get_mut(..9 + length)) else {
            return;
        };
        let crc = crc32c::crc32c_append(crc32c::crc32c(&entry[..5]), &entry[9..]);
        put(entry, 5, crc);
        at += 9 + length;
    }
}

fn chain_of(frame: &mut [u8], before: &Chain) -> Option<Chain> {
    seal(frame);
    let header = Header::parse(frame)?;
    Frame::written(header, Bytes::copy_from_slice(frame)).chain_after(before).ok()
}

fn seal(frame: &mut [u8]) {
    let whole = crc32c::crc32c_append(crc32c::crc32c(&frame[..96]), &frame[frame::HEADER_BYTES..]);
    put(frame, 96, whole);
    let header = crc32c::crc32c(&frame[..100]);
    put(frame, 100, header);
}
