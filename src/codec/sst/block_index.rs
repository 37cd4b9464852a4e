//! An index block of a table: the key runs of the table, in the order of their streams and versions, and
//! their places.
//!
//! ```text
//! offset  bytes  field
//!      0      2  runs in this block
//!      2      8  time to which the runs' times are relative, UTC microseconds
//!     10      8  offset in the file to which the offsets of event blocks are relative
//!     18      2  for each run, where it begins in this block
//!             2  bytes of the name that the next block begins with; 0: this is the last block
//!             8  the version that the next block begins with
//!                that name
//! ```
//!
//! A run, with numbers of `varint`:
//!
//! ```text
//!         bytes of its stream's name, and the name
//!         version of its first event
//!         events
//!         when the stream was created, and when the run's last event was recorded, less the block's time
//!         (signed)
//!      1  flags: bit 0 the stream is deleted, bit 1 its first readable version is not 1
//!         that version, if bit 1 is set
//!         offset of the event block, less the block's; its length
//!         where the run begins in the event block
//! ```
//!
//! A stream's last run holds its state. Each block names what the next one begins with. So a lost block is noticed,
//! and never mistaken for streams that were not written.

use crate::codec::cursor::array_at;
use crate::codec::length::in_two_bytes;
use crate::codec::sst::BlockPlace;
use crate::codec::sst::block::{EVENT_BLOCK_BYTES_MAX, STORED_EVENT_BLOCK_BYTES_MAX};
use crate::codec::state::StreamState;
use crate::codec::varint;
use crate::value::clock::Micros;
use crate::value::corruption::Corruption;
use crate::value::failpoint::failpoint;
use crate::value::limits::{STREAM_NAME_BYTES_MAX, TABLE_INDEX_BLOCK_BYTES};
use crate::value::position::Version;
use crate::value::stream::StreamId;
use bytes::Bytes;

const FIXED_BYTES: usize = 18;
const NEXT_FIXED_BYTES: usize = 10;
const FLAG_DELETED: u8 = 1;
const FLAG_TRUNCATED: u8 = 2;

// A run's offset in its block fits into two bytes.
const _: () =
    assert!(TABLE_INDEX_BLOCK_BYTES + 2 * STREAM_NAME_BYTES_MAX + 256 <= u16::MAX as usize);

/// Consecutive events of one stream, in one event block of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRun {
    pub(crate) stream: StreamId,
    pub(crate) first_version: u64,
    pub(crate) events: u64,
    /// The stream's state after the run.
    pub(crate) state: StreamState,
    pub(crate) event_block: BlockPlace,
    /// Where the run begins in the event block.
    pub(crate) start: u32,
}

impl KeyRun {
    pub(crate) fn last_version(&self) -> u64 {
        self.state.version.get()
    }
}

/// Builds a block from runs, which must come in order.
#[derive(Default)]
pub(crate) struct IndexBlockBuilder {
    first: Option<KeyRun>,
    starts: Vec<u16>,
    runs: Vec<u8>,
}

impl IndexBlockBuilder {
    /// The first run, if there is one.
    pub(crate) fn first(&self) -> Option<&KeyRun> {
        self.first.as_ref()
    }

    /// Whether the next run must begin another block.
    pub(crate) fn is_full(&self) -> bool {
        self.runs.len() + 2 * self.starts.len() >= TABLE_INDEX_BLOCK_BYTES
    }

    pub(crate) fn put(&mut self, run: &KeyRun) {
        let first = self.first.get_or_insert_with(|| run.clone());
        let since = |time: Micros| time.0.wrapping_sub(first.state.created.0);
        debug_assert!(run.first_version > 0 && run.events > 0, "a run has an event");
        let start = u16::try_from(self.runs.len());
        let start = start.expect("where a run begins fits into two bytes");
        self.starts.push(start);
        let out = &mut self.runs;
        let (name, state) = (run.stream.as_str().as_bytes(), &run.state);
        varint::put(name.len() as u64, out);
        out.extend_from_slice(name);
        varint::put(run.first_version, out);
        varint::put(run.events, out);
        varint::put_signed(since(state.created), out);
        varint::put_signed(since(state.written), out);
        let is_truncated = state.first_readable.get() != 1;
        let deleted = if state.deleted { FLAG_DELETED } else { 0 };
        out.push(deleted | if is_truncated { FLAG_TRUNCATED } else { 0 });
        if is_truncated {
            varint::put(state.first_readable.get(), out);
        }
        let behind = run.event_block.offset.checked_sub(first.event_block.offset);
        varint::put(behind.expect("event blocks come in order"), out);
        varint::put(run.event_block.length.into(), out);
        varint::put(run.start.into(), out);
    }

