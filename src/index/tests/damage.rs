use super::*;
use crate::codec::checkpoint::StoredCheckpoint;
use std::path::PathBuf;

/// A closed index that holds `truth` up to 600, in three tables.
fn sample(dir: &Path) -> Truth {
    let mut truth = Truth::default();
    truth.append_random(&mut Random::new(7), 600, 12);
    for position in [0, 200, 400] {
        let (index, _) = open(dir);
        index.insert(truth.batch(position, position + 200)).unwrap();
        index.close().unwrap();
    }
    truth
}

/// The effect of the damage.
#[derive(Debug, PartialEq)]
enum Outcome {
    Whole,
    Replaced,
}

/// Opens a damaged index: it gives no wrong answer, or it is quarantined and replaced by an empty one.
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
            index.insert(truth.batch(0, 600)).unwrap();
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
    // Most of sled's file is unused zeros.
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
    let tables = fs::read_dir(dir.join("index/packs")).unwrap();
    files.extend(tables.map(|entry| entry.unwrap().path()));
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
    assert_eq!(names.len(), 7, "{names:?}");
    for bits in [1, 1, 1, 1, 2, 5, 50, 50] {
        for name in &names {
            copy(&whole, &damaged);
            let file = damaged.join(name.strip_prefix(&whole).unwrap());
            flip_bits(&mut random, &file, bits);
            check(&truth, &damaged, &format!("{bits} bits of {}", name.display()));
        }
    }
}

/// Opening a table reads only its footer, so damage to the rest is found by reads.
#[test]
fn flipped_bits_in_a_table_are_refused_when_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, damaged) = (dir.path().join("whole"), dir.path().join("damaged"));
    fs::create_dir(&whole).unwrap();
    let truth = sample(&whole);
    let mut random = Random::new(13);
    let tables = files(&whole).into_iter().filter(|path| path.parent().unwrap().ends_with("packs"));
    let tables: Vec<_> = tables.collect();
    for round in 0..24 {
        copy(&whole, &damaged);
        let file = damaged.join(tables[round % tables.len()].strip_prefix(&whole).unwrap());
        let mut bytes = fs::read(&file).unwrap();
        for _ in 0..[1, 1, 5, 50][round % 4] {
            let at = 40 + random.below(bytes.len() as u64 - 1_000) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        fs::write(&file, bytes).unwrap();
        let refused = truth.refused.get();
        let (index, _) = open_whole(&damaged);
        truth.check(&index, 600, 600, true);
        assert!(truth.refused.get() > refused, "the damage was met");
    }
}

/// If sled loses an entry of a table's block index, reads notice it, and no stream appears shorter.
#[test]
fn a_directory_that_lost_the_place_of_a_block_is_refused_where_it_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let mut truth = Truth::default();
    for n in 0..800 {
        truth.append(&format!("Stream-with-a-long-name-{n}"), 10);
    }
    let (index, _) = open(dir.path());
    index.insert(truth.batch(0, 800)).unwrap();
    let table = index.tables.live()[0].clone();
    let mut keys = Vec::new();
    let mut blocks = index.db.prefix(table.tree(), b"");
    while let Some((key, place)) = blocks.next().unwrap() {
        keys.push((key, place));
    }
    assert!(keys.len() > 5, "{} blocks", keys.len());
    for (key, place) in &keys {
        let refused = truth.refused.get();
        index.db.remove(table.tree(), key).unwrap();
        truth.check(&index, 800, 800, true);
        assert!(truth.refused.get() > refused, "a lost block was not missed");
        index.db.insert(table.tree(), key, keys[0].1.to_vec()).unwrap();
        if *place != keys[0].1 {
            let refused = truth.refused.get();
            truth.check(&index, 800, 800, true);
            assert!(truth.refused.get() > refused, "another block was taken for it");
        }
        index.db.insert(table.tree(), key, place.to_vec()).unwrap();
    }
    truth.check(&index, 800, 800, false);
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
    let formatted = |format: u8| {
        let mut bytes = fs::read(&checkpoint).unwrap();
        bytes[8] = format;
        let crc_offset = bytes.len() - 4;
        let crc = crc32c::crc32c(&bytes[..crc_offset]).to_le_bytes();
        bytes[crc_offset..].copy_from_slice(&crc);
        fs::write(&checkpoint, bytes).unwrap();
    };
    let damages: [Damage<'_>; 9] = [
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
        ("a newer format", &|| formatted(5)),
        // It may lack the postings of events with tags.
        ("an older format", &|| formatted(2)),
        // Its tables do not list their index blocks.
        ("the format before this one", &|| formatted(3)),
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
        index.insert(truth.batch(position, position + 200)).unwrap();
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
    // The index is newer by more than the one flush batch that a crash may interrupt.
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
