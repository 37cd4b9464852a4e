//! What a store makes of its directory: creation, locking, strangers.

use crate::common::{Random, child, in_its_own_process, seed, variable, whole};
use filmstrip::copy::CopyAs;
use filmstrip::repair::{Finding, FindingKind};
use filmstrip::{Error, ErrorKind, ExpectedVersion, Follower, NewEvent, Store};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
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
        assert_eq!(store.path(), path.canonicalize().unwrap());
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

/// It was an error of the system, `cannot list …: Not a directory`, from which nobody learns what to do.
#[test]
fn a_file_in_the_place_of_the_journal_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, journal) = (directory.path(), directory.path().join("journal"));
    for has_manifest in [false, true] {
        if has_manifest {
            fs::remove_file(&journal).unwrap();
            Store::open(path).unwrap().close().unwrap();
            fs::remove_dir_all(&journal).unwrap();
        }
        fs::write(&journal, "a diary").unwrap();
        let before = everything(path);
        let refused = [
            Store::open(path).map(drop).unwrap_err(),
            Store::verify_at(path).map(drop).unwrap_err(),
            Store::repair(path)
                .and_then(|repair| repair.export(directory.path().join("to")))
                .map(drop)
                .unwrap_err(),
        ];
        for error in refused {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert_eq!(error.to_string(), format!("{} is not a directory", journal.display()));
        }
        assert!(everything(path) == before, "something was changed");
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
/// index's checkpoint, no matter who had put them there.
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
    assert!(!at("index.damaged-1/db").exists(), "the oldest quarantined index is kept");
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
    store.copy_into(path("copy"), |_| Ok(CopyAs::Unchanged)).unwrap();
    store.close().unwrap();
    Store::repair(path("store")).unwrap().export(path("export")).unwrap();
    for name in ["store", "backup", "copy", "export"] {
        assert_eq!(Store::open(path(name)).unwrap().head().get(), 1, "{name}");
    }
}

/// Moves the journal of the closed store `path` to `disk`, and leaves a symbolic link.
fn move_journal(path: &Path, disk: &Path) {
    fs::rename(path.join("journal"), disk).unwrap();
    symlink(disk, path.join("journal")).unwrap();
}

/// A store whose `journal` was a symbolic link to another disk was copied with `cp -a`, which keeps the link: both
/// were opened, and both said `Ok` for the same positions, so that the events of one were gone. A backup into such a
/// directory replaced files of an open store. The directory that `journal` leads to is locked as well.
#[test]
fn a_journal_that_two_directories_lead_to_is_open_once() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let (store, copied) = (at("store"), at("copied"));
    fill(&Store::open(&store).unwrap()).unwrap();
    Store::open(&store).unwrap().backup(at("backup")).unwrap();
    move_journal(&store, &at("disk"));
    fs::create_dir(&copied).unwrap();
    fs::create_dir(at("linked")).unwrap();
    for link in [copied.join("journal"), at("linked/journal")] {
        symlink(at("disk"), link).unwrap();
    }
    fs::copy(store.join("MANIFEST"), copied.join("MANIFEST")).unwrap();

    let open = Store::open(&store).unwrap();
    let before = everything(&at("disk"));
    let another = Store::open(at("another")).unwrap();
    for refused in [
        Store::open(&copied).map(drop),
        Store::open(at("linked")).map(drop),
        Store::verify_at(&copied).map(drop),
        Store::repair(&copied).map(drop),
        open.backup(&copied).map(drop),
        open.backup(at("linked")).map(drop),
        another.backup(at("linked")).map(drop),
    ] {
        let error = refused.expect_err("its journal is in use");
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert!(error.to_string().contains("journal"), "{error}");
    }
    assert_eq!(everything(&at("disk")), before, "something was changed");
    fill(&open).unwrap();
    open.close().unwrap();
    verify(&store, 48);
    // Once it is free, either may be opened; but not both.
    let open = Store::open(&copied).unwrap();
    assert_eq!(Store::open(&store).map(drop).unwrap_err().kind(), ErrorKind::Locked);
    open.close().unwrap();
    verify(&store, 48);
}

