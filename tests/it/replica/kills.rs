//! A writer in another process and a replica in a third, each killed at random moments, again and again.

use crate::common::domain::{Counts, counted_rows, scratch};
use crate::common::whole::{PATIENCE, all};
use crate::common::{Random, child, seed, variable, wait_until};
use crate::replica::{replica_of, segments, wait_for_all};
use filmstrip::{ExpectedVersion, Follower, NewEvent, Store};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

const WRITER: &str = "FILMSTRIP_REPLICATED_WRITER";
const REPLICA: &str = "FILMSTRIP_REPLICATED_REPLICA";

fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Not a test of its own: three threads that append until the process is killed, and open and close the store.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    loop {
        let store = Store::open(&path).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..3_u64 {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..150 {
                        let payload = vec![n as u8; 300 + (n % 7 * 900) as usize];
                        let event = NewEvent::bytes("Written", payload).tag(format!("n-{n}"));
                        let stream = format!("Writer-{writer}");
                        let done = store.append(stream, ExpectedVersion::Any, [event]).unwrap();
                        say(&format!("done {}", done.position));
                    }
                });
            }
        });
        store.close().unwrap();
    }
}

/// Not a test of its own: a replica that says each position that it shows, until it is killed.
#[test]
fn child_that_replicates_until_it_is_killed() {
    let Some(paths) = std::env::var_os(REPLICA) else { return };
    let paths = paths.into_string().unwrap();
    let (source, copy) = paths.split_once('\n').unwrap();
    let replica = replica_of(Path::new(source), Path::new(copy));
    let _counts = replica.project(Counts).start().unwrap();
    say("done 0");
    loop {
        let next = filmstrip::Position::new(replica.head().get() + 1);
        replica.wait_for(next, PATIENCE).unwrap();
        // The hash is that of the head, or of one after it.
        let hash = replica.head_hash();
        say(&format!("done {} {hash}", hash.position));
    }
}

fn start(test: &str, variable: &str, value: &str) -> Child {
    child(module_path!(), test)
        .env(variable, value)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the child after it has said so many lines; returns what it said last.
fn kill_after(mut child: Child, lines: u64, pause: Duration) -> String {
    let (mut last, mut said) = (String::new(), 0);
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        // The test harness of the child talks in between.
        let Some((_, done)) = line.split_once("done ") else { continue };
        done.clone_into(&mut last);
        said += 1;
        if said == lines {
            std::thread::sleep(pause);
            child.kill().unwrap();
        }
    }
    assert!(child.wait().unwrap().code().is_none(), "the child ended by itself");
    last
}

#[test]
fn whenever_writer_and_replica_are_killed_the_replica_is_a_beginning_of_its_source() {
    let rounds = variable("FILMSTRIP_ROUNDS").unwrap_or(1) * 6;
    let seed = seed();
    let directory = scratch();
    let [path, copy] = ["source", "copy"].map(|it| directory.path().join(it));
    drop(Store::open(&path).unwrap());
    let paths = format!("{}\n{}", path.display(), copy.display());
    let (path_text, mut shown) = (path.to_str().unwrap(), 0);
    for round in 0..rounds {
        let random = &mut Random(seed.wrapping_add(round));
        let case = format!("round {round} of seed {seed}");
        let writer = start("child_that_writes_until_it_is_killed", WRITER, path_text);
        // Several replicas, one after the other, beside one writer.
        for _ in 0..=random.below(2) {
            let replica = start("child_that_replicates_until_it_is_killed", REPLICA, &paths);
            let pause = Duration::from_micros(random.below(20_000));
            let last = kill_after(replica, 1 + random.below(60), pause);
            shown = last.split(' ').next().unwrap().parse().unwrap_or(shown).max(shown);
        }
        let (lines, pause) = (1 + random.below(300), Duration::from_micros(random.below(5_000)));
        let acknowledged: u64 = kill_after(writer, lines, pause).parse().unwrap();
        check(&path, &copy, shown, &case);
        let head = Follower::open(&path).unwrap().head().unwrap().get();
        assert!(head >= acknowledged, "{case}: the source has lost {acknowledged}");
    }
    println!("figures: kills of replicas: {rounds} rounds");
}

/// The replica has what it has shown, and gets the rest; then both are equal.
fn check(path: &Path, copy: &Path, shown: u64, case: &str) {
    // Before anybody opens the source again: what it had not made durable may still be in its file.
    let replica = replica_of(path, copy);
    assert!(replica.head().get() >= shown, "{case}: {shown} was shown");
    let source = Store::open(path).unwrap();
    replica.wait_for(source.head(), PATIENCE).unwrap_or_else(|e| {
        panic!("{case}: {e}, {:?}", replica.replication());
    });
    // The writer may have been killed just after it had written that it closes, which has no position.
    wait_until(PATIENCE, case, || replica.head_hash() == source.head_hash());
    let (here, there) = (all(&replica), all(&source));
    assert!(here == there, "{case}: other events");
    let mut counted: HashMap<String, u64> = HashMap::new();
    for event in &here {
        *counted.entry(event.stream.to_string()).or_default() += 1;
    }
    let counts = replica.project(Counts).start().unwrap();
    counts.wait_for(replica.head(), PATIENCE).unwrap();
    let rows: HashMap<String, u64> = counted_rows(&counts.view()).into_iter().collect();
    assert_eq!(rows, counted, "{case}: the view disagrees with its log");
    assert!(replica.verify().unwrap().is_whole(), "{case}");
    source.close().unwrap();
    wait_for_all(&replica, path);
    drop(counts);
    replica.close().unwrap();
    assert!(segments(path) == segments(copy), "{case}: other bytes");
}
