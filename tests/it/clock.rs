//! A clock that steps back, and one that was far ahead for a while: nothing is harmed, and what waits for
//! a time goes on. Deadlines under such a clock are in tests/it/process/deadlines.rs.

use crate::common::domain::Ticks;
use crate::common::{Random, in_its_own_process, seed};
use chrono::{DateTime, TimeDelta, Utc};
use filmstrip::group::Nack;
use filmstrip::process::{Effects, Trigger};
use filmstrip::projection::OnError;
use filmstrip::repository::AsOf;
use filmstrip::testing::ManualClock;
use filmstrip::{
    Clock, Event, ExpectedVersion, Filter, Follower, HandlerError, NewEvent, Position,
    ProcessManager, RecordedEvent, Store,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn noon() -> DateTime<Utc> {
    "2024-05-01T12:00:00Z".parse().unwrap()
}

/// Seconds, minutes and, now and then, centuries: back or ahead.
fn step(clock: &ManualClock, random: &mut Random) {
    let unit = [1, 60, 86_400, 86_400 * 365 * 90][(random.below(12) as usize).saturating_sub(8)];
    let seconds = (random.below(100) as i64 - 50) * unit / 50;
    let now = clock.now() + TimeDelta::seconds(seconds);
    // As far as a clock may be wrong, it is not wrong for ever.
    clock.set(if random.one_in(6) { noon() } else { now });
}

#[test]
fn times_of_events_never_decrease_and_as_of_is_right_however_the_clock_steps() {
    let mut random = Random(seed());
    let clock = ManualClock::new(noon());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    // What each event's time must be, in the order of their positions.
    let mut times: Vec<DateTime<Utc>> = Vec::new();
    for _ in 0..4 {
        let store = Store::builder().clock(clock.clone()).open(&path).unwrap();
        let ticks = store.repository::<Ticks>().snapshot_every(5);
        let seen = store.subscribe().after(store.head()).start().unwrap();
        for _ in 0..60 {
            step(&clock, &mut random);
            times.push(clock.now().max(times.last().copied().unwrap_or(clock.now())));
            if random.one_in(3) {
                let large = NewEvent::bytes("Large", vec![0; 30_000]);
                store.append("Other-1", ExpectedVersion::Any, [large]).unwrap();
            } else {
                ticks.execute("1", &()).unwrap();
            }
            let event = seen.recv_timeout(PATIENCE).unwrap();
            let last = (event.position.get(), event.recorded_at);
            assert_eq!(last, (times.len() as u64, times[times.len() - 1]));
        }
        check_as_of(&store, &times, &mut random);
        store.close().unwrap();
    }
}

fn check_as_of(store: &Store, times: &[DateTime<Utc>], random: &mut Random) {
    let events = store.read_all().collect().unwrap();
    assert_eq!(events.iter().map(|event| event.recorded_at).collect::<Vec<_>>(), times);
    let ticks = store.repository::<Ticks>();
    for _ in 0..40 {
        let micros = TimeDelta::microseconds(random.below(3) as i64 - 1);
        let at = times[random.below(times.len() as u64) as usize] + micros;
        let expected = times.iter().filter(|time| **time <= at).count();
        assert_eq!(store.read_all().as_of(at).collect().unwrap(), events[..expected], "{at}");
        let ticked = events[..expected].iter().filter(|event| event.event_type == "Ticked");
        let loaded = ticks.load_as_of("1", AsOf::from(at)).unwrap();
        assert_eq!(loaded.state.count, ticked.count() as u64, "{at}");
    }
}

/// A clock that was a year ahead for one commit stamps everything after it with that time, for a year, and nobody was
/// told. Times must not decrease, so it stays so; but it can be seen, and is logged once at each opening and when a
/// commit meets it first.
#[test]
fn that_the_clock_is_behind_what_is_recorded_can_be_seen_and_is_logged_once() {
    // Another test's thread that met the same warning first, and had no logger, once kept this one from seeing it.
    let name = "that_the_clock_is_behind_what_is_recorded_can_be_seen_and_is_logged_once";
    in_its_own_process(module_path!(), name, see_a_clock_that_is_behind);
}

fn see_a_clock_that_is_behind() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(noon());
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || {
        let open = || Store::builder().clock(clock.clone()).open(directory.path()).unwrap();
        let append = |store: &Store| {
            let event = NewEvent::json("Opened", &()).unwrap();
            let done = store.append("Door-1", ExpectedVersion::Any, [event]).unwrap();
            store.read_all().after(Position::new(done.position.get() - 1)).collect().unwrap()[0]
                .recorded_at
        };
        let store = open();
        append(&store);
        assert_eq!(store.clock_behind(), Duration::ZERO);
        clock.set(noon() - TimeDelta::seconds(2));
        assert_eq!((append(&store), store.clock_behind()), (noon(), Duration::from_secs(2)));
        assert_eq!(warnings.count(), 0, "a clock may be corrected");
        let ahead = noon() + TimeDelta::days(365);
        clock.set(ahead);
        assert_eq!(append(&store), ahead);
        clock.set(noon());
        assert_eq!((append(&store), append(&store)), (ahead, ahead));
        assert_eq!(store.clock_behind(), Duration::from_secs(365 * 86_400));
        assert_eq!(warnings.count(), 1);
        store.close().unwrap();
        let store = open();
        assert_eq!(warnings.count(), 2, "opening did not tell");
        append(&store);
        assert_eq!(warnings.count(), 2, "it was told already");
        clock.set(ahead + TimeDelta::seconds(1));
        assert_eq!(
            (append(&store), store.clock_behind()),
            (ahead + TimeDelta::seconds(1), Duration::ZERO)
        );
        clock.set(noon());
        append(&store);
        assert_eq!(warnings.count(), 3, "it was right in between");
    });
}

