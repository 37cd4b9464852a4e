//! What a store makes of its directory: creation, locking, strangers.

use filmstrip::{ErrorKind, ExpectedVersion, NewEvent, Store};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn event() -> NewEvent {
    NewEvent::bytes("T", "x")
}

#[test]
fn a_store_is_created_in_an_absent_or_an_empty_directory() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("a/b/c"), directory.path().join("empty")] {
        if path.ends_with("empty") {
            fs::create_dir(&path).unwrap();
        }
        let store = Store::open(&path).unwrap();
        store.append("A-1", ExpectedVersion::NoStream, [event()]).unwrap();
        assert_eq!(store.path(), path);
        drop(store);
        assert_eq!(Store::open(&path).unwrap().head().get(), 1);
    }
}

#[test]
fn a_directory_with_something_else_in_it_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.txt"), "years of work").unwrap();
    let error = Store::open(directory.path()).expect_err("it took over a stranger's directory");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("thesis.txt"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "something was written");
    let error = Store::open(directory.path().join("thesis.txt")).expect_err("a file");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

/// A directory with a folder `journal` was taken for a store whose creation a crash had cut short: opening it
/// answered `Ok`, and whatever lay in the folder was deleted as if it were a half-made journal. Only what a
/// store itself names so may be in a directory that becomes one.
#[test]
fn a_strangers_folder_with_a_name_of_ours_is_refused_and_left_alone() {
    for name in [
        "journal/2026-11-26.md",
        "journal/diary.tmp",
        "journal/00000000000000000001.orig",
        "journal/torn-page",
        "index/a-z.html",
        "index/snap.jpg",
        "views/lake.jpg",
        "index.html",
        "views.damaged-by-rain",
        "index.damaged-+1",
        "lost+found",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "years of work").unwrap();
        let before = everything(directory.path());
        let error = Store::open(directory.path()).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
        assert_eq!(everything(directory.path()), before, "{name}");
    }
}

/// A file with the name of a segment, or of the mark, and another content is not a journal's either.
#[test]
fn a_strangers_file_with_the_name_of_a_segment_is_refused_and_left_alone() {
    for name in ["journal/00000000020261126143", "journal/durable"] {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("journal")).unwrap();
        fs::write(directory.path().join(name), "years of work").unwrap();
        let error = Store::open(directory.path()).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), b"years of work");
    }
}

/// Opening a store removed every `*.tmp` and `*.prepared` from its journal, and a directory in place of the
/// index's checkpoint, whoever had put them there.
#[test]
fn only_what_is_a_stores_own_is_ever_removed_from_it() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let at = |name: &str| directory.path().join(name);
    for name in ["journal/notes.tmp", "journal/cake.prepared", "index/notes", "notes"] {
        fs::write(at(name), "years of work").unwrap();
    }
    for number in 1..=3 {
        drop(Store::open(directory.path()).unwrap());
        assert_eq!(fs::read(at("journal/notes.tmp")).unwrap(), b"years of work");
        assert_eq!(fs::read(at("journal/cake.prepared")).unwrap(), b"years of work");
        // What is in an index that cannot be used goes with it, and stays there.
        fs::remove_file(at("index.checkpoint")).unwrap();
        fs::create_dir(at("index.checkpoint")).unwrap();
        fs::write(at("index.checkpoint").join("notes"), [number]).unwrap();
    }
    drop(Store::open(directory.path()).unwrap());
    assert_eq!(fs::read(at("index.damaged-1/notes")).unwrap(), b"years of work");
    for number in 1..=3 {
        let kept = at(&format!("index.checkpoint.damaged-{number}/notes"));
        assert_eq!(fs::read(kept).unwrap(), [number]);
    }
    assert!(!at("index.damaged-1/db").exists(), "the oldest index that was moved aside is kept");
    fs::write(at("index/snap.jpg"), "a day at the lake").unwrap();
    drop(Store::open(directory.path()).unwrap());
    assert_eq!(fs::read(at("index.damaged-4/snap.jpg")).unwrap(), b"a day at the lake");
}

/// A fresh volume has a directory `lost+found` at its top, and was refused.
#[test]
fn a_store_lies_at_the_top_of_a_volume() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| {
        fs::create_dir_all(directory.path().join(name).join("lost+found")).unwrap();
        directory.path().join(name)
    };
    let store = Store::open(path("store")).unwrap();
    store.append("A-1", ExpectedVersion::NoStream, [event()]).unwrap();
    store.backup(path("backup")).unwrap();
    store.backup(path("backup")).expect("a further one");
    store.close().unwrap();
    Store::repair(path("store")).unwrap().export(path("export")).unwrap();
    for name in ["store", "backup", "export"] {
        assert_eq!(Store::open(path(name)).unwrap().head().get(), 1, "{name}");
    }
}

