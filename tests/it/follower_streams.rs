//! A follower finds the events of one stream, and lists streams, by the index that the writing process keeps: it shows
//! what the store itself shows, whatever the index holds.

use crate::common::whole::{copy_into, files};
use crate::common::{Random, seed};
use filmstrip::{ErrorKind, ExpectedVersion, Follower, NewEvent, RecordedEvent, Result};
use filmstrip::{Store, StreamInfo, Version};
use std::fs;
use std::path::{Path, PathBuf};

const STREAMS: u64 = 300;
const FILLER: &str = "Filler-1";

/// What a store shows: its streams, and the events of each but the filler's.
type Shown = Vec<(StreamInfo, Vec<RecordedEvent>)>;

fn shown(store: &Store) -> Result<Shown> {
    let events = |info: StreamInfo| {
        let is_filler = info.stream.as_str() == FILLER;
        let events =
            store.read_stream(info.stream.as_str()).limit(if is_filler { 0 } else { u64::MAX });
        Ok((info, events.collect()?))
    };
    store.streams().iter()?.map(|info| info.and_then(events)).collect()
}

fn write_some(store: &Store, random: &mut Random, count: u64) -> Result<()> {
    for _ in 0..count {
        let stream = match random.below(3) {
            0 => "Hot-1".to_owned(),
            1 => format!("Door-{}", random.below(STREAMS)),
            _ => format!("Lamp-{}", random.below(STREAMS)),
        };
        // Some are too large for a table, which then refers to the journal.
        let bytes = if random.below(20) == 0 { 5_000 } else { random.below(300) };
        let payload = vec![random.below(256) as u8; bytes as usize];
        let events = (0..1 + random.below(3)).map(|_| NewEvent::bytes("Changed", payload.clone()));
        store.append(stream, ExpectedVersion::Any, events)?;
    }
    Ok(())
}

/// Writes until the index has all that there is now.
fn fill(store: &Store) -> Result<()> {
    let head = store.head().get();
    let large = vec![0; 4 << 20];
    while store.head().get() - store.stats()?.index.unindexed_events < head {
        let event = NewEvent::bytes("Filled", large.clone());
        store.append(FILLER, ExpectedVersion::Any, [event])?;
    }
    Ok(())
}

/// Asserts that the follower shows what the store does.
fn compare(expected: &Shown, follower: &Follower, random: &mut Random) -> Result<()> {
    let infos = || expected.iter().map(|(info, _)| info);
    assert!(follower.streams().collect()?.iter().eq(infos()));
    let doors = infos().filter(|info| info.stream.as_str().starts_with("Door-1"));
    assert!(follower.streams().prefix("Door-1").collect()?.iter().eq(doors));
    let lamps = infos().filter(|info| info.stream.category() == "Lamp");
    assert!(follower.streams().category("Lamp").collect()?.iter().eq(lamps));
    let none = follower.streams().category("Lamp").prefix("Door").collect()?;
    assert_eq!(none, []);
    let middle = &expected[random.below(expected.len() as u64) as usize].0.stream;
    let rest = follower.streams().after(middle.clone()).collect()?;
    assert!(rest.iter().eq(infos().filter(|info| info.stream > *middle)), "after {middle}");
    let hot = expected.iter().filter(|(info, _)| info.stream.as_str() == "Hot-1");
    let some = (0..4).map(|_| &expected[random.below(expected.len() as u64) as usize]);
    let chosen: Vec<_> =
        hot.chain(some).filter(|(info, _)| info.stream.as_str() != FILLER).collect();
    for (info, events) in chosen {
        let stream = info.stream.as_str();
        assert_eq!(follower.stream_info(stream)?, *info);
        assert_eq!(follower.read_stream(stream).collect()?, *events, "{stream}");
        let [after, until] = [0; 2].map(|_: u8| random.below(info.version.get() + 2));
        let limit = random.below(5);
        let wanted = |event: &&RecordedEvent| (after + 1..=until).contains(&event.version.get());
        let part: Vec<_> = events.iter().filter(wanted).take(limit as usize).cloned().collect();
        let read = follower.read_stream(stream).after(Version::new(after));
        let read = read.until(Version::new(until)).limit(limit).collect()?;
        assert_eq!(read, part, "{stream} after {after} until {until}, {limit}");
    }
    for missing in ["Door-none", "Zoo-1"] {
        let kind = |error: filmstrip::Error| error.kind();
        let read = follower.read_stream(missing).collect().map_err(kind);
        assert_eq!(read, Err(ErrorKind::StreamNotFound));
        let info = follower.stream_info(missing).map_err(kind);
        assert_eq!(info, Err(ErrorKind::StreamNotFound));
    }
    Ok(())
}

fn tables(store: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(store.join("index/packs")).expect("tables");
    files.map(|file| file.expect("a file").path()).collect()
}

