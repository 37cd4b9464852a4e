//! What can be read of a damaged store goes into a new one, and nothing is left out silently.
//!
//! `FILMSTRIP_FLIPS=500 cargo test --release --test it repair::` for a long run.

use crate::common::whole;
use crate::common::whole::{all, contents, copy, files, flip, sample, write_some};
use crate::common::{Random, seed_or};
use filmstrip::repair::{Exported, FindingKind};
use filmstrip::{ErrorKind, ExpectedVersion, NewEvent, Position, RecordedEvent, Store, Version};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

fn segment(store: &Path, number: u64) -> PathBuf {
    store.join(format!("journal/{number:020}"))
}

/// Without it, what the journal loses is lost.
fn remove_index(store: &Path) {
    fs::remove_dir_all(store.join("index")).unwrap();
    fs::remove_file(store.join("index.checkpoint")).unwrap();
}

/// Exports a damaged store, and checks that it is left as it was and that the new one is whole.
fn export(damaged: &Path, to: &Path) -> (Exported, Vec<RecordedEvent>) {
    let before = contents(damaged);
    let exported = Store::repair(damaged).unwrap().export(to).unwrap();
    assert!(contents(damaged) == before, "the damaged store was changed");
    let verified = Store::verify_at(to).unwrap();
    assert!(verified.is_whole(), "{:#?}", verified.findings);
    let store = Store::open(to).unwrap();
    let events = all(&store);
    assert_eq!((exported.events, store.head().get()), (events.len() as u64, events.len() as u64));
    assert!(store.verify().unwrap().is_whole());
    (exported, events)
}

/// Each exported event is one of the original ones, moved as the report says, in order; and whatever
/// is missing is accounted for.
fn check_accounted(exported: &Exported, events: &[RecordedEvent], original: &[RecordedEvent]) {
    let moved: HashMap<u64, u64> = exported
        .renumbered
        .iter()
        .flat_map(|r| (r.first.get()..=r.last.get()).map(|p| (r.now.get() + p - r.first.get(), p)))
        .collect();
    let mut last = 0;
    for event in events {
        let now = event.position.get();
        let then = moved.get(&now).copied().unwrap_or(now);
        assert!(then > last, "the order has changed at {now}");
        last = then;
        let mut event = event.clone();
        event.position = Position::new(then);
        assert!(event == original[then as usize - 1], "position {then} has changed");
    }
    let lost = exported.lost.iter().map(|r| r.end().get() + 1 - r.start().get()).sum::<u64>();
    let sum = exported.events + exported.left_out + lost;
    assert_eq!(sum, original.len() as u64, "{exported:#?}");
    let lines = match &exported.left_out_file {
        Some(file) => fs::read_to_string(file).unwrap(),
        None => String::new(),
    };
    assert_eq!(
        lines.lines().filter(|l| l.starts_with("{\"event\"")).count() as u64,
        exported.left_out
    );
    assert_eq!(lines.lines().filter(|l| l.starts_with("{\"lost\"")).count(), exported.lost.len());
}

fn original() -> (tempfile::TempDir, Vec<RecordedEvent>) {
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    let events = all(&Store::open(copy(directory.path()).path()).unwrap());
    (directory, events)
}

#[test]
fn a_whole_store_is_exported_whole() {
    let (directory, original) = original();
    let to = tempfile::tempdir().unwrap();
    let head = Store::open(copy(directory.path()).path()).unwrap().head_hash();
    let (exported, events) = export(directory.path(), &to.path().join("new"));
    assert!(events == original, "the events differ");
    assert!(exported.lost.is_empty() && exported.renumbered.is_empty(), "{exported:#?}");
    assert_eq!((exported.left_out_file, exported.from_index), (None, 0));
    let store = Store::open(to.path().join("new")).unwrap();
    assert_eq!(store.tracked("importer").unwrap().get(), 60);
    assert_eq!(store.head_hash(), head, "another history");
}

