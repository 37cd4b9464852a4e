//! The payment service: it hears of orders, asks the bank, and keeps what came of it.

use super::follow::Taken;
use super::orders::{OrderEvent, id};
use filmstrip::{Aggregate, Event, HandlerError, NewEvent, RecordedEvent, Repository, StreamId};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum PaymentEvent {
    Taken { amount: u64 },
    Refused,
    Refunded { amount: u64 },
}
impl Event for PaymentEvent {}

pub(crate) enum PaymentCommand {
    Take { amount: u64 },
    Refund,
}

/// What is held for an order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Payment {
    held: u64,
}

#[derive(Debug)]
pub(crate) struct NothingHeld;

impl std::fmt::Display for NothingHeld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing is held for this order")
    }
}
impl std::error::Error for NothingHeld {}

impl Aggregate for Payment {
    const CATEGORY: &'static str = "Payment";
    type Command = PaymentCommand;
    type Event = PaymentEvent;
    type Error = NothingHeld;

    fn decide(&self, command: &PaymentCommand) -> Result<Vec<PaymentEvent>, NothingHeld> {
        Ok(vec![match command {
            PaymentCommand::Take { amount } if amount % 10 == 3 => PaymentEvent::Refused,
            PaymentCommand::Take { amount } => PaymentEvent::Taken { amount: *amount },
            PaymentCommand::Refund if self.held == 0 => return Err(NothingHeld),
            PaymentCommand::Refund => PaymentEvent::Refunded { amount: self.held },
        }])
    }

    fn evolve(&mut self, event: &PaymentEvent) {
        match event {
            PaymentEvent::Taken { amount } => self.held += amount,
            PaymentEvent::Refused => {}
            PaymentEvent::Refunded { amount } => self.held -= amount,
        }
    }
}

/// The bank. Of some amounts it never says anything, and of some only when it is too late.
pub(crate) fn bank_is_silent(amount: u64) -> bool {
    amount % 10 == 5
}

pub(crate) fn bank_is_late(amount: u64) -> bool {
    amount % 10 == 7
}

/// What the order service's event leads to here.
pub(crate) fn take_in_order(
    event: &RecordedEvent,
    payments: &Repository<Payment>,
) -> Result<Option<Taken>, HandlerError> {
    let id = id(&event.stream);
    // In this example an order's number is its amount too.
    let amount = id.parse()?;
    let wanted = match event.decode()? {
        OrderEvent::Placed { .. } => !bank_is_silent(amount) && !bank_is_late(amount),
        OrderEvent::Cancelled { .. } => bank_is_late(amount),
        OrderEvent::Shipped => false,
    };
    if !wanted {
        return Ok(None);
    }
    let payment = payments.load(id)?;
    let taken = payment.state.decide(&PaymentCommand::Take { amount })?;
    let events = taken.iter().map(NewEvent::of).collect::<Result<_, _>>()?;
    let stream = StreamId::new(format!("Payment-{id}"))?;
    Ok(Some(Taken { stream, expected: payment.version.into(), events }))
}
