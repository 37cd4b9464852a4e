//! A replica holds what its source holds, byte for byte, is read as any store, and writes nothing of its own.

mod histories;
mod kills;
mod mistakes;
mod promotion;
mod sources;

use crate::common::domain::{Counts, Ticks, counted_rows};
use crate::common::wait_until;
use crate::common::whole::{Counter, PATIENCE, all, files, write_some};
use filmstrip::health::Writes;
use filmstrip::replica::{FrameSource, Replication, ReplicationState, StoreDirectory};
use filmstrip::{
    Commit, Error, ErrorKind, ExpectedVersion, Filter, Follower, NewEvent, Position, Store,
};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A replica in `path` of the store in the directory `source`.
fn replica_of(source: &Path, path: &Path) -> Store {
    replica_from(StoreDirectory::at(source).poll_interval(Duration::from_millis(1)), path)
}

fn replica_from(source: impl FrameSource, path: &Path) -> Store {
    Store::builder().replica(source).open(path).unwrap()
}

fn replication(replica: &Store) -> Replication {
    replica.replication().expect("it is a replica")
}

/// Waits until the replica has stopped, and returns the error that has stopped it.
fn stopped(replica: &Store) -> Error {
    let is_stopped = || matches!(replication(replica).state, ReplicationState::Stopped(_));
    wait_until(PATIENCE, "the end of the replication", is_stopped);
    match replication(replica).state {
        ReplicationState::Stopped(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Waits until the replica is at `position`, which it is not if it stops before.
fn follow(replica: &Store, position: Position) {
    let is_there = || {
        if let ReplicationState::Stopped(error) = replication(replica).state {
            panic!("it has stopped at {}: {error}", replica.head());
        }
        replica.wait_for(position, Duration::from_millis(20)).is_ok()
    };
    wait_until(PATIENCE, "the position", is_there);
}

/// Waits until the replica has everything that the closed store in `source` has, the note that it was closed included.
fn wait_for_all(replica: &Store, source: &Path) {
    let hash = Follower::open(source).unwrap().head_hash().unwrap();
    wait_until(PATIENCE, "the last frame", || replica.head_hash() == hash);
}

/// The segments of a journal, by name, without the zeros at their ends.
fn segments(store: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let journal = store.join("journal");
    let names = files(&journal).into_iter().filter(|name| name.to_str().unwrap().len() == 20);
    names.map(|name| (name.clone(), fs::read(journal.join(name)).unwrap())).collect()
}

/// Both journals are the same files with the same bytes. Neither store is open.
fn assert_same_journals(one: &Path, other: &Path) {
    let (one, other) = (segments(one), segments(other));
    let names = |segments: &[(PathBuf, Vec<u8>)]| {
        segments.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect::<Vec<_>>()
    };
    assert_eq!(names(&one), names(&other));
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        let differs = one.iter().zip(other).position(|(one, other)| one != other);
        assert_eq!(differs, None, "{} differs at this byte", name.display());
    }
}

fn event(name: &str) -> NewEvent {
    NewEvent::json(name, &7).unwrap()
}

#[test]
fn a_replica_is_read_as_its_source_and_has_its_journal_byte_for_byte() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("source"), directory.path().join("copy"));
    let source = Store::open(&path).unwrap();
    write_some(&source, 0..40, 9_000);
    // Begun beside a store that is open, closed and opened again; and itself closed and opened again.
    for round in 1..=3_u64 {
        let replica = replica_of(&path, &copy);
        let counts = replica.project(Counts).start().unwrap();
        let live = replica.subscribe().after(replica.head()).start().unwrap();
        let began = replica.head();
        write_some(&source, 40 * round..40 * round + 20, 9_000);
        let tagged = event("Tagged").tag(format!("round-{round}"));
        source.append("Tagged-1", ExpectedVersion::Any, [tagged]).unwrap();
        source.repository::<Counter>().execute("1", &round).unwrap();
        follow(&replica, source.head());
        assert_eq!(all(&replica), all(&source));
        assert_eq!(replica.head_hash(), source.head_hash());
        let first = live.recv_timeout(PATIENCE).unwrap();
        assert_eq!(first.position.get(), began.get() + 1);
        for name in ["Stream-0", "Left-1", "Tagged-1"] {
            let read = |store: &Store| store.read_stream(name).backwards().collect().unwrap();
            assert_eq!(read(&replica), read(&source), "{name}");
            assert_eq!(replica.stream_info(name).unwrap(), source.stream_info(name).unwrap());
        }
        let tag = Filter::tag(format!("round-{round}"));
        assert_eq!(replica.read_all().filter(tag).collect().unwrap().len(), 1);
        assert_eq!(replica.tracked("importer").unwrap(), source.tracked("importer").unwrap());
        let loaded = replica.repository::<Counter>().load("1").unwrap();
        assert_eq!(loaded.state.sum(), (1..=round).sum::<u64>());
        counts.wait_for(source.head(), PATIENCE).unwrap();
        let rows: HashMap<String, u64> = counted_rows(&counts.view()).into_iter().collect();
        assert_eq!(rows["Tagged-1"], round);
        assert_eq!(rows.values().sum::<u64>(), source.head().get());
        assert!(replica.verify().unwrap().is_whole());
        drop(live);
        replica.close().unwrap();
        assert!(Store::verify_at(&copy).unwrap().is_whole());
    }
    source.close().unwrap();
    // The note that the source was closed is a frame, too.
    let replica = replica_of(&path, &copy);
    wait_for_all(&replica, &path);
    replica.close().unwrap();
    assert!(segments(&copy).len() > 2, "one segment says little");
    assert_same_journals(&path, &copy);
}

