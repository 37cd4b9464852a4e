//! A damaged slot of the key ring.

use super::*;
use filmstrip::erasure::Keys;

/// Flips a bit of the first slot of each bucket.
fn damage(place: &Place) {
    for bucket in files(&place.ring().join("keys-1")) {
        let mut bytes = std::fs::read(&bucket).unwrap();
        bytes[60] ^= 1;
        std::fs::write(bucket, bytes).unwrap();
    }
}

/// Nothing was forgotten at all, and a store that had forgotten somebody did not open any more.
#[test]
fn a_damaged_slot_stops_nobody_from_being_forgotten_and_no_store_from_being_opened() {
    let place = Place::new();
    let keys = place.keys();
    let store = Store::builder().keys(Arc::clone(&keys)).open(place.store()).unwrap();
    let append = || store.append("Order-1", ExpectedVersion::Any, [private("7", "x")]).unwrap();
    append();
    let damaged = keys.ids("7").unwrap()[0];
    let whole = keys.rotate("7").unwrap();
    append();
    store.close().unwrap();
    drop(keys);
    damage(&place);

    let keys = place.keys();
    let store = Store::builder().keys(Arc::clone(&keys)).open(place.store()).unwrap();
    for _ in 0..2 {
        let error = store.forget("7").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("it may have others"), "{error}");
        assert!(error.to_string().contains("keys-1"), "{error}");
        assert_eq!(store.forgotten().unwrap(), [whole]);
        assert!(keys.get(whole).unwrap().is_none());
    }
    let error = store.forget_keys(&[damaged]).unwrap_err();
    assert!(error.to_string().contains("is fenced"), "{error}");
    assert_eq!(formats(&store), [PayloadFormat::Erased; 2]);
    store.close().unwrap();
    drop(keys);
    let store = place.open();
    assert_eq!(formats(&store), [PayloadFormat::Erased; 2]);
    assert_eq!(store.forgotten().unwrap().len(), 2);
}
