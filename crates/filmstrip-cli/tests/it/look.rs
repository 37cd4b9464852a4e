//! Looking: each command shows what is in a store, beside a writer too, and changes nothing.

use crate::common::{
    PATIENCE, Writer, contents, document, documents, id, ok, program, run, sample,
};
use filmstrip::{ExpectedVersion, Metadata, NewEvent, Store};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use tempfile::tempdir;

/// Each command that looks, in both of its forms.
const LOOKS: [&[&str]; 11] = [
    &["streams"],
    &["tail"],
    &["tail", "--from", "2", "-n", "2"],
    &["show", "Order-1"],
    &["show", "3"],
    &["film", "Order-1"],
    &["why", "Order-1"],
    &["stats"],
    &["top"],
    &["head-hash"],
    &["export"],
];

fn texts<'a>(documents: &'a [Value], field: &str) -> Vec<&'a str> {
    documents.iter().map(|document| document[field].as_str().unwrap()).collect()
}

#[test]
fn looking_changes_nothing_in_a_closed_store() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("store");
    sample(&path);
    let before = contents(directory.path());
    for look in LOOKS {
        ok(&path, look);
        ok(&path, &[&["--json"], look].concat());
        assert!(contents(directory.path()) == before, "{look:?} has changed something");
    }
    // It takes the lock, and gives it back.
    ok(&path, &["verify"]);
    assert!(contents(directory.path()) == before, "verifying has changed something");
}

/// The writer is idle, so that every difference would be of who looks.
#[test]
fn looking_changes_nothing_beside_the_process_that_has_the_store() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("store");
    sample(&path);
    let store = Store::open(&path).unwrap();
    let event = NewEvent::json("Opened", &1).unwrap();
    store.append("Door-1", ExpectedVersion::NoStream, [event]).unwrap();
    // The next segment, and the index, are prepared by threads of their own.
    let still = || {
        let now = contents(directory.path());
        std::thread::sleep(std::time::Duration::from_millis(300));
        (contents(directory.path()) == now).then_some(now)
    };
    let before = std::iter::repeat_with(still).flatten().next().unwrap();
    for look in LOOKS {
        ok(&path, look);
    }
    assert!(contents(directory.path()) == before, "looking has changed something");
    assert_eq!(store.head().get(), 8);
}

#[test]
fn every_look_works_beside_a_thread_that_writes() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let writer = Writer::on(directory.path());
    for look in LOOKS {
        ok(directory.path(), look);
        ok(directory.path(), &[&["--json"], look].concat());
    }
    writer.wait_for(1);
}

#[test]
fn streams_are_listed_by_name_with_their_events() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let all = documents(directory.path(), &["streams"]);
    assert_eq!(texts(&all, "stream"), ["Order-1", "Order-2", "Parcel-1", "Payment-1"]);
    assert_eq!((&all[0]["version"], &all[1]["version"]), (&json!(3), &json!(2)));
    assert_eq!(all[0]["created"], "2025-11-27T14:00:00.000001Z");
    assert_eq!(all[0]["last_written"], "2025-11-27T14:00:03.000001Z");
    let listed = |arguments: &[&str]| {
        let all = documents(directory.path(), &[&["streams"], arguments].concat());
        texts(&all, "stream").join(" ")
    };
    assert_eq!(listed(&["--category", "Order"]), "Order-1 Order-2");
    assert_eq!(listed(&["--prefix", "P"]), "Parcel-1 Payment-1");
    assert_eq!(listed(&["--limit", "2"]), "Order-1 Order-2");
    assert_eq!(listed(&["--limit", "2", "--after", "Order-2"]), "Parcel-1 Payment-1");
    let table = ok(directory.path(), &["streams", "--prefix", "Order-1"]);
    let lines: Vec<_> =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["stream", "events", "created", "last", "written"]);
    assert_eq!(lines[1][..2], ["Order-1", "3"]);
}

/// While the log is read, only the first names so far are held.
#[test]
fn the_first_streams_are_found_whatever_the_order_in_which_they_were_written() {
    let directory = tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for round in 0..3 {
        for n in (0..50).rev() {
            let event = NewEvent::json("Counted", &round).unwrap();
            store.append(format!("S-{n:02}"), ExpectedVersion::Any, [event]).unwrap();
        }
    }
    let page = |after: &str| documents(directory.path(), &["streams", "-n", "3", "--after", after]);
    for (after, expected) in [("S", ["S-00", "S-01", "S-02"]), ("S-30", ["S-31", "S-32", "S-33"])] {
        let page = page(after);
        assert_eq!(texts(&page, "stream"), expected);
        assert!(page.iter().all(|stream| stream["version"] == 3), "{page:?}");
    }
    assert!(page("S-49").is_empty());
}

