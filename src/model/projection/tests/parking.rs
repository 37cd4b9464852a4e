//! Parked events: how they are kept, and what a write that fails leaves.

use super::*;
use crate::model::policy::OnError;
use crate::value::limits::{FEED_BATCH_EVENTS_MIN, PARKED_PAGE};
use parking_lot::Mutex;

/// Fails while it is told to, or as a store does. Otherwise it counts in a row for each event.
struct Parks {
    fails: Arc<AtomicBool>,
    outage: Arc<Mutex<Option<ErrorKind>>>,
    /// Of the error that it fails with, which is another one for each event.
    error_bytes: usize,
    row_bytes: usize,
}

impl Projection for Parks {
    const NAME: &'static str = "parks";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Parked")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let position = event.position.get();
        if self.fails.load(Ordering::SeqCst) {
            let told = position.to_string();
            return Err(told[..told.len().min(self.error_bytes)].repeat(self.error_bytes).into());
        }
        if let Some(kind) = *self.outage.lock() {
            return Err(Error::new(kind, "a store does not work").into());
        }
        let key = format!("n/{position}");
        let (count, _): (u64, String) = view.get(&key)?.unwrap_or_default();
        Ok(view.put(&key, &(count + 1, " ".repeat(self.row_bytes)))?)
    }
}

struct Parked {
    store: Store,
    handle: ProjectionHandle,
    views: Arc<Views>,
    fails: Arc<AtomicBool>,
    outage: Arc<Mutex<Option<ErrorKind>>>,
}

/// A projection that has parked `events`.
fn parked_events(events: usize, error_bytes: usize, row_bytes: usize) -> Parked {
    let store = Store::temporary().unwrap();
    for first in (0..events).step_by(FEED_BATCH_EVENTS_MIN) {
        let count = FEED_BATCH_EVENTS_MIN.min(events - first);
        let new = (0..count).map(|_| NewEvent::bytes("Failing", ""));
        store.append(format!("Parked-{first}"), ExpectedVersion::Any, new).unwrap();
    }
    let (fails, outage) = (Arc::new(AtomicBool::new(true)), Arc::default());
    let its_outage = Arc::clone(&outage);
    let parks = Parks { fails: Arc::clone(&fails), outage: its_outage, error_bytes, row_bytes };
    let on_error = OnError::default().retries(0).then(ErrorAction::ParkEvent);
    let builder = store.project(parks).on_error(on_error);
    let projections = Arc::clone(&builder.projections);
    let handle = builder.start().unwrap();
    handle.wait_for(store.head(), LONG).unwrap();
    assert_eq!(handle.status().parked, events as u64);
    let views = projections.open_views(|| ()).unwrap();
    Parked { store, handle, views, fails, outage }
}

/// Each parked event was an entry of its own, and was removed alone: a replay took nine times as long as applying.
#[test]
fn what_is_parked_together_is_in_few_entries_of_the_view() {
    const EVENTS: usize = 3_000;
    let parked = parked_events(EVENTS, 0, 0);
    let tree = Arc::clone(&parked.handle.shared.seen.lock().own.target);
    let entries = tree.states_with_prefix(b"parked/").unwrap().len();
    assert!(entries <= EVENTS / 100, "{EVENTS} parked events are {entries} entries");
    parked.fails.store(false, Ordering::SeqCst);
    parked.handle.replay_parked().unwrap();
    assert_eq!(parked.handle.status().parked, 0);
    assert!(tree.states_with_prefix(b"parked/").unwrap().is_empty());
    assert_eq!(parked.handle.view().prefix::<(u64, String)>("n/").unwrap().len(), EVENTS);
    parked.store.close().unwrap();
}

/// What a replay has applied, and that it is no longer parked, are one write. The parts of this one end within entries.
#[test]
fn a_parked_event_is_applied_once_whichever_write_of_its_replay_fails() {
    const EVENTS: u64 = 700;
    let mut failures = 0;
    for after in 0..10 {
        let Parked { store, handle, views, fails, .. } = parked_events(EVENTS as usize, 0, 2_000);
        fails.store(false, Ordering::SeqCst);
        views.fail_once_after(after);
        let replayed = handle.replay_parked();
        failures += u64::from(replayed.is_err());
        let rows = || handle.view().prefix::<(u64, String)>("n/").unwrap();
        let left = handle.parked().unwrap().len() as u64;
        assert_eq!((handle.status().parked, rows().len() as u64), (left, EVENTS - left), "{after}");
        handle.replay_parked().unwrap();
        assert_eq!(handle.status().parked, 0, "after {after} writes");
        let counts: Vec<_> = rows().into_iter().map(|(_, (count, _))| count).collect();
        assert_eq!(counts, vec![1; EVENTS as usize], "after {after} writes: not each event once");
        store.close().unwrap();
    }
    assert!(failures >= 5, "{failures} replays failed; each part is to fail once");
}

/// A store that did not work was noted as what the event had failed with, and the replay returned `Ok`.
#[test]
fn a_store_that_fails_within_a_replay_is_told_to_its_caller_and_leaves_what_is_parked_as_it_was() {
    let Parked { store, handle, fails, outage, .. } = parked_events(3, 2, 0);
    fails.store(false, Ordering::SeqCst);
    let before = handle.parked().unwrap();
    for kind in [ErrorKind::StorageFull, ErrorKind::Corrupt, ErrorKind::Closed, ErrorKind::Timeout]
    {
        *outage.lock() = Some(kind);
        let error = handle.replay_parked().unwrap_err();
        assert_eq!((error.kind(), &*error.to_string()), (kind, "a store does not work"));
        assert_eq!(handle.parked().unwrap(), before);
    }
    *outage.lock() = Some(ErrorKind::Undecodable);
    handle.replay_parked().unwrap();
    let attempts: Vec<_> = handle.parked().unwrap().iter().map(|parked| parked.attempts).collect();
    assert_eq!(attempts, [2; 3], "what an event is at fault for");
    *outage.lock() = None;
    handle.replay_parked().unwrap();
    assert_eq!(handle.status().parked, 0);
    store.close().unwrap();
}

/// All of them were discarded in one write, of any size.
#[test]
fn a_discard_takes_a_bounded_number_of_parked_events_at_a_time() {
    const ERROR_BYTES: usize = 1_500;
    let events = 3 * PARKED_PAGE;
    // Each is in an entry of its own, for its error is too long to share one.
    let Parked { store, handle, views, .. } = parked_events(events, ERROR_BYTES, 0);
    views.fail_once_after(1);
    handle.discard_parked().unwrap_err();
    let left = handle.parked().unwrap().len();
    assert_eq!(handle.status().parked, left as u64);
    assert!((PARKED_PAGE..events).contains(&left), "{left} of {events} are left");
    handle.discard_parked().unwrap();
    assert_eq!((handle.status().parked, handle.parked().unwrap().len()), (0, 0));
    store.close().unwrap();
}
