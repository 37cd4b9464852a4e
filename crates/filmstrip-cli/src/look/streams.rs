//! `streams`: the streams by name.

use crate::fault::Fault;
use crate::out::Out;
use crate::stores;
use crate::table::{Side, Table};
use clap::Args;
use filmstrip::StreamId;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::read::StreamInfo;
use serde::Serialize;
use std::path::Path;

/// Streams that are listed at once: a table on a terminal has all of them in memory.
const STREAMS_MAX: u64 = 1_000_000;

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop streams
  filmstrip -d shop streams --category Order --limit 20
  filmstrip -d shop streams --prefix Order-2026
  filmstrip -d shop streams --after Order-1099        the next page

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

    /// List at most this many streams
    #[arg(short = 'n', long, value_name = "STREAMS", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=STREAMS_MAX))]
    limit: u64,
}

/// A stream as JSON.
#[derive(Serialize)]
struct Listed<'a> {
    stream: &'a str,
    version: u64,
    created: DateTime<Utc>,
    last_written: DateTime<Utc>,
}

impl Listed<'_> {
    fn of(info: &StreamInfo) -> Listed<'_> {
        let (version, stream) = (info.version.get(), info.stream.as_str());
        Listed { stream, version, created: info.created, last_written: info.last_written }
    }
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let listed = list(store, options)?;
    if out.json {
        return listed.iter().try_for_each(|info| out.document(&Listed::of(info)));
    }
    let mut table = Table::new(&[
        ("stream", Side::Left),
        ("events", Side::Right),
        ("created", Side::Left),
        ("last written", Side::Left),
    ]);
    for info in &listed {
        let (created, written) = (stores::time(info.created), stores::time(info.last_written));
        table.row([info.stream.to_string(), info.version.to_string(), created, written]);
    }
    table.print(out)
}

/// The first streams by name.
fn list(store: &Path, options: &Options) -> Result<Vec<StreamInfo>, Fault> {
    let follower = stores::follow(store)?;
    let mut streams = follower.streams().prefix(&options.prefix);
    if let Some(category) = &options.category {
        streams = streams.category(category);
    }
    if let Some(after) = &options.after {
        streams = streams.after(StreamId::new(after)?);
    }
    let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
    Ok(streams.iter()?.take(limit).collect::<Result<_, _>>()?)
}