#[test]
fn a_tail_is_the_last_events_or_those_from_a_position_on() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let positions = |arguments: &[&str]| {
        let events = documents(directory.path(), &[&["tail"], arguments].concat());
        events.iter().map(|event| event["position"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(positions(&[]), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(positions(&["-n", "2"]), [6, 7]);
    assert_eq!(positions(&["--from", "3"]), [3, 4, 5, 6, 7]);
    assert_eq!(positions(&["--from", "3", "-n", "2"]), [3, 4]);
    assert_eq!(positions(&["--stream", "Order-1"]), [1, 3, 5]);
    assert_eq!(positions(&["--category", "Order", "-n", "2"]), [6, 7]);
    assert_eq!(positions(&["--type", "Placed", "--type", "Paid"]), [1, 6, 7]);
    assert_eq!(positions(&["--tag", "shop:a"]), [1]);
    assert_eq!(positions(&["--tag", "shop:a", "--tag", "vip"]), [1]);
    assert_eq!(positions(&["--tag", "shop:a", "--tag", "shop:b"]), [0; 0]);
    let text = ok(directory.path(), &["tail", "-n", "1"]);
    assert_eq!(text.trim(), "7  2025-11-27T14:00:04.000001Z  Order-2@2  Paid  [1,\"x\"]");
}

#[test]
fn a_tail_that_follows_prints_each_new_event_and_no_other() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let writer = Writer::on(directory.path());
    let mut child = program();
    child
        .arg("-d")
        .arg(directory.path())
        .args(["--json", "tail", "-f", "-n", "1", "--type", "Opened"]);
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || lines.map_while(Result::ok).all(|line| tell.send(line).is_ok()));
    for n in 1..=3 {
        let event = NewEvent::json("Opened", &n).unwrap();
        writer.store().append("Door-1", ExpectedVersion::Any, [event]).unwrap();
        let line: Value = serde_json::from_str(&told.recv_timeout(PATIENCE).unwrap()).unwrap();
        assert_eq!((&line["data"], &line["version"]), (&json!(n), &json!(n)));
        writer.wait_for(1);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_event_is_shown_with_all_that_is_known_of_it() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let first = document(directory.path(), &["show", "1"]);
    let expected = json!({
        "position": 1, "stream": "Order-1", "version": 1, "id": id(1), "type": "Placed",
        "recorded_at": "2025-11-27T14:00:00.000001Z", "command_id": id(100), "user": "alice",
        "entries": { "ip": "192.0.2.7" }, "tags": ["shop:a", "vip"],
        "data": { "total": 5, "address": { "city": "Boston", "zip": "02101" } },
    });
    assert_eq!(first, expected);
    assert_eq!(document(directory.path(), &["show", &id(1).to_string()]), expected);
    let bytes = document(directory.path(), &["show", "Parcel-1"]);
    assert_eq!((&bytes["data_base64"], &bytes["schema_version"]), (&json!("AAH+/w=="), &json!(3)));
    assert_eq!(bytes["occurred_at"], "2025-11-20T00:00:00Z");
    assert_eq!(document(directory.path(), &["show", "5"])["data"], Value::Null);
    let stream = documents(directory.path(), &["show", "Order-1", "-n", "2"]);
    assert_eq!(texts(&stream, "type"), ["Placed", "Moved"]);
    let text = ok(directory.path(), &["show", "1"]);
    for part in [
        "Placed  Order-1@1  position 1",
        "alice",
        "192.0.2.7",
        "shop:a, vip",
        "\"city\": \"Boston\"",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(ok(directory.path(), &["show", "4"]).contains("4 bytes: 00 01 fe ff"));
}

#[test]
fn a_film_marks_what_each_event_changed() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let film = documents(directory.path(), &["film", "Order-1"]);
    assert_eq!(texts(&film, "type"), ["Placed", "Moved", "Shipped"]);
    let city = json!([{ "field": "address.city", "before": "Boston", "after": "Cambridge" }]);
    assert_eq!(film[1]["changes"], city);
    assert_eq!(
        (&film[0]["changes"][2], &film[2]["changes"]),
        (&json!({ "field": "total", "before": null, "after": 5 }), &json!([]))
    );
    assert_eq!(
        documents(directory.path(), &["film", "Order-1", "--from", "2", "--until", "2"]),
        film[1..2]
    );
    let text = ok(directory.path(), &["film", "Order-1"]);
    assert!(text.contains("~ address.city: \"Boston\" → \"Cambridge\"\n"), "{text}");
    assert!(text.contains("+ total: 5\n"), "{text}");
}

#[test]
fn the_merged_fields_are_shown_as_of_a_time_or_a_version() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let state = |more: &[&str]| {
        document(directory.path(), &[&["film", "Order-1", "--state"], more].concat())
    };
    let first = json!({
        "stream": "Order-1", "version": 1, "position": 1, "recorded_at": "2025-11-27T14:00:00.000001Z",
        "fields": { "address.city": "Boston", "address.zip": "02101", "total": 5 },
    });
    assert_eq!(state(&["--until", "1"]), first);
    assert_eq!(state(&["--as-of", "2025-11-27T14:00:00.000001Z"]), first);
    assert_eq!(state(&["--as-of", "2025-11-27T15:00:01+01:00"]), first);
    assert_eq!(state(&[])["fields"]["address.city"], "Cambridge");
    let text = ok(directory.path(), &["film", "Order-1", "--state"]);
    assert!(
        text.starts_with("Order-1@3  2025-11-27T14:00:03.000001Z\n  address.city: \"Cambridge\"\n"),
        "{text}"
    );
    let film = documents(directory.path(), &["film", "Order-1", "--as-of", "2025-11-27T14:00:02Z"]);
    assert_eq!(texts(&film, "type"), ["Placed", "Moved"]);
}

#[test]
fn why_shows_what_led_to_an_event_and_what_followed() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    // Of the stream, the last event: placed, then taken, then this one.
    let why = document(directory.path(), &["why", "Order-1"]);
    assert_eq!(texts(why["causes"].as_array().unwrap(), "type"), ["Placed", "Taken"]);
    assert_eq!((&why["event"]["type"], &why["complete"]), (&json!("Shipped"), &json!(true)));
    let first = document(directory.path(), &["why", "1"]);
    assert_eq!(texts(first["effects"].as_array().unwrap(), "type"), ["Taken", "Moved", "Shipped"]);
    let distances: Vec<_> =
        first["effects"].as_array().unwrap().iter().map(|e| &e["distance"]).collect();
    assert_eq!(distances, [1, 1, 2]);
    let text = ok(directory.path(), &["why", &id(2).to_string()]);
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("Placed  Order-1@1  position 1") && lines[0].ends_with("by alice"),
        "{text}"
    );
    assert!(
        lines[1].starts_with("└─ Taken  Payment-1@1") && lines[1].ends_with("← this event"),
        "{text}"
    );
    assert!(lines[2].starts_with("   └─ Shipped  Order-1@3"), "{text}");
}

