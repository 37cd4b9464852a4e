//! Customers register, move, and leave. What they were at any time can be shown again.
//!
//! ```text
//! cargo run --release --example customers [DIRECTORY]
//! ```
//!
//! The store is in DIRECTORY, `customers-data` if none is named. Run it again: everything that was
//! said in earlier runs still holds, and one more customer walks in.

#![allow(clippy::print_stdout, reason = "a program talks")]

use Command::{Archive, Register, UpdateAddress};
use filmstrip::{Aggregate, Event, ExecuteError, Filter, HandlerError, Position, Projection};
use filmstrip::{RecordedEvent, Repository, Store, Version, ViewWriter};
use serde::{Deserialize, Serialize};
use std::time::Duration;

// ---- what can happen: facts, in the past tense, never changed --------------------------------

#[derive(Debug, Clone, Serialize, Deserialize)]
enum CustomerEvent {
    CustomerRegistered { name: String, address: String },
    AddressUpdated { address: String },
    CustomerArchived,
}

impl Event for CustomerEvent {}

// ---- deciding: a customer's state, what it may be asked, and how it decides -------------------

#[derive(Debug, Clone, Default)]
enum Customer {
    #[default]
    Unknown,
    Active {
        name: String,
        address: String,
    },
    Archived,
}

impl std::fmt::Display for Customer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Customer::Unknown => f.write_str("nobody"),
            Customer::Active { name, address } => write!(f, "{name}, {address}"),
            Customer::Archived => f.write_str("archived"),
        }
    }
}

enum Command {
    Register { name: String, address: String },
    UpdateAddress { address: String },
    Archive,
}

#[derive(Debug)]
enum Refusal {
    AlreadyRegistered,
    NotRegistered,
    Archived,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refusal::AlreadyRegistered => "the customer is registered already",
            Refusal::NotRegistered => "there is no such customer",
            Refusal::Archived => "the customer is archived",
        })
    }
}

impl std::error::Error for Refusal {}

impl Aggregate for Customer {
    const CATEGORY: &'static str = "Customer";
    type Command = Command;
    type Event = CustomerEvent;
    type Error = Refusal;

    fn decide(&self, command: &Command) -> Result<Vec<CustomerEvent>, Refusal> {
        match (self, command) {
            (Customer::Unknown, Register { name, address }) => {
                let (name, address) = (name.clone(), address.clone());
                Ok(vec![CustomerEvent::CustomerRegistered { name, address }])
            }
            (Customer::Unknown, _) => Err(Refusal::NotRegistered),
            (_, Register { .. }) => Err(Refusal::AlreadyRegistered),
            (Customer::Archived, UpdateAddress { .. }) => Err(Refusal::Archived),
            // Who lives there already, or is archived already, needs no new fact.
            (Customer::Active { address, .. }, UpdateAddress { address: new })
                if address == new =>
            {
                Ok(vec![])
            }
            (Customer::Archived, Archive) => Ok(vec![]),
            (Customer::Active { .. }, UpdateAddress { address }) => {
                Ok(vec![CustomerEvent::AddressUpdated { address: address.clone() }])
            }
            (Customer::Active { .. }, Archive) => Ok(vec![CustomerEvent::CustomerArchived]),
        }
    }

    fn evolve(&mut self, event: &CustomerEvent) {
        match event {
            CustomerEvent::CustomerRegistered { name, address } => {
                *self = Customer::Active { name: name.clone(), address: address.clone() };
            }
            CustomerEvent::AddressUpdated { address: new } => {
                if let Customer::Active { address, .. } = self {
                    address.clone_from(new);
                }
            }
            CustomerEvent::CustomerArchived => *self = Customer::Archived,
        }
    }
}

// ---- reading: a view of the active customers by city, kept up to date after each write ---------

#[derive(Debug, Clone, Serialize, Deserialize)]
struct CustomerSummary {
    name: String,
    address: String,
}

struct CustomersByCity;

