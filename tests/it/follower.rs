//! A follower reads a store that another process writes: everything durable, in order, nothing else.

use crate::common::whole::{PATIENCE, contents, copy, copy_into, write_some};
use crate::common::{self, Random, child, whole};
use filmstrip::follow::Following;
use filmstrip::repair::{Finding, FindingKind, HashCheck};
use filmstrip::{ErrorKind, ExpectedVersion, Follower, NewEvent, Position, Store};
use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const WRITTEN: &str = "FILMSTRIP_FOLLOWED_WRITER";
const FOLLOWED: &str = "FILMSTRIP_FOLLOWED_READER";

fn payload(position: u64) -> Vec<u8> {
    vec![position as u8; 2_000 + (position % 5 * 700) as usize]
}

/// Not a test of its own: a process that appends until it is killed, and says what is durable.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(WRITTEN) else { return };
    let store = Store::open(path).unwrap();
    for position in store.head().get() + 1.. {
        let event = NewEvent::bytes("Written", payload(position));
        store.append(format!("S-{}", position % 3), ExpectedVersion::Any, [event]).unwrap();
        std::io::stdout().write_all(format!("durable {position}\n").as_bytes()).unwrap();
    }
}

/// Not a test of its own: a process that follows, and says each position that it has read.
#[test]
fn child_that_follows_until_it_has_seen_enough() {
    let Some(said) = std::env::var_os(FOLLOWED) else { return };
    let said = said.into_string().unwrap();
    let (count, path) = said.split_once(' ').unwrap();
    let follower = Follower::open(path).unwrap();
    for event in follower.read().limit(count.parse().unwrap()).follow() {
        let event = event.unwrap();
        let position = event.position.get();
        assert!(event.payload == payload(position), "position {position}");
        std::io::stdout().write_all(format!("read {position}\n").as_bytes()).unwrap();
    }
}

fn start(test: &str, variable: &str, value: &str) -> Child {
    child(module_path!(), test)
        .env(variable, value)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The numbers that a child says after `word`.
fn said(child: &mut Child, word: &'static str) -> impl Iterator<Item = u64> + use<> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // The test harness of the child talks in between.
    lines.filter_map(move |line| line.split_once(word)?.1.trim().parse().ok())
}

#[test]
fn a_follower_in_another_process_reads_while_this_one_writes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let append = |positions: std::ops::RangeInclusive<u64>| {
        for position in positions {
            let event = NewEvent::bytes("Written", payload(position));
            store.append("S-1", ExpectedVersion::Any, [event]).unwrap();
        }
    };
    append(1..=300);
    let value = format!("1200 {}", directory.path().display());
    let mut child = start("child_that_follows_until_it_has_seen_enough", FOLLOWED, &value);
    let mut read = said(&mut child, "read ");
    // It has caught up with a part before the rest is written, over several segments.
    let mut seen: Vec<u64> = read.by_ref().take(100).collect();
    append(301..=1_200);
    seen.extend(read);
    assert!(child.wait().unwrap().success(), "the follower failed");
    assert_eq!(seen, (1..=1_200).collect::<Vec<u64>>());
}

