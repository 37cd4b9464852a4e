//! A replica has private events sealed, and forgets whom its source forgets.

use super::derived::{Addresses, MARKER, fill, is_in_a_file, rows};
use super::*;
use crate::common::wait_until;
use crate::common::whole::PATIENCE;
use filmstrip::erasure::Keys;
use filmstrip::replica::StoreDirectory;
use std::time::Duration;

impl Place {
    fn replica(&self) -> PathBuf {
        self.0.path().join("replica")
    }

    /// The replica with the keys of a ring that is a copy of the source's.
    fn open_replica(&self, keys: Option<Arc<KeyDirectory>>) -> Store {
        let source = StoreDirectory::at(self.store()).poll_interval(Duration::from_millis(1));
        let builder = Store::builder().replica(source);
        let builder = match keys {
            Some(keys) => builder.keys(keys),
            None => builder,
        };
        builder.open(self.replica()).unwrap()
    }

    /// A copy of the ring, which nobody has open.
    fn copied_ring(&self) -> Arc<KeyDirectory> {
        let copy = self.0.path().join("copied-keys");
        for file in files(&self.ring()) {
            let to = copy.join(file.strip_prefix(self.ring()).unwrap());
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(file, to).unwrap();
        }
        let only_ours = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&copy, only_ours).unwrap();
        Arc::new(KeyDirectory::open(copy, || Ok(kek())).unwrap())
    }

    fn manifest_of_replica(&self) -> String {
        std::fs::read_to_string(self.replica().join("MANIFEST")).unwrap()
    }
}

fn catch_up(replica: &Store, source: &Store) {
    let is_there = || replica.head_hash() == source.head_hash();
    wait_until(PATIENCE, "the source's last frame", is_there);
}

/// The file of the view kept who was forgotten: a replica's journal has no record of its own that could say that
/// something is left to be done.
#[test]
fn a_replica_forgets_whom_its_source_forgets() {
    let place = Place::new();
    let source = place.open();
    fill(&source);
    source.close().unwrap();
    let keys = place.copied_ring();
    let source = place.open();
    let replica = place.open_replica(Some(Arc::clone(&keys)));
    assert!(!keys.ids("7").unwrap().is_empty());
    let addresses = replica.project(Addresses).start().unwrap();
    catch_up(&replica, &source);
    addresses.wait_for(replica.head(), PATIENCE).unwrap();
    assert!(rows(&addresses).iter().all(|row| row.contains(MARKER)));
    assert_eq!(read(&replica), read(&source));
    replica.close().unwrap();
    assert!(is_in_a_file(&place.replica()), "the view has it");

    let replica = place.open_replica(Some(Arc::clone(&keys)));
    let addresses = replica.project(Addresses).start().unwrap();
    source.forget("7").unwrap();
    catch_up(&replica, &source);
    let is_forgotten = || {
        addresses.wait_for(replica.head(), PATIENCE).unwrap();
        rows(&addresses) == vec!["gone"; 20]
    };
    wait_until(PATIENCE, "a view without who was forgotten", is_forgotten);
    assert_eq!(read(&replica), read(&source));
    let has_no_key = || keys.ids("7").unwrap().is_empty();
    wait_until(PATIENCE, "the end of the copied key", has_no_key);
    replica.close().unwrap();
    drop(place.open_replica(Some(keys)));
    assert!(!is_in_a_file(place.0.path()));
}

#[test]
fn a_replica_without_keys_has_private_events_sealed_and_knows_who_is_erased() {
    let place = Place::new();
    let source = place.open();
    source.append("Order-1", ExpectedVersion::Any, [public()]).unwrap();
    let replica = place.open_replica(None);
    catch_up(&replica, &source);
    assert!(place.manifest_of_replica().starts_with("filmstrip 1\n"));
    let about = |subject| private(subject, "12 Row Lane");
    source.append("Order-1", ExpectedVersion::Any, [about("7"), about("8")]).unwrap();
    catch_up(&replica, &source);
    let manifest = place.manifest_of_replica();
    assert!(manifest.starts_with("filmstrip 2\n"), "{manifest}");
    assert!(manifest.contains("role replica\n"), "{manifest}");
    let (json, sealed, erased) =
        (PayloadFormat::Json, PayloadFormat::Sealed, PayloadFormat::Erased);
    assert_eq!(formats(&replica), [json, sealed, sealed]);
    source.forget("7").unwrap();
    catch_up(&replica, &source);
    wait_until(PATIENCE, "the erased event", || formats(&replica) == [json, erased, sealed]);
}

/// What it refuses must not change it either.
#[test]
fn a_replica_neither_forgets_nor_takes_private_events_until_it_is_promoted() {
    let place = Place::new();
    let keys = place.keys();
    let source = Store::builder().keys(Arc::clone(&keys)).open(place.store()).unwrap();
    source.append("Order-1", ExpectedVersion::Any, [public()]).unwrap();
    let replica = place.open_replica(Some(Arc::clone(&keys)));
    catch_up(&replica, &source);
    let append = || replica.append("Order-1", ExpectedVersion::Any, [private("7", "12")]);
    let Err(AppendError::Store(error)) = append() else { panic!("a replica took an event") };
    assert_eq!(error.kind(), ErrorKind::Replica);
    assert_eq!(replica.forget("7").unwrap_err().kind(), ErrorKind::Replica);
    assert_eq!(replica.forget_keys(&[]).unwrap_err().kind(), ErrorKind::Replica);
    assert!(place.manifest_of_replica().starts_with("filmstrip 1\n"));

    source.append("Order-1", ExpectedVersion::Any, [private("7", "12")]).unwrap();
    source.close().unwrap();
    let closed = filmstrip::Follower::open(place.store()).unwrap().head_hash().unwrap();
    wait_until(PATIENCE, "the last frame", || replica.head_hash() == closed);
    replica.promote().unwrap();
    append().unwrap();
    let manifest = place.manifest_of_replica();
    assert!(manifest.starts_with("filmstrip 2\n") && !manifest.contains("role"), "{manifest}");
    assert_eq!(replica.forget("7").unwrap().keys.len(), 1);
    let (json, erased) = (PayloadFormat::Json, PayloadFormat::Erased);
    assert_eq!(formats(&replica), [json, erased, erased]);
}
