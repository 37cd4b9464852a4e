//! What a ring keeps, and what it says.

use super::{files, forget, kek, open, print, ring};
use crate::keyring::Keys;
use crate::keyring::directory::KeyDirectory;
use crate::sealing::key::KeyId;
use crate::value::error::{Error, ErrorKind};
use crate::value::limits::{SUBJECT_BYTES_MAX, SUBJECT_KEYS_MAX};
use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_key_is_the_same_whenever_it_is_asked_for() {
    let (_directory, path, keys) = ring();
    let key = keys.current("customer-7").unwrap();
    let other = keys.current("customer-8").unwrap();
    assert_ne!(print(&key), print(&other));
    assert_eq!(print(&keys.current("customer-7").unwrap()), print(&key));
    drop(keys);
    let keys = open(&path);
    for key in [&key, &other] {
        assert_eq!(print(&keys.get(key.id()).unwrap().unwrap()), print(key));
    }
    assert_eq!(print(&keys.current("customer-7").unwrap()), print(&key));
    assert_eq!(keys.ids("customer-7").unwrap(), [key.id()]);
    assert!(keys.ids("customer-9").unwrap().is_empty());
    assert!(keys.get(KeyId::new([1; 16])).unwrap().is_none());
}

#[test]
fn after_a_rotation_the_new_key_is_used_and_the_old_one_still_opens() {
    let (_directory, path, keys) = ring();
    let first = keys.current("customer-7").unwrap();
    let second = keys.rotate("customer-7").unwrap();
    assert_ne!(first.id(), second);
    for keys in [keys, open_again(&path)] {
        assert_eq!(keys.current("customer-7").unwrap().id(), second);
        assert_eq!(print(&keys.get(first.id()).unwrap().unwrap()), print(&first));
        assert_eq!(keys.ids("customer-7").unwrap(), [second, first.id()]);
    }
}

/// A copy of the ring, opened: the ring itself is open.
fn open_again(path: &std::path::Path) -> KeyDirectory {
    let copy = path.with_file_name("copy");
    let status = std::process::Command::new("cp").arg("-r").args([path, &copy]).status();
    assert!(status.unwrap().success());
    open(&copy)
}

#[test]
fn a_subject_that_was_forgotten_has_no_key_until_it_is_renewed() {
    let (_directory, path, keys) = ring();
    let first = keys.current("customer-7").unwrap();
    let second = keys.rotate("customer-7").unwrap();
    let bystander = keys.current("customer-8").unwrap();
    assert_eq!(forget(&keys, "customer-7").unwrap(), 2);
    drop(keys);
    let keys = open(&path);
    for id in [first.id(), second] {
        assert!(keys.get(id).unwrap().is_none());
    }
    for refused in [keys.current("customer-7").map(|key| key.id()), keys.rotate("customer-7")] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Erased);
        assert!(error.to_string().contains("customer-7"), "{error}");
    }
    assert!(keys.ids("customer-7").unwrap().is_empty());
    assert_eq!(forget(&keys, "customer-7").unwrap(), 0, "a second time");
    assert_eq!(print(&keys.get(bystander.id()).unwrap().unwrap()), print(&bystander));

    let renewed = keys.renew("customer-7").unwrap();
    assert!(renewed != first.id() && renewed != second, "an old id has a new key");
    assert_eq!(keys.renew("customer-7").unwrap(), renewed, "it was not forgotten");
    assert_eq!(keys.current("customer-7").unwrap().id(), renewed);
    assert_eq!(keys.ids("customer-7").unwrap(), [renewed]);
    assert!(keys.get(first.id()).unwrap().is_none());
}

/// A key that was forgotten stayed in memory, and opened what it had sealed.
#[test]
fn a_destroyed_key_is_not_in_memory_either() {
    let (_directory, _, keys) = ring();
    let key = keys.current("customer-7").unwrap();
    assert!(keys.get(key.id()).unwrap().is_some());
    assert_eq!(keys.keys_in_memory(), (1, 1));
    keys.destroy(&[key.id()]).unwrap();
    assert_eq!(keys.keys_in_memory(), (0, 0));
    assert!(keys.get(key.id()).unwrap().is_none());
    assert_eq!(keys.current("customer-7").unwrap_err().kind(), ErrorKind::Erased);
}

/// What was in the slot before is in no file afterwards, and the subject's name never was.
#[test]
fn a_forgotten_key_is_overwritten_where_it_was() {
    let (_directory, path, keys) = ring();
    let key = keys.current("customer-7").unwrap();
    keys.current("customer-8").unwrap();
    let before = files(&path);
    let slot_of = |bytes: &[u8]| {
        let at = bytes.windows(16).position(|window| window == key.id().as_bytes())?;
        Some(bytes[at + 48..at + 120].to_vec())
    };
    let wrapped = before.iter().find_map(|(_, bytes)| slot_of(bytes)).unwrap();
    let has = |files: &[(std::path::PathBuf, Vec<u8>)], what: &[u8]| {
        files.iter().any(|(_, bytes)| bytes.windows(what.len()).any(|window| window == what))
    };
    assert!(has(&before, &wrapped) && !has(&before, b"customer"));
    forget(&keys, "customer-7").unwrap();
    let after = files(&path);
    assert!(!has(&after, &wrapped[..8]) && !has(&after, &wrapped[64..]));
    assert_eq!(after.len(), before.len());
}

