//! Explains a row: finds the events that wrote it.
//!
//! * Only the row that is asked about is kept, as long as `apply` reads no other row. When it does, the fold starts
//!   again, keeps all rows from then on, and does not return again what it has returned. That was right, because no row
//!   had been read that was not kept.

use crate::log::read::selected::SelectedEvents;
use crate::model::projection::contract::Projection;
use crate::model::projection::past::fold::Fold;
use crate::model::projection::past::memory::MemoryRows;
use crate::model::projection::rows::{RowSource, decode};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::position::Position;
use crate::views::range::RowRange;
use crate::views::rows::EachRow;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::cell::Cell;

/// An event that wrote a row, with the row before and after it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RowChange {
    /// The event.
    pub event: RecordedEvent,
    /// The row before it, as JSON, if there was one.
    pub before: Option<Bytes>,
    /// The row after it, as JSON; `None` if the event deleted it. It may be the same as before.
    pub after: Option<Bytes>,
    key: String,
}

impl RowChange {
    /// Returns the row before the event, if there was one.
    ///
    /// # Errors
    /// [`Undecodable`](ErrorKind::Undecodable) if it is not a `T`.
    pub fn before_as<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.before.as_ref().map(|row| decode(&self.key, row)).transpose()
    }

    /// Returns the row after the event, or `None` if the event deleted it.
    ///
    /// # Errors
    /// [`Undecodable`](ErrorKind::Undecodable) if it is not a `T`.
    pub fn after_as<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.after.as_ref().map(|row| decode(&self.key, row)).transpose()
    }
}

/// The result of a [`step`](Explained::step).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ExplainStep {
    /// The next event that wrote the row.
    Changed(Box<RowChange>),
    /// None of the events up to this position wrote it.
    ReadUpTo(Position),
    /// There are no more events.
    Ended,
}

/// The events that wrote a row, in order. Made by
/// [`ProjectionBuilder::explain`](crate::projection::ProjectionBuilder::explain).
///
/// The iterator finds them by applying events again, so the next one may take a while; [`step`](Self::step) returns
/// earlier. Dropping the iterator ends the search. It holds one event at a time, or a page of 256 for each
/// of the streams that it merges, and of the view only this row. If
/// `apply` reads other rows, it starts again, without returning an event twice, and holds all rows, within
/// [`memory_bytes`](crate::projection::ProjectionBuilder::memory_bytes). It keeps the store open, and sees the log as
/// it was when the iterator was made.
///
/// An event that put the row is returned even if the row did not change; one that deleted a row that did not exist is
/// not. After an error the iterator ends: [`TooLarge`](ErrorKind::TooLarge) if the rows need more memory than allowed,
/// [`Faulted`](ErrorKind::Faulted) if `apply` fails and `on_error` does not leave the event out, or an error of reading
/// the log.
#[must_use = "events are found as they are read"]
pub struct Explained<P> {
    fold: Fold<P>,
    events: SelectedEvents,
    key: String,
    kept: Kept,
    /// The last event that was read.
    at: Position,
    /// The position up to which changes were returned before the fold started again.
    silent_until: Position,
    last: Position,
    is_over: bool,
}

/// The rows that are kept.
enum Kept {
    /// Only the one that is asked about.
    Row(Option<Bytes>),
    All(MemoryRows),
}

/// The row that is asked about, and whether another row was read.
struct OneRow<'a> {
    key: &'a str,
    row: &'a Option<Bytes>,
    has_missed: Cell<bool>,
}

impl OneRow<'_> {
    fn miss<T>(&self) -> Result<T> {
        self.has_missed.set(true);
        Err(Error::new(ErrorKind::Undecodable, "the row is not kept; all are, the next time"))
    }
}

impl RowSource for OneRow<'_> {
    fn row(&self, key: &str) -> Result<Option<Bytes>> {
        match key == self.key {
            true => Ok(self.row.clone()),
            false if failpoint!("projection::explain_without_other_rows") => Ok(None),
            false => self.miss(),
        }
    }

    fn scan(&self, _: &RowRange, _: &mut EachRow<'_>) -> Result<()> {
        if failpoint!("projection::explain_without_other_rows") {
            return Ok(());
        }
        self.miss()
    }
}

