//! Views as they were, and why a row is as it is: projections that the studio can fold again.

use crate::json::Json;
use crate::limits::{EXPLAIN_EVENTS_MAX, PAGE_ROWS, PAST_BYTES_MAX};
use crate::source::Brief;
use crate::view_rows::{ViewRow, page};
use filmstrip::bytes::Bytes;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::projection::{ExplainStep, RowChange};
use filmstrip::{Position, Projection, Result, Store};
use std::collections::VecDeque;

/// What wrote a row, the newest change last.
pub(crate) struct Explanation {
    pub(crate) changes: Vec<RowStep>,
    /// Earlier changes that are not among them.
    pub(crate) earlier: usize,
    /// Whether all events were looked at.
    pub(crate) is_complete: bool,
}

pub(crate) struct RowStep {
    pub(crate) event: Brief,
    pub(crate) before: Option<Json>,
    pub(crate) after: Option<Json>,
}

/// A projection that can be folded again.
pub(crate) trait Past: Send + Sync {
    /// A page of the rows as they were at `time`, and the position of the last event that is in them.
    fn rows(
        &self,
        store: &Store,
        time: DateTime<Utc>,
        prefix: &str,
        after: &str,
    ) -> Result<(Vec<ViewRow>, Position)>;

    fn explain(&self, store: &Store, key: &str) -> Result<Explanation>;
}

pub(crate) struct Made<F>(pub(crate) F);

impl<P: Projection, F: Fn() -> P + Send + Sync> Past for Made<F> {
    fn rows(
        &self,
        store: &Store,
        time: DateTime<Utc>,
        prefix: &str,
        after: &str,
    ) -> Result<(Vec<ViewRow>, Position)> {
        let view = store.project((self.0)()).memory_bytes(PAST_BYTES_MAX).as_of(time)?;
        Ok((page(view.rows(), prefix, after)?, view.position()))
    }

    fn explain(&self, store: &Store, key: &str) -> Result<Explanation> {
        let mut explained = store.project((self.0)()).memory_bytes(PAST_BYTES_MAX).explain(key)?;
        let (mut changes, mut earlier) = (VecDeque::new(), 0);
        for _ in 0..EXPLAIN_EVENTS_MAX {
            match explained.step(1)? {
                ExplainStep::Changed(change) => changes.push_back(step(&change)),
                ExplainStep::Ended => {
                    return Ok(Explanation { changes: changes.into(), earlier, is_complete: true });
                }
                _ => {}
            }
            if changes.len() > PAGE_ROWS {
                changes.pop_front();
                earlier += 1;
            }
        }
        Ok(Explanation { changes: changes.into(), earlier, is_complete: false })
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
