//! A store that an earlier version wrote opens for ever, with what was written into it; a newer
//! format is refused by name.
//!
//! The fixture is a whole store, index, views and snapshots included, as text: of each file its length
//! and the 32-byte rows that are not zero. It is never written again. A new format gets a fixture of
//! its own beside it: `FILMSTRIP_WRITE_FIXTURE=path cargo test --test it compatibility::` writes one.

use crate::common::whole;
use crate::common::whole::{Counter, PATIENCE, Tally, all, contents, files};
use filmstrip::read::PayloadFormat;
use filmstrip::repair::{HashCheck, HeadHash};
use filmstrip::testing::ManualClock;
use filmstrip::{
    Aggregate, Commit, ErrorKind, ExpectedVersion, Filter, Follower, Metadata, NewEvent, Position,
    Store, Version,
};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// A store of format 1, and what its head was when it was written.
struct Fixture {
    files: &'static str,
    head: &'static str,
    /// The format of its index, if that is an older one: nothing is read of it, and it is built again.
    old_index: Option<u32>,
    has_tags: bool,
}

/// The index of this one kept its runs of events in sled.
const RUNS: Fixture = Fixture {
    files: include_str!("../fixtures/format-1.txt"),
    head: "8:a733cacaca5aa24d95c2897bbff6274a1a9bf0b989d989c67e26e6c1dc126c00",
    old_index: Some(1),
    has_tags: false,
};

/// And this one's in sorted tables, without postings of tags.
const SORTED_TABLES: Fixture = Fixture {
    files: include_str!("../fixtures/format-1-packs.txt"),
    head: "8:b09422b9970365e7b6687825a45c9f723f54032c1100082285b714fbb87cc8fe",
    old_index: Some(2),
    has_tags: false,
};

/// Some events of this one have tags.
const TAGS: Fixture = Fixture {
    files: include_str!("../fixtures/format-1-tags.txt"),
    head: "8:7e0a241b8c395308595a0618474251a9daa45a7187b83bc124b6dff475467302",
    old_index: Some(3),
    has_tags: true,
};

/// The sorted tables of this one list their index blocks.
const LISTS: Fixture = Fixture {
    files: include_str!("../fixtures/format-1-lists.txt"),
    head: "8:26020ed0f3a03ee5c02540eb2d749c953241c39209c9c95f504e85364e3097ce",
    old_index: None,
    has_tags: true,
};

const ROW: usize = 32;

fn noon() -> chrono::DateTime<chrono::Utc> {
    "2024-05-01T12:00:00Z".parse().unwrap()
}

fn event(n: u128, event: NewEvent) -> NewEvent {
    event.id(Uuid::from_u128(n))
}

/// What the fixture holds: some of everything that a store of format 1 can.
fn write(directory: &Path) {
    let clock = ManualClock::new(noon());
    let store = Store::builder().clock(clock.clone()).open(directory).unwrap();
    let metadata = Metadata::default()
        .correlation_id(Uuid::from_u128(100))
        .causation_id(Uuid::from_u128(101))
        .command_id(Uuid::from_u128(102))
        .user("alice")
        .entry("ip", "192.0.2.7");
    let registered = event(1, NewEvent::json("Registered", &"Alice").unwrap())
        .metadata(metadata)
        .schema_version(3)
        .occurred_at(noon() - Duration::from_secs(60));
    store.append("Customer-1001", ExpectedVersion::NoStream, [registered]).unwrap();
    clock.advance(Duration::from_secs(1));
    let commit = Commit::new()
        .append(
            "Account-a",
            ExpectedVersion::NoStream,
            [event(2, NewEvent::bytes("Raw", vec![0, 1, 2])).tag("owner:7").tag("bank")],
        )
        .append(
            "Kundin-Ü",
            ExpectedVersion::NoStream,
            [event(3, NewEvent::json("Opened", &()).unwrap())],
        )
        .tracking("importer", Position::new(77));
    store.commit(commit).unwrap();
    let counters = store.repository::<Counter>();
    for amount in [2, 3, 5] {
        clock.advance(Duration::from_secs(1));
        counters.execute("1", &amount).unwrap();
    }
    counters.snapshot("1").unwrap();
    let view = store.project(Tally).start().unwrap();
    view.wait_for(store.head(), PATIENCE).unwrap();
    view.stop().unwrap();
    // Too large for a sorted table, and for the first segment; and enough for all before it to be indexed.
    let large = event(4, NewEvent::bytes("Large", vec![0; 1_100_000]));
    store.append("Account-a", Version::new(1), [large]).unwrap();
    store.close().unwrap();
    // What comes last is in the journal alone.
    clock.advance(Duration::from_secs(1));
    let store = Store::builder().clock(clock).open(directory).unwrap();
    let last = event(5, NewEvent::json("Renamed", &"Bob").unwrap()).tag("owner:7");
    store.append("Customer-1001", Version::new(1), [last]).unwrap();
    store.close().unwrap();
}

