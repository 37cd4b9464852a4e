//! Cuts the power at every step beneath a key ring, and kills its process there.
//!
//! What a ring has returned must be true of every image that a cut may leave: a key that was returned is there, one
//! whose destroying has returned is gone, and exactly one of two key-encrypting keys opens the ring while it is being
//! rekeyed. For more rounds, from another seed: `FILMSTRIP_ROUNDS=100 FILMSTRIP_SEED=7 cargo test --release -p
//! filmstrip-proof proof::keyring -- --nocapture`.

use crate::keyring::Keys;
use crate::keyring::directory::KeyDirectory;
use crate::keyring::kek::KeyEncryptingKey;
use crate::proof::cuts::scratch;
use crate::proof::disk::{SimulatedDisk, Step};
use crate::proof::volume::{Left, Volume};
use crate::sealing::key::{KeyId, SubjectKey};
use crate::storage::disk::Disk;
use crate::value::error::{Error, ErrorKind, HandlerError};
use crate::value::random::{Random, first_seed, rounds};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Where the ring is, in a directory that is made with it.
const RING: &str = "deep/keys";

/// What the ring has returned, or is about to change.
#[derive(Clone, Debug)]
enum Note {
    /// It was made.
    Made,
    /// This key was returned. Its print tells it from all others.
    Key(KeyId, Vec<u8>),
    /// These are being destroyed: from here on, each may be there or not.
    Destroying(Vec<KeyId>),
    Destroyed(&'static str, Vec<KeyId>),
    /// From here on, the subject may have a key again.
    Renewing(&'static str),
    /// From here on, the ring may have the next key-encrypting key.
    Rekeying,
    Rekeyed,
}

/// What must be true.
#[derive(Clone, Default)]
struct Known {
    is_made: bool,
    keys: BTreeMap<KeyId, Vec<u8>>,
    destroyed: Vec<KeyId>,
    /// Subjects whose newest key was destroyed.
    forgotten: Vec<&'static str>,
    kek: u8,
    is_rekeying: bool,
}

impl Known {
    fn learn(&mut self, note: &Note) {
        match note {
            Note::Made => self.is_made = true,
            Note::Key(id, print) => drop(self.keys.insert(*id, print.clone())),
            Note::Renewing(subject) => self.forgotten.retain(|forgotten| forgotten != subject),
            Note::Destroying(ids) => ids.iter().for_each(|id| drop(self.keys.remove(id))),
            Note::Destroyed(subject, ids) => {
                self.destroyed.extend(ids);
                self.forgotten.push(subject);
            }
            Note::Rekeying => self.is_rekeying = true,
            Note::Rekeyed => {
                self.is_rekeying = false;
                self.kek += 1;
            }
        }
    }

    /// Opens the ring that a cut has left, by whichever key-encrypting key it may have.
    fn open(&self, disk: &Arc<dyn Disk>, path: &Path) -> Result<KeyDirectory, Error> {
        let opened = KeyDirectory::open_on(path, disk, kek(self.kek));
        match opened {
            Err(error) if self.is_rekeying && error.kind() == ErrorKind::InvalidInput => {
                KeyDirectory::open_on(path, disk, kek(self.kek + 1))
            }
            opened => opened,
        }
    }

    /// What is wrong with the ring.
    fn judge(&self, keys: &KeyDirectory) -> Result<(), String> {
        let get = |id: &KeyId| keys.get(*id).map_err(|e| format!("the key {id}: {e}"));
        for (id, print_then) in &self.keys {
            let key = get(id)?.ok_or_else(|| format!("the key {id} is gone"))?;
            if print(&key) != *print_then {
                return Err(format!("the key {id} is another"));
            }
        }
        for id in &self.destroyed {
            if get(id)?.is_some() {
                return Err(format!("the key {id} was destroyed, and is back"));
            }
        }
        for subject in &self.forgotten {
            match keys.current(subject).map_err(|error| error.kind()) {
                Err(ErrorKind::Erased) => {}
                other => return Err(format!("{subject} was forgotten: {other:?}")),
            }
        }
        Ok(())
    }
}

fn kek(n: u8) -> impl Fn() -> Result<KeyEncryptingKey, HandlerError> {
    move || Ok(KeyEncryptingKey::new(&[n; 32]))
}

fn print(key: &SubjectKey) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    key.cipher().seal(b"print", &mut bytes);
    bytes
}

/// A ring at work, with what it returns in the recording.
struct Recorded {
    keys: KeyDirectory,
    disk: SimulatedDisk<Note>,
}

impl Recorded {
    fn note(&self, id: KeyId) {
        let key = self.keys.get(id).unwrap().expect("it was just returned");
        self.disk.note(Note::Key(id, print(&key)));
    }

    fn renew(&self, subject: &'static str) {
        self.disk.note(Note::Renewing(subject));
        self.note(self.keys.renew(subject).unwrap());
    }

