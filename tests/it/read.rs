//! What reading promises: every selection, both directions, over tail and index alike.

use chrono::{DateTime, TimeDelta, Utc};
use filmstrip::{
    Clock, ErrorKind, ExpectedVersion, Filter, NewEvent, Position, Store, StreamId, Version,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;

/// A clock that the test moves.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn at(seconds: i64) -> Hand {
        Hand(Arc::new(AtomicI64::new(seconds)))
    }
    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

fn seconds(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

impl Clock for Hand {
    fn now(&self) -> DateTime<Utc> {
        seconds(self.0.load(Ordering::SeqCst))
    }
}

const STREAMS: u64 = 3;
const ROUNDS: u64 = 400;

/// Streams `Even-0`, `Odd-1`, `Even-2`, appended to in turn, each round ten seconds later and with
/// payloads large enough that a part of it goes to the index and a part stays in the tail.
fn filled() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let hand = Hand::at(0);
    let open = || Store::builder().clock(hand.clone()).open(directory.path()).unwrap();
    let mut store = open();
    for round in 1..=ROUNDS {
        hand.set(round as i64 * 10);
        for n in 0..STREAMS {
            let stream = format!("{}-{n}", if n % 2 == 0 { "Even" } else { "Odd" });
            let kind = if round % 4 == 0 { "Fourth" } else { "Other" };
            let payload = vec![round as u8; if round % 50 == 0 { 9_000 } else { 2_000 }];
            store.append(&stream, ExpectedVersion::Any, [NewEvent::bytes(kind, payload)]).unwrap();
        }
        if round == ROUNDS * 3 / 4 {
            store.close().unwrap();
            store = open();
        }
    }
    (directory, store)
}

fn versions(read: filmstrip::read::ReadStream) -> Vec<u64> {
    read.collect().unwrap().iter().map(|event| event.version.get()).collect()
}

fn positions(read: filmstrip::read::ReadAll) -> Vec<u64> {
    read.collect().unwrap().iter().map(|event| event.position.get()).collect()
}

#[test]
fn a_stream_is_read_whole_and_in_every_part() {
    let (_directory, store) = filled();
    let read = || store.read_stream("Odd-1");
    let all: Vec<u64> = (1..=ROUNDS).collect();
    let backwards = |mut v: Vec<u64>| {
        v.reverse();
        v
    };
    assert_eq!(versions(read()), all);
    assert_eq!(versions(read().backwards()), backwards(all.clone()));
    for after in [0, 1, 7, 150, 299, 300, 301, 399, 400, 1_000] {
        for until in [0, 1, 8, 150, 300, 301, 400, u64::MAX] {
            for limit in [0, 1, 20, u64::MAX] {
                let read =
                    || read().after(Version::new(after)).until(Version::new(until)).limit(limit);
                let wanted: Vec<u64> =
                    all.iter().copied().filter(|v| *v > after && *v <= until).collect();
                let first: Vec<u64> = wanted.iter().copied().take(limit as usize).collect();
                let last = backwards(wanted).into_iter().take(limit as usize).collect::<Vec<_>>();
                let case = format!("after {after} until {until} limit {limit}");
                assert_eq!(versions(read()), first, "{case}");
                assert_eq!(versions(read().backwards()), last, "{case} backwards");
            }
        }
    }
    for event in read().collect().unwrap() {
        let large = event.version.get() % 50 == 0;
        assert_eq!(event.payload.len(), if large { 9_000 } else { 2_000 });
        assert!(event.payload.iter().all(|b| u64::from(*b) == event.version.get() % 256));
        assert_eq!(event.recorded_at, seconds(event.version.get() as i64 * 10));
        assert_eq!(event.position.get(), event.version.get() * STREAMS - 1);
        assert_eq!(event.stream, "Odd-1");
    }
}

