//! What appending promises: expected versions, several streams, repetition, limits.

use crate::common::domain::counted;
use filmstrip::limits::{COMMIT_EVENTS_MAX, EVENT_BYTES_MAX};
use filmstrip::{
    AppendError, Commit, ErrorKind, ExpectedVersion, Metadata, NewEvent, Position, Store, Version,
};
use uuid::Uuid;

fn store() -> Store {
    Store::temporary().expect("a temporary store")
}

fn events(numbers: std::ops::RangeInclusive<u64>) -> Vec<NewEvent> {
    numbers.map(counted).collect()
}

fn kind<T: std::fmt::Debug>(result: Result<T, AppendError>) -> ErrorKind {
    match result {
        Ok(appended) => panic!("{appended:?} was appended"),
        Err(AppendError::Conflict(_)) => ErrorKind::Conflict,
        Err(error) => filmstrip::Error::from(error).kind(),
    }
}

#[test]
fn each_expected_version_holds_for_the_streams_it_describes() {
    use ExpectedVersion::{Any, Exact, NoStream, StreamExists};
    let exact = |version| Exact(Version::new(version));
    // What is expected, and whether it holds for a stream of no, one and two events.
    let cases = [
        (Any, [true, true, true]),
        (NoStream, [true, false, false]),
        (StreamExists, [false, true, true]),
        (exact(0), [true, false, false]),
        (exact(1), [false, true, false]),
        (exact(2), [false, false, true]),
        (exact(u64::MAX), [false, false, false]),
    ];
    let store = store();
    for (case, (expected, holds)) in cases.into_iter().enumerate() {
        for (before, holds) in holds.into_iter().enumerate() {
            let stream = format!("Case-{case}-{before}");
            if before > 0 {
                store.append(&stream, Any, events(1..=before as u64)).unwrap();
            }
            let head = store.head();
            let result = store.append(&stream, expected, [counted(9)]);
            if holds {
                let appended = result.unwrap();
                assert_eq!(appended.first.get(), before as u64 + 1, "{stream}");
                assert_eq!(appended.version.get(), before as u64 + 1, "{stream}");
                assert_eq!(appended.position.get(), head.get() + 1, "{stream}");
            } else {
                let Err(AppendError::Conflict(conflict)) = result else {
                    panic!("{stream}: {result:?}")
                };
                assert_eq!(conflict.stream, *stream);
                assert_eq!(conflict.expected, expected);
                assert_eq!(conflict.actual.get(), before as u64);
                assert_eq!(store.head(), head, "{stream}: a conflict moved the head");
            }
        }
    }
}

#[test]
fn a_conflict_in_one_stream_leaves_every_stream_of_the_commit_unchanged() {
    let store = store();
    store.append("A-1", ExpectedVersion::Any, events(1..=2)).unwrap();
    let commit = Commit::new()
        .append("B-1", ExpectedVersion::NoStream, [counted(1)])
        .append("A-1", Version::new(1), [counted(3)])
        .append("C-1", ExpectedVersion::NoStream, [counted(1)]);
    let Err(AppendError::Conflict(conflict)) = store.commit(commit) else { panic!("no conflict") };
    assert_eq!(conflict.stream, "A-1");
    assert_eq!(store.head(), Position::new(2));
    for stream in ["B-1", "C-1"] {
        let error = store.stream_info(stream).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StreamNotFound);
    }
}

#[test]
fn a_commit_gives_its_streams_consecutive_positions_and_one_time() {
    let store = store();
    store.append("A-1", ExpectedVersion::Any, events(1..=3)).unwrap();
    let commit = Commit::new().append("B-1", ExpectedVersion::NoStream, events(1..=2)).append(
        "A-1",
        Version::new(3),
        events(4..=6),
    );
    let done = store.commit(commit).unwrap();
    assert_eq!(done.position, Position::new(8));
    let places: Vec<_> =
        done.appended.iter().map(|a| (a.first.get(), a.version.get(), a.position.get())).collect();
    assert_eq!(places, [(1, 2, 5), (4, 6, 8)]);
    let events = store.read_all().after(Position::new(3)).collect().unwrap();
    assert!(events.iter().all(|event| event.recorded_at == events[0].recorded_at));
}

#[test]
fn a_stream_that_is_only_checked_is_not_written() {
    let store = store();
    store.append("Rate-eur", ExpectedVersion::Any, [counted(1)]).unwrap();
    let commit = |checked: u64| {
        Commit::new()
            .append("Invoice-1", ExpectedVersion::Any, [counted(1)])
            .check("Rate-eur", Version::new(checked))
            .check("Customer-9", ExpectedVersion::NoStream)
    };
    let Err(AppendError::Conflict(conflict)) = store.commit(commit(2)) else { panic!() };
    assert_eq!(conflict.stream, "Rate-eur");
    store.commit(commit(1)).unwrap();
    assert_eq!(store.stream_info("Rate-eur").unwrap().version, Version::new(1));
    assert_eq!(store.head(), Position::new(2));
}

