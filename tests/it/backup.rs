//! A backup is a store of its own with everything up to a moment, taken beside writers.

use crate::common::whole;
use crate::common::whole::{Tally, all, contents, copy, files, flip, sample, write_some};
use filmstrip::repair::HashCheck;
use filmstrip::{ErrorKind, ExpectedVersion, NewEvent, Store};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn check_whole(path: &Path) {
    let verified = Store::verify_at(path).unwrap();
    assert!(verified.is_whole(), "{:#?}", verified.findings);
}

fn append(store: &Store, events: u64) {
    for _ in 0..events {
        let event = NewEvent::bytes("T", vec![1; 300_000]);
        store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    }
}

#[test]
fn a_restored_backup_equals_the_original() {
    let directory = tempfile::tempdir().unwrap();
    let (path, backups) = (directory.path().join("store"), directory.path().join("backups"));
    sample(&path);
    let store = Store::open(&path).unwrap();
    let backup = store.backup(&backups).unwrap();
    assert_eq!(backup.position, store.head());
    assert_eq!((backup.head, backup.segments_reused), (store.head_hash(), 0));
    check_whole(&backups);
    let names = ["MANIFEST", "backup.lock", "journal/durable"].map(Into::into);
    let others = files(&backups).into_iter().filter(|name| !names.contains(name));
    assert!(
        others.clone().all(|name| name.starts_with("journal/")),
        "{:?}",
        others.collect::<Vec<_>>()
    );

    let copied = copy(&backups);
    let restored = Store::open(copied.path()).unwrap();
    assert!(all(&restored) == all(&store), "the events differ");
    assert_eq!(restored.tracked("importer").unwrap(), store.tracked("importer").unwrap());
    let streams = |store: &Store| store.streams().collect().unwrap();
    assert_eq!(streams(&restored), streams(&store));
    assert_eq!(restored.check_hash(&backup.head).unwrap(), HashCheck::Same);
    let view = restored.project(Tally).start().unwrap();
    view.wait_for(restored.head(), whole::PATIENCE).unwrap();
    assert!(restored.verify().unwrap().is_whole());
    write_some(&restored, 0..2, 10);
}

#[test]
fn a_further_backup_copies_only_what_is_new() {
    let directory = tempfile::tempdir().unwrap();
    let backups = directory.path().join("backups");
    let store = Store::open(directory.path().join("store")).unwrap();
    append(&store, 30);
    let first = store.backup(&backups).unwrap();
    assert!(first.segments_copied >= 3, "{first:?}");
    let idle = store.backup(&backups).unwrap();
    assert_eq!((idle.bytes_copied, idle.segments_copied), (0, 0), "{idle:?}");
    assert_eq!(idle.segments_reused, first.segments_copied);

    append(&store, 1);
    let second = store.backup(&backups).unwrap();
    assert_eq!(second.segments_copied, 1, "{second:?}");
    assert_eq!(second.segments_reused, first.segments_copied - 1);
    assert!(second.bytes_copied < first.bytes_copied, "{second:?}");
    append(&store, 30);
    let third = store.backup(&backups).unwrap();
    assert!(third.segments_reused >= second.segments_reused && third.segments_copied >= 2);
    check_whole(&backups);
    assert_eq!(Store::open(&backups).unwrap().head(), store.head());
}

#[test]
fn backups_beside_four_writers_hold_a_prefix_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let done = AtomicBool::new(false);
    let mut taken = Vec::new();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (store, done) = (&store, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let event = NewEvent::bytes("Written", vec![writer; 20_000]);
                    store.append(format!("W-{writer}"), ExpectedVersion::Any, [event]).unwrap();
                }
            });
        }
        for n in 0..6 {
            // Every second one into a directory that has one already.
            let path = directory.path().join(format!("backup-{}", n / 2));
            let before = store.head();
            let backup = store.backup(&path).unwrap();
            assert!(backup.position >= before, "an acknowledged event is missing");
            let kept = copy(&path);
            check_whole(kept.path());
            taken.push((backup, kept));
        }
        done.store(true, Ordering::Relaxed);
    });
    let events = all(&store);
    for (backup, kept) in taken {
        let restored = Store::open(kept.path()).unwrap();
        assert_eq!(restored.head(), backup.position);
        assert!(all(&restored) == events[..backup.position.get() as usize], "not a prefix");
        assert_eq!(store.check_hash(&backup.head).unwrap(), HashCheck::Same);
    }
}

