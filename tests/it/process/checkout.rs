//! The process that these tests run, the aggregate that it gives commands to, and where it can be
//! interfered with.

use chrono::{DateTime, TimeDelta, Utc};
use filmstrip::process::{CommandOutcome, Effects, Trigger};
use filmstrip::testing::ManualClock;
use filmstrip::{
    Aggregate, Event, ExpectedVersion, Filter, HandlerError, NewEvent, Position, ProcessManager,
    RecordedEvent, Store,
};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// An order of this amount does nothing at its deadline, and goes on naming it.
pub(crate) const STUBBORN: u64 = 999_999;

/// What a test does whenever the process of its number comes to a point: told the point, and again with the instance.
type Hook = Arc<dyn Fn(&str) -> Result<(), HandlerError> + Send + Sync>;
static HOOKS: LazyLock<Mutex<HashMap<u32, Hook>>> = LazyLock::new(Mutex::default);

/// Has `hook` called by `Checkout<TEST>`.
pub(crate) fn hook(
    test: u32,
    hook: impl Fn(&str) -> Result<(), HandlerError> + Send + Sync + 'static,
) {
    HOOKS.lock().unwrap().insert(test, Arc::new(hook));
}

/// The points at which `Checkout<TEST>` fails, by test.
pub(crate) type Failing = Arc<Mutex<HashSet<String>>>;

/// Has `Checkout<TEST>` fail at these points, for as long as they are in the set that is returned.
pub(crate) fn fails_at(test: u32, points: &[&str]) -> Failing {
    let failing: Failing = Arc::default();
    failing.lock().unwrap().extend(points.iter().map(|point| (*point).to_owned()));
    let at = Arc::clone(&failing);
    hook(test, move |point| match at.lock().unwrap().contains(point) {
        true => Err("on purpose".into()),
        false => Ok(()),
    });
    failing
}

fn at(test: u32, point: &str, id: &str) -> Result<(), HandlerError> {
    let hook = HOOKS.lock().unwrap().get(&test).cloned();
    let Some(hook) = hook else { return Ok(()) };
    hook(point)?;
    hook(&format!("{point} {id}"))
}

/// Sees orders through: asks for the payment, within an hour. Each test has one of its own.
#[derive(Debug, Default, Clone)]
pub(crate) struct Checkout<const TEST: u32> {
    until: Option<DateTime<Utc>>,
    amount: u64,
    id: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum CheckoutEvent {
    Asked {
        amount: u64,
        until: DateTime<Utc>,
        #[serde(default)]
        id: String,
    },
    Taken {
        sum: u64,
    },
    Refused {
        why: String,
    },
    Thanked,
    Expired,
}
impl Event for CheckoutEvent {}

impl<const TEST: u32> ProcessManager for Checkout<TEST> {
    const NAME: &'static str = "Checkout";
    type Event = CheckoutEvent;

