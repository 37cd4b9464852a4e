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
