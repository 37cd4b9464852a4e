//! A store whose disk fails, or whose leader panics: every caller gets a reply, nothing acknowledged is lost, and
//! only durable events are served.

use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::Location;
use crate::codec::record;
use crate::codec::sparse_index::SparseEntry;
use crate::index::core::Index;
use crate::index::flush_batch::FlushBatch;
use crate::log::commit::Commit;
use crate::log::commit::outcome::AppendError;
use crate::log::indexer::managed::Bounds;
use crate::model::event_set::set::Event;
use crate::model::process::contract::{ProcessManager, Trigger};
use crate::model::process::effects::Effects;
use crate::model::process::status::ProcessState;
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::store::Store;
use crate::value::clock::{Clock, Micros};
use crate::value::error::{Error, ErrorKind, HandlerError};
use crate::value::event::{NewEvent, RecordedEvent};
use crate::value::filter::Filter;
use crate::value::finding::FindingKind;
use crate::value::position::{ExpectedVersion, Position, Version};
use chrono::{DateTime, Utc};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// A store in `directory`, on a disk that fails when it is told to.
pub(crate) fn faulty(directory: &Path) -> (Arc<Faults>, Store) {
    let faults = Arc::new(Faults::default());
    let disk = Arc::new(FaultyDisk(Arc::clone(&faults)));
    (faults, Store::builder().disk(disk).open(directory).unwrap())
}

fn event(n: u64) -> NewEvent {
    NewEvent::json("Counted", &n).unwrap()
}

fn numbers(store: &Store) -> Vec<u64> {
    let events = store.read_all().collect().unwrap();
    events.iter().map(|event| event.json().unwrap()).collect()
}

fn kind(error: AppendError) -> ErrorKind {
    Error::from(error).kind()
}

/// Appends 1, 2, 3… up to `count` or until one fails. Returns the number of acknowledged events, and the failure.
fn append_until_failure(store: &Store, count: u64, bytes: usize) -> (u64, Option<ErrorKind>) {
    for n in 1..=count {
        let filler = NewEvent::bytes("Filler", vec![7; bytes]);
        let result = match bytes {
            0 => store.append("A-1", Version::new(n - 1), [event(n)]),
            _ => store.append("A-1", Version::new(n - 1), [filler]),
        };
        if let Err(error) = result {
            return (n - 1, Some(kind(error)));
        }
    }
    (count, None)
}

#[test]
fn whichever_write_or_sync_fails_the_acknowledged_stand_and_a_reopened_store_goes_on() {
    for halves in [false, true] {
        for n in 1.. {
            let directory = tempfile::tempdir().unwrap();
            let (faults, store) = faulty(directory.path());
            if halves {
                faults.halve_writes();
            }
            faults.fail_in(n);
            let (acknowledged, failure) = append_until_failure(&store, 6, 0);
            let case = format!("operation {n}, halves {halves}: {acknowledged}, {failure:?}");
            if !faults.has_failed() {
                assert_eq!((acknowledged, failure), (6, None), "{case}");
                assert!(n > 12, "{case}: fewer operations than six appends must have");
                break;
            }
            assert_eq!(numbers(&store), (1..=acknowledged).collect::<Vec<_>>(), "{case}");
            if let Some(failure) = failure {
                assert_eq!(failure, ErrorKind::OutcomeUnknown, "{case}");
                let refused = store.append("B-1", ExpectedVersion::Any, [event(0)]).unwrap_err();
                assert_eq!(kind(refused), ErrorKind::ReadOnly, "{case}");
                assert_eq!(store.close().unwrap_err().kind(), ErrorKind::ReadOnly, "{case}");
            } else {
                store.close().unwrap();
            }
            let store = Store::open(directory.path()).unwrap_or_else(|e| panic!("{case}: {e}"));
            let read = numbers(&store);
            // The failed one may be durable.
            let whole: Vec<u64> = (1..=read.len() as u64).collect();
            assert_eq!(read, whole, "{case}");
            assert!((acknowledged..=acknowledged + 1).contains(&(read.len() as u64)), "{case}");
            let next = read.len() as u64 + 1;
            let done = store.append("A-1", Version::new(next - 1), [event(next)]).unwrap();
            assert_eq!(done.position.get(), next, "{case}");
        }
    }
}