    /// Appends the block of all runs that were put in, and begins another one. The next block begins
    /// with `next`.
    pub(crate) fn finish(&mut self, next: Option<(&StreamId, u64)>, out: &mut Vec<u8>) {
        let first = self.first.take().expect("a block has a run");
        let (name, version) = next.map_or(("", 0), |(stream, version)| (stream.as_str(), version));
        let count = self.starts.len();
        let runs = FIXED_BYTES + 2 * count + NEXT_FIXED_BYTES + name.len();
        let (begin, bytes) = (out.len(), runs + self.runs.len());
        out.extend_from_slice(&in_two_bytes(count).to_le_bytes());
        out.extend_from_slice(&first.state.created.0.to_le_bytes());
        out.extend_from_slice(&first.event_block.offset.to_le_bytes());
        for start in self.starts.drain(..) {
            let start = u16::try_from(runs + usize::from(start));
            let start = start.expect("where a run begins fits into two bytes");
            out.extend_from_slice(&start.to_le_bytes());
        }
        out.extend_from_slice(&in_two_bytes(name.len()).to_le_bytes());
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.append(&mut self.runs);
        debug_assert_eq!(out.len() - begin, bytes);
        debug_assert!(
            out.get(begin..).is_some_and(|block| {
                let block = IndexBlock::decode(Bytes::copy_from_slice(block));
                block.is_ok_and(|block| block.count() == count)
            }),
            "what is written is a block of as many runs"
        );
    }
}

/// An index block that was read. Its runs are decoded on demand.
#[derive(Debug, Clone)]
pub(crate) struct IndexBlock {
    content: Bytes,
    count: usize,
    next: Option<(StreamId, u64)>,
}

impl IndexBlock {
    pub(crate) fn decode(content: Bytes) -> Result<IndexBlock, Corruption> {
        IndexBlock::read(content).ok_or(Corruption::IndexBlock)
    }

    fn read(content: Bytes) -> Option<IndexBlock> {
        let count = usize::from(u16::from_le_bytes(*content.first_chunk()?));
        let at = FIXED_BYTES + 2 * count;
        let fixed = content.get(at..at + NEXT_FIXED_BYTES)?;
        let length = usize::from(u16::from_le_bytes(array_at(fixed, 0)));
        let version = u64::from_le_bytes(array_at(fixed, 2));
        let name = at + NEXT_FIXED_BYTES..at + NEXT_FIXED_BYTES + length;
        if count == 0 || name.end > content.len() {
            return None;
        }
        let next = match length {
            0 => None,
            _ => Some((StreamId::from_stored(content.slice(name))?, version)),
        };
        Some(IndexBlock { content, count, next })
    }

