//! The order service: orders, and the checkout that sees each of them through.

use super::follow::Taken;
use super::payments::{Payment, PaymentCommand, PaymentEvent};
use chrono::{DateTime, TimeDelta, Utc};
use filmstrip::process::Effects;
use filmstrip::process::Trigger;
use filmstrip::{Aggregate, Event, ExpectedVersion, Filter, HandlerError, NewEvent};
use filmstrip::{ProcessManager, RecordedEvent, StreamId};
use serde::{Deserialize, Serialize};

// ---- an order ----------------------------------------------------------------------------------

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum OrderEvent {
    Placed { amount: u64 },
    Shipped,
    Cancelled { why: String },
}
impl Event for OrderEvent {}

pub(crate) enum OrderCommand {
    Place { amount: u64 },
    Ship,
    Cancel { why: String },
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) enum Order {
    #[default]
    New,
    Open,
    Done,
}

#[derive(Debug)]
pub(crate) struct NotOpen;

impl std::fmt::Display for NotOpen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the order is not open")
    }
}
impl std::error::Error for NotOpen {}

impl Aggregate for Order {
    const CATEGORY: &'static str = "Order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = NotOpen;

    fn decide(&self, command: &OrderCommand) -> Result<Vec<OrderEvent>, NotOpen> {
        match (self, command) {
            (Order::New, OrderCommand::Place { amount }) => {
                Ok(vec![OrderEvent::Placed { amount: *amount }])
            }
            // Placed again by a second run of this program.
            (_, OrderCommand::Place { .. }) => Ok(vec![]),
            (Order::Open, OrderCommand::Ship) => Ok(vec![OrderEvent::Shipped]),
            (Order::Open, OrderCommand::Cancel { why }) => {
                Ok(vec![OrderEvent::Cancelled { why: why.clone() }])
            }
            _ => Err(NotOpen),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        *self = match event {
            OrderEvent::Placed { .. } => Order::Open,
            OrderEvent::Shipped | OrderEvent::Cancelled { .. } => Order::Done,
        }
    }
}

// ---- what the payment service answers, ingested here ---------------------------------------------

/// The payment service's event becomes an event of this store, in a stream of its own: the answer to
/// this order.
pub(crate) fn take_in_answer(event: &RecordedEvent) -> Result<Option<Taken>, HandlerError> {
    let answer = event.decode::<PaymentEvent>()?;
    if matches!(answer, PaymentEvent::Refunded { .. }) {
        return Ok(None);
    }
    let stream = StreamId::new(format!("Answer-{}", id(&event.stream)))?;
    let events = vec![NewEvent::of(&answer)?];
    Ok(Some(Taken { stream, expected: ExpectedVersion::NoStream, events }))
}

/// What follows the `-` in a stream's name.
pub(crate) fn id(stream: &StreamId) -> &str {
    stream.as_str().split_once('-').map_or("", |(_, id)| id)
}

// ---- the checkout --------------------------------------------------------------------------------

/// Ships an order when it is paid. It cancels it when the payment is refused, or not there within an
/// hour; money that comes later is given back.
#[derive(Debug, Default, Clone)]
pub(crate) struct Checkout {
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum CheckoutEvent {
    PaymentAwaited { until: DateTime<Utc> },
    PaymentCame,
    GivenUp { why: String },
    PaymentCameTooLate,
}
impl Event for CheckoutEvent {}

impl ProcessManager for Checkout {
    const NAME: &'static str = "Checkout";
    type Event = CheckoutEvent;

    fn filter() -> Filter {
        Filter::category("Order").and_category("Answer")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(Some(id(&event.stream).to_owned()))
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<CheckoutEvent>, HandlerError> {
        let Trigger::Event(event) = trigger else {
            return Ok(vec![CheckoutEvent::GivenUp { why: "no payment within an hour".into() }]);
        };
        if event.event_type == "Placed" {
            let until = event.recorded_at + TimeDelta::hours(1);
            return Ok(vec![CheckoutEvent::PaymentAwaited { until }]);
        }
        if event.stream.category() != "Answer" {
            return Ok(vec![]);
        }
        Ok(vec![match event.decode()? {
            PaymentEvent::Taken { .. } if self.until.is_none() => CheckoutEvent::PaymentCameTooLate,
            PaymentEvent::Taken { .. } => CheckoutEvent::PaymentCame,
            _ => CheckoutEvent::GivenUp { why: "the payment was refused".into() },
        }])
    }

    fn evolve(&mut self, event: &CheckoutEvent) {
        self.until = match event {
            CheckoutEvent::PaymentAwaited { until } => Some(*until),
            _ => None,
        }
    }

    fn effect(
        &self,
        event: &CheckoutEvent,
        out: &mut Effects<'_>,
    ) -> Result<Vec<CheckoutEvent>, HandlerError> {
        let id = out.id();
        match event {
            CheckoutEvent::PaymentAwaited { .. } => {}
            CheckoutEvent::PaymentCame => {
                out.execute::<Order>(id, &OrderCommand::Ship)?.into_result()?;
            }
            CheckoutEvent::GivenUp { why } => {
                let cancel = OrderCommand::Cancel { why: why.clone() };
                out.execute::<Order>(id, &cancel)?.into_result()?;
            }
            // This one goes to the other service's store.
            CheckoutEvent::PaymentCameTooLate => {
                out.execute::<Payment>(id, &PaymentCommand::Refund)?.into_result()?;
            }
        }
        Ok(vec![])
    }

    fn deadline(&self) -> Option<DateTime<Utc>> {
        self.until
    }
}
