//! What keeps the house tidy, where rustfmt and clippy do not look: the width of lines, paths and links in all
//! Markdown, the words that the glossary of ARCHITECTURE.md replaced, the form of the book's chapters, the length of
//! the README, and a sentence for each limit.
//!
//! Each rule is a function from text to complaints, and a test at the end of this file sees it fail.

#![allow(clippy::unwrap_used, reason = "a file of the project that cannot be read fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Columns of a line. rustfmt keeps code to 100; comments and prose may take a little more.
const COLUMNS: usize = 120;

/// Words of the README outside of its programs.
const README_WORDS: usize = 600;

/// Written by `just compare`, a paragraph to a line.
const GENERATED: [&str; 2] = ["docs/benchmarks/RESULTS.md", "docs/benchmarks/LARGE.md"];

/// What may use the words that were replaced: records of what was decided, measured and changed, which keep the words
/// of their time, and tests that forge bytes by the names that they have on disk.
const ALLOWED: [&str; 5] =
    ["docs/decisions/", "docs/benchmarks/", "CHANGELOG.md", "tests/it/damage/", "src/renamed.rs"];

/// Words that were replaced, and by what; one in small letters also at the beginning of a sentence. A word that is
/// alone in quotation marks or backticks, or is in a path, is a name on disk and may stay.
const REPLACED: [(&str, &str); 25] = [
    ("pack", "sorted table"),
    ("packs", "sorted tables"),
    ("survey", "lenient scan"),
    ("surveyed", "scanned leniently"),
    ("durable mark", "durable watermark"),
    ("seeded bug", "planted defect"),
    ("MergeDue", "CompactionPriority"),
    ("proposal", "encoded commit"),
    ("proposals", "encoded commits"),
    ("Judged", "DecidedCommit"),
    ("verdict", "admission"),
    ("verdicts", "admissions"),
    ("Unanswered", "Reply"),
    ("sequencer", "commit queue"),
    ("position index", "sparse index"),
    ("Chunk", "EventBlock"),
    ("WindowEvent", "EventToIndex"),
    ("FollowingStopper", "Stopper"),
    ("NotSent", "SendError"),
    ("awkward moments", "when something goes wrong"),
    ("reach for instead", "use instead"),
    ("whoever", "callers"),
    ("moved aside", "quarantined"),
    ("anew", "again"),
    ("without a word", "silently"),
];

// ---- the rules ----------------------------------------------------------------------------------

/// Lines that are too long. A row of a table of Markdown cannot be broken, nor can a badge, nor a text in code.
fn wide_lines(name: &str, text: &str) -> Vec<String> {
    let whole: &[&str] = if is_markdown(name) { &["|", "[!["] } else { &["\"", "r#\"", "//! |"] };
    let is_text =
        |line: &str| !is_markdown(name) && line.starts_with("const ") && line.ends_with("\";");
    let broken = |line: &str| {
        !is_text(line) && !whole.iter().any(|start| line.trim_start().starts_with(start))
    };
    let lines = text.lines().enumerate();
    let wide = lines.filter(|(_, line)| broken(line) && line.chars().count() > COLUMNS);
    wide.map(|(at, line)| format!("{name}:{}: {} columns", at + 1, line.chars().count())).collect()
}

/// Links of Markdown that lead nowhere, and paths in backticks that look like the project's and do not exist.
fn dead_paths(name: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let directory = Path::new(name).parent().unwrap();
    let mut complaints = Vec::new();
    for (at, line) in outside_of_code(text) {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            if !target.contains("://") && !path.is_empty() && !exists(&plain(&directory.join(path)))
            {
                complaints.push(format!("{name}:{at}: the link to {target} is dead"));
            }
        }
        for word in line.split('`').skip(1).step_by(2) {
            let ours =
                ["src/", "docs/", "tests/", "crates/", "benches/", "examples/", "fuzz/", ".ci/"];
            let is_path = ours.iter().any(|root| word.starts_with(root));
            let path = word.split(' ').next().unwrap();
            if is_path && !path.contains(['<', '*']) && !exists(Path::new(path)) {
                complaints.push(format!("{name}:{at}: there is no {path}"));
            }
        }
    }
    complaints
}

/// Words that were replaced.
fn replaced_words(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for (word, better) in REPLACED {
            if words_in(line, word) {
                complaints.push(format!("{name}:{}: not {word:?} but {better:?}", at + 1));
            }
        }
    }
    complaints
}

/// Whether `line` has `word` as a word, outside of names on disk.
fn words_in(line: &str, word: &str) -> bool {
    let (first, rest) = word.split_at(1);
    let capitalised = first.to_uppercase() + rest;
    [word, &capitalised].into_iter().any(|word| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            let part = |char: char| char.is_alphanumeric() || "_-/".contains(char);
            let is_name = before == after && matches!(before, Some('"' | '`'));
            !is_name && !before.is_some_and(part) && !after.is_some_and(part)
        })
    })
}

