//! Bits rot, sectors are lost, doubled or exchanged, files are cut, or come back from an older time: each
//! kind of damage to each file of a store, its index's and its views' too.
//! `FILMSTRIP_ROUNDS=50 FILMSTRIP_SEED=7 cargo test --release --test it damage::rot` for more.

use crate::common::domain::{Counts, scratch};
use crate::common::{Random, seed_or, variable};
use crate::damage::{copy, copy_into};
use filmstrip::{ErrorKind, NewEvent, RecordedEvent, Store, Version};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use tempfile::TempDir;

const STREAMS: u64 = 12;
const VERSIONS: u64 = 110;
const SECTOR: usize = 512;
const PATIENCE: Duration = Duration::from_secs(120);

/// The event at a position, which says all that there is to say of it.
fn payload(position: u64) -> Vec<u8> {
    let mut payload = position.to_le_bytes().to_vec();
    payload.resize(700 + (position % 5) as usize * 100, position as u8);
    payload
}

fn stream_at(position: u64) -> (String, u64) {
    let n = position - 1;
    (format!("S-{}", n % STREAMS), n / STREAMS + 1)
}

fn write(store: &Store, positions: std::ops::RangeInclusive<u64>) {
    for position in positions {
        let (stream, version) = stream_at(position);
        let event = NewEvent::bytes("Written", payload(position));
        let done = store.append(stream.as_str(), Version::new(version - 1), [event]).unwrap();
        assert_eq!(done.position.get(), position);
    }
}

/// Whole stores: as they were half-way, after a clean close, and as a kill leaves one.
struct Samples {
    older: TempDir,
    closed: TempDir,
    killed: TempDir,
}

const EVENTS: u64 = STREAMS * VERSIONS;

fn samples() -> Samples {
    let directory = scratch();
    let write_some = |positions| {
        let store = Store::open(directory.path()).unwrap();
        let counts = store.project(Counts).start().unwrap();
        write(&store, positions);
        counts.wait_for(store.head(), PATIENCE).unwrap();
        counts.stop().unwrap();
        store
    };
    write_some(1..=EVENTS - EVENTS / 3).close().unwrap();
    let older = copy(directory.path());
    let store = write_some(EVENTS - EVENTS / 3 + 1..=EVENTS);
    let killed = copy(directory.path());
    store.close().unwrap();
    Samples { older, closed: copy(directory.path()), killed }
}

fn files(directory: &Path, below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = below.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), &name, found),
            false => found.push(name),
        }
    }
    found.sort();
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    ZeroSector,
    Truncate,
    SwapSectors,
    DoubleSector,
    Stale,
    Gone,
}

const DAMAGES: [Damage; 7] = [
    Damage::Flip,
    Damage::ZeroSector,
    Damage::Truncate,
    Damage::SwapSectors,
    Damage::DoubleSector,
    Damage::Stale,
    Damage::Gone,
];

