//! `streams`: the streams by name.

use crate::fault::Fault;
use crate::out::Out;
use crate::stores;
use crate::table::{Side, Table};
use clap::Args;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::{Filter, Position, StreamId};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Streams that are listed at once: each is in memory until the log was read.
const STREAMS_MAX: u64 = 1_000_000;

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop streams
  filmstrip -d shop streams --category Order --limit 20
  filmstrip -d shop streams --prefix Order-2026
  filmstrip -d shop streams --after Order-1099        the next page

The log is read up to its end, because the index belongs to the process that writes the store.
With --json, each line is one stream: stream, version, created, last_written.")]
pub(crate) struct Options {
    /// Only streams whose names begin with this
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,

    /// Only streams of this category: the part of the name before the first '-'
    #[arg(long, value_name = "NAME")]
    category: Option<String>,

    /// Only streams after this name, in the order of bytes
    #[arg(long, value_name = "NAME")]
    after: Option<String>,

    /// At most so many streams
    #[arg(short = 'n', long, value_name = "STREAMS", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=STREAMS_MAX))]
    limit: u64,
}

/// A stream, as far as it was read.
#[derive(Serialize)]
struct Listed {
    stream: StreamId,
    version: u64,
    created: DateTime<Utc>,
    last_written: DateTime<Utc>,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let listed = list(store, options)?;
    if out.json {
        return listed.values().try_for_each(|stream| out.document(stream));
    }
    let mut table = Table::new(&[
        ("stream", Side::Left),
        ("events", Side::Right),
        ("created", Side::Left),
        ("last written", Side::Left),
    ]);
    for stream in listed.values() {
        let (created, written) = (stores::time(stream.created), stores::time(stream.last_written));
        table.row([stream.stream.to_string(), stream.version.to_string(), created, written]);
    }
    table.print(out)
}

/// The first streams by name. While the log is read, only the first ones so far are held: a stream among the first in
/// the end was so from its first event on.
fn list(store: &Path, options: &Options) -> Result<BTreeMap<String, Listed>, Fault> {
    let mut read = stores::follow(store)?.read().after(Position::START);
    if let Some(category) = &options.category {
        read = read.filter(Filter::category(category));
    }
    let mut listed = BTreeMap::<String, Listed>::new();
    for event in read.iter()? {
        let event = event?;
        let name = event.stream.as_str();
        if let Some(known) = listed.get_mut(name) {
            (known.version, known.last_written) = (event.version.get(), event.recorded_at);
            continue;
        }
        let is_wanted = name.starts_with(&options.prefix)
            && options.after.as_ref().is_none_or(|after| name > after.as_str());
        let has_room = (listed.len() as u64) < options.limit
            || listed.last_key_value().is_some_and(|(last, _)| name < last.as_str());
        if !is_wanted || !has_room {
            continue;
        }
        let (created, last_written) = (event.recorded_at, event.recorded_at);
        // The event shares a large buffer with its name.
        let stream = StreamId::new(name)?;
        let new = Listed { stream, version: event.version.get(), created, last_written };
        listed.insert(name.to_owned(), new);
        if listed.len() as u64 > options.limit {
            listed.pop_last();
        }
    }
    Ok(listed)
}
