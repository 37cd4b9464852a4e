//! What an input is, and what its records are.

use crate::fault::Fault;
use crate::record::Record;
use crate::transfer::incoming::{Incoming, Read};
use crate::transfer::map::Map;
use crate::transfer::trailer::Trailer;
use crate::transfer::{cloud, kurrentdb};
use clap::ValueEnum;

/// The kind of an input.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum From {
    /// JSON Lines that `filmstrip export` wrote
    Filmstrip,
    /// CloudEvents 1.0 in JSON, one after the other or in an array
    Cloudevents,
    /// Events of KurrentDB or EventStoreDB, as reading `$all` gives them
    Kurrentdb,
    /// Rows of a table, read by `--map`
    Jsonl,
}

/// What reads the records of an input.
pub(super) enum Source {
    Filmstrip,
    CloudEvents,
    KurrentDb,
    Rows(Box<Map>),
}

impl Source {
    pub(super) fn new(from: From, map: Option<&str>) -> Result<Source, Fault> {
        match (from, map) {
            (From::Filmstrip, None) => Ok(Source::Filmstrip),
            (From::Cloudevents, None) => Ok(Source::CloudEvents),
            (From::Kurrentdb, None) => Ok(Source::KurrentDb),
            (From::Jsonl, Some(map)) => Ok(Source::Rows(Box::new(Map::named(map)?))),
            (From::Jsonl, None) => {
                Err(Fault::bad("`--from jsonl` needs `--map`: marten, message-db, or a file"))
            }
            (_, Some(_)) => Err(Fault::bad("`--map` goes with `--from jsonl` only")),
        }
    }

    pub(super) fn read<'a>(&self, text: &'a str) -> Result<Read<'a>, Fault> {
        match self {
            Source::Filmstrip => filmstrip(text),
            Source::CloudEvents => cloud::read(text),
            Source::KurrentDb => kurrentdb::read(text),
            Source::Rows(map) => map.read(text),
        }
    }

    /// Whether an input without a trailer was cut.
    pub(super) fn needs_trailer(&self) -> bool {
        matches!(self, Source::Filmstrip)
    }

    /// Whether an input may have a trailer.
    pub(super) fn may_have_trailer(&self) -> bool {
        matches!(self, Source::Filmstrip | Source::CloudEvents)
    }
}

fn filmstrip(text: &str) -> Result<Read<'_>, Fault> {
    let no_record = |error| Fault::bad(format!("it is not a record of an export: {error}"));
    if Trailer::is_one(text) {
        return serde_json::from_str(text).map(Read::Trailer).map_err(no_record);
    }
    let record: Record<'_> = serde_json::from_str(text).map_err(no_record)?;
    Ok(Read::Event(Box::new(Incoming::of_record(record)?)))
}