#[test]
fn the_same_events_again_write_nothing_and_say_where_they_stand() {
    let store = store();
    let batch = events(1..=3);
    for (stream, expected) in
        [("A-1", ExpectedVersion::NoStream), ("A-2", ExpectedVersion::Exact(Version::NONE))]
    {
        let first = store.append(stream, expected, batch.clone()).unwrap();
        store.append(stream, first.version, events(4..=5)).unwrap();
        let head = store.head();
        let again = store.append(stream, expected, batch.clone()).unwrap();
        assert!(again.already_recorded && !first.already_recorded);
        assert_eq!(
            (again.first, again.version, again.position),
            (first.first, first.version, first.position)
        );
        assert_eq!(store.head(), head);
    }
}

#[test]
fn what_only_resembles_a_repetition_is_a_conflict() {
    let store = store();
    let batch = events(1..=3);
    store.append("A-1", ExpectedVersion::NoStream, batch.clone()).unwrap();
    let with = |change: fn(NewEvent) -> NewEvent| {
        let mut changed = batch.clone();
        let last = changed.pop().unwrap();
        changed.push(change(last));
        changed
    };
    let longer: Vec<_> = batch.iter().cloned().chain([counted(4)]).collect();
    let cases = [
        ("other ids", with(|event| event.id(Uuid::from_u128(1)))),
        ("other metadata", with(|e| e.metadata(Metadata::default().user("x")))),
        ("another schema version", with(|event| event.schema_version(2))),
        ("more events than stand there", longer),
        ("another order", batch.iter().rev().cloned().collect()),
    ];
    for (case, batch) in cases {
        let result = store.append("A-1", ExpectedVersion::NoStream, batch);
        assert_eq!(kind(result), ErrorKind::Conflict, "{case}");
    }
    // A shorter batch is there as a whole.
    let shorter = store.append("A-1", ExpectedVersion::NoStream, batch[..2].to_vec()).unwrap();
    assert!(shorter.already_recorded);
    assert_eq!(shorter.version, Version::new(2));
    // With Any nothing is compared, and the same id in another stream is another event.
    let again = store.append("A-1", ExpectedVersion::Any, batch.clone()).unwrap();
    assert_eq!((again.already_recorded, again.version.get()), (false, 6));
    let elsewhere = store.append("B-1", ExpectedVersion::NoStream, batch).unwrap();
    assert!(!elsewhere.already_recorded);
}

#[test]
fn a_repeated_commit_of_several_streams_is_recognised_only_as_a_whole() {
    let store = store();
    let (a, b) = (events(1..=2), events(3..=3));
    let commit = |b: &[NewEvent]| {
        Commit::new()
            .append("A-1", ExpectedVersion::NoStream, a.clone())
            .append("B-1", ExpectedVersion::NoStream, b.to_vec())
            .tracking("other", Position::new(7))
    };
    let first = store.commit(commit(&b)).unwrap();
    let again = store.commit(commit(&b)).unwrap();
    assert!(again.already_recorded);
    assert_eq!(again.position, first.position);
    assert_eq!(store.head(), Position::new(3));
    assert!(store.commit(commit(&[counted(9)])).is_err());
    assert_eq!(store.head(), Position::new(3));
}

/// A commit that repeated recorded events with a newer tracked position was answered "already recorded", and
/// the position was not recorded: the consumer went on from the old one for ever. The position is recorded,
/// and survives reopening, or the commit is refused.
#[test]
fn a_repeated_commit_records_its_newer_tracked_position() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (a, b) = (events(1..=2), events(3..=3));
    let commit = |position: u64| {
        Commit::new()
            .append("A-1", ExpectedVersion::NoStream, a.clone())
            .append("B-1", Version::NONE, b.clone())
            .check("Rate-eur", ExpectedVersion::NoStream)
            .tracking("orders", Position::new(position))
    };
    let first = store.commit(commit(7)).unwrap();
    for (position, tracked) in [(8, 8), (8, 8), (3, 8), (20, 20)] {
        let again = store.commit(commit(position)).unwrap();
        assert!(again.already_recorded, "position {position}");
        assert_eq!(again.position, first.position);
        assert!(again.appended.iter().all(|appended| appended.already_recorded));
        assert_eq!(store.tracked("orders").unwrap(), Position::new(tracked));
        assert_eq!(store.head(), Position::new(3), "an event was written again");
    }
    let mixed = commit(20).tracking("payments", Position::new(1));
    assert_eq!(kind(store.commit(mixed)), ErrorKind::AlreadyTracked);
    assert_eq!(store.tracked("payments").unwrap(), Position::START);
    store.append("Rate-eur", ExpectedVersion::NoStream, [counted(9)]).unwrap();
    assert_eq!(kind(store.commit(commit(21))), ErrorKind::Conflict, "its check does not hold");
    assert!(store.commit(commit(20)).unwrap().already_recorded, "it was recorded when it held");
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.tracked("orders").unwrap(), Position::new(20));
    assert_eq!(store.read_all().collect().unwrap().len(), 4);
    assert!(store.verify().unwrap().is_whole());
}

