//! Everything that the application may do, from within each piece of its code that the store calls: it works, or
//! it is an error. Nothing hangs.
//!
//! The store calls the application's code at many places, and it used to do so under locks. A read model that was
//! read within a read of itself hung as soon as an event came; so did two threads that read two views in different
//! orders, `rebuild`, `stop`, `pause` and `close` within a read of a view, and any commit within the clock. A panic
//! whose payload panicked when it was dropped left every writer waiting. There is a test for each callback, which makes
//! each call from within it, with a time limit; the first that hangs fails by its name.
//!
//! `FILMSTRIP_ROUNDS` repeats all calls that often.

use crate::common::{in_its_own_process, variable, within};
use chrono::{DateTime, TimeDelta, Utc};
use filmstrip::copy::CopyAs;
use filmstrip::group::Nack;
use filmstrip::process::{Effects, ProcessHandle, Trigger};
use filmstrip::projection::{ErrorAction, OnError, ProjectionHandle, ReadModelHandle};
use filmstrip::{
    Aggregate, Bus, Clock, Consumer, ErrorKind, Event, ExpectedVersion, Filter, HandlerError,
    Metadata, NewEvent, Position, ProcessManager, Projection, ReadModel, RecordedEvent, Repository,
    Result, Store, View, ViewWriter,
};
use serde::{Deserialize, Serialize, Serializer};
use std::cell::Cell;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long one cell may take. Some end only after the patience of a lock, of a few seconds.
const LIMIT: Duration = Duration::from_secs(30);
const PATIENT: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(20);

/// The code of the application that the store calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// A listener of `tracing`, on a thread of the engine.
    Listener,
    /// The same while a group of commits is led.
    LeaderListener,
    PayloadDrop,
}

type Call = fn(&World) -> Result<()>;

/// What is done within them.
const CALLS: [(&str, Call); 26] = [
    ("append", |w| w.append("Other-1").map(drop)),
    ("read_stream", |w| w.store.read_stream("Seen-1").collect().map(drop)),
    ("read_all", |w| w.store.read_all().limit(10).collect().map(drop)),
    ("execute", |w| Ok(w.tallies.execute("other", &Command::Add).map(drop)?)),
    ("execute same", |w| Ok(w.tallies.execute("a", &Command::Add).map(drop)?)),
    ("transact", |w| {
        let both = w.store.transact(Metadata::default(), |tx| -> filmstrip::Result<()> {
            tx.execute::<Tally>("other", &Command::Add)?;
            tx.execute::<Tally>("a", &Command::Add)?;
            Ok(())
        });
        Ok(both.map(drop)?)
    }),
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
    ("bus send thrice", |w| {
        for _ in 0..3 {
            drop(w.bus.send("a", Command::Add)?);
        }
        Ok(())
    }),
    ("verify", |w| w.store.verify().map(drop)),
    ("copy_into", |w| {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("copy");
        w.store.copy_into(to, |_| Ok(CopyAs::Unchanged)).map(drop)
    }),
    ("drop a consumer", |w| {
        drop(w.spare.lock().unwrap().take());
        Ok(())
    }),
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

/// Who makes a call within a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// The thread that the store calls it on.
    Itself,
    /// Another thread, which the callback waits for.
    Another,
}

/// What is refused within a callback, and nothing else is.
fn refused_within(callback: Callback) -> &'static [&'static str] {
    match callback {
        Callback::ViewRead | Callback::ModelRead => &["stop and start", "close"],
        Callback::ModelApply => &["model read"],
        Callback::ClockNow | Callback::LeaderListener => &[
            "append",
            "execute",
            "execute same",
            "transact",
            "group next, ack",
            "group replay",
            "bus send, wait",
            "stop and start",
            "close",
        ],
        _ => &[],
    }
}

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
    spare: Mutex<Option<Consumer>>,
}

