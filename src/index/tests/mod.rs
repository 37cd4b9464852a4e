//! The index against a plain model, across crashes, power cuts and damage.

mod crash;
mod damage;
mod model;
mod pace;
mod tables;
mod tags;
mod trees;
mod views;

use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::{EntryLocation, Location};
use crate::codec::sparse_index::SparseEntry;
use crate::codec::sst::event::{Body, LocatedEvent};
use crate::index::core::{Index, Opened};
use crate::index::flush_batch::{EventToIndex, FlushBatch};
use crate::storage::disk::{Disk, RealDisk};
use crate::value::clock::Micros;
use crate::value::error::{ErrorKind, Result};
use crate::value::random::Random;
use crate::value::stream::StreamId;
use bytes::Bytes;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

pub(crate) const STORE: Uuid = Uuid::from_u128(0xabcd);
pub(crate) const CACHE_BYTES: u64 = 1 << 20;

/// The content of the journal, and so the content that the index must have.
#[derive(Default)]
pub(crate) struct Truth {
    /// In the order of their positions, from 1.
    events: Vec<EventToIndex>,
    /// The positions of each stream's events.
    streams: BTreeMap<String, Vec<u64>>,
    /// The position after which a record was written, its key and its value.
    records: Vec<(u64, String, Vec<u8>)>,
    /// Answers that a damaged index refused to give.
    refused: Cell<u64>,
}

impl Truth {
    /// Appends an event with a body of `bytes` to the journal.
    fn append(&mut self, stream: &str, bytes: usize) {
        let position = self.events.len() as u64 + 1;
        let positions = self.streams.entry(stream.to_owned()).or_default();
        positions.push(position);
        let version = positions.len() as u64;
        let mut envelope = format!("{stream} {version} ").into_bytes();
        let mut noise = blake3::Hasher::new().update(&envelope).finalize_xof();
        let begin = envelope.len();
        envelope.resize(begin + bytes, 0);
        // If all events were alike, wrong bounds of a key run would go unnoticed.
        noise.fill(&mut envelope[begin..]);
        self.events.push(EventToIndex {
            stream: StreamId::new(stream).unwrap(),
            version,
            position,
            recorded_at: Micros(1_000 + position as i64),
            location: EntryLocation { segment: 1, offset: position as u32, length: 77 },
            envelope: envelope.into(),
        });
    }

    pub(crate) fn append_random(&mut self, random: &mut Random, events: u64, streams: u64) {
        for _ in 0..events {
            let stream = format!("S-{}", random.below(streams));
            let bytes = match random.below(20) {
                0 => 3_000 + random.below(3_000),
                1 => 0,
                _ => random.below(400),
            };
            self.append(&stream, bytes as usize);
            if random.below(10) == 0 {
                let key = format!("group/{}", random.below(8));
                let bytes = [0, 5, 100, 4_096, 10_000][random.below(5) as usize];
                let value = vec![self.events.len() as u8; bytes];
                self.records.push((self.events.len() as u64, key, value));
            }
        }
    }

    /// The stretch after `from`, up to and including `to`.
    pub(crate) fn batch(&self, from: u64, to: u64) -> FlushBatch {
        let mut records = BTreeMap::new();
        for (after, key, value) in &self.records {
            if *after > from && *after <= to {
                records.insert(key.clone(), value.clone());
            }
        }
        let events = self.events[from as usize..to as usize].to_vec();
        let sparse_entries =
            events.iter().filter(|event| event.position % 7 == 1).map(sparse_entry_of).collect();
        FlushBatch { events, sparse_entries, records: records.into_iter().collect(), end: end(to) }
    }

    /// The values of all record keys as of `position`.
    fn records_at(&self, position: u64) -> BTreeMap<String, Vec<u8>> {
        let written = self.records.iter().filter(|(after, ..)| *after <= position);
        let mut records: BTreeMap<_, _> =
            written.map(|(_, key, value)| (key.clone(), value.clone())).collect();
        records.retain(|_, value| !value.is_empty());
        records
    }

    fn version_at(&self, stream: &str, position: u64) -> u64 {
        self.streams[stream].partition_point(|at| *at <= position) as u64
    }

    fn event(&self, stream: &str, version: u64) -> &EventToIndex {
        &self.events[self.streams[stream][version as usize - 1] as usize - 1]
    }

