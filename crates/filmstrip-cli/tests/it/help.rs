//! Help: each command has examples, a manual page and completions.

use crate::common::{program, refused, run};
use std::fs;
use std::path::Path;
use tempfile::tempdir;

const COMMANDS: [&str; 23] = [
    "streams",
    "tail",
    "show",
    "film",
    "why",
    "stats",
    "top",
    "verify",
    "backup",
    "restore",
    "promote",
    "head-hash",
    "check-hash",
    "export",
    "import",
    "projections",
    "groups",
    "processes",
    "studio",
    "completions",
    "man",
    "repair index",
    "repair export",
];

fn text(arguments: &[&str]) -> String {
    let done = program().args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn each_command_has_a_help_with_examples_and_is_listed() {
    let whole = text(&["--help"]);
    assert!(whole.contains("Exit codes:") && whole.contains("FILMSTRIP_STORE"), "{whole}");
    for command in COMMANDS {
        let words: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = text(&words);
        assert!(help.contains("Examples:\n  ") && help.contains("filmstrip "), "{command}: {help}");
        assert!(whole.contains(&format!("\n  {}", words[0])), "{command} is not listed");
        let wide = help.lines().find(|line| line.chars().count() > 120);
        assert_eq!(wide, None, "{command}");
    }
}

#[test]
fn completions_know_the_commands_and_options() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&["completions", shell]);
        for word in ["film", "check-hash", "postgres-copy"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let directory = tempdir().unwrap();
    let into = directory.path().join("man1");
    text(&["man", "--into", into.to_str().unwrap()]);
    for command in COMMANDS {
        let name = format!("filmstrip-{}.1", command.replace(' ', "-"));
        let page = fs::read_to_string(into.join(name)).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains("Examples:"), "{command}: {page}");
    }
    let whole = fs::read_to_string(into.join("filmstrip.1")).unwrap();
    assert_eq!(text(&["man"]), whole);
    assert!(whole.starts_with(".ie"), "{whole}");
    assert!(text(&["man", "film"]).contains("filmstrip\\-film"));
    refused(&run(Path::new("."), &["man", "--into", "/dev/null/man1"]), &["/dev/null/man1"]);
}
