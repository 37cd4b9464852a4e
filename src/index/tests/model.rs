use super::*;
use crate::sst::compaction::CompactionPriority;

#[test]
fn whatever_the_windows_the_index_tells_what_the_journal_holds() {
    for seed in 1..=3 {
        let mut random = Random::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut truth = Truth::default();
        let (mut index, opened) = open(dir.path());
        assert!(matches!(opened, Opened::Fresh { reason: None }), "{opened:?}");
        assert_eq!(index.checkpoint(), None);
        let mut position = 0;
        for _ in 0..20 {
            let grown = random.below(100);
            truth.append_random(&mut random, grown, 10);
            let to = position + random.below(truth.events.len() as u64 - position + 1);
            index.insert(truth.batch(position, to)).unwrap();
            position = to;
            assert_eq!(index.checkpoint(), Some(end(position)));
            if random.below(3) == 0 {
                match random.below(2) {
                    0 => index.close().unwrap(),
                    _ => drop(index),
                }
                let checkpoint;
                (index, checkpoint) = open_whole(dir.path());
                assert_eq!(checkpoint, end(position));
            }
            if random.below(2) == 0 {
                // Stop half-way too.
                for _ in 0..random.below(4) {
                    index.compact().unwrap();
                }
            }
            truth.check(&index, position, position, false);
            truth.check_records(&index, position, position);
        }
    }
}

#[test]
fn streams_are_listed_in_name_order_from_any_name_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut truth = Truth::default();
    let names = ["A-1", "A-2", "AB-1", "B", "B-1", "B-10", "B-2", "é-1"];
    for name in names.iter().rev() {
        truth.append(name, 3);
    }
    let (index, _) = open(dir.path());
    index.insert(truth.batch(0, 8)).unwrap();
    let list = |prefix: &str, after: Option<&str>, limit| -> Vec<String> {
        let streams = index.streams_after(prefix, after, limit).unwrap();
        streams.into_iter().map(|(stream, _)| stream.as_str().to_owned()).collect()
    };
    assert_eq!(list("", None, 100), names);
    assert_eq!(list("", None, 2), names[..2]);
    assert_eq!(list("", Some("A-2"), 2), names[2..4]);
    assert_eq!(list("B-", None, 100), names[4..7]);
    assert_eq!(list("B-", Some("B-1"), 100), names[5..7]);
    assert_eq!(list("B-", Some("A-1"), 100), names[4..7]);
    assert_eq!(list("B-", Some("C"), 100), [""; 0]);
    assert_eq!(list("Z", None, 100), [""; 0]);
    assert_eq!(list("", None, 0), [""; 0]);
}

#[test]
fn a_window_that_leaves_out_a_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut truth = Truth::default();
    for _ in 0..3 {
        truth.append("A-1", 3);
    }
    let (index, _) = open(dir.path());
    let error = index.insert(truth.batch(1, 3)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("version 1, not 2"), "{error}");
    assert_eq!(index.checkpoint(), None);
    index.insert(truth.batch(0, 3)).unwrap();
    truth.check(&index, 3, 3, false);
}

#[test]
fn a_stream_of_the_longest_name_is_indexed_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut truth = Truth::default();
    for n in 0..40 {
        let name = format!("{:x>1022}{:02}", "", n % 20);
        truth.append(&name, 100 * n);
    }
    let (index, _) = open(dir.path());
    index.insert(truth.batch(0, 40)).unwrap();
    truth.check(&index, 40, 40, false);
}

/// No reader misses an event while tables are compacted, and the files of the compacted tables are removed.
#[test]
fn tables_are_compacted_beside_readers_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut truth = Truth::default();
    let mut random = Random::new(3);
    truth.append_random(&mut random, 1_200, 20);
    let (index, _) = open(dir.path());
    for n in 0..24 {
        index.insert(truth.batch(50 * n, 50 * (n + 1))).unwrap();
    }
    let compacted = std::sync::atomic::AtomicBool::new(false);
    let truth = &truth.events;
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (index, compacted) = (&index, &compacted);
            scope.spawn(move || {
                let mut n = reader;
                while !compacted.load(std::sync::atomic::Ordering::Acquire) {
                    n = (n + 7) % truth.len();
                    let event = &truth[n];
                    let found = index.events_from(&event.stream, event.version, 5).unwrap();
                    let found = found.iter().find(|found| found.version == event.version).unwrap();
                    assert_eq!(found.position, event.position);
                    let run = index.run_holding(&event.stream, event.version).unwrap();
                    assert!(run.contains(found));
                }
            });
        }
        while index.compaction_priority() != CompactionPriority::None {
            index.compact().unwrap();
        }
        compacted.store(true, std::sync::atomic::Ordering::Release);
    });
    while index.compaction_priority() != CompactionPriority::None {
        index.compact().unwrap();
    }
    let levels: Vec<u8> = index.tables.live().iter().map(|table| table.listed.level).collect();
    assert_eq!(levels, [1, 1, 1]);
    let files = fs::read_dir(dir.path().join("index/packs")).unwrap();
    assert_eq!(files.count(), 3);
    index.close().unwrap();
    open_whole(dir.path());
}

/// A long stream is in many event blocks of many tables, and can be read from any version.
#[test]
fn a_long_stream_is_read_from_anywhere_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut truth = Truth::default();
    for n in 0..3_000 {
        truth.append("Long-1", n % 300);
        if n % 100 == 0 {
            truth.append(&format!("Short-{n}"), 10);
        }
    }
    let (index, _) = open(dir.path());
    let last = truth.events.len() as u64;
    for n in 0..10 {
        index.insert(truth.batch(n * last / 10, (n + 1) * last / 10)).unwrap();
        while index.compaction_priority() != CompactionPriority::None {
            index.compact().unwrap();
        }
    }
    truth.check(&index, last, last, false);
}
