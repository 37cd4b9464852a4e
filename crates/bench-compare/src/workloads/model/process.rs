//! A process with one command for each event, of 1,000 instances, beside 64 writers at full load: what it follows of
//! events that come at a rate, and of events that are there, against the same commands from as many threads.

use super::{LONG, WRITERS, append, repeat, write};
use crate::tables::{MODEL, MODEL_LOW};
use crate::workloads::figure;
use filmstrip::process::{Effects, ProcessHandle, Trigger};
use filmstrip::uuid::Uuid;
use filmstrip::{
    Aggregate, Commit, Event, ExpectedVersion, Filter, HandlerError, Metadata, NewEvent,
    ProcessManager, RecordedEvent, Store,
};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::{Duration, Instant};

const SPAN: Duration = Duration::from_secs(5);
const INSTANCES: u64 = 1_000;
const LANES: usize = 16;
/// How many events a second are placed, a tenth more than are asked for, and by how many threads: beside so many
/// writers one places some hundred.
const RATE: u64 = 3_300;
const PLACERS: u64 = 64;
/// What is there before the process begins: more than it can do meanwhile.
const BACKLOG: u64 = 200_000;

pub fn run(open: &dyn Fn(&str) -> Store) {
    steady(&open("steady"));
    let (mut bare, mut followed) = (0.0, 0.0);
    for round in 1..=2 {
        bare += commands(&open(&format!("bare-{round}")));
        followed += follow(&open(&format!("followed-{round}")));
    }
    figure(&MODEL, "bare commands of 16 threads beside 64 writers, per second", bare / 2.0);
    figure(&MODEL, "commands of a process of 16 lanes beside them, per second", followed / 2.0);
    figure(&MODEL, "commands of the process / bare ones (asked for: 0.5)", followed / bare);
}

/// Events that come at a rate, which the process has to keep up with.
fn steady(store: &Store) {
    let process = start(store);
    let began = Instant::now();
    let placed = std::thread::scope(|scope| {
        scope.spawn(|| repeat(WRITERS, SPAN, |writer, nth| write(store, writer, nth)));
        let place = |placer, nth: u64| {
            let number = nth * PLACERS + placer;
            let due = Duration::from_secs(number) / RATE as u32;
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            append(store, &format!("Order-{}", number % INSTANCES), number);
        };
        repeat(PLACERS, SPAN, place).len() as u64
    });
    let (span, ended) = (began.elapsed().as_secs_f64(), Instant::now());
    let followed = done(store);
    process.wait_for(store.head(), LONG).expect("in time");
    figure(&MODEL, "events placed beside 64 writers, per second", placed as f64 / span);
    let name = "of them followed by a process with a command each (asked for: 3,000)";
    figure(&MODEL, name, followed as f64 / span);
    let behind = ended.elapsed().as_secs_f64();
    figure(&MODEL_LOW, "the process has caught up after the last of them, seconds", behind);
    assert_eq!(done(store), placed, "an event without its one command");
    end(&process);
}

/// Events that are there already, as fast as it can.
fn follow(store: &Store) -> f64 {
    for number in 0..BACKLOG / INSTANCES {
        let commit = (0..INSTANCES).fold(Commit::new(), |commit, instance| {
            let event = NewEvent::json("Happened", &number).expect("an event");
            commit.append(format!("Order-{instance}"), ExpectedVersion::Any, [event])
        });
        store.commit(commit).expect("placed");
    }
    let (process, began) = (start(store), Instant::now());
    repeat(WRITERS, SPAN, |writer, nth| write(store, writer, nth));
    let span = began.elapsed().as_secs_f64();
    let followed = done(store);
    assert!(followed < BACKLOG, "it ran out of events");
    end(&process);
    followed as f64 / span
}

/// The same commands from as many threads as the process has lanes.
fn commands(store: &Store) -> f64 {
    let (accounts, began) = (store.repository::<Account>(), Instant::now());
    let done = std::thread::scope(|scope| {
        scope.spawn(|| repeat(WRITERS, SPAN, |writer, nth| write(store, writer, nth)));
        let command = |thread: u64, nth: u64| {
            let number = nth * LANES as u64 + thread;
            let metadata = Metadata::default().command_id(Uuid::from_u128(number.into()));
            let id = (number % INSTANCES).to_string();
            accounts.execute_with(&id, &number, metadata).expect("executed");
        };
        repeat(LANES as u64, SPAN, command).len()
    });
    done as f64 / began.elapsed().as_secs_f64()
}

fn start(store: &Store) -> ProcessHandle {
    store.process::<Orders>().lanes(LANES).start().expect("a process")
}

fn end(process: &ProcessHandle) {
    assert_eq!(process.status().parked, 0, "{:?}", process.parked());
    process.stop().expect("stopped");
}

/// How many commands were recorded up to now.
fn done(store: &Store) -> u64 {
    let mut done = 0;
    for event in store.read_all().category(Account::CATEGORY).iter().expect("read") {
        event.expect("read");
        done += 1;
    }
    done
}

#[derive(Clone, Serialize, Deserialize)]
enum OrderEvent {
    Wanted { number: u64 },
}
impl Event for OrderEvent {}

#[derive(Default, Clone)]
struct Orders;

impl ProcessManager for Orders {
    const NAME: &'static str = "Orders";
    type Event = OrderEvent;

    fn filter() -> Filter {
        Filter::category("Order")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.id().map(str::to_owned))
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<OrderEvent>, HandlerError> {
        Ok(match trigger {
            Trigger::Event(event) => vec![OrderEvent::Wanted { number: event.json()? }],
            Trigger::Deadline => vec![],
        })
    }

    fn evolve(&mut self, _: &OrderEvent) {}

    fn effect(
        &self,
        OrderEvent::Wanted { number }: &OrderEvent,
        out: &mut Effects<'_>,
    ) -> Result<Vec<OrderEvent>, HandlerError> {
        let id = out.event().stream.id().expect("an instance has one").to_owned();
        out.execute::<Account>(&id, number)?.into_result()?;
        Ok(vec![])
    }
}

#[derive(Clone, Serialize, Deserialize)]
enum AccountEvent {
    Charged { number: u64 },
}
impl Event for AccountEvent {}

#[derive(Default, Clone)]
struct Account;

impl Aggregate for Account {
    const CATEGORY: &'static str = "Account";
    type Command = u64;
    type Event = AccountEvent;
    type Error = Infallible;

    fn decide(&self, number: &u64) -> Result<Vec<AccountEvent>, Infallible> {
        Ok(vec![AccountEvent::Charged { number: *number }])
    }

    fn evolve(&mut self, _: &AccountEvent) {}
}
