//! What goes on in a copy: commands that have run, consumer groups, processes.

use super::copied;
use chrono::{DateTime, TimeDelta, Utc};
use filmstrip::copy::CopyAs;
use filmstrip::group::Nack;
use filmstrip::process::{Effects, Trigger};
use filmstrip::projection::OnError;
use filmstrip::repository::StoredEvent;
use filmstrip::testing::ManualClock;
use filmstrip::{
    Aggregate, ErrorKind, Event, ExpectedVersion, Filter, HandlerError, Metadata, NewEvent,
    Position, ProcessManager, RecordedEvent, Store, Version,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(60);

/// `Sold` is what should have been `Paid` and `Shipped`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum OrderEvent {
    Placed,
    Sold { sum: u64 },
    Paid { sum: u64 },
    Shipped,
}
impl Event for OrderEvent {}

#[derive(Debug, Clone, Default, PartialEq)]
struct Order {
    events: u64,
    paid: u64,
}

impl Aggregate for Order {
    const CATEGORY: &'static str = "Order";
    type Command = OrderEvent;
    type Event = OrderEvent;
    type Error = std::fmt::Error;

    fn decide(&self, command: &OrderEvent) -> Result<Vec<OrderEvent>, std::fmt::Error> {
        Ok(vec![command.clone()])
    }

    fn evolve(&mut self, event: &OrderEvent) {
        self.events += 1;
        if let OrderEvent::Sold { sum } | OrderEvent::Paid { sum } = event {
            self.paid += sum;
        }
    }
}

fn split(event: &RecordedEvent) -> Result<CopyAs, HandlerError> {
    if event.event_type != "Sold" {
        return Ok(CopyAs::Unchanged);
    }
    let OrderEvent::Sold { sum } = event.decode()? else { return Err("no sale".into()) };
    let paid = StoredEvent::of(&OrderEvent::Paid { sum })?;
    Ok(CopyAs::Events(vec![paid, StoredEvent::of(&OrderEvent::Shipped)?]))
}

fn command(n: u128) -> Metadata {
    Metadata::default().command_id(Uuid::from_u128(n))
}

#[test]
fn a_command_that_has_run_is_answered_by_what_became_of_its_events() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let orders = store.repository::<Order>();
    orders.execute_with("1", &OrderEvent::Placed, command(1)).unwrap();
    orders.execute_with("1", &OrderEvent::Sold { sum: 7 }, command(2)).unwrap();
    let both = |tx: &mut filmstrip::transaction::Transaction<'_>| {
        tx.execute::<Order>("2", &OrderEvent::Sold { sum: 1 })?;
        tx.execute::<Order>("3", &OrderEvent::Placed)?;
        Ok::<(), filmstrip::Error>(())
    };
    let then = store.transact(command(3), both).unwrap();
    let (counted, copy) = copied(&store, &directory.path().join("copy"), split);
    assert_eq!(counted.forgotten_commands, 0);

    let orders = copy.repository::<Order>();
    let head = copy.head();
    let placed = orders.execute_with("1", &OrderEvent::Placed, command(1)).unwrap();
    assert!(placed.already_executed && placed.events == [OrderEvent::Placed]);
    let sold = orders.execute_with("1", &OrderEvent::Sold { sum: 7 }, command(2)).unwrap();
    assert!(sold.already_executed);
    assert_eq!(sold.events, [OrderEvent::Paid { sum: 7 }, OrderEvent::Shipped]);
    assert_eq!((sold.version, sold.state), (Version::new(3), Order { events: 3, paid: 7 }));
    let again = copy.transact(command(3), both).unwrap();
    assert!(again.already_executed && again.recorded_at == then.recorded_at);
    assert_eq!(again.event_ids.len(), 3);
    assert_eq!((again.event_ids[0], again.event_ids[2]), (then.event_ids[0], then.event_ids[1]));
    assert_eq!(copy.head(), head, "something ran again");
}