/// A directory without a manifest whose `journal` was a symbolic link to the journal of an empty store was taken for
/// what a crash had left: that store's segment and watermark were deleted, and it did not open again.
#[test]
fn a_linked_journal_without_a_manifest_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    Store::open(at("store")).unwrap().close().unwrap();
    for name in ["linked", "empty", "fast"] {
        fs::create_dir(at(name)).unwrap();
    }
    symlink(at("store/journal"), at("linked/journal")).unwrap();
    let before = everything(&at("store"));
    let error = Store::open(at("linked")).expect_err("it is another's");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("linked/journal"), "{error}");
    assert_eq!(everything(&at("store")), before);
    assert_eq!(everything(&at("linked")), everything(&at("linked/journal")), "a file was left");
    fill(&Store::open(at("store")).unwrap()).unwrap();
    // A link to an empty directory is for the journal that is to come.
    symlink(at("fast"), at("empty/journal")).unwrap();
    fill(&Store::open(at("empty")).unwrap()).unwrap();
    verify(&at("empty"), 24);
    assert!(at("fast/durable").exists());
}

/// Opening a store removed what a crash may have left in the journal before it knew whose journal that was, and in
/// what format: a segment that was being prepared for another store, say, which then refused every write.
#[test]
fn what_is_refused_keeps_its_leftovers() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["one", "other"] {
        fill(&Store::open(at(name)).unwrap()).unwrap();
    }
    fs::remove_file(at("one/MANIFEST")).unwrap();
    fs::copy(at("other/MANIFEST"), at("one/MANIFEST")).unwrap();
    for name in ["00000000000000000009.prepared", "durable.tmp"] {
        fs::write(at("one/journal").join(name), "half of it").unwrap();
    }
    let before = everything(&at("one/journal"));
    let error = Store::open(at("one")).expect_err("the journal is another store's");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(everything(&at("one/journal")), before);
}

/// Opening a store whose `journal` led to a disk that was not mounted failed, and deleted the link. One that is named
/// `lock` was said to be a lock that somebody holds, and one that is named `MANIFEST` was replaced.
#[test]
fn a_link_that_leads_nowhere_is_named_and_stays() {
    for (name, is_backup) in
        [("journal", false), ("journal", true), ("MANIFEST", false), ("lock", false)]
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let (link, nowhere) = (path.join(name), directory.path().join("not-mounted"));
        fs::create_dir(&path).unwrap();
        symlink(&nowhere, &link).unwrap();
        let error = match is_backup {
            false => Store::open(&path).map(drop),
            true => Store::temporary().unwrap().backup(&path).map(drop),
        };
        let error = error.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
        assert!(error.to_string().contains("leads nowhere"), "{name}: {error}");
        assert_eq!(fs::read_link(&link).unwrap(), nowhere, "{name}");
        let left: Vec<_> = fs::read_dir(&path).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, [name], "{name}");
        assert!(!nowhere.exists(), "{name}");
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
    let again =
        Store::open(directory.path()).expect("closing releases it, even if a clone is held");
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
/// directory of a store that was closed, and in the end removed there what another opening of the store
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

/// What is in the journal's directory.
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
    let newer = "filmstrip 9\n";
    fs::write(&path, format!("{newer}crc32c {:08x}\n", crc32c::crc32c(newer.as_bytes()))).unwrap();
    let error = Store::open(directory.path()).expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat);
    assert!(error.to_string().contains("format 9"), "{error}");
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

/// Appends 3 MiB, which takes further segments.
fn fill(store: &Store) -> filmstrip::Result<()> {
    for _ in 0..24 {
        store.append("A-1", ExpectedVersion::Any, [NewEvent::bytes("T", vec![7; 128 << 10])])?;
    }
    Ok(())
}

fn verify(path: &Path, head: u64) {
    let verified = Store::verify_at(path).unwrap();
    assert!(verified.is_whole(), "{}: {:#?}", path.display(), verified.findings);
    assert_eq!(verified.head.get(), head, "{}", path.display());
    let store = Store::open(path).unwrap();
    assert_eq!(store.read_all().iter().unwrap().count() as u64, head);
}

/// A relative path was looked up again whenever a file was made. Two stores that were opened as `store` from
/// two working directories wrote their segments over each other, every append said `Ok`, and neither opened
/// again. A path is made absolute once, when it is given.
#[test]
fn a_relative_path_means_the_same_whatever_the_working_directory_is_later() {
    in_its_own_process(
        module_path!(),
        "a_relative_path_means_the_same_whatever_the_working_directory_is_later",
        || {
            let directory = tempfile::tempdir().unwrap();
            let (a, b) = (directory.path().join("a"), directory.path().join("b"));
            fs::create_dir(&a).unwrap();
            fs::create_dir(&b).unwrap();
            std::env::set_current_dir(&a).unwrap();
            let first = Store::open("store").unwrap();
            first.backup("backup").unwrap();
            let follower = Follower::open("store").unwrap();
            let repair = Store::repair("backup").unwrap();
            std::env::set_current_dir(&b).unwrap();
            let second = Store::open("store").unwrap();
            assert_eq!(first.path(), a.canonicalize().unwrap().join("store"));
            assert_eq!(second.path(), b.canonicalize().unwrap().join("store"));
            fill(&second).unwrap();
            fill(&first).unwrap();
            first.rebuild_index().unwrap();
            assert!(first.verify().unwrap().is_whole());
            assert_eq!(follower.read().iter().unwrap().count(), 24);
            assert!(repair.verify().unwrap().is_whole());
            repair.export("export").unwrap();
            drop(repair);
            first.backup(a.join("backup")).unwrap();
            drop((first, second));
            verify(&a.join("store"), 24);
            verify(&b.join("store"), 24);
            verify(&a.join("backup"), 24);
            verify(&b.join("export"), 0);
            std::env::set_current_dir("/").unwrap();
        },
    );
}

