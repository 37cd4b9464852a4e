//! Dumps of other systems: KurrentDB, Marten and message-db tables, CloudEvents of anybody.

use crate::common::{documents, ok, refused, run_with};
use serde_json::{Value, json};
use tempfile::tempdir;

/// Imports `input` twice, which must record `events` once. Returns them.
fn imported(arguments: &[&str], input: &str, events: u64) -> Vec<Value> {
    let directory = tempdir().unwrap();
    let arguments = [&["--json", "import"], arguments, &["-"]].concat();
    for (recorded, found) in [(events, 0), (0, events)] {
        let done = run_with(directory.path(), &arguments, input);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{arguments:?}");
        let imported: Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!((&imported["recorded"], &imported["found"]), (&json!(recorded), &json!(found)));
        assert_eq!(imported["verified"], false);
    }
    ok(directory.path(), &["verify"]);
    documents(directory.path(), &["tail", "-n", "100"])
}

const ID: &str = "0197c2a0-7e3c-7cc3-98c4-dc0c0c07398f";
const OTHER: &str = "0197c2a0-7e3c-7cc3-98c4-dc0c0c073990";
const THIRD: &str = "0197c2a0-7e3c-7cc3-98c4-dc0c0c073991";

#[test]
fn events_as_kurrentdbs_clients_give_them_are_imported() {
    let event = |id: &str, stream: &str, event_type: &str, revision: u64| {
        json!({ "event": {
            "streamId": stream, "id": id, "type": event_type, "revision": revision, "isJson": true,
            "created": "2025-11-27T14:00:00.123Z", "data": { "total": 5 },
            "metadata": { "$correlationId": THIRD, "$causationId": "order/7", "ip": "192.0.2.7", "n": 7 },
            "position": { "commit": "1", "prepare": "1" },
        }, "commitPosition": "1" })
    };
    let mut bytes = event(OTHER, "Order-1", "Scanned", 18);
    bytes["event"]["isJson"] = json!(false);
    bytes["event"]["data"] = json!("AAH+/w==");
    bytes["event"]["metadata"] = Value::Null;
    let mut link = event(THIRD, "$ce-Order", "$>", 0);
    link["link"] = json!({});
    // The stream has lost its first events, as by `$maxCount`.
    let input =
        [event(ID, "Order-1", "Placed", 17), event(THIRD, "$settings", "Changed", 0), link, bytes];
    let events = imported(&["--from", "kurrentdb"], &json!(input).to_string(), 2);
    let first = json!({
        "position": 1, "stream": "Order-1", "version": 1, "id": ID, "type": "Placed",
        "recorded_at": "2025-11-27T14:00:00.123Z", "correlation_id": THIRD, "data": { "total": 5 },
        "entries": { "causation_id": "order/7", "ip": "192.0.2.7", "n": "7", "event_number": "17" },
    });
    assert_eq!(events[0], first);
    assert_eq!((&events[1]["version"], &events[1]["data_base64"]), (&json!(2), &json!("AAH+/w==")));
}

#[test]
fn a_page_of_kurrentdbs_feed_is_imported_oldest_first() {
    let entry = |id: &str, number: u64| {
        json!({
            "eventId": id, "eventType": "Placed", "eventNumber": number, "data": "{\n  \"total\": 5\n}",
            "metaData": "{\"user\":\"alice\"}", "streamId": "Order-1", "isJson": true, "isMetaData": true,
            "positionEventNumber": number, "positionStreamId": "Order-1", "title": "17@Order-1",
            "id": "http://localhost:2113/streams/Order-1/17", "updated": "2025-11-27T14:00:00.1234567Z",
        })
    };
    let page = json!({ "title": "All events", "entries": [entry(OTHER, 1), entry(ID, 0)] });
    let events = imported(&["--from", "kurrentdb"], &page.to_string(), 2);
    assert_eq!((&events[0]["id"], &events[1]["id"]), (&json!(ID), &json!(OTHER)));
    // The payload is JSON with line feeds, as it was.
    assert_eq!(
        (&events[0]["format"], &events[0]["entries"]["user"]),
        (&json!("json"), &json!("alice"))
    );
}