#[test]
fn a_follower_sees_all_that_a_killed_writer_acknowledged_and_nothing_that_vanishes() {
    let rounds = std::env::var("FILMSTRIP_KILLS").map_or(6, |n| n.parse().expect("a number"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    drop(Store::open(path).unwrap());
    let follower = Follower::open(path).unwrap();
    let mut following = follower.read().follow();
    let mut shown = 0;
    for round in 0..rounds {
        let mut child = start("child_that_writes_until_it_is_killed", WRITTEN, path);
        let mut last = 0;
        for position in said(&mut child, "durable ") {
            last = position;
            if position >= shown + 50 + round * 97 % 400 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Follows beside the dead writer's files, up to all that was acknowledged.
        while shown < last {
            let event = following.recv_timeout(PATIENCE).unwrap();
            shown += 1;
            assert_eq!(event.position.get(), shown, "round {round}");
            assert!(event.payload == payload(shown), "round {round}: position {shown}");
        }
        let verified = Store::verify_at(path).unwrap();
        let torn = |finding: &Finding| finding.kind == FindingKind::TornWrite;
        assert!(verified.findings.iter().all(torn), "round {round}: {:#?}", verified.findings);
        let store = Store::open(path).unwrap();
        assert!(store.head().get() >= shown, "round {round}: what was shown has vanished");
    }
}

#[test]
fn a_follower_changes_nothing_and_needs_no_writer() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    write_some(&store, 0..30, 2_000);
    let all = whole::all(&store);
    store.close().unwrap();
    let before = contents(directory.path());
    let follower = Follower::open(directory.path()).unwrap();
    assert!(follower.read().collect().unwrap() == all, "the events differ");
    assert!(contents(directory.path()) == before, "something was written");
    drop(Store::open(directory.path()).expect("the follower holds no lock"));
    assert_eq!(follower.head().unwrap().get(), all.len() as u64);

    let wanted = |stream: &str| all.iter().filter(|e| e.stream == *stream).count();
    let one = follower.read().stream("Left-1").collect().unwrap();
    assert_eq!(one.len(), wanted("Left-1"));
    let some = follower.read().category("Stream").after(Position::new(100)).limit(5);
    let positions: Vec<u64> = some.collect().unwrap().iter().map(|e| e.position.get()).collect();
    let from_all = all.iter().filter(|e| e.stream.category() == "Stream").map(|e| e.position.get());
    assert_eq!(positions, from_all.filter(|p| *p > 100).take(5).collect::<Vec<u64>>());
    let until = follower.read().after(Position::new(3)).until(Position::new(6)).collect().unwrap();
    assert_eq!(until.iter().map(|e| e.position.get()).collect::<Vec<_>>(), [4, 5, 6]);
}

#[test]
fn nothing_beyond_the_durable_mark_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let append = |n: u64| {
        for _ in 0..n {
            store.append("A-1", ExpectedVersion::Any, [NewEvent::bytes("T", "x")]).unwrap();
        }
    };
    append(3);
    let mark = directory.path().join("journal/durable");
    let earlier = fs::read(&mark).unwrap();
    append(4);
    let image = copy(directory.path());
    let its_mark = image.path().join("journal/durable");
    fs::write(&its_mark, earlier).unwrap();
    let follower = Follower::open(image.path()).unwrap();
    assert_eq!(follower.head().unwrap().get(), 3);
    assert_eq!(follower.read().collect().unwrap().len(), 3);
    let mut following = follower.read().follow();
    for position in 1..=3 {
        assert_eq!(following.recv_timeout(PATIENCE).unwrap().position.get(), position);
    }
    let error = following.recv_timeout(Duration::from_millis(50)).expect_err("not durable");
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    fs::copy(&mark, &its_mark).unwrap();
    assert_eq!(following.recv_timeout(PATIENCE).unwrap().position.get(), 4);
    assert_eq!(following.position().get(), 4);
    fs::write(&its_mark, "torn").unwrap();
    assert_eq!(following.recv_timeout(PATIENCE).unwrap().position.get(), 5, "what is known holds");
    let error = Follower::open(image.path()).expect_err("without a mark nothing is shown");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn a_follower_is_stopped_from_another_thread() {
    let directory = tempfile::tempdir().unwrap();
    let _store = Store::open(directory.path()).unwrap();
    let following = Follower::open(directory.path()).unwrap().read().follow();
    let stopper = following.stopper();
    let waiting = std::thread::spawn(move || following.count());
    stopper.stop();
    assert_eq!(waiting.join().unwrap(), 0);
}

/// An interval between two looks that no clock can measure panicked.
#[test]
fn an_interval_that_never_ends_waits_for_the_deadline_or_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.append("A-1", ExpectedVersion::Any, [NewEvent::bytes("T", "x")]).unwrap();
    let follower = Follower::open(directory.path()).unwrap();
    for interval in [Duration::MAX, Duration::from_secs(i64::MAX as u64 - 1)] {
        let mut following = follower.read().poll_interval(interval).follow();
        assert_eq!(following.recv_timeout(interval).unwrap().position.get(), 1);
        let nothing = following.recv_timeout(Duration::from_millis(5)).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::Timeout, "{nothing}");
        let stopper = following.stopper();
        let waiting = std::thread::spawn(move || following.next().is_none());
        std::thread::sleep(Duration::from_millis(20));
        stopper.stop();
        assert!(waiting.join().unwrap());
    }
}

