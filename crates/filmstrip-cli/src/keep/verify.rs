//! `verify`: everything that is wrong with a closed store.

use crate::fault::Fault;
use crate::out::{Out, Style};
use crate::progress::Progress;
use crate::stores::needs_it_alone;
use crate::text::{count, counted, escaped, size};
use filmstrip::Store;
use filmstrip::repair::Verification;
use std::path::Path;

pub(crate) const EXAMPLES: &str = "\
Examples:
  filmstrip -d shop verify
  filmstrip -d backups/shop verify                 a backup is a store
  filmstrip -d shop --json verify | jq '.findings[].message'

The store must be closed; a program that has it open verifies it with `Store::verify`. Nothing is changed. It takes as
long as reading the store, and copies the index and the views into the temporary directory.
With --json: findings (kind, file, offset, positions, stream, message), more_findings, head, events, segments, bytes,
indexed, views. The exit code is 1 if there are findings.";

pub(crate) fn run(store: &Path, out: &mut Out) -> Result<(), Fault> {
    let verified = verified(store, "verify")?;
    match out.json {
        true => out.document(&verified)?,
        false => print(&verified, out)?,
    }
    if verified.is_whole() { Ok(()) } else { Err(Fault::No) }
}

/// What is wrong with the closed store in `path`, which `command` needs to itself.
pub(super) fn verified(path: &Path, command: &str) -> Result<Verification, Fault> {
    let _progress = Progress::unknown("verifying");
    Store::verify_at(path).map_err(|error| needs_it_alone(&error, command))
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
        0 => out.line(format!("{}: {read}", out.styled(Style::Good, "whole"))),
        found => out.line(format!("{}: {read}", counted(found, "finding"))),
    }
}
