//! The postings of tags, against a walk over the events.

use super::*;
use crate::codec::envelope;
use crate::codec::sst::TableId;
use crate::codec::sst::posting::{Posting, name_of_tag, tag_of_name};
use crate::sst::compaction::Compaction;
use crate::sst::cursor::TableCursor;
use crate::sst::reader::Table;
use crate::value::event::NewEvent;
use crate::value::random::{first_seed, rounds};

const TYPES: [&str; 4] = ["Opened", "Moved", "Renamed", "Closed"];

/// Appends an event with a sound envelope. Some tags are those of a few events, others of nearly all.
fn append_tagged(truth: &mut Truth, random: &mut Random) {
    truth.append(&format!("S-{}", random.below(9)), 0);
    let event_type = TYPES[random.below(TYPES.len() as u64) as usize];
    let payload = vec![7; random.below(300) as usize];
    let mut event = NewEvent::bytes(event_type, payload);
    for _ in 0..random.below(4) {
        event = match random.below(4) {
            0 => event.tag("hot"),
            1 => event.tag(format!("course:{}", random.below(10))),
            _ => event.tag(format!("user:{}", random.below(2_000))),
        };
    }
    let mut bytes = Vec::new();
    envelope::encode(&event, &mut bytes);
    truth.events.last_mut().unwrap().envelope = bytes.into();
}

fn tagged(random: &mut Random, events: u64) -> Truth {
    let mut truth = Truth::default();
    (0..events).for_each(|_| append_tagged(&mut truth, random));
    truth
}

/// All postings of `tag`, as a walk over the events finds them.
fn by_walk(truth: &Truth, tag: &str) -> Vec<Posting> {
    let with_tag =
        truth.events.iter().filter(|event| envelope::tags(&event.envelope).any(|held| held == tag));
    let postings = with_tag.map(|event| Posting {
        position: event.position,
        recorded_at: event.recorded_at,
        location: event.location,
        event_type: envelope::event_type(&event.envelope).unwrap().to_owned().into(),
    });
    postings.collect()
}

fn tags(truth: &Truth) -> Vec<String> {
    let all = truth.events.iter().flat_map(|event| envelope::tags(&event.envelope));
    let mut tags: Vec<_> = all.map(str::to_owned).chain(["no event has it".to_owned()]).collect();
    tags.sort();
    tags.dedup();
    tags
}

/// An index of `truth`, ingested in random flush batches.
fn index_of(random: &mut Random, truth: &Truth, dir: &Path, batch_max: u64) -> Index {
    let (index, _) = open(dir);
    let (mut from, last) = (0, truth.events.len() as u64);
    while from < last {
        let to = last.min(from + 1 + random.below(batch_max));
        index.insert(truth.batch(from, to)).unwrap();
        from = to;
    }
    index
}

fn compact(index: &Index, tables: &[Arc<Table>]) -> Arc<Table> {
    let mut stored = index.stored.lock();
    stored.next_table += 1;
    let id = TableId { index: stored.index, number: stored.next_table - 1 };
    drop(stored);
    let directory = index.tables_directory();
    let mut compaction =
        Compaction::begin(&index.db, &directory, id, tables, &index.blocks).unwrap();
    while compaction.step(&index.db, 1_000).unwrap() {}
    Arc::new(compaction.finish(&index.db).unwrap().unwrap())
}

/// Compacts random neighbours among the tables.
fn compact_some(random: &mut Random, index: &Index) {
    let mut tables = index.tables.live().to_vec();
    if tables.len() < 2 {
        return;
    }
    let first = random.below(tables.len() as u64 - 1) as usize;
    let count = 2 + random.below((tables.len() - first - 1) as u64) as usize;
    let compacted = compact(index, &tables[first..first + count]);
    tables.splice(first..first + count, [compacted]);
    index.tables.set(tables);
}

#[test]
fn postings_are_those_that_a_walk_over_the_events_finds_whatever_was_merged() {
    for seed in first_seed()..first_seed() + rounds(12) {
        let random = &mut Random::new(seed);
        let events = 200 + random.below(2_500);
        let truth = tagged(random, events);
        let dir = tempfile::tempdir().unwrap();
        let index = index_of(random, &truth, dir.path(), 1 + events / 3);
        for _ in 0..random.below(3) {
            compact_some(random, &index);
        }
        let tags = tags(&truth);
        for _ in 0..300 {
            let tag = match random.below(3) {
                0 => "hot",
                _ => &tags[random.below(tags.len() as u64) as usize],
            };
            let name = name_of_tag(tag);
            let after = random.below(events + 2);
            let to = after + random.below(events);
            let limit = 1 + random.below(60) as usize;
            let page = index.postings(&name, (after, to), limit).unwrap();
            let mut expected = by_walk(&truth, tag);
            let most = index.postings_at_most(&name, after).unwrap();
            expected.retain(|posting| posting.position > after);
            assert!(most >= expected.len() as u64, "seed {seed}: {tag} after {after}");
            expected.retain(|posting| posting.position <= to);
            let first = index.first_posting(&name, (after, to)).unwrap();
            let expected_first = expected.first().map(|posting| posting.position);
            assert_eq!(first, expected_first, "seed {seed}: {tag} {after} {to}");
            let found = page.postings.len();
            match page.has_more {
                true => assert!(found >= limit && found <= expected.len()),
                false => assert_eq!(found, expected.len(), "{tag} {after} {to} {limit}"),
            }
            assert_eq!(page.postings, expected[..found], "seed {seed}: {tag} {after} {to} {limit}");
        }
        let last = truth.events.len() as u64;
        truth.check(&index, last, last, false);
    }
}

