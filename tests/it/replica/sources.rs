//! Sources that are not a directory, and sources that are wrong: a replica checks each frame itself.

use crate::common::whole::{PATIENCE, all, write_some};
use crate::common::{Random, seed, wait_until};
use crate::replica::{
    assert_same_journals, event, replica_from, replica_of, replication, stopped, wait_for_all,
};
use filmstrip::bytes::Bytes;
use filmstrip::crossbeam_channel::{Receiver, bounded};
use filmstrip::replica::{
    FrameSource, Heard, JournalEnd, JournalFrame, ReplicationState, SourceStore, StoreDirectory,
};
use filmstrip::{Commit, Error, ErrorKind, ExpectedVersion, Position, Store};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Carries frames as bytes, as a network does.
struct Carried {
    frames: Receiver<(Bytes, u64)>,
    head: Position,
}

impl FrameSource for Carried {
    fn store(&mut self) -> Result<SourceStore, Error> {
        panic!("the replica was made of a backup")
    }

    fn read(&mut self, _: &JournalEnd, wait: Duration) -> Result<Heard, Error> {
        let frames = match self.frames.recv_timeout(wait) {
            Ok((bytes, length)) => vec![JournalFrame::decode(bytes, length)?],
            Err(_) => Vec::new(),
        };
        self.head = frames.last().map_or(self.head, |frame| frame.end().position().max(self.head));
        Ok(Heard { frames, head: self.head, hash: None })
    }
}

/// All frames of the store in `path` after `end`.
fn frames_after(path: &Path, mut end: JournalEnd) -> Vec<JournalFrame> {
    let mut source = StoreDirectory::at(path);
    let mut frames = Vec::new();
    loop {
        let heard = source.read(&end, Duration::ZERO).unwrap();
        let Some(last) = heard.frames.last() else { return frames };
        end = last.end();
        frames.extend(heard.frames);
    }
}

#[test]
fn a_replica_of_a_backup_takes_the_rest_from_a_channel() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy] = ["source", "copy"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    write_some(&source, 0..10, 9_000);
    let backup = source.backup(&copy).unwrap();
    let mut end = frames_after(&path, JournalEnd::start()).last().unwrap().end();
    assert_eq!(end.hash(), backup.head);
    let (carry, frames) = bounded(4);
    let replica = replica_from(Carried { frames, head: backup.position }, &copy);
    thread::scope(|scope| {
        scope.spawn(|| write_some(&source, 10..40, 9_000));
        scope.spawn(move || {
            let mut directory = StoreDirectory::at(&path);
            while end.position() < Position::new(40 * 9) {
                for frame in directory.read(&end, PATIENCE).unwrap().frames {
                    end = frame.end();
                    carry.send((frame.bytes().clone(), frame.segment_length())).unwrap();
                }
            }
        });
        replica.wait_for(Position::new(40 * 9), PATIENCE).unwrap();
    });
    assert_eq!(all(&replica), all(&source));
    replica.close().unwrap();
    let path = source.path().to_owned();
    drop(source);
    let replica = replica_of(&path, &copy);
    wait_for_all(&replica, &path);
    replica.close().unwrap();
    assert_same_journals(&path, &copy);
}

/// Gives what it is told to, once; then nothing.
struct Told {
    store: SourceStore,
    frames: Vec<JournalFrame>,
    head: Position,
}

impl FrameSource for Told {
    fn store(&mut self) -> Result<SourceStore, Error> {
        Ok(self.store)
    }

    fn read(&mut self, _: &JournalEnd, wait: Duration) -> Result<Heard, Error> {
        let frames = std::mem::take(&mut self.frames);
        if frames.is_empty() {
            thread::sleep(wait.min(Duration::from_millis(1)));
        }
        Ok(Heard { frames, head: self.head, hash: None })
    }
}

/// Twelve commits, and some that append nothing: nothing in the positions shows that one of those is missing.
fn write(store: &Store, name: &str) {
    for n in 0..12 {
        let events = (0..=n % 3).map(|_| event(name));
        store.append(format!("Door-{}", n % 4), ExpectedVersion::Any, events).unwrap();
        if n % 4 == 3 {
            let position = Position::new(store.head().get());
            store.commit(Commit::new().tracking("it", position)).unwrap();
        }
    }
}

