//! What others wrote must not drive a terminal; a reader that has seen enough ends the program quietly.

use crate::common::{id, ok, program, run, sample};
use filmstrip::{ExpectedVersion, Metadata, NewEvent, Store};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::tempdir;

const HOSTILE: [&str; 12] = [
    "\u{1b}[2J\u{1b}[31m",
    "\u{1b}]0;title\u{7}",
    "\u{9b}2J",
    "\u{9d}0;title\u{9c}",
    "line\r\noverwritten",
    "\u{8}\u{8}\u{8}",
    "\u{7f}",
    "\u{202e}gnp.exe",
    "\u{2066}\u{2069}",
    "zero\u{200b}\u{200d}width\u{feff}",
    "\u{2028}\u{2029}",
    "\u{e0041}\u{e007f}",
];

/// A store in which everything that a writer may choose is hostile, as far as the store accepts it.
fn hostile(path: &Path) {
    let store = Store::open(path).unwrap();
    for (n, text) in (1..).zip(HOSTILE) {
        let metadata = Metadata::default().user(text).entry(text, text).causation_id(id(n - 1));
        let event = NewEvent::json("T", &serde_json::json!({ text: text })).unwrap();
        let event = event.id(id(n)).metadata(metadata);
        store.append("Order-1", ExpectedVersion::Any, [event]).unwrap();
        // Names must not have control characters, and may have others that a terminal acts on.
        if !text.contains(char::is_control) {
            let event = NewEvent::json(text, &text).unwrap().tag(text);
            store.append(format!("{text}-1"), ExpectedVersion::Any, [event]).unwrap();
        }
    }
    store.close().unwrap();
}

fn is_safe(c: char) -> bool {
    let hostile: String = HOSTILE.concat();
    c == '\n' || !(c.is_control() || !c.is_ascii() && hostile.contains(c))
}

#[test]
fn hostile_names_and_payloads_are_shown_and_not_sent() {
    let directory = tempdir().unwrap();
    hostile(directory.path());
    let looks: [&[&str]; 8] = [
        &["streams"],
        &["tail", "-n", "100"],
        &["show", "Order-1"],
        &["show", "\u{202e}gnp.exe-1"],
        &["film", "Order-1"],
        &["why", "1"],
        &["top"],
        &["stats"],
    ];
    for look in looks {
        for arguments in [look.to_vec(), [&["--json"], look].concat()] {
            let out = ok(directory.path(), &arguments);
            let unsafe_char = out.chars().find(|c| !is_safe(*c));
            assert_eq!(unsafe_char, None, "{arguments:?}");
            if arguments[0] == "--json" {
                out.lines().for_each(|line| {
                    drop(serde_json::from_str::<serde_json::Value>(line).unwrap());
                });
            }
        }
    }
    // In errors too.
    let done = run(directory.path(), &["show", "\u{202e}\u{1b}[2J-9"]);
    assert!(done.code == 2 && done.err.chars().all(is_safe), "{:?}", done.err);
}

#[test]
fn colour_is_only_where_it_was_asked_for() {
    let directory = tempdir().unwrap();
    sample(directory.path());
    let has_color = |arguments: &[&str]| ok(directory.path(), arguments).contains("\u{1b}[");
    assert!(!has_color(&["film", "Order-1"]));
    assert!(!has_color(&["--color", "never", "film", "Order-1"]));
    assert!(has_color(&["--color", "always", "film", "Order-1"]));
    assert!(!has_color(&["--color", "always", "--json", "film", "Order-1"]));
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    let directory = tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    // More than a pipe holds.
    for n in 0..40 {
        let event = NewEvent::bytes("Written", vec![n; 100_000]);
        store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    }
    for arguments in [&["--json", "tail", "-n", "40"][..], &["export"], &["--json", "show", "A-1"]]
    {
        let mut command = program();
        command.arg("-d").arg(directory.path()).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        // Dropped after one line, as `head -n 1` does.
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""), "{arguments:?}");
        serde_json::from_str::<serde_json::Value>(&first).unwrap();
    }
}

/// The exit code of the program and what it prints on a terminal, which `script` of util-linux gives it. None, if there
/// is no `script`.
fn on_terminal(store: &Path, arguments: &str) -> Option<(Option<i32>, String)> {
    let line = format!("{} -d {} {arguments}", env!("CARGO_BIN_EXE_filmstrip"), store.display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env_remove("NO_COLOR").env_remove("FILMSTRIP_STORE").stdin(Stdio::null());
    match script.output() {
        Err(_) => {
            println!("skipped: there is no `script`");
            None
        }
        Ok(done) => Some((done.status.code(), String::from_utf8(done.stdout).unwrap())),
    }
}

#[test]
fn a_terminal_has_colours_and_short_lines_and_no_export() {
    let directory = tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let event = NewEvent::json("Written", &"x".repeat(1_000)).unwrap();
    store.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    let Some((code, tail)) = on_terminal(directory.path(), "tail") else { return };
    assert_eq!(code, Some(0), "{tail}");
    assert!(
        tail.contains("\u{1b}[1mWritten\u{1b}[0m") && tail.trim_end().ends_with('…'),
        "{tail:?}"
    );
    assert!(tail.len() < 400, "{tail:?}");
    let Some((code, refused)) = on_terminal(directory.path(), "export") else { return };
    assert!(code == Some(2) && refused.contains("not for a terminal"), "{code:?} {refused:?}");
}

/// There was a spinner, which moves as well when nothing else does.
#[test]
fn what_is_long_shows_how_much_is_done_on_a_terminal() {
    let directory = tempdir().unwrap();
    let (store, backup, copy, mended) =
        ["store", "backup", "copy", "mended"].map(|name| directory.path().join(name)).into();
    let written = Store::open(&store).unwrap();
    for n in 0..40 {
        let event = NewEvent::bytes("Written", vec![n; 500_000]);
        written.append("A-1", ExpectedVersion::Any, [event]).unwrap();
    }
    let noted = written.head_hash();
    written.close().unwrap();
    let [to, mended] = [&backup, &mended].map(|path| path.to_str().unwrap());
    for (at, arguments, shown) in [
        (&store, "verify".to_owned(), &["verifying"][..]),
        (&store, format!("backup {to}"), &["backing up"]),
        (
            &copy,
            format!("restore {to}"),
            &["verifying the backup", "copying", "verifying the copy"],
        ),
        (&store, format!("repair export {mended}"), &["exporting what can be read"]),
        (&store, format!("check-hash {noted}"), &["computing the chain"]),
    ] {
        let Some((code, told)) = on_terminal(at, &arguments) else { return };
        assert_eq!(code, Some(0), "{arguments}: {told}");
        for what in shown {
            let is_bar = |part: &&str| {
                part.starts_with(what)
                    && [" MiB of ", " of 40 events"].iter().any(|it| part.contains(it))
            };
            let bars = told.split(['\r', '\n', 'K']).filter(is_bar).count();
            assert!(bars > 0, "{arguments}, {what}: {told:?}");
        }
    }
}
