//! Moving events: an export has everything, and an import records each event exactly once.

use crate::common::{
    Writer, all, at, document, id, ok, program, refused, run, run_with, sample, wait_until,
};
use filmstrip::testing::ManualClock;
use filmstrip::{Commit, ExpectedVersion, Follower, Metadata, NewEvent, Store};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tempfile::tempdir;

/// The forms of an export, and what reads them.
const FORMS: [(&str, &str); 3] =
    [("jsonl", "filmstrip"), ("cloudevents", "cloudevents"), ("cloudevents-batch", "cloudevents")];

/// A store with more of everything: groups of commits with one time, streams that alternate, JSON of all shapes.
fn many(path: &Path, events: u64) {
    let clock = ManualClock::new(at("2025-11-27T14:00:00.5Z"));
    let store = Store::builder().clock(clock.clone()).open(path).unwrap();
    let mut n = 0;
    while n < events {
        let mut commit = Commit::new();
        for part in 0..1 + n % 7 {
            let stream = format!("S{part}-{}", n % 20);
            let last = n + 1 + (n + part) % 3;
            commit = commit.append(stream, ExpectedVersion::Any, (n + 1..=last).map(event));
            n = last;
        }
        store.commit(commit).unwrap();
        // Some commits have the time of the one before.
        if n % 4 > 0 {
            clock.advance(Duration::from_micros(1 + n % 1_000));
        }
    }
    store.close().unwrap();
}

