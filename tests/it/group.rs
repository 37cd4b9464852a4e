//! What a consumer group promises: each event is handled by one consumer at least once, none is
//! passed unfinished, and what was acknowledged is not delivered again, whatever happens.
//!
//! `FILMSTRIP_KILLS=200 cargo test --release --test it group::killed` for a long run of the kills.

use crate::common::{Random, child, seed, variable};
use filmstrip::group::{Delivery, GroupBuilder, Nack};
use filmstrip::{Consumer, ErrorKind, ExpectedVersion, NewEvent, Position, Store};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(20);
const CHILD: &str = "FILMSTRIP_KILLED_GROUP";

fn append(store: &Store, stream: &str) -> u64 {
    let event = NewEvent::bytes("Placed", "x");
    store.append(stream, ExpectedVersion::Any, [event]).unwrap().position.get()
}

fn mailer(store: &Store) -> GroupBuilder {
    store.subscribe().category("Order").group("mailer")
}

fn cursor(store: &Store) -> u64 {
    store.group("mailer").cursor().unwrap().get()
}

fn next(consumer: &Consumer) -> Delivery {
    consumer.recv_timeout(PATIENCE).unwrap()
}

fn next_is(consumer: &Consumer, position: u64, attempt: u32) -> Delivery {
    let delivery = next(consumer);
    assert_eq!((delivery.event.position.get(), delivery.attempt), (position, attempt));
    delivery
}

