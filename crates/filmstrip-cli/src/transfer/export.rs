//! `export`: events as JSON Lines or CloudEvents, with a trailer that shows whether all of them are there.

use crate::fault::Fault;
use crate::out::Out;
use crate::progress::Progress;
use crate::record::Record;
use crate::selection::Selection;
use crate::stores;
use crate::text::{counted, escaped};
use crate::transfer::trailer::{Sum, Trailer};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use filmstrip::Position;
use filmstrip_cloudevents::CloudEvent;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop export -o shop.jsonl
  filmstrip -d shop export | zstd > shop.jsonl.zst
  filmstrip -d shop export --from 1000001 -o since-then.jsonl
  filmstrip -d shop export --format cloudevents --category Order --source https://shop.example/orders

A line of JSON Lines is an event: position, stream, version, id, type, schema_version (if not 1), recorded_at,
occurred_at (if another), correlation_id, causation_id, command_id, user, entries, tags (each if there is one), and
data, or data_base64 for bytes. JSON payloads are written byte for byte. The last line is the trailer: the number of
events, the first and the last position, and the BLAKE3 hash of all lines before it, each with its line feed.

It works beside the process that writes the store, and ends at the event that is the last one when it begins. The same
events have the same export, so you can compare two stores by their trailers. The positions of consumer groups,
processes and consumers of other logs are not exported.
With --json and -o: events, first, last, blake3, file.")]
pub(crate) struct Options {
    /// The file to write, which must not exist; without one, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The format of the output
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Form,

    /// Begin at this position
    #[arg(long, value_name = "POSITION", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,

    /// End at this position
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    until: Option<u64>,

    /// The attribute `source` of CloudEvents
    #[arg(long, value_name = "URI", default_value = "filmstrip", value_parser = NonEmptyStringValueParser::new())]
    source: String,

    #[command(flatten)]
    selection: Selection,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One event on each line
    Jsonl,
    /// One CloudEvent in JSON on each line
    Cloudevents,
    /// One JSON array of CloudEvents
    CloudeventsBatch,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    if let (from, Some(until)) = (options.from, options.until)
        && from > until
    {
        return Err(Fault::bad(format!(
            "--from {from} is after --until {until}: nothing is between them"
        )));
    }
    let Some(path) = &options.output else {
        if out.is_terminal {
            return Err(Fault::bad(
                "an export is not for a terminal; name a file with -o, or redirect the output",
            ));
        }
        return export(store, options, out.bytes()).map(drop);
    };
    if path.try_exists().map_err(|e| Fault::io("look for", path, &e))? {
        return Err(Fault::bad(format!(
            "{} is there already; name a file that does not exist",
            path.display()
        )));
    }
    let above = path.parent().filter(|above| *above != Path::new("")).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(".filmstrip-export-").tempfile_in(above);
    let mut file = BufWriter::with_capacity(
        1 << 18,
        file.map_err(|e| Fault::io("create a file in", above, &e))?,
    );
    let trailer = export(store, options, &mut file)?;
    let failed = |e: std::io::Error| Fault::io("write", path, &e);
    let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    // Only a whole export gets the name.
    file.persist_noclobber(path).map_err(|e| failed(e.error))?;
    print(&trailer, path, out)
}

fn print(trailer: &Trailer, path: &Path, out: &mut Out) -> Result<(), Fault> {
    let file = path.to_string_lossy();
    if out.json {
        let Trailer { events, first, last, blake3, .. } = trailer;
        return out.document(&serde_json::json!({
            "events": events, "first": first, "last": last, "blake3": blake3, "file": file,
        }));
    }
    let (events, file) = (counted(trailer.events, "event"), escaped(&file).into_owned());
    out.line(format!("{events} in {file}, blake3 {}", trailer.blake3))
}

fn export(store: &Path, options: &Options, to: &mut dyn Write) -> Result<Trailer, Fault> {
    let follower = stores::follow(store)?;
    let head = follower.head()?.get();
    let until = options.until.map_or(head, |until| until.min(head));
    let read = options.selection.narrow(follower.read())?;
    let read = read.after(Position::new(options.from - 1)).until(Position::new(until));
    let is_batch = options.format == Form::CloudeventsBatch;
    let mut progress = Progress::events("exporting", until.saturating_sub(options.from - 1));
    let (mut sum, mut line) = (Sum::default(), Vec::new());
    if is_batch {
        to.write_all(b"[\n")?;
    }
    for event in read.iter()? {
        let event = event?;
        let record = Record::of(&event);
        line.clear();
        let written = match options.format {
            Form::Jsonl => serde_json::to_writer(&mut line, &record),
            _ => serde_json::to_writer(&mut line, &CloudEvent::of(&event, &options.source)),
        };
        let line = written.ok().and_then(|()| std::str::from_utf8(&line).ok());
        let line = line.ok_or_else(|| {
            Fault::bad(format!(
                "the event at position {} cannot be written as JSON",
                event.position
            ))
        })?;
        sum.add(line, record.position);
        to.write_all(line.as_bytes())?;
        to.write_all(if is_batch { b",\n" } else { b"\n" })?;
        progress.reached(record.position - (options.from - 1));
    }
    let trailer = sum.trailer();
    let last = match options.format {
        Form::Jsonl => trailer.as_line()?,
        _ => trailer.as_cloud_event(&options.source),
    };
    to.write_all(last.as_bytes())?;
    to.write_all(if is_batch { b"\n]\n" } else { b"\n" })?;
    Ok(trailer)
}
