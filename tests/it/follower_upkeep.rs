//! Backing up and verifying a store beside the process that writes it.

use crate::common::whole::{self, all, contents, copy, flip, sample, write_some};
use filmstrip::repair::{BackupOptions, FindingKind, HashCheck, Progress, Unchecked};
use filmstrip::{ErrorKind, ExpectedVersion, Follower, NewEvent, Store};
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn check_whole(path: &Path) {
    let verified = Store::verify_at(path).unwrap();
    assert!(verified.is_whole(), "{:#?}", verified.findings);
    assert_eq!(verified.unchecked, []);
}

/// A store whose index has as many tables as a pause of the writers needs to compact them.
fn with_tables(path: &Path) -> Store {
    for n in 0..4 {
        let store = Store::open(path).unwrap();
        write_some(&store, n * 40..(n + 1) * 40, 3_000);
        store.close().unwrap();
    }
    Store::open(path).unwrap()
}

/// Runs `work` while four threads write, with pauses in which the index flushes and compacts.
fn beside_writers(store: &Store, work: impl FnOnce()) {
    let (done, begun) = (AtomicBool::new(false), Instant::now());
    thread::scope(|scope| {
        for writer in 0..4u8 {
            let (store, done) = (store, &done);
            scope.spawn(move || {
                for n in (0..5u8).cycle() {
                    while begun.elapsed().as_millis() % 2_000 > 600 && !done.load(Ordering::Relaxed)
                    {
                        thread::sleep(Duration::from_millis(5));
                    }
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let event = NewEvent::bytes("Written", vec![writer; 5_000]);
                    let event = event.tag(format!("writer:{writer}"));
                    let stream = format!("W-{writer}-{n}");
                    store.append(stream, ExpectedVersion::Any, [event]).unwrap();
                }
            });
        }
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        if let Err(panic) = worked {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Repeats `work` until the index has flushed and compacted meanwhile.
fn until_compacted(store: &Store, mut work: impl FnMut()) {
    let counts = || {
        let index = store.stats().unwrap().index;
        (index.flushes, index.compactions)
    };
    let (before, deadline) = (counts(), Instant::now() + whole::PATIENCE);
    loop {
        work();
        let now = counts();
        if now.0 > before.0 && now.1 > before.1 {
            return;
        }
        assert!(Instant::now() < deadline, "no compaction came: {before:?}, {now:?}");
    }
}

#[test]
fn a_backup_beside_writers_has_each_event_acknowledged_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let (path, backups) = (directory.path().join("store"), directory.path().join("backups"));
    let store = with_tables(&path);
    let follower = Follower::open(&path).unwrap();
    let mut taken = Vec::new();
    beside_writers(&store, || {
        let mut reused = 0;
        until_compacted(&store, || {
            let before = store.head();
            let backup = follower.backup(&backups).unwrap();
            assert!(backup.position >= before, "an acknowledged event is missing");
            reused += backup.segments_reused;
            if taken.len() < 3 {
                taken.push((backup, copy(&backups)));
            }
        });
        assert!(reused > 0, "each backup has copied everything");
        // The writer's own backups and those of others go into one directory.
        store.backup(&backups).unwrap();
        let last = follower.backup_with(&backups, BackupOptions::new().check_all()).unwrap();
        assert!(last.segments_checked >= last.segments_reused, "{last:?}");
        taken.push((last, copy(&backups)));
    });
    let events = all(&store);
    for (backup, kept) in taken {
        check_whole(kept.path());
        let restored = Store::open(kept.path()).unwrap();
        assert_eq!((restored.head(), restored.head_hash()), (backup.position, backup.head));
        assert!(all(&restored) == events[..backup.position.get() as usize], "not a prefix");
        assert_eq!(store.check_hash(&backup.head).unwrap(), HashCheck::Same);
    }
}

#[test]
fn verifying_beside_writers_finds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = with_tables(directory.path());
    let follower = Follower::open(directory.path()).unwrap();
    let mut indexed = 0;
    beside_writers(&store, || {
        until_compacted(&store, || {
            let before = store.head();
            let verified = follower.verify().unwrap();
            assert!(verified.is_whole(), "{:#?}", verified.findings);
            assert!(verified.head >= before && verified.events == verified.head.get());
            indexed = indexed.max(verified.indexed.map_or(0, |position| position.get()));
        });
        // While a new index takes the place of the one that is compared.
        thread::scope(|scope| {
            scope.spawn(|| (0..5).for_each(|_| drop(store.rebuild_index().unwrap())));
            for _ in 0..5 {
                let verified = follower.verify().unwrap();
                assert!(verified.is_whole(), "{:#?}", verified.findings);
            }
        });
    });
    assert!(indexed > 0, "the index was never compared");
}

#[test]
fn verifying_changes_nothing_and_says_what_it_has_not_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    let before = contents(directory.path());
    let follower = Follower::open(directory.path()).unwrap();
    let verified = follower.verify().unwrap();
    assert!(verified.is_whole(), "{:#?}", verified.findings);
    assert_eq!(verified.unchecked, [Unchecked::IndexDatabase, Unchecked::Views]);
    assert!(verified.indexed.unwrap().get() > 300 && verified.segments >= 2, "{verified:?}");
    assert!(contents(directory.path()) == before, "verifying has changed a file");
    fs::remove_file(directory.path().join("index.checkpoint")).unwrap();
    let verified = follower.verify().unwrap();
    assert_eq!(verified.unchecked, [Unchecked::Index, Unchecked::Views]);
    assert!(verified.is_whole() && verified.indexed.is_none(), "{verified:?}");
}

#[test]
fn damage_is_found_and_not_backed_up() {
    let directory = tempfile::tempdir().unwrap();
    let (path, backups) = (directory.path().join("store"), directory.path().join("backups"));
    sample(&path);
    let _open = Store::open(&path).unwrap();
    let follower = Follower::open(&path).unwrap();
    follower.backup(&backups).unwrap();
    let kinds = || {
        let findings = follower.verify().unwrap().findings;
        findings.iter().map(|finding| finding.kind).collect::<Vec<_>>()
    };
    let tables: Vec<_> = fs::read_dir(path.join("index/packs")).unwrap().collect();
    let tables = || tables.iter().map(|table| table.as_ref().unwrap().path());
    // Twice, so that what is read the second time is in memory.
    assert_eq!((kinds(), kinds()), (vec![], vec![]));
    tables().for_each(|table| flip(&table, 3_000, 8));
    assert!(kinds().contains(&FindingKind::IndexEvent), "{:?}", kinds());
    tables().for_each(|table| flip(&table, 3_000, 8));
    assert_eq!(kinds(), []);

    // In the first segment, which the backup has already, and which another one would copy.
    flip(&path.join("journal/00000000000000000001"), 300_000, 8);
    let expected = [FindingKind::Frame, FindingKind::Version];
    assert_eq!(kinds(), expected);
    let error = follower.backup(directory.path().join("others")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    check_whole(&backups);
}

/// A follower that has looked before, and finds the watermark torn, knows an older one. What was acknowledged since
/// would be missing.
#[test]
fn a_backup_waits_for_a_watermark_that_is_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let (path, backups) = (directory.path().join("store"), directory.path().join("backups"));
    let store = Store::open(&path).unwrap();
    write_some(&store, 0..1, 10);
    let follower = Follower::open(&path).unwrap();
    assert_eq!(follower.head().unwrap(), store.head());
    write_some(&store, 1..2, 10);
    let head = store.head();
    store.close().unwrap();
    let watermark = path.join("journal/durable");
    let bytes = fs::read(&watermark).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&watermark).unwrap();
    file.write_all_at(&[0; 20], 40).unwrap();
    let backup = thread::scope(|scope| {
        let backing_up = scope.spawn(|| follower.backup(&backups).unwrap());
        thread::sleep(Duration::from_millis(50));
        file.write_all_at(&bytes, 0).unwrap();
        backing_up.join().unwrap()
    });
    assert_eq!(backup.position, head);
}

