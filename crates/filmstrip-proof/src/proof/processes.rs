//! Fails each disk operation in turn, and cuts the power at each one, beneath a process with several lanes.
//!
//! * Of each event that is in the log afterwards, the reaction and the commands are there once, and none is missing.
//! * Each instance, and each aggregate that it gives commands to, is as if the events had come one after the other.
//! * What was parked is parked, and what was skipped when the call returned stays skipped.
//!
//! The oracle knows what the process is meant to do, and computes it from the events that are in the log.
//!
//! `FILMSTRIP_ROUNDS=2 cargo test --release -p filmstrip-proof proof::processes -- --nocapture` for all operations.

use crate::log::commit::Commit;
use crate::model::aggregate::Aggregate;
use crate::model::event_set::set::Event;
use crate::model::policy::OnError;
use crate::model::process::contract::{ProcessManager, Trigger};
use crate::model::process::effects::Effects;
use crate::model::process::handle::ProcessHandle;
use crate::proof::operations::{Operation, Reached, Site, Tell, cut_everywhere, fail_everywhere};
use crate::store::Store;
use crate::testing::ManualClock;
use crate::value::clock::Clock;
use crate::value::error::{HandlerError, Result};
use crate::value::event::{NewEvent, RecordedEvent};
use crate::value::filter::Filter;
use crate::value::position::ExpectedVersion;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const LANES: usize = 4;
/// What the deadline of the job `n` leads to: a command of its own.
const LATE: u64 = 1_000;
/// What the answer to a command leads to: another one.
const ANSWERED: u64 = 100;

const OPERATION: Operation = Operation {
    name: "a process with lanes",
    prepare: |site| {
        site.open().and_then(|store| store.close()).unwrap();
        0
    },
    act: work,
    judge,
};

#[test]
fn whichever_operation_of_the_disk_fails_each_command_runs_once() {
    let failed = fail_everywhere(&OPERATION);
    println!("figures: failing operations beneath a process with lanes: {failed}");
}

#[test]
fn wherever_the_power_is_cut_each_command_runs_once() {
    let images = cut_everywhere(&OPERATION);
    println!("figures: power cuts beneath a process with lanes: {images} images");
}

// ---- what comes ---------------------------------------------------------------------------------

/// A job of an instance, by the type of its event. Its number is its place among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// One command.
    Once,
    /// Two own events, each with a command.
    Twice,
    /// One command, whose answer is recorded and leads to another one.
    Answered,
    /// A command in an hour, unless another job comes before.
    Later,
    /// Nothing.
    Nothing,
    /// Its instance fails.
    Failing,
    /// Nobody knows whose it is.
    Lost,
}

/// Commits, each of some instances' jobs, and what is done after each.
const COMMITS: &[(&[(&str, Job)], Then)] = &[
    (&[("a", Job::Once), ("b", Job::Twice), ("c", Job::Answered)], Then::Nothing),
    // They wait for the effects of those before.
    (&[("a", Job::Twice), ("b", Job::Once), ("c", Job::Once), ("d", Job::Nothing)], Then::Nothing),
    (&[("bad", Job::Once), ("late", Job::Later), ("early", Job::Later)], Then::Rests),
    (&[("bad", Job::Failing), ("early", Job::Answered)], Then::Nothing),
    (&[("a", Job::Answered), ("bad", Job::Twice), ("x", Job::Lost)], Then::Rests),
    (&[("d", Job::Once), ("bad", Job::Answered)], Then::TwoHours),
    (&[("late", Job::Once), ("a", Job::Once), ("c", Job::Later)], Then::Rests),
    (&[("b", Job::Answered)], Then::Skips),
    (&[("bad", Job::Once), ("c", Job::Twice), ("late", Job::Later)], Then::TwoHours),
    (&[("d", Job::Answered), ("a", Job::Once)], Then::Nothing),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    /// Waits until nothing is left to do.
    Rests,
    TwoHours,
    /// Gives up what is parked of the failing instance.
    Skips,
}