/// The directory of an open store was renamed, and another store was made under the old name. Segments, the
/// checkpoint and tables of the first went into the other's directory, and neither store opened again. What is
/// at the path of an open store is looked at before anything is made there.
#[test]
fn a_store_whose_directory_was_renamed_leaves_what_is_there_now_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, renamed) = (directory.path().join("store"), directory.path().join("store.old"));
    let old = Store::open(&path).unwrap();
    fill(&old).unwrap();
    fs::rename(&path, &renamed).unwrap();
    let new = Store::open(&path).unwrap();
    fill(&new).unwrap();
    let before = everything(&path.join("journal"));
    let append = || {
        let event = NewEvent::bytes("T", vec![7; 128 << 10]);
        old.append("A-1", ExpectedVersion::Any, [event]).err().map(filmstrip::Error::from)
    };
    let error = (0..200).find_map(|_| append()).expect("no segment has room for all of them");
    let acknowledged = old.head().get();
    assert_eq!(error.kind(), ErrorKind::Moved, "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    let backups = directory.path().join("backups");
    for (what, error) in [
        ("rebuild_index", old.rebuild_index().map(drop)),
        ("a view", old.project(whole::Tally).start().map(drop)),
        ("verify", old.verify().map(drop)),
        ("backup", old.backup(&backups).map(drop)),
    ] {
        let error = error.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Moved, "{what}: {error}");
    }
    assert!(everything(&path.join("journal")) == before, "the other store's journal was changed");
    drop(old);
    assert!(everything(&path.join("journal")) == before, "the other store's journal was changed");
    assert!(new.verify().unwrap().is_whole());
    fill(&new).unwrap();
    drop(new);
    verify(&path, 48);
    verify(&renamed, acknowledged);
}

/// What happens to the directory of an open store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Renamed,
    RenamedAndBack,
    Replaced,
    Removed,
    RemovedAndReplaced,
}

const FATES: [Fate; 5] =
    [Fate::Renamed, Fate::RenamedAndBack, Fate::Replaced, Fate::Removed, Fate::RemovedAndReplaced];

/// Appends events of these sizes until one is refused, or until `deadline`. Returns how many were acknowledged,
/// and the error.
fn append_until(
    store: &Store,
    writer: u64,
    random: &mut Random,
    ended: &AtomicBool,
) -> (u64, Option<Error>) {
    let mut acknowledged = 0;
    while !ended.load(Ordering::SeqCst) {
        let bytes = [10, 5_000, 100_000][random.below(3) as usize];
        let event = NewEvent::bytes("T", vec![7; bytes]);
        match store.append(format!("Writer-{writer}"), ExpectedVersion::Any, [event]) {
            Ok(_) => acknowledged += 1,
            Err(error) => return (acknowledged, Some(error.into())),
        }
    }
    (acknowledged, None)
}

