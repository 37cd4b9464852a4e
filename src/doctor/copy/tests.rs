use super::*;
use crate::codec::bin::encode;
use crate::codec::group::{GroupRecord, Shelf, TriedRecord, group_key, part_key, shelf_key};
use crate::codec::process::{
    ParkedStep, StoredPosition, StoredStep, WaitsFrom, aside_prefix, aside_suffix, cursor_key,
    deadline_prefix, done_key, effects_prefix, encode_cursor, encode_effects, given_up_key,
    parked_prefix, waits_prefix,
};
use crate::doctor::copy::state::{KeptState, Moves};
use crate::journal::recover;
use crate::log::commit::Commit as NewCommit;
use crate::storage::disk::RealDisk;
use crate::store::Store;
use crate::value::limits::COPY_STATE_BYTES_MAX;
use crate::value::position::ExpectedVersion;
use crate::value::random::{Random, first_seed, rounds};

/// What is in the frames of a store: commits of events by stream, version, id and content, and of tracked positions.
fn commits(store: &Store) -> Vec<Vec<(String, u64, Bytes)>> {
    let mut commits: Vec<Vec<_>> = Vec::new();
    let log = store.log.log();
    each_frame(log, log.head.visible().1, "", |frame| {
        for entry in frame.entries() {
            let (offset, _, entry) = entry.unwrap();
            if frame.begins_commit(offset) {
                commits.push(Vec::new());
            }
            let item = match entry {
                Entry::Event { stream, version, envelope } => {
                    (String::from_utf8(stream.to_vec()).unwrap(), version, envelope)
                }
                Entry::Record(bytes) => (String::new(), 0, bytes),
            };
            commits.last_mut().expect("an entry is in a commit").push(item);
        }
        Ok(())
    })
    .unwrap();
    commits
}

fn copied(
    store: &Store,
    to: &Path,
    mut change: impl FnMut(&RecordedEvent) -> Instead,
) -> (Copy, Store) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let id = Uuid::now_v7();
    std::fs::create_dir_all(journal_directory(to)).unwrap();
    let mut change = |event: &RecordedEvent| Ok(change(event));
    let copy = copy(store.log.log(), &disk, to, id, &mut change).unwrap();
    let manifest = crate::journal::manifest::Manifest::of_store(id, Micros(1));
    crate::journal::manifest::write(&*disk, to, &manifest).unwrap();
    (copy, Store::open(to).unwrap())
}

fn parts(event: &RecordedEvent, parts: u64) -> Instead {
    let part = |n| NewEvent::bytes(format!("Part{n}"), event.payload.clone());
    Instead::Others((0..parts).map(part).collect())
}

/// A copy wrote a commit of several streams as several commits: a crash of who reads it, between two of them, would
/// have found half of it.
#[test]
fn what_was_in_one_commit_is_in_one_commit() {
    for seed in first_seed()..first_seed() + rounds(20) {
        let random = &mut Random::new(seed);
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        for n in 0..30 {
            let mut commit = NewCommit::new().tracking("other", Position::new(n + 1));
            for stream in 0..random.below(4) {
                let events = (0..=random.below(3)).map(|_| NewEvent::bytes("T", vec![n as u8]));
                let events: Vec<_> = events.collect();
                commit = commit.append(format!("S-{stream}"), ExpectedVersion::Any, events);
            }
            store.commit(commit).unwrap();
        }
        let becomes: Vec<u64> =
            (0..store.head().get()).map(|_| [0, 1, 1, 1, 3][random.below(5) as usize]).collect();
        let (copy, target) = copied(&store, &directory.path().join("copy"), |event| match becomes
            [event.position.get() as usize - 1]
        {
            1 => Instead::Itself,
            others => parts(event, others),
        });
        // Each commit with as many entries for each of its streams as there should be; of none, there is no commit.
        let (mut position, mut expected) = (0, Vec::new());
        for commit in commits(&store) {
            let mut entries = Vec::new();
            for (stream, version, _) in commit {
                let times = if version == 0 { 1 } else { becomes[position] };
                position += usize::from(version > 0);
                entries.extend((0..times).map(|_| stream.clone()));
            }
            expected.push(entries);
        }
        expected.retain(|commit| !commit.is_empty());
        let met: Vec<Vec<String>> = commits(&target)
            .into_iter()
            .map(|commit| commit.into_iter().map(|(stream, _, _)| stream).collect())
            .collect();
        assert_eq!(met, expected, "seed {seed}");
        assert_eq!(copy.events, becomes.iter().sum::<u64>(), "seed {seed}");
        assert!(target.verify().unwrap().is_whole(), "seed {seed}");
    }
}

