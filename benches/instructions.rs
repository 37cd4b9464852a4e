//! Instructions on the hot paths, as valgrind counts them: figures that need no quiet machine, beside a
//! recorded baseline.
//!
//! ```text
//! cargo bench --bench instructions                     count each path, beside the baseline
//! cargo bench --bench instructions -- --check          fail if one has risen by more than 5 %
//! cargo bench --bench instructions -- --record         rewrite benches/instructions.baseline
//! cargo bench --bench instructions -- run PATH ROUNDS  go one path, without valgrind: for perf
//! ```
//!
//! * Only the thread that goes a path is counted, and only while it does: callgrind's `--toggle-collect`
//!   on `count_here`, which each thread enters for itself. So the indexer, and the setting up, are not in
//!   the figures; nor is the kernel.
//! * What is to be read is written before, by a process without valgrind.
//! * Counts agree within 1 % from run to run (hash maps are keyed at random). They do not from one compiler
//!   to the next; the baseline says whose it is. Valgrind shows programs a processor of its own, which has
//!   AVX2 where this one has.
//!
//! `gungraun` (once `iai-callgrind`) does as much and more, and wants a runner of its own version installed
//! on each machine; what is needed of it fits here.

use filmstrip::{Aggregate, Commit, Event, ExpectedVersion, NewEvent, Repository, Store, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use uuid::Uuid;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.baseline");
/// A rise of more than this much fails the check.
const RISE_PERCENT_MAX: f64 = 5.0;
const PAYLOAD_BYTES: usize = 300;
const STREAMS: u64 = 1_000;
const PER_STREAM: u64 = 20;
/// So few that no thread reads ahead.
const READ_EVENTS: u64 = 4_000;
const WARM_UP_ROUNDS: u64 = 2;

type Round<'a> = Box<dyn FnMut(u64) + 'a>;

/// One way through the engine.
struct HotPath {
    name: &'static str,
    /// What is counted, and how many of them one round has.
    unit: &'static str,
    units: u64,
    /// Rounds that are counted.
    rounds: u64,
    prepare: fn(&Store),
    /// Gets the store ready, and returns what goes the path's nth round.
    go: fn(&Store) -> Round<'_>,
}

const HOT_PATHS: [HotPath; 8] = [
    HotPath {
        name: "append-1",
        unit: "commit",
        units: 1,
        rounds: 2_000,
        prepare: begin_streams,
        go: |store| Box::new(|n| append_one(store, n)),
    },
    HotPath {
        name: "append-100-to-100",
        unit: "event",
        units: 100,
        rounds: 60,
        prepare: begin_streams,
        go: |store| Box::new(|n| append_to_streams(store, n, 100)),
    },
    HotPath {
        name: "append-64-to-1",
        unit: "event",
        units: 64,
        rounds: 60,
        prepare: begin_streams,
        go: |store| Box::new(|n| append_to_one(store, n, 64)),
    },
    HotPath {
        name: "read-all",
        unit: "event",
        units: READ_EVENTS,
        rounds: 10,
        prepare: fill,
        go: |store| Box::new(|_| read_all(store)),
    },
    HotPath {
        name: "read-all-decode",
        unit: "event",
        units: READ_EVENTS,
        rounds: 5,
        prepare: fill_with_json,
        go: |store| Box::new(|_| read_and_decode(store)),
    },
    HotPath {
        name: "read-stream-tail",
        unit: "event",
        units: PER_STREAM,
        rounds: 200,
        prepare: |store| (0..PER_STREAM).for_each(|n| append_to_streams(store, 10 * n, 100)),
        go: |store| Box::new(|n| read_stream(store, n % 100)),
    },
    HotPath {
        name: "read-stream-index",
        unit: "event",
        units: PER_STREAM,
        rounds: 400,
        prepare: fill,
        go: |store| Box::new(|n| read_stream(store, n * 7_919 % STREAMS)),
    },
    HotPath {
        name: "command-hot",
        unit: "command",
        units: 1,
        rounds: 1_000,
        prepare: |_| {},
        go: |store| {
            let accounts: Repository<Account> = store.repository();
            Box::new(move |n| drop(black_box(accounts.execute("1", &n).expect("executed"))))
        },
    },
];

/// What valgrind counts on the thread that is in here.
#[inline(never)]
fn count_here(go: &mut dyn FnMut(u64), rounds: u64) {
    (0..rounds).for_each(|n| go(WARM_UP_ROUNDS + n));
}

fn main() -> ExitCode {
    // Cargo adds arguments of its own, such as `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [] => count_all(After::Show),
        ["--check"] => count_all(After::Check),
        ["--record"] => count_all(After::Record),
        ["run", name, rounds] => run_alone(name, rounds),
        ["counted", name, directory] => hot_path(name).map(|path| {
            path.run(&open(Path::new(directory)), path.rounds);
        }),
        _ => Err(format!("unknown arguments: {}", arguments.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// What becomes of the figures.
enum After {
    Show,
    Check,
    Record,
}

fn count_all(after: After) -> Result<(), String> {
    let Some(valgrind) = version_of("valgrind") else {
        let message = "valgrind is not installed; `apt-get install valgrind` brings it";
        println!("{message}");
        return match after {
            After::Show => Ok(()),
            After::Check | After::Record => Err(message.to_owned()),
        };
    };
    let rustc = version_of("rustc").unwrap_or_else(|| "an unknown rustc".to_owned());
    let tools = format!("{rustc}, {valgrind}, {}", std::env::consts::ARCH);
    let baseline = Baseline::read();
    println!("{:<32} {:>8} {:>8} {:>9}", "instructions", "counted", "baseline", "change");
    let mut counts = Vec::new();
    for path in &HOT_PATHS {
        let count = path.count()?;
        baseline.show_beside(path, count);
        counts.push((path.name, count));
    }
    if tools != baseline.tools {
        println!("the baseline is of {}; this is {tools}", baseline.tools);
    }
    match after {
        After::Show => Ok(()),
        After::Check => baseline.check(&counts, &tools),
        After::Record => write_baseline(&tools, &counts),
    }
}

impl HotPath {
    /// Goes the path, after a few rounds that are not counted.
    fn run(&self, store: &Store, rounds: u64) {
        let mut go = (self.go)(store);
        (0..WARM_UP_ROUNDS).for_each(&mut go);
        count_here(&mut go, rounds);
    }

    /// Instructions per unit.
    fn count(&self) -> Result<u64, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (store, out) = (directory.path().join("store"), directory.path().join("callgrind"));
        self.prepare(&store);
        let this = std::env::current_exe().expect("this program has a path");
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--toggle-collect=*count_here*", "--error-exitcode=1"])
            // Only one thread runs at a time. One of sled's spins while another sets up what it waits for, which
            // otherwise may never get its turn.
            .arg("--fair-sched=yes")
            .arg(format!("--callgrind-out-file={}", out.display()))
            .arg(this)
            .args(["counted", self.name])
            .arg(&store)
            .output();
        let output = output.map_err(|e| format!("valgrind did not start: {e}"))?;
        if !output.status.success() {
            let Output { status, stderr, .. } = output;
            let stderr = String::from_utf8_lossy(&stderr);
            return Err(format!("{} under valgrind: {status}\n{stderr}", self.name));
        }
        let text = fs::read_to_string(&out).map_err(|e| format!("{}: {e}", out.display()))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: Option<u64> = total.and_then(|total| total.trim().parse().ok());
        match total {
            None | Some(0) => Err(format!("callgrind has counted nothing of {}", self.name)),
            Some(total) => Ok(total / (self.units * self.rounds)),
        }
    }

    fn prepare(&self, directory: &Path) {
        let store = open(directory);
        (self.prepare)(&store);
        store.close().expect("closed");
    }
}

fn run_alone(name: &str, rounds: &str) -> Result<(), String> {
    let rounds = rounds.parse().map_err(|e| format!("{rounds}: {e}"))?;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = hot_path(name)?;
    path.prepare(directory.path());
    path.run(&open(directory.path()), rounds);
    Ok(())
}

fn hot_path(name: &str) -> Result<&'static HotPath, String> {
    const { &HOT_PATHS }
        .iter()
        .find(|path| path.name == name)
        .ok_or_else(|| format!("there is no path {name}"))
}

fn version_of(tool: &str) -> Option<String> {
    let output = Command::new(tool).arg("--version").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What was counted before, and with which tools.
#[derive(Default)]
struct Baseline {
    tools: String,
    counts: BTreeMap<String, u64>,
}

impl Baseline {
    /// The recorded one; an empty one if there is none.
    fn read() -> Baseline {
        let text = fs::read_to_string(BASELINE).unwrap_or_default();
        let mut baseline = Baseline::default();
        for line in text.lines() {
            if let Some(tools) = line.strip_prefix("# ") {
                tools.clone_into(&mut baseline.tools);
            } else if let Some((name, count)) = line.split_once(' ') {
                let count = count.trim().parse().expect("the baseline holds numbers");
                baseline.counts.insert(name.to_owned(), count);
            }
        }
        baseline
    }

    /// How much `count` has risen.
    fn rise_percent(&self, name: &str, count: u64) -> Option<f64> {
        let before = *self.counts.get(name)?;
        Some((count as f64 / before as f64 - 1.0) * 100.0)
    }

    fn show_beside(&self, path: &HotPath, count: u64) {
        let name = format!("{}, per {}", path.name, path.unit);
        let before = self.counts.get(path.name).map_or("-".to_owned(), u64::to_string);
        let rise = self.rise_percent(path.name, count).unwrap_or(0.0);
        println!("{name:<32} {count:>8} {before:>8} {rise:>+7.1} %");
    }

    fn check(&self, counts: &[(&str, u64)], tools: &str) -> Result<(), String> {
        let has_risen = |name: &str, count: u64| {
            self.rise_percent(name, count).is_none_or(|rise| rise > RISE_PERCENT_MAX)
        };
        let risen: Vec<&str> = counts
            .iter()
            .filter_map(|&(name, count)| has_risen(name, count).then_some(name))
            .collect();
        if risen.is_empty() {
            return Ok(());
        }
        let mut message =
            format!("risen by more than {RISE_PERCENT_MAX} %, or new: {}", risen.join(", "));
        if tools != self.tools {
            message += "; with other tools than the baseline's: count the state before with these \
                        first, and record it";
        }
        Err(message)
    }
}

fn write_baseline(tools: &str, counts: &[(&str, u64)]) -> Result<(), String> {
    let lines = counts.iter().map(|(name, count)| format!("{name} {count}\n"));
    let text = format!("# {tools}\n{}", lines.collect::<String>());
    fs::write(BASELINE, text).map_err(|e| format!("{BASELINE}: {e}"))
}

fn open(directory: &Path) -> Store {
    Store::open(directory).expect("a store")
}

/// An event whose id and payload follow from `n`.
fn event(n: u64) -> NewEvent {
    let mut payload = vec![b'x'; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&n.to_le_bytes());
    NewEvent::bytes("Measured", payload).id(Uuid::from_u128(u128::from(n) + 1))
}

fn append_one(store: &Store, n: u64) {
    let stream = format!("Stream-{}", n % STREAMS);
    black_box(store.append(stream, ExpectedVersion::Any, [event(n)]).expect("appended"));
}

/// One event to each of `count` streams: in round `n` the streams after the nth `count`.
fn append_to_streams(store: &Store, n: u64, count: u64) {
    let first = n * count;
    let commit = (first..first + count).fold(Commit::new(), |commit, n| {
        commit.append(format!("Stream-{}", n % STREAMS), ExpectedVersion::Any, [event(n)])
    });
    black_box(store.commit(commit).expect("committed"));
}

fn append_to_one(store: &Store, n: u64, count: u64) {
    let events = (n * count..(n + 1) * count).map(event);
    let stream = format!("Stream-{}", n % STREAMS);
    black_box(store.append(stream, ExpectedVersion::Any, events).expect("appended"));
}

/// An event in each stream: so few that they are left to the tail, and each stream is known.
fn begin_streams(store: &Store) {
    (0..STREAMS / 100).for_each(|n| append_to_streams(store, n, 100));
}

fn fill(store: &Store) {
    (0..STREAMS * PER_STREAM / 100).for_each(|n| append_to_streams(store, n, 100));
}

fn fill_with_json(store: &Store) {
    for n in 0..STREAMS * PER_STREAM / 100 {
        let events = (0..100).map(|_| NewEvent::of(&deposited(n)).expect("an event set"));
        store.append(format!("Account-{n}"), ExpectedVersion::Any, events).expect("appended");
    }
}

fn read_all(store: &Store) {
    let events = store.read_all().limit(READ_EVENTS).iter().expect("open");
    let bytes: usize = events.map(|event| event.expect("whole").payload.len()).sum();
    assert_eq!(bytes, PAYLOAD_BYTES * READ_EVENTS as usize);
}

fn read_and_decode(store: &Store) {
    let events = store.read_all().limit(READ_EVENTS).iter().expect("open");
    let decoded = events.map(|event| event.expect("whole").decode::<AccountEvent>());
    assert_eq!(decoded.flatten().count() as u64, READ_EVENTS);
}

fn read_stream(store: &Store, n: u64) {
    let events = store.read_stream(format!("Stream-{n}")).collect().expect("whole");
    assert_eq!(events.last().expect("events").version, Version::new(PER_STREAM));
    black_box(events);
}

#[derive(Clone, Serialize, Deserialize)]
enum AccountEvent {
    Deposited { amount: u64, reference: String },
}
impl Event for AccountEvent {}

#[derive(Default, Clone)]
struct Account {
    balance: u64,
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "Account";
    type Command = u64;
    type Event = AccountEvent;
    type Error = Infallible;

    fn decide(&self, amount: &u64) -> Result<Vec<AccountEvent>, Infallible> {
        Ok(vec![deposited(*amount)])
    }

    fn evolve(&mut self, AccountEvent::Deposited { amount, .. }: &AccountEvent) {
        self.balance += amount;
    }
}

fn deposited(amount: u64) -> AccountEvent {
    AccountEvent::Deposited { amount, reference: "an invoice and its number".to_owned() }
}