/// A last frame that reads as zeros although it was acknowledged is `Corrupt`; everything before it can be saved,
/// and what is lost is named. A kill leaves the store, because closing it writes one more frame.
#[test]
fn a_store_whose_last_acknowledged_frame_is_gone_is_exported_up_to_it() {
    let (directory, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let running = Store::open(directory.path()).unwrap();
    for n in 0..5 {
        running.append("A-1", Version::new(n), [NewEvent::json("N", &n).unwrap()]).unwrap();
    }
    let killed = copy(directory.path());
    let path = segment(killed.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.windows(4).rposition(|magic| magic == b"FSFR").unwrap();
    bytes[last..].fill(0);
    fs::write(&path, bytes).unwrap();
    let error = Store::open(copy(killed.path()).path()).expect_err("an event is gone");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let (exported, events) = export(killed.path(), &to.path().join("new"));
    assert_eq!((events.len(), exported.lost), (4, vec![Position::new(5)..=Position::new(5)]));
}

#[test]
fn what_the_journal_lost_is_taken_from_the_index() {
    let (directory, original) = original();
    let to = tempfile::tempdir().unwrap();
    let path = segment(directory.path(), 1);
    for at in [50_000, 50_100, 300_000, 700_000] {
        flip(&path, at, 1);
    }
    // The header of a frame, and with it the frame.
    let bytes = fs::read(&path).unwrap();
    let header = bytes.windows(4).skip(400_000).position(|b| b == b"FSFR").unwrap() + 400_000;
    flip(&path, header as u64 + 40, 1);
    assert_eq!(Store::verify_at(directory.path()).unwrap().more_findings, 0);
    let (exported, events) = export(directory.path(), &to.path().join("new"));
    check_accounted(&exported, &events, &original);
    assert!(exported.from_index >= 4, "{exported:#?}");
    assert!(exported.lost.is_empty() && events == original, "{exported:#?}");
}

#[test]
fn a_lost_event_moves_positions_and_cuts_its_stream() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged");
    let store = Store::open(&path).unwrap();
    for n in 1..=4u64 {
        for stream in ["A-1", "B-1"] {
            let event = NewEvent::json("Counted", &format!("{stream} {n}")).unwrap();
            store.append(stream, Version::new(n - 1), [event]).unwrap();
        }
    }
    let original = all(&store);
    store.close().unwrap();
    let bytes = fs::read(segment(&path, 1)).unwrap();
    let at = bytes.windows(7).position(|b| b == b"\"B-1 2\"").unwrap();
    flip(&segment(&path, 1), at as u64, 1);
    assert_eq!(Store::open(&path).expect_err("damaged").kind(), ErrorKind::Corrupt);

    let to = directory.path().join("new");
    let (exported, events) = export(&path, &to);
    check_accounted(&exported, &events, &original);
    let position = Position::new;
    assert_eq!(exported.lost, [position(4)..=position(4)]);
    assert_eq!(exported.cut_streams.len(), 1);
    let cut = &exported.cut_streams[0];
    assert_eq!((cut.stream.as_str(), cut.kept_up_to), ("B-1", Version::new(1)));
    assert_eq!((exported.left_out, exported.events), (2, 5));
    let moved: Vec<_> =
        exported.renumbered.iter().map(|r| (r.first.get(), r.last.get(), r.now.get())).collect();
    assert_eq!(moved, [(5, 5, 4), (7, 7, 5)]);
    let text = fs::read_to_string(exported.left_out_file.unwrap()).unwrap();
    assert!(text.contains("{\"lost\":{\"first\":4,\"last\":4}}"), "{text}");
    assert!(text.contains("{\"stream_cut\":{\"kept_up_to\":1,\"stream\":\"B-1\"}}"), "{text}");
    assert!(text.contains("\"payload\":\"\\\"B-1 4\\\"\""), "{text}");
    // Life goes on.
    let store = Store::open(&to).unwrap();
    let next = NewEvent::json("Counted", &"B-1 again").unwrap();
    assert_eq!(store.append("B-1", Version::new(1), [next]).unwrap().position.get(), 6);
}

#[test]
fn a_missing_segment_costs_what_was_in_it_and_nothing_else() {
    let (directory, original) = original();
    let to = tempfile::tempdir().unwrap();
    remove_index(directory.path());
    fs::remove_file(segment(directory.path(), 1)).unwrap();
    let (exported, events) = export(directory.path(), &to.path().join("new"));
    check_accounted(&exported, &events, &original);
    assert_eq!(exported.lost.len(), 1);
    assert_eq!(exported.lost[0].start().get(), 1);
    assert!(exported.left_out > 0, "streams that began in the lost segment were not cut");
}

#[test]
fn what_an_index_that_is_ahead_holds_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    write_some(&store, 0..40, 3_000);
    store.close().unwrap();
    let old = copy(&path);
    let store = Store::open(&path).unwrap();
    write_some(&store, 40..90, 3_000);
    let original = all(&store);
    store.close().unwrap();
    fs::remove_dir_all(path.join("journal")).unwrap();
    whole::copy_into(&old.path().join("journal"), &path.join("journal"));
    let (exported, events) = export(&path, &directory.path().join("new"));
    assert!(exported.from_index > 300, "{exported:#?}");
    assert!(events.len() > 700, "{exported:#?}");
    check_prefix_of_streams(&events, &original);
}