/// What keeps a chapter of the book from being shown on a repository's page as rustdoc shows it.
fn chapter_faults(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let titles = outside_of_code(text).filter(|(_, line)| line.starts_with("# "));
    let titles: Vec<usize> = titles.map(|(at, _)| at).collect();
    if titles != [1] {
        complaints.push(format!("{name} begins with one title of the first level: {titles:?}"));
    }
    for (at, line) in text.lines().enumerate() {
        if line.contains("](crate::") || line.contains("`]") {
            complaints.push(format!("{name}:{}: a link that only rustdoc knows", at + 1));
        }
    }
    for (at, line) in inside_of_code(text) {
        if line == "#" || line.starts_with("# ") {
            complaints.push(format!("{name}:{at}: a hidden line of a program"));
        }
        if line == "```" {
            complaints.push(format!("{name}:{at}: a program without its language"));
        }
    }
    complaints
}

/// A README that is too long, its programs apart.
fn too_many_words(name: &str, text: &str) -> Vec<String> {
    let words = outside_of_code(text).flat_map(|(_, line)| line.split_whitespace());
    let words = words.filter(|word| word.contains(char::is_alphanumeric)).count();
    let long = words > README_WORDS;
    long.then(|| format!("{name} has {words} words, and {README_WORDS} are enough"))
        .into_iter()
        .collect()
}

/// Limits without a sentence of their own.
fn undocumented_limits(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let is_limit = |line: &str| {
        let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub "));
        line.is_some_and(|line| line.starts_with("const "))
    };
    let limits = (0..lines.len()).filter(|at| is_limit(lines[*at]));
    let bare = limits.filter(|at| *at == 0 || !lines[at - 1].starts_with("///"));
    bare.map(|at| format!("{name}:{}: a limit without documentation", at + 1)).collect()
}

/// Replaced names that the documentation shows: `#[doc(hidden)]` before a glob hides nothing.
fn shown_old_names(name: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let uses = (0..lines.len()).filter(|at| lines[*at].starts_with("pub use "));
    let shown = uses.filter(|at| *at == 0 || lines[at - 1] != "#[doc(hidden)]");
    shown.map(|at| format!("{name}:{}: a replaced name that is shown", at + 1)).collect()
}

// ---- the house ----------------------------------------------------------------------------------

#[test]
fn no_line_is_too_long() {
    hold(|name| !GENERATED.contains(&name), wide_lines);
}

#[test]
fn every_path_and_link_in_markdown_leads_somewhere() {
    let template = "docs/decisions/0000-template.md";
    hold(
        |name| is_markdown(name) && name != template,
        |name, text| dead_paths(name, text, Path::exists),
    );
}

#[test]
fn the_words_are_those_of_the_glossary() {
    let allowed = |name: &str| {
        ALLOWED.iter().any(|allowed| name.starts_with(allowed)) || name == "tests/it/tidy.rs"
    };
    hold(|name| !allowed(name), replaced_words);
}

#[test]
fn the_chapters_of_the_book_read_the_same_everywhere() {
    hold(|name| name.starts_with("docs/book/"), chapter_faults);
}

#[test]
fn the_readme_is_one_page() {
    hold(|name| name == "README.md", too_many_words);
}

#[test]
fn every_limit_says_what_it_bounds() {
    hold(|name| name == "src/value/limits.rs", undocumented_limits);
}

#[test]
fn the_documentation_shows_no_name_that_was_replaced() {
    hold(|name| name == "src/renamed.rs", shown_old_names);
}

/// Applies `rule` to each file of the project that `of` names.
#[track_caller]
fn hold(of: impl Fn(&str) -> bool, rule: impl Fn(&str, &str) -> Vec<String>) {
    let files: Vec<String> = files().into_iter().filter(|name| of(name)).collect();
    assert!(!files.is_empty(), "there is nothing to look at");
    let complaints = files.iter().flat_map(|name| rule(name, &fs::read_to_string(name).unwrap()));
    let complaints: Vec<String> = complaints.collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The Rust and Markdown files of the project, by their paths.
fn files() -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut directories = vec![PathBuf::from(".")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(".").unwrap().to_str().unwrap().to_owned();
            let ours = ["benches", "crates", "docs", "examples", "fuzz", "src", "tests"];
            let top = name.split('/').next().unwrap();
            if path.is_dir() && ours.contains(&top) && !name.ends_with("/target") {
                directories.push(path);
            } else if name.ends_with(".rs") || is_markdown(&name) && name != "NOTE.md" {
                files.insert(name);
            }
        }
    }
    files
}

fn is_markdown(name: &str) -> bool {
    name.ends_with(".md")
}

/// `path` without `..`: what it names need not exist.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// The numbered lines of Markdown that are not in a fence.
fn outside_of_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    fences(text).filter(|(_, _, inside)| !inside).map(|(at, line, _)| (at, line))
}

/// The numbered lines of Markdown that are in a fence, the one that opens it among them.
fn inside_of_code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    fences(text).filter(|(_, _, inside)| *inside).map(|(at, line, _)| (at, line))
}

