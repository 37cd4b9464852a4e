//! What is computed from private events: states, snapshots, views, read models.

use super::*;
use crate::common::whole::PATIENCE;
use filmstrip::repository::{Aggregate, Repository, Snapshot};
use filmstrip::{HandlerError, Projection, ProjectionHandle, ReadModel, ViewWriter};
use std::collections::BTreeMap;
use std::convert::Infallible;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Order {
    address: Option<String>,
    events: u32,
}

impl Aggregate for Order {
    const CATEGORY: &'static str = "Order";
    type Command = OrderEvent;
    type Event = OrderEvent;
    type Error = Infallible;

    fn decide(&self, command: &OrderEvent) -> Result<Vec<OrderEvent>, Infallible> {
        Ok(vec![command.clone()])
    }

    fn evolve(&mut self, event: &OrderEvent) {
        self.events += 1;
        if let OrderEvent::AddressGiven { address, .. } = event {
            self.address = Some(address.clone());
        }
    }
}

impl Snapshot for Order {
    const SCHEMA: u32 = 1;
}

fn given(address: &str) -> OrderEvent {
    OrderEvent::AddressGiven { customer: 7, address: address.into() }
}

fn orders(store: &Store) -> Repository<Order> {
    store.repository::<Order>().snapshot_every(2)
}

#[test]
fn no_state_that_was_in_memory_shows_who_was_forgotten() {
    let place = Place::new();
    let store = place.open();
    let orders = orders(&store);
    orders.execute("1", &OrderEvent::Placed).unwrap();
    orders.execute("1", &given("12 Row Lane")).unwrap();
    assert_eq!(orders.load("1").unwrap().state.address.as_deref(), Some("12 Row Lane"));
    store.forget("customer-7").unwrap();
    let loaded = orders.load("1").unwrap();
    let expected = Order { address: Some("gone".into()), events: 2 };
    assert_eq!(loaded.state, expected);
    let done = orders.execute("1", &OrderEvent::Placed).unwrap();
    assert_eq!(done.state, Order { events: 3, ..expected });
}

/// A snapshot is plain JSON on disk.
#[test]
fn no_snapshot_is_taken_of_a_state_with_private_events() {
    let place = Place::new();
    let store = place.open();
    let orders = orders(&store);
    for _ in 0..20 {
        orders.execute("1", &given("12 Row Lane")).unwrap();
        orders.execute("2", &OrderEvent::Placed).unwrap();
    }
    orders.snapshot("1").unwrap();
    orders.snapshot("2").unwrap();
    drop(orders);
    let marker = |text: &str| {
        let holds = |file: &PathBuf| {
            let bytes = std::fs::read(file).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        };
        files(&place.store()).into_iter().any(|file| holds(&file))
    };
    store.close().unwrap();
    assert!(marker(r#""events":20"#), "there is one of the order without private events");
    assert!(!marker("12 Row Lane"));
}

/// A command that has begun before the forget ends after it, and puts what it knows into the cache.
#[test]
fn a_command_that_ends_after_the_forget_leaves_nothing_in_memory() {
    let place = Place::new();
    let store = place.open();
    let orders = orders(&store);
    orders.execute("1", &given("12 Row Lane")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let writes = std::thread::scope(|scope| {
        let busy = scope.spawn({
            let (orders, stop) = (&orders, &stop);
            move || {
                let mut writes = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    orders.execute("1", &OrderEvent::Placed).unwrap();
                    writes += 1;
                }
                writes
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        store.forget("customer-7").unwrap();
        let after = orders.execute("1", &OrderEvent::Placed).unwrap();
        assert_eq!(after.state.address.as_deref(), Some("gone"));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        busy.join().unwrap()
    });
    assert!(writes > 0);
    assert_eq!(orders.load("1").unwrap().state.address.as_deref(), Some("gone"));
}

/// The address of each stream, as far as it is readable.
pub(super) struct Addresses;

impl Projection for Addresses {
    const NAME: &'static str = "addresses";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Order")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let shown = match event.format {
            PayloadFormat::Erased => "gone".to_owned(),
            _ => String::from_utf8_lossy(&event.payload).into_owned(),
        };
        Ok(view.put(event.stream.as_str(), &shown)?)
    }
}

/// A view without anything private.
struct Counts;

impl Projection for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Other")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        Ok(view.put(event.stream.as_str(), &event.version.get())?)
    }
}

#[derive(Default)]
struct Model(BTreeMap<String, String>);

impl ReadModel for Model {
    fn filter() -> Filter {
        Filter::category("Order")
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), HandlerError> {
        let shown = String::from_utf8_lossy(&event.payload).into_owned();
        self.0.insert(event.stream.to_string(), shown);
        Ok(())
    }
}

pub(super) const MARKER: &str = "Zanzibar-9-River-Street";

pub(super) fn fill(store: &Store) {
    for n in 0..20 {
        store.append(format!("Order-{n}"), ExpectedVersion::Any, [private("7", MARKER)]).unwrap();
        store.append(format!("Other-{n}"), ExpectedVersion::Any, [public()]).unwrap();
    }
}

pub(super) fn rows(view: &ProjectionHandle) -> Vec<String> {
    let rows = view.view().prefix::<String>("").unwrap();
    rows.into_iter().map(|(_, row)| row).collect()
}

pub(super) fn is_in_a_file(directory: &Path) -> bool {
    let holds = |file: PathBuf| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
    };
    files(directory).into_iter().any(holds)
}

