//! The entries of a frame's body: events and system records, one after the other.
//!
//! ```text
//! offset  bytes  field
//!      0      1  kind: 1 event, 2 record; bit 7: the first entry of a commit
//!      1      4  length of the content
//!      5      4  CRC-32C of kind, length and content
//!      9         content
//! ```
//!
//! An event's content is the length of its stream's name (2), its version (8), the name, and its
//! envelope. A record's content is its bincode form. Besides the frame's checksum, each entry has
//! its own, so that an event can be read without its frame.

use crate::codec::cursor::{Cursor, array_at};
use crate::codec::length::{in_four_bytes, in_two_bytes};
use crate::codec::{envelope, record};
use crate::value::corruption::Corruption;
use crate::value::failpoint::failpoint;
use bytes::Bytes;
use std::ops::Range;

const KIND_EVENT: u8 = 1;
const KIND_RECORD: u8 = 2;
const BIT_FIRST: u8 = 0x80;
const CRC_OFFSET: usize = 5;
pub(crate) const HEADER_BYTES: usize = 9;
/// The offset of the version in an event entry.
const VERSION_OFFSET: usize = HEADER_BYTES + 2;

/// One entry, sharing its frame's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Event { stream: Bytes, version: u64, envelope: Bytes },
    Record(Bytes),
}

impl Entry {
    pub(crate) fn envelope(&self) -> Option<&[u8]> {
        match self {
            Entry::Event { envelope, .. } => Some(envelope),
            Entry::Record(_) => None,
        }
    }
}

/// Where the parts of an event's entry are in a frame's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventParts {
    pub(crate) stream: Range<usize>,
    pub(crate) version: u64,
    pub(crate) envelope: Range<usize>,
}

/// Appends an event entry without its version and checksum, which [`seal_event`] sets. `envelope`
/// appends the envelope. Returns the envelope's range in `out`.
#[allow(clippy::indexing_slicing, reason = "the entry's header was appended from `start` on")]
pub(crate) fn begin_event(
    stream: &str,
    first_of_commit: bool,
    envelope: impl FnOnce(&mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Range<usize> {
    let start = out.len();
    out.push(KIND_EVENT | if first_of_commit { BIT_FIRST } else { 0 });
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&in_two_bytes(stream.len()).to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(stream.as_bytes());
    let begin = out.len();
    envelope(out);
    let length = in_four_bytes(out.len() - start - HEADER_BYTES);
    out[start + 1..start + CRC_OFFSET].copy_from_slice(&length.to_le_bytes());
    debug_assert_eq!(entry_length(&out[start..]), Some(out.len() - start));
    begin..out.len()
}

/// Sets the version and the checksum of an event entry. `entry` is exactly that entry.
#[allow(clippy::indexing_slicing, reason = "`begin_event` has made it, with room for both")]
pub(crate) fn seal_event(entry: &mut [u8], version: u64) {
    debug_assert_eq!(entry[0] & !BIT_FIRST, KIND_EVENT, "only an event has a version");
    debug_assert_eq!(entry_length(entry), Some(entry.len()), "it is exactly one entry");
    debug_assert!((1..u64::MAX).contains(&version), "a version has a next one");
    entry[VERSION_OFFSET..VERSION_OFFSET + 8].copy_from_slice(&version.to_le_bytes());
    let crc = checksum(entry).to_le_bytes();
    entry[CRC_OFFSET..HEADER_BYTES].copy_from_slice(&crc);
}

/// Appends a record entry.
#[allow(clippy::indexing_slicing, reason = "the entry was appended from `start` on")]
pub(crate) fn put_record(record: &[u8], first_of_commit: bool, out: &mut Vec<u8>) {
    let start = out.len();
    out.push(KIND_RECORD | if first_of_commit { BIT_FIRST } else { 0 });
    out.extend_from_slice(&in_four_bytes(record.len()).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(record);
    let crc = checksum(&out[start..]).to_le_bytes();
    out[start + CRC_OFFSET..start + HEADER_BYTES].copy_from_slice(&crc);
}

/// Iterates over the entries of a frame's body, with their offsets in it. An error ends the iteration.
pub(crate) struct Entries {
    body: Bytes,
    at: usize,
}

impl Entries {
    pub(crate) fn new(body: Bytes) -> Entries {
        Entries { body, at: 0 }
    }

    /// The frame's body.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Passes over what is left.
    pub(crate) fn end(&mut self) {
        self.at = self.body.len();
    }

    /// The parts of the next event, without sharing the buffer. Skips records.
    #[allow(
        clippy::indexing_slicing,
        reason = "`next_range` gives ranges of the body that an entry's header fits into"
    )]
    pub(crate) fn next_event(&mut self) -> Option<Result<EventParts, Corruption>> {
        loop {
            let range = match self.next_range()? {
                Ok(range) => range,
                Err(what) => return Some(Err(what)),
            };
            match self.body[range.start] & !BIT_FIRST {
                KIND_RECORD => {}
                KIND_EVENT => {
                    let content = range.start + HEADER_BYTES..range.end;
                    return Some(event_parts(&self.body, content).ok_or(Corruption::EventEntry));
                }
                other => return Some(Err(Corruption::EntryKind(other))),
            }
        }
    }

    /// The next record. Skips events, without sharing the buffer.
    #[allow(
        clippy::indexing_slicing,
        reason = "`next_range` gives ranges of the body that an entry's header fits into"
    )]
    pub(crate) fn next_record(&mut self) -> Option<Result<Bytes, Corruption>> {
        loop {
            let range = match self.next_range()? {
                Ok(range) => range,
                Err(what) => return Some(Err(what)),
            };
            if self.body[range.start] & !BIT_FIRST == KIND_RECORD {
                return Some(Ok(self.body.slice(range.start + HEADER_BYTES..range.end)));
            }
        }
    }

    /// The range of the next entry.
    #[allow(clippy::indexing_slicing, reason = "`at` is never beyond the body's end")]
    fn next_range(&mut self) -> Option<Result<Range<usize>, Corruption>> {
        if self.at == self.body.len() {
            return None;
        }
        let at = self.at;
        let Some(length) = entry_length(&self.body[at..]) else {
            self.at = self.body.len();
            return Some(Err(Corruption::EntryCut(at as u64)));
        };
        self.at = at + length;
        Some(Ok(at..self.at))
    }
}

