//! Cuts the power at every step of threads whose commits exclude each other, and checks that no two of those are
//! there, and that a commit which is sent again is recognised.

use crate::log::commit::Commit;
use crate::log::commit::outcome::AppendError;
use crate::proof::cuts::scratch;
use crate::proof::disk::{SimulatedDisk, Step};
use crate::proof::volume::{Left, Volume};
use crate::store::Store;
use crate::value::event::NewEvent;
use crate::value::filter::Filter;
use crate::value::position::{ExpectedVersion, Position};
use crate::value::random::{Random, first_seed, rounds};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Barrier};
use uuid::Uuid;

const THREADS: u64 = 4;
const SLOTS: u64 = 12;

/// A commit that was acknowledged: its slot, its thread, and its position.
type Note = (u64, u64, u64);

fn open(disk: &SimulatedDisk<Note>, root: &Path) -> Store {
    Store::builder().disk(Arc::new(disk.clone())).open(root.join("store")).unwrap()
}

fn tag(slot: u64) -> String {
    format!("slot:{slot}")
}

/// What `thread` commits to take `slot`, which is free if no event has its tag: the same each time.
fn taking(slot: u64, thread: u64) -> Commit {
    let event = NewEvent::bytes("Taken", thread.to_le_bytes().to_vec());
    let event = event.id(Uuid::from_u64_pair(slot + 1, thread + 1)).tag(tag(slot));
    let other = NewEvent::bytes("Noted", "x").id(Uuid::from_u64_pair(slot + 1, thread + 101));
    Commit::new()
        .append(format!("Thread-{thread}"), ExpectedVersion::Any, [event, other])
        .unless(Filter::tag(tag(slot)), Position::START)
}

/// Threads take the same slots at the same time, in two sessions of a store. Returns the steps of the disk, and how
/// many of them came before the threads began.
fn record() -> (Vec<Step<Note>>, usize) {
    let root = scratch();
    let disk = SimulatedDisk::new(root.path(), Volume::new());
    let mut before = 0;
    for session in 0..2 {
        let store = open(&disk, root.path());
        if session == 0 {
            before = disk.trace().len();
        }
        let barrier = Barrier::new(THREADS as usize);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (store, disk, barrier) = (&store, &disk, &barrier);
                scope.spawn(move || {
                    for slot in session * SLOTS / 2..(session + 1) * SLOTS / 2 {
                        barrier.wait();
                        match store.commit(taking(slot, thread)) {
                            Ok(done) => disk.note((slot, thread, done.position.get() - 1)),
                            Err(AppendError::Matched(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
        });
    }
    (disk.trace(), before)
}

/// The thread that has each slot that is taken, and the position of its event.
fn taken(store: &Store, case: &str) -> BTreeMap<u64, (u64, u64)> {
    let mut taken = BTreeMap::new();
    for event in store.read_all().iter().unwrap() {
        let event = event.unwrap();
        let Some(slot) = event.tags().next() else { continue };
        let slot = slot.trim_start_matches("slot:").parse().expect("the number of a slot");
        let thread = u64::from_le_bytes(event.payload[..].try_into().expect("8 bytes"));
        let before = taken.insert(slot, (thread, event.position.get()));
        assert_eq!(before, None, "{case}: slot {slot} is taken twice");
    }
    taken
}

/// Opens what a cut has left. What was acknowledged is there; nothing is that excludes it; and all commits, sent again,
/// find the one that is there.
fn check(image: &Volume, acknowledged: &[Note], case: &str) {
    let root = scratch();
    let disk = SimulatedDisk::new(root.path(), image.clone());
    disk.materialize();
    let store = open(&disk, root.path());
    let kept = taken(&store, case);
    for (slot, thread, position) in acknowledged {
        assert_eq!(kept.get(slot), Some(&(*thread, *position)), "{case}: slot {slot}");
    }
    for slot in 0..SLOTS {
        let mut owner = kept.get(&slot).copied();
        for thread in 0..THREADS {
            match (store.commit(taking(slot, thread)), owner) {
                (Ok(done), None) => {
                    assert!(!done.already_recorded, "{case}: slot {slot} was free");
                    owner = Some((thread, done.position.get() - 1));
                }
                (Ok(done), Some((own, position))) => {
                    assert!(done.already_recorded && own == thread, "{case}: slot {slot}");
                    assert_eq!(done.position.get(), position + 1, "{case}: slot {slot}");
                }
                (Err(AppendError::Matched(matched)), Some((other, position))) => {
                    assert_ne!(other, thread, "{case}: slot {slot} is its own");
                    assert_eq!(matched.position.get(), position, "{case}: slot {slot}");
                }
                (result, owner) => panic!("{case}: slot {slot} of {owner:?}: {result:?}"),
            }
        }
    }
    taken(&store, case);
}

#[test]
fn wherever_the_power_is_cut_no_two_commits_are_there_that_exclude_each_other() {
    let mut cuts = 0;
    for seed in first_seed()..first_seed() + rounds(4) {
        let random = &mut Random::new(seed);
        let (steps, before) = record();
        let (mut volume, mut acknowledged) = (Volume::new(), Vec::new());
        for (n, step) in steps.iter().enumerate() {
            match step {
                Step::Note(note) => acknowledged.push(*note),
                Step::Op(op) => {
                    if n >= before {
                        let left = [Left::Synced, Left::All, Left::Some(50)];
                        let left = left[random.below(3) as usize];
                        let case = format!("FILMSTRIP_SEED={seed}, cut at step {n}, {left:?}");
                        check(&volume.cut(left, random), &acknowledged, &case);
                        cuts += 1;
                    }
                    volume.apply(op);
                }
            }
        }
        assert_eq!(acknowledged.len() as u64, SLOTS, "each slot was taken once");
        // A kill: what was not synced is still there.
        check(&volume, &acknowledged, &format!("FILMSTRIP_SEED={seed}, killed"));
    }
    println!("figures: power cuts beneath conditional commits: {cuts} cuts");
    assert!(cuts >= 80, "only {cuts} cuts");
}
