use super::*;
use crate::value::random::{first_seed, rounds};

/// Ingests flush batches of random lengths, with some compactions. Each round ends in a simulated death after a few
/// writes; `image` makes the files that survive it.
fn survive(seed: u64, keep_synced: bool, image: impl Fn(&mut Random, &Index, &Path, &Path)) {
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut truth = Truth::default();
    let (mut position, mut newest) = (0, 0);
    let mut store = dir.path().join("0");
    fs::create_dir(&store).unwrap();
    let (mut index, _) = open(&store);
    for round in 1..=14 {
        truth.append_random(&mut random, 150, 6);
        let head = truth.events.len() as u64;
        let to = position + 1 + random.below(head - position);
        if keep_synced {
            index.db.keep_synced();
            index.db.sync().unwrap();
        }
        index.db.die_after(random.below(10 + (to - position) / 4));
        let survived = index.insert(truth.batch(position, to)).is_ok();
        for _ in 0..random.below(3) {
            let _ = index.compact();
        }
        newest = newest.max(to);
        let next = dir.path().join(round.to_string());
        if random.below(3) > 0 {
            index.db.write_out();
        }
        image(&mut random, &index, &store, &next);
        drop(index);
        store = next;
        let opened;
        (index, opened) = open(&store);
        match opened {
            // A death after the checkpoint was written is also reported as a failure.
            Opened::Whole(checkpoint) if checkpoint == end(to) => position = to,
            Opened::Whole(checkpoint) => assert_eq!((checkpoint, survived), (end(position), false)),
            Opened::Fresh { reason } => assert_eq!((reason, position), (None, 0)),
        }
        assert_eq!(index.checkpoint().map_or(0, |reached| reached.position), position);
        truth.check(&index, position, newest, false);
        truth.check_records(&index, position, newest);
    }
    let head = truth.events.len() as u64;
    index.insert(truth.batch(position, head)).unwrap();
    truth.check(&index, head, head, false);
    truth.check_records(&index, head, head);
}

#[test]
fn a_killed_process_leaves_an_index_that_goes_on() {
    for seed in first_seed()..first_seed() + rounds(8) {
        survive(seed, false, |_, _, from, to| copy(from, to));
    }
}

#[test]
fn a_power_cut_leaves_an_index_that_goes_on() {
    for seed in first_seed()..first_seed() + rounds(8) {
        survive(seed, true, |random, index, from, to| {
            let synced = index.db.synced();
            copy(from, to);
            lose_pages(random, &synced, &to.join("index/db"));
        });
    }
}

/// Of the pages written since the last sync, some reach the disk and others do not. The same holds for the file's new
/// length.
pub(super) fn lose_pages(random: &mut Random, synced: &[u8], file: &Path) {
    let mut image = fs::read(file).unwrap();
    let kept_of_100 = [0, 10, 50, 90][random.below(4) as usize];
    if random.below(2) == 0 {
        image.truncate(synced.len().max(1));
    }
    let old = synced.chunks(4_096).chain(std::iter::repeat([0; 4_096].as_slice()));
    for (page, old) in image.chunks_mut(4_096).zip(old) {
        if random.below(100) >= kept_of_100 {
            let length = page.len().min(old.len());
            page.fill(0);
            page[..length].copy_from_slice(&old[..length]);
        }
    }
    fs::write(file, image).unwrap();
}

