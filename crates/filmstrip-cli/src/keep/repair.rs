//! `repair`: a new index, or a new store of everything that can be read.

use crate::fault::Fault;
use crate::out::Out;
use crate::progress::Progress;
use crate::stores::needs_it_alone;
use crate::text::{count, counted, escaped};
use clap::{Args, Subcommand};
use filmstrip::Store;
use filmstrip::repair::Exported;
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop repair index
  filmstrip -d damaged repair export mended

The store must be closed. `filmstrip verify` says what is wrong with it.")]
pub(crate) struct Options {
    #[command(subcommand)]
    how: How,
}

#[derive(Subcommand)]
enum How {
    /// Move the index out of the way; it is rebuilt from the journal when the store is opened
    #[command(after_help = "\
Examples:
  filmstrip -d shop repair index

An index that is missing, old or damaged is rebuilt without this. With --json: moved_to, position.")]
    Index,
    /// Write everything that can be read of a damaged store as a new store
    #[command(after_help = "\
Examples:
  filmstrip -d damaged repair export mended

The damaged store is only read. Events after a lost one get other positions, and a stream is cut where a version is
lost; a file beside the new store lists all of it.
With --json: events, from_index, lost, cut_streams, left_out, states_left_out, renumbered, left_out_file.")]
    Export(ExportOptions),
}

#[derive(Args)]
struct ExportOptions {
    /// The directory of the new store: absent or empty
    #[arg(value_name = "DIRECTORY")]
    to: PathBuf,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let repair = Store::repair(store).map_err(|error| needs_it_alone(&error, "repair"))?;
    match &options.how {
        How::Index => {
            let rebuilt = repair.rebuild_index()?;
            if out.json {
                return out.document(&rebuilt);
            }
            match rebuilt.moved_to {
                Some(old) => {
                    let old = escaped(&old.to_string_lossy()).into_owned();
                    out.line(format!("the old index is in {old}; the next open builds a new one"))
                }
                None => out.line("there was no index; the next open builds one"),
            }
        }
        How::Export(options) => {
            let progress = Progress::journal("exporting what can be read");
            let exported = repair.export_with(&options.to, progress.reporter())?;
            drop(progress);
            match out.json {
                true => out.document(&exported),
                false => print(&exported, out),
            }
        }
    }
}

fn print(exported: &Exported, out: &mut Out) -> Result<(), Fault> {
    out.line(format!("{} are in the new store", counted(exported.events, "event")))?;
    let lost: u64 =
        exported.lost.iter().map(|range| range.end().get() - range.start().get() + 1).sum();
    let numbers = [
        (exported.from_index, "taken from the index"),
        (lost, "lost"),
        (exported.left_out, "left out, after a gap in their stream"),
        (exported.cut_streams.len() as u64, "streams cut at a gap"),
    ];
    for (number, what) in numbers.iter().filter(|(number, _)| *number > 0) {
        out.line(format!("{} {what}", count(*number)))?;
    }
    match &exported.left_out_file {
        Some(file) => out.line(format!("{} lists all of it", escaped(&file.to_string_lossy()))),
        None => Ok(()),
    }
}
