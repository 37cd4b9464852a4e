//! What an operator can do to a replica and its source by mistake: each is told by name, and nothing is lost.

use crate::common::wait_until;
use crate::common::whole::{PATIENCE, all, contents, write_some};
use crate::replica::{event, replica_of, replication, stopped, wait_for_all};
use filmstrip::replica::{ReplicationState, StoreDirectory};
use filmstrip::{Error, ErrorKind, ExpectedVersion, Follower, Store};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

/// The error of opening a replica of the store in `source`.
fn refused(source: &Path, path: &Path) -> Error {
    let opened = Store::builder().replica(StoreDirectory::at(source)).open(path);
    opened.map(drop).expect_err("a replica that must be refused")
}

/// It had everything that its source had, for ever.
#[test]
fn a_replica_is_not_its_own_source_by_whatever_path() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy, backup, link] =
        ["source", "copy", "backup", "link"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    write_some(&source, 0..2, 500);
    let replica = replica_of(&path, &copy);
    replica.wait_for(source.head(), PATIENCE).unwrap();
    replica.close().unwrap();
    source.backup(&backup).unwrap();
    symlink(&copy, &link).unwrap();
    let before = (contents(&copy), contents(&backup));
    for (of, at) in [(&copy, &copy), (&link, &copy), (&copy, &link), (&backup, &backup)] {
        let error = refused(of, at);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains("is its own source"), "{error}");
    }
    // An empty one has no source in itself, either.
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(refused(&empty, &empty).to_string().contains("is not a store"));
    assert_eq!(empty.read_dir().unwrap().count(), 0);
    assert_eq!((contents(&copy), contents(&backup)), before, "refusals change nothing");
}

#[test]
fn a_source_that_is_truncated_in_the_middle_is_told_and_the_replica_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["source", "copy"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    write_some(&source, 0..4, 2_000);
    let replica = replica_of(&path, &copy);
    replica.wait_for(source.head(), PATIENCE).unwrap();
    let had = all(&replica);
    replica.close().unwrap();
    let end = Follower::open(&path).unwrap().segments().unwrap()[0].bytes;
    write_some(&source, 4..12, 2_000);
    source.close().unwrap();
    let first = path.join("journal/00000000000000000001");
    let whole = fs::read(&first).unwrap();
    // In the frames that the replica lacks, between two of its own, right after them; and the whole file.
    for length in [Some(end + 5_000), Some(end / 2), Some(end), None] {
        match length {
            Some(length) => {
                let file = OpenOptions::new().write(true).open(&first).unwrap();
                file.set_len(length).unwrap();
            }
            None => fs::remove_file(&first).unwrap(),
        }
        let replica = replica_of(&path, &copy);
        let is_told = || {
            !matches!(replication(&replica).state, ReplicationState::Connecting)
                && !matches!(replication(&replica).state, ReplicationState::Following)
        };
        wait_until(PATIENCE, "an error", is_told);
        let (ReplicationState::Retrying(error) | ReplicationState::Stopped(error)) =
            replication(&replica).state
        else {
            panic!("{:?}", replication(&replica));
        };
        assert!(error.to_string().contains("journal"), "{length:?}: {error}");
        let has = all(&replica);
        assert_eq!(has[..had.len()], had, "{length:?}");
        assert!(replica.verify().unwrap().is_whole());
        // The file is brought back from elsewhere.
        OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&first)
            .unwrap()
            .write_all_at(&whole, 0)
            .unwrap();
        replica.close().unwrap();
    }
    let replica = replica_of(&path, &copy);
    wait_for_all(&replica, &path);
}

/// Two operators, or one who was not sure of the first promotion.
#[test]
fn two_promoted_replicas_are_two_histories_that_nothing_mixes_up() {
    let directory = tempfile::tempdir().unwrap();
    let [path, one_path, other_path, third, backup, others_backup] =
        ["source", "one", "other", "third", "backup", "others"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    write_some(&source, 0..3, 1_000);
    let (one, other) = (replica_of(&path, &one_path), replica_of(&path, &other_path));
    let further = replica_of(&path, &third);
    for replica in [&one, &other, &further] {
        replica.wait_for(source.head(), PATIENCE).unwrap();
    }
    further.close().unwrap();
    assert_eq!(one.promote().unwrap(), other.promote().unwrap());
    for (store, name) in [(&one, "Sold"), (&other, "Burnt")] {
        store.append("Door-1", ExpectedVersion::Any, [event(name)]).unwrap();
    }
    assert_ne!(one.head_hash(), other.head_hash());
    // The third follows one of them, and neither takes anything of the other afterwards.
    let further = replica_of(&one_path, &third);
    further.wait_for(one.head(), PATIENCE).unwrap();
    further.close().unwrap();
    let further = replica_of(&other_path, &third);
    let error = stopped(&further);
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
    assert!(error.to_string().contains(&one.head_hash().to_string()), "{error}");
    assert_eq!(all(&further), all(&one));
    one.backup(&backup).unwrap();
    let refusal = other.backup(&backup).unwrap_err();
    assert!(refusal.to_string().contains("backup"), "{refusal}");
    other.backup(&others_backup).unwrap();
    // A backup of one is no beginning of a replica of the other.
    let from_backup = replica_of(&one_path, &others_backup);
    assert_eq!(stopped(&from_backup).kind(), ErrorKind::Diverged);
    assert_eq!(all(&from_backup), all(&other));
    one.close().unwrap();
    other.close().unwrap();
    // And neither store is made a replica, which would hide what only it has.
    assert!(refused(&one_path, &other_path).to_string().contains("was opened as a store"));
    let (one, other) = (Store::open(&one_path).unwrap(), Store::open(&other_path).unwrap());
    assert_eq!(all(&one).last().unwrap().event_type, "Sold");
    assert_eq!(all(&other).last().unwrap().event_type, "Burnt");
}
