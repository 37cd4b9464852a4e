//! A long read of everything is read ahead of, by another thread, and nothing else about it is different.

use filmstrip::{ErrorKind, ExpectedVersion, NewEvent, Position, RecordedEvent, Store};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const EVENTS: u64 = 16_000;
/// So many that reading ahead has begun, and that what is read ahead does not reach the end.
const BEGUN: usize = 6_000;

/// About 9 MiB of journal in several segments, not in memory, 10 events to a commit.
fn filled() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for first in (1..=EVENTS).step_by(10) {
        let events = (first..first + 10).map(event);
        store.append(format!("Long-{}", first % 7), ExpectedVersion::Any, events).unwrap();
    }
    store.close().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn event(n: u64) -> NewEvent {
    NewEvent::bytes("Counted", [&n.to_le_bytes()[..], &[b'x'; 500]].concat())
}

fn is_nth(event: &RecordedEvent, n: u64) -> bool {
    event.position.get() == n && event.payload[..8] == n.to_le_bytes()
}

#[test]
fn a_long_read_yields_each_event_in_order_and_nothing_that_came_later() {
    let (_directory, store) = filled();
    let mut read = store.read_all().iter().unwrap();
    for n in 1..=BEGUN as u64 {
        assert!(is_nth(&read.next().unwrap().unwrap(), n), "event {n}");
    }
    store.append("Late-1", ExpectedVersion::Any, [event(EVENTS + 1)]).unwrap();
    for n in BEGUN as u64 + 1..=EVENTS {
        assert!(is_nth(&read.next().unwrap().unwrap(), n), "event {n}");
    }
    assert!(read.next().is_none(), "what came later was shown");
    let late = store.read_all().after(Position::new(EVENTS)).collect().unwrap();
    assert!(is_nth(&late[0], EVENTS + 1));
}

#[test]
fn a_long_read_stops_where_it_was_told_to() {
    let (_directory, store) = filled();
    let (until, limit) = (Position::new(EVENTS - 3_005), EVENTS - 4_005);
    let read = store.read_all().until(until).collect().unwrap();
    assert_eq!(read.last().unwrap().position, until);
    let read = store.read_all().limit(limit).collect().unwrap();
    assert_eq!(read.len() as u64, limit);
    let read = store.read_all().category("Long").limit(limit).collect().unwrap();
    assert!(read.iter().zip(1..).all(|(event, n)| is_nth(event, n)));
}

#[test]
fn damage_ahead_is_met_behind_all_that_lies_before_it() {
    let (directory, store) = filled();
    store.close().unwrap();
    let segment = directory.path().join("journal/00000000000000000003");
    damage(&segment, 3_000_000);
    let store = Store::open(directory.path()).unwrap();
    let mut read = store.read_all().iter().unwrap();
    let mut whole = 0;
    let error = loop {
        match read.next().unwrap() {
            Ok(event) => whole = event.position.get(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(read.next().is_none(), "a read goes no further than its error");
    assert!(whole as usize > BEGUN && whole < EVENTS, "{whole} events lie before the damage");
    let mut short = store.read_all().after(Position::new(whole)).iter().unwrap();
    let at_once = short.next().unwrap().expect_err("the next event is the damaged one");
    assert_eq!(at_once.to_string(), error.to_string());
}

fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Closing waits for the thread that reads ahead, which waits for who takes what it has read: here nobody.
#[test]
fn a_store_can_be_closed_while_it_is_read_ahead_of_a_reader_who_rests() {
    let (_directory, store) = filled();
    let mut resting = store.read_all().iter().unwrap();
    assert_eq!(resting.by_ref().take(BEGUN).flatten().count(), BEGUN);
    let mut dropped = store.read_all().iter().unwrap();
    assert_eq!(dropped.by_ref().take(BEGUN).flatten().count(), BEGUN);
    drop(dropped);
    store.close().unwrap();
    let error = resting.find_map(Result::err).expect("it does not end as if that were all");
    assert_eq!(error.kind(), ErrorKind::Closed);
}
