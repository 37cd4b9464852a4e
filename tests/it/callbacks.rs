//! Everything that the application may do, from within each piece of its code that the store calls: it works, or
//! it is an error. Nothing hangs.
//!
//! The store calls the application's code at many places, and it used to do so under locks. A read model that was
//! read within a read of itself hung as soon as an event came; so did two threads that read two views in different
//! orders, `rebuild`, `stop`, `pause` and `close` within a read of a view, and any commit within the clock. A panic
//! whose payload panicked when it was dropped left every writer waiting. Each cell of the table below is a store of
//! its own, with a limit of time; one that hangs fails by its name.

use crate::common::in_its_own_process;
use chrono::{DateTime, Utc};
use filmstrip::{
    Aggregate, Bus, Clock, Consumer, Effects, ErrorKind, Event, ExpectedVersion, Filter,
    HandlerError, NewEvent, OnError, Position, ProcessHandle, ProcessManager, Projection,
    ProjectionHandle, ReadModel, ReadModelHandle, RecordedEvent, Repository, Result, Store, Then,
    Trigger, View, ViewWriter,
};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::panic::panic_any;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long one cell may take. Some end only after the patience of a lock, of a few seconds.
const LIMIT: Duration = Duration::from_secs(60);
const PATIENT: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(20);

/// The code of the application that the store calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Callback {
    ViewRead,
    ModelRead,
    ModelApply,
    ProjectionApply,
    Decide,
    Evolve,
    CloneState,
    BusDecide,
    Serialize,
    ClockNow,
    React,
    Effect,
    Deadline,
    Subscriber,
    PayloadDrop,
}

const CALLBACKS: [Callback; 15] = [
    Callback::ViewRead,
    Callback::ModelRead,
    Callback::ModelApply,
    Callback::ProjectionApply,
    Callback::Decide,
    Callback::Evolve,
    Callback::CloneState,
    Callback::BusDecide,
    Callback::Serialize,
    Callback::ClockNow,
    Callback::React,
    Callback::Effect,
    Callback::Deadline,
    Callback::Subscriber,
    Callback::PayloadDrop,
];

type Call = fn(&World) -> Result<()>;

/// What is done within them.
const CALLS: [(&str, Call); 22] = [
    ("append", |w| w.append("Other-1").map(drop)),
    ("read_stream", |w| w.store.read_stream("Seen-1").collect().map(drop)),
    ("read_all", |w| w.store.read_all().limit(10).collect().map(drop)),
    ("execute", |w| Ok(w.tallies.execute("other", &Command::Add).map(drop)?)),
    ("execute same", |w| Ok(w.tallies.execute("a", &Command::Add).map(drop)?)),
    ("load", |w| w.tallies.load("a").map(drop)),
    ("view read", |w| w.view.read(|view| view.get::<u64>("events")).map(drop)),
    ("model read", |w| w.model.read(|_| ())),
    ("model wait_for", |w| w.model.wait_for(w.store.head(), SHORT)),
    ("status", |w| {
        let _ = (w.projection.status(), w.process.status());
        Ok(())
    }),
    ("wait_for", |w| w.projection.wait_for(w.store.head(), SHORT)),
    ("drain", |w| w.store.drain(SHORT)),
    ("pause", |w| {
        w.projection.pause();
        w.projection.resume();
        Ok(())
    }),
    ("rebuild", |w| w.projection.rebuild()),
    ("replay_parked", |w| w.projection.replay_parked()),
    ("discard_parked", |w| w.projection.discard_parked()),
    ("process pause", |w| {
        w.process.pause();
        w.process.resume();
        Ok(())
    }),
    ("group next, ack", |w| w.consumer.lock().unwrap().recv_timeout(PATIENT)?.ack()),
    ("group replay", |w| {
        w.store.group("group").cursor()?;
        w.store.group("group").replay_parked()
    }),
    ("subscribe, next", |w| w.store.subscribe().start()?.recv_timeout(PATIENT).map(drop)),
    ("bus send, wait", |w| {
        let ticket = w.bus.send("a", Command::Add)?;
        Ok(ticket.wait().map(drop)?)
    }),
    ("verify", |w| w.store.verify().map(drop)),
];

/// What leaves a store that another cell cannot use.
const LAST_CALLS: [(&str, Call); 5] = [
    ("stop", |w| w.projection.stop()),
    ("stop and start", |w| {
        w.projection.stop()?;
        w.store.project(Counts).start().map(drop)
    }),
    ("process stop", |w| w.process.stop()),
    ("bus close", |w| {
        w.bus.close();
        Ok(())
    }),
    ("close", |w| w.store.clone().close()),
];

type Hook = Box<dyn FnOnce() + Send>;
/// What is done the next time that this code is called. Cells come one after the other.
static ARMED: Mutex<Option<(Callback, Hook)>> = Mutex::new(None);

