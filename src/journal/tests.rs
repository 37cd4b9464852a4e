//! How a journal handles every kind of damage.

use super::lenient_scan::{LenientScan, Step, Until};
use super::recover::{self, Opened};
use super::segment;
use super::watermark;
use super::write::End;
use crate::codec::frame::{self, ChainHasher, Kind, Location, Meaning};
use crate::codec::{entry, envelope};
use crate::storage::disk::{Disk, RealDisk};
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::{Metadata, NewEvent};
use crate::value::finding::FindingKind;
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

#[test]
fn frames_come_back_in_order_across_segments_and_reopening() {
    let (directory, mut opened) = new_journal();
    let mut expected = Vec::new();
    for n in 1..=40 {
        write(&mut opened, 1 + n % 3, 100_000);
        expected.push(opened.writer.end().position);
    }
    assert!(opened.writer.end().next.segment >= 3, "{:?}", opened.writer.end());
    assert_eq!(positions(&opened).unwrap(), expected);
    let end = opened.writer.end();
    drop(opened);
    let opened = open(directory.path()).unwrap();
    assert_eq!(opened.writer.end(), end);
    assert_eq!(positions(&opened).unwrap(), expected);
    assert_eq!(opened.torn, None);
}

#[test]
fn a_frame_larger_than_a_segment_has_its_own() {
    let (directory, mut opened) = new_journal();
    write(&mut opened, 1, 10);
    let large = write(&mut opened, 1, 9 << 20);
    assert_eq!(large, Location { segment: 2, offset: segment::HEADER_BYTES });
    let after = write(&mut opened, 1, 10);
    assert_eq!(after.segment, 3);
    drop(opened);
    let opened = open(directory.path()).unwrap();
    assert_eq!(positions(&opened).unwrap(), [1, 2, 3]);
}