#[test]
fn a_checkpoint_that_is_one_window_behind_is_as_good_as_a_crash_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut truth = Truth::default();
    let mut random = Random::new(1);
    truth.append_random(&mut random, 300, 5);
    let (index, _) = open(dir.path());
    let checkpoint = dir.path().join("index.checkpoint");
    let mut before = fs::read(&checkpoint).unwrap();
    for position in [0, 100, 200] {
        index.insert(truth.batch(position, position + 100)).unwrap();
        if position < 200 {
            before = fs::read(&checkpoint).unwrap();
        }
    }
    index.close().unwrap();
    fs::write(&checkpoint, before).unwrap();
    let (index, checkpoint) = open_whole(dir.path());
    assert_eq!(checkpoint, end(200));
    truth.check(&index, 200, 300, false);
    // Flush batches of other lengths than the first time.
    for position in [200, 230, 260] {
        index.insert(truth.batch(position, (position + 30).min(300))).unwrap();
    }
    index.insert(truth.batch(290, 300)).unwrap();
    truth.check(&index, 300, 300, false);
    truth.check_records(&index, 300, 300);
}

/// The story: a crash left a record's value in pieces, written by a flush batch that no checkpoint covered. The next
/// flush batch, of the same epoch and with another value, wrote its pieces over them, and a second crash came before
/// its record was written. The remaining record referred to a mixture of both. A third flush batch with the first
/// value skipped it as unchanged, reading it found a missing piece, and the whole index was rebuilt. Also, pieces
/// that a crash had left without their record were removed as orphans after the next flush batch, which had just
/// written them again.
#[test]
fn two_crashes_in_one_epoch_leave_no_record_with_the_pieces_of_another() {
    let mut truth = Truth::default();
    for (position, value) in [(1, 1), (2, 2), (3, 1)] {
        truth.append("A-1", 10);
        truth.records.push((position, "group/0".to_owned(), vec![value; 10_000]));
    }
    let dir = tempfile::tempdir().unwrap();
    let once = dir.path().join("once");
    fs::create_dir(&once).unwrap();
    let (index, _) = open(&once);
    index.insert(truth.batch(0, 0)).unwrap();
    let before = fs::read(once.join("index.checkpoint")).unwrap();
    index.insert(truth.batch(0, 1)).unwrap();
    index.close().unwrap();
    fs::write(once.join("index.checkpoint"), before).unwrap();
    let mut deaths = 0;
    for writes in 0..12 {
        let twice = dir.path().join(writes.to_string());
        copy(&once, &twice);
        let (index, _) = open_whole(&twice);
        index.db.die_after(writes);
        deaths += u64::from(index.insert(truth.batch(0, 2)).is_err());
        index.db.write_out();
        let image = dir.path().join(format!("{writes} later"));
        copy(&twice, &image);
        drop(index);
        let (index, checkpoint) = open_whole(&image);
        // While a value is being replaced there may be none: the tail answers for what the checkpoint does not cover.
        index.records_with_prefix("").unwrap();
        index.insert(truth.batch(checkpoint.position, 3)).unwrap();
        truth.check_records(&index, 3, 3);
    }
    assert!(deaths > 5, "it died {deaths} times");
}

#[test]
fn what_a_crash_leaves_of_a_table_is_gone_when_the_index_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (store, image) = (dir.path().join("store"), dir.path().join("image"));
    fs::create_dir(&store).unwrap();
    let mut truth = Truth::default();
    truth.append_random(&mut Random::new(2), 400, 9);
    let (index, _) = open(&store);
    index.insert(truth.batch(0, 200)).unwrap();
    let tables = |store: &Path| {
        let entries = fs::read_dir(store.join("index/packs")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let one = tables(&store);
    assert_eq!(one.len(), 1);
    // It dies when the table is whole, at a sparse index entry.
    index.db.die_after(3);
    assert!(index.insert(truth.batch(200, 400)).is_err());
    index.db.write_out();
    copy(&store, &image);
    assert_eq!(tables(&image).len(), 2);
    drop(index);
    let (index, checkpoint) = open_whole(&image);
    assert_eq!((checkpoint, tables(&image)), (end(200), one));
    let trees = index.db.tree_names().unwrap();
    let trees = trees.iter().filter(|name| name.starts_with(b"events-"));
    assert_eq!(trees.count(), 1);
    index.insert(truth.batch(200, 400)).unwrap();
    truth.check(&index, 400, 400, false);
}
