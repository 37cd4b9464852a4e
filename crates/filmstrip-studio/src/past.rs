//! Views as they were, and why a row is as it is: projections that the studio can fold again.

use crate::json::Json;
use crate::limits::{EXPLAIN_EVENTS_MAX, PAGE_ROWS, PAST_BYTES_MAX};
use crate::source::Brief;
use crate::view_rows::{ViewRow, page};
use filmstrip::bytes::Bytes;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::projection::{ErrorAction, ExplainStep, OnError, ProjectionBuilder, RowChange};
use filmstrip::{Position, Projection, Result, Store};
use std::collections::VecDeque;

/// What wrote a row, the newest change last.
pub(crate) struct Explanation {
    pub(crate) changes: Vec<RowStep>,
    /// Earlier changes that are not among them.
    pub(crate) earlier: usize,
    /// Events that were left out, because the projection fails on them.
    pub(crate) skipped: u64,
    /// Whether all events were looked at.
    pub(crate) is_complete: bool,
}

pub(crate) struct RowStep {
    pub(crate) event: Brief,
    pub(crate) before: Option<Json>,
    pub(crate) after: Option<Json>,
}

/// When rows were as they are shown.
pub(crate) struct Then {
    pub(crate) time: DateTime<Utc>,
    /// The last event that is in them.
    pub(crate) position: Position,
    /// Events that are not, because the projection fails on them.
    pub(crate) skipped: u64,
}

/// A projection that can be folded again.
pub(crate) trait Past: Send + Sync {
    /// A page of the rows as they were at `time`.
    fn rows(
        &self,
        store: &Store,
        time: DateTime<Utc>,
        prefix: &str,
        after: &str,
    ) -> Result<(Vec<ViewRow>, Then)>;

    fn explain(&self, store: &Store, key: &str) -> Result<Explanation>;
}

pub(crate) struct Made<F>(pub(crate) F);

impl<P: Projection, F: Fn() -> P> Made<F> {
    /// An event that the projection fails on is left out: it is for its running one to stop there.
    fn builder(&self, store: &Store) -> ProjectionBuilder<P> {
        let leave_out = OnError::default().retries(0).then(ErrorAction::ParkEvent);
        store.project((self.0)()).memory_bytes(PAST_BYTES_MAX).on_error(leave_out)
    }
}

impl<P: Projection, F: Fn() -> P + Send + Sync> Past for Made<F> {
    fn rows(
        &self,
        store: &Store,
        time: DateTime<Utc>,
        prefix: &str,
        after: &str,
    ) -> Result<(Vec<ViewRow>, Then)> {
        let view = self.builder(store).as_of(time)?;
        let rows = page(view.rows(), prefix, after)?;
        Ok((rows, Then { time, position: view.position(), skipped: view.skipped() }))
    }

    fn explain(&self, store: &Store, key: &str) -> Result<Explanation> {
        let mut explained = self.builder(store).explain(key)?;
        let (mut changes, mut earlier) = (VecDeque::new(), 0);
        let mut is_complete = false;
        for _ in 0..EXPLAIN_EVENTS_MAX {
            match explained.step(1)? {
                ExplainStep::Changed(change) => changes.push_back(step(&change)),
                ExplainStep::Ended => {
                    is_complete = true;
                    break;
                }
                _ => {}
            }
            if changes.len() > PAGE_ROWS {
                changes.pop_front();
                earlier += 1;
            }
        }
        let skipped = explained.skipped();
        Ok(Explanation { changes: changes.into(), earlier, skipped, is_complete })
    }
}

fn step(change: &RowChange) -> RowStep {
    let shown = |row: &Option<Bytes>| row.as_ref().map(|row| Json::beginning(row));
    RowStep {
        event: Brief::of(&change.event),
        before: shown(&change.before),
        after: shown(&change.after),
    }
}
