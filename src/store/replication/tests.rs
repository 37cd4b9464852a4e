//! A replica on a disk that fails, is full, or fails while it is promoted.

use crate::follow::follower::StoreDirectory;
use crate::log::replica::status::ReplicationState;
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::store::Store;
use crate::value::error::{ErrorKind, Result};
use crate::value::event::NewEvent;
use crate::value::position::{ExpectedVersion, Position};
use crate::value::random::first_seed;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn append(store: &Store, events: u64, bytes: usize) {
    for _ in 0..events {
        let event = NewEvent::bytes("T", vec![7; bytes]);
        store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    }
}

/// A replica of the store in `source`, on a disk with these faults.
fn replica(faults: &Arc<Faults>, source: &Path, path: &Path) -> Result<Store> {
    let source = StoreDirectory::at(source).poll_interval(Duration::from_millis(1));
    let disk = Arc::new(FaultyDisk(Arc::clone(faults)));
    Store::builder().disk(disk).replica(source).open(path)
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The same history as its source, whole, after it has got the rest.
fn assert_catches_up(source: &Store, path: &Path, case: &str) {
    let replica = replica(&Arc::default(), source.path(), path)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    replica.wait_for(source.head(), PATIENCE).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(replica.head_hash(), source.head_hash(), "{case}");
    assert!(replica.verify().unwrap().is_whole(), "{case}");
    replica.close().unwrap();
}

#[test]
fn a_replica_on_a_full_disk_waits_and_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("source"), directory.path().join("copy"));
    let source = Store::open(&path).unwrap();
    append(&source, 1, 10);
    let faults = Arc::new(Faults::default());
    let replica = replica(&faults, &path, &copy).unwrap();
    replica.wait_for(source.head(), PATIENCE).unwrap();
    faults.set_full(true);
    // More than the segment has room for.
    append(&source, 12, 400_000);
    let is_waiting =
        || matches!(replica.replication().unwrap().state, ReplicationState::Retrying(_));
    wait_until("an error", is_waiting);
    let ReplicationState::Retrying(error) = replica.replication().unwrap().state else { panic!() };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    // What it has is read meanwhile, and it is healthy: nothing has to be done but to make room.
    assert!(replica.head() < source.head() && replica.health().unwrap().is_healthy());
    assert_eq!(replica.read_all().collect().unwrap().len() as u64, replica.head().get());
    assert!(replica.stats().unwrap().replication.unwrap().retries > 0);
    faults.set_full(false);
    replica.wait_for(source.head(), PATIENCE).unwrap();
    assert_eq!(replica.head_hash(), source.head_hash());
    replica.close().unwrap();
    assert_catches_up(&source, &copy, "opened again");
}

#[test]
fn whichever_step_of_a_replica_fails_it_goes_on_or_says_why_not_and_has_the_rest_when_it_is_opened()
{
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("source");
    let source = Store::open(&path).unwrap();
    append(&source, 2, 100);
    let backup = directory.path().join("backup");
    source.backup(&backup).unwrap();
    append(&source, 3, 500_000);
    let (mut stopped, mut went_on) = (0, 0);
    // A third of the steps: those that the seed says.
    let seed = first_seed();
    for n in (1 + seed % 3..).step_by(3) {
        let copy = directory.path().join(format!("copy-{n}"));
        crate::kv::files::copy_all(&backup, &copy).unwrap();
        let (faults, case) =
            (Arc::new(Faults::default()), format!("step {n}, FILMSTRIP_SEED={seed}"));
        faults.fail_in(n);
        if let Ok(replica) = replica(&faults, &path, &copy) {
            let state = || replica.replication().unwrap().state;
            let is_decided = || {
                matches!(state(), ReplicationState::Stopped(_)) || replica.head() == source.head()
            };
            wait_until(&case, is_decided);
            let shown = replica.head();
            assert!(shown >= Position::new(2), "{case}: {shown}");
            match state() {
                ReplicationState::Stopped(error) => {
                    assert!(error.to_string().contains("injected"), "{case}: {error}");
                    assert!(!replica.health().unwrap().is_healthy(), "{case}");
                    stopped += 1;
                }
                _ => went_on += 1,
            }
            // Closing may fail by the same disk.
            let _ = replica.close();
        }
        let is_over = !faults.has_failed();
        faults.fail_in(0);
        assert_catches_up(&source, &copy, &case);
        std::fs::remove_dir_all(&copy).unwrap();
        if is_over {
            println!("{n} steps: stopped {stopped} times, went on {went_on} times");
            assert!(stopped > 0 && went_on > 1, "stopped {stopped} times, went on {went_on}");
            return;
        }
    }
}

#[test]
fn a_promotion_that_fails_at_any_step_leaves_a_replica_or_a_store_and_can_be_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("source");
    let source = Store::open(&path).unwrap();
    append(&source, 3, 100);
    let mut repeated = 0;
    for n in 1.. {
        for again in [false, true] {
            let (copy, case) = (directory.path().join("copy"), format!("step {n}, {again}"));
            let faults = Arc::new(Faults::default());
            let replica = replica(&faults, &path, &copy).unwrap();
            replica.wait_for(source.head(), PATIENCE).unwrap();
            faults.fail_in(n);
            let promoted = replica.promote();
            let has_failed = faults.has_failed();
            faults.fail_in(0);
            if promoted.is_err() {
                let refused =
                    replica.append("B-1", ExpectedVersion::Any, [NewEvent::bytes("T", "")]);
                assert!(
                    refused.is_err(),
                    "{case}: it accepts commits, and may be a replica on disk"
                );
            }
            let is_promoted = match promoted {
                // After a failed sync of the journal, only opening it again decides what is durable.
                Err(_) if again => {
                    let promoted = replica.promote();
                    let is_known = promoted.is_ok()
                        || promoted.is_err_and(|error| error.kind() == ErrorKind::ReadOnly);
                    assert!(is_known, "{case}, again");
                    repeated += u64::from(replica.replication().is_none());
                    replica.replication().is_none()
                }
                promoted => promoted.is_ok(),
            };
            let _ = replica.close();
            let store = match Store::open(&copy) {
                Ok(store) => store,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Replica, "{case}: {error}");
                    assert!(!is_promoted, "{case}: {error}");
                    assert_catches_up(&source, &copy, &case);
                    std::fs::remove_dir_all(&copy).unwrap();
                    continue;
                }
            };
            assert_eq!(store.head(), source.head(), "{case}");
            append(&store, 1, 10);
            assert!(store.verify().unwrap().is_whole(), "{case}");
            store.close().unwrap();
            std::fs::remove_dir_all(&copy).unwrap();
            if !has_failed {
                assert!(n > 2 && repeated > 0, "{n} steps, {repeated} repetitions");
                return;
            }
        }
    }
}