/// `FILMSTRIP_ROUNDS=500 cargo test --release --test it directory::whatever -- --nocapture` for a long run.
///
/// At a random moment, beside writers, a view and rebuilds of the index, the directory is renamed, replaced or
/// removed. What was acknowledged is there wherever the directory is, what has taken its place is left alone, and
/// nothing is acknowledged after it was removed.
#[test]
fn whatever_happens_to_the_directory_of_an_open_store_what_was_acknowledged_stays() {
    let seed = seed();
    let mut random = Random(seed);
    let rounds = variable("FILMSTRIP_ROUNDS").unwrap_or(10);
    for round in 0..rounds {
        let fate = FATES[(round % 5) as usize];
        let case = format!("seed {seed}, round {round}: {fate:?}");
        let directory = tempfile::tempdir().unwrap();
        let (path, aside) = (directory.path().join("store"), directory.path().join("aside"));
        let another = directory.path().join("another");
        fill(&Store::open(&another).unwrap()).unwrap();
        let others = everything(&another);
        let store = Store::open(&path).unwrap();
        let ended = AtomicBool::new(false);
        let after = Duration::from_micros(random.below(60_000));
        let is_rebuilt = random.one_in(3);
        let mut of_writers: [Random; 3] = [(); 3].map(|()| Random(random.next()));
        let written: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..)
                .zip(&mut of_writers)
                .map(|(writer, random)| {
                    let (store, ended) = (&store, &ended);
                    scope.spawn(move || append_until(store, writer, random, ended))
                })
                .collect();
            if is_rebuilt {
                let (store, ended) = (&store, &ended);
                scope.spawn(move || {
                    while !ended.load(Ordering::SeqCst) && store.rebuild_index().is_ok() {}
                });
            }
            std::thread::sleep(after);
            meet(fate, &path, &aside, &another);
            std::thread::sleep(Duration::from_millis(20));
            ended.store(true, Ordering::SeqCst);
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let refused = written.iter().filter_map(|(_, error)| error.as_ref());
        for error in refused {
            // What began while it was away may look for the reason when it is back, and removing takes its time:
            // a segment may be gone in the middle of a write. It is never told as damage or as a full disk.
            let is_told = match fate {
                Fate::Renamed | Fate::Replaced => error.kind() == ErrorKind::Moved,
                Fate::RenamedAndBack | Fate::Removed | Fate::RemovedAndReplaced => {
                    let kinds = [
                        ErrorKind::Moved,
                        ErrorKind::Io,
                        ErrorKind::OutcomeUnknown,
                        ErrorKind::ReadOnly,
                    ];
                    kinds.contains(&error.kind())
                }
            };
            assert!(is_told, "{case}: {error}");
        }
        let acknowledged: u64 = written.iter().map(|(acknowledged, _)| acknowledged).sum();
        if matches!(fate, Fate::Removed | Fate::RemovedAndReplaced) {
            let late = store.append("Late-1", ExpectedVersion::Any, [event()]);
            let late = Error::from(late.expect_err(&case));
            assert_eq!(late.kind(), ErrorKind::Moved, "{case}: {late}");
        }
        let closed = store.close();
        let lies_at = match fate {
            Fate::Renamed | Fate::Replaced => &aside,
            Fate::RenamedAndBack => &path,
            Fate::Removed | Fate::RemovedAndReplaced => &another,
        };
        // Of one that was removed nothing is left to be looked at.
        if lies_at != &another {
            let verified = Store::verify_at(lies_at).unwrap();
            // A rebuild of the index may have been in the middle of it.
            let is_grave = |finding: &Finding| !is_rebuilt || finding.kind != FindingKind::Index;
            let grave: Vec<_> = verified.findings.iter().filter(|found| is_grave(found)).collect();
            assert!(grave.is_empty(), "{case}, closed {closed:?}: {grave:#?}");
            let reopened = Store::open(lies_at).unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(reopened.head().get(), acknowledged, "{case}");
            assert_eq!(reopened.read_all().iter().unwrap().count() as u64, acknowledged, "{case}");
        }
        if matches!(fate, Fate::Replaced | Fate::RemovedAndReplaced) {
            let now = everything(&path);
            let relative = |files: Vec<(PathBuf, Vec<u8>)>, above: &Path| {
                let strip = |path: PathBuf| path.strip_prefix(above).unwrap().to_owned();
                files.into_iter().map(|(file, bytes)| (strip(file), bytes)).collect::<Vec<_>>()
            };
            assert!(relative(now, &path) == relative(others, &another), "{case}: it was changed");
        }
    }
    println!("figures: directories renamed, replaced and removed: {rounds}");
}

/// Does to the directory `path` of an open store what its fate is. `another` is a store that takes its place.
fn meet(fate: Fate, path: &Path, aside: &Path, another: &Path) {
    match fate {
        Fate::Removed | Fate::RemovedAndReplaced => {
            // Its threads make files meanwhile.
            while fs::remove_dir_all(path).is_err() {}
        }
        _ => fs::rename(path, aside).unwrap(),
    }
    match fate {
        Fate::Replaced | Fate::RemovedAndReplaced => {
            assert!(Command::new("cp").arg("-r").args([another, path]).status().unwrap().success());
        }
        Fate::RenamedAndBack => {
            std::thread::sleep(Duration::from_millis(5));
            fs::rename(aside, path).unwrap();
        }
        Fate::Renamed | Fate::Removed => {}
    }
}