fn fences(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut inside = false;
    text.lines().enumerate().map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        // The line that closes a fence is part of neither; an empty line stands for it.
        (at + 1, if fence && !inside { "" } else { line }, inside)
    })
}

// ---- each rule can fail -------------------------------------------------------------------------

#[test]
fn a_line_that_is_too_long_is_found() {
    let (long, fits) = ("x".repeat(121), "ä".repeat(120));
    assert_eq!(wide_lines("src/a.rs", &format!("{fits}\n{long}")), ["src/a.rs:2: 121 columns"]);
    assert_eq!(wide_lines("A.md", &format!("text\n\n{long}")), ["A.md:3: 121 columns"]);
    assert_eq!(wide_lines("A.md", &format!("| {long} |")), [""; 0]);
    assert_eq!(wide_lines("src/a.rs", &format!("| {long} |")).len(), 1);
}

#[test]
fn a_dead_path_is_found() {
    let exists = |path: &Path| path == Path::new("docs/FORMAT.md") || path == Path::new("src/log");
    let dead = |text| dead_paths("docs/book/a.md", text, exists);
    assert_eq!(dead("[a](../FORMAT.md#x), `src/log`, [b](https://x.org/y), [c](#d)"), [""; 0]);
    assert_eq!(dead("\n[a](FORMAT.md)"), ["docs/book/a.md:2: the link to FORMAT.md is dead"]);
    assert_eq!(dead("`src/old.rs`"), ["docs/book/a.md:1: there is no src/old.rs"]);
    assert_eq!(dead("```\n[a](FORMAT.md) `src/old.rs`\n```"), [""; 0]);
}

#[test]
fn a_word_that_was_replaced_is_found() {
    let complaints = replaced_words("src/a.rs", "//! The packs.\nlet x = dir.join(\"packs\");");
    assert_eq!(complaints, ["src/a.rs:1: not \"packs\" but \"sorted tables\""]);
    assert_eq!(replaced_words("a.md", "the `packs` in `index/packs`, unpacks, packed"), [""; 0]);
    assert_eq!(replaced_words("src/a.rs", "warn!(\"packs are left\");").len(), 1);
    assert_eq!(replaced_words("src/a.rs", "warn!(\"left of packs\");").len(), 1);
    assert_eq!(replaced_words("src/a.rs", "/// Packs are left.").len(), 1);
    assert_eq!(replaced_words("src/a.rs", "struct Judged(Verdict);").len(), 2);
    assert_eq!(replaced_words("src/a.rs", "struct VerdictOver;"), [""; 0]);
    assert_eq!(
        replaced_words("a.md", "Whoever looks finds it moved aside, and begins anew.").len(),
        3
    );
    assert_eq!(replaced_words("src/a.rs", "/// It waited without a word.").len(), 1);
    assert_eq!(replaced_words("src/a.rs", "renewed, moved, aside"), [""; 0]);
}

#[test]
fn a_chapter_that_only_rustdoc_can_show_is_found() {
    let faults = |text| chapter_faults("a.md", text).len();
    assert_eq!(faults("# Title\n\n## Part\n\n```rust\nfn main() {}\n```\n"), 0);
    assert_eq!(faults("Title\n"), 1);
    assert_eq!(faults("# Title\n\n# Another\n"), 1);
    assert_eq!(faults("# Title\n[`ack`](crate::Delivery::ack)\n"), 1);
    assert_eq!(faults("# Title\n[`Delivery`]\n"), 1);
    assert_eq!(faults("# Title\n```rust\n# Ok::<(), Error>(())\n```\n"), 1);
    assert_eq!(faults("# Title\n```\nlet a = 1;\n```\n"), 1);
}

#[test]
fn a_readme_that_is_too_long_is_found() {
    let words = |n| "word ".repeat(n);
    assert_eq!(too_many_words("README.md", &words(README_WORDS)), [""; 0]);
    assert_eq!(too_many_words("README.md", &words(README_WORDS + 1)).len(), 1);
    let program = format!("```rust\n{}\n```\n| --- | * |", words(1_000));
    assert_eq!(too_many_words("README.md", &program), [""; 0]);
}

#[test]
fn an_old_name_without_an_attribute_of_its_own_is_found() {
    let hidden = "#[doc(hidden)]\npub use crate::new::Name as Old;\n";
    assert_eq!(shown_old_names("renamed.rs", hidden), [""; 0]);
    let shown = format!("{hidden}pub use crate::new::Other;\n");
    assert_eq!(shown_old_names("renamed.rs", &shown).len(), 1);
}

#[test]
fn a_limit_without_documentation_is_found() {
    let told = "/// Bytes of it.\npub(crate) const A: usize = 1;\n\nconst KIB: usize = 1_024;\n";
    assert_eq!(undocumented_limits("limits.rs", told), [""; 0]);
    let bare =
        format!("{told}pub const B: usize = 2;\n// Bytes.\npub(crate) const C: usize = 3;\n");
    let complaints = undocumented_limits("limits.rs", &bare);
    assert_eq!(
        complaints,
        [5, 7].map(|at| format!("limits.rs:{at}: a limit without documentation"))
    );
}