#[test]
fn whatever_fails_while_a_segment_is_begun_the_acknowledged_stand() {
    const BYTES: usize = 300_000;
    for n in 1.. {
        let directory = tempfile::tempdir().unwrap();
        let (faults, store) = faulty(directory.path());
        faults.fail_in(n);
        let (acknowledged, failure) = append_until_failure(&store, 6, BYTES);
        let case = format!("operation {n}: {acknowledged}, {failure:?}");
        let failed = faults.has_failed();
        drop(store);
        let store = Store::open(directory.path()).unwrap_or_else(|e| panic!("{case}: {e}"));
        let read = store.head().get();
        assert!((acknowledged..=acknowledged + 1).contains(&read), "{case}: {read}");
        assert_eq!(store.read_all().collect().unwrap().len() as u64, read, "{case}");
        let appended = store.append("B-1", ExpectedVersion::NoStream, [event(1)]);
        assert!(appended.is_ok(), "{case}: {appended:?}");
        if !failed {
            let second = directory.path().join("journal/00000000000000000002");
            assert!(second.exists(), "{case}: no segment was begun");
            break;
        }
    }
}

#[test]
fn a_full_disk_is_storage_full_with_nothing_written_and_with_space_again_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (faults, store) = faulty(directory.path());
    faults.set_full(true);
    let (acknowledged, failure) = append_until_failure(&store, 100, 100_000);
    assert_eq!(failure, Some(ErrorKind::StorageFull));
    assert!(acknowledged > 5, "{acknowledged}: the first segment had room");
    assert_eq!(store.head().get(), acknowledged);
    // An event that still fits is accepted: the store did not become read-only.
    store.append("B-1", ExpectedVersion::NoStream, [event(1)]).expect("it fits the segment");
    let large = || NewEvent::bytes("Filler", vec![7; 100_000]);
    let again = store.append("A-1", Version::new(acknowledged), [large()]).unwrap_err();
    assert_eq!(kind(again), ErrorKind::StorageFull);
    faults.set_full(false);
    store.append("A-1", Version::new(acknowledged), [large()]).expect("there is space again");
    store.close().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.head().get(), acknowledged + 2);
}

/// A prepared segment reserves no space on a copy-on-write filesystem. A full btrfs refused a frame in the middle of
/// a segment; the reply was `OutcomeUnknown`, although nothing was written, and the store refused everything until it
/// was reopened. If the store can show that nothing of the frame is left, it must report that nothing was written,
/// and continue.
#[test]
fn a_frame_that_finds_no_room_on_a_disk_that_copies_was_not_written_if_nothing_of_it_is_left() {
    const BYTES: usize = 5_000;
    for room in [0, 1, 8, 100, 4_096, BYTES] {
        let directory = tempfile::tempdir().unwrap();
        let (faults, store) = faulty(directory.path());
        assert_eq!(append_until_failure(&store, 3, BYTES), (3, None));
        faults.set_copying(room, false);
        let append = || {
            let event = NewEvent::bytes("Filler", vec![7; BYTES]);
            store.append("B-1", ExpectedVersion::Any, [event])
        };
        let error = append().unwrap_err();
        assert!(error.to_string().contains("nothing was written"), "{room}: {error}");
        assert_eq!(kind(error), ErrorKind::StorageFull, "{room}");
        assert_eq!(store.head().get(), 3, "{room}");
        // A copy, as a crash would leave the store now.
        let crashed = tempfile::tempdir().unwrap();
        let copy = crashed.path().join("copy");
        crate::kv::files::copy_all(directory.path(), &copy).unwrap();
        let opened = Store::open(&copy).unwrap();
        assert!(opened.torn_write().is_none(), "{room}: {:?}", opened.torn_write());
        assert_eq!(opened.head().get(), 3, "{room}");
        assert_eq!(kind(append().unwrap_err()), ErrorKind::StorageFull, "{room}, again");
        faults.end_copying();
        assert_eq!(append().unwrap().position.get(), 4, "{room}");
        store.close().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.read_all().collect().unwrap().len(), 4, "{room}");
        assert!(store.verify().unwrap().is_whole(), "{room}");
    }
}

