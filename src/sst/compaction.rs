//! Compacts tables, so that a stream's events are in few of them.
//!
//! Neighbouring tables of one level become one table of the next level, in steps between the flush batches. Each event
//! is written again once for each level, and there are few levels. Readers use the inputs until the compacted table is
//! listed in their place.

use crate::codec::sst::TableId;
use crate::codec::sst::block_index::KeyRun;
use crate::codec::sst::event::Body;
use crate::codec::sst::event_types::EventTypes;
use crate::codec::sst::footer::NameHash;
use crate::codec::sst::posting;
use crate::codec::state::StreamState;
use crate::kv::database::Database;
use crate::sst::block_cache::BlockCache;
use crate::sst::cursor::TableCursor;
use crate::sst::reader::Table;
use crate::sst::set::OpenEventBlock;
use crate::sst::writer::TableWriter;
use crate::value::corruption::Corruption;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::value::limits::TABLES_COMPACTED;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The filter of a table for a multiple of this many streams can be halved four times: 64 streams take 80 bytes of it.
/// `TABLES_COMPACTED` inputs that all hold the same streams need three halvings. Without folding, the filters of
/// 100,000 streams that are written again and again took half a gigabyte after 4,096 flush batches; with it they take
/// 125 KiB.
const FILTER_STREAMS: u64 = 8 * TABLES_COMPACTED as u64;

/// How many bytes of a step's work an event counts as, besides its body: events without a body of their own take time
/// too. It is an estimate, and decides only how long a step is.
const EVENT_BYTES: usize = 32;

/// Whether and when there is something to compact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompactionPriority {
    None,
    /// Compact when nobody writes.
    Idle,
    /// Compact when there is nothing to ingest.
    Normal,
    /// Compact before anything more is ingested.
    Urgent,
}

/// Tables that are being compacted.
pub(crate) struct Compaction {
    inputs: Vec<Input>,
    writer: TableWriter,
    /// What was taken last.
    taken: Option<Taken>,
    level: u8,
}

/// The run that was taken last.
struct Taken {
    stream: StreamId,
    /// Its last version, or the number of its last posting in the table that it is from.
    version: u64,
    /// The position of its last event.
    position: u64,
    /// The number of the input that it is from.
    input: usize,
}

impl Taken {
    /// Whether `run`, of input `input`, continues it.
    fn is_before(&self, run: &KeyRun, input: usize) -> bool {
        let before = run.first_version - 1;
        match self.stream == run.stream {
            false => self.stream < run.stream,
            // Each table counts the postings of a tag from 1.
            true if posting::tag_of_name(&run.stream).is_some() && input > self.input => {
                before == 0
            }
            true => self.version == before,
        }
    }
}

struct Input {
    cursor: TableCursor,
    event_block: OpenEventBlock,
}

/// Which of `tables` to compact next, if a level has at least `tables_min` of them.
pub(crate) fn due(tables: &[Arc<Table>], tables_min: usize) -> Option<Range<usize>> {
    let levels = tables.iter().map(|table| table.listed.level).collect::<Vec<_>>();
    due_of_levels(&levels, tables_min)
}

/// Levels never rise from the oldest table to the newest, so the tables of one level are neighbours.
fn due_of_levels(levels: &[u8], tables_min: usize) -> Option<Range<usize>> {
    let mut groups = levels.chunk_by(|a, b| a == b).rev();
    let mut end = levels.len();
    groups.find_map(|group| {
        let start = end - group.len();
        end = start;
        (group.len() >= tables_min).then(|| start..start + group.len().min(TABLES_COMPACTED))
    })
}

impl Compaction {
    /// Begins to compact `tables`, which are neighbours, into table `id`.
    pub(crate) fn begin(
        db: &Database,
        directory: &Path,
        id: TableId,
        tables: &[Arc<Table>],
        cache: &Arc<BlockCache>,
    ) -> Result<Compaction> {
        // An upper bound: the filters of all inputs were made for this many.
        let streams: u64 = tables.iter().map(|table| table.footer.filter.names()).sum();
        let streams = streams.next_multiple_of(FILTER_STREAMS);
        let inputs = tables.iter().map(|table| {
            Ok(Input {
                cursor: TableCursor::of(db, table)?,
                event_block: OpenEventBlock::default(),
            })
        });
        let inputs: Vec<Input> = inputs.collect::<Result<_>>()?;
        let level = tables.iter().map(|table| table.listed.level).max().unwrap_or(0);
        let writer = TableWriter::create(db, directory, id, streams, cache)?;
        Ok(Compaction { inputs, writer, taken: None, level: level.saturating_add(1) })
    }