fn packed(directory: &Path) -> String {
    let mut text = String::new();
    for (name, bytes) in contents(directory) {
        writeln!(text, "file {} {}", name.display(), bytes.len()).unwrap();
        for (n, row) in bytes.chunks(ROW).enumerate() {
            if row.iter().any(|byte| *byte != 0) {
                write!(text, "{:x} ", n * ROW).unwrap();
                let used = row.iter().rposition(|byte| *byte != 0).unwrap() + 1;
                row[..used].iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
                text.push('\n');
            }
        }
    }
    text
}

fn unpack(text: &str, directory: &Path) {
    let mut file: Option<(String, Vec<u8>)> = None;
    let save = |file: Option<(String, Vec<u8>)>| {
        let Some((name, bytes)) = file else { return };
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        match fields[..] {
            ["file", name, length] => {
                let bytes = vec![0; length.parse().unwrap()];
                save(file.replace((name.to_owned(), bytes)));
            }
            [offset, hex] => {
                let at = usize::from_str_radix(offset, 16).unwrap();
                let (_, bytes) = file.as_mut().unwrap();
                for n in 0..hex.len() / 2 {
                    bytes[at + n] = u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap();
                }
            }
            _ => panic!("no line of a fixture: {line:?}"),
        }
    }
    save(file);
}

fn unpacked(fixture: &Fixture) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    unpack(fixture.files, directory.path());
    directory
}

/// The newest one.
fn fixture() -> tempfile::TempDir {
    unpacked(&LISTS)
}

/// What `write` wrote, read back.
fn check(store: &Store) {
    let events = all(store);
    let places: Vec<_> = events
        .iter()
        .map(|e| (e.position.get(), e.stream.as_str(), e.version.get(), e.event_type.as_str()))
        .collect();
    let expected = [
        (1, "Customer-1001", 1, "Registered"),
        (2, "Account-a", 1, "Raw"),
        (3, "Kundin-Ü", 1, "Opened"),
        (4, "Counter-1", 1, "Added"),
        (5, "Counter-1", 2, "Added"),
        (6, "Counter-1", 3, "Added"),
        (7, "Account-a", 2, "Large"),
        (8, "Customer-1001", 2, "Renamed"),
    ];
    assert_eq!(places, expected);
    let registered = &events[0];
    assert_eq!(registered.id, Uuid::from_u128(1));
    assert_eq!((registered.schema_version, registered.format), (3, PayloadFormat::Json));
    assert_eq!(registered.recorded_at, noon());
    assert_eq!(registered.occurred_at, noon() - Duration::from_secs(60));
    assert_eq!(registered.json::<String>().unwrap(), "Alice");
    let metadata = &registered.metadata;
    assert_eq!(metadata.correlation_id, Some(Uuid::from_u128(100)));
    assert_eq!(metadata.causation_id, Some(Uuid::from_u128(101)));
    assert_eq!(metadata.command_id, Some(Uuid::from_u128(102)));
    assert_eq!(metadata.user.as_deref(), Some("alice"));
    assert_eq!(metadata.entries["ip"], "192.0.2.7");
    assert_eq!((events[1].format, &events[1].payload[..]), (PayloadFormat::Bytes, &[0, 1, 2][..]));
    assert_eq!(events[1].recorded_at, noon() + Duration::from_secs(1));
    assert!(events[6].payload.len() == 1_100_000 && events[6].payload.iter().all(|b| *b == 0));
    assert_eq!(events[7].json::<String>().unwrap(), "Bob");
    // By stream, from the index where it has them.
    for name in ["Customer-1001", "Account-a", "Kundin-Ü", "Counter-1"] {
        let stream = store.read_stream(name).collect().unwrap();
        let same = events.iter().filter(|e| e.stream == *name).cloned().collect::<Vec<_>>();
        assert!(stream == same, "{name}");
    }
    assert_eq!(store.tracked("importer").unwrap().get(), 77);
    let counter = store.repository::<Counter>().load("1").unwrap();
    let (next, version) = (counter.state.decide(&0).unwrap(), counter.version);
    assert_eq!((next.len(), version.get(), counter.state.sum()), (1, 3, 10));
}