    fn filter() -> Filter {
        Filter::category("Order")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        let id = event.stream.as_str().strip_prefix("Order-");
        at(TEST, "route", id.unwrap_or_default())?;
        Ok(id.filter(|_| event.event_type != "Looked").map(str::to_owned))
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<CheckoutEvent>, HandlerError> {
        let id = match trigger {
            Trigger::Event(event) => event.stream.as_str().trim_start_matches("Order-"),
            Trigger::Deadline => &self.id,
        };
        at(TEST, "react", id)?;
        Ok(match trigger {
            Trigger::Event(event) if event.event_type == "Placed" => {
                let (amount, until) = (event.json()?, event.recorded_at + TimeDelta::hours(1));
                vec![CheckoutEvent::Asked { amount, until, id: id.to_owned() }]
            }
            Trigger::Event(event) if event.event_type == "Thanked" && self.until.is_none() => {
                vec![CheckoutEvent::Thanked]
            }
            Trigger::Event(_) => vec![],
            Trigger::Deadline if self.amount == STUBBORN => vec![],
            Trigger::Deadline => vec![CheckoutEvent::Expired],
        })
    }

    fn evolve(&mut self, event: &CheckoutEvent) {
        match event {
            CheckoutEvent::Asked { amount, until, id } => {
                self.id.clone_from(id);
                self.amount = *amount;
                self.until = Some(*until);
            }
            CheckoutEvent::Thanked => {}
            _ => self.until = None,
        }
    }

    fn effect(
        &self,
        event: &CheckoutEvent,
        out: &mut Effects<'_>,
    ) -> Result<Vec<CheckoutEvent>, HandlerError> {
        let id = out.id();
        at(TEST, "effect begins", id)?;
        let events = match event {
            // Nobody answers for an order of nothing.
            CheckoutEvent::Asked { amount: 0 | STUBBORN, .. } => vec![],
            CheckoutEvent::Asked { amount, .. } => match out.execute::<Account>(id, amount)? {
                CommandOutcome::Done(done) => vec![CheckoutEvent::Taken { sum: done.state.sum }],
                CommandOutcome::Rejected(why) => {
                    vec![CheckoutEvent::Refused { why: why.to_string() }]
                }
            },
            CheckoutEvent::Taken { .. } => {
                out.execute::<Account>("all", &self.amount)?.into_result()?;
                out.execute::<Account>("all", &self.amount)?.into_result()?;
                vec![]
            }
            _ => vec![],
        };
        at(TEST, "effect ends", id)?;
        Ok(events)
    }

    fn deadline(&self) -> Option<DateTime<Utc>> {
        self.until
    }
}

/// Adds up what it is given, up to a thousand at a time.
#[derive(Debug, Default, Clone)]
pub(crate) struct Account {
    sum: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum AccountEvent {
    Added { amount: u64 },
}
impl Event for AccountEvent {}

#[derive(Debug, PartialEq)]
pub(crate) struct TooMuch(u64);
impl std::fmt::Display for TooMuch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is too much", self.0)
    }
}
impl std::error::Error for TooMuch {}

impl Aggregate for Account {
    const CATEGORY: &'static str = "Account";
    type Command = u64;
    type Event = AccountEvent;
    type Error = TooMuch;

    fn decide(&self, amount: &u64) -> Result<Vec<AccountEvent>, TooMuch> {
        match *amount {
            too_much @ 1_000.. => Err(TooMuch(too_much)),
            amount => Ok(vec![AccountEvent::Added { amount }]),
        }
    }

    fn evolve(&mut self, AccountEvent::Added { amount }: &AccountEvent) {
        self.sum += amount;
    }
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new("2024-05-01T12:00:00Z".parse().unwrap())
}

pub(crate) fn open(path: &Path, clock: &ManualClock) -> Store {
    Store::builder().clock(clock.clone()).open(path).unwrap()
}

pub(crate) fn temporary(clock: &ManualClock) -> Store {
    Store::builder().clock(clock.clone()).temporary().unwrap()
}

/// Records that the order `id` was placed for `amount`.
pub(crate) fn place(store: &Store, id: &str, amount: u64) -> Position {
    append(store, &format!("Order-{id}"), NewEvent::json("Placed", &amount).unwrap())
}

pub(crate) fn happened(store: &Store, id: &str, what: &str) -> Position {
    append(store, &format!("Order-{id}"), NewEvent::json(what, &()).unwrap())
}

fn append(store: &Store, stream: &str, event: NewEvent) -> Position {
    store.append(stream, ExpectedVersion::Any, [event]).unwrap().position
}

/// The types of all events of a stream; none if it was never written.
pub(crate) fn film(store: &Store, stream: &str) -> Vec<String> {
    events(store, stream).iter().map(|event| event.event_type.to_string()).collect()
}

pub(crate) fn events(store: &Store, stream: &str) -> Vec<RecordedEvent> {
    match store.read_stream(stream).iter() {
        Ok(events) => events.map(Result::unwrap).collect(),
        Err(error) if error.kind() == filmstrip::ErrorKind::StreamNotFound => Vec::new(),
        Err(error) => panic!("{stream}: {error}"),
    }
}

/// What the account `id` has been given, in order.
pub(crate) fn added(store: &Store, id: &str) -> Vec<u64> {
    let events = events(store, &format!("Account-{id}")).into_iter();
    let amount = |event: RecordedEvent| match event.decode().unwrap() {
        AccountEvent::Added { amount } => amount,
    };
    events.map(amount).collect()
}
