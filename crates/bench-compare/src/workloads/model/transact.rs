//! An order of three streams in one commit, one of which is the same for all: by `transact`, and by the loop that one
//! writes by hand, which reads, decides, appends with the versions that it has read, and begins again if they are old.

use super::{WRITERS, repeat};
use crate::tables::{MODEL, MODEL_LOW};
use crate::workloads::{figure, quantile, sorted};
use filmstrip::{
    Aggregate, AppendError, Commit, Event, ExpectedVersion, Metadata, NewEvent, Repository, Store,
};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SPAN: Duration = Duration::from_secs(4);
const ROUNDS: u64 = 2;
const HOT: &str = "hot";
/// How many orders and customers there are.
const COLD: u64 = 1_000;

pub fn run(open: &dyn Fn(&str) -> Store) {
    let (mut naive, mut transact) = (Seen::default(), Seen::default());
    for round in 1..=ROUNDS {
        let store = open(&format!("naive-{round}"));
        let repositories = Repositories::of(&store);
        naive.measure(&store, |order, customer| repositories.place(&store, order, customer));
        let store = open(&format!("transact-{round}"));
        transact.measure(&store, |order, customer| by_transact(&store, order, customer));
    }
    for (name, seen) in [("a loop by hand", &naive), ("transact", &transact)] {
        figure(
            &MODEL,
            &format!("orders on a hot stream, 64 threads, by {name}, per second"),
            seen.rate(),
        );
    }
    figure(
        &MODEL,
        "by transact / by a loop by hand (asked for: 5)",
        transact.rate() / naive.rate(),
    );
    for (name, seen) in [("a loop by hand", &naive), ("transact", &transact)] {
        let took = sorted(seen.took.clone());
        let (p50, p99) = (quantile(&took, 0.5) / 1e3, quantile(&took, 0.99) / 1e3);
        figure(&MODEL_LOW, &format!("an order by {name}, p50, milliseconds"), p50);
        figure(&MODEL_LOW, &format!("an order by {name}, p99, milliseconds"), p99);
        let asked = if name == "transact" { " (asked for: below 20)" } else { "" };
        figure(&MODEL_LOW, &format!("an order by {name}, p99 / p50{asked}"), p99 / p50);
        let retries = seen.retries as f64 / took.len() as f64;
        figure(&MODEL_LOW, &format!("an order by {name}, retries"), retries);
    }
}

/// What was seen of one way to place an order.
#[derive(Default)]
struct Seen {
    /// Microseconds.
    took: Vec<f64>,
    retries: u64,
}

impl Seen {
    /// Places orders, each for a customer, for a time; `place` returns how often it had to begin again.
    fn measure(&mut self, store: &Store, place: impl Fn(&str, &str) -> u64 + Sync) {
        let retries = AtomicU64::new(0);
        let took = repeat(WRITERS, SPAN, |thread, nth| {
            let mixed = (thread * 7_919 + nth).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let (order, customer) = (mixed % COLD, mixed / COLD % COLD);
            let again = place(&order.to_string(), &customer.to_string());
            retries.fetch_add(again, Ordering::Relaxed);
        });
        self.retries += retries.into_inner();
        let placed = store.repository::<Sum<Product>>().load(HOT).expect("loaded").state.sum;
        assert_eq!(placed, took.len() as u64, "an order was lost, or placed twice");
        self.took.extend(took);
    }

    fn rate(&self) -> f64 {
        self.took.len() as f64 / (SPAN * ROUNDS as u32).as_secs_f64()
    }
}

fn by_transact(store: &Store, order: &str, customer: &str) -> u64 {
    let placed = store.transact(Metadata::default(), |tx| -> filmstrip::Result<()> {
        tx.execute::<Sum<Order>>(order, &1)?;
        tx.execute::<Sum<Customer>>(customer, &1)?;
        tx.execute::<Sum<Product>>(HOT, &1)?;
        Ok(())
    });
    placed.expect("placed").retries.into()
}

/// What the loop by hand reads from.
struct Repositories {
    orders: Repository<Sum<Order>>,
    customers: Repository<Sum<Customer>>,
    products: Repository<Sum<Product>>,
}

impl Repositories {
    fn of(store: &Store) -> Repositories {
        let (orders, customers) = (store.repository(), store.repository());
        Repositories { orders, customers, products: store.repository() }
    }

    fn place(&self, store: &Store, order: &str, customer: &str) -> u64 {
        for again in 0.. {
            let commit = add(Commit::new(), &self.orders, order);
            let commit = add(commit, &self.customers, customer);
            match store.commit(add(commit, &self.products, HOT)) {
                Ok(_) => return again,
                Err(AppendError::Conflict(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        unreachable!("it goes on until it is placed")
    }
}

/// Reads, decides, and appends with the version that it has read.
fn add<K: Kind>(commit: Commit, repository: &Repository<Sum<K>>, id: &str) -> Commit {
    let loaded = repository.load(id).expect("loaded");
    let Ok(events) = loaded.state.decide(&1);
    let events = events.iter().map(|event| NewEvent::of(event).expect("an event"));
    let stream = format!("{}-{id}", K::CATEGORY);
    commit.append(stream, ExpectedVersion::Exact(loaded.version), events.collect::<Vec<_>>())
}

/// A kind of aggregate.
trait Kind: Default + Clone + Send + Sync + 'static {
    const CATEGORY: &'static str;
}

macro_rules! kinds {
    ($($kind:ident),*) => { $(
        #[derive(Default, Clone)]
        struct $kind;
        impl Kind for $kind {
            const CATEGORY: &'static str = stringify!($kind);
        }
    )* }
}
kinds!(Order, Customer, Product);

#[derive(Clone, Serialize, Deserialize)]
enum SumEvent {
    Added { by: u64 },
}
impl Event for SumEvent {}

#[derive(Default, Clone)]
struct Sum<K> {
    sum: u64,
    kind: PhantomData<K>,
}

impl<K: Kind> Aggregate for Sum<K> {
    const CATEGORY: &'static str = K::CATEGORY;
    type Command = u64;
    type Event = SumEvent;
    type Error = Infallible;

    fn decide(&self, by: &u64) -> Result<Vec<SumEvent>, Infallible> {
        Ok(vec![SumEvent::Added { by: *by }])
    }

    fn evolve(&mut self, SumEvent::Added { by }: &SumEvent) {
        self.sum += by;
    }
}