/// The tags that `write` gave to some events, read back.
fn check_tags(store: &Store, has_tags: bool) {
    let with = |filter: Filter| -> Vec<u64> {
        let events = store.read_all().filter(filter).collect().unwrap();
        events.iter().map(|event| event.position.get()).collect()
    };
    let owned = Filter::tag("owner:7");
    let expected: [&[u64]; 3] = if has_tags { [&[2, 8], &[2], &[8]] } else { [&[]; 3] };
    let renamed = owned.clone().and_event_type("Renamed");
    let met = [with(owned.clone()), with(owned.tagged("bank")), with(renamed)];
    assert_eq!(met.each_ref().map(Vec::as_slice), expected);
    let raw = &all(store)[1];
    let expected: &[&str] = if has_tags { &["bank", "owner:7"] } else { &[] };
    assert!(raw.tags().eq(expected.iter().copied()), "{raw:?}");
}

#[test]
fn a_store_of_format_1_opens_with_what_was_written_into_it() {
    for fixture in [RUNS, SORTED_TABLES, TAGS, LISTS] {
        opens_with_what_was_written_into_it(&fixture);
    }
}

fn opens_with_what_was_written_into_it(fixture: &Fixture) {
    let directory = unpacked(fixture);
    let store = Store::open(directory.path()).unwrap();
    check(&store);
    check_tags(&store, fixture.has_tags);
    let noted: HeadHash = fixture.head.parse().unwrap();
    assert_eq!(store.check_hash(&noted).unwrap(), HashCheck::Same);
    let view = store.project(Tally).start().unwrap();
    view.wait_for(store.head(), PATIENCE).unwrap();
    let rows = view.view().prefix::<u64>("").unwrap();
    let rows: Vec<_> = rows.iter().map(|(category, n)| (category.as_str(), *n)).collect();
    assert_eq!(rows, [("Account", 2), ("Counter", 3), ("Customer", 2), ("Kundin", 1)]);
    let aside = |format: u32| directory.path().join(format!("index.format-{format}")).exists();
    let is_replaced = fixture.old_index.is_some_and(aside);
    assert_eq!(is_replaced, fixture.old_index.is_some(), "whether the index was believed");
    assert!(!directory.path().join("index.damaged-1").exists(), "nothing is wrong with the index");
    assert!(!directory.path().join("views.damaged-1").exists(), "the views were not believed");
    let next = NewEvent::json("Added", &1).unwrap();
    assert_eq!(store.append("New-1", ExpectedVersion::NoStream, [next]).unwrap().position.get(), 9);
    assert!(store.verify().unwrap().is_whole());
    // So much is indexed when the store is closed.
    let much = NewEvent::bytes("Added", vec![7; 3 << 20]);
    store.append("New-1", ExpectedVersion::Any, [much]).unwrap();
    view.stop().unwrap();
    store.close().unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert!(!fixture.old_index.is_some_and(aside), "the index that was replaced is still there");
    assert!(store.verify().unwrap().is_whole());
}

