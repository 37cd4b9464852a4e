//! The film of a stream in a large store, beside a process that writes it as fast as it can: how soon the film is
//! there, and what the writer loses. `cargo bench -p filmstrip-studio --bench beside`; `-- --help` lists the options.
//!
//! This process fills a store and writes to it with 64 threads, one event in a commit. The reader is another process,
//! which follows the store, serves it, and asks for films of streams at random. Each round measures the writer without
//! a reader, with a person's reader and with one that never rests; the next round measures them the other way round.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/it/common.rs"]
mod common;

use crate::common::{Served, client};
use filmstrip::{Commit, ExpectedVersion, Follower, NewEvent, Store};
use filmstrip_studio::Studio;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

const HELP: &str = "\
--events N       events in the store before anything is measured (10000000)
--seconds N      how long each measurement takes (5)
--rounds N       how often each is repeated (5)
--directory DIR  where the store is made (the system's temporary directory)";

/// Events of each stream, which are spread over the whole log.
const EACH: u64 = 20;
/// Events in a commit while the store is filled.
const FILL: u64 = 1_000;
const WRITERS: u64 = 64;
/// Half of a payload are random digits, so that it is not compressed to nothing.
const RANDOM_DIGITS: usize = 150;

/// How a reader behaves.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Reader {
    Nobody,
    /// A film each second, as a person looks at them.
    Person,
    /// One film after the other.
    Restless,
}

impl Reader {
    fn name(self) -> &'static str {
        match self {
            Reader::Nobody => "nobody reads",
            Reader::Person => "a film each second",
            Reader::Restless => "films without a pause",
        }
    }
}

/// What a reader is told.
#[derive(Serialize, Deserialize)]
struct Task {
    store: PathBuf,
    reader: Reader,
    seconds: u64,
    /// Events that the store was filled with, and their streams.
    events: u64,
    streams: u64,
    seed: u64,
    /// When its process was started.
    started: SystemTime,
}

/// What a reader has met, in milliseconds.
#[derive(Default, Serialize, Deserialize)]
struct Films {
    /// From the start of the process until the first film was there.
    first: f64,
    others: Vec<f64>,
}

struct Settings {
    events: u64,
    seconds: u64,
    rounds: usize,
    directory: PathBuf,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [read, task] = &arguments[..]
        && read == "--read"
    {
        let films = read_films(&serde_json::from_str(task).unwrap());
        println!("{}", serde_json::to_string(&films).unwrap());
        return;
    }
    match settings(&arguments) {
        Some(settings) => measure(&settings),
        None => println!("{HELP}"),
    }
}

fn settings(arguments: &[String]) -> Option<Settings> {
    let (events, directory) = (10_000_000, std::env::temp_dir());
    let mut settings = Settings { events, seconds: 5, rounds: 5, directory };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().map(String::as_str);
        match argument.as_str() {
            // Cargo says so.
            "--bench" => {}
            "--events" => settings.events = value()?.parse().ok()?,
            "--seconds" => settings.seconds = value()?.parse().ok()?,
            "--rounds" => settings.rounds = value()?.parse().ok()?,
            "--directory" => settings.directory = value()?.into(),
            _ => return None,
        }
    }
    Some(settings)
}

fn measure(settings: &Settings) {
    let directory = tempfile::tempdir_in(&settings.directory).unwrap();
    let (path, streams) = (directory.path().join("store"), settings.events.div_ceil(EACH));
    let begun = Instant::now();
    fill(&path, settings.events, streams);
    let seconds = begun.elapsed().as_secs_f64();
    println!("{} events in {streams} streams, written in {seconds:.0} s", settings.events);
    let writers = Writers::on(&path);
    // Until the writer is as fast as it stays.
    thread::sleep(Duration::from_secs(settings.seconds));
    let mut order = [Reader::Nobody, Reader::Person, Reader::Restless];
    let mut met: Vec<(Reader, f64, Films)> = Vec::new();
    for round in 1..=settings.rounds {
        for reader in order {
            let seed = met.len() as u64;
            let task = Task {
                store: path.clone(),
                reader,
                seconds: settings.seconds,
                events: settings.events,
                streams,
                seed,
                started: SystemTime::now(),
            };
            let (rate, films) = writers.rate_while(|| beside(&task));
            println!("round {round}, {}: {rate:.0} events/s{}", reader.name(), told(&films));
            met.push((reader, rate, films));
        }
        order.reverse();
    }
    println!("{} events at the end", writers.end());
    summary(&met);
}

fn name(number: u64) -> String {
    format!("Order-{number:07}")
}

/// Fills a store so that the events of each stream are far apart.
fn fill(path: &Path, events: u64, streams: u64) {
    let (store, mut random) = (Store::open(path).unwrap(), Random(1));
    // No stream twice in a commit.
    let each = FILL.min(streams);
    for first in (0..events).step_by(each as usize) {
        let append = |commit: Commit, n: u64| {
            commit.append(name(n % streams), ExpectedVersion::Any, [random.event(n)])
        };
        store.commit((first..events.min(first + each)).fold(Commit::new(), append)).unwrap();
    }
    store.close().unwrap();
}

