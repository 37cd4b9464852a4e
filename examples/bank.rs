//! A bank: commands that are refused or raced, snapshots, and a view of what everybody holds.
//!
//! ```text
//! cargo run --release --example bank [DIRECTORY]
//! ```
//!
//! The store is in DIRECTORY, `bank-data` if none is named. Run it again: the bank opens for another
//! day, with all the money where it was.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks")]

use Command::{Deposit, Open, Withdraw};
use filmstrip::projection::ProjectionHandle;
use filmstrip::{Aggregate, Event, ExecuteError, Filter, HandlerError, Metadata, Projection};
use filmstrip::{RecordedEvent, Repository, Snapshot, Store, ViewWriter};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use uuid::Uuid;

const HELP: &str = "\
bank: commands, conflicts, snapshots and a view, on a filmstrip store

Usage: bank [DIRECTORY]

  DIRECTORY   where the store is, or is to be [default: bank-data]

Run it again: the bank opens for another day.
";

// ---- an account: what can happen to it, what it may be asked, and how it decides ---------------

/// Cents, so that nothing is ever rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Money(u64);

fn whole(amount: u64) -> Money {
    Money(amount * 100)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum AccountEvent {
    Opened { owner: String },
    Deposited { amount: Money },
    Withdrawn { amount: Money },
}
impl Event for AccountEvent {}

enum Command {
    Open(&'static str),
    Deposit(Money),
    Withdraw(Money),
}

#[derive(Debug)]
enum Refusal {
    NoSuchAccount,
    Missing(Money),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Account {
    owner: Option<String>,
    balance: Money,
    /// How many events this very load has folded: to see what a snapshot saves. Not part of it.
    #[serde(skip)]
    folded: u64,
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "Account";
    type Command = Command;
    type Event = AccountEvent;
    type Error = Refusal;

    fn decide(&self, command: &Command) -> Result<Vec<AccountEvent>, Refusal> {
        match (command, &self.owner) {
            (Open(owner), None) => Ok(vec![AccountEvent::Opened { owner: (*owner).to_owned() }]),
            // Opened on an earlier day: there is nothing to do.
            (Open(_), Some(_)) => Ok(vec![]),
            (_, None) => Err(Refusal::NoSuchAccount),
            (Deposit(amount), _) => Ok(vec![AccountEvent::Deposited { amount: *amount }]),
            (Withdraw(amount), _) if *amount > self.balance => {
                Err(Refusal::Missing(Money(amount.0 - self.balance.0)))
            }
            (Withdraw(amount), _) => Ok(vec![AccountEvent::Withdrawn { amount: *amount }]),
        }
    }

    fn evolve(&mut self, event: &AccountEvent) {
        self.folded += 1;
        match event {
            AccountEvent::Opened { owner } => self.owner = Some(owner.clone()),
            AccountEvent::Deposited { amount } => self.balance.0 += amount.0,
            AccountEvent::Withdrawn { amount } => self.balance.0 -= amount.0,
        }
    }
}

/// The state may be kept beside the events, so that a load need not begin at the first one.
impl Snapshot for Account {
    const SCHEMA: u32 = 1;
}

// ---- reading: what everybody holds, and the sum of it -------------------------------------------

#[derive(Clone, Default, Serialize, Deserialize)]
struct Row {
    owner: String,
    balance: Money,
    movements: u64,
}

struct Balances;

impl Projection for Balances {
    const NAME: &'static str = "balances";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::aggregate::<Account>()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let key = event.stream.as_str();
        let mut row: Row = view.get(key)?.unwrap_or_default();
        let mut total: Money = view.get("total")?.unwrap_or_default();
        match event.decode()? {
            AccountEvent::Opened { owner } => row.owner = owner,
            AccountEvent::Deposited { amount } => {
                (row.balance.0, total.0) = (row.balance.0 + amount.0, total.0 + amount.0);
                row.movements += 1;
            }
            AccountEvent::Withdrawn { amount } => {
                (row.balance.0, total.0) = (row.balance.0 - amount.0, total.0 - amount.0);
                row.movements += 1;
            }
        }
        view.put(key, &row)?;
        Ok(view.put("total", &total)?)
    }
}

// ---- a day at the bank --------------------------------------------------------------------------

fn main() -> filmstrip::Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [] => day(Path::new("bank-data")),
        [flag] if flag == "--help" || flag == "-h" => {
            print!("{HELP}");
            Ok(())
        }
        [directory] if !directory.to_string_lossy().starts_with('-') => day(Path::new(directory)),
        _ => {
            eprint!("{HELP}");
            std::process::exit(2)
        }
    }
}