impl<P: Projection> Explained<P> {
    pub(super) fn new(fold: Fold<P>, key: &str, last: Position) -> Result<Explained<P>> {
        let events = SelectedEvents::new(fold.log(), &fold.filter, last)?;
        let (at, silent_until) = (Position::START, Position::START);
        let (key, kept, is_over) = (key.to_owned(), Kept::Row(None), false);
        Ok(Explained { fold, events, key, kept, at, silent_until, last, is_over })
    }

    /// Applies up to `events` of the events that the projection's filter accepts, for a caller that shows progress or
    /// can be cancelled. If it returns [`ExplainStep::ReadUpTo`], call it again. The position goes back to the first
    /// event once, if `apply` turns out to read other rows.
    ///
    /// # Errors
    /// Those of the iterator.
    pub fn step(&mut self, events: u64) -> Result<ExplainStep> {
        for _ in 0..events {
            if self.is_over {
                return Ok(ExplainStep::Ended);
            }
            match self.read_one() {
                Ok(Some(change)) => return Ok(ExplainStep::Changed(Box::new(change))),
                Ok(None) => {}
                Err(error) => {
                    self.end();
                    return Err(error);
                }
            }
        }
        Ok(if self.is_over { ExplainStep::Ended } else { ExplainStep::ReadUpTo(self.at) })
    }

    /// Returns the position of the last event that it has applied. It ends at [`until`](Explained::until).
    #[must_use]
    pub fn position(&self) -> Position {
        self.at
    }

    /// Returns the position at which it ends: the head of the log when it was made.
    #[must_use]
    pub fn until(&self) -> Position {
        self.last
    }

    /// Returns how many events it has left out so far, because `apply` failed for them or for an earlier event of their
    /// stream.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.fold.skipped
    }

    /// Ends the iterator, and releases the rows.
    fn end(&mut self) {
        (self.is_over, self.kept) = (true, Kept::Row(None));
    }

    /// Applies the next event; returns the change of the row, if the event wrote it.
    fn read_one(&mut self) -> Result<Option<RowChange>> {
        let Some(event) = self.events.next().transpose()? else {
            self.end();
            return Ok(None);
        };
        let (before, changes) = match &self.kept {
            Kept::All(rows) => (rows.row(&self.key)?, self.fold.changes(&event, rows)),
            Kept::Row(row) => {
                let one = OneRow { key: &self.key, row, has_missed: Cell::new(false) };
                let changes = self.fold.changes(&event, &one);
                if one.has_missed.get() {
                    return self.begin_again(&event).map(|()| None);
                }
                (row.clone(), changes)
            }
        };
        self.at = event.position;
        let Some(mut changes) = changes? else { return Ok(None) };
        let change = match &mut self.kept {
            Kept::Row(row) => {
                let change = changes.remove(&self.key);
                if let Some(change) = &change {
                    *row = change.as_ref().map(|row| row.bytes.clone());
                }
                change
            }
            Kept::All(rows) => {
                let change = changes.get(&self.key).cloned();
                rows.apply(changes);
                self.fold.check_bytes(rows.bytes(), event.position)?;
                change
            }
        };
        let Some(change) = change else { return Ok(None) };
        let after = change.map(|row| row.bytes);
        let is_nothing = before.is_none() && after.is_none();
        let is_told =
            event.position <= self.silent_until && !failpoint!("projection::explain_twice");
        let key = self.key.clone();
        Ok((!is_nothing && !is_told).then_some(RowChange { event, before, after, key }))
    }

    /// Starts again, to keep all rows. What was returned before `event` is not returned again.
    fn begin_again(&mut self, event: &RecordedEvent) -> Result<()> {
        self.silent_until = Position::new(event.position.get() - 1);
        self.fold.begin_again();
        self.events = SelectedEvents::new(self.fold.log(), &self.fold.filter, self.last)?;
        self.kept = Kept::All(MemoryRows::new(P::INDEXES));
        self.at = Position::START;
        Ok(())
    }
}

impl<P: Projection> Iterator for Explained<P> {
    type Item = Result<RowChange>;

    fn next(&mut self) -> Option<Result<RowChange>> {
        loop {
            match self.step(u64::MAX) {
                Ok(ExplainStep::Changed(change)) => return Some(Ok(*change)),
                Ok(ExplainStep::ReadUpTo(_)) => {}
                Ok(ExplainStep::Ended) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
