//! How a journal handles every kind of damage.

mod damage;
mod recovery;

use crate::codec::entry;
use crate::codec::frame::{self, ChainHasher, Kind, Location, Meaning};
use crate::journal::recover::{self, Opened};
use crate::journal::segment;
use crate::journal::write::End;
use crate::storage::disk::{Disk, RealDisk};
use crate::value::clock::Micros;
use crate::value::error::{ErrorKind, Result};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use uuid::Uuid;

const STORE: Uuid = Uuid::from_u128(0xf11);

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

fn open(directory: &Path) -> Result<Opened> {
    recover::open(disk(), directory, STORE)
}

fn new_journal() -> (TempDir, Opened) {
    let directory = tempfile::tempdir().unwrap();
    recover::create(&disk(), directory.path(), STORE).unwrap();
    let opened = open(directory.path()).unwrap();
    (directory, opened)
}

/// Writes a frame of `events` events whose payloads are `bytes` long.
fn write(opened: &mut Opened, events: u64, bytes: usize) -> Location {
    let end = opened.writer.end();
    let (first_position, time) = (end.position + 1, Micros(end.time.0.max(0) + 1));
    let mut chain = ChainHasher::new(&end.chain, Kind::Group, first_position, time, events as u32);
    let mut buffer = vec![0; frame::HEADER_BYTES];
    for n in 0..events {
        let version = first_position + n;
        // No flags and no extras; the rest may be anything.
        let mut envelope = vec![version as u8; bytes];
        for known in [16..18, 30..34] {
            envelope[known.start.min(bytes)..known.end.min(bytes)].fill(0);
        }
        let start = buffer.len();
        entry::begin_event("A-1", n == 0, |out| out.extend_from_slice(&envelope), &mut buffer);
        entry::seal_event(&mut buffer[start..], version);
        chain.event(b"A-1", version, &crate::codec::digest::digest(&envelope));
    }
    let chain = chain.finish();
    let meaning = Meaning { kind: Kind::Group, events: events as u32, first_position, time, chain };
    opened.writer.write(buffer, &meaning).expect("the disk works").at
}

/// Writes a frame of one event whose payload is `payload`.
fn write_payload(opened: &mut Opened, payload: &[u8]) -> Location {
    let end = opened.writer.end();
    let (first_position, time) = (end.position + 1, Micros(end.time.0.max(0) + 1));
    let (buffer, chain) = one_event(&end.chain, first_position, time, payload);
    let meaning = Meaning { kind: Kind::Group, events: 1, first_position, time, chain };
    opened.writer.write(buffer, &meaning).expect("the disk works").at
}

/// The bytes of a frame of one event, without a completed header, and the chain after it.
fn one_event(
    before: &frame::Chain,
    position: u64,
    time: Micros,
    payload: &[u8],
) -> (Vec<u8>, frame::Chain) {
    let envelope = [vec![0; 64], payload.to_vec()].concat();
    let mut buffer = vec![0; frame::HEADER_BYTES];
    entry::begin_event("A-1", true, |out| out.extend_from_slice(&envelope), &mut buffer);
    entry::seal_event(&mut buffer[frame::HEADER_BYTES..], position);
    let mut chain = ChainHasher::new(before, Kind::Group, position, time, 1);
    chain.event(b"A-1", position, &crate::codec::digest::digest(&envelope));
    (buffer, chain.finish())
}

/// The last positions of all frames that can be read.
fn positions(opened: &Opened) -> Result<Vec<u64>> {
    let frames = opened.journal.frames(opened.journal.start(), 1, opened.writer.end().next);
    frames.map(|item| item.map(|(_, frame)| frame.header.last_position())).collect()
}

fn segment_one(directory: &Path) -> std::path::PathBuf {
    segment::path(directory, 1)
}

/// A journal of three frames, the places where each begins, and the end of the last one.
fn small() -> (TempDir, Vec<u8>, Vec<u64>, End) {
    let (directory, mut opened) = new_journal();
    let places: Vec<u64> = [(1, 20), (3, 10), (2, 30)]
        .into_iter()
        .map(|(events, bytes)| write(&mut opened, events, bytes).offset)
        .collect();
    let end = opened.writer.end();
    drop(opened);
    let bytes = fs::read(segment_one(directory.path())).unwrap();
    (directory, bytes, places, end)
}

fn assert_corrupt(result: Result<Opened>, case: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{case}: opened as if nothing were wrong"));
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{case}: {error}");
    let damage = error.damage().unwrap_or_else(|| panic!("{case}: names no place"));
    assert!(damage.file.ends_with("00000000000000000001"), "{case}: {error}");
}

fn assert_prefix(result: Result<Opened>, last: u64, torn: bool, case: &str) {
    let opened = result.unwrap_or_else(|e| panic!("{case}: {e}"));
    let read = positions(&opened).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(read.last().copied(), Some(last), "{case}");
    assert_eq!(opened.torn.is_some(), torn, "{case}: {:?}", opened.torn);
}

/// The bytes of a header that claims to be at `at`.
fn forged_header(at: Location, first_position: u64) -> Vec<u8> {
    let meaning =
        Meaning { kind: Kind::Group, events: 1, first_position, time: Micros(9), chain: [7; 32] };
    let mut forged = vec![0; frame::HEADER_BYTES];
    frame::complete(&mut forged, &meaning, STORE, at);
    forged
}
