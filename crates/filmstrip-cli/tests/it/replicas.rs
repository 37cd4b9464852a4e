//! Replicas: what looks at them shows what they are, `promote` makes stores of them, and nothing else takes them for
//! stores.

use crate::common::{Writer, append, contents, document, ok, refused, run, sample};
use filmstrip::replica::StoreDirectory;
use filmstrip::{ExpectedVersion, NewEvent, Store};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

/// A store with seven events, and a closed replica that has all of them.
fn stores() -> (TempDir, PathBuf, PathBuf) {
    let directory = tempdir().unwrap();
    let [store, copy] = ["store", "copy"].map(|name| directory.path().join(name));
    sample(&store);
    follow(&store, &copy).close().unwrap();
    (directory, store, copy)
}

/// An open replica in `copy` that has what `store` has.
fn follow(store: &Path, copy: &Path) -> Store {
    let replica = Store::builder().replica(StoreDirectory::at(store)).open(copy).unwrap();
    let head = filmstrip::Follower::open(store).unwrap().head().unwrap();
    replica.wait_for(head, crate::common::PATIENCE).unwrap();
    replica
}

#[test]
fn a_replica_is_shown_as_one_with_what_it_lacks() {
    let (directory, store, copy) = stores();
    assert_eq!(document(&store, &["stats"])["role"], "store");
    let source = store.to_str().unwrap();
    let stats = document(&copy, &["stats"]);
    assert_eq!((&stats["role"], &stats["behind"]), (&"replica".into(), &serde_json::Value::Null));
    assert_eq!(document(&copy, &["stats", "--source", source])["behind"], 0);
    append(&store, "Added");
    assert_eq!(document(&copy, &["stats", "--source", source])["behind"], 1);
    assert!(ok(&copy, &["stats", "--source", source]).contains("replica, 1 event behind\n"));
    assert!(ok(&copy, &["verify"]).starts_with("whole: 7 events"));
    // Also while it is open.
    let open = follow(&store, &copy);
    assert_eq!(document(&copy, &["stats", "--source", source])["behind"], 0);
    open.close().unwrap();
    refused(&run(&store, &["stats", "--source", source]), &["is not a replica", "--source"]);
    let absent = directory.path().join("absent");
    refused(&run(&copy, &["stats", "--source", absent.to_str().unwrap()]), &["absent"]);
}

#[test]
fn a_replica_is_promoted_once_it_has_everything_and_accepts_commits_then() {
    let (_directory, store, copy) = stores();
    let source = store.to_str().unwrap();
    append(&store, "Added");
    let before = contents(&copy);
    let lacking = &["promote", "--source", source];
    refused(&run(&copy, lacking), &["ends at position 7", "at 8", "leave --source out"]);
    // What was refused is still a replica, which goes on.
    let manifest =
        |contents: &std::collections::BTreeMap<String, Vec<u8>>| contents["MANIFEST"].clone();
    assert_eq!(manifest(&contents(&copy)), manifest(&before));
    follow(&store, &copy).close().unwrap();

    let promoted = document(&copy, &["promote", "--source", source]);
    assert_eq!(promoted["events"], 8);
    assert_eq!(promoted["head_hash"], document(&store, &["head-hash"])["head_hash"]);
    assert_eq!(document(&copy, &["stats"])["role"], "store");
    append(&copy, "Continued");
    ok(&copy, &["check-hash", promoted["head_hash"].as_str().unwrap()]);
    assert!(ok(&copy, &["verify"]).starts_with("whole: 9 events"));
    // Twice is a mistake that changes nothing.
    let after = contents(&copy);
    refused(&run(&copy, &["promote"]), &["is not a replica", "nothing to promote"]);
    refused(&run(&store, &["promote"]), &["is not a replica"]);
    assert!(contents(&copy) == after);
}

#[test]
fn a_replica_is_promoted_without_its_source_and_not_beside_another_history() {
    let (directory, store, copy) = stores();
    let restored = directory.path().join("restored");
    let backup = directory.path().join("backup");
    ok(&store, &["backup", backup.to_str().unwrap()]);
    ok(&restored, &["restore", backup.to_str().unwrap()]);
    // Both go on, in different ways.
    append(&store, "Added");
    follow(&store, &copy).close().unwrap();
    let other = restored.to_str().unwrap();
    let ahead = run(&copy, &["promote", "--source", other]);
    refused(&ahead, &["ends at position 8", "before it, at 7"]);
    append(&restored, "Other");
    refused(&run(&copy, &["promote", "--source", other]), &["another history up to position 8"]);
    std::fs::rename(&store, directory.path().join("lost")).unwrap();
    refused(&run(&copy, &["promote", "--source", store.to_str().unwrap()]), &["store"]);
    assert!(
        ok(&copy, &["promote"])
            .starts_with("promoted: it accepts commits from now on, after 8 events")
    );
    append(&copy, "Continued");
}

#[test]
fn what_needs_a_store_refuses_a_replica_by_name() {
    let (directory, store, copy) = stores();
    let export = run(&store, &["export"]).out;
    let before = contents(&copy);
    refused(&crate::common::run_with(&copy, &["import", "-"], &export), &["is a replica"]);
    let restored = directory.path().join("restored");
    let from = copy.to_str().unwrap();
    refused(&run(&restored, &["restore", from]), &["is a replica and not a backup"]);
    assert!(!restored.exists() && contents(&copy) == before);
    // Its backup is one of a store, beside nobody.
    let backup = directory.path().join("backup");
    let told = ok(&copy, &["backup", backup.to_str().unwrap()]);
    assert!(told.contains("7 events") && !told.contains("beside"), "{told}");
    ok(&restored, &["restore", backup.to_str().unwrap()]);
    append(&restored, "Continued");
    // While a program has it open, that program promotes it.
    let open = follow(&store, &copy);
    let words = ["is locked by", "`filmstrip promote` needs the store to itself"];
    refused(&run(&copy, &["promote"]), &words);
    let writer = Writer::on(&store);
    writer.wait_for(3);
    open.wait_for(writer.store().head(), crate::common::PATIENCE).unwrap();
    open.promote().unwrap();
    let event = NewEvent::json("Continued", &1).unwrap();
    open.append("Order-1", ExpectedVersion::Any, [event]).unwrap();
    assert_eq!(document(&copy, &["stats"])["role"], "store");
}
