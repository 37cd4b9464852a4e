//! A replica with keys on a disk that fails, while its source forgets somebody.

use crate::follow::follower::StoreDirectory;
use crate::keyring::directory::KeyDirectory;
use crate::keyring::kek::KeyEncryptingKey;
use crate::keyring::{KeyList, Keys};
use crate::sealing::key::{KeyId, SubjectKey};
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::store::Store;
use crate::value::error::Result;
use crate::value::event::{NewEvent, PayloadFormat};
use crate::value::position::ExpectedVersion;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The keys that a replica has, which count how often they are asked to destroy some.
struct Own {
    keys: Arc<KeyDirectory>,
    destroyed: AtomicUsize,
}

impl Keys for Own {
    fn current(&self, subject: &str) -> Result<SubjectKey> {
        self.keys.current(subject)
    }

    fn get(&self, id: KeyId) -> Result<Option<SubjectKey>> {
        self.keys.get(id)
    }

    fn list(&self, subject: &str) -> Result<KeyList> {
        self.keys.list(subject)
    }

    fn destroy(&self, _: &[KeyId]) -> Result<()> {
        self.destroyed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Keys were destroyed, and their events shown as erased, for a fence that was never written: after a restart nothing
/// said that they were.
#[test]
fn a_replica_destroys_no_key_before_the_fence_is_durable_there() {
    for n in 1..=12 {
        let directory = tempfile::tempdir().unwrap();
        let [ring, path, copy] = ["keys", "source", "copy"].map(|name| directory.path().join(name));
        let kek = || Ok(KeyEncryptingKey::new(&[7; 32]));
        let keys = Arc::new(KeyDirectory::create(ring, kek).unwrap());
        let source = Store::builder().keys(Arc::clone(&keys)).open(&path).unwrap();
        let event = NewEvent::json("Said", &1).unwrap().private("7");
        source.append("A-1", ExpectedVersion::Any, [event]).unwrap();
        let own = Arc::new(Own { keys, destroyed: AtomicUsize::new(0) });
        let faults = Arc::new(Faults::default());
        let follow = |faults: &Arc<Faults>| {
            let frames = StoreDirectory::at(&path).poll_interval(Duration::from_millis(1));
            let builder = Store::builder().disk(Arc::new(FaultyDisk(Arc::clone(faults))));
            builder.keys(Arc::clone(&own)).replica(frames).open(&copy).unwrap()
        };
        let replica = follow(&faults);
        wait_until("the event", || replica.head_hash() == source.head_hash());

        faults.fail_from(n);
        source.forget("7").unwrap();
        let has_it = || replica.head_hash() == source.head_hash();
        wait_until("a failure, or the fence", || faults.has_failed() || has_it());
        std::thread::sleep(Duration::from_millis(5));
        let format = || replica.read_all().collect().map(|events| events[0].format);
        if !has_it() {
            assert_eq!(own.destroyed.load(Ordering::SeqCst), 0, "operation {n}");
            assert_ne!(format().ok(), Some(PayloadFormat::Erased), "operation {n}");
        }
        faults.fail_in(0);
        drop(replica);
        let replica = follow(&Arc::default());
        wait_until("the fence", || replica.head_hash() == source.head_hash());
        wait_until("the end of the key", || own.destroyed.load(Ordering::SeqCst) > 0);
    }
}