#[test]
fn a_store_of_format_1_is_whole_to_verify_follow_and_back_up() {
    for fixture in [RUNS, SORTED_TABLES, TAGS, LISTS] {
        is_whole_to_verify_follow_and_back_up(&fixture);
    }
}

fn is_whole_to_verify_follow_and_back_up(fixture: &Fixture) {
    let directory = unpacked(fixture);
    let verified = Store::verify_at(directory.path()).unwrap();
    match fixture.old_index {
        Some(format) => {
            let [finding] = &verified.findings[..] else { panic!("{:#?}", verified.findings) };
            let what = format!("format {format}; 4 is known");
            assert!(finding.to_string().contains(&what), "{finding}");
        }
        None => {
            assert!(verified.is_whole(), "{:#?}", verified.findings);
            assert!(verified.indexed.unwrap().get() >= 6, "{verified:?}");
        }
    }
    assert_eq!((verified.views, verified.segments), (1, 2));
    let follower = Follower::open(directory.path()).unwrap();
    assert_eq!(follower.read().collect().unwrap().len(), 8);
    let backups = tempfile::tempdir().unwrap();
    let path = backups.path().join("backup");
    Store::open(directory.path()).unwrap().backup(&path).unwrap();
    let copied = Store::open(&path).unwrap();
    check(&copied);
    check_tags(&copied, fixture.has_tags);
}

#[test]
fn a_store_of_format_1_opens_from_its_journal_alone() {
    let directory = unpacked(&RUNS);
    for name in files(directory.path()) {
        if !name.starts_with("journal") && name != Path::new("MANIFEST") {
            fs::remove_file(directory.path().join(name)).unwrap();
        }
    }
    fs::remove_dir_all(directory.path().join("index")).unwrap();
    fs::remove_dir_all(directory.path().join("views")).unwrap();
    check(&Store::open(directory.path()).unwrap());
}

#[test]
fn the_fixture_is_what_this_version_writes() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    let copied = whole::copy(directory.path());
    let store = Store::open(copied.path()).unwrap();
    check(&store);
    check_tags(&store, true);
    drop(store);
    if let Some(path) = std::env::var_os("FILMSTRIP_WRITE_FIXTURE") {
        fs::write(path, packed(directory.path())).unwrap();
        println!("its head is {}", Store::open(directory.path()).unwrap().head_hash());
    }
    // The journal has ids of the store and of the counter's events that differ; its shape does not.
    let of = |directory: &Path| -> Vec<_> {
        let all = contents(directory).into_iter();
        all.filter(|(name, _)| name.starts_with("journal"))
            .map(|(name, bytes)| (name, bytes.len()))
            .collect()
    };
    assert_eq!(of(directory.path()), of(fixture().path()));
}

fn refused(result: Result<(), filmstrip::Error>, what: &str, case: &str) {
    let error = result.expect_err(case);
    assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{case}: {error}");
    assert!(error.to_string().contains(what), "{case}: {error}");
}

