//! Numbers in the headers of a store's files that are forged, their checksums right: lengths, places, counts.
//!
//! `FILMSTRIP_ROUNDS=2000 cargo test --release --test it damage::forged -- --nocapture` for a long run.

use super::special::{OPERATIONS, closed, files, in_time};
use crate::common::{Random, in_a_bounded_process, seed, variable};
use crate::damage::copy;
use filmstrip::repair::FindingKind;
use filmstrip::{ErrorKind, Store};
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SEGMENT_HEADER_BYTES: usize = 4_096;
const FRAME_HEADER_BYTES: usize = 104;
const TRAILER_BYTES: usize = 12;
const GIB: u64 = 1 << 30;
/// Nothing that a file claims makes a process take more memory than this: a segment has at most 256 MiB, and
/// four calls hold a few of them.
const TAKEN_MAX: u64 = 2 * GIB;
/// What a call that takes more may reach.
const ADDRESS_SPACE: u64 = 4 * GIB;
/// No file of the sample is as long.
const FILE_MAX: u64 = 64 << 20;

type Mend = dyn Fn(&mut [u8]);

/// A number in a file, as its bytes, and what makes its checksums right again.
struct Number {
    what: &'static str,
    at: Range<usize>,
    mend: Box<Mend>,
}

fn number(
    what: &'static str,
    at: usize,
    bytes: usize,
    mend: impl Fn(&mut [u8]) + 'static,
) -> Number {
    Number { what, at: at..at + bytes, mend: Box::new(mend) }
}

fn read_u32(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn put_crc(bytes: &mut [u8], at: usize, crc: u32) {
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Mends a file whose last four bytes are the checksum of all before.
fn mend_whole(bytes: &mut [u8]) {
    let at = bytes.len() - 4;
    put_crc(bytes, at, crc32c::crc32c(&bytes[..at]));
}

fn mend_segment(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[..96]);
    put_crc(bytes, 96, crc32c::crc32c_append(crc, &bytes[100..SEGMENT_HEADER_BYTES]));
}

/// Mends the checksums of the frame at `at` that had `length` bytes: of its first entry, of all of it, and of its
/// header.
fn mend_frame(bytes: &mut [u8], at: usize, length: usize) {
    let frame = &mut bytes[at..at + length];
    let entry = &mut frame[FRAME_HEADER_BYTES..];
    if entry.len() > 9 {
        let content = read_u32(entry, 1).min(entry.len() - 9);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&entry[..5]), &entry[9..9 + content]);
        put_crc(entry, 5, crc);
    }
    let crc = crc32c::crc32c(&frame[..96]);
    put_crc(frame, 96, crc32c::crc32c_append(crc, &frame[FRAME_HEADER_BYTES..]));
    put_crc(frame, 100, crc32c::crc32c(&frame[..100]));
}

/// Mends the checksum of a pack's footer, a block that begins at `at` and that the trailer follows.
fn mend_footer(bytes: &mut [u8], at: usize) {
    let end = bytes.len() - TRAILER_BYTES;
    // The index's id, the pack's number, and the block's place.
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[12..36]), &(at as u64).to_le_bytes());
    put_crc(bytes, at, crc32c::crc32c_append(crc, &bytes[at + 4..end]));
}

/// Where a segment's frames begin, and their lengths.
fn frames(segment: &[u8]) -> Vec<(usize, usize)> {
    let mut frames = Vec::new();
    let mut at = SEGMENT_HEADER_BYTES;
    while segment.get(at..at + FRAME_HEADER_BYTES).is_some_and(|bytes| bytes.starts_with(b"FSFR")) {
        let length = read_u32(segment, at + 8);
        frames.push((at, length));
        at += length.next_multiple_of(8);
    }
    frames
}

