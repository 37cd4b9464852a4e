//! What the shop knows and decides: e-mail addresses, customers, stock and orders.

use filmstrip::{Aggregate, Event};
use serde::{Deserialize, Serialize};

/// Why the shop refuses a command. Nothing is recorded then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    EmailTaken,
    NoSuchCustomer,
    Exists,
    NoPieces,
    SoldOut {
        left: u32,
        asked: u32,
    },
    NotOpen,
    /// The client decided on another version than the newest one.
    OtherVersion {
        newest: u64,
        expected: u64,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::EmailTaken => f.write_str("another customer has this e-mail address"),
            Refusal::NoSuchCustomer => f.write_str("there is no such customer"),
            Refusal::Exists => f.write_str("it exists already"),
            Refusal::NoPieces => f.write_str("at least one piece must be named"),
            Refusal::SoldOut { left, asked } => {
                write!(f, "{left} are left, {asked} were asked for")
            }
            Refusal::NotOpen => f.write_str("there is no such order, or it is done with"),
            Refusal::OtherVersion { newest, expected } => {
                write!(f, "the newest version is {newest}, not {expected}")
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// An e-mail address that one customer has. The address is its id, so there is one stream for each.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Email {
    owner: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum EmailEvent {
    EmailTaken { by: String },
    EmailGivenUp,
}
impl Event for EmailEvent {}

pub enum EmailCommand {
    Take { by: String },
    GiveUp,
}

impl Aggregate for Email {
    const CATEGORY: &'static str = "Email";
    type Command = EmailCommand;
    type Event = EmailEvent;
    type Error = Refusal;

    fn decide(&self, command: &EmailCommand) -> Result<Vec<EmailEvent>, Refusal> {
        match (&self.owner, command) {
            (None, EmailCommand::Take { by }) => {
                Ok(vec![EmailEvent::EmailTaken { by: by.clone() }])
            }
            (Some(_), EmailCommand::Take { .. }) => Err(Refusal::EmailTaken),
            (Some(_), EmailCommand::GiveUp) => Ok(vec![EmailEvent::EmailGivenUp]),
            (None, EmailCommand::GiveUp) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: &EmailEvent) {
        self.owner = match event {
            EmailEvent::EmailTaken { by } => Some(by.clone()),
            EmailEvent::EmailGivenUp => None,
        }
    }
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct Customer {
    pub name: String,
    pub email: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum CustomerEvent {
    CustomerRegistered { name: String, email: String },
    CustomerEmailChanged { email: String },
}
impl Event for CustomerEvent {}

pub enum CustomerCommand {
    Register { name: String, email: String },
    ChangeEmail { email: String },
}

impl Aggregate for Customer {
    const CATEGORY: &'static str = "Customer";
    type Command = CustomerCommand;
    type Event = CustomerEvent;
    type Error = Refusal;

    fn decide(&self, command: &CustomerCommand) -> Result<Vec<CustomerEvent>, Refusal> {
        match (&self.email, command) {
            (None, CustomerCommand::Register { name, email }) => {
                let (name, email) = (name.clone(), email.clone());
                Ok(vec![CustomerEvent::CustomerRegistered { name, email }])
            }
            (Some(_), CustomerCommand::Register { .. }) => Err(Refusal::Exists),
            (None, CustomerCommand::ChangeEmail { .. }) => Err(Refusal::NoSuchCustomer),
            (Some(old), CustomerCommand::ChangeEmail { email }) if old == email => Ok(vec![]),
            (Some(_), CustomerCommand::ChangeEmail { email }) => {
                Ok(vec![CustomerEvent::CustomerEmailChanged { email: email.clone() }])
            }
        }
    }

    fn evolve(&mut self, event: &CustomerEvent) {
        match event {
            CustomerEvent::CustomerRegistered { name, email } => {
                self.name.clone_from(name);
                self.email = Some(email.clone());
            }
            CustomerEvent::CustomerEmailChanged { email } => self.email = Some(email.clone()),
        }
    }
}

/// The pieces of one article that the shop has.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Stock {
    pub pieces: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum StockEvent {
    Received { pieces: u32 },
    Reserved { pieces: u32, order: String },
    Returned { pieces: u32, order: String },
}
impl Event for StockEvent {}

pub enum StockCommand {
    Receive { pieces: u32 },
    Reserve { pieces: u32, order: String },
    Return { pieces: u32, order: String },
}

impl Aggregate for Stock {
    const CATEGORY: &'static str = "Stock";
    type Command = StockCommand;
    type Event = StockEvent;
    type Error = Refusal;

    fn decide(&self, command: &StockCommand) -> Result<Vec<StockEvent>, Refusal> {
        Ok(vec![match *command {
            StockCommand::Receive { pieces: 0 } | StockCommand::Reserve { pieces: 0, .. } => {
                return Err(Refusal::NoPieces);
            }
            StockCommand::Reserve { pieces, .. } if pieces > self.pieces => {
                return Err(Refusal::SoldOut { left: self.pieces, asked: pieces });
            }
            StockCommand::Receive { pieces } => StockEvent::Received { pieces },
            StockCommand::Reserve { pieces, ref order } => {
                StockEvent::Reserved { pieces, order: order.clone() }
            }
            StockCommand::Return { pieces, ref order } => {
                StockEvent::Returned { pieces, order: order.clone() }
            }
        }])
    }

    fn evolve(&mut self, event: &StockEvent) {
        match event {
            StockEvent::Received { pieces } | StockEvent::Returned { pieces, .. } => {
                self.pieces = self.pieces.saturating_add(*pieces);
            }
            StockEvent::Reserved { pieces, .. } => self.pieces -= pieces,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub article: String,
    pub pieces: u32,
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct Order {
    pub customer: Option<String>,
    pub lines: Vec<Line>,
    pub is_cancelled: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OrderEvent {
    OrderPlaced { customer: String, lines: Vec<Line> },
    OrderCancelled,
}
impl Event for OrderEvent {}

pub enum OrderCommand {
    Place { customer: String, lines: Vec<Line> },
    Cancel,
}

impl Aggregate for Order {
    const CATEGORY: &'static str = "Order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = Refusal;

    fn decide(&self, command: &OrderCommand) -> Result<Vec<OrderEvent>, Refusal> {
        match (&self.customer, command) {
            (_, OrderCommand::Place { lines, .. }) if lines.is_empty() => Err(Refusal::NoPieces),
            (None, OrderCommand::Place { customer, lines }) => {
                let (customer, lines) = (customer.clone(), lines.clone());
                Ok(vec![OrderEvent::OrderPlaced { customer, lines }])
            }
            (Some(_), OrderCommand::Place { .. }) => Err(Refusal::Exists),
            (Some(_), OrderCommand::Cancel) if !self.is_cancelled => {
                Ok(vec![OrderEvent::OrderCancelled])
            }
            (_, OrderCommand::Cancel) => Err(Refusal::NotOpen),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::OrderPlaced { customer, lines } => {
                self.customer = Some(customer.clone());
                self.lines.clone_from(lines);
            }
            OrderEvent::OrderCancelled => self.is_cancelled = true,
        }
    }
}
