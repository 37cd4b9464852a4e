//! The views of the other modules.

use filmstrip::{Filter, HandlerError, Projection, RecordedEvent, ViewWriter};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Serialize, Deserialize, Default)]
pub struct Row {
    pub name: String,
    pub events: u64,
    pub sum: u64,
}

/// A row for each number that events have.
pub struct ByNumber;

impl Projection for ByNumber {
    const NAME: &'static str = "by-number";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let number: u64 = event.json()?;
        let key = format!("product/{number:04}");
        let row: Option<Row> = view.get(&key)?;
        let mut row = row.unwrap_or_default();
        if row.name.is_empty() {
            row.name = format!("the product of number {number}");
        }
        row.events += 1;
        row.sum += number;
        Ok(view.put(&key, &row)?)
    }
}

/// A row for each event.
pub struct ByEvent;

/// The key of the row of the event at this position.
pub fn key_of(position: u64) -> String {
    format!("row/{position:09}")
}

impl Projection for ByEvent {
    const NAME: &'static str = "by-event";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let events = event.position.get();
        let row = Row { name: format!("the row of number {events}"), events, sum: events };
        Ok(view.put(&key_of(events), &row)?)
    }
}

/// A row for each event, and the rows by their ranks, the last one first.
pub struct Indexed;

/// The secondary key of the row of the event at this position.
pub fn rank_of(position: u64) -> [u8; 8] {
    (u64::MAX - position).to_be_bytes()
}

impl Projection for Indexed {
    const NAME: &'static str = "indexed";
    const VERSION: u32 = 1;
    const INDEXES: &'static [&'static str] = &["rank"];

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let events = event.position.get();
        let row = Row { name: format!("the row of number {events}"), events, sum: events };
        Ok(view.put_indexed(&key_of(events), &row, &[("rank", &rank_of(events))])?)
    }
}

/// A row for each stream of the category `Rare`, of which there is one with few events.
pub struct Rare;

impl Projection for Rare {
    const NAME: &'static str = "rare";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::category("Rare")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        Ok(view.put(event.stream.as_str(), &event.version.get())?)
    }
}

/// Whether `Failing` fails.
pub static FAILS: AtomicBool = AtomicBool::new(false);

/// As `ByNumber`, but fails while it is told to.
pub struct Failing;

impl Projection for Failing {
    const NAME: &'static str = "failing";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        match FAILS.load(Ordering::Relaxed) {
            true => Err("not yet".into()),
            false => ByNumber.apply(event, view),
        }
    }
}