#[track_caller]
fn nothing_comes(consumer: &Consumer) {
    let error = consumer.recv_timeout(MOMENT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

fn parked(store: &Store) -> Vec<(u64, u32)> {
    let parked = store.group("mailer").parked().unwrap();
    parked.iter().map(|parked| (parked.position.get(), parked.attempts)).collect()
}

/// What a random run of a group knows beside it.
#[derive(Default)]
struct Seen {
    /// Acknowledged or skipped, durably.
    finished: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
    /// May have been parked, and are then delivered again although the cursor has passed them.
    replayed: BTreeSet<u64>,
    appended: u64,
}

impl Seen {
    /// The first event up to `last` that is neither finished nor parked, nor in `others`.
    fn unfinished(&self, store: &Store, last: u64, others: &BTreeSet<u64>) -> Option<u64> {
        let parked: BTreeSet<u64> = parked(store).into_iter().map(|(p, _)| p).collect();
        (1..=last).find(|p| ![&self.finished, &parked, others].iter().any(|set| set.contains(p)))
    }

    #[track_caller]
    fn assert_nothing_was_passed(&self, store: &Store) {
        let cursor = cursor(store);
        let passed = self.unfinished(store, cursor, &self.replayed);
        assert_eq!(passed, None, "the cursor is at {cursor}");
    }
}

/// In ordinary use, with small buffers, late answers and some events parked by hand, most events of a
/// backlog were never delivered: a batch that was ingested by half was replaced by the next one. Here
/// consumers of the real group come, answer in every way or not at all, and go, the group is started
/// again, and parked events are replayed. Whatever happens, each event is delivered until it is finished.
///
/// `FILMSTRIP_ROUNDS=1000 cargo test --release --test it group::whatever` for a long run.
#[test]
fn whatever_consumers_do_each_event_is_delivered_until_it_is_finished() {
    let seed = seed();
    for round in 0..variable("FILMSTRIP_ROUNDS").unwrap_or(12) {
        let mut random = Random(seed.wrapping_add(round));
        let store = Store::temporary().unwrap();
        let buffer = 1 + random.below(9) as usize;
        let in_stream_order = random.one_in(2);
        // Now and then so short that deliveries run out while they are handled.
        let redeliver_after = [Duration::from_millis(3), PATIENCE][random.below(2) as usize];
        let join = || {
            let group = store.subscribe().buffer(buffer).group("mailer").attempts(3);
            let group = group.redeliver_after(redeliver_after);
            let group = if in_stream_order { group.in_stream_order() } else { group };
            group.start().unwrap()
        };
        let mut seen = Seen::default();
        let mut consumers = vec![join()];
        let mut held: Vec<Delivery> = Vec::new();
        for _ in 0..300 {
            match random.below(12) {
                0 | 1 if seen.appended < 200 => {
                    let events = (0..=random.below(20)).map(|_| NewEvent::bytes("Placed", "x"));
                    let stream = format!("Order-{}", random.below(4));
                    let appended = store.append(stream, ExpectedVersion::Any, events).unwrap();
                    seen.appended = appended.position.get();
                }
                2 if consumers.len() < 4 => consumers.push(join()),
                3 if random.one_in(4) => {
                    drop(consumers.swap_remove(random.below(consumers.len() as u64) as usize));
                    if consumers.is_empty() {
                        // The deliveries that are held keep the group running; at times they go too.
                        if random.one_in(2) {
                            held.clear();
                        }
                        consumers.push(join());
                    }
                }
                4..=6 => {
                    let consumer = &consumers[random.below(consumers.len() as u64) as usize];
                    let wait = Duration::from_millis(random.below(2));
                    if let Ok(delivery) = consumer.recv_timeout(wait) {
                        let position = delivery.event.position.get();
                        assert!(!seen.finished.contains(&position), "{position} was finished");
                        seen.delivered.insert(position);
                        held.push(delivery);
                    }
                }
                7..=10 if !held.is_empty() => {
                    let delivery = held.swap_remove(random.below(held.len() as u64) as usize);
                    answer(delivery, random.below(8), &mut seen);
                }
                11 if random.one_in(8) => {
                    seen.replayed.extend(seen.delivered.difference(&seen.finished));
                    store.group("mailer").replay_parked().unwrap();
                }
                _ => {}
            }
            if random.one_in(20) {
                seen.assert_nothing_was_passed(&store);
            }
        }
        seen.assert_nothing_was_passed(&store);
        // Then everything is handled, but what was parked.
        held.clear();
        while seen.unfinished(&store, seen.appended, &BTreeSet::new()).is_some() {
            match consumers[0].recv_timeout(PATIENCE) {
                Ok(delivery) => answer(delivery, 7, &mut seen),
                Err(error) => panic!("round {round}: at {}: {error}", cursor(&store)),
            }
        }
        assert_eq!(cursor(&store), seen.appended, "round {round}");
    }
}

fn answer(delivery: Delivery, how: u64, seen: &mut Seen) {
    let position = delivery.event.position.get();
    match how {
        0 => drop(delivery),
        // It may have been taken back meanwhile.
        1 => drop(delivery.nack(Nack::Retry(Duration::from_millis(1)))),
        2 => drop(delivery.nack(Nack::Park)),
        _ => {
            let ended = if how == 3 { delivery.nack(Nack::Skip) } else { delivery.ack() };
            if ended.is_ok() {
                seen.finished.insert(position);
            }
        }
    }
}

/// Eight consumers catch up with a backlog in large commits; some events are parked, some refused, some come too
/// late. The defect of the batch that was replaced lost most of such a backlog silently.
#[test]
fn eight_consumers_that_catch_up_and_park_miss_nothing() {
    let store = Store::temporary().unwrap();
    for n in 0..40 {
        let events = (0..50).map(|_| NewEvent::bytes("Placed", "x"));
        store.append(format!("Order-{}", n % 7), ExpectedVersion::Any, events).unwrap();
    }
    let all: BTreeSet<u64> = (1..=store.head().get()).collect();
    let handled = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            let group = store.subscribe().category("Order").buffer(16).group("mailer");
            let consumer = group.redeliver_after(5 * MOMENT).start().unwrap();
            let (handled, store, last) = (&handled, &store, all.len() as u64);
            scope.spawn(move || {
                while cursor(store) < last {
                    let Ok(delivery) = consumer.recv_timeout(MOMENT) else { continue };
                    let position = delivery.event.position.get();
                    let refuse = |delivery: Delivery, nack| match delivery.nack(nack) {
                        // The machine was slow, and the event is with another consumer.
                        Err(error) if error.kind() == ErrorKind::Expired => {}
                        refused => refused.unwrap(),
                    };
                    match (position % 50, delivery.attempt) {
                        (0, _) => refuse(delivery, Nack::Park),
                        (1, 1) => refuse(delivery, Nack::Retry(MOMENT)),
                        (2, 1) => drop(delivery),
                        (way, attempt) => {
                            if (way, attempt) == (3, 1) {
                                // Long enough to be delivered again meanwhile.
                                thread::sleep(6 * MOMENT);
                            }
                            delivery.ack().unwrap();
                            handled.lock().unwrap().insert(position);
                        }
                    }
                }
            });
        }
    });
    let parked: BTreeSet<u64> = parked(&store).into_iter().map(|(position, _)| position).collect();
    assert_eq!(parked, (1..=40).map(|n| 50 * n).collect());
    assert_eq!(&handled.into_inner().unwrap() | &parked, all);
}

