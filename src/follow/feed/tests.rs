//! What an append costs those who want nothing of it, and what they know all the same.

use crate::codec::frame::Location;
use crate::codec::projection::{ViewCheckpoint, decode};
use crate::follow::feed::{Feed, FeedStop};
use crate::log::read::frame_cursor::chain_at;
use crate::log::tail::head::{Audience, Head};
use crate::log::tail::sleepers::Slept;
use crate::model::process::contract::{ProcessManager, Trigger};
use crate::model::process::effects::Effects;
use crate::model::projection::contract::Projection;
use crate::model::projection::writer::ViewWriter;
use crate::model::read_model::ReadModel;
use crate::store::Store;
use crate::value::clock::Micros;
use crate::value::error::{ErrorKind, HandlerError};
use crate::value::event::{NewEvent, RecordedEvent};
use crate::value::filter::Filter;
use crate::value::filter_index::FilterIndex;
use crate::value::limits::{CHECKPOINT_EVENTS_MAX, FEED_ASLEEP_EVENTS_MAX};
use crate::value::position::{ExpectedVersion, Position};
use crossbeam_channel::{Receiver, bounded, unbounded};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

/// Appends an event to a stream of `category`.
fn append(store: &Store, category: &str) -> Position {
    let event = NewEvent::json("Happened", &()).unwrap();
    let stream = format!("{category}-1");
    store.append(stream.as_str(), ExpectedVersion::Any, [event]).unwrap().position
}

/// Waits until `feeds` of them sleep.
fn wait_until_asleep(store: &Store, feeds: usize) {
    while store.log.log().head.asleep() != feeds {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[derive(Default)]
struct Idle(u64);

impl ReadModel for Idle {
    fn filter() -> Filter {
        Filter::category("Rare")
    }

    fn apply(&mut self, _: &RecordedEvent) -> Result<(), HandlerError> {
        self.0 += 1;
        Ok(())
    }
}

/// Counts in one row, once it may.
struct Counted(Receiver<()>);

impl Projection for Counted {
    const NAME: &'static str = "counted";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Rare")
    }

    fn apply(&self, _: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let _ = self.0.recv();
        let count: u64 = view.get("events")?.unwrap_or(0);
        Ok(view.put("events", &(count + 1))?)
    }
}

/// A projection that need not wait.
fn free() -> Counted {
    Counted(bounded(0).1)
}

#[derive(Clone, Default)]
struct Reacting;

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Reacted;

impl crate::model::event_set::set::Event for Reacted {}

impl ProcessManager for Reacting {
    const NAME: &'static str = "Reacting";
    type Event = Reacted;

    fn filter() -> Filter {
        Filter::category("Rare")
    }

    fn route(_: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(Some("1".to_owned()))
    }

    fn react(&self, _: Trigger<'_>) -> Result<Vec<Reacted>, HandlerError> {
        Ok(vec![Reacted])
    }

    fn evolve(&mut self, _: &Reacted) {}

    fn effect(&self, _: &Reacted, _: &mut Effects<'_>) -> Result<Vec<Reacted>, HandlerError> {
        Ok(Vec::new())
    }
}

/// The story: each append woke the two threads of each projection, read model, group and process.
#[test]
fn who_wants_nothing_of_what_is_appended_is_not_woken_and_is_at_the_head_all_the_same() {
    const MODELS: usize = 50;
    let store = Store::temporary().unwrap();
    let models: Vec<_> = (0..MODELS).map(|_| store.read_model::<Idle>().unwrap()).collect();
    let projection = store.project(free()).start().unwrap();
    let process = store.process::<Reacting>().start().unwrap();
    let mut consumer = store.subscribe().category("Rare").group("group").start().unwrap();
    append(&store, "Busy");
    wait_until_asleep(&store, MODELS + 3);
    let head = &store.log.log().head;
    let before = head.wake_ups();
    for _ in 0..500 {
        append(&store, "Busy");
    }
    let end = store.head();
    assert_eq!(head.wake_ups() - before, 0, "wake-ups for what nobody wants");
    assert!(models.iter().all(|model| model.position() == end));
    assert_eq!((projection.status().checkpoint, projection.status().lag), (end, 0));
    assert_eq!((process.status().position, process.status().lag), (end, 0));
    assert_eq!(store.group("group").cursor().unwrap(), end);
    store.drain(LONG).unwrap();

    let rare = append(&store, "Rare");
    projection.wait_for(rare, LONG).unwrap();
    assert_eq!(projection.view().get::<u64>("events").unwrap(), Some(1));
    let delivery = consumer.next().unwrap().unwrap();
    assert_eq!(delivery.event.position, rare);
    delivery.ack().unwrap();
    store.drain(LONG).unwrap();
    assert!(models.iter().all(|model| model.read(|idle| idle.0).unwrap() == 1));

    append(&store, "Busy");
    projection.stop().unwrap();
    let projection = store.project(free()).start().unwrap();
    let checkpoint = projection.status().checkpoint;
    assert_eq!(checkpoint, store.head(), "it reads again what it passed over");
    store.close().unwrap();
}

#[test]
fn who_waits_for_a_position_to_come_is_answered_though_nothing_of_it_is_wanted() {
    let store = Store::temporary().unwrap();
    let model = store.read_model::<Idle>().unwrap();
    let projection = store.project(free()).start().unwrap();
    let end = Position::new(append(&store, "Busy").get() + 3);
    wait_until_asleep(&store, 2);
    let (answer, answered) = unbounded();
    std::thread::scope(|scope| {
        scope.spawn(|| answer.send(model.wait_for(end, Duration::MAX)).unwrap());
        scope.spawn(|| answer.send(projection.wait_for(end, Duration::MAX)).unwrap());
        // Both may fall asleep before or after somebody waits.
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(20));
            assert!(answered.is_empty());
            append(&store, "Busy");
        }
        let answers: Vec<_> = (0..2).map(|_| answered.recv_timeout(LONG / 6)).collect();
        // This ends the waits of those who were forgotten.
        append(&store, "Rare");
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Ok(())))), "{answers:?}");
    });
    store.close().unwrap();
}

