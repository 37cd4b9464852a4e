//! A copy of a store with some of its events changed: what it has, and what it never is, whatever ends it.
//!
//! `FILMSTRIP_ROUNDS=200 cargo test --release --test it copy::` for a long run.

mod ended;
mod going_on;

use crate::common::whole::{all, write_some};
use crate::common::{Random, seed, variable};
use filmstrip::copy::{Copied, CopyAs};
use filmstrip::read::PayloadFormat;
use filmstrip::repair::HashCheck;
use filmstrip::repository::StoredEvent;
use filmstrip::{
    Commit, ErrorKind, ExpectedVersion, Metadata, NewEvent, Position, RecordedEvent, Store, Version,
};
use std::collections::HashMap;
use std::path::Path;
use uuid::Uuid;

fn unchanged(_: &RecordedEvent) -> Result<CopyAs, filmstrip::HandlerError> {
    Ok(CopyAs::Unchanged)
}

/// Copies a store, and checks that the store is as it was and that the copy is whole.
fn copied(
    store: &Store,
    to: &Path,
    change: impl FnMut(&RecordedEvent) -> Result<CopyAs, filmstrip::HandlerError>,
) -> (Copied, Store) {
    let before = all(store);
    let copied = store.copy_into(to, change).unwrap();
    assert!(all(store) == before, "the store was changed");
    assert_eq!(copied.position, store.head());
    let verified = Store::verify_at(to).unwrap();
    assert!(verified.is_whole(), "{:#?}", verified.findings);
    let copy = Store::open(to).unwrap();
    assert_eq!(copy.head().get(), copied.events);
    (copied, copy)
}

/// Some streams, commits over several of them, both formats, and all kinds of metadata.
fn write_at_random(store: &Store, random: &mut Random) {
    for n in 0..150_u64 {
        let mut commit = Commit::new().tracking("other", Position::new(n + 1));
        for stream in 0..random.below(4) {
            let mut events = Vec::new();
            for _ in 0..=random.below(3) {
                let event = match random.one_in(3) {
                    true => NewEvent::bytes("Bytes", vec![n as u8; random.below(400) as usize]),
                    false => NewEvent::json("Json", &n).unwrap(),
                };
                let mut metadata = Metadata::default();
                if random.one_in(2) {
                    metadata = metadata.command_id(Uuid::from_u128(n.into())).user("alice");
                }
                if random.one_in(2) {
                    let id = || Uuid::from_u128((n + 7).into());
                    metadata = metadata.correlation_id(id()).causation_id(id()).entry("k", "v");
                }
                let mut event = event.metadata(metadata).schema_version(random.below(4) as u16);
                if random.one_in(4) {
                    event =
                        event.occurred_at(chrono::DateTime::from_timestamp(n as i64, 0).unwrap());
                }
                events.push(event);
            }
            commit = commit.append(format!("S-{stream}"), ExpectedVersion::Any, events);
        }
        store.commit(commit).unwrap();
    }
}

/// What is to be in the place of each event of a log: how many events, or the event itself.
fn plan(random: &mut Random, events: usize) -> Vec<Option<u64>> {
    let one = |random: &mut Random| {
        [None, None, Some(0), Some(1), Some(2), Some(5)][random.below(6) as usize]
    };
    (0..events).map(|_| one(random)).collect()
}

fn part(event: &RecordedEvent, n: u64) -> StoredEvent {
    match event.format {
        PayloadFormat::Json => StoredEvent::json_of(format!("Part{n}"), 9, &(n, "part")).unwrap(),
        _ => StoredEvent::new(format!("Part{n}"), 9, event.payload.clone()),
    }
}

fn changed(plan: &[Option<u64>], event: &RecordedEvent) -> CopyAs {
    match plan[event.position.get() as usize - 1] {
        None => CopyAs::Unchanged,
        Some(0) if event.version.get().is_multiple_of(2) => CopyAs::Nothing,
        Some(parts) => CopyAs::Events((0..parts).map(|n| part(event, n)).collect()),
    }
}

/// The events that the copy must have.
fn expected(plan: &[Option<u64>], events: &[RecordedEvent]) -> Vec<RecordedEvent> {
    let (mut expected, mut versions) = (Vec::new(), HashMap::new());
    for (event, becomes) in events.iter().zip(plan) {
        for n in 0..becomes.unwrap_or(1) {
            let mut new = event.clone();
            if becomes.is_some() {
                let part = part(event, n);
                new.event_type = part.event_type;
                new.schema_version = part.schema_version;
                new.payload = part.payload;
            }
            if n > 0 {
                new.id = Uuid::new_v5(&event.id, (n + 1).to_string().as_bytes());
            }
            let version: &mut u64 = versions.entry(event.stream.clone()).or_default();
            *version += 1;
            new.version = Version::new(*version);
            new.position = Position::new(expected.len() as u64 + 1);
            expected.push(new);
        }
    }
    expected
}

