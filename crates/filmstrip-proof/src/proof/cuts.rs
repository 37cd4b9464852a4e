//! Cuts the power at every step of a store, and checks what is left.
//!
//! A workload runs once over a recording disk. For each of its steps, several images that a cut may leave there are
//! opened again. The same is done for each step of such an opening, and after a kill, where the page cache survives
//! until the power is cut too. For more rounds, from another seed: `FILMSTRIP_ROUNDS=100 FILMSTRIP_SEED=7 cargo test
//! --release -p filmstrip-proof proof::cuts -- --nocapture`.

use crate::journal::manifest::Role;
use crate::journal::recover;
use crate::journal::recover::torn_end::InFlight;
use crate::journal::shipped::JournalEnd;
use crate::log::commit::Commit;
use crate::log::commit::outcome::Committed;
use crate::log::core::journal_directory;
use crate::log::read::located::{Located, try_each_located};
use crate::proof::disk::{SimulatedDisk, Step};
use crate::proof::oracle::{Known, Oracle, Planned};
use crate::proof::volume::{Left, Op, Volume};
use crate::storage::disk::Disk;
use crate::store::Store;
use crate::store::directory::{Directory, new_store};
use crate::value::clock::SystemClock;
use crate::value::limits::SEGMENT_BYTES_FIRST;
use crate::value::position::{ExpectedVersion, Position};
use crate::value::random::{Random, first_seed, rounds};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Events that an observer learned of between two steps.
pub(super) type Note = Vec<Known>;
pub(super) type Recording = Vec<Step<Note>>;

/// The path of the store below the volume's root, in directories that are created with it.
const STORE: &str = "deep/er/store";

pub(crate) fn scratch() -> TempDir {
    // Only the locks and sled's files are real, and need not be durable.
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

pub(super) fn store_path(root: &Path) -> PathBuf {
    root.join(STORE)
}

fn open(disk: &SimulatedDisk<Note>, root: &Path) -> Store {
    Store::builder().disk(Arc::new(disk.clone())).open(store_path(root)).unwrap()
}

/// The events that a read of `store` after position `after` returns.
pub(super) fn read(store: &Store, after: u64) -> Result<Vec<Known>, String> {
    let events = store.read_all().after(Position::new(after)).collect();
    let events = events.map_err(|e| e.to_string())?;
    let known = events.iter().map(|event| {
        let (position, version) = (event.position.get(), event.version.get());
        Known::read(position, event.stream.as_str(), version, &event.payload)
    });
    known.collect()
}

/// The events of `planned`, as its acknowledgement describes them.
pub(super) fn acknowledged(planned: &Planned, done: &Committed) -> Note {
    let of: usize = planned.appends.iter().map(|(_, payloads)| payloads.len()).sum();
    let mut part = 0;
    let mut known = Vec::new();
    for (appended, (stream, payloads)) in done.appended.iter().zip(&planned.appends) {
        let first = appended.position.get() + 1 - payloads.len() as u64;
        for n in 0..payloads.len() as u64 {
            known.push(Known {
                position: first + n,
                stream: stream.clone(),
                version: appended.first.get() + n,
                part: [planned.number, part, of as u32],
            });
            part += 1;
        }
    }
    known
}

pub(super) fn commit(planned: &Planned) -> Commit {
    planned.appends.iter().fold(Commit::new(), |commit, (stream, payloads)| {
        commit.append(stream.as_str(), ExpectedVersion::Any, Planned::events(payloads))
    })
}

/// Reads at every step of the disk and notes the new events.
pub(super) fn look_on(disk: &SimulatedDisk<Note>, store: &Store) {
    let (noting, store, seen) = (disk.clone(), store.clone(), Mutex::new(store.head().get()));
    disk.set_onlooker(Some(Box::new(move || {
        let Some(mut seen) = seen.try_lock() else { return };
        if store.head().get() > *seen {
            let news = read(&store, *seen).unwrap();
            *seen = news.last().map_or(*seen, |event| event.position);
            noting.note(news);
        }
    })));
}

/// A few sessions of one store: opened, written to, watched, and closed or dropped.
fn record(seed: u64) -> Recording {
    let root = scratch();
    let disk = SimulatedDisk::new(root.path(), Volume::new());
    let mut random = Random::new(seed);
    let mut number = 0;
    for session in 0..3 {
        let store = open(&disk, root.path());
        disk.note(read(&store, 0).unwrap());
        look_on(&disk, &store);
        let commits = 3 + random.below(5);
        for n in 0..commits {
            number += 1;
            let planned = match session == 2 && n == commits - 2 {
                // A commit that begins another segment.
                true => Planned::large(number, SEGMENT_BYTES_FIRST as usize),
                false => Planned::random(number, &mut random),
            };
            let done = store.commit(commit(&planned)).unwrap();
            disk.note(acknowledged(&planned, &done));
        }
        disk.set_onlooker(None);
        match random.below(2) {
            0 => store.close().unwrap(),
            _ => drop(store),
        }
    }
    disk.trace()
}

/// Opens the journal on `disk` as a store does, and reads all of it.
fn recover(disk: &SimulatedDisk<Note>, root: &Path) -> Result<Vec<Known>, String> {
    recover_as(Role::Store, disk, root).map(|(known, _)| known)
}

/// The same as a store or a replica does. Also returns where the journal ends.
pub(super) fn recover_as(
    role: Role,
    disk: &SimulatedDisk<Note>,
    root: &Path,
) -> Result<(Vec<Known>, JournalEnd), String> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let path = store_path(root);
    let text = |error: crate::value::error::Error| error.to_string();
    let new = || Ok(new_store(&SystemClock));
    let directory = Directory::open(&path, &disk, role, new).map_err(text)?;
    let there = journal_directory(&path);
    let opened = recover::open_after(InFlight::of(role), disk, &there, directory.manifest.store);
    let opened = opened.map_err(text)?;
    let (journal, end) = (&opened.journal, opened.writer.end().next);
    let mut known = Vec::new();
    for item in journal.frames(journal.start(), 1, end) {
        let (at, frame) = item.map_err(text)?;
        let take = |located| {
            if let Located::Event(event) = located {
                let envelope = crate::codec::envelope::decode(
                    event.envelope.clone(),
                    crate::codec::envelope::Place {
                        position: Position::new(event.position),
                        stream: event.stream.clone(),
                        version: crate::value::position::Version::new(event.version),
                        recorded_at: event.recorded_at.to_utc(),
                    },
                )?;
                let stream = event.stream.as_str();
                known.push(Known::read(event.position, stream, event.version, &envelope.payload)?);
            }
            Ok(())
        };
        try_each_located::<String>(at, &frame, take)?;
    }
    Ok((known, opened.writer.shipped_end()))
}

