//! Each operation of the disk fails once beneath a ring. What it returned is true, now and after it is opened again.

use super::{files, forget, kek, print, scratch};
use crate::keyring::directory::KeyDirectory;
use crate::keyring::{Keys, ListedKey};
use crate::sealing::key::KeyId;
use crate::storage::disk::Disk;
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::value::error::{Error, ErrorKind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What the ring has said, and so must be true.
#[derive(Default)]
struct Known {
    /// Keys that were returned and are not to be destroyed.
    keys: BTreeMap<KeyId, Vec<u8>>,
    /// Keys whose destroying has returned.
    destroyed: BTreeSet<KeyId>,
    /// The key-encrypting key that the ring must have; another one, if it may have that too.
    kek: (u8, Option<u8>),
}

impl Known {
    fn check(&self, keys: &KeyDirectory, case: &str) {
        for (id, print_before) in &self.keys {
            let key = keys.get(*id).unwrap_or_else(|e| panic!("{case}: {e}"));
            let key = key.unwrap_or_else(|| panic!("{case}: the key {id} is gone"));
            assert_eq!(print(&key), *print_before, "{case}: the key {id} is another");
        }
        for id in &self.destroyed {
            assert!(keys.get(*id).unwrap().is_none(), "{case}: the key {id} is back");
        }
    }
}

/// Uses of a ring, of every kind; the error of the first that fails.
fn use_ring(keys: &KeyDirectory, known: &mut Known) -> Result<(), Error> {
    for subject in ["a", "b", "c"] {
        let key = keys.current(subject)?;
        known.keys.insert(key.id(), print(&key));
    }
    for subject in ["b", "b", "c"] {
        let id = keys.rotate(subject)?;
        known.keys.insert(id, print(&keys.get(id)?.expect("it was just made")));
    }
    let ids = keys.ids("b")?;
    // From here on, those of `b` may be there or not, until it returns.
    ids.iter().for_each(|id| drop(known.keys.remove(id)));
    keys.destroy(&ids)?;
    known.destroyed.extend(ids);
    assert_eq!(keys.current("b").unwrap_err().kind(), ErrorKind::Erased);
    let id = keys.renew("b")?;
    known.keys.insert(id, print(&keys.get(id)?.expect("it was just made")));
    known.kek.1 = Some(2);
    keys.rekey(kek(2))?;
    known.kek = (2, None);
    let key = keys.current("d")?;
    known.keys.insert(key.id(), print(&key));
    Ok(())
}

fn open(path: &Path, disk: &Arc<dyn Disk>, known: &Known) -> Result<KeyDirectory, Error> {
    match KeyDirectory::open_on(path, disk, kek(known.kek.0)) {
        Err(error) if error.kind() == ErrorKind::InvalidInput && known.kek.1.is_some() => {
            KeyDirectory::open_on(path, disk, kek(known.kek.1.unwrap()))
        }
        opened => opened,
    }
}

/// Runs the workload with the n-th operation failing; false if there are not so many.
fn with_fault(n: u64, halves: bool) -> bool {
    let directory = scratch();
    let path = directory.path().join("keys");
    let faults = Arc::new(Faults::default());
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
    if halves {
        faults.halve_writes();
    }
    let case = format!("operation {n} fails, halves: {halves}");
    let mut known = Known { kek: (1, None), ..Known::default() };
    faults.fail_in(n);
    let keys = KeyDirectory::create_on(&path, &disk, kek(1));
    let used = match &keys {
        Ok(keys) => use_ring(keys, &mut known),
        Err(error) => Err(error.clone()),
    };
    let has_failed = faults.has_failed();
    faults.fail_in(0);
    assert_eq!(used.is_err(), has_failed, "{case}: {used:?}");
    let Ok(keys) = keys else {
        // To make it again goes on.
        let keys = KeyDirectory::create_on(&path, &disk, kek(1));
        let keys = keys.or_else(|_| KeyDirectory::open_on(&path, &disk, kek(1)));
        use_ring(&keys.unwrap_or_else(|e| panic!("{case}: {e}")), &mut known).unwrap();
        return has_failed;
    };
    known.check(&keys, &case);
    drop(keys);
    let keys = open(&path, &disk, &known).unwrap_or_else(|e| panic!("{case}: {e}"));
    known.check(&keys, &case);
    for subject in ["a", "c", "d"] {
        keys.current(subject).unwrap_or_else(|e| panic!("{case}: {subject}: {e}"));
        assert!(keys.ids(subject).unwrap().len() <= 3, "{case}");
    }
    // What was interrupted is done again.
    forget(&keys, "b").unwrap_or_else(|e| panic!("{case}: {e}"));
    forget(&keys, "a").unwrap_or_else(|e| panic!("{case}: {e}"));
    keys.rekey(kek(3)).unwrap_or_else(|e| panic!("{case}: {e}"));
    let left: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap()).collect();
    assert!(left.len() <= 4, "{case}: {left:?}");
    has_failed
}

