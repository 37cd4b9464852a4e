//! What events tell of their cause: ids that nobody set, the trace that they were recorded in, and the tree that they
//! make.

use crate::common::{Random, in_its_own_process, seed, wait_until};
use chrono::{DateTime, TimeDelta, Utc};
use filmstrip::group::Nack;
use filmstrip::process::{Effects, Trigger};
use filmstrip::testing::ManualClock;
use filmstrip::trace::{Span, TraceContext};
use filmstrip::*;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

const WAIT: Duration = Duration::from_secs(60);
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Clone, Serialize, Deserialize)]
enum Added {
    Added(u32),
}

impl Event for Added {}

#[derive(Default, Clone)]
struct Sum(u32);

impl Aggregate for Sum {
    const CATEGORY: &'static str = "Sum";
    type Command = u32;
    type Event = Added;
    type Error = std::convert::Infallible;
    fn decide(&self, n: &u32) -> Result<Vec<Added>, Self::Error> {
        Ok(vec![Added::Added(*n)])
    }
    fn evolve(&mut self, Added::Added(n): &Added) {
        self.0 += n;
    }
}

/// Adds 1 to the sum of this id, which depends on nothing that is there.
struct Add(&'static str);

impl DecisionModel for Sum {
    type Event = Added;
    fn filter(&self) -> Filter {
        Filter::tag("nothing")
    }
    fn evolve(&mut self, _: &Added) {}
}

impl Decision for Add {
    type Model = Sum;
    type Event = Added;
    type Error = std::convert::Infallible;
    fn model(&self) -> Sum {
        Sum(0)
    }
    fn decide(&self, _: &Sum) -> Result<Vec<Added>, Self::Error> {
        Ok(vec![Added::Added(1)])
    }
    fn stream(&self, _: &Added) -> String {
        format!("Sum-{}", self.0)
    }
}

/// The last event of a stream.
fn last(store: &Store, stream: &str) -> RecordedEvent {
    let events = store.read_stream(stream).backwards().limit(1).collect().expect("it can be read");
    events.into_iter().next().expect("it has an event")
}

fn append(store: &Store, stream: &str, metadata: Metadata) -> RecordedEvent {
    let event = NewEvent::json("Happened", &()).expect("JSON").metadata(metadata);
    store.append(stream, ExpectedVersion::Any, [event]).expect("it is appended");
    last(store, stream)
}

/// `effect` was caused by `cause`, and is part of its conversation.
#[track_caller]
fn assert_caused(effect: &RecordedEvent, cause: &RecordedEvent) {
    let conversation = cause.metadata.correlation_id.unwrap_or(cause.id);
    assert_eq!(effect.metadata.causation_id, Some(cause.id), "{effect:?}");
    assert_eq!(effect.metadata.correlation_id, Some(conversation), "{effect:?}");
}

#[track_caller]
fn assert_uncaused(event: &RecordedEvent) {
    assert_eq!((event.metadata.causation_id, event.metadata.correlation_id), (None, None));
}

#[test]
fn a_command_of_a_consumer_is_caused_by_what_it_was_delivered() -> Result<()> {
    let (store, conversation) = (Store::temporary()?, Uuid::from_u128(7));
    let sums = store.repository::<Sum>();
    let root = append(&store, "Door-1", Metadata::default());
    let part = append(&store, "Door-2", Metadata::default().correlation_id(conversation));
    let mut consumer = store.subscribe().category("Door").group("adder").start()?;

    let first = consumer.next().expect("a delivery")?;
    sums.execute("a", &1)?;
    assert_caused(&last(&store, "Sum-a"), &root);
    // What was said stays; the rest is filled in.
    let said = Metadata::default().correlation_id(conversation);
    sums.execute_with("a", &1, said)?;
    let metadata = last(&store, "Sum-a").metadata;
    assert_eq!(metadata.causation_id, Some(root.id));
    assert_eq!(metadata.correlation_id, Some(conversation));
    first.ack()?;
    sums.execute("a", &1)?;
    assert_uncaused(&last(&store, "Sum-a"));

    let second = consumer.next().expect("a delivery")?;
    store.transact(Metadata::default(), |tx| -> Result<()> {
        tx.execute::<Sum>("b", &1)?;
        tx.execute::<Sum>("c", &1)?;
        Ok(())
    })?;
    assert_caused(&last(&store, "Sum-b"), &part);
    assert_caused(&last(&store, "Sum-c"), &part);
    store.decide(&Add("e"))?;
    assert_caused(&last(&store, "Sum-e"), &part);
    // On a worker's thread, where nothing is handled.
    let bus = sums.bus().workers(1).start()?;
    bus.send("d", 1)?.wait()?;
    assert_caused(&last(&store, "Sum-d"), &part);
    // What the application appends itself gets what it asks for.
    let by_hand = append(&store, "Lamp-1", store.metadata());
    assert_caused(&by_hand, &part);
    second.nack(Nack::Park)?;
    bus.send("d", 1)?.wait()?;
    assert_uncaused(&last(&store, "Sum-d"));
    Ok(())
}

#[test]
fn of_two_open_deliveries_none_is_taken_for_the_cause_unless_it_is_said() -> Result<()> {
    let store = Store::temporary()?;
    let sums = store.repository::<Sum>();
    let one = append(&store, "Door-1", Metadata::default());
    let two = append(&store, "Door-2", Metadata::default());
    let mut consumer = store.subscribe().category("Door").group("adder").start()?;
    let first = consumer.next().expect("a delivery")?;
    let second = consumer.next().expect("a delivery")?;
    sums.execute("a", &1)?;
    assert_uncaused(&last(&store, "Sum-a"));
    first.handle(|| sums.execute("a", &1))?;
    assert_caused(&last(&store, "Sum-a"), &one);
    std::thread::scope(|scope| {
        scope.spawn(|| second.handle(|| sums.execute("a", &1)).expect("it is executed"));
    });
    assert_caused(&last(&store, "Sum-a"), &two);
    // Answered on another thread.
    std::thread::scope(|scope| {
        scope.spawn(|| first.ack().expect("it is answered"));
    });
    sums.execute("a", &1)?;
    assert_caused(&last(&store, "Sum-a"), &two);
    drop(second);
    sums.execute("a", &1)?;
    assert_uncaused(&last(&store, "Sum-a"));
    Ok(())
}

/// Gives a command for each event of a door.
struct Commands(Repository<Sum>);

impl Projection for Commands {
    const NAME: &'static str = "commands";
    const VERSION: u32 = 1;
    fn filter(&self) -> Filter {
        Filter::category("Door")
    }
    fn apply(&self, event: &RecordedEvent, _: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        self.0.execute(event.stream.id().unwrap_or_default(), &1)?;
        Ok(())
    }
}

#[test]
fn a_command_of_a_projection_is_caused_by_what_it_applies() -> Result<()> {
    let store = Store::temporary()?;
    let commands = store.project(Commands(store.repository())).start()?;
    let doors: Vec<_> =
        (0..3).map(|n| append(&store, &format!("Door-{n}"), Metadata::default())).collect();
    commands.wait_for(doors[2].position, WAIT)?;
    for (n, door) in doors.iter().enumerate() {
        assert_caused(&last(&store, &format!("Sum-{n}")), door);
    }
    commands.stop()?;
    store.close()
}

/// Reacts to a door; its effect gives one command through the process, and one by itself.
#[derive(Default, Clone)]
struct Follows;

static STORES: Mutex<Option<HashMap<String, WeakStore>>> = Mutex::new(None);

impl ProcessManager for Follows {
    const NAME: &'static str = "Follows";
    type Event = Added;
    fn filter() -> Filter {
        Filter::category("Door")
    }
    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.id().map(str::to_owned))
    }
    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<Added>, HandlerError> {
        Ok(match trigger {
            Trigger::Event(_) => vec![Added::Added(1)],
            _ => Vec::new(),
        })
    }
    fn evolve(&mut self, _: &Added) {}
    fn effect(&self, _: &Added, out: &mut Effects<'_>) -> Result<Vec<Added>, HandlerError> {
        let id = out.id();
        out.execute::<Sum>(id, &1)?.into_result()?;
        let store =
            STORES.lock().expect("a map").as_ref().and_then(|stores| stores.get(id).cloned());
        if let Some(store) = store {
            store.upgrade()?.repository::<Sum>().execute(&format!("{id}-by-itself"), &1)?;
        }
        Ok(Vec::new())
    }
}