/// All jobs, in order.
fn jobs() -> impl Iterator<Item = (&'static str, Job)> {
    COMMITS.iter().flat_map(|(jobs, _)| jobs.iter().copied())
}

fn job_of(n: u64) -> Job {
    jobs().nth(n as usize - 1).map_or(Job::Once, |(_, job)| job)
}

fn append(commit: Commit, n: u64, id: &str) -> Commit {
    let event = NewEvent::json("Job", &n).unwrap();
    commit.append(format!("Job-{id}"), ExpectedVersion::Any, [event])
}

// ---- the process, and whom it gives commands to ---------------------------------------------------

#[derive(Debug, Default, Clone)]
struct Watch {
    waiting: Option<(u64, DateTime<Utc>)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Watched {
    Came { n: u64, command: u64 },
    Waits { n: u64, until: DateTime<Utc> },
    Answer { command: u64 },
}
impl Event for Watched {}

impl ProcessManager for Watch {
    const NAME: &'static str = "Watch";
    type Event = Watched;

    fn filter() -> Filter {
        Filter::category("Job")
    }

    fn route(event: &RecordedEvent) -> Result<Option<String>, HandlerError> {
        match job_of(event.json()?) {
            Job::Lost => Err("nobody knows".into()),
            _ => Ok(event.stream.id().map(str::to_owned)),
        }
    }

    fn react(&self, trigger: Trigger<'_>) -> Result<Vec<Watched>, HandlerError> {
        let Trigger::Event(event) = trigger else {
            let n = self.waiting.ok_or("it waits for nothing")?.0;
            return Ok(vec![Watched::Came { n, command: LATE + n }]);
        };
        let n = event.json()?;
        Ok(match job_of(n) {
            Job::Once | Job::Answered => vec![Watched::Came { n, command: n }],
            Job::Twice => [n, n].map(|command| Watched::Came { n, command }).to_vec(),
            Job::Later => {
                vec![Watched::Waits { n, until: event.recorded_at + TimeDelta::hours(1) }]
            }
            Job::Nothing | Job::Lost => vec![],
            Job::Failing => return Err("it fails".into()),
        })
    }

    fn evolve(&mut self, event: &Watched) {
        match event {
            Watched::Waits { n, until } => self.waiting = Some((*n, *until)),
            Watched::Came { .. } => self.waiting = None,
            Watched::Answer { .. } => {}
        }
    }

    fn effect(&self, event: &Watched, out: &mut Effects<'_>) -> Result<Vec<Watched>, HandlerError> {
        let (command, answer) = match event {
            Watched::Waits { .. } => return Ok(vec![]),
            Watched::Came { n, command } => (*command, job_of(*n) == Job::Answered),
            Watched::Answer { command } => (*command, false),
        };
        let id = out.event().stream.id().unwrap_or_default().to_owned();
        out.execute::<Ledger>(&id, &command)?.into_result()?;
        Ok(if answer { vec![Watched::Answer { command: ANSWERED + command }] } else { vec![] })
    }

    fn deadline(&self) -> Option<DateTime<Utc>> {
        self.waiting.map(|(_, until)| until)
    }
}

/// Notes what it is told, and after how much else.
#[derive(Debug, Default, Clone, PartialEq)]
struct Ledger {
    noted: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum LedgerEvent {
    Noted { command: u64, before: u64 },
}
impl Event for LedgerEvent {}

impl Aggregate for Ledger {
    const CATEGORY: &'static str = "Ledger";
    type Command = u64;
    type Event = LedgerEvent;
    type Error = Infallible;

    fn decide(&self, command: &u64) -> Result<Vec<LedgerEvent>, Infallible> {
        Ok(vec![LedgerEvent::Noted { command: *command, before: self.noted.len() as u64 }])
    }