#[test]
fn what_is_no_store_or_damaged_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = Follower::open(directory.path()).expect_err("an empty directory");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let store = Store::open(directory.path()).unwrap();
    write_some(&store, 0..4, 2_000);
    let follower = Follower::open(directory.path()).unwrap();
    let wrong = follower.read().stream("").collect().expect_err("no stream's name");
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    let segment: &Path = &directory.path().join("journal/00000000000000000001");
    whole::flip(segment, 30_000, 1);
    let error = follower.read().collect().expect_err("damage");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.damage().unwrap().file, segment);
}

fn append(store: &Store, events: u64, bytes: usize) {
    for _ in 0..events {
        let event = NewEvent::bytes("T", vec![1; bytes]);
        store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    }
}

/// Two threads that looked at the mark through one follower could come back in the other order. Who came with
/// the older mark was told that the store was `Corrupt`, beside a healthy writer. What any thread was shown
/// holds for all of them, and is no damage.
#[test]
fn threads_that_share_a_follower_never_see_it_go_back() {
    const EVENTS: u64 = 6_000;
    let seed = common::seed();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let follower = Follower::open(directory.path()).unwrap();
    let (shown, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (follower, shown, ended) = (follower.clone(), &shown, &ended);
            scope.spawn(move || {
                let mut random = Random(seed ^ thread);
                let mut following = follower.read().follow();
                while !ended.load(Ordering::SeqCst) {
                    let before = shown.load(Ordering::SeqCst);
                    let seen = match random.below(4) {
                        0 | 1 => follower.head().unwrap().get(),
                        2 => {
                            let after = before - random.below(before.min(20) + 1);
                            let read = follower.read().after(Position::new(after));
                            let read: Vec<_> = read.collect().unwrap();
                            let positions = read.iter().map(|event| event.position.get());
                            assert!(positions.eq(after + 1..=after + read.len() as u64));
                            after + read.len() as u64
                        }
                        _ => {
                            let next = following.position().get() + 1;
                            let event = following.recv_timeout(Duration::from_millis(1));
                            match event {
                                Ok(event) => assert_eq!(event.position.get(), next),
                                Err(error) => {
                                    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
                                }
                            }
                            continue;
                        }
                    };
                    assert!(seen >= before, "position {before} was shown, and then {seen}");
                    shown.fetch_max(seen, Ordering::SeqCst);
                }
            });
        }
        append(&store, EVENTS, 10);
        ended.store(true, Ordering::SeqCst);
    });
    assert_eq!(follower.head().unwrap().get(), EVENTS);
}

/// The next backup puts other files in the place of the ones that a follower of the backup had open. It read
/// the old ones, and said `Corrupt` for ever.
#[test]
fn a_follower_of_a_backup_goes_on_with_the_next_backup() {
    let seed = common::seed();
    let mut random = Random(seed);
    let directory = tempfile::tempdir().unwrap();
    let backups = directory.path().join("backups");
    let store = Store::open(directory.path().join("store")).unwrap();
    append(&store, 1, 10);
    store.backup(&backups).unwrap();
    let follower = Follower::open(&backups).unwrap();
    let mut following = follower.read().follow();
    let mut read = 0;
    for round in 0..12 {
        let bytes = [10, 100, 300_000][random.below(3) as usize];
        append(&store, 1 + random.below(30), bytes);
        let head = store.backup(&backups).unwrap().position;
        assert_eq!(follower.head().unwrap(), head, "round {round}");
        // Not to the end each time: what is read ahead is of an older backup then.
        let until =
            if random.one_in(3) { head.get() } else { read + random.below(head.get() - read + 1) };
        while read < until {
            read += 1;
            let event = following.recv_timeout(PATIENCE).unwrap();
            assert_eq!(event.position.get(), read, "round {round}");
        }
        assert_eq!(follower.read().collect().unwrap().len() as u64, head.get(), "round {round}");
    }
    let left = follower.read().after(Position::new(read)).collect().unwrap();
    assert!(left == following.by_ref().take(left.len()).collect::<Result<Vec<_>, _>>().unwrap());
    assert!(left.last().is_none_or(|event| event.position == store.head()));
}

