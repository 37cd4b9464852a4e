//! Decodes arbitrary bytes as a block of a table.

use crate::codec::sst::block::{self, EVENT_BLOCK_BYTES_MAX, EventBlockBuilder};
use crate::codec::sst::block_index::{IndexBlock, IndexBlockBuilder};
use crate::codec::sst::event::LocatedEvent;
use crate::codec::sst::footer::{Footer, NameHash};
use crate::codec::sst::index_blocks;
use crate::codec::sst::posting::{Posting, body_of_posting};
use crate::codec::sst::{BlockKind, TableId};
use crate::fuzz::mend;
use crate::value::corruption::Corruption;
use crate::value::stream::StreamId;
use bytes::Bytes;
use uuid::Uuid;

/// The table of the inputs.
pub(super) const ID: TableId = TableId { index: Uuid::from_u128(0xabcd), number: 7 };
/// The offset of the inputs in the table.
pub(super) const OFFSET: u64 = 40;

/// The first byte says whether to repair the checksum, the second how many events a key run of an event block has,
/// and the rest is the block. A decoded block must be consistent, and the same after it is encoded again.
pub fn table(input: &[u8]) -> bool {
    let Some((head, block)) = input.split_at_checked(2) else { return false };
    let mut block = block.to_vec();
    if mend::is_wanted(head[0]) {
        mend::block(ID, OFFSET, &mut block);
    }
    let block = Bytes::from(block);
    let unseal = |kind| ID.unseal(kind, OFFSET, &block);
    if let Some(content) = unseal(BlockKind::Events) {
        return check_event_block(&content, head[1].into());
    }
    if let Some(content) = unseal(BlockKind::Index) {
        return check_index_block(content);
    }
    if let Some(content) = unseal(BlockKind::IndexBlocks) {
        return check_index_block_list(&content);
    }
    match unseal(BlockKind::Footer).as_ref().and_then(Footer::decode) {
        Some(footer) => {
            let mut again = Vec::new();
            footer.encode(&mut again);
            assert_eq!(Footer::decode(&again.into()).as_ref(), Some(&footer));
            let _ = footer.filter.may_hold(NameHash::of(&footer.last));
            true
        }
        None => false,
    }
}

fn check_index_block_list(content: &Bytes) -> bool {
    let Some(places) = index_blocks::decode(content) else { return false };
    let mut again = Vec::new();
    index_blocks::encode(&places, &mut again);
    assert_eq!(again, *content);
    true
}

fn check_event_block(content: &Bytes, events: u64) -> bool {
    let Ok(event_block) = block::decompress(content) else { return false };
    let Ok(run) = block::decode_run(&event_block, 0, events, 5) else { return false };
    assert_eq!(run.len() as u64, events);
    assert!(run.iter().zip(5..).all(|(event, version)| event.version == version));
    let mut builder = EventBlockBuilder::default();
    for event in &run {
        if let Some(Posting { location, event_type, .. }) = Posting::decode(event)
            && let Ok(event_type) = std::str::from_utf8(&event_type)
        {
            assert_eq!(body_of_posting(location, event_type), event.body);
        }
        if builder.is_full_for(&event.body) {
            // A forged event block may hold more than the index puts into one.
            return true;
        }
        builder.put(event.position, event.recorded_at, &event.body);
    }
    if !run.is_empty() && event_block.len() <= EVENT_BLOCK_BYTES_MAX {
        let mut again = Vec::new();
        builder.finish(&mut again);
        let again = block::decompress(&again.into()).expect("an encoded block can be read");
        let again: Vec<LocatedEvent> = block::decode_run(&again, 0, events, 5).expect("read");
        assert_eq!(again, run, "it came back changed");
    }
    true
}

fn check_index_block(content: Bytes) -> bool {
    let Ok(index_block) = IndexBlock::decode(content) else { return false };
    let runs: Result<Vec<_>, Corruption> =
        (0..index_block.count()).map(|n| index_block.run(n)).collect();
    let Ok(runs) = runs else { return false };
    for run in &runs {
        let found = index_block.runs_up_to(run.stream.as_str(), run.first_version);
        assert!(found.is_ok_and(|found| found <= runs.len()));
    }
    let key =
        |run: &crate::codec::sst::block_index::KeyRun| (run.stream.clone(), run.first_version);
    let is_ours = runs.is_sorted_by(|a, b| key(a) < key(b))
        && runs.is_sorted_by_key(|run| run.event_block.offset)
        && runs.iter().map(|run| run.stream.as_str().len() + 100).sum::<usize>() < 30_000;
    if is_ours {
        let mut builder = IndexBlockBuilder::default();
        runs.iter().for_each(|run| builder.put(run));
        let mut again = Vec::new();
        let next: Option<(&StreamId, u64)> = index_block.next();
        builder.finish(next, &mut again);
        let again = IndexBlock::decode(again.into()).expect("an encoded block can be read");
        assert_eq!(again.next(), next);
        for (number, run) in runs.iter().enumerate() {
            assert_eq!(again.run(number).as_ref(), Ok(run), "it came back changed");
        }
    }
    true
}
