use super::*;
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::value::event::NewEvent;
use crate::value::position::ExpectedVersion;
use std::fs;
use std::sync::Arc;

/// A store on a disk that fails as it is told to, of which nothing else uses that disk.
fn faulty(path: &Path, write: impl FnOnce(&Store)) -> (Arc<Faults>, Store) {
    let faults = Arc::new(Faults::default());
    let open = || {
        let disk = Arc::new(FaultyDisk(Arc::clone(&faults)));
        Store::builder().disk(disk).open(path).unwrap()
    };
    let store = open();
    write(&store);
    // The next segment may still be being prepared, on this disk.
    store.close().unwrap();
    (Arc::clone(&faults), open())
}

fn append(store: &Store, events: u64) {
    for _ in 0..events {
        let event = NewEvent::bytes("T", vec![7; 400_000]);
        store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    }
}

fn copy_of(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    crate::kv::files::copy_all(from, &to.path().join("copy")).unwrap();
    to
}

#[test]
fn whichever_step_of_a_backup_fails_the_one_before_it_stays_whole() {
    let directory = tempfile::tempdir().unwrap();
    let before = directory.path().join("before");
    let (faults, store) = faulty(&directory.path().join("store"), |store| {
        append(store, 4);
        store.backup(&before).unwrap();
        append(store, 5);
    });
    for n in 1.. {
        let copy = copy_of(&before);
        let path = copy.path().join("copy");
        faults.fail_in(n);
        let backup = store.backup(&path);
        let has_failed = faults.has_failed();
        faults.fail_in(0);
        assert_eq!(backup.is_err(), has_failed, "step {n}: {backup:?}");
        let verified = Store::verify_at(&path).unwrap();
        assert!(verified.is_whole(), "step {n}: {:#?}", verified.findings);
        assert!(verified.head.get() >= 4, "step {n}: it ends at {}", verified.head);
        let again = store.backup(&path).unwrap_or_else(|e| panic!("step {n}, again: {e}"));
        assert_eq!(again.position.get(), 9, "step {n}");
        let restored = Store::open(&path).unwrap_or_else(|e| panic!("step {n}: {e}"));
        let (all, head) = (restored.read_all().collect().unwrap(), restored.head());
        assert_eq!((all.len(), head), (9, store.head()), "step {n}");
        if !has_failed {
            assert!(n > 5, "only {n} steps were tried");
            return;
        }
    }
}

/// A backup that failed left the segment that it was at, as large as the one beside it, where the disk was full,
/// perhaps for ever.
#[test]
fn a_backup_that_failed_leaves_nothing_and_what_a_killed_one_left_goes() {
    let directory = tempfile::tempdir().unwrap();
    let backups = directory.path().join("backups");
    let (faults, store) = faulty(&directory.path().join("store"), |store| append(store, 4));
    store.backup(&backups).unwrap();
    append(&store, 6);
    let leftovers = || {
        let names = fs::read_dir(backups.join("journal")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".tmp")).collect::<Vec<_>>()
    };
    faults.set_full(true);
    let error = store.backup(&backups).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert_eq!(leftovers(), [""; 0]);
    faults.set_full(false);
    fs::write(backups.join("journal/00000000000000000001.tmp"), "killed").unwrap();
    store.backup(&backups).unwrap();
    assert_eq!(leftovers(), [""; 0]);
    assert!(Store::verify_at(&backups).unwrap().is_whole());
}

#[test]
fn what_is_there_is_checked_in_turn_within_a_budget() {
    let directory = tempfile::tempdir().unwrap();
    let backups = directory.path().join("backups");
    let store = Store::open(directory.path().join("store")).unwrap();
    append(&store, 20);
    let sealed = store.backup(&backups).unwrap().segments_copied - 1;
    assert!(sealed >= 3, "{sealed} segments");
    store.backup(&backups).unwrap();
    assert_eq!(
        next_check(&**store.log.log().journal.disk(), &backups).unwrap(),
        1,
        "all of them fit"
    );
    let check = |from, bytes| {
        let (position, end, chain) = store.log.log().head.visible_with_chain();
        let prefix = Prefix { journal: &store.log.log().journal, position, end, chain };
        let check = Check::Some { from, bytes };
        backup::copy(&prefix, prefix.journal.disk(), &journal_directory(&backups), check, &|_| {})
            .unwrap()
    };
    // One at a time, and the last one, which may go on and is read each time.
    let mut next = 1;
    for turn in 0..2 * sealed {
        let checked = check(next, 1);
        assert_eq!((checked.checked, checked.replaced), (2, 0), "turn {turn}");
        assert_eq!(checked.next_check, (turn + 1) % sealed + 1);
        next = checked.next_check;
    }
    assert_eq!(check(1, 2 << 20).next_check, 3, "one MiB, and then two");
    assert_eq!(check(sealed, u64::MAX).checked, sealed + 1);
    assert_eq!(check(99, 1).next_check, 2, "what cannot be begins again");
    // Found in its turn, and not before.
    let third = backups.join("journal/00000000000000000003");
    let mut bytes = fs::read(&third).unwrap();
    bytes[500_000] ^= 1;
    fs::write(&third, bytes).unwrap();
    assert_eq!([1, 2, 3].map(|from| check(from, 1).replaced), [0, 0, 1]);
    assert!(Store::verify_at(&backups).unwrap().is_whole());
    note_next_check(&**store.log.log().journal.disk(), &backups, 3).unwrap();
    assert_eq!(next_check(&**store.log.log().journal.disk(), &backups).unwrap(), 3);
}

#[test]
fn a_first_backup_that_was_cut_short_is_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let (faults, store) = faulty(&path, |store| append(store, 4));
    for n in 1.. {
        let path = directory.path().join(format!("backup-{n}"));
        faults.fail_in(n);
        let backup = store.backup(&path);
        let has_failed = faults.has_failed();
        faults.fail_in(0);
        if !has_failed {
            backup.unwrap();
            return;
        }
        if path.exists() && !path.join("MANIFEST").exists() {
            let error = Store::open(&path).expect_err("half a backup was opened");
            let expected = [ErrorKind::InvalidInput, ErrorKind::Corrupt];
            assert!(expected.contains(&error.kind()), "step {n}: {error}");
        }
        let _ = fs::remove_file(path.join("lock"));
        store.backup(&path).unwrap_or_else(|e| panic!("step {n}, again: {e}"));
        assert!(Store::verify_at(&path).unwrap().is_whole(), "step {n}");
    }
}
