//! The ledger against what it promises, over random orders of everything that can happen to it.

use crate::codec::bin;
use crate::codec::group::{
    FilterRecord, GroupRecord, Shelf, filter_names, filter_records, group_key, part_prefix,
};
use crate::follow::group::durable_state::DurableState;
use crate::follow::group::ledger::{Ledger, Move, Nack, Settings};
use crate::follow::group::standing::Now;
use crate::log::read::event_cursor::EventCursor;
use crate::store::Store;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind};
use crate::value::event::{NewEvent, RecordedEvent};
use crate::value::filter::Filter;
use crate::value::position::{ExpectedVersion, Position};
use crate::value::stream::StreamId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn settings(in_stream_order: bool) -> Settings {
    Settings { unfinished_max: 8, redeliver_after: 30 * SECOND, attempts_max: 3, in_stream_order }
}

/// A late answer was enough to lose events: when room came while a batch was half ingested, the next batch
/// took its place, the cursor passed what was left of it, and of 5,000 events 3,306 were never delivered.
#[test]
fn a_batch_waits_for_room_and_nothing_takes_its_place() {
    let clock = Clock::new();
    let small = Settings { unfinished_max: 2, ..settings(false) };
    let mut ledger = Ledger::new(small, GroupRecord::default(), [], clock.now());
    let mut all = events("abcdef").into_iter();
    ledger.take_batch(all.by_ref().take(5).collect(), 5);
    assert_eq!(delivered(&mut ledger, &clock), [(1, 1), (2, 1)]);
    ledger.finish(1);
    assert!(!ledger.wants_batch(), "three of five still wait");
    // Even a batch that was not asked for comes after them.
    ledger.take_batch(all.collect(), 6);
    for position in 2..=6 {
        assert_eq!(ledger.cursor(), position - 1);
        delivered(&mut ledger, &clock);
        ledger.finish(position);
    }
    assert_eq!((ledger.cursor(), ledger.wants_batch()), (6, true));
}

/// Real events, one for each letter: `abac` is four events in three streams.
fn events(streams: &str) -> Vec<RecordedEvent> {
    let store = Store::temporary().unwrap();
    for stream in streams.chars() {
        let event = NewEvent::json("Happened", &()).unwrap();
        store.append(format!("Thing-{stream}").as_str(), ExpectedVersion::Any, [event]).unwrap();
    }
    store.read_all().collect().unwrap()
}

struct Clock {
    start: Instant,
    passed: Duration,
}

impl Clock {
    fn new() -> Clock {
        Clock { start: Instant::now(), passed: Duration::ZERO }
    }

    fn now(&self) -> Now {
        let time = Micros(i64::try_from(self.passed.as_micros()).unwrap());
        Now { instant: self.start + self.passed, time }
    }
}

fn fed(streams: &str, in_stream_order: bool, clock: &Clock) -> Ledger {
    let events = events(streams);
    let until = events.len() as u64;
    let mut ledger =
        Ledger::new(settings(in_stream_order), GroupRecord::default(), [], clock.now());
    ledger.take_batch(events, until);
    ledger
}

/// Delivers whatever is ready: positions and attempts.
fn delivered(ledger: &mut Ledger, clock: &Clock) -> Vec<(u64, u32)> {
    let next = || ledger.deliver(clock.now()).map(|(e, attempt)| (e.position.get(), attempt));
    std::iter::from_fn(next).collect()
}

#[test]
fn the_cursor_waits_for_the_first_unfinished_event() {
    let clock = Clock::new();
    let mut ledger = fed("abcd", false, &clock);
    assert_eq!(delivered(&mut ledger, &clock), [(1, 1), (2, 1), (3, 1), (4, 1)]);
    let mut cursors = Vec::new();
    for position in [3, 1, 4, 2] {
        ledger.finish(position);
        cursors.push(ledger.cursor());
    }
    assert_eq!(cursors, [0, 1, 1, 4]);
    let record = ledger.record(clock.now());
    assert_eq!((record.finished, record.tried), (vec![], vec![]));
}

