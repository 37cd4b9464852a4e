//! Fails each disk operation in turn, and cuts the power at each one, during rare operations of a store: backup,
//! restore, export, copy, rebuild of the index, close of the views, and quarantine of damaged data.
//!
//! * An operation that returned without an error is done. One that failed may be done or not: its result is complete,
//!   or is refused with an error that describes it, and a retry succeeds.
//! * The store itself has everything that was acknowledged, and can be written to.
//!
//! `FILMSTRIP_ROUNDS=2 cargo test --release -p filmstrip-proof proof::operations -- --nocapture` for more.

use crate::codec::frame::padded;
use crate::journal::segment;
use crate::journal::{names, recover};
use crate::log::core::journal_directory;
use crate::log::indexer;
use crate::model::event_set::set::StoredEvent;
use crate::model::projection::contract::Projection;
use crate::model::projection::writer::ViewWriter;
use crate::proof::cuts::scratch;
use crate::proof::disk::{SimulatedDisk, Step};
use crate::proof::volume::{Left, Op, Volume};
use crate::storage::disk::Disk;
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::storage::replace;
use crate::store::Store;
use crate::store::copy::CopyAs;
use crate::store::repair::Repair;
use crate::value::error::{Error, ErrorKind, HandlerError, Result};
use crate::value::event::{NewEvent, RecordedEvent};
use crate::value::filter::Filter;
use crate::value::finding::{Finding, FindingKind};
use crate::value::position::ExpectedVersion;
use crate::value::random::{Random, first_seed, rounds};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
/// Events before the operation.
const EVENTS: u64 = 8;
/// The event that does not fit into the first segment.
const LARGE: u64 = 3;
/// The event that is damaged before an export.
const LOST: u64 = 5;
/// The bytes of a torn write.
const TORN: [u8; 300] = [0xab; 300];

/// The disk and the directory of a case.
pub(super) struct Site {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// The files of the journal before the operation.
    journal: Arc<BTreeMap<String, Vec<u8>>>,
    /// Whether the files are real, so that other libraries find them.
    is_real: bool,
}

/// How far an operation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// The last event that was acknowledged.
    pub(super) acknowledged: u64,
    /// Whether the operation returned without an error.
    pub(super) is_done: bool,
}

/// Reports how far an operation has come.
pub(super) type Tell<'a> = &'a dyn Fn(Reached);