#[test]
fn a_process_carries_the_conversation_to_its_own_events_and_to_its_commands() -> Result<()> {
    let store = Store::temporary()?;
    let id = Uuid::now_v7().simple().to_string();
    STORES.lock().expect("a map").get_or_insert_default().insert(id.clone(), store.downgrade());
    let process = store.process::<Follows>().start()?;
    let door = append(&store, &format!("Door-{id}"), Metadata::default());
    process.wait_for(door.position, WAIT)?;
    let own = last(&store, &format!("Follows-{id}"));
    assert_caused(&own, &door);
    for stream in [format!("Sum-{id}"), format!("Sum-{id}-by-itself")] {
        let commanded = last(&store, &stream);
        assert_eq!(commanded.metadata.causation_id, Some(own.id));
        assert_eq!(commanded.metadata.correlation_id, Some(door.id));
    }
    let tree = store.causation(door.id)?;
    assert!(tree.complete && tree.causes.is_empty() && tree.unknown_cause.is_none());
    let found: Vec<_> = tree.effects.iter().map(|it| (it.stream.category(), it.distance)).collect();
    assert_eq!(found, [("Follows", 1), ("Sum", 2), ("Sum", 2)]);
    let why = store.causation(last(&store, &format!("Sum-{id}")).id)?;
    let causes: Vec<_> = why.causes.iter().map(|cause| (cause.id, cause.distance)).collect();
    assert_eq!(causes, [(door.id, -2), (own.id, -1)]);
    assert!(why.effects.is_empty());
    process.stop()
}

