use super::*;
use crate::codec::sst::TableId;
use crate::codec::sst::event_types::EventTypes;
use crate::codec::sst::footer::NameHash;
use crate::codec::state::StreamState;
use crate::sst::compaction::{Compaction, CompactionPriority};
use crate::sst::cursor::TableCursor;
use crate::sst::writer::TableWriter;
use crate::value::limits::{
    TABLE_EVENT_BLOCK_BYTES_MAX, TABLE_EVENT_BLOCK_BYTES_MIN, TABLES_COMPACTED,
};
use crate::value::position::Version;
use crate::value::random::{first_seed, rounds};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TABLES: u64 = TABLES_COMPACTED as u64;

/// Makes as many tables as are compacted together, each with `events` events of a few streams, with bodies of
/// `bytes`.
fn uncompacted(dir: &Path, events: u64, bytes: usize) -> (Truth, Index) {
    let mut truth = Truth::default();
    let (index, _) = open(dir);
    for table in 0..TABLES {
        for n in 0..events {
            truth.append(&format!("S-{}", n % 9), bytes);
        }
        index.insert(truth.batch(table * events, (table + 1) * events)).unwrap();
    }
    (truth, index)
}

fn table_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("index/packs")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn compact_all(index: &Index) {
    while index.compaction_priority() != CompactionPriority::None {
        index.compact().unwrap();
    }
}

/// The story: a bad sector under a table was treated as an error of the system, so the store never opened again,
/// although the journal held everything that was in the table. In this test the file is a link to itself, which the
/// system cannot open either.
#[test]
fn a_table_that_the_system_cannot_read_makes_the_index_be_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_, index) = uncompacted(dir.path(), 10, 10);
    index.close().unwrap();
    let table = &table_files(dir.path())[2];
    fs::remove_file(table).unwrap();
    std::os::unix::fs::symlink(table, table).unwrap();
    let opened = Index::open(&disk(), dir.path(), STORE, CACHE_BYTES).unwrap().1;
    assert!(matches!(opened, Opened::Fresh { reason: Some(_) }), "{opened:?}");
}

/// The story: any file name that parses as a number was taken for a table that a crash had left. The file to be
/// removed for it had another name and did not exist, so the store no longer opened.
#[test]
fn what_else_lies_beside_the_tables_hinders_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (truth, index) = uncompacted(dir.path(), 10, 10);
    index.close().unwrap();
    let tables = dir.path().join("index/packs");
    fs::write(tables.join("77"), "a number, and no name of ours").unwrap();
    fs::write(tables.join("notes"), "no number").unwrap();
    let (index, checkpoint) = open_whole(dir.path());
    truth.check(&index, checkpoint.position, checkpoint.position, false);
    index.close().unwrap();
    fs::create_dir(tables.join(format!("{:020}", 77))).unwrap();
    let opened = Index::open(&disk(), dir.path(), STORE, CACHE_BYTES).unwrap().1;
    assert!(matches!(opened, Opened::Fresh { reason: Some(_) }), "{opened:?}");
}

/// The story: a compaction that failed at the very end, when the checkpoint was written, left the whole compacted
/// table behind until the store was opened again. So did each further attempt, on a disk that was full already.
#[test]
fn a_merge_that_cannot_be_listed_gives_its_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let (truth, index) = uncompacted(dir.path(), 40, 100);
    let before = table_files(dir.path());
    let obstacle = dir.path().join("index.checkpoint.new");
    fs::create_dir(&obstacle).unwrap();
    for _ in 0..3 {
        index.compact().unwrap_err();
        assert_eq!(table_files(dir.path()), before);
    }
    fs::remove_dir(&obstacle).unwrap();
    compact_all(&index);
    assert_eq!(table_files(dir.path()).len(), 1);
    let last = truth.events.len() as u64;
    truth.check(&index, last, last, false);
    index.close().unwrap();
    open_whole(dir.path());
}

