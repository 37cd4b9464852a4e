//! Keeping: verify, backup, restore, repair, and the hash of the history.

use crate::common::{Writer, append, contents, document, ok, refused, run, run_with, sample};
use filmstrip::Store;
use filmstrip::repair::HashCheck;
use serde_json::json;
use std::fs;
use std::path::Path;
use tempfile::tempdir;

/// Changes a byte of the event in Parcel-1.
fn damage(store: &Path) {
    let segment = store.join("journal/00000000000000000001");
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.windows(8).position(|name| name == b"Parcel-1").unwrap();
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
}

#[test]
fn a_whole_store_is_whole_and_damage_is_exit_code_1() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let verified = document(directory.path(), &["verify"]);
    assert_eq!((&verified["findings"], &verified["events"]), (&json!([]), &json!(7)));
    assert!(ok(directory.path(), &["verify"]).starts_with("whole: 7 events"));
    damage(directory.path());
    let done = run(directory.path(), &["--json", "verify"]);
    let verified: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, done.err.as_str()), (1, ""));
    assert_eq!(verified["findings"][0]["positions"], json!({ "start": 4, "end": 4 }));
    let done = run(directory.path(), &["verify"]);
    assert_eq!(done.code, 1);
    assert!(done.out.contains("is damaged") || done.out.contains("position 4"), "{}", done.out);
}

#[test]
fn a_backup_takes_what_is_new_and_is_restored_with_the_same_history() {
    let directory = tempdir().unwrap();
    let (store, backup, copy) =
        ["store", "backup", "copy"].map(|name| directory.path().join(name)).into();
    let to = backup.to_str().unwrap();
    sample(&store);
    let first = document(&store, &["backup", to]);
    assert_eq!((&first["position"], &first["segments_copied"]), (&json!(7), &json!(1)));
    append(&store, "Added");
    let second = document(&store, &["backup", to, "--check-all"]);
    assert_eq!(second["position"], 8);
    assert!(ok(&store, &["backup", to]).contains("8 events"));

    let before = contents(&backup);
    let restored = document(&copy, &["restore", to]);
    assert_eq!((&restored["events"], &restored["head_hash"]), (&json!(8), &second["head"]));
    assert!(contents(&backup) == before, "restoring has changed the backup");
    ok(&copy, &["check-hash", second["head"].as_str().unwrap()]);
    ok(&copy, &["verify"]);
    assert_eq!(ok(&copy, &["export"]), ok(&store, &["export"]));
    append(&copy, "Continued");
    // The backup takes further ones.
    assert_eq!(document(&store, &["backup", to])["position"], 8);
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        3,
        "something was left beside the store"
    );
}

/// An operator had to stop the application to verify its store or to back it up.
#[test]
fn a_store_that_is_open_elsewhere_is_verified_and_backed_up() {
    let directory = tempdir().unwrap();
    let (store, backup, copy) =
        ["store", "backup", "copy"].map(|name| directory.path().join(name)).into();
    let to = backup.to_str().unwrap();
    sample(&store);
    let writer = Writer::on(&store);
    let verified = document(&store, &["verify"]);
    assert_eq!(verified["findings"], json!([]));
    assert!(verified["unchecked"].as_array().unwrap().contains(&json!("views")), "{verified}");
    let told = ok(&store, &["verify"]);
    let last = told.lines().last().unwrap();
    assert!(
        last.starts_with("not checked, because another process has the store open: "),
        "{told}"
    );

    let before = writer.store().head().get();
    let first = document(&store, &["backup", to]);
    assert!(first["position"].as_u64().unwrap() >= before, "{first} lacks position {before}");
    writer.wait_for(1);
    let told = ok(&store, &["backup", to, "--check-all"]);
    assert!(told.contains("taken beside the process that has the store open"), "{told}");
    let restored = document(&copy, &["restore", to]);
    let of_copy =
        writer.store().check_hash(&restored["head_hash"].as_str().unwrap().parse().unwrap());
    assert_eq!(of_copy.unwrap(), HashCheck::Same);
    assert_eq!(document(&copy, &["verify"])["unchecked"], json!([]));
    drop(writer);
    // From now on, the store is opened for it.
    assert!(!ok(&store, &["backup", to]).contains("taken beside"));
    assert!(!ok(&store, &["verify"]).contains("not checked"));
    let _open = Store::open(&store).unwrap();
    damage(&store);
    let done = run(&store, &["verify"]);
    assert!(done.code == 1 && done.out.contains("not checked"), "{}", done.out);
}

