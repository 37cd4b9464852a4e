//! The keyed state that the engine's own features keep in the journal.

use crate::log::commit::Commit;
use crate::log::commit::encoded::EncodedCommit;
use crate::store::Store;
use crate::value::event::NewEvent;
use crate::value::limits::VALUE_BYTES_MAX;
use crate::value::position::ExpectedVersion;
use std::fs;

fn put(store: &Store, entries: &[(&str, &[u8])]) {
    let mut commit = Commit::new();
    for (key, value) in entries {
        commit = commit.state(*key, value.to_vec());
    }
    store.log.engine().commit(EncodedCommit::new(commit).unwrap()).unwrap();
}

fn check(store: &Store, prefix: &str, expected: &[(&str, &[u8])]) {
    let found = store.log.log().records_with_prefix(prefix).unwrap();
    let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_slice())).collect();
    assert_eq!(found, expected);
    for (key, value) in expected {
        assert_eq!(store.log.log().record(key).unwrap().as_deref(), Some(*value), "{key}");
    }
}

#[test]
fn kept_state_is_the_newest_wherever_it_lies() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let large = vec![7; 3 * VALUE_BYTES_MAX];
    let store = Store::open(&path).unwrap();
    put(&store, &[("a/1", b"one"), ("a/2", &large), ("a/3", b"three"), ("b/1", b"other")]);
    check(&store, "a/", &[("a/1", b"one"), ("a/2", &large), ("a/3", b"three")]);
    // Enough for the index to take all of it in when the store closes.
    let filler = || NewEvent::bytes("Filler", vec![1; 2 << 20]);
    store.append("Filler-1", ExpectedVersion::Any, [filler()]).unwrap();
    store.close().unwrap();

    // What is newer is in the tail; what was removed there is gone, whatever the index says.
    let store = Store::open(&path).unwrap();
    put(&store, &[("a/1", b"uno"), ("a/3", b"")]);
    check(&store, "a/", &[("a/1", b"uno"), ("a/2", &large)]);
    assert_eq!(store.log.log().record("a/3").unwrap(), None);
    store.append("Filler-1", ExpectedVersion::Any, [filler()]).unwrap();
    store.close().unwrap();

    // Both come from the index, and then from the journal alone.
    check(&Store::open(&path).unwrap(), "a/", &[("a/1", b"uno"), ("a/2", &large)]);
    fs::remove_dir_all(path.join("index")).unwrap();
    check(&Store::open(&path).unwrap(), "a/", &[("a/1", b"uno"), ("a/2", &large)]);
}
