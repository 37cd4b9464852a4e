//! Private events: shown as sealed or erased, exported sealed, and never taken for anything else.

use crate::common::{document, documents, ok, refused, run_with};
use filmstrip::erasure::{KeyDirectory, KeyEncryptingKey};
use filmstrip::{ExpectedVersion, Metadata, NewEvent, Store};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

const SAID: &str = "Zanzibar-9-River-Street";

/// A running store with an event in clear, a sealed one, and one about somebody who was forgotten.
fn store() -> (TempDir, PathBuf, Store) {
    let directory = tempdir().unwrap();
    let [path, ring] = ["store", "keys"].map(|name| directory.path().join(name));
    let kek = || Ok(KeyEncryptingKey::new(&[7; 32]));
    let store =
        Store::builder().keys(KeyDirectory::create(ring, kek).unwrap()).open(&path).unwrap();
    let said = |subject| {
        let event = NewEvent::json("AddressGiven", &SAID).unwrap().private(subject);
        event.metadata(Metadata::default().user(SAID))
    };
    let events = [NewEvent::json("Placed", &7).unwrap(), said("customer-7"), said("customer-8")];
    store.append("Order-1", ExpectedVersion::NoStream, events).unwrap();
    store.forget("customer-8").unwrap();
    (directory, path, store)
}

fn formats(path: &Path, arguments: &[&str]) -> Vec<String> {
    let format = |event: &serde_json::Value| event["format"].as_str().unwrap_or("clear").to_owned();
    documents(path, arguments).iter().map(format).collect()
}

#[test]
fn private_events_are_shown_as_sealed_or_erased_beside_their_writer() {
    let (_directory, path, store) = store();
    let shown = ok(&path, &["show", "Order-1"]);
    assert!(shown.contains("sealed, ") && shown.contains("erased: "), "{shown}");
    assert!(!shown.contains(SAID) && !shown.contains("customer-"), "{shown}");
    let expected = ["clear", "sealed", "erased"];
    assert_eq!(formats(&path, &["show", "Order-1"]), expected);
    let film = ok(&path, &["film", "Order-1"]);
    assert!(film.contains("sealed") && film.contains("erased"), "{film}");
    assert_eq!(document(&path, &["stats"])["events"], 3);
    store.close().unwrap();
    assert_eq!(formats(&path, &["show", "Order-1"]), expected);
    assert!(ok(&path, &["verify"]).starts_with("whole: 3 events"));
}

/// What is sealed is bound to its stream and its key, and what is erased is gone.
#[test]
fn an_export_has_private_events_sealed_and_no_import_takes_them_for_bytes() {
    let (directory, path, store) = store();
    store.close().unwrap();
    let exported = ok(&path, &["export"]);
    assert!(!exported.contains(SAID), "{exported}");
    let to = directory.path().join("imported");
    let done = run_with(&to, &["import", "-"], &exported);
    refused(&done, &["private event", "Store::copy_into"]);
    // What comes before them is there.
    assert_eq!(formats(&to, &["show", "Order-1"]), ["clear"]);
}
