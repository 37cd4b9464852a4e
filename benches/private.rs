//! What private events cost beside public ones, in rounds that take turns: appended by 64 writers, and read back.
//!
//! ```text
//! cargo bench --features erasure --bench private
//! ```

#![allow(clippy::print_stdout, reason = "a program talks")]

use filmstrip::erasure::{KeyDirectory, KeyEncryptingKey};
use filmstrip::{ExpectedVersion, NewEvent, Store};
use std::time::Instant;
use tempfile::TempDir;

const PAYLOAD_BYTES: usize = 300;
const WRITERS: usize = 64;
const COMMITS: usize = 64_000;
const READ_EVENTS: usize = 200_000;
/// Data subjects, who take turns.
const SUBJECTS: usize = 10_000;
const ROUNDS: usize = 7;

fn main() {
    compare("64 writers, 1 event per commit", COMMITS, |is_private| {
        let (_directory, store) = opened();
        // Keys are made once for each person, not for each event.
        make_keys(&store, is_private);
        let began = Instant::now();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let store = &store;
                scope.spawn(move || {
                    for n in (writer..COMMITS).step_by(WRITERS) {
                        let stream = format!("Person-{}", n % SUBJECTS);
                        let event = event(n, is_private);
                        store.append(&stream, ExpectedVersion::Any, [event]).expect("appended");
                    }
                });
            }
        });
        began.elapsed().as_secs_f64()
    });
    let filled = [false, true].map(|is_private| {
        let (directory, store) = opened();
        for first in (0..READ_EVENTS).step_by(1_000) {
            let events = (first..first + 1_000).map(|n| event(n, is_private));
            store.append("Person-1", ExpectedVersion::Any, events).expect("appended");
        }
        (directory, store)
    });
    compare("reading all", READ_EVENTS, |is_private| {
        let (_, store) = &filled[usize::from(is_private)];
        let began = Instant::now();
        let events = store.read_all().iter().expect("open");
        let bytes: usize = events.map(|event| event.expect("whole").payload.len()).sum();
        assert_eq!(bytes, READ_EVENTS * PAYLOAD_BYTES);
        began.elapsed().as_secs_f64()
    });
}

fn opened() -> (TempDir, Store) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let keys = KeyDirectory::create(directory.path().join("keys"), || {
        Ok(KeyEncryptingKey::new(&[7; KeyEncryptingKey::BYTES]))
    });
    let builder = Store::builder().keys(keys.expect("a key ring"));
    let store = builder.open(directory.path().join("store")).expect("a store");
    (directory, store)
}

fn make_keys(store: &Store, is_private: bool) {
    for first in (0..SUBJECTS).step_by(1_000).filter(|_| is_private) {
        let events = (first..first + 1_000).map(|n| event(n, true));
        store.append("Person-0", ExpectedVersion::Any, events).expect("appended");
    }
}

fn event(n: usize, is_private: bool) -> NewEvent {
    let event = NewEvent::bytes("Measured", vec![b'x'; PAYLOAD_BYTES]);
    match is_private {
        true => event.private(format!("person-{}", n % SUBJECTS)),
        false => event,
    }
}

/// Prints the medians of both, in events a second, and of their ratio.
fn compare(what: &str, events: usize, run: impl Fn(bool) -> f64) {
    run(false);
    let mut rounds: Vec<[f64; 2]> = Vec::new();
    for round in 0..ROUNDS {
        // The second one may profit from the first.
        let first = round % 2 == 1;
        let (one, other) = (run(first), run(!first));
        rounds.push(if first { [other, one] } else { [one, other] });
    }
    let median = |of: fn(&[f64; 2]) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let (public, private) = (median(|round| round[0]), median(|round| round[1]));
    let per_second = |seconds: f64| events as f64 / seconds;
    println!(
        "{what}: public {:.0}/s, private {:.0}/s, ratio {:.2}",
        per_second(public),
        per_second(private),
        median(|round| round[0] / round[1])
    );
}
