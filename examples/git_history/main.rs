//! A git repository's history as a film: real input for the store, and answers that git confirms.
//!
//! ```text
//! cargo run --release --example git_history -- PATH [--as-of REV] [--film FILE] [--check] …
//! ```
//!
//! Every file is a stream (`File-<path>`) and every git commit one commit of the store, so a file's
//! events are durable together with those of all other files that the git commit touched, or not at
//! all. A read model follows and keeps the lines of every file. Nothing else is kept: what was at any
//! earlier git commit is the same model, folded up to there. The program may be killed at any moment;
//! run again, it goes on where it was.
//!
//! `parse` reads git's output, `names` makes stream names of paths, `events` are the facts, `take`
//! takes them in, `model` folds them, `report` shows what comes of it.

pub(crate) mod cli;
pub(crate) mod events;
pub(crate) mod git;
pub(crate) mod model;
pub(crate) mod names;
pub(crate) mod parse;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod take;

use cli::Options;
use filmstrip::{ErrorKind, Position, Store};
use git::Git;
use model::LinesPerFile;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

/// Anything that can go wrong, said in a sentence.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The read model follows while git commits are ingested, so it has little left to do at the end.
const CATCH_UP: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let done = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => run(&options, &mut io::stdout().lock()),
        Ok(None) => write!(io::stdout(), "{}", cli::HELP).map_err(Failure::from),
        Err(failure) => Err(failure),
    };
    match done {
        Err(failure) if !is_broken_pipe(&failure) => {
            let _ = writeln!(io::stderr(), "git_history: {failure}");
            ExitCode::FAILURE
        }
        // The reader of the answers may stop reading.
        _ => ExitCode::SUCCESS,
    }
}

/// Takes in what is new, and writes the answers to `out`.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<(), Failure> {
    let git = Git::open(&options.repository)?;
    let head = git.head()?;
    let store = Store::open(&options.store)?;
    let lines = store.read_model::<LinesPerFile>()?;

    take_in(options, &git, &head, &store, out)?;

    lines.wait_for(store.head(), CATCH_UP)?;
    lines.read(|now| -> Result<(), Failure> {
        report::largest(out, "now", now, options.top)?;
        report::most_changed(out, now, options.top)?;
        if options.check {
            report::check(out, &git, &head, now)?;
        }
        Ok(())
    })??;
    if let Some(revision) = &options.as_of {
        rewind(options, &git, &store, revision, out)?;
    }
    if let Some(path) = &options.film {
        report::film(out, &store, &git::to_bytes(path))?;
    }
    store.close()?;
    Ok(())
}

fn take_in(
    options: &Options,
    git: &Git,
    head: &str,
    store: &Store,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut display = progress::Display::new(options.progress);
    let limits = take::PartLimits::default();
    let taken = take::take(store, git, head, limits, &mut |progress| display.show(progress));
    let elapsed = display.finish()?.as_secs_f64();
    let taken = taken?;
    let position = report::grouped(store.head().get());
    if taken.commits == 0 {
        writeln!(out, "Nothing new to take in; the store is at position {position}.")?;
        return Ok(());
    }
    writeln!(
        out,
        "Took in {} new git commits with {} changes of files in {elapsed:.1} s ({} changes/s); \
         the store is at position {position}.",
        report::grouped(taken.commits),
        report::grouped(taken.changes),
        report::grouped((taken.changes as f64 / elapsed.max(0.001)) as u64),
    )?;
    if taken.in_parts > 0 {
        let count = report::grouped(taken.in_parts);
        writeln!(out, "Too large for one commit of the store, so taken in parts: {count}.")?;
    }
    Ok(())
}

/// Shows the largest files as of an earlier git commit, from the same events folded up to there.
fn rewind(
    options: &Options,
    git: &Git,
    store: &Store,
    revision: &OsStr,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let id = git.commit(revision)?;
    let position = position_of(store, &id)?;
    let then = LinesPerFile::as_of(store, position)?;
    let when = format!("as of {} (position {})", revision.to_string_lossy(), position);
    report::largest(out, &when, &then, options.top)?;
    if options.check {
        report::check(out, git, &id, &then)?;
    }
    Ok(())
}

/// Where the git commit ends in the store: its own event is the last of its commit.
pub(crate) fn position_of(store: &Store, id: &str) -> Result<Position, Failure> {
    let stream = names::commit_stream(id)?;
    let newest = match store.read_stream(&stream).backwards().limit(1).iter() {
        Err(error) if error.kind() == ErrorKind::StreamNotFound => None,
        events => events?.next().transpose()?,
    };
    let missing = || format!("git commit {id} is not on the first-parent history of HEAD");
    Ok(newest.ok_or_else(missing)?.position)
}

fn is_broken_pipe(failure: &Failure) -> bool {
    let io = failure.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