#[test]
fn a_dump_of_martens_events_is_imported() {
    let row = |id: &str, stream: &str, version: u64, stream_type: Value| {
        json!({
            "seq_id": version, "id": id, "stream_id": stream, "version": version, "data": { "Total": 5, "Note": "a\\b\"c" },
            "type": "order_placed", "timestamp": "2025-11-27T14:00:00.123456+00:00", "tenant_id": "*DEFAULT*",
            "mt_dotnet_type": "Shop.OrderPlaced, Shop", "is_archived": false, "stream_type": stream_type,
            "correlation_id": THIRD, "causation_id": "by-hand", "headers": { "ip": "192.0.2.7" },
        })
        .to_string()
    };
    let lines =
        [row(ID, THIRD, 1, json!("order")), row(OTHER, THIRD, 2, json!("order"))].join("\n");
    // COPY doubles each backslash.
    let copied = lines.replace('\\', "\\\\");
    for (arguments, input) in [
        (&["--from", "jsonl", "--map", "marten"][..], &lines),
        (&["--from", "jsonl", "--map", "marten", "--postgres-copy"], &copied),
    ] {
        let events = imported(arguments, input, 2);
        let first = json!({
            "position": 1, "stream": format!("order-{THIRD}"), "version": 1, "id": ID, "type": "order_placed",
            "recorded_at": "2025-11-27T14:00:00.123456Z", "correlation_id": THIRD,
            "data": { "Total": 5, "Note": "a\\b\"c" },
            "entries": { "causation_id": "by-hand", "ip": "192.0.2.7", "tenant_id": "*DEFAULT*" },
        });
        assert_eq!(events[0], first);
        assert_eq!(events[1]["version"], 2);
    }
    let without_type = row(ID, "Order-7", 1, Value::Null);
    let events = imported(&["--from", "jsonl", "--map", "marten"], &without_type, 1);
    assert_eq!(events[0]["stream"], "Order-7");
}

#[test]
fn a_dump_of_message_dbs_messages_is_imported() {
    let row = |id: &str, position: u64, metadata: Value| {
        json!({
            "global_position": position + 1, "position": position, "time": "2025-11-27T14:00:00.123456",
            "stream_name": "account-1", "type": "Opened", "data": { "name": "Alice" }, "metadata": metadata, "id": id,
        })
        .to_string()
    };
    let metadata =
        json!({ "causationMessageStreamName": "account:command-1", "causationMessagePosition": 0 });
    let input = [row(ID, 0, Value::Null), row(OTHER, 1, metadata)].join("\n");
    let events = imported(&["--from", "jsonl", "--map", "message-db"], &input, 2);
    assert_eq!((&events[0]["stream"], &events[0]["version"]), (&json!("account-1"), &json!(1)));
    assert_eq!(events[0]["recorded_at"], "2025-11-27T14:00:00.123456Z");
    assert_eq!(
        events[1]["entries"],
        json!({ "causationMessageStreamName": "account:command-1", "causationMessagePosition": "0" })
    );
}

#[test]
fn a_table_of_ones_own_is_imported_by_a_map_of_ones_own() {
    let directory = tempdir().unwrap();
    let map = directory.path().join("map.json");
    let text = json!({
        "stream": ["Order-{order}"], "id": "key", "type": "kind", "time": "at", "occurred_at": "happened",
        "schema_version": "schema", "data": "body", "user": "who", "tags": "labels", "entries": ["shop"],
    });
    std::fs::write(&map, text.to_string()).unwrap();
    let row = |key: &str, at: &str| {
        json!({
            "order": 7, "key": key, "kind": "Placed", "at": at, "happened": "2025-11-20 00:00:00+00", "schema": 2,
            "body": null, "who": "alice", "labels": ["vip"], "shop": { "n": 1 }, "other": "left out",
        })
        .to_string()
    };
    // Keys that are no UUIDs, no versions, and a time that goes back.
    let input = [row("k1", "2025-11-27T14:00:01Z"), row("k2", "2025-11-27T14:00:00Z")].join("\n");
    let map = map.to_str().unwrap();
    let events = imported(&["--from", "jsonl", "--map", map], &input, 2);
    let (id, second) = (events[0]["id"].clone(), &events[1]);
    let first = json!({
        "position": 1, "stream": "Order-7", "version": 1, "id": id, "type": "Placed", "schema_version": 2,
        "recorded_at": "2025-11-27T14:00:01Z", "occurred_at": "2025-11-20T00:00:00Z", "user": "alice",
        "entries": { "shop": "{\"n\":1}" }, "tags": ["vip"], "data": null,
    });
    assert_eq!(events[0], first);
    assert_eq!(
        (&second["version"], &second["recorded_at"]),
        (&json!(2), &json!("2025-11-27T14:00:01Z"))
    );
    assert_ne!(second["id"], id);
}

