//! Reading one stream of a followed store: from its index what that holds, from its journal the rest.

use crate::codec::sst::event::{Body, LocatedEvent};
use crate::follow::follower::following::Following;
use crate::follow::follower::indexed::{Indexed, never_written, with_index};
use crate::follow::follower::watch::Shared;
use crate::log::read::options::ReadOptions;
use crate::log::read::stream::{decode, envelope_at};
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::limits::STREAM_PAGE_EVENTS;
use crate::value::position::Version;
use crate::value::stream::StreamId;
use std::collections::VecDeque;
use std::sync::Arc;

/// A read of one stream through a [`Follower`](crate::Follower); see
/// [`Follower::read_stream`](crate::Follower::read_stream).
///
/// It sees what is durable when [`iter`](FollowerReadStream::iter) is called, and reads a page at a time.
#[must_use = "a read begins with `iter` or `collect`"]
pub struct FollowerReadStream {
    shared: Arc<Shared>,
    stream: Result<StreamId>,
    options: ReadOptions,
}

impl FollowerReadStream {
    pub(super) fn new(shared: Arc<Shared>, stream: Result<StreamId>) -> FollowerReadStream {
        FollowerReadStream { shared, stream, options: ReadOptions::everything() }
    }

    /// Reads only events after this version.
    pub fn after(mut self, version: Version) -> FollowerReadStream {
        self.options.after = version.get();
        self
    }

    /// Reads only events up to and including this version.
    pub fn until(mut self, version: Version) -> FollowerReadStream {
        self.options.until = version.get();
        self
    }

    /// Reads at most so many events.
    pub fn limit(mut self, events: u64) -> FollowerReadStream {
        self.options.limit = events;
        self
    }

    /// Begins to read.
    ///
    /// # Errors
    /// [`StreamNotFound`](ErrorKind::StreamNotFound) if the stream was never written;
    /// [`InvalidInput`](ErrorKind::InvalidInput) if its name is invalid; those of
    /// [`Follower::head`](crate::Follower::head) and of reading.
    pub fn iter(self) -> Result<impl Iterator<Item = Result<RecordedEvent>> + Send + use<>> {
        let FollowerReadStream { shared, stream, options } = self;
        let stream = stream?;
        let indexed = Indexed::now(&shared)?.ok_or_else(|| never_written(&stream))?;
        let (indexed, state) = with_index(indexed, |it| it.indexed_state(&stream))?;
        let mut rest = indexed.lacking(&shared, Filter::stream(stream.clone())).peekable();
        let last_indexed = state.version.get();
        if last_indexed == 0 && rest.peek().is_none() {
            return Err(never_written(&stream));
        }
        let page = VecDeque::new();
        Ok(Events { shared, stream, indexed: Some(indexed), last_indexed, options, page, rest })
    }

    /// Reads all of it at once.
    ///
    /// # Errors
    /// Those of [`iter`](FollowerReadStream::iter) and of reading.
    pub fn collect(self) -> Result<Vec<RecordedEvent>> {
        self.iter()?.collect()
    }
}

struct Events {
    shared: Arc<Shared>,
    stream: StreamId,
    /// What the read began with; taken while it is changed.
    indexed: Option<Indexed>,
    /// The last version that the index holds.
    last_indexed: u64,
    /// What is still wanted, by versions.
    options: ReadOptions,
    page: VecDeque<LocatedEvent>,
    /// The stream's events that the index lacks.
    rest: std::iter::Peekable<Following>,
}

impl Events {
    fn read_next(&mut self) -> Result<Option<RecordedEvent>> {
        let next = self.options.first();
        if self.options.limit == 0 || next > self.options.until {
            return Ok(None);
        }
        if next <= self.last_indexed && self.page.is_empty() {
            self.turn_page(next)?;
        }
        let event = match self.page.pop_front() {
            Some(event) => self.resolve(event)?,
            None => match self.rest.find(|event| !is_before(event, next)) {
                Some(event) => event?,
                None => return Ok(None),
            },
        };
        if event.version.get() != next {
            let (stream, met) = (&self.stream, event.version);
            let message = format!("version {met} of {stream} is where version {next} must be");
            return Err(Error::new(ErrorKind::Corrupt, message));
        }
        self.options.after = next;
        self.options.limit -= 1;
        Ok(Some(event))
    }

    /// Reads the page that begins with `version`, which the index holds. If the index is damaged, the stream's events
    /// are read from the journal from now on.
    fn turn_page(&mut self, version: u64) -> Result<()> {
        let indexed = self.indexed.take().expect("it is there but for this call");
        let (indexed, page) = with_index(indexed, |it| match &it.index {
            Some(index) => index.events_from(&self.stream, version, STREAM_PAGE_EVENTS),
            None => Ok(Vec::new()),
        })?;
        self.page = page.into_iter().filter(|event| event.version >= version).collect();
        if indexed.index.is_none() {
            let filter = Filter::stream(self.stream.clone());
            self.rest = indexed.lacking(&self.shared, filter).peekable();
            self.last_indexed = 0;
        }
        self.indexed = Some(indexed);
        Ok(())
    }

    fn resolve(&self, event: LocatedEvent) -> Result<RecordedEvent> {
        let indexed = self.indexed.as_ref().expect("it is there but while a page is turned");
        let envelope = match &event.body {
            Body::Inline(envelope) => envelope.clone(),
            Body::At(at) => envelope_at(&indexed.known.journal, *at, &self.stream, event.version)?,
        };
        decode(&self.stream, event.with_body(envelope), &indexed.known.journal)
    }
}

fn is_before(event: &Result<RecordedEvent>, version: u64) -> bool {
    event.as_ref().is_ok_and(|event| event.version.get() < version)
}

impl Iterator for Events {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read_next().transpose();
        if matches!(item, Some(Err(_))) {
            self.options.end();
        }
        item
    }
}
