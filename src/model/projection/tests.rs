//! Rebuilt views, which are written in parts, when some of the writes fail.

mod indexes;
mod parking;
mod past;
mod work;

use super::*;
use crate::log::commit::Commit;
use crate::model::policy::ErrorAction;
use crate::model::projection::status::ProjectionState;
use crate::model::projection::trees::{CHECKPOINT, MadeBy, ORIGIN, Place, Trees};
use crate::model::projection::writer::ViewWriter;
use crate::store::Store;
use crate::value::error::HandlerError;
use crate::value::event::{NewEvent, RecordedEvent};
use crate::value::filter::Filter;
use crate::value::limits::VIEW_BUILD_CHANGES_MAX;
use crate::value::position::ExpectedVersion;
use crate::views::Views;
use crate::views::changes::Change;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const LONG: Duration = Duration::from_secs(60);
/// More rows than fit into one part.
const STREAMS: usize = VIEW_BUILD_CHANGES_MAX + 100;
const EACH: u64 = 2;
const BY: MadeBy = MadeBy { version: 1, indexes: &[] };

struct Counts;

impl Projection for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Counted")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let count: u64 = view.get(event.stream.as_str())?.unwrap_or(0);
        Ok(view.put(event.stream.as_str(), &(count + 1))?)
    }
}

fn fill(path: &Path) -> Store {
    let store = Store::open(path).unwrap();
    append_to(&store, STREAMS);
    store
}

fn append_to(store: &Store, streams: usize) {
    for _ in 0..EACH {
        let commit = (0..streams).fold(Commit::new(), |commit, n| {
            let event = NewEvent::bytes("Counted", "");
            commit.append(format!("Counted-{n}"), ExpectedVersion::Any, [event])
        });
        store.commit(commit).unwrap();
    }
}

fn start(store: &Store) -> (ProjectionHandle, Arc<Views>) {
    let builder = store.project(Counts);
    let projections = Arc::clone(&builder.projections);
    let handle = builder.start().unwrap();
    (handle, projections.open_views(|| ()).unwrap())
}

fn check(handle: &ProjectionHandle, case: &str) {
    let rows: Vec<(String, u64)> = handle.view().prefix("").unwrap();
    assert_eq!(rows.len(), STREAMS, "{case}");
    assert!(rows.iter().all(|(_, count)| *count == EACH), "{case}: not each event once");
}

/// Begins a rebuild and makes the write after `after` writes fail. Returns false if no write failed.
fn rebuild_and_fail(handle: &ProjectionHandle, views: &Views, store: &Store, after: u64) -> bool {
    // Two writes are the new tree's checkpoint and the entry that names it.
    views.fail_once_after(2 + after);
    handle.rebuild().unwrap();
    let failed = handle.wait_for(store.head(), LONG).is_err();
    assert_eq!(failed, matches!(handle.status().state, ProjectionState::Faulted { .. }));
    failed
}

/// Continuing after the last checkpoint would apply events a second time to the parts that were written before the
/// failure.
#[test]
fn a_rebuild_whose_writes_fail_half_way_begins_anew_when_it_is_resumed_or_opened_again() {
    // The writes are: the removal of the checkpoint, one part, the other part.
    for (after, reopens) in [(0, false), (1, false), (2, false), (2, true), (9, false)] {
        let case = format!("failed after {after} writes, reopens: {reopens}");
        let directory = tempfile::tempdir().unwrap();
        let store = fill(directory.path());
        let (handle, views) = start(&store);
        handle.wait_for(store.head(), LONG).unwrap();
        if !rebuild_and_fail(&handle, &views, &store, after) {
            check(&handle, &case);
            assert!(after == 9, "the parts of {STREAMS} rows were written at once");
            continue;
        }
        check(&handle, &case);
        if !reopens {
            handle.resume();
            handle.wait_for(store.head(), LONG).unwrap();
            check(&handle, &case);
            continue;
        }
        drop((handle, views));
        store.close().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (handle, _) = start(&store);
        let findings = store.verify().unwrap().findings;
        assert!(findings.is_empty(), "{case}: {findings:?}");
        handle.wait_for(store.head(), LONG).unwrap();
        check(&handle, &case);
    }
}