#[test]
fn a_delivery_that_takes_too_long_is_delivered_again_and_parked_in_the_end() {
    let mut clock = Clock::new();
    let mut ledger = fed("a", false, &clock);
    for attempt in 1..=3 {
        assert_eq!(delivered(&mut ledger, &clock), [(1, attempt)]);
        clock.passed += 29 * SECOND;
        ledger.expire(clock.now());
        assert_eq!(delivered(&mut ledger, &clock), []);
        clock.passed += SECOND;
        ledger.expire(clock.now());
    }
    assert_eq!(delivered(&mut ledger, &clock), []);
    assert_eq!((ledger.cursor(), ledger.next_timer()), (1, None));
    let moves = ledger.take_moves();
    let [Move { shelf: Shelf::Parked, position: 1, record: Some(parked) }] = &moves[..] else {
        panic!("{moves:?}");
    };
    assert_eq!((parked.attempts, parked.parked_at), (3, 90_000_000));
    assert_eq!(parked.error, "it was not finished in time");
}

#[test]
fn an_event_that_is_to_be_tried_later_is_not_ready_before_and_only_its_last_attempt_counts() {
    let mut clock = Clock::new();
    let mut ledger = fed("ab", false, &clock);
    assert_eq!(delivered(&mut ledger, &clock), [(1, 1), (2, 1)]);
    ledger.refuse(1, 1, Nack::Retry(5 * SECOND), clock.now()).unwrap();
    ledger.refuse(1, 1, Nack::Skip, clock.now()).unwrap_err();
    ledger.abandon(2, 1, clock.now());
    assert_eq!(delivered(&mut ledger, &clock), [(2, 2)]);
    // The first attempt's word comes too late, except that it was handled after all.
    ledger.refuse(2, 1, Nack::Park, clock.now()).unwrap_err();
    ledger.finish(2);
    ledger.finish(2);
    clock.passed += 5 * SECOND;
    assert_eq!(ledger.cursor(), 0);
    ledger.expire(clock.now());
    assert_eq!(delivered(&mut ledger, &clock), [(1, 2)]);
    ledger.refuse(1, 2, Nack::Skip, clock.now()).unwrap();
    assert_eq!((ledger.cursor(), ledger.take_moves()), (2, vec![]));
}

#[test]
fn in_stream_order_an_event_waits_for_the_earlier_ones_of_its_stream() {
    let clock = Clock::new();
    let mut ledger = fed("aabab", true, &clock);
    assert_eq!(delivered(&mut ledger, &clock), [(1, 1), (3, 1)]);
    ledger.refuse(1, 1, Nack::Retry(Duration::ZERO), clock.now()).unwrap();
    assert_eq!(delivered(&mut ledger, &clock), [(1, 2)]);
    ledger.finish(1);
    assert_eq!(delivered(&mut ledger, &clock), [(2, 1)]);
    ledger.refuse(2, 1, Nack::Park, clock.now()).unwrap();
    assert_eq!(delivered(&mut ledger, &clock), [(4, 1)]);
    ledger.finish(3);
    assert_eq!(delivered(&mut ledger, &clock), [(5, 1)]);
}

#[test]
fn a_wait_goes_on_after_a_restart() {
    let mut clock = Clock::new();
    let mut ledger = fed("ab", false, &clock);
    delivered(&mut ledger, &clock);
    ledger.refuse(1, 1, Nack::Retry(60 * SECOND), clock.now()).unwrap();
    clock.passed += 20 * SECOND;
    let record = ledger.record(clock.now());
    let mut again = Ledger::new(settings(false), record.clone(), [], clock.now());
    // What was not fed yet is kept as it was.
    assert_eq!(again.record(clock.now()), record);
    again.take_batch(events("ab"), 2);
    assert_eq!(delivered(&mut again, &clock), [(2, 2)]);
    again.finish(2);
    clock.passed += 40 * SECOND;
    again.expire(clock.now());
    assert_eq!(delivered(&mut again, &clock), [(1, 2)]);
}

/// `Duration::MAX` was a wait of no time at all: 10 deliveries in a moment, and the event was parked. A wait
/// that no clock can measure has no end, over restarts and whatever the clock shows.
#[test]
fn a_wait_too_long_for_any_clock_never_ends() {
    let (clock, one) = (Clock::new(), events("a"));
    let longest = [u64::MAX, i64::MAX as u64, i64::MAX as u64 - 1_000_000, 1 << 45, 1 << 40];
    for wait in longest.map(Duration::from_secs).into_iter().chain([Duration::MAX]) {
        for time in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX].map(Micros) {
            let now = Now { time, ..clock.now() };
            let mut ledger = Ledger::new(settings(false), GroupRecord::default(), [], now);
            ledger.take_batch(one.clone(), 1);
            assert!(ledger.deliver(now).is_some());
            ledger.refuse(1, 1, Nack::Retry(wait), now).unwrap();
            ledger.expire(now);
            assert_eq!((ledger.has_ready(), ledger.cursor()), (false, 0), "{wait:?} at {time:?}");
            let record = bin::decode(&bin::encode(&ledger.record(now))).unwrap();
            let mut again = Ledger::new(settings(false), record, [], now);
            again.take_batch(one.clone(), 1);
            again.expire(now);
            assert!(!again.has_ready(), "{wait:?} at {time:?}, after a restart");
        }
    }
}