/// The story: when a flush batch did not fit on the disk, the unfinished output of a compaction stayed there, and the
/// index ingested nothing more, although it held no part of the flush batch. The store had to be opened again.
#[test]
fn a_window_whose_table_cannot_be_written_gives_space_back_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut truth, index) = uncompacted(dir.path(), 200, 3_900);
    let before = table_files(dir.path());
    index.compact().unwrap();
    assert_eq!(table_files(dir.path()).len(), before.len() + 1, "a compaction is under way");
    let position = truth.events.len() as u64;
    truth.append_random(&mut Random::new(5), 100, 9);
    let number = index.stored.lock().next_table;
    let obstacle = dir.path().join(format!("index/packs/{number:020}"));
    fs::create_dir(&obstacle).unwrap();
    index.insert(truth.batch(position, position + 50)).unwrap_err();
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(table_files(dir.path()), before);
    index.insert(truth.batch(position, position + 80)).unwrap();
    compact_all(&index);
    truth.check(&index, position + 80, position + 80, false);
    truth.check_records(&index, position + 80, position + 80);
    index.close().unwrap();
    let (index, checkpoint) = open_whole(dir.path());
    assert_eq!(checkpoint, end(position + 80));
    truth.check(&index, position + 80, position + 80, false);
}

/// The story: the filter of a compacted table was as large as the filters of all its inputs together, even if they
/// held the same streams: 100,000 streams that are written again and again would have filled half a gigabyte of
/// memory after 4,096 flush batches.
#[test]
fn the_filter_of_a_compacted_table_is_as_large_as_its_streams_need() {
    let dir = tempfile::tempdir().unwrap();
    let mut truth = Truth::default();
    let (index, _) = open(dir.path());
    for batch in 0..TABLES * TABLES {
        for n in 0..101 {
            truth.append(&format!("S-{n}"), 5);
        }
        index.insert(truth.batch(101 * batch, 101 * (batch + 1))).unwrap();
        compact_all(&index);
    }
    let tables = index.tables.live();
    let levels: Vec<_> = tables.iter().map(|table| table.listed.level).collect();
    // 64 flush batches, each compacted as soon as there are four of a level.
    assert_eq!(levels, [3]);
    let names = tables[0].footer.filter.names();
    assert!((101..=2 * 101 + 64).contains(&names), "room for {names}");
    let last = truth.events.len() as u64;
    truth.check(&index, last, last, false);
}

/// The story: a compaction counted the versions itself, and would have renumbered the events of tables that are not
/// consecutive.
#[test]
fn tables_that_do_not_follow_one_another_are_told_as_damage_and_not_merged() {
    let dir = tempfile::tempdir().unwrap();
    let (_, index) = uncompacted(dir.path(), 20, 10);
    let tables = index.tables.live().to_vec();
    index.tables.set(vec![Arc::clone(&tables[0]); TABLES_COMPACTED]);
    assert_eq!(index.compact().unwrap_err().kind(), ErrorKind::Corrupt, "twice the same");
    index.tables.set(tables.iter().rev().cloned().collect());
    assert_eq!(index.compact().unwrap_err().kind(), ErrorKind::Corrupt, "backwards");
    index.tables.set(tables);
    compact_all(&index);
    assert_eq!(index.tables.live().len(), 1);
}

/// The story: an index that was dropped during a compaction waited ten seconds for itself.
#[test]
fn an_index_that_is_dropped_during_a_merge_lets_go_of_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let (truth, index) = uncompacted(dir.path(), 200, 3_900);
    index.compact().unwrap();
    assert_eq!(table_files(dir.path()).len(), TABLES_COMPACTED + 1, "a compaction is under way");
    let begun = Instant::now();
    drop(index);
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    assert_eq!(table_files(dir.path()).len(), TABLES_COMPACTED);
    let (index, checkpoint) = open_whole(dir.path());
    truth.check(&index, checkpoint.position, checkpoint.position, false);
}