#[test]
fn a_frame_that_gets_too_long_is_written_commit_by_commit() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (path, store) = (journal_directory(directory.path()), Uuid::now_v7());
    let mut journal = NewJournal::create(&disk, &path, store).unwrap();
    let mut version = 0;
    for events in [1, 3, 1, 9, 1, 1, 2] {
        let begin = journal.mark();
        journal.record(&Record::State { key: "k".into(), value: vec![1] }.encode(), true);
        for _ in 0..events {
            version += 1;
            let event = NewEvent::bytes("T", vec![7; 100]).id(Uuid::from_u128(version.into()));
            journal.event("A-1", version, false, |out| envelope::encode(&event, out));
        }
        assert_eq!(journal.events_since(begin), events);
        journal.end_long_frame(begin, 900, Micros(5)).unwrap();
        assert_eq!(journal.next_position(), version + 1);
    }
    journal.end_frame(Kind::Group, Micros(5)).unwrap();
    journal.close().unwrap();
    journal.finish().unwrap();
    let read = recover::open(disk, &path, store).unwrap();
    let frames = read.journal.frames(read.journal.start(), 1, read.writer.end().next);
    let frames: Vec<_> = frames.map(|frame| frame.unwrap().1).collect();
    let events: Vec<u32> = frames.iter().map(|frame| frame.header.events).collect();
    assert_eq!(events, [5, 9, 4, 0]);
    let begun = |frame: &Frame| {
        let entries = frame.entries().map(Result::unwrap);
        entries.filter(|(offset, ..)| frame.begins_commit(*offset)).count()
    };
    assert_eq!(frames.iter().map(begun).collect::<Vec<_>>(), [3, 1, 3, 0]);
}

#[test]
fn what_a_change_returned_is_refused_with_its_place_and_both_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let events = [NewEvent::json("T", &1).unwrap(), NewEvent::bytes("U", vec![1])];
    store.append("A-1", ExpectedVersion::Any, events).unwrap();
    let many = |event: &RecordedEvent| parts(event, COMMIT_EVENTS_MAX as u64);
    let large = |event: &RecordedEvent| {
        let part = |_| NewEvent::bytes("T", vec![0; COMMIT_BYTES_MAX / 8]);
        Instead::Others((0..8).map(part).filter(|_| event.version.get() == 2).collect())
    };
    let no_type = |_: &RecordedEvent| Instead::Others(vec![NewEvent::bytes("", vec![])]);
    let no_json = |event: &RecordedEvent| {
        let new = NewEvent::with_payload("T".into(), event.format, "{".into());
        Instead::Others(vec![new])
    };
    let (events, bytes) = (COMMIT_EVENTS_MAX.to_string(), COMMIT_BYTES_MAX.to_string());
    type Change<'a> = &'a dyn Fn(&RecordedEvent) -> Instead;
    let cases: [(&str, Change<'_>, ErrorKind, [&str; 2]); 4] = [
        ("many", &many, ErrorKind::TooLarge, ["position 2", &events]),
        ("large", &large, ErrorKind::TooLarge, ["position 2", &bytes]),
        ("no type", &no_type, ErrorKind::InvalidInput, ["position 1", "event type is empty"]),
        ("no JSON", &no_json, ErrorKind::InvalidInput, ["position 1", "does not read as JSON"]),
    ];
    for (name, change, kind, said) in cases {
        let to = directory.path().join(name);
        std::fs::create_dir_all(journal_directory(&to)).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let mut change = |event: &RecordedEvent| Ok(change(event));
        let error = copy(store.log.log(), &disk, &to, Uuid::now_v7(), &mut change).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        for said in said {
            assert!(error.to_string().contains(said), "{name}: {error}");
        }
    }
}

/// The state of a log of ten events, of which the third is left out, the fifth has three in its place, and the others
/// one, as it is in the copy; and of a stream whose versions move.
fn moved(state: &[(String, Vec<u8>)]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut kept = KeptState::default();
    for (key, value) in state {
        kept.put(key.clone(), value.clone())?;
    }
    let mut moves = Moves::of(&kept)?;
    for (position, after) in (1..).zip([1, 2, 2, 3, 6, 7, 8, 9, 10, 11]) {
        moves.pass(position, after);
    }
    let mut versions = Versions::default();
    versions.moved("P-moved", 2)?;
    kept.moved(&moves, &versions)
}

