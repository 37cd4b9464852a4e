//! A view that is built again is written in parts, and not all of them may be.

use super::*;
use crate::error::HandlerError;
use crate::event::{NewEvent, RecordedEvent};
use crate::filter::Filter;
use crate::index::views::Views;
use crate::limits::VIEW_BUILD_CHANGES_MAX;
use crate::log::commit::Commit;
use crate::model::projection::status::ProjectionState;
use crate::model::projection::writer::ViewWriter;
use crate::position::ExpectedVersion;
use crate::store::Store;
use std::path::Path;

const LONG: Duration = Duration::from_secs(60);
/// More rows than one part has.
const STREAMS: usize = VIEW_BUILD_CHANGES_MAX + 100;
const EACH: u64 = 2;

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
    for _ in 0..EACH {
        let commit = (0..STREAMS).fold(Commit::new(), |commit, n| {
            let event = NewEvent::bytes("Counted", "");
            commit.append(format!("Counted-{n}"), ExpectedVersion::Any, [event])
        });
        store.commit(commit).unwrap();
    }
    store
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

/// Begins to build the view again, and lets the writes fail after so many; false if none did.
fn rebuild_and_fail(handle: &ProjectionHandle, views: &Views, store: &Store, after: u64) -> bool {
    // Two are the new tree's checkpoint and the entry that names it.
    views.die_after(2 + after);
    handle.rebuild().unwrap();
    let failed = handle.wait_for(store.head(), LONG).is_err();
    assert_eq!(failed, matches!(handle.status().state, ProjectionState::Faulted { .. }));
    failed
}

/// Going on behind the last checkpoint would apply events a second time to the parts that were written before
/// the disk was full.
#[test]
fn a_rebuild_whose_writes_fail_half_way_begins_anew_when_it_is_resumed_or_opened_again() {
    // Writes: that there is no checkpoint; a part; the other part.
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
        views.revive();
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