impl Projection for CustomersByCity {
    const NAME: &'static str = "customers-by-city";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::aggregate::<Customer>()
    }

    /// Rows: `Cambridge/1001`, and `#1001` to find a customer's row again.
    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let id = event.stream.as_str().strip_prefix("Customer-").unwrap_or_default();
        let by_id = format!("#{id}");
        let before: Option<CustomerSummary> = view.get(&by_id)?;
        if let Some(before) = &before {
            view.delete(&format!("{}/{id}", city(&before.address)));
        }
        let now = match (event.decode()?, before) {
            (CustomerEvent::CustomerRegistered { name, address }, _) => {
                CustomerSummary { name, address }
            }
            (CustomerEvent::AddressUpdated { address }, Some(before)) => {
                CustomerSummary { address, ..before }
            }
            _ => {
                view.delete(&by_id);
                return Ok(());
            }
        };
        view.put(&format!("{}/{id}", city(&now.address)), &now)?;
        Ok(view.put(&by_id, &now)?)
    }
}

/// `456 Oak Ave, Cambridge, MA` is in Cambridge.
fn city(address: &str) -> &str {
    address.rsplit(',').nth(1).unwrap_or(address).trim()
}

// ---- the story ---------------------------------------------------------------------------------

fn main() -> filmstrip::Result<()> {
    let directory = std::env::args_os().nth(1).unwrap_or_else(|| "customers-data".into());
    if directory.to_string_lossy().starts_with('-') {
        println!("Usage: customers [DIRECTORY]   where the store is [default: customers-data]");
        return Ok(());
    }
    let store = Store::open(&directory)?;
    let customers = store.repository::<Customer>();
    let by_city = store.project(CustomersByCity).start()?;
    println!("The store in {} holds {} events.\n", directory.display(), store.head());

    tell(&customers, "1001", "Alice registers", &register("Alice", "123 Main St, Boston, MA"))?;
    tell(&customers, "1001", "Alice moves", &update("456 Oak Ave, Cambridge, MA"))?;
    tell(&customers, "1002", "Bob registers", &register("Bob", "7 Elm St, Cambridge, MA"))?;
    tell(&customers, "1002", "Bob leaves", &Archive)?;
    tell(&customers, "1002", "Bob moves", &update("1 Hill Rd, Salem, MA"))?;
    let next = 1001 + store.streams().category("Customer").iter()?.count();
    let (id, name) = (next.to_string(), format!("Guest {next}"));
    let last =
        tell(&customers, &id, "One more walks in", &register(&name, "9 River St, Cambridge, MA"))?;

    // The view lags slightly. To read your own write, wait for its position.
    by_city.wait_for(last, Duration::from_secs(10))?;
    println!("\nWho lives in Cambridge?");
    for (_, customer) in by_city.view().prefix::<CustomerSummary>("Cambridge/")? {
        println!("  {}, {}", customer.name, customer.address);
    }

    println!("\nThe film of Customer-1001:");
    for event in store.read_stream("Customer-1001").iter()? {
        let event = event?;
        let time = event.recorded_at.format("%Y-%m-%d %H:%M:%S UTC");
        let payload = String::from_utf8_lossy(&event.payload).into_owned();
        println!("  version {}  {time}  {}  {payload}", event.version, event.event_type);
    }

    let then = customers.load_as_of("1001", Version::new(1))?;
    let now = customers.load("1001")?;
    println!("\nRewound to version {}: {}", then.version, then.state);
    println!("Now, at version {}: {}", now.version, now.state);
    store.close()
}

fn register(name: &str, address: &str) -> Command {
    Register { name: name.to_owned(), address: address.to_owned() }
}

fn update(address: &str) -> Command {
    UpdateAddress { address: address.to_owned() }
}

/// Says what came of a command. A refusal is an answer, not an error: nothing was written.
fn tell(
    customers: &Repository<Customer>,
    id: &str,
    what: &str,
    command: &Command,
) -> filmstrip::Result<Position> {
    match customers.execute(id, command) {
        Ok(done) if done.events.is_empty() => {
            println!("{what}: nothing changes (version {})", done.version);
            Ok(done.position)
        }
        Ok(done) => {
            println!("{what}: {:?} (version {})", done.events[0], done.version);
            Ok(done.position)
        }
        Err(ExecuteError::Rejected(refusal)) => {
            println!("{what}: refused, {refusal}");
            Ok(Position::START)
        }
        Err(error) => Err(error.into()),
    }
}