fn one_moved(key: &str, value: Vec<u8>) -> Result<(String, Vec<u8>)> {
    let mut moved = moved(&[(key.to_owned(), value)])?;
    assert_eq!(moved.len(), 1);
    Ok(moved.remove(0))
}

#[test]
fn a_group_goes_on_where_it_was() {
    let tried = |position, attempts| TriedRecord { position, attempts, due: -1 };
    let group = GroupRecord {
        cursor: 2,
        finished: vec![(3, 3), (5, 6), (8, 8)],
        tried: vec![tried(3, 7), tried(4, 1), tried(5, 2), tried(10, 3)],
        ..GroupRecord::default()
    };
    let expected = GroupRecord {
        cursor: 2,
        finished: vec![(4, 7), (9, 9)],
        tried: vec![tried(3, 1), tried(4, 2), tried(11, 3)],
        ..GroupRecord::default()
    };
    for key in [group_key("g"), part_key("g", 3)] {
        let (now, value) = one_moved(&key, encode(&group)).unwrap();
        assert_eq!((now, value), (key, encode(&expected)));
    }
    for cursor in [(0, 0), (3, 2), (5, 6), (10, 11)] {
        let group = |cursor| encode(&GroupRecord { cursor, ..GroupRecord::default() });
        assert_eq!(one_moved("group/g", group(cursor.0)).unwrap().1, group(cursor.1));
    }
    for shelf in [Shelf::Parked, Shelf::Replay] {
        let parked: Vec<_> =
            [1, 3, 5].map(|at| (shelf_key("g", shelf, at), vec![at as u8])).to_vec();
        let expected: Vec<_> = [(1, 1), (4, 5), (5, 5), (6, 5)]
            .map(|(now, at)| (shelf_key("g", shelf, now), vec![at]))
            .to_vec();
        assert_eq!(moved(&parked).unwrap(), expected);
    }
}