#[test]
fn a_replica_refuses_by_name_whatever_writes() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("source"), directory.path().join("copy"));
    let source = Store::open(&path).unwrap();
    source.append("Door-1", ExpectedVersion::NoStream, [event("Opened")]).unwrap();
    drop(source.subscribe().group("doors").start().unwrap());
    let replica = replica_of(&path, &copy);
    follow(&replica, source.head());
    let kind = |error: filmstrip::AppendError| Error::from(error).kind();
    let appended = replica.append("Door-1", ExpectedVersion::Any, [event("Shut")]);
    assert_eq!(kind(appended.unwrap_err()), ErrorKind::Replica);
    let tracking = Commit::new().tracking("importer", Position::new(9));
    let committed = replica.commit(tracking).unwrap_err();
    assert!(committed.to_string().contains("replica"), "{committed}");
    assert_eq!(kind(committed), ErrorKind::Replica);
    let executed = replica.repository::<Ticks>().execute("1", &()).unwrap_err();
    assert!(executed.to_string().contains("replica"), "{executed}");
    let joined = replica.subscribe().group("doors").start().map(drop).unwrap_err();
    assert_eq!(joined.kind(), ErrorKind::Replica);
    // What the source keeps for its groups is shown.
    assert_eq!(replica.group("doors").cursor().unwrap(), source.group("doors").cursor().unwrap());
    // It says so after it has shown what it took.
    let is_following = || matches!(replication(&replica).state, ReplicationState::Following);
    wait_until(PATIENCE, "the end of the first step", is_following);
    let health = replica.health().unwrap();
    assert!(health.is_healthy() && matches!(health.writes, Writes::Replica), "{health:?}");
    assert_eq!(health.replication.as_ref().unwrap().lag, 0);
    assert!(source.health().unwrap().replication.is_none() && source.replication().is_none());
    assert!(!replica.stats().unwrap().read_only);
    let json = serde_json::to_value(&health).unwrap();
    assert_eq!(json["writes"]["name"], "replica");
    assert_eq!(json["replication"]["state"]["name"], "following");
    assert_eq!(replica.head(), source.head());
}

