//! What the tests of whole stores share: a store that has some of everything, copies of it, damage.

use filmstrip::{
    Aggregate, Commit, Event, ExpectedVersion, Filter, HandlerError, Metadata, NewEvent, Position,
    Projection, RecordedEvent, Snapshot, Store, ViewWriter,
};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Counted {
    Added(u64),
}
impl Event for Counted {}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Counter {
    sum: u64,
}

impl Counter {
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }
}

impl Aggregate for Counter {
    const CATEGORY: &'static str = "Counter";
    type Command = u64;
    type Event = Counted;
    type Error = std::io::Error;
    fn decide(&self, command: &u64) -> Result<Vec<Counted>, std::io::Error> {
        Ok(vec![Counted::Added(*command)])
    }
    fn evolve(&mut self, Counted::Added(amount): &Counted) {
        self.sum += amount;
    }
}

impl Snapshot for Counter {
    const SCHEMA: u32 = 1;
}

/// A view of how many events each category has.
pub(crate) struct Tally;

impl Projection for Tally {
    const NAME: &'static str = "tally";
    const VERSION: u32 = 1;
    fn filter(&self) -> Filter {
        Filter::all()
    }
    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let key = event.stream.category().to_owned();
        let count: u64 = view.get(&key)?.unwrap_or(0);
        view.put(&key, &(count + 1))?;
        Ok(())
    }
}

/// Appends some of everything: several streams, both formats, metadata, a large event, a commit over
/// two streams, a tracked position.
pub(crate) fn write_some(store: &Store, rounds: std::ops::Range<u64>, payload: usize) {
    for round in rounds {
        for n in 0..7 {
            let bytes = vec![(round * 7 + n) as u8 | 1; payload + (n as usize) * 31];
            let event = NewEvent::bytes("Written", bytes)
                .metadata(Metadata::default().user("alice").entry("round", round.to_string()));
            store.append(format!("Stream-{n}"), ExpectedVersion::Any, [event]).unwrap();
        }
        let large = NewEvent::bytes("Large", vec![7; 9_000]);
        let commit = Commit::new()
            .append("Left-1", ExpectedVersion::Any, [NewEvent::json("Moved", &round).unwrap()])
            .append("Right-1", ExpectedVersion::Any, [large])
            .tracking("importer", Position::new(store.tracked("importer").unwrap().get() + 1));
        store.commit(commit).unwrap();
    }
}

/// A closed store with sealed segments, an index that holds most of it, a view and snapshots.
pub(crate) fn sample(directory: &Path) {
    let store = Store::open(directory).unwrap();
    let counters = store.repository::<Counter>();
    write_some(&store, 0..40, 3_000);
    for _ in 0..3 {
        counters.execute("1", &5).unwrap();
        counters.snapshot("1").unwrap();
    }
    let view = store.project(Tally).start().unwrap();
    write_some(&store, 40..60, 6_000);
    view.wait_for(store.head(), PATIENCE).unwrap();
    view.stop().unwrap();
    store.close().unwrap();
}

/// All files below `directory`, in order, as paths relative to it.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    fn collect(directory: &Path, below: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory.join(below)).unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => collect(directory, &path, files),
                false => files.push(path),
            }
        }
    }
    let mut found = Vec::new();
    collect(directory, Path::new(""), &mut found);
    found.sort();
    found
}

pub(crate) fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

pub(crate) fn copy_into(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(&file), target).unwrap();
    }
}

/// Changes one byte of a file; a second time, it is as before.
pub(crate) fn flip(file: &Path, at: u64, mask: u8) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ mask], at).unwrap();
}

/// Everything that a reader of the log sees.
pub(crate) fn all(store: &Store) -> Vec<RecordedEvent> {
    store.read_all().collect().unwrap()
}

/// What all files hold, to see that nothing was changed.
pub(crate) fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files(directory).into_iter();
    files.map(|file| (file.clone(), fs::read(directory.join(&file)).unwrap())).collect()
}