/// If a part of the frame cannot be removed, reopening the store may find it, so the outcome is unknown.
#[test]
fn a_frame_of_which_something_is_left_has_an_unknown_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let (faults, store) = faulty(directory.path());
    assert_eq!(append_until_failure(&store, 3, 5_000), (3, None));
    faults.set_copying(100, true);
    let append = || store.append("B-1", ExpectedVersion::Any, [event(1)]);
    assert_eq!(kind(append().unwrap_err()), ErrorKind::OutcomeUnknown);
    faults.end_copying();
    assert_eq!(kind(append().unwrap_err()), ErrorKind::ReadOnly);
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.head().get(), 3);
}

/// The same for the header of a new segment: a prepared file is not a segment until it has its name.
#[test]
fn a_segment_whose_header_finds_no_room_was_not_begun() {
    let directory = tempfile::tempdir().unwrap();
    let (faults, store) = faulty(directory.path());
    // Ten events fit into the first segment.
    assert_eq!(append_until_failure(&store, 10, 100_000), (10, None));
    let next = |name: &str| directory.path().join("journal").join(format!("{:020}{name}", 2));
    let length = || next(".prepared").metadata().map_or(0, |prepared| prepared.len());
    let deadline = Instant::now() + PATIENCE;
    while length() < 2 << 20 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let append = || {
        let event = NewEvent::bytes("Filler", vec![7; 100_000]);
        store.append("A-1", ExpectedVersion::Any, [event])
    };
    for room in [0, 10] {
        faults.set_copying(room, false);
        let error = append().unwrap_err();
        assert!(error.to_string().contains("nothing was written"), "{room}: {error}");
        assert_eq!(kind(error), ErrorKind::StorageFull, "{room}");
        assert!(!next("").exists() && !next(".prepared").exists(), "{room}");
    }
    faults.end_copying();
    assert_eq!(append().unwrap().position.get(), 11);
    store.close().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.head().get(), 11);
    assert!(store.verify().unwrap().is_whole());
}

/// A clock that panics at one of its calls.
struct Bomb {
    asked: AtomicU64,
    explodes_at: u64,
}

impl Clock for Bomb {
    fn now(&self) -> DateTime<Utc> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(asked != self.explodes_at, "the clock exploded");
        Utc::now()
    }
}

/// So few writers that a leader hands over after each group, and so many that it continues.
const WRITERS: [usize; 2] = [8, 24];

/// Appends from `writers` threads at once. Returns each thread's number of acknowledged events and its first failure.
fn append_at_once(store: &Store, writers: usize) -> Vec<(u64, Option<ErrorKind>)> {
    let (answers, answered) = channel();
    let barrier = Arc::new(Barrier::new(writers));
    for writer in 0..writers {
        let (store, answers, barrier) = (store.clone(), answers.clone(), Arc::clone(&barrier));
        std::thread::spawn(move || {
            barrier.wait();
            let mut acknowledged = 0;
            let failure = loop {
                let stream = format!("W-{writer}");
                match store.append(&stream, Version::new(acknowledged), [event(acknowledged)]) {
                    Ok(_) if acknowledged == 199 => break None,
                    Ok(_) => acknowledged += 1,
                    Err(error) => break Some(kind(error)),
                }
            };
            drop(store);
            let _ = answers.send((acknowledged, failure));
        });
    }
    drop(answers);
    let mut all = Vec::new();
    loop {
        match answered.recv_timeout(PATIENCE) {
            Ok(answer) => all.push(answer),
            Err(RecvTimeoutError::Disconnected) => return all,
            Err(RecvTimeoutError::Timeout) => panic!("a caller waits forever: {all:?}"),
        }
    }
}

