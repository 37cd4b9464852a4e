//! When the indexer begins a flush batch, when writers wait for it, and whether concurrent reads are right.

use crate::doctor::audit::audited::{Audited, IndexAccess};
use crate::doctor::audit::{Site, audit};
use crate::journal::lenient_scan::Until;
use crate::log::commit::Commit;
use crate::log::indexer;
use crate::log::indexer::managed::Bounds;
use crate::log::indexer::signal::{Due, Work};
use crate::proof::cuts::scratch;
use crate::sst::compaction::CompactionPriority;
use crate::store::Store;
use crate::value::event::NewEvent;
use crate::value::finding::Findings;
use crate::value::limits::{INDEXER_LOOK, INDEXER_LOOKS_MAX};
use crate::value::position::{ExpectedVersion, Position, Version};
use crate::value::random::{Random, first_seed, rounds};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;
const BOUNDS: Bounds = Bounds {
    batch_bytes_min: 12 * MIB as u64,
    unindexed_bytes_max: 30 * MIB as u64,
    tagged_bytes_max: 8 * MIB,
};

/// Bytes of all segments but the last one.
fn sealed_bytes(store: &Path) -> u64 {
    let mut segments: Vec<_> = std::fs::read_dir(store.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name(), entry.metadata().unwrap().len()))
        .filter(|(name, _)| name.to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .collect();
    segments.sort();
    segments.pop();
    segments.iter().map(|(_, length)| length).sum()
}

/// The story: the segments of a young store were counted with their usual length. But a large commit makes a long
/// segment: with commits of 64 MiB, the index lacked nine segments of 577 MiB in total, not 256.
#[test]
fn a_window_is_due_and_writers_wait_by_the_bytes_that_lie_there() {
    for event_bytes in [MIB / 2, 8 * MIB] {
        let directory = scratch();
        let path = directory.path().join("store");
        let store = Store::builder().bounds(BOUNDS).open(&path).unwrap();
        let log = store.log.log();
        let met = log.index.inspect(|index| {
            // This lock keeps the indexer from ingesting meanwhile.
            let _progress = index.progress.lock();
            let (mut were_due, mut were_not) = (0, 0);
            while !indexer::is_full(log) {
                let sealed = sealed_bytes(&path);
                assert!(sealed <= BOUNDS.unindexed_bytes_max, "{sealed} bytes, and it is not full");
                let due = indexer::due(log, CompactionPriority::None);
                let is_due = matches!(due, Due::Now(Work::UpTo(_)));
                assert_eq!(is_due, sealed >= BOUNDS.batch_bytes_min, "{sealed} bytes are sealed");
                *if is_due { &mut were_due } else { &mut were_not } += 1;
                let event = NewEvent::bytes("T", vec![7; event_bytes]);
                store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
            }
            let sealed = sealed_bytes(&path);
            assert!(sealed > BOUNDS.unindexed_bytes_max, "{sealed} bytes, and it is full");
            Ok((were_due, were_not))
        });
        let (were_due, were_not) = met.unwrap();
        assert!(were_due > 0 && were_not > 0, "{were_due} due, {were_not} not");
        // Writers stop waiting when the indexer continues.
        store.append("A-1", ExpectedVersion::Any, [NewEvent::bytes("T", "")]).unwrap();
    }
}

