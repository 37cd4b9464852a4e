//! An aggregate, events, and runtimes.

use filmstrip::{Aggregate, Event, NewEvent, Store};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::future::Future;
use std::time::Duration;

pub(crate) fn event(n: u64) -> NewEvent {
    NewEvent::json("Stepped", &n).expect("a number")
}

pub(crate) fn store() -> filmstrip::aio::Store {
    Store::temporary().expect("a store").aio()
}

/// Runs a future on two threads of tokio. If it does not end, the process does: what hangs would hang again when it is
/// dropped.
pub(crate) fn tokio<F: Future<Output: Send> + Send>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_time().build().expect("a runtime");
    runtime.block_on(async {
        match tokio::time::timeout(patience(), future).await {
            Ok(output) => output,
            Err(_) => {
                eprintln!("it has not ended within {:?}", patience());
                std::process::exit(101);
            }
        }
    })
}

/// How long something may take that ends.
pub(crate) fn patience() -> Duration {
    match std::env::var_os("FILMSTRIP_FAILPOINT") {
        Some(_) => Duration::from_secs(10),
        None => Duration::from_secs(120),
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Moved {
    By(i64),
}

impl Event for Moved {}

#[derive(Debug)]
pub(crate) struct TooLow;

impl fmt::Display for TooLow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the balance would be below zero")
    }
}

impl std::error::Error for TooLow {}

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Account {
    pub(crate) balance: i64,
}

/// The command that makes `decide` panic.
pub(crate) const PANIC: i64 = i64::MAX;

impl Aggregate for Account {
    const CATEGORY: &'static str = "Account";
    type Command = i64;
    type Event = Moved;
    type Error = TooLow;

    fn decide(&self, by: &i64) -> Result<Vec<Moved>, TooLow> {
        assert_ne!(*by, PANIC, "this command is not decided");
        if self.balance + by < 0 { Err(TooLow) } else { Ok(vec![Moved::By(*by)]) }
    }

    fn evolve(&mut self, Moved::By(by): &Moved) {
        self.balance += by;
    }
}