/// Counts what is logged of a clock as a warning.
#[derive(Default, Clone)]
struct Warnings(Arc<AtomicU64>);

impl Warnings {
    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN && metadata.target() == "filmstrip::log::core"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// A delivery put off for a moment by a clock a century ahead once waited for a century, when the store
/// was opened again with the right one: when it is due was compared with the clock, and not with the
/// store's time, which never goes back.
#[test]
fn what_a_group_put_off_while_the_clock_was_far_ahead_comes_again_when_it_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let clock = ManualClock::new(noon());
    let open = || Store::builder().clock(clock.clone()).open(&path).unwrap();
    let store = open();
    store.append("Order-1", ExpectedVersion::Any, [NewEvent::bytes("Placed", "x")]).unwrap();
    clock.set(noon() + TimeDelta::days(36_500));
    let consumer = store.subscribe().group("mailer").start().unwrap();
    let delivery = consumer.recv_timeout(PATIENCE).unwrap();
    delivery.nack(Nack::Retry(Duration::from_millis(50))).unwrap();
    drop(consumer);
    store.close().unwrap();

    clock.set(noon());
    let store = open();
    let consumer = store.subscribe().group("mailer").start().unwrap();
    let delivery = consumer.recv_timeout(PATIENCE / 4).unwrap();
    assert_eq!((delivery.event.position, delivery.attempt), (Position::new(1), 2));
    delivery.ack().unwrap();
}

#[test]
fn a_group_delivers_again_in_its_time_while_the_clock_steps_back() {
    let clock = ManualClock::new(noon());
    let store = Store::builder().clock(clock.clone()).temporary().unwrap();
    store.append("Order-1", ExpectedVersion::Any, [NewEvent::bytes("Placed", "x")]).unwrap();
    let group = || store.subscribe().group("mailer").redeliver_after(Duration::from_millis(50));
    let consumer = group().start().unwrap();
    let unanswered = consumer.recv_timeout(PATIENCE).unwrap();
    clock.set(noon() - TimeDelta::days(36_500));
    let again = consumer.recv_timeout(PATIENCE).unwrap();
    assert_eq!((again.event.position, again.attempt), (unanswered.event.position, 2));
    again.ack().unwrap();
}

/// Goes on when the time comes that `FAR` names: the calendar's beginning, or its end.
#[derive(Default, Clone)]
struct Sleeper<const FAR: bool> {
    begun: bool,
    woken: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum SleeperEvent {
    Begun,
    Woken,
}
impl Event for SleeperEvent {}

impl<const FAR: bool> ProcessManager for Sleeper<FAR> {
    const NAME: &'static str = if FAR { "Far" } else { "Near" };
    type Event = SleeperEvent;

    fn filter() -> Filter {
        Filter::category("Order")
    }