impl Iterator for Entries {
    type Item = Result<(usize, usize, Entry), Corruption>;

    /// The next entry with its offset in the body and its length. The frame's checksum has covered
    /// the body, so the entry's own checksum is not verified.
    fn next(&mut self) -> Option<Self::Item> {
        let parsed = self.next_range()?.and_then(|range| {
            let entry = parse(&self.body, range.clone())?;
            Ok((range.start, range.len(), entry))
        });
        Some(parsed)
    }
}

/// The entries of a damaged body, each with its offset and length. An entry is `None` if its own
/// checksum does not match. `whole` is whether the end of the body was reached.
pub(crate) struct Salvaged {
    pub(crate) entries: Vec<(usize, usize, Option<Entry>)>,
    pub(crate) whole: bool,
}

/// Reads the entries of a damaged body that can be read.
#[allow(clippy::indexing_slicing, reason = "`at` is before the body's end")]
pub(crate) fn salvage(body: &Bytes) -> Salvaged {
    let mut entries = Vec::new();
    let mut at = 0;
    while at < body.len() {
        // After a damaged length, the following bytes have no matching checksums.
        let Some(length) = entry_length(&body[at..]) else { break };
        let entry = decode(&body.slice(at..at + length)).ok();
        entries.push((at, length, entry));
        at += length;
    }
    Salvaged { entries, whole: at == body.len() }
}

/// Describes a form in a frame's body that this version does not know, if there is one: an entry's kind, or
/// something in its content.
#[allow(clippy::indexing_slicing, reason = "an entry is as long as its header at least")]
pub(crate) fn newer_form(body: &Bytes) -> Option<String> {
    let mut at = 0;
    while let Some(length) = body.get(at..).and_then(entry_length) {
        let bytes = body.slice(at..at + length);
        at += length;
        let newer = match bytes[0] & !BIT_FIRST {
            KIND_EVENT => {
                let parts = event_parts(&bytes, HEADER_BYTES..length)?;
                envelope::newer_form(&bytes.slice(parts.envelope))
            }
            KIND_RECORD => record::newer_form(&bytes[HEADER_BYTES..]),
            _ if failpoint!("codec::ignore_newer_entry") => None,
            other => Some(format!("an entry of kind {other}; 1 and 2 are known")),
        };
        if newer.is_some() {
            return newer;
        }
    }
    None
}

/// Decodes the entry that takes up all of `bytes`, and verifies its checksum.
pub(crate) fn decode(bytes: &Bytes) -> Result<Entry, Corruption> {
    if entry_length(bytes) != Some(bytes.len()) {
        return Err(Corruption::EntryLength);
    }
    let stored = u32::from_le_bytes(array_at(bytes, CRC_OFFSET));
    if stored != checksum(bytes) {
        return Err(Corruption::EntryChecksum);
    }
    parse(bytes, 0..bytes.len())
}

