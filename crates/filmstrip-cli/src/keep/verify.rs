//! `verify`: everything that is wrong with a store.

use crate::fault::Fault;
use crate::out::{Out, Style};
use crate::progress::Progress;
use crate::stores;
use crate::text::{count, counted, escaped, size};
use filmstrip::Store;
use filmstrip::repair::{Unchecked, Verification};
use std::path::Path;

pub(crate) const EXAMPLES: &str = "\
Examples:
  filmstrip -d shop verify
  filmstrip -d backups/shop verify                 a backup is a store
  filmstrip -d shop --json verify | jq '.findings[].message'

Nothing is changed. It takes as long as reading the store, and copies the index and the views into the temporary
directory. Beside a program that has the store open, the views and a part of the index cannot be checked, and the output
says so; that program checks all of it with `Store::verify`.
With --json: findings (kind, file, offset, positions, stream, message), more_findings, head, events, segments, bytes,
indexed, views, unchecked. The exit code is 1 if there are findings.";

pub(crate) fn run(store: &Path, out: &mut Out) -> Result<(), Fault> {
    let progress = Progress::journal("verifying");
    let verified = match stores::unless_open_elsewhere(Store::repair(store))? {
        Some(closed) => closed.verify_with(progress.reporter())?,
        None => stores::follow(store)?.verify_with(progress.reporter())?,
    };
    drop(progress);
    match out.json {
        true => out.document(&verified)?,
        false => print(&verified, out)?,
    }
    if verified.is_whole() { Ok(()) } else { Err(Fault::No) }
}

fn print(verified: &Verification, out: &mut Out) -> Result<(), Fault> {
    for finding in &verified.findings {
        out.line(out.styled(Style::Bad, &escaped(&finding.to_string())))?;
    }
    if verified.more_findings > 0 {
        out.line(format!("and {} more", count(verified.more_findings)))?;
    }
    let read = format!("{} in {}", counted(verified.events, "event"), size(verified.bytes));
    let found = verified.findings.len() as u64 + verified.more_findings;
    match found {
        0 => out.line(format!("{}: {read}", out.styled(Style::Good, "whole")))?,
        found => out.line(format!("{}: {read}", counted(found, "finding")))?,
    }
    if verified.unchecked.is_empty() {
        return Ok(());
    }
    let parts = verified.unchecked.iter().map(|part| match part {
        Unchecked::Index => "the index",
        Unchecked::IndexDatabase => "the database of the index",
        Unchecked::Views => "the views",
        _ => "other parts",
    });
    let parts = parts.collect::<Vec<_>>().join(" and ");
    out.line(format!("not checked, because another process has the store open: {parts}"))
}