    fn forget(&self, subject: &'static str) {
        let ids = self.keys.ids(subject).unwrap();
        self.disk.note(Note::Destroying(ids.clone()));
        self.keys.destroy(&ids).unwrap();
        self.disk.note(Note::Destroyed(subject, ids));
    }

    fn rekey(&self, n: u8) {
        self.disk.note(Note::Rekeying);
        self.keys.rekey(kek(n)).unwrap();
        self.disk.note(Note::Rekeyed);
    }
}

/// Everything that a ring does, in some order.
fn record(random: &mut Random) -> Vec<Step<Note>> {
    const SUBJECTS: [&str; 4] = ["a", "b", "c", "d"];
    let root = scratch();
    let disk = SimulatedDisk::new(root.path(), Volume::new());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let path = root.path().join(RING);
    let keys = KeyDirectory::create_on(&path, &shared, kek(0)).unwrap();
    disk.note(Note::Made);
    let mut ring = Recorded { keys, disk: disk.clone() };
    let mut number = 0;
    for step in 0..24 {
        let subject = SUBJECTS[random.below(4) as usize];
        let is_forgotten =
            matches!(ring.keys.current(subject), Err(e) if e.kind() == ErrorKind::Erased);
        match step {
            10 | 20 => {
                number += 1;
                ring.rekey(number);
            }
            15 => {
                drop(ring);
                let keys = KeyDirectory::open_on(&path, &shared, kek(number)).unwrap();
                ring = Recorded { keys, disk: disk.clone() };
            }
            _ if is_forgotten => ring.renew(subject),
            _ => match random.below(4) {
                0 | 1 => ring.note(ring.keys.current(subject).unwrap().id()),
                2 => ring.note(ring.keys.rotate(subject).unwrap()),
                _ => ring.forget(subject),
            },
        }
    }
    drop(ring);
    disk.trace()
}

/// Opens the ring in `image`, judges it, and lets it make and forget keys.
fn open_and_judge(image: Volume, known: &Known) -> Result<(), String> {
    let (disk, root) = on(image);
    let path = root.path().join(RING);
    let text = |error: Error| error.to_string();
    let keys = match known.open(&disk, &path) {
        Err(_) if !known.is_made => {
            // The creation was interrupted, and can be repeated; or it was done.
            KeyDirectory::create_on(&path, &disk, kek(0)).map_err(text)?
        }
        opened => opened.map_err(text)?,
    };
    known.judge(&keys)?;
    let id = keys.current("new").map_err(text)?.id();
    keys.destroy(&keys.ids("new").map_err(text)?).map_err(text)?;
    match keys.get(id).map_err(text)? {
        None => Ok(()),
        Some(_) => Err("a key is there after it was forgotten".to_owned()),
    }
}

/// A process was killed at `volume`, and another one opens the ring and uses each key that it finds; then the power is
/// cut. What the second process was given must be there.
fn kill_then_cut(volume: &Volume, known: &Known, random: &mut Random) -> Result<(), String> {
    let root = scratch();
    let simulated = SimulatedDisk::<()>::new(root.path(), volume.clone());
    simulated.materialize();
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let path = root.path().join(RING);
    let Ok(keys) = known.open(&disk, &path) else { return Ok(()) };
    known.judge(&keys)?;
    let mut known = known.clone();
    for subject in ["a", "b", "c", "d"] {
        if let Ok(key) = keys.current(subject) {
            known.learn(&Note::Key(key.id(), print(&key)));
        }
    }
    drop(keys);
    for left in [Left::Synced, Left::Some(50)] {
        open_and_judge(simulated.volume().cut(left, random), &known)?;
    }
    Ok(())
}

fn on(image: Volume) -> (Arc<dyn Disk>, tempfile::TempDir) {
    let root = scratch();
    let disk = SimulatedDisk::<()>::new(root.path(), image);
    disk.materialize();
    (Arc::new(disk), root)
}

#[test]
fn a_power_cut_at_any_step_leaves_each_key_that_was_returned_and_none_that_was_destroyed() {
    let (mut cuts, mut images) = (0, 0);
    for seed in first_seed()..first_seed() + rounds(2) {
        let random = &mut Random::new(seed);
        let recording = record(random);
        let (mut volume, mut known) = (Volume::new(), Known::default());
        for (n, step) in recording.iter().enumerate() {
            match step {
                Step::Note(note) => known.learn(note),
                Step::Op(op) => drop(volume.apply(op)),
            }
            cuts += 1;
            for left in [Left::Synced, Left::All, Left::Some(50)] {
                images += 1;
                let image = volume.cut(left, random);
                open_and_judge(image, &known).unwrap_or_else(|e| {
                    panic!("FILMSTRIP_SEED={seed}, cut after step {n}, left {left:?}: {e}")
                });
            }
            kill_then_cut(&volume, &known, random)
                .unwrap_or_else(|e| panic!("FILMSTRIP_SEED={seed}, killed after step {n}: {e}"));
        }
    }
    println!("figures: power cuts beneath a key ring: {cuts} cuts, {images} images");
    assert!(images > 300, "only {images} images");
}