#[test]
fn a_command_of_which_nothing_is_left_is_counted_and_runs_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let orders = store.repository::<Order>();
    let event = |event_type: &str| NewEvent::json(event_type, &()).unwrap().metadata(command(1));
    // Of one command, one event in one stream is left, and none in the other.
    let commit = filmstrip::Commit::new()
        .append("Order-1", ExpectedVersion::Any, [event("Placed"), event("Shipped")])
        .append("Order-2", ExpectedVersion::Any, [event("Shipped"), event("Shipped")]);
    store.commit(commit).unwrap();
    orders.execute_with("3", &OrderEvent::Shipped, Metadata::default()).unwrap();
    orders.execute_with("4", &OrderEvent::Placed, command(2)).unwrap();
    let (counted, copy) = copied(&store, &directory.path().join("copy"), |event| {
        Ok(match event.event_type == "Shipped" {
            true => CopyAs::Nothing,
            false => CopyAs::Unchanged,
        })
    });
    assert_eq!((counted.left_out, counted.forgotten_commands), (4, 1));
    let orders = copy.repository::<Order>();
    let runs = |id| orders.execute_with(id, &OrderEvent::Placed, command(1)).unwrap();
    assert!(runs("1").already_executed && !runs("2").already_executed);
}

#[test]
fn a_consumer_group_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let orders = store.repository::<Order>();
    // Events 1 to 8: the even ones are split.
    for n in 1..=4 {
        orders.execute("1", &OrderEvent::Placed).unwrap();
        orders.execute("1", &OrderEvent::Sold { sum: n }).unwrap();
    }
    let group =
        |store: &Store| store.subscribe().category("Order").group("mailer").start().unwrap();
    let consumer = group(&store);
    let all: Vec<_> = (1..=8).map(|_| consumer.recv_timeout(LONG).unwrap()).collect();
    // Finished are 1, 2, 4 and 7; parked is 6; 3, 5 and 8 are to come.
    for delivery in all {
        match delivery.event.position.get() {
            1 | 2 | 4 | 7 => delivery.ack().unwrap(),
            6 => delivery.nack(Nack::Park).unwrap(),
            _ => drop(delivery),
        }
    }
    drop(consumer);
    assert_eq!(store.group("mailer").cursor().unwrap(), Position::new(2));
    let (_, copy) = copied(&store, &directory.path().join("copy"), split);
    let handle = copy.group("mailer");
    assert_eq!(handle.cursor().unwrap(), Position::new(3));
    let parked: Vec<u64> =
        handle.parked().unwrap().iter().map(|parked| parked.position.get()).collect();
    assert_eq!(parked, [8, 9]);
    // 3 is now 4, 5 is 7, and 8 is 11 and 12.
    let consumer = group(&copy);
    let mut come = Vec::new();
    for _ in 0..4 {
        let delivery = consumer.recv_timeout(LONG).unwrap();
        come.push(delivery.event.position.get());
        delivery.ack().unwrap();
    }
    come.sort_unstable();
    assert_eq!(come, [4, 7, 11, 12]);
    let nothing = consumer.recv_timeout(Duration::from_millis(20)).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Timeout);
    handle.replay_parked().unwrap();
    let replayed = consumer.recv_timeout(LONG).unwrap();
    assert_eq!(replayed.event.event_type, "Paid");
    replayed.ack().unwrap();
}

/// Counts what it was told of, and is woken once.
#[derive(Debug, Clone, Default)]
struct Watch {
    due: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum WatchEvent {
    Seen { until: DateTime<Utc> },
    Woken,
}
impl Event for WatchEvent {}

impl ProcessManager for Watch {
    const NAME: &'static str = "Watch";
    type Event = WatchEvent;