/// What waits for nothing is kept with a time of 0, which is in the future for a clock before 1970.
#[test]
fn what_does_not_wait_is_delivered_at_once_whatever_the_clock_shows() {
    for time in [i64::MIN, -1, 0, i64::MAX].map(Micros) {
        let now = Now { time, ..Clock::new().now() };
        let mut ledger = Ledger::new(settings(false), GroupRecord::default(), [], now);
        ledger.take_batch(events("a"), 1);
        assert!(ledger.deliver(now).is_some());
        let mut again = Ledger::new(settings(false), ledger.record(now), [], now);
        again.take_batch(events("a"), 1);
        assert!(again.has_ready(), "{time:?}");
    }
}

/// A group that ends with an error can be started again while deliveries of it are still held. What they
/// said was then written over what the new one had kept, and brought back what had been acknowledged there.
#[test]
fn a_group_that_was_started_again_is_not_overwritten_by_the_ended_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for _ in 0..4 {
        let event = NewEvent::json("Happened", &()).unwrap();
        store.append("Thing-a", ExpectedVersion::Any, [event]).unwrap();
    }
    let join = || store.subscribe().group("g").start().unwrap();
    let patience = 60 * SECOND;
    let before = join();
    let held = [(); 3].map(|()| before.recv_timeout(patience).unwrap());
    before.group().fail(Error::new(ErrorKind::Io, "a disk failed"));
    let after = join();
    for position in 1..=4 {
        let delivery = after.recv_timeout(patience).unwrap();
        assert_eq!(delivery.event.position.get(), position);
        delivery.ack().unwrap();
    }
    let [one, two, three] = held;
    assert_eq!(one.ack().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(two.nack(Nack::Skip).unwrap_err().kind(), ErrorKind::Closed);
    drop((three, before));
    // As after a crash: the one that runs writes nothing any more.
    std::mem::forget(after);
    let bytes = store.log.log().record(&group_key("g")).unwrap().expect("a group is kept");
    assert_eq!(bin::decode::<GroupRecord>(&bytes).unwrap().cursor, 4);
    store.close().unwrap();
}