/// The numbers that a file's headers hold.
fn numbers(file: &Path, bytes: &[u8]) -> Vec<Number> {
    let name = file.to_str().unwrap();
    let mut numbers = Vec::new();
    if name.starts_with("journal/0") {
        for (what, at) in [("a segment's number", 32), ("its length", 40), ("its position", 48)] {
            numbers.push(number(what, at, 8, mend_segment));
        }
        for (at, length) in frames(bytes) {
            let mend = move |bytes: &mut [u8]| mend_frame(bytes, at, length);
            numbers.push(number("a frame's length", at + 8, 4, mend));
            numbers.push(number("a frame's events", at + 12, 4, mend));
            numbers.push(number("a frame's offset", at + 40, 8, mend));
            numbers.push(number("a frame's position", at + 48, 8, mend));
            if length > FRAME_HEADER_BYTES + 20 {
                let entry = at + FRAME_HEADER_BYTES;
                numbers.push(number("an entry's length", entry + 1, 4, mend));
                numbers.push(number("a name's length", entry + 9, 2, mend));
                numbers.push(number("a version", entry + 11, 8, mend));
            }
        }
    } else if name == "journal/durable" {
        for (what, at) in [("a mark's segment", 24), ("its frame", 32), ("its end", 40)] {
            numbers.push(number(what, at, 8, mend_whole));
        }
        numbers.push(number("its position", 48, 8, mend_whole));
    } else if name == "index.checkpoint" {
        for at in [44, 52, 60, 76, 84, 92] {
            numbers.push(number("a checkpoint's number", at, 8, mend_whole));
        }
        numbers.push(number("a checkpoint's packs", 140, 4, mend_whole));
        let packs = read_u32(bytes, 140);
        for pack in 0..packs {
            numbers.push(number("a pack's number", 144 + 17 * pack, 8, mend_whole));
            numbers.push(number("a pack's bytes", 152 + 17 * pack, 8, mend_whole));
        }
    } else if name == "views.closed" {
        numbers.push(number("the views' bytes", 12, 8, mend_whole));
        numbers.push(number("the views' trees", 20, 8.min(bytes.len() - 24), mend_whole));
    } else if name.starts_with("index/packs/") {
        let end = bytes.len();
        numbers.push(number("where a pack's footer is", end - 12, 8, |_| ()));
        numbers.push(number("the length of a pack's footer", end - 4, 4, |_| ()));
        let footer = u64::from_le_bytes(bytes[end - 12..end - 4].try_into().unwrap()) as usize;
        let mend = move |bytes: &mut [u8]| mend_footer(bytes, footer);
        numbers.push(number("a pack's events", footer + 5, 8, mend));
        numbers.push(number("a pack's postings", footer + 13, 8, mend));
        numbers.push(number("a pack's first position", footer + 21, 8, mend));
        numbers.push(number("a pack's last position", footer + 29, 8, mend));
        numbers.push(number("a pack's first version", footer + 37, 8, mend));
        numbers.push(number("where the list of a pack's index blocks is", footer + 45, 8, mend));
        numbers.push(number("the length of that list", footer + 53, 4, mend));
        numbers.push(number("the length of a pack's first name", footer + 57, 2, mend));
        let length = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
        let last = footer + 59 + length(footer + 57);
        let types = last + 2 + length(last);
        numbers.push(number("how many types a pack has", types, 4, mend));
        numbers.push(number("the length of a pack's first type", types + 4, 2, mend));
    }
    numbers
}

/// A number that nobody wrote: around a limit, around a power of two, or any.
fn forged(random: &mut Random) -> u64 {
    let around = random.below(17).wrapping_sub(8);
    match random.below(4) {
        0 => around,
        1 => (1_u64 << random.below(64)).wrapping_add(around),
        2 => (256_u64 << 20).wrapping_add(around),
        _ => random.next() >> random.below(64),
    }
}

/// The most address space that this process has had.
fn most_taken() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

/// Forges one number in one of the files, or how long it is. Returns what, and its new value.
///
/// Where the numbers are, `whole` tells, of which `store` is a copy: one that was forged before leads astray who looks
/// for the next.
fn forge(whole: &Path, store: &Path, files: &[PathBuf], random: &mut Random) -> String {
    let (file, number) = loop {
        let file = &files[random.below(files.len() as u64) as usize];
        if fs::metadata(store.join(file)).unwrap().len() > FILE_MAX {
            // It was made so long before.
            continue;
        }
        let mut numbers = numbers(file, &fs::read(whole.join(file)).unwrap());
        match numbers.len() as u64 {
            // Any other file can be longer than it is.
            0 if !random.one_in(4) => continue,
            0 => break (file, None),
            of => break (file, Some(numbers.swap_remove(random.below(of) as usize))),
        }
    };
    let (path, value) = (store.join(file), forged(random));
    let Some(Number { what, at, mend }) = number else {
        // No filesystem has files without an end.
        let length = value.min(1 << 42);
        File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        return format!("{} is {length} bytes long", file.display());
    };
    let mut bytes = fs::read(&path).unwrap();
    let width = at.len();
    bytes[at.clone()].copy_from_slice(&value.to_le_bytes()[..width]);
    mend(&mut bytes);
    fs::write(&path, bytes).unwrap();
    format!("{}: {what} at byte {} is {value:#x}", file.display(), at.start)
}

