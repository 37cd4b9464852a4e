//! Builders of reads, which end in an iterator.

use crate::codec::state::StreamState;
use crate::index::core::Index;
use crate::log::handle::LogHandle;
use crate::log::read::all::{AllEvents, AllRange};
use crate::log::read::options::{ReadOptions, filter_methods, range_methods};
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::log::read::stream_info::StreamInfo;
use crate::value::clock::Micros;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::limits::STREAMS_PAGE;
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use chrono::{DateTime, Utc};
use std::collections::VecDeque;
use std::sync::Arc;

/// A read of one stream; see [`Store::read_stream`](crate::Store::read_stream).
///
/// It sees the stream as it is when [`iter`](ReadStream::iter) is called, reads a page at a time, and blocks no writer.
#[must_use = "a read begins with `iter` or `collect`"]
pub struct ReadStream {
    log: LogHandle,
    stream: Result<StreamId>,
    options: ReadOptions,
}

impl ReadStream {
    pub(crate) fn new(log: LogHandle, stream: Result<StreamId>) -> ReadStream {
        ReadStream { log, stream, options: ReadOptions::everything() }
    }

    #[cfg(feature = "async")]
    pub(crate) fn log(&self) -> &LogHandle {
        &self.log
    }

    /// Reads only events after this version.
    pub fn after(mut self, version: Version) -> ReadStream {
        self.options.after = version.get();
        self
    }

    /// Reads only events up to and including this version.
    pub fn until(mut self, version: Version) -> ReadStream {
        self.options.until = version.get();
        self
    }

    /// Reads only events recorded at or before this time.
    pub fn as_of(mut self, time: DateTime<Utc>) -> ReadStream {
        self.options.as_of = Some(Micros::of(time));
        self
    }

    /// Reads the last event first.
    pub fn backwards(mut self) -> ReadStream {
        self.options.backwards = true;
        self
    }

    /// Reads at most so many events.
    pub fn limit(mut self, events: u64) -> ReadStream {
        self.options.limit = events;
        self
    }

    /// Begins to read.
    ///
    /// # Errors
    /// [`StreamNotFound`](ErrorKind::StreamNotFound) if the stream was never written;
    /// [`InvalidInput`](ErrorKind::InvalidInput) if its name is invalid.
    pub fn iter(self) -> Result<impl Iterator<Item = Result<RecordedEvent>> + Send + use<>> {
        let ReadStream { log, stream, options } = self;
        let stream = stream?;
        let state = state_of(&log, &stream)?;
        let mut last = options.until.min(state.version.get());
        if let Some(time) = options.as_of {
            let position = log.log().position_at(time)?;
            last = log.log().version_at(&stream, last, Position::new(position))?;
        }
        let ReadOptions { backwards, limit, .. } = options;
        let range = StreamRange { first: options.first(), last, backwards, limit };
        let events = StreamEvents::new(Arc::clone(log.log()), stream, range);
        Ok(KeepOpen::new(events, log))
    }

    /// Reads all of it at once.
    ///
    /// # Errors
    /// Those of [`iter`](ReadStream::iter) and of reading.
    pub fn collect(self) -> Result<Vec<RecordedEvent>> {
        self.iter()?.collect()
    }
}

/// A read of the global sequence; see [`Store::read_all`](crate::Store::read_all).
///
/// Filters of one kind add up, filters of different kinds must all hold; `limit` counts what is left.
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// let store = Store::temporary()?;
/// for stream in ["Door-1", "Lamp-1", "Door-2"] {
///     store.append(stream, ExpectedVersion::NoStream, [NewEvent::json("Installed", &())?])?;
/// }
/// let doors = store.read_all().category("Door").collect()?;
/// assert_eq!(doors.iter().map(|e| e.position.get()).collect::<Vec<_>>(), [1, 3]);
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[must_use = "a read begins with `iter` or `collect`"]
pub struct ReadAll {
    log: LogHandle,
    options: ReadOptions,
}

impl ReadAll {
    pub(crate) fn new(log: LogHandle) -> ReadAll {
        ReadAll { log, options: ReadOptions::everything() }
    }

    #[cfg(feature = "async")]
    pub(crate) fn log(&self) -> &LogHandle {
        &self.log
    }

    range_methods!();
    filter_methods!();