fn assert_everyone_was_answered(answers: &[(u64, Option<ErrorKind>)], store: &Store, case: &str) {
    for (writer, (acknowledged, failure)) in answers.iter().enumerate() {
        let expected = [ErrorKind::OutcomeUnknown, ErrorKind::ReadOnly];
        let failure = failure.unwrap_or_else(|| panic!("{case}: writer {writer} met no failure"));
        assert!(expected.contains(&failure), "{case}: {failure:?} after {acknowledged}");
    }
    let acknowledged: u64 = answers.iter().map(|(acknowledged, _)| acknowledged).sum();
    assert_eq!(store.head().get(), acknowledged, "{case}: something else became visible");
}

#[test]
fn when_a_group_fails_at_its_write_or_sync_everyone_is_answered() {
    let mut failures = 0;
    let operations = [9, 10, 11, 12, 30, 61, 100];
    for (n, writers) in operations.iter().flat_map(|n| WRITERS.map(|writers| (*n, writers))) {
        let directory = tempfile::tempdir().unwrap();
        let (faults, store) = faulty(directory.path());
        faults.fail_in(n);
        let answers = append_at_once(&store, writers);
        assert_eq!(answers.len(), writers);
        assert!(faults.has_failed());
        // An operation that only wrote the watermark or prepared a segment fails no caller.
        if answers.iter().any(|(_, failure)| failure.is_some()) {
            failures += 1;
            let case = format!("operation {n}, {writers} writers");
            assert_everyone_was_answered(&answers, &store, &case);
        }
        let acknowledged = store.head();
        drop(store);
        assert!(Store::open(directory.path()).unwrap().head() >= acknowledged);
    }
    assert!(failures >= 6, "of 14 failed operations only {failures} failed a group");
}

/// The story: a leader caught a panic and dropped its payload. The payload may be the application's type; it panicked
/// again. The leader was gone, nobody led, and all writers waited forever.
#[test]
fn when_a_leader_panics_everyone_is_answered() {
    let mut panics = 0;
    let operations = [9, 10, 11, 12, 30, 61, 100];
    for (n, writers) in operations.iter().flat_map(|n| WRITERS.map(|writers| (*n, writers))) {
        let directory = tempfile::tempdir().unwrap();
        let (faults, store) = faulty(directory.path());
        faults.panic_instead();
        faults.fail_in(n);
        let answers = append_at_once(&store, writers);
        assert_eq!(answers.len(), writers);
        // Panics of the thread that prepares segments fail no caller.
        if answers.iter().any(|(_, failure)| failure.is_some()) {
            panics += 1;
            assert_everyone_was_answered(
                &answers,
                &store,
                &format!("panic {n}, {writers} writers"),
            );
        }
        let acknowledged = store.head();
        drop(store);
        assert!(Store::open(directory.path()).unwrap().head() >= acknowledged);
    }
    assert!(panics >= 4, "of 14 panics only {panics} were a leader's");
}

/// The story: the leader called the clock, which is the application's code. A panic there ended all writing, and a
/// clock that waited for a thread that was appending hung. Now each caller reads the clock before it waits.
#[test]
fn a_clock_that_panics_fails_one_commit_and_no_other() {
    for (n, writers) in [2, 10, 47].iter().flat_map(|n| WRITERS.map(|writers| (*n, writers))) {
        let directory = tempfile::tempdir().unwrap();
        let clock = Bomb { asked: AtomicU64::new(0), explodes_at: n };
        let store = Store::builder().clock(clock).open(directory.path()).unwrap();
        let answers = append_at_once(&store, writers);
        let failures: Vec<_> = answers.iter().filter_map(|(_, failure)| *failure).collect();
        assert_eq!((answers.len(), failures), (writers, vec![ErrorKind::Panicked]));
        store.append("Z-1", ExpectedVersion::Any, [event(1)]).expect("the store goes on");
    }
}

/// A `tracing` subscriber that panics at each error.
struct PanicsAtErrors;