fn day(directory: &Path) -> filmstrip::Result<()> {
    let store = Store::open(directory)?;
    println!("The bank in {} opens, with {} events.\n", directory.display(), store.head());
    let balances = store.project(Balances).start()?;
    // A command at the counter returns when the view holds it, so what is shown next is its own.
    let counter = store.repository::<Account>().wait_for_view(&balances, Duration::from_secs(10));

    tell(&counter, "alice", "Alice has an account", &Open("Alice"))?;
    tell(&counter, "alice", "Alice pays in 170.00", &Deposit(whole(170)))?;
    tell(&counter, "alice", "Alice draws 50.00", &Withdraw(whole(50)))?;
    tell(&counter, "alice", "Alice draws a million", &Withdraw(whole(1_000_000)))?;
    tell(&counter, "carol", "Carol, who has none, draws 1.00", &Withdraw(whole(1)))?;
    pay_twice(&counter)?;
    rush(&store, &counter)?;
    compare_loads(&store)?;
    show(&store, &balances)?;
    store.close()
}

/// Says what came of a command. A refusal is an answer, not an error: nothing was written.
fn tell(
    counter: &Repository<Account>,
    id: &str,
    what: &str,
    command: &Command,
) -> filmstrip::Result<()> {
    match counter.execute(id, command) {
        Ok(done) => {
            println!("{what:<34} balance {:>9}, version {}", done.state.balance, done.version);
        }
        Err(ExecuteError::Rejected(refusal)) => println!("{what:<34} refused: {refusal}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// A payment whose answer was lost on the way is sent again, under the id that it has.
fn pay_twice(counter: &Repository<Account>) -> filmstrip::Result<()> {
    let payment = Metadata::default().command_id(Uuid::now_v7()).user("alice");
    for what in ["Alice pays 20.00 from her phone", "the phone, unsure, sends it again"] {
        let done = counter.execute_with("alice", &Withdraw(whole(20)), payment.clone())?;
        let note = if done.already_executed { ", paid already" } else { "" };
        println!("{what:<34} balance {:>9}{note}", done.state.balance);
    }
    Ok(())
}

/// Two branches, each with a memory of its own, serve one account with two tills each. Who was slower
/// is told of a conflict by the store, loads the newer state, and decides again.
fn rush(store: &Store, counter: &Repository<Account>) -> filmstrip::Result<()> {
    const TILLS: usize = 4;
    const CUSTOMERS: u64 = 100;
    counter.execute("shop", &Open("The corner shop"))?;
    let branches =
        [(); 2].map(|()| store.repository::<Account>().retries(u32::MAX).snapshot_every(100));
    let again = AtomicU32::new(0);
    let till = |till: usize| -> filmstrip::Result<()> {
        for _ in 0..CUSTOMERS {
            let done = branches[till % 2].execute("shop", &Deposit(Money(250)))?;
            again.fetch_add(done.retries, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let tills: Vec<_> = (0..TILLS).map(|n| scope.spawn(move || till(n))).collect();
        tills.into_iter().try_for_each(|till| till.join().expect("a till does not panic"))
    })?;
    println!(
        "\nA rush at the shop's account: {} deposits of 2.50 from {TILLS} tills of 2 branches,\n\
         decided again after a conflict {} times, and none lost.",
        TILLS as u64 * CUSTOMERS,
        again.into_inner()
    );
    branches[0].snapshot("shop")
}

/// What a snapshot saves, to who loads an account for the first time.
fn compare_loads(store: &Store) -> filmstrip::Result<()> {
    let all = store.repository::<Account>().load("shop")?;
    let rest = store.repository::<Account>().snapshot_every(0).load("shop")?;
    println!(
        "Its account is folded from {} events; from its snapshot on, from {}.",
        all.state.folded, rest.state.folded
    );
    assert_eq!(all.state.balance, rest.state.balance);
    Ok(())
}

fn show(store: &Store, balances: &ProjectionHandle) -> filmstrip::Result<()> {
    balances.wait_for(store.head(), Duration::from_secs(10))?;
    // Both from one state of the view, so the total is the sum of what is above it.
    let (mut rows, total) = balances.view().read(|view| -> filmstrip::Result<_> {
        Ok((view.prefix::<Row>("Account-")?, view.get::<Money>("total")?.unwrap_or_default()))
    })?;
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.balance));
    println!("\nAt the end of the day:");
    for (_, row) in &rows {
        let bar = "█".repeat((row.balance.0 * 30).div_ceil(total.0.max(1)) as usize);
        println!("  {:<16} {:>10}  {bar}  {} movements", row.owner, row.balance, row.movements);
    }
    println!("  {:<16} {total:>10}", "in all");
    assert_eq!(total.0, rows.iter().map(|(_, row)| row.balance.0).sum::<u64>());
    Ok(())
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:02}", self.0 / 100, self.0 % 100))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoSuchAccount => f.write_str("there is no such account"),
            Refusal::Missing(amount) => write!(f, "{amount} are missing"),
        }
    }
}

impl std::error::Error for Refusal {}
