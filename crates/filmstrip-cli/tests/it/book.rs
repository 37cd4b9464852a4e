//! The chapter of the book on the command line: its commands print what it says.

use crate::common::program;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::tempdir;

const CHAPTER: &str = "../../docs/book/command_line.md";

/// The fences of a chapter: their languages and texts.
fn fences(chapter: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in chapter.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => found.push((language.to_owned(), String::new())),
            (None, true) => {
                let (_, text) = found.last_mut().unwrap();
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
        inside ^= line.starts_with("```");
    }
    found
}

/// Whether `line` is `expected`, in which `…` at the end stands for anything.
fn is_as_expected(line: &str, expected: &str) -> bool {
    match expected.strip_suffix('…') {
        Some(beginning) => line.starts_with(beginning),
        None => line == expected,
    }
}

#[test]
fn the_commands_of_the_chapter_print_what_it_says() {
    let chapter = fs::read_to_string(CHAPTER).unwrap();
    let (directory, fences) = (tempdir().unwrap(), fences(&chapter));
    let bin = Path::new(env!("CARGO_BIN_EXE_filmstrip")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut sessions = 0;
    for (commands, output) in
        fences.iter().zip(&fences[1..]).filter(|((language, _), _)| language == "sh")
    {
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &commands.1]).current_dir(directory.path()).env("PATH", &path);
        let done = shell.env_remove("FILMSTRIP_STORE").output().unwrap();
        let (out, err) =
            (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
        assert!(done.status.success() && err.is_empty(), "{}\n{out}\n{err}", commands.1);
        let (lines, expected): (Vec<_>, Vec<_>) =
            (out.lines().collect(), output.1.lines().collect());
        assert_eq!(lines.len(), expected.len(), "{out}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(is_as_expected(line, expected), "{line:?} is not {expected:?}");
        }
        sessions += 1;
    }
    assert_eq!(sessions, 3);
}

#[test]
fn the_map_of_the_chapter_reads_a_row() {
    let chapter = fs::read_to_string(CHAPTER).unwrap();
    let (_, map) = fences(&chapter).into_iter().find(|(language, _)| language == "json").unwrap();
    let directory = tempdir().unwrap();
    let (rows, mapped) = (directory.path().join("rows.jsonl"), directory.path().join("map.json"));
    fs::write(&mapped, map).unwrap();
    let row = serde_json::json!({
        "order_id": 7, "event_id": "a", "kind": "Placed", "number": 0, "recorded": "2025-11-27T14:00:00Z",
        "body": {}, "who": "alice", "headers": { "ip": "192.0.2.7" }, "tenant": "t",
    });
    fs::write(&rows, row.to_string()).unwrap();
    let mut import = program();
    import
        .arg("-d")
        .arg(directory.path().join("store"))
        .args(["import", "--from", "jsonl", "--map"]);
    let done = import.arg(&mapped).arg(&rows).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}
