//! Decisions with command ids over a disk that fails: sent again to the reopened store, each is recorded once, and what
//! they number has no gap.

use crate::model::decision::Decision;
use crate::model::decision::boundary::DecisionModel;
use crate::model::decision::outcome::Decided;
use crate::model::event_set::set::Event;
use crate::proof::faults::faulty;
use crate::store::Store;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::Metadata;
use crate::value::filter::Filter;
use crate::value::random::{Random, first_seed, rounds};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use uuid::Uuid;

const THREADS: u64 = 6;
const INVOICES: u64 = 12;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Invoice {
    Issued { number: u64 },
}
impl Event for Invoice {}

struct LastNumber(u64);

impl DecisionModel for LastNumber {
    type Event = Invoice;
    fn filter(&self) -> Filter {
        Filter::category("Invoice")
    }
    fn newest(&self) -> Option<u64> {
        Some(1)
    }
    fn evolve(&mut self, Invoice::Issued { number }: &Invoice) {
        self.0 = *number;
    }
}

struct Issue;

impl Decision for Issue {
    type Model = LastNumber;
    type Event = Invoice;
    type Error = Infallible;
    fn model(&self) -> LastNumber {
        LastNumber(0)
    }
    fn decide(&self, last: &LastNumber) -> std::result::Result<Vec<Invoice>, Infallible> {
        Ok(vec![Invoice::Issued { number: last.0 + 1 }])
    }
    fn stream(&self, Invoice::Issued { number }: &Invoice) -> String {
        format!("Invoice-{number}")
    }
}

fn issue(store: &Store, command: Uuid) -> Result<Decided<Invoice>> {
    let metadata = Metadata::default().command_id(command);
    Ok(store.decision(&Issue).metadata(metadata).retries(u32::MAX).run()?)
}

/// What one thread was told of each of its commands. It gives none after a failure.
fn issued(store: &Store, thread: u64) -> Vec<(Uuid, Result<Decided<Invoice>>)> {
    let mut told = Vec::new();
    for n in 0..INVOICES {
        let command = Uuid::from_u128(u128::from(thread * INVOICES + n + 1));
        let outcome = issue(store, command);
        let has_failed = outcome.is_err();
        told.push((command, outcome));
        if has_failed {
            break;
        }
    }
    told
}

#[test]
fn whichever_write_fails_beneath_decisions_each_is_recorded_once_when_it_is_sent_again() {
    let (mut met, mut unknown) = (0, 0);
    for round in 0..rounds(12) {
        let seed = first_seed() + round;
        let directory = tempfile::tempdir().unwrap();
        let (faults, store) = faulty(directory.path());
        let mut random = Random::new(seed);
        if round % 2 == 1 {
            faults.halve_writes();
        }
        faults.fail_in(5 + random.below(60));
        let told: Vec<_> = std::thread::scope(|scope| {
            let store = &store;
            let threads: Vec<_> =
                (0..THREADS).map(|thread| scope.spawn(move || issued(store, thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let _ = store.close();
        let kinds = told.iter().filter_map(|(_, told)| told.as_ref().err().map(Error::kind));
        let kinds: Vec<_> = kinds.collect();
        let expected = [ErrorKind::OutcomeUnknown, ErrorKind::ReadOnly];
        assert!(kinds.iter().all(|kind| expected.contains(kind)), "seed {seed}: {kinds:?}");
        met += u64::from(!kinds.is_empty());

        let store = Store::open(directory.path()).unwrap();
        let mut numbers = BTreeMap::new();
        for (command, before) in &told {
            let again = issue(&store, *command).unwrap();
            if let Ok(before) = before {
                assert!(again.already_executed, "seed {seed}: {command} was acknowledged");
                assert_eq!(again.event_ids, before.event_ids, "seed {seed}: {command}");
            }
            unknown += u64::from(before.is_err() && again.already_executed);
            let [Invoice::Issued { number }] = again.events[..] else { panic!("{again:?}") };
            numbers.insert(number, *command);
        }
        let commands = told.len() as u64;
        assert!(numbers.keys().copied().eq(1..=commands), "seed {seed}: {numbers:?}");
        assert_eq!(store.head().get(), commands, "seed {seed}: one was recorded twice");
    }
    println!(
        "figures: decisions over failing disks: {met} of {} rounds met a failure, {unknown} were recorded that had \
         failed",
        rounds(12)
    );
    assert!(met > 0, "no write failed");
}