impl World {
    fn new() -> World {
        let store = Store::builder().clock(Ticking).temporary().unwrap();
        store.append("Seen-1", ExpectedVersion::Any, [seen("Happened")]).unwrap();
        let on_error = OnError::default().retries(0).then(ErrorAction::ParkEvent);
        let projection = store.project(Counts).on_error(on_error).start().unwrap();
        let tallies = store.repository::<Tally>();
        tallies.execute("a", &Command::Add).unwrap();
        let consumer = store.subscribe().category("Seen").group("group").start().unwrap();
        let spare = store.subscribe().category("Seen").group("spare").start().unwrap();
        World {
            bus: store.repository::<Tally>().bus().workers(1).queue(1).start().unwrap(),
            view: projection.view(),
            model: store.read_model().unwrap(),
            process: store.process::<Manager>().start().unwrap(),
            consumer: Mutex::new(consumer),
            spare: Mutex::new(Some(spare)),
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
            Callback::LeaderListener => {
                // That a clock lags far behind is logged within a commit, and again when it was right in between.
                while ARMED.lock().unwrap().is_some() {
                    for is_behind in [true, false] {
                        IS_BEHIND.store(is_behind, Ordering::SeqCst);
                        self.append("Seen-1")?;
                    }
                }
                Ok(())
            }
            Callback::Listener => {
                let failing = [seen("Failing")];
                self.store.append("Seen-1", ExpectedVersion::Any, failing).map(drop)?;
                Ok(())
            }
            Callback::ClockNow => {
                ASKS_THE_CLOCK.set(true);
                // The clock is not asked here if the process leads the group of this commit.
                while ARMED.lock().unwrap().is_some() {
                    self.append("Seen-1")?;
                }
                Ok(())
            }
            _ => self.append("Seen-1").map(drop),
        }
    }
}

