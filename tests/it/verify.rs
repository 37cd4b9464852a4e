//! Verifying finds whatever is wrong, names it, and changes nothing.
//!
//! `FILMSTRIP_FLIPS=2000 cargo test --release --test it verify::` for a long run;
//! `FILMSTRIP_SEED` for another one.

use crate::common;
use crate::common::whole;
use crate::common::whole::{Counter, Tally, all, contents, copy, files, flip, sample, write_some};
use crate::common::{Random, seed_or};
use filmstrip::repair::{FindingKind, HashCheck, HeadHash, Verification};
use filmstrip::{
    ErrorKind, ExpectedVersion, Filter, HandlerError, NewEvent, Projection, RecordedEvent, Store,
    ViewWriter,
};
use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn check_whole(verified: &Verification) {
    assert!(verified.is_whole(), "{:#?}", verified.findings);
}

fn kinds(verified: &Verification) -> Vec<FindingKind> {
    let mut kinds: Vec<_> = verified.findings.iter().map(|finding| finding.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn event() -> NewEvent {
    NewEvent::bytes("T", "x")
}

/// A page that shows the progress of a long verification had nothing to show.
#[test]
fn a_verification_reports_how_far_it_is() {
    let store = Store::temporary().unwrap();
    for _ in 0..10 {
        let event = NewEvent::bytes("T", vec![7; 15 << 20]);
        store.append("Large-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let reached = RefCell::new(Vec::new());
    check_whole(
        &store
            .verify_with(|progress| {
                reached.borrow_mut().push(progress.position.get());
            })
            .unwrap(),
    );
    let reached = reached.into_inner();
    assert!(reached.len() >= 3 && reached.is_sorted(), "{reached:?}");
    assert_eq!(reached.last(), Some(&10), "{reached:?}");
}

#[test]
fn a_whole_store_is_whole_open_and_closed_and_verifying_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    let before = contents(directory.path());
    let closed = Store::verify_at(directory.path()).unwrap();
    check_whole(&closed);
    assert!(contents(directory.path()) == before, "verifying has changed a file");
    assert!(closed.indexed.unwrap().get() > 300, "hardly anything was indexed: {closed:?}");
    assert!(closed.segments >= 2, "{closed:?}");
    assert_eq!(closed.views, 1);

    let store = Store::open(directory.path()).unwrap();
    let open = store.verify().unwrap();
    check_whole(&open);
    assert_eq!((open.head, open.events), (store.head(), store.head().get()));
    assert_eq!((open.head, open.events), (closed.head, closed.events));
    let locked = Store::verify_at(directory.path()).expect_err("it is open");
    assert_eq!(locked.kind(), ErrorKind::Locked);
    let view = store.project(Tally).start().unwrap();
    write_some(&store, 60..61, 10);
    view.wait_for(store.head(), whole::PATIENCE).unwrap();
    let with_views = store.verify().unwrap();
    check_whole(&with_views);
    assert_eq!(with_views.views, 1);
}

#[test]
fn an_empty_store_is_whole_and_no_store_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("empty");
    drop(Store::open(&path).unwrap());
    check_whole(&Store::verify_at(&path).unwrap());
    for nothing in [directory.path().to_owned(), directory.path().join("absent")] {
        let error = Store::verify_at(nothing).expect_err("no store");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "something was created");
}

#[test]
fn a_store_is_verified_while_four_threads_append_to_it() {
    let store = Store::temporary().unwrap();
    let view = store.project(Large).start().unwrap();
    let counters = store.repository::<Counter>().snapshot_every(1);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..100).for_each(|n| drop(counters.execute("1", &n).unwrap())));
        for writer in 0..4u64 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..150 {
                    let event = NewEvent::bytes("Written", vec![n as u8; 4_000]);
                    let stream = format!("Writer-{writer}-{}", n % 5);
                    store.append(stream, ExpectedVersion::Any, [event]).unwrap();
                }
            });
        }
        for _ in 0..5 {
            check_whole(&store.verify().unwrap());
        }
    });
    view.wait_for(store.head(), whole::PATIENCE).unwrap();
    let verified = store.verify().unwrap();
    check_whole(&verified);
    assert_eq!((verified.head.get(), verified.views), (700, 1));
}

/// A view whose rows are too large for one value, and replaced all the time.
struct Large;

