use super::*;

#[test]
fn the_newest_two_snapshots_of_a_stream_are_kept_whatever_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    let (a, b) = (StreamId::new("A").unwrap(), StreamId::new("A-1").unwrap());
    index.put_snapshot(&b, 5, b"other").unwrap();
    for version in [10, 300, 20, 9_000, 15] {
        let state = bytes(version as usize * 3, version as u8);
        index.put_snapshot(&a, version, &state).unwrap();
    }
    let kept = |at_most| -> Vec<(u64, usize)> {
        let snapshots = index.snapshots(&a, at_most).unwrap();
        snapshots.into_iter().map(|(version, state)| (version, state.len())).collect()
    };
    assert_eq!(kept(u64::MAX), [(9_000, 27_000), (300, 900)]);
    assert_eq!(kept(8_999), [(300, 900)]);
    assert_eq!(kept(299), []);
    assert_eq!(index.snapshots(&b, 9).unwrap(), [(5, b"other".to_vec())]);
    index.put_snapshot(&a, 9_001, b"small").unwrap();
    index.put_snapshot(&a, 9_002, b"").unwrap();
    assert_eq!(kept(u64::MAX), [(9_002, 0), (9_001, 5)]);
    let pieces = index.db.prefix(&index.trees.pieces, b"").next().unwrap();
    assert_eq!(pieces, None, "no piece stays behind");
}

#[test]
fn a_snapshot_that_lacks_a_piece_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (index, _) = open(dir.path());
    let a = StreamId::new("A-1").unwrap();
    index.put_snapshot(&a, 1, b"first").unwrap();
    index.put_snapshot(&a, 2, &bytes(10_000, 2)).unwrap();
    assert_eq!(index.snapshots(&a, 9).unwrap().len(), 2);
    let (piece, _) = index.db.prefix(&index.trees.pieces, b"").next().unwrap().unwrap();
    index.db.remove(&index.trees.pieces, &piece).unwrap();
    assert_eq!(index.snapshots(&a, 9).unwrap(), [(1, b"first".to_vec())]);
}

#[test]
fn removed_records_and_replaced_pieces_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (mut index, _) = open(dir.path());
    let mut position = 0;
    let mut put = |index: &Index, records: &[(&str, usize)]| {
        position += 1;
        let records = records.iter().map(|(key, length)| (key.to_string(), vec![9; *length]));
        let (events, sparse_entries, records) = (vec![], vec![], records.collect());
        index.insert(FlushBatch { events, sparse_entries, records, end: end(position) }).unwrap();
    };
    put(&index, &[("a", 20_000), ("b", 5), ("c", 9_000)]);
    put(&index, &[("a", 0), ("b", 0), ("c", 9_001)]);
    let left = |index: &Index| {
        let count = |tree| {
            let mut entries = index.db.prefix(tree, b"");
            std::iter::from_fn(|| entries.next().unwrap()).count()
        };
        (count(&index.trees.records), count(&index.trees.pieces))
    };
    assert_eq!(index.record("a").unwrap(), None);
    assert_eq!(index.record("c").unwrap(), Some(vec![9; 9_001]));
    drop(index);
    (index, _) = open_whole(dir.path());
    put(&index, &[("a", 3)]);
    put(&index, &[("a", 0)]);
    put(&index, &[("d", 0)]);
    assert_eq!(left(&index), (1, 3), "c and its pieces");
    drop(index);
    (index, _) = open_whole(dir.path());
    assert_eq!(index.records_with_prefix("").unwrap(), [("c".to_owned(), vec![9; 9_001])]);
}

#[test]
fn an_index_can_be_opened_again_right_after_it_was_closed_or_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut truth = Truth::default();
    truth.append_random(&mut Random::new(5), 400, 5);
    let (mut index, _) = open(dir.path());
    for position in 0..40 {
        index.insert(truth.batch(10 * position, 10 * position + 10)).unwrap();
        match position % 2 {
            0 => index.close().unwrap(),
            _ => drop(index),
        }
        (index, _) = open_whole(dir.path());
    }
}