#[test]
fn a_replica_is_made_of_a_backup_and_its_own_backup_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy, backups] = ["source", "copy", "backups"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    write_some(&source, 0..30, 5_000);
    source.backup(&copy).unwrap();
    source.backup(&backups).unwrap();
    write_some(&source, 30..40, 5_000);
    // The source's directory may be gone: what the backup has is there at once.
    let gone = directory.path().join("gone");
    let replica = replica_of(&gone, &copy);
    assert_eq!(replica.head().get(), 30 * 9);
    let is_waiting = || matches!(replication(&replica).state, ReplicationState::Retrying(_));
    wait_until(PATIENCE, "an attempt", is_waiting);
    assert!(replication(&replica).source.is_none() && replication(&replica).heard_ago.is_none());
    replica.close().unwrap();
    let replica = replica_of(&path, &copy);
    follow(&replica, source.head());
    assert_eq!(all(&replica), all(&source));
    // It continues the backup that its source has begun.
    let backup = replica.backup(&backups).unwrap();
    assert_eq!(backup.head, source.head_hash());
    assert!(backup.segments_reused > 0, "{backup:?}");
    let restored = Store::open(&backups).unwrap();
    restored.append("New-1", ExpectedVersion::NoStream, [event("Written")]).unwrap();
    assert!(source.backup(directory.path().join("more")).is_ok());
}

#[test]
fn a_directory_keeps_its_role() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["source", "copy"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    source.append("Door-1", ExpectedVersion::NoStream, [event("Opened")]).unwrap();
    let replica = replica_of(&path, &copy);
    follow(&replica, source.head());
    let locked = Store::builder().replica(StoreDirectory::at(&path)).open(&copy).unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Locked, "{locked}");
    replica.close().unwrap();
    let before = crate::common::whole::contents(&copy);
    let refused = Store::open(&copy).expect_err("a replica, opened as a store");
    assert_eq!(refused.kind(), ErrorKind::Replica, "{refused}");
    assert!(refused.to_string().contains("StoreBuilder::replica"), "{refused}");
    source.close().unwrap();
    // The other way round: nobody knows what such a store holds besides.
    let as_replica = Store::builder().replica(StoreDirectory::at(&copy)).open(&path);
    let refused = as_replica.expect_err("a store, opened as a replica");
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    assert_eq!(crate::common::whole::contents(&copy), before, "refusals change nothing");
    let manifest = fs::read_to_string(copy.join("MANIFEST")).unwrap();
    let of_source = fs::read_to_string(path.join("MANIFEST")).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).take(3).collect::<Vec<_>>();
    assert_eq!(lines(&manifest), lines(&of_source));
    assert!(manifest.contains("\nrole replica\n") && !of_source.contains("role"));
    // A follower reads a replica, and a replica follows one.
    let follower = Follower::open(&copy).unwrap();
    assert_eq!(follower.read().collect().unwrap().len(), 1);
    let further = replica_of(&copy, &directory.path().join("further"));
    further.wait_for(Position::new(1), PATIENCE).unwrap();
    // Without its source, an empty directory cannot become a replica of anything, and stays empty.
    let empty = directory.path().join("empty");
    let gone = StoreDirectory::at(directory.path().join("gone"));
    let error = Store::builder().replica(gone).open(&empty).unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
    assert!(!empty.exists());
}

#[test]
fn who_waits_for_a_position_gets_it_or_is_told_that_it_has_not_come() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["source", "copy"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    let replica = replica_of(&path, &copy);
    let early = replica.wait_for(Position::new(1), Duration::from_millis(20)).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Timeout, "{early}");
    replica.wait_for(Position::START, Duration::ZERO).unwrap();
    for store in [&source, &replica] {
        std::thread::scope(|scope| {
            let next = Position::new(source.head().get() + 1);
            let waiting = scope.spawn(move || store.wait_for(next, PATIENCE));
            source.append("Door-1", ExpectedVersion::Any, [event("Opened")]).unwrap();
            waiting.join().unwrap().unwrap();
            assert!(store.head() >= next);
        });
    }
    // Closing ends the wait.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| replica.wait_for(Position::new(99), PATIENCE));
        std::thread::sleep(Duration::from_millis(20));
        replica.clone().close().unwrap();
        assert_eq!(waiting.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
fn what_was_decided_at_the_source_is_loaded_at_the_replica() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["source", "copy"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    let replica = replica_of(&path, &copy);
    let (there, here) = (source.repository::<Counter>(), replica.repository::<Counter>());
    for n in 1..=20 {
        let executed = there.execute("1", &n).unwrap();
        replica.wait_for(executed.position, PATIENCE).unwrap();
        let loaded = here.load("1").unwrap();
        assert_eq!((loaded.version, loaded.state.sum()), (executed.version, n * (n + 1) / 2));
    }
    assert_eq!(replica.read_stream("Counter-1").collect().unwrap().len(), 20);
}
