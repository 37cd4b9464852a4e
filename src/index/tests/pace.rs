use super::*;
use crate::index::tests::crash::lose_pages;
use crate::kv::database::Database;
use crate::kv::sync_policy::{KEY_BYTES_MAX, SyncPolicy, log_bytes_of_one_write};
use crate::storage::faulty::{Faults, FaultyDisk};
use crate::value::limits::{SLED_SEGMENT_BYTES, VALUE_BYTES_MAX};

#[test]
fn no_write_logs_more_than_the_bound_that_the_pace_rests_on() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(&disk(), dir.path(), CACHE_BYTES).unwrap();
    let mut random = Random::new(3);
    let mut most = 0;
    for (name, key_bytes) in [("short", 30), ("middle", 300), ("long", KEY_BYTES_MAX)] {
        let tree = db.tree(name).unwrap();
        for n in 0..600 {
            // Keys in order and at random, and the same keys again, so that nodes become full.
            let number = if n % 2 == 0 { n } else { random.below(1_000) };
            let mut key = vec![b'x'; key_bytes - 8];
            key.extend_from_slice(format!("{number:08}").as_bytes());
            let value = vec![n as u8; if n % 3 == 0 { 20 } else { VALUE_BYTES_MAX }];
            let grown = db.log_growth(|| db.insert(&tree, &key, value).unwrap());
            let bound = log_bytes_of_one_write(key_bytes);
            assert!(grown as usize <= bound, "{name} {n}: {grown} > {bound}");
            most = most.max(grown);
        }
    }
    assert!(most as usize > VALUE_BYTES_MAX, "the growth is measured: {most}");
    assert!(most as usize <= SLED_SEGMENT_BYTES, "{most}");
}