#[test]
fn the_global_sequence_is_read_whole_and_in_every_part() {
    let (_directory, store) = filled();
    let count = STREAMS * ROUNDS;
    let all: Vec<u64> = (1..=count).collect();
    assert_eq!(store.head(), Position::new(count));
    assert_eq!(positions(store.read_all()), all);
    let reversed: Vec<u64> = all.iter().rev().copied().collect();
    assert_eq!(positions(store.read_all().backwards()), reversed);
    for after in [0, 1, 700, 899, 900, 901, 1_199, 1_200, 9_999] {
        for until in [0, 1, 650, 900, 1_200, u64::MAX] {
            let read = || store.read_all().after(Position::new(after)).until(Position::new(until));
            let wanted: Vec<u64> =
                all.iter().copied().filter(|p| *p > after && *p <= until).collect();
            let case = format!("after {after} until {until}");
            assert_eq!(positions(read()), wanted, "{case}");
            let last: Vec<u64> = wanted.iter().rev().copied().take(30).collect();
            assert_eq!(positions(read().backwards().limit(30)), last, "{case} backwards");
        }
    }
}

#[test]
fn filters_add_up_within_a_kind_and_narrow_across_kinds() {
    let (_directory, store) = filled();
    let count = |read: filmstrip::read::ReadAll| read.collect().unwrap().len() as u64;
    assert_eq!(count(store.read_all().category("Even")), 2 * ROUNDS);
    assert_eq!(count(store.read_all().category("Even").category("Odd")), 3 * ROUNDS);
    assert_eq!(count(store.read_all().event_type("Fourth")), 3 * ROUNDS / 4);
    assert_eq!(count(store.read_all().category("Odd").event_type("Fourth")), ROUNDS / 4);
    assert_eq!(count(store.read_all().category("Odd").event_type("Fourth").limit(5)), 5);
    assert_eq!(count(store.read_all().category("Nothing")), 0);
    let last = store.read_all().filter(Filter::event_type("Fourth")).backwards().limit(1);
    assert_eq!(positions(last), [1_200]);
}

#[test]
fn as_of_gives_what_was_recorded_by_then_and_never_a_part_of_a_commit() {
    let (_directory, store) = filled();
    for (time, rounds) in
        [(0, 0), (9, 0), (10, 1), (19, 1), (2_005, 200), (3_010, 301), (9_999, 400)]
    {
        let time = seconds(time);
        assert_eq!(positions(store.read_all().as_of(time)).len() as u64, rounds * STREAMS);
        let backwards = positions(store.read_all().as_of(time).backwards().limit(1));
        assert_eq!(backwards.first().copied().unwrap_or(0), rounds * STREAMS);
        let stream = || store.read_stream("Even-2").as_of(time);
        assert_eq!(versions(stream()), (1..=rounds).collect::<Vec<_>>(), "{time}");
        let last = versions(stream().backwards().limit(1)).first().copied().unwrap_or(0);
        assert_eq!(last, rounds, "{time}");
    }
}

#[test]
fn time_never_decreases_along_positions_even_if_the_clock_does() {
    let hand = Hand::at(100);
    let store = Store::builder().clock(hand.clone()).temporary().unwrap();
    for time in [100, 50, 120, 0, 119, 121] {
        hand.set(time);
        store.append("A-1", ExpectedVersion::Any, [NewEvent::bytes("T", "x")]).unwrap();
    }
    let events = store.read_stream("A-1").collect().unwrap();
    let times: Vec<i64> = events.iter().map(|event| event.recorded_at.timestamp()).collect();
    assert_eq!(times, [100, 100, 120, 120, 120, 121]);
}

#[test]
fn a_stream_that_never_was_is_not_found_and_reading_beyond_the_end_is_empty() {
    let (_directory, store) = filled();
    let error = store.read_stream("Even-9").iter().err().expect("no such stream");
    assert_eq!(error.kind(), ErrorKind::StreamNotFound);
    assert!(error.to_string().contains("Even-9"), "{error}");
    assert_eq!(store.read_stream("").iter().err().unwrap().kind(), ErrorKind::InvalidInput);
    assert_eq!(versions(store.read_stream("Even-0").after(Version::new(400))), [0; 0]);
}

