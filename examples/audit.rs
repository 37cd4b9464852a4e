//! An audit: why is this customer in this state? The film answers: each event with the state after
//! it, who caused it and why, rewound to any date.
//!
//! ```text
//! cargo run --release --example audit [DIRECTORY [CUSTOMER [DATE]]]
//! ```
//!
//! The store is in DIRECTORY, `audit-data` if none is named. The first run records two customers'
//! year, by a clock that is moved through it; later ones find it there and record nothing again.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks")]

use Command::{Block, MissPayment, Pay, RaiseLimit, Register, Unblock};
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use filmstrip::repository::HistoryEntry;
use filmstrip::testing::ManualClock;
use filmstrip::{Aggregate, Event, Metadata, Store, Version};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

const HELP: &str = "\
audit: why is this customer in this state?

Usage: audit [DIRECTORY [CUSTOMER [DATE]]]

  DIRECTORY   where the store is, or is to be [default: audit-data]
  CUSTOMER    whose film is shown: 1001 or 1002 [default: 1001]
  DATE        the day to whose end it is rewound [default: 2025-06-30]
";

// ---- a customer of a lender ---------------------------------------------------------------------

#[derive(Debug, Clone, Serialize, Deserialize)]
enum CustomerEvent {
    Registered { name: String },
    LimitRaised { to: u32 },
    PaymentMissed { invoice: String },
    PaymentReceived { invoice: String },
    Blocked,
    Unblocked,
}
impl Event for CustomerEvent {}

