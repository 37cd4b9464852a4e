//! Runs the fuzzer's checks over its seeds and over random changes of them.
//!
//! The seeds are in `fuzz/seeds`, in a directory for each check; the fuzzer begins with the same ones. `just
//! fuzz-seeds` rewrites them from a real store. Only a new check needs that, because every released format stays
//! readable. Every run also checks the output of a current store. For more rounds, from another seed:
//! `FILMSTRIP_ROUNDS=100 FILMSTRIP_SEED=7 cargo test --release -p filmstrip-proof fuzz::tests -- --nocapture`.

use crate::codec::cursor::array_at;
use crate::codec::frame::{self, Header};
use crate::codec::sst::block::EventBlockBuilder;
use crate::codec::sst::block_index::{IndexBlockBuilder, KeyRun};
use crate::codec::sst::event::{Body, body_of};
use crate::codec::sst::event_types::EventTypes;
use crate::codec::sst::footer::{Filter, Footer, NameHash};
use crate::codec::sst::index_blocks;
use crate::codec::sst::posting::body_of_posting;
use crate::codec::sst::{BlockKind, BlockPlace};
use crate::codec::state::StreamState;
use crate::fuzz::journal::{MARK_BYTES, PAGE_BYTES};
use crate::fuzz::{mend, table};
use crate::index::flush_batch::EventToIndex;
use crate::log::commit::Commit;
use crate::log::read::located::{Located, each_located};
use crate::store::Store;
use crate::testing::ManualClock;
use crate::value::event::{Metadata, NewEvent};
use crate::value::position::{ExpectedVersion, Position, Version};
use crate::value::random::{Random, first_seed, rounds};
use crate::value::stream::StreamId;
use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use uuid::Uuid;

type Check = fn(&[u8]) -> bool;

/// Each check, with the name of its seeds and of its target in `fuzz/`.
const CHECKS: &[(&str, Check)] = &[
    ("envelope", super::envelope),
    ("event_set", super::event_set),
    ("frame", super::frame),
    ("journal", super::journal),
    #[cfg(feature = "erasure")]
    ("key_slot", super::key_slot),
    #[cfg(feature = "erasure")]
    ("private_part", super::private_part),
    ("table", super::table),
];

fn directory(check: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(check)
}

fn seeds(check: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory(check)).unwrap_or_else(|e| panic!("{check}: {e}"));
    let read = entries.map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    });
    let mut seeds: Vec<_> = read.collect();
    seeds.sort();
    seeds
}

/// If no seed were accepted, the fuzzer would begin with nothing, and nobody would notice.
#[test]
fn every_seed_is_taken_for_what_it_is() {
    for &(name, check) in CHECKS {
        let seeds = seeds(name);
        assert!(seeds.len() >= 2, "{name} has {} seeds", seeds.len());
        for (seed, bytes) in seeds {
            assert_eq!(check(&bytes), !seed.starts_with("refused-"), "{name}/{seed}");
        }
    }
}

#[test]
fn bytes_changed_at_random_are_a_value_or_an_error_and_never_a_panic() {
    const CHANGES: u64 = 400;
    let (mut tried, mut taken) = ([0; CHECKS.len()], [0; CHECKS.len()]);
    for seed in first_seed()..first_seed() + rounds(4) {
        println!("FILMSTRIP_SEED={seed}");
        let mut random = Random::new(seed);
        for (n, (name, check)) in CHECKS.iter().copied().enumerate() {
            let seeds = seeds(name);
            for _ in 0..CHANGES {
                let mut bytes = random.one_of(&seeds).1.clone();
                change(&mut bytes, &random.one_of(&seeds).1.clone(), &mut random);
                taken[n] += u64::from(check(&bytes));
                tried[n] += 1;
            }
        }
    }
    println!("figures: changed inputs: {} tried", tried.iter().sum::<u64>());
    for ((name, _), (tried, taken)) in CHECKS.iter().copied().zip(tried.into_iter().zip(taken)) {
        assert!(0 < taken && taken < tried, "{name}: of {tried} inputs {taken} were taken");
    }
}