/// Everything in a table: its runs, with where they begin in which block, and their events.
fn content(index: &Index, table: &Arc<Table>) -> Vec<String> {
    let mut walk = TableCursor::of(&index.db, table).unwrap();
    let runs = std::iter::from_fn(|| walk.take(&index.db).unwrap());
    let shown = runs.map(|run| {
        let events = table.events_of(std::slice::from_ref(&run)).unwrap();
        format!("{run:?} {events:?}")
    });
    let footer = &table.footer;
    let whole = format!(
        "{} {} {:?} {:?} {:?} {:?}",
        footer.events, footer.postings, footer.positions, footer.first, footer.last, footer.types
    );
    shown.chain([whole]).collect()
}

#[test]
fn postings_after_any_merging_are_those_of_an_index_built_again() {
    for seed in first_seed()..first_seed() + rounds(8) {
        let random = &mut Random::new(seed);
        let events = 100 + random.below(2_000);
        let truth = tagged(random, events);
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let merged = index_of(random, &truth, dirs[0].path(), 1 + events / 3);
        while merged.tables.live().len() > 1 {
            compact_some(random, &merged);
        }
        let (whole, _) = open(dirs[1].path());
        whole.insert(truth.batch(0, events)).unwrap();
        let of = |index: &Index| content(index, &index.tables.live()[0]);
        let (merged, whole) = (of(&merged), of(&whole));
        assert_eq!(merged.len(), whole.len(), "seed {seed}");
        for (merged, whole) in merged.iter().zip(&whole) {
            assert_eq!(merged, whole, "seed {seed}");
        }
        let postings: usize = tags(&truth).iter().map(|tag| by_walk(&truth, tag).len()).sum();
        assert!(postings > 0);
    }
}

#[test]
fn a_tag_is_never_listed_as_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let random = &mut Random::new(3);
    let truth = tagged(random, 300);
    let index = index_of(random, &truth, dir.path(), 100);
    let all = index.streams_after("", None, usize::MAX).unwrap();
    let names: Vec<_> = all.iter().map(|(stream, _)| stream.as_str()).collect();
    assert!(names.iter().eq(&truth.streams.keys().collect::<Vec<_>>()), "{names:?}");
    assert_eq!(index.streams_after("", Some("\u{1}hot"), usize::MAX).unwrap(), all);
    assert_eq!(index.streams_after("\u{1}", None, usize::MAX).unwrap(), []);
    index.each_run(|stream, _| assert_eq!(tag_of_name(stream), None));
    let counted: u64 = index.tables.live().iter().map(|table| table.footer.events).sum();
    assert_eq!(counted, 300);
}

/// The journal's checksums are right, and still it holds what this version never writes.
#[test]
fn a_stream_with_the_name_of_a_tag_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    let mut truth = Truth::default();
    truth.append("S-1", 10);
    truth.events[0].stream = name_of_tag("hot");
    let error = index.insert(truth.batch(0, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("cannot be the name of a stream"), "{error}");
}

#[test]
fn a_damaged_table_gives_no_wrong_postings() {
    let random = &mut Random::new(11);
    let truth = tagged(random, 900);
    let whole = tempfile::tempdir().unwrap();
    index_of(random, &truth, whole.path(), 400).close().unwrap();
    let by_walk = |tag: String| (name_of_tag(&tag), by_walk(&truth, &tag));
    let all: Vec<_> = tags(&truth).into_iter().map(by_walk).collect();
    let (mut refused, mut right) = (0, 0);
    for round in 0..rounds(24) {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        let mut tables: Vec<_> = fs::read_dir(dir.path().join("index/packs")).unwrap().collect();
        let table = tables.swap_remove(random.below(tables.len() as u64) as usize).unwrap().path();
        let mut bytes = fs::read(&table).unwrap();
        // Postings come first.
        let at = 40 + random.below(bytes.len() as u64 / 2) as usize;
        bytes[at] ^= 1 << random.below(8);
        fs::write(&table, bytes).unwrap();
        let (index, opened) = open(dir.path());
        if !matches!(opened, Opened::Whole(_)) {
            continue;
        }
        for (name, postings) in &all {
            let page = index.postings(name, (0, u64::MAX), usize::MAX);
            match page {
                Ok(page) => {
                    assert_eq!(page.postings, *postings, "round {round}");
                    right += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 0 && right > refused, "{refused} refused, {right} right");
}