/// A backup that was restored at an earlier position than the original had reached, and written further, has other
/// segments behind what was read. The follower went on by the headers of the earlier ones, and said `Corrupt`; and a
/// reader that had read ahead showed events of the earlier files after those of the new ones were there.
#[test]
fn a_follower_goes_on_in_a_longer_continuation_of_its_store() {
    let write = |store: &Store, events: u64, bytes: usize, by: u8| {
        for _ in 0..events {
            let event = NewEvent::bytes("T", vec![by; bytes]);
            store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
        }
    };
    let directory = tempfile::tempdir().unwrap();
    let (path, restored) = (directory.path().join("store"), directory.path().join("restored"));
    let store = Store::open(&path).unwrap();
    // The first segment is full, so that the continuations differ in where each later one begins.
    write(&store, 30, 100_000, 0);
    write(&store, 10, 10, 0);
    store.backup(&restored).unwrap();
    write(&store, 20, 10, 1);
    write(&store, 40, 200_000, 1);
    let follower = Follower::open(&path).unwrap();
    let recv = |following: &mut Following, position: u64| {
        let event = following.recv_timeout(PATIENCE).unwrap();
        let by = if position > 40 { 2 } else { 0 };
        assert!(
            event.position.get() == position && event.payload.iter().all(|byte| *byte == by),
            "{position}: {} by {}",
            event.position,
            event.payload[0]
        );
    };
    // One has read nothing yet, one is in a segment before the last that was read.
    let mut readers = [0, 3, 40].map(|read| {
        let mut following = follower.read().follow();
        (1..=read).for_each(|position| recv(&mut following, position));
        (following, read)
    });
    store.close().unwrap();
    let continued = Store::open(&restored).unwrap();
    write(&continued, 15, 200_000, 2);
    write(&continued, 100, 10, 2);
    let head = continued.head();
    fs::rename(&path, directory.path().join("earlier")).unwrap();
    fs::rename(&restored, &path).unwrap_or_else(|error| panic!("{error}"));
    for (following, read) in &mut readers {
        (*read + 1..=head.get()).for_each(|position| recv(following, position));
    }
    assert_eq!(follower.head().unwrap(), head);
    assert_eq!(follower.read().collect().unwrap().len() as u64, head.get());
}

/// A follower whose store was replaced by another waited for ever silently, since the other store's mark
/// is none of its own; and it mixed two histories if another one of the same store was put there.
#[test]
fn a_follower_says_that_its_store_was_replaced() {
    type Replace = fn(&Path, &Path);
    let set_aside = |path: &Path| fs::rename(path, path.with_extension("aside")).unwrap();
    let cases: [(&str, Replace); 6] = [
        ("another store", |path, _| drop(Store::open(path).unwrap())),
        ("another store with more events", |path, _| {
            append(&Store::open(path).unwrap(), 40, 10);
        }),
        ("another store without its watermark", |path, scratch| {
            let other = Store::open(scratch.join("other")).unwrap();
            append(&other, 40, 10);
            drop(other);
            copy_into(&scratch.join("other"), path);
            fs::remove_file(path.join("journal/durable")).unwrap();
        }),
        ("nothing", |_, _| {}),
        ("an older copy", |path, scratch| copy_into(&scratch.join("older"), path)),
        ("another history of the store", |path, scratch| {
            copy_into(&scratch.join("older"), path);
            append(&Store::open(path).unwrap(), 40, 10);
        }),
    ];
    for (case, replace) in cases {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store = Store::open(&path).unwrap();
        append(&store, 10, 10);
        store.backup(directory.path().join("older")).unwrap();
        append(&store, 10, 10);
        let follower = Follower::open(&path).unwrap();
        let mut following = follower.read().follow();
        for _ in 0..20 {
            following.recv_timeout(PATIENCE).unwrap();
        }
        drop(store);
        // A writer that opens the store and goes on is nothing to be said.
        let store = Store::open(&path).unwrap();
        append(&store, 5, 10);
        for _ in 0..5 {
            following.recv_timeout(PATIENCE).unwrap();
        }
        drop(store);
        set_aside(&path);
        replace(&path, directory.path());
        let errors = [
            follower.head().expect_err(case),
            following.recv_timeout(PATIENCE).expect_err(case),
            follower.read().collect().expect_err(case),
            follower.read().follow().recv_timeout(PATIENCE).expect_err(case),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Replaced, "{case}: {error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{case}: {error}");
        }
        let again = Follower::open(&path);
        let cannot_be_followed = ["nothing", "another store without its watermark"].contains(&case);
        assert_eq!(again.is_err(), cannot_be_followed, "{case}: {:?}", again.err());
    }
}

