//! A large store is moved as a whole. The long form of it is in `.ci/proof`.

use crate::common::{at, document, ok};
use filmstrip::testing::ManualClock;
use filmstrip::{Commit, ExpectedVersion, Follower, NewEvent, Store};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tempfile::tempdir;

/// Events of the store, unless this variable says another number.
const EVENTS: u64 = 20_000;
const EVENTS_VARIABLE: &str = "FILMSTRIP_EVENTS";
/// Events that are recorded at one time, each of another stream.
const AT_ONCE: u64 = 1_000;

fn fill(path: &Path, events: u64) {
    let clock = ManualClock::new(at("2025-11-27T14:00:00Z"));
    let store = Store::builder().clock(clock.clone()).open(path).unwrap();
    for first in (0..events).step_by(AT_ONCE as usize) {
        let append = |commit: Commit, n: u64| {
            let event = NewEvent::json("Counted", &json!({ "n": n, "name": format!("{n:x}") }));
            let stream = format!("Order-{}", n % (3 * AT_ONCE));
            commit.append(stream, ExpectedVersion::Any, [event.unwrap()])
        };
        store.commit((first..events.min(first + AT_ONCE)).fold(Commit::new(), append)).unwrap();
        clock.advance(Duration::from_millis(7));
    }
    store.close().unwrap();
}

#[test]
fn a_large_store_is_exported_imported_and_compared() {
    let events = std::env::var(EVENTS_VARIABLE).map_or(EVENTS, |text| text.parse().unwrap());
    let directory = tempdir().unwrap();
    let [store, copy, file, again] =
        ["store", "copy", "file", "again"].map(|name| directory.path().join(name));
    let [file, again] = [&file, &again].map(|path| path.to_str().unwrap());
    fill(&store, events);
    let exported = document(&store, &["export", "-o", file]);
    let imported = document(&copy, &["import", file]);
    for (field, expected) in [
        ("recorded", json!(events)),
        ("head", json!(events)),
        ("positions_kept", json!(true)),
        ("times_kept", json!(true)),
        ("verified", json!(true)),
    ] {
        assert_eq!(imported[field], expected, "{field}");
    }
    let compared: Value = document(&copy, &["export", "-o", again]);
    assert_eq!(compared["blake3"], exported["blake3"]);
    let [before, after] = [&store, &copy].map(|path| Follower::open(path).unwrap().read().iter());
    let mut met = 0;
    for (before, after) in before.unwrap().zip(after.unwrap()) {
        assert_eq!(before.unwrap(), after.unwrap());
        met += 1;
    }
    assert_eq!(met, events);
    ok(&copy, &["verify"]);
    let found = document(&copy, &["import", file]);
    assert_eq!((&found["recorded"], &found["found"]), (&json!(0), &json!(events)));
    println!("figures: a store that was exported, imported and compared: {events} events");
}