pub(super) struct Operation {
    pub(super) name: &'static str,
    /// Makes the state before the operation, and returns the last event of the store that it changes.
    pub(super) prepare: fn(&Site) -> u64,
    pub(super) act: fn(&Site, Tell<'_>) -> Result<()>,
    /// Checks the state after the operation, does it again, and checks that it is done.
    pub(super) judge: fn(&Site, Reached),
}

/// Each operation, with its two tests.
macro_rules! operations {
    ($($name:ident: $prepare:ident, $act:ident, $judge:ident;)*) => {$(
        mod $name {
            use super::*;

            const OPERATION: Operation = Operation {
                name: stringify!($name),
                prepare: $prepare,
                act: $act,
                judge: $judge,
            };

            #[test]
            fn whichever_operation_of_the_disk_fails_it_is_done_or_can_be_done_again() {
                let failed = fail_everywhere(&OPERATION);
                println!("figures: failing operations beneath backups, exports, repairs and views: {failed}");
            }

            #[test]
            fn wherever_the_power_is_cut_it_is_done_or_can_be_done_again() {
                let images = cut_everywhere(&OPERATION);
                println!("figures: power cuts beneath backups, exports, repairs and views: {images}");
            }
        }
    )*};
}

operations! {
    a_first_backup: fill, back_up, judge_backup;
    a_further_backup: back_up_once, back_up, judge_backup;
    a_restore: lose_what_follows, restore, judge_restored;
    an_export: damage_event, export, judge_export;
    an_export_over_another: damage_event, export_over_another, judge_exported;
    a_copy: fill, copy, judge_copy;
    a_repair: fill_index, repair, judge_repair;
    an_index_built_again: fill_index, rebuild, judge_store;
    first_views: fill, project, judge_views;
    views_closed_again: fill_views, project, judge_views;
    a_damaged_index: damage_index, go_on, judge_damaged_index;
    damaged_views: damage_views, project, judge_damaged_views;
    a_torn_write: tear, go_on, judge_torn;
}

impl Site {
    fn new(disk: Arc<dyn Disk>, root: &Path, is_real: bool) -> Site {
        Site { disk, root: root.to_owned(), journal: Arc::default(), is_real }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// The directory of a backup, an export or a copy.
    fn target(&self) -> PathBuf {
        self.root.join("made/target")
    }

    fn left_out(&self) -> PathBuf {
        self.root.join("made/target.left-out.jsonl")
    }

    fn open_at(&self, path: &Path) -> Result<Store> {
        Store::builder().disk(Arc::clone(&self.disk)).open(path)
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    pub(super) fn open(&self) -> Result<Store> {
        self.open_at(&self.store())
    }

    fn is_there(&self, path: &Path) -> bool {
        matches!(self.disk.kind(path), Ok(Some(_)))
    }

    fn read(&self, path: &Path) -> Vec<u8> {
        replace::read(&*self.disk, path, u64::MAX).unwrap()
    }

    /// The files in the journal of the store in `path`.
    fn journal_of(&self, path: &Path) -> BTreeMap<String, Vec<u8>> {
        let directory = journal_directory(path);
        let names = self.disk.list(&directory).unwrap().into_iter();
        names.map(|name| (name.clone(), self.read(&directory.join(name)))).collect()
    }

    /// Overwrites bytes in a file of the engine, durably.
    fn overwrite(&self, path: &Path, bytes: &[u8], offset: u64) {
        let file = self.disk.open_to_write(path).unwrap();
        file.write_all_at(bytes, offset).unwrap();
        file.sync_data().unwrap();
    }

    /// The findings of a verification of the closed store in `path`.
    fn findings(&self, path: &Path) -> Vec<Finding> {
        let verified = Repair::on(&self.disk, path).unwrap().verify().unwrap();
        let findings = verified.findings.into_iter();
        // Verifying the index needs a copy of its real files.
        findings.filter(|finding| self.is_real || finding.kind != FindingKind::Index).collect()
    }
}

// ---- what a store does ------------------------------------------------------------------------

fn event(n: u64) -> NewEvent {
    let bytes = if n == LARGE { 1_100_000 } else { 40 };
    NewEvent::json("Counted", &(n, "x".repeat(bytes))).unwrap()
}

fn stream(n: u64) -> String {
    format!("Counted-{}", n % 3)
}

fn append(store: &Store, n: u64) -> Result<()> {
    store.append(stream(n), ExpectedVersion::Any, [event(n)])?;
    Ok(())
}

/// The numbers of the events in `store`, in order. Also checks that each stream has its events.
fn numbers(store: &Store) -> Vec<u64> {
    let number = |event: &RecordedEvent| event.json::<(u64, String)>().unwrap().0;
    let numbers: Vec<u64> = store.read_all().collect().unwrap().iter().map(number).collect();
    for n in 0..3 {
        let name = stream(n);
        let read: Vec<u64> =
            store.read_stream(name.as_str()).collect().unwrap().iter().map(number).collect();
        let expected: Vec<u64> = numbers.iter().copied().filter(|n| stream(*n) == name).collect();
        assert_eq!(read, expected, "{name}");
    }
    numbers
}

fn up_to(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

fn fill(site: &Site) -> u64 {
    let store = site.open().unwrap();
    (1..=EVENTS).for_each(|n| append(&store, n).unwrap());
    store.close().unwrap();
    EVENTS
}

/// Opens the store, and appends an event.
fn go_on(site: &Site, tell: Tell<'_>) -> Result<()> {
    let store = site.open()?;
    let acknowledged = store.head().get() + 1;
    append(&store, acknowledged)?;
    tell(Reached { acknowledged, is_done: true });
    store.close()
}

/// Checks that the store in `path` is whole, has everything acknowledged, and can be written to.
fn judge_at(site: &Site, path: &Path, acknowledged: u64) {
    let store =
        site.open_at(path).unwrap_or_else(|e| panic!("{} does not open: {e}", path.display()));
    let read = numbers(&store);
    let last = read.len() as u64;
    assert_eq!(read, up_to(last));
    // The failed append may be durable.
    assert!((acknowledged..=acknowledged + 1).contains(&last), "{last} of {acknowledged}");
    append(&store, last + 1).unwrap_or_else(|e| panic!("{} does not go on: {e}", path.display()));
    assert_eq!(numbers(&store), up_to(last + 1));
    let findings = store.verify().unwrap().findings;
    assert!(findings.is_empty(), "{findings:#?}");
    store.close().unwrap();
}

fn judge_store(site: &Site, reached: Reached) {
    judge_at(site, &site.store(), reached.acknowledged);
}

// ---- backups ----------------------------------------------------------------------------------

fn back_up_once(site: &Site) -> u64 {
    fill(site);
    let store = site.open().unwrap();
    store.backup(site.target()).unwrap();
    append(&store, EVENTS + 1).unwrap();
    store.close().unwrap();
    EVENTS + 1
}

fn back_up(site: &Site, tell: Tell<'_>) -> Result<()> {
    let store = site.open()?;
    let acknowledged = store.head().get();
    let backup = store.backup(site.target());
    let is_done = backup.is_ok();
    tell(Reached { acknowledged, is_done });
    append(&store, acknowledged + 1)?;
    tell(Reached { acknowledged: acknowledged + 1, is_done });
    store.close()?;
    backup.map(drop)
}

fn judge_backup(site: &Site, reached: Reached) {
    judge_store(site, reached);
    let path = site.target();
    if site.is_there(&path.join("MANIFEST")) {
        let verified = Repair::on(&site.disk, &path).unwrap().verify().unwrap();
        assert!(verified.is_whole(), "{:#?}", verified.findings);
        let has_all = verified.head.get() + 1 >= reached.acknowledged;
        assert!(
            verified.head.get() >= EVENTS && (has_all || !reached.is_done),
            "{}",
            verified.head
        );
    } else {
        assert!(!reached.is_done, "there is no backup");
        refuses_what_is_half(site);
    }
    let store = site.open().unwrap();
    let backup = store.backup_checking_all(&path).expect("it is backed up again");
    assert_eq!((backup.position, backup.segments_replaced), (store.head(), 0));
    let read = numbers(&store);
    store.close().unwrap();
    let restored = site.open_at(&path).expect("the backup opens");
    assert_eq!(numbers(&restored), read);
    restored.close().unwrap();
}

/// Checks that a directory with events but without a manifest does not open as a store.
fn refuses_what_is_half(site: &Site) {
    let path = site.target();
    let has_events = site.journal_of(&path).iter().any(|(name, bytes)| {
        segment::number_of(name).is_some() && recover::used(bytes) > segment::HEADER_BYTES as usize
    });
    if has_events {
        let error = site.open_at(&path).expect_err("half of it was opened");
        let expected = [ErrorKind::InvalidInput, ErrorKind::Corrupt];
        assert!(expected.contains(&error.kind()), "{error}");
    }
}

/// Makes a backup that lacks the store's last event, and from which the restored store continues.
fn lose_what_follows(site: &Site) -> u64 {
    back_up_once(site);
    EVENTS
}

fn restore(site: &Site, tell: Tell<'_>) -> Result<()> {
    let store = site.open_at(&site.target())?;
    let last = store.head().get();
    assert_eq!(numbers(&store), up_to(last));
    append(&store, last + 1)?;
    tell(Reached { acknowledged: last + 1, is_done: true });
    store.close()
}

fn judge_restored(site: &Site, reached: Reached) {
    judge_at(site, &site.target(), reached.acknowledged);
    judge_at(site, &site.store(), EVENTS + 1);
}

// ---- exports ----------------------------------------------------------------------------------

/// A store with one unreadable event that is not in the index either.
fn damage_event(site: &Site) -> u64 {
    fill(site);
    Repair::on(&site.disk, &site.store()).unwrap().rebuild_index().unwrap();
    let path = segment::path(&journal_directory(&site.store()), 2);
    let payload = format!("[{LOST},\"x");
    let bytes = site.read(&path);
    let at = bytes.windows(payload.len()).position(|found| found == payload.as_bytes()).unwrap();
    site.overwrite(&path, b"!", at as u64 + 3);
    EVENTS
}

fn export(site: &Site, tell: Tell<'_>) -> Result<()> {
    let repair = Repair::on(&site.disk, &site.store())?;
    let exported = repair.export(site.target())?;
    tell(Reached { acknowledged: EVENTS, is_done: true });
    assert_eq!((exported.events, exported.left_out), (EVENTS - 2, 1));
    Ok(())
}

/// The same where a process was killed that had just begun another one, so that its mark is not durable.
fn export_over_another(site: &Site, tell: Tell<'_>) -> Result<()> {
    let mark = site.target().join("export.unfinished");
    let begin = || {
        site.disk.create_dir_all(&site.target(), 0o777)?;
        site.disk.create_new(&mark, 0o777).map(drop)
    };
    begin().map_err(|e| Error::io("create", &mark, e))?;
    export(site, tell)
}

fn judge_export(site: &Site, reached: Reached) {
    let path = site.target();
    if !site.is_there(&path.join("MANIFEST")) {
        let is_left = site.is_there(&path) || site.is_there(&site.left_out());
        // Only a power cut, after which no cleanup is possible, may leave something.
        assert!(!is_left || !site.is_real, "the export failed, and left {path:?}");
    }
    judge_exported(site, reached);
}

fn judge_exported(site: &Site, reached: Reached) {
    let path = site.target();
    if !site.is_there(&path.join("MANIFEST")) {
        assert!(!reached.is_done, "there is no store");
        if !site.disk.list(&path).unwrap().is_empty() {
            let error = site.open_at(&path).expect_err("half of it was opened");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        export(site, &|_| ()).unwrap_or_else(|e| panic!("it is not exported again: {e}"));
    }
    assert!(site.journal_of(&site.store()) == *site.journal, "what was exported is changed");
    let findings = site.findings(&path);
    assert!(findings.is_empty(), "{findings:#?}");
    let exported = site.open_at(&path).expect("the export opens");
    assert_eq!(numbers(&exported), [1, 2, 3, 4, 6, 7]);
    exported.close().unwrap();
    let left_out = String::from_utf8(site.read(&site.left_out())).unwrap();
    let kinds: Vec<_> = left_out.lines().map(|line| line.split('"').nth(1).unwrap()).collect();
    assert_eq!(kinds, ["lost", "stream_cut", "event", "renumbered"], "{left_out}");
}

// ---- copies -----------------------------------------------------------------------------------

/// Event 2 is there twice in a copy, and event 5 is not.
const COPIED: [u64; 8] = [1, 2, 2, 3, 4, 6, 7, 8];

fn copy(site: &Site, tell: Tell<'_>) -> Result<()> {
    let store = site.open()?;
    let copied = store.copy_into(site.target(), |event| {
        let (number, text) = event.json::<(u64, String)>()?;
        let part = || StoredEvent::json_of("Part", 2, &(number, &text));
        Ok(match number {
            2 => CopyAs::Events(vec![part()?, part()?]),
            5 => CopyAs::Nothing,
            _ => CopyAs::Unchanged,
        })
    })?;
    tell(Reached { acknowledged: EVENTS, is_done: true });
    assert_eq!((copied.events, copied.replaced, copied.left_out), (EVENTS, 1, 1));
    store.close()
}

fn judge_copy(site: &Site, reached: Reached) {
    let path = site.target();
    if !site.is_there(&path.join("MANIFEST")) {
        assert!(!reached.is_done, "there is no store");
        // Only a power cut, after which no cleanup is possible, may leave something.
        let is_left = site.is_there(&path);
        assert!(!is_left || !site.is_real, "the copy failed, and left {path:?}");
        if is_left && !site.disk.list(&path).unwrap().is_empty() {
            let error = site.open_at(&path).expect_err("half of it was opened");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        copy(site, &|_| ()).unwrap_or_else(|e| panic!("it is not copied again: {e}"));
    }
    let findings = site.findings(&path);
    assert!(findings.is_empty(), "{findings:#?}");
    let copied = site.open_at(&path).expect("the copy opens");
    assert_eq!(numbers(&copied), COPIED);
    copied.close().unwrap();
    judge_at(site, &site.store(), EVENTS);
}

// ---- the index --------------------------------------------------------------------------------

/// A store whose index has all of its events.
fn fill_index(site: &Site) -> u64 {
    fill(site);
    let store = site.open().unwrap();
    let log = store.log.log();
    indexer::index_up_to(log, log.head.visible().1);
    assert_eq!(log.tail.indexed().position, EVENTS);
    store.close().unwrap();
    EVENTS
}

fn repair(site: &Site, tell: Tell<'_>) -> Result<()> {
    let rebuilt = Repair::on(&site.disk, &site.store())?.rebuild_index()?;
    assert!(rebuilt.moved_to.is_some());
    tell(Reached { acknowledged: EVENTS, is_done: true });
    let store = site.open()?;
    assert_eq!(numbers(&store), up_to(EVENTS));
    store.close()
}

fn judge_repair(site: &Site, reached: Reached) {
    Repair::on(&site.disk, &site.store())
        .unwrap()
        .rebuild_index()
        .expect("it is quarantined again");
    judge_store(site, reached);
}

fn rebuild(site: &Site, tell: Tell<'_>) -> Result<()> {
    let store = site.open()?;
    let rebuilt = store.rebuild_index();
    // Append even if the rebuild failed.
    append(&store, EVENTS + 1)?;
    tell(Reached { acknowledged: EVENTS + 1, is_done: rebuilt.is_ok() });
    rebuilt?;
    assert_eq!(numbers(&store), up_to(EVENTS + 1));
    store.close()
}

fn damage_index(site: &Site) -> u64 {
    fill_index(site);
    site.overwrite(&site.store().join("index.checkpoint"), b"damaged", 0);
    EVENTS
}

fn judge_damaged_index(site: &Site, reached: Reached) {
    judge_store(site, reached);
    assert!(site.is_there(&site.store().join("index.damaged-1")), "the damaged one is gone");
}

// ---- views ------------------------------------------------------------------------------------

struct Counts;

impl Projection for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 1;
    const INDEXES: &'static [&'static str] = &["count"];

    fn filter(&self) -> Filter {
        Filter::category("Counted")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let count = view.get::<u64>(event.stream.as_str())?.unwrap_or(0) + 1;
        let key = [("count", &count.to_be_bytes()[..])];
        Ok(view.put_indexed(event.stream.as_str(), &count, &key)?)
    }
}

fn fill_views(site: &Site) -> u64 {
    fill(site);
    project(site, &|_| ()).unwrap();
    EVENTS + 1
}

/// Appends an event, and waits until a view has it.
fn project(site: &Site, tell: Tell<'_>) -> Result<()> {
    let store = site.open()?;
    let acknowledged = store.head().get() + 1;
    append(&store, acknowledged)?;
    tell(Reached { acknowledged, is_done: false });
    let counts = store.project(Counts).start()?;
    counts.wait_for(store.head(), LONG)?;
    let mut rows: Vec<(String, u64)> = counts.view().prefix("")?;
    rows.sort();
    let count = |stream: &str| (1..=acknowledged).filter(|n| self::stream(*n) == stream).count();
    for (stream, met) in &rows {
        assert_eq!(*met, count(stream) as u64, "{stream} of {acknowledged}");
    }
    assert_eq!(rows.len(), 3);
    let listed = counts.view().index("count").collect::<u64>()?;
    let mut by_count = rows.iter().map(|(stream, count)| (*count, stream)).collect::<Vec<_>>();
    by_count.sort();
    assert!(
        listed.iter().map(|listed| (listed.row, &listed.key)).eq(by_count),
        "the index has {listed:?}, and the view {rows:?}"
    );
    drop(counts);
    store.close()?;
    tell(Reached { acknowledged, is_done: true });
    Ok(())
}

fn judge_views(site: &Site, reached: Reached) {
    let is_noted = site.is_there(&site.store().join("views.closed"));
    let findings = site.findings(&site.store());
    let of_views = findings.iter().filter(|finding| finding.kind == FindingKind::View);
    assert!(!is_noted || of_views.count() == 0, "more is noted than there is: {findings:#?}");
    project(site, &|_| ()).unwrap_or_else(|e| panic!("the view does not go on: {e}"));
    let findings = site.findings(&site.store());
    assert!(findings.is_empty(), "{findings:#?}");
    let head = Repair::on(&site.disk, &site.store()).unwrap().verify().unwrap().head.get();
    judge_store(site, Reached { acknowledged: head, ..reached });
    assert!(head > reached.acknowledged, "{head} of {}", reached.acknowledged);
}

fn damage_views(site: &Site) -> u64 {
    let last = fill_views(site);
    let file = site.store().join("views/conf");
    std::fs::write(&file, [0xab; 100]).unwrap();
    site.disk.open_foreign(&file).and_then(|file| file.sync_all()).unwrap();
    last
}

fn judge_damaged_views(site: &Site, reached: Reached) {
    project(site, &|_| ()).unwrap_or_else(|e| panic!("the view does not go on: {e}"));
    assert!(site.is_there(&site.store().join("views.damaged-1")), "the damaged ones are gone");
    judge_views(site, reached);
}

// ---- torn writes ------------------------------------------------------------------------------

fn tear(site: &Site) -> u64 {
    fill(site);
    let path = segment::path(&journal_directory(&site.store()), 2);
    let end = padded(recover::used(&site.read(&path)) as u64);
    site.overwrite(&path, &TORN, end);
    EVENTS
}

fn judge_torn(site: &Site, reached: Reached) {
    judge_store(site, reached);
    let journal = site.journal_of(&site.store());
    let mut kept = journal.iter().filter(|(name, _)| names::is_torn(name));
    assert!(kept.any(|(_, bytes)| bytes[..] == TORN[..]), "the torn write is gone");
}

// ---- each operation of the disk fails ---------------------------------------------------------

/// How an operation of the disk fails, and whether it writes half first: the disk is full, or broken, or broken in
/// the middle of a write.
const FAILURES: [(i32, bool); 3] = [(28, false), (5, false), (5, true)];
/// In the short form, one of this many operations of the disk fails or is cut off.
const SHORT: u64 = 8;

/// Runs `work`, and prints `case` if it panics.
fn in_case(case: &str, work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        eprintln!("{case}");
        resume_unwind(panic);
    }
}

/// Does `operation` on a copy of `prepared` with a failure in the `n`-th operation of the disk, or none if `n` is 0.
/// Returns how many operations there were, and whether one failed.
fn fail(
    operation: &Operation,
    prepared: &Path,
    acknowledged: u64,
    n: u64,
    (errno, halves): (i32, bool),
) -> (u64, bool) {
    let directory = scratch();
    let root = directory.path().join("copy");
    crate::kv::files::copy_all(prepared, &root).unwrap();
    let faults = Arc::new(Faults::default());
    faults.fail_with(errno);
    if halves {
        faults.halve_writes();
    }
    let mut site = Site::new(Arc::new(FaultyDisk(Arc::clone(&faults))), &root, true);
    site.journal = Arc::new(site.journal_of(&site.store()));
    let reached = Mutex::new(Reached { acknowledged, is_done: false });
    faults.fail_in(n);
    let done = (operation.act)(&site, &|told| *reached.lock() = told);
    let (operations, has_failed) = (faults.operations(), faults.has_failed());
    faults.fail_in(0);
    let case = format!("{}: {reached:?}, {done:?}", operation.name);
    assert!(done.is_ok() || has_failed, "{case}: it failed by itself");
    let reached = reached.into_inner();
    in_case(&case, || (operation.judge)(&site, reached));
    (operations, has_failed)
}

/// Returns how many have failed.
pub(super) fn fail_everywhere(operation: &Operation) -> u64 {
    let (seed, rounds) = (first_seed(), rounds(1));
    let step = if rounds > 1 { 1 } else { SHORT };
    let prepared = scratch();
    let root = prepared.path().join("prepared");
    std::fs::create_dir(&root).unwrap();
    let disk = Arc::new(FaultyDisk(Arc::default()));
    let acknowledged = (operation.prepare)(&Site::new(disk, &root, true));
    let (operations, _) = fail(operation, &root, acknowledged, 0, FAILURES[0]);
    let mut failed = 0;
    for n in (1 + seed % step..=operations).step_by(step as usize) {
        // The short form tries one of them.
        let taken = if rounds > 1 { FAILURES.len() } else { 1 };
        for from in 0..taken {
            let failure = FAILURES[((n / step) as usize + from) % FAILURES.len()];
            let case = format!("FILMSTRIP_SEED={seed}, operation {n}, {failure:?}");
            in_case(&case, || {
                failed += u64::from(fail(operation, &root, acknowledged, n, failure).1);
            });
        }
    }
    assert!(failed > 2, "only {failed} of {operations} failed");
    failed
}

// ---- the power is cut at each of them ----------------------------------------------------------

/// Returns the number of images.
pub(super) fn cut_everywhere(operation: &Operation) -> u64 {
    let (first, rounds) = (first_seed(), rounds(1));
    let mut images = 0;
    for seed in first..first + rounds {
        images += cut_with(operation, seed, rounds == 1);
    }
    assert!(images > 5 * rounds, "only {images} images");
    images
}

/// Returns the number of images.
fn cut_with(operation: &Operation, seed: u64, is_short: bool) -> u64 {
    let random = &mut Random::new(seed);
    let root = scratch();
    let disk = SimulatedDisk::<Reached>::new(root.path(), Volume::new());
    let site = Site::new(Arc::new(disk.clone()), root.path(), false);
    let acknowledged = (operation.prepare)(&site);
    // The state before the operation is durable.
    let mut volume = disk.volume().cut(Left::All, random);
    let recording = SimulatedDisk::new(root.path(), volume.clone());
    let mut site = Site::new(Arc::new(recording.clone()), root.path(), false);
    site.journal = Arc::new(site.journal_of(&site.store()));
    (operation.act)(&site, &|reached| recording.note(reached)).unwrap();
    let mut images = 0;
    let mut reached = Reached { acknowledged, is_done: false };
    let mut cut = |volume: &Volume, left: Left, reached: Reached, what: &str| {
        images += 1;
        let image = volume.cut(left, random);
        let case =
            format!("FILMSTRIP_SEED={seed}, cut {what}, of the unsynced {left:?}: {reached:?}");
        in_case(&case, || judge_image(operation, image, &site, reached));
    };
    let step = if is_short { SHORT } else { 1 };
    let mut is_renamed = false;
    for (n, recorded) in recording.trace().iter().enumerate() {
        match recorded {
            Step::Note(told) => {
                reached = *told;
                cut(&volume, Left::Synced, reached, &format!("at step {n}, when it was told"));
            }
            Step::Op(op) => {
                let left =
                    [Left::Synced, Left::All, Left::Some(10), Left::Some(50), Left::Some(90)];
                // The short form tries one of them.
                let taken = if is_short { 1 } else { left.len() };
                let taken = if n as u64 % step == seed % step { taken } else { 0 };
                for from in 0..taken {
                    let left = left[(n / step as usize + from) % left.len()];
                    cut(&volume, left, reached, &format!("before step {n}, {}", said_of(op)));
                }
                volume.apply(op);
                // A file counts once its new name is durable, and then its content must be true. A wrong order shows
                // at this moment, so cut here in the short form too.
                let is_named = is_renamed && matches!(op, Op::Sync { .. });
                if is_named {
                    cut(&volume, Left::Synced, reached, &format!("after step {n}, a name's sync"));
                }
                is_renamed = matches!(op, Op::Rename { .. }) || (is_renamed && !is_named);
            }
        }
    }
    cut(&volume, Left::Synced, reached, "at the end");
    images
}

/// Describes a step, without the bytes of a write.
fn said_of(op: &Op) -> String {
    match op {
        Op::Write { file, offset, bytes } => {
            format!("{} bytes at {offset} of {file}", bytes.len())
        }
        op => format!("{op:?}"),
    }
}

fn judge_image(operation: &Operation, image: Volume, before: &Site, reached: Reached) {
    let root = scratch();
    let disk = SimulatedDisk::<Reached>::new(root.path(), image);
    disk.materialize();
    let mut site = Site::new(Arc::new(disk), root.path(), false);
    site.journal = Arc::clone(&before.journal);
    (operation.judge)(&site, reached);
}