/// A segment's header of 4 GiB, a manifest of a terabyte, a checkpoint's count of packs: each took all memory,
/// aborted in the allocator, or never came to an end. Whatever number is forged, every call ends, takes no more
/// memory than the limits allow, and says what is wrong by its kind, or what is derived is made anew.
#[test]
fn whatever_number_is_forged_every_call_ends_within_its_limits() {
    let name = "whatever_number_is_forged_every_call_ends_within_its_limits";
    in_a_bounded_process(module_path!(), name, ADDRESS_SPACE, || {
        let seed = seed();
        let mut random = Random(seed);
        let store = closed();
        let files = files(store.path());
        let before = most_taken();
        let (rounds, mut refused) = (variable("FILMSTRIP_ROUNDS").unwrap_or(20), 0);
        let mut slowest = (Duration::ZERO, String::new());
        for round in 0..rounds {
            let of_the_round = random.next();
            for (operation, run) in OPERATIONS {
                // The same for each call: what one heals would be gone for the others.
                let (damaged, mut random) = (copy(store.path()), Random(of_the_round));
                let forged = (0..1 + random.below(2))
                    .map(|_| forge(store.path(), damaged.path(), &files, &mut random))
                    .collect::<Vec<_>>();
                let case = format!("round {round}, {operation}: {}", forged.join("; "));
                // The last one is what ended the process, if something does.
                eprintln!("{case}");
                let begun = Instant::now();
                let answer = in_time(run, damaged.path(), &case);
                slowest = slowest.max((begun.elapsed(), case.clone()));
                if let Err(error) = answer {
                    refused += 1;
                    let named =
                        [ErrorKind::Corrupt, ErrorKind::InvalidInput, ErrorKind::UnsupportedFormat];
                    assert!(named.contains(&error.kind()), "{case}: {error}");
                }
                let taken = most_taken().saturating_sub(before);
                assert!(taken <= TAKEN_MAX, "{case}: it took {} MiB", taken >> 20);
            }
        }
        assert!(refused > 0, "nothing was refused");
        // The sample itself is whole.
        assert!(Store::verify_at(store.path()).unwrap().is_whole());
        println!("figures: forged numbers: {rounds} stores, {refused} calls refused");
        println!("figures: the slowest of these calls: {:.1?}", slowest.0);
        eprintln!("the slowest was {}", slowest.1);
    });
}

/// A version that leaves a gap in its stream, in a frame whose checksums are right: an index cannot take it in. The
/// index was moved aside, built anew and moved aside again for ever while the store was opened. One that was built
/// anew and refuses the same shows that the journal is wrong.
#[test]
fn a_version_that_leaves_a_gap_is_corrupt_and_not_tried_for_ever() {
    let store = closed();
    for name in ["index", "index.checkpoint"] {
        let path = store.path().join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    let path = store.path().join("journal/00000000000000000001");
    let mut bytes = fs::read(&path).unwrap();
    let (at, length) = frames(&bytes)[2];
    let version = at + FRAME_HEADER_BYTES + 11;
    bytes[version..version + 8].copy_from_slice(&99_u64.to_le_bytes());
    mend_frame(&mut bytes, at, length);
    fs::write(&path, bytes).unwrap();
    let (operation, run) = OPERATIONS[0];
    let error = in_time(run, store.path(), operation).expect_err("a gap");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.damage().unwrap().file, path, "{error}");
    assert!(error.to_string().contains("version 3, not"), "{error}");
}

/// A pack's footer is read whole when its index is opened. A pack of holes, with a trailer behind them that claims a
/// footer of gigabytes and a checkpoint that claims a pack of that length, took as much memory. It is damage, and the
/// index is built again.
#[test]
fn a_pack_of_holes_whose_footer_claims_gigabytes_is_not_read() {
    let name = "a_pack_of_holes_whose_footer_claims_gigabytes_is_not_read";
    in_a_bounded_process(module_path!(), name, ADDRESS_SPACE, || {
        const FOOTER: u64 = 64;
        const LENGTH: u64 = 4 * GIB;
        let store = closed();
        let files = files(store.path());
        let pack = files.iter().find(|file| file.starts_with("index/packs")).unwrap();
        let file = File::options().write(true).open(store.path().join(pack)).unwrap();
        file.set_len(LENGTH).unwrap();
        let length = LENGTH - TRAILER_BYTES as u64 - FOOTER;
        let trailer = [&FOOTER.to_le_bytes()[..], &(length as u32).to_le_bytes()].concat();
        file.write_all_at(&trailer, LENGTH - TRAILER_BYTES as u64).unwrap();
        let path = store.path().join("index.checkpoint");
        let mut bytes = fs::read(&path).unwrap();
        bytes[152..160].copy_from_slice(&LENGTH.to_le_bytes());
        mend_whole(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let before = most_taken();
        let findings = Store::verify_at(store.path()).unwrap().findings;
        // It cannot be copied, or opened where it is in the same filesystem.
        let named = [FindingKind::Index, FindingKind::Unreadable];
        assert!(findings.iter().any(|found| named.contains(&found.kind)), "{findings:?}");
        for (operation, run) in OPERATIONS {
            in_time(run, store.path(), operation).unwrap();
        }
        let taken = most_taken() - before;
        assert!(taken < TAKEN_MAX, "it took {} MiB", taken >> 20);
        assert!(Store::verify_at(store.path()).unwrap().is_whole());
    });
}