#[test]
fn a_closing_frame_is_written_once_and_read_over() {
    let (directory, mut opened) = new_journal();
    write(&mut opened, 2, 10);
    opened.writer.close().map_err(|e| format!("{e:?}")).unwrap();
    let end = opened.writer.end();
    opened.writer.close().map_err(|e| format!("{e:?}")).unwrap();
    assert_eq!(opened.writer.end(), end, "a second closing frame was written");
    drop(opened);
    let mut opened = open(directory.path()).unwrap();
    assert_eq!(opened.writer.end(), end);
    opened.writer.close().map_err(|e| format!("{e:?}")).unwrap();
    assert_eq!(opened.writer.end(), end, "an unused opening wrote a closing frame");
    write(&mut opened, 1, 10);
    assert_eq!(positions(&opened).unwrap(), [2, 2, 3]);
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

#[test]
fn every_flipped_byte_before_the_last_frame_is_corrupt_and_in_it_leaves_the_prefix() {
    let (directory, bytes, places, end) = small();
    let path = segment_one(directory.path());
    let watermark = fs::read(directory.path().join("durable")).unwrap();
    let header = (0..104).chain([700, 4_095]);
    let frames = places[0]..end.next.offset;
    let behind = end.next.offset..end.next.offset + 16;
    for at in header.chain(frames).chain(behind) {
        let mut flipped = bytes.clone();
        flipped[at as usize] ^= 1 << (at % 8);
        fs::write(&path, &flipped).unwrap();
        fs::write(directory.path().join("durable"), &watermark).unwrap();
        let case = format!("byte {at}");
        let result = open(directory.path());
        if at < places[2] {
            assert_corrupt(result, &case);
            assert_eq!(fs::read(&path).unwrap(), flipped, "{case}: the evidence was changed");
        } else if at < end.next.offset {
            assert_prefix(result, 4, true, &case);
        } else {
            assert_prefix(result, 6, true, &case);
        }
    }
}

#[test]
fn every_truncation_before_the_last_frame_is_corrupt_and_in_it_leaves_the_prefix() {
    let (directory, bytes, places, end) = small();
    let path = segment_one(directory.path());
    let watermark = fs::read(directory.path().join("durable")).unwrap();
    let lengths = (0..4_096).step_by(293).chain(4_096..end.next.offset + 9);
    for length in lengths.chain([bytes.len() as u64 - 1]) {
        fs::write(&path, &bytes[..length as usize]).unwrap();
        fs::write(directory.path().join("durable"), &watermark).unwrap();
        let case = format!("cut to {length} bytes");
        let result = open(directory.path());
        if length <= places[2] {
            assert_corrupt(result, &case);
        } else if length < end.next.offset {
            // Cut in the last frame's padding, it may be whole.
            let opened = result.unwrap_or_else(|e| panic!("{case}: {e}"));
            let read = positions(&opened).unwrap();
            assert!(read == [1, 4] || read == [1, 4, 6], "{case}: {read:?}");
        } else {
            assert_prefix(result, 6, false, &case);
            assert_eq!(fs::metadata(&path).unwrap().len(), bytes.len() as u64, "{case}");
        }
    }
}

/// The search for a frame after the damage omitted the last place in a segment where one can begin. A closing frame
/// at that place was not found: without a watermark, the damaged frame before it was taken for a torn write and
/// cleared.
#[test]
fn damage_before_a_closing_frame_at_the_very_end_of_a_segment_is_corrupt() {
    let (directory, mut opened) = new_journal();
    let path = segment_one(directory.path());
    write(&mut opened, 1, 10);
    let room = segment::usual_length(1) - opened.writer.end().next.offset;
    let around = 2 * frame::HEADER_BYTES + 22;
    let last = write(&mut opened, 1, room as usize - around);
    opened.writer.close().map_err(|e| format!("{e:?}")).unwrap();
    assert_eq!(opened.writer.end().next.offset, segment::usual_length(1), "it just fits");
    drop(opened);
    fs::remove_file(directory.path().join("durable")).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[last.offset as usize + 200] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_corrupt(open(directory.path()), "a frame that others follow");
}

#[test]
fn a_cut_segment_without_a_mark_is_corrupt() {
    let (directory, bytes, _, end) = small();
    fs::remove_file(directory.path().join("durable")).unwrap();
    fs::write(segment_one(directory.path()), &bytes[..end.next.offset as usize]).unwrap();
    assert_corrupt(open(directory.path()), "cut after the last frame, without a watermark");
}

#[test]
fn a_missing_mark_or_segment_is_healed_or_named() {
    let (directory, mut opened) = new_journal();
    for _ in 0..40 {
        write(&mut opened, 1, 100_000);
    }
    assert!(opened.writer.end().next.segment >= 3);
    drop(opened);
    fs::remove_file(directory.path().join("durable")).unwrap();
    let opened = open(directory.path()).unwrap();
    assert_eq!(positions(&opened).unwrap().len(), 40);
    drop(opened);
    // Only a later segment or the watermark, which is whole again, shows that one is missing.
    for number in [1, 2, 3] {
        let path = segment::path(directory.path(), number);
        let kept = directory.path().join("kept");
        fs::rename(&path, &kept).unwrap();
        let error = open(directory.path()).err().expect("a segment is missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(error.damage().unwrap().file, path, "{error}");
        fs::rename(&kept, &path).unwrap();
    }
}

#[test]
fn a_torn_write_is_kept_aside_and_its_place_is_used_again() {
    let (directory, bytes, places, end) = small();
    let path = segment_one(directory.path());
    let mut torn = bytes;
    let (start, stop) = (places[2] as usize + 60, end.next.offset as usize);
    torn[start..stop].fill(0);
    fs::write(&path, &torn).unwrap();
    let mut opened = open(directory.path()).unwrap();
    let kept = opened.torn.clone().expect("the torn write is reported");
    assert_eq!((&kept.file, kept.offset), (&path, places[2]));
    assert!(kept.acknowledged, "the watermark knew of it");
    let copy = fs::read(&kept.copy).unwrap();
    let written = torn.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert_eq!(copy, torn[places[2] as usize..written]);
    assert!(kept.copy.file_name().unwrap().to_str().unwrap().starts_with("torn-"));
    assert_eq!(write(&mut opened, 1, 5).offset, places[2]);
    drop(opened);
    let opened = open(directory.path()).unwrap();
    assert_eq!(opened.torn, None, "a torn write is reported once");
    assert_eq!(positions(&opened).unwrap(), [1, 4, 5]);
}

/// The last acknowledged frame read as zeros, or was cut off, and the watermark named it. The store opened without a
/// report and assigned the lost position again, and views kept the lost event. Only frames *after* the one that the
/// watermark names were found missing.
#[test]
fn a_last_durable_frame_that_is_gone_without_a_trace_is_corrupt() {
    let (directory, bytes, places, end) = small();
    let path = segment_one(directory.path());
    let last = *places.last().unwrap() as usize;
    let mut zeroed = bytes.clone();
    zeroed[last..end.next.offset as usize].fill(0);
    for (case, damaged) in [("zeroed", &zeroed[..]), ("cut off", &bytes[..last])] {
        fs::write(&path, damaged).unwrap();
        let error = open(directory.path()).err().expect(case);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{case}: {error}");
        let damage = error.damage().unwrap();
        assert_eq!((damage.offset, damage.position), (last as u64, Some(end.position - 1)));
        assert_eq!(fs::read(&path).unwrap(), damaged, "{case}: something was changed");
    }
    // One byte of it is enough to save and report.
    zeroed[last] = 1;
    fs::write(&path, &zeroed).unwrap();
    assert!(open(directory.path()).unwrap().torn.unwrap().acknowledged);
}

/// What a later version may write into a journal of format 1: what it is, the frame's kind, and its body.
fn newer_forms() -> Vec<(&'static str, Kind, Vec<u8>)> {
    let event = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut body = Vec::new();
        let write = |out: &mut Vec<u8>| {
            let mut bytes = Vec::new();
            let user = Metadata::default().user("me");
            let event = NewEvent::bytes("T", "x").metadata(user);
            envelope::encode(&event, &mut bytes);
            change(&mut bytes);
            out.extend_from_slice(&bytes);
        };
        entry::begin_event("A-1", true, write, &mut body);
        entry::seal_event(&mut body, 1);
        body
    };
    // The extras end with the tags and the key, here no tag and no key. A tag takes one more byte and its text.
    let extras_end = |bytes: &[u8]| bytes.len() - 1;
    let lengthen = |bytes: &mut Vec<u8>, by: u32| {
        let length = u32::from_le_bytes(bytes[30..34].try_into().unwrap()) + by;
        bytes[30..34].copy_from_slice(&length.to_le_bytes());
    };
    let mut unknown_entry = Vec::new();
    entry::put_record(b"anything", true, &mut unknown_entry);
    unknown_entry[0] = 0x80 | 3;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&unknown_entry[..5]), &unknown_entry[9..]);
    unknown_entry[5..9].copy_from_slice(&crc.to_le_bytes());
    let mut unknown_record = Vec::new();
    entry::put_record(&[2, 1, 2, 3], true, &mut unknown_record);
    vec![
        ("a frame of kind 3", Kind::Newer(3), event(&|_| {})),
        ("an entry of kind 3", Kind::Group, unknown_entry),
        ("a record of kind 2", Kind::Group, unknown_record),
        ("an event with flags 0x0002", Kind::Group, event(&|bytes| bytes[16] |= 2)),
        ("an event with flags 0x8000", Kind::Group, event(&|bytes| bytes[17] |= 0x80)),
        (
            "an event with tags",
            Kind::Group,
            event(&|bytes| {
                let end = extras_end(bytes);
                bytes.splice(end - 2..end - 1, [1, 1, b't']);
                lengthen(bytes, 2);
            }),
        ),
        (
            "an event with an encryption key",
            Kind::Group,
            event(&|bytes| {
                let end = extras_end(bytes);
                bytes.splice(end - 1..end, [1].into_iter().chain([7; 16]));
                lengthen(bytes, 16);
            }),
        ),
    ]
}

