//! What a process does until it ends without warning, and what must be there afterwards.

use crate::common::child;
use crate::common::domain::{Counts, Ticks, counted_rows};
use filmstrip::{ExpectedVersion, NewEvent, Store, Version};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

const CHILD: &str = "FILMSTRIP_KILLED_STORE";
const WRITERS: u64 = 3;
/// Appends of each writer between opening and closing.
const APPENDS: u64 = 40;
/// Rounds with one store, before another one begins empty.
pub(crate) const ROUNDS_OF_A_STORE: u64 = 25;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Not a test of its own: what the killed process does. It says each number once it is durable.
#[test]
fn child_that_works_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    for session in 0.. {
        say("said opening");
        let store = Store::open(&path).unwrap();
        work(&store, session);
        if session % 2 == 0 {
            store.close().unwrap();
        }
    }
}

fn work(store: &Store, session: u64) {
    let counts = store.project(Counts).start().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || write(store, writer));
        }
        scope.spawn(|| {
            let ticks = store.repository::<Ticks>().snapshot_every(3);
            for _ in 0..APPENDS {
                let done = ticks.execute("1", &()).unwrap();
                say(&format!("acknowledged {WRITERS} {} {}", done.version, done.position));
            }
        });
        if session % 3 == 1 {
            counts.rebuild().unwrap();
        }
    });
}

fn write(store: &Store, writer: u64) {
    let stream = format!("Writer-{writer}");
    let first = store.stream_info(&stream).map_or(0, |info| info.version.get());
    for n in first + 1..=first + APPENDS {
        // Large enough that segments are begun and indexed on the way.
        let payload = vec![n as u8; 1_000 + (n % 7 * 500) as usize];
        let event = NewEvent::bytes("Written", payload);
        let done = store.append(&stream, ExpectedVersion::Any, [event]).unwrap();
        say(&format!("acknowledged {writer} {n} {}", done.position));
    }
}

pub(crate) fn start(store: &Path) -> Child {
    start_with(store, &[])
}

/// Starts the child that works on `store`, with these variables.
pub(crate) fn start_with(store: &Path, variables: &[(&str, &Path)]) -> Child {
    child(module_path!(), "child_that_works_until_it_is_killed")
        .env(CHILD, store)
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// When a child is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    /// When it has said so many lines.
    Lines(u64),
    /// So long after it began to open the store for the `n`-th time.
    Opening { n: u64, after: Duration },
}

impl Moment {
    pub(crate) fn of(round: u64) -> Moment {
        match round % 3 {
            0 => Moment::Opening { n: 1, after: Duration::from_micros(round * 7_919 % 60_000) },
            1 => Moment::Opening { n: 2, after: Duration::from_micros(round * 3_571 % 30_000) },
            _ => Moment::Lines(5 + round * 61 % 300),
        }
    }
}

fn stream_of(writer: u64) -> String {
    if writer == WRITERS { "Ticks-1".to_owned() } else { format!("Writer-{writer}") }
}

pub(crate) fn check_acknowledged(store: &Store, last: &Acknowledged, case: &str) {
    for (writer, (n, position)) in last {
        let stream = stream_of(*writer);
        let version = store.stream_info(&stream).unwrap().version.get();
        assert!(version >= *n, "{case}: {stream} is at {version}, {n} was acknowledged");
        let read = store.read_stream(&stream).after(Version::new(n - 1)).limit(1);
        let event = &read.collect().unwrap()[0];
        assert_eq!(event.position.get(), *position, "{case}: {stream} at {n}");
    }
}

/// Positions are dense, contents are right, and everything that is derived agrees with them.
pub(crate) fn check_all(store: &Store, case: &str) {
    let mut counted: HashMap<String, u64> = HashMap::new();
    let mut positions = 0;
    for event in store.read_all().iter().unwrap() {
        let event = event.unwrap();
        positions += 1;
        assert_eq!(event.position.get(), positions, "{case}");
        let count = counted.entry(event.stream.as_str().to_owned()).or_default();
        *count += 1;
        assert_eq!(event.version.get(), *count, "{case}: {}", event.stream);
        let is_written = event.event_type.as_str() == "Written";
        let right = !is_written || event.payload.iter().all(|byte| *byte == *count as u8);
        assert!(right, "{case}: {} at {count}", event.stream);
    }
    assert_eq!(positions, store.head().get(), "{case}: the head is not the last event");
    let counts = store.project(Counts).start().unwrap();
    counts.wait_for(store.head(), PATIENCE).unwrap_or_else(|e| panic!("{case}: {e}"));
    let rows: HashMap<String, u64> = counted_rows(&counts.view()).into_iter().collect();
    assert_eq!(rows, counted, "{case}: the view disagrees with its log");
    let clock = store.repository::<Ticks>().load("1").unwrap();
    let ticks = counted.get("Ticks-1").copied().unwrap_or(0);
    assert_eq!(clock.state.count, ticks, "{case}: a snapshot disagrees with its stream");
}

/// Each writer's last acknowledgement: its number, and its position.
pub(crate) type Acknowledged = HashMap<u64, (u64, u64)>;

/// Listens to the child up to its end; at the moment, ends it or what is beneath it.
pub(crate) fn listen(
    child: &mut Child,
    moment: Moment,
    mut end: impl FnMut(&mut Child),
) -> Acknowledged {
    let mut last = HashMap::new();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut said, mut opened) = (0, 0);
    for line in lines.map_while(Result::ok) {
        if let Some((_, numbers)) = line.split_once("acknowledged ") {
            let numbers: Vec<u64> = numbers.split(' ').filter_map(|n| n.parse().ok()).collect();
            let [writer, n, position] = numbers[..] else { continue };
            last.insert(writer, (n, position));
            said += 1;
        } else if line.contains("said opening") {
            opened += 1;
        } else {
            // The test harness of the child talks in between.
            continue;
        }
        match moment {
            Moment::Lines(lines) if said == lines => end(child),
            Moment::Opening { n, after } if opened == n => {
                opened += 1;
                // Not to wait for anything: any moment is as good as another.
                std::thread::sleep(after);
                end(child);
            }
            _ => {}
        }
    }
    last
}
