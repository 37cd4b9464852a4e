//! Private events, and what is left of them when their subject is forgotten.

mod damaged_keys;
mod derived;
mod forgetting;
mod held;
mod marker;
mod passing_on;
mod races;
mod replicas;
mod shared_keys;
mod views;

use filmstrip::erasure::{KeyDirectory, KeyEncryptingKey};
use filmstrip::read::PayloadFormat;
use filmstrip::{
    AppendError, Commit, ErrorKind, Event, ExpectedVersion, Filter, Metadata, NewEvent, Position,
    RecordedEvent, Store, Version,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory with a store and a key ring beside it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        KeyDirectory::create(place.ring(), || Ok(kek())).unwrap();
        place
    }

    fn ring(&self) -> PathBuf {
        self.0.path().join("keys")
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn keys(&self) -> Arc<KeyDirectory> {
        Arc::new(KeyDirectory::open(self.ring(), || Ok(kek())).unwrap())
    }

    fn open(&self) -> Store {
        Store::builder().keys(self.keys()).open(self.store()).unwrap()
    }

    /// The store without its keys.
    fn open_bare(&self) -> Store {
        Store::open(self.store()).unwrap()
    }
}

fn kek() -> KeyEncryptingKey {
    KeyEncryptingKey::new(&[7; 32])
}

fn private(subject: &str, payload: &str) -> NewEvent {
    NewEvent::json("AddressGiven", &payload).unwrap().private(subject)
}

fn public() -> NewEvent {
    NewEvent::json("Placed", &7).unwrap()
}

/// Every event of the store, by each way of reading, which must agree.
fn read(store: &Store) -> Vec<RecordedEvent> {
    let all = store.read_all().collect().unwrap();
    for event in &all {
        let by_stream = store.read_stream(event.stream.clone());
        let by_stream = by_stream.after(Version::new(event.version.get() - 1)).limit(1);
        assert_eq!(by_stream.collect().unwrap(), std::slice::from_ref(event), "by stream");
        let back = store.read_stream(event.stream.clone()).backwards().collect().unwrap();
        assert!(back.contains(event), "backwards");
        for tag in event.tags() {
            let by_tag = store.read_all().filter(Filter::tag(tag)).collect().unwrap();
            assert!(by_tag.contains(event), "by tag {tag}");
        }
        let mut live =
            store.subscribe().after(Position::new(event.position.get() - 1)).start().unwrap();
        assert_eq!(live.next().unwrap().unwrap(), *event, "by subscription");
    }
    all
}

fn formats(store: &Store) -> Vec<PayloadFormat> {
    read(store).iter().map(|event| event.format).collect()
}

#[test]
fn a_private_event_is_read_as_it_was_appended_by_every_way_of_reading() {
    let place = Place::new();
    let metadata = Metadata::default().user("alice").entry("ip", "192.0.2.7");
    let metadata = metadata.command_id(uuid::Uuid::from_u128(5));
    let sent = private("customer-7", "12 Row Lane").tag("order:1").metadata(metadata.clone());
    let check = |store: &Store| {
        let events = read(store);
        let event = &events[1];
        assert_eq!(event.json::<String>().unwrap(), "12 Row Lane");
        assert_eq!((event.format, &*event.metadata), (PayloadFormat::Json, &metadata));
        assert!(event.tags().eq(["order:1"]));
        assert!(event.key_id().is_some() && events[0].key_id().is_none());
        assert_eq!(&events[2].payload[..], b"raw");
    };
    let store = place.open();
    let raw = NewEvent::bytes("Scanned", &b"raw"[..]).private("customer-7");
    let other = private("customer-8", "Elsewhere");
    let done = store.append("Order-1", ExpectedVersion::NoStream, [public(), sent, raw, other]);
    assert_eq!(done.unwrap().version, Version::new(4));
    check(&store);
    let events = read(&store);
    assert_eq!(events[1].key_id(), events[2].key_id());
    assert_ne!(events[1].key_id(), events[3].key_id());
    // From the index, too.
    let filler = || NewEvent::bytes("Filler", vec![1; 2 << 20]);
    (0..8).for_each(|_| drop(store.append("Filler-1", ExpectedVersion::Any, [filler()]).unwrap()));
    store.close().unwrap();
    check(&place.open());
}

