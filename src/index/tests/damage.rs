use super::*;
use crate::codec::checkpoint::StoredCheckpoint;
use crate::limits::SLED_SEGMENT_BYTES;
use std::path::PathBuf;

/// A closed index that holds `truth` up to 600. sled reads one part of it back from its snapshot of
/// the page table, when it comes to need a page, and the other from the log, when it opens.
fn sample(dir: &Path) -> Truth {
    let mut truth = Truth::default();
    truth.append_random(&mut Random::new(7), 600, 12);
    for position in [0, 200, 400] {
        let (index, _) = open(dir);
        index.insert(truth.window(position, position + 200)).unwrap();
        index.close().unwrap();
    }
    truth
}

/// What the damage led to.
#[derive(Debug, PartialEq)]
enum Outcome {
    Whole,
    Replaced,
}

/// Opens a damaged index: it says nothing wrong, or is moved aside and an empty one is there.
fn check(truth: &Truth, dir: &Path, case: &str) -> Outcome {
    println!("{case}");
    let (index, opened) = open(dir);
    match opened {
        Opened::Whole(checkpoint) => {
            assert_eq!(checkpoint, end(600));
            truth.check(&index, 600, 600, true);
            truth.check_records(&index, 600, 600);
            drop(index);
            Outcome::Whole
        }
        Opened::Fresh { reason } => {
            assert!(reason.is_some());
            assert_eq!(index.checkpoint(), None);
            index.insert(truth.window(0, 600)).unwrap();
            index.close().unwrap();
            let (index, _) = open_whole(dir);
            truth.check(&index, 600, 600, false);
            truth.check_records(&index, 600, 600);
            Outcome::Replaced
        }
    }
}

fn flip_bits(random: &mut Random, file: &Path, bits: u64) {
    let mut bytes = fs::read(file).unwrap();
    // Most of sled's file is zeros that stand for nothing.
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    for _ in 0..bits {
        let at = used[random.below(used.len() as u64) as usize];
        bytes[at] ^= 1 << random.below(8);
    }
    fs::write(file, bytes).unwrap();
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("index")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.push(dir.join("index.checkpoint"));
    files
}

#[test]
fn flipped_bits_are_never_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, damaged) = (dir.path().join("whole"), dir.path().join("damaged"));
    fs::create_dir(&whole).unwrap();
    let truth = sample(&whole);
    let mut random = Random::new(11);
    let names = files(&whole);
    assert_eq!(names.len(), 4, "{names:?}");
    for bits in [1, 1, 1, 1, 2, 5, 50, 50] {
        for name in &names {
            copy(&whole, &damaged);
            let file = damaged.join(name.strip_prefix(&whole).unwrap());
            flip_bits(&mut random, &file, bits);
            check(&truth, &damaged, &format!("{bits} bits of {}", name.display()));
        }
    }
}

/// sled looks at what is older than its snapshot of the page table only when it needs a page, so
/// that such damage is met while reading.
#[test]
fn flipped_bits_in_old_segments_are_refused_when_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, damaged) = (dir.path().join("whole"), dir.path().join("damaged"));
    fs::create_dir(&whole).unwrap();
    let mut truth = Truth::default();
    let mut random = Random::new(13);
    for n in 0..4_000u64 {
        truth.append(&format!("S-{}", n * n % 97), 800 + n as usize % 700);
    }
    for position in [0, 1_300, 2_600, 4_000] {
        let (index, _) = open(&whole);
        index.insert(truth.window(position, (position + 1_400).min(4_000))).unwrap();
        index.close().unwrap();
    }
    for round in 0..12 {
        copy(&whole, &damaged);
        let file = damaged.join("index/db");
        let mut bytes = fs::read(&file).unwrap();
        assert!(bytes.len() > 3 * SLED_SEGMENT_BYTES, "several segments: {}", bytes.len());
        for _ in 0..[1, 1, 5, 50][round % 4] {
            let at = random.below(2 * SLED_SEGMENT_BYTES as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        fs::write(&file, bytes).unwrap();
        let (index, opened) = open(&damaged);
        if matches!(opened, Opened::Whole(_)) {
            truth.check(&index, 4_000, 4_000, true);
        }
    }
    assert!(truth.refused.get() > 0, "the damage was met");
}

#[test]
fn files_that_are_cut_short_or_gone_are_never_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, damaged) = (dir.path().join("whole"), dir.path().join("damaged"));
    fs::create_dir(&whole).unwrap();
    let truth = sample(&whole);
    for name in files(&whole) {
        let length = fs::metadata(&name).unwrap().len();
        let relative = name.strip_prefix(&whole).unwrap();
        for left in [0, 1, 100, length / 4, length / 2, length - 1] {
            copy(&whole, &damaged);
            let file = fs::File::options().write(true).open(damaged.join(relative)).unwrap();
            file.set_len(left).unwrap();
            drop(file);
            check(&truth, &damaged, &format!("{} cut to {left}", relative.display()));
        }
        copy(&whole, &damaged);
        fs::remove_file(damaged.join(relative)).unwrap();
        check(&truth, &damaged, &format!("{} removed", relative.display()));
    }
}

