//! A file of JSON Lines holds each event once and in order, whatever cuts it short, and takes nothing else for its own.

use filmstrip::{ErrorKind, ExpectedVersion, Filter, NewEvent, Store};
use filmstrip_cloudevents::{JsonLines, Sent};
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn append(store: &Store, events: u32) {
    let events = (0..events).map(|n| NewEvent::json("Counted", &n).unwrap());
    store.append("Count-1", ExpectedVersion::Any, events).unwrap();
}

fn positions(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| Sent::parse(line.as_bytes()).unwrap().position.get()).collect()
}

/// Relays everything that the store has.
fn relay(store: &Store, path: &Path) -> filmstrip::Result<()> {
    let relay = store.relay(JsonLines::append_to(path)).start()?;
    relay.wait_for(store.head(), LONG)?;
    relay.stop()
}

#[test]
fn a_file_goes_on_after_its_last_whole_line_wherever_it_was_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (store, path) = (Store::temporary().unwrap(), directory.path().join("events.jsonl"));
    append(&store, 2);
    relay(&store, &path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    // Also right before, in and after each line's end.
    let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let near_ends = ends.flat_map(|(at, _)| [at - 1, at, at + 1]);
    for cut in (0..whole.len()).step_by(4).chain(near_ends) {
        std::fs::write(&path, &whole[..cut]).unwrap();
        relay(&store, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "cut to {cut} bytes");
    }
    append(&store, 2_000);
    relay(&store, &path).unwrap();
    assert_eq!(positions(&path), Vec::from_iter(1..=2_002));
}

#[test]
fn a_long_line_and_one_that_is_no_json_are_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, path) = (Store::temporary().unwrap(), directory.path().join("events.jsonl"));
    append(&store, 1);
    let long = NewEvent::bytes("Photo", vec![7; 3 << 20]);
    store.append("Album-1", ExpectedVersion::Any, [long]).unwrap();
    relay(&store, &path).unwrap();
    append(&store, 1);
    relay(&store, &path).unwrap();
    assert_eq!(positions(&path), [1, 2, 3]);
    let filtered = directory.path().join("photos.jsonl");
    let photos = JsonLines::append_to(&filtered);
    let relay = store.relay(photos).filter(Filter::event_type("Photo")).start().unwrap();
    relay.wait_for(store.head(), LONG).unwrap();
    assert_eq!(positions(&filtered), [2]);
}

#[test]
fn what_is_not_the_relays_is_refused_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (store, path) = (Store::temporary().unwrap(), directory.path().join("events.jsonl"));
    append(&store, 3);
    for foreign in ["notes", "notes\n", "{\"specversion\":\"1.0\"}\n", "{\"position\":1}\nmore"] {
        std::fs::write(&path, foreign).unwrap();
        let refused = relay(&store, &path).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
        assert!(refused.to_string().contains("a file of this relay's own is needed"), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), foreign);
    }
    std::fs::remove_file(&path).unwrap();
    relay(&store, &path).unwrap();
    let other = Store::temporary().unwrap();
    append(&other, 3);
    let refused = relay(&other, &path).unwrap_err();
    assert!(refused.to_string().contains("another history"), "{refused}");
}

#[test]
fn two_relays_do_not_write_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let (store, path) = (Store::temporary().unwrap(), directory.path().join("events.jsonl"));
    append(&store, 3);
    let first = store.relay(JsonLines::append_to(&path)).start().unwrap();
    first.wait_for(store.head(), LONG).unwrap();
    // By another name, as from another process.
    let again = directory.path().join(".").join("events.jsonl");
    let alias = directory.path().join("alias.jsonl");
    std::fs::hard_link(again, &alias).unwrap();
    let second = store.relay(JsonLines::append_to(&alias)).start().unwrap();
    let late = second.wait_for(store.head(), Duration::from_millis(300)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    let cause = second.status().retrying.unwrap().cause;
    assert!(cause.contains("is written by another process"), "{cause}");
    first.stop().unwrap();
    append(&store, 3);
    second.wait_for(store.head(), LONG).unwrap();
    assert_eq!(positions(&path), Vec::from_iter(1..=6));
}
