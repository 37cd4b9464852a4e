//! Many threads at once: order, density, exactly one winner, every event once.

use filmstrip::{AppendError, ExpectedVersion, NewEvent, Position, RecordedEvent, Store, Version};
use std::collections::HashMap;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn sixteen_writers_and_four_followers_agree_on_every_event() {
    const WRITERS: u64 = 16;
    const EACH: u64 = 400;
    const STREAMS: u64 = 100;
    let store = Store::temporary().unwrap();
    let count = WRITERS * EACH;
    let follow = |subscription: filmstrip::Subscription| {
        move || -> Vec<RecordedEvent> {
            (0..count).map(|_| subscription.recv_timeout(PATIENCE).unwrap()).collect()
        }
    };
    let seen: Vec<Vec<RecordedEvent>> = thread::scope(|scope| {
        let followers: Vec<_> = [1, 7, 1_024, 65_536]
            .map(|buffer| scope.spawn(follow(store.subscribe().buffer(buffer).start().unwrap())))
            .into();
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for n in 0..EACH {
                    let stream = format!("S-{}", (writer * 31 + n * 17) % STREAMS);
                    let event = NewEvent::json("Written", &(writer, n)).unwrap();
                    let done = store.append(&stream, ExpectedVersion::Any, [event]).unwrap();
                    assert!(store.head() >= done.position, "the head is behind a reply");
                }
            });
        }
        followers.into_iter().map(|follower| follower.join().unwrap()).collect()
    });
    let all = store.read_all().collect().unwrap();
    let positions: Vec<u64> = all.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, (1..=count).collect::<Vec<_>>(), "positions have gaps");
    let mut versions: HashMap<String, u64> = HashMap::new();
    let mut last_of_writer = vec![None; WRITERS as usize];
    for event in &all {
        let version = versions.entry(event.stream.to_string()).or_default();
        *version += 1;
        assert_eq!(event.version.get(), *version, "versions of {} have gaps", event.stream);
        let (writer, n): (u64, u64) = event.json().unwrap();
        let last = last_of_writer[writer as usize].replace(n);
        assert!(last.is_none_or(|last| last < n), "a writer's events changed their order");
    }
    assert_eq!(last_of_writer, vec![Some(EACH - 1); WRITERS as usize]);
    for events in seen {
        assert_eq!(events, all, "a follower saw something else");
    }
}

#[test]
fn of_two_writers_with_the_same_expectation_exactly_one_wins() {
    const ROUNDS: u64 = 1_000;
    let store = Store::temporary().unwrap();
    let barrier = Barrier::new(2);
    let race = |name: &'static str| {
        let (store, barrier) = (&store, &barrier);
        move || -> Vec<bool> {
            (0..ROUNDS)
                .map(|round| {
                    barrier.wait();
                    let event = NewEvent::json("Claimed", &name).unwrap();
                    let won = match store.append("Race-1", Version::new(round), [event]) {
                        Ok(appended) => {
                            assert_eq!(appended.version.get(), round + 1);
                            true
                        }
                        Err(AppendError::Conflict(conflict)) => {
                            assert_eq!(conflict.actual.get(), round + 1);
                            false
                        }
                        Err(error) => panic!("{error}"),
                    };
                    barrier.wait();
                    won
                })
                .collect()
        }
    };
    let (left, right) = thread::scope(|scope| {
        let (left, right) = (scope.spawn(race("left")), scope.spawn(race("right")));
        (left.join().unwrap(), right.join().unwrap())
    });
    let events = store.read_stream("Race-1").collect().unwrap();
    assert_eq!(events.len() as u64, ROUNDS);
    for ((left, right), event) in left.into_iter().zip(right).zip(events) {
        assert_ne!(left, right, "both or neither won version {}", event.version);
        assert_eq!(event.json::<String>().unwrap(), if left { "left" } else { "right" });
    }
}

#[test]
fn a_reader_beside_writers_never_sees_a_part_of_a_commit() {
    const COMMITS: u64 = 300;
    const SIZE: u64 = 7;
    let store = Store::temporary().unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..COMMITS {
                let events = (0..SIZE).map(|n| NewEvent::json("Part", &n).unwrap());
                store.append("Whole-1", ExpectedVersion::Any, events).unwrap();
            }
        });
        while !writer.is_finished() {
            for read in [store.read_all().collect(), store.read_stream("Whole-1").collect()] {
                // Before the first commit the stream does not exist.
                let count = read.map_or(0, |events| events.len() as u64);
                assert_eq!(count % SIZE, 0, "a commit was seen in part");
            }
            let head = store.head();
            assert_eq!(head.get() % SIZE, 0, "the head stands within a commit");
        }
    });
    assert_eq!(store.head(), Position::new(COMMITS * SIZE));
}