/// Does what a reader does, in a process of its own.
fn beside(task: &Task) -> Films {
    if task.reader == Reader::Nobody {
        thread::sleep(Duration::from_secs(task.seconds));
        return Films::default();
    }
    let mut reader = Command::new(std::env::current_exe().unwrap());
    reader.arg("--read").arg(serde_json::to_string(task).unwrap()).stderr(Stdio::inherit());
    let done = reader.output().unwrap();
    assert!(done.status.success(), "the reader has failed");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The reader: follows the store, and asks the studio that it serves for films.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn read_films(task: &Task) -> Films {
    let end = Instant::now() + Duration::from_secs(task.seconds);
    let follower = Follower::open(&task.store).unwrap();
    let served = Served::new(Studio::follow(&follower)).await;
    let (mut films, mut random) = (Films::default(), Random(task.seed));
    loop {
        let begun = Instant::now();
        let number = random.next() % task.streams;
        let (stream, last) = (name(number), (task.events - number).div_ceil(task.streams));
        let response = client().get(served.page(&format!("/film/{stream}"))).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{stream}");
        let page = response.text().await.unwrap();
        let now = begun.elapsed();
        match films.first == 0.0 {
            true => films.first = millis(task.started.elapsed().unwrap()),
            false => films.others.push(millis(now)),
        }
        // It is the film of this stream, at its last event.
        let (_, title) = page.split_once("<title>").unwrap();
        assert!(title.starts_with(&format!("{stream} @{last} ")), "{title:.60}");
        if task.reader == Reader::Person {
            tokio::time::sleep(Duration::from_secs(1).saturating_sub(now)).await;
        }
        if Instant::now() >= end {
            return films;
        }
    }
}

/// Threads that write as fast as they can.
struct Writers {
    store: Store,
    written: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Writers {
    fn on(path: &Path) -> Writers {
        let store = Store::open(path).unwrap();
        let (written, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let begin = |n: u64| {
            let (store, written, is_over) = (store.clone(), written.clone(), is_over.clone());
            thread::spawn(move || {
                let mut random = Random(n);
                while !is_over.load(Ordering::Relaxed) {
                    let events = [random.event(n)];
                    store.append(format!("Load-{n}"), ExpectedVersion::Any, events).unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let threads = (0..WRITERS).map(begin).collect();
        Writers { store, written, is_over, threads }
    }

    /// Events that are written each second while something is done.
    fn rate_while<T>(&self, act: impl FnOnce() -> T) -> (f64, T) {
        let (begun, before) = (Instant::now(), self.written.load(Ordering::Relaxed));
        let done = act();
        let written = self.written.load(Ordering::Relaxed) - before;
        (written as f64 / begun.elapsed().as_secs_f64(), done)
    }

    /// Stops them; returns where the store ends.
    fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        let head = self.store.head().get();
        self.store.close().unwrap();
        head
    }
}

fn told(films: &Films) -> String {
    let Films { first, others } = films;
    match others.is_empty() {
        true if *first == 0.0 => String::new(),
        true => format!("; the first film after {first:.0} ms"),
        false => format!(
            "; the first film after {first:.0} ms, {} more, median {:.1} ms, greatest {:.1} ms",
            others.len(),
            median(others.clone()),
            others.iter().fold(0.0, |a: f64, b| a.max(*b)),
        ),
    }
}

/// The writer's rate with each reader, as a ratio to that without one in the same round.
fn summary(met: &[(Reader, f64, Films)]) {
    let rates = |reader: Reader| met.iter().filter(move |it| it.0 == reader).map(|it| it.1);
    println!(
        "{}: median {:.0} events/s",
        Reader::Nobody.name(),
        median(rates(Reader::Nobody).collect())
    );
    for reader in [Reader::Person, Reader::Restless] {
        let ratios: Vec<f64> = rates(reader)
            .zip(rates(Reader::Nobody))
            .map(|(with, without)| with / without)
            .collect();
        let films = || met.iter().filter(|it| it.0 == reader).map(|it| &it.2);
        let first = films().map(|it| it.first).fold(0.0, f64::max);
        let others = films().flat_map(|it| &it.others).copied().fold(0.0, f64::max);
        println!(
            "{}: median {:.3} of that, from {:.3} to {:.3} (asked for: 0.95); the slowest first film {first:.0} ms, \
             the slowest other {others:.0} ms (asked for: 1,000)",
            reader.name(),
            median(ratios.clone()),
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An event with a payload of about 300 bytes.
    fn event(&mut self, n: u64) -> NewEvent {
        let mut digits = String::new();
        while digits.len() < RANDOM_DIGITS {
            digits += &format!("{:016x}", self.next());
        }
        digits.truncate(RANDOM_DIGITS);
        let address =
            json!({ "street": "17 Mill Lane", "city": "Bath", "country": "United Kingdom" });
        let order = json!({ "order": n, "address": address, "note": "leave it at the door", "code": digits });
        NewEvent::json("OrderChanged", &order).unwrap()
    }
}