#[test]
fn a_process_goes_on_where_it_was() {
    let parked = |step| {
        let (what, error) = ("w".to_owned(), "e".to_owned());
        encode(&ParkedStep { step, what, error, attempts: 1, parked_at: 2 })
    };
    let aside =
        |step, id: &str| (format!("{}{}", aside_prefix("P"), aside_suffix(step, id)), parked(step));
    let waits = |position| encode(&WaitsFrom { position });
    let under = |prefix: String, id: &str, value: Vec<u8>| (format!("{prefix}{id}"), value);
    let same = |kept: (String, Vec<u8>)| (kept.clone(), kept);
    let (event, route) = (StoredStep::Event, StoredStep::Route);
    let cases = [
        ((cursor_key("P"), encode_cursor(5, true)), (cursor_key("P"), encode_cursor(6, true))),
        ((cursor_key("P"), encode_cursor(3, false)), (cursor_key("P"), encode_cursor(2, false))),
        same(under(deadline_prefix("P"), "moved", vec![10, 0])),
        same(under(effects_prefix("P"), "a", encode_effects(&[(7, 9)]))),
        (under(waits_prefix("P"), "a", waits(5)), under(waits_prefix("P"), "a", waits(4))),
        (under(waits_prefix("P"), "a", waits(3)), under(waits_prefix("P"), "a", waits(3))),
        (
            under(parked_prefix("P"), "a", parked(event(10))),
            under(parked_prefix("P"), "a", parked(event(11))),
        ),
        same(under(parked_prefix("P"), "a", parked(StoredStep::Effect(3)))),
        same(under(parked_prefix("P"), "moved", parked(StoredStep::Deadline(-3)))),
        (aside(event(4), "a-b"), aside(event(3), "a-b")),
        (aside(route(10), ""), aside(route(11), "")),
        same(aside(StoredStep::Effect(7), "a")),
        same(aside(StoredStep::Deadline(7), "moved")),
    ];
    let done = |position| (done_key("P"), encode(&StoredPosition { position }));
    assert_eq!(moved(&[done(5)]).unwrap(), [done(6)]);
    let given_up = |position| (given_up_key("P", position), encode(&StoredPosition { position }));
    let given_up_moved = moved(&[given_up(1), given_up(3), given_up(5)]).unwrap();
    assert_eq!(
        given_up_moved,
        [1, 4, 5, 6].map(given_up),
        "one is left out, one is split in three"
    );
    for ((key, value), expected) in cases {
        assert_eq!(one_moved(&key, value).unwrap(), expected, "{key}");
    }
    let refused = [
        under(effects_prefix("P"), "moved", encode_effects(&[(7, 9)])),
        under(parked_prefix("P"), "moved", parked(StoredStep::Effect(3))),
        under(parked_prefix("P"), "a", parked(event(3))),
        under(parked_prefix("P"), "a", parked(event(5))),
        aside(event(5), "a"),
        aside(StoredStep::Effect(7), "moved"),
    ];
    for (key, value) in refused {
        let error = one_moved(&key, value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{key}");
        assert!(error.to_string().contains("P-"), "{error}");
    }
    for (key, value, kind) in [
        ("process/cursor/P", vec![0, 2, 7, 7], ErrorKind::UnsupportedFormat),
        ("process/cursor/P", vec![7, 7], ErrorKind::Corrupt),
        ("group/g", vec![7], ErrorKind::Corrupt),
        ("other/g", vec![7], ErrorKind::UnsupportedFormat),
    ] {
        assert_eq!(one_moved(key, value).unwrap_err().kind(), kind, "{key}");
    }
}

#[test]
fn more_state_than_may_be_held_is_an_error_with_both_numbers() {
    let mut kept = KeptState::default();
    let value = |bytes| vec![1; bytes];
    kept.put("a".into(), value(COPY_STATE_BYTES_MAX - 1_000)).unwrap();
    // What is replaced or removed does not count.
    for _ in 0..3 {
        kept.put("b".into(), value(800)).unwrap();
    }
    kept.put("b".into(), Vec::new()).unwrap();
    kept.put("c".into(), value(800)).unwrap();
    let error = kept.put("d".into(), value(800)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    let said = error.to_string();
    let met = (COPY_STATE_BYTES_MAX - 1_000 + 2 * 800 + 3 * 65).to_string();
    let allowed = COPY_STATE_BYTES_MAX.to_string();
    assert!(said.contains(&met) && said.contains(&allowed), "{said}");
}

/// A store with a quarter of a million deadlines could not be copied.
#[test]
fn deadlines_are_not_held() {
    const RECORDS: usize = 250_000;
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let (path, store) = (journal_directory(directory.path()), Uuid::now_v7());
    let mut journal = NewJournal::create(&disk, &path, store).unwrap();
    let instance = "i".repeat(COPY_STATE_BYTES_MAX / RECORDS);
    for n in 0..RECORDS {
        let key = format!("{}{instance}{n}", deadline_prefix("P"));
        let begin = journal.mark();
        journal.record(&Record::State { key, value: vec![10, 0] }.encode(), true);
        journal.end_long_frame(begin, GROUP_BYTES_MAX, Micros(5)).unwrap();
    }
    journal.record(&Record::State { key: group_key("g"), value: vec![1] }.encode(), true);
    journal.end_frame(Kind::Group, Micros(5)).unwrap();
    journal.finish().unwrap();
    let read = recover::open(disk, &path, store).unwrap();
    let frames = read.journal.frames(read.journal.start(), 1, read.writer.end().next);
    let mut kept = KeptState::default();
    for frame in frames {
        kept.see(&frame.unwrap().1, |what| panic!("{what}")).unwrap();
    }
    let moved = kept.moved(&Moves::of(&KeptState::default()).unwrap(), &Versions::default());
    assert!(moved.is_err_and(|error| error.to_string().contains("group/g")), "only it is held");
}

#[test]
fn deadlines_are_copied_where_they_stand() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let set = |n: u8, value: Vec<u8>| {
        let event = NewEvent::bytes("T", vec![n]);
        let commit = NewCommit::new().append(format!("P-{n}"), ExpectedVersion::Any, [event]);
        store.commit(commit.state(format!("{}{n}", deadline_prefix("P")), value)).unwrap();
    };
    for (n, value) in [(1, vec![1]), (2, vec![2]), (3, vec![3]), (2, vec![]), (3, vec![4])] {
        set(n, value);
    }
    set(1, vec![]);
    set(1, vec![5]);
    let kept = |store: &Store| store.log.log().records_with_prefix(&deadline_prefix("P")).unwrap();
    assert_eq!(kept(&store).into_values().collect::<Vec<_>>(), [vec![5], vec![4]]);
    for (name, others) in [("unchanged", 1), ("split", 2), ("nothing", 0)] {
        let (copy, target) = copied(&store, &directory.path().join(name), |event| match others {
            1 => Instead::Itself,
            _ => parts(event, others),
        });
        assert_eq!(copy.events, others * copy.position);
        assert_eq!(kept(&target), kept(&store), "{name}");
    }
}