#[test]
fn a_restore_is_whole_or_nothing() {
    let directory = tempdir().unwrap();
    let (store, backup, copy) =
        ["store", "backup", "copy"].map(|name| directory.path().join(name)).into();
    let from = backup.to_str().unwrap();
    sample(&store);
    ok(&store, &["backup", from]);
    refused(&run(&store, &["restore", from]), &["is not empty"]);
    refused(&run(&copy, &["restore", "absent"]), &["absent", "is not a store"]);
    // An empty directory is taken, with its permissions.
    fs::create_dir(&copy).unwrap();
    assert!(ok(&copy, &["restore", from]).contains("7 events restored"));
    fs::remove_dir_all(&copy).unwrap();
    damage(&backup);
    refused(&run(&copy, &["restore", from]), &["is damaged", "nothing was restored"]);
    assert!(!copy.exists());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "something was left");
}

#[test]
fn a_backup_into_another_directory_than_one_of_backups_is_refused() {
    let directory = tempdir().unwrap();
    let (store, other) = (directory.path().join("store"), directory.path().join("other"));
    sample(&store);
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter"), "dear").unwrap();
    refused(
        &run(&store, &["backup", other.to_str().unwrap()]),
        &["is not a directory of backups", "letter"],
    );
    refused(
        &run(&store, &["backup", store.join("within").to_str().unwrap()]),
        &["is inside the store"],
    );
}

#[test]
fn an_index_is_rebuilt_and_a_damaged_store_exported() {
    let directory = tempdir().unwrap();
    let (store, mended) = (directory.path().join("store"), directory.path().join("mended"));
    sample(&store);
    let rebuilt = document(&store, &["repair", "index"]);
    assert!(rebuilt["moved_to"].as_str().unwrap().contains("index.damaged-"), "{rebuilt}");
    assert!(ok(&store, &["repair", "index"]).contains("there was no index"));
    append(&store, "Added");
    ok(&store, &["verify"]);
    ok(&store, &["repair", "index"]);
    damage(&store);
    let exported = document(&store, &["repair", "export", mended.to_str().unwrap()]);
    assert_eq!(
        (&exported["events"], &exported["lost"]),
        (&json!(7), &json!([{ "start": 4, "end": 4 }]))
    );
    assert_eq!(document(&mended, &["stats"])["events"], 7);
    let again = run(&store, &["repair", "export", mended.to_str().unwrap()]);
    refused(&again, &["mended"]);
}

#[test]
fn a_noted_hash_shows_whether_the_history_is_the_same() {
    let directory = tempdir().unwrap();
    let (store, other) = (directory.path().join("store"), directory.path().join("other"));
    sample(&store);
    let noted = ok(&store, &["head-hash"]).trim().to_owned();
    let writer = Writer::on(&store);
    writer.wait_for(1);
    assert!(ok(&store, &["check-hash", &noted]).starts_with("same: "));
    let answer = |store: &Path, noted: &str| {
        let done = run_with(store, &["--json", "check-hash", "-"], noted);
        let answer: serde_json::Value = serde_json::from_str(&done.out).unwrap();
        (done.code, answer["answer"].as_str().unwrap().to_owned())
    };
    assert_eq!(answer(&store, &format!("{noted}\n")), (0, "same".to_owned()));
    let digit = if noted.ends_with('0') { "1" } else { "0" };
    let changed = format!("{}{digit}", &noted[..noted.len() - 1]);
    assert_eq!(answer(&store, &changed), (1, "changed".to_owned()));
    append(&other, "Another");
    assert_eq!(answer(&other, &noted), (1, "shorter".to_owned()));
    assert_eq!(document(&store, &["head-hash"]).as_object().unwrap().len(), 1);
}