impl Random {
    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// Changes `bytes` in a few places, as the fuzzer would; `other` is another input of the same kind.
fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let length = bytes.len() as u64;
        let at = random.below(length.max(1)) as usize;
        let width = (1 << random.below(4)).min(bytes.len() - at.min(bytes.len()));
        match random.below(8) {
            0..3 if length > 0 => bytes[at] ^= 1 << random.below(8),
            3 => {
                let odd = [0, 1, 0x7f, 0x80, 0xff];
                let odd = *random.one_of(&odd);
                bytes[at..at + width].fill(odd);
            }
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..at + width)),
            6 => drop(bytes.splice(at..at, bytes[at..at + width].to_vec())),
            _ => {
                let from = other.len().min(at);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
        // Flip the bit for the repair of checksums in a fifth of the inputs, whatever the first byte is now.
        if let Some(mode) = bytes.first_mut()
            && random.percent(20)
        {
            *mode ^= 1;
        }
    }
}

// ---- where the seeds come from --------------------------------------------------------------------

#[test]
fn what_a_store_makes_today_is_taken_for_what_it_is_and_has_a_seed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let clock = ManualClock::new("2024-05-01T12:00:00Z".parse().unwrap());
    let store = Store::builder().clock(clock).open(&path).unwrap();
    write_some(&store);
    let journal = path.join("journal");
    let segment = || fs::read(journal.join("00000000000000000001")).unwrap();
    let watermark = || fs::read(journal.join("durable")).unwrap();
    let (open, open_mark) = (segment(), watermark());
    store.close().unwrap();
    let (closed, closed_mark) = (segment(), watermark());

    put("journal", "closed", &journal_seed(0, &closed_mark, &closed));
    put("journal", "open", &journal_seed(1, &open_mark, &open));
    put("journal", "cut-without-its-zeros", &journal_seed(5, &open_mark, &open));
    let mut torn = open.clone();
    let last = frames(&open).last().unwrap().clone();
    torn[last.end - 20..last.end].fill(0);
    put("journal", "torn", &journal_seed(2, &open_mark, &torn));
    let mut damaged = open.clone();
    damaged[frames(&open)[0].start + 120] ^= 1;
    put("journal", "refused-damaged", &journal_seed(0, &open_mark, &damaged));

    for (n, range) in frames(&closed).into_iter().enumerate() {
        let frame = &closed[range];
        put("frame", &format!("{}", n + 1), &[&[n as u8 % 2], frame].concat());
        put_parts(frame, n);
    }
    put_payloads();
    #[cfg(feature = "erasure")]
    put_private();
}

/// Private parts of events, and the slots of keys, which no store writes yet. The first byte of a slot says whether to
/// repair its checksum.
#[cfg(feature = "erasure")]
fn put_private() {
    use crate::codec::private_part::{self, PrivateMetadata};
    use crate::keyring::kek::KeyEncryptingKey;
    use crate::keyring::slot::{Slot, SubjectHash};
    use crate::sealing::key::KeyId;
    let mut part = Vec::new();
    private_part::encode(&PrivateMetadata::default(), b"payload", &mut part);
    put("private_part", "payload", &part);
    let mut part = Vec::new();
    let entries = [("key".to_owned(), "value".to_owned()), ("other".to_owned(), String::new())];
    let metadata = PrivateMetadata { user: Some("alice".to_owned()), entries: entries.into() };
    private_part::encode(&metadata, b"payload", &mut part);
    put("private_part", "metadata", &part);
    put("private_part", "refused-form", &[&[1], &part[1..]].concat());

    // Not by `Slot::make`: a seed is the same each time.
    let kek = KeyEncryptingKey::new(&[9; 32]);
    let slot = Slot::for_test(KeyId::new([3; 16]), SubjectHash([3; 32]), 2);
    let live = slot.clone().with_key(&[7; 32], Uuid::nil(), &kek);
    put("key_slot", "live", &[&[0], &live.encode()[..]].concat());
    put("key_slot", "destroyed", &[&[1], &slot.encode()[..]].concat());
    put("key_slot", "refused-free", &[0; 129]);
}

