//! `import`: each event of an input, recorded exactly once, however often the import is begun.

use crate::fault::Fault;
use crate::out::Out;
use crate::progress::Progress;
use crate::stores::needs_it_alone;
use crate::text::{counted, escaped};
use crate::transfer::beginning;
use crate::transfer::clock::ImportClock;
use crate::transfer::incoming::Read;
use crate::transfer::recorder::Recorder;
use crate::transfer::source::{From, Source};
use crate::transfer::trailer::{Sum, Trailer};
use crate::transfer::values::{Form, Values};
use clap::Args;
use filmstrip::Store;
use serde::Serialize;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d copy import shop.jsonl
  zstd -dc shop.jsonl.zst | filmstrip -d copy import -
  filmstrip -d copy import --from cloudevents orders.json
  filmstrip -d copy import --from kurrentdb all.json
  filmstrip -d copy import --from jsonl --map marten --postgres-copy mt_events.jsonl
  filmstrip -d copy import --from jsonl --map my-table.json rows.jsonl

The store is created if it is absent. An event that is version 7 of its stream in the input becomes version 7 of that
stream in the store. If the store has that version already, it must have the same id, and is not recorded again. So
to continue an import that was killed, run the same command again; no event is recorded twice.

Ids, streams, versions, types, payloads, metadata and tags are kept; positions, if the store was empty or is a beginning
of the same input. A recorded time is kept unless the store has a later event, or it is more than a day ahead of this
machine's clock; then the event's own time becomes its `occurred_at`. An export is checked against its trailer before
anything is recorded; from a pipe, at its end. The book's chapter on the command line has the maps, and the forms of
other systems.
With --json: recorded, found, skipped, head, positions_kept, times_kept, verified, blake3.")]
pub(crate) struct Options {
    /// The file to read; - reads standard input
    #[arg(value_name = "FILE")]
    input: PathBuf,

    /// The format of the input
    #[arg(long, value_enum, default_value = "filmstrip")]
    from: From,

    /// What the columns mean: marten, message-db, or a file with a map
    #[arg(long, value_name = "MAP")]
    map: Option<String>,

    /// Read lines that Postgres' COPY wrote in its text format, which doubles each backslash
    #[arg(long)]
    postgres_copy: bool,

    /// Record events with the present time, many in each commit, and keep their own times as `occurred_at`
    #[arg(long)]
    recorded_now: bool,
}

/// What an import has done, as JSON.
#[derive(Serialize)]
struct Imported {
    recorded: u64,
    found: u64,
    skipped: u64,
    head: u64,
    /// Null if the input says no positions.
    positions_kept: Option<bool>,
    times_kept: bool,
    /// Whether a trailer has shown that the input is whole.
    verified: bool,
    blake3: String,
}

/// What was read of an input.
#[derive(Default)]
struct Progressed {
    sum: Sum,
    skipped: u64,
    trailer: Option<Trailer>,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let source = Source::new(options.from, options.map.as_deref())?;
    match (is_regular(&options.input)?, source.may_have_trailer()) {
        (true, true) => {
            let mut progress = progress(options, "checking")?;
            read_all(options, &source, &mut progress, |_| Ok(()))?;
        }
        // What is refused at its beginning makes no store.
        (true, false) => drop(open(options)?),
        (false, _) => {}
    }
    let clock = ImportClock::new();
    let opened = Store::builder().clock(clock.clone()).open(store);
    let opened = opened.map_err(|error| needs_it_alone(&error, "import"))?;
    let mut recorder = Recorder::new(opened, clock, options.recorded_now)?;
    let mut bar = progress(options, "importing")?;
    let read = read_all(options, &source, &mut bar, |event| recorder.take(event));
    drop(bar);
    let read = read.map_err(|fault| told(fault, &mut recorder))?;
    recorder.commit()?;
    let (head, done) = (recorder.head().get(), recorder.close()?);
    let imported = Imported {
        recorded: done.recorded,
        found: done.found,
        skipped: read.skipped,
        head,
        positions_kept: done.positions_kept,
        times_kept: done.times_kept,
        verified: read.trailer.is_some(),
        blake3: read.sum.trailer().blake3,
    };
    match out.json {
        true => out.document(&imported),
        false => print(&imported, source.may_have_trailer() && !imported.verified, out),
    }
}

