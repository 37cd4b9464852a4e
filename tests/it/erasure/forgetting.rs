//! What forgetting leaves, and what it does after a crash, an error, or a restore.

use super::*;
use filmstrip::Follower;

#[test]
fn who_is_forgotten_is_erased_and_everything_else_stays() {
    let place = Place::new();
    let store = place.open();
    let metadata = Metadata::default().user("alice").command_id(uuid::Uuid::from_u128(5));
    let about_7 = private("customer-7", "12 Row Lane").tag("order:1").metadata(metadata);
    let events = [public(), about_7, private("customer-8", "Elsewhere")];
    store.append("Order-1", ExpectedVersion::Any, events).unwrap();
    let (before, hash) = (read(&store), store.head_hash());
    let forgotten = store.forget("customer-7").unwrap();
    assert_eq!(forgotten.keys, [before[1].key_id().unwrap()]);
    assert_eq!(store.forgotten().unwrap(), forgotten.keys);
    let check = |store: &Store| {
        let after = read(store);
        assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
        let (was, is) = (&before[1], &after[1]);
        assert_eq!((is.format, is.payload.len()), (PayloadFormat::Erased, 0));
        assert_eq!((is.id, &is.event_type, is.version), (was.id, &was.event_type, was.version));
        assert_eq!(is.position, was.position);
        assert!(is.tags().eq(["order:1"]));
        assert_eq!(is.key_id(), was.key_id());
        assert_eq!((&is.metadata.user, is.metadata.command_id), (&None, was.metadata.command_id));
        assert_eq!(is.json::<String>().unwrap_err().kind(), ErrorKind::Erased);
    };
    check(&store);
    assert_eq!(store.check_hash(&hash).unwrap(), filmstrip::repair::HashCheck::Same);
    store.close().unwrap();
    assert!(Store::verify_at(place.store()).unwrap().findings.is_empty());
    check(&place.open());
    // The journal alone says it.
    check_bare(&place, &[PayloadFormat::Json, PayloadFormat::Erased, PayloadFormat::Sealed]);
}

fn check_bare(place: &Place, expected: &[PayloadFormat]) {
    let store = place.open_bare();
    assert_eq!(formats(&store), expected);
}

#[test]
fn nothing_is_recorded_about_who_was_forgotten_until_there_is_a_new_consent() {
    let place = Place::new();
    let keys = place.keys();
    let store = Store::builder().keys(Arc::clone(&keys)).open(place.store()).unwrap();
    let append = |payload| store.append("Order-1", ExpectedVersion::Any, [private("7", payload)]);
    append("before").unwrap();
    keys.rotate("7").unwrap();
    append("rotated").unwrap();
    assert_eq!(store.forget("7").unwrap().keys.len(), 2);
    let Err(AppendError::Store(error)) = append("after") else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Erased, "{error}");
    assert_eq!(store.forget("7").unwrap().keys, []);
    keys.renew("7").unwrap();
    append("renewed").unwrap();
    let (erased, json) = (PayloadFormat::Erased, PayloadFormat::Json);
    assert_eq!(formats(&store), [erased, erased, json]);
    assert_eq!(store.forget("7").unwrap().keys.len(), 1);
    assert_eq!(formats(&store), [erased; 3]);
    assert_eq!(store.forgotten().unwrap().len(), 3);
}

