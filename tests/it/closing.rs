//! What keeps a store open, and what does not: a store closes when it is told to, even if others hold a handle of it,
//! and when the last handle is dropped.

use crate::common::within;
use filmstrip::process::{Effects, Trigger};
use filmstrip::{
    Aggregate, ErrorKind, Event, ExpectedVersion, Filter, HandlerError, NewEvent, Position,
    ProcessManager, Projection, ReadModel, RecordedEvent, Store, ViewWriter, WeakStore,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn append(store: &Store, stream: &str) -> Position {
    let event = NewEvent::json("Opened", &()).unwrap();
    store.append(stream, ExpectedVersion::Any, [event]).unwrap().position
}

/// Looks the stream up in its own store, of which it holds a `Store` or a `WeakStore`.
struct Looks<H>(H);

trait Handle: Send + Sync + 'static {
    fn store(&self) -> Result<Store, HandlerError>;
}

impl Handle for Store {
    fn store(&self) -> Result<Store, HandlerError> {
        Ok(self.clone())
    }
}

impl Handle for WeakStore {
    fn store(&self) -> Result<Store, HandlerError> {
        Ok(self.upgrade()?)
    }
}

impl<H: Handle> Projection for Looks<H> {
    const NAME: &'static str = "looks";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Door")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let info = self.0.store()?.stream_info(event.stream.clone())?;
        Ok(view.put(event.stream.as_str(), &info.version)?)
    }
}

/// What instances and models, which are made by the engine, take their handle from.
static STORE: OnceLock<Store> = OnceLock::new();

#[derive(Default)]
struct Doors(Option<Store>);

impl ReadModel for Doors {
    fn filter() -> Filter {
        Filter::category("Door")
    }

    fn apply(&mut self, _: &RecordedEvent) -> Result<(), HandlerError> {
        self.0 = STORE.get().cloned();
        Ok(())
    }
}

#[derive(Clone, Serialize, Deserialize)]
enum Seen {
    Seen,
}
impl Event for Seen {}

#[derive(Default, Clone)]
struct Visit(Option<Store>);

impl ProcessManager for Visit {
    const NAME: &'static str = "Visit";
    type Event = Seen;

    fn filter() -> Filter {
        Filter::category("Door")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.id().map(str::to_owned))
    }

    fn react(&self, _: Trigger<'_>) -> Result<Vec<Seen>, HandlerError> {
        Ok(vec![Seen::Seen])
    }

    fn evolve(&mut self, _: &Seen) {
        self.0 = STORE.get().cloned();
    }

    fn effect(&self, _: &Seen, _: &mut Effects<'_>) -> Result<Vec<Seen>, HandlerError> {
        assert!(self.0.as_ref().is_some_and(|store| store.head() > Position::START));
        Ok(vec![])
    }
}

#[derive(Default, Clone)]
struct Lamp;

impl Aggregate for Lamp {
    const CATEGORY: &'static str = "Lamp";
    type Command = Store;
    type Event = Seen;
    type Error = Infallible;

    fn decide(&self, store: &Store) -> Result<Vec<Seen>, Infallible> {
        assert!(store.head() > Position::START);
        Ok(vec![Seen::Seen])
    }

    fn evolve(&mut self, _: &Seen) {}
}