fn event(n: u64) -> NewEvent {
    let raw = |json: &str| serde_json::value::RawValue::from_string(json.to_owned()).unwrap();
    let new = match n % 6 {
        0 => NewEvent::json("Null", &()).unwrap(),
        1 => NewEvent::json("Exact", &raw(r#"{"b":1.50, "a":1e2,"b":"\u0041","é":"😀\u0001"}"#))
            .unwrap(),
        2 => NewEvent::json("Lines", &raw("{\n  \"a\": [1,\n 2]\n}")).unwrap(),
        3 => NewEvent::bytes("Bytes", (0..n % 300).map(|n| n as u8).collect::<Vec<_>>()),
        4 => NewEvent::json("Deep", &raw(&format!("{}{}", "[".repeat(127), "]".repeat(127))))
            .unwrap(),
        _ => NewEvent::json("Text", &format!("\u{202e}\u{9b}{n}\n\"")).unwrap(),
    };
    let new = if n.is_multiple_of(5) { new.occurred_at(at("2020-02-29T12:00:00Z")) } else { new };
    let mut metadata = Metadata::default();
    if n.is_multiple_of(3) {
        let more = Metadata::default().user("Zoë").entry("\n", "\"").entry("traceparent", "00-x");
        metadata = more.correlation_id(id(1)).causation_id(id(u128::from(n) - 1)).command_id(id(7));
    }
    new.id(id(n.into()))
        .metadata(metadata)
        .tag(format!("n:{}", n % 9))
        .schema_version((n % 4) as u16)
}

#[test]
fn an_export_has_every_field_and_an_import_gives_each_of_them_back() {
    let directory = tempdir().unwrap();
    let store = directory.path().join("store");
    many(&store, 600);
    for (form, from) in FORMS {
        let (file, copy) =
            (directory.path().join(form), directory.path().join(format!("{form}-copy")));
        let exported =
            document(&store, &["export", "--format", form, "-o", file.to_str().unwrap()]);
        let imported = document(&copy, &["import", "--from", from, file.to_str().unwrap()]);
        let events = all(&store);
        assert_eq!(exported["events"], events.len());
        assert_eq!(imported["recorded"], events.len());
        assert_eq!(
            (&imported["positions_kept"], &imported["times_kept"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(
            (&imported["verified"], &imported["blake3"]),
            (&json!(true), &exported["blake3"])
        );
        assert!(all(&copy) == events, "{form}: an event is not as it was");
        ok(&copy, &["verify"]);
        // The same events have the same export.
        assert_eq!(ok(&copy, &["export", "--format", form]), fs::read_to_string(&file).unwrap());
    }
}

/// What is equal, and what is not: an export does not say where the frames of the log are. Where each commit was one
/// frame with a time of its own, and the store was closed once, all of the chain is the same.
#[test]
fn the_copy_of_a_store_of_single_commits_has_the_same_head_hash() {
    let directory = tempdir().unwrap();
    let (store, copy) = (directory.path().join("store"), directory.path().join("copy"));
    sample(&store);
    let export = ok(&store, &["export"]);
    assert_eq!(run_with(&copy, &["import", "-"], &export).code, 0);
    assert_eq!(ok(&copy, &["head-hash"]), ok(&store, &["head-hash"]));
    // Opened and closed again, the store has another hash, and the same events.
    Store::open(&store).unwrap().close().unwrap();
    ok(&store, &["verify"]);
    assert_eq!(ok(&store, &["export"]), export);
}

#[test]
fn a_cloud_event_is_valid_and_has_the_attributes_that_are_documented() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let batch = ok(
        directory.path(),
        &["export", "--format", "cloudevents-batch", "--source", "https://shop.example"],
    );
    let batch: Vec<Value> = serde_json::from_str(&batch).unwrap();
    assert_eq!(batch.len(), 8);
    for event in &batch {
        for needed in ["id", "source", "type"] {
            assert!(event[needed].as_str().is_some_and(|text| !text.is_empty()), "{event}");
        }
        assert_eq!(
            (&event["specversion"], &event["source"]),
            (&json!("1.0"), &json!("https://shop.example"))
        );
        for (name, value) in event.as_object().unwrap() {
            let is_name = name.len() <= 20
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            assert!(is_name || name == "data_base64", "{name} cannot be an attribute's name");
            // Attributes have no parts, and their integers have 32 bits.
            let is_whole =
                value.is_string() || value.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
            assert!(is_whole || name == "data", "{name}: {value}");
        }
    }
    let first = json!({
        "specversion": "1.0", "id": id(1), "source": "https://shop.example", "type": "Placed", "subject": "Order-1",
        "time": "2025-11-27T14:00:00.000001Z", "datacontenttype": "application/json", "position": "1",
        "streamversion": "1", "recordedat": "2025-11-27T14:00:00.000001Z", "commandid": id(100), "userid": "alice",
        "entries": "{\"ip\":\"192.0.2.7\"}", "tags": "[\"shop:a\",\"vip\"]",
        "data": { "total": 5, "address": { "city": "Boston", "zip": "02101" } },
    });
    assert_eq!(batch[0], first);
    assert_eq!(
        (&batch[3]["time"], &batch[3]["data_base64"]),
        (&json!("2025-11-20T00:00:00Z"), &json!("AAH+/w=="))
    );
}

#[test]
fn an_export_beside_a_writer_ends_and_is_whole() {
    let directory = tempdir().unwrap();
    let (store, copy) = (directory.path().join("store"), directory.path().join("copy"));
    sample(&store);
    let writer = Writer::on(&store);
    let export = ok(&store, &["export"]);
    writer.wait_for(1);
    let done = run_with(&copy, &["--json", "import", "-"], &export);
    let imported: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(imported["recorded"].as_u64(), Some(export.lines().count() as u64 - 1));
    let (events, copied) = (all(&store), all(&copy));
    assert!(copied == events[..copied.len()] && events.len() > copied.len());
}

#[test]
fn an_import_again_records_nothing_and_a_later_export_only_what_is_new() {
    let directory = tempdir().unwrap();
    let (store, copy) = (directory.path().join("store"), directory.path().join("copy"));
    sample(&store);
    let first = ok(&store, &["export"]);
    run_with(&copy, &["import", "-"], &first);
    let import = |input: &str| -> Value {
        let done = run_with(&copy, &["--json", "import", "-"], input);
        assert_eq!((done.code, done.err.as_str()), (0, ""));
        serde_json::from_str(&done.out).unwrap()
    };
    let again = import(&first);
    assert_eq!(
        (&again["recorded"], &again["found"], &again["positions_kept"]),
        (&json!(0), &json!(7), &json!(true))
    );
    drop(Writer::on(&store));
    let later = import(&ok(&store, &["export"]));
    assert_eq!((&later["found"], &later["positions_kept"]), (&json!(7), &json!(true)));
    drop(Writer::on(&store));
    let head = later["head"].as_u64().unwrap();
    let rest = import(&ok(&store, &["export", "--from", &(head + 1).to_string()]));
    assert_eq!(rest["found"], 0);
    assert!(all(&copy) == all(&store));
}

/// Killed at many moments, an import recorded some events twice, or could not be gone on with.
#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let directory = tempdir().unwrap();
    let (store, copy) = (directory.path().join("store"), directory.path().join("copy"));
    many(&store, 3_000);
    let file = directory.path().join("export.jsonl");
    ok(&store, &["export", "-o", file.to_str().unwrap()]);
    let mut kills = 0;
    for round in 1.. {
        let mut import = program();
        import.arg("-d").arg(&copy).arg("import").arg(&file).stdout(Stdio::null());
        let mut import = import.spawn().unwrap();
        let goal = round * 400;
        let reached =
            || Follower::open(&copy).and_then(|copy| copy.head()).map_or(0, |head| head.get());
        let ended = std::cell::Cell::new(false);
        let import = std::cell::RefCell::new(&mut import);
        wait_until("the import", || {
            ended.set(import.borrow_mut().try_wait().unwrap().is_some());
            ended.get() || reached() >= goal
        });
        let import = import.into_inner();
        import.kill().unwrap();
        import.wait().unwrap();
        if ended.get() {
            break;
        }
        kills += 1;
    }
    println!("killed {kills} times");
    assert!(kills >= 2, "it was killed only {kills} times");
    let last = document(&copy, &["import", file.to_str().unwrap()]);
    assert_eq!(
        last["found"].as_u64().unwrap() + last["recorded"].as_u64().unwrap(),
        all(&store).len() as u64
    );
    assert!(all(&copy) == all(&store), "an event is missing, doubled or another");
    assert_eq!(ok(&copy, &["export"]), fs::read_to_string(file).unwrap());
}

#[test]
fn two_stores_are_merged_and_what_cannot_be_kept_is_said() {
    let directory = tempdir().unwrap();
    let (store, other) = (directory.path().join("store"), directory.path().join("other"));
    sample(&store);
    drop(Writer::on(&other));
    let before = all(&other).len();
    let export = ok(&store, &["export"]);
    let done = run_with(&other, &["import", "-"], &export);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    for note in ["7 events recorded", "Positions are not", "Some recorded times are not"] {
        assert!(done.out.contains(note), "{note:?} is not in {}", done.out);
    }
    let events = all(&other);
    let (merged, originals) = (&events[before..], all(&store));
    for (event, original) in merged.iter().zip(&originals) {
        assert_eq!(
            (&event.stream, event.version, event.id),
            (&original.stream, original.version, original.id)
        );
        // When it happened is still known.
        assert_eq!(event.occurred_at, original.occurred_at);
        assert!(event.recorded_at > original.recorded_at);
    }
    let again: Value =
        serde_json::from_str(&run_with(&other, &["--json", "import", "-"], &export).out).unwrap();
    assert_eq!((&again["recorded"], &again["found"]), (&json!(0), &json!(7)));
    assert!(all(&other) == events);
}

#[test]
fn recorded_now_has_many_events_in_a_commit_and_their_times_as_occurred_at() {
    let directory = tempdir().unwrap();
    let (store, copy) = (directory.path().join("store"), directory.path().join("copy"));
    many(&store, 500);
    let export = ok(&store, &["export"]);
    let done = run_with(&copy, &["--json", "import", "--recorded-now", "-"], &export);
    let imported: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(
        (&imported["positions_kept"], &imported["times_kept"]),
        (&json!(true), &json!(false))
    );
    let (events, copied) = (all(&store), all(&copy));
    assert!(
        events.iter().zip(&copied).all(|(a, b)| a.occurred_at == b.occurred_at && a.id == b.id)
    );
    let times: std::collections::BTreeSet<_> =
        copied.iter().map(|event| event.recorded_at).collect();
    assert!(times.len() < copied.len() / 2, "{} times of {} events", times.len(), copied.len());
}

#[test]
fn an_export_that_was_cut_or_changed_is_refused_before_anything_is_recorded() {
    let directory = tempdir().unwrap();
    let store = directory.path().join("store");
    sample(&store);
    let export = ok(&store, &["export"]);
    let lines: Vec<&str> = export.lines().collect();
    let without = |n: usize| {
        lines
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != n)
            .map(|(_, line)| format!("{line}\n"))
            .collect::<String>()
    };
    let cases = [
        ("cut", without(7), "its end is missing"),
        ("removed", without(3), "it has 6 events, and its trailer says 7"),
        ("changed", export.replace("Boston", "Bostun"), "something was changed"),
        ("added", format!("{export}{}\n", lines[0]), "line 9: there is a record after the trailer"),
        ("torn", export[..200].to_owned(), "ends within a record"),
        (
            "newer",
            export.replace("{\"filmstrip_export\":1", "{\"filmstrip_export\":2"),
            "a newer version",
        ),
        (
            "unknown",
            export.replacen("\"version\"", "\"verzion\"", 1),
            "line 1: it is not a record of an export",
        ),
        ("other", "<xml/>".to_owned(), "line 1: a record must be a JSON object"),
    ];
    for (name, input, words) in cases {
        let (file, copy) =
            (directory.path().join(name), directory.path().join(format!("{name}-copy")));
        fs::write(&file, &input).unwrap();
        refused(&run(&copy, &["import", file.to_str().unwrap()]), &[name, words]);
        assert!(!copy.exists(), "{name}: something was recorded");
        // From a pipe it is known at the end only, and said as well.
        refused(&run_with(&copy, &["import", "-"], &input), &["standard input", words, "recorded"]);
    }
}

#[test]
fn what_does_not_fit_what_is_there_is_refused() {
    let directory = tempdir().unwrap();
    let (store, other) = (directory.path().join("store"), directory.path().join("other"));
    sample(&store);
    let opened = Store::open(&other).unwrap();
    opened
        .append("Order-1", ExpectedVersion::NoStream, [NewEvent::json("Other", &()).unwrap()])
        .unwrap();
    opened.close().unwrap();
    let export = ok(&store, &["export"]);
    let done = run_with(&other, &["import", "-"], &export);
    refused(&done, &["version 1 of Order-1 in the store is the event", &id(1).to_string()]);
    let some = ok(&store, &["export", "--type", "Paid"]);
    let done = run_with(&directory.path().join("new"), &["import", "-"], &some);
    refused(&done, &["version 2 of Order-2 does not follow", "up to version 0"]);
    // Whole streams can be taken.
    let orders = ok(&store, &["export", "--category", "Order"]);
    let done = run_with(&directory.path().join("orders"), &["--json", "import", "-"], &orders);
    let imported: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&imported["recorded"], &imported["positions_kept"]), (&json!(5), &json!(false)));
}

#[test]
fn an_export_to_a_file_is_there_whole_or_not_at_all() {
    let directory = tempdir().unwrap();
    let store = directory.path().join("store");
    sample(&store);
    let file = directory.path().join("export.jsonl");
    let name = file.to_str().unwrap();
    assert!(ok(&store, &["export", "-o", name]).contains("7 events in "));
    refused(&run(&store, &["export", "-o", name]), &["is there already"]);
    refused(&run(&store, &["export", "-o", "/nonexistent/export"]), &["/nonexistent"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "something was left");
}
