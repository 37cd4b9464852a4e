//! What the live followers stand on: the filters that are asked at once, and the head. Their own tests are models
//! (`crates/models`), which compile those files again, and so cannot hold these.

use crate::codec::frame::Location;
use crate::log::tail::head::{Audience, Head};
use crate::value::clock::Micros;
use crate::value::filter::Filter;
use crate::value::filter_index::FilterIndex;
use crate::value::random::{Random, first_seed, rounds};
use crate::value::stream::{StreamId, category_of};
use std::collections::BTreeSet;
use std::sync::Arc;

#[test]
fn what_was_judged_before_somebody_joined_wakes_the_thread_that_watches() {
    let end = |offset| Location { segment: 1, offset };
    let head = Head::new(0, end(0), [0; 32], Micros(0));
    let show = |position, unwanted| {
        let judged = Audience { unwanted, wanted: None };
        head.advance((position, end(position)), [0; 32], Micros(0), &judged)
    };
    assert_eq!(head.judge(|| false), None, "nobody watches");
    assert!(!show(1, None), "nobody waits");
    head.set_seen(1);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| head.watch(&Arc::default()));
        let unwanted = || loop {
            match head.judge(|| false) {
                Some(unwanted) => break unwanted,
                None => std::thread::yield_now(),
            }
        };
        let first = unwanted();
        assert!(!show(2, Some(first)), "who watches was woken for nothing");
        assert_eq!(head.seen(), 2);
        assert_eq!(head.judge(|| true), None);

        let older = unwanted();
        assert_eq!(head.join(false), Some(2));
        let is_awaited = show(3, Some(older));
        let seen = head.seen();
        head.close();
        assert!(is_awaited, "who joined was not asked");
        assert_eq!(seen, 2);
        watching.join().unwrap();
    });
}

const STREAMS: [&str; 6] = ["A-1", "A-2", "B-1", "B", "A", "-"];
const TYPES: [&str; 3] = ["T", "U", "A"];
const TAGS: [&str; 3] = ["x", "y", "z"];

fn some_filter(random: &mut Random) -> Filter {
    let mut filter = Filter::all();
    for _ in 0..random.below(4) {
        let stream = STREAMS[random.below(6) as usize];
        let event_type = TYPES[random.below(3) as usize];
        let category = category_of(stream).to_owned();
        filter = match random.below(6) {
            4 => filter.tagged(TAGS[random.below(3) as usize]),
            5 => return filter.or(some_filter(random)),
            0 => filter.and_stream(StreamId::new(stream).unwrap()),
            _ if category.is_empty() => filter,
            1 => filter.and_category(category),
            2 => filter.with_category(category, Some(vec![event_type.to_owned()])),
            _ => filter.and_event_type(event_type),
        };
    }
    filter
}

#[test]
fn whatever_was_added_and_removed_the_filters_found_are_those_that_want_the_event() {
    for seed in (first_seed()..).take(rounds(200) as usize) {
        let mut random = Random::new(seed);
        let (mut index, mut kept) = (FilterIndex::default(), Vec::new());
        for _ in 0..40 {
            if random.below(3) == 0 && !kept.is_empty() {
                let (id, _) = kept.swap_remove(random.below(kept.len() as u64) as usize);
                index.remove(id);
            } else {
                let filter = some_filter(&mut random);
                kept.push((index.add(&filter), filter));
            }
            let stream = STREAMS[random.below(6) as usize];
            let event_type = TYPES[random.below(3) as usize];
            let tags = &TAGS[..random.below(4) as usize];
            let tags = tags.iter().copied();
            let found: Vec<_> = index.wanting(stream, event_type, tags.clone()).collect();
            let unique: BTreeSet<_> = found.iter().copied().collect();
            assert_eq!(unique.len(), found.len(), "seed {seed}: one is found twice");
            let wanting = kept
                .iter()
                .filter(|(_, filter)| filter.wants_tagged(stream, event_type, tags.clone()));
            let wanting: BTreeSet<_> = wanting.map(|(id, _)| *id).collect();
            assert_eq!(unique, wanting, "seed {seed}: {stream} {event_type} {kept:?}");
            assert_eq!(index.wants(stream, event_type, tags), !wanting.is_empty());
        }
        kept.into_iter().for_each(|(id, _)| index.remove(id));
        assert!(index.is_empty(), "seed {seed}: something is left");
    }
}
