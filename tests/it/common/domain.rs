//! What stores hold in the tests: events that are numbers, an aggregate that counts its own events, and a view that
//! counts those of each stream.

use filmstrip::{
    Aggregate, Event, Filter, HandlerError, Metadata, NewEvent, Projection, RecordedEvent,
    Snapshot, View, ViewWriter,
};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::path::Path;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) fn counted(n: u64) -> NewEvent {
    NewEvent::json("Counted", &n).unwrap()
}

pub(crate) fn command_id(n: u128) -> Metadata {
    Metadata::default().command_id(Uuid::from_u128(n))
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ticked {
    Ticked,
}
impl Event for Ticked {}

/// Counts its own events.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Ticks {
    pub(crate) count: u64,
}

impl Aggregate for Ticks {
    const CATEGORY: &'static str = "Ticks";
    type Command = ();
    type Event = Ticked;
    type Error = Infallible;

    fn decide(&self, (): &()) -> Result<Vec<Ticked>, Infallible> {
        Ok(vec![Ticked::Ticked])
    }

    fn evolve(&mut self, _: &Ticked) {
        self.count += 1;
    }
}

impl Snapshot for Ticks {
    const SCHEMA: u32 = 1;
}

/// Counts the events of each stream, and lists the streams by their counts.
pub(crate) struct Counts;

impl Projection for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 1;
    const INDEXES: &'static [&'static str] = &["count"];

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let stream = event.stream.as_str();
        let count = view.get::<u64>(stream)?.unwrap_or(0) + 1;
        Ok(view.put_indexed(stream, &count, &[("count", &count.to_be_bytes())])?)
    }
}

/// The rows, by their keys and by their counts: whatever happened, the view's index agrees with its rows.
pub(crate) fn counted_rows(view: &View) -> Vec<(String, u64)> {
    view.read(|view| {
        let rows: Vec<(String, u64)> = view.prefix("").unwrap();
        let mut by_count: Vec<_> = rows.iter().map(|(key, count)| (*count, key.clone())).collect();
        by_count.sort();
        let listed = view.index("count").collect::<u64>().unwrap().into_iter();
        let listed: Vec<_> = listed
            .map(|listed| {
                assert_eq!(listed.by, listed.row.to_be_bytes(), "{} in its old place", listed.key);
                (listed.row, listed.key)
            })
            .collect();
        assert_eq!(listed, by_count, "the index is not that of the rows");
        rows
    })
}

/// A directory in memory, where there is one: a kill takes nothing from either.
pub(crate) fn scratch() -> TempDir {
    match Path::new("/dev/shm").is_dir() {
        true => tempfile::tempdir_in("/dev/shm").unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}