/// The story: a caller that waited for a position slept on, for ever on a quiet store, if another one asked how far the
/// follower was just when the log came there: asking moved the position, and only what moved it later told who waited.
#[test]
fn who_waits_for_a_position_is_answered_though_another_caller_was_first_to_see_it() {
    let store = Store::temporary().unwrap();
    let model = store.read_model::<Idle>().unwrap();
    wait_until_asleep(&store, 1);
    let end = Position::new(store.head().get() + 1);
    let (answer, answered) = unbounded();
    std::thread::scope(|scope| {
        scope.spawn(|| answer.send(model.wait_for(end, Duration::MAX)).unwrap());
        while !store.log.log().head.is_awaited(end.get()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        // A reader keeps the model from taking in that the log has come to the end.
        let answers: Vec<_> = model
            .read(|_| {
                let others = scope.spawn(|| {
                    append(&store, "Busy");
                    model.wait_for(end, Duration::ZERO)
                });
                others.join().unwrap().unwrap();
                (0..1).map(|_| answered.recv_timeout(LONG / 6)).collect()
            })
            .unwrap();
        // This ends the wait of one that was forgotten.
        append(&store, "Rare");
        assert!(matches!(answers[..], [Ok(Ok(()))]), "{answers:?}");
    });
    store.close().unwrap();
}

/// A crash would have a view that wants nothing read the whole log again.
#[test]
fn what_is_passed_over_is_noted_now_and_then() {
    let store = Store::temporary().unwrap();
    let builder = store.project(free());
    let projections = Arc::clone(&builder.projections);
    let projection = builder.start().unwrap();
    append(&store, "Busy");
    wait_until_asleep(&store, 1);
    let before = store.log.log().head.wake_ups();
    while store.head().get() <= FEED_ASLEEP_EVENTS_MAX + 1 {
        let events = (0..1_000).map(|_| NewEvent::bytes("Happened", ""));
        store.append("Busy-1", ExpectedVersion::Any, events).unwrap();
    }
    projection.wait_for(store.head(), LONG).unwrap();
    let views = projections.open_views(|| ()).unwrap();
    let tree = views.tree("projection/counted/1").unwrap();
    let noted = || {
        let checkpoint = tree.state(b"checkpoint").unwrap().unwrap();
        decode::<ViewCheckpoint>(&checkpoint).unwrap().position
    };
    let begun = Instant::now();
    // After 4,096 events, 8,192, 16,384 and 32,768 it is woken to note how far it is; and once by `wait_for`.
    let least = 15 * CHECKPOINT_EVENTS_MAX;
    while noted() < least && begun.elapsed() < LONG / 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(noted() >= least, "noted is {}", noted());
    let wake_ups = store.log.log().head.wake_ups() - before;
    assert!(wake_ups <= 5, "{wake_ups} wake-ups for four notes");
    store.close().unwrap();
}

#[test]
fn what_waits_to_be_applied_is_not_counted_as_passed() {
    let store = Store::temporary().unwrap();
    let (open, gate) = bounded(0);
    let projection = store.project(Counted(gate)).start().unwrap();
    let before = append(&store, "Busy");
    let rare = append(&store, "Rare");
    append(&store, "Busy");
    wait_until_asleep(&store, 1);
    append(&store, "Busy");
    assert!(projection.status().checkpoint <= before);
    let late = projection.wait_for(rare, Duration::from_millis(20)).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Timeout);
    drop(open);
    projection.wait_for(store.head(), LONG).unwrap();
    assert_eq!(projection.view().get::<u64>("events").unwrap(), Some(1));
    store.close().unwrap();
}