impl tracing::Subscriber for PanicsAtErrors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        panic!("the listener has had enough");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// The story: the store logs that it refuses further commits. A subscriber that panicked at this message ended the
/// leader: its group and all waiting callers waited forever, and so did a caller that closed the store.
#[test]
fn a_listener_that_panics_leaves_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let (faults, store) = faulty(directory.path());
    faults.fail_in(1);
    let (answers, answered) = channel();
    std::thread::spawn(move || {
        let append = || kind(store.append("A-1", ExpectedVersion::Any, [event(1)]).unwrap_err());
        let failed = tracing::subscriber::with_default(PanicsAtErrors, append);
        let _ = answers.send([failed, append(), store.close().unwrap_err().kind()]);
    });
    let answers = answered.recv_timeout(PATIENCE).expect("a caller waits forever");
    let expected = [ErrorKind::OutcomeUnknown, ErrorKind::ReadOnly, ErrorKind::ReadOnly];
    assert_eq!(answers, expected);
}

/// Makes every write of the index's checkpoint fail, like a full disk or a missing permission.
struct Blocked(PathBuf);

impl Blocked {
    fn new(store: &Path) -> Blocked {
        let path = store.join("index.checkpoint.new");
        std::fs::create_dir(&path).unwrap();
        Blocked(path)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).unwrap();
    }
}

/// Overwrites the tables of the open index.
fn spoil_tables(store: &Path) {
    for table in std::fs::read_dir(store.join("index/packs")).unwrap() {
        let table = std::fs::OpenOptions::new().write(true).open(table.unwrap().path()).unwrap();
        let length = table.metadata().unwrap().len();
        std::os::unix::fs::FileExt::write_all_at(&table, &vec![0; length as usize], 0).unwrap();
    }
}

fn until_it_works<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> T {
    let begun = std::time::Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "it still does not work: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Damage to the index and one failed rebuild made a live store unusable until it was reopened: reads and appends
/// failed long after there was space again, `rebuild_index` said that the store was closed, and writers that waited
/// for the index were refused from then on. Now the rebuild is retried. Meanwhile calls that do not need the index
/// succeed, as far as the bounds allow, and the others get the cause.
#[test]
fn an_index_that_cannot_be_built_again_is_tried_again_and_what_does_not_need_it_goes_on() {
    const FILLER: usize = 64 << 10;
    let bounds = Bounds { batch_bytes_min: 1, unindexed_bytes_max: 4 << 20, ..Bounds::default() };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let open = || Store::builder().bounds(bounds).open(path).unwrap();
    let append = |store: &Store, stream: &str| {
        let filler = NewEvent::bytes("Filler", vec![7; FILLER]);
        store.append(stream, ExpectedVersion::Any, [filler]).map_err(Error::from)
    };
    let store = open();
    for n in 0..200 {
        append(&store, &format!("Old-{}", n % 20)).unwrap();
    }
    store.close().unwrap();
    let store = open();
    assert!(store.log.log().tail.indexed().position > 50, "hardly anything is indexed");
    for n in 0..4 {
        append(&store, &format!("Known-{n}")).unwrap();
    }
    spoil_tables(path);
    let blocked = Blocked::new(path);

    let read = || store.read_stream("Old-1").collect();
    let check = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("index.checkpoint.new"), "{error}");
    };
    check(read().expect_err("its tables are damaged"));
    check(read().expect_err("it could not be built again"));
    check(store.rebuild_index().expect_err("it cannot be"));
    check(append(&store, "New-1").expect_err("it is not known whether the stream is there"));
    let verified = store.verify().unwrap();
    assert!(verified.findings.iter().all(|finding| finding.kind == FindingKind::Index));
    assert_eq!((verified.findings.len(), verified.indexed), (1, None));
    // Each caller of a group gets its own reply.
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (store, append) = (&store, &append);
            scope.spawn(move || {
                for _ in 0..5 {
                    append(store, &format!("Known-{n}")).expect("the stream is known");
                    check(append(store, &format!("New-{n}")).expect_err("it is not known"));
                }
            });
        }
    });
    let (mut appended, mut refused) = (0, 0);
    while refused < 3 && appended < 1_000 {
        match append(&store, "Known-0") {
            Ok(_) => appended += 1,
            Err(error) => {
                check(error);
                refused += 1;
            }
        }
    }
    assert!(appended > 10 && refused == 3, "{appended} appended, {refused} refused");
    let head = store.head().get();
    assert_eq!(store.read_all().collect().unwrap().len() as u64, head, "the journal is whole");

    drop(blocked);
    assert_eq!(until_it_works(read).len(), 10);
    until_it_works(|| append(&store, "New-1"));
    until_it_works(|| append(&store, "Known-0"));
    assert_eq!(store.stream_info("Known-0").unwrap().version.get(), appended + 7);
    // On demand, without a wait.
    spoil_tables(path);
    let blocked = Blocked::new(path);
    until_it_works(|| if read().is_err() { Ok(()) } else { Err(Error::invalid("it was cached")) });
    drop(blocked);
    store.rebuild_index().expect("nothing hinders it any more");
    assert_eq!(read().unwrap().len(), 10);
    assert!(store.verify().unwrap().is_whole());
    assert_eq!(store.head().get(), head + 2);
}

