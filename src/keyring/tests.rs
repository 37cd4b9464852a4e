//! A key ring over real files: what it keeps, what it refuses, and what it makes of damage, faults and races.

mod damage;
mod faults;
mod growth;
mod keeping;
mod lock;
mod rekeying;

use crate::keyring::Keys;
use crate::keyring::bucket::{Way, file_name};
use crate::keyring::directory::KeyDirectory;
use crate::keyring::kek::KeyEncryptingKey;
use crate::keyring::slot::place_of;
use crate::sealing::key::{KeyId, SubjectKey};
use crate::value::error::{HandlerError, Result};
use std::path::{Path, PathBuf};

/// What gives the key-encrypting key number `n`.
fn kek(n: u8) -> impl Fn() -> Result<KeyEncryptingKey, HandlerError> {
    move || Ok(KeyEncryptingKey::new(&[n; 32]))
}

fn open(path: &Path) -> KeyDirectory {
    KeyDirectory::open(path, kek(1)).unwrap()
}

/// A temporary directory, in memory if there is one: many syncs take long, and no power is cut here.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

/// A new ring in a temporary directory.
fn ring() -> (tempfile::TempDir, PathBuf, KeyDirectory) {
    let directory = scratch();
    let path = directory.path().join("deep/keys");
    let keys = KeyDirectory::create(&path, kek(1)).unwrap();
    (directory, path, keys)
}

/// Destroys all keys of a subject, and returns how many there were.
fn forget(keys: &KeyDirectory, subject: &str) -> Result<usize> {
    let ids = keys.ids(subject)?;
    keys.destroy(&ids).map(|()| ids.len())
}

/// What a key makes of the same bytes: two keys are the same if they make the same of them.
fn print(key: &SubjectKey) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    key.cipher().seal(b"print", &mut bytes);
    bytes
}

/// All files of the ring in `path`, with their bytes.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    files.sort();
    files
}

/// The only bucket of a ring with one subject.
fn only_bucket(path: &Path) -> PathBuf {
    let mut buckets = files(&path.join("keys-1"));
    assert_eq!(buckets.len(), 1, "a ring with one bucket");
    buckets.remove(0).0
}

/// The bucket of this key, in a ring that was not rekeyed.
fn bucket_of(path: &Path, id: KeyId) -> PathBuf {
    path.join("keys-1").join(file_name(Way::of(place_of(id)).bucket()))
}