#[test]
fn a_read_sees_the_store_as_it_was_when_it_began() {
    let store = Store::temporary().unwrap();
    let append = || {
        let events = (0..600).map(|_| NewEvent::bytes("T", "x"));
        store.append("A-1", ExpectedVersion::Any, events).unwrap();
    };
    append();
    let mut stream = store.read_stream("A-1").iter().unwrap();
    let mut all = store.read_all().iter().unwrap();
    let _ = (stream.next(), all.next());
    append();
    assert_eq!(stream.count(), 599);
    assert_eq!(all.count(), 599);
}

#[test]
fn streams_are_listed_in_the_order_of_their_names_with_what_is_known_of_them() {
    let (_directory, store) = filled();
    store.append("Even-2b", ExpectedVersion::Any, [NewEvent::bytes("T", "x")]).unwrap();
    store.append("Evening", ExpectedVersion::Any, [NewEvent::bytes("T", "x")]).unwrap();
    let names = |streams: filmstrip::read::Streams| -> Vec<String> {
        streams.collect().unwrap().iter().map(|info| info.stream.to_string()).collect()
    };
    assert_eq!(names(store.streams()), ["Even-0", "Even-2", "Even-2b", "Evening", "Odd-1"]);
    assert_eq!(names(store.streams().category("Even")), ["Even-0", "Even-2", "Even-2b"]);
    assert_eq!(names(store.streams().prefix("Even-2")), ["Even-2", "Even-2b"]);
    assert_eq!(names(store.streams().prefix("Even-2").category("Even")), ["Even-2", "Even-2b"]);
    assert_eq!(names(store.streams().prefix("Odd").category("Even")), [""; 0]);
    let after = |name| store.streams().after(StreamId::new(name).unwrap());
    assert_eq!(names(after("Even-2")), ["Even-2b", "Evening", "Odd-1"]);
    assert_eq!(
        names(after("Even-1")),
        ["Even-2", "Even-2b", "Evening", "Odd-1"],
        "it need not exist"
    );
    assert_eq!(names(after("A").prefix("Odd")), ["Odd-1"]);
    assert_eq!(names(after("Z").prefix("Odd")), [""; 0]);
    assert_eq!(names(after("Even-2").category("Even")), ["Even-2b"]);
    let refused = store.streams().category("Even-2").iter().err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    let info = store.stream_info("Odd-1").unwrap();
    assert_eq!((info.version.get(), info.count), (ROUNDS, ROUNDS));
    assert_eq!(info.created, seconds(10));
    assert_eq!(info.last_written, seconds(ROUNDS as i64 * 10));
}

#[test]
fn after_closing_everything_says_closed_on_every_handle() {
    let (_directory, store) = filled();
    let other = store.clone();
    let mut stream = store.read_stream("Even-0").iter().unwrap();
    let mut all = store.read_all().iter().unwrap();
    store.close().unwrap();
    let is_closed =
        |error: filmstrip::Error| assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    is_closed(stream.next().unwrap().unwrap_err());
    is_closed(all.next().unwrap().unwrap_err());
    is_closed(other.read_all().iter().err().unwrap());
    is_closed(other.read_stream("Even-0").iter().err().unwrap());
    is_closed(other.stream_info("Even-0").unwrap_err());
    is_closed(other.streams().iter().err().unwrap());
    is_closed(other.subscribe().start().err().unwrap());
    is_closed(other.tracked("x").unwrap_err());
    let appended = other.append("A-1", ExpectedVersion::Any, [NewEvent::bytes("T", "x")]);
    is_closed(appended.unwrap_err().into());
    other.close().expect("closing again is nothing");
}