/// A follower whose store lost its journal or the watermark in it, or whose watermark was emptied or journal became
/// another store's, waited for ever silently, and so did one that was opened afterwards. A file in the place of the
/// store or its journal was told as a failure of the system.
#[test]
fn a_follower_says_what_became_of_the_journal() {
    type Case = (&'static str, fn(&Path, &Path), ErrorKind, &'static str);
    let no_directory = "is not a directory";
    let cases: [Case; 9] = [
        (
            "in a file",
            |journal, _| {
                let store = journal.parent().unwrap();
                fs::remove_dir_all(store).unwrap();
                fs::write(store, "not a store").unwrap();
            },
            ErrorKind::InvalidInput,
            no_directory,
        ),
        (
            "a file",
            |journal, _| {
                fs::remove_dir_all(journal).unwrap();
                fs::write(journal, "not a journal").unwrap();
            },
            ErrorKind::InvalidInput,
            no_directory,
        ),
        (
            "with an empty watermark",
            |journal, _| fs::write(journal.join("durable"), "").unwrap(),
            ErrorKind::Corrupt,
            "journal/durable",
        ),
        (
            "with a torn watermark",
            |journal, _| {
                let path = journal.join("durable");
                let mut bytes = fs::read(&path).unwrap();
                bytes[40] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            ErrorKind::Corrupt,
            "it has been torn for 1s; opening the store creates it again",
        ),
        (
            "with half a watermark",
            |journal, _| {
                let path = journal.join("durable");
                let bytes = fs::read(&path).unwrap();
                fs::write(path, &bytes[..30]).unwrap();
            },
            ErrorKind::Corrupt,
            "it has been torn for 1s; opening the store creates it again",
        ),
        (
            "removed",
            |journal, _| fs::remove_dir_all(journal).unwrap(),
            ErrorKind::Corrupt,
            "the segment is missing",
        ),
        (
            "another store's",
            |journal, others| {
                fs::remove_dir_all(journal).unwrap();
                fs::rename(others, journal).unwrap();
            },
            ErrorKind::Replaced,
            "holds the journal of the store",
        ),
        (
            "without its watermark",
            |journal, _| fs::remove_file(journal.join("durable")).unwrap(),
            ErrorKind::Corrupt,
            "durable",
        ),
        (
            "empty",
            |journal, _| {
                fs::remove_dir_all(journal).unwrap();
                fs::create_dir(journal).unwrap();
            },
            ErrorKind::Corrupt,
            "the segment is missing",
        ),
    ];
    for (case, change, kind, says) in cases {
        let directory = tempfile::tempdir().unwrap();
        let (path, another) = (directory.path().join("store"), directory.path().join("another"));
        for path in [&path, &another] {
            let store = Store::open(path).unwrap();
            append(&store, 10, 10);
            store.close().unwrap();
        }
        let follower = Follower::open(&path).unwrap();
        let mut following = follower.read().follow();
        for _ in 0..10 {
            following.recv_timeout(PATIENCE).unwrap();
        }
        change(&path.join("journal"), &another.join("journal"));
        let errors = [
            following.recv_timeout(PATIENCE).expect_err(case),
            follower.head().expect_err(case),
            follower.read().collect().expect_err(case),
            Follower::open(&path).expect_err(case),
        ];
        for error in errors {
            assert_eq!(error.kind(), kind, "{case}: {error}");
            let said = error.to_string();
            let names_it = said.contains(path.to_str().unwrap());
            assert!(said.contains(says) && names_it, "{case}: {error}");
        }
    }
}

/// A watermark is torn for a moment while it is written: a follower waits for the whole one, also while it is being
/// opened.
#[test]
fn a_follower_waits_for_a_watermark_that_is_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    append(&store, 1, 10);
    store.close().unwrap();
    let path = directory.path().join("journal/durable");
    let whole = fs::read(&path).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let tear = || file.write_all_at(&[0; 20], 40).unwrap();
    let mend = || file.write_all_at(&whole, 0).unwrap();
    tear();
    let follower = thread::scope(|scope| {
        let opening = scope.spawn(|| Follower::open(directory.path()).unwrap());
        thread::sleep(Duration::from_millis(50));
        mend();
        opening.join().unwrap()
    });
    assert_eq!(follower.head().unwrap(), Position::new(1));
    tear();
    assert_eq!(follower.head().unwrap(), Position::new(1), "what is known still holds");
    mend();
    assert_eq!(follower.head().unwrap(), Position::new(1));
}