impl Projection for Large {
    const NAME: &'static str = "large";
    const VERSION: u32 = 1;
    fn filter(&self) -> Filter {
        Filter::all()
    }
    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let row = format!("{:010}", event.position.get()).repeat(1_000);
        view.put(event.stream.as_str(), &row)?;
        Ok(())
    }
}

type Seen = (Vec<RecordedEvent>, Vec<(String, u64)>);

/// What a reader sees of the store, by position and by stream, and of its view; an error counts as
/// seen.
fn seen(directory: &Path) -> Result<Seen, String> {
    let store = Store::open(directory).map_err(|e| e.to_string())?;
    let mut events = store.read_all().collect().map_err(|e| e.to_string())?;
    for info in store.streams().collect().map_err(|e| e.to_string())? {
        events.extend(store.read_stream(info.stream).collect().map_err(|e| e.to_string())?);
    }
    let view = store.project(Tally).start().map_err(|e| e.to_string())?;
    view.wait_for(store.head(), whole::PATIENCE).map_err(|e| e.to_string())?;
    let rows = view.view().prefix("").map_err(|e| e.to_string())?;
    Ok((events, rows))
}

#[test]
fn a_byte_changed_anywhere_is_found_or_means_nothing() {
    let flips: u64 = std::env::var("FILMSTRIP_FLIPS").map_or(36, |n| n.parse().expect("a number"));
    let mut random = Random(seed_or(7));
    let original = tempfile::tempdir().unwrap();
    sample(original.path());
    let whole = seen(copy(original.path()).path());
    let mut names = files(original.path());
    names.retain(|name| fs::metadata(original.path().join(name)).unwrap().len() > 0);
    let damaged = copy(original.path());
    let (mut found, mut meaningless) = (0, 0);
    for n in 0..flips {
        let name = &names[n as usize % names.len()];
        let file = damaged.path().join(name);
        let bytes = fs::read(&file).unwrap();
        // Half of the flips among what is not zero: most of the files is.
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let at = match n / names.len() as u64 % 2 {
            0 => used[random.below(used.len() as u64) as usize] as u64,
            _ => random.below(bytes.len() as u64),
        };
        let mask = 1 << random.below(8);
        let case = format!("{} byte {at} mask {mask}", name.display());
        flip(&file, at, mask);
        let verified = Store::verify_at(damaged.path()).unwrap_or_else(|e| panic!("{case}: {e}"));
        let top = name.components().next().unwrap();
        let is_named = verified.findings.iter().any(|f| {
            f.file == file
                || (f.file.starts_with(damaged.path().join(top)) && top.as_os_str() != "journal")
        });
        let is_truth = top.as_os_str() == "journal" || top.as_os_str() == "MANIFEST";
        match verified.is_whole() {
            false => {
                assert!(is_named, "{case}: another file is blamed: {:#?}", verified.findings);
                found += 1;
            }
            true => {
                assert!(!is_truth, "{case} went unnoticed");
                // In the databases there are bytes that nobody reads: then nobody sees the flip.
                assert!(seen(copy(damaged.path()).path()) == whole, "{case} went unnoticed");
                meaningless += 1;
            }
        }
        flip(&file, at, mask);
    }
    check_whole(&Store::verify_at(damaged.path()).unwrap());
    println!("{flips} flips: {found} found, {meaningless} in bytes that nobody reads");
    assert!(found > flips / 2, "only {found} of {flips} found");
}

#[test]
fn all_damage_is_reported_and_not_the_first_only() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    let segment = directory.path().join("journal/00000000000000000001");
    for at in [20_000, 200_000, 600_000] {
        flip(&segment, at, 4);
    }
    flip(&directory.path().join("MANIFEST"), 30, 1);
    flip(&directory.path().join("journal/durable"), 50, 1);
    flip(&directory.path().join("index.checkpoint"), 50, 1);
    let before = contents(directory.path());
    let verified = Store::verify_at(directory.path()).unwrap();
    assert!(contents(directory.path()) == before, "verifying has changed a file");
    let expected = [
        FindingKind::Manifest,
        FindingKind::Frame,
        FindingKind::DurableWatermark,
        FindingKind::Index,
    ];
    for kind in expected {
        assert!(kinds(&verified).contains(&kind), "{kind:?} in {:#?}", verified.findings);
    }
    let frames: Vec<_> =
        verified.findings.iter().filter(|f| f.kind == FindingKind::Frame).collect();
    assert_eq!(frames.len(), 3, "{frames:#?}");
    for (finding, damaged) in frames.iter().zip([20_000, 200_000, 600_000]) {
        assert_eq!(finding.file, segment);
        assert!(finding.offset.unwrap() <= damaged, "{finding}");
        assert!(finding.positions.is_some(), "{finding}");
    }
}