/// The story: a requested rebuild was forgotten if the process was killed in the middle of its writes, because the
/// served view has the same version.
#[test]
fn a_rebuild_that_was_cut_short_in_writing_is_begun_anew_and_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (_handle, views) = start(&store);
    let log = Arc::clone(store.project(Counts).log.log());
    let trees = Trees::open(views, log, "another").unwrap();
    assert!(trees.find(BY).unwrap().building.is_none());
    let begun = trees.begin_building(1, BY).unwrap();
    assert_eq!(trees.find(BY).unwrap().building.unwrap().number, begun.number, "it goes on");
    begun.tree.write(vec![Change::State(CHECKPOINT.to_vec(), None)]).unwrap();
    let found = trees.find(BY).unwrap();
    assert!(found.building.unwrap().number > begun.number, "it is rebuilt");
    assert_eq!(found.current.number, 1, "and the old view is served");
}

/// Changes more rows than fit into one part, unless `fails` is set. Waits in the middle of the log.
struct Wide {
    fails: Arc<AtomicBool>,
    /// Gets a message when the projection waits.
    arrives: Sender<()>,
    /// One message lets it continue once; when the channel is closed, it no longer waits.
    gate: Receiver<()>,
}

impl Projection for Wide {
    const NAME: &'static str = "wide";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Wide")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let rows = match event.event_type.as_str() {
            "Wide" if self.fails.load(Ordering::SeqCst) => return Err("not yet".into()),
            "Wide" => STREAMS,
            "Waits" => {
                self.arrives.send(()).unwrap();
                let _ = self.gate.recv();
                1
            }
            _ => 1,
        };
        for row in 0..rows {
            let key = format!("{}/{row}", event.event_type);
            let count: u64 = view.get(&key)?.unwrap_or(0);
            view.put(&key, &(count + 1))?;
        }
        Ok(())
    }
}

/// The story: replaying a parked event into a view that was being built failed half-way. The projection continued as
/// if nothing had happened, and the next write marked the view as complete.
#[test]
fn a_replay_whose_writes_fail_half_way_has_the_view_begun_anew() {
    const COMMITS: usize = 20;
    const EACH: usize = 600;
    let store = Store::temporary().unwrap();
    let append = |events: Vec<NewEvent>| {
        store.append("Wide-1", ExpectedVersion::Any, events).unwrap();
    };
    let small = || (0..EACH).map(|_| NewEvent::bytes("Small", ""));
    append(std::iter::once(NewEvent::bytes("Wide", "")).chain(small()).collect());
    append(std::iter::once(NewEvent::bytes("Waits", "")).chain(small()).collect());
    (2..COMMITS).for_each(|_| append(small().collect()));

    let fails = Arc::new(AtomicBool::new(true));
    let (open, gate) = bounded(1);
    let (arrives, arrived) = unbounded();
    let park = OnError { retries: 0, then: ErrorAction::ParkEvent, ..OnError::default() };
    let builder = store.project(Wide { fails: Arc::clone(&fails), arrives, gate }).on_error(park);
    let projections = Arc::clone(&builder.projections);
    open.send(()).unwrap();
    let handle = builder.start().unwrap();
    handle.wait_for(store.head(), LONG).unwrap();
    let views = projections.open_views(|| ()).unwrap();
    handle.rebuild().unwrap();
    // The first message is from the first build of the view.
    (0..2).for_each(|_| arrived.recv_timeout(LONG).expect("it never came to the middle"));
    assert_eq!(handle.status().parked, 1);
    std::thread::scope(|scope| {
        let replaying = scope.spawn(|| handle.replay_parked());
        fails.store(false, Ordering::SeqCst);
        // The writes are: the pending changes, the removal of the checkpoint, one part.
        views.fail_once_after(3);
        // Otherwise the view could be complete before the request arrives.
        while !handle.shared.requests.has_waiting() {
            assert!(!replaying.is_finished(), "it was answered in the middle of an event");
            std::thread::yield_now();
        }
        drop(open);
        let failed = replaying.join().unwrap();
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Io);
    });
    handle.wait_for(store.head(), LONG).unwrap();
    let rows: Vec<(String, u64)> = handle.view().prefix("Wide/").unwrap();
    assert_eq!(rows.len(), STREAMS);
    assert!(rows.iter().all(|(_, count)| *count == 1), "an event was applied in part, or twice");
    assert_eq!(handle.view().get::<u64>("Small/0").unwrap(), Some((COMMITS * EACH) as u64));
    assert!(handle.parked().unwrap().is_empty());
}