/// Also says how much was recorded before `fault`: the same command goes on from there.
fn told(fault: Fault, recorder: &mut Recorder) -> Fault {
    // What was taken before it is good.
    let committed = recorder.commit();
    match (fault, committed) {
        (Fault::Bad(message), Ok(())) => {
            let recorded = counted(recorder.done.recorded, "event");
            let were = if recorder.done.recorded == 1 { "was" } else { "were" };
            Fault::bad(format!("{message} ({recorded} before it {were} recorded)"))
        }
        (fault, _) => fault,
    }
}

fn print(imported: &Imported, is_unverified: bool, out: &mut Out) -> Result<(), Fault> {
    let Imported { recorded, found, skipped, head, .. } = *imported;
    out.line(format!(
        "{} recorded, {found} there already, {skipped} skipped; the store ends at position {head}",
        counted(recorded, "event")
    ))?;
    let notes = [
        (imported.positions_kept == Some(false), "Positions are not those of the input."),
        (!imported.times_kept, "Some recorded times are not those of the input."),
        (is_unverified, "The input has no trailer that shows whether it is whole."),
    ];
    for (_, note) in notes.iter().filter(|(is_so, _)| *is_so) {
        out.line(note)?;
    }
    out.line(format!("blake3 {}", imported.blake3))
}

/// Whether the input is a file that can be read twice; a pipe may have a path too.
fn is_regular(path: &Path) -> Result<bool, Fault> {
    if path == Path::new("-") {
        return Ok(false);
    }
    let there = std::fs::metadata(path).map_err(|e| Fault::io("read", path, &e))?;
    match there.is_dir() {
        true => Err(Fault::bad(format!("{} is a directory; name a file", path.display()))),
        false => Ok(there.is_file()),
    }
}

fn progress(options: &Options, what: &'static str) -> Result<Progress, Fault> {
    let path = &options.input;
    if !is_regular(path)? {
        return Ok(Progress::unknown(what));
    }
    let length = std::fs::metadata(path).map_err(|e| Fault::io("read", path, &e))?.len();
    Ok(Progress::bytes(what, length))
}

fn open(options: &Options) -> Result<(Box<dyn BufRead>, String), Fault> {
    let path = &options.input;
    if path == Path::new("-") {
        let name = "standard input";
        return Ok((beginning::checked(std::io::stdin().lock(), name)?, name.to_owned()));
    }
    let file = File::open(path).map_err(|e| Fault::io("open", path, &e))?;
    let name = escaped(&path.to_string_lossy()).into_owned();
    Ok((beginning::checked(BufReader::with_capacity(1 << 18, file), &name)?, name))
}

/// Gives each event of the input to `take`, and checks the trailer.
fn read_all(
    options: &Options,
    source: &Source,
    progress: &mut Progress,
    mut take: impl FnMut(crate::transfer::incoming::Incoming<'_>) -> Result<(), Fault>,
) -> Result<Progressed, Fault> {
    let (from, name) = open(options)?;
    let form = if options.postgres_copy { Form::PostgresCopy } else { Form::Json };
    let mut values = Values::new(from, form, name);
    let mut done = Progressed::default();
    while let Some((text, place)) = values.next()? {
        if done.trailer.is_some() {
            return Err(
                Fault::bad("there is a record after the trailer, which is the last one").at(place)
            );
        }
        match source.read(text).map_err(|fault| fault.at(&place))? {
            Read::Event(event) => {
                done.sum.add(text, event.position.unwrap_or(0));
                take(*event).map_err(|fault| fault.at(&place))?;
            }
            Read::Events(events) => {
                done.sum.add(text, 0);
                for event in events {
                    take(event).map_err(|fault| fault.at(&place))?;
                }
            }
            Read::Trailer(trailer) => {
                done.sum.check(&trailer).map_err(|fault| fault.at(&place))?;
                done.trailer = Some(trailer);
            }
            Read::Skipped => done.skipped += 1,
        }
        progress.reached(values.read);
    }
    if source.needs_trailer() && done.trailer.is_none() {
        let message = "it ends without the trailer of an export: its end is missing";
        return Err(Fault::bad(message).at(values.place()));
    }
    Ok(done)
}