#[test]
fn a_missing_segment_is_named_with_the_positions_that_went_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for _ in 0..6 {
        store
            .append("A-1", ExpectedVersion::Any, [NewEvent::bytes("T", vec![1; 900_000])])
            .unwrap();
    }
    store.close().unwrap();
    let gone = directory.path().join("journal/00000000000000000002");
    fs::remove_file(&gone).unwrap();
    let verified = Store::verify_at(directory.path()).unwrap();
    let missing = verified.findings.iter().find(|f| f.kind == FindingKind::SegmentMissing).unwrap();
    assert_eq!(missing.file, gone);
    let positions = missing.positions.clone().unwrap();
    assert_eq!((positions.start().get(), positions.end().get()), (2, 3), "{missing}");
    let versions: Vec<_> =
        verified.findings.iter().filter(|f| f.kind == FindingKind::Version).collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
    assert_eq!(versions[0].stream.as_ref().unwrap().as_str(), "A-1");
    assert_eq!(verified.head.get(), 6);
}

#[test]
fn a_torn_write_is_no_loss_and_lost_durable_events_are() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for _ in 0..3 {
        store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
    }
    let torn = copy(directory.path());
    drop(store);
    let segment = |directory: &Path| directory.join("journal/00000000000000000001");
    let used = fs::read(segment(torn.path())).unwrap().iter().rposition(|b| *b != 0).unwrap();
    flip(&segment(torn.path()), used as u64 + 200, 0x55);
    let verified = Store::verify_at(torn.path()).unwrap();
    assert_eq!(kinds(&verified), [FindingKind::TornWrite], "{:#?}", verified.findings);
    assert_eq!(verified.head.get(), 3);

    // The mark knows that the last frame was durable.
    let lost = copy(torn.path());
    let file = OpenOptions::new().write(true).open(segment(lost.path())).unwrap();
    file.set_len(used as u64 - 20).unwrap();
    file.set_len(1 << 20).unwrap();
    let verified = Store::verify_at(lost.path()).unwrap();
    assert_eq!(kinds(&verified), [FindingKind::Frame], "{:#?}", verified.findings);
    let positions = verified.findings[0].positions.clone().unwrap();
    assert_eq!((positions.start().get(), positions.end().get()), (3, 3));
}

#[test]
fn damage_in_an_open_store_is_found_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    let store = Store::open(directory.path()).unwrap();
    flip(&directory.path().join("journal/00000000000000000001"), 300_000, 8);
    let verified = store.verify().unwrap();
    // The stream of the event that cannot be read any more is known by what follows in it.
    let expected = [FindingKind::Frame, FindingKind::Version];
    assert_eq!(kinds(&verified), expected, "{:#?}", verified.findings);
    assert!(!directory.path().join("index.damaged-1").exists(), "the index was given up");
}

/// The story: an open store's index was asked like any reader asks it, and so it answered from memory what it had
/// read once: what had rotted on the disk since was not found.
#[test]
fn rot_in_the_packs_of_an_open_store_is_found_however_often_they_were_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    write_some(&store, 0..400, 3_000);
    store.close().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for _ in 0..3 {
        check_whole(&store.verify().unwrap());
    }
    let tables = fs::read_dir(directory.path().join("index/packs")).unwrap();
    for table in tables.map(|entry| entry.unwrap().path()) {
        flip(&table, 3_000, 8);
    }
    let verified = store.verify().unwrap();
    assert!(kinds(&verified).contains(&FindingKind::IndexEvent), "{:#?}", verified.findings);
}

#[test]
fn an_index_that_is_ahead_is_named_and_moving_it_aside_opens_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    write_some(&store, 0..40, 3_000);
    store.close().unwrap();
    let old = copy(directory.path());
    let store = Store::open(directory.path()).unwrap();
    write_some(&store, 40..80, 3_000);
    store.close().unwrap();
    fs::remove_dir_all(directory.path().join("journal")).unwrap();
    whole::copy_into(&old.path().join("journal"), &directory.path().join("journal"));
    let error = Store::open(directory.path()).expect_err("the journal is an older one");
    assert_eq!(error.kind(), ErrorKind::Corrupt);

    let repair = Store::repair(directory.path()).unwrap();
    let verified = repair.verify().unwrap();
    assert!(kinds(&verified).contains(&FindingKind::Index), "{:#?}", verified.findings);
    assert_eq!(Store::open(directory.path()).expect_err("held").kind(), ErrorKind::Locked);
    let rebuilt = repair.rebuild_index().unwrap();
    assert!(rebuilt.moved_to.unwrap().is_dir());
    drop(repair);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(all(&store).len() as u64, store.head().get());
    check_whole(&store.verify().unwrap());
}