    fn filter() -> Filter {
        Filter::category("Order")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(Some(event.stream.id().unwrap_or_default().to_owned()))
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<WatchEvent>, HandlerError> {
        Ok(match trigger {
            Trigger::Event(event)
                if event.stream.id() == Some("bad") && event.event_type == "Sold" =>
            {
                return Err("not this one".into());
            }
            Trigger::Event(event) => {
                vec![WatchEvent::Seen { until: event.recorded_at + TimeDelta::days(1) }]
            }
            Trigger::Deadline => vec![WatchEvent::Woken],
        })
    }

    fn evolve(&mut self, event: &WatchEvent) {
        self.due = match event {
            WatchEvent::Seen { until } => Some(*until),
            WatchEvent::Woken => None,
        };
    }

    fn deadline(&self) -> Option<DateTime<Utc>> {
        self.due
    }

    fn effect(&self, _: &WatchEvent, _: &mut Effects<'_>) -> Result<Vec<WatchEvent>, HandlerError> {
        Ok(vec![])
    }
}

fn film(store: &Store, stream: &str) -> Vec<String> {
    let events = store.read_stream(stream).collect().unwrap();
    events.iter().map(|event| event.event_type.to_string()).collect()
}

#[test]
fn a_process_reacts_to_nothing_a_second_time_and_is_woken_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(Utc::now());
    let store = Store::builder().clock(clock.clone()).open(directory.path().join("store")).unwrap();
    let orders = store.repository::<Order>();
    let process = store.process::<Watch>().start().unwrap();
    orders.execute("1", &OrderEvent::Placed).unwrap();
    orders.execute("2", &OrderEvent::Sold { sum: 1 }).unwrap();
    let last = orders.execute("1", &OrderEvent::Sold { sum: 2 }).unwrap().position;
    process.wait_for(last, LONG).unwrap();
    process.stop().unwrap();
    // The process has not reacted to this one yet.
    orders.execute("2", &OrderEvent::Sold { sum: 3 }).unwrap();
    let to = directory.path().join("copy");
    let (_, copy) = copied(&store, &to, split);
    copy.close().unwrap();

    let copy = Store::builder().clock(clock.clone()).open(&to).unwrap();
    let process = copy.process::<Watch>().start().unwrap();
    process.wait_for(copy.head(), LONG).unwrap();
    assert_eq!(film(&copy, "Watch-1"), ["Seen", "Seen"]);
    // Once as the sale that it was, and for each of the two that became of the other one.
    assert_eq!(film(&copy, "Watch-2"), ["Seen", "Seen", "Seen"]);
    clock.advance(Duration::from_secs(2 * 86_400));
    copy.drain(LONG).unwrap();
    assert_eq!(film(&copy, "Watch-1"), ["Seen", "Seen", "Woken"]);
    process.stop().unwrap();
}

#[test]
fn a_process_that_is_parked_at_an_event_needs_that_event() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let orders = store.repository::<Order>();
    let once = OnError::default().retries(0);
    let process = store.process::<Watch>().on_error(once).start().unwrap();
    orders.execute("1", &OrderEvent::Sold { sum: 1 }).unwrap();
    orders.execute("bad", &OrderEvent::Placed).unwrap();
    let last = orders.execute("bad", &OrderEvent::Sold { sum: 2 }).unwrap().position;
    process.wait_for(last, LONG).unwrap();
    assert_eq!(process.parked().unwrap().len(), 1);
    process.stop().unwrap();
    let to = directory.path().join("copy");
    let error = store.copy_into(&to, split).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let place =
        format!("Watch-bad, an instance of a process, is parked at the event at position {last}");
    assert!(error.to_string().contains(&place), "{error}");
    assert!(!std::fs::exists(&to).unwrap());
    // Where that event is one event, the instance is parked at it.
    let others = |event: &RecordedEvent| match event.stream.id() {
        Some("bad") => Ok(CopyAs::Unchanged),
        _ => split(event),
    };
    let (_, copy) = copied(&store, &to, others);
    let process = copy.process::<Watch>().on_error(OnError::default().retries(0)).start().unwrap();
    process.wait_for(copy.head(), LONG).unwrap();
    let parked = process.parked().unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].id.as_str(), film(&copy, "Watch-bad").len()), ("bad", 1));
    process.skip("bad").unwrap();
    copy.drain(LONG).unwrap();
    assert_eq!((film(&copy, "Watch-1").len(), process.parked().unwrap().len()), (1, 0));
    process.stop().unwrap();
}