/// The directory `journal` of an open store was renamed and another one put in its place: new segments went there, and
/// everything that was acknowledged into them was missing from the journal that had been renamed. The directories in a
/// store's own are held and compared as well.
#[test]
fn a_store_whose_journal_was_renamed_makes_nothing_where_it_was() {
    for is_replaced in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let (journal, renamed) = (path.join("journal"), directory.path().join("renamed"));
        let store = Store::open(&path).unwrap();
        store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
        fs::rename(&journal, &renamed).unwrap();
        if is_replaced {
            fs::create_dir(&journal).unwrap();
            fs::write(journal.join("diary.txt"), "dear diary").unwrap();
        }
        // The segment has room for some, and the next one may have been prepared.
        let error = (0..10).find_map(|_| fill(&store).err()).expect("new segments are needed");
        assert_eq!(error.kind(), ErrorKind::Moved, "{error}");
        assert!(error.to_string().contains(journal.to_str().unwrap()), "{error}");
        let verified = store.verify().expect_err("the journal is elsewhere");
        assert_eq!(verified.kind(), ErrorKind::Moved, "{verified}");
        if is_replaced {
            let names = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().file_name());
            assert_eq!(names.collect::<Vec<_>>(), ["diary.txt"]);
            fs::remove_dir_all(&journal).unwrap();
        }
        assert!(!journal.exists(), "it was made again");
        // When it is back, the store goes on.
        let head = store.head().get();
        fs::rename(&renamed, &journal).unwrap();
        fill(&store).unwrap();
        store.close().unwrap();
        verify(&path, head + 24);
    }
}

/// The same of `index` and of `views`: nothing is made in what was put in their place, and no event is lost.
#[test]
fn what_was_put_in_the_place_of_index_or_views_stays_as_it_is() {
    for name in ["index", "views"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let (derived, renamed) = (path.join(name), directory.path().join("renamed"));
        let store = Store::open(&path).unwrap();
        let view = store.project(whole::Tally).start().unwrap();
        store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
        view.wait_for(store.head(), std::time::Duration::from_secs(30)).unwrap();
        fs::rename(&derived, &renamed).unwrap();
        fs::create_dir(&derived).unwrap();
        fs::write(derived.join("diary.txt"), "dear diary").unwrap();
        // More than the index leaves in the tail, and than a view is given at once.
        let filled: filmstrip::Result<()> = (0..6).try_for_each(|_| fill(&store));
        if let Err(error) = filled {
            assert_eq!(error.kind(), ErrorKind::Moved, "{name}: {error}");
        }
        let _ = view.wait_for(store.head(), std::time::Duration::from_secs(5));
        drop(view);
        let head = store.head().get();
        if let Err(error) = store.close() {
            assert_eq!(error.kind(), ErrorKind::Moved, "{name}: {error}");
        }
        let names = fs::read_dir(&derived).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["diary.txt"], "{name}");
        fs::remove_dir_all(&derived).unwrap();
        fs::rename(&renamed, &derived).unwrap();
        verify(&path, head);
    }
}

/// As above, but the first store's directory comes back to where it was: the store goes on.
#[test]
fn a_store_whose_directory_was_renamed_and_came_back_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (path, renamed) = (directory.path().join("store"), directory.path().join("store.old"));
    let store = Store::open(&path).unwrap();
    fs::rename(&path, &renamed).unwrap();
    let error = fill(&store).expect_err("no segment can be made");
    assert_eq!(error.kind(), ErrorKind::Moved, "{error}");
    let head = store.head().get();
    fs::rename(&renamed, &path).unwrap();
    fill(&store).unwrap();
    assert_eq!(store.head().get(), head + 24);
    store.close().unwrap();
    verify(&path, head + 24);
}

/// A store that was opened through a symbolic link stays where it is when the link leads elsewhere.
#[test]
fn a_store_stays_where_a_symbolic_link_led_when_it_was_opened() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("current");
    let release = |number: u32| directory.path().join(format!("release-{number}"));
    let mut stores = Vec::new();
    for number in 1..=2 {
        fs::create_dir(release(number)).unwrap();
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(release(number), &link).unwrap();
        stores.push(Store::open(link.join("store")).unwrap());
    }
    for store in &stores {
        fill(store).unwrap();
        store.rebuild_index().unwrap();
    }
    drop(stores);
    verify(&release(1).join("store"), 24);
    verify(&release(2).join("store"), 24);
}

