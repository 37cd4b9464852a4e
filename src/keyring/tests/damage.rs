//! A ring whose files were damaged, exchanged, or lost.

use super::{bucket_of, files, forget, kek, only_bucket, open, print, ring};
use crate::keyring::directory::KeyDirectory;
use crate::keyring::slot::SLOT_BYTES;
use crate::keyring::{Keys, ListedKey};
use crate::value::error::ErrorKind;

#[test]
fn a_wrong_key_encrypting_key_is_told_when_the_ring_is_opened() {
    let (_directory, path, keys) = ring();
    keys.current("customer-7").unwrap();
    drop(keys);
    let before = files(&path);
    let error = KeyDirectory::open(&path, kek(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("the key-encrypting key is not the one of"), "{error}");
    assert_eq!(files(&path), before);
    open(&path);
}

/// Whatever bit of a slot is flipped, the answer is an error: that nobody knows is neither that somebody was forgotten
/// nor that there is room for a new key.
#[test]
fn a_flipped_bit_of_a_slot_is_an_error_and_never_a_new_key_or_a_forgotten_subject() {
    let (_directory, path, keys) = ring();
    let key = keys.current("customer-7").unwrap();
    drop(keys);
    let bucket = only_bucket(&path);
    let whole = std::fs::read(&bucket).unwrap();
    assert_eq!(whole.len(), SLOT_BYTES);
    for bit in (0..8 * SLOT_BYTES).step_by(37) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&bucket, &bytes).unwrap();
        let keys = open(&path);
        for error in [
            keys.current("customer-7").unwrap_err(),
            keys.get(key.id()).unwrap_err(),
            keys.ids("customer-7").unwrap_err(),
            keys.rotate("customer-7").unwrap_err(),
            keys.renew("customer-7").unwrap_err(),
            forget(&keys, "customer-7").unwrap_err(),
            keys.destroy(&[key.id()]).unwrap_err(),
            keys.list("customer-7").unwrap().incomplete.unwrap(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}: {error}");
            assert_eq!(error.damage().unwrap().file, bucket);
        }
        assert_eq!(std::fs::read(&bucket).unwrap(), bytes, "bit {bit}: it was written to");
    }
    std::fs::write(&bucket, &whole).unwrap();
    assert_eq!(print(&open(&path).get(key.id()).unwrap().unwrap()), print(&key));
}

#[test]
fn a_subject_beside_a_damaged_slot_keeps_its_key() {
    let (_directory, path, keys) = ring();
    let key = keys.current("customer-7").unwrap();
    let second = keys.rotate("customer-7").unwrap();
    drop(keys);
    let bucket = only_bucket(&path);
    let mut bytes = std::fs::read(&bucket).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&bucket, &bytes).unwrap();
    let keys = open(&path);
    assert_eq!(keys.current("customer-7").unwrap().id(), second);
    assert_eq!(keys.get(key.id()).unwrap_err().kind(), ErrorKind::Corrupt);
    // The damaged slot may be the subject's, so that not all of its keys would be destroyed.
    assert_eq!(forget(&keys, "customer-7").unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(keys.get(second).unwrap().is_some());
}

/// A slot that is gone, with its bucket or without, is no key; that the subject was forgotten, nobody says.
#[test]
fn a_slot_that_is_missing_is_no_key() {
    let (_directory, path, keys) = ring();
    let key = keys.current("customer-7").unwrap();
    drop(keys);
    let bucket = only_bucket(&path);
    for bytes in [vec![0; SLOT_BYTES], Vec::new()] {
        std::fs::write(&bucket, &bytes).unwrap();
        assert!(open(&path).get(key.id()).unwrap().is_none());
    }
    std::fs::remove_file(&bucket).unwrap();
    let keys = open(&path);
    assert!(keys.get(key.id()).unwrap().is_none());
    assert!(keys.ids("customer-7").unwrap().is_empty());
    keys.destroy(&[key.id()]).unwrap();
    drop(keys);
    // Without the directory of its buckets it would take everybody for new.
    std::fs::remove_dir(path.join("keys-1")).unwrap();
    let error = KeyDirectory::open(&path, kek(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

/// A bucket from another ring with the same key-encrypting key has whole slots, and none of them opens.
#[test]
fn a_bucket_of_another_ring_gives_no_key() {
    let (_directory, path, keys) = ring();
    let key = keys.current("customer-7").unwrap();
    drop(keys);
    let bytes = std::fs::read(only_bucket(&path)).unwrap();
    let (_directory, other, keys) = ring();
    let bucket = other.join("keys-1").join(only_bucket(&path).file_name().unwrap());
    std::fs::write(&bucket, bytes).unwrap();
    let error = keys.get(key.id()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("does not open"), "{error}");
}

/// A ring from a backup has the key again. Its destroying is repeated by what the journal says; here, it can be.
#[test]
fn a_ring_from_before_a_forget_has_the_key_until_it_is_destroyed_again() {
    let (_directory, path, keys) = ring();
    let key = keys.current("customer-7").unwrap();
    let backup = files(&path);
    forget(&keys, "customer-7").unwrap();
    drop(keys);
    backup.iter().for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    let keys = open(&path);
    assert!(keys.get(key.id()).unwrap().is_some());
    keys.destroy(&[key.id()]).unwrap();
    assert!(keys.get(key.id()).unwrap().is_none());
    assert_eq!(keys.current("customer-7").unwrap_err().kind(), ErrorKind::Erased);
}

/// One damaged slot kept all keys that it might have been beside from being destroyed.
#[test]
fn what_is_whole_is_destroyed_and_then_the_damage_is_told() {
    let (_directory, path, keys) = ring();
    let first = keys.current("customer-7").unwrap().id();
    let second = keys.rotate("customer-7").unwrap();
    let bystander = keys.current("customer-8").unwrap().id();
    assert_eq!(keys.keys_in_memory().0, 3);
    let bucket = bucket_of(&path, first);
    let mut bytes = std::fs::read(&bucket).unwrap();
    bytes[60] ^= 1;
    std::fs::write(&bucket, &bytes).unwrap();
    let listed = keys.list("customer-7").unwrap();
    assert_eq!(listed.keys, [ListedKey { id: second, is_destroyed: false }]);
    assert_eq!(listed.incomplete.unwrap().damage().unwrap().file, bucket);
    for _ in 0..2 {
        let error = keys.destroy(&[first, second, bystander]).unwrap_err();
        assert_eq!(error.damage().unwrap().file, bucket, "{error}");
        assert!(keys.get(second).unwrap().is_none());
        assert!(keys.get(bystander).unwrap().is_none());
        assert_eq!(keys.get(first).unwrap_err().kind(), ErrorKind::Corrupt, "it is in memory");
        assert_eq!(keys.keys_in_memory(), (0, 0));
    }
}