/// A payload for each type of the event set, which no store writes. The number of the type precedes it.
fn put_payloads() {
    let nested = r#"{"amount":-9223372036854775808,"kind":{"is":"Tagged","at":7},"list":[[true,1.5],[false,-0.0]]}"#;
    let map = format!(r#"{{"7":[{nested}],"65535":[]}}"#);
    let payloads = [
        ("unit", "null"),
        ("number", "6.02e23"),
        ("text", r#""caf\u00e9 \ud83d\ude00""#),
        ("anything", r#"{"a":[1,-2,3.5,null,true,"x"],"b":{}}"#),
        ("whatever", "[[[[0.1]]]]"),
        ("tuple", r#"[255,-170141183460469231731687303715884105728,"x"]"#),
        ("record", r#"{"name":"n","amount":5,"kind":{"is":"Plain"}}"#),
        ("nested", nested),
        ("map", &map),
        ("unknown", "not JSON"),
    ];
    for (choice, (name, payload)) in (0..).zip(payloads) {
        put("event_set", name, &[&[choice], payload.as_bytes()].concat());
    }
    put("event_set", "refused-number", b"\x01\"a\"");
}

/// Events of every kind, records, and commits to several streams.
fn write_some(store: &Store) {
    let id = Uuid::from_u128;
    let metadata = Metadata::default()
        .user("alice")
        .command_id(id(1))
        .correlation_id(id(2))
        .causation_id(id(3))
        .entry("key", "value");
    let plain = NewEvent::bytes("Written", &b"some bytes"[..]).id(id(4));
    let json = NewEvent::json("Renamed", &"a name").unwrap().id(id(5)).schema_version(2);
    let json = json.metadata(metadata).occurred_at("1987-06-05T04:03:02Z".parse().unwrap());
    let empty = NewEvent::bytes("Emptied", Vec::new()).id(id(6));
    let all = [plain.clone(), json.clone(), empty];
    store.append("Customer-1", ExpectedVersion::NoStream, all).unwrap();
    let commit = Commit::new()
        .append("Left-1", ExpectedVersion::Any, [plain.id(id(7))])
        .append("Right-1", ExpectedVersion::Any, [json.id(id(8))])
        .tracking("importer", Position::new(9));
    store.commit(commit).unwrap();
    let long = NewEvent::bytes("Written", vec![7; 200]).id(id(9));
    store.append("Customer-1", ExpectedVersion::Any, [long]).unwrap();
}

/// The ranges of the frames in a segment.
fn frames(segment: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut at, mut frames) = (4_096, Vec::new());
    while let Some(header) = Header::parse(&segment[at..]) {
        frames.push(at..at + header.padded_length() as usize);
        at += header.padded_length() as usize;
    }
    frames
}

/// A journal in the form that the check takes, in a segment of 16 KiB instead of 1 MiB.
fn journal_seed(mode: u8, watermark: &[u8], segment: &[u8]) -> Vec<u8> {
    let end = frames(segment).last().map_or(4_096, |last| last.end);
    // Include the bytes of a torn frame, which `frames` does not list.
    let used = segment.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut page = segment[..4_096].to_vec();
    page[40..48].copy_from_slice(&(16u64 << 10).to_le_bytes());
    mend::segment_header(&mut page);
    let frames = &segment[4_096..end.max(used)];
    assert_eq!(watermark.len(), MARK_BYTES);
    [&[mode], watermark, &page[..PAGE_BYTES], frames].concat()
}

/// Writes the seeds of a frame's envelopes, and of blocks of a table with its events.
fn put_parts(bytes: &[u8], number: usize) {
    let header = Header::parse(bytes).unwrap();
    let at = frame::Location { segment: 1, offset: u64::from_le_bytes(array_at(bytes, 40)) };
    let frame = frame::Frame::verify(header, Bytes::copy_from_slice(bytes)).unwrap();
    let mut events = Vec::new();
    each_located(at, &frame, |located| {
        if let Located::Event(event) = located {
            events.push(event);
        }
    })
    .unwrap();
    for (n, event) in events.iter().enumerate() {
        put("envelope", &format!("{}-{}", number + 1, n + 1), &event.envelope);
    }
    events.retain(|event| event.stream.as_str() == "Customer-1");
    if !events.is_empty() {
        put_blocks(&events, number);
    }
}

/// Writes the seeds of a table's blocks for these events of one stream.
fn put_blocks(events: &[EventToIndex], number: usize) {
    let mut event_block = EventBlockBuilder::default();
    for (n, event) in events.iter().enumerate() {
        let body = match n {
            2 => Body::At(event.location),
            _ => body_of(&event.envelope, event.location),
        };
        event_block.put(event.position, event.recorded_at, &body);
    }
    let mode = [number as u8 % 2, events.len() as u8];
    let put_block = |name: &str, kind, content: &mut dyn FnMut(&mut Vec<u8>)| {
        let mut block = Vec::new();
        let place = table::ID.seal(kind, table::OFFSET, &mut block, content);
        put("table", &format!("{name}-{}", number + 1), &[&mode[..], &block].concat());
        place
    };
    let mut postings = EventBlockBuilder::default();
    for event in events {
        let body = body_of_posting(event.location, "Registered");
        postings.put(event.position, event.recorded_at, &body);
    }
    put_block("postings", BlockKind::Events, &mut |out| postings.finish(out));
    let event_block = put_block("chunk", BlockKind::Events, &mut |out| event_block.finish(out));
    let (first, last) = (&events[0], &events[events.len() - 1]);
    let run = |name: &str| KeyRun {
        stream: StreamId::new(name).unwrap(),
        first_version: first.version,
        events: events.len() as u64,
        state: StreamState {
            version: Version::new(last.version),
            first_readable: Version::new(1),
            created: first.recorded_at,
            written: last.recorded_at,
            deleted: false,
        },
        event_block,
        start: 16,
    };
    let mut index_block = IndexBlockBuilder::default();
    index_block.put(&run("Customer-1"));
    index_block.put(&run("Customer-2"));
    let next = StreamId::new("Customer-3").unwrap();
    put_block("directory", BlockKind::Index, &mut |out| {
        index_block.finish(Some((&next, 1)), out);
    });
    put_block("index-blocks", BlockKind::IndexBlocks, &mut |out| {
        let places = [(40, 100), (700, 9)];
        index_blocks::encode(&places.map(|(offset, length)| BlockPlace { offset, length }), out);
    });
    let mut filter = Filter::for_names(2);
    filter.put(NameHash::of(&first.stream));
    let mut types = EventTypes::default();
    types.note(Some("Registered"), 3);
    types.note(Some("Renamed"), 4);
    let footer = Footer {
        events: 2,
        postings: 1,
        positions: (3, 4),
        index_blocks: BlockPlace { offset: 40, length: 7 },
        first: (first.stream.clone(), 1),
        last: next,
        types,
        filter,
    };
    put_block("footer", BlockKind::Footer, &mut |out| footer.encode(out));
}

/// Checks a seed as a current store makes it. Writes it only if `FILMSTRIP_WRITE_SEEDS` is set.
fn put(check: &str, name: &str, bytes: &[u8]) {
    let (_, takes) = CHECKS.iter().copied().find(|(name, _)| *name == check).unwrap();
    assert_eq!(takes(bytes), !name.starts_with("refused-"), "{check}/{name}");
    let path = directory(check).join(name);
    if std::env::var_os("FILMSTRIP_WRITE_SEEDS").is_some() {
        fs::create_dir_all(directory(check)).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    assert!(path.exists(), "{}: `just fuzz-seeds` writes it", path.display());
}
