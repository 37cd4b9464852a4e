//! Whatever happens to the index, every event still reads back: it is derived from the journal.

use filmstrip::{ErrorKind, ExpectedVersion, NewEvent, Store, Version};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

use crate::common::domain::scratch;
use crate::damage::{copy, copy_into};

const STREAMS: u64 = 50;
const ROUNDS: u64 = 60;

fn payload(stream: u64, version: u64) -> Vec<u8> {
    let bytes = if version.is_multiple_of(20) { 6_000 } else { 900 };
    vec![(stream * 7 + version) as u8; bytes]
}

fn write(store: &Store, versions: std::ops::RangeInclusive<u64>) {
    for version in versions {
        for n in 0..STREAMS {
            let event = NewEvent::bytes("Written", payload(n, version));
            let stream = format!("Stream-{n}");
            store.append(&stream, Version::new(version - 1), [event]).unwrap();
        }
    }
}

fn check(store: &Store, versions: u64, case: &str) {
    let streams = store.streams().collect().unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(streams.len() as u64, STREAMS, "{case}");
    for n in 0..STREAMS {
        let stream = format!("Stream-{n}");
        let info = store.stream_info(&stream).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(info.version.get(), versions, "{case}: {stream}");
        let events = store.read_stream(&stream).collect();
        let events = events.unwrap_or_else(|e| panic!("{case}: {stream}: {e}"));
        assert_eq!(events.len() as u64, versions, "{case}: {stream}");
        for (event, version) in events.iter().zip(1..) {
            assert_eq!(event.version.get(), version, "{case}: {stream}");
            assert!(event.payload == payload(n, version), "{case}: {stream} at {version}");
        }
    }
    let all = store.read_all().collect().unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(all.len() as u64, STREAMS * versions, "{case}");
    let beyond = Version::new(versions + 1);
    let wrong = store.append("Stream-0", beyond, [NewEvent::bytes("T", "x")]);
    assert!(wrong.is_err(), "{case}: a version was given out twice or left out");
}

/// A store that was closed with most of its events in the index.
fn closed() -> TempDir {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    write(&store, 1..=ROUNDS);
    store.close().unwrap();
    directory
}

fn database(store: &Path) -> PathBuf {
    store.join("index").join("db")
}

/// The database of the index, or one of its sorted tables.
fn file_of(store: &Path, n: u64) -> PathBuf {
    let tables = fs::read_dir(store.join("index").join("packs")).unwrap();
    let mut files: Vec<_> = tables.map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "nothing was indexed, so nothing is tested");
    files.push(database(store));
    files.sort();
    files.swap_remove(n as usize % files.len())
}

fn flip(path: &Path, at: u64, bit: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1 << bit;
    file.write_all_at(&byte, at).unwrap();
}

fn check_and_go_on(directory: &Path, case: &str) {
    let store = Store::open(directory).unwrap_or_else(|e| panic!("{case}: {e}"));
    check(&store, ROUNDS, case);
    write(&store, ROUNDS + 1..=ROUNDS + 1);
    check(&store, ROUNDS + 1, case);
    store.close().unwrap_or_else(|e| panic!("{case}: {e}"));
    let store = Store::open(directory).unwrap_or_else(|e| panic!("{case}, reopened: {e}"));
    check(&store, ROUNDS + 1, case);
}

#[test]
fn a_deleted_index_is_built_again() {
    let original = closed();
    assert!(database(original.path()).exists(), "nothing was indexed, so nothing is tested");
    for gone in [&["index"][..], &["index.checkpoint"], &["index", "index.checkpoint"]] {
        let directory = copy(original.path());
        for name in gone {
            let path = directory.path().join(name);
            match path.is_dir() {
                true => fs::remove_dir_all(path).unwrap(),
                false => fs::remove_file(path).unwrap(),
            }
        }
        check_and_go_on(directory.path(), &format!("without {gone:?}"));
    }
}

#[test]
fn an_index_truncated_anywhere_is_built_again() {
    let original = closed();
    for part in 0..16 {
        let directory = copy(original.path());
        let file = file_of(directory.path(), part);
        let length = fs::metadata(&file).unwrap().len();
        let opened = OpenOptions::new().write(true).open(&file).unwrap();
        opened.set_len(length * (part / 2) / 8 + part * 13).unwrap();
        check_and_go_on(directory.path(), &format!("{} cut to {part}/16", file.display()));
    }
}

#[test]
fn an_index_with_a_bit_flipped_in_any_of_fifty_places_serves_no_wrong_event() {
    let original = closed();
    for n in 0..50 {
        let directory = copy(original.path());
        let file = file_of(directory.path(), n);
        let length = fs::metadata(&file).unwrap().len();
        let at = (length * n / 50 + n * 37) % length;
        flip(&file, at, n % 8);
        let case = format!("bit {} of byte {at} of {}", n % 8, file.display());
        check_and_go_on(directory.path(), &case);
    }
}

