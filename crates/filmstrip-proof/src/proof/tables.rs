//! Many tables of the index, and failing compactions: the index must continue to ingest.

use crate::codec::checkpoint::Checkpoint;
use crate::codec::frame::Location;
use crate::codec::sparse_index::SparseEntry;
use crate::index::core::Index;
use crate::index::flush_batch::FlushBatch;
use crate::log::indexer;
use crate::log::indexer::managed::{Bounds, IndexSite, IndexSlot};
use crate::log::indexer::signal::{Control, Due, Work};
use crate::log::read::located::{Located, each_located, sparse_entry_of};
use crate::proof::cuts::scratch;
use crate::storage::held::Held;
use crate::store::Store;
use crate::value::error::{Error, ErrorKind};
use crate::value::event::NewEvent;
use crate::value::limits::{CACHE_BYTES_DEFAULT, TABLES_MAX, TAIL_BODY_BYTES_MAX};
use crate::value::position::ExpectedVersion;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

fn append(store: &Store, bytes: usize) -> u64 {
    let event = NewEvent::bytes("T", vec![7; bytes]);
    store.append("A-1", ExpectedVersion::Any, [event]).unwrap().position.get()
}

/// The story: with 64 tables, a compaction came before everything else. When it failed, for example on a full disk,
/// neither it nor anything else was tried again. The index made no more progress, and as soon as the tail was full,
/// each append was refused until the store was reopened.
#[test]
fn a_merge_that_fails_keeps_no_window_from_the_index_however_many_tables_there_are() {
    let directory = scratch();
    let store = Store::open(directory.path().join("store")).unwrap();
    append(&store, 10);
    indexer::index_up_to(store.log.log(), store.log.log().head.visible().1);
    let lay_in_the_way = |index: &Index| {
        let table = Arc::clone(&index.tables.live()[0]);
        index.tables.set(vec![table; TABLES_MAX]);
        let next = index.stored.lock().next_table;
        std::fs::write(index.tables_directory().join(format!("{next:020}")), "in the way").unwrap();
        Ok(())
    };
    store.log.log().index.inspect(lay_in_the_way).unwrap();
    // The events are so large that a few of them fill enough segments for a flush batch.
    let mut last = (0..20).fold(0, |_, _| append(&store, 8 * MIB));
    let begun = Instant::now();
    while store.log.log().tail.indexed().position == 1 {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing more was ingested");
        // Writers must be able to continue while the indexer retries.
        last = append(&store, 10);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(store.read_stream("A-1").collect().unwrap().len() as u64, last);
}

/// The story: an index that was being rebuilt, or that lagged far behind when its store was opened, ingested flush
/// batches without a compaction. A thousand of them, of 256 MiB each, were a thousand open files, and with the next
/// one the store could no longer be opened.
#[test]
fn an_index_that_is_brought_up_a_long_way_has_few_tables() {
    let directory = scratch();
    let store = Store::open(directory.path().join("store")).unwrap();
    let last = (0..2 * TABLES_MAX).fold(0, |_, _| append(&store, 10));
    let site = IndexSite {
        directory: Arc::new(Held::open(directory.path()).unwrap()),
        cache_bytes: CACHE_BYTES_DEFAULT,
        // A flush batch for each frame.
        batch_bytes: 1,
        bounds: Bounds::default(),
        journal: Arc::clone(&store.log.log().journal),
    };
    let (slot, _) = IndexSlot::open(site).unwrap();
    let tables = || slot.inspect(|index| Ok(index.tables.live().len())).unwrap();
    let mut most = 0;
    slot.bring_up(store.log.log().head.visible().1, |_| most = most.max(tables())).unwrap();
    assert!((TABLES_MAX / 2..=TABLES_MAX).contains(&most), "there were {most}");
    assert_eq!(slot.rebuild().unwrap().1, last);
    assert!((TABLES_MAX / 2..=TABLES_MAX).contains(&tables()), "there are {}", tables());
    slot.close().unwrap();
}

/// The story: after a failure the indexer retried when the next frame came. But with a full tail no frame came: each
/// append was refused with the old failure, long after the disk had space again.
#[test]
fn a_writer_that_is_refused_for_an_old_failure_has_the_indexer_try_again() {
    let control = Control::default();
    control.fail(&Error::new(ErrorKind::StorageFull, "it is full"));
    let anywhere = Location { segment: 0, offset: 0 };
    std::thread::scope(|scope| {
        let work = scope.spawn(|| control.wait_for_work(|| Due::Now(Work::UpTo(anywhere))));
        let begun = Instant::now();
        while !work.is_finished() && begun.elapsed() < Duration::from_secs(10) {
            // While the failure is pending this returns at once; otherwise it waits for the indexer.
            if control.has_failed() {
                let _ = control.wait_for_room(|| !work.is_finished(), || 0);
            }
        }
        let has_tried = work.is_finished();
        control.close();
        assert!(has_tried, "it still waits");
        assert!(matches!(work.join().unwrap(), Work::UpTo(_)));
    });
}

/// The story: the index, with right checksums, referred to a wrong place in the journal, and every read of the stream
/// reported damage of the journal; a wrong sparse index entry did the same to a read of everything. But it is the
/// index that is wrong: it must be rebuilt, and a wrong sparse index entry must be ignored. If the journal itself is
/// damaged, the read must say so, and the index must stay.
#[test]
fn a_wrong_reference_of_the_index_is_not_told_as_damage_of_the_journal() {
    let directory = scratch();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    let log = store.log.log();
    let streams = ["A-1", "B-1", "C-1"];
    for stream in streams {
        let event = NewEvent::bytes("T", stream.repeat(10_000));
        store.append(stream, ExpectedVersion::NoStream, [event]).unwrap();
    }
    let (position, next, chain) = log.head.visible_with_chain();
    let (mut events, mut sparse_entries) = (Vec::new(), Vec::new());
    for frame in log.journal.frames(log.journal.start(), 1, next) {
        let (at, frame) = frame.unwrap();
        let sparse_entry = sparse_entry_of(at, &frame);
        // A location where no frame begins.
        sparse_entries.push(SparseEntry {
            location: Location { offset: at.offset + 64, ..at },
            ..sparse_entry
        });
        each_located(at, &frame, |located| {
            if let Located::Event(event) = located {
                events.push(event);
            }
        })
        .unwrap();
    }
    let places: Vec<_> = events.iter().map(|event| event.location).collect();
    (events[0].location, events[1].location) = (places[1], places[0]);
    let end = Checkpoint { position, next, chain, time: log.head.time() };
    let batch = FlushBatch { events, sparse_entries, records: Vec::new(), end };
    log.index.inspect(|index| index.insert(batch)).unwrap();
    log.tail.trim(end);
    drop_newest_frames(&store);

    let aside = |n: u32| path.join(format!("index.damaged-{n}")).exists();
    assert_eq!(store.read_all().collect().unwrap().len(), 6, "by a wrong sparse index entry");
    assert!(!aside(1));
    for stream in streams {
        let events = store.read_stream(stream).collect().unwrap();
        assert_eq!(events[0].payload, stream.repeat(10_000).as_bytes(), "{stream}");
    }
    assert!(aside(1) && !aside(2), "it was to be built again, once");
    assert!(store.verify().unwrap().is_whole());

    let segment = log.journal.path(1);
    let file = std::fs::OpenOptions::new().write(true).open(&segment).unwrap();
    let at = u64::from(places[2].offset) + 5_000;
    std::os::unix::fs::FileExt::write_all_at(&file, b"!", at).unwrap();
    for _ in 0..2 {
        let error = store.read_stream("C-1").collect().expect_err("the journal is damaged");
        assert_eq!(error.damage().unwrap().file, segment, "{error}");
    }
    assert!(!aside(2), "the index was not to blame");
}

/// Appends so much that the tail drops the earlier frames.
fn drop_newest_frames(store: &Store) {
    let event = NewEvent::bytes("T", vec![0; TAIL_BODY_BYTES_MAX / 3 + 1]);
    for _ in 0..3 {
        store.append("Large-1", ExpectedVersion::Any, [event.clone()]).unwrap();
    }
}