/// A flush batch that failed half-way left an index that ingested nothing more until the store was reopened.
#[test]
fn an_index_that_failed_half_way_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let bounds = Bounds { batch_bytes_min: 1, unindexed_bytes_max: 4 << 20, ..Bounds::default() };
    let store = Store::builder().bounds(bounds).open(directory.path()).unwrap();
    let append = || {
        let filler = NewEvent::bytes("Filler", vec![7; 64 << 10]);
        store.append("A-1", ExpectedVersion::Any, [filler]).map_err(Error::from)
    };
    let blocked = Blocked::new(directory.path());
    let mut refused = 0;
    while refused == 0 {
        if let Err(error) = append() {
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
            refused += 1;
        }
    }
    assert_eq!(
        store.log.log().tail.indexed().position,
        0,
        "the index cannot have ingested anything"
    );
    drop(blocked);
    for _ in 0..200 {
        until_it_works(append);
    }
    assert!(store.log.log().tail.indexed().position > 0);
    assert!(store.verify().unwrap().is_whole());
}

/// A crash in the middle of a flush batch leaves records and sparse index entries in the index that its checkpoint
/// does not cover. Then a backup was restored whose history includes the checkpoint but not the flush batch. The
/// leftover records were served, although nobody had written them in the restored history.
#[test]
fn what_a_window_of_a_history_that_was_given_up_left_in_the_index_is_not_served() {
    const KEY: &str = "group/gone";
    for (of_this_history, sparse_entries) in [(false, false), (false, true), (true, true)] {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let commit = Commit::new().append("A-1", ExpectedVersion::NoStream, [event(1)]);
        store.commit(commit.tracking("here", Position::new(7))).unwrap();
        let id = store.log.log().journal.store();
        let segments = store.log.log().journal.start();
        let disk = Arc::clone(store.log.log().journal.disk());
        store.close().unwrap();
        let (index, _) = Index::open(&disk, directory.path(), id, 1 << 20).unwrap();
        let here = record::tracked_key("here");
        let key = if of_this_history { here.as_str() } else { KEY };
        let location = Location { segment: segments.segment, offset: segments.offset + 4_096 };
        let sparse_entry = SparseEntry { position: 5, time: Micros(0), location };
        let sparse_entries =
            if sparse_entries && !of_this_history { vec![sparse_entry] } else { Vec::new() };
        let records = match (of_this_history, sparse_entries.is_empty()) {
            (false, false) => vec![],
            _ => vec![(key.to_owned(), vec![9; 8])],
        };
        let records = records.into_iter().chain([("last".to_owned(), vec![1])]).collect();
        let end = Checkpoint { position: 1, next: location, chain: [0; 32], time: Micros(0) };
        // The last write fails, so the checkpoint is not written.
        index.db.die_after(1);
        index.insert(FlushBatch { events: vec![], sparse_entries, records, end }).unwrap_err();
        drop(index);

        let store = Store::open(directory.path()).unwrap();
        let case = format!("of this history: {of_this_history}");
        assert_eq!(store.log.log().record(KEY).unwrap(), None, "{case}");
        assert_eq!(store.tracked("here").unwrap(), Position::new(7), "{case}");
        let is_replaced = directory.path().join("index.damaged-1").exists();
        assert_eq!(is_replaced, !of_this_history, "{case}");
        assert!(store.verify().unwrap().is_whole(), "{case}");
    }
}