#[test]
fn consumers_share_the_events_and_each_is_handled_once() {
    let store = Store::temporary().unwrap();
    let handled = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            let consumer = mailer(&store).start().unwrap();
            scope.spawn(|| {
                for delivery in consumer {
                    let delivery = delivery.unwrap();
                    let position = delivery.event.position.get();
                    delivery.ack().unwrap();
                    handled.lock().unwrap().push(position);
                }
            });
        }
        let mut head = 0;
        for n in 0..200 {
            append(&store, "Invoice-1");
            head = append(&store, &format!("Order-{}", n % 7));
        }
        let deadline = std::time::Instant::now() + PATIENCE;
        while cursor(&store) < head {
            assert!(std::time::Instant::now() < deadline, "the group stands at {}", cursor(&store));
            thread::yield_now();
        }
        store.clone().close().unwrap();
    });
    let mut handled = handled.into_inner().unwrap();
    handled.sort_unstable();
    assert_eq!(handled, (1..=200).map(|n| 2 * n).collect::<Vec<_>>());
}

#[test]
fn the_cursor_stays_before_an_unfinished_event_also_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    for _ in 0..4 {
        append(&store, "Order-1");
    }
    let consumer = mailer(&store).start().unwrap();
    let [one, two, three] = [(); 3].map(|()| next(&consumer));
    two.ack().unwrap();
    assert_eq!(cursor(&store), 0);
    one.ack().unwrap();
    assert_eq!(cursor(&store), 2);
    // The consumer never says what became of the third event: the process ends.
    std::mem::forget(three);
    store.close().unwrap();
    drop(consumer);

    // The index is no more than an index: what a group has done is not in it alone.
    fs::remove_dir_all(path.join("index")).unwrap();
    let store = Store::open(&path).unwrap();
    let consumer = mailer(&store).start().unwrap();
    assert_eq!(cursor(&store), 2);
    // That the third was tried was written with what the others said.
    next_is(&consumer, 3, 2).ack().unwrap();
    next_is(&consumer, 4, 1).ack().unwrap();
}

/// Behind the cursor, a group is kept in parts that say what each answer added. They are read over restarts and
/// without an index, written whole now and then, and gone with the group.
#[test]
fn what_was_acknowledged_out_of_order_stays_so_and_goes_with_the_group() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    let events = (0..300).map(|_| NewEvent::bytes("Placed", "x"));
    store.append("Order-1", ExpectedVersion::Any, events).unwrap();
    drop(store);
    let mut left: BTreeSet<u64> = (1..=300).collect();
    let mut random = Random(seed());
    for round in 0..6 {
        let store = Store::open(&path).unwrap();
        let consumer = mailer(&store).attempts(100).start().unwrap();
        let mut held: Vec<_> = left.iter().map(|_| next(&consumer)).collect();
        let delivered: BTreeSet<_> = held.iter().map(|d| d.event.position.get()).collect();
        assert_eq!(delivered, left, "round {round}");
        // The first one stays to the end.
        for _ in 0..left.len() * 2 / 3 {
            let delivery = held.remove(1 + random.below(held.len() as u64 - 1) as usize);
            left.remove(&delivery.event.position.get());
            delivery.ack().unwrap();
        }
        assert_eq!(cursor(&store), 0);
        held.into_iter().for_each(std::mem::forget);
        store.close().unwrap();
        drop(consumer);
        if round % 2 == 0 {
            fs::remove_dir_all(path.join("index")).unwrap();
        }
    }
    let store = Store::open(&path).unwrap();
    store.group("mailer").remove().unwrap();
    let consumer = mailer(&store).start().unwrap();
    for position in 1..=300 {
        next_is(&consumer, position, 1).ack().unwrap();
    }
}

#[test]
fn what_is_not_answered_is_delivered_again() {
    let store = Store::temporary().unwrap();
    append(&store, "Order-1");
    let one = mailer(&store).redeliver_after(MOMENT).start().unwrap();
    let other = mailer(&store).redeliver_after(MOMENT).start().unwrap();
    drop(next_is(&one, 1, 1));
    // This one takes too long, and another consumer gets it; yet it is handled when it says so.
    let late = next_is(&one, 1, 2);
    let again = next_is(&other, 1, 3);
    late.ack().unwrap();
    assert_eq!(cursor(&store), 1);
    let error = again.nack(Nack::Park).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Expired, "{error}");
    assert_eq!(parked(&store), []);
    nothing_comes(&one);
}