/// A hook that is in one trace on threads that say so, and notes what is linked.
#[derive(Clone, Default)]
struct Traces(Arc<Mutex<Vec<String>>>);

thread_local! {
    static IN_TRACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

impl TraceContext for Traces {
    fn traceparent(&self) -> Option<String> {
        IN_TRACE.with_borrow(Clone::clone)
    }
    fn link(&self, _: &Span, traceparent: &str) {
        self.0.lock().expect("a list").push(traceparent.to_owned());
    }
}

fn traced<T>(work: impl FnOnce() -> T) -> T {
    IN_TRACE.set(Some(TRACE.to_owned()));
    let done = work();
    IN_TRACE.set(None);
    done
}

#[test]
fn a_command_is_recorded_with_the_trace_that_it_is_part_of() -> Result<()> {
    let store = Store::builder().trace_context(Traces::default()).temporary()?;
    let sums = store.repository::<Sum>();
    let trace = |stream: &str| last(&store, stream).metadata.entries.get("traceparent").cloned();
    sums.execute("a", &1)?;
    assert_eq!(trace("Sum-a"), None);
    traced(|| sums.execute("a", &1))?;
    assert_eq!(trace("Sum-a").as_deref(), Some(TRACE));
    let bus = sums.clone().bus().start()?;
    traced(|| bus.send("b", 1))?.wait()?;
    assert_eq!(trace("Sum-b").as_deref(), Some(TRACE));
    traced(|| store.transact(Metadata::default(), |tx| tx.execute::<Sum>("c", &1).map(drop)))
        .expect("it is recorded");
    assert_eq!(trace("Sum-c").as_deref(), Some(TRACE));
    let own = Metadata::default().entry("traceparent", "own");
    traced(|| sums.execute_with("a", &1, own))?;
    assert_eq!(trace("Sum-a").as_deref(), Some("own"));
    // An append that is repeated must be the same: it is not touched.
    let event = NewEvent::json("Happened", &())?;
    let append = || store.append("Door-1", ExpectedVersion::NoStream, [event.clone()]);
    traced(append)?;
    assert!(append()?.already_recorded);
    assert_eq!(traced(|| store.metadata()).entries["traceparent"], TRACE);
    Ok(())
}

#[test]
fn a_cause_is_found_whatever_its_id_tells_of_its_time() -> Result<()> {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = ManualClock::new(Utc::now());
    let store = Store::builder().clock(clock.clone()).open(directory.path())?;
    let at = |time: DateTime<Utc>, n: u16| {
        let seconds = u64::try_from(time.timestamp()).expect("after 1970");
        let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0);
        let mut bytes = Uuid::new_v7(time).into_bytes();
        bytes[14..].copy_from_slice(&n.to_be_bytes());
        Uuid::from_bytes(bytes)
    };
    let day = TimeDelta::days(1);
    // Of the time, of long before, of long after, and of no time.
    let now = clock.now();
    let ids = [at(now, 1), at(now - day, 2), at(now + day, 3), Uuid::from_u128(4)];
    let mut cause = None;
    for id in ids {
        clock.set(clock.now() + TimeDelta::hours(1));
        let metadata = cause.map_or(Metadata::default(), |id| Metadata::default().causation_id(id));
        let event = NewEvent::json("Happened", &())?.id(id).metadata(metadata);
        store.append("Door-1", ExpectedVersion::Any, [event])?;
        cause = Some(id);
    }
    for (place, id) in ids.iter().enumerate() {
        let tree = store.causation(*id)?;
        let found: Vec<_> = tree.causes.iter().map(|cause| cause.id).collect();
        assert_eq!((&found[..], tree.complete), (&ids[..place], true));
        let effects: Vec<_> = tree.effects.iter().map(|effect| effect.id).collect();
        assert_eq!(effects, ids[place + 1..]);
    }
    Ok(())
}

