//! A source with another history than its replica, a damaged one, and one that crashed.

use crate::common::wait_until;
use crate::common::whole::{PATIENCE, all, copy, copy_into, flip, write_some};
use crate::replica::{event, replica_of, replication, segments, stopped, wait_for_all};
use filmstrip::replica::ReplicationState;
use filmstrip::{ErrorKind, ExpectedVersion, Follower, NewEvent, Position, Store};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

fn append(store: &Store, name: &str) {
    store.append("Door-1", ExpectedVersion::Any, [event(name)]).unwrap();
}

/// Lets `replica` follow the store that `write` writes to in the directory `path`.
fn write(path: &Path, write: impl FnOnce(&Store)) {
    let store = Store::open(path).unwrap();
    write(&store);
    store.close().unwrap();
}

/// The error says that it is another history, where, and both hashes.
fn assert_diverged(error: &filmstrip::Error, hash: &str) {
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
    let hashes = error.to_string().split([' ', ';', ',', ':']).filter(|it| it.len() == 64).count();
    assert!(hashes >= 2 && error.to_string().contains(hash), "{error}");
}

#[test]
fn a_source_that_was_restored_and_went_another_way_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy_path] = ["source", "copy"].map(|it| directory.path().join(it));
    write(&path, |store| (0..5).for_each(|_| append(store, "Opened")));
    let backup = copy(&path);
    write(&path, |store| (0..5).for_each(|_| append(store, "Shut")));
    let replica = replica_of(&path, &copy_path);
    wait_for_all(&replica, &path);
    let ours = replica.head_hash().to_string();
    replica.close().unwrap();
    // An older backup lacks something, and has no other history: the replica waits for more.
    let replica = replica_of(backup.path(), &copy_path);
    let is_waiting = || matches!(replication(&replica).state, ReplicationState::Retrying(_));
    wait_until(PATIENCE, "an attempt", is_waiting);
    let ReplicationState::Retrying(error) = replication(&replica).state else { panic!() };
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error}");
    assert!(error.to_string().contains("position 5") && error.to_string().contains("10"));
    replica.close().unwrap();
    // Each goes on from position 5: to before the replica's end, exactly to it, byte for byte, to its position with
    // fewer bytes, and past it.
    for (events, name) in [(2, "Sold"), (5, "Sold"), (5, "Go"), (9, "Sold")] {
        let other = copy(backup.path());
        write(other.path(), |store| (0..events).for_each(|_| append(store, name)));
        let replica = replica_of(other.path(), &copy_path);
        let before = all(&replica);
        assert_diverged(&stopped(&replica), &ours);
        let faults = replica.health().unwrap().faults();
        assert_eq!(faults[0].0, "replication");
        assert_eq!(all(&replica), before, "nothing of it was taken");
        replica.close().unwrap();
    }
}

#[test]
fn a_source_that_is_replaced_while_it_is_followed_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy_path] = ["source", "copy"].map(|it| directory.path().join(it));
    write(&path, |store| (0..5).for_each(|_| append(store, "Opened")));
    let backup = copy(&path);
    write(&path, |store| append(store, "Shut"));
    let replica = replica_of(&path, &copy_path);
    wait_for_all(&replica, &path);
    write(backup.path(), |store| (0..3).for_each(|_| append(store, "Sold")));
    fs::rename(&path, directory.path().join("before")).unwrap();
    copy_into(backup.path(), &path);
    assert_diverged(&stopped(&replica), &replica.head_hash().to_string());
    replica.close().unwrap();
    // Another store at this path is no source either, whatever it holds.
    fs::remove_dir_all(&path).unwrap();
    write(&path, |store| (0..9).for_each(|_| append(store, "Opened")));
    let replica = replica_of(&path, &copy_path);
    assert_eq!(stopped(&replica).kind(), ErrorKind::Diverged);
    assert_eq!(replica.head().get(), 6);
}

#[test]
fn a_flipped_bit_in_the_source_is_not_taken_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy_path] = ["source", "copy"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    write_some(&source, 0..3, 2_000);
    let before = source.head();
    let replica = replica_of(&path, &copy_path);
    replica.wait_for(before, PATIENCE).unwrap();
    replica.close().unwrap();
    let end = Follower::open(&path).unwrap().segments().unwrap()[0].bytes;
    write_some(&source, 3..6, 2_000);
    let head = source.head();
    // Somewhere in the frames that the replica lacks: a payload, a header, the second of them.
    for at in [end + 300, end + 50, end + 3_000] {
        flip(&path.join("journal/00000000000000000001"), at, 4);
        let replica = replica_of(&path, &copy_path);
        let is_told = || matches!(replication(&replica).state, ReplicationState::Retrying(_));
        wait_until(PATIENCE, "an error", is_told);
        let ReplicationState::Retrying(error) = replication(&replica).state else { panic!() };
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(error.damage().unwrap().file, path.join("journal/00000000000000000001"));
        assert!(replica.head() < head, "it was taken with the flipped bit at {at}");
        assert!(replica.verify().unwrap().is_whole());
        flip(&path.join("journal/00000000000000000001"), at, 4);
        replica.close().unwrap();
    }
    let replica = replica_of(&path, &copy_path);
    replica.wait_for(head, PATIENCE).unwrap();
    assert_eq!(replica.head_hash(), source.head_hash());
}