/// A reader holds the compacted tables when the process dies. After reopening, they are removed, and the table that
/// replaced them is there.
#[test]
fn a_death_between_a_merge_and_its_cleaning_up_leaves_what_the_checkpoint_lists() {
    let dir = tempfile::tempdir().unwrap();
    let (store, image) = (dir.path().join("store"), dir.path().join("image"));
    fs::create_dir(&store).unwrap();
    let (mut truth, index) = uncompacted(&store, 40, 100);
    let reader = index.tables.live();
    compact_all(&index);
    assert_eq!(table_files(&store).len(), TABLES_COMPACTED + 1);
    truth.check(&index, 40 * TABLES, 40 * TABLES, false);
    let number = index.stored.lock().next_table;
    for removed in 0..TABLES_COMPACTED {
        copy(&store, &image);
        // Remove as many files as the process may have removed before it died.
        for table in &reader[..removed] {
            fs::remove_file(image.join(format!("index/packs/{:020}", table.listed.number)))
                .unwrap();
        }
        let (index, checkpoint) = open_whole(&image);
        assert_eq!((checkpoint, table_files(&image).len()), (end(40 * TABLES), 1));
        truth.check(&index, 40 * TABLES, 40 * TABLES, false);
        assert_eq!(index.stored.lock().next_table, number);
    }
    drop(reader);
    assert_eq!(index.compaction_priority(), CompactionPriority::Idle, "what a reader kept can go");
    compact_all(&index);
    assert_eq!(table_files(&store).len(), 1);
    truth.append("S-1", 3);
    index.insert(truth.batch(40 * TABLES, 40 * TABLES + 1)).unwrap();
    truth.check(&index, 40 * TABLES + 1, 40 * TABLES + 1, false);
}

/// Names with common prefixes, of several alphabets, short ones and some of the maximum length.
fn any_name(random: &mut Random) -> String {
    let alphabet = ["A", "B", "-", " ", "~", "é", "中", "\u{10ffff}", "\u{e000}"];
    let mut name: String =
        (0..1 + random.below(3)).map(|_| alphabet[random.below(9) as usize]).collect();
    if random.below(12) == 0 {
        name.push_str(&"x".repeat(1_024 - name.len()));
    }
    name
}

#[test]
fn streams_are_listed_and_read_the_same_in_however_many_tables_they_lie() {
    for seed in first_seed()..first_seed() + rounds(3) {
        println!("FILMSTRIP_SEED={seed}");
        let random = &mut Random::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut truth = Truth::default();
        let (mut index, _) = open(dir.path());
        let mut position = 0;
        for round in 0..24 {
            for _ in 0..1 + random.below(120) {
                let name = any_name(random);
                let bytes = [0, 1, 50, 4_000, 4_096, 4_097][random.below(6) as usize];
                truth.append(&name, bytes);
            }
            let to = truth.events.len() as u64;
            index.insert(truth.batch(position, to)).unwrap();
            position = to;
            for _ in 0..random.below(4) {
                index.compact().unwrap();
            }
            if round % 8 == 7 {
                drop(index);
                (index, _) = open_whole(dir.path());
            }
        }
        truth.check(&index, position, position, false);
        for _ in 0..300 {
            let prefix =
                ["", &any_name(random), "A", "\u{10ffff}"][random.below(4) as usize].to_owned();
            let after = (random.below(2) == 0).then(|| any_name(random));
            let limit = random.below(20) as usize;
            let found = index.streams_after(&prefix, after.as_deref(), limit).unwrap();
            let expected = truth.streams.iter().filter(|(name, _)| name.starts_with(&prefix));
            let expected = expected.filter(|(name, _)| after.as_ref().is_none_or(|at| *name > at));
            let expected = expected.map(|(name, events)| (name.clone(), events.len() as u64));
            let found =
                found.iter().map(|(id, state)| (id.as_str().to_owned(), state.version.get()));
            assert_eq!(found.collect::<Vec<_>>(), expected.take(limit).collect::<Vec<_>>());
        }
    }
}