/// Each file below `directory`, with what is in it.
fn everything(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(everything(&path)),
            false => found.push((path.clone(), fs::read(path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn a_store_is_open_for_writing_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let clone = store.clone();
    let error = Store::open(directory.path()).expect_err("it is open");
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    store.close().unwrap();
    let again = Store::open(directory.path()).expect("closing lets go, whoever holds a clone");
    again.append("A-1", ExpectedVersion::NoStream, [event()]).unwrap();
    assert!(clone.append("A-2", ExpectedVersion::NoStream, [event()]).is_err());
}

/// The story: a second call of `close` at the same time returned at once, and let go of the lock, while the
/// first was still about to write the closing frame.
#[test]
fn whoever_closes_the_store_finds_it_closed() {
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=5 {
        let store = Store::open(directory.path()).unwrap();
        // Enough that there is something to be indexed at the end.
        for _ in 0..40 {
            let event = NewEvent::bytes("T", vec![round; 40_000]);
            store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
        }
        let clone = store.clone();
        let closed = std::thread::scope(|scope| {
            scope.spawn(|| store.close().unwrap());
            std::thread::sleep(Duration::from_micros(300));
            clone.close().unwrap();
            journal(directory.path())
        });
        assert!(closed == journal(directory.path()), "it was written to after it was closed");
    }
    assert_eq!(Store::open(directory.path()).unwrap().head().get(), 5 * 40);
}

/// Closing left the thread alone that prepares the next segment, until the last handle went: it wrote into the
/// directory of a store that was closed, and in the end removed there what whoever had opened the store again
/// had just prepared under the same name.
#[test]
fn a_closed_store_prepares_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let _held = store.clone();
    // More than half of the first segment, so that the next one is ordered.
    let event = NewEvent::bytes("T", vec![1; 600_000]);
    store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    store.close().unwrap();
    let files = journal(directory.path()).into_iter().map(|(path, _)| path);
    let names: Vec<_> = files.map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["00000000000000000001", "durable"]);
}

/// What lies in the journal's directory.
fn journal(store: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(store.join("journal")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

#[test]
fn a_temporary_store_goes_with_its_last_handle() {
    let store = Store::temporary().unwrap();
    let path = store.path().to_owned();
    let subscription = store.subscribe().start().unwrap();
    store.append("A-1", ExpectedVersion::NoStream, [event()]).unwrap();
    drop(store);
    assert!(path.exists());
    drop(subscription);
    assert!(!path.exists(), "{} was left behind", path.display());
    assert!(!path.parent().unwrap().exists());
}

#[test]
fn a_creation_that_was_interrupted_is_done_again() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    fs::remove_file(directory.path().join("MANIFEST")).unwrap();
    let store = Store::open(directory.path()).expect("the journal was empty");
    store.append("A-1", ExpectedVersion::NoStream, [event()]).unwrap();
    drop(store);
    fs::remove_file(directory.path().join("MANIFEST")).unwrap();
    let error = Store::open(directory.path()).expect_err("a journal with events, no manifest");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.damage().unwrap().file.ends_with("MANIFEST"));
}

#[test]
fn a_damaged_or_newer_manifest_is_named() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    let path = directory.path().join("MANIFEST");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("store 0", "store 1")).unwrap();
    assert_eq!(Store::open(directory.path()).expect_err("damaged").kind(), ErrorKind::Corrupt);
    let newer = "filmstrip 2\n";
    fs::write(&path, format!("{newer}crc32c {:08x}\n", crc32c::crc32c(newer.as_bytes()))).unwrap();
    let error = Store::open(directory.path()).expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    assert!(error.to_string().contains("format 2"), "{error}");
}

#[test]
fn a_small_store_takes_little_room() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.append("A-1", ExpectedVersion::NoStream, [event()]).unwrap();
    store.close().unwrap();
    let journal: u64 = fs::read_dir(directory.path().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(journal <= (1 << 20) + 4_096, "{journal} bytes of journal");
}

/// The story: sled panics at a cache of less than 256 bytes, which was told as a damaged index.
#[test]
fn a_store_opens_with_a_cache_of_any_size() {
    let directory = tempfile::tempdir().unwrap();
    for (number, bytes) in (1..).zip([0, 1, 511, 1 << 20, u64::MAX]) {
        let store = Store::builder().cache_bytes(bytes).open(directory.path()).unwrap();
        store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
        assert_eq!(store.read_stream("A-1").iter().unwrap().count(), number, "{bytes} bytes");
        store.close().unwrap();
    }
}