#[test]
fn where_no_backup_can_go_is_refused_and_so_is_a_store_that_was_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("store"), directory.path().join("other"));
    let store = Store::open(&path).unwrap();
    write_some(&store, 0..1, 10);
    let follower = Follower::open(&path).unwrap();
    let refused = |to: &Path, words: &str| {
        let error = follower.backup(to).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(&path.join("within"), "is inside the store");
    refused(directory.path(), "is not a directory of backups");
    Store::open(&other).unwrap().close().unwrap();
    refused(&other, "has been opened as a store");

    let missing = path.join("journal/durable");
    store.close().unwrap();
    fs::remove_dir_all(&path).unwrap();
    Store::open(&path).unwrap().close().unwrap();
    for error in [
        follower.backup(directory.path().join("backup")).unwrap_err(),
        follower.verify().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Replaced, "{error}");
    }
    // As if a crash had come between the creation of a store and its opening.
    fs::remove_file(missing).unwrap();
    let error = Follower::open(&path).unwrap().verify().unwrap_err();
    assert!(error.to_string().contains("no process has opened yet"), "{error}");
}

/// What `work` reports: never less than before, and everything at the end of each walk over the journal.
fn reported(work: impl FnOnce(&dyn Fn(Progress))) -> Vec<Progress> {
    let reported = RefCell::new(Vec::new());
    work(&|progress| reported.borrow_mut().push(progress));
    let reported = reported.into_inner();
    assert!(reported.len() >= 3, "{reported:?}");
    for pair in reported.windows(2) {
        let (before, now) = (pair[0], pair[1]);
        let begins_again = before.bytes == before.total_bytes;
        assert!(now.bytes >= before.bytes || begins_again, "{pair:?}");
        assert!(now.bytes <= now.total_bytes, "{now:?}");
    }
    let last = reported[reported.len() - 1];
    assert_eq!(last.bytes, last.total_bytes);
    reported
}

#[test]
fn progress_is_reported_in_bytes_of_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let (path, to) = (directory.path().join("store"), |name: &str| directory.path().join(name));
    let store = Store::open(&path).unwrap();
    write_some(&store, 0..160, 3_000);
    let (head, follower) = (store.head(), Follower::open(&path).unwrap());
    let of_store = reported(|report| {
        store.backup_with(to("one"), BackupOptions::new().report(report)).unwrap();
    });
    let of_follower = reported(|report| {
        follower.backup_with(to("two"), BackupOptions::new().report(report)).unwrap();
    });
    assert_eq!(of_store, of_follower);
    let open = reported(|report| drop(store.verify_with(report).unwrap()));
    let beside = reported(|report| drop(follower.verify_with(report).unwrap()));
    assert_eq!(open, beside);
    assert!(of_store[0].total_bytes == open[0].total_bytes && open[0].bytes >= 1 << 20);
    store.close().unwrap();
    let repair = Store::repair(&path).unwrap();
    let closed = reported(|report| drop(repair.verify_with(report).unwrap()));
    let exported = reported(|report| drop(repair.export_with(to("three"), report).unwrap()));
    for progress in [of_store, open, closed, exported] {
        assert_eq!(progress[progress.len() - 1].position, head);
    }
}