/// What a writer has written and not synced when its machine fails may be there or not afterwards. A replica that had
/// taken it would have a history that its source has not.
#[test]
fn a_frame_that_was_not_durable_at_the_source_is_never_taken() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy_path] = ["source", "copy"].map(|it| directory.path().join(it));
    write(&path, |store| append(store, "Opened"));
    let durable = fs::read(path.join("journal/durable")).unwrap();
    let backup = copy(&path);
    // A whole frame behind the watermark: as if the writer had been stopped between its write and its sync.
    write(&path, |store| append(store, "Shut"));
    fs::write(path.join("journal/durable"), &durable).unwrap();
    let replica = replica_of(&path, &copy_path);
    replica.wait_for(Position::new(1), PATIENCE).unwrap();
    let is_following = || matches!(replication(&replica).state, ReplicationState::Following);
    wait_until(PATIENCE, "the source", is_following);
    let heard = replication(&replica);
    assert_eq!((heard.position.get(), heard.source.unwrap().get(), heard.lag), (1, 1, 0));
    replica.close().unwrap();
    // The machine lost that frame, half of it is left, and the writer went on.
    let segment = "journal/00000000000000000001";
    let whole = fs::read(path.join(segment)).unwrap();
    let lost = fs::read(backup.path().join(segment)).unwrap();
    let differs = whole.iter().zip(&lost).position(|(one, other)| one != other).unwrap();
    let file = OpenOptions::new().write(true).open(path.join(segment)).unwrap();
    file.write_all_at(&lost[differs + 150..], differs as u64 + 150).unwrap();
    write(&path, |store| {
        assert!(store.torn_write().is_some_and(|torn| !torn.acknowledged));
        (0..3).for_each(|_| append(store, "Painted"));
    });
    let replica = replica_of(&path, &copy_path);
    wait_for_all(&replica, &path);
    replica.close().unwrap();
    assert_eq!(segments(&copy_path), segments(&path));
}

/// The machine of a replica fails between the writing of several frames and their sync: any of them may be damaged,
/// and those behind it whole.
#[test]
fn what_a_crash_leaves_of_frames_that_were_not_durable_is_taken_again() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy_path] = ["source", "copy"].map(|it| directory.path().join(it));
    write(&path, |store| (0..4).for_each(|_| append(store, "Opened")));
    let early = copy(&path);
    write(&path, |store| {
        for n in 0..20_u8 {
            let written = NewEvent::bytes("Written", vec![n | 1; 900]);
            store.append("Door-2", ExpectedVersion::Any, [written]).unwrap();
        }
    });
    replica_of(early.path(), &copy_path).close().unwrap();
    let replica = replica_of(early.path(), &copy_path);
    replica.wait_for(Position::new(4), PATIENCE).unwrap();
    let end = Follower::open(&copy_path).unwrap().segments().unwrap()[0].bytes;
    replica.close().unwrap();
    let segment = "journal/00000000000000000001";
    let whole = fs::read(path.join(segment)).unwrap();
    for hole in [0, 120, 1_500, 5_000, 9_999] {
        // All the frames are there, except for one sector.
        let file = OpenOptions::new().write(true).open(copy_path.join(segment)).unwrap();
        file.write_all_at(&whole[end as usize..], end).unwrap();
        file.write_all_at(&[0; 512], end + hole).unwrap();
        let findings = Store::verify_at(&copy_path).unwrap().findings;
        assert_eq!(findings.len(), 1, "{findings:#?}");
        let gone = directory.path().join("gone");
        let replica = replica_of(&gone, &copy_path);
        assert!((4..24).contains(&replica.head().get()), "hole {hole}: {}", replica.head());
        let torn = replica.torn_write().expect("it is told");
        assert!(!torn.acknowledged);
        replica.close().unwrap();
        // Frames before the hole are durable now; begin again with those that were before.
        fs::remove_dir_all(&copy_path).unwrap();
        let replica = replica_of(early.path(), &copy_path);
        replica.wait_for(Position::new(4), PATIENCE).unwrap();
        replica.close().unwrap();
    }
    // Before the watermark nothing may be damaged.
    flip(&copy_path.join(segment), 4_096 + 130, 1);
    let error = Store::builder()
        .replica(filmstrip::replica::StoreDirectory::at(&path))
        .open(&copy_path)
        .expect_err("damage");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
