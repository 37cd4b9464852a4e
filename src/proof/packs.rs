//! Packs of the index that are many, and cannot be merged: the index takes in what comes all the same.

use crate::codec::frame::Location;
use crate::error::{Error, ErrorKind};
use crate::event::NewEvent;
use crate::index::core::Index;
use crate::limits::{CACHE_BYTES_DEFAULT, PACKS_MAX};
use crate::log::control::{Control, Due, Work};
use crate::log::indexer;
use crate::log::indexing::{Bounds, IndexSite, IndexSlot};
use crate::position::ExpectedVersion;
use crate::proof::cuts::scratch;
use crate::store::Store;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

fn append(store: &Store, bytes: usize) -> u64 {
    let event = NewEvent::bytes("T", vec![7; bytes]);
    store.append("A-1", ExpectedVersion::Any, [event]).unwrap().position.get()
}

/// The story: with 64 packs, merging them went before everything else; and when it failed, a full disk say, it
/// was not tried again, and nothing else was either. The index stood still for good, and as soon as the
/// tail was full, each append was refused until the store was opened again.
#[test]
fn a_merge_that_fails_keeps_no_window_from_the_index_however_many_packs_there_are() {
    let directory = scratch();
    let store = Store::open(directory.path().join("store")).unwrap();
    append(&store, 10);
    indexer::index_up_to(&store.log, store.log.head.visible().1);
    let lay_in_the_way = |index: &Index| {
        let pack = Arc::clone(&index.packs.live()[0]);
        index.packs.set(vec![pack; PACKS_MAX]);
        let next = index.stored.lock().next_pack;
        std::fs::write(index.packs_directory().join(format!("{next:020}")), "in the way").unwrap();
        Ok(())
    };
    store.log.index.inspect(lay_in_the_way).unwrap();
    // As large as they are, few of them fill the segments that are worth a window.
    let mut last = (0..20).fold(0, |_, _| append(&store, 8 * MIB));
    let begun = Instant::now();
    while store.log.tail.indexed().position == 1 {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing more was taken in");
        // After a failure it is the next frame that has it tried again.
        last = append(&store, 10);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(store.read_stream("A-1").collect().unwrap().len() as u64, last);
}

/// The story: an index that was built again, or that was far behind when its store was opened, took in window
/// after window without a merge: a thousand of them, of 256 MiB each, were a thousand open files, and
/// with the next one the store could not be opened any more.
#[test]
fn an_index_that_is_brought_up_a_long_way_has_few_packs() {
    let directory = scratch();
    let store = Store::open(directory.path().join("store")).unwrap();
    let last = (0..2 * PACKS_MAX).fold(0, |_, _| append(&store, 10));
    let site = IndexSite {
        directory: directory.path().to_owned(),
        cache_bytes: CACHE_BYTES_DEFAULT,
        // A window for each frame.
        window_bytes: 1,
        bounds: Bounds::default(),
        journal: Arc::clone(&store.log.journal),
    };
    let (slot, _) = IndexSlot::open(site).unwrap();
    let packs = || slot.inspect(|index| Ok(index.packs.live().len())).unwrap();
    let mut most = 0;
    slot.bring_up(store.log.head.visible().1, |_| most = most.max(packs())).unwrap();
    assert!((PACKS_MAX / 2..=PACKS_MAX).contains(&most), "there were {most}");
    assert_eq!(slot.rebuild().unwrap().1, last);
    assert!((PACKS_MAX / 2..=PACKS_MAX).contains(&packs()), "there are {}", packs());
    slot.close().unwrap();
}

/// The story: the indexer tried again after a failure when the next frame came. But with a full tail no
/// frame came: each append was refused with the old failure, long after the disk had room again.
#[test]
fn a_writer_that_is_refused_for_an_old_failure_has_the_indexer_try_again() {
    let control = Control::default();
    control.fail(&Error::new(ErrorKind::StorageFull, "it is full"));
    let anywhere = Location { segment: 0, offset: 0 };
    std::thread::scope(|scope| {
        let work = scope.spawn(|| control.wait_for_work(|| Due::Now(Work::UpTo(anywhere))));
        let begun = Instant::now();
        while !work.is_finished() && begun.elapsed() < Duration::from_secs(10) {
            // It waits for nothing while the failure stands, and else for the indexer.
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