    fn route(_: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(Some("1".to_owned()))
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<SleeperEvent>, HandlerError> {
        Ok(match trigger {
            Trigger::Event(_) if self.begun => vec![],
            Trigger::Event(_) => vec![SleeperEvent::Begun],
            Trigger::Deadline => vec![SleeperEvent::Woken],
        })
    }

    fn evolve(&mut self, event: &SleeperEvent) {
        match event {
            SleeperEvent::Begun => self.begun = true,
            SleeperEvent::Woken => self.woken = true,
        }
    }

    fn effect(
        &self,
        _: &SleeperEvent,
        _: &mut Effects<'_>,
    ) -> Result<Vec<SleeperEvent>, HandlerError> {
        Ok(vec![])
    }

    fn deadline(&self) -> Option<DateTime<Utc>> {
        let time = if FAR { DateTime::<Utc>::MAX_UTC } else { DateTime::<Utc>::MIN_UTC };
        (self.begun && !self.woken).then_some(time)
    }
}

/// Under a clock at the calendar's beginning or end, events are recorded, read as of a time, delivered again
/// after a wait and a restart, and deadlines at either end come or do not.
#[test]
fn a_clock_at_either_end_of_the_calendar_harms_nothing() {
    let before_1970 = "1969-12-31T23:59:59Z".parse().unwrap();
    for time in [DateTime::<Utc>::MIN_UTC, before_1970, DateTime::<Utc>::MAX_UTC] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let clock = ManualClock::new(time);
        for attempt in [1, 2] {
            let store = Store::builder().clock(clock.clone()).open(&path).unwrap();
            let _near = store.process::<Sleeper<false>>().start().unwrap();
            let _far = store.process::<Sleeper<true>>().start().unwrap();
            store
                .append("Order-1", ExpectedVersion::Any, [NewEvent::bytes("Placed", "x")])
                .unwrap();
            store.drain(PATIENCE).unwrap();
            let film = |stream: &str| -> Vec<String> {
                let events = store.read_stream(stream).collect().unwrap();
                events.iter().map(|event| event.event_type.to_string()).collect()
            };
            assert_eq!(film("Near-1"), ["Begun", "Woken"], "{time}");
            let is_at_the_end = time == DateTime::<Utc>::MAX_UTC;
            let far: &[&str] = if is_at_the_end { &["Begun", "Woken"] } else { &["Begun"] };
            assert_eq!(film("Far-1"), far, "{time}");
            let ticks = store.repository::<Ticks>().snapshot_every(1);
            ticks.execute("1", &()).unwrap();
            ticks.load_as_of("1", AsOf::from(clock.now())).unwrap();
            let group = store.subscribe().category("Order").group("mailer");
            let consumer = group.start().unwrap();
            // In the second run the first event waits for a moment, and others come before it.
            let mut deliveries = vec![consumer.recv_timeout(PATIENCE).unwrap()];
            while deliveries[deliveries.len() - 1].event.position != Position::new(1) {
                deliveries.push(consumer.recv_timeout(PATIENCE).unwrap());
            }
            let delivery = deliveries.pop().expect("the first event is the last of them");
            assert_eq!(delivery.attempt, attempt, "{time}");
            let shown = (delivery.event.recorded_at - time).abs();
            assert!(shown < TimeDelta::milliseconds(1), "{shown} from {time}");
            delivery.nack(Nack::Retry(Duration::from_millis(1))).unwrap();
            drop(consumer);
            store.close().unwrap();
        }
    }
}

/// However long it may wait, or is told to wait between two tries, nothing overflows.
#[test]
fn no_wait_is_too_long() {
    let clock = ManualClock::new(noon());
    let directory = tempfile::tempdir().unwrap();
    let store = Store::builder().clock(clock.clone()).open(directory.path()).unwrap();
    for longest in [Duration::MAX, Duration::from_secs(i64::MAX as u64 - 1)] {
        let subscription = store.subscribe().start().unwrap();
        let patient = OnError::default().first_delay(longest);
        let process = store.process::<Sleeper<true>>().on_error(patient).start().unwrap();
        let ticks = store.repository::<Ticks>();
        let bus = ticks.bus().start().unwrap();
        let ticket = bus.command("1", ()).expires_in(longest).send().unwrap();
        assert!(ticket.wait_timeout(longest).expect("there is time").is_ok());
        assert_eq!(subscription.recv_timeout(longest).unwrap().position, Position::new(1));
        process.wait_for(store.head(), longest).unwrap();
        store.drain(longest).unwrap();
        process.stop().unwrap();
        let mut following = Follower::open(directory.path()).unwrap().read().follow();
        assert_eq!(following.recv_timeout(longest).unwrap().position, Position::new(1));
        clock.advance(longest);
    }
    assert_eq!(clock.now(), DateTime::<Utc>::MAX_UTC);
}