/// A whole last frame of an unknown kind was taken for a torn write and zeroed; tags and keys of an event were
/// silently dropped. Everything that reads a journal must refuse a newer version's forms by name, and not change a
/// byte.
#[test]
fn what_a_newer_version_wrote_is_refused_and_nothing_is_changed() {
    for (form, kind, body) in newer_forms() {
        let (directory, bytes, _, end) = small();
        let path = segment_one(directory.path());
        let events = u32::from(!form.contains("entry") && !form.contains("record"));
        let mut buffer = vec![0; frame::HEADER_BYTES];
        buffer.extend_from_slice(&body);
        let meaning = frame::Meaning {
            kind,
            events,
            first_position: end.position + 1,
            time: end.time,
            chain: [9; 32],
        };
        frame::complete(&mut buffer, &meaning, STORE, end.next);
        let mut newer = bytes.clone();
        newer[end.next.offset as usize..][..buffer.len()].copy_from_slice(&buffer);
        fs::write(&path, &newer).unwrap();
        let refused = |error: Error, by: &str| {
            assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{form}, {by}: {error}");
            let message = error.to_string();
            let place = format!("byte {}, position {}", end.next.offset, end.position + 1);
            assert!(message.contains(form) && message.contains(&place), "{form}, {by}: {error}");
            assert_eq!(fs::read(&path).unwrap(), newer, "{form}, {by}: something was changed");
        };
        refused(open(directory.path()).err().expect(form), "opening");
        let mut scan = LenientScan::new(disk(), directory.path(), STORE, Until::End(None)).unwrap();
        let met = loop {
            match scan.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{form}: the scan has not met it"),
                Err(error) => break error,
            }
        };
        refused(met, "verifying");
        // Only the newer version may clear it away, even if it is torn.
        if kind == Kind::Newer(3) {
            newer[end.next.offset as usize + buffer.len() - 9] ^= 1;
            fs::write(&path, &newer).unwrap();
            assert!(open(directory.path()).is_err());
            assert_eq!(fs::read(&path).unwrap(), newer);
        }
    }
}