/// Opens a whole store on `disk`, reads it in every way, and writes to it.
fn recover_store(disk: &SimulatedDisk<Note>, root: &Path) -> Result<Vec<Known>, String> {
    let text = |error: crate::value::error::Error| error.to_string();
    let builder = Store::builder().disk(Arc::new(disk.clone()));
    let store = builder.open(store_path(root)).map_err(text)?;
    let known = read(&store, 0)?;
    for event in &known {
        let info = store.stream_info(event.stream.as_str()).map_err(text)?;
        if info.version.get() < event.version {
            return Err(format!("{} is at {}: {event:?}", event.stream, info.version));
        }
    }
    let planned = Planned { number: 0, appends: vec![("New-1".to_owned(), vec![vec![1; 40]])] };
    let done = store.commit(commit(&planned)).map_err(|e| e.to_string())?;
    match done.position.get() == known.len() as u64 + 1 {
        true => Ok(known),
        false => Err(format!("{} events, and the next is at {}", known.len(), done.position)),
    }
}

/// The numbers of cuts and images that a proof has tried.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) cuts: u64,
    pub(super) images: u64,
}

/// How what a cut has left is opened: alone, or as a whole store.
pub(super) type Reopen<'a> =
    Box<dyn Fn(&SimulatedDisk<Note>, &Path) -> Result<Vec<Known>, String> + 'a>;

pub(super) struct Proof<'a> {
    root: TempDir,
    random: Random,
    pub(super) figures: Figures,
    case: String,
    recover: Reopen<'a>,
    recover_store: Reopen<'a>,
}

impl Proof<'static> {
    /// A proof about stores.
    fn of_stores(seed: u64, case: String) -> Proof<'static> {
        Proof::new(seed, case, Box::new(recover), Box::new(recover_store))
    }
}