#[test]
fn an_index_whose_own_checksums_hold_is_held_against_the_journal() {
    let base = tempfile::tempdir().unwrap();
    let store = Store::open(base.path()).unwrap();
    write_some(&store, 0..5, 3_000);
    store.close().unwrap();
    // The same store, gone on from the same place in two ways.
    let forks = [copy(base.path()), copy(base.path())];
    for fork in &forks {
        let store = Store::open(fork.path()).unwrap();
        store.append("First-1", ExpectedVersion::Any, [event()]).unwrap();
        write_some(&store, 5..50, 3_000);
        store.close().unwrap();
    }
    let [one, other] = forks.each_ref().map(|fork| fork.path());
    fs::remove_dir_all(one.join("index")).unwrap();
    whole::copy_into(&other.join("index"), &one.join("index"));
    fs::copy(other.join("index.checkpoint"), one.join("index.checkpoint")).unwrap();
    let verified = Store::verify_at(one).unwrap();
    // Ids and times differ, while names, versions, positions and places are the same.
    let expected = [
        FindingKind::Index,
        FindingKind::IndexEvent,
        FindingKind::IndexStream,
        FindingKind::IndexPosition,
    ];
    assert_eq!(kinds(&verified), expected, "{:#?}", verified.findings);
    let events = verified.findings.iter().filter(|f| f.kind == FindingKind::IndexEvent);
    let positions = events.filter_map(|f| f.positions.clone()).map(|range| range.start().get());
    let mut positions: Vec<u64> = positions.collect();
    positions.sort_unstable();
    let indexed = verified.indexed.unwrap().get();
    assert_eq!(positions, (46..=indexed).collect::<Vec<u64>>(), "of {indexed}");

    // Opening the store does not believe it either.
    let store = Store::open(one).unwrap();
    assert!(one.join("index.damaged-1").is_dir(), "the index was believed");
    for event in all(&store) {
        let read = store.read_stream(event.stream.clone()).until(event.version).backwards();
        assert!(read.limit(1).collect().unwrap() == [event]);
    }
    assert!(store.verify().unwrap().is_whole());
}

#[test]
fn the_index_of_an_open_store_is_built_again_on_demand() {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    let store = Store::open(directory.path()).unwrap();
    let rebuilt = store.rebuild_index().unwrap();
    assert!(rebuilt.moved_to.unwrap().is_dir());
    assert!(rebuilt.position.get() > 300, "{}", rebuilt.position);
    write_some(&store, 60..62, 100);
    check_whole(&store.verify().unwrap());
    store.close().unwrap();
    check_whole(&Store::verify_at(directory.path()).unwrap());
}

/// Changes one byte of the event that holds `text`, and mends every checksum over it.
fn tamper(segment: &Path, text: &[u8]) {
    let mut bytes = fs::read(segment).unwrap();
    let at = bytes.windows(text.len()).position(|b| b == text).unwrap();
    let frame = bytes[..at].windows(4).rposition(|b| b == b"FSFR").unwrap();
    let length = u32::from_le_bytes(bytes[frame + 8..frame + 12].try_into().unwrap()) as usize;
    bytes[at] ^= 1;
    let bytes_of_frame = &mut bytes[frame..frame + length];
    let (header, entry) = bytes_of_frame.split_at_mut(104);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&entry[..5]), &entry[9..]);
    entry[5..9].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..96]), entry);
    header[96..100].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&header[..100]);
    header[100..].copy_from_slice(&crc.to_le_bytes());
    fs::write(segment, bytes).unwrap();
}