#[test]
fn a_copy_has_what_each_event_becomes_and_everything_else_as_it_was() {
    let seed = seed();
    for round in 0..variable("FILMSTRIP_ROUNDS").unwrap_or(4) {
        let random = &mut Random(seed.wrapping_add(round));
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        write_at_random(&store, random);
        let events = all(&store);
        let plan = plan(random, events.len());
        let expected = expected(&plan, &events);
        let (counted, copy) =
            copied(&store, &directory.path().join("copy"), |event| Ok(changed(&plan, event)));
        let met = all(&copy);
        for (met, expected) in met.iter().zip(&expected) {
            assert!(met == expected, "round {round}:\n{met:#?}\nis not\n{expected:#?}");
        }
        assert_eq!(met.len(), expected.len());
        for info in copy.streams().collect().unwrap() {
            let of_stream = |event: &&RecordedEvent| event.stream == info.stream;
            let read = copy.read_stream(info.stream.clone()).collect().unwrap();
            assert!(read.iter().eq(expected.iter().filter(of_stream)), "{}", info.stream);
        }
        let count = |wanted: &dyn Fn(&Option<u64>) -> bool| {
            plan.iter().filter(|n| wanted(n)).count() as u64
        };
        assert_eq!(counted.unchanged, count(&|n| n.is_none()));
        assert_eq!(counted.left_out, count(&|n| *n == Some(0)));
        assert_eq!(counted.replaced, count(&|n| n.is_some_and(|n| n > 0)));
        assert_eq!(copy.tracked("other").unwrap(), Position::new(150));
        // Another copy has the same events.
        let (_, again) =
            copied(&store, &directory.path().join("again"), |event| Ok(changed(&plan, event)));
        assert!(all(&again) == met, "round {round}: another copy has other events");
        // And the copy is a store like others.
        write_some(&copy, 0..2, 100);
        assert!(copy.verify().unwrap().is_whole());
    }
}

/// A copy of a copy gave the second part of an event that was split again the id of the first split's.
#[test]
fn what_is_split_a_second_time_has_ids_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    store.append("A-1", ExpectedVersion::Any, [NewEvent::json("T", &0).unwrap()]).unwrap();
    let split =
        |event: &RecordedEvent| Ok(CopyAs::Events((0..3).map(|n| part(event, n)).collect()));
    let (_, once) = copied(&store, &directory.path().join("once"), split);
    let (counted, twice) = copied(&once, &directory.path().join("twice"), split);
    assert_eq!(counted.events, 9);
    let mut ids: Vec<Uuid> = all(&twice).iter().map(|event| event.id).collect();
    let kept = all(&once).iter().all(|event| ids.contains(&event.id));
    ids.sort_unstable();
    ids.dedup();
    assert!(ids.len() == 9 && kept, "{ids:?}");
}

#[test]
fn a_copy_without_a_change_has_the_same_hash() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    write_some(&store, 0..40, 3_000);
    let (counted, copy) = copied(&store, &directory.path().join("copy"), unchanged);
    let Copied { events, unchanged, replaced, left_out, forgotten_commands, .. } = counted;
    assert_eq!((events, unchanged), (store.head().get(), store.head().get()));
    assert_eq!((replaced, left_out, forgotten_commands), (0, 0, 0));
    assert!(all(&copy) == all(&store));
    assert_eq!(copy.check_hash(&store.head_hash()).unwrap(), HashCheck::Same);
    assert_eq!(copy.tracked("importer").unwrap(), Position::new(40));
}

/// It was said that the copy has the same `head_hash`, which is wrong: a frame that closes the copy may follow.
#[test]
fn each_hash_that_was_noted_holds_in_a_copy_without_a_change() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut noted) = (directory.path().join("store"), Vec::new());
    for n in 0..3 {
        let store = Store::open(&path).unwrap();
        noted.push(store.head_hash());
        write_some(&store, n..n + 1, 100);
        // Of one large commit, and of a single event.
        let large = (0..4).map(|_| NewEvent::bytes("T", vec![7; 3 << 20]));
        store.append("A-1", ExpectedVersion::Any, large.collect::<Vec<_>>()).unwrap();
        store.append("A-1", ExpectedVersion::Any, [NewEvent::bytes("T", vec![n as u8])]).unwrap();
        noted.push(store.head_hash());
        let copy = directory.path().join(format!("copy-{n}"));
        let (_, copy) = copied(&store, &copy, unchanged);
        for noted in &noted {
            assert_eq!(copy.check_hash(noted).unwrap(), HashCheck::Same, "{noted}");
        }
        assert_eq!(copy.head(), store.head());
        store.close().unwrap();
    }
}

#[test]
fn a_stream_of_which_nothing_is_left_is_new() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    for stream in ["A-1", "A-2", "A-1"] {
        store.append(stream, ExpectedVersion::Any, [NewEvent::json("T", &0).unwrap()]).unwrap();
    }
    let (_, copy) = copied(&store, &directory.path().join("copy"), |event| {
        Ok(match event.stream.as_str() {
            "A-1" => CopyAs::Events(vec![]),
            _ => CopyAs::Unchanged,
        })
    });
    assert_eq!(copy.stream_info("A-1").unwrap_err().kind(), ErrorKind::StreamNotFound);
    let done = copy.append("A-1", ExpectedVersion::NoStream, [NewEvent::json("T", &0).unwrap()]);
    assert_eq!(done.unwrap().position, Position::new(2));
}

/// Who copies a store does not stop it: what is written meanwhile stays where it is.
#[test]
fn what_is_written_meanwhile_is_not_in_the_copy() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    write_some(&store, 0..3, 100);
    let head = store.head();
    let done = store.copy_into(directory.path().join("copy"), |_| {
        write_some(&store, 3..4, 100);
        Ok(CopyAs::Unchanged)
    });
    let done = done.unwrap();
    assert_eq!((done.position, done.events), (head, head.get()));
    assert!(store.head() > head);
    let copy = Store::open(directory.path().join("copy")).unwrap();
    assert!(all(&copy) == store.read_all().until(head).collect().unwrap());
}