    /// The length of the block in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.content.len()
    }

    /// The number of runs.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What the next block begins with; `None` if this is the last.
    pub(crate) fn next(&self) -> Option<(&StreamId, u64)> {
        self.next.as_ref().map(|(stream, version)| (stream, *version))
    }

    /// Whether a run that begins with `version` of `stream` is in this block, if it exists.
    pub(crate) fn covers(&self, stream: &StreamId, version: u64) -> Result<bool, Corruption> {
        if !self.reaches(stream.as_str(), version) {
            return Ok(false);
        }
        Ok(self.begin()? <= (stream.as_str().as_bytes(), version))
    }

    /// The name and the version that the block begins with.
    pub(crate) fn begin(&self) -> Result<(&[u8], u64), Corruption> {
        self.run_begin(0).ok_or(Corruption::IndexBlock)
    }

    /// The stream's name of run `number`.
    pub(crate) fn name(&self, number: usize) -> Result<&[u8], Corruption> {
        self.run_begin(number).map(|(name, _)| name).ok_or(Corruption::IndexBlock)
    }

    /// The stream's name and the version that run `number` begins with.
    fn run_begin(&self, number: usize) -> Option<(&[u8], u64)> {
        let mut left = self.run_bytes(number)?;
        let name = take_name(&mut left)?;
        Some((name, varint::take(&mut left)?))
    }

    /// Whether the next block, if any, begins after `version` of `stream`.
    pub(crate) fn reaches(&self, stream: &str, version: u64) -> bool {
        self.next().is_none_or(|(next, first)| (next.as_str(), first) > (stream, version))
    }

    /// The number of runs that begin at or before `version` of `stream`.
    pub(crate) fn runs_up_to(&self, stream: &str, version: u64) -> Result<usize, Corruption> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let begin = self.run_begin(middle).ok_or(Corruption::IndexBlock)?;
            match begin <= (stream.as_bytes(), version) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }

    /// Run `number`.
    pub(crate) fn run(&self, number: usize) -> Result<KeyRun, Corruption> {
        self.read_run(number).ok_or(Corruption::IndexBlock)
    }

    fn read_run(&self, number: usize) -> Option<KeyRun> {
        let created_from = i64::from_le_bytes(array_at(self.content.get(2..10)?, 0));
        let chunks_from = u64::from_le_bytes(array_at(self.content.get(10..FIXED_BYTES)?, 0));
        let mut left = self.run_bytes(number)?;
        let name = take_name(&mut left)?;
        let end = self.content.len() - left.len();
        let stream = StreamId::from_stored(self.content.slice(end - name.len()..end))?;
        let first_version = varint::take(&mut left)?;
        let events = varint::take(&mut left)?;
        let time = |since| Micros(created_from.wrapping_add(since));
        let created = time(varint::take_signed(&mut left)?);
        let written = time(varint::take_signed(&mut left)?);
        let (&flags, rest) = left.split_first()?;
        left = rest;
        if flags & !(FLAG_DELETED | FLAG_TRUNCATED) != 0 || first_version == 0 || events == 0 {
            return None;
        }
        // A run's events are in one event block and take some bytes each. Memory for them is allocated before they are
        // read.
        if events > EVENT_BLOCK_BYTES_MAX as u64 && !failpoint!("codec::believe_any_run_length") {
            return None;
        }
        let first_readable = match flags & FLAG_TRUNCATED {
            0 => 1,
            _ => varint::take(&mut left)?,
        };
        let offset = chunks_from.checked_add(varint::take(&mut left)?)?;
        let length: u32 = varint::take(&mut left)?.try_into().ok()?;
        let start = varint::take(&mut left)?.try_into().ok()?;
        if length as usize > STORED_EVENT_BLOCK_BYTES_MAX {
            return None;
        }
        let state = StreamState {
            // The addition leaves room for a next version.
            version: Version::new(first_version.checked_add(events)? - 1),
            first_readable: Version::new(first_readable),
            created,
            written,
            deleted: flags & FLAG_DELETED != 0,
        };
        let event_block = BlockPlace { offset, length };
        Some(KeyRun { stream, first_version, events, state, event_block, start })
    }

    /// The block's bytes from the beginning of run `number`.
    fn run_bytes(&self, number: usize) -> Option<&[u8]> {
        if number >= self.count {
            return None;
        }
        let start = u16::from_le_bytes(array_at(&self.content, FIXED_BYTES + 2 * number));
        self.content.get(usize::from(start)..)
    }
}

