//! What stores hold in the tests: events that are numbers, an aggregate that counts its own events, and a view that
//! counts those of each stream.

use filmstrip::{
    Aggregate, Event, Filter, HandlerError, Metadata, NewEvent, Projection, RecordedEvent,
    Snapshot, ViewWriter,
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

/// Counts the events of each stream.
pub(crate) struct Counts;

impl Projection for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let stream = event.stream.as_str();
        let count: u64 = view.get(stream)?.unwrap_or(0);
        Ok(view.put(stream, &(count + 1))?)
    }
}

/// A directory in memory, where there is one: a kill takes nothing from either.
pub(crate) fn scratch() -> TempDir {
    match Path::new("/dev/shm").is_dir() {
        true => tempfile::tempdir_in("/dev/shm").unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}
