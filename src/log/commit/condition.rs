//! A condition of a commit: no event that a filter accepts was recorded after a position. `log::commit::judging` says
//! who judges it.

use crate::log::commit::outcome::{Appended, Matched};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use crate::value::filter::{Alternative, Filter};
use crate::value::position::Position;
use std::sync::Arc;

/// Bytes that a condition takes besides the names in its filter.
const CONDITION_BYTES: usize = size_of::<Condition>() + size_of::<Filter>();

/// A condition of a commit.
#[derive(Debug)]
pub(crate) struct Condition {
    filter: Arc<Filter>,
    /// Events up to here do not matter.
    after: u64,
    /// Its caller has judged the events up to here.
    pub(super) judged: u64,
    /// The first match among them.
    pub(super) found: Option<Match>,
}

/// An event that a condition excludes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) position: u64,
    /// Where the commit's events are, if this is one of them.
    pub(crate) recorded: Option<Vec<Appended>>,
}

impl Condition {
    /// The condition that no event which `filter` accepts was recorded after `after`.
    pub(super) fn new(filter: Filter, after: Position) -> Result<Condition> {
        filter.check()?;
        if after == Position::START {
            refuse_whole_categories(&filter)?;
        }
        let after = after.get();
        Ok(Condition { filter: Arc::new(filter), after, judged: after, found: None })
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    #[cfg(feature = "async")]
    pub(super) fn after(&self) -> u64 {
        self.after
    }

    /// Bytes that it takes while it waits.
    pub(super) fn bytes(&self) -> usize {
        CONDITION_BYTES + self.filter.bytes()
    }

    /// The error of its commit, if the event at `position` is its first match.
    pub(super) fn matched(&self, position: u64) -> Matched {
        Matched {
            filter: Arc::clone(&self.filter),
            after: Position::new(self.after),
            position: Position::new(position),
        }
    }

    /// Refuses a condition that begins past `head`.
    pub(super) fn refuse_beyond(&self, head: u64) -> Result<()> {
        let after = self.after;
        if after <= head || failpoint!("log::believe_any_after") {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "a condition of the commit begins after position {after}, and the head of this store is at {head}: the \
             position is of another store, or of another history of this one"
        )))
    }
}

/// Refuses to look through all events of a category since the start with every commit.
fn refuse_whole_categories(filter: &Filter) -> Result<()> {
    let Some(whole) = filter.alternatives().find(|a| a.is_of_whole_categories()) else {
        return Ok(());
    };
    let categories: Vec<&str> = Alternative::categories(whole).collect();
    Err(Error::invalid(format!(
        "the condition that no event was ever recorded in the categories {categories:?} would read the whole log with \
         every commit; give it the position up to which you have read these categories, or narrow it by a tag, an \
         event type or a stream"
    )))
}