/// A forest of events at random, and the tree of each as a plain search finds it.
#[test]
fn a_tree_is_what_a_plain_search_finds() -> Result<()> {
    let mut random = Random(seed());
    let store = Store::temporary()?;
    let mut events: Vec<(Uuid, Option<Uuid>)> = Vec::new();
    for n in 0..300 {
        let cause = match random.below(4) {
            0 => None,
            _ if events.is_empty() => None,
            _ => Some(events[random.below(events.len() as u64) as usize].0),
        };
        let id = Uuid::now_v7();
        let metadata = cause.map_or(Metadata::default(), |id| Metadata::default().causation_id(id));
        let event = NewEvent::json("Happened", &n)?.id(id).metadata(metadata);
        store.append(format!("A-{}", random.below(9)), ExpectedVersion::Any, [event])?;
        events.push((id, cause));
    }
    let causes: HashMap<_, _> = events.iter().copied().collect();
    let up = |id: Uuid| std::iter::successors(causes[&id], |id| causes[id]);
    for (id, _) in events.iter().step_by(17) {
        let tree = store.causation(*id)?;
        let mut above: Vec<_> = up(*id).collect();
        above.reverse();
        assert_eq!(tree.causes.iter().map(|it| it.id).collect::<Vec<_>>(), above);
        let below = events.iter().map(|it| it.0).filter(|it| up(*it).any(|above| above == *id));
        assert_eq!(
            tree.effects.iter().map(|it| it.id).collect::<Vec<_>>(),
            below.collect::<Vec<_>>()
        );
        assert!(tree.complete);
    }
    Ok(())
}

/// A subscriber that wants everything.
struct Listens;

impl tracing::Subscriber for Listens {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn what_handles_an_event_is_linked_to_its_trace() {
    // The engine's threads have the process's subscriber.
    let name = "what_handles_an_event_is_linked_to_its_trace";
    in_its_own_process(module_path!(), name, || {
        tracing::subscriber::set_global_default(Listens).expect("the only one");
        let traces = Traces::default();
        let store = Store::builder().trace_context(traces.clone()).temporary().expect("a store");
        let linked = || traces.0.lock().expect("a list").len();
        let projection = store.project(Commands(store.repository())).start().expect("it runs");
        append(&store, "Door-1", Metadata::default().entry("traceparent", "nonsense"));
        let door = append(&store, "Door-1", Metadata::default().entry("traceparent", TRACE));
        projection.wait_for(door.position, WAIT).expect("it is applied");
        assert_eq!(linked(), 1, "the span of the batch");
        projection.stop().expect("it stops");
        let process = store.process::<Follows>().start().expect("it runs");
        wait_until(WAIT, "the process is done", || process.status().lag == 0);
        // The reaction, and the effect of the own event, to which the trace was passed on.
        assert_eq!(linked(), 3);
        assert!(traces.0.lock().expect("a list").iter().all(|linked| linked == TRACE));
        assert_eq!(last(&store, "Sum-1").metadata.entries["traceparent"], TRACE);
        process.stop().expect("it stops");
    });
}