#[test]
fn to_forget_who_is_not_known_changes_nothing() {
    let place = Place::new();
    let store = place.open();
    store.append("Order-1", ExpectedVersion::Any, [private("7", "x")]).unwrap();
    let hash = store.head_hash();
    assert_eq!(store.forget("8").unwrap().keys, []);
    assert_eq!(store.head_hash(), hash);
    assert_eq!(store.forget("").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(formats(&store), [PayloadFormat::Json]);
}

/// A backup of the ring brings keys back. The journal knows better, and destroys them.
#[test]
fn a_ring_from_before_the_forget_brings_nobody_back() {
    let place = Place::new();
    place.open().append("Order-1", ExpectedVersion::Any, [private("7", "x")]).unwrap();
    let saved: Vec<_> = files(&place.ring())
        .into_iter()
        .map(|file| (std::fs::read(&file).unwrap(), file))
        .collect();
    let store = place.open();
    let ids = store.forget("7").unwrap().keys;
    store.close().unwrap();
    for (bytes, file) in &saved {
        std::fs::write(file, bytes).unwrap();
    }
    let held = || filmstrip::erasure::Keys::get(&*place.keys(), ids[0]).unwrap().is_some();
    assert!(held(), "the restored ring has the key");
    check_bare(&place, &[PayloadFormat::Erased]);
    let store = place.open();
    assert_eq!(formats(&store), [PayloadFormat::Erased]);
    store.close().unwrap();
    assert!(!held(), "opening the store has destroyed it");
}

/// Nothing in a restored store and its ring knows who was forgotten since: the list that was kept elsewhere does.
#[test]
fn a_store_and_a_ring_from_before_the_forget_forget_by_the_list() {
    let place = Place::new();
    place.open().append("Order-1", ExpectedVersion::Any, [private("7", "x")]).unwrap();
    let copies = [place.ring(), place.store()].map(|directory| files(&directory));
    let saved: Vec<_> =
        copies.into_iter().flatten().map(|file| (std::fs::read(&file).unwrap(), file)).collect();
    let store = place.open();
    store.forget("7").unwrap();
    let list = store.forgotten().unwrap();
    store.close().unwrap();
    for directory in [place.ring().join("g1"), place.store()] {
        let _ = std::fs::remove_dir_all(directory);
    }
    for (bytes, file) in &saved {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    let store = place.open();
    assert_eq!(formats(&store), [PayloadFormat::Json], "it is back");
    store.forget_keys(&list).unwrap();
    assert_eq!(formats(&store), [PayloadFormat::Erased]);
    let refused = store.append("Order-1", ExpectedVersion::Any, [private("7", "y")]);
    assert!(matches!(refused, Err(AppendError::Store(error)) if error.kind() == ErrorKind::Erased));
}

/// A key service that does not destroy: the events are erased all the same, and the caller is told.
#[test]
fn keys_that_are_not_destroyed_are_an_error_and_the_fence_holds() {
    let place = Place::new();
    let store = Store::builder().keys(Stubborn(place.keys())).open(place.store()).unwrap();
    store.append("Order-1", ExpectedVersion::Any, [private("7", "x")]).unwrap();
    let error = store.forget("7").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeysUnavailable);
    assert!(error.to_string().contains("is fenced"), "{error}");
    assert_eq!(formats(&store), [PayloadFormat::Erased]);
    let refused = store.append("Order-1", ExpectedVersion::Any, [private("7", "y")]);
    assert!(matches!(refused, Err(AppendError::Store(error)) if error.kind() == ErrorKind::Erased));
    store.close().unwrap();
    // Another key ring service does.
    assert_eq!(formats(&place.open()), [PayloadFormat::Erased]);
    assert_eq!(filmstrip::erasure::Keys::ids(&*place.keys(), "7").unwrap(), []);
}

struct Stubborn(Arc<KeyDirectory>);

impl filmstrip::erasure::Keys for Stubborn {
    fn current(&self, subject: &str) -> filmstrip::Result<filmstrip::erasure::SubjectKey> {
        self.0.current(subject)
    }

    fn get(
        &self,
        id: filmstrip::erasure::KeyId,
    ) -> filmstrip::Result<Option<filmstrip::erasure::SubjectKey>> {
        self.0.get(id)
    }

    fn list(&self, subject: &str) -> filmstrip::Result<filmstrip::erasure::KeyList> {
        self.0.list(subject)
    }

    fn destroy(&self, _: &[filmstrip::erasure::KeyId]) -> filmstrip::Result<()> {
        Err(filmstrip::Error::keys_unavailable("the service is down"))
    }
}

/// A copy keeps private events as they are, and who was forgotten.
#[test]
fn a_copy_and_an_export_keep_private_events_and_who_was_forgotten() {
    let place = Place::new();
    let store = place.open();
    let events = [private("7", "x"), public(), private("8", "y")];
    store.append("Order-1", ExpectedVersion::Any, events).unwrap();
    store.forget("7").unwrap();
    let (copy, export) = (place.0.path().join("copy"), place.0.path().join("export"));
    store.copy_into(&copy, |_| Ok(filmstrip::copy::CopyAs::Unchanged)).unwrap();
    let replaced = store.copy_into(place.0.path().join("other"), |event| {
        let stored = filmstrip::repository::StoredEvent::json_of("Other", 1, &event.version.get())?;
        Ok(filmstrip::copy::CopyAs::Events(vec![stored]))
    });
    assert!(replaced.unwrap_err().to_string().contains("it is private"));
    store.close().unwrap();
    Store::repair(place.store()).unwrap().export(&export).unwrap();
    let expected = [PayloadFormat::Erased, PayloadFormat::Json, PayloadFormat::Json];
    for path in [copy, export] {
        let store = Store::builder().keys(place.keys()).open(&path).unwrap();
        assert_eq!(formats(&store), expected, "{}", path.display());
        assert_eq!(store.read_all().collect().unwrap()[2].json::<String>().unwrap(), "y");
    }
}

/// A follower has no keys. It did not look for fences either, and showed those who were forgotten as sealed.
#[test]
fn a_follower_shows_private_events_as_sealed_and_who_was_forgotten_as_erased() {
    let place = Place::new();
    let store = place.open();
    let events = [private("7", "x"), private("8", "y"), public()];
    store.append("Order-1", ExpectedVersion::Any, events).unwrap();
    let follower = Follower::open(place.store()).unwrap();
    let formats = |events: Vec<RecordedEvent>| -> Vec<_> {
        events.into_iter().map(|event| event.format).collect()
    };
    let shows = |expected: [PayloadFormat; 3]| {
        assert_eq!(formats(follower.read().collect().unwrap()), expected);
        assert_eq!(formats(follower.read_stream("Order-1").collect().unwrap()), expected);
    };
    let (json, sealed, erased) =
        (PayloadFormat::Json, PayloadFormat::Sealed, PayloadFormat::Erased);
    shows([sealed, sealed, json]);
    store.forget("7").unwrap();
    shows([erased, sealed, json]);
    store.forget("8").unwrap();
    shows([erased, erased, json]);
    // The journal says it, and the list is made again from that.
    store.close().unwrap();
    std::fs::remove_file(place.store().join("forgotten")).unwrap();
    shows([sealed, sealed, json]);
    drop(place.open_bare());
    shows([erased, erased, json]);
}
