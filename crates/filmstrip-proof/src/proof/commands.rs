//! Commands that are decided on states which are not durable yet, over a disk that fails: who is told of a state
//! is told of one that is there when the store is opened again, and everyone is answered.

use crate::model::aggregate::Aggregate;
use crate::model::envelope::Envelope;
use crate::model::event_set::set::Event;
use crate::model::repository::outcome::ExecuteError;
use crate::proof::faults::faulty;
use crate::store::Store;
use crate::value::error::{Error, ErrorKind};
use crate::value::event::Metadata;
use crate::value::random::{Random, first_seed, rounds};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);
const THREADS: u64 = 6;
const COMMANDS: u64 = 60;

/// A state that tells of which events it was computed: of these, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Link {
    version: u64,
    hash: u128,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Linked {
    Linked { saw: Link, filler: String },
}
impl Event for Linked {}

#[derive(Debug)]
struct Refused(Link);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused at {:?}", self.0)
    }
}

impl std::error::Error for Refused {}

#[derive(Debug, Clone, Default)]
struct Chain(Link);

impl Aggregate for Chain {
    const CATEGORY: &'static str = "Chain";
    /// The bytes of the event; none, if it is to be refused.
    type Command = Option<usize>;
    type Event = Linked;
    type Error = Refused;

    fn decide(&self, bytes: &Option<usize>) -> Result<Vec<Linked>, Refused> {
        let filler = "x".repeat(bytes.ok_or(Refused(self.0))?);
        Ok(vec![Linked::Linked { saw: self.0, filler }])
    }

    fn evolve(&mut self, _: &Linked) {}

    fn evolve_at(&mut self, _: &Linked, envelope: &Envelope<'_>) {
        let Link { version, hash } = self.0;
        let hash = Uuid::new_v5(&Uuid::from_u128(hash), envelope.id().as_bytes());
        self.0 = Link { version: version + 1, hash: hash.as_u128() };
    }
}

/// Every state that the hot stream has had, each event of which was decided on the one before.
fn states(store: &Store) -> HashSet<Link> {
    let mut before = Link::default();
    let mut states = HashSet::from([before]);
    let Ok(history) = store.repository::<Chain>().history("hot") else { return states };
    for entry in history {
        let entry = entry.unwrap();
        let Linked::Linked { saw, .. } = entry.decoded;
        assert_eq!(saw, before, "version {} was decided on another state", entry.event.version);
        before = entry.state.0;
        states.insert(before);
    }
    states
}

/// What one command told: the state after its event, or that of its refusal.
fn told(store: &Store, random: &mut Random, bytes: usize) -> Result<Link, Error> {
    let command = (random.below(4) > 0).then_some(bytes);
    let told = match random.below(3) {
        0 => {
            let side = random.below(5).to_string();
            let done = store.transact(Metadata::default(), |tx| {
                tx.execute::<Chain>(&side, &Some(10))?;
                Ok::<_, ExecuteError<Refused>>(tx.execute::<Chain>("hot", &command)?.state.0)
            });
            done.map(|done| done.outcome.unwrap()).map_err(|error| match error {
                ExecuteError::Rejected(error) => error,
                ExecuteError::Conflict(conflict) => ExecuteError::Conflict(conflict),
                ExecuteError::Store(error) => ExecuteError::Store(error),
            })
        }
        _ => store.repository::<Chain>().execute("hot", &command).map(|done| done.state.0),
    };
    match told {
        Ok(link) | Err(ExecuteError::Rejected(Refused(link))) => Ok(link),
        Err(error) => Err(error.into()),
    }
}

/// Lets threads give commands together. What each was told, and each failure; `goes_on` says whether one that met it
/// gives further commands.
fn told_at_once(
    store: &Store,
    seed: u64,
    bytes: usize,
    goes_on: fn(ErrorKind) -> bool,
) -> (Vec<Link>, Vec<ErrorKind>) {
    let (answers, answered) = channel();
    for thread in 0..THREADS {
        let (store, answers) = (store.clone(), answers.clone());
        std::thread::spawn(move || {
            let mut random = Random::new(seed * 100 + thread);
            let (mut links, mut failures) = (Vec::new(), Vec::new());
            for _ in 0..COMMANDS {
                match told(&store, &mut random, bytes) {
                    Ok(link) => links.push(link),
                    Err(error) => failures.push(error.kind()),
                }
                if failures.last().is_some_and(|kind| !goes_on(*kind)) {
                    break;
                }
            }
            drop(store);
            let _ = answers.send((links, failures));
        });
    }
    drop(answers);
    let (mut links, mut failures) = (Vec::new(), Vec::new());
    loop {
        match answered.recv_timeout(PATIENCE) {
            Ok((its_links, its_failures)) => {
                links.extend(its_links);
                failures.extend(its_failures);
            }
            Err(RecvTimeoutError::Disconnected) => return (links, failures),
            Err(RecvTimeoutError::Timeout) => panic!("somebody waits for ever"),
        }
    }
}

#[test]
fn whichever_write_fails_beneath_commands_they_were_told_of_what_is_there_afterwards() {
    let mut met = 0;
    for round in 0..rounds(12) {
        let seed = first_seed() + round;
        let directory = tempfile::tempdir().unwrap();
        let (faults, store) = faulty(directory.path());
        let mut random = Random::new(seed);
        match round % 3 {
            0 => {}
            1 => faults.halve_writes(),
            _ => faults.panic_instead(),
        }
        faults.fail_in(5 + random.below(60));
        let (told, failures) = told_at_once(&store, seed, 10, |_| false);
        let expected = [ErrorKind::OutcomeUnknown, ErrorKind::ReadOnly];
        assert!(failures.iter().all(|kind| expected.contains(kind)), "seed {seed}: {failures:?}");
        met += u64::from(!failures.is_empty());
        // What is still served is not more than what was told.
        drop(states(&store));
        let _ = store.close();
        let states = states(&Store::open(directory.path()).unwrap());
        let lost: Vec<_> = told.iter().filter(|link| !states.contains(link)).collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?} are not there");
    }
    println!("figures: commands over failing disks: {met} of {} rounds met a failure", rounds(12));
    assert!(met > 0, "no write failed");
}

#[test]
fn commands_on_a_disk_that_is_full_at_times_lose_nothing_and_are_told_nothing_that_never_was() {
    for round in 0..rounds(3) {
        let seed = first_seed() + round;
        let directory = tempfile::tempdir().unwrap();
        let (faults, store) = faulty(directory.path());
        let fills = std::thread::spawn({
            let faults = Arc::clone(&faults);
            move || {
                let mut random = Random::new(seed);
                for n in 0..200 {
                    faults.set_full(n % 2 == 0);
                    std::thread::sleep(Duration::from_micros(100 + random.below(2_000)));
                }
                faults.set_full(false);
            }
        });
        let is_full = |kind| kind == ErrorKind::StorageFull;
        let (told, failures) = told_at_once(&store, seed, 100_000, is_full);
        fills.join().unwrap();
        assert!(failures.iter().all(|kind| is_full(*kind)), "seed {seed}: {failures:?}");
        println!(
            "figures: commands on full disks: {} were told, {} met one",
            told.len(),
            failures.len()
        );
        let states = states(&store);
        let lost: Vec<_> = told.iter().filter(|link| !states.contains(link)).collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?} never were");
        store.close().unwrap();
    }
}
