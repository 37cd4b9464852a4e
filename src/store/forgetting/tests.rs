//! Each operation of the disk fails once while somebody is forgotten.

use crate::keyring::Keys;
use crate::keyring::directory::KeyDirectory;
use crate::keyring::kek::KeyEncryptingKey;
use crate::storage::disk::{Disk, RealDisk};
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::store::Store;
use crate::value::error::HandlerError;
use crate::value::event::{NewEvent, PayloadFormat};
use crate::value::position::ExpectedVersion;
use std::path::Path;
use std::sync::Arc;

fn kek() -> Result<KeyEncryptingKey, HandlerError> {
    Ok(KeyEncryptingKey::new(&[7; 32]))
}

fn open(root: &Path, disk: &Arc<dyn Disk>) -> (Arc<KeyDirectory>, Store) {
    let keys = Arc::new(KeyDirectory::open_on(&root.join("keys"), disk, kek).unwrap());
    let builder = Store::builder().disk(Arc::clone(disk)).keys(Arc::clone(&keys));
    let store = builder.open(root.join("store")).unwrap();
    (keys, store)
}

/// Whether 7 is erased. It is either that or readable, in all of its events, and 8 is always readable.
fn is_erased(store: &Store, case: &str) -> bool {
    let events = store.read_all().collect().unwrap_or_else(|e| panic!("{case}: {e}"));
    let formats: Vec<_> = events.iter().map(|event| event.format).collect();
    let (json, erased) = (PayloadFormat::Json, PayloadFormat::Erased);
    match formats[..] {
        [first, second, other] if first == second && other == json => first == erased,
        _ => panic!("{case}: {formats:?}"),
    }
}

/// What an error says may be left is left, and nothing else; and forgetting again ends it.
#[test]
fn whatever_fails_once_everything_of_a_subject_is_there_or_nothing_and_another_call_ends_it() {
    for n in 1.. {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        KeyDirectory::create(root.join("keys"), kek).unwrap();
        let faults = Arc::new(Faults::default());
        let faulty: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
        let (keys, store) = open(root, &faulty);
        let event = |subject| NewEvent::json("Said", &1).unwrap().private(subject);
        store.append("A-1", ExpectedVersion::Any, [event("7"), event("7"), event("8")]).unwrap();
        faults.fail_in(n);
        let forgotten = store.forget("7");
        let has_failed = faults.has_failed();
        faults.fail_in(0);
        let case = &format!("operation {n}, {forgotten:?}");
        if forgotten.is_ok() {
            assert!(is_erased(&store, case), "{case}");
            assert_eq!(keys.ids("7").unwrap(), [], "{case}");
        }
        let was_erased = is_erased(&store, case);
        drop((keys, store));

        let real: Arc<dyn Disk> = Arc::new(RealDisk);
        let (keys, store) = open(root, &real);
        // What a reader was told holds, also of a fence whose outcome was unknown.
        assert!(!was_erased || is_erased(&store, case), "{case}: it came back");
        assert_eq!(is_erased(&store, case), keys.ids("7").unwrap().is_empty(), "{case}");
        store.forget("7").unwrap_or_else(|e| panic!("{case}: again: {e}"));
        assert!(is_erased(&store, case) && keys.ids("7").unwrap().is_empty(), "{case}");
        if !has_failed {
            assert!(n > 6, "only {n} operations were tried");
            return;
        }
    }
}