/// Without reuse, somebody who is forgotten and comes back again and again would fill the way of others.
#[test]
fn who_comes_back_takes_no_further_slot() {
    let (_directory, path, keys) = ring();
    let mut ids = HashSet::from([keys.current("customer-7").unwrap().id()]);
    let length = || files(&path.join("keys-1")).iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    let first = length();
    for _ in 0..40 {
        forget(&keys, "customer-7").unwrap();
        assert!(ids.insert(keys.renew("customer-7").unwrap()), "an id comes back");
    }
    assert_eq!(length(), first);
}

#[test]
fn a_subject_has_as_many_keys_as_are_allowed_and_no_more() {
    let (_directory, _, keys) = ring();
    let ids: HashSet<_> =
        (0..SUBJECT_KEYS_MAX).map(|_| keys.rotate("customer-7").unwrap()).collect();
    assert_eq!(ids.len(), SUBJECT_KEYS_MAX);
    let error = keys.rotate("customer-7").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("65 keys; at most 64"), "{error}");
    // One that is destroyed, but not the newest, makes room.
    let oldest = *keys.ids("customer-7").unwrap().last().unwrap();
    keys.destroy(&[oldest]).unwrap();
    keys.rotate("customer-7").unwrap();
    assert_eq!(keys.ids("customer-7").unwrap().len(), SUBJECT_KEYS_MAX);
    assert_eq!(forget(&keys, "customer-7").unwrap(), SUBJECT_KEYS_MAX);
}

#[test]
fn a_name_that_no_subject_can_have_is_refused() {
    let (_directory, path, keys) = ring();
    let long = "x".repeat(SUBJECT_BYTES_MAX + 1);
    type Call = fn(&KeyDirectory, &str) -> Result<(), Error>;
    let calls: [Call; 5] = [
        |keys, subject| keys.current(subject).map(drop),
        |keys, subject| keys.ids(subject).map(drop),
        |keys, subject| keys.rotate(subject).map(drop),
        |keys, subject| keys.renew(subject).map(drop),
        |keys, subject| forget(keys, subject).map(drop),
    ];
    for call in calls {
        assert_eq!(call(&keys, "").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(call(&keys, &long).unwrap_err().kind(), ErrorKind::TooLarge);
        call(&keys, &long[1..]).unwrap_or_else(|e| assert_eq!(e.kind(), ErrorKind::Erased));
    }
    assert!(files(&path.join("keys-1")).len() <= 1, "a refused name has made a bucket");
}

#[test]
fn directory_and_files_are_for_their_owner_only() {
    let (_directory, path, keys) = ring();
    keys.current("customer-7").unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("keys-1")), 0o700);
    for (file, _) in files(&path) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    drop(keys);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).unwrap();
    let error = KeyDirectory::open(&path, kek(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("0750") && error.to_string().contains("0700"), "{error}");
}

/// All threads that want the first key of a subject get the same, while others want those of others.
#[test]
fn threads_that_race_for_the_first_key_of_a_subject_get_one_key() {
    let (_directory, path, keys) = ring();
    for round in 0..20 {
        let subject = format!("customer-{round}");
        let barrier = std::sync::Barrier::new(8);
        let prints: HashSet<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        print(&keys.current(&subject).unwrap())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(prints.len(), 1, "{subject} has several keys");
        assert_eq!(keys.ids(&subject).unwrap().len(), 1);
    }
    drop(keys);
    assert_eq!(open(&path).ids("customer-19").unwrap().len(), 1);
}

/// A reader put a key back into memory after another thread had destroyed it.
#[test]
fn a_key_that_is_read_while_it_is_destroyed_does_not_stay_in_memory() {
    let (_directory, _, keys) = ring();
    for round in 0..30 {
        let subject = format!("customer-{round}");
        let id = keys.current(&subject).unwrap().id();
        std::thread::scope(|scope| {
            let readers: Vec<_> =
                (0..3).map(|_| scope.spawn(|| (0..20).for_each(|_| drop(keys.get(id))))).collect();
            forget(&keys, &subject).unwrap();
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
        assert!(keys.get(id).unwrap().is_none(), "round {round}");
    }
}

#[test]
fn what_is_shown_of_a_ring_and_of_its_errors_has_no_part_of_a_key() {
    let (_directory, path, keys) = ring();
    keys.current("customer-7").unwrap();
    assert_eq!(format!("{keys:?}"), format!("KeyDirectory {{ path: {path:?}, .. }}"));
    let error = KeyDirectory::create(&path, || Err("the service is down".into())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeysUnavailable);
    assert!(error.to_string().contains("the service is down"), "{error}");
}
