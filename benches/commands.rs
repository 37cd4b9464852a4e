//! Commands, beside a bare append of the same event in the same run; and a bus, by its workers.
//!
//! `hot` is a repository that has the aggregate in its memory, `cold` one that is new for each command,
//! so that it loads the stream, or its snapshot, first.

use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use filmstrip::{Aggregate, Event, ExpectedVersion, NewEvent, Repository, Snapshot, Store};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::{Duration, Instant};

#[derive(Clone, Serialize, Deserialize)]
enum AccountEvent {
    Deposited { amount: u64, reference: String },
}
impl Event for AccountEvent {}

#[derive(Default, Clone, Serialize, Deserialize)]
struct Account {
    balance: u64,
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "Account";
    type Command = u64;
    type Event = AccountEvent;
    type Error = Infallible;

    fn decide(&self, amount: &u64) -> Result<Vec<AccountEvent>, Infallible> {
        Ok(vec![deposited(*amount)])
    }

    fn evolve(&mut self, AccountEvent::Deposited { amount, .. }: &AccountEvent) {
        self.balance += amount;
    }
}

impl Snapshot for Account {
    const SCHEMA: u32 = 1;
}

fn deposited(amount: u64) -> AccountEvent {
    AccountEvent::Deposited { amount, reference: "an invoice and its number".to_owned() }
}

fn event() -> NewEvent {
    NewEvent::of(&deposited(1)).expect("an event set")
}

fn short(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(2));
}

/// A command on an aggregate that already has so many events. Each command adds one, so the cold ones go to several
/// aggregates in turn, that these stay about as long as they are.
fn by_length(criterion: &mut Criterion) {
    for length in [10_u64, 1_000, 100_000] {
        let aggregates = (20_000 / length).max(1);
        let store = filled(aggregates, length);
        let mut group = criterion.benchmark_group(format!("command on {length} events"));
        short(&mut group);
        group.bench_function("bare append", |b| {
            b.iter(|| store.append("Bare-a", ExpectedVersion::Any, [event()]).expect("appended"));
        });
        let hot = store.repository::<Account>();
        group.bench_function("hot", |b| b.iter(|| deposit(&hot, 0)));
        let mut n = 0;
        let mut cold = |group: &mut BenchmarkGroup<'_, WallTime>, name, setup: fn(&Store) -> _| {
            group.bench_function(name, |b| {
                let execute = |accounts| {
                    n += 1;
                    deposit(&accounts, 1 + n % aggregates);
                };
                b.iter_batched(|| setup(&store), execute, BatchSize::PerIteration);
            });
        };
        cold(&mut group, "cold, no snapshot", Store::repository);
        for id in 1..=aggregates {
            hot.snapshot(&id.to_string()).expect("a snapshot");
        }
        cold(&mut group, "cold, a snapshot every 100 events", |store| {
            store.repository().snapshot_every(100)
        });
        group.finish();
    }
}

/// Accounts 0 to `aggregates`, each with so many events.
fn filled(aggregates: u64, length: u64) -> Store {
    let store = Store::temporary().expect("a store");
    for id in 0..=aggregates {
        for first in (0..length).step_by(1_000) {
            let events = (first..length.min(first + 1_000)).map(|_| event());
            let stream = format!("Account-{id}");
            store.append(stream, ExpectedVersion::Any, events).expect("appended");
        }
    }
    store
}

fn deposit(accounts: &Repository<Account>, id: u64) {
    accounts.execute(&id.to_string(), &1).expect("executed");
}

/// Commands to 1,000 aggregates through a bus.
fn by_workers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bus, by workers");
    short(&mut group);
    group.throughput(Throughput::Elements(1));
    for workers in [1, 4, 16, 64] {
        let store = Store::temporary().expect("a store");
        let bus = store.repository::<Account>().bus().workers(workers).start().expect("a bus");
        group.bench_function(BenchmarkId::from_parameter(workers), |b| {
            b.iter_custom(|commands| {
                let began = Instant::now();
                let send = |n| bus.send(format!("{}", n % 1_000), 1).expect("sent");
                let tickets: Vec<_> = (0..commands).map(send).collect();
                for ticket in tickets {
                    ticket.wait().expect("executed");
                }
                began.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, by_length, by_workers);
criterion_main!(benches);