#[test]
fn a_position_is_tracked_once_and_only_forwards() {
    let store = store();
    let take = |position| {
        let commit = Commit::new()
            .append("Copy-1", ExpectedVersion::Any, [counted(position)])
            .tracking("orders", Position::new(position));
        store.commit(commit)
    };
    assert_eq!(store.tracked("orders").unwrap(), Position::START);
    take(3).unwrap();
    for repeated in [3, 2] {
        let error = filmstrip::Error::from(take(repeated).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::AlreadyTracked);
        assert!(error.to_string().contains("position 3"), "{error}");
    }
    take(10).unwrap();
    store.commit(Commit::new().tracking("orders", Position::new(11))).unwrap();
    assert_eq!(store.tracked("orders").unwrap(), Position::new(11));
    assert_eq!(store.tracked("payments").unwrap(), Position::START);
    assert_eq!(store.head(), Position::new(2), "a record took a position");
}

#[test]
fn bad_input_is_refused_with_the_value_met_and_the_value_allowed() {
    let store = store();
    let any = ExpectedVersion::Any;
    let big = NewEvent::bytes("Big", vec![0; EVENT_BYTES_MAX + 1]);
    let fat = counted(1).metadata(Metadata::default().entry("k", "v".repeat(EVENT_BYTES_MAX)));
    let twice = counted(1);
    let many = (0..=COMMIT_EVENTS_MAX as u64).map(counted).collect();
    let cases: Vec<(&str, Vec<NewEvent>, ErrorKind, &str)> = vec![
        ("", vec![counted(1)], ErrorKind::InvalidInput, "empty"),
        ("a\u{0}b", vec![counted(1)], ErrorKind::InvalidInput, "control"),
        ("line\nbreak", vec![counted(1)], ErrorKind::InvalidInput, "control"),
        ("$all", vec![counted(1)], ErrorKind::InvalidInput, "'$'"),
        ("A-1", vec![], ErrorKind::InvalidInput, "at least 1"),
        ("A-1", vec![NewEvent::bytes("", "x")], ErrorKind::InvalidInput, "at least 1"),
        ("A-1", vec![NewEvent::bytes("a\tb", "x")], ErrorKind::InvalidInput, "control"),
        (
            "A-1",
            vec![NewEvent::bytes("t".repeat(257), "x")],
            ErrorKind::TooLarge,
            "257 bytes; at most 256",
        ),
        ("A-1", vec![big], ErrorKind::TooLarge, "16777217 bytes; at most 16777216"),
        ("A-1", vec![fat], ErrorKind::TooLarge, "at most 16777216"),
        ("A-1", vec![twice.clone(), twice], ErrorKind::InvalidInput, "twice"),
        ("A-1", many, ErrorKind::TooLarge, "65537 events or more; at most 65536"),
    ];
    for (stream, events, expected, says) in cases {
        let error = filmstrip::Error::from(store.append(stream, any, events).unwrap_err());
        assert_eq!(error.kind(), expected, "{error}");
        assert!(error.to_string().contains(says), "{error} does not say {says:?}");
    }
    let long = "s".repeat(1_025);
    let error = filmstrip::Error::from(store.append(&long, any, [counted(1)]).unwrap_err());
    assert!(error.to_string().contains("1025 bytes; at most 1024"), "{error}");
    let named_twice = [
        Commit::new().append("A-1", any, [counted(1)]).append("A-1", any, [counted(2)]),
        Commit::new().append("A-1", any, [counted(1)]).check("A-1", any),
    ];
    for commit in named_twice {
        let error = filmstrip::Error::from(store.commit(commit).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    for empty in [Commit::new(), Commit::new().check("A-1", any)] {
        assert!(store.commit(empty).is_err(), "a commit of nothing was taken");
    }
    assert_eq!(store.head(), Position::START, "something was written");
    store.append("s".repeat(1_024), any, [counted(1)]).expect("the longest name");
}

#[test]
fn the_largest_commit_comes_back_whole_and_a_larger_one_is_refused() {
    let store = store();
    let block = |n: u8| NewEvent::bytes("Block", vec![n; 15 << 20]);
    let four: Vec<_> = (1..=4).map(block).collect();
    let five: Vec<_> = (1..=5).map(block).collect();
    assert_eq!(kind(store.append("A-1", ExpectedVersion::Any, five)), ErrorKind::TooLarge);
    store.append("A-1", ExpectedVersion::Any, four).unwrap();
    let read = store.read_stream("A-1").collect().unwrap();
    let firsts: Vec<u8> = read.iter().map(|event| event.payload[15 << 19]).collect();
    assert_eq!(firsts, [1, 2, 3, 4]);
    assert!(read.iter().all(|event| event.payload.len() == 15 << 20));
}
