//! What is found by postings, against a scan of the log.

use super::*;
use crate::codec::frame::EntryLocation;
use crate::log::indexer::index_up_to;
use crate::log::indexer::managed::Bounds;
use crate::log::read::postings::{are_few, walks};
use crate::log::read::tagged::TaggedEvents;
use crate::store::Store;
use crate::value::event::{NewEvent, RecordedEvent};
use crate::value::limits::EVENT_TAGS_MAX;
use crate::value::position::ExpectedVersion;
use crate::value::random::{Random, first_seed, rounds};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

const TYPES: [&str; 5] = ["Opened", "Moved", "Renamed", "Closed", "Rare"];
const CATEGORIES: [&str; 3] = ["Course", "Student", "Room"];

fn random_event(random: &mut Random) -> NewEvent {
    let event_type = match random.below(200) {
        0 => 4,
        n => n as usize % 4,
    };
    let mut event = NewEvent::bytes(TYPES[event_type], vec![7; random.below(100) as usize]);
    for _ in 0..random.below(4) {
        event = event.tag(random_tag(random));
    }
    event
}

fn random_tag(random: &mut Random) -> String {
    match random.below(5) {
        0 => "hot".to_owned(),
        1 | 2 => format!("course:{}", random.below(12)),
        _ => format!("user:{}", random.below(900)),
    }
}

fn random_stream(random: &mut Random) -> StreamId {
    let category = CATEGORIES[random.below(3) as usize];
    StreamId::new(format!("{category}-{}", random.below(6))).unwrap()
}

fn random_alternative(random: &mut Random) -> Filter {
    let mut filter = Filter::all();
    for _ in 0..random.below(4) {
        filter = filter.tagged(random_tag(random));
    }
    if random.below(3) == 0 {
        filter = filter.and_event_type(TYPES[random.below(5) as usize]);
    }
    if random.below(6) == 0 {
        filter = filter.and_event_type(TYPES[random.below(5) as usize]);
    }
    match random.below(8) {
        0 => filter.and_stream(random_stream(random)).and_stream(random_stream(random)),
        1 => filter.and_category(CATEGORIES[random.below(3) as usize]),
        2 => {
            let types = vec![TYPES[random.below(5) as usize].to_owned()];
            filter.with_category(CATEGORIES[random.below(3) as usize].to_owned(), Some(types))
        }
        _ => filter,
    }
}

fn random_filter(random: &mut Random) -> Filter {
    let more = random.below(3);
    (0..more).fold(random_alternative(random), |filter, _| filter.or(random_alternative(random)))
}

/// Appends some random commits.
fn append(random: &mut Random, store: &Store, commits: u64) {
    for _ in 0..commits {
        let events: Vec<_> = (0..=random.below(4)).map(|_| random_event(random)).collect();
        store.append(random_stream(random), ExpectedVersion::Any, events).unwrap();
    }
}

fn index(store: &Store) {
    let log = store.log.log();
    assert!(index_up_to(log, log.head.visible().1));
}

fn everything(store: &Store) -> Vec<RecordedEvent> {
    store.read_all().collect().unwrap()
}

/// Asks random questions of `store`, which no one writes to, and compares the answers with `all` of its events.
fn check(random: &mut Random, store: &Store, all: &[RecordedEvent], questions: u64) {
    let log = store.log.log();
    let head = all.len() as u64;
    for _ in 0..questions {
        let filter = random_filter(random);
        if filter.check().is_err() {
            continue;
        }
        let after = random.below(head + 1);
        let to = head.min(after + random.below(head));
        let wanted = all[after as usize..to as usize].iter().filter(|e| filter.wants_event(e));
        let expected: Vec<_> = wanted.cloned().collect();
        let first = expected.first().map(|event| event.position.get());
        let found = first_match(log, &filter, after, to).unwrap();
        assert_eq!(found, first, "{filter:?} after {after} to {to}");
        let has_tags = filter.alternatives().all(|alternative| !alternative.tags().is_empty());
        if let Some(position) = first {
            let id = id_by_postings(log, &filter, position).unwrap();
            let right = all[position as usize - 1].id;
            assert!(id == Some(right) || id.is_none() && !has_tags, "{filter:?} at {position}");
        }
        let read = store.read_all().filter(filter.clone());
        let read = read.after(Position::new(after)).until(Position::new(to));
        assert_eq!(read.collect().unwrap(), expected, "{filter:?} after {after} to {to}");
        if has_tags {
            let mut by_postings = TaggedEvents::new(log, &filter, after, to);
            let read: Vec<_> = std::iter::from_fn(|| by_postings.next_event().unwrap()).collect();
            assert_eq!(read, expected, "{filter:?} after {after} to {to}, by postings");
            let mut walks: Vec<_> = walks(&filter, to).collect();
            let most: u64 = walks.iter_mut().map(|walk| walk.at_most(log, after).unwrap()).sum();
            assert!(most >= expected.len() as u64, "{filter:?} after {after} to {to}: {most}");
            assert!(are_few(log, &mut walks, after, most).unwrap());
            assert!(most == 0 || !are_few(log, &mut walks, after, most - 1).unwrap());
        }
    }
}

#[test]
fn a_filter_is_matched_as_a_scan_of_the_log_would_match_it() {
    for seed in first_seed()..first_seed() + rounds(6) {
        let random = &mut Random::new(seed);
        let store = Store::temporary().unwrap();
        for _ in 0..1 + random.below(6) {
            let commits = 20 + random.below(200);
            append(random, &store, commits);
            if random.below(3) > 0 {
                index(&store);
            }
            if random.below(2) == 0 {
                let log = store.log.log();
                while log.index.compaction_priority()
                    != crate::sst::compaction::CompactionPriority::None
                {
                    log.index.compact().unwrap();
                }
            }
            let all = everything(&store);
            check(random, &store, &all, 60);
        }
    }
}