fn take_name<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint::take(bytes)?).ok()?;
    let (name, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::random::{Random, first_seed, rounds};

    fn run(name: &str, first_version: u64, events: u64) -> KeyRun {
        KeyRun {
            stream: StreamId::from_stored(Bytes::copy_from_slice(name.as_bytes())).unwrap(),
            first_version,
            events,
            state: StreamState {
                version: Version::new(first_version + events - 1),
                first_readable: Version::new(1),
                created: Micros(1_000),
                written: Micros(1_000 + events as i64),
                deleted: false,
            },
            event_block: BlockPlace { offset: 540, length: 300 },
            start: 16,
        }
    }

    fn block(runs: &[KeyRun], next: Option<(&StreamId, u64)>) -> Bytes {
        let mut builder = IndexBlockBuilder::default();
        for run in runs {
            builder.put(run);
        }
        let mut content = Vec::new();
        builder.finish(next, &mut content);
        assert_eq!(builder.first(), None);
        content.into()
    }

    fn runs(index_block: &IndexBlock) -> Result<Vec<KeyRun>, Corruption> {
        (0..index_block.count()).map(|number| index_block.run(number)).collect()
    }

    #[test]
    fn a_block_has_its_golden_bytes() {
        let mut last = run("A-2", 7, 2);
        last.state.first_readable = Version::new(5);
        last.state.deleted = true;
        last.event_block.offset += 200;
        let next = StreamId::new("B").unwrap();
        let content = block(&[run("A-1", 5, 3), last.clone()], Some((&next, 9)));
        let mut golden = vec![2, 0];
        golden.extend([0xe8, 3, 0, 0, 0, 0, 0, 0]); // time
        golden.extend([0x1c, 2, 0, 0, 0, 0, 0, 0]); // 540
        golden.extend([33, 0, 46, 0]); // where the runs begin
        golden.extend([1, 0, 9, 0, 0, 0, 0, 0, 0, 0, b'B']); // next
        golden.extend([3, b'A', b'-', b'1', 5, 3, 0, 6, 0, 0, 0xac, 2, 16]);
        golden.extend([3, b'A', b'-', b'2', 7, 2, 0, 4, 3, 5, 0xc8, 1, 0xac, 2, 16]);
        assert_eq!(content, golden);
        let index_block = IndexBlock::decode(content).unwrap();
        assert_eq!(runs(&index_block).unwrap(), [run("A-1", 5, 3), last]);
        assert_eq!(index_block.next(), Some((&next, 9)));
    }

    #[test]
    fn what_is_cut_short_or_forged_is_an_error_or_another_block_and_never_a_panic() {
        let whole = block(&[run("A-1", 5, 3), run("A-2", 1, 2)], None);
        let read = |content: Bytes| IndexBlock::decode(content).and_then(|found| runs(&found));
        assert_eq!(read(whole.clone()).unwrap().len(), 2);
        for length in 0..whole.len() {
            assert!(read(whole.slice(..length)).is_err(), "cut to {length}");
        }
        for seed in first_seed()..first_seed() + rounds(2_000) {
            let random = &mut Random::new(seed);
            let mut forged = whole.to_vec();
            for _ in 0..=random.below(3) {
                forged[random.below(whole.len() as u64) as usize] = random.below(256) as u8;
            }
            if let Ok(found) = IndexBlock::decode(forged.into()) {
                let _ = (runs(&found), found.runs_up_to("A-1", 9), found.reaches("A-2", 1));
            }
        }
    }

    /// Memory for the events of a run was allocated before they were read, and a forged number aborted the process in
    /// the allocator. Now it is at most as many as an event block can hold.
    #[test]
    fn a_run_that_claims_more_events_than_an_event_block_holds_is_malformed() {
        let most = EVENT_BLOCK_BYTES_MAX as u64;
        for (events, is_possible) in [(1, true), (most, true), (most + 1, false), (1 << 40, false)]
        {
            let found = IndexBlock::decode(block(&[run("A-1", 5, events)], None)).unwrap();
            assert_eq!(found.run(0).is_ok(), is_possible, "{events} events");
        }
        // No version can follow the last one.
        let last = KeyRun { first_version: u64::MAX, ..run("A-1", 5, 1) };
        let found = IndexBlock::decode(block(&[last], None)).unwrap();
        assert!(found.run(0).is_err());
    }

    #[test]
    fn runs_are_found_by_stream_and_version() {
        let all = [run("A", 2, 2), run("A", 4, 6), run("A-1", 1, 1), run("B", 10, 1)];
        let next = StreamId::new("B").unwrap();
        let index_block = IndexBlock::decode(block(&all, Some((&next, 11)))).unwrap();
        let up_to = |stream, version| index_block.runs_up_to(stream, version).unwrap();
        assert_eq!((up_to("A", 1), up_to("A", 2), up_to("A", 3), up_to("A", 4)), (0, 1, 1, 2));
        assert_eq!((up_to("A", 99), up_to("A-1", 1), up_to("A-2", 1)), (2, 3, 3));
        assert_eq!((up_to("", 9), up_to("B", 9), up_to("B", 10), up_to("C", 1)), (0, 3, 4, 4));
        assert!(index_block.reaches("B", 10) && !index_block.reaches("B", 11));
        assert!(!index_block.reaches("C", 1));
        let last = IndexBlock::decode(block(&all, None)).unwrap();
        assert!(last.reaches("C", 1) && last.next().is_none());
    }

    #[test]
    fn a_block_takes_what_it_has_room_for() {
        let mut builder = IndexBlockBuilder::default();
        let mut put = 0;
        while !builder.is_full() {
            put += 1;
            builder.put(&run(&format!("Stream-{put:06}"), 1, 2));
        }
        let mut content = Vec::new();
        builder.finish(None, &mut content);
        assert!((50..100).contains(&put), "{put}");
        assert_eq!(IndexBlock::decode(content.into()).unwrap().count(), put);
        // With the longest names, the runs' offsets still fit.
        while !builder.is_full() {
            builder.put(&run(&"x".repeat(STREAM_NAME_BYTES_MAX), u64::MAX / 2, 2));
        }
        let next = StreamId::new("y".repeat(STREAM_NAME_BYTES_MAX)).unwrap();
        let mut content = Vec::new();
        builder.finish(Some((&next, 1)), &mut content);
        let index_block = IndexBlock::decode(content.into()).unwrap();
        assert_eq!(runs(&index_block).unwrap().len(), index_block.count());
    }
}
