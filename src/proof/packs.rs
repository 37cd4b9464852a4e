//! Packs of the index that are many, and cannot be merged: the index takes in what comes all the same.

use crate::event::NewEvent;
use crate::index::core::Index;
use crate::limits::PACKS_MAX;
use crate::log::indexer;
use crate::position::ExpectedVersion;
use crate::proof::cuts::scratch;
use crate::store::Store;
use std::sync::Arc;

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
    let last = (0..40).fold(0, |_, _| append(&store, MIB));
    assert!(store.log.tail.indexed().position > 1, "nothing more was taken in");
    assert_eq!(store.read_stream("A-1").collect().unwrap().len() as u64, last);
}