/// The directory of an open store was deleted, and every append said `Ok` until the segment was full: the
/// events were gone with the last handle. A segment that was deleted takes no more.
#[test]
fn a_store_that_was_deleted_acknowledges_nothing_more() {
    for contents_only in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::open(&path).unwrap();
        store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
        fs::remove_dir_all(&path).unwrap();
        if contents_only {
            fs::create_dir(&path).unwrap();
        }
        let error = store.append("A-1", ExpectedVersion::Any, [event()]).expect_err("it is gone");
        let error = filmstrip::Error::from(error);
        assert_eq!(error.kind(), ErrorKind::Moved, "{error}");
        let another = Store::open(&path).expect("another directory");
        fill(&another).unwrap();
        let _ = store.close();
        drop(another);
        verify(&path, 24);
    }
}

/// The directory of an open store was deleted after a copy of it had been made of hard links (`cp -al`): its segment
/// still had a name, in the copy, and every append said `Ok`. The store was gone, and its events with it. The same
/// holds for a segment that alone was moved or deleted.
#[test]
fn a_deleted_store_acknowledges_nothing_into_a_copy_of_hard_links() {
    type Delete = fn(&Path);
    let deletions: [(&str, Delete); 3] = [
        ("the store", |path| fs::remove_dir_all(path).unwrap()),
        ("its journal", |path| fs::remove_dir_all(path.join("journal")).unwrap()),
        ("its segment", |path| {
            fs::remove_file(path.join("journal/00000000000000000001")).unwrap();
        }),
    ];
    for (case, delete) in deletions {
        let directory = tempfile::tempdir().unwrap();
        let (path, linked) = (directory.path().join("store"), directory.path().join("linked"));
        let store = Store::open(&path).unwrap();
        store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
        fs::create_dir(&linked).unwrap();
        for entry in fs::read_dir(path.join("journal")).unwrap() {
            let entry = entry.unwrap();
            fs::hard_link(entry.path(), linked.join(entry.file_name())).unwrap();
        }
        store.append("A-1", ExpectedVersion::Any, [event()]).expect("links alone are no harm");
        delete(&path);
        let error = store.append("A-1", ExpectedVersion::Any, [event()]).expect_err(case);
        let error = filmstrip::Error::from(error);
        assert_eq!(error.kind(), ErrorKind::Moved, "{case}: {error}");
        let _ = store.close();
    }
}

/// A store that was closed after its directory had been deleted, and another store made there, waited for 10 s until
/// that other store let go of its files, and said that a forked process might have them.
#[test]
fn closing_a_deleted_store_does_not_wait_for_the_one_that_is_there_now() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
    fs::remove_dir_all(&path).unwrap();
    let another = Store::open(&path).unwrap();
    if let Err(error) = store.close() {
        assert_eq!(error.kind(), ErrorKind::Moved, "{error}");
    }
    fill(&another).unwrap();
    another.close().unwrap();
    verify(&path, 24);
}

/// Removing the lock file of a store that is open does not let another process in.
#[test]
fn a_store_whose_lock_file_was_removed_is_still_locked() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    fs::remove_file(directory.path().join("lock")).unwrap();
    // Without its index, sled's lock does not keep anybody out either.
    let (index, aside) = (directory.path().join("index"), directory.path().join("aside"));
    fs::rename(&index, &aside).unwrap();
    for opened in
        [Store::open(directory.path()).map(drop), Store::verify_at(directory.path()).map(drop)]
    {
        let error = opened.expect_err("it is open");
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    }
    fs::rename(aside, index).unwrap();
    fill(&store).unwrap();
    store.close().unwrap();
    verify(directory.path(), 24);
}

/// An empty path, out of a variable that was not set, was refused, but only after a lock and a journal had been
/// made in the working directory.
#[test]
fn an_empty_path_is_refused_and_nothing_is_left_in_the_working_directory() {
    in_its_own_process(
        module_path!(),
        "an_empty_path_is_refused_and_nothing_is_left_in_the_working_directory",
        || {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::temporary().unwrap();
            std::env::set_current_dir(directory.path()).unwrap();
            for (what, error) in [
                ("open", Store::open("").map(drop)),
                ("verify_at", Store::verify_at("").map(drop)),
                ("repair", Store::repair("").map(drop)),
                ("follow", Follower::open("").map(drop)),
                ("backup", store.backup("").map(drop)),
                ("copy", store.copy_into("", |_| Ok(CopyAs::Unchanged)).map(drop)),
                ("export", {
                    store.backup("backup").unwrap();
                    Store::repair("backup").unwrap().export("").map(drop)
                }),
            ] {
                let error = error.expect_err(what);
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error}");
            }
            fs::remove_dir_all("backup").unwrap();
            assert_eq!(fs::read_dir(".").unwrap().count(), 0);
            std::env::set_current_dir("/").unwrap();
        },
    );
}

