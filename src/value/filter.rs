//! Which events a reader wants.

use crate::value::error::{Error, ErrorKind, Result};
use crate::value::stream::{StreamId, category_of};
use std::collections::BTreeSet;

/// Selects events for a read, a subscription or a projection. Conditions of one kind are
/// alternatives (OR); different kinds must all hold (AND).
///
/// ```
/// use filmstrip::Filter;
/// // Events of customers or orders that are of the type "Registered".
/// let filter = Filter::category("Customer").and_category("Order").and_event_type("Registered");
/// assert!(filter.wants("Customer-1", "Registered"));
/// assert!(!filter.wants("Customer-1", "Renamed"));
/// assert!(!filter.wants("Invoice-1", "Registered"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct Filter {
    streams: Vec<StreamId>,
    categories: Vec<String>,
    event_types: Vec<String>,
    /// Why it cannot be used: it was made from a type that is not an event set.
    fault: Option<String>,
}

impl Filter {
    /// Accepts every event.
    pub fn all() -> Filter {
        Filter::default()
    }

    /// Accepts the events of one stream.
    pub fn stream(stream: StreamId) -> Filter {
        Filter::all().and_stream(stream)
    }

    /// Accepts the events of all streams of a category.
    pub fn category(category: impl Into<String>) -> Filter {
        Filter::all().and_category(category)
    }

    /// Accepts the events of one type, in any stream.
    pub fn event_type(event_type: impl Into<String>) -> Filter {
        Filter::all().and_event_type(event_type)
    }

    /// Adds a stream to those that are accepted.
    pub fn and_stream(mut self, stream: StreamId) -> Filter {
        self.streams.push(stream);
        self
    }

    /// Adds a category to those that are accepted.
    pub fn and_category(mut self, category: impl Into<String>) -> Filter {
        self.categories.push(category.into());
        self
    }

    /// Adds an event type to those that are accepted.
    pub fn and_event_type(mut self, event_type: impl Into<String>) -> Filter {
        self.event_types.push(event_type.into());
        self
    }

    /// Nothing can be read with this filter, for this reason.
    pub(crate) fn unusable(mut self, why: String) -> Filter {
        self.fault.get_or_insert(why);
        self
    }

    /// Refuses a filter that was made from a type that is not an event set.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.fault {
            Some(why) => Err(Error::new(ErrorKind::NotAnEventSet, why)),
            None => Ok(()),
        }
    }

    /// Whether an event of this stream and type passes.
    #[must_use]
    pub fn wants(&self, stream: &str, event_type: &str) -> bool {
        self.wants_stream(stream) && any_or_one_of(&self.event_types, event_type)
    }

    /// Whether some event of this stream may pass.
    pub(crate) fn wants_stream(&self, stream: &str) -> bool {
        (self.streams.is_empty() || self.streams.iter().any(|wanted| wanted == stream))
            && (self.categories.is_empty() || any_or_one_of(&self.categories, category_of(stream)))
    }

    /// The streams, categories and event types that it names, each list sorted and without
    /// duplicates, so that filters which name the same things are equal.
    pub(crate) fn names(&self) -> [Vec<String>; 3] {
        let sorted = |names: &mut dyn Iterator<Item = String>| {
            names.collect::<BTreeSet<_>>().into_iter().collect()
        };
        [
            sorted(&mut self.streams.iter().map(ToString::to_string)),
            sorted(&mut self.categories.iter().cloned()),
            sorted(&mut self.event_types.iter().cloned()),
        ]
    }

    /// Whether every event passes.
    pub(crate) fn wants_all(&self) -> bool {
        self.streams.is_empty() && self.categories.is_empty() && self.event_types.is_empty()
    }
}

fn any_or_one_of(wanted: &[String], met: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == met)
}
