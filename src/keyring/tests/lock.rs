//! One handle in one process at a time; and where a ring may be.

use super::{files, kek, open, ring};
use crate::keyring::Keys;
use crate::keyring::directory::KeyDirectory;
use crate::value::error::ErrorKind;
use std::path::Path;
use std::process::Command;

/// Set in the process that tries to open a ring which another one has open.
const PATH: &str = "FILMSTRIP_TEST_KEY_RING";

#[test]
fn a_ring_that_is_open_is_locked() {
    let (_directory, path, keys) = ring();
    let error = KeyDirectory::open(&path, kek(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains("is open already, by this process"), "{error}");
    drop(keys);
    open(&path);
}

/// This test is also the other process: it starts itself.
#[test]
fn another_process_cannot_open_a_ring_that_is_open() {
    if let Ok(path) = std::env::var(PATH) {
        let error = KeyDirectory::open(&path, kek(1)).expect_err("it is open in another process");
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        println!("refused as it should be");
        return;
    }
    let (_directory, path, keys) = ring();
    let try_to_open = || {
        let test = "another_process_cannot_open_a_ring_that_is_open";
        let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([&name, "--exact", "--nocapture"]).env(PATH, &path).output().unwrap()
    };
    let output = try_to_open();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("refused as it should be"), "{said}");
    drop(keys);
    assert!(!try_to_open().status.success(), "a ring that nobody has open is refused");
}

#[test]
fn a_ring_is_not_made_where_something_is_nor_opened_where_none_is() {
    let (directory, path, keys) = ring();
    drop(keys);
    let refused = |what: &str, path: &Path, creates: bool| {
        let done = match creates {
            true => KeyDirectory::create(path, kek(1)),
            false => KeyDirectory::open(path, kek(1)),
        };
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    };
    refused("is a key ring already", &path, true);
    let others = directory.path().join("others");
    std::fs::create_dir(&others).unwrap();
    std::fs::set_permissions(&others, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    refused("holds no key ring", &others, false);
    assert!(files(&others).is_empty(), "a refused opening has left something");
    std::fs::write(others.join("file"), "of somebody").unwrap();
    refused("neither empty nor a key ring: it holds \"file\"", &others, true);
    // A mount that is missing must not look like a new ring.
    std::fs::remove_file(path.join("ring")).unwrap();
    refused("holds no key ring", &path, false);
    std::fs::remove_file(path.join("lock")).unwrap();
    assert!(files(&path).is_empty());
    drop(KeyDirectory::create(&path, kek(1)).unwrap());
    let keys = open(&path);
    keys.current("customer-7").unwrap();
    drop(keys);
    std::fs::remove_file(path.join("ring")).unwrap();
    refused("and the file ring is missing", &path, true);
}

#[test]
fn a_ring_within_a_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::store::Store::open(directory.path().join("store")).unwrap();
    for path in ["store", "store/keys", "store/keys/deeper"] {
        let error = KeyDirectory::create(directory.path().join(path), kek(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("is within the store"), "{error}");
    }
    assert!(!directory.path().join("store/keys").exists());
    drop(KeyDirectory::create(directory.path().join("keys"), kek(1)).unwrap());
    store.close().unwrap();
}

/// Keys that were in memory at the fork were given to the forked process for ever, also once they were destroyed.
#[test]
fn a_forked_process_gets_no_key_be_it_in_memory_or_not() {
    let (_directory, _, keys) = ring();
    let id = keys.current("customer-7").unwrap().id();
    assert_eq!(keys.keys_in_memory(), (1, 1));
    let keys = keys.forked();
    for error in [
        keys.current("customer-7").unwrap_err(),
        keys.current("customer-8").unwrap_err(),
        keys.get(id).unwrap_err(),
        keys.list("customer-7").unwrap_err(),
        keys.tag("customer-7", "value").unwrap_err(),
        keys.destroy(&[id]).unwrap_err(),
        keys.rotate("customer-7").unwrap_err(),
        keys.rekey(kek(2)).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Forked, "{error}");
    }
}
