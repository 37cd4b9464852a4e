//! A process that is killed while it writes: whatever it acknowledged is there afterwards.
//!
//! The page cache survives a kill, so this proves nothing of power cuts; it shows that a store needs
//! nothing done before its process ends, and that opening it takes no help.
//! `FILMSTRIP_KILLS=1000 cargo test --release --test kill` for a long run.

use filmstrip::{ErrorKind, ExpectedVersion, NewEvent, Store};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const CHILD: &str = "FILMSTRIP_KILLED_STORE";
const WRITERS: u64 = 3;

/// Not a test of its own: what the killed process does. It says each number once it is durable.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Store::open(path).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                let stream = format!("Writer-{writer}");
                let first = store.stream_info(&stream).map_or(0, |info| info.version.get());
                for n in first + 1.. {
                    // Large enough that segments are begun and indexed on the way.
                    let payload = vec![n as u8; 3_000 + (n % 7 * 500) as usize];
                    let event = NewEvent::bytes("Written", payload);
                    let done = store.append(&stream, ExpectedVersion::Any, [event]).unwrap();
                    let line = format!("acknowledged {writer} {n} {}\n", done.position);
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

fn start(store: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child_that_appends_until_it_is_killed", "--exact", "--nocapture"])
        .env(CHILD, store)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads acknowledgements until there are `count`, kills the child, and reads the rest.
fn acknowledged(child: &mut Child, count: usize) -> HashMap<u64, (u64, u64)> {
    let mut last = HashMap::new();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    for line in lines.map_while(Result::ok) {
        // The test harness of the child talks in between.
        let Some((_, said)) = line.split_once("acknowledged ") else { continue };
        let numbers: Vec<u64> = said.split(' ').filter_map(|n| n.parse().ok()).collect();
        let [writer, n, position] = numbers[..] else { continue };
        last.insert(writer, (n, position));
        seen += 1;
        if seen == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= count, "the child ended after {seen} of {count} acknowledgements");
    last
}

#[test]
fn whatever_a_killed_process_acknowledged_is_there() {
    let rounds = std::env::var("FILMSTRIP_KILLS").map_or(15, |n| n.parse().expect("a number"));
    let directory = tempfile::tempdir().unwrap();
    for round in 0..rounds {
        let mut child = start(directory.path());
        let last = acknowledged(&mut child, 5 + round * 61 % 400);
        let store = Store::open(directory.path()).unwrap_or_else(|e| panic!("round {round}: {e}"));
        for (writer, (n, position)) in last {
            let stream = format!("Writer-{writer}");
            let version = store.stream_info(&stream).unwrap().version.get();
            assert!(version >= n, "round {round}: {stream} is at {version}, {n} was acknowledged");
            let read = store.read_stream(&stream).after(filmstrip::Version::new(n - 1)).limit(1);
            let event = &read.collect().unwrap()[0];
            assert_eq!(event.position.get(), position, "round {round}: {stream} at {n}");
            assert!(event.payload.iter().all(|byte| *byte == n as u8), "round {round}");
        }
        let head = store.head().get();
        let mut expected = 0;
        for event in store.read_all().iter().unwrap() {
            expected += 1;
            assert_eq!(event.unwrap().position.get(), expected, "round {round}");
        }
        assert_eq!(expected, head, "round {round}: the head is not the last event");
    }
}

#[test]
fn a_store_that_another_process_has_open_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start(directory.path());
    let stdout = child.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("acknowledged")), "the child wrote nothing");
    let error = Store::open(directory.path()).expect_err("two writers");
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    Store::open(directory.path()).expect("the lock went with the process");
}