/// Writes a frame of an unknown kind after the last one, as the durable watermark has it, and has the watermark say
/// that it is durable.
fn add_newer_frame(store: &Path) {
    let mark_path = store.join("journal/durable");
    let mut mark = fs::read(&mark_path).unwrap();
    let number = |at: usize, mark: &[u8]| u64::from_le_bytes(mark[at..at + 8].try_into().unwrap());
    let (segment, at, position) = (number(24, &mark), number(40, &mark), number(48, &mark));
    let path = store.join(format!("journal/{segment:020}"));
    let mut bytes = fs::read(&path).unwrap();
    let store_id = bytes[16..32].to_vec();
    let frame = &mut bytes[at as usize..at as usize + 104];
    frame[..16].copy_from_slice(b"FSFR\x03\0\0\0\x68\0\0\0\x01\0\0\0");
    frame[16..32].copy_from_slice(&store_id);
    for (offset, value) in [(32, segment), (40, at), (48, position + 1)] {
        frame[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
    let crc = crc32c::crc32c(&frame[..100]);
    frame[100..].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    for (offset, value) in [(32, at), (40, at + 104), (48, position + 1)] {
        mark[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
    let crc = crc32c::crc32c(&mark[..56]);
    mark[56..60].copy_from_slice(&crc.to_le_bytes());
    fs::write(&mark_path, mark).unwrap();
}

#[test]
fn a_newer_format_is_refused_by_name_everywhere_and_nothing_is_changed() {
    let manifest = fixture();
    let newer = "filmstrip 9\nwhatever it may say\n";
    let newer = format!("{newer}crc32c {:08x}\n", crc32c::crc32c(newer.as_bytes()));
    fs::write(manifest.path().join("MANIFEST"), newer).unwrap();

    let segment = fixture();
    let path = segment.path().join("journal/00000000000000000002");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..96]), &bytes[100..4_096]);
    bytes[96..100].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();

    // One that is whole was taken for a torn write, and its place was cleared.
    let frame = fixture();
    add_newer_frame(frame.path());

    let cases = [
        (&manifest, "format 9", "the manifest"),
        (&segment, "format 2", "a segment"),
        (&frame, "a frame of kind 3", "a frame"),
    ];
    for (store, what, case) in cases {
        let before = contents(store.path());
        let path = store.path();
        let to = tempfile::tempdir().unwrap();
        let refused = |result, how| refused(result, what, &format!("{case}, {how}"));
        refused(Store::open(path).map(drop), "opened");
        refused(Store::verify_at(path).map(drop), "verified");
        let followed =
            || Follower::open(path)?.read().iter()?.try_for_each(|event| event.map(drop));
        refused(followed(), "followed");
        let exported = || Store::repair(path)?.export(to.path().join("new")).map(drop);
        refused(exported(), "exported");
        let after = contents(path);
        assert!(before == after, "{case}: something was changed");
    }
}

/// A `Following` moved past a frame before it had read the events in it: after an error, the next call returned
/// the next frame's events, and those of the frame that could not be read were missed silently. What could not be
/// read is asked for again.
#[test]
fn a_follower_does_not_pass_what_it_could_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for n in 1..=3_u8 {
        let event = NewEvent::bytes("T", vec![n; 100]);
        store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let path = directory.path().join("journal/00000000000000000001");
    let sound = fs::read(&path).unwrap();
    // The second frame's event is of a newer version, all checksums right.
    let mut bytes = sound.clone();
    let length_at = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    };
    let at = 4_096 + length_at(&bytes, 4_096 + 8).next_multiple_of(8);
    let frame = &mut bytes[at..];
    let length = length_at(frame, 8);
    let frame = &mut frame[..length];
    // After the entry's header, the name's length, the version, and "A-1": bytes 16 and 17 of the envelope.
    let flags = 104 + 9 + 2 + 8 + 3 + 16;
    frame[flags + 1] |= 0x80;
    let entry = &mut frame[104..];
    let crc = crc32c::crc32c_append(crc32c::crc32c(&entry[..5]), &entry[9..]);
    entry[5..9].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..96]), &frame[104..]);
    frame[96..100].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&frame[..100]);
    frame[100..104].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, bytes).unwrap();

    let patience = std::time::Duration::from_secs(30);
    let mut following = Follower::open(directory.path()).unwrap().read().follow();
    assert_eq!(following.recv_timeout(patience).unwrap().position.get(), 1);
    for _ in 0..2 {
        let error = following.recv_timeout(patience).expect_err("a newer version wrote it");
        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{error}");
        assert_eq!(following.position().get(), 1);
    }
    // Read by anybody who can.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &sound[at..], at as u64).unwrap();
    for position in [2, 3] {
        assert_eq!(following.recv_timeout(patience).unwrap().position.get(), position);
    }
}