/// Whether the entry with this first byte is the first one of its commit.
pub(crate) fn begins_commit(first_byte: u8) -> bool {
    first_byte & BIT_FIRST != 0
}

/// The length of the entry at the beginning of `bytes`, if they hold all of it.
fn entry_length(bytes: &[u8]) -> Option<usize> {
    claimed_length(bytes).filter(|length| *length <= bytes.len())
}

/// The length that the entry at the beginning of `bytes` claims.
pub(crate) fn claimed_length(bytes: &[u8]) -> Option<usize> {
    let content = u32::from_le_bytes(bytes.get(1..CRC_OFFSET)?.try_into().ok()?) as usize;
    HEADER_BYTES.checked_add(content)
}

/// The entry at `range` of `bytes`, which is at least as long as an entry's header.
#[allow(clippy::indexing_slicing, reason = "an entry is as long as its header at least")]
fn parse(bytes: &Bytes, range: Range<usize>) -> Result<Entry, Corruption> {
    let content = range.start + HEADER_BYTES..range.end;
    match bytes[range.start] & !BIT_FIRST {
        KIND_RECORD => Ok(Entry::Record(bytes.slice(content))),
        KIND_EVENT => {
            let EventParts { stream, version, envelope } =
                event_parts(bytes, content).ok_or(Corruption::EventEntry)?;
            let (stream, envelope) = (bytes.slice(stream), bytes.slice(envelope));
            Ok(Entry::Event { stream, version, envelope })
        }
        other => Err(Corruption::EntryKind(other)),
    }
}

fn event_parts(bytes: &Bytes, content: Range<usize>) -> Option<EventParts> {
    let end = content.end;
    let mut cursor = Cursor::within(bytes, content);
    let name_length = cursor.u16()?;
    // A forged entry may have a correct checksum. Its version must be one that another can follow.
    let version = cursor.u64().filter(|version| (1..u64::MAX).contains(version))?;
    let name = cursor.at();
    cursor.pass(name_length.into())?;
    Some(EventParts { stream: name..cursor.at(), version, envelope: cursor.at()..end })
}

/// The checksum of everything in an entry but the checksum itself. `entry` is at least as long as its header.
#[allow(clippy::indexing_slicing, reason = "an entry is as long as its header at least")]
fn checksum(entry: &[u8]) -> u32 {
    let head = crc32c::crc32c(&entry[..CRC_OFFSET]);
    crc32c::crc32c_append(head, &entry[HEADER_BYTES..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_entry() -> Vec<u8> {
        let mut out = Vec::new();
        let range = begin_event("A-1", true, |out| out.extend_from_slice(b"env"), &mut out);
        assert_eq!(&out[range], b"env");
        seal_event(&mut out, 2);
        out
    }

    #[test]
    fn an_event_entry_has_its_golden_bytes() {
        let golden = [
            0x81, 16, 0, 0, 0, // kind and first-of-commit, length
            0x80, 0xee, 0x91, 0xa1, // CRC-32C
            3, 0, 2, 0, 0, 0, 0, 0, 0, 0, // name length, version
            b'A', b'-', b'1', b'e', b'n', b'v',
        ];
        assert_eq!(event_entry(), golden);
    }

    #[test]
    fn a_record_entry_has_its_golden_bytes() {
        let mut out = Vec::new();
        put_record(&[7, 8], false, &mut out);
        assert_eq!(out, [2, 2, 0, 0, 0, 0xb4, 0x02, 0x00, 0x40, 7, 8]);
    }

    #[test]
    fn around_a_damaged_entry_the_others_are_salvaged() {
        let one = event_entry();
        let mut body = [one.as_slice(), &one, &one].concat();
        body[one.len() + HEADER_BYTES] ^= 1;
        let salvaged = salvage(&body.clone().into());
        let readable: Vec<bool> = salvaged.entries.iter().map(|(_, _, e)| e.is_some()).collect();
        assert_eq!((readable, salvaged.whole), (vec![true, false, true], true));
        body[one.len() + 4] ^= 0x80;
        let salvaged = salvage(&body.into());
        assert_eq!((salvaged.entries.len(), salvaged.whole), (1, false), "a length beyond the end");
    }

    #[test]
    fn every_flipped_bit_of_an_entry_is_found_by_its_checksum() {
        let entry = event_entry();
        let whole = decode(&entry.clone().into()).unwrap();
        assert!(matches!(&whole, Entry::Event { version: 2, .. }), "{whole:?}");
        for bit in 0..entry.len() * 8 {
            let mut flipped = entry.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped.into()).is_err(), "bit {bit} went unnoticed");
        }
    }
}