/// An acknowledgement that came after its event had been parked returned `Ok` and did nothing: the event
/// stayed parked, and a replay delivered what was handled. It is parked no longer, durably, whether it was
/// parked by time, waits to be replayed, or is with another consumer by then.
#[test]
fn an_acknowledgement_counts_although_the_event_was_parked_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    for _ in 0..4 {
        append(&store, "Order-1");
    }
    let join = |store: &Store| {
        let small = store.subscribe().category("Order").buffer(2).group("mailer").attempts(1);
        small.redeliver_after(Duration::from_millis(300)).start().unwrap()
    };
    let consumer = join(&store);
    let [parked_by_time, to_be_replayed] = [1, 2].map(|position| next_is(&consumer, position, 1));
    let [three, four] = [3, 4].map(|position| next_is(&consumer, position, 1));
    // All four have come to be parked, for nobody has answered.
    let begun = std::time::Instant::now();
    while parked(&store).len() < 4 {
        assert!(begun.elapsed() < PATIENCE, "only {:?} are parked", parked(&store));
        thread::sleep(MOMENT);
    }
    let refused = four.nack(Nack::Skip).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Expired, "{refused}");
    assert!(refused.to_string().contains("parked"), "{refused}");
    parked_by_time.ack().unwrap();
    assert_eq!(parked(&store), [(2, 1), (3, 1), (4, 1)]);
    store.group("mailer").replay_parked().unwrap();
    // There is room for two: the others wait to be replayed.
    to_be_replayed.ack().unwrap();
    three.ack().unwrap();
    let mut left = Vec::new();
    while left.last() != Some(&4) {
        let delivery = next(&consumer);
        left.push(delivery.event.position.get());
        std::mem::forget(delivery);
    }
    assert_eq!((cursor(&store), left), (4, vec![4]));
    store.close().unwrap();
    drop(consumer);

    let store = Store::open(&path).unwrap();
    store.group("mailer").replay_parked().unwrap();
    let consumer = join(&store);
    next_is(&consumer, 4, 1).ack().unwrap();
    nothing_comes(&consumer);
}

/// One answer can make two events ready, and woke one consumer: the other slept beside an event that was
/// ready until something else happened.
#[test]
fn as_many_consumers_are_woken_as_events_are_ready() {
    let store = Store::temporary().unwrap();
    for stream in ["Order-a", "Order-a", "Order-b"] {
        append(&store, stream);
    }
    let long = 100 * PATIENCE;
    let small = || store.subscribe().category("Order").buffer(2).group("mailer");
    let join = || small().in_stream_order().redeliver_after(long).start().unwrap();
    let first = join();
    let one = next_is(&first, 1, 1);
    let (tell, told) = std::sync::mpsc::channel();
    let waiting: Vec<_> = [(); 2]
        .map(|()| {
            let (consumer, tell) = (join(), tell.clone());
            thread::spawn(move || {
                let delivery = consumer.recv_timeout(long).unwrap();
                tell.send(delivery.event.position.get()).unwrap();
                (consumer, delivery)
            })
        })
        .into();
    thread::sleep(5 * MOMENT);
    // Its stream goes on, and there is room for the third event.
    one.ack().unwrap();
    let mut woken =
        [(); 2].map(|()| told.recv_timeout(PATIENCE).expect("two consumers have one each"));
    woken.sort_unstable();
    assert_eq!(woken, [2, 3]);
    waiting.into_iter().for_each(|thread| drop(thread.join().unwrap()));
}

/// Waits and times to answer that no clock can measure never end: they were none at all, or panicked.
#[test]
fn times_too_long_for_the_clock_never_end() {
    let directory = tempfile::tempdir().unwrap();
    let times = [Duration::MAX, Duration::from_secs(i64::MAX as u64 - 1)];
    for (n, time) in times.into_iter().enumerate() {
        let store = Store::open(directory.path().join(n.to_string())).unwrap();
        append(&store, "Order-1");
        append(&store, "Order-1");
        let join = || mailer(&store).redeliver_after(time).start().unwrap();
        let consumer = join();
        let delivery = consumer.recv_timeout(time).unwrap();
        delivery.nack(Nack::Retry(time)).unwrap();
        next_is(&consumer, 2, 1).ack().unwrap();
        nothing_comes(&consumer);
        assert_eq!((cursor(&store), parked(&store)), (0, vec![]));
        drop(consumer);
        nothing_comes(&join());
        store.close().unwrap();
    }
}

