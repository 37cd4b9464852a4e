//! Cuts the power at every step of a store with private events, and of its key ring, while somebody is forgotten.
//!
//! * Somebody who was not forgotten is read: a key is durable before what it has sealed.
//! * Of somebody whose forgetting has begun, everything is read or nothing is: an event whose key is gone is erased,
//!   for the journal says so, and never sealed.
//! * Somebody who was forgotten stays so, and the ring that is opened with the store has no key of theirs.
//!
//! For more rounds, from another seed: `FILMSTRIP_ROUNDS=100 FILMSTRIP_SEED=7 cargo test --release -p filmstrip-proof
//! proof::forgetting -- --nocapture`.

use crate::keyring::Keys;
use crate::keyring::directory::KeyDirectory;
use crate::keyring::kek::KeyEncryptingKey;
use crate::proof::cuts::scratch;
use crate::proof::disk::{SimulatedDisk, Step};
use crate::proof::volume::{Left, Volume};
use crate::storage::disk::Disk;
use crate::store::Store;
use crate::value::error::{ErrorKind, HandlerError};
use crate::value::event::{NewEvent, PayloadFormat};
use crate::value::position::ExpectedVersion;
use crate::value::random::{Random, first_seed, rounds};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was returned, or is about to be done.
#[derive(Clone, Debug)]
enum Note {
    RingMade,
    /// An event about this subject is durable.
    Appended(&'static str),
    Forgetting(&'static str),
    Forgotten(&'static str),
}

/// What is known of a subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Is {
    #[default]
    Known,
    BeingForgotten,
    Forgotten,
}

#[derive(Clone, Default)]
struct Known {
    is_ring_made: bool,
    /// The subjects of the events that are durable, in order.
    events: Vec<&'static str>,
    subjects: BTreeMap<&'static str, Is>,
}

impl Known {
    fn learn(&mut self, note: &Note) {
        match note {
            Note::RingMade => self.is_ring_made = true,
            Note::Appended(subject) => self.events.push(subject),
            Note::Forgetting(subject) => drop(self.subjects.insert(subject, Is::BeingForgotten)),
            Note::Forgotten(subject) => drop(self.subjects.insert(subject, Is::Forgotten)),
        }
    }

    fn of(&self, subject: &str) -> Is {
        self.subjects.get(subject).copied().unwrap_or_default()
    }
}

fn kek() -> Result<KeyEncryptingKey, HandlerError> {
    Ok(KeyEncryptingKey::new(&[7; 32]))
}

fn paths(root: &Path) -> (PathBuf, PathBuf) {
    (root.join("deep/keys"), root.join("deep/er/store"))
}

fn event(subject: &'static str) -> NewEvent {
    NewEvent::json(subject, &subject).unwrap().private(subject)
}

fn open(disk: &Arc<dyn Disk>, keys: &Arc<KeyDirectory>, path: &Path) -> Result<Store, String> {
    let builder = Store::builder().disk(Arc::clone(disk)).keys(Arc::clone(keys));
    builder.open(path).map_err(|error| error.to_string())
}

/// Appends events about several subjects, and forgets some of these in between.
fn record(random: &mut Random) -> Vec<Step<Note>> {
    const SUBJECTS: [&str; 3] = ["a", "b", "c"];
    let root = scratch();
    let disk = SimulatedDisk::new(root.path(), Volume::new());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (ring, path) = paths(root.path());
    let keys = Arc::new(KeyDirectory::create_on(&ring, &shared, kek).unwrap());
    disk.note(Note::RingMade);
    let store = open(&shared, &keys, &path).unwrap();
    let mut forgotten = Vec::new();
    for step in 0..12 {
        let subject = SUBJECTS[random.below(3) as usize];
        if forgotten.contains(&subject) {
            continue;
        }
        if step % 4 == 3 {
            if keys.ids(subject).unwrap().is_empty() {
                continue;
            }
            disk.note(Note::Forgetting(subject));
            store.forget(subject).unwrap();
            disk.note(Note::Forgotten(subject));
            forgotten.push(subject);
            continue;
        }
        if step == 5 {
            keys.rotate(subject).unwrap();
        }
        store.append("Stream-1", ExpectedVersion::Any, [event(subject)]).unwrap();
        disk.note(Note::Appended(subject));
    }
    store.close().unwrap();
    drop(keys);
    disk.trace()
}

fn open_and_judge(image: Volume, known: &Known) -> Result<(), String> {
    let root = scratch();
    let simulated = SimulatedDisk::<()>::new(root.path(), image);
    simulated.materialize();
    let disk: Arc<dyn Disk> = Arc::new(simulated);
    let (ring, path) = paths(root.path());
    let keys = match KeyDirectory::open_on(&ring, &disk, kek) {
        Err(_) if !known.is_ring_made => return Ok(()),
        opened => Arc::new(opened.map_err(|error| error.to_string())?),
    };
    let store = open(&disk, &keys, &path)?;
    judge(&store, &keys, known)?;
    for (subject, is) in &known.subjects {
        if *is == Is::BeingForgotten {
            store.forget(subject).map_err(|error| error.to_string())?;
        }
    }
    let mut known = known.clone();
    known.subjects.values_mut().for_each(|is| *is = Is::Forgotten);
    judge(&store, &keys, &known)
}

/// What is wrong with what is read.
fn judge(store: &Store, keys: &KeyDirectory, known: &Known) -> Result<(), String> {
    let events = store.read_all().collect().map_err(|error| error.to_string())?;
    if events.len() < known.events.len() {
        return Err(format!("{} of {} events are there", events.len(), known.events.len()));
    }
    let mut erased = BTreeMap::new();
    for event in &events {
        let subject = event.event_type.as_str();
        let is_erased = match event.format {
            PayloadFormat::Erased => true,
            PayloadFormat::Json if event.json::<String>().ok().as_deref() == Some(subject) => false,
            other => return Err(format!("an event about {subject} is {other:?}")),
        };
        if *erased.entry(subject).or_insert(is_erased) != is_erased {
            return Err(format!("some events about {subject} are erased, and some are not"));
        }
        let is_right = match known.of(subject) {
            Is::Known => !is_erased,
            Is::BeingForgotten => true,
            Is::Forgotten => is_erased,
        };
        if !is_right {
            return Err(format!("{subject} is {:?}, and erased: {is_erased}", known.of(subject)));
        }
    }
    for (subject, _) in erased.iter().filter(|(_, is_erased)| **is_erased) {
        match keys.ids(subject).map(|ids| ids.len()) {
            Ok(0) => {}
            other => return Err(format!("{subject} is erased, and has keys: {other:?}")),
        }
        match keys.current(subject).map_err(|error| error.kind()) {
            Err(ErrorKind::Erased) => {}
            other => return Err(format!("{subject} is erased, and gets a key: {other:?}")),
        }
    }
    Ok(())
}

#[test]
fn a_power_cut_at_any_step_leaves_everything_of_a_subject_or_nothing() {
    let (mut cuts, mut images) = (0, 0);
    for seed in first_seed()..first_seed() + rounds(1) {
        let random = &mut Random::new(seed);
        let recording = record(random);
        let (mut volume, mut known) = (Volume::new(), Known::default());
        for (n, step) in recording.iter().enumerate() {
            match step {
                Step::Note(note) => known.learn(note),
                Step::Op(op) => drop(volume.apply(op)),
            }
            cuts += 1;
            for left in [Left::Synced, Left::Some(50)] {
                images += 1;
                let image = volume.cut(left, random);
                open_and_judge(image, &known).unwrap_or_else(|e| {
                    panic!("FILMSTRIP_SEED={seed}, cut after step {n}, left {left:?}: {e}")
                });
            }
        }
    }
    println!("figures: power cuts while somebody is forgotten: {cuts} cuts, {images} images");
    assert!(images > 100, "only {images} images");
}

/// The sync of the destroyed key had failed, and forgetting again found the key destroyed, and synced nothing.
#[test]
fn what_is_forgotten_again_after_a_failed_sync_stays_forgotten_after_a_power_cut() {
    let random = &mut Random::new(first_seed());
    let mut repeated = 0;
    for n in 1.. {
        let root = scratch();
        let simulated = SimulatedDisk::<Note>::new(root.path(), Volume::new());
        let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
        let (ring, path) = paths(root.path());
        let keys = Arc::new(KeyDirectory::create_on(&ring, &disk, kek).unwrap());
        let store = open(&disk, &keys, &path).unwrap();
        store.append("Stream-1", ExpectedVersion::Any, [event("a")]).unwrap();
        let id = keys.ids("a").unwrap()[0];
        simulated.fail_sync(n);
        let first = store.forget("a");
        if !simulated.fail_sync(0) {
            break;
        }
        // A journal that could not be synced takes no fence.
        if store.forget("a").is_err() {
            continue;
        }
        repeated += u32::from(first.is_err());
        let image = simulated.volume().cut(Left::Synced, random);
        drop((keys, store));
        let root = scratch();
        let simulated = SimulatedDisk::<Note>::new(root.path(), image);
        simulated.materialize();
        // The ring by itself: opening the store would destroy the key again.
        let disk: Arc<dyn Disk> = Arc::new(simulated);
        let keys = KeyDirectory::open_on(&paths(root.path()).0, &disk, kek).unwrap();
        assert!(keys.get(id).unwrap().is_none(), "sync {n} failed, {first:?}: the key is back");
    }
    assert!(repeated > 0, "no sync of the ring failed");
}