    /// Checks that the index agrees with the journal on every stream: at least up to `position`, at most up to
    /// `newest`. With `may_refuse`, the index may answer `Corrupt` instead.
    pub(crate) fn check(&self, index: &Index, position: u64, newest: u64, may_refuse: bool) {
        for stream in self.streams.keys() {
            let id = StreamId::new(stream).unwrap();
            let least = self.version_at(stream, position);
            let most = self.version_at(stream, newest);
            let Some(state) = self.answer(index.stream_state(&id), may_refuse) else { continue };
            let version = state.map_or(0, |state| state.version.get());
            assert!((least..=most).contains(&version), "{stream}: {least} {version} {most}");
            if let Some(state) = state {
                assert_eq!(state.created, self.event(stream, 1).recorded_at);
                assert_eq!(state.written, self.event(stream, version).recorded_at);
            }
            for wanted in 1..=version {
                let Some(run) = self.answer(index.run_holding(&id, wanted), may_refuse) else {
                    continue;
                };
                self.check_run(stream, wanted, version, &run);
                if wanted % 5 != 1 {
                    continue;
                }
                let limit = (wanted % 40) as usize;
                let page = index.events_from(&id, wanted, limit);
                let Some(page) = self.answer(page, may_refuse) else { continue };
                self.check_run(stream, wanted, version, &page);
                let reached = page[page.len() - 1].version;
                assert!(reached == version || page.len() >= limit.max(1), "{wanted}: {reached}");
            }
            let beyond = self.answer(index.run_holding(&id, version + 1), may_refuse);
            assert_eq!(beyond.unwrap_or_default(), []);
        }
        self.check_marks(index, position, newest, may_refuse);
    }

    /// The answer; `None` if it is `Corrupt` and `may_refuse` is set.
    fn answer<T>(&self, answer: Result<T>, may_refuse: bool) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(e) if may_refuse && e.kind() == ErrorKind::Corrupt => {
                self.refused.set(self.refused.get() + 1);
                None
            }
            Err(e) => panic!("{e}"),
        }
    }

    fn check_run(&self, stream: &str, wanted: u64, version: u64, run: &[LocatedEvent]) {
        let (first, last) = (run[0].version, run[run.len() - 1].version);
        assert!(first <= wanted && wanted <= last && last <= version, "{first} {wanted} {last}");
        for (expected, event) in (first..).zip(run) {
            let truth = self.event(stream, event.version);
            assert_eq!((event.version, event.position), (expected, truth.position));
            assert_eq!(event.recorded_at, truth.recorded_at);
            match &event.body {
                Body::Inline(envelope) => assert_eq!(*envelope, truth.envelope),
                Body::At(location) => assert_eq!(*location, truth.location),
            }
        }
    }

    fn check_marks(&self, index: &Index, position: u64, newest: u64, may_refuse: bool) {
        for wanted in 0..=position {
            let Some(sparse_entry) =
                self.answer(index.sparse_entry_at_or_before(wanted), may_refuse)
            else {
                continue;
            };
            let truth = self.events[..wanted as usize].iter().rev();
            let truth =
                truth.map(sparse_entry_of).find(|sparse_entry| sparse_entry.position % 7 == 1);
            // Damage may lose a sparse index entry, which only costs time.
            let lost = may_refuse
                && sparse_entry.map(|sparse_entry| sparse_entry.position)
                    < truth.map(|m| m.position);
            assert!(sparse_entry == truth || lost, "{wanted}: {sparse_entry:?} {truth:?} {newest}");
        }
    }

    /// Checks that every record has its value as of `position`, or a later one up to `newest`.
    pub(crate) fn check_records(&self, index: &Index, position: u64, newest: u64) {
        let records: BTreeMap<_, _> = index.records_with_prefix("").unwrap().into_iter().collect();
        let allowed: Vec<_> = (position..=newest).map(|at| self.records_at(at)).collect();
        for key in (0..8).map(|n| format!("group/{n}")) {
            let value = records.get(&key);
            // While a flush batch replaces a value there may be none: the tail answers for what the checkpoint does
            // not cover.
            let is_replaced = self.records.iter().any(|(after, replaced, _)| {
                *replaced == key && (position + 1..=newest).contains(after)
            });
            let is_right = allowed.iter().any(|at| at.get(&key) == value);
            assert!(is_right || (value.is_none() && is_replaced), "{key} at {position}");
            assert_eq!(index.record(&key).unwrap().as_ref(), value);
        }
    }
}

fn sparse_entry_of(event: &EventToIndex) -> SparseEntry {
    let location = Location { segment: 2, offset: 8 * event.position };
    SparseEntry { position: event.position, time: event.recorded_at, location }
}

fn end(position: u64) -> Checkpoint {
    let next = Location { segment: 1, offset: 8 * position };
    Checkpoint { position, next, chain: [position as u8; 32], time: Micros(position as i64) }
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

fn open(dir: &Path) -> (Index, Opened) {
    Index::open(&disk(), dir, STORE, CACHE_BYTES).unwrap()
}

/// Opens an index that must be whole.
fn open_whole(dir: &Path) -> (Index, Checkpoint) {
    match open(dir) {
        (index, Opened::Whole(checkpoint)) => (index, checkpoint),
        (_, Opened::Fresh { reason }) => panic!("the index was not whole: {reason:?}"),
    }
}

/// A copy of all files as the operating system has them now.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn bytes(length: usize, of: u8) -> Bytes {
    vec![of; length].into()
}
