//! Two services with a store each: orders are placed here and paid for there.
//!
//! ```text
//! cargo run --release --example order_payment -- [DIRECTORY] [--orders N] [--kill-after N]
//! ```
//!
//! The order service publishes that an order was placed. The payment service follows the orders'
//! store, asks the bank, and keeps what came of it in its own; the order service follows that in turn.
//! A process manager, `Checkout`, sees each order through: it ships what is paid, cancels what is
//! refused or not paid within an hour, and has money given back that came too late.
//!
//! The bank takes most payments. It refuses those for the orders whose number ends in 3, never says
//! anything for a 5, and is too late for a 7. The hour passes at once: the clock is a manual one.
//!
//! Kill it whenever you like (`--kill-after N` does so itself, after N orders were done with), and run
//! it again: it ends in the same state. Each event is ingested once and each command runs once.

#![allow(clippy::print_stdout, reason = "a program talks")]

mod follow;
mod orders;
mod payments;

use filmstrip::testing::ManualClock;
use filmstrip::{Position, Repository, Store};
use follow::{Follower, follow};
use orders::{Checkout, Order, OrderCommand};
use payments::{Payment, PaymentEvent, bank_is_late, bank_is_silent};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// How long this program waits for something to happen before it takes it for broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// What this program is told.
pub(crate) struct Options {
    pub(crate) directory: PathBuf,
    pub(crate) orders: u64,
    pub(crate) kill_after: Option<usize>,
}

fn main() -> Result<()> {
    let mut options =
        Options { directory: "order-payment-data".into(), orders: 20, kill_after: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().ok_or(format!("{argument} needs a number"));
        match argument.as_str() {
            "--orders" => options.orders = number()?.parse()?,
            "--kill-after" => options.kill_after = Some(number()?.parse()?),
            unknown if unknown.starts_with("--") => {
                return Err(format!(
                    "{unknown} is unknown; usage: order_payment [DIRECTORY] [--orders N] [--kill-after N]"
                )
                .into());
            }
            directory => options.directory = directory.into(),
        }
    }
    run(&options)
}

/// Places the orders and sees all of them through, or goes on where an earlier run has come to.
pub(crate) fn run(options: &Options) -> Result<()> {
    let clock = ManualClock::new("2024-05-01T12:00:00Z".parse()?);
    let open = |name| Store::builder().clock(clock.clone()).open(options.directory.join(name));
    let (orders, payments) = (open("orders")?, open("payments")?);
    if let Some(last) = orders.read_all().backwards().limit(1).collect()?.first() {
        // It goes on where the earlier run's clock stood.
        clock.set(last.recorded_at);
    }
    let earlier = orders.head();
    let mut done = Done { store: orders.clone(), ids: HashSet::new(), earlier, options, told: 0 };
    let _running = start(&orders, &payments)?;

    let placing = orders.repository::<Order>();
    for n in 1..=options.orders {
        placing.execute(&n.to_string(), &OrderCommand::Place { amount: n })?;
    }
    // Those that the bank answers for in time; then, when the hour is over, the others.
    let answered = |n: &u64| !bank_is_silent(*n) && !bank_is_late(*n);
    done.wait_for((1..=options.orders).filter(answered).count())?;
    clock.advance(Duration::from_secs(3_600));
    done.wait_for(options.orders as usize)?;
    wait_for_refunds(&payments, (1..=options.orders).filter(|n| bank_is_late(*n)).count())?;
    orders.drain(PATIENCE)?;
    report(&orders, &payments)
}

/// Starts both services: each follows the other's store, and the checkout runs with the orders.
fn start(orders: &Store, payments: &Store) -> Result<[Follower; 2]> {
    let refunds: Repository<Payment> = payments.repository();
    // Several orders are seen through at a time; each of them, one step after the other.
    orders.process::<Checkout>().lanes(8).executes(refunds.clone()).start()?;
    let listening =
        follow(orders, "Order", payments, move |event| payments::take_in_order(event, &refunds))?;
    let answers = follow(payments, "Payment", orders, orders::take_in_answer)?;
    Ok([listening, answers])
}

/// The orders that are done with.
struct Done<'a> {
    store: Store,
    ids: HashSet<String>,
    /// Up to where an earlier run has told.
    earlier: Position,
    options: &'a Options,
    /// How many of them this run has told of.
    told: usize,
}

impl Done<'_> {
    /// Waits until so many orders are shipped or cancelled, and tells of each that now is.
    fn wait_for(&mut self, count: usize) -> Result<()> {
        let ends = self.store.subscribe().event_type("Shipped").event_type("Cancelled");
        let ends = ends.start()?;
        while self.ids.len() < count {
            let end = ends.recv_timeout(PATIENCE)?;
            let is_new = self.ids.insert(orders::id(&end.stream).to_owned());
            if is_new && end.position > self.earlier {
                println!("{}: {}", end.stream, end.event_type);
                self.told += 1;
                if self.options.kill_after == Some(self.told) {
                    std::process::abort();
                }
            }
        }
        Ok(())
    }
}

fn wait_for_refunds(payments: &Store, count: usize) -> Result<()> {
    let refunds = payments.subscribe().event_type("Refunded").start()?;
    for _ in 0..count {
        refunds.recv_timeout(PATIENCE)?;
    }
    Ok(())
}

fn report(orders: &Store, payments: &Store) -> Result<()> {
    let count = |event_type| {
        Ok::<_, filmstrip::Error>(orders.read_all().event_type(event_type).collect()?.len())
    };
    let (mut taken, mut refunded) = (0, 0);
    for event in payments.read_all().iter()? {
        match event?.decode()? {
            PaymentEvent::Taken { amount } => taken += amount,
            PaymentEvent::Refunded { amount } => refunded += amount,
            PaymentEvent::Refused => {}
        }
    }
    println!(
        "{} orders: {} shipped, {} cancelled; {taken} taken, {refunded} refunded",
        count("Placed")?,
        count("Shipped")?,
        count("Cancelled")?,
    );
    Ok(())
}