#[test]
fn a_cause_of_another_conversation_is_found_and_one_that_is_no_event_is_named() {
    let directory = tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for (n, cause) in [(1, 77), (2, 1), (3, 2)] {
        let metadata = Metadata::default().causation_id(id(cause)).correlation_id(id(1_000 + n));
        let event = NewEvent::json("Happened", &n).unwrap().id(id(n)).metadata(metadata);
        store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let why = document(directory.path(), &["why", "3"]);
    let causes: Vec<_> =
        why["causes"].as_array().unwrap().iter().map(|cause| cause["position"].clone()).collect();
    assert_eq!((causes, &why["unknown_cause"]), (vec![json!(1), json!(2)], &json!(id(77))));
    assert!(ok(directory.path(), &["why", "3"]).starts_with(&id(77).to_string()));
}

#[test]
fn the_figures_are_those_of_the_store() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let stats = document(directory.path(), &["stats"]);
    assert_eq!(
        (&stats["events"], &stats["first_recorded_at"]),
        (&json!(7), &json!("2025-11-27T14:00:00.000001Z"))
    );
    let hash = ok(directory.path(), &["head-hash"]);
    assert_eq!(stats["head_hash"], hash.trim());
    assert_eq!(stats["bytes"]["journal"].as_u64().map(|bytes| bytes >= 1 << 20), Some(true));
    let top = document(directory.path(), &["top", "-n", "1"]);
    assert_eq!(top["categories"][0]["name"], "Order");
    assert_eq!(
        (&top["categories"][0]["events"], &top["types"][0]["name"]),
        (&json!(5), &json!("Placed"))
    );
    assert_eq!(top["streams"], json!([{ "name": "Order-1", "events": 3 }]));
    assert!(ok(directory.path(), &["stats"]).contains("events     7\n"));
    assert!(ok(directory.path(), &["top"]).contains("Order"));
}

#[test]
fn a_new_store_has_nothing_to_show() {
    let directory = tempdir().unwrap();
    Store::open(directory.path()).unwrap().close().unwrap();
    let nothing: &[&[&str]] = &[&["tail"], &["streams"]];
    for look in nothing {
        assert!(documents(directory.path(), look).is_empty());
    }
    assert_eq!(document(directory.path(), &["stats"])["events"], 0);
    assert_eq!(document(directory.path(), &["top"])["streams"], json!([]));
}

/// The directory is an option, a variable, or the present one.
#[test]
fn the_directory_of_a_store_can_be_named_in_three_ways() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let elsewhere = Path::new("/");
    let mut by_variable = program();
    by_variable.env("FILMSTRIP_STORE", directory.path()).arg("head-hash").current_dir(elsewhere);
    let mut by_place = program();
    by_place.arg("head-hash").current_dir(directory.path());
    let mut after_command = program();
    after_command.args(["head-hash", "-d"]).arg(directory.path()).current_dir(elsewhere);
    let expected = run(directory.path(), &["head-hash"]).out;
    for command in [&mut by_variable, &mut by_place, &mut after_command] {
        let done = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), expected, "{done:?}");
    }
}