/// Whatever is refused leaves nothing behind: no directory that was made for it, and no lock.
#[test]
fn what_is_refused_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let store = Store::open(path("store")).unwrap();
    fill(&store).unwrap();
    let too_long = format!("new/{}", "x".repeat(300));
    store.backup(path("of-store")).unwrap();
    // A journal without its manifest is damaged, and no store was made of it.
    fs::create_dir(path("headless")).unwrap();
    fs::rename(path("of-store/journal"), path("headless/journal")).unwrap();
    fs::remove_dir_all(path("of-store")).unwrap();
    fs::write(path("taken.left-out.jsonl"), "").unwrap();
    // But what the open store makes by itself, as segments and its index.
    let all = || {
        let found = everything(directory.path());
        let is_made =
            |name: &Path| !name.starts_with(path("store")) || name.starts_with(path("store/new"));
        found.into_iter().filter(|(name, _)| is_made(name)).collect::<Vec<_>>()
    };
    let before = all();
    let kept = Store::temporary().unwrap();
    kept.backup(path("kept")).unwrap();
    let repair = Store::repair(path("kept")).unwrap();
    let copy = |to: &str| store.copy_into(path(to), |_| Ok(CopyAs::Unchanged)).map(drop);
    for (what, result) in [
        ("open", Store::open(path(&too_long)).map(drop)),
        ("open what lost its manifest", Store::open(path("headless")).map(drop)),
        ("open below a file", Store::open(path("taken.left-out.jsonl/a/b")).map(drop)),
        ("follow", Follower::open(path("new")).map(drop)),
        ("verify", Store::verify_at(path("new")).map(drop)),
        ("back up", store.backup(path(&too_long)).map(drop)),
        ("back up into itself", store.backup(path("store/new/backup")).map(drop)),
        ("back up what was opened", store.backup(path("store")).map(drop)),
        ("copy", copy(&too_long)),
        ("copy beside a file", copy("taken")),
        ("copy into itself", copy("store/new")),
        ("copy what cannot be copied", {
            store.copy_into(path("new"), |_| Err("no".into())).map(drop)
        }),
        ("export", repair.export(path(&too_long)).map(drop)),
        ("export beside a file", repair.export(path("taken")).map(drop)),
        ("export into itself", repair.export(path("kept/new")).map(drop)),
    ] {
        assert!(result.is_err(), "{what}: it was not refused");
    }
    drop(repair);
    fs::remove_dir_all(path("kept")).unwrap();
    assert!(all() == before && !path("store/new").exists(), "something was left or changed");
    let names = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(names, 3, "something was left: {:?}", fs::read_dir(directory.path()).unwrap());
}

/// Everything that a store of one user makes, a backup or an export of it elsewhere included, was readable for
/// every other user as far as the umask allowed. It has the permissions of the store's directory at most.
#[test]
fn nobody_may_read_what_he_may_not_read_in_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["store", "loose"] {
        fs::create_dir(path(name)).unwrap();
    }
    fs::set_permissions(path("store"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(path("loose"), fs::Permissions::from_mode(0o777)).unwrap();
    whole::sample(&path("store"));
    let store = Store::open(path("store")).unwrap();
    store.backup(path("backup")).unwrap();
    store.backup(path("loose")).unwrap();
    store.copy_into(path("copy"), |_| Ok(CopyAs::Unchanged)).unwrap();
    store.close().unwrap();
    // Damage, so that an export has something to say in a file beside it.
    let segment = path("store/journal/00000000000000000001");
    whole::flip(&segment, 70_000, 1);
    fs::remove_dir_all(path("store/index")).unwrap();
    fs::remove_file(path("store/index.checkpoint")).unwrap();
    let exported = Store::repair(path("store")).unwrap().export(path("export")).unwrap();
    assert!(exported.left_out_file.is_some());
    let mut seen = 0;
    let mut check = |path: &Path| {
        let metadata = fs::symlink_metadata(path).unwrap();
        let mode = metadata.permissions().mode() & 0o777;
        let allowed = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode & !allowed, 0, "{} has the mode {mode:o}", path.display());
        seen += 1;
    };
    for name in ["store", "backup", "copy", "export"] {
        each_below(&path(name), &mut check);
        check(&path(name));
    }
    each_below(&path("loose"), &mut check);
    check(&exported.left_out_file.unwrap());
    assert!(seen > 20, "{seen}");
}

fn each_below(directory: &Path, check: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        check(&path);
        if path.is_dir() {
            each_below(&path, check);
        }
    }
}