#[test]
fn a_frame_hidden_in_a_payload_deceives_nobody() {
    let (directory, mut opened) = new_journal();
    write(&mut opened, 1, 10);
    let end = opened.writer.end();
    drop(opened);
    let path = segment_one(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    // A torn frame whose payload is a copy of the first frame, with its true header.
    let first = bytes[4_096..end.next.offset as usize].to_vec();
    let at = end.next.offset as usize;
    bytes[at..at + 8].copy_from_slice(b"FSFR\x01\0\0\0");
    bytes[at + 104..at + 104 + first.len()].copy_from_slice(&first);
    fs::write(&path, &bytes).unwrap();
    assert_prefix(open(directory.path()), 1, true, "a hidden frame");
}

#[test]
fn frames_of_another_store_or_place_are_corrupt() {
    let (directory, bytes, places, end) = small();
    let path = segment_one(directory.path());
    // The second frame once more after the last: whole, but it names another offset.
    let mut copied = bytes.clone();
    let second = bytes[places[1] as usize..places[2] as usize].to_vec();
    let at = end.next.offset as usize;
    copied[at..at + second.len()].copy_from_slice(&second);
    fs::write(&path, &copied).unwrap();
    assert_prefix(open(directory.path()), 6, true, "a copied frame");
    // The last two frames swapped with zeros between: the first place names the wrong offset.
    let mut swapped = bytes;
    swapped.copy_within(places[2] as usize..at, places[1] as usize);
    fs::write(&path, &swapped).unwrap();
    assert!(open(directory.path()).is_err(), "a moved frame was accepted");
    let error = recover::open(disk(), directory.path(), Uuid::from_u128(1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn damage_in_a_sealed_segment_is_found_by_whoever_reads_it() {
    let (directory, mut opened) = new_journal();
    let mut places = Vec::new();
    for _ in 0..40 {
        places.push(write(&mut opened, 1, 100_000));
    }
    drop(opened);
    let path = segment_one(directory.path());
    let bytes = fs::read(&path).unwrap();
    for (name, damage) in [("flipped", 1), ("zeroed", 0)] {
        let mut damaged = bytes.clone();
        let at = places[4].offset as usize;
        if damage == 0 {
            damaged[at..].fill(0);
        } else {
            damaged[at + 500] ^= 1;
        }
        fs::write(&path, &damaged).unwrap();
        let opened = open(directory.path()).unwrap();
        let error = positions(&opened).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        assert_eq!(error.damage().unwrap().offset, places[4].offset, "{name}: {error}");
        assert_eq!(error.damage().unwrap().position, Some(5), "{name}: {error}");
    }
}

/// Found by a fuzzer that corrects checksums: verifying remembered each missing number, so a file with the name of
/// a segment far ahead, or such a watermark, took all memory.
#[test]
fn a_segment_named_far_ahead_is_one_finding_and_takes_no_memory() {
    let (directory, mut opened) = new_journal();
    write(&mut opened, 1, 10);
    drop(opened);
    fs::copy(segment_one(directory.path()), directory.path().join("18446744073709551614")).unwrap();
    let mut scan = LenientScan::new(disk(), directory.path(), STORE, Until::End(None)).unwrap();
    let mut found = Vec::new();
    while let Some(step) = scan.next().unwrap() {
        if let Step::Wrong(finding) = step {
            found.push(finding.kind);
        }
    }
    let missing = found.iter().filter(|kind| **kind == FindingKind::SegmentMissing).count();
    assert_eq!(missing, 1, "{found:?}");
    let error = open(directory.path()).err().expect("a segment is missing");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

/// Found by a fuzzer that corrects checksums: a journal whose first segment claims to continue another one was
/// opened, and then each read of it was refused.
#[test]
fn a_first_segment_that_does_not_begin_the_journal_is_refused_when_it_is_opened() {
    let (directory, opened) = new_journal();
    drop(opened);
    let path = segment_one(directory.path());
    let bytes = fs::read(&path).unwrap();
    let header = segment::SegmentHeader::decode(&bytes).unwrap();
    let forged = [
        segment::SegmentHeader { first_position: 2, ..header.clone() },
        segment::SegmentHeader { chain: [1; 32], ..header },
    ];
    for header in forged {
        let page = header.encode();
        fs::write(&path, [&page, &bytes[page.len()..]].concat()).unwrap();
        assert_corrupt(open(directory.path()), &format!("{header:?}"));
    }
}

/// The next segment was prepared as soon as this one held 4 MiB, no matter which process had written them. So a
/// program that opened a store, appended an event and closed it again wrote 64 MiB of zeros each time, and
/// waited for them.
#[test]
fn who_writes_a_little_into_a_long_segment_does_not_wait_for_the_next_one() {
    let (directory, mut opened) = new_journal();
    while opened.writer.end().next < (Location { segment: 5, offset: 5 << 20 }) {
        write(&mut opened, 1, 1_000_000);
    }
    drop(opened);
    let faults = Arc::new(Faults::default());
    let disk = FaultyDisk(Arc::clone(&faults));
    let mut opened = recover::open(Arc::new(disk), directory.path(), STORE).unwrap();
    let before = faults.operations();
    write(&mut opened, 1, 100);
    opened.writer.end_preparing();
    // The frame's write and sync, and the watermark.
    assert_eq!(faults.operations() - before, 3);
}

/// The bytes of a header that claims to be at `at`.
fn forged_header(at: Location, first_position: u64) -> Vec<u8> {
    let meaning =
        Meaning { kind: Kind::Group, events: 1, first_position, time: Micros(9), chain: [7; 32] };
    let mut forged = vec![0; frame::HEADER_BYTES];
    frame::complete(&mut forged, &meaning, STORE, at);
    forged
}

/// A payload held a frame's header for the exact place where the payload was stored. When a crash cut that write
/// short, it looked like damage before the last frame, and the store did not open. Bytes within the length of a torn
/// frame are never a frame. Without a header that gives the length, nothing is cleared.
#[test]
fn a_header_within_a_torn_frame_is_no_frame() {
    let (directory, mut opened) = new_journal();
    write(&mut opened, 1, 100);
    let torn = write(&mut opened, 1, 4_000);
    drop(opened);
    let path = segment_one(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    let at = Location { offset: torn.offset + 800, ..torn };
    let forged = forged_header(at, 3);
    bytes[at.offset as usize..][..forged.len()].copy_from_slice(&forged);
    fs::write(&path, &bytes).unwrap();
    // After a power loss the watermark is older, or gone.
    let watermark = directory.path().join("durable");
    fs::remove_file(&watermark).unwrap();
    let opened = open(directory.path()).unwrap();
    assert_eq!(
        opened.torn.map(|torn| (torn.offset, torn.acknowledged)),
        Some((torn.offset, false))
    );
    fs::remove_file(&watermark).unwrap();
    bytes[torn.offset as usize..][..frame::HEADER_BYTES].fill(0);
    fs::write(&path, &bytes).unwrap();
    let error = open(directory.path()).err().expect("a frame may be gone");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "something was changed");
}

/// When another frame followed a damaged one without a gap, a scan took the damaged one for a torn write and ended
/// there. The frames that followed were not saved.
#[test]
fn a_survey_goes_on_with_a_frame_that_follows_a_damaged_one_at_once() {
    let (directory, mut opened) = new_journal();
    write(&mut opened, 1, 100);
    let damaged = write(&mut opened, 1, 100);
    let last = write(&mut opened, 1, 100);
    drop(opened);
    let path = segment_one(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[damaged.offset as usize + frame::HEADER_BYTES + 20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let mut scan = LenientScan::new(disk(), directory.path(), STORE, Until::End(None)).unwrap();
    let mut frames = Vec::new();
    while let Some(step) = scan.next().unwrap() {
        match step {
            Step::Frame { at, .. } => frames.push(at),
            Step::Broken { at, .. } => assert_eq!(at, damaged),
            Step::Doubtful { at, .. } => panic!("a frame at {at:?} is doubted"),
            Step::Wrong(finding) => assert_eq!(finding.kind, FindingKind::Frame, "{finding}"),
        }
    }
    assert_eq!(frames.last(), Some(&last));
}

/// The copies of torn writes were kept forever. Now the newest sixteen are kept, and the newest is never removed.
#[test]
fn only_the_newest_copies_of_torn_writes_are_kept() {
    let (directory, mut opened) = new_journal();
    let path = segment_one(directory.path());
    let mut newest = Vec::new();
    for n in 0..40_u8 {
        if n % 5 == 0 {
            write(&mut opened, 1, 100);
        }
        let end = opened.writer.end().next.offset as usize;
        drop(opened);
        let mut bytes = fs::read(&path).unwrap();
        bytes[end..end + 10].fill(n + 1);
        fs::write(&path, &bytes).unwrap();
        opened = open(directory.path()).unwrap();
        newest.push((opened.torn.clone().unwrap().copy, vec![n + 1; 10]));
        let names = opened.journal.disk().list(directory.path()).unwrap();
        let kept = names.iter().filter(|name| name.starts_with("torn-")).count();
        assert_eq!(kept, newest.len().min(16), "{names:?}");
        for (copy, torn) in newest.iter().rev().take(16) {
            assert_eq!(fs::read(copy).unwrap(), *torn, "{}", copy.display());
        }
    }
}

/// A last segment whose header claimed 4 GiB, with a correct checksum, aborted the process in the allocator, and took
/// a quarter of a minute to verify. No segment is that long, so the header is damaged.
#[test]
fn a_segment_that_claims_more_than_any_has_is_corrupt() {
    let (directory, mut opened) = new_journal();
    write(&mut opened, 1, 100);
    let header = opened.journal.segment(1).unwrap();
    drop(opened);
    let path = segment_one(directory.path());
    let file = fs::File::options().write(true).open(&path).unwrap();
    for length in [1 << 29, 1 << 32] {
        let forged = segment::SegmentHeader { length, ..header.clone() };
        std::os::unix::fs::FileExt::write_all_at(&file, &forged.encode(), 0).unwrap();
        file.set_len(length).unwrap();
        let error = open(directory.path()).err().expect("a forged length");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(&length.to_string()), "{error}");
        let mut scan = LenientScan::new(disk(), directory.path(), STORE, Until::End(None)).unwrap();
        while scan.next().unwrap().is_some() {}
        assert!(scan.bytes < 300 << 20, "{} bytes were read", scan.bytes);
    }
}

/// Whole frames that a user could have stored who knows the store, the place and the position. Each is linked to the
/// one before it.
fn forged_frames(mut at: Location, first_position: u64, frames: u64) -> Vec<u8> {
    let (mut all, mut before) = (Vec::new(), [7; 32]);
    for position in first_position..first_position + frames {
        let time = Micros(9);
        let (mut bytes, chain) = one_event(&before, position, time, b"forged");
        let meaning =
            Meaning { kind: Kind::Group, events: 1, first_position: position, time, chain };
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        // The length is a multiple of the alignment, so there is no padding.
        frame::complete(&mut bytes, &meaning, STORE, at);
        at.offset += bytes.len() as u64;
        all.extend_from_slice(&bytes);
        before = chain;
    }
    all
}

/// The frames that a scan believes, and those that it doubts.
fn scan_leniently(directory: &Path, with_watermark: bool) -> (Vec<Location>, Vec<Location>) {
    let watermark = watermark::read(&*disk(), directory, STORE).unwrap().filter(|_| with_watermark);
    let mut scan = LenientScan::new(disk(), directory, STORE, Until::End(watermark)).unwrap();
    let (mut frames, mut doubtful, mut findings) = (Vec::new(), Vec::new(), 0);
    while let Some(step) = scan.next().unwrap() {
        match step {
            Step::Frame { at, .. } | Step::Broken { at, .. } => frames.push(at),
            Step::Doubtful { at, .. } => doubtful.push(at),
            Step::Wrong(_) => findings += 1,
        }
    }
    assert!(findings > 0, "nothing was found wrong");
    assert!(scan.bytes < 300 << 20, "{} bytes were read", scan.bytes);
    (frames, doubtful)
}

/// When a frame's header was destroyed, verifying and exporting searched for the next frame within its body, and took
/// a whole frame that a user had stored there for one of the journal: its events were exported. Bytes within a sound
/// entry are no frame, and a frame found elsewhere is believed only if the hash chain links it to something that no
/// payload can forge. Sound frames after the damage are still found.
#[test]
fn a_frame_that_a_user_stored_is_not_believed_after_damage() {
    let entry_begins = (frame::HEADER_BYTES + entry::HEADER_BYTES + 10 + 3 + 64) as u64;
    for (frames, surplus, claimed) in
        [(1, 0, None), (3, 40, None), (2, 1_000_000, None), (1, 0, Some(1 << 20))]
    {
        let (directory, mut opened) = new_journal();
        let first = write(&mut opened, 1, 100);
        let next = opened.writer.end().next;
        // The payload's place, rounded up to where a frame may begin.
        let skip = entry_begins.next_multiple_of(8) - entry_begins;
        let inner = Location { offset: next.offset + entry_begins + skip, ..next };
        let mut forged = forged_frames(inner, 2, frames);
        if let Some(length) = claimed {
            // Only a header, which claims the bytes after it.
            forged.resize(length, 0);
            let meaning = Meaning {
                kind: Kind::Group,
                events: 1,
                first_position: 2,
                time: Micros(9),
                chain: [7; 32],
            };
            frame::complete(&mut forged, &meaning, STORE, inner);
            forged.truncate(frame::HEADER_BYTES);
        }
        let payload = [vec![0; skip as usize], forged, vec![3; surplus]].concat();
        let damaged = write_payload(&mut opened, &payload);
        let third = write(&mut opened, 1, 100);
        let fourth = write(&mut opened, 2, 100);
        drop(opened);
        let path = segment_one(directory.path());
        let sound = fs::read(&path).unwrap();
        let with_zeros = |until: u64| {
            let mut bytes = sound.clone();
            bytes[damaged.offset as usize..until as usize].fill(0);
            bytes
        };
        for with_watermark in [true, false] {
            // The frame's header is zeroed; then that of the entry too.
            fs::write(&path, with_zeros(damaged.offset + 104)).unwrap();
            let (believed, doubtful) = scan_leniently(directory.path(), with_watermark);
            assert_eq!(believed, [first, third, fourth]);
            assert_eq!(doubtful, []);
            fs::write(&path, with_zeros(damaged.offset + 120)).unwrap();
            let (believed, doubtful) = scan_leniently(directory.path(), with_watermark);
            assert_eq!(believed, [first, third, fourth]);
            assert_eq!(doubtful.len() as u64, if claimed.is_some() { 0 } else { frames });
            // Two frames are damaged. The frame between them is believed.
            let mut bytes = with_zeros(damaged.offset + 104);
            bytes[fourth.offset as usize..][..8].fill(0);
            fs::write(&path, bytes).unwrap();
            let (believed, _) = scan_leniently(directory.path(), with_watermark);
            assert_eq!(believed, [first, third]);
        }
        // The frame is the last one, and the watermark names it.
        let mut bytes = with_zeros(damaged.offset + 120);
        bytes[third.offset as usize..].fill(0);
        fs::write(&path, bytes).unwrap();
        let (believed, _) = scan_leniently(directory.path(), true);
        assert_eq!(believed, [first]);
    }
}

/// After damage in a sealed segment, the header of the next one confirms which frames belong to the journal.
#[test]
fn the_next_segment_vouches_for_the_frames_before_it() {
    let (directory, mut opened) = new_journal();
    let mut places = Vec::new();
    while opened.writer.end().next.segment < 3 {
        places.push(write(&mut opened, 1, 300_000));
    }
    drop(opened);
    let path = segment_one(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes[places[1].offset as usize..][..8_192].fill(0);
    fs::write(&path, &bytes).unwrap();
    places.remove(1);
    assert_eq!(scan_leniently(directory.path(), true), (places.clone(), vec![]));
    assert_eq!(scan_leniently(directory.path(), false), (places, vec![]));
}