thread_local! {
    /// Whether the clock may call when this thread asks it. The process has a clock asked too, and must not be the one
    /// that waits for another thread that waits until the process is paused.
    static ASKS_THE_CLOCK: Cell<bool> = const { Cell::new(false) };
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

/// Whether the clock lags by a day.
static IS_BEHIND: AtomicBool = AtomicBool::new(false);

struct Ticking;
impl Clock for Ticking {
    fn now(&self) -> DateTime<Utc> {
        if ASKS_THE_CLOCK.get() {
            at(Callback::ClockNow);
        }
        match IS_BEHIND.load(Ordering::SeqCst) {
            true => Utc::now() - TimeDelta::days(1),
            false => Utc::now(),
        }
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
    fn event(&self, event: &tracing::Event<'_>) {
        at(match event.metadata().target() {
            "filmstrip::log::core" => Callback::LeaderListener,
            _ => Callback::Listener,
        });
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
    by: By,
) -> std::result::Result<String, &'static str> {
    let (tell, told) = channel();
    let world = Arc::clone(world);
    std::thread::spawn(move || run(&world, callback, call, by, &tell));
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

fn run(world: &Arc<World>, callback: Callback, call: Call, by: By, tell: &Sender<Progress>) {
    let (its_world, its_tell) = (Arc::clone(world), tell.clone());
    let (done, was_done) = channel();
    let hook = move || {
        let make = move || {
            let called = call(&its_world).map_err(|error| error.kind());
            // Before the answer, or it may be the last.
            drop(its_world);
            called
        };
        let called = match by {
            By::Itself => make(),
            By::Another => std::thread::spawn(make).join().unwrap(),
        };
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

/// A test for each piece of code of the application's.
macro_rules! within_each {
    ($($name:ident: $callback:ident by $by:ident;)*) => {$(
        #[test]
        fn $name() {
            let calls = || call_everything_within(Callback::$callback, By::$by);
            in_its_own_process(module_path!(), stringify!($name), calls);
        }
    )*};
}

within_each! {
    whatever_is_called_within_a_read_of_a_view_ends: ViewRead by Itself;
    whatever_is_called_within_a_read_of_a_read_model_ends: ModelRead by Itself;
    whatever_is_called_within_apply_of_a_read_model_ends: ModelApply by Itself;
    whatever_is_called_within_apply_of_a_projection_ends: ProjectionApply by Itself;
    whatever_is_called_within_decide_ends: Decide by Itself;
    whatever_is_called_within_evolve_ends: Evolve by Itself;
    whatever_is_called_within_clone_of_a_state_ends: CloneState by Itself;
    whatever_is_called_within_a_command_of_a_bus_ends: BusDecide by Itself;
    whatever_is_called_within_serialize_ends: Serialize by Itself;
    whatever_is_called_within_the_clock_ends: ClockNow by Itself;
    whatever_is_called_within_react_ends: React by Itself;
    whatever_is_called_within_an_effect_ends: Effect by Itself;
    whatever_is_called_within_a_deadline_ends: Deadline by Itself;
    whatever_is_called_within_a_listener_ends: Listener by Itself;
    whatever_is_called_within_a_listener_of_a_leader_ends: LeaderListener by Itself;
    whatever_is_called_within_drop_of_a_payload_ends: PayloadDrop by Itself;
    whatever_another_thread_calls_for_a_read_of_a_view_ends: ViewRead by Another;
    whatever_another_thread_calls_for_a_read_of_a_read_model_ends: ModelRead by Another;
    whatever_another_thread_calls_for_serialize_ends: Serialize by Another;
    whatever_another_thread_calls_for_the_clock_ends: ClockNow by Another;
}

fn call_everything_within(callback: Callback, by: By) {
    // Panics of the application's code are a part of this.
    std::panic::set_hook(Box::new(|_| {}));
    let _ = tracing::subscriber::set_global_default(Listener);
    let rounds = variable("FILMSTRIP_ROUNDS").unwrap_or(1);
    let mut calls = 0;
    for _ in 0..rounds {
        calls += one_round(callback, by);
    }
    println!("figures: calls within callbacks: {calls}");
}

/// Makes each call once; how many there were.
fn one_round(callback: Callback, by: By) -> usize {
    let mut world = Arc::new(World::new());
    let calls = CALLS.into_iter().map(|call| (call, false));
    let last_calls = LAST_CALLS.into_iter().map(|call| (call, true));
    for ((name, call), is_last) in calls.chain(last_calls) {
        let begun = Instant::now();
        let outcome = cell(&world, callback, call, by);
        let outcome = outcome.unwrap_or_else(|hangs| fail(name, callback, hangs));
        println!("{name} within {callback:?}: {outcome}, {:?}", begun.elapsed());
        let is_to_be = by == By::Itself && refused_within(callback).contains(&name);
        // These are refused only if there is something to wait for.
        let may_be = ["wait_for", "model wait_for", "drain"].contains(&name);
        if (outcome == "WouldDeadlock") != is_to_be && !may_be {
            fail(name, callback, &outcome);
        }
        if is_last {
            let used = std::mem::replace(&mut world, Arc::new(World::new()));
            if !closes(used) {
                fail(name, callback, "the store does not close after it");
            }
        }
    }
    CALLS.len() + LAST_CALLS.len()
}

fn fail(name: &str, callback: Callback, what: &str) -> ! {
    // Back to the usual one.
    drop(std::panic::take_hook());
    panic!("{name} within {callback:?}: {what}");
}

/// The story: within a read of a view a store cannot be closed, and when its last handle went there, it was left open
/// for good: nobody could open it again. It is closed by another thread.
#[test]
fn a_store_whose_last_handle_goes_within_a_read_of_a_view_is_closed() {
    within(LIMIT, || {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.append("Seen-1", ExpectedVersion::Any, [seen("Happened")]).unwrap();
        let view = store.project(Counts).start().unwrap().view();
        view.read(|_| drop(store));
        while let Err(error) = Store::open(directory.path()) {
            assert_eq!(error.kind(), ErrorKind::Locked);
            std::thread::sleep(SHORT);
        }
    });
}

/// A clock that lets another thread ask for a group's cursor, and waits for it.
#[derive(Clone, Default)]
struct AsksForCursor {
    store: Arc<Mutex<Option<Store>>>,
    is_asking: Arc<AtomicBool>,
}

impl Clock for AsksForCursor {
    fn now(&self) -> DateTime<Utc> {
        let store = self.store.lock().unwrap().clone();
        // The cursor may ask for the time too.
        if let Some(store) = store
            && !self.is_asking.swap(true, Ordering::SeqCst)
        {
            let asked = std::thread::spawn(move || store.group("group").cursor().map(drop));
            let _ = asked.join();
            self.is_asking.store(false, Ordering::SeqCst);
        }
        Utc::now()
    }
}

/// The story: the clock was asked under the locks of groups. One that waited for a thread of its own, which asked a
/// group for anything, never came back.
#[test]
fn a_clock_may_wait_for_another_thread_that_uses_a_group() {
    within(LIMIT, || {
        let clock = AsksForCursor::default();
        let store = Store::builder().clock(clock.clone()).temporary().unwrap();
        for _ in 0..3 {
            store.append("Seen-1", ExpectedVersion::Any, [seen("Happened")]).unwrap();
        }
        *clock.store.lock().unwrap() = Some(store.clone());
        let consumer = store.subscribe().group("group").start().unwrap();
        for _ in 0..2 {
            consumer.recv_timeout(PATIENT).unwrap().nack(Nack::Park).unwrap();
        }
        let late = consumer.recv_timeout(PATIENT).unwrap();
        store.group("group").discard_parked().unwrap();
        late.ack().unwrap();
        store.group("group").replay_parked().unwrap();
        drop(consumer);
        clock.store.lock().unwrap().take();
        store.close().unwrap();
    });
}