/// This code is called.
fn at(callback: Callback) {
    let armed = {
        let mut armed = ARMED.lock().unwrap();
        armed.take_if(|(wanted, _)| *wanted == callback)
    };
    if let Some((_, hook)) = armed {
        hook();
    }
}

struct World {
    store: Store,
    tallies: Repository<Tally>,
    bus: Bus<Tally>,
    projection: ProjectionHandle,
    view: View,
    model: ReadModelHandle<Seen>,
    process: ProcessHandle,
    consumer: Mutex<Consumer>,
}

impl World {
    fn new() -> World {
        let store = Store::builder().clock(Ticking).temporary().unwrap();
        store.append("Seen-1", ExpectedVersion::Any, [seen("Happened")]).unwrap();
        let on_error = OnError::default().retries(0).then(Then::ParkEvent);
        let projection = store.project(Counts).on_error(on_error).start().unwrap();
        let tallies = store.repository::<Tally>();
        tallies.execute("a", &Command::Add).unwrap();
        let consumer = store.subscribe().category("Seen").group("group").start().unwrap();
        World {
            bus: store.repository::<Tally>().bus().workers(1).queue(1).start().unwrap(),
            view: projection.view(),
            model: store.read_model().unwrap(),
            process: store.process::<Manager>().start().unwrap(),
            consumer: Mutex::new(consumer),
            projection,
            tallies,
            store,
        }
    }

    fn append(&self, stream: &str) -> Result<Position> {
        let appended = self.store.append(stream, ExpectedVersion::Any, [seen("Happened")])?;
        Ok(appended.position)
    }

    /// Lets the store call that code.
    fn trigger(&self, callback: Callback) -> Result<()> {
        match callback {
            Callback::ViewRead => self.view.read(|_| {
                // The projector waits for the end of this read.
                let appended = self.append("Seen-1");
                std::thread::sleep(SHORT);
                at(callback);
                appended.map(drop)
            }),
            Callback::ModelRead => self.model.read(|_| {
                let appended = self.append("Seen-1");
                std::thread::sleep(SHORT);
                at(callback);
                appended.map(drop)
            })?,
            Callback::Decide | Callback::Evolve | Callback::CloneState => {
                Ok(self.tallies.execute("a", &Command::Add).map(drop)?)
            }
            Callback::BusDecide => Ok(self.bus.send("a", Command::FromBus)?.wait().map(drop)?),
            Callback::PayloadDrop => Ok(self.bus.send("a", Command::Panic)?.wait().map(drop)?),
            Callback::Subscriber => {
                let failing = [seen("Failing")];
                self.store.append("Seen-1", ExpectedVersion::Any, failing).map(drop)?;
                Ok(())
            }
            _ => self.append("Seen-1").map(drop),
        }
    }
}

fn seen(event_type: &str) -> NewEvent {
    NewEvent::json(event_type, &Loud).unwrap()
}

/// What calls when it is serialized.
struct Loud;
impl Serialize for Loud {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        at(Callback::Serialize);
        serializer.serialize_u64(1)
    }
}

struct Ticking;
impl Clock for Ticking {
    fn now(&self) -> DateTime<Utc> {
        at(Callback::ClockNow);
        Utc::now()
    }
}

struct Counts;
impl Projection for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 1;
    fn filter(&self) -> Filter {
        Filter::category("Seen")
    }
    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        at(Callback::ProjectionApply);
        if event.event_type == "Failing" {
            return Err("it fails on purpose".into());
        }
        let events = view.get::<u64>("events")?.unwrap_or_default();
        Ok(view.put("events", &(events + 1))?)
    }
}

#[derive(Default)]
struct Seen;
impl ReadModel for Seen {
    fn filter() -> Filter {
        Filter::all()
    }
    fn apply(&mut self, _: &RecordedEvent) -> Result<(), HandlerError> {
        at(Callback::ModelApply);
        Ok(())
    }
}

#[derive(Clone, Serialize, Deserialize)]
enum Added {
    Added,
}
impl Event for Added {}

enum Command {
    Add,
    FromBus,
    Panic,
}

#[derive(Default)]
struct Tally(u64);

impl Clone for Tally {
    fn clone(&self) -> Tally {
        at(Callback::CloneState);
        Tally(self.0)
    }
}

impl Aggregate for Tally {
    const CATEGORY: &'static str = "Tally";
    type Command = Command;
    type Event = Added;
    type Error = std::convert::Infallible;

    fn decide(&self, command: &Command) -> Result<Vec<Added>, Self::Error> {
        match command {
            Command::Add => at(Callback::Decide),
            Command::FromBus => at(Callback::BusDecide),
            Command::Panic => panic_any(Bomb),
        }
        Ok(vec![Added::Added])
    }

    fn evolve(&mut self, _: &Added) {
        at(Callback::Evolve);
        self.0 += 1;
    }
}

/// A panic's payload that calls when it is dropped, and panics again.
struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        at(Callback::PayloadDrop);
        panic_any("dropping it panics");
    }
}