#[test]
fn views_and_read_models_that_are_followed_are_made_again() {
    let place = Place::new();
    let store = place.open();
    let addresses = store.project(Addresses).start().unwrap();
    let counts = store.project(Counts).start().unwrap();
    let model = store.read_model::<Model>().unwrap();
    fill(&store);
    let wait = || {
        addresses.wait_for(store.head(), PATIENCE).unwrap();
        counts.wait_for(store.head(), PATIENCE).unwrap();
        model.wait_for(store.head(), PATIENCE).unwrap();
    };
    wait();
    assert!(rows(&addresses).iter().all(|row| row.contains(MARKER)));
    assert!(model.read(|model| model.0["Order-3"].contains(MARKER)).unwrap());
    store.forget("7").unwrap();
    wait();
    assert_eq!(rows(&addresses), vec!["gone"; 20]);
    assert!(
        model.read(|model| model.0.values().all(String::is_empty) && model.0.len() == 20).unwrap()
    );
    assert_eq!(counts.view().prefix::<u64>("").unwrap().len(), 20);
    // All of them go on.
    store.append("Order-99", ExpectedVersion::Any, [private("8", "new")]).unwrap();
    wait();
    assert_eq!(model.read(|model| model.0["Order-99"].clone()).unwrap(), "\"new\"");
    assert_eq!(rows(&addresses).len(), 21);
}

/// sled's files keep what was removed from them: they are made again when the store is opened.
#[test]
fn no_file_of_a_view_holds_who_was_forgotten_once_the_store_was_opened_again() {
    let place = Place::new();
    let store = place.open();
    let addresses = store.project(Addresses).start().unwrap();
    fill(&store);
    addresses.wait_for(store.head(), PATIENCE).unwrap();
    addresses.stop().unwrap();
    store.close().unwrap();
    assert!(is_in_a_file(&place.store()), "the view has it");
    let store = place.open();
    store.forget("7").unwrap();
    store.close().unwrap();
    let store = place.open();
    let addresses = store.project(Addresses).start().unwrap();
    addresses.wait_for(store.head(), PATIENCE).unwrap();
    assert_eq!(rows(&addresses), vec!["gone"; 20]);
    store.close().unwrap();
    assert!(!is_in_a_file(place.0.path()));
}

/// The rows of a view whose projection does not run are gone at once.
#[test]
fn the_view_of_a_projection_that_was_stopped_is_gone() {
    let place = Place::new();
    let store = place.open();
    let addresses = store.project(Addresses).start().unwrap();
    fill(&store);
    addresses.wait_for(store.head(), PATIENCE).unwrap();
    addresses.stop().unwrap();
    store.forget("7").unwrap();
    let left = addresses.view().prefix::<String>("");
    assert!(left.is_err() || left.unwrap().is_empty());
    let addresses = store.project(Addresses).start().unwrap();
    addresses.wait_for(store.head(), PATIENCE).unwrap();
    assert_eq!(rows(&addresses), vec!["gone"; 20]);
}
