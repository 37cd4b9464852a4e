//! What opening a journal finds after a crash or damage, and what writing goes on with.

use crate::codec::frame::{self, Location};
use crate::journal::tests::{
    STORE, assert_corrupt, assert_prefix, forged_header, new_journal, open, positions, segment_one,
    small, write,
};
use crate::journal::{recover, segment};
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::value::error::ErrorKind;
use std::fs;
use std::sync::Arc;

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
