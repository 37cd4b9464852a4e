//! The answers, written for people.

use super::Failure;
use super::events::{COMMIT_ENTRY, CommitEvent, FileEvent, PATH_ENTRY};
use super::git::Git;
use super::model::{FileNow, LinesPerFile};
use super::names::{commit_stream, file_stream, name};
use filmstrip::{ErrorKind, RecordedEvent, Store};
use std::collections::HashMap;
use std::io::Write;

/// Differences that are shown before the rest is only counted.
const DIFFERENCES_SHOWN: usize = 10;
/// Of a git commit's id, enough to know it again.
const ID_SHOWN: usize = 10;

/// The largest files of `model`.
pub(crate) fn largest(
    out: &mut dyn Write,
    when: &str,
    model: &LinesPerFile,
    count: usize,
) -> Result<(), Failure> {
    let files = model.existing().count() as u64;
    writeln!(out, "\nThe largest of {} files, {when}:", grouped(files))?;
    table(out, "lines", &model.largest(count))
}

/// The files of `model` that changed most often.
pub(crate) fn most_changed(
    out: &mut dyn Write,
    model: &LinesPerFile,
    count: usize,
) -> Result<(), Failure> {
    writeln!(out, "\nThe files that changed most often, deleted ones too:")?;
    table(out, "changes", &model.most_changed(count))
}

fn table(out: &mut dyn Write, unit: &str, rows: &[(&str, u64)]) -> Result<(), Failure> {
    writeln!(out, "{unit:>12}  file")?;
    for (name, number) in rows {
        writeln!(out, "{:>12}  {name}", grouped(*number))?;
    }
    Ok(())
}

/// Everything that happened to the file at `path`, with its lines after each event.
pub(crate) fn film(out: &mut dyn Write, store: &Store, path: &[u8]) -> Result<(), Failure> {
    let stream = file_stream(path)?;
    let events = match store.read_stream(&stream).iter() {
        Err(error) if error.kind() == ErrorKind::StreamNotFound => {
            return Err(format!("no file {:?} was ever in this history", name(path)).into());
        }
        events => events?,
    };
    writeln!(out, "\nThe film of {}:", name(path))?;
    writeln!(
        out,
        "{:>8}  {:10}  {:10}  {:>8}  what happened",
        "version", "date", "commit", "lines"
    )?;
    let mut file = FileNow::default();
    for event in events {
        let event = event?;
        let change = event.decode::<FileEvent>()?;
        file.apply(&change)?;
        let what = match change {
            FileEvent::FileAdded { .. } => "added".to_owned(),
            FileEvent::FileChanged { added, removed } => format!("+{added} −{removed}"),
            FileEvent::FileReplaced { .. } => "replaced".to_owned(),
            FileEvent::FileDeleted => "deleted".to_owned(),
        };
        let commit = event.metadata.entries.get(COMMIT_ENTRY).map_or("", String::as_str);
        writeln!(
            out,
            "{:>8}  {}  {:10}  {:>8}  {what}: {}",
            event.version,
            event.occurred_at.format("%Y-%m-%d"),
            commit.get(..ID_SHOWN).unwrap_or(commit),
            file.lines.map_or("-".to_owned(), grouped),
            subject(store, commit)?,
        )?;
        if let Some(path) = whole_path(&event) {
            writeln!(out, "{:>8}  its whole path is {path}", "")?;
        }
    }
    Ok(())
}

fn whole_path(event: &RecordedEvent) -> Option<&str> {
    let path = event.metadata.entries.get(PATH_ENTRY).map(String::as_str);
    path.filter(|_| event.event_type == "FileAdded")
}

/// The first line of a git commit's message, from its own stream.
fn subject(store: &Store, commit: &str) -> Result<String, Failure> {
    let stream = commit_stream(commit)?;
    let newest = store.read_stream(&stream).backwards().limit(1).iter()?.next();
    match newest.transpose()?.map(|event| event.decode()).transpose()? {
        Some(CommitEvent::CommitTaken { subject, author, .. }) => {
            Ok(format!("{subject} ({author})"))
        }
        _ => Ok(String::new()),
    }
}

/// Compares every file of `model` with what git counts at `commit`.
pub(crate) fn check(
    out: &mut dyn Write,
    git: &Git,
    commit: &str,
    model: &LinesPerFile,
) -> Result<(), Failure> {
    let by_git: HashMap<String, Option<u64>> =
        git.files(commit)?.into_iter().map(|(path, lines)| (name(&path), lines)).collect();
    let by_us: HashMap<&str, Option<u64>> =
        model.existing().map(|(name, file)| (name, file.lines)).collect();
    let mut names: Vec<&str> =
        by_git.keys().map(String::as_str).chain(by_us.keys().copied()).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| by_git.get(*name) != by_us.get(name));
    for name in names.iter().take(DIFFERENCES_SHOWN) {
        let (git, us) = (said(by_git.get(*name)), said(by_us.get(name)));
        writeln!(out, "  {name}: git says {git}, the read model {us}")?;
    }
    let text = by_git.values().flatten();
    let (files, lines) = (text.clone().count() as u64, text.sum());
    if names.is_empty() {
        writeln!(
            out,
            "\nChecked: {} text files with {} lines, and {} binary ones, are as git counts them.",
            grouped(files),
            grouped(lines),
            grouped(by_git.len() as u64 - files),
        )?;
        return Ok(());
    }
    Err(format!("{} of {} files are not as git counts them", names.len(), by_git.len()).into())
}

fn said(lines: Option<&Option<u64>>) -> String {
    match lines {
        None => "there is no such file".to_owned(),
        Some(None) => "it is binary".to_owned(),
        Some(Some(lines)) => format!("{} lines", grouped(*lines)),
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