#[test]
fn whichever_operation_fails_what_a_ring_has_returned_stays_true() {
    for halves in [false, true] {
        let operations = (1..).take_while(|n| with_fault(*n, halves)).count();
        assert!(operations > 40, "only {operations} operations");
    }
}

/// A key whose sync has failed was found in its slot by the next call, and used although it was not durable.
#[test]
fn a_key_whose_sync_failed_is_not_found_again() {
    let directory = scratch();
    let path = directory.path().join("keys");
    let faults = Arc::new(Faults::default());
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
    let keys = KeyDirectory::create_on(&path, &disk, kek(1)).unwrap();
    // Creating the bucket, its name, the write, and then the sync.
    faults.fail_in(4);
    let error = keys.current("a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(faults.has_failed());
    assert!(keys.ids("a").unwrap().is_empty(), "a key that is not durable is there");
    assert_eq!(keys.current("a").unwrap().id(), keys.ids("a").unwrap()[0]);
}

/// If what is on disk cannot even be put back, the ring ends changing, and says why.
#[test]
fn a_ring_whose_disk_fails_twice_takes_no_changes_until_it_is_opened_again() {
    let directory = scratch();
    let path = directory.path().join("keys");
    let faults = Arc::new(Faults::default());
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
    let keys = KeyDirectory::create_on(&path, &disk, kek(1)).unwrap();
    let key = keys.current("a").unwrap();
    // The sync fails, and so does putting back what was there.
    faults.fail_from(2);
    keys.rotate("a").unwrap_err();
    faults.fail_in(0);
    let error = keys.rotate("a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert!(error.to_string().contains("until it is opened again"), "{error}");
    assert!(keys.get(key.id()).unwrap().is_some());
    drop(keys);
    KeyDirectory::open_on(&path, &disk, kek(1)).unwrap().rotate("a").unwrap();
}

/// Opening a store destroys again whatever was forgotten: it wrote and synced each slot again.
#[test]
fn keys_that_are_destroyed_are_not_written_again_and_their_buckets_are_synced_once() {
    let directory = scratch();
    let path = directory.path().join("keys");
    let faults = Arc::new(Faults::default());
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
    let keys = KeyDirectory::create_on(&path, &disk, kek(1)).unwrap();
    let ids: Vec<_> = (0..1_000).map(|n| keys.current(&n.to_string()).unwrap().id()).collect();
    let buckets = files(&path.join("keys-1")).len() as u64;
    let operations = |keys: &KeyDirectory| {
        let before = faults.operations();
        keys.destroy(&ids).unwrap();
        faults.operations() - before
    };
    assert_eq!(operations(&keys), 1_000 + buckets, "each slot is written, and each bucket synced");
    assert_eq!(operations(&keys), 0, "a second time");
    drop(keys);
    let keys = KeyDirectory::open_on(&path, &disk, kek(1)).unwrap();
    assert_eq!(operations(&keys), buckets, "a killed process may have left them unsynced");
    assert_eq!(operations(&keys), 0);
}

/// The kernel takes a page whose sync has failed for written, so the next sync alone does nothing.
#[test]
fn what_could_not_be_synced_is_written_again_before_it_is_believed() {
    let directory = scratch();
    let path = directory.path().join("keys");
    let faults = Arc::new(Faults::default());
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
    let keys = KeyDirectory::create_on(&path, &disk, kek(1)).unwrap();
    let id = keys.current("a").unwrap().id();
    let is_destroyed = || keys.list("a").unwrap().keys == [ListedKey { id, is_destroyed: true }];
    // The write of the slot, and then the sync; and then everything.
    faults.fail_from(2);
    keys.destroy(&[id]).unwrap_err();
    assert!(!is_destroyed(), "what may not be durable is believed");
    keys.destroy(&[id]).unwrap_err();
    faults.fail_in(0);
    let before = faults.operations();
    assert!(is_destroyed());
    assert_eq!(faults.operations() - before, 2, "a write and a sync");
    assert!(is_destroyed());
    assert_eq!(faults.operations() - before, 2, "it is settled");
}