/// Here each sealed segment is a flush batch, ingested while other threads write and read.
#[test]
fn what_is_read_while_windows_are_taken_in_is_whole() {
    const WRITERS: u64 = 2;
    const EVENTS: u64 = 300;
    let bounds =
        Bounds { batch_bytes_min: 1, unindexed_bytes_max: 4 * MIB as u64, ..Bounds::default() };
    let store = Store::builder().bounds(bounds).temporary().unwrap();
    let name = |writer: u64| format!("Writer-{writer}");
    let append = |writer, version: u64| {
        let event = NewEvent::bytes("T", vec![version as u8; 32 << 10]);
        store.append(name(writer), Version::new(version), [event]).unwrap();
    };
    (0..WRITERS).for_each(|writer| append(writer, 0));
    let (writing, loads) = (AtomicU64::new(WRITERS), AtomicU64::new(0));
    let had_tables = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (append, writing) = (&append, &writing);
            scope.spawn(move || {
                (1..EVENTS).for_each(|version| append(writer, version));
                writing.fetch_sub(1, Ordering::SeqCst);
            });
            let (store, loads, had_tables) = (&store, &loads, &had_tables);
            scope.spawn(move || {
                while writing.load(Ordering::SeqCst) > 0 {
                    let known = store.stream_info(name(writer)).unwrap().version.get();
                    let events = store.read_stream(name(writer)).collect().unwrap();
                    assert!(events.len() as u64 >= known, "{} of {known}", events.len());
                    for (version, event) in (1..).zip(&events) {
                        assert_eq!(event.version.get(), version);
                        let is_whole = event.payload.iter().all(|b| *b == (version - 1) as u8);
                        assert!(is_whole && event.payload.len() == 32 << 10, "version {version}");
                    }
                    loads.fetch_add(1, Ordering::SeqCst);
                    if store.log.log().tail.indexed().position > 0 {
                        had_tables.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert!(loads.load(Ordering::SeqCst) > 0);
    assert!(had_tables.load(Ordering::SeqCst), "nothing was indexed beside the writers");
    let all = store.read_all().iter().unwrap();
    let positions: Vec<u64> = all.map(|event| event.unwrap().position.get()).collect();
    assert!(positions.into_iter().eq(1..=WRITERS * EVENTS));
    assert!(store.verify().unwrap().findings.is_empty());
}

const STOPPED: &str = "FILMSTRIP_STOPPED_STORE";
const TOLD: &str = "told to go on";

/// Not a test of its own: a child process whose writer waits for a blocked indexer.
#[test]
fn child_that_is_stopped_while_a_writer_waits() {
    let Some(path) = std::env::var_os(STOPPED) else { return };
    let store = Store::builder().bounds(BOUNDS).open(path).unwrap();
    let append = |bytes: usize| {
        let event = NewEvent::bytes("T", vec![7; bytes]);
        store.append("A-1", ExpectedVersion::Any, [event])
    };
    let waited = store.log.log().index.inspect(|index| {
        let progress = index.progress.lock();
        while !indexer::is_full(store.log.log()) {
            append(MIB).unwrap();
        }
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| append(1));
            println!("it waits");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
            // Let the writer's thread run again too.
            std::thread::sleep(Duration::from_millis(500));
            assert!(!waiting.is_finished(), "{:?}", waiting.join());
            drop(progress);
            Ok(waiting.join().unwrap())
        })
    });
    waited.unwrap().expect("the indexer has gone on");
    println!("{TOLD}");
}

/// A laptop was closed, or a container paused, for more than ten seconds while writers waited for the indexer. When
/// the process ran again, by the clock the indexer had made no progress for too long, and the store refused every
/// write until it was reopened. Only the time in which the process runs counts.
#[test]
fn a_process_that_was_stopped_for_a_while_goes_on() {
    let directory = scratch();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "proof::windows::child_that_is_stopped_while_a_writer_waits",
            "--exact",
            "--nocapture",
        ])
        .env(STOPPED, directory.path().join("store"))
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.by_ref().any(|line| line.contains("it waits")), "it ended");
    let signal = |signal: &str| {
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    std::thread::sleep(Duration::from_millis(300));
    signal("-STOP");
    std::thread::sleep(INDEXER_LOOK * (INDEXER_LOOKS_MAX + 10));
    signal("-CONT");
    std::thread::sleep(Duration::from_millis(300));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let has_gone_on = said.any(|line| line.contains(TOLD));
    assert!(child.wait().unwrap().success() && has_gone_on);
}