/// The story: a verification held the views' read lock and took it again for each row. A projection that was promoted
/// in between waited for the write lock to remove the old view, which was a deadlock. Also, a view that was removed
/// at a certain moment was reported as damage.
#[test]
fn views_are_verified_while_they_are_replaced() {
    let store = Arc::new(Store::temporary().unwrap());
    append_to(&store, 500);
    let (handle, _) = start(&store);
    let (ends, ended) = bounded(1);
    let verified = Arc::clone(&store);
    std::thread::spawn(move || {
        let mut verifications = 0;
        while Arc::strong_count(&verified) > 1 {
            let findings = verified.verify().unwrap().findings;
            assert!(findings.is_empty(), "{findings:?}");
            verifications += 1;
        }
        ends.send(verifications).unwrap();
    });
    let replaced = std::thread::spawn(move || {
        for _ in 0..20 {
            handle.rebuild().unwrap();
            handle.wait_for(store.head(), LONG).unwrap();
        }
    });
    // Do not join earlier: in a deadlock this thread would wait too.
    let verifications = ended.recv_timeout(LONG).expect("they wait for each other");
    replaced.join().unwrap();
    assert!(verifications > 1);
}

/// A view without an origin, from an older version, is accepted once and gets an origin. A rebuild that was in
/// progress in another history begins again.
#[test]
fn views_are_held_against_the_history_that_they_say_they_are_of() {
    let directory = tempfile::tempdir().unwrap();
    let store = fill(directory.path());
    let (handle, views) = start(&store);
    handle.wait_for(store.head(), LONG).unwrap();
    handle.stop().unwrap();
    let log = Arc::clone(store.project(Counts).log.log());
    let trees = Trees::open(Arc::clone(&views), log, Counts::NAME).unwrap();
    let current = trees.find(BY).unwrap().current;
    let origin = current.tree.state(ORIGIN).unwrap().expect("it says what it was made from");
    current.tree.write(vec![Change::State(ORIGIN.to_vec(), None)]).unwrap();
    let found = trees.find(BY).unwrap().current;
    assert_eq!((found.number, found.place), (current.number, current.place), "it was not believed");
    assert_eq!(found.tree.state(ORIGIN).unwrap(), Some(origin.clone()), "it is believed twice");

    let foreign = |byte: usize| {
        let mut origin = origin.to_vec();
        origin[byte] ^= 1;
        vec![Change::State(ORIGIN.to_vec(), Some(origin))]
    };
    let building = trees.begin_building(current.number, BY).unwrap();
    let checkpoint = current.tree.state(CHECKPOINT).unwrap().map(Vec::from);
    building.tree.write(vec![Change::State(CHECKPOINT.to_vec(), checkpoint)]).unwrap();
    building.tree.write(foreign(0)).unwrap();
    let found = trees.find(BY).unwrap();
    assert_eq!(found.current.number, current.number);
    let again = found.building.expect("the rebuild was forgotten");
    assert!(again.number > building.number, "it goes on in another history");
    assert_eq!(again.place, Place::START);

    found.current.tree.write(foreign(origin.len() - 1)).unwrap();
    let found = trees.find(BY).unwrap();
    assert!(found.current.number > again.number, "rows of another history are served");
    assert_eq!(found.current.place, Place::START);
}

/// Keeps a row for each stream that is so long that it is stored in pieces.
struct LongRows;

impl Projection for LongRows {
    const NAME: &'static str = "long-rows";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Counted")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let row: Option<(u64, String)> = view.get(event.stream.as_str())?;
        let count = row.map_or(0, |(count, _)| count);
        Ok(view.put(event.stream.as_str(), &(count + 1, "x".repeat(20_000)))?)
    }
}

/// The pieces of a replaced row are removed after the new row and the checkpoint are written. When a removal failed,
/// the whole write was reported as failed, and the view counted the event a second time.
#[test]
fn an_event_is_applied_once_whichever_write_of_a_long_row_fails() {
    let mut failed = 0;
    for after in 0..16 {
        let store = Store::temporary().unwrap();
        append_to(&store, 1);
        let builder = store.project(LongRows);
        let projections = Arc::clone(&builder.projections);
        let handle = builder.start().unwrap();
        handle.wait_for(store.head(), LONG).unwrap();
        projections.open_views(|| ()).unwrap().fail_once_after(after);
        append_to(&store, 1);
        if handle.wait_for(store.head(), LONG).is_err() {
            failed += 1;
            handle.resume();
            handle.wait_for(store.head(), LONG).unwrap();
        }
        let (count, _): (u64, String) = handle.view().get("Counted-0").unwrap().unwrap();
        assert_eq!(count, 2 * EACH, "when write {after} has failed");
    }
    assert!(failed > 0, "no write has failed");
}