#[test]
fn a_refused_event_is_tried_later_or_parked_or_skipped() {
    let store = Store::temporary().unwrap();
    for _ in 0..3 {
        append(&store, "Order-1");
    }
    let consumer = mailer(&store).attempts(2).start().unwrap();
    next_is(&consumer, 1, 1).nack(Nack::Retry(MOMENT)).unwrap();
    next_is(&consumer, 2, 1).nack(Nack::Skip).unwrap();
    next_is(&consumer, 3, 1).nack(Nack::Park).unwrap();
    assert_eq!(cursor(&store), 0);
    next_is(&consumer, 1, 2).nack(Nack::Retry(MOMENT)).unwrap();
    assert_eq!((cursor(&store), parked(&store)), (3, vec![(1, 2), (3, 1)]));
    let reasons = store.group("mailer").parked().unwrap();
    let reasons: Vec<_> = reasons.into_iter().filter_map(|parked| parked.error).collect();
    assert_eq!(reasons, ["its consumer could not handle it", "its consumer parked it"]);
}

#[test]
fn parked_events_are_replayed_now_or_when_the_group_is_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for _ in 0..3 {
        append(&store, "Order-1");
    }
    let consumer = mailer(&store).start().unwrap();
    for position in 1..=3 {
        next_is(&consumer, position, 1).nack(Nack::Park).unwrap();
    }
    store.group("mailer").replay_parked().unwrap();
    assert_eq!(parked(&store), []);
    next_is(&consumer, 1, 1).ack().unwrap();
    next_is(&consumer, 2, 1).nack(Nack::Park).unwrap();
    assert_eq!((cursor(&store), parked(&store)), (3, vec![(2, 1)]));
    // The third one is lost on the way; it is still to be tried again.
    std::mem::forget(next_is(&consumer, 3, 1));
    store.close().unwrap();
    drop(consumer);

    let store = Store::open(directory.path()).unwrap();
    store.group("mailer").replay_parked().unwrap();
    let consumer = mailer(&store).start().unwrap();
    next_is(&consumer, 2, 1).ack().unwrap();
    next_is(&consumer, 3, 1).nack(Nack::Park).unwrap();
    assert_eq!(parked(&store), [(3, 1)]);
    store.group("mailer").discard_parked().unwrap();
    store.group("mailer").replay_parked().unwrap();
    assert_eq!(parked(&store), []);
    nothing_comes(&consumer);
}

#[test]
fn in_stream_order_the_events_of_a_stream_come_one_after_the_other() {
    let store = Store::temporary().unwrap();
    for stream in ["Order-a", "Order-a", "Order-b"] {
        append(&store, stream);
    }
    let consumer = mailer(&store).in_stream_order().start().unwrap();
    let first = next_is(&consumer, 1, 1);
    next_is(&consumer, 3, 1).ack().unwrap();
    nothing_comes(&consumer);
    first.ack().unwrap();
    next_is(&consumer, 2, 1).ack().unwrap();
}

#[test]
fn a_group_holds_no_more_unfinished_events_than_its_buffer() {
    let store = Store::temporary().unwrap();
    for _ in 0..5 {
        append(&store, "Order-1");
    }
    let consumer = store.subscribe().buffer(2).group("small").start().unwrap();
    let [one, two] = [(); 2].map(|()| next(&consumer));
    nothing_comes(&consumer);
    two.ack().unwrap();
    let three = next_is(&consumer, 3, 1);
    one.ack().unwrap();
    three.ack().unwrap();
    for position in [4, 5] {
        next_is(&consumer, position, 1).ack().unwrap();
    }
}

#[test]
fn what_a_group_cannot_be_is_refused() {
    let store = Store::temporary().unwrap();
    append(&store, "Order-1");
    let consumer = mailer(&store).start().unwrap();
    let check = |builder: GroupBuilder, kind, part: &str| {
        let error = builder.start().err().expect("it cannot be");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error} does not hold {part:?}");
    };
    let invalid = ErrorKind::InvalidInput;
    check(mailer(&store).attempts(0), invalid, "0 times");
    check(mailer(&store).redeliver_after(Duration::ZERO), invalid, "after 0ns");
    check(mailer(&store).attempts(3), invalid, "10 attempts");
    check(store.subscribe().group(""), invalid, "empty");
    check(store.subscribe().group("mailer"), invalid, "categories [\"Order\"]");
    let after = store.subscribe().after(Position::new(9));
    check(after.group("other"), invalid, "the head is 1");
    let running = store.group("mailer").remove().unwrap_err();
    assert_eq!(running.kind(), ErrorKind::AlreadyRunning);
    drop(consumer);
    // Its filter is fixed, though nobody runs it.
    check(store.subscribe().group("mailer"), invalid, "filter is fixed");
    store.group("mailer").remove().unwrap();
    store.subscribe().group("mailer").start().expect("it begins again");
    assert_eq!(store.group("never").cursor().unwrap(), Position::START);
}

