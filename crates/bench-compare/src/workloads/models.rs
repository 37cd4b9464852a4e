//! What only filmstrip has here: views over the whole log, and aggregates.

use super::bulk::Film;
use super::{Run, figure, micros, quantile, sorted};
use crate::engine::{CACHE_BYTES, stream_name};
use crate::tables::{COMMANDS, VIEWS};
use filmstrip::{
    Aggregate, Event, ExpectedVersion, Filter, HandlerError, NewEvent, Projection, ReadModel,
    RecordedEvent, Store, ViewWriter,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(3_600);
const COMMANDS_EACH: usize = 5_000;

pub fn run(run: &Run<'_>) {
    let film = Film::new(run.events);
    let directory = run.directory.join("views");
    let opened = run.engine.open(&directory);
    film.write(&*opened, 0..film.events);
    opened.close();
    let open = |directory| Store::builder().cache_bytes(CACHE_BYTES).open(directory);
    views(film, &open(directory).expect("a store"));
    commands(&open(run.directory.join("commands")).expect("a store"));
}

/// The events of each stream, in memory.
#[derive(Default)]
struct Model(HashMap<String, u64>);

impl ReadModel for Model {
    fn filter() -> Filter {
        Filter::category("Stream")
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), HandlerError> {
        match self.0.get_mut(event.stream.as_str()) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(event.stream.to_string(), 1)),
        }
        Ok(())
    }
}

/// The same as rows.
struct View;

impl Projection for View {
    const NAME: &'static str = "events-by-stream";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Stream")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let count: u64 = view.get(event.stream.as_str())?.unwrap_or(0);
        Ok(view.put(event.stream.as_str(), &(count + 1))?)
    }
}

fn views(film: Film, store: &Store) {
    let each = film.events / film.streams;
    let rate = |began: Instant| film.events as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    let model = store.read_model::<Model>().expect("a model");
    model.wait_for(store.head(), LONG).expect("in time");
    figure(&VIEWS, "read model in memory", rate(began));
    let is_right = |model: &Model| {
        model.0.len() as u64 == film.streams && model.0.values().all(|count| *count == each)
    };
    assert!(model.read(is_right).expect("whole"), "the model is not that of the events");
    drop(model);

    let view = store.project(View).start().expect("a projection");
    view.wait_for(store.head(), LONG).expect("in time");
    let began = Instant::now();
    view.rebuild().expect("begun");
    view.wait_for(store.head(), LONG).expect("in time");
    figure(&VIEWS, "durable projection", rate(began));
    for stream in (0..film.streams).step_by(97) {
        let count = view.view().get::<u64>(&stream_name(stream)).expect("read");
        assert_eq!(count, Some(each), "stream {stream}");
    }
}

#[derive(Clone, Serialize, Deserialize)]
enum AccountEvent {
    Deposited { amount: u64, reference: String },
}
impl Event for AccountEvent {}

#[derive(Default, Clone)]
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

fn deposited(amount: u64) -> AccountEvent {
    AccountEvent::Deposited { amount, reference: "an invoice and its number".to_owned() }
}

/// A command and an append in turn, so that the disk is the same for both.
fn commands(store: &Store) {
    let accounts = store.repository::<Account>();
    let (mut appends, mut commands) = (Vec::new(), Vec::new());
    for _ in 0..COMMANDS_EACH {
        let began = Instant::now();
        let event = NewEvent::of(&deposited(1)).expect("an event");
        store.append("Bare-a", ExpectedVersion::Any, [event]).expect("appended");
        appends.push(micros(began.elapsed()));
        let began = Instant::now();
        accounts.execute("a", &1).expect("executed");
        commands.push(micros(began.elapsed()));
    }
    let balance = accounts.load("a").expect("loaded").state.balance;
    assert_eq!(balance, COMMANDS_EACH as u64, "a command was lost");
    for (name, times) in [("bare append", appends), ("command", commands)] {
        let times = sorted(times);
        figure(&COMMANDS, &format!("{name}, p50"), quantile(&times, 0.5));
        figure(&COMMANDS, &format!("{name}, p99"), quantile(&times, 0.99));
    }
}
