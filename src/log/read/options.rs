//! Which events a read wants: each builder of a read, a subscription or a follower holds one of these.

use crate::value::clock::Micros;
use crate::value::error::{Error, Result};
use crate::value::filter::Filter;
use crate::value::stream::StreamId;

/// What a builder was told. Places are positions in the global sequence, or versions in one stream.
#[derive(Clone)]
pub(crate) struct ReadOptions {
    /// The last place before those that are wanted.
    pub(crate) after: u64,
    /// The last place that is wanted.
    pub(crate) until: u64,
    /// The last time that is wanted.
    pub(crate) as_of: Option<Micros>,
    pub(crate) filter: Filter,
    pub(crate) backwards: bool,
    /// How many events, of those that the filter leaves.
    pub(crate) limit: u64,
    /// The first value that cannot be: a builder's methods return the builder, and `check` the error.
    fault: Option<Error>,
}

impl ReadOptions {
    pub(crate) fn everything() -> ReadOptions {
        ReadOptions {
            after: 0,
            until: u64::MAX,
            as_of: None,
            filter: Filter::all(),
            backwards: false,
            limit: u64::MAX,
            fault: None,
        }
    }

    /// Wants nothing more, whatever it was.
    pub(crate) fn end(&mut self) {
        let ReadOptions { after, until, .. } = *self;
        *self = ReadOptions { after, until, limit: 0, ..ReadOptions::everything() };
    }

    /// Also events of this stream.
    pub(crate) fn and_stream<S>(mut self, stream: S) -> ReadOptions
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        match stream.try_into() {
            Ok(stream) => self.filter = self.filter.and_stream(stream),
            Err(error) => drop(self.fault.get_or_insert(error.into())),
        }
        self
    }

    /// The first place that is wanted.
    pub(crate) fn first(&self) -> u64 {
        self.after.saturating_add(1)
    }

    /// Refuses what no read can be.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => self.filter.check(),
        }
    }
}

/// The methods of a builder that set the filter of its `options`.
macro_rules! filter_methods {
    () => {
        /// Only events of this category, or of the others named so.
        pub fn category(mut self, category: impl Into<String>) -> Self {
            self.options.filter = self.options.filter.and_category(category);
            self
        }

        /// Only events of this type, or of the others named so.
        pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
            self.options.filter = self.options.filter.and_event_type(event_type);
            self
        }

        /// Only events that this filter wants, in place of what was named before.
        pub fn filter(mut self, filter: $crate::value::filter::Filter) -> Self {
            self.options.filter = filter;
            self
        }
    };
}
pub(crate) use filter_methods;

/// The method of a builder that names a stream for the filter of its `options`.
macro_rules! stream_method {
    () => {
        /// Only events of this stream, or of the others named so.
        pub fn stream<S>(mut self, stream: S) -> Self
        where
            S: TryInto<$crate::value::stream::StreamId>,
            $crate::value::error::Error: From<S::Error>,
        {
            self.options = self.options.and_stream(stream);
            self
        }
    };
}
pub(crate) use stream_method;

/// The methods of a builder that bound its `options` to positions, and to a number of events.
macro_rules! range_methods {
    () => {
        /// Only events after this position: where an earlier read has come to.
        pub fn after(mut self, position: $crate::value::position::Position) -> Self {
            self.options.after = position.get();
            self
        }

        /// Only events up to this position, which is included.
        pub fn until(mut self, position: $crate::value::position::Position) -> Self {
            self.options.until = position.get();
            self
        }

        /// At most so many events, of those that the filters leave.
        pub fn limit(mut self, events: u64) -> Self {
            self.options.limit = events;
            self
        }
    };
}
pub(crate) use range_methods;
