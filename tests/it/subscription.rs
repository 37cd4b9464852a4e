//! What a subscription promises: all that was and all that comes, once, in order, until stopped.

use crate::common::{Random, in_its_own_process, seed, variable, wait_until, within};
use crossbeam_channel::select;
use filmstrip::{ErrorKind, ExpectedVersion, Filter, NewEvent, Position, Store, Subscription};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn append(store: &Store, stream: &str, kind: &str) -> Position {
    let event = NewEvent::bytes(kind, "x");
    store.append(stream, ExpectedVersion::Any, [event]).unwrap().position
}

fn take(subscription: &Subscription, count: usize) -> Vec<u64> {
    (0..count).map(|_| subscription.recv_timeout(PATIENCE).unwrap().position.get()).collect()
}

#[test]
fn it_goes_from_what_was_to_what_comes_without_a_gap_or_a_repetition() {
    let store = Store::temporary().unwrap();
    for _ in 0..50 {
        append(&store, "A-1", "T");
    }
    let subscription = store.subscribe().after(Position::new(10)).start().unwrap();
    assert_eq!(take(&subscription, 20), (11..=30).collect::<Vec<_>>());
    for _ in 0..50 {
        append(&store, "B-1", "T");
    }
    assert_eq!(take(&subscription, 70), (31..=100).collect::<Vec<_>>());
    let error = subscription.recv_timeout(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    append(&store, "A-1", "T");
    assert_eq!(take(&subscription, 1), [101]);
}

/// A consumer group lost what was left of a batch when room came too early. A subscription changes between the thread
/// that reads for all and reading for itself, as often as its buffer is full: whatever its buffer, its filter and where
/// it begins, however it is read, however slowly, and however often it is stopped or dropped and begun again at its
/// position, each event comes once and in order, while others append, and its position never passes one.
///
/// `FILMSTRIP_ROUNDS=1000 cargo test --release --test it subscription::whatever` for a long run.
#[test]
fn whatever_its_buffer_and_however_it_is_read_each_event_comes_once_and_in_order() {
    let seed = seed();
    for round in 0..variable("FILMSTRIP_ROUNDS").unwrap_or(4) {
        let mut random = Random(seed.wrapping_add(round));
        within(PATIENCE, move || {
            let store = Store::temporary().unwrap();
            thread::scope(|scope| {
                for buffer in [1, 1, 2, 3, 8, 40, 1 + random.below(400) as usize] {
                    let (filter, random) = (pick_filter(&mut random), Random(random.next()));
                    let store = &store;
                    scope.spawn(move || read_all_of_it(store, buffer, &filter, random));
                }
                append_some(&store, &mut random);
            });
        });
    }
}

const LAST: &str = "Last";

fn pick_filter(random: &mut Random) -> Filter {
    match random.below(4) {
        0 => Filter::all(),
        1 => Filter::category("A").and_category("Last"),
        2 => Filter::stream("A-2".try_into().unwrap()).and_stream("Last-1".try_into().unwrap()),
        _ => Filter::event_type("T").and_event_type(LAST),
    }
}

fn append_some(store: &Store, random: &mut Random) {
    for _ in 0..80 {
        let kind = if random.one_in(4) { "Other" } else { "T" };
        let events = (0..=random.below(60)).map(|_| NewEvent::bytes(kind, "x"));
        let stream = ["A-1", "A-2", "B-1"][random.below(3) as usize];
        store.append(stream, ExpectedVersion::Any, events).unwrap();
        if random.one_in(4) {
            thread::sleep(Duration::from_millis(1));
        }
    }
    append(store, "Last-1", LAST);
}

fn read_all_of_it(store: &Store, buffer: usize, filter: &Filter, mut random: Random) {
    let start = |after| {
        let subscription = store.subscribe().after(after).filter(filter.clone()).buffer(buffer);
        subscription.start().unwrap()
    };
    let began = Position::new(random.below(store.head().get() + 1));
    let mut seen: Vec<Position> = Vec::new();
    // What it said of its position after so many events.
    let mut positions = Vec::new();
    let mut subscription = start(began);
    loop {
        positions.push((seen.len(), subscription.position()));
        if random.one_in(40) {
            let last = seen.last().copied().unwrap_or(began);
            if random.one_in(2) {
                subscription.stopper().stop();
            }
            // What its channel holds was taken by nobody, and its position is before that.
            let position = subscription.position().max(last);
            positions.push((seen.len(), position));
            subscription = start(if random.one_in(2) { position } else { last });
        }
        if random.one_in(60) {
            thread::sleep(Duration::from_millis(random.below(3)));
        }
        let event = match random.below(40) {
            0..16 => match subscription.recv_timeout(Duration::from_micros(random.below(50))) {
                Err(error) if error.kind() == ErrorKind::Timeout => continue,
                event => event.unwrap(),
            },
            16..27 => subscription.recv_timeout(PATIENCE).unwrap(),
            27 => subscription.receiver().recv_timeout(PATIENCE).unwrap().unwrap(),
            _ => subscription.next().unwrap().unwrap(),
        };
        seen.push(event.position);
        if event.event_type == LAST {
            break;
        }
    }
    let all = store.read_all().after(began).filter(filter.clone()).collect().unwrap();
    let all: Vec<_> = all.into_iter().map(|event| event.position).collect();
    let it = format!("a buffer of {buffer} after {began}, {filter:?}");
    assert!(seen == all, "{it}: {seen:?} is not {all:?}");
    for (taken, position) in positions {
        assert!(position < all[taken], "{it}: at {position} before {} was taken", all[taken]);
    }
}

#[test]
fn one_that_begins_in_the_past_beside_one_that_is_live_misses_nothing() {
    let store = Store::temporary().unwrap();
    let live = store.subscribe().start().unwrap();
    for _ in 0..5 {
        append(&store, "A-1", "T");
    }
    assert_eq!(take(&live, 5), [1, 2, 3, 4, 5]);
    let past = store.subscribe().after(Position::new(2)).start().unwrap();
    append(&store, "A-1", "T");
    assert_eq!(take(&past, 1), [3]);
    assert_eq!(take(&past, 3), [4, 5, 6]);
    assert_eq!(take(&live, 1), [6]);
}

/// A filtered subscription said nothing of what it had passed: to go on with it read everything again.
#[test]
fn its_position_passes_what_is_not_wanted_and_never_what_was_not_taken() {
    let store = Store::temporary().unwrap();
    let doors = store.subscribe().category("Door").start().unwrap();
    let all = store.subscribe().start().unwrap();
    assert_eq!(doors.position(), Position::START);
    for _ in 0..3 {
        append(&store, "Lamp-1", "T");
    }
    // What was given to the other one was compared with both.
    take(&all, 3);
    reaches(&doors, 3);
    append(&store, "Door-1", "T");
    append(&store, "Lamp-1", "T");
    take(&all, 2);
    assert_eq!(doors.position(), Position::new(3), "the next one is still to be taken");
    let successor = store.subscribe().category("Door").after(doors.position()).start().unwrap();
    assert_eq!(take(&doors, 1), [4]);
    reaches(&doors, 5);
    assert_eq!(take(&successor, 1), [4]);
    // The same through its channel, where it may be known later, but not sooner.
    let channel = successor.receiver();
    append(&store, "Door-1", "T");
    append(&store, "Lamp-1", "T");
    reaches(&doors, 5);
    wait_until(PATIENCE, "an event through the channel", || !channel.is_empty());
    assert!(successor.position() < Position::new(6));
    assert_eq!(channel.recv().unwrap().unwrap().position, Position::new(6));
    reaches(&successor, 7);
    successor.stopper().stop();
    assert_eq!(successor.position(), Position::new(7));
}

fn reaches(subscription: &Subscription, position: u64) {
    let begun = Instant::now();
    while subscription.position() < Position::new(position) {
        assert!(begun.elapsed() < PATIENCE, "it stays at {}", subscription.position());
        thread::yield_now();
    }
    assert_eq!(subscription.position(), Position::new(position));
}

/// Each subscription had a thread, all of which were woken by each append and each stop: with 500 that wanted nothing,
/// an append took 5.9 ms in place of 0.45.
#[test]
#[cfg(target_os = "linux")]
fn those_for_whom_nothing_comes_have_no_thread_and_nobody_is_woken_for_them() {
    const NAME: &str = "those_for_whom_nothing_comes_have_no_thread_and_nobody_is_woken_for_them";
    in_its_own_process(module_path!(), NAME, || {
        let store = Store::temporary().unwrap();
        let mut idle: Vec<_> = (0..3_000)
            .map(|n| match n % 3 {
                0 => store.subscribe().category("Other"),
                1 => store.subscribe().stream(format!("Door-{n}")),
                _ => store.subscribe().event_type(format!("T{n}")),
            })
            .map(|builder| builder.start().unwrap())
            .collect();
        assert_eq!(threads("filmstrip-live").len(), 1);
        assert_eq!(threads("filmstrip-subsc").len(), 0);
        // Once it sleeps.
        append(&store, "Other-1", "T");
        assert_eq!(take(&idle[0], 1), [1]);
        let reader = threads("filmstrip-live")[0].clone();
        wait_until(PATIENCE, "the thread's rest", || status(&reader, "State").starts_with('S'));
        let before = wake_ups(&reader);
        for _ in 0..500 {
            append(&store, "Lamp-1", "T");
        }
        let woken = wake_ups(&reader) - before;
        assert!(woken < 50, "it was woken {woken} times for 500 events that nobody wants");
        assert_eq!(idle[1].position(), store.head(), "they get on all the same");

        let before = wake_ups(&reader);
        idle.truncate(1);
        let woken = wake_ups(&reader) - before;
        assert!(woken < 50, "it was woken {woken} times by 2,999 that ended");
        idle.clear();
        wait_until(PATIENCE / 4, "the thread's end", || threads("filmstrip-live").is_empty());
    });
}

/// The directories of this process's threads with this name.
#[cfg(target_os = "linux")]
fn threads(name: &str) -> Vec<std::path::PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let is_named = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    tasks.filter(is_named).collect()
}