    /// The tables that are being compacted.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.inputs.iter().map(|input| &input.cursor.table)
    }

    /// Takes about `bytes` of events. Returns whether there are more.
    pub(crate) fn step(&mut self, db: &Database, bytes: usize) -> Result<bool> {
        let mut taken = 0;
        while taken < bytes {
            match self.take_run(db)? {
                Some(run) => taken += run,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Syncs and opens the compacted table.
    pub(crate) fn finish(self, db: &Database) -> Result<Option<Table>> {
        let mut types = EventTypes::default();
        self.inputs().for_each(|table| types.merge(&table.footer.types));
        self.writer.finish(db, self.level, types)
    }

    /// Takes the next run. Returns its bytes, or `None` at the end.
    fn take_run(&mut self, db: &Database) -> Result<Option<usize>> {
        let Some((stream, number)) = self.next_input(db)? else { return Ok(None) };
        let input = self.inputs.get_mut(number).expect("it is the number of an input");
        let Input { cursor, event_block } = input;
        let run = cursor.take(db)?.expect("it was looked at");
        let before = run.first_version - 1;
        if self.taken.as_ref().is_some_and(|taken| !taken.is_before(&run, number)) {
            let (stream, version) = (stream.as_str().into(), run.first_version);
            return cursor.table.sound(Err(Corruption::KeyRunOrder { stream, version }));
        }
        let goes_on = self.taken.take_if(|taken| taken.stream == stream);
        if goes_on.is_none() {
            let before = StreamState { version: Version::new(before), ..run.state };
            self.writer.begin_stream(&stream, NameHash::of(&stream), before);
        }
        // The newer run has the newer state.
        self.writer.take_over(&run.state);
        let is_tag = posting::tag_of_name(&stream).is_some();
        let mut position = goes_on.map_or(0, |taken| taken.position);
        let version = run.last_version();
        if run.first_version > 1 && !is_tag && failpoint!("sst::drop_run_in_compaction") {
            self.taken = Some(Taken { stream, version, position, input: number });
            return Ok(Some(0));
        }
        let mut bytes = 0;
        for event in event_block.events(&cursor.table, &run)? {
            if is_tag && event.position <= position {
                return cursor.table.sound(Err(Corruption::Posting));
            }
            position = event.position;
            if is_tag && position.is_multiple_of(5) && failpoint!("sst::drop_posting_in_compaction")
            {
                continue;
            }
            self.writer.put(db, event.position, event.recorded_at, &event.body)?;
            bytes += EVENT_BYTES;
            if let Body::Inline(body) = &event.body {
                bytes += body.len();
            }
        }
        self.taken = Some(Taken { stream, version, position, input: number });
        Ok(Some(bytes))
    }

    /// The stream of the next run, and the number of the input that has it. The older table has the stream's older
    /// events, so it comes first.
    fn next_input(&mut self, db: &Database) -> Result<Option<(StreamId, usize)>> {
        let mut next: Option<(StreamId, usize)> = None;
        for (number, input) in self.inputs.iter_mut().enumerate() {
            let Some(run) = input.cursor.peek(db)? else { continue };
            if next.as_ref().is_none_or(|(stream, _)| run.stream < *stream) {
                // A copy of the name, because the run's name shares its index block.
                next = Some((run.stream.detached(), number));
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::limits::TABLES_COMPACTED_IDLE;

    #[test]
    fn tables_of_one_level_are_compacted_as_soon_as_there_are_enough() {
        let due = |levels: &[&[u8]]| due_of_levels(&levels.concat(), TABLES_COMPACTED_IDLE);
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[&[0; TABLES_COMPACTED_IDLE - 1]]), None);
        assert_eq!(due(&[&[1], &[0; TABLES_COMPACTED_IDLE]]), Some(1..1 + TABLES_COMPACTED_IDLE));
        assert_eq!(due(&[&[0; TABLES_COMPACTED]]), Some(0..TABLES_COMPACTED));
        assert_eq!(due(&[&[1, 1], &[0; TABLES_COMPACTED + 3]]), Some(2..2 + TABLES_COMPACTED));
        assert_eq!(due(&[&[2], &[1; TABLES_COMPACTED], &[0; 3]]), Some(1..1 + TABLES_COMPACTED));
        assert_eq!(due(&[&[2; 3], &[1; 3], &[0; 3]]), None);
        assert_eq!(due_of_levels(&[0; 2 * TABLES_COMPACTED - 1], 2 * TABLES_COMPACTED), None);
        let first = Some(0..TABLES_COMPACTED);
        assert_eq!(due_of_levels(&[0; 2 * TABLES_COMPACTED], 2 * TABLES_COMPACTED), first);
    }
}
