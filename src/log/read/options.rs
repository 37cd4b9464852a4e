//! The selection of a read: each builder of a read, a subscription or a follower holds a `ReadOptions`.

use crate::value::clock::Micros;
use crate::value::error::{Error, Result};
use crate::value::filter::Filter;
use crate::value::stream::StreamId;

/// A builder's settings. A place is a position in the global sequence, or a version in one stream.
#[derive(Clone)]
pub(crate) struct ReadOptions {
    /// The place before the first one to read.
    pub(crate) after: u64,
    /// The last place to read.
    pub(crate) until: u64,
    /// The latest time to read.
    pub(crate) as_of: Option<Micros>,
    pub(crate) filter: Filter,
    pub(crate) backwards: bool,
    /// The maximum number of events that pass the filter.
    pub(crate) limit: u64,
    /// The first invalid value: a builder's methods return the builder, and `check` returns the error.
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

    /// Selects no further event.
    pub(crate) fn end(&mut self) {
        let ReadOptions { after, until, .. } = *self;
        *self = ReadOptions { after, until, limit: 0, ..ReadOptions::everything() };
    }

    /// Adds a stream to the filter.
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

    /// The first place to read.
    pub(crate) fn first(&self) -> u64 {
        self.after.saturating_add(1)
    }

    /// Refuses invalid settings.
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
        /// Accepts the events of this category. Further calls add categories.
        pub fn category(mut self, category: impl Into<String>) -> Self {
            self.options.filter = self.options.filter.and_category(category);
            self
        }

        /// Accepts the events of this type. Further calls add types.
        pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
            self.options.filter = self.options.filter.and_event_type(event_type);
            self
        }

        /// Accepts only events that have this tag. Further calls ask for further tags: an event must have all of them.
        pub fn tagged(mut self, tag: impl Into<String>) -> Self {
            self.options.filter = self.options.filter.tagged(tag);
            self
        }

        /// Replaces the filter, and what was named before.
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
        /// Accepts the events of this stream. Further calls add streams.
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
        /// Reads only events after this position, such as the last one of an earlier read.
        pub fn after(mut self, position: $crate::value::position::Position) -> Self {
            self.options.after = position.get();
            self
        }

        /// Reads only events up to and including this position.
        pub fn until(mut self, position: $crate::value::position::Position) -> Self {
            self.options.until = position.get();
            self
        }

        /// Reads at most so many of the events that the filters accept.
        pub fn limit(mut self, events: u64) -> Self {
            self.options.limit = events;
            self
        }
    };
}
pub(crate) use range_methods;
