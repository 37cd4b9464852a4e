//! The example `order_payment`, killed at random moments and run again: each order is shipped or cancelled once, no
//! payment happens twice, and none is missing.
//!
//! `FILMSTRIP_ROUNDS=200 cargo test --release --test it order_payment::` for a long run, of so many kills. A failure
//! says the seed; `FILMSTRIP_SEED` runs it again with that one.

#[allow(dead_code, reason = "the example's own main is not called here")]
#[path = "../../examples/order_payment/main.rs"]
mod example;

use crate::common::{Random, child, seed, variable};
use example::Options;
use filmstrip::Store;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

const CHILD: &str = "FILMSTRIP_ORDER_PAYMENT";
const ORDERS: u64 = 60;

fn options(directory: &Path) -> Options {
    Options { directory: directory.to_owned(), orders: ORDERS, kill_after: None }
}

/// Not a test of its own: what the killed process does.
#[test]
fn child_that_sees_orders_through_until_it_is_killed() {
    if let Some(directory) = std::env::var_os(CHILD) {
        example::run(&options(directory.as_ref())).unwrap();
    }
}

fn start(directory: &Path) -> Child {
    child(module_path!(), "child_that_sees_orders_through_until_it_is_killed")
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs it until a random moment, soon after it has told of some of the orders, then kills it; false if it came to its
/// end before.
fn run_and_kill(directory: &Path, random: &mut Random) -> bool {
    // Most often soon, so that few runs come to their end; at times while it opens its stores.
    let after = random.below(12);
    let mut child = start(directory);
    let mut told = 0;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    while told < after
        && let Some(line) = lines.next()
    {
        told += u64::from(line.contains("Order-"));
    }
    std::thread::sleep(Duration::from_micros(random.below(30_000)));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() || status.code().is_none(), "it failed by itself: {status}");
    !status.success()
}

/// The types of the events of each stream of a category.
fn films(store: &Store, category: &str) -> BTreeMap<String, Vec<String>> {
    let mut films: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for event in store.read_all().category(category).iter().unwrap() {
        let event = event.unwrap();
        let id = event.stream.as_str()[category.len() + 1..].to_owned();
        films.entry(id).or_default().push(event.event_type.to_string());
    }
    films
}

/// What must have become of each order, and of each payment.
fn expected(n: u64) -> (Vec<&'static str>, Vec<&'static str>) {
    match n % 10 {
        3 => (vec!["Placed", "Cancelled"], vec!["Refused"]),
        5 => (vec!["Placed", "Cancelled"], vec![]),
        7 => (vec!["Placed", "Cancelled"], vec!["Taken", "Refunded"]),
        _ => (vec!["Placed", "Shipped"], vec!["Taken"]),
    }
}

fn check(directory: &Path, context: &str) {
    let orders = films(&Store::open(directory.join("orders")).unwrap(), "Order");
    let payments = films(&Store::open(directory.join("payments")).unwrap(), "Payment");
    assert_eq!(orders.len() as u64, ORDERS, "{context}");
    for n in 1..=ORDERS {
        let (order, payment) = expected(n);
        let id = n.to_string();
        assert_eq!(orders[&id], order, "order {n}; {context}");
        let paid = payments.get(&id).cloned().unwrap_or_default();
        assert_eq!(paid, payment, "payment {n}; {context}");
    }
}

/// Each run goes on from where the one before was killed. When all orders are done with, an empty directory follows.
#[test]
fn no_payment_happens_twice_and_none_is_missing_whenever_it_is_killed() {
    let (mut random, rounds) = (Random(seed()), variable("FILMSTRIP_ROUNDS").unwrap_or(6));
    let mut directory = tempfile::tempdir().unwrap();
    let (mut kills, mut orders) = (0, 0);
    while kills < rounds {
        if run_and_kill(directory.path(), &mut random) {
            kills += 1;
            continue;
        }
        check(directory.path(), &format!("{kills} kills so far"));
        orders += ORDERS;
        directory = tempfile::tempdir().unwrap();
    }
    example::run(&options(directory.path())).unwrap();
    check(directory.path(), &format!("{kills} kills"));
    println!(
        "figures: kills of the example order_payment: {kills} kills, {} orders, each done with once",
        orders + ORDERS
    );
}

#[test]
fn an_undisturbed_run_and_a_second_one_end_alike() {
    let directory = tempfile::tempdir().unwrap();
    for run in 1..=2 {
        example::run(&options(directory.path())).unwrap();
        check(directory.path(), &format!("run {run}"));
    }
}
