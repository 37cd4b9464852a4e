//! The events and records of a frame, with their locations.

use crate::codec::entry::Entry;
use crate::codec::frame::{EntryLocation, Frame, Location};
use crate::codec::record::Record;
use crate::codec::sparse_index::SparseEntry;
use crate::index::flush_batch::EventToIndex;
use crate::value::corruption::Corruption;
use crate::value::limits::GLOBAL_STEP_BYTES;
use crate::value::stream::StreamId;

/// An event, which shares its frame's buffer, or the key and value of a record.
pub(crate) enum Located {
    Event(EventToIndex),
    Record { key: String, value: Vec<u8> },
}

/// Calls `take` with each event and record of the frame at `at`, in order.
pub(crate) fn each_located(
    at: Location,
    frame: &Frame,
    mut take: impl FnMut(Located),
) -> Result<(), Corruption> {
    try_each_located(at, frame, |located| {
        take(located);
        Ok(())
    })
}

/// Like `each_located`, but stops at the first error of `take`.
pub(crate) fn try_each_located<E: From<Corruption>>(
    at: Location,
    frame: &Frame,
    mut take: impl FnMut(Located) -> Result<(), E>,
) -> Result<(), E> {
    let header = &frame.header;
    let mut held = 0_u64;
    for item in frame.entries() {
        let (offset, length, entry) = item?;
        match entry {
            // More events than the frame says have no positions.
            Entry::Event { .. } if held >= u64::from(header.events) => held += 1,
            Entry::Event { stream, version, envelope } => {
                let stream = StreamId::from_stored(stream).ok_or(Corruption::StreamName)?;
                let location = EntryLocation {
                    segment: at.segment,
                    offset: at.offset as u32 + offset,
                    length,
                };
                let recorded_at = header.time;
                let position = header.first_position + held;
                take(Located::Event(EventToIndex {
                    stream,
                    version,
                    position,
                    recorded_at,
                    location,
                    envelope,
                }))?;
                held += 1;
            }
            Entry::Record(record) => {
                let (key, value) = Record::decode(&record)?.into_kept();
                take(Located::Record { key, value })?;
            }
        }
    }
    if held == u64::from(header.events) {
        return Ok(());
    }
    Err(Corruption::FrameEvents { said: header.events, held }.into())
}

/// The sparse index entry of the frame at `at`.
pub(crate) fn sparse_entry_of(at: Location, frame: &Frame) -> SparseEntry {
    SparseEntry { position: frame.header.first_position, time: frame.header.time, location: at }
}

/// Whether the frame of `sparse_entry` is far enough after the entry `last` to be worth an entry of its own.
pub(crate) fn is_next_sparse_entry(last: Option<&SparseEntry>, sparse_entry: &SparseEntry) -> bool {
    last.is_none_or(|last| {
        last.location.segment != sparse_entry.location.segment
            || sparse_entry.location.offset >= last.location.offset + GLOBAL_STEP_BYTES
    })
}