    fn evolve(&mut self, LedgerEvent::Noted { command, .. }: &LedgerEvent) {
        self.noted.push(*command);
    }
}

// ---- what is done with it, and what must be there -------------------------------------------------

fn open(site: &Site, clock: &ManualClock) -> Result<Store> {
    let builder = Store::builder().disk(site.disk()).clock(clock.clone());
    builder.open(site.store())
}

fn start(store: &Store) -> Result<ProcessHandle> {
    let on_error = OnError::default().retries(1).first_delay(Duration::from_millis(1));
    store.process::<Watch>().lanes(LANES).on_error(on_error).start()
}

fn noon() -> ManualClock {
    ManualClock::new("2024-05-01T12:00:00Z".parse().unwrap())
}

fn work(site: &Site, tell: Tell<'_>) -> Result<()> {
    let clock = noon();
    let store = open(site, &clock)?;
    let worked = work_on(&store, &clock, tell);
    // Also after a failure: the command of an effect that is under way holds a handle, so to drop this one may not
    // close the store at once.
    let closed = store.close();
    worked.and(closed)
}

fn work_on(store: &Store, clock: &ManualClock, tell: Tell<'_>) -> Result<()> {
    let process = start(store)?;
    let mut reached = Reached { acknowledged: 0, is_done: false };
    for (jobs, then) in COMMITS {
        let add = |(commit, n), (id, _): &(&str, Job)| (append(commit, n, id), n + 1);
        let (commit, next) = jobs.iter().fold((Commit::new(), reached.acknowledged + 1), add);
        store.commit(commit)?;
        reached.acknowledged = next - 1;
        tell(reached);
        match then {
            Then::Nothing => {}
            Then::Rests => store.drain(LONG)?,
            Then::TwoHours => clock.advance(Duration::from_secs(7_200)),
            Then::Skips => {
                process.skip("bad")?;
                reached.is_done = true;
                tell(reached);
            }
        }
    }
    store.drain(LONG)?;
    process.stop()
}

/// What must have been noted of each instance, in order, if all that came is in `log`. `skipped`: what fails was given
/// up.
fn expected(
    log: &[RecordedEvent],
    skipped: bool,
    end: DateTime<Utc>,
) -> BTreeMap<String, Vec<u64>> {
    let mut noted: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut waiting: BTreeMap<String, (u64, DateTime<Utc>)> = BTreeMap::new();
    let mut failed = Vec::new();
    for event in log {
        let (id, n) = (event.stream.id().unwrap().to_owned(), event.json::<u64>().unwrap());
        let job = job_of(n);
        if job == Job::Lost || failed.contains(&id) {
            continue;
        }
        let commands = noted.entry(id.clone()).or_default();
        if let Some((n, _)) = waiting.get(&id).filter(|(_, until)| *until < event.recorded_at) {
            commands.push(LATE + n);
            waiting.remove(&id);
        }
        match job {
            Job::Once => commands.push(n),
            Job::Twice => commands.extend([n, n]),
            Job::Answered => commands.extend([n, ANSWERED + n]),
            Job::Later => {
                waiting.insert(id.clone(), (n, event.recorded_at + TimeDelta::hours(1)));
            }
            Job::Failing if !skipped => failed.push(id.clone()),
            Job::Nothing | Job::Failing | Job::Lost => {}
        }
        if matches!(job, Job::Once | Job::Twice | Job::Answered) {
            waiting.remove(&id);
        }
    }
    for (id, (n, until)) in waiting {
        if until <= end && !failed.contains(&id) {
            noted.entry(id).or_default().push(LATE + n);
        }
    }
    noted.retain(|_, commands| !commands.is_empty());
    noted
}

/// Compares what was noted with what must have been; each in order, and each decided on all that was before it.
fn compare(store: &Store, skipped: bool, end: DateTime<Utc>) {
    let log = store.read_all().category("Job").collect().unwrap();
    let mut noted: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in store.read_all().category("Ledger").collect().unwrap() {
        let commands = noted.entry(event.stream.id().unwrap().to_owned()).or_default();
        let LedgerEvent::Noted { command, before } = event.decode().unwrap();
        assert_eq!(before, commands.len() as u64, "{} decided on another state", event.stream);
        commands.push(command);
    }
    let expected = expected(&log, skipped, end);
    assert_eq!(noted, expected);
    for (id, commands) in expected {
        assert_eq!(store.repository::<Ledger>().load(&id).unwrap().state.noted, commands, "{id}");
    }
    // Each reaction once.
    let mut came = BTreeMap::new();
    for event in store.read_all().category("Watch").collect().unwrap() {
        if let Watched::Came { n, command } = event.decode().unwrap() {
            *came.entry((n, command)).or_insert(0) += 1;
        }
    }
    for ((n, command), times) in came {
        let twice = job_of(n) == Job::Twice && command < LATE;
        assert_eq!(times, if twice { 2 } else { 1 }, "reactions to {n}");
    }
}

/// Lets the process come to its end, compares, and goes on.
fn judge(site: &Site, reached: Reached) {
    let clock = noon();
    clock.advance(Duration::from_secs(36_000));
    let end = clock.now();
    let store = open(site, &clock).unwrap_or_else(|e| panic!("it does not open: {e}"));
    let process = start(&store).unwrap();
    store.drain(LONG).unwrap_or_else(|e| panic!("it does not go on: {e}"));
    let log = store.read_all().category("Job").collect().unwrap();
    let met: Vec<u64> = log.iter().map(|event| event.json().unwrap()).collect();
    assert!(met.iter().copied().eq(1..=met.len() as u64), "{met:?}");
    let last = met.len() as u64;
    assert!(last >= reached.acknowledged, "{last} of {}", reached.acknowledged);
    let is_there = |job: Job| jobs().take(met.len()).any(|(_, of)| of == job);
    // The failing one, unless it was skipped; a call that failed, or that nobody has an answer to, may have done it.
    let parked: Vec<String> = process.parked().unwrap().into_iter().map(|p| p.id).collect();
    let is_parked = parked.iter().any(|id| id == "bad");
    assert!(!(is_parked && reached.is_done), "what was skipped is parked");
    let at_skip = COMMITS.iter().take_while(|(_, then)| *then != Then::Skips);
    let at_skip = at_skip.map(|(jobs, _)| jobs.len() as u64).sum::<u64>() + 1;
    assert!(is_parked || !is_there(Job::Failing) || last >= at_skip, "nobody has skipped it");
    let is_lost = parked.iter().any(String::is_empty);
    assert_eq!(is_lost, is_there(Job::Lost), "what was of no known instance is not parked");
    assert_eq!(parked.len(), usize::from(is_parked) + usize::from(is_lost));
    compare(&store, !is_parked, end);
    for id in &parked {
        process.skip(id).unwrap();
    }
    go_on(&store, &process, last);
    compare(&store, true, end);
    let findings = store.verify().unwrap().findings;
    assert!(findings.is_empty(), "{findings:#?}");
    store.close().unwrap();
    // Nothing is done again after a restart.
    let store = open(site, &clock).unwrap();
    let process = start(&store).unwrap();
    store.drain(LONG).unwrap();
    assert_eq!(process.status().parked, 0, "what was skipped is parked again");
    compare(&store, true, end);
    store.close().unwrap();
}

fn go_on(store: &Store, process: &ProcessHandle, last: u64) {
    let first = jobs().count() as u64 + 1;
    for (n, id) in (first..).zip(["a", "bad", "late", "new"]) {
        store.commit(append(Commit::new(), n, id)).unwrap();
    }
    store.drain(LONG).unwrap();
    process.wait_for(store.head(), LONG).unwrap();
    assert!(last < first);
}