#[test]
fn cloud_events_of_another_source_are_imported() {
    let input = json!([
        {
            "specversion": "1.0", "id": "A-1", "source": "/sensors/7", "type": "measured", "time": "2025-11-27T14:00:00+01:00",
            "datacontenttype": "application/json; charset=utf-8", "data": { "celsius": 21.50 }, "partitionkey": "p", "region": "eu",
        },
        {
            "specversion": "1.0", "id": "A-1", "source": "/sensors/8", "type": "measured", "time": "2025-11-27T14:00:00+01:00",
            "subject": "sensor-8", "datacontenttype": "text/plain", "data": "warm",
        },
        {
            "specversion": "1.0", "id": "A-2", "source": "/sensors/8", "type": "ended", "subject": "sensor-8",
            "time": "2025-11-27T14:00:00+01:00",
        },
    ]);
    let events = imported(&["--from", "cloudevents"], &input.to_string(), 3);
    assert_eq!(
        (&events[0]["stream"], &events[1]["stream"]),
        (&json!("/sensors/7"), &json!("sensor-8"))
    );
    assert_eq!(events[0]["entries"], json!({ "partitionkey": "p", "region": "eu" }));
    assert_ne!(events[0]["id"], events[1]["id"], "an id is unique within its source");
    assert_eq!((&events[1]["data_base64"], &events[2]["data"]), (&json!("d2FybQ=="), &Value::Null));
}

#[test]
fn a_record_that_lacks_something_is_refused_with_its_line() {
    let cases: [(&[&str], &str, &str); 9] = [
        (&["--from", "kurrentdb"], r#"{"streamId":"A-1"}"#, "the field \"eventType\" is missing"),
        (&["--from", "kurrentdb"], r#"{"streamId":{},"type":"T"}"#, "must be a text or a number"),
        (&["--from", "cloudevents"], r#"{"specversion":"0.3"}"#, "CloudEvents 1.0 are read"),
        (
            &["--from", "cloudevents"],
            r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#,
            "\"time\" is missing",
        ),
        (&["--from", "jsonl", "--map", "message-db"], r#"{"id":"1"}"#, "{stream_name}"),
        (
            &["--from", "jsonl", "--map", "marten"],
            r#"{"stream_id":"A-1","version":-1}"#,
            "must be a number from 0 on",
        ),
        (
            &["--from", "jsonl", "--map", "marten"],
            r#"{"stream_id":"A-1","version":0}"#,
            "a stream's first version is 1",
        ),
        (&["--from", "jsonl", "--map", "absent.json"], "{}", "absent.json"),
        (&["--from", "jsonl", "--map", "Cargo.toml"], "{}", "Cargo.toml is not a map"),
    ];
    for (arguments, input, words) in cases {
        let directory = tempdir().unwrap();
        let arguments = [&["import"], arguments, &["-"]].concat();
        let done = run_with(directory.path(), &arguments, &format!("\n{input}\n"));
        refused(&done, &[words]);
        assert!(
            done.err.contains("standard input, line 2: ")
                || done.err.contains("map")
                || done.err.contains("absent"),
            "{}",
            done.err
        );
    }
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let row = json!({ "stream_name": "a-1", "id": ID, "type": "T", "time": "2025-11-27T14:00:00", "position": 0 });
    let input = row.to_string().replace("\"id\"", &format!("\"data\":{deep},\"id\""));
    let directory = tempdir().unwrap();
    let done = run_with(
        directory.path(),
        &["import", "--from", "jsonl", "--map", "message-db", "-"],
        &input,
    );
    refused(&done, &["cannot be read back"]);
}

/// Versions are counted where the input does not say them, so a repeated event was recorded twice.
#[test]
fn an_event_that_an_input_has_twice_is_recorded_once() {
    let event = |id: &str, subject: &str| {
        json!({ "specversion": "1.0", "id": id, "source": "/orders", "subject": subject, "type": "placed",
            "time": "2025-11-27T14:00:00Z", "data": {} })
        .to_string()
    };
    let input = [
        event("1", "a-1"),
        event("2", "a-1"),
        event("1", "a-1"),
        event("1", "a-2"),
        event("3", "a-1"),
    ];
    let directory = tempdir().unwrap();
    for (recorded, found) in [(4, 1), (0, 5)] {
        let arguments = ["--json", "import", "--from", "cloudevents", "-"];
        let done = run_with(directory.path(), &arguments, &input.join("\n"));
        assert_eq!((done.code, done.err.as_str()), (0, ""));
        let imported: Value = serde_json::from_str(&done.out).unwrap();
        assert_eq!((&imported["recorded"], &imported["found"]), (&json!(recorded), &json!(found)));
    }
    let events = documents(directory.path(), &["show", "a-1"]);
    assert_eq!(events.len(), 3);
}