/// A store that nobody has written yet may lack the watermark: a crash came between its creation and its opening.
#[test]
fn a_follower_waits_for_the_first_writer() {
    let directory = tempfile::tempdir().unwrap();
    Store::open(directory.path()).unwrap().close().unwrap();
    fs::remove_file(directory.path().join("journal/durable")).unwrap();
    let follower = Follower::open(directory.path()).unwrap();
    assert_eq!(follower.head().unwrap(), Position::START);
    let mut following = follower.read().follow();
    let nothing = following.recv_timeout(Duration::from_millis(30)).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Timeout, "{nothing}");
    append(&Store::open(directory.path()).unwrap(), 1, 10);
    assert_eq!(following.recv_timeout(PATIENCE).unwrap().position.get(), 1);
}

/// An operator asked for the hash that another process's store has now, and had to stop that process.
#[test]
fn the_hash_of_a_history_is_the_same_for_a_follower_and_for_the_writer() {
    let directory = tempfile::tempdir().unwrap();
    let (path, backup) = (&directory.path().join("store"), directory.path().join("backup"));
    let store = Store::open(path).unwrap();
    let follower = Follower::open(path).unwrap();
    assert_eq!(follower.head_hash().unwrap(), store.head_hash());
    assert_eq!(follower.check_hash(&store.head_hash()).unwrap(), HashCheck::Same);
    let mut noted = Vec::new();
    // Three segments: the first one has 1 MiB.
    for position in 1..=10 {
        let event = NewEvent::bytes("Written", vec![position; 400_000]);
        store.append("S-1", ExpectedVersion::Any, [event]).unwrap();
        noted.push(store.head_hash());
        assert_eq!(follower.head_hash().unwrap(), store.head_hash(), "position {position}");
    }
    store.close().unwrap();
    let closed = follower.head_hash().unwrap();
    assert_eq!(Follower::open(path).unwrap().head_hash().unwrap(), closed);
    noted.push(closed);
    for hash in &noted {
        assert_eq!(follower.check_hash(hash).unwrap(), HashCheck::Same, "{hash}");
        let mut changed = *hash;
        changed.hash[31] ^= 1;
        assert_eq!(follower.check_hash(&changed).unwrap(), HashCheck::Changed, "{hash}");
        changed.position = Position::new(11);
        assert_eq!(follower.check_hash(&changed).unwrap(), HashCheck::Shorter);
    }
    let store = Store::open(path).unwrap();
    assert_eq!(store.head_hash(), closed);
    // Each MiB is reported, up to the noted position.
    let (here, there) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let noted = &noted[7];
    follower.check_hash_with(noted, |progress| there.borrow_mut().push(progress)).unwrap();
    store.check_hash_with(noted, |progress| here.borrow_mut().push(progress)).unwrap();
    let reached: Vec<u64> = there.borrow().iter().map(|it| it.position.get()).collect();
    assert!(reached.len() >= 2 && reached.is_sorted() && reached.last() <= Some(&8), "{reached:?}");
    assert_eq!(reached, here.borrow().iter().map(|it| it.position.get()).collect::<Vec<_>>());
    let backed_up = store.backup(&backup).unwrap();
    assert_eq!(Follower::open(&backup).unwrap().head_hash().unwrap(), backed_up.head);
}