impl<'a> Proof<'a> {
    pub(super) fn new(
        seed: u64,
        case: String,
        recover: Reopen<'a>,
        recover_store: Reopen<'a>,
    ) -> Proof<'a> {
        let (root, random, figures) = (scratch(), Random::new(seed), Figures::default());
        Proof { root, random, figures, case, recover, recover_store }
    }

    /// Cuts the power at every step of `recording`, which began with `volume`.
    pub(super) fn cut_everywhere(
        &mut self,
        volume: &Volume,
        recording: &[Step<Note>],
        oracle: &Oracle,
        depth: u32,
    ) {
        let (mut volume, mut oracle) = (volume.clone(), oracle.clone());
        for (n, step) in recording.iter().enumerate() {
            match step {
                Step::Note(events) => {
                    for event in events {
                        oracle
                            .learn(event)
                            .unwrap_or_else(|e| panic!("{}, step {n}: {e}", self.case));
                    }
                    continue;
                }
                Step::Op(op) => {
                    // Cut before the step, so that each step is lost once.
                    self.cut(&volume, &oracle, n, depth);
                    volume.apply(op);
                }
            }
        }
        self.cut(&volume, &oracle, recording.len(), depth);
    }

    fn cut(&mut self, volume: &Volume, oracle: &Oracle, step: usize, depth: u32) {
        self.figures.cuts += 1;
        let case = self.case.clone();
        let lefts: &[Left] = match depth {
            0 => &[Left::Synced, Left::All, Left::Some(10), Left::Some(50), Left::Some(90)],
            _ => &[Left::Synced, Left::Some(50)],
        };
        for left in lefts {
            self.case = format!("{case}, cut at step {step}, of the unsynced {left:?}");
            let image = volume.cut(*left, &mut self.random);
            let whole_store = depth == 0 && self.random.below(40) == 0;
            let again = depth == 0 && self.random.below(20) == 0;
            self.open_again(image, oracle, whole_store, again, depth);
        }
        // A kill: nothing is lost yet, but unsynced data may still be lost.
        if depth == 0 && self.random.below(6) == 0 {
            self.case = format!("{case}, killed at step {step}");
            self.open_again(volume.clone(), oracle, false, true, depth);
        }
        self.case = case;
    }

    /// Opens `image` and checks its events. With `again`, also cuts the power at each step of the opening.
    fn open_again(
        &mut self,
        image: Volume,
        oracle: &Oracle,
        whole_store: bool,
        again: bool,
        depth: u32,
    ) {
        self.figures.images += 1;
        let disk = SimulatedDisk::new(self.root.path(), image.clone());
        let recovered = match whole_store {
            true => {
                // With the index that the cut left.
                let own = scratch();
                let disk = SimulatedDisk::new(own.path(), image.clone());
                disk.materialize();
                (self.recover_store)(&disk, own.path())
            }
            false => (self.recover)(&disk, self.root.path()),
        };
        let judged = recovered.and_then(|events| oracle.judge(&events).map(|()| events));
        let events = judged.unwrap_or_else(|e| panic!("{}: {e}", self.case));
        if again && !whole_store {
            // Opening the store has read all of its events.
            disk.note(events);
            self.cut_everywhere(&image, &disk.trace(), oracle, depth + 1);
        }
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_all_that_was_acknowledged_or_seen() {
    let (first, rounds) = (first_seed(), rounds(2));
    let mut figures = Figures::default();
    for seed in first..first + rounds {
        let recording = record(seed);
        let mut proof = Proof::of_stores(seed, format!("FILMSTRIP_SEED={seed}"));
        proof.figures = std::mem::take(&mut figures);
        proof.cut_everywhere(&Volume::new(), &recording, &Oracle::default(), 0);
        figures = proof.figures;
    }
    println!(
        "figures: power cuts beneath the journal: {} cuts, {} images",
        figures.cuts, figures.images
    );
    assert!(figures.images >= 500 * rounds, "only {} images", figures.images);
}

/// A store that was created together with its parent directories was gone after a power cut, with everything that it
/// had acknowledged: only the entries of its own directory and of the one above were synced.
#[test]
fn a_store_whose_parent_directories_were_made_with_it_survives_a_power_cut() {
    let root = scratch();
    let disk = SimulatedDisk::new(root.path(), Volume::new());
    let store = open(&disk, root.path());
    let planned = Planned::random(1, &mut Random::new(1));
    let mut oracle = Oracle::default();
    for event in acknowledged(&planned, &store.commit(commit(&planned)).unwrap()) {
        oracle.learn(&event).unwrap();
    }
    drop(store);
    let image = disk.volume().cut(Left::Synced, &mut Random::new(1));
    let root = scratch();
    let events = recover(&SimulatedDisk::new(root.path(), image), root.path()).unwrap();
    assert_eq!(oracle.judge(&events), Ok(()));
}

/// A process was killed after it had renamed a prepared segment into use and before it synced that name. The next
/// opening wrote a watermark that names the segment, and the power was cut before the directory was synced. Of the
/// two names only the watermark's had reached the disk, so the segment was missing, and opening the store failed with
/// `Corrupt`.
#[test]
fn a_mark_never_names_a_segment_whose_own_name_a_power_cut_can_take() {
    let mut volume = Volume::new();
    let recording = record(1);
    let is_segment_2 = |name: &str| name.ends_with("02") && name.len() == 20;
    let is_second =
        |step: &Step<Note>| matches!(step, Step::Op(Op::Rename { to, .. }) if is_segment_2(to));
    let renamed = recording.iter().position(is_second).expect("a second segment is begun");
    for step in &recording[..=renamed] {
        if let Step::Op(op) = step {
            volume.apply(op);
        }
    }
    let root = scratch();
    let case = "killed before the name of a segment is synced".to_owned();
    let mut proof = Proof::of_stores(1, case);
    let disk = SimulatedDisk::new(root.path(), volume.clone());
    disk.note(recover(&disk, root.path()).unwrap());
    for _ in 0..20 {
        proof.cut_everywhere(&volume, &disk.trace(), &Oracle::default(), 1);
    }
}