    /// Reads only events recorded at or before this time. It never cuts a commit, which has one time.
    pub fn as_of(mut self, time: DateTime<Utc>) -> ReadAll {
        self.options.as_of = Some(Micros::of(time));
        self
    }

    /// Reads the last event first.
    pub fn backwards(mut self) -> ReadAll {
        self.options.backwards = true;
        self
    }

    /// Begins to read. Events that become durable later are not included.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed), or an error of finding the place of `as_of`.
    pub fn iter(self) -> Result<impl Iterator<Item = Result<RecordedEvent>> + Send + use<>> {
        let range = self.range()?;
        let events = AllEvents::new(Arc::clone(self.log.log()), range);
        Ok(KeepOpen::new(events, self.log))
    }

    /// What is to be read, of what is durable now.
    pub(crate) fn range(&self) -> Result<AllRange> {
        let ReadAll { log, options } = self;
        log.log().refuse_if_closed()?;
        options.check()?;
        let mut last = options.until.min(log.log().head_position().get());
        if let Some(time) = options.as_of {
            last = last.min(log.log().position_at(time)?);
        }
        let first = options.first();
        let ReadOptions { backwards, limit, ref filter, .. } = *options;
        Ok(AllRange { first, last, backwards, limit, filter: filter.clone() })
    }

    #[cfg(feature = "async")]
    pub(crate) fn selection(&self) -> (Filter, u64) {
        (self.options.filter.clone(), self.options.limit)
    }

    /// Reads all of it at once.
    ///
    /// # Errors
    /// Those of [`iter`](ReadAll::iter) and of reading.
    pub fn collect(self) -> Result<Vec<RecordedEvent>> {
        self.iter()?.collect()
    }
}

pub(crate) fn stream_info(log: &LogHandle, stream: StreamId) -> Result<StreamInfo> {
    let state = state_of(log, &stream)?;
    Ok(StreamInfo::new(stream, &state))
}

fn state_of(log: &LogHandle, stream: &StreamId) -> Result<StreamState> {
    log.log().refuse_if_closed()?;
    log.log().stream_state(stream)?.ok_or_else(|| {
        let message = format!("stream {stream} has never been written");
        Error::new(ErrorKind::StreamNotFound, message)
    })
}

/// A listing of streams; see [`Store::streams`](crate::Store::streams).
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// let store = Store::temporary()?;
/// for stream in ["Lamp-1", "Door-2", "Door-1"] {
///     store.append(stream, ExpectedVersion::NoStream, [NewEvent::json("Installed", &())?])?;
/// }
/// let doors = store.streams().category("Door").collect()?;
/// let names: Vec<&str> = doors.iter().map(|info| info.stream.as_str()).collect();
/// assert_eq!(names, ["Door-1", "Door-2"]);
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[must_use = "a listing begins with `iter` or `collect`"]
pub struct Streams {
    log: LogHandle,
    prefix: String,
    category: Option<String>,
    after: Option<StreamId>,
}

impl Streams {
    pub(crate) fn new(log: LogHandle) -> Streams {
        Streams { log, prefix: String::new(), category: None, after: None }
    }

    #[cfg(feature = "async")]
    pub(crate) fn log(&self) -> &LogHandle {
        &self.log
    }