/// Does `damage` to a file; what was done to which place, or `None` if it changes nothing.
fn inflict(damage: Damage, file: &Path, older: &Path, random: &mut Random) -> Option<String> {
    let before = fs::read(file).unwrap();
    let mut bytes = before.clone();
    // Most of a segment is zeros that stand for nothing.
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let sectors = used.div_ceil(SECTOR).min(bytes.len() / SECTOR) as u64;
    let mut sector = || random.below(sectors.max(1)) as usize * SECTOR;
    let (a, b) = (sector(), sector());
    match damage {
        Damage::Stale if !older.exists() => return None,
        Damage::Stale => bytes = fs::read(older).unwrap(),
        Damage::Gone => {
            fs::remove_file(file).unwrap();
            return Some("removed".to_owned());
        }
        _ if used == 0 => return None,
        Damage::Flip => {
            let at = random.below(used as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
            fs::write(file, bytes).unwrap();
            return Some(format!("byte {at} flipped"));
        }
        Damage::Truncate => bytes.truncate(random.below(used as u64) as usize),
        _ if sectors < 2 => return None,
        Damage::ZeroSector => bytes[a..a + SECTOR].fill(0),
        Damage::DoubleSector => bytes.copy_within(a..a + SECTOR, b),
        Damage::SwapSectors => {
            let first = bytes[a..a + SECTOR].to_vec();
            bytes.copy_within(b..b + SECTOR, a);
            bytes[b..b + SECTOR].copy_from_slice(&first);
        }
    }
    let changed = bytes != before;
    fs::write(file, &bytes).unwrap();
    changed.then(|| format!("sectors at {a} and {b}, {} bytes", bytes.len()))
}

fn is_right(event: &RecordedEvent) -> bool {
    let position = event.position.get();
    let place = (event.stream.as_str().to_owned(), event.version.get());
    place == stream_at(position) && event.payload == payload(position)
}

/// Whether the error names a place: nothing else excuses an answer.
fn is_named(error: &filmstrip::Error) -> bool {
    error.kind() == ErrorKind::Corrupt && error.damage().is_some()
}

/// What became of a damaged store.
#[derive(Debug, PartialEq)]
enum Outcome {
    Whole,
    /// Something is an error that names its place.
    Named,
    /// The last frame is gone, and opening the store has said so.
    LastFrameLost,
}

fn judge(directory: &Path) -> Result<Outcome, String> {
    let store = match Store::open(directory) {
        Err(error) if is_named(&error) => return Ok(Outcome::Named),
        opened => opened.map_err(|e| format!("open: {e}"))?,
    };
    let mut outcome = Outcome::Whole;
    let mut read = 0;
    for event in store.read_all().iter().map_err(|e| e.to_string())? {
        match event {
            Ok(event) if is_right(&event) && event.position.get() == read + 1 => read += 1,
            Ok(event) => return Err(format!("wrong: {event:?}")),
            Err(error) if is_named(&error) => outcome = Outcome::Named,
            Err(error) => return Err(format!("reading: {error}")),
        }
    }
    if outcome == Outcome::Whole && read < EVENTS {
        if read + 1 != EVENTS || !store.torn_write().is_some_and(|torn| torn.acknowledged) {
            return Err(format!("only {read} events, and nobody says why"));
        }
        outcome = Outcome::LastFrameLost;
    }
    judge_streams(&store, &mut outcome)?;
    if outcome != Outcome::Named {
        judge_view(&store, read)?;
    }
    Ok(outcome)
}

fn judge_streams(store: &Store, outcome: &mut Outcome) -> Result<(), String> {
    for n in 0..STREAMS {
        let stream = format!("S-{n}");
        match store.read_stream(&stream).collect() {
            Ok(events) => {
                let whole = events.len() as u64 == VERSIONS || *outcome == Outcome::LastFrameLost;
                if !whole || !events.iter().all(is_right) {
                    return Err(format!("{stream} has {} events", events.len()));
                }
            }
            Err(error) if is_named(&error) => *outcome = Outcome::Named,
            Err(error) => return Err(format!("reading {stream}: {error}")),
        }
    }
    Ok(())
}

/// The view holds each event once, those that come now too.
fn judge_view(store: &Store, read: u64) -> Result<(), String> {
    write(store, read + 1..=EVENTS + 3);
    let counts = match store.project(Counts).start() {
        Err(error) if is_named(&error) => return Ok(()),
        started => started.map_err(|e| format!("projecting: {e}"))?,
    };
    counts.wait_for(store.head(), PATIENCE).map_err(|e| format!("projecting: {e}"))?;
    let rows: Vec<(String, u64)> = counts.view().prefix("").map_err(|e| e.to_string())?;
    let total: u64 = rows.iter().map(|(_, count)| count).sum();
    match rows.len() as u64 == STREAMS && total == EVENTS + 3 {
        true => Ok(()),
        false => Err(format!("the view counts {total} events: {rows:?}")),
    }
}

/// Judges on a thread of its own, so that one that hangs is noticed.
fn judge_in_time(directory: &Path) -> Result<Outcome, String> {
    let (done, wait) = channel();
    let directory = directory.to_owned();
    let judge = std::thread::spawn(move || done.send(judge(&directory)));
    match wait.recv_timeout(PATIENCE) {
        Ok(judged) => judged,
        Err(RecvTimeoutError::Timeout) => Err("it hangs".to_owned()),
        Err(RecvTimeoutError::Disconnected) => {
            let panic = judge.join().expect_err("it sends, or panics");
            let message = panic.downcast_ref::<String>().cloned();
            Err(format!("it panicked: {}", message.unwrap_or_default()))
        }
    }
}

fn is_derived(file: &Path) -> bool {
    let derived = ["index", "index.checkpoint", "views", "lock", "journal/durable"];
    derived.iter().any(|name| file.starts_with(name))
}

#[test]
fn damage_to_any_file_is_healed_or_named_and_never_read() {
    let seed = seed_or(1);
    let mut random = Random(seed);
    let samples = samples();
    let mut inflicted = 0;
    let mut complaints = Vec::new();
    for round in 0..variable("FILMSTRIP_ROUNDS").unwrap_or(1) {
        for (name, sample) in [("closed", &samples.closed), ("killed", &samples.killed)] {
            let mut names = Vec::new();
            files(sample.path(), Path::new(""), &mut names);
            for file in names {
                for damage in DAMAGES {
                    let directory = copy(sample.path());
                    let older = samples.older.path().join(&file);
                    let at = directory.path().join(&file);
                    let Some(done) = inflict(damage, &at, &older, &mut random) else { continue };
                    inflicted += 1;
                    let judged = judge_in_time(directory.path());
                    let healed = judged == Ok(Outcome::Whole);
                    if judged.is_err() || (is_derived(&file) && !healed) {
                        let case = format!("round {round}, {name} {}: {damage:?}", file.display());
                        complaints.push(format!("{case}, {done}: {judged:?}"));
                    }
                }
            }
        }
    }
    println!("figures: bit rot: {inflicted} files damaged");
    assert!(complaints.is_empty(), "FILMSTRIP_SEED={seed}\n{}", complaints.join("\n"));
}

#[test]
fn a_store_of_which_every_derived_file_is_older_is_brought_up() {
    let samples = samples();
    let directory = copy(samples.closed.path());
    for name in ["index", "index.checkpoint", "views"] {
        let (from, to) = (samples.older.path().join(name), directory.path().join(name));
        match from.is_dir() {
            true => {
                fs::remove_dir_all(&to).unwrap();
                copy_into(&from, &to);
            }
            false => drop(fs::copy(from, to).unwrap()),
        }
    }
    assert_eq!(judge_in_time(directory.path()), Ok(Outcome::Whole));
}

/// A view that had taken in the last frame kept its place when the disk then lost that frame, although it
/// had been acknowledged. Opening the store told of the loss and gave the positions out again, so that
/// the view passed over other events and counted one that was gone.
#[test]
fn a_view_follows_what_stands_in_the_place_of_a_lost_acknowledged_frame() {
    let samples = samples();
    let directory = copy(samples.killed.path());
    // A view that had come to the end, and was on disk.
    fs::remove_dir_all(directory.path().join("views")).unwrap();
    copy_into(&samples.closed.path().join("views"), &directory.path().join("views"));
    let segment = directory.path().join("journal/00000000000000000002");
    let mut bytes = fs::read(&segment).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last - 20] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert!(store.torn_write().is_some_and(|torn| torn.acknowledged), "{:?}", store.torn_write());
    let other = NewEvent::bytes("Written", "x");
    let done = store.append("Other-1", Version::new(0), [other]).unwrap();
    assert_eq!(done.position.get(), EVENTS, "the lost event's position");
    let counts = store.project(Counts).start().unwrap();
    counts.wait_for(done.position, PATIENCE).unwrap();
    let count = |stream: &str| counts.view().get::<u64>(stream).unwrap();
    let (lost, _) = stream_at(EVENTS);
    assert_eq!(count("Other-1"), Some(1), "the view has passed over an event");
    assert_eq!(count(&lost), Some(VERSIONS - 1), "the view counts an event that is gone");
}