#[test]
fn a_change_whose_checksums_were_mended_breaks_the_chain() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for payload in [&b"Alice owes 100"[..], &[1; 700_000], &[2; 700_000]] {
        let event = NewEvent::bytes("T", payload.to_vec());
        store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let noted = store.head_hash();
    store.close().unwrap();
    tamper(&directory.path().join("journal/00000000000000000001"), b"Alice owes 100");
    let verified = Store::verify_at(directory.path()).unwrap();
    assert!(kinds(&verified).contains(&FindingKind::Chain), "{:#?}", verified.findings);
    let store = Store::open(directory.path()).expect("opening looks at the last segment only");
    assert_eq!(store.check_hash(&noted).unwrap(), HashCheck::Changed);
    assert!(kinds(&store.verify().unwrap()).contains(&FindingKind::Chain));
}

#[test]
fn a_noted_hash_tells_the_same_history_from_a_changed_and_a_shorter_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let nothing = store.head_hash();
    let mut noted = Vec::new();
    for _ in 0..5 {
        store.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
        noted.push(store.head_hash());
    }
    store.close().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let closed = store.head_hash();
    assert_eq!(store.check_hash(&nothing).unwrap(), HashCheck::Same);
    for hash in noted.iter().chain([&closed]) {
        let read: HeadHash = hash.to_string().parse().unwrap();
        assert_eq!(store.check_hash(&read).unwrap(), HashCheck::Same, "{hash}");
    }
    let mut changed = noted[2];
    changed.hash[0] ^= 1;
    assert_eq!(store.check_hash(&changed).unwrap(), HashCheck::Changed);
    let mut later = noted[4];
    later.position = filmstrip::Position::new(6);
    assert_eq!(store.check_hash(&later).unwrap(), HashCheck::Shorter);
    let other = Store::temporary().unwrap();
    assert_eq!(other.check_hash(&noted[0]).unwrap(), HashCheck::Shorter);
    other.append("A-1", ExpectedVersion::Any, [event()]).unwrap();
    assert_eq!(other.check_hash(&noted[0]).unwrap(), HashCheck::Changed);
}

/// While an index that had been lost was built again, verifying had a finding: "its checkpoint does not say what
/// the journal holds there". Everything can be verified at any time, beside whatever goes on.
#[test]
fn verifying_beside_everything_that_goes_on_finds_nothing() {
    let seed = common::seed();
    for round in 0..3 {
        let mut random = Random(seed ^ round);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        sample(&path);
        if random.one_in(2) {
            fs::remove_dir_all(path.join("index")).unwrap();
            if random.one_in(2) {
                fs::remove_file(path.join("index.checkpoint")).unwrap();
            }
        }
        let store = Store::open(&path).unwrap();
        let view = store.project(Tally).start().unwrap();
        let counters = store.repository::<Counter>();
        let ended = AtomicBool::new(false);
        let until_ended = |mut work: Box<dyn FnMut() + Send>| {
            let ended = &ended;
            move || {
                while !ended.load(Ordering::SeqCst) {
                    work();
                }
            }
        };
        let (store, view, counters) = (&store, &view, &counters);
        std::thread::scope(|scope| {
            let size = [10, 3_000, 60_000][random.below(3) as usize];
            let mut writes = 60;
            scope.spawn(until_ended(Box::new(move || {
                write_some(store, writes..writes + 1, size);
                writes += 1;
                counters.execute("1", &5).unwrap();
                std::thread::sleep(Duration::from_millis(writes % 7 * 20));
            })));
            if random.one_in(2) {
                // Not without an end: callers that need the index wait for each of them.
                let ended = &ended;
                scope.spawn(move || {
                    for _ in 0..20 {
                        if !ended.load(Ordering::SeqCst) {
                            store.rebuild_index().unwrap();
                        }
                        std::thread::sleep(Duration::from_millis(20));
                    }
                });
            }
            if random.one_in(2) {
                scope.spawn(until_ended(Box::new(|| view.rebuild().unwrap())));
            }
            if random.one_in(2) {
                let backups = directory.path().join("backups");
                scope.spawn(until_ended(Box::new(move || {
                    let _ = store.backup(&backups).unwrap();
                })));
            }
            scope.spawn(until_ended(Box::new(|| drop(counters.snapshot("1")))));
            let verified = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let begun = Instant::now();
                let mut verifications = 0;
                while verifications < 3 || begun.elapsed() < Duration::from_secs(2) {
                    let verified = store.verify().unwrap();
                    let findings = &verified.findings;
                    assert!(findings.is_empty(), "round {round}, {verifications}: {findings:#?}");
                    verifications += 1;
                }
            }));
            ended.store(true, Ordering::SeqCst);
            if let Err(panic) = verified {
                std::panic::resume_unwind(panic);
            }
        });
    }
}
