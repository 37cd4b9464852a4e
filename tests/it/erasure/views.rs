//! Views and their files, when somebody is forgotten. sled's files keep rows that were removed.

use super::derived::{Addresses, fill, is_in_a_file, rows};
use super::*;
use crate::common::wait_until;
use crate::common::whole::PATIENCE;
use filmstrip::ProjectionHandle;
use filmstrip::erasure::{KeyId, KeyList, Keys, SubjectKey};
use filmstrip::projection::ProjectionState;
use std::sync::atomic::{AtomicBool, Ordering};

/// A store whose closed view has the address of 7 in its files.
fn with_view(place: &Place) -> Store {
    let store = place.open();
    let addresses = store.project(Addresses).start().unwrap();
    fill(&store);
    addresses.wait_for(store.head(), PATIENCE).unwrap();
    addresses.stop().unwrap();
    store
}

/// The end of a second forget, which met no view any more, took back that the files were to be wiped.
#[test]
fn forgetting_again_does_not_keep_the_files_from_being_wiped() {
    let place = Place::new();
    let store = with_view(&place);
    store.forget("7").unwrap();
    store.forget("7").unwrap();
    store.forget("nobody").unwrap();
    store.forget_keys(&[]).unwrap();
    store.close().unwrap();
    assert!(is_in_a_file(&place.store()), "sled's files have it");
    place.open().close().unwrap();
    assert!(!is_in_a_file(place.0.path()));
    // What says how the views were closed is of others.
    assert!(Store::verify_at(place.store()).unwrap().is_whole());
}

#[test]
fn a_view_that_was_removed_before_is_wiped_too_and_so_is_a_quarantined_one() {
    let place = Place::new();
    let store = with_view(&place);
    store.remove_projection("addresses").unwrap();
    store.forget("7").unwrap();
    store.close().unwrap();
    place.open().close().unwrap();
    assert!(!is_in_a_file(place.0.path()), "it had been removed");

    let place = Place::new();
    with_view(&place).close().unwrap();
    let views = |name| place.store().join(name);
    std::fs::rename(views("views"), views("views.damaged-1")).unwrap();
    let store = place.open();
    store.forget("7").unwrap();
    store.close().unwrap();
    place.open().close().unwrap();
    assert!(!is_in_a_file(place.0.path()), "it had been quarantined");
}

#[test]
fn views_without_anything_private_stay() {
    let place = Place::new();
    let store = place.open();
    let orders = store.project(Addresses).start().unwrap();
    store.append("Order-1", ExpectedVersion::Any, [public()]).unwrap();
    orders.wait_for(store.head(), PATIENCE).unwrap();
    store.append("Other-1", ExpectedVersion::Any, [private("7", "x")]).unwrap();
    let forgotten = store.forget("7").unwrap();
    assert_eq!(forgotten.rebuilding, [] as [String; 0]);
    store.close().unwrap();
    let store = place.open();
    let orders = store.project(Addresses).start().unwrap();
    assert!(!matches!(orders.status().state, ProjectionState::Rebuilding { .. }));
    assert_eq!(rows(&orders), ["7"], "it was not wiped");
}

/// Nobody builds the new one meanwhile, and the old one was shown for as long.
#[test]
fn the_view_of_a_projection_that_rests_does_not_show_who_was_forgotten() {
    let place = Place::new();
    let store = place.open();
    let addresses = store.project(Addresses).start().unwrap();
    fill(&store);
    addresses.wait_for(store.head(), PATIENCE).unwrap();
    addresses.pause();
    let forgotten = store.forget("7").unwrap();
    assert_eq!(forgotten.rebuilding, ["addresses"]);
    wait_until(PATIENCE, "an empty view", || rows(&addresses).is_empty());
    assert!(matches!(addresses.status().state, ProjectionState::Paused));
    addresses.resume();
    addresses.wait_for(store.head(), PATIENCE).unwrap();
    assert_eq!(rows(&addresses), vec!["gone"; 20]);
}

/// A copy had a state that says that views are still to be wiped, which it refused as one that it did not know.
#[test]
fn a_store_is_copied_while_views_are_still_to_be_wiped() {
    let place = Place::new();
    let store = with_view(&place);
    store.forget("7").unwrap();
    let copy = place.0.path().join("copy");
    store.copy_into(&copy, |_| Ok(filmstrip::copy::CopyAs::Unchanged)).unwrap();
    assert_eq!(formats(&Store::open(&copy).unwrap())[0], PayloadFormat::Erased);
}

/// Keys that cannot be had for a while.
struct Service {
    keys: Arc<KeyDirectory>,
    is_away: AtomicBool,
}

impl Service {
    fn ask<T>(
        &self,
        ask: impl FnOnce(&KeyDirectory) -> filmstrip::Result<T>,
    ) -> filmstrip::Result<T> {
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(filmstrip::Error::keys_unavailable("the service is away")),
            false => ask(&self.keys),
        }
    }
}

impl Keys for Service {
    fn current(&self, subject: &str) -> filmstrip::Result<SubjectKey> {
        self.ask(|keys| keys.current(subject))
    }

    fn get(&self, id: KeyId) -> filmstrip::Result<Option<SubjectKey>> {
        self.ask(|keys| keys.get(id))
    }

    fn list(&self, subject: &str) -> filmstrip::Result<KeyList> {
        self.ask(|keys| keys.list(subject))
    }

    fn destroy(&self, ids: &[KeyId]) -> filmstrip::Result<()> {
        self.ask(|keys| keys.destroy(ids))
    }
}

/// A moment without the key service stopped every projection for good.
#[test]
fn a_projection_waits_for_a_key_service_that_is_away() {
    let place = Place::new();
    let service = Arc::new(Service { keys: place.keys(), is_away: AtomicBool::new(false) });
    let store = Store::builder().keys(Arc::clone(&service)).open(place.store()).unwrap();
    fill(&store);
    service.is_away.store(true, Ordering::Relaxed);
    let addresses: ProjectionHandle = store.project(Addresses).start().unwrap();
    wait_until(PATIENCE, "a retry", || addresses.status().retrying.is_some());
    service.is_away.store(false, Ordering::Relaxed);
    addresses.wait_for(store.head(), PATIENCE).unwrap();
    assert_eq!(rows(&addresses).len(), 20);
}
