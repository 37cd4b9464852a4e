//! `filmstrip`: looks into a store, keeps it, and moves its events, from a terminal.
//!
//! * Looking follows the journal: it works beside the process that writes the store, takes no lock, and changes
//!   nothing.
//! * What needs the store to itself says so when another process has it.
//! * Exit codes: 0 done; 1 the answer is no (damage, another history); 2 bad input, or a store that cannot be used.

// Printing panics when nobody reads; see `out`.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod changes;
mod fault;
mod help;
mod keep;
mod look;
#[cfg(feature = "mcp")]
mod mcp;
mod out;
mod payload;
mod progress;
mod record;
mod run;
mod selection;
mod stores;
#[cfg(feature = "studio")]
mod studio;
mod table;
mod text;
mod transfer;

use args::{Args, Command};
use clap::Parser;
use fault::Fault;
use out::Out;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        // Also the help, which is no error unless nobody can read it.
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return ExitCode::from(error.print().map_or_else(unprinted, |()| code));
        }
    };
    let mut out = Out::stdout(args.json, args.color);
    let done = execute(&args, &mut out);
    // Also what was found before an error, or what the answer is no to.
    let flushed = out.flush();
    match done.and(flushed) {
        // Who reads has seen enough, as `head` does.
        Ok(()) | Err(Fault::Closed) => ExitCode::SUCCESS,
        Err(Fault::No) => ExitCode::from(1),
        Err(Fault::Bad(message)) => {
            // Nobody is left to be told if this fails.
            let _ = writeln!(std::io::stderr(), "filmstrip: {}", text::escaped(&message));
            ExitCode::from(2)
        }
    }
}

/// The exit code if the help could not be printed.
fn unprinted(error: std::io::Error) -> u8 {
    match Fault::from(error) {
        Fault::Bad(message) => {
            let _ = writeln!(std::io::stderr(), "filmstrip: {message}");
            2
        }
        _ => 0,
    }
}

fn execute(args: &Args, out: &mut Out) -> Result<(), Fault> {
    let store = args.store.as_path();
    match &args.command {
        Command::Streams(options) => look::streams::run(store, options, out),
        Command::Tail(options) => look::tail::run(store, options, out),
        Command::Show(options) => look::show::run(store, options, out),
        Command::Film(options) => look::film::run(store, options, out),
        Command::Why(options) => look::why::run(store, options, out),
        Command::Stats(options) => look::stats::run(store, options, out),
        Command::Top(options) => look::top::run(store, options, out),
        Command::Verify => keep::verify::run(store, out),
        Command::Backup(options) => keep::backup::run(store, options, out),
        Command::Restore(options) => keep::restore::run(store, options, out),
        Command::Repair(options) => keep::repair::run(store, options, out),
        Command::Promote(options) => keep::promote::run(store, options, out),
        Command::HeadHash => keep::hash::head(store, out),
        Command::CheckHash(options) => keep::hash::check(store, options, out),
        Command::Export(options) => transfer::export::run(store, options, out),
        Command::Import(options) => transfer::import::run(store, options, out),
        Command::Projections(options) => run::projections(options, out),
        Command::Groups(options) => run::groups(options, out),
        Command::Processes(options) => run::processes(options, out),
        #[cfg(feature = "studio")]
        Command::Studio(options) => studio::run(store, options, out),
        #[cfg(feature = "mcp")]
        Command::Mcp => mcp::run(store),
        Command::Completions(options) => help::completions(options, out),
        Command::Man(options) => help::man(options, out),
    }
}