/// Versions without this feature must not take a private event for damage, and stores without one must stay as they
/// are.
#[test]
fn the_manifest_says_that_there_are_private_events_from_the_first_one_on() {
    let place = Place::new();
    let manifest = || std::fs::read_to_string(place.store().join("MANIFEST")).unwrap();
    let store = place.open();
    store.append("Order-1", ExpectedVersion::Any, [public()]).unwrap();
    assert!(manifest().starts_with("filmstrip 1\n"));
    store.append("Order-1", ExpectedVersion::Any, [private("customer-7", "12")]).unwrap();
    assert!(manifest().starts_with("filmstrip 2\n"));
    store.close().unwrap();
    let store = place.open();
    assert_eq!(store.head(), Position::new(2));
    let backup = place.0.path().join("backup");
    store.backup(&backup).unwrap();
    let manifest = std::fs::read_to_string(backup.join("MANIFEST")).unwrap();
    assert!(manifest.starts_with("filmstrip 2\n"));
}

/// The backup had been taken before the first private event.
#[test]
fn a_backup_says_so_when_it_is_continued() {
    let place = Place::new();
    let store = place.open();
    let backup = place.0.path().join("backup");
    store.append("Order-1", ExpectedVersion::Any, [public()]).unwrap();
    store.backup(&backup).unwrap();
    store.append("Order-1", ExpectedVersion::Any, [private("customer-7", "12")]).unwrap();
    store.backup(&backup).unwrap();
    let manifest = std::fs::read_to_string(backup.join("MANIFEST")).unwrap();
    assert!(manifest.starts_with("filmstrip 2\n"), "{manifest}");
    assert!(Store::verify_at(&backup).unwrap().findings.is_empty());
}