/// The story: a verification during a rebuild of the index had false findings. Data newer than the verification was
/// recognised by epochs, which begin again in each index, and by epochs that were read before the content that they
/// belong to.
#[test]
fn verifying_beside_windows_merges_and_rebuilds_of_the_index_finds_nothing() {
    let bounds =
        Bounds { batch_bytes_min: 1, unindexed_bytes_max: 64 * MIB as u64, ..Bounds::default() };
    for seed in first_seed()..first_seed() + rounds(5) {
        let random = &mut Random::new(seed);
        let store = &Store::builder().bounds(bounds).temporary().unwrap();
        let append = |random: &mut Random, n: u64| {
            let bytes = [10, 1_000, 100_000][random.below(3) as usize];
            let mut commit = Commit::new().tracking(format!("c-{}", n % 3), Position::new(n));
            if random.below(4) > 0 {
                let event = NewEvent::bytes("T", vec![n as u8; bytes]);
                commit = commit.append(format!("S-{}", n % 7), ExpectedVersion::Any, [event]);
            }
            store.commit(commit).unwrap();
        };
        (1..60).for_each(|n| append(random, n));
        let ended = &AtomicBool::new(false);
        let mut writing = Random::new(seed + 1_000);
        let (is_rebuilt, pause) = (random.below(4) > 0, random.below(50));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for n in 60..600 {
                    if ended.load(Ordering::SeqCst) {
                        break;
                    }
                    append(&mut writing, n);
                    std::thread::sleep(Duration::from_millis(writing.below(10)));
                }
            });
            scope.spawn(move || {
                // A bounded number, because callers that need the index wait for each rebuild.
                for _ in 0..40 {
                    if !is_rebuilt || ended.load(Ordering::SeqCst) {
                        break;
                    }
                    store.rebuild_index().unwrap();
                    std::thread::sleep(Duration::from_millis(pause));
                }
            });
            let verified = catch_unwind(AssertUnwindSafe(|| {
                for n in 0..8 {
                    let findings = store.verify().unwrap().findings;
                    assert!(findings.is_empty(), "seed {seed}, {n}: {findings:#?}");
                }
            }));
            ended.store(true, Ordering::SeqCst);
            verified.unwrap_or_else(|panic| resume_unwind(panic));
        });
    }
}

/// The same, in the one order that an audit must detect: an index that counts its epochs from the start again and has
/// a record that is newer than the audit.
#[test]
fn an_audit_whose_index_is_replaced_holds_nothing_newer_against_it() {
    const EPOCHS: u64 = 5;
    let bounds =
        Bounds { batch_bytes_min: 1, unindexed_bytes_max: 64 * MIB as u64, ..Bounds::default() };
    let store = Store::builder().bounds(bounds).temporary().unwrap();
    let log = store.log.log();
    let track = |n: u64| {
        let event = NewEvent::bytes("T", vec![7; 100_000]);
        let commit = Commit::new().tracking("consumer", Position::new(n));
        store.commit(commit.append("S-1", ExpectedVersion::Any, [event])).unwrap();
    };
    let epoch = || log.index.inspect(|index| Ok(index.stored.lock().epoch)).unwrap();
    let mut tracked = 1..;
    while epoch() < EPOCHS {
        track(tracked.next().unwrap());
    }
    let index = Audited::new(IndexAccess::Live(&log.index), store.path().join("index")).unwrap();
    let (_, end) = log.head.visible();
    let site = Site {
        disk: Arc::clone(log.journal.disk()),
        journal: log.journal.directory().to_owned(),
        store: log.journal.store(),
        until: Until::Visible(end),
        index: Some(index),
        chains_at: BTreeSet::new(),
        report: &|_| {},
    };
    // A rebuild ingests as much as the index had.
    let head = store.head().get();
    while log.tail.indexed().position <= head {
        track(tracked.next().unwrap());
    }
    store.rebuild_index().unwrap();
    assert!(epoch() <= EPOCHS, "the new index counts on, so that nothing has to be told");
    let mut findings = Findings::default();
    audit(&site, &mut findings).unwrap();
    assert!(findings.kept.is_empty(), "{:#?}", findings.kept);
}