/// Everything that a store runs, and everything that runs on it, with a handle of its own.
#[test]
fn a_store_that_is_told_to_close_does_though_all_that_it_runs_holds_handles_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    within(LONG, move || {
        let store = Store::open(&path).unwrap();
        STORE.set(store.clone()).expect("no other test sets it");
        let position = append(&store, "Door-1");
        let looks = store.project(Looks(store.clone())).start().unwrap();
        let doors = store.read_model::<Doors>().unwrap();
        let visits = store.process::<Visit>().start().unwrap();
        let bus = store.repository::<Lamp>().bus().start().unwrap();
        let subscription = store.subscribe().start().unwrap();
        let consumer = store.subscribe().group("group").start().unwrap();
        let (its_store, channel) = (store.clone(), store.subscribe().start().unwrap());
        // The store may close before a thread has begun.
        let (reports, has_got_one) = std::sync::mpsc::channel();
        let subscriber = std::thread::spawn(move || {
            subscription
                .map_while(Result::ok)
                .take_while(|_| its_store.head() > Position::START)
                .inspect(|_| {
                    let _ = reports.send(());
                })
                .count()
        });
        let its_store = store.clone();
        let consumed = std::thread::spawn(move || {
            for delivery in consumer.map_while(Result::ok) {
                // Once the store is closed it cannot be recorded.
                let _ = delivery.ack();
                assert!(its_store.clock_behind() < LONG);
            }
        });
        let receiver = channel.receiver();
        looks.wait_for(position, LONG).unwrap();
        doors.wait_for(position, LONG).unwrap();
        visits.wait_for(position, LONG).unwrap();
        bus.send("1", store.clone()).unwrap().wait().unwrap();
        has_got_one.recv().unwrap();

        store.close().unwrap();
        let again = Store::open(&path).expect("it was closed");
        assert_eq!(again.head().get(), 3, "an event, a reaction, a command");
        let told = STORE.get().unwrap().stream_info("Door-1").unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Closed);
        assert!(subscriber.join().unwrap() >= 1);
        consumed.join().unwrap();
        while receiver.recv().is_ok() {}
        drop((looks, doors, visits, bus));
        append(&again, "Door-1");
    });
}

#[test]
fn what_holds_a_weak_handle_does_not_keep_its_store_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let weak = store.downgrade();
    let looks = store.project(Looks(weak.clone())).start().unwrap();
    let position = append(&store, "Door-1");
    looks.wait_for(position, LONG).unwrap();
    assert_eq!(looks.view().get::<u64>("Door-1").unwrap(), Some(1), "it has used the store");

    drop((store, looks));
    assert_eq!(weak.upgrade().unwrap_err().kind(), ErrorKind::Closed);
    let again = Store::open(directory.path()).expect("the last handle was dropped");
    assert_eq!(again.head(), position);
    assert_eq!(weak.upgrade().unwrap_err().kind(), ErrorKind::Closed, "it is another opening");
}

/// The store is open as long as anything of it is held, not only as long as a `Store` is.
#[test]
fn a_weak_handle_leads_to_the_store_while_anything_keeps_it_open() {
    let store = Store::temporary().unwrap();
    let (weak, subscription) = (store.downgrade(), store.subscribe().start().unwrap());
    drop(store);
    append(&weak.upgrade().unwrap(), "Door-1");
    assert_eq!(subscription.recv_timeout(LONG).unwrap().stream, "Door-1");

    let (open, clone) = (weak.upgrade().unwrap(), weak.upgrade().unwrap());
    open.close().unwrap();
    assert_eq!(weak.upgrade().unwrap_err().kind(), ErrorKind::Closed, "it was closed for all");
    drop((clone, subscription));
}

/// Holds the store for as long as it is told to.
struct Holds {
    store: WeakStore,
    begun: Sender<()>,
    go_on: Mutex<Receiver<()>>,
}

impl Projection for Holds {
    const NAME: &'static str = "holds";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, _: &RecordedEvent, _: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let _open = self.store.upgrade()?;
        self.begun.send(())?;
        Ok(self.go_on.lock().recv()?)
    }
}

#[test]
fn a_projection_that_drops_the_last_handle_closes_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let ((begun, has_begun), (go_on, told)) = (channel(), channel());
    let holds = Holds { store: store.downgrade(), begun, go_on: Mutex::new(told) };
    drop(store.project(holds).start().unwrap());
    append(&store, "Door-1");
    has_begun.recv_timeout(LONG).unwrap();
    drop(store);
    assert_eq!(Store::open(directory.path()).unwrap_err().kind(), ErrorKind::Locked);

    go_on.send(()).unwrap();
    let (asked, opens) = (Instant::now(), || Store::open(directory.path()));
    while let Err(error) = opens() {
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert!(asked.elapsed() < LONG, "the projection's thread did not close the store");
        std::thread::sleep(Duration::from_millis(1));
    }
}