/// Every stream of `events` is a prefix of what it was.
fn check_prefix_of_streams(events: &[RecordedEvent], original: &[RecordedEvent]) {
    let of = |events: &[RecordedEvent], name: &str| -> Vec<_> {
        let events = events.iter().filter(|e| e.stream == *name);
        events.map(|e| (e.version, e.id, e.recorded_at, e.payload.clone())).collect()
    };
    let mut names: Vec<_> = original.iter().map(|e| e.stream.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (now, then) = (of(events, name), of(original, name));
        assert!(then.starts_with(&now), "{name} has changed");
    }
}

#[test]
fn around_random_damage_everything_is_exported_or_accounted_for() {
    let rounds: u64 = std::env::var("FILMSTRIP_FLIPS").map_or(12, |n| n.parse().expect("a number"));
    let mut random = Random(seed_or(5));
    let (directory, original) = original();
    let journal: Vec<PathBuf> = files(directory.path());
    let journal: Vec<_> = journal
        .into_iter()
        .filter(|f| f.starts_with("journal/") && f.as_os_str().len() == 28)
        .collect();
    for round in 0..rounds {
        let damaged = copy(directory.path());
        if round % 3 > 0 {
            remove_index(damaged.path());
        }
        for _ in 0..=random.below(6) {
            let file = damaged.path().join(&journal[random.below(journal.len() as u64) as usize]);
            let length = fs::metadata(&file).unwrap().len();
            let at = random.below(length);
            match random.below(3) {
                0 => {
                    // A stretch of zeros, as a lost sector leaves it.
                    let file = OpenOptions::new().write(true).open(&file).unwrap();
                    let zeros = vec![0; 4_096.min((length - at) as usize)];
                    std::os::unix::fs::FileExt::write_all_at(&file, &zeros, at).unwrap();
                }
                _ => flip(&file, at, 1 << random.below(8)),
            }
        }
        let to = tempfile::tempdir().unwrap();
        println!("round {round}");
        let (exported, events) = export(damaged.path(), &to.path().join("new"));
        check_accounted(&exported, &events, &original);
        check_prefix_of_streams(&events, &original);
    }
}

#[test]
fn an_export_goes_into_an_empty_directory_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    store.append("A-1", ExpectedVersion::Any, [NewEvent::bytes("T", "x")]).unwrap();
    store.close().unwrap();
    fs::create_dir(directory.path().join("full")).unwrap();
    fs::write(directory.path().join("full/x"), "x").unwrap();
    let repair = Store::repair(&path).unwrap();
    for to in [directory.path().join("full"), path.join("inside"), path.clone()] {
        let before = contents(directory.path());
        let error = repair.export(&to).expect_err("not an empty directory");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(contents(directory.path()) == before, "something was changed");
    }
}