/// A copy of a closed store, whose journal is the same files.
fn copy_with_linked_journal(from: &Path, to: &Path) {
    for file in files(from).into_iter().filter(|file| !file.starts_with("views")) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().expect("a directory")).expect("created");
        match file.starts_with("journal") {
            true => fs::hard_link(from.join(&file), target).expect("linked"),
            false => drop(fs::copy(from.join(&file), target).expect("copied")),
        }
    }
}

/// The index is derived. A follower, which cannot rebuild it, reads the journal in its place.
const DAMAGES: [fn(&Path); 4] = [
    |store| fs::remove_file(store.join("index.checkpoint")).expect("removed"),
    |store| fs::remove_dir_all(store.join("index")).expect("removed"),
    |store| {
        for table in tables(store) {
            let bytes = fs::read(&table).expect("a table");
            fs::write(table, &bytes[..bytes.len() / 2]).expect("written");
        }
    },
    // What is in the middle is found when a page is read.
    |store| {
        for table in tables(store) {
            let mut bytes = fs::read(&table).expect("a table");
            let middle = bytes.len() / 2;
            bytes[64..middle].iter_mut().step_by(50).for_each(|byte| *byte ^= 1);
            fs::write(table, &bytes).expect("written");
        }
    },
];

#[test]
fn a_follower_shows_each_stream_as_the_store_does_whatever_the_index_holds() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let random = &mut Random(seed());
    let store = Store::open(&path)?;
    let follower = Follower::open(&path)?;
    assert_eq!(follower.streams().collect()?, []);
    let read = follower.read_stream("Hot-1").collect();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::StreamNotFound);
    write_some(&store, random, 500)?;
    assert!(store.stats()?.index.unindexed_events > 500, "nothing is indexed yet");
    compare(&shown(&store)?, &follower, random)?;
    fill(&store)?;
    write_some(&store, random, 300)?;
    compare(&shown(&store)?, &follower, random)?;
    // Another index, whose tables have the numbers of this one's.
    store.rebuild_index()?;
    write_some(&store, random, 50)?;
    let expected = shown(&store)?;
    compare(&expected, &follower, random)?;
    store.close()?;
    compare(&expected, &follower, random)?;
    for (n, damage) in DAMAGES.iter().enumerate() {
        let copied = directory.path().join(n.to_string());
        copy_with_linked_journal(&path, &copied);
        assert!(!tables(&copied).is_empty(), "something is indexed");
        damage(&copied);
        compare(&expected, &Follower::open(&copied)?, random)?;
    }
    Ok(())
}

/// Names come from the index and from what that lacks, each a part at a time.
#[test]
fn a_listing_of_more_streams_than_a_part_has_each_of_them_once() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::open(directory.path())?;
    let write = |numbers: std::ops::Range<u32>, step: usize| {
        let events = |number| {
            let event = NewEvent::bytes("Changed", "");
            filmstrip::Commit::new().append(
                format!("Door-{number:05}"),
                ExpectedVersion::Any,
                [event],
            )
        };
        numbers.step_by(step).try_for_each(|number| store.commit(events(number)).map(drop))
    };
    write(0..2_400, 2)?;
    fill(&store)?;
    write(0..2_400, 3)?;
    let follower = Follower::open(directory.path())?;
    let listed = follower.streams().collect()?;
    assert_eq!(listed, store.streams().collect()?);
    assert!(listed.len() > 1_024, "more than two parts");
    Ok(())
}

/// Two copies of a store went on in their own ways, and one got the other's index. The store itself rebuilds it.
#[test]
fn an_index_of_another_history_is_not_believed() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
    let append = |path: &Path, event_type: &str| {
        let store = Store::open(path)?;
        store.append("Door-1", ExpectedVersion::Any, [NewEvent::bytes(event_type, "")])?;
        Result::<_, filmstrip::Error>::Ok(store)
    };
    append(&one, "Installed")?.close()?;
    copy_into(&one, &other);
    append(&one, "Opened")?.close()?;
    let store = append(&other, "Locked")?;
    fill(&store)?;
    store.close()?;
    // As long as the other's, so that its end does not give the index away.
    let end = Store::open(&other)?.head();
    let store = Store::open(&one)?;
    while store.head() < end {
        let large = vec![0; 4 << 20];
        store.append(FILLER, ExpectedVersion::Any, [NewEvent::bytes("Filled", large)])?;
    }
    let expected = store.read_stream("Door-1").collect()?;
    store.close()?;
    let _ = fs::remove_dir_all(one.join("index"));
    copy_into(&other.join("index"), &one.join("index"));
    fs::copy(other.join("index.checkpoint"), one.join("index.checkpoint")).expect("copied");
    assert!(!tables(&one).is_empty(), "something is indexed");
    let read = Follower::open(&one)?.read_stream("Door-1").collect()?;
    assert_eq!(read, expected);
    Ok(())
}
