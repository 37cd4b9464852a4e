//! What reading and a lenient scan find of a damaged journal, and what a forger cannot make them believe.

use crate::codec::frame::{self, Kind, Location, Meaning};
use crate::codec::{entry, envelope};
use crate::journal::lenient_scan::{LenientScan, Step, Until};
use crate::journal::tests::{
    STORE, assert_prefix, disk, new_journal, one_event, open, positions, segment_one, small, write,
    write_payload,
};
use crate::journal::{recover, segment, watermark};
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind};
use crate::value::event::{Metadata, NewEvent};
use crate::value::finding::FindingKind;
use std::fs;
use std::path::Path;
use uuid::Uuid;

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
    // The extras end with the key, here none.
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
        #[cfg(not(feature = "erasure"))]
        ("an event with flags 0x0002", Kind::Group, event(&|bytes| bytes[16] |= 2)),
        ("an event with flags 0x0004", Kind::Group, event(&|bytes| bytes[16] |= 4)),
        ("an event with flags 0x8000", Kind::Group, event(&|bytes| bytes[17] |= 0x80)),
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
