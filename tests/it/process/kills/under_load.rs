//! One command for each event of 1,000 instances, beside 64 writers at full load, killed at random moments.
//!
//! The n-th event of an instance leads to the command n. So what an account has noted shows whether a command is
//! missing, came twice, or came out of order.

use crate::common::{Random, child, seed, variable};
use filmstrip::process::{Effects, Trigger};
use filmstrip::{
    Aggregate, Commit, Event, ExpectedVersion, Filter, HandlerError, NewEvent, ProcessManager,
    RecordedEvent, Store,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const CHILD: &str = "FILMSTRIP_PROCESS_UNDER_LOAD";
const INSTANCES: u64 = 1_000;
const WRITERS: u64 = 64;
/// Events that come at once, and how often: 3,000 a second.
const AT_ONCE: u64 = 30;
const PAUSE: Duration = Duration::from_millis(10);
/// Kills of one store, before another one begins empty.
const ROUNDS_OF_A_STORE: u64 = 20;
const LONG: Duration = Duration::from_secs(120);

/// Gives one command for each event.
#[derive(Default, Clone)]
struct Follow;

#[derive(Clone, Serialize, Deserialize)]
enum Followed {
    Came { n: u64 },
}
impl Event for Followed {}

impl ProcessManager for Follow {
    const NAME: &'static str = "Follow";
    type Event = Followed;

    fn filter() -> Filter {
        Filter::category("Job")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        Ok(event.stream.as_str().strip_prefix("Job-").map(str::to_owned))
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<Followed>, HandlerError> {
        let Trigger::Event(event) = trigger else { return Ok(vec![]) };
        Ok(vec![Followed::Came { n: event.version.get() }])
    }

    fn evolve(&mut self, _: &Followed) {}

    fn effect(
        &self,
        event: &Followed,
        out: &mut Effects<'_>,
    ) -> Result<Vec<Followed>, HandlerError> {
        let Followed::Came { n } = event;
        let id = out.event().stream.as_str()["Follow-".len()..].to_owned();
        out.execute::<Ledger>(&id, n)?.into_result()?;
        Ok(vec![])
    }
}

/// Notes what it is told.
#[derive(Default, Clone)]
struct Ledger;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum LedgerEvent {
    Noted { n: u64 },
}
impl Event for LedgerEvent {}

impl Aggregate for Ledger {
    const CATEGORY: &'static str = "Ledger";
    type Command = u64;
    type Event = LedgerEvent;
    type Error = std::convert::Infallible;

    fn decide(&self, n: &u64) -> Result<Vec<LedgerEvent>, Self::Error> {
        Ok(vec![LedgerEvent::Noted { n: *n }])
    }

    fn evolve(&mut self, _: &LedgerEvent) {}
}

/// Not a test of its own: what the killed process does.
#[test]
fn child_that_follows_beside_writers_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let store = Store::open(&directory).unwrap();
    let _process = store.process::<Follow>().start().unwrap();
    std::io::stdout().write_all(b"\nit runs\n").unwrap();
    std::thread::scope(|scope| {
        for n in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                loop {
                    let noise = NewEvent::bytes("Noise", vec![0; 100]);
                    store.append(format!("Noise-{n}"), ExpectedVersion::Any, [noise]).unwrap();
                }
            });
        }
        for first in (store.head().get()..).step_by(AT_ONCE as usize + 1) {
            // Half of them for a few instances, so that events wait for the effects of earlier ones.
            let among = if first % 2 == 0 { INSTANCES } else { 2 * AT_ONCE };
            let come = |commit: Commit, n| {
                let stream = format!("Job-{}", (first + n) % among);
                commit.append(stream, ExpectedVersion::Any, [NewEvent::bytes("Came", "")])
            };
            store.commit((0..AT_ONCE).fold(Commit::new(), come)).unwrap();
            std::thread::sleep(PAUSE);
        }
    });
}

/// Lets it run until a random moment: while it opens, catches up, or is at work.
fn run_and_kill(directory: &Path, random: &mut Random) {
    let mut child = child(module_path!(), "child_that_follows_beside_writers_until_it_is_killed")
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    if !random.one_in(5) {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let runs = lines.map_while(Result::ok).any(|line| line == "it runs");
        assert!(runs, "it ended by itself");
    }
    std::thread::sleep(Duration::from_micros(random.below(300_000)));
    child.kill().unwrap();
    assert!(child.wait().unwrap().code().is_none(), "it ended by itself");
}

/// Lets the process come to its end, and compares what has come with what was noted. Returns how many commands.
fn check(directory: &Path, case: &str) -> usize {
    let store = Store::open(directory).unwrap_or_else(|e| panic!("{case}: {e}"));
    let process = store.process::<Follow>().start().unwrap();
    store.drain(LONG).unwrap_or_else(|e| panic!("{case}: {e}"));
    process.wait_for(store.head(), LONG).unwrap_or_else(|e| panic!("{case}: {e}"));
    let mut came: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in store.read_all().category("Job").iter().unwrap() {
        let event = event.unwrap();
        came.entry(event.stream.id().unwrap().to_owned()).or_default().push(event.version.get());
    }
    let mut noted: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in store.read_all().category("Ledger").iter().unwrap() {
        let event = event.unwrap();
        let LedgerEvent::Noted { n } = event.decode().unwrap();
        noted.entry(event.stream.id().unwrap().to_owned()).or_default().push(n);
    }
    for (id, came) in &came {
        assert_eq!(noted.get(id), Some(came), "{case}: instance {id}");
    }
    assert_eq!(noted.len(), came.len(), "{case}: somebody else was given commands");
    assert_eq!(process.status().parked, 0, "{case}");
    store.close().unwrap();
    came.values().map(Vec::len).sum()
}

#[test]
fn whenever_it_is_killed_beside_writers_each_event_leads_to_one_command() {
    let mut random = Random(seed());
    let (rounds, mut commands) = (variable("FILMSTRIP_ROUNDS").unwrap_or(2), 0);
    let mut directory = tempfile::tempdir().unwrap();
    let mut of_this = 0;
    for round in 0..rounds {
        if round > 0 && round % ROUNDS_OF_A_STORE == 0 {
            directory = tempfile::tempdir().unwrap();
            commands += std::mem::take(&mut of_this);
        }
        run_and_kill(directory.path(), &mut random);
        of_this = check(directory.path(), &format!("round {round}"));
    }
    commands += of_this;
    println!(
        "figures: kills of a process beside 64 writers: {rounds} kills, {commands} commands, each once"
    );
    assert!(commands > 0 || rounds < 5, "nothing has come");
}