#[test]
fn a_directory_that_is_not_this_stores_is_refused_by_name_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let store = Store::open(path("store")).unwrap();
    append(&store, 2);
    let other = Store::open(path("other")).unwrap();
    append(&other, 1);
    other.backup(path("of-other")).unwrap();
    fs::create_dir(path("photos")).unwrap();
    fs::write(path("photos/me.jpg"), "x").unwrap();
    store.backup(path("opened")).unwrap();
    drop(Store::open(path("opened")).unwrap());
    fs::write(path("file"), "x").unwrap();
    fs::create_dir_all(path("notes/journal")).unwrap();
    fs::write(path("notes/journal/diary.tmp"), "x").unwrap();
    // A store that went on from a backup has another history than the one that it came from.
    store.backup(path("fork")).unwrap();
    let copied = copy(&path("fork"));
    let fork = Store::open(copied.path()).unwrap();
    append(&fork, 1);
    fork.backup(path("of-fork")).unwrap();
    append(&store, 1);
    let cases = [
        ("of-other", "another store's", "holds a backup of the store"),
        ("photos", "a stranger's", "me.jpg"),
        ("opened", "an opened backup", "has been opened"),
        ("notes", "a stranger's journal", "journal/diary.tmp"),
        ("file", "a file", "not a directory"),
        ("of-fork", "a fork's", "does not have"),
        ("store/backup", "the store itself", "is inside the store"),
    ];
    for (name, case, expected) in cases {
        let before = path(name).is_dir().then(|| contents(&path(name)));
        let error = store.backup(path(name)).expect_err(case);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{case}: {error}");
        assert!(error.to_string().contains(expected), "{case}: {error}");
        if let Some(mut before) = before {
            before.retain(|(name, _)| name != Path::new("backup.lock"));
            let mut after = contents(&path(name));
            after.retain(|(name, _)| name != Path::new("backup.lock"));
            assert!(before == after, "{case}: something was changed");
        }
    }
    append(&other, 1);
    other.backup(path("of-other")).expect("its own backup was left usable");
}

#[test]
fn damage_is_not_backed_up_and_a_damaged_backup_is_told_and_made_good() {
    let directory = tempfile::tempdir().unwrap();
    let (path, backups) = (directory.path().join("store"), directory.path().join("backups"));
    let store = Store::open(&path).unwrap();
    append(&store, 30);
    store.backup(&backups).unwrap();
    // A header is read each time.
    flip(&backups.join("journal/00000000000000000001"), 70, 1);
    append(&store, 1);
    store.backup(&backups).unwrap();
    check_whole(&backups);
    let before = contents(&backups);

    append(&store, 1);
    let last = files(&path.join("journal")).into_iter().filter(|name| name.as_os_str().len() == 20);
    let last = path.join("journal").join(last.max().unwrap());
    flip(&last, 100_000, 1);
    let error = store.backup(&backups).expect_err("the journal is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.damage().unwrap().file.starts_with(&path), "{error}");
    let mut after = contents(&backups);
    after.retain(|(name, _)| !name.to_string_lossy().ends_with(".tmp"));
    assert!(before == after, "the backup before was changed");
    check_whole(&backups);
}

/// A sealed segment of a backup rotted; the next backup said `Ok`, so many segments reused, and the directory did not
/// open. What is reused is read and checked, and copied again if it is damaged.
#[test]
fn what_has_rotted_in_a_backup_is_copied_again_and_said() {
    let directory = tempfile::tempdir().unwrap();
    let backups = directory.path().join("backups");
    let store = Store::open(directory.path().join("store")).unwrap();
    append(&store, 30);
    let first = store.backup(&backups).unwrap();
    assert!(first.segments_copied >= 4, "{first:?}");
    assert_eq!((first.segments_checked, first.segments_replaced), (0, 0), "{first:?}");
    let segments: Vec<_> = files(&backups.join("journal"))
        .into_iter()
        .filter(|name| name.to_string_lossy().starts_with('0'))
        .map(|name| backups.join("journal").join(name))
        .collect();
    let newest = segments.iter().max().unwrap();
    // Its header, in a frame, and in what must be zero.
    for segment in &segments {
        let length = segment.metadata().unwrap().len() as usize;
        let places = [70, 300_000.min(length / 2), length - 1];
        for at in places {
            let is_whole = |backup: &filmstrip::repair::Backup| {
                let expected = (1, segments.len() as u64);
                assert_eq!((backup.segments_replaced, backup.segments_checked), expected);
                assert!(backup.bytes_checked > length as u64, "{backup:?}");
                check_whole(&backups);
            };
            flip(segment, at as u64, 1);
            is_whole(&store.backup(&backups).unwrap());
            if segment == newest {
                append(&store, 1);
                let grown = store.backup(&backups).unwrap();
                assert_eq!(grown.segments_replaced, 0, "growing is no damage: {grown:?}");
            }
        }
    }
    fs::write(&segments[0], "short").unwrap();
    fs::remove_file(&segments[1]).unwrap();
    assert_eq!(store.backup_checking_all(&backups).unwrap().segments_replaced, 2);
    check_whole(&backups);
    assert_eq!(Store::open(&backups).unwrap().head(), store.head());
}

/// Half of another store's first backup has no manifest yet: its segments were taken for damaged ones of this store's,
/// and copied over.
#[test]
fn half_a_backup_of_another_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let other = Store::open(path("other")).unwrap();
    append(&other, 10);
    other.backup(path("backups")).unwrap();
    fs::remove_file(path("backups/MANIFEST")).unwrap();
    let before = contents(&path("backups"));
    let store = Store::open(path("store")).unwrap();
    append(&store, 10);
    let error = store.backup(path("backups")).expect_err("it is another store's");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(contents(&path("backups")) == before, "something was changed");
    other.backup(path("backups")).unwrap();
    check_whole(&path("backups"));
}

