//! A ring whose keys are encrypted again.

use super::{bucket_of, files, forget, kek, only_bucket, open, print, ring};
use crate::keyring::Keys;
use crate::keyring::directory::KeyDirectory;
use crate::value::error::ErrorKind;

#[test]
fn after_rekeying_the_new_key_opens_the_ring_and_the_former_one_does_not() {
    let (_directory, path, keys) = ring();
    let subjects: Vec<_> = (0..40).map(|n| format!("customer-{n}")).collect();
    let made: Vec<_> = subjects.iter().map(|subject| keys.current(subject).unwrap()).collect();
    let newest = keys.rotate("customer-3").unwrap();
    forget(&keys, "customer-5").unwrap();
    let wrapped = |path: &std::path::Path| -> Vec<Vec<u8>> {
        let slots = |bytes: Vec<u8>| {
            let slots = bytes.chunks(128).filter(|slot| slot.len() == 128 && slot[42] == 1);
            slots.map(|slot| slot[48..120].to_vec()).collect::<Vec<_>>()
        };
        files(path).into_iter().flat_map(|(_, bytes)| slots(bytes)).collect()
    };
    let before = wrapped(&path.join("keys-1"));
    assert_eq!(before.len(), 40);
    keys.rekey(kek(2)).unwrap();
    assert!(!path.join("keys-1").exists());
    let after = wrapped(&path.join("keys-2"));
    assert_eq!(after.len(), before.len());
    assert!(after.iter().all(|wrapped| !before.contains(wrapped)), "a key was not wrapped again");
    // It goes on with the new one.
    let later = keys.current("customer-new").unwrap();
    drop(keys);
    assert_eq!(KeyDirectory::open(&path, kek(1)).unwrap_err().kind(), ErrorKind::InvalidInput);
    let keys = KeyDirectory::open(&path, kek(2)).unwrap();
    for (n, key) in made.iter().enumerate().filter(|(n, _)| *n != 5) {
        assert_eq!(print(&keys.get(key.id()).unwrap().unwrap()), print(key), "customer-{n}");
    }
    assert_eq!(keys.current("customer-3").unwrap().id(), newest);
    assert_eq!(print(&keys.current("customer-new").unwrap()), print(&later));
    assert!(keys.get(made[5].id()).unwrap().is_none());
    assert_eq!(keys.current("customer-5").unwrap_err().kind(), ErrorKind::Erased);
}

#[test]
fn a_ring_is_rekeyed_again_and_again() {
    let (_directory, path, keys) = ring();
    let key = keys.current("customer-7").unwrap();
    for n in 2..6 {
        keys.rekey(kek(n)).unwrap();
    }
    keys.rekey(|| Err("the service is down".into())).unwrap_err();
    keys.rekey(kek(1)).unwrap();
    drop(keys);
    assert_eq!(print(&open(&path).get(key.id()).unwrap().unwrap()), print(&key));
}

/// What the former key-encrypting key opens is overwritten before its file is removed: a second name of it shows that.
#[test]
fn what_the_former_key_opens_is_overwritten() {
    let (directory, path, keys) = ring();
    keys.current("customer-7").unwrap();
    let second_name = directory.path().join("second-name");
    std::fs::hard_link(only_bucket(&path), &second_name).unwrap();
    assert!(std::fs::read(&second_name).unwrap().iter().any(|byte| *byte != 0));
    keys.rekey(kek(2)).unwrap();
    assert!(std::fs::read(&second_name).unwrap().iter().all(|byte| *byte == 0));
}

/// One damaged slot kept a whole ring under a key-encrypting key that was to be destroyed.
#[test]
fn a_damaged_slot_stops_no_rekeying_is_damaged_afterwards_and_has_no_bytes_of_a_key() {
    let (_directory, path, keys) = ring();
    let lost = keys.current("customer-7").unwrap().id();
    let unopenable = keys.rotate("customer-7").unwrap();
    let whole = keys.current("customer-8").unwrap();
    forget(&keys, "customer-9").unwrap();
    drop(keys);
    let bucket = bucket_of(&path, lost);
    let mut bytes = std::fs::read(&bucket).unwrap();
    let wrapped = bytes[48..120].to_vec();
    // The checksum of one, and the wrapped key of the other beneath a checksum that is right.
    bytes[124] ^= 1;
    bytes[128 + 60] ^= 1;
    let crc = crc32c::crc32c(&bytes[128..128 + 124]);
    bytes[128 + 124..256].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&bucket, &bytes).unwrap();
    let keys = open(&path);
    let rekeyed = keys.rekey(kek(2)).unwrap();
    assert_eq!((rekeyed.keys, rekeyed.damaged), (1, 2));
    assert_eq!(print(&keys.get(whole.id()).unwrap().unwrap()), print(&whole));
    for id in [lost, unopenable] {
        assert_eq!(keys.get(id).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    assert!(keys.list("customer-7").unwrap().incomplete.is_some());
    let after = files(&path.join("keys-2"));
    for part in wrapped.chunks(8).chain(bytes[128 + 48..128 + 120].chunks(8)) {
        let has = |bytes: &[u8]| bytes.windows(8).any(|window| window == part);
        assert!(!after.iter().any(|(_, bytes)| has(bytes)));
    }
    // What does not open can still be destroyed, for its id is known.
    keys.destroy(&[unopenable]).unwrap();
    assert_eq!(keys.rekey(kek(3)).unwrap().damaged, 1);
}