#[test]
fn a_key_or_value_over_its_limit_is_refused_with_both_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(&disk(), dir.path(), CACHE_BYTES).unwrap();
    let tree = db.tree("a").unwrap();
    let error = db.insert(&tree, &[b'x'; KEY_BYTES_MAX + 1], vec![1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("1089") && error.to_string().contains("1088"), "{error}");
    let error = db.insert(&tree, b"k", vec![0; 5_000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(db.get(&tree, b"k").unwrap(), None);
}

/// A write was made and its sync failed, for example because the disk was full, but the error said that the write had
/// failed. A projection then applied the same events to rows that had them already: its view counted them twice.
#[test]
fn a_write_that_was_made_and_cannot_be_synced_has_not_failed_and_the_next_one_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk(Arc::clone(&faults)));
    // Each write is followed by a sync.
    let pace = SyncPolicy { unsynced_bytes_max: 1, ..SyncPolicy::default() };
    let db = Database::open_paced(&disk, dir.path(), CACHE_BYTES, pace).unwrap();
    let tree = db.tree("a").unwrap();
    let value = |key: &[u8]| db.get(&tree, key).unwrap();
    faults.fail_with(28);
    faults.fail_in(1);
    db.insert(&tree, b"1", vec![1]).expect("it was made");
    assert!(faults.has_failed() && value(b"1").is_some());
    faults.fail_in(1);
    assert!(db.tree("b").is_err_and(|error| error.kind() == ErrorKind::StorageFull));
    faults.fail_in(1);
    let error = db.insert(&tree, b"2", vec![2]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(faults.has_failed() && value(b"2").is_none(), "it was made");
    db.batch(&tree, vec![(b"2".to_vec(), Some(vec![2]))]).expect("there is room again");
    assert!(value(b"1").is_some() && value(b"2").is_some());
    drop(tree);
    db.close().unwrap();
}

/// Writes many segments until the power fails, and checks that everything synced is there.
fn survive_a_power_cut(random: &mut Random) {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    fs::create_dir(&before).unwrap();
    let pace = SyncPolicy { segment_bytes: 64 << 10, unsynced_bytes_max: 200 << 10 };
    let db = Database::open_paced(&disk(), &before, CACHE_BYTES, pace).unwrap();
    let tree = db.tree("a").unwrap();
    db.keep_synced();
    db.sync().unwrap();
    let (mut promised, mut since) = (BTreeMap::new(), Vec::new());
    for n in 0..4_000 + random.below(2_000) {
        // Write the same keys repeatedly, so that sled's segments become free and are reused.
        let key = format!("{:05}", (n * 17 + random.below(5)) % 1_500);
        let mut value = n.to_le_bytes().to_vec();
        value.resize(20 + random.below(400) as usize, 7);
        db.insert(&tree, key.as_bytes(), value).unwrap();
        since.push((key, n));
        if n % 900 == 899 {
            db.sync().unwrap();
            promised.extend(since.drain(..));
        }
        if random.below(50) == 0 {
            db.write_out();
        }
    }
    let synced = db.synced();
    copy(&before, &after);
    lose_pages(random, &synced, &after.join("db"));
    let db = Database::open_paced(&disk(), &after, CACHE_BYTES, pace).unwrap();
    let tree = db.tree("a").unwrap();
    for (key, n) in promised {
        let value = db.get(&tree, key.as_bytes()).unwrap().expect("it was synced");
        let found = u64::from_le_bytes(value[..8].try_into().unwrap());
        assert!(found >= n, "{key}: {found} is older than {n}");
    }
}

#[test]
fn a_power_cut_takes_nothing_that_was_synced() {
    let mut random = Random::new(17);
    for _ in 0..12 {
        survive_a_power_cut(&mut random);
    }
}

/// Writes batches until the power fails, and checks that the rows are those after some batch, with nothing of the
/// next.
fn survive_a_power_cut_in_batches(random: &mut Random) {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    fs::create_dir(&before).unwrap();
    let pace = SyncPolicy { segment_bytes: 64 << 10, unsynced_bytes_max: 200 << 10 };
    let db = Database::open_paced(&disk(), &before, CACHE_BYTES, pace).unwrap();
    let tree = db.tree("a").unwrap();
    db.keep_synced();
    db.sync().unwrap();
    let mut synced_to = 0u64;
    let mut batches = Vec::new();
    for n in 1..100 + random.below(50) {
        let mut batch: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for _ in 0..[1, 7, 60, 150][random.below(4) as usize] {
            let key = format!("row {:04}", random.below(900)).into_bytes();
            let value = vec![n as u8; 20 + random.below(300) as usize];
            batch.insert(key, (random.below(5) > 0).then_some(value));
        }
        batch.insert(b"checkpoint".to_vec(), Some(n.to_le_bytes().to_vec()));
        let batch: Vec<_> = batch.into_iter().collect();
        db.batch(&tree, batch.clone()).unwrap();
        batches.push(batch);
        match random.below(20) {
            0 => {
                db.sync().unwrap();
                synced_to = n;
            }
            1..5 => db.write_out(),
            _ => {}
        }
    }
    let synced = db.synced();
    copy(&before, &after);
    lose_pages(random, &synced, &after.join("db"));
    let db = Database::open_paced(&disk(), &after, CACHE_BYTES, pace).unwrap();
    let tree = db.tree("a").unwrap();
    let mut entries = db.prefix(&tree, b"");
    let found: BTreeMap<_, _> = std::iter::from_fn(|| entries.next().unwrap()).collect();
    let reached = found.get(b"checkpoint".as_slice());
    let reached = reached.map_or(0, |at| u64::from_le_bytes(at[..].try_into().unwrap()));
    assert!(reached >= synced_to, "{reached} is before {synced_to}");
    let mut expected = BTreeMap::new();
    for (key, value) in batches.into_iter().take(reached as usize).flatten() {
        match value {
            Some(value) => drop(expected.insert(Bytes::from(key), Bytes::from(value))),
            None => drop(expected.remove(key.as_slice())),
        }
    }
    assert!(found == expected, "batch {reached}: {} rows, {}", found.len(), expected.len());
}

#[test]
fn a_power_cut_takes_a_batch_as_a_whole_or_not_at_all() {
    let mut random = Random::new(19);
    for _ in 0..12 {
        survive_a_power_cut_in_batches(&mut random);
    }
}
