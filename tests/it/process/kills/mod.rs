//! A process with several lanes, killed at random moments: each event leads to one command, and none is missing.
//!
//! `FILMSTRIP_ROUNDS=200 cargo test --release --test it process::kills` for a long run.

mod under_load;

use crate::common::{Random, child, seed, variable};
use crate::process::checkout::*;
use crate::process::quick;
use filmstrip::{Commit, ExpectedVersion, NewEvent, Store};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const CHILD: &str = "FILMSTRIP_KILLED_PROCESS";
/// Orders are of few instances, so that events wait for the effects of earlier ones.
const INSTANCES: u64 = 20;

/// Not a test of its own: what the killed process does.
#[test]
fn child_that_runs_a_process_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let store = Store::open(Path::new(&directory).join("s")).unwrap();
    let _process = start(&store);
    let accounts = store.repository::<Account>();
    std::thread::scope(|scope| {
        // Others write beside it.
        for n in 0..4 {
            let accounts = &accounts;
            scope.spawn(move || {
                loop {
                    accounts.execute(&format!("noise-{n}"), &1).unwrap();
                }
            });
        }
        loop {
            let order = |n| NewEvent::json("Placed", &(1 + n % 900)).unwrap();
            let place = |commit: Commit, n| {
                commit.append(format!("Order-{n}"), ExpectedVersion::Any, [order(n)])
            };
            store.commit((0..INSTANCES).fold(Commit::new(), place)).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

fn start(store: &Store) -> filmstrip::process::ProcessHandle {
    store.process::<Checkout<70>>().on_error(quick()).lanes(4).start().unwrap()
}

#[test]
fn whenever_it_is_killed_each_event_leads_to_its_commands_once() {
    let mut random = Random(seed());
    for round in 0..variable("FILMSTRIP_ROUNDS").unwrap_or(3) {
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let mut child = child(module_path!(), "child_that_runs_a_process_until_it_is_killed")
                .env(CHILD, directory.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(30 + random.below(300)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let store = Store::open(directory.path().join("s")).unwrap();
        let process = start(&store);
        store.drain(LONG).unwrap();
        process.wait_for(store.head(), LONG).unwrap();
        let mut placed = 0;
        for n in 0..INSTANCES {
            let orders = film(&store, &format!("Order-{n}")).len();
            placed += orders;
            // One command for each order, whose outcome is recorded; then two for each outcome.
            let mut own = film(&store, &format!("Checkout-{n}"));
            own.sort();
            let expected: Vec<_> =
                ["Asked", "Taken"].into_iter().flat_map(|e| vec![e; orders]).collect();
            assert_eq!(own, expected, "round {round}");
            assert_eq!(added(&store, &n.to_string()).len(), orders, "round {round}");
        }
        assert_eq!(added(&store, "all").len(), 2 * placed, "round {round}");
        println!("figures: kills beneath a process with lanes: {placed} events");
    }
}