/// A replay of parked events read the frame of each again, from its beginning: of 8,000 events in one commit,
/// the square of it. Read in order, each frame is looked up once.
#[test]
fn events_that_are_read_in_order_take_one_look_at_each_frame() {
    let store = Store::temporary().unwrap();
    let event = || NewEvent::json("Happened", &()).unwrap();
    for frame in 0..20 {
        let commit = (0..=frame * 10).map(|_| event());
        store.append("Thing-a", ExpectedVersion::Any, commit).unwrap();
    }
    let all: Vec<_> = store.read_all().collect().unwrap();
    let mut cursor = EventCursor::new(store.log.log());
    for event in &all {
        assert_eq!(cursor.event_at(event.position).unwrap(), *event);
    }
    assert_eq!(cursor.looked_up, 20);
    // In any order they are the same events.
    let mut random = 1_usize;
    for _ in 0..200 {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let event = &all[(random >> 33) % all.len()];
        assert_eq!(cursor.event_at(event.position).unwrap(), *event);
        if random >> 60 == 0 {
            cursor.forget();
        }
    }
    let past = Position::new(all.len() as u64 + 1);
    assert_eq!(cursor.event_at(past).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// An acknowledgement wrote all that was finished and tried after the cursor: 40 KB of journal for each that came out
/// of order, and more with a larger buffer. It writes what it adds, and the whole record so seldom that it costs no
/// more than that again.
#[test]
fn an_acknowledgement_out_of_order_writes_no_more_than_a_few_times_itself() {
    const EVENTS: u64 = 4_096;
    let clock = Clock::new();
    let all = placed(&"abcde".repeat(EVENTS as usize / 5 + 1)[..EVENTS as usize], &events("abcde"));
    let large = Settings { unfinished_max: EVENTS as usize, ..settings(false) };
    let mut ledger = Ledger::new(large, GroupRecord::default(), [], clock.now());
    ledger.take_batch(all, EVENTS);
    assert_eq!(delivered(&mut ledger, &clock).len() as u64, EVENTS);
    let (mut disk, mut kept, mut most, mut bytes) = (Disk::new(), DurableState::read(0), 0, 0);
    for n in 0..EVENTS {
        // 1,597 and 4,096 have no divisor in common, so each is acknowledged once, and the first one last.
        assert!(ledger.finish(1 + (n + 1) * 1_597 % EVENTS));
        let (records, next) = kept.write("g", &mut ledger, clock.now());
        bytes += records.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        kept = next;
        put(&mut disk, records);
        if n % 64 == 0 {
            most = most.max(bin::encode(&ledger.record(clock.now())).len());
            assert_eq!(stored(&disk).cursor, ledger.cursor());
        }
    }
    assert_eq!(stored(&disk).cursor, EVENTS);
    println!("{} bytes for each, where the record takes up to {most}", bytes as u64 / EVENTS);
    assert!(most > 20_000 && bytes as u64 / EVENTS < 250);
}

/// When all of a large buffer is parked at once, because its consumers are gone, one commit takes a bounded part
/// of it.
#[test]
fn what_expires_together_is_parked_in_bounded_commits() {
    let mut clock = Clock::new();
    let events = placed(&"a".repeat(10_000), &events("a"));
    let once = Settings { unfinished_max: 10_000, attempts_max: 1, ..settings(false) };
    let mut ledger = Ledger::new(once, GroupRecord::default(), [], clock.now());
    ledger.take_batch(events, 10_000);
    assert_eq!(delivered(&mut ledger, &clock).len(), 10_000);
    clock.passed += 30 * SECOND;
    let mut parked = Vec::new();
    for cursor in [4_096, 8_192, 10_000] {
        ledger.expire(clock.now());
        assert_eq!(ledger.cursor(), cursor);
        assert_eq!(ledger.next_timer().is_some(), cursor < 10_000, "the rest is due at once");
        parked.extend(ledger.take_moves().iter().map(|parked| parked.position));
    }
    assert_eq!(parked, (1..=10_000).collect::<Vec<_>>());
}

/// Keys and values, as the log has them.
type Disk = BTreeMap<String, Vec<u8>>;

fn put(disk: &mut Disk, records: Vec<(String, Vec<u8>)>) {
    disk.extend(records);
    disk.retain(|_, value| !value.is_empty());
}

fn stored(disk: &Disk) -> GroupRecord {
    let read = |bytes: &Vec<u8>| -> GroupRecord { bin::decode(bytes).unwrap() };
    let parts = disk.iter().filter(|(key, _)| key.starts_with(&part_prefix("g")));
    let whole = disk.get(&group_key("g")).map(read).unwrap_or_default();
    whole.with_parts(parts.map(|(_, value)| read(value)))
}

/// What a random run has seen, beside the ledger.
#[derive(Default)]
struct Truth {
    /// Delivered at any time.
    delivered: BTreeSet<u64>,
    finished: BTreeSet<u64>,
    parked: BTreeSet<u64>,
    /// On the shelf of what is to be tried again.
    replay: BTreeSet<u64>,
    /// Deliveries that were not answered, with the newest attempt.
    out: BTreeMap<u64, u32>,
}

/// Everything that can happen, in a random order, with crashes that fall back to the last write:
/// no event is passed unfinished, none is delivered after its end was written, all end.
#[test]
fn whatever_happens_every_event_ends_and_the_cursor_passes_no_unfinished_one() {
    let five = events("abcde");
    for seed in 1..=400 {
        let in_stream_order = seed % 2 == 0;
        random_run(seed, in_stream_order, &five);
    }
}

fn random_run(seed: u64, in_stream_order: bool, five: &[RecordedEvent]) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = move |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let names: String = (0..60).map(|_| char::from(b'a' + below(5) as u8)).collect();
    let all = placed(&names, five);
    // A filter leaves some out.
    let wanted: Vec<_> = all.iter().filter(|_| below(4) > 0).cloned().collect();
    let wanted_positions: BTreeSet<u64> = wanted.iter().map(|e| e.position.get()).collect();
    let mut clock = Clock::new();
    // A long filter makes the whole record long, so that parts are written.
    let filter = FilterRecord { categories: vec!["x".repeat(400)], ..Default::default() };
    let mut written = GroupRecord { filter, ..Default::default() };
    let mut disk = Disk::from([(group_key("g"), bin::encode(&written))]);
    let mut kept = DurableState::read(0);
    let mut truth = Truth::default();
    // A buffer of one event is as good as a large one; batches are larger than either.
    let settings = Settings { unfinished_max: 1 + below(8) as usize, ..settings(in_stream_order) };
    let mut ledger = Ledger::new(settings, written.clone(), [], clock.now());
    let mut fed = 0;
    for step in 0.. {
        let context = format!("seed {seed}, step {step}");
        assert!(step < 100_000, "{context}: it never ends");
        match below(10) {
            0 | 1 if ledger.wants_batch() && fed < all.len() as u64 => {
                let until = (fed + 1 + below(20)).min(all.len() as u64);
                let batch = wanted.iter().filter(|e| (fed + 1..=until).contains(&e.position.get()));
                ledger.take_batch(batch.cloned().collect(), until);
                fed = until;
            }
            2..=4 => {
                if let Some((event, attempt)) = ledger.deliver(clock.now()) {
                    let position = event.position.get();
                    assert!(!truth.finished.contains(&position), "{context}: {position} had ended");
                    if in_stream_order {
                        let same = |p: &&u64| all[**p as usize - 1].stream == event.stream;
                        let earlier = truth.out.keys().filter(same).find(|p| **p != position);
                        assert_eq!(earlier, None, "{context}: {position} overtakes");
                    }
                    truth.out.insert(position, attempt);
                    truth.delivered.insert(position);
                }
            }
            // A late word of a consumer that had it once: it is handled, whatever became of it.
            5 if below(8) == 0 && !truth.delivered.is_empty() => {
                let nth = below(truth.delivered.len() as u64) as usize;
                let position = *truth.delivered.iter().nth(nth).unwrap();
                if !ledger.finish(position) {
                    ledger.unpark(position);
                }
                truth.out.remove(&position);
                truth.finished.insert(position);
            }
            5 | 6 if !truth.out.is_empty() => {
                let nth = below(truth.out.len() as u64) as usize;
                let (position, attempt) = truth.out.iter().nth(nth).map(|(p, a)| (*p, *a)).unwrap();
                truth.out.remove(&position);
                match below(6) {
                    0 => ledger
                        .refuse(
                            position,
                            attempt,
                            Nack::Retry(below(3) as u32 * SECOND),
                            clock.now(),
                        )
                        .unwrap(),
                    1 => ledger.refuse(position, attempt, Nack::Park, clock.now()).unwrap(),
                    2 => ledger.abandon(position, attempt, clock.now()),
                    _ => {
                        ledger.finish(position);
                        truth.finished.insert(position);
                    }
                }
            }
            7 => {
                clock.passed += below(8) as u32 * SECOND;
                let limit = clock.now().instant;
                ledger.expire(clock.now());
                assert!(ledger.next_timer().is_none_or(|timer| timer > limit), "{context}");
                // What was taken back is not out any more.
                truth.out.retain(|position, attempt| ledger.is_out(*position, *attempt));
            }
            8 => {
                let (records, next) = kept.write("g", &mut ledger, clock.now());
                if below(10) == 0 {
                    // It fails.
                    kept = kept.unless(next);
                    continue;
                }
                // A write: what ended before it has ended for good, and parked is on its shelf.
                kept = next;
                put(&mut disk, records);
                for Move { shelf, position, record } in ledger.take_moves() {
                    let shelf = match shelf {
                        Shelf::Parked => &mut truth.parked,
                        Shelf::Replay => &mut truth.replay,
                    };
                    match record {
                        Some(_) => shelf.insert(position),
                        None => shelf.remove(&position),
                    };
                }
                written = stored(&disk);
                assert_same(&written, &ledger.record(clock.now()), &wanted_positions, &context);
                check(&written, &wanted_positions, &truth, &context);
                if below(4) == 0 {
                    let parked = std::mem::take(&mut truth.parked);
                    truth.replay.extend(&parked);
                    ledger.replay(parked);
                }
            }
            _ if below(20) == 0 => {
                // A crash: what was not written has not happened.
                let record = written.clone();
                let ended = |p: &u64| {
                    let in_range = record.finished.iter().any(|(a, b)| (*a..=*b).contains(p));
                    *p <= record.cursor || in_range
                };
                let shelved = |p: &u64| truth.parked.contains(p) || truth.replay.contains(p);
                truth.finished.retain(|p| ended(p) && !shelved(p));
                truth.out.clear();
                // Nobody is left to say anything late.
                truth.delivered.clear();
                let replays = truth.replay.clone();
                fed = record.cursor;
                let parts = disk.keys().filter(|key| key.starts_with(&part_prefix("g"))).count();
                kept = DurableState::read(parts as u64);
                ledger = Ledger::new(settings, record, replays, clock.now());
            }
            _ => {
                if let Some(position) = ledger.has_room().then(|| ledger.next_replay()).flatten() {
                    ledger.restore(all[position as usize - 1].clone());
                }
            }
        }
        let parked_or_replay = truth.parked.len() + truth.replay.len();
        let ended = truth.finished.len() + parked_or_replay == wanted_positions.len();
        if ended && parked_or_replay < 3 && written.cursor == all.len() as u64 {
            return;
        }
    }
}

/// The record that was put together from parts says the same as one that is written whole.
#[track_caller]
fn assert_same(parts: &GroupRecord, whole: &GroupRecord, wanted: &BTreeSet<u64>, context: &str) {
    let tried = |record: &GroupRecord| -> Vec<_> {
        record.tried.iter().map(|tried| (tried.position, tried.attempts)).collect()
    };
    let finished = |record: &GroupRecord| -> BTreeSet<u64> {
        let ranges = record.finished.iter().flat_map(|(first, last)| *first..=*last);
        ranges.filter(|p| *p > record.cursor && wanted.contains(p)).collect()
    };
    assert_eq!((parts.cursor, &parts.filter), (whole.cursor, &whole.filter), "{context}");
    assert_eq!(finished(parts), finished(whole), "{context}: {parts:?}, {whole:?}");
    assert_eq!(tried(parts), tried(whole), "{context}");
}

/// Nothing up to the cursor, or in a range after it, is unfinished.
#[track_caller]
fn check(record: &GroupRecord, wanted: &BTreeSet<u64>, truth: &Truth, context: &str) {
    let shelved = |p: &u64| truth.parked.contains(p) || truth.replay.contains(p);
    let ranges = record.finished.iter().map(|(first, last)| *first..=*last);
    for passed in ranges.chain([1..=record.cursor]) {
        for position in passed.filter(|p| wanted.contains(p)) {
            let ended = truth.finished.contains(&position) || shelved(&position);
            assert!(ended, "{context}: {position} was passed, {record:?}");
        }
    }
}

/// One event for each letter, of the five that there are: making them again would take longer than
/// all else.
fn placed(names: &str, five: &[RecordedEvent]) -> Vec<RecordedEvent> {
    let placed = names.bytes().zip(1..).map(|(name, position)| {
        let mut event = five[usize::from(name - b'a')].clone();
        event.position = Position::new(position);
        event
    });
    placed.collect()
}

#[test]
fn a_filter_that_is_kept_wants_what_the_filter_wants() {
    let types = || Some(vec!["T".to_owned(), "U".to_owned()]);
    let filters = [
        Filter::all(),
        Filter::category("A"),
        Filter::event_type("T").and_category("A").and_category("B"),
        Filter::stream(StreamId::new("A-1").unwrap()).and_event_type("U"),
        Filter::all().with_category("A".into(), types()).and_category("B"),
        Filter::tag("x").and_event_type("T").or(Filter::category("B").tagged("y").tagged("x")),
        Filter::stream(StreamId::new("A-1").unwrap()).or(Filter::event_type("V")),
    ];
    for filter in filters {
        let (record, long) = filter_records(filter.names());
        let record = filter_names(&record, long).unwrap();
        for stream in ["A-1", "A-2", "B-1", "AB-1", "A"] {
            for event_type in ["T", "U", "V"] {
                for tags in [&[][..], &["x"], &["y"], &["x", "y"]] {
                    let tags = tags.iter().copied();
                    let wants = record.wants(stream, event_type, tags.clone());
                    let wanted = filter.wants_tagged(stream, event_type, tags);
                    assert_eq!(wants, wanted, "{record:?}, {stream}");
                }
            }
        }
    }
}