#[test]
fn without_keys_private_events_are_sealed_and_none_is_taken() {
    let place = Place::new();
    let store = place.open();
    let metadata = Metadata::default().user("alice");
    let sent = private("customer-7", "12 Row Lane").metadata(metadata);
    store.append("Order-1", ExpectedVersion::Any, [sent, public()]).unwrap();
    store.close().unwrap();
    let store = place.open_bare();
    let events = read(&store);
    assert_eq!(events[0].format, PayloadFormat::Sealed);
    assert_eq!(events[0].metadata.user, None);
    assert_eq!(events[0].json::<String>().unwrap_err().kind(), ErrorKind::KeysUnavailable);
    assert_eq!(events[1].json::<u8>().unwrap(), 7);
    let refused = store.append("Order-1", ExpectedVersion::Any, [private("customer-7", "13")]);
    let Err(AppendError::Store(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(store.forget("customer-7").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(store.head(), Position::new(2));
}

/// Of another ring, which has another key, nothing follows about anybody.
#[test]
fn with_the_keys_of_another_ring_private_events_are_sealed_and_not_erased() {
    let place = Place::new();
    place.open().append("Order-1", ExpectedVersion::Any, [private("customer-7", "12")]).unwrap();
    let other = Place::new();
    let store = Store::builder().keys(other.keys()).open(place.store()).unwrap();
    assert_eq!(formats(&store), [PayloadFormat::Sealed]);
}

/// Sealing is deterministic: an append whose reply was lost can be sent again.
#[test]
fn a_private_event_that_is_sent_again_is_recognised_until_its_subject_has_another_key() {
    let place = Place::new();
    let keys = place.keys();
    let store = Store::builder().keys(Arc::clone(&keys)).open(place.store()).unwrap();
    let sent = private("customer-7", "12 Row Lane").tag("order:1");
    let append = || store.append("Order-1", ExpectedVersion::NoStream, [sent.clone()]);
    assert!(!append().unwrap().already_recorded);
    assert!(append().unwrap().already_recorded);
    let unless = || {
        let commit = Commit::new().append("Order-1", ExpectedVersion::Any, [sent.clone()]);
        store.commit(commit.unless(Filter::tag("order:1"), Position::START))
    };
    assert!(unless().unwrap().already_recorded);
    keys.rotate("customer-7").unwrap();
    assert!(matches!(append(), Err(AppendError::Conflict(_))));
    assert!(matches!(unless(), Err(AppendError::Matched(_))));
    assert_eq!(store.head(), Position::new(1));
    let second = private("customer-7", "13 Row Lane");
    store.append("Order-1", ExpectedVersion::Any, [second]).unwrap();
    let payloads: Vec<String> = read(&store).iter().map(|event| event.json().unwrap()).collect();
    assert_eq!(payloads, ["12 Row Lane", "13 Row Lane"]);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum OrderEvent {
    Placed,
    AddressGiven { customer: u32, address: String },
    Called { customer: u32, number: String },
}

impl Event for OrderEvent {
    fn subject(&self) -> Option<String> {
        match self {
            OrderEvent::Placed => None,
            OrderEvent::AddressGiven { customer, .. } | OrderEvent::Called { customer, .. } => {
                Some(format!("customer-{customer}"))
            }
        }
    }

    fn erased(event: &RecordedEvent) -> Option<OrderEvent> {
        let gone = || OrderEvent::AddressGiven { customer: 0, address: "gone".into() };
        (event.event_type == "AddressGiven").then(gone)
    }
}

#[test]
fn an_event_set_says_whom_its_events_are_about_and_what_takes_their_place() {
    let place = Place::new();
    let store = place.open();
    let given = OrderEvent::AddressGiven { customer: 7, address: "12 Row Lane".into() };
    let called = OrderEvent::Called { customer: 7, number: "555".into() };
    let events = [&OrderEvent::Placed, &given, &called].map(|event| NewEvent::of(event).unwrap());
    store.append("Order-1", ExpectedVersion::Any, events).unwrap();
    let before = read(&store);
    assert_eq!(before[1].decode::<OrderEvent>().unwrap(), given);
    assert!(before[0].key_id().is_none() && before[2].key_id() == before[1].key_id());
    store.forget("customer-7").unwrap();
    let after = read(&store);
    let gone = OrderEvent::AddressGiven { customer: 0, address: "gone".into() };
    assert_eq!(after[1].decode::<OrderEvent>().unwrap(), gone);
    let error = after[2].decode::<OrderEvent>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Erased);
    assert!(error.to_string().contains("Called at version 3 of Order-1"), "{error}");
}

/// The tags of an event are found by passing over what else its extras hold, which ends with a key id.
#[test]
fn private_events_are_found_by_their_tags_whatever_their_key_id_ends_with() {
    let place = Place::new();
    let store = Store::builder().keys(FixedKeys).open(place.store()).unwrap();
    for subject in ["0", "1"] {
        let event = private(subject, "x").tag("a").tag(format!("b:{subject}"));
        store.append("Order-1", ExpectedVersion::Any, [event]).unwrap();
        store.append("Order-1", ExpectedVersion::Any, [private(subject, "y")]).unwrap();
    }
    let tagged = store.read_all().filter(Filter::tag("a")).collect().unwrap();
    assert_eq!(tagged.len(), 2);
    read(&store);
}

/// The key service of a test, with ids that end with zeros.
struct FixedKeys;

impl filmstrip::erasure::Keys for FixedKeys {
    fn current(&self, subject: &str) -> filmstrip::Result<filmstrip::erasure::SubjectKey> {
        let mut id = [0; 16];
        id[0] = subject.as_bytes()[0];
        let id = filmstrip::erasure::KeyId::new(id);
        Ok(filmstrip::erasure::SubjectKey::new(id, &[subject.as_bytes()[0]; 32]))
    }

    fn get(
        &self,
        id: filmstrip::erasure::KeyId,
    ) -> filmstrip::Result<Option<filmstrip::erasure::SubjectKey>> {
        let byte = id.as_bytes()[0];
        Ok(Some(filmstrip::erasure::SubjectKey::new(id, &[byte; 32])))
    }

    fn list(&self, _: &str) -> filmstrip::Result<filmstrip::erasure::KeyList> {
        Ok(filmstrip::erasure::KeyList::default())
    }

    fn destroy(&self, _: &[filmstrip::erasure::KeyId]) -> filmstrip::Result<()> {
        Ok(())
    }
}

/// The files in `directory` and below.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}