/// An export or a backup went into the store's own journal, if `journal` in the store was a symbolic link.
#[test]
fn nothing_goes_into_a_part_of_its_own_store_that_is_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = at("store");
    whole::sample(&store);
    for part in ["journal", "index", "views"] {
        fs::create_dir_all(at(part)).unwrap();
        fs::create_dir_all(store.join(part)).unwrap();
        fs::rename(store.join(part), at(part).join(part)).unwrap();
        symlink(at(part).join(part), store.join(part)).unwrap();
    }
    let refuse = |result: Result<(), filmstrip::Error>, what: &str| {
        let error = result.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error}");
        assert!(error.to_string().contains("inside"), "{what}: {error}");
    };
    let open = Store::open(&store).unwrap();
    for part in ["journal", "index", "views"] {
        let into = at(part).join(part).join("new");
        refuse(open.backup(&into).map(drop), part);
        refuse(open.copy_into(&into, |_| Ok(CopyAs::Unchanged)).map(drop), part);
        assert!(!into.exists(), "{part}");
    }
    refuse(open.backup(at("journal")).map(drop), "a backup around the journal");
    open.close().unwrap();
    let before = everything(directory.path());
    let repair = Store::repair(&store).unwrap();
    for part in ["journal", "index", "views"] {
        refuse(repair.export(at(part).join(part).join("new")).map(drop), part);
    }
    assert_eq!(everything(directory.path()), before, "something was changed");
}

/// An export that failed because the directory above its own may not be read could not remove its mark either: it
/// opened that directory first.
#[test]
fn an_export_below_a_directory_that_may_not_be_read_leaves_nothing() {
    const CHILD: &str = "FILMSTRIP_TEST_UNREADABLE";
    let name = "an_export_below_a_directory_that_may_not_be_read_leaves_nothing";
    let Some(place) = std::env::var_os(CHILD) else {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let mut command = child(module_path!(), name);
        return run_as_user(command.env(CHILD, place.path()).current_dir("/"));
    };
    let directory = match tempfile::tempdir_in(place) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return println!("skipped: another user may not enter the temporary directory");
        }
        directory => directory.unwrap(),
    };
    let (store, above) = (directory.path().join("store"), directory.path().join("above"));
    whole::sample(&store);
    fs::create_dir_all(above.join("empty")).unwrap();
    fs::set_permissions(&above, fs::Permissions::from_mode(0o300)).unwrap();
    let repair = Store::repair(&store).unwrap();
    let refused = ["empty", "new"].map(|name| repair.export(above.join(name)));
    fs::set_permissions(&above, fs::Permissions::from_mode(0o700)).unwrap();
    for refused in refused {
        let error = refused.expect_err("the name of its directory cannot be made durable");
        assert!(error.to_string().contains("ermission denied"), "{error}");
    }
    assert!(above.join("empty").is_dir() && everything(&above).is_empty(), "something was left");
    assert_eq!(fs::read_dir(&above).unwrap().count(), 1);
    assert_eq!(fs::read_dir(above.join("empty")).unwrap().count(), 0);
}

/// Runs a test in another process, and not as root: nothing is forbidden to root.
fn run_as_user(command: &mut Command) {
    let ours = tempfile::tempdir().unwrap();
    let is_root = ours.path().metadata().unwrap().uid() == 0;
    if is_root {
        command.uid(65_534);
    }
    match command.output() {
        Err(error) if is_root && error.kind() == std::io::ErrorKind::PermissionDenied => {
            println!("skipped: another user may not run the test");
        }
        done => {
            let done = done.unwrap();
            let out = String::from_utf8_lossy(&done.stdout);
            let err = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success() && out.contains("1 passed"), "{out}\n{err}");
        }
    }
}

/// Verifying or repairing a store that one may not enter said that it was no store.
#[test]
fn a_store_that_one_may_not_enter_is_not_told_as_none() {
    const PATH: &str = "FILMSTRIP_TEST_FORBIDDEN";
    let look = || {
        let path = PathBuf::from(std::env::var_os(PATH).unwrap());
        for (what, result) in [
            ("verify_at", Store::verify_at(&path).map(drop)),
            ("repair", Store::repair(&path).map(drop)),
            ("follow", Follower::open(&path).map(drop)),
            ("open", Store::open(&path).map(drop)),
        ] {
            let error = result.expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Io, "{what}: {error}");
            assert!(error.to_string().contains("ermission denied"), "{what}: {error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{what}: {error}");
        }
    };
    let name = "a_store_that_one_may_not_enter_is_not_told_as_none";
    if std::env::var_os(PATH).is_some() {
        return look();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    drop(Store::open(&path).unwrap());
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = child(module_path!(), name);
    run_as_user(command.env(PATH, &path).current_dir("/"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
}