#[test]
fn a_new_group_begins_where_it_is_told_and_an_old_one_where_it_was() {
    let store = Store::temporary().unwrap();
    for _ in 0..4 {
        append(&store, "Order-1");
    }
    let late = || store.subscribe().after(Position::new(2)).group("late").start().unwrap();
    next_is(&late(), 3, 1).ack().unwrap();
    next_is(&late(), 4, 1).ack().unwrap();
    nothing_comes(&late());
}

#[test]
fn a_stopped_consumer_ends_and_leaves_the_rest_to_the_others() {
    let store = Store::temporary().unwrap();
    let (one, other) = (mailer(&store).start().unwrap(), mailer(&store).start().unwrap());
    let stopper = one.stopper();
    let waiting = thread::spawn(move || one.count());
    stopper.stop();
    assert_eq!(waiting.join().unwrap(), 0);
    append(&store, "Order-1");
    next_is(&other, 1, 1).ack().unwrap();
    let waiting = thread::spawn(move || other.count());
    store.clone().close().unwrap();
    assert_eq!(waiting.join().unwrap(), 0);
    assert_eq!(store.group("mailer").cursor().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn an_acknowledgement_after_the_end_is_refused_and_hangs_nowhere() {
    let store = Store::temporary().unwrap();
    append(&store, "Order-1");
    let consumer = mailer(&store).start().unwrap();
    let delivery = next(&consumer);
    drop(consumer);
    store.close().unwrap();
    assert_eq!(delivery.ack().unwrap_err().kind(), ErrorKind::Closed);
}

/// Not a test of its own: what the killed process does. It says what it handles before it
/// acknowledges it, and again when that is durable.
#[test]
fn child_that_handles_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Store::open(path).unwrap();
    let say = |what: &str, position: u64| {
        std::io::stdout().write_all(format!("{what} {position}\n").as_bytes()).unwrap();
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            let consumer = mailer(&store).start().unwrap();
            scope.spawn(move || {
                for delivery in consumer {
                    let delivery = delivery.unwrap();
                    let position = delivery.event.position.get();
                    say("handled", position);
                    match position % 5 {
                        0 if delivery.attempt == 1 => delivery.nack(Nack::Retry(MOMENT)).unwrap(),
                        _ => {
                            delivery.ack().unwrap();
                            say("acknowledged", position);
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            loop {
                append(&store, "Order-1");
                append(&store, "Invoice-1");
            }
        });
    });
}

fn start(store: &Path) -> Child {
    child(module_path!(), "child_that_handles_until_it_is_killed")
        .env(CHILD, store)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_group_passes_nothing_unfinished_and_repeats_nothing_acknowledged() {
    let rounds = std::env::var("FILMSTRIP_KILLS").map_or(10, |n| n.parse().expect("a number"));
    let directory = tempfile::tempdir().unwrap();
    let (mut handled, mut acknowledged) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..rounds {
        let mut child = start(directory.path());
        let before = acknowledged.clone();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for (n, line) in lines.map_while(Result::ok).enumerate() {
            // The test harness of the child talks in between.
            let words: Vec<_> = line.split(' ').rev().take(2).collect();
            let [position, what] = words[..] else { continue };
            let Ok(position) = position.parse::<u64>() else { continue };
            match what {
                what if what.ends_with("handled") => {
                    handled.insert(position);
                    let repeated = before.contains(&position);
                    assert!(!repeated, "round {round}: {position} was acknowledged before");
                }
                _ => drop(acknowledged.insert(position)),
            }
            if n == 10 + round * 37 % 200 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let store = Store::open(directory.path()).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let orders =
            store.read_all().category("Order").until(store.group("mailer").cursor().unwrap());
        let passed = orders.collect().unwrap();
        let missed = passed.iter().find(|event| !handled.contains(&event.position.get()));
        assert!(missed.is_none(), "round {round}: {missed:?} was passed unfinished");
    }
    assert!(acknowledged.len() > rounds, "only {} were handled", acknowledged.len());
}