#[test]
fn an_index_that_is_no_database_or_not_this_stores_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, damaged) = (dir.path().join("whole"), dir.path().join("damaged"));
    fs::create_dir(&whole).unwrap();
    let truth = sample(&whole);
    let index = damaged.join("index");
    let checkpoint = damaged.join("index.checkpoint");
    type Damage<'a> = (&'a str, &'a dyn Fn());
    let damages: [Damage<'_>; 7] = [
        ("a file", &|| {
            fs::remove_dir_all(&index).unwrap();
            fs::write(&index, "no database").unwrap();
        }),
        ("an empty directory", &|| {
            fs::remove_dir_all(&index).unwrap();
            fs::create_dir(&index).unwrap();
        }),
        ("gone", &|| fs::remove_dir_all(&index).unwrap()),
        ("without its checkpoint", &|| fs::remove_file(&checkpoint).unwrap()),
        ("a directory as its checkpoint", &|| {
            fs::remove_file(&checkpoint).unwrap();
            fs::create_dir(&checkpoint).unwrap();
        }),
        ("a newer format", &|| {
            let mut bytes = fs::read(&checkpoint).unwrap();
            bytes[8] = 2;
            fs::write(&checkpoint, bytes).unwrap();
        }),
        ("another store's", &|| {
            let mut stored = StoredCheckpoint::decode(&fs::read(&checkpoint).unwrap()).unwrap();
            stored.store = Uuid::from_u128(5);
            fs::write(&checkpoint, stored.encode()).unwrap();
        }),
    ];
    for (case, damage) in damages {
        copy(&whole, &damaged);
        damage();
        assert_eq!(check(&truth, &damaged, case), Outcome::Replaced);
    }
}

#[test]
fn an_index_from_an_older_time_is_believed_only_with_its_own_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("0")).unwrap();
    let truth = sample(&at("0"));
    fs::create_dir(at("now")).unwrap();
    let (index, _) = open(&at("now"));
    for position in [0, 200, 400] {
        index.insert(truth.window(position, position + 200)).unwrap();
        copy(&at("now"), &at(&position.to_string()));
    }
    index.close().unwrap();
    let first_checkpoint = fs::read(at("0/index.checkpoint")).unwrap();
    for (position, to) in [(0, 200), (200, 400)] {
        let old = at(&position.to_string());
        let (index, checkpoint) = open_whole(&old);
        assert_eq!(checkpoint, end(to));
        truth.check(&index, to, to, false);
        drop(index);
        fs::copy(at("now/index.checkpoint"), old.join("index.checkpoint")).unwrap();
        assert_eq!(check(&truth, &old, "older"), Outcome::Replaced);
    }
    // Newer by more than the window that a crash may interrupt.
    fs::write(at("now/index.checkpoint"), first_checkpoint).unwrap();
    assert_eq!(check(&truth, &at("now"), "newer"), Outcome::Replaced);
}

#[test]
fn a_kill_while_sled_opened_costs_no_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let truth = sample(dir.path());
    fs::write(dir.path().join("index/snap.00000000FFFFFFFF.generating"), "half").unwrap();
    assert_eq!(check(&truth, dir.path(), "an unfinished snapshot"), Outcome::Whole);
    fs::write(dir.path().join("index/snap.00000000FFFFFFFF"), "half").unwrap();
    assert_eq!(check(&truth, dir.path(), "a damaged snapshot"), Outcome::Replaced);
}

#[test]
fn an_index_that_never_took_anything_in_is_opened_again_as_fresh() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let (_, opened) = open(dir.path());
        assert!(matches!(opened, Opened::Fresh { reason: None }), "{opened:?}");
    }
    assert!(!dir.path().join("index.damaged-1").exists());
}

#[test]
fn only_the_newest_two_damaged_indexes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..4 {
        drop(open(dir.path()));
        fs::remove_file(dir.path().join("index.checkpoint")).unwrap();
    }
    drop(open(dir.path()));
    let names = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["index", "index.checkpoint", "index.damaged-3", "index.damaged-4"]);
}
