//! `stats`: how far the store is.

use crate::fault::Fault;
use crate::out::Out;
use crate::stores;
use crate::text::{count, counted, size};
use clap::Args;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::{Follower, Position};
use serde::Serialize;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(after_help = "\
Examples:
  filmstrip -d shop stats
  filmstrip -d standby stats --source shop
  filmstrip -d shop --json stats | jq .events

The number of events is the last position, so no event is read. `filmstrip top` reads all of them.
With --source, it prints how far a replica is behind: `check-hash` says whether both have the same history.
With --json: directory, role (store or replica), behind, events, head_hash, first_recorded_at, last_recorded_at, and
bytes with journal, index, views and other. The journal's bytes include space reserved for later events.")]
pub(crate) struct Options {
    /// The directory of the store that a replica follows
    #[arg(long, value_name = "DIRECTORY")]
    source: Option<PathBuf>,
}

/// Files and directories that are looked at: a store has some hundreds.
const FILES_MAX: u64 = 1_000_000;

#[derive(Serialize)]
struct Stats {
    directory: PathBuf,
    role: &'static str,
    /// Events of the source that a replica lacks, if the source was named.
    behind: Option<u64>,
    events: u64,
    head_hash: String,
    first_recorded_at: Option<DateTime<Utc>>,
    last_recorded_at: Option<DateTime<Utc>>,
    bytes: Bytes,
}

/// Bytes on disk, by what they are for.
#[derive(Default, Serialize)]
struct Bytes {
    journal: u64,
    index: u64,
    views: u64,
    other: u64,
}

pub(crate) fn run(store: &Path, options: &Options, out: &mut Out) -> Result<(), Fault> {
    let follower = stores::follow(store)?;
    let is_replica = follower.is_replica()?;
    let source = options.source.as_deref();
    let behind = source.map(|source| behind(&follower, is_replica, source)).transpose()?;
    let head_hash = follower.head_hash()?;
    let events = head_hash.position.get();
    let stats = Stats {
        directory: fs::canonicalize(store).map_err(|e| Fault::io("find", store, &e))?,
        role: if is_replica { "replica" } else { "store" },
        behind,
        events,
        head_hash: head_hash.to_string(),
        first_recorded_at: recorded_at(&follower, 1)?,
        last_recorded_at: recorded_at(&follower, events)?,
        bytes: bytes(store)?,
    };
    if out.json {
        return out.document(&stats);
    }
    let time = |time: Option<DateTime<Utc>>| time.map_or("-".to_owned(), stores::time);
    let role = match behind {
        Some(behind) => format!("replica, {} behind", counted(behind, "event")),
        None => stats.role.to_owned(),
    };
    let Bytes { journal, index, views, other } = stats.bytes;
    let lines = [
        ("directory", crate::text::escaped(&stats.directory.to_string_lossy()).into_owned()),
        ("role", role),
        ("events", count(events)),
        ("first", time(stats.first_recorded_at)),
        ("last", time(stats.last_recorded_at)),
        ("head hash", stats.head_hash),
        ("journal", size(journal)),
        ("index", size(index)),
        ("views", size(views)),
        ("other", size(other)),
    ];
    lines.iter().try_for_each(|(name, value)| out.line(format!("{name:<10} {value}")))
}

/// The events that a replica lacks of its source.
fn behind(replica: &Follower, is_replica: bool, source: &Path) -> Result<u64, Fault> {
    if !is_replica {
        let path = replica.path().display();
        let message = format!("{path} is not a replica: --source asks how far one is behind");
        return Err(Fault::bad(message));
    }
    let source = stores::follow(source)?;
    // Before the source's, or a replica beside a busy writer would seem to be ahead.
    let here = replica.head()?;
    Ok(source.head()?.get().saturating_sub(here.get()))
}

fn recorded_at(follower: &Follower, position: u64) -> Result<Option<DateTime<Utc>>, Fault> {
    if position == 0 {
        return Ok(None);
    }
    let mut events = follower.read().after(Position::new(position - 1)).limit(1).iter()?;
    Ok(events.next().transpose()?.map(|event| event.recorded_at))
}

fn bytes(store: &Path) -> Result<Bytes, Fault> {
    let (mut bytes, mut left) = (Bytes::default(), FILES_MAX);
    for entry in fs::read_dir(store).map_err(|e| Fault::io("list", store, &e))? {
        let entry = entry.map_err(|e| Fault::io("list", store, &e))?;
        let found = bytes_of(&entry.path(), &mut left);
        let found = found.map_err(|e| Fault::io("look at", &entry.path(), &e))?;
        let kind = match entry.file_name().to_str() {
            Some("journal") => &mut bytes.journal,
            Some("index" | "index.checkpoint") => &mut bytes.index,
            Some("views" | "views.closed") => &mut bytes.views,
            _ => &mut bytes.other,
        };
        *kind += found;
    }
    Ok(bytes)
}

/// Bytes of a file, or of all files below a directory. What the writer removes meanwhile counts as nothing.
fn bytes_of(path: &Path, left: &mut u64) -> io::Result<u64> {
    *left = left.checked_sub(1).ok_or_else(|| io::Error::other("there are too many files"))?;
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        found => found?,
    };
    if !found.is_dir() {
        return Ok(found.len());
    }
    match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        entries => entries?.map(|entry| bytes_of(&entry?.path(), left)).sum(),
    }
}