/// What a writer has found out says nothing about who came after that.
#[test]
fn who_enrolled_after_a_judgement_is_woken_and_nobody_else() {
    let end = |offset| Location { segment: 1, offset };
    let head = Head::new(0, end(0), [0; 32], Micros(0));
    let mut filters = FilterIndex::default();
    let mut enroll =
        |category| head.enroll(filters.add(&Filter::category(category)), &Arc::default());
    let first = enroll("A");
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| head.sleep(&first, 0));
        let judged = loop {
            match head.judge_for_sleepers(|| Some(Vec::new())) {
                Some(wanted) => break Audience { unwanted: None, wanted: Some(wanted) },
                None => std::thread::yield_now(),
            }
        };
        let second = enroll("B");
        let (its_head, its) = (&head, second.clone());
        let later = scope.spawn(move || its_head.sleep(&its, 0));
        while head.asleep() < 2 {
            std::thread::yield_now();
        }
        let must_wake = head.advance((1, end(1)), [1; 32], Micros(0), &judged);
        let is_asleep = head.reached(&first, 0);
        head.wake();
        head.stop(&first.waiter);
        head.stop(&second.waiter);
        assert!(must_wake, "who enrolled was not asked");
        assert_eq!(is_asleep, Some((1, [1; 32])));
        assert_eq!(sleeping.join().unwrap(), Slept::Stopped);
        later.join().unwrap();
    });
}

/// Who wants a few tags, and lags, does not read what is between.
#[test]
fn a_follower_of_tags_that_lags_gets_each_event_of_them_and_comes_to_the_head() {
    let store = Store::temporary().unwrap();
    let mut wanted = Vec::new();
    for n in 0..150_u64 {
        let events = (1..=100_u64).map(|m| {
            let position = 100 * n + m;
            let event = NewEvent::bytes("Happened", &b"x"[..]).tag(format!("t{position}"));
            // Some are the first in their frame.
            if position % 1_709 != 0 && ![5_001, 12_001].contains(&position) {
                return event;
            }
            wanted.push(Position::new(position));
            event.tag("rare")
        });
        let events: Vec<_> = events.collect();
        store.append("Many-1", ExpectedVersion::Any, events).unwrap();
        if n == 100 {
            let log = store.log.log();
            assert!(crate::log::indexer::index_up_to(log, log.head.visible().1));
        }
    }
    let head = store.head();
    let stop = FeedStop::new(Arc::clone(store.log.log()));
    let feed = Feed::start(&stop, "feed", Position::START, Filter::tag("rare")).unwrap();
    let (mut read, mut frames, mut until) = (Vec::new(), 0, Position::START);
    while until < head {
        let batch = feed.next().unwrap().unwrap();
        for event in &batch.events {
            // Where its consumer stops, if it cannot handle the event.
            let before = Position::new(event.position.get() - 1);
            let chain = chain_at(store.log.log(), before).unwrap();
            assert_eq!(batch.chain_at(before), Some(chain), "before {}", event.position);
            read.push(event.position);
        }
        frames += batch.frames.len();
        assert_eq!(batch.frames.last().map(|(position, _)| *position), Some(batch.until));
        until = batch.until;
    }
    assert_eq!((&read, until), (&wanted, head));
    assert!(frames < 30, "{frames} of 150 frames were read");
    let subscription = store.subscribe().filter(Filter::tag("rare")).start().unwrap();
    let taken: Vec<_> =
        wanted.iter().map(|_| subscription.recv_timeout(LONG).unwrap().position).collect();
    assert_eq!(taken, wanted);
    let event = NewEvent::bytes("Happened", &b"x"[..]).tag("rare");
    let last = store.append("Many-1", ExpectedVersion::Any, [event]).unwrap().position;
    assert_eq!(subscription.recv_timeout(LONG).unwrap().position, last);
    assert_eq!(feed.next().unwrap().unwrap().events[0].position, last);
}