#[test]
fn an_index_with_fifty_flipped_bits_serves_no_wrong_event() {
    let original = closed();
    for round in 0..10u64 {
        let directory = copy(original.path());
        for n in 0..50 {
            let file = file_of(directory.path(), n);
            let length = fs::metadata(&file).unwrap().len();
            let at = (length * n / 50 + round * 7_919 + n * n * 131) % length;
            flip(&file, at, (n + round) % 8);
        }
        check_and_go_on(directory.path(), &format!("round {round}"));
    }
}

/// Puts the file or directory `name` of the store `from` in the place of the one of `store`.
fn replace(name: &str, store: &Path, from: &Path) {
    let (from, to) = (from.join(name), store.join(name));
    match from.is_dir() {
        true => {
            fs::remove_dir_all(&to).unwrap();
            copy_into(&from, &to);
        }
        false => drop(fs::copy(from, to).unwrap()),
    }
}

/// A closed store, and a copy of it when it had half as much.
fn store_and_its_past() -> (TempDir, TempDir) {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    write(&store, 1..=ROUNDS / 2);
    store.close().unwrap();
    let old = copy(directory.path());
    let store = Store::open(directory.path()).unwrap();
    write(&store, ROUNDS / 2 + 1..=ROUNDS);
    store.close().unwrap();
    (directory, old)
}

#[test]
fn an_index_left_from_an_older_time_is_brought_up_or_built_again() {
    let (directory, old) = store_and_its_past();
    for (case, names) in [
        ("index and checkpoint", &["index", "index.checkpoint"][..]),
        ("index alone", &["index"]),
        ("checkpoint alone", &["index.checkpoint"]),
    ] {
        let aged = copy(directory.path());
        names.iter().for_each(|name| replace(name, aged.path(), old.path()));
        check_and_go_on(aged.path(), &format!("an older {case}"));
    }
}

#[test]
fn an_index_of_another_store_is_not_believed() {
    let (mine, other) = (closed(), scratch());
    let store = Store::open(other.path()).unwrap();
    for n in 0..3_000 {
        let event = NewEvent::bytes("Foreign", vec![0; 1_000]);
        store.append(format!("Stream-{}", n % 7), ExpectedVersion::Any, [event]).unwrap();
    }
    store.close().unwrap();
    for name in ["index", "index.checkpoint"] {
        replace(name, mine.path(), other.path());
    }
    check_and_go_on(mine.path(), "the index of another store");
}

#[test]
fn an_index_that_is_ahead_of_its_journal_is_corrupt_and_not_served() {
    let (directory, old) = store_and_its_past();
    replace("journal", directory.path(), old.path());
    let error = Store::open(directory.path()).expect_err("the journal lost durable events");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("index"), "{error}");
}

/// A standby with an index of its own continuation of the store was brought up to date by copying the journal:
/// where the frames of the two did not begin at the same bytes, the sound journal was called damaged. The index
/// is of another history, and is built again; one that goes on where the journal ends is still an error.
#[test]
fn an_index_of_another_continuation_is_built_again() {
    let fill = |path: &Path, events: usize, bytes: usize| {
        let store = Store::open(path).unwrap();
        for _ in 0..events {
            let event = NewEvent::bytes("B", vec![7; bytes]);
            store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
        }
        store.close().unwrap();
    };
    let base = scratch();
    fill(base.path(), 12, 100_000);
    // What the standby went on with, and the active one.
    for (mine, theirs) in [
        ((12, 130_000), (30, 150_000)),
        ((40, 50_000), (20, 150_000)),
        ((12, 150_000), (30, 50_000)),
    ] {
        let (standby, active) = (copy(base.path()), copy(base.path()));
        fill(standby.path(), mine.0, mine.1);
        fill(active.path(), theirs.0, theirs.1);
        let (from, to) = (active.path().join("journal"), standby.path().join("journal"));
        fs::remove_dir_all(&to).unwrap();
        copy_into(&from, &to);
        let case = format!("{mine:?} beside {theirs:?}");
        let store = Store::open(standby.path()).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(store.head().get(), 12 + theirs.0 as u64, "{case}");
        let events = store.read_stream("A-1").collect().unwrap();
        let longest = events.last().map(|event| event.payload.len());
        assert_eq!((events.len(), longest), (12 + theirs.0, Some(theirs.1)), "{case}");
        assert_eq!(store.verify().unwrap().findings, [], "{case}");
    }
}

/// The journal of an earlier copy was put beneath a store's index. The store said that its journal had lost events,
/// which was not so, and nothing of what else it might be or what to do. It does not open by itself, because an index
/// that is ahead may also be the last trace of a loss.
#[test]
fn an_index_ahead_of_the_journal_is_told_as_what_it_may_be() {
    let store = closed();
    let earlier = copy(store.path());
    let reopened = Store::open(store.path()).unwrap();
    write(&reopened, ROUNDS + 1..=2 * ROUNDS);
    reopened.close().unwrap();
    fs::remove_dir_all(store.path().join("journal")).unwrap();
    copy_into(&earlier.path().join("journal"), &store.path().join("journal"));
    let error = Store::open(store.path()).expect_err("its index is ahead");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    for says in ["either the journal has lost events", "another history", "rebuild_index"] {
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(Store::repair(store.path()).unwrap().rebuild_index().unwrap().moved_to.is_some());
    check(&Store::open(store.path()).unwrap(), ROUNDS, "built again");
}
