//! A replica that takes its source's place.

use crate::common::whole::{PATIENCE, all, write_some};
use crate::replica::{event, replica_of, replication, stopped};
use filmstrip::health::Writes;
use filmstrip::{Error, ErrorKind, ExpectedVersion, Position, Store};
use std::fs;

#[test]
fn a_promoted_replica_is_a_store_whose_history_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy, further] = ["source", "copy", "further"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    write_some(&source, 0..5, 2_000);
    let replica = replica_of(&path, &copy);
    let other = replica_of(&path, &further);
    for store in [&replica, &other] {
        store.wait_for(source.head(), PATIENCE).unwrap();
    }
    let live = replica.subscribe().after(source.head()).start().unwrap();
    let head = source.head();
    other.close().unwrap();
    source.close().unwrap();

    assert_eq!(replica.promote().unwrap(), head);
    assert!(replica.replication().is_none());
    assert!(matches!(replica.health().unwrap().writes, Writes::Accepting));
    assert_eq!(replica.promote().unwrap_err().kind(), ErrorKind::InvalidInput);
    let appended = replica.append("Door-1", ExpectedVersion::NoStream, [event("Opened")]).unwrap();
    assert_eq!(appended.position.get(), head.get() + 1);
    // What followed the replica goes on, and what writes can start.
    assert_eq!(live.recv_timeout(PATIENCE).unwrap().position, appended.position);
    let consumer = replica.subscribe().after(head).group("doors").start().unwrap();
    consumer.recv_timeout(PATIENCE).unwrap().ack().unwrap();
    drop((consumer, live));
    let before = all(&replica);
    replica.close().unwrap();

    let manifest = |path: &std::path::Path| fs::read_to_string(path.join("MANIFEST")).unwrap();
    assert_eq!(manifest(&copy), manifest(&path), "the form of any store");
    let store = Store::open(&copy).unwrap();
    assert!(store.torn_write().is_none() && store.verify().unwrap().is_whole());
    assert_eq!(all(&store), before);
    // The other replica follows it now.
    let other = replica_of(&copy, &further);
    store.append("Door-1", ExpectedVersion::Any, [event("Shut")]).unwrap();
    other.wait_for(store.head(), PATIENCE).unwrap();
    assert_eq!(other.head_hash(), store.head_hash());
}

/// Nothing keeps the old writer from writing: that is its operator's to see to. But the two are never mixed up.
#[test]
fn a_source_that_writes_on_after_the_promotion_is_another_history() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy, further] = ["source", "copy", "further"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    source.append("Door-1", ExpectedVersion::Any, [event("Opened")]).unwrap();
    let replica = replica_of(&path, &copy);
    replica.wait_for(source.head(), PATIENCE).unwrap();
    replica.promote().unwrap();
    source.append("Door-1", ExpectedVersion::Any, [event("Shut")]).unwrap();
    replica.append("Door-1", ExpectedVersion::Any, [event("Burnt")]).unwrap();
    let other = replica_of(&path, &further);
    other.wait_for(Position::new(2), PATIENCE).unwrap();
    other.close().unwrap();
    let other = replica_of(&copy, &further);
    let error = stopped(&other);
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
    assert_eq!(replication(&other).position, Position::new(2));
    assert_eq!(all(&replica)[1].event_type, "Burnt");
    // It can be promoted in its turn, with what it has.
    other.promote().unwrap();
    other.append("Door-1", ExpectedVersion::Any, [event("Sold")]).unwrap();
    assert_eq!(all(&other).last().unwrap().event_type, "Sold");
}

#[test]
fn a_replica_can_be_promoted_while_frames_come_and_without_its_source() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["source", "copy"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    write_some(&source, 0..1, 500);
    let replica = replica_of(&path, &copy);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_some(&source, 1..40, 500));
        replica.wait_for(Position::new(50), PATIENCE).unwrap();
        let head = replica.promote().unwrap();
        let appended = replica.append("Door-1", ExpectedVersion::Any, [event("Opened")]).unwrap();
        assert_eq!(appended.position.get(), head.get() + 1);
        writer.join().unwrap();
        let (here, there) = (all(&replica), all(&source));
        assert_eq!(here.len() as u64, head.get() + 1);
        assert_eq!(here[..head.get() as usize], there[..head.get() as usize]);
    });
    replica.close().unwrap();
    // A source that was never there.
    let gone = directory.path().join("gone");
    let [backup, other] = ["backup", "other"].map(|it| directory.path().join(it));
    source.backup(&backup).unwrap();
    let replica = replica_of(&gone, &backup);
    assert_eq!(replica.promote().unwrap(), source.head());
    replica.append("Door-1", ExpectedVersion::Any, [event("Opened")]).unwrap();
    drop(replica);
    let _ = Store::open(&backup).unwrap();
    let store = Store::open(other).unwrap();
    let refused: Error = store.promote().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
}