/// An export that was killed left `journal` behind, and one into the same directory was refused from then on, because
/// it was not empty. What an unfinished export has made says so, is no store, and is replaced; nothing else is.
#[test]
fn an_export_that_a_crash_ended_is_no_store_and_is_replaced_by_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let (path, to) = (directory.path().join("store"), directory.path().join("to"));
    sample(&path);
    // As a kill leaves it.
    fs::create_dir_all(to.join("journal")).unwrap();
    fs::write(to.join("export.unfinished"), "").unwrap();
    for number in 1..=9 {
        fs::copy(segment(&path, 1), segment(&to, number)).unwrap();
    }
    fs::write(to.join("export.unfinished.jsonl"), "{\"lost\":").unwrap();
    let beside = directory.path().join("to.left-out.jsonl");
    fs::hard_link(to.join("export.unfinished.jsonl"), &beside).unwrap();
    let error = Store::open(&to).expect_err("it is unfinished");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("export.unfinished"), "{error}");

    fs::write(to.join("diary"), "not ours").unwrap();
    let before = contents(directory.path());
    let refused = Store::repair(&path).unwrap().export(&to).expect_err("something else is in it");
    assert!(refused.to_string().contains("diary"), "{refused}");
    assert!(contents(directory.path()) == before, "something was changed");
    fs::remove_file(to.join("diary")).unwrap();

    let (exported, _) = export(&path, &to);
    assert_eq!(exported.left_out_file, None);
    assert!(!to.join("export.unfinished").exists() && !segment(&to, 9).exists());
    assert!(!beside.exists() && !to.join("export.unfinished.jsonl").exists());
}

/// An export into the directory of an unfinished one removed whatever was named as its list of what is left out: a
/// stranger's file too, if the directory had been renamed meanwhile.
#[test]
fn a_strangers_file_beside_an_unfinished_export_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (path, to) = (directory.path().join("store"), directory.path().join("renamed"));
    sample(&path);
    let beside = directory.path().join("renamed.left-out.jsonl");
    for has_list in [false, true] {
        fs::create_dir_all(to.join("journal")).unwrap();
        fs::write(to.join("export.unfinished"), "").unwrap();
        if has_list {
            fs::write(to.join("export.unfinished.jsonl"), "{\"lost\":").unwrap();
        }
        fs::write(&beside, "{\"lost\":").unwrap();
        let before = contents(directory.path());
        let refused = Store::repair(&path).unwrap().export(&to).expect_err("it is a stranger's");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
        assert!(refused.to_string().contains("is there already"), "{refused}");
        assert!(contents(directory.path()) == before, "something was changed");
    }
    fs::remove_file(&beside).unwrap();
    export(&path, &to);
    assert!(!beside.exists() && !to.join("export.unfinished.jsonl").exists());
}

/// With the manifest of another store in place of its own, an export brought nothing and said that nothing was
/// lost: each segment was another store's. What most segments say is believed over a file of a few bytes.
#[test]
fn the_segments_say_which_store_it_is_when_the_manifest_is_anothers() {
    let directory = tempfile::tempdir().unwrap();
    let (path, other) = (directory.path().join("store"), directory.path().join("other"));
    sample(&path);
    drop(Store::open(&other).unwrap());
    let original = all(&Store::open(&path).unwrap());
    fs::copy(other.join("MANIFEST"), path.join("MANIFEST")).unwrap();
    assert_eq!(Store::open(&path).expect_err("it is another's").kind(), ErrorKind::Corrupt);
    let verified = Store::verify_at(&path).unwrap();
    let [finding] = &verified.findings[..] else { panic!("{:#?}", verified.findings) };
    assert_eq!(finding.kind, FindingKind::Manifest, "{finding}");
    assert_eq!(verified.events, original.len() as u64);
    let (exported, events) = export(&path, &directory.path().join("to"));
    assert!(exported.lost.is_empty() && events == original, "{exported:?}");
}
