//! Gathers a flush batch: a stretch of the journal, in the form that the index ingests.

use crate::codec::checkpoint::Checkpoint;
use crate::codec::envelope;
use crate::codec::frame::{Frame, Location};
use crate::codec::sparse_index::SparseEntry;
use crate::index::flush_batch::{EventToIndex, FlushBatch, POSTING_BYTES};
use crate::journal::read::{Frames, Journal};
use crate::log::read::located::{Located, each_located, is_next_sparse_entry, sparse_entry_of};
use crate::value::corruption::Corruption;
use crate::value::error::Result;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The next flush batch after `from` and before `to`, or `None` if there is nothing left. It takes no further frame
/// after `bytes` of journal, and of what the postings of its tags take in memory.
pub(super) fn next_batch(
    journal: &Arc<Journal>,
    bytes: u64,
    signs_of_life: &AtomicU64,
    from: &Checkpoint,
    to: Location,
) -> Result<Option<FlushBatch>> {
    if from.next >= to {
        return Ok(None);
    }
    let mut frames = journal.frames(from.next, from.position + 1, to);
    let mut batch = FlushBatchBuilder::new(*from);
    while batch.bytes < bytes {
        let Some(item) = frames.next() else { break };
        let (at, frame) = item?;
        signs_of_life.fetch_add(1, Ordering::Relaxed);
        batch
            .take(at, &frame)
            .map_err(|what| journal.unreadable(at, frame.header.first_position, &frame, what))?;
    }
    Ok(Some(batch.finish(&frames)))
}

struct FlushBatchBuilder {
    events: Vec<EventToIndex>,
    sparse_entries: Vec<SparseEntry>,
    records: HashMap<String, Vec<u8>>,
    end: Checkpoint,
    bytes: u64,
}

impl FlushBatchBuilder {
    fn new(from: Checkpoint) -> FlushBatchBuilder {
        FlushBatchBuilder {
            events: Vec::new(),
            sparse_entries: Vec::new(),
            records: HashMap::new(),
            end: from,
            bytes: 0,
        }
    }

    fn take(&mut self, at: Location, frame: &Frame) -> Result<(), Corruption> {
        let sparse_entry = sparse_entry_of(at, frame);
        if is_next_sparse_entry(self.sparse_entries.last(), &sparse_entry) {
            self.sparse_entries.push(sparse_entry);
        }
        each_located(at, frame, |located| match located {
            Located::Event(event) => {
                self.bytes += POSTING_BYTES * envelope::tags(&event.envelope).count() as u64;
                self.events.push(event);
            }
            Located::Record { key, value } => {
                self.records.insert(key, value);
            }
        })?;
        let header = &frame.header;
        self.bytes += header.padded_length();
        self.end.position = header.last_position();
        self.end.time = header.time;
        self.end.chain = header.chain;
        Ok(())
    }

    fn finish(mut self, frames: &Frames) -> FlushBatch {
        self.end.next = frames.at();
        FlushBatch {
            events: self.events,
            sparse_entries: self.sparse_entries,
            records: self.records.into_iter().collect(),
            end: self.end,
        }
    }
}
