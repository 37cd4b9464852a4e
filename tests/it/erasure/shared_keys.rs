//! Keys that were destroyed without this store's knowledge.

use super::*;
use filmstrip::erasure::Keys;

const SEALED: [PayloadFormat; 2] = [PayloadFormat::Sealed, PayloadFormat::Json];
const ERASED: [PayloadFormat; 2] = [PayloadFormat::Erased, PayloadFormat::Json];

/// Events about 7 and 8.
fn append_about_both(store: &Store) {
    let events = [private("7", "x"), private("8", "y")];
    store.append("Order-1", ExpectedVersion::Any, events).unwrap();
}

/// Forgets 7, whose keys are gone already, in a store whose journal does not know that.
fn forget_late(store: &Store, keys: &KeyDirectory) {
    assert_eq!(formats(store), SEALED);
    let listed = keys.list("7").unwrap().keys;
    assert!(!listed.is_empty() && listed.iter().all(|key| key.is_destroyed), "{listed:?}");
    let ids: Vec<_> = listed.iter().map(|key| key.id).collect();
    assert_eq!(store.forget("7").unwrap().keys, ids);
    assert_eq!(formats(store), ERASED);
    assert_eq!(store.forgotten().unwrap().len(), ids.len());
    let hash = store.head_hash();
    assert_eq!(store.forget("7").unwrap().keys, [], "a second time");
    assert_eq!(store.head_hash(), hash);
}

/// Nothing was done, and it looked like success: there was no key to be destroyed any more.
#[test]
fn a_subject_that_another_store_with_the_same_keys_has_forgotten_is_forgotten_here_as_well() {
    let place = Place::new();
    let keys = place.keys();
    let open = |name: &str| {
        Store::builder().keys(Arc::clone(&keys)).open(place.0.path().join(name)).unwrap()
    };
    let (store, other) = (open("store"), open("other"));
    append_about_both(&store);
    append_about_both(&other);
    keys.rotate("7").unwrap();
    assert_eq!(other.forget("7").unwrap().keys.len(), 2);
    forget_late(&store, &keys);
}

#[test]
fn a_subject_that_a_restored_journal_does_not_know_to_be_forgotten_is_forgotten_again() {
    let place = Place::new();
    append_about_both(&place.open());
    let saved: Vec<_> = files(&place.store())
        .into_iter()
        .map(|file| (std::fs::read(&file).unwrap(), file))
        .collect();
    place.open().forget("7").unwrap();
    std::fs::remove_dir_all(place.store()).unwrap();
    for (bytes, file) in &saved {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    let keys = place.keys();
    let store = Store::builder().keys(Arc::clone(&keys)).open(place.store()).unwrap();
    forget_late(&store, &keys);
}

#[test]
fn a_subject_whose_keys_the_application_has_destroyed_is_forgotten_by_the_store() {
    let place = Place::new();
    let keys = place.keys();
    let store = Store::builder().keys(Arc::clone(&keys)).open(place.store()).unwrap();
    append_about_both(&store);
    keys.destroy(&keys.ids("7").unwrap()).unwrap();
    forget_late(&store, &keys);
    store.close().unwrap();
    drop(keys);
    assert_eq!(formats(&place.open()), ERASED);
}