#[test]
fn short_streams_share_a_chunk_and_one_is_split_only_where_a_chunk_is_full() {
    const EVENT_BYTES: usize = 240;
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    let mut truth = Truth::default();
    for version in 1..=60 {
        for stream in (0..120).filter(|stream| version <= 1 + stream % 60) {
            truth.append(&format!("S-{stream:03}"), EVENT_BYTES - 20);
        }
    }
    let last = truth.events.len() as u64;
    index.insert(truth.batch(0, last)).unwrap();
    let tables = index.tables.live();
    let [table] = &tables[..] else { panic!("{} tables", tables.len()) };
    let mut walk = TableCursor::of(&index.db, table).unwrap();
    let runs: Vec<_> = std::iter::from_fn(|| walk.take(&index.db).unwrap()).collect();
    let (mut shared, mut split) = (0, 0);
    for pair in runs.windows(2) {
        let [before, run] = pair else { unreachable!() };
        let event_block_bytes = table.event_block(before.event_block).unwrap().len();
        if run.stream == before.stream {
            assert_ne!(run.event_block, before.event_block, "{run:?}");
            assert!(
                event_block_bytes + EVENT_BYTES > TABLE_EVENT_BLOCK_BYTES_MAX,
                "{before:?}: {event_block_bytes}"
            );
            split += 1;
        } else if run.event_block == before.event_block {
            assert!((run.start as usize) < TABLE_EVENT_BLOCK_BYTES_MIN, "{run:?}");
            shared += 1;
        } else {
            assert!(
                event_block_bytes >= TABLE_EVENT_BLOCK_BYTES_MIN,
                "{before:?}: {event_block_bytes}"
            );
        }
    }
    assert!(
        shared > 20 && split > 20,
        "{shared} runs share an event block, {split} streams are split"
    );
    truth.check(&index, last, last, false);
}

/// Besides versions and times, a compaction kept the stream state of the oldest key run, and dropped that of the
/// newer ones.
#[test]
fn a_merge_keeps_what_the_newest_run_says_of_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    let (tables, id) = (index.tables_directory(), index.stored.lock().index);
    let stream = StreamId::new("S-1").unwrap();
    let table = |number: u64, before: StreamState| {
        let id = TableId { index: id, number };
        let mut writer = TableWriter::create(&index.db, &tables, id, 1, &index.blocks).unwrap();
        writer.begin_stream(&stream, NameHash::of(&stream), before);
        for position in before.version.get() + 1..before.version.get() + 4 {
            let body = Body::Inline(bytes(10, position as u8));
            writer.put(&index.db, position, Micros(position as i64), &body).unwrap();
        }
        Arc::new(writer.finish(&index.db, 0, EventTypes::default()).unwrap().unwrap())
    };
    let oldest = StreamState::absent();
    let newest = StreamState {
        version: Version::new(3),
        first_readable: Version::new(2),
        created: Micros(1),
        written: Micros(3),
        deleted: true,
    };
    let inputs = [table(101, oldest), table(102, newest)];
    let id = TableId { index: id, number: 103 };
    let mut compaction = Compaction::begin(&index.db, &tables, id, &inputs, &index.blocks).unwrap();
    while compaction.step(&index.db, 1).unwrap() {}
    let compacted = Arc::new(compaction.finish(&index.db).unwrap().unwrap());
    let mut walk = TableCursor::of(&index.db, &compacted).unwrap();
    let mut last = None;
    while let Some(run) = walk.take(&index.db).unwrap() {
        last = Some(run.state);
    }
    let (version, written) = (Version::new(6), Micros(6));
    assert_eq!(last, Some(StreamState { version, written, ..newest }));
}
