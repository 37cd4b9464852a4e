//! The command line: what can be asked for, and the help for it.

use crate::out::Color;
use crate::{help, keep, look, run, transfer};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  filmstrip -d shop streams --category Order
  filmstrip -d shop tail -f --type Placed
  filmstrip -d shop film Order-1001
  filmstrip -d shop why Order-1001
  filmstrip -d shop export -o shop.jsonl
  filmstrip -d copy import shop.jsonl

Exit codes:
  0  done
  1  the answer is no: `verify` found damage, or `check-hash` a different history
  2  bad input, or a store that cannot be opened or read; standard error says why, in one sentence

Commands that look never write, take no lock, and work beside the process that writes the store.
With --json, each command prints one JSON document, or one on each line where it prints many.";

/// Look into a filmstrip event store, keep it, and move its events.
#[derive(Parser)]
#[command(name = "filmstrip", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The directory of the store
    #[arg(
        short = 'd',
        long = "store",
        value_name = "DIRECTORY",
        global = true,
        env = "FILMSTRIP_STORE",
        default_value = ".",
        hide_env_values = true
    )]
    pub(crate) store: PathBuf,

    /// Print JSON: one document, or one on each line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Colours: auto (on a terminal, unless NO_COLOR is set), always, or never
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        global = true,
        hide_possible_values = true
    )]
    pub(crate) color: Color,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List streams in the order of their names
    Streams(look::streams::Options),
    /// Print the last events, and follow new ones with -f
    Tail(look::tail::Options),
    /// Print a stream, or one event, in full
    Show(look::show::Options),
    /// Print the events of a stream, and what each of them changed
    Film(look::film::Options),
    /// Print what led to an event, and what followed from it
    Why(look::why::Options),
    /// Print the number of events, when they were recorded, and the size on disk
    Stats(look::stats::Options),
    /// Print the busiest categories and types, and the largest streams
    Top(look::top::Options),
    /// Check every byte of a store; exit code 1 if something is damaged
    #[command(after_help = keep::verify::EXAMPLES)]
    Verify,
    /// Back a store up into a directory, also while it is open elsewhere
    Backup(keep::backup::Options),
    /// Make a store from a backup, checked before and after
    Restore(keep::restore::Options),
    /// Rebuild the index of a closed store, or copy what is readable of a damaged one
    Repair(keep::repair::Options),
    /// Make a replica a store that accepts commits, after the old store was stopped
    Promote(keep::promote::Options),
    /// Print the hash of the whole history, for you to keep elsewhere
    #[command(after_help = keep::hash::HEAD_EXAMPLES)]
    HeadHash,
    /// Check that the history still has a hash printed earlier; exit code 1 if it does not
    CheckHash(keep::hash::CheckOptions),
    /// Write events to a file or a pipe: JSON Lines or CloudEvents
    Export(transfer::export::Options),
    /// Record events from an export, from CloudEvents, or from another system's dump
    Import(transfer::import::Options),
    /// List, pause, resume and rebuild an application's projections, and retry what they have parked
    Projections(run::Projections),
    /// List an application's consumer groups, and retry what they have parked
    Groups(run::Groups),
    /// List, pause and resume an application's processes, and retry what they have parked
    Processes(run::Processes),
    /// Show a store in the browser: films, causes and live events, read-only
    #[cfg(feature = "studio")]
    Studio(crate::studio::Options),
    /// Serve a store, read-only, to agents: the Model Context Protocol over standard input and output
    #[cfg(feature = "mcp")]
    #[command(after_help = crate::mcp::EXAMPLES)]
    Mcp,
    /// Print a script that completes commands in a shell
    Completions(help::CompletionsOptions),
    /// Print the manual page of a command, or write all of them into a directory
    Man(help::ManOptions),
}