/// If memory or descriptors were exhausted during a query of a running index, that was taken for damage: the index
/// was quarantined and rebuilt while memory was short. Now the query fails with the cause. An index whose database
/// has panicked for lack of memory is reopened as it is.
#[test]
fn exhausted_memory_says_nothing_against_a_running_index() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.append("A-1", ExpectedVersion::NoStream, [event(1)]).unwrap();
    let healthy = |case: &str| {
        assert!(!directory.path().join("index.damaged-1").exists(), "{case}: it was quarantined");
        store.log.log().index.ask(|index| Ok(index.checkpoint())).expect(case);
        assert!(store.verify().unwrap().is_whole(), "{case}");
    };
    // ENOMEM, ENFILE and EMFILE.
    for code in [12, 23, 24] {
        let exhausted = || {
            let source = std::io::Error::from_raw_os_error(code);
            Error::io("read", Path::new("index"), source)
        };
        let error = store.log.log().index.ask(|_| Err::<(), _>(exhausted())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        healthy(&error.to_string());
    }
    let panic = "failed to allocate critical IO buffer";
    let break_it = || {
        let broken = store.log.log().index.inspect(|index| {
            index.db.panic_with(panic);
            Ok(())
        });
        broken.unwrap();
    };
    break_it();
    let error = store.verify().expect_err("nothing can be said of the index");
    assert!(error.to_string().contains(panic), "{error}");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    store.log.log().index.ask(|index| index.record("none")).expect("it is opened again");
    healthy("after a panic");
}

/// Records a large event for each event.
#[derive(Default, Clone)]
struct Verbose;

#[derive(Clone, serde::Serialize, serde::Deserialize)]
enum Told {
    Told(String),
}
impl Event for Told {}

impl ProcessManager for Verbose {
    const NAME: &'static str = "Verbose";
    type Event = Told;

    fn filter() -> Filter {
        Filter::category("B")
    }

    fn route(_: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(Some("1".to_owned()))
    }

    fn react(&self, _: Trigger<'_>) -> Result<Vec<Told>, HandlerError> {
        Ok(vec![Told::Told("x".repeat(100_000))])
    }

    fn evolve(&mut self, _: &Told) {}

    fn effect(&self, _: &Told, _: &mut Effects<'_>) -> Result<Vec<Told>, HandlerError> {
        Ok(vec![])
    }
}

/// The story: when a full disk had space again, writes continued by themselves, but a process that had met the full
/// disk stayed `Faulted` until it was resumed.
#[test]
fn a_process_that_met_a_full_disk_goes_on_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let (faults, store) = faulty(directory.path());
    let process = store.process::<Verbose>().start().unwrap();
    faults.set_full(true);
    let (_, failure) = append_until_failure(&store, 100, 100_000);
    assert_eq!(failure, Some(ErrorKind::StorageFull));
    let trigger = store.append("B-1", ExpectedVersion::NoStream, [event(1)]).expect("it fits");
    let deadline = Instant::now() + PATIENCE;
    while process.status().retrying.is_none_or(|retrying| retrying.failures < 2) {
        assert!(Instant::now() < deadline, "{:?}", process.status());
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = process.status();
    assert!(matches!(status.state, ProcessState::Running), "{status:?}");
    faults.set_full(false);
    process.wait_for(trigger.position, PATIENCE).expect("it goes on");
    assert!(process.status().retrying.is_none());
    assert_eq!(store.stream_info("Verbose-1").unwrap().version, Version::new(1));
    store.close().unwrap();
}
