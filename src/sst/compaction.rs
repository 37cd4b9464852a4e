//! Merging packs, so that a stream's events lie in few of them.
//!
//! Packs of one level that stand side by side become one of the next level, step by step between the
//! windows: each event is written again once for each level, and there are few levels. Until the merged
//! pack is listed in their place, the ones that it is made of are what is read.

use crate::codec::sst::PackId;
use crate::codec::sst::event::Body;
use crate::codec::sst::footer::NameHash;
use crate::codec::state::StreamState;
use crate::kv::database::Database;
use crate::sst::block_cache::BlockCache;
use crate::sst::cursor::Walk;
use crate::sst::reader::Pack;
use crate::sst::set::OpenChunk;
use crate::sst::writer::PackWriter;
use crate::value::error::Result;
use crate::value::limits::PACKS_MERGED;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A pack that is made for a multiple of so many streams has a filter that can be folded until it has no
/// more room than it needs.
const FILTER_STREAMS: u64 = 8 * PACKS_MERGED as u64;

/// What an event takes beside its body, when a step's work is counted.
const EVENT_BYTES: usize = 32;

/// Whether there is something to be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MergeDue {
    Not,
    /// When nobody writes.
    WhenIdle,
    /// When there is nothing to be taken in.
    Soon,
    /// Before anything more is taken in.
    First,
}

/// Packs that are being merged.
pub(crate) struct Merging {
    inputs: Vec<Input>,
    writer: PackWriter,
    /// The stream whose runs are being taken, and the last version of it that was.
    taken: Option<(StreamId, u64)>,
    level: u8,
}

struct Input {
    walk: Walk,
    chunk: OpenChunk,
}

/// Which of `packs` are to be merged next, if there are as many as `packs_min` of a level.
pub(crate) fn due(packs: &[Arc<Pack>], packs_min: usize) -> Option<Range<usize>> {
    let levels = packs.iter().map(|pack| pack.listed.level).collect::<Vec<_>>();
    due_of_levels(&levels, packs_min)
}

/// Levels never rise from the oldest to the newest: those of one level stand side by side.
fn due_of_levels(levels: &[u8], packs_min: usize) -> Option<Range<usize>> {
    let mut groups = levels.chunk_by(|a, b| a == b).rev();
    let mut end = levels.len();
    groups.find_map(|group| {
        let start = end - group.len();
        end = start;
        (group.len() >= packs_min).then(|| start..start + group.len().min(PACKS_MERGED))
    })
}

impl Merging {
    /// Begins to make pack `id` of `packs`, which stand side by side.
    pub(crate) fn begin(
        db: &Database,
        directory: &Path,
        id: PackId,
        packs: &[Arc<Pack>],
        cache: &Arc<BlockCache>,
    ) -> Result<Merging> {
        // As many as there can be: no more than the filters of all were made for.
        let streams: u64 = packs.iter().map(|pack| pack.footer.filter.names()).sum();
        let streams = streams.next_multiple_of(FILTER_STREAMS);
        let inputs = packs
            .iter()
            .map(|pack| Ok(Input { walk: Walk::of(db, pack)?, chunk: OpenChunk::default() }));
        let inputs: Vec<Input> = inputs.collect::<Result<_>>()?;
        let level = packs.iter().map(|pack| pack.listed.level).max().unwrap_or(0);
        let writer = PackWriter::create(db, directory, id, streams, cache)?;
        Ok(Merging { inputs, writer, taken: None, level: level.saturating_add(1) })
    }

    /// The packs that go into it.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Arc<Pack>> {
        self.inputs.iter().map(|input| &input.walk.pack)
    }

    /// Takes in about `bytes` of events. Returns whether there are more.
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

    /// Has the merged pack on disk.
    pub(crate) fn finish(self, db: &Database) -> Result<Option<Pack>> {
        self.writer.finish(db, self.level)
    }

    /// Takes in the next run. Returns its bytes, or `None` at the end.
    fn take_run(&mut self, db: &Database) -> Result<Option<usize>> {
        let Some((stream, input)) = self.next_input(db)? else { return Ok(None) };
        let Input { walk, chunk } = &mut self.inputs[input];
        let run = walk.take(db)?.expect("it was looked at");
        let before = run.first_version - 1;
        let is_next = match &self.taken {
            Some((last, version)) if *last == stream => *version == before,
            last => last.as_ref().is_none_or(|(last, _)| *last < stream),
        };
        if !is_next {
            let what = format!("version {} of {stream} does not follow", run.first_version);
            return walk.pack.sound(Err(what));
        }
        if self.taken.as_ref().is_none_or(|(last, _)| *last != stream) {
            let before = StreamState { version: Version::new(before), ..run.state };
            self.writer.begin_stream(&stream, NameHash::of(&stream), before);
        }
        // The newer run knows better.
        self.writer.take_over(&run.state);
        self.taken = Some((stream, run.last_version()));
        let mut bytes = 0;
        for event in chunk.events(&walk.pack, &run)? {
            self.writer.put(db, event.position, event.recorded_at, &event.body)?;
            bytes += EVENT_BYTES;
            if let Body::Inline(body) = &event.body {
                bytes += body.len();
            }
        }
        Ok(Some(bytes))
    }

    /// Where the next run is to be taken from, and its stream. Of one stream, the older pack has the older
    /// events.
    fn next_input(&mut self, db: &Database) -> Result<Option<(StreamId, usize)>> {
        let mut next: Option<(StreamId, usize)> = None;
        for (number, input) in self.inputs.iter_mut().enumerate() {
            let Some(run) = input.walk.peek(db)? else { continue };
            if next.as_ref().is_none_or(|(stream, _)| run.stream < *stream) {
                // A name of its own: the run's shares its block of the directory.
                next = Some((run.stream.detached(), number));
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::limits::PACKS_MERGED_IDLE;

    #[test]
    fn packs_of_one_level_are_merged_as_soon_as_there_are_enough() {
        let due = |levels: &[&[u8]]| due_of_levels(&levels.concat(), PACKS_MERGED_IDLE);
        assert_eq!(due(&[]), None);
        assert_eq!(due(&[&[0; PACKS_MERGED_IDLE - 1]]), None);
        assert_eq!(due(&[&[1], &[0; PACKS_MERGED_IDLE]]), Some(1..1 + PACKS_MERGED_IDLE));
        assert_eq!(due(&[&[0; PACKS_MERGED]]), Some(0..PACKS_MERGED));
        assert_eq!(due(&[&[1, 1], &[0; PACKS_MERGED + 3]]), Some(2..2 + PACKS_MERGED));
        assert_eq!(due(&[&[2], &[1; PACKS_MERGED], &[0; 3]]), Some(1..1 + PACKS_MERGED));
        assert_eq!(due(&[&[2; 3], &[1; 3], &[0; 3]]), None);
        assert_eq!(due_of_levels(&[0; 2 * PACKS_MERGED - 1], 2 * PACKS_MERGED), None);
        let first = Some(0..PACKS_MERGED);
        assert_eq!(due_of_levels(&[0; 2 * PACKS_MERGED], 2 * PACKS_MERGED), first);
    }
}