/// A store in a directory that is called `journal` was taken for the journal of a backup beside it, and segments were
/// copied in between its files.
/// A file with the name of a segment in a directory that had never been backed up into was taken for a damaged segment
/// of the backup, and replaced: a user's text was gone. So was one with the name of the watermark.
#[test]
fn a_strangers_file_with_the_name_of_a_segment_is_not_replaced() {
    let store = Store::temporary().unwrap();
    append(&store, 6);
    for name in ["00000000000000000001", "00000000000000000002", "durable"] {
        let directory = tempfile::tempdir().unwrap();
        let (path, journal) = (directory.path().join("b"), directory.path().join("b/journal"));
        fs::create_dir_all(&journal).unwrap();
        fs::write(journal.join(name), "years of work").unwrap();
        let error = store.backup(&path).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
        assert_eq!(files(&path), [format!("journal/{name}")]);
        assert_eq!(fs::read(journal.join(name)).unwrap(), b"years of work");
        fs::remove_file(journal.join(name)).unwrap();
        store.backup(&path).unwrap();
        check_whole(&path);
    }
}

#[test]
fn a_backup_around_the_store_itself_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let store = Store::open(&path).unwrap();
    append(&store, 1);
    let before = files(directory.path());
    let error = store.backup(directory.path()).expect_err("it holds the store");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(files(directory.path()), before);
}

/// A directory of backups could be opened as a store while a backup was written into it: each had a lock of its
/// own. Both said `Ok`, and the directory was `Corrupt` afterwards, or the store that was backed up was blamed.
#[test]
fn a_backup_that_is_opened_while_another_goes_into_it_is_one_or_the_other() {
    for round in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let backups = directory.path().join("backups");
        let store = Store::open(directory.path().join("store")).unwrap();
        append(&store, 4);
        store.backup(&backups).unwrap();
        append(&store, 40);
        let (backup, acknowledged) = std::thread::scope(|scope| {
            let backup = scope.spawn(|| store.backup(&backups));
            std::thread::sleep(std::time::Duration::from_millis(round * 8));
            let mut acknowledged = 0;
            match Store::open(&backups) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Locked, "{error}"),
                Ok(opened) => {
                    append(&opened, 3);
                    acknowledged = opened.head().get();
                }
            }
            (backup.join().unwrap(), acknowledged)
        });
        match &backup {
            Ok(backup) => assert!(acknowledged == 0 || acknowledged == backup.position.get() + 3),
            Err(error) => {
                let expected = [ErrorKind::Locked, ErrorKind::InvalidInput];
                assert!(expected.contains(&error.kind()), "{error}");
            }
        }
        check_whole(&backups);
        let head = Store::open(&backups).unwrap().head().get();
        let expected = if acknowledged > 0 { acknowledged } else { backup.unwrap().position.get() };
        assert_eq!(head, expected);
    }
}

/// A `Repair` of a backup that had never been opened locked nothing, because there was no file to lock.
#[test]
fn a_backup_that_is_being_repaired_is_neither_opened_nor_written() {
    let directory = tempfile::tempdir().unwrap();
    let backups = directory.path().join("backups");
    let store = Store::open(directory.path().join("store")).unwrap();
    append(&store, 2);
    store.backup(&backups).unwrap();
    fs::remove_file(backups.join("backup.lock")).unwrap();
    let before = contents(&backups);
    let repair = Store::repair(&backups).unwrap();
    for refused in [Store::open(&backups).map(drop), store.backup(&backups).map(drop)] {
        let error = refused.expect_err("it is being repaired");
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    }
    assert!(contents(&backups) == before, "something was changed");
    drop(repair);
    store.backup(&backups).unwrap();
    assert_eq!(Store::open(&backups).unwrap().head(), store.head());
}

/// A backup notes in `backup.lock` where its next check begins. It wrote that over whatever had this name, through a
/// symbolic link too: a thesis began with a number.
#[test]
fn a_strangers_file_with_the_name_of_the_lock_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    store.append("A-1", ExpectedVersion::Any, [NewEvent::json("E", &1).unwrap()]).unwrap();
    let thesis = directory.path().join("thesis.txt");
    let text = "All happy stores are alike.";
    fs::write(&thesis, text).unwrap();
    for is_link in [true, false] {
        let to = directory.path().join(format!("backup-{is_link}"));
        let lock = to.join("backup.lock");
        fs::create_dir(&to).unwrap();
        match is_link {
            true => std::os::unix::fs::symlink(&thesis, &lock).unwrap(),
            false => fs::write(&lock, text).unwrap(),
        }
        let error = store.backup(&to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("backup.lock"), "{error}");
        assert_eq!(fs::read_to_string(&lock).unwrap(), text);
    }
}