    /// Lists only streams whose names begin with `prefix`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Streams {
        self.prefix = prefix.into();
        self
    }

    /// Lists only streams of this category.
    pub fn category(mut self, category: impl Into<String>) -> Streams {
        self.category = Some(category.into());
        self
    }

    /// Lists only streams whose names are after this one, in the order of bytes: the last name of a page begins the
    /// next one, whether or not there still is such a stream.
    ///
    /// ```
    /// use filmstrip::{ExpectedVersion, NewEvent, Store};
    /// let store = Store::temporary()?;
    /// for door in ["Door-1", "Door-2", "Door-3"] {
    ///     store.append(door, ExpectedVersion::Any, [NewEvent::json("Opened", &())?])?;
    /// }
    /// let page: Vec<_> = store.streams().iter()?.take(2).collect::<Result<_, _>>()?;
    /// let next = store.streams().after(page[1].stream.clone()).collect()?;
    /// assert_eq!(next[0].stream, "Door-3");
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    pub fn after(mut self, stream: StreamId) -> Streams {
        self.after = Some(stream);
        self
    }

    /// Begins to list. A stream that is created meanwhile may be listed or not.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed); [`InvalidInput`](ErrorKind::InvalidInput) if the category is none, such as
    /// `Door-1`.
    pub fn iter(self) -> Result<impl Iterator<Item = Result<StreamInfo>> + Send + use<>> {
        self.log.log().refuse_if_closed()?;
        let Streams { log, prefix, category, after } = self;
        if let Some(category) = &category {
            Filter::category(category).check()?;
        }
        // Names of one category share its beginning, so the longer of the two narrows the search.
        let prefix = match &category {
            Some(category) if category.starts_with(&prefix) => category.clone(),
            _ => prefix,
        };
        let wanted = |stream: &StreamId| {
            stream.as_str().starts_with(&prefix)
                && after.as_ref().is_none_or(|after| stream > after)
        };
        // The tail first, the index second: what moves in between is seen twice and merged.
        let mut tail = log.log().tail.streams(wanted);
        tail.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let listing = Listing { log, prefix, tail: tail.into(), page: Page::Before(after) };
        let in_category = move |info: &StreamInfo| {
            category.as_ref().is_none_or(|category| info.stream.category() == category)
        };
        Ok(listing.filter(move |item| item.as_ref().map_or(true, &in_category)))
    }

    /// Reads all of it at once.
    ///
    /// # Errors
    /// Those of [`iter`](Streams::iter) and of reading.
    pub fn collect(self) -> Result<Vec<StreamInfo>> {
        self.iter()?.collect()
    }
}

type Named = (StreamId, StreamState);

/// Two sorted listings merged: the tail's, taken at the start, and the index's, page by page.
struct Listing {
    log: LogHandle,
    prefix: String,
    tail: VecDeque<Named>,
    page: Page,
}

enum Page {
    /// The page after this name is to be read.
    Before(Option<StreamId>),
    Read(VecDeque<Named>),
    Ended,
}

impl Listing {
    fn fill(&mut self) -> Result<()> {
        if let Page::Before(after) = &self.page {
            self.log.log().refuse_if_closed()?;
            let (prefix, after) = (self.prefix.as_str(), after.as_ref().map(StreamId::as_str));
            let ask = |index: &Index| index.streams_after(prefix, after, STREAMS_PAGE);
            let page = self.log.log().index.ask(ask)?;
            self.page = if page.is_empty() { Page::Ended } else { Page::Read(page.into()) };
        }
        Ok(())
    }

    fn pop_index(&mut self) -> Option<Named> {
        let Page::Read(page) = &mut self.page else { return None };
        let named = page.pop_front()?;
        if page.is_empty() {
            self.page = Page::Before(Some(named.0.clone()));
        }
        Some(named)
    }

    fn read_next(&mut self) -> Result<Option<StreamInfo>> {
        self.fill()?;
        let index = match &self.page {
            Page::Read(page) => page.front().map(|(name, _)| name),
            _ => None,
        };
        let tail = self.tail.front().map(|(name, _)| name);
        let (from_tail, from_index) = match (tail, index) {
            (Some(tail), Some(index)) => (tail <= index, index <= tail),
            (tail, index) => (tail.is_some(), index.is_some()),
        };
        let from_index = if from_index { self.pop_index() } else { None };
        let from_tail = if from_tail { self.tail.pop_front() } else { None };
        // The tail's state is the newer one where both know the stream.
        Ok(from_tail.or(from_index).map(|(stream, state)| StreamInfo::new(stream, &state)))
    }
}

impl Iterator for Listing {
    type Item = Result<StreamInfo>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read_next().transpose();
        if matches!(item, Some(Err(_))) {
            self.page = Page::Ended;
            self.tail.clear();
        }
        item
    }
}

/// An iterator that keeps the store open while it lives, and counts as a reader.
pub(crate) struct KeepOpen<I> {
    items: I,
    open: LogHandle,
}

impl<I> KeepOpen<I> {
    pub(crate) fn new(items: I, open: LogHandle) -> KeepOpen<I> {
        open.log().counters.readers.increment();
        KeepOpen { items, open }
    }
}

impl<I> Drop for KeepOpen<I> {
    fn drop(&mut self) {
        self.open.log().counters.readers.decrement();
    }
}

impl<I: Iterator> Iterator for KeepOpen<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.items.next()
    }
}