/// What leaves the tail is in the index by then.
#[test]
fn an_event_is_found_by_its_tag_at_any_moment_while_it_is_indexed() {
    let store = Store::temporary().unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (store, is_done) = (&store, &is_done);
        let reader = scope.spawn(move || {
            let (log, mut asked) = (store.log.log(), 0_u64);
            while !is_done.load(Ordering::Relaxed) {
                let head = log.head.position();
                for position in (1..=head).rev().take(400) {
                    let found = first_match(log, &Filter::tag(format!("t{position}")), 0, head);
                    assert_eq!(found.unwrap(), Some(position), "of {head}");
                    asked += 1;
                }
            }
            asked
        });
        let mut position = 0;
        for _ in 0..12 {
            for _ in 0..100 {
                position += 1;
                let event = NewEvent::bytes("T", &b"x"[..]).tag(format!("t{position}"));
                store.append("S-1", ExpectedVersion::Any, [event]).unwrap();
            }
            index(store);
            if reader.is_finished() {
                break;
            }
        }
        is_done.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 100);
    });
}

#[test]
fn damaged_postings_are_built_again_before_anything_is_judged_by_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let random = &mut Random::new(5);
    append(random, &store, 300);
    index(&store);
    let all = everything(&store);
    let log = store.log.log();
    for round in 0..rounds(6) {
        let tables = log.index.inspect(|index| Ok(index.tables_directory())).unwrap();
        let table = fs::read_dir(tables).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&table).unwrap();
        // The first block is one of postings.
        bytes[60 + round as usize] ^= 1;
        fs::write(&table, bytes).unwrap();
        let forget = |index: &Index| {
            index.forget_blocks();
            Ok(())
        };
        log.index.inspect(forget).unwrap();
        let healed = log.index.healed();
        check(random, &store, &all, 80);
        assert!(log.index.healed() > healed, "round {round}");
    }
}

/// Its checksums are right, so it was forged, or written wrongly.
#[test]
fn a_posting_that_leads_to_another_event_makes_the_index_be_built_again() {
    let store = Store::temporary().unwrap();
    for tag in ["a", "b"] {
        store
            .append("S-1", ExpectedVersion::Any, [NewEvent::bytes("T", &b"x"[..]).tag(tag)])
            .unwrap();
    }
    index(&store);
    let log = store.log.log();
    let filter = Filter::tag("a");
    let a = filter.alternatives().next().unwrap();
    let found = |tag| {
        let filter = Filter::tag(tag);
        let mut walk = TagsWalk::new(filter.alternatives().next().unwrap(), 2);
        walk.first_after(log, 0).unwrap().unwrap()
    };
    let mut wrong = found("a");
    assert!(matches!(log.posted(&wrong, a), Ok(Posted::Event(event)) if event.position.get() == 1));
    wrong.posting.location = found("b").posting.location;
    assert!(matches!(log.posted(&wrong, a), Ok(Posted::Rebuilt)));
    assert_eq!(log.index.healed(), 1);
    let EntryLocation { segment, offset, length } = found("a").posting.location;
    wrong.posting.location = EntryLocation { segment, offset: offset + 8, length };
    assert!(matches!(log.posted(&wrong, a), Ok(Posted::Rebuilt)), "it is in the midst of an entry");
    // In the tail, two tags may have one hash.
    wrong.is_certain = false;
    wrong.posting.location = found("b").posting.location;
    assert!(matches!(log.posted(&wrong, a), Ok(Posted::Other)));
    assert_eq!(log.index.healed(), 2);
}

/// Events with many tags fill the memory for tags before they fill a segment. A writer waits for the indexer then,
/// which takes them in before the segment is sealed.
#[test]
fn the_tags_in_the_tail_are_bounded_and_what_exceeds_the_bound_is_indexed_at_once() {
    const MOST: usize = 256 << 10;
    const EVENTS: u64 = 20;
    let bounds = Bounds { tagged_bytes_max: MOST, ..Bounds::default() };
    let store = Store::builder().bounds(bounds).temporary().unwrap();
    let log = store.log.log();
    let (mut last, mut most) = (0, 0);
    for _ in 0..40 {
        let events = (0..EVENTS).map(|_| {
            last += 1;
            let event = NewEvent::bytes("T", &b"x"[..]);
            (0..EVENT_TAGS_MAX).fold(event, |event, tag| event.tag(format!("{last}:{tag}")))
        });
        let events: Vec<_> = events.collect();
        store.append("S-1", ExpectedVersion::Any, events).unwrap();
        most = most.max(log.tail.tagged_bytes());
    }
    // A table of hashes doubles when it is full.
    let a_group = 2 * MOST + EVENTS as usize * EVENT_TAGS_MAX * 100;
    assert!(most < a_group, "{most} bytes of tags");
    assert!(
        log.tail.indexed().position > 0,
        "{most} bytes of tags of {last} events are not indexed"
    );
    let tags =
        [format!("1:{}", EVENT_TAGS_MAX - 1), format!("{last}:0"), format!("{}:0", last + 1)];
    let found = tags.map(|tag| first_match(log, &Filter::tag(tag), 0, last).unwrap());
    assert_eq!(found, [Some(1), Some(last), None]);
}