#[cfg(target_os = "linux")]
fn status(task: &std::path::Path, field: &str) -> String {
    let status = std::fs::read_to_string(task.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}

/// How often a thread has gone to sleep, and so was woken.
#[cfg(target_os = "linux")]
fn wake_ups(task: &std::path::Path) -> u64 {
    status(task, "voluntary_ctxt_switches").parse().unwrap()
}

/// `recv_timeout` handed out what was read ahead although the subscription had been stopped, when its iterator
/// yielded nothing any more.
#[test]
fn after_a_stop_nothing_is_handed_out_but_by_the_channel_itself() {
    let store = Store::temporary().unwrap();
    for _ in 0..3 {
        append(&store, "A-1", "T");
    }
    let mut subscription = store.subscribe().start().unwrap();
    assert_eq!(take(&subscription, 1), [1]);
    wait_until(PATIENCE, "what is read ahead", || subscription.receiver().len() >= 2);
    subscription.stopper().stop();
    let error = subscription.recv_timeout(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert!(subscription.next().is_none());
    let ahead = subscription.receiver().try_iter().count();
    assert_eq!(ahead, 2, "what was read ahead is in the channel for who wants it");
}

#[test]
fn after_a_stop_both_ways_of_taking_end_and_what_was_not_taken_is_not_passed() {
    let store = Store::temporary().unwrap();
    let mut subscription = store.subscribe().start().unwrap();
    let all = store.subscribe().start().unwrap();
    for _ in 0..3 {
        append(&store, "A-1", "T");
    }
    take(&all, 3);
    assert_eq!(take(&subscription, 1), [1]);
    subscription.stopper().stop();
    let error = subscription.recv_timeout(PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert!(subscription.next().is_none());
    append(&store, "A-1", "T");
    assert_eq!(subscription.position(), Position::new(1));
    let successor = store.subscribe().after(subscription.position()).start().unwrap();
    assert_eq!(take(&successor, 3), [2, 3, 4]);
}

#[test]
fn it_delivers_only_what_its_filters_name() {
    let store = Store::temporary().unwrap();
    let streams = store.subscribe().stream("A-1").stream("B-2").start().unwrap();
    let category = store.subscribe().category("A").start().unwrap();
    let types = store.subscribe().event_type("X").start().unwrap();
    let both = store.subscribe().category("B").event_type("X").start().unwrap();
    for (stream, kind) in [("A-1", "X"), ("A-2", "Y"), ("B-1", "X"), ("B-2", "Y"), ("C-1", "X")] {
        append(&store, stream, kind);
    }
    assert_eq!(take(&streams, 2), [1, 4]);
    assert_eq!(take(&category, 2), [1, 2]);
    assert_eq!(take(&types, 3), [1, 3, 5]);
    assert_eq!(take(&both, 1), [3]);
}

#[test]
fn stopping_ends_the_iteration_from_another_thread() {
    let store = Store::temporary().unwrap();
    append(&store, "A-1", "T");
    let subscription = store.subscribe().start().unwrap();
    let stopper = subscription.stopper();
    let (seen, met) = crossbeam_channel::bounded(0);
    let consumer = thread::spawn(move || {
        subscription.map(|event| seen.send(event.unwrap().position).unwrap()).count()
    });
    met.recv_timeout(PATIENCE).unwrap();
    stopper.stop();
    assert_eq!(consumer.join().unwrap(), 1);
    stopper.stop();
}

#[test]
fn closing_the_store_ends_a_subscription_even_if_nobody_takes_its_events() {
    let store = Store::temporary().unwrap();
    let full = store.subscribe().buffer(1).start().unwrap();
    let waiting = store.subscribe().after(store.head()).start().unwrap();
    for _ in 0..10 {
        append(&store, "A-1", "T");
    }
    assert_eq!(take(&waiting, 10).len(), 10);
    store.close().unwrap();
    assert_eq!(waiting.recv_timeout(PATIENCE).unwrap_err().kind(), ErrorKind::Closed);
    assert!(full.count() <= 2, "a closed store delivered more than was under way");
}

#[test]
fn a_subscription_keeps_the_store_open_and_dropping_it_lets_go() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    append(&store, "A-1", "T");
    let subscription = store.subscribe().start().unwrap();
    drop(store);
    assert_eq!(take(&subscription, 1), [1]);
    let error = Store::open(directory.path()).expect_err("it is still open");
    assert_eq!(error.kind(), ErrorKind::Locked);
    drop(subscription);
    Store::open(directory.path()).expect("nobody holds it any more");
}

#[test]
fn several_subscriptions_can_be_selected_over() {
    let store = Store::temporary().unwrap();
    let a = store.subscribe().category("A").start().unwrap();
    let b = store.subscribe().category("B").start().unwrap();
    append(&store, "A-1", "T");
    append(&store, "B-1", "T");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        select! {
            recv(a.receiver()) -> event => seen.push(event.unwrap().unwrap().stream.to_string()),
            recv(b.receiver()) -> event => seen.push(event.unwrap().unwrap().stream.to_string()),
            default(PATIENCE) => panic!("nothing came"),
        }
    }
    seen.sort();
    assert_eq!(seen, ["A-1", "B-1"]);
}

#[test]
fn a_position_past_the_head_or_a_senseless_buffer_is_refused() {
    let store = Store::temporary().unwrap();
    append(&store, "A-1", "T");
    for (builder, says) in [
        (store.subscribe().after(Position::new(2)), "the head is 1"),
        (store.subscribe().buffer(0), "1 to 65536"),
        (store.subscribe().buffer(65_537), "65537"),
        (store.subscribe().stream(""), "empty"),
    ] {
        let error = builder.start().err().expect("it was started");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn a_consumer_that_takes_nothing_does_not_hold_writers_up() {
    let store = Store::temporary().unwrap();
    let idle = store.subscribe().buffer(1).start().unwrap();
    let began = Instant::now();
    for _ in 0..100 {
        let events = (0..1_000).map(|_| NewEvent::bytes("T", "x"));
        store.append("A-1", ExpectedVersion::Any, events).unwrap();
    }
    assert!(began.elapsed() < PATIENCE, "writers waited for a consumer");
    assert_eq!(take(&idle, 100_000).last(), Some(&100_000));
}