#[test]
fn whatever_a_source_does_with_the_frames_only_the_next_one_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let [path, other, foreign] = ["source", "other", "foreign"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    // The same store, which went another way: its frames have the same places and positions.
    source.backup(&other).unwrap();
    for (path, name) in [(&other, "Shut"), (&foreign, "Open")] {
        write(&Store::open(path).unwrap(), name);
    }
    write(&source, "Open");
    let frames = frames_after(&path, JournalEnd::start());
    let [other, foreign] = [other, foreign].map(|path| frames_after(&path, JournalEnd::start()));
    let store = StoreDirectory::at(&path).store().unwrap();
    let random = &mut Random(seed());
    for round in 0..40 {
        let copy = directory.path().join(round.to_string());
        let at = 1 + random.below(frames.len() as u64 - 2) as usize;
        let mut sent = frames.clone();
        let mut right = at;
        let case = match round % 5 {
            0 => {
                sent.remove(at);
                "skipped"
            }
            1 => {
                sent.swap(at, at + 1);
                "exchanged"
            }
            2 => {
                sent.insert(at + 1, frames[at].clone());
                right = at + 1;
                "sent twice"
            }
            3 => {
                sent[at] = foreign[at].clone();
                "of another store"
            }
            _ => {
                sent[at] = other[at].clone();
                "of another history"
            }
        };
        let last = frames[right - 1].end();
        let source = Told { store, frames: sent, head: source.head() };
        let replica = replica_from(source, &copy);
        let error = stopped(&replica);
        assert_eq!(error.kind(), ErrorKind::Diverged, "{case} at {at}: {error}");
        assert_eq!(replica.head_hash(), last.hash(), "{case} at {at}");
        assert_eq!(all(&replica), all_until(&path, last.position()), "{case} at {at}");
        replica.close().unwrap();
        assert!(Store::verify_at(&copy).unwrap().is_whole(), "{case} at {at}");
    }
}

fn all_until(path: &Path, position: Position) -> Vec<filmstrip::RecordedEvent> {
    filmstrip::Follower::open(path).unwrap().read().until(position).collect().unwrap()
}

#[test]
fn bytes_that_are_no_whole_frame_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.append("Door-1", ExpectedVersion::Any, [event("Opened")]).unwrap();
    let frame = frames_after(directory.path(), JournalEnd::start()).remove(0);
    let (bytes, length) = (frame.bytes(), frame.segment_length());
    assert_eq!(JournalFrame::decode(bytes.clone(), length).unwrap().end(), frame.end());
    for at in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 0x10;
        let error = JournalFrame::decode(flipped.into(), length).expect_err("a flipped bit");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
        assert!(JournalFrame::decode(bytes.slice(..at), length).is_err(), "cut at {at}");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(JournalFrame::decode(longer.into(), length).is_err());
}

/// A source that fails in every way, and then works.
struct Failing(StoreDirectory, u32);

impl FrameSource for Failing {
    fn store(&mut self) -> Result<SourceStore, Error> {
        self.0.store()
    }

    fn read(&mut self, after: &JournalEnd, wait: Duration) -> Result<Heard, Error> {
        self.1 += 1;
        match self.1 {
            1 | 2 => Err(StoreDirectory::at("/nowhere").read(after, wait).unwrap_err()),
            _ => self.0.read(after, wait),
        }
    }
}

/// A source that panics.
struct Panicking(StoreDirectory);

impl FrameSource for Panicking {
    fn store(&mut self) -> Result<SourceStore, Error> {
        self.0.store()
    }

    fn read(&mut self, _: &JournalEnd, _: Duration) -> Result<Heard, Error> {
        panic!("the network is down")
    }
}

#[test]
fn a_source_that_fails_is_read_again_and_one_that_panics_ends_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let [path, copy, other] = ["source", "copy", "other"].map(|it| directory.path().join(it));
    let source = Store::open(&path).unwrap();
    source.append("Door-1", ExpectedVersion::Any, [event("Opened")]).unwrap();
    let replica = replica_from(Failing(StoreDirectory::at(&path), 0), &copy);
    replica.wait_for(source.head(), PATIENCE).unwrap();
    let is_following = || matches!(replication(&replica).state, ReplicationState::Following);
    wait_until(PATIENCE, "the source", is_following);
    assert!(replication(&replica).level_ago.is_some());
    let replica = replica_from(Panicking(StoreDirectory::at(&path)), &other);
    let error = stopped(&replica);
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert!(error.to_string().contains("the network is down"), "{error}");
    replica.promote().unwrap();
    replica.append("Door-1", ExpectedVersion::Any, [event("Opened")]).unwrap();
}
