//! A failing write to the index loses nothing: the events stay in the tail.

use crate::log::indexer;
use crate::proof::cuts::{acknowledged, commit, read, scratch};
use crate::proof::oracle::{Known, Oracle, Planned};
use crate::store::Store;
use crate::value::random::Random;

/// Reads all streams one by one, and returns the events in the order of their positions.
fn read_streams(store: &Store) -> Vec<Known> {
    let mut events = Vec::new();
    for info in store.streams().collect().unwrap() {
        for event in store.read_stream(info.stream.clone()).collect().unwrap() {
            let (position, version) = (event.position.get(), event.version.get());
            let stream = event.stream.as_str();
            events.push(Known::read(position, stream, version, &event.payload).unwrap());
        }
    }
    events.sort_by_key(|event| event.position);
    events
}

#[test]
fn whichever_write_of_the_index_fails_nothing_is_lost() {
    for dies_after in [0, 1, 5, 17, 40] {
        let directory = scratch();
        let store = Store::open(directory.path().join("store")).unwrap();
        let mut oracle = Oracle::default();
        let mut random = Random::new(dies_after);
        for number in 1..=20 {
            let planned = Planned::random(number, &mut random);
            for event in acknowledged(&planned, &store.commit(commit(&planned)).unwrap()) {
                oracle.learn(&event).unwrap();
            }
        }
        let die = |index: &crate::index::core::Index| {
            index.db.die_after(dies_after);
            Ok(())
        };
        store.log.log().index.ask(die).unwrap();
        indexer::index_up_to(store.log.log(), store.log.log().head.visible().1);
        assert_eq!(oracle.judge(&read_streams(&store)), Ok(()), "after {dies_after} writes");
        assert_eq!(oracle.judge(&read(&store, 0).unwrap()), Ok(()), "after {dies_after} writes");
        drop(store);
        let store = Store::open(directory.path().join("store")).unwrap();
        assert_eq!(oracle.judge(&read_streams(&store)), Ok(()), "reopened, {dies_after}");
    }
}
