//! Inputs of an import that are no plain text, no plain file, or say a time that cannot be.

use crate::common::{all, at, id, ok, refused, run, run_with, sample};
use serde_json::{Value, json};
use std::fs;
use tempfile::tempdir;

/// What is compressed or in another encoding was refused by its first character; the mark of UTF-8 was refused too.
#[test]
fn an_input_that_is_not_text_in_utf_8_is_refused_by_what_it_is() {
    let directory = tempdir().unwrap();
    let store = directory.path().join("store");
    sample(&store);
    let export = ok(&store, &["export"]);
    let import = |name: &str, bytes: &[u8], arguments: &[&str]| {
        let (file, copy) =
            (directory.path().join(name), directory.path().join(format!("{name}-copy")));
        fs::write(&file, bytes).unwrap();
        let arguments = [&["import"], arguments, &[file.to_str().unwrap()]].concat();
        (run(&copy, &arguments), copy)
    };
    let utf_16: Vec<u8> =
        [0xfeff].into_iter().chain(export.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for (name, bytes, words) in [
        (
            "zipped",
            &b"\x1f\x8b\x08\x00\x00\x00"[..],
            "compressed with gzip; pipe it through `gzip -dc`",
        ),
        ("zst", b"\x28\xb5\x2f\xfd\x24\x00", "compressed with zstd"),
        ("utf-16", &utf_16, "UTF-16"),
    ] {
        for arguments in
            [&[][..], &["--from", "kurrentdb"], &["--from", "jsonl", "--map", "marten"]]
        {
            let (done, copy) = import(name, bytes, arguments);
            refused(&done, &[name, words]);
            assert!(!copy.exists(), "{name}: a store was made");
        }
    }
    let marked = format!("\u{feff}{export}");
    let crlf = export.replace('\n', "\r\n");
    for (name, text) in [("marked", &marked), ("crlf", &crlf)] {
        let (done, copy) = import(name, text.as_bytes(), &[]);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{name}");
        assert!(all(&copy) == all(&store), "{name}");
    }
    let (done, _) = import("empty", b"", &[]);
    refused(&done, &["its end is missing"]);
}

/// It was read twice, and nothing was there the second time.
#[test]
fn a_pipe_that_has_a_path_is_read_once() {
    let directory = tempdir().unwrap();
    let (store, copy) = (directory.path().join("store"), directory.path().join("copy"));
    sample(&store);
    let export = ok(&store, &["export"]);
    let done = run_with(&copy, &["import", "/dev/stdin"], &export);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{}", done.out);
    assert!(all(&copy) == all(&store));
}

/// Recorded times never decrease, so all later events of the store had that time.
#[test]
fn a_time_far_ahead_is_not_that_of_all_later_events() {
    let directory = tempdir().unwrap();
    let row = |at: &str, n: u64| {
        json!({ "stream_name": "Order-1", "id": id(n.into()), "type": "T", "data": {}, "time": at, "position": n })
            .to_string()
    };
    let input = [row("2999-01-01T00:00:00Z", 0), row("2025-11-27T14:00:00Z", 1)].join("\n");
    let arguments = ["--json", "import", "--from", "jsonl", "--map", "message-db", "-"];
    let done = run_with(directory.path(), &arguments, &input);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    let imported: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(imported["times_kept"], false);
    let events = all(directory.path());
    assert_eq!(events[0].occurred_at, at("2999-01-01T00:00:00Z"));
    assert!(events.iter().all(|event| event.recorded_at < at("2900-01-01T00:00:00Z")));
}