/// What a group of sales had not finished was lost silently: the copy has no sales.
#[test]
fn a_copy_takes_no_event_from_a_group_that_wants_only_its_type() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let orders = store.repository::<Order>();
    let of_type = |event_type: &str| {
        let events = store.subscribe().category("Order").event_type(event_type);
        events.group(format!("for {event_type}")).start().unwrap()
    };
    orders.execute("1", &OrderEvent::Sold { sum: 1 }).unwrap();
    orders.execute("1", &OrderEvent::Placed).unwrap();
    // It has finished nothing, and loses nothing.
    drop(of_type("Placed"));
    let sales = of_type("Sold");
    sales.recv_timeout(LONG).unwrap().ack().unwrap();
    drop(sales);
    copied(&store, &directory.path().join("finished"), split);

    let refused = || {
        let to = directory.path().join("refused");
        let error = store.copy_into(&to, split).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = error.to_string();
        assert!(error.contains("position 3") && error.contains("\"for Sold\""), "{error}");
        assert!(error.contains("Paid") && !std::fs::exists(&to).unwrap(), "{error}");
    };
    orders.execute("1", &OrderEvent::Sold { sum: 2 }).unwrap();
    refused();
    let sales = of_type("Sold");
    sales.recv_timeout(LONG).unwrap().nack(Nack::Park).unwrap();
    drop(sales);
    refused();
    // Who leaves it out says so.
    let without = |event: &RecordedEvent| {
        Ok(match event.event_type == "Sold" {
            true => CopyAs::Nothing,
            false => CopyAs::Unchanged,
        })
    };
    copied(&store, &directory.path().join("without"), without);
    store.group("for Sold").remove().unwrap();
    copied(&store, &directory.path().join("removed"), split);
}

#[test]
fn what_is_parked_is_described_as_it_is_in_the_copy() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let orders = store.repository::<Order>();
    let once = || OnError::default().retries(0);
    let process = store.process::<Watch>().on_error(once()).start().unwrap();
    orders.execute("1", &OrderEvent::Sold { sum: 1 }).unwrap();
    let last = orders.execute("bad", &OrderEvent::Sold { sum: 2 }).unwrap().position;
    process.wait_for(last, LONG).unwrap();
    process.stop().unwrap();
    let group = store.subscribe().category("Order").group("mailer").start().unwrap();
    for _ in 0..2 {
        group.recv_timeout(LONG).unwrap().nack(Nack::Park).unwrap();
    }
    drop(group);
    for (name, event_type) in [("unchanged", "Sold"), ("replaced", "Returned")] {
        let (_, copy) = copied(&store, &directory.path().join(name), |event| {
            if event.stream.id() != Some("bad") {
                return split(event);
            }
            let returned = StoredEvent::new("Returned", 1, event.payload.clone());
            Ok(match name {
                "unchanged" => CopyAs::Unchanged,
                _ => CopyAs::Events(vec![returned]),
            })
        });
        let (events, parked) = (copy.read_all().collect().unwrap(), copy.group("mailer").parked());
        let parked = parked.unwrap();
        let types: Vec<&str> = parked.iter().map(|parked| parked.event_type.as_str()).collect();
        assert_eq!(types, ["Paid", "Shipped", event_type]);
        for parked in &parked {
            let event = &events[parked.position.get() as usize - 1];
            assert_eq!(event.event_type, parked.event_type.as_str());
        }
        let process = copy.process::<Watch>().on_error(once()).start().unwrap();
        let what = format!("position {}, event {event_type} of Order-bad", parked[2].position);
        assert_eq!(process.parked().unwrap()[0].what, what);
        process.stop().unwrap();
    }
}