#[derive(Default, Clone)]
struct Manager;
impl ProcessManager for Manager {
    const NAME: &'static str = "Manager";
    type Event = Added;
    fn filter() -> Filter {
        Filter::category("Seen")
    }
    fn route(_: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(Some("1".to_owned()))
    }
    fn react(&self, _: Trigger<'_>) -> Result<Vec<Added>, HandlerError> {
        at(Callback::React);
        Ok(vec![Added::Added])
    }
    fn evolve(&mut self, _: &Added) {}
    fn effect(&self, _: &Added, _: &mut Effects<'_>) -> Result<Vec<Added>, HandlerError> {
        at(Callback::Effect);
        Ok(vec![])
    }
    fn deadline(&self) -> Option<DateTime<Utc>> {
        at(Callback::Deadline);
        None
    }
}

/// Calls at each warning that some thread of the store has.
struct Listener;
impl tracing::Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        at(Callback::Subscriber);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// How far a cell has come.
enum Progress {
    Called(std::result::Result<(), ErrorKind>),
    Returned,
}

/// What came of a call within a callback; which step hangs, if one does.
fn cell(
    world: &Arc<World>,
    callback: Callback,
    call: Call,
) -> std::result::Result<String, &'static str> {
    let (tell, told) = channel();
    let world = Arc::clone(world);
    std::thread::spawn(move || run(&world, callback, call, &tell));
    let outcome = match told.recv_timeout(LIMIT) {
        Ok(Progress::Called(Ok(()))) => "ok".to_owned(),
        Ok(Progress::Called(Err(kind))) => format!("{kind:?}"),
        _ => return Err("the call hangs"),
    };
    match told.recv_timeout(LIMIT) {
        Ok(Progress::Returned) => Ok(outcome),
        _ => Err("the code that called it hangs"),
    }
}

fn run(world: &Arc<World>, callback: Callback, call: Call, tell: &Sender<Progress>) {
    let (its_world, its_tell) = (Arc::clone(world), tell.clone());
    let (done, was_done) = channel();
    let hook = move || {
        let called = call(&its_world).map_err(|error| error.kind());
        // Before the answer, or it may be the last.
        drop(its_world);
        let _ = its_tell.send(Progress::Called(called));
        let _ = done.send(());
    };
    *ARMED.lock().unwrap() = Some((callback, Box::new(hook)));
    // What is called on another thread may have closed the store meanwhile.
    let _ = world.trigger(callback);
    let _ = was_done.recv();
    let _ = tell.send(Progress::Returned);
}

/// Whether a store, and the threads that it runs, can be closed in time.
fn closes(world: Arc<World>) -> bool {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let closed = world.store.clone().close();
        world.bus.close();
        drop(world);
        let _ = tell.send(closed.is_ok());
    });
    told.recv_timeout(LIMIT) == Ok(true)
}

#[test]
fn whatever_is_called_from_within_a_callback_works_or_is_an_error() {
    let name = "whatever_is_called_from_within_a_callback_works_or_is_an_error";
    in_its_own_process(module_path!(), name, call_everything_from_everywhere);
}

fn call_everything_from_everywhere() {
    // Panics are a part of this.
    std::panic::set_hook(Box::new(|_| {}));
    let _ = tracing::subscriber::set_global_default(Listener);
    let mut table: BTreeMap<&str, BTreeMap<Callback, String>> = BTreeMap::new();
    let mut hanging = Vec::new();
    for callback in CALLBACKS {
        let mut world = Arc::new(World::new());
        let calls = CALLS.into_iter().map(|call| (call, false));
        let last_calls = LAST_CALLS.into_iter().map(|call| (call, true));
        for ((name, call), is_last) in calls.chain(last_calls) {
            let begun = Instant::now();
            let outcome = cell(&world, callback, call).unwrap_or_else(|hangs| {
                hanging.push(format!("{name} within {callback:?}: {hangs}"));
                "HANGS".to_owned()
            });
            println!("{name} within {callback:?}: {outcome}, {:?}", begun.elapsed());
            ARMED.lock().unwrap().take();
            if is_last || outcome == "HANGS" {
                let used = std::mem::replace(&mut world, Arc::new(World::new()));
                if outcome != "HANGS" && !closes(used) {
                    hanging.push(format!("close behind {name} within {callback:?}"));
                }
            }
            table.entry(name).or_default().insert(callback, outcome);
        }
    }
    println!("{:>16} {}", "", CALLBACKS.map(|callback| format!("{callback:?}")).join(" "));
    for (name, row) in table {
        let cells = row.iter().map(|(callback, outcome)| {
            format!("{outcome:>width$}", width = format!("{callback:?}").len())
        });
        println!("{name:>16} {}", cells.collect::<Vec<_>>().join(" "));
    }
    assert!(hanging.is_empty(), "{}", hanging.join("\n"));
}