#[derive(Debug, Clone)]
enum Command {
    Register(&'static str),
    RaiseLimit(u32),
    MissPayment(&'static str),
    Pay(&'static str),
    Block,
    Unblock,
}

#[derive(Debug, Clone, Default)]
struct Customer {
    name: String,
    limit: u32,
    owes: Vec<String>,
    blocked: bool,
}

#[derive(Debug)]
struct OwesTooMuch;

impl Aggregate for Customer {
    const CATEGORY: &'static str = "Customer";
    type Command = Command;
    type Event = CustomerEvent;
    type Error = OwesTooMuch;

    fn decide(&self, command: &Command) -> Result<Vec<CustomerEvent>, OwesTooMuch> {
        Ok(match command {
            RaiseLimit(_) | Unblock if !self.owes.is_empty() => return Err(OwesTooMuch),
            Register(name) => vec![CustomerEvent::Registered { name: (*name).to_owned() }],
            RaiseLimit(to) => vec![CustomerEvent::LimitRaised { to: *to }],
            MissPayment(id) => vec![CustomerEvent::PaymentMissed { invoice: (*id).to_owned() }],
            Pay(id) => vec![CustomerEvent::PaymentReceived { invoice: (*id).to_owned() }],
            Block if self.blocked => vec![],
            Block => vec![CustomerEvent::Blocked],
            Unblock => vec![CustomerEvent::Unblocked],
        })
    }

    fn evolve(&mut self, event: &CustomerEvent) {
        match event {
            CustomerEvent::Registered { name } => self.name.clone_from(name),
            CustomerEvent::LimitRaised { to } => self.limit = *to,
            CustomerEvent::PaymentMissed { invoice } => self.owes.push(invoice.clone()),
            CustomerEvent::PaymentReceived { invoice } => self.owes.retain(|owed| owed != invoice),
            CustomerEvent::Blocked => self.blocked = true,
            CustomerEvent::Unblocked => self.blocked = false,
        }
    }
}

// ---- the year: who asked for what, when, and what made them ask ----------------------------------

/// When, of whom, who asked, for what, and the line of this table that it answers.
type Line = (&'static str, &'static str, &'static str, Command, Option<usize>);

fn year() -> Vec<Line> {
    vec![
        /* 0 */ ("2025-01-07T09:12:00Z", "1001", "web", Register("Alice Hart"), None),
        /* 1 */ ("2025-01-07T11:40:00Z", "1001", "mary@credit", RaiseLimit(2_000), Some(0)),
        /* 2 */ ("2025-02-03T08:05:00Z", "1002", "web", Register("Bob Stone"), None),
        /* 3 */ ("2025-05-02T06:00:00Z", "1001", "billing", MissPayment("2025-04"), None),
        /* 4 */ ("2025-05-02T06:00:01Z", "1001", "risk-rules", Block, Some(3)),
        /* 5 */ ("2025-05-09T14:21:00Z", "1001", "bank-import", Pay("2025-04"), None),
        /* 6 */ ("2025-05-09T15:02:00Z", "1001", "tom@support", Unblock, Some(5)),
        /* 7 */ ("2025-08-18T10:30:00Z", "1001", "mary@credit", RaiseLimit(5_000), None),
        /* 8 */ ("2025-10-02T06:00:00Z", "1001", "billing", MissPayment("2025-09"), None),
        /* 9 */ ("2025-10-02T06:00:01Z", "1001", "risk-rules", Block, Some(8)),
    ]
}

/// Records the year. Each line has a command id of its own, so what an earlier run has recorded is
/// not recorded again; it only says which event it was.
fn record(store: &Store, clock: &ManualClock) -> filmstrip::Result<()> {
    let customers = store.repository::<Customer>();
    let mut led_to: Vec<Uuid> = Vec::new();
    for (number, (time, id, user, command, because)) in year().into_iter().enumerate() {
        clock.set(time.parse().expect("a time"));
        let mut metadata =
            Metadata::default().command_id(Uuid::from_u128(number as u128 + 1)).user(user);
        if let Some(cause) = because {
            metadata = metadata.causation_id(led_to[cause]);
        }
        let done = customers.execute_with(id, &command, metadata)?;
        let stream = format!("Customer-{id}");
        let mut last =
            store.read_stream(stream.as_str()).until(done.version).backwards().limit(1).iter()?;
        led_to.push(last.next().expect("the command led to an event")?.id);
    }
    Ok(())
}

// ---- the answer ---------------------------------------------------------------------------------

fn main() -> filmstrip::Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        print!("{HELP}");
        return Ok(());
    }
    let text = |at: usize, otherwise: &str| {
        arguments.get(at).map_or(otherwise.into(), |given| given.to_string_lossy().into_owned())
    };
    let directory = arguments.first().map_or("audit-data".into(), PathBuf::from);
    let is_option = directory.to_string_lossy().starts_with('-');
    match text(2, "2025-06-30").parse::<NaiveDate>() {
        Ok(date) if arguments.len() <= 3 && !is_option => {
            let end_of_day = date.and_time(NaiveTime::MIN).and_utc() + chrono::TimeDelta::days(1)
                - chrono::TimeDelta::microseconds(1);
            audit(&directory, &text(1, "1001"), end_of_day)
        }
        _ => {
            eprint!("{HELP}");
            std::process::exit(2)
        }
    }
}

fn audit(directory: &Path, id: &str, rewound_to: DateTime<Utc>) -> filmstrip::Result<()> {
    let clock = ManualClock::new(DateTime::UNIX_EPOCH);
    let store = Store::builder().clock(clock.clone()).open(directory)?;
    let before = store.head();
    record(&store, &clock)?;
    println!("{} events were recorded, {before} stood already.", store.head().get() - before.get());

    let customers = store.repository::<Customer>();
    let now = customers.load(id)?;
    if now.version == Version::NONE {
        println!("\nNothing has ever happened to customer {id}.");
        return store.close();
    }
    println!("\nCustomer {id}, now:  {}\n\nWhy?\n", now.state);
    let mut versions = HashMap::new();
    for frame in customers.history(id)? {
        let frame = frame?;
        versions.insert(frame.event.id, frame.event.version);
        show(&frame, &versions);
    }
    let then = customers.load_as_of(id, rewound_to)?;
    println!("Rewound to the end of {}, after event {}:", rewound_to.date_naive(), then.version);
    println!("  {}", then.state);
    store.close()
}

/// One event: when and what, by whom and because of what, and the state after it.
fn show(frame: &HistoryEntry<Customer>, versions: &HashMap<Uuid, Version>) {
    let event = &frame.event;
    let when = event.recorded_at.format("%Y-%m-%d %H:%M");
    println!("{:>3}  {when}  {}", event.version.get(), told(&frame.decoded));
    let user = event.metadata.user.as_deref().unwrap_or("nobody knows whom");
    let cause = event.metadata.causation_id.and_then(|cause| versions.get(&cause));
    let because = cause.map_or(String::new(), |version| format!(", because of {version}"));
    println!("     by {user}{because}");
    println!("     → {}\n", frame.state);
}

fn told(event: &CustomerEvent) -> String {
    match event {
        CustomerEvent::Registered { name } => format!("registered as {name}"),
        CustomerEvent::LimitRaised { to } => format!("limit raised to {to}"),
        CustomerEvent::PaymentMissed { invoice } => format!("did not pay {invoice}"),
        CustomerEvent::PaymentReceived { invoice } => format!("paid {invoice}"),
        CustomerEvent::Blocked => "blocked".to_owned(),
        CustomerEvent::Unblocked => "unblocked".to_owned(),
    }
}

impl fmt::Display for Customer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            return f.write_str("nobody yet");
        }
        let state = if self.blocked { "blocked" } else { "active" };
        write!(f, "{}, {state}, limit {}", self.name, self.limit)?;
        match self.owes.join(", ") {
            owed if owed.is_empty() => Ok(()),
            owed => write!(f, ", owes {owed}"),
        }
    }
}

impl fmt::Display for OwesTooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something is owed still")
    }
}

impl std::error::Error for OwesTooMuch {}
