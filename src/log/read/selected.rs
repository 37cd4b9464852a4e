//! Reads what a filter selects, in order, in the way that costs less.
//!
//! * A filter that names streams, or categories of few streams, selects what the index has of these streams. They are
//!   read page by page, and merged by position.
//! * Otherwise, and where that would be much of the log, the log is read, and what the filter does not accept is passed
//!   over.

use crate::index::core::Index;
use crate::log::core::Log;
use crate::log::read::all::{AllEvents, AllRange};
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::{Alternative, Filter};
use crate::value::limits::{SELECTED_STREAMS_MAX, STREAMS_PAGE};
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

/// Events of the log for each that is read from its stream, from which on streams are read. To read a stream's event
/// takes the time in which several of the log are passed over; the figure was chosen, not measured.
const LOG_EVENTS_FOR_EACH: u64 = 8;
/// Names of streams that are looked at to find those of a filter's categories, some of which may only begin alike.
const NAMES_LOOKED_AT_MAX: usize = 4 * STREAMS_PAGE;

/// The events up to a position that a filter accepts, in order. After an error it yields nothing more.
pub(crate) enum SelectedEvents {
    Log(Box<AllEvents>),
    Streams(Box<Merged>),
}

impl SelectedEvents {
    /// The events up to `last`, which is not past the head.
    pub(crate) fn new(log: &Arc<Log>, filter: &Filter, last: Position) -> Result<SelectedEvents> {
        if let Some(streams) = few_streams(log, filter, last)? {
            let merged = Merged::new(log, filter, last, streams)?;
            return Ok(SelectedEvents::Streams(Box::new(merged)));
        }
        let (filter, last) = (filter.clone(), last.get());
        let range = AllRange { first: 1, last, backwards: false, limit: u64::MAX, filter };
        Ok(SelectedEvents::Log(Box::new(AllEvents::new(Arc::clone(log), range))))
    }
}

impl Iterator for SelectedEvents {
    type Item = Result<RecordedEvent>;

    fn next(&mut self) -> Option<Result<RecordedEvent>> {
        match self {
            SelectedEvents::Log(events) => events.next(),
            SelectedEvents::Streams(merged) => merged.next_event().transpose(),
        }
    }
}

/// The streams that `filter` selects, with their versions, if they are few and hold a small part of the log.
fn few_streams(
    log: &Arc<Log>,
    filter: &Filter,
    last: Position,
) -> Result<Option<Vec<(StreamId, Version)>>> {
    let mut streams = BTreeMap::new();
    for alternative in filter.alternatives() {
        if alternative.streams().is_empty() {
            if !add_of_categories(log, alternative, &mut streams)? {
                return Ok(None);
            }
            continue;
        }
        for stream in alternative.streams() {
            if streams.len() > SELECTED_STREAMS_MAX {
                return Ok(None);
            }
            if filter.wants_stream(stream.as_str())
                && let Some(state) = log.stream_state(stream)?
            {
                streams.insert(stream.clone(), state.version);
            }
        }
    }
    let events: u64 = streams.values().map(|version| version.get()).sum();
    let is_few = streams.len() <= SELECTED_STREAMS_MAX
        && events.saturating_mul(LOG_EVENTS_FOR_EACH) <= last.get();
    Ok(is_few.then(|| streams.into_iter().collect()))
}

/// Adds the streams of the categories that `alternative` names; false if it names none, or they have too many.
fn add_of_categories(
    log: &Arc<Log>,
    alternative: &Alternative,
    streams: &mut BTreeMap<StreamId, Version>,
) -> Result<bool> {
    let (mut looked_at, mut has_any) = (0, false);
    for category in alternative.categories() {
        has_any = true;
        // The tail first, the index second: what moves in between is seen twice. The tail's state is the newer one.
        let in_tail = log.tail.streams(|stream| stream.category() == category);
        let mut after: Option<StreamId> = None;
        loop {
            let name = after.as_ref().map(StreamId::as_str);
            let ask = |index: &Index| index.streams_after(category, name, STREAMS_PAGE);
            let page = log.index.ask(ask)?;
            looked_at += page.len();
            let is_last = page.len() < STREAMS_PAGE;
            after = page.last().map(|(stream, _)| stream.clone());
            let own = page.into_iter().filter(|(stream, _)| stream.category() == category);
            streams.extend(own.map(|(stream, state)| (stream, state.version)));
            if streams.len() > SELECTED_STREAMS_MAX || looked_at > NAMES_LOOKED_AT_MAX {
                return Ok(false);
            }
            if is_last {
                break;
            }
        }
        streams.extend(in_tail.into_iter().map(|(stream, state)| (stream, state.version)));
    }
    Ok(has_any && streams.len() <= SELECTED_STREAMS_MAX)
}

/// Streams that are read side by side.
pub(crate) struct Merged {
    streams: Vec<StreamEvents>,
    /// The next event of each stream that has any, the one with the least position on top.
    next: BinaryHeap<Reverse<Next>>,
    filter: Filter,
    last: Position,
}

/// The next event of the stream of this number.
struct Next {
    event: RecordedEvent,
    stream: usize,
}

impl PartialEq for Next {
    fn eq(&self, other: &Next) -> bool {
        self.event.position == other.event.position
    }
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Next) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Next) -> std::cmp::Ordering {
        self.event.position.cmp(&other.event.position)
    }
}

impl Merged {
    fn new(
        log: &Arc<Log>,
        filter: &Filter,
        last: Position,
        streams: Vec<(StreamId, Version)>,
    ) -> Result<Merged> {
        let events = streams.into_iter().map(|(stream, version)| {
            let (first, last, limit) = (1, version.get(), u64::MAX);
            let range = StreamRange { first, last, backwards: false, limit };
            StreamEvents::new(Arc::clone(log), stream, range)
        });
        let (streams, next): (Vec<_>, _) = (events.collect(), BinaryHeap::new());
        let mut merged = Merged { streams, next, filter: filter.clone(), last };
        (0..merged.streams.len()).try_for_each(|stream| merged.advance(stream))?;
        Ok(merged)
    }

    /// Reads on in the stream of this number, up to an event that the filter accepts.
    fn advance(&mut self, stream: usize) -> Result<()> {
        let Some(events) = self.streams.get_mut(stream) else { return Ok(()) };
        for event in events {
            let event = event?;
            if event.position > self.last {
                break;
            }
            if self.filter.wants_event(&event) {
                self.next.push(Reverse(Next { event, stream }));
                break;
            }
        }
        Ok(())
    }

    fn next_event(&mut self) -> Result<Option<RecordedEvent>> {
        let Some(Reverse(Next { event, stream })) = self.next.pop() else { return Ok(None) };
        if let Err(error) = self.advance(stream) {
            (self.streams, self.next) = (Vec::new(), BinaryHeap::new());
            return Err(error);
        }
        if failpoint!("log::leave_a_stream_after_its_first_event") {
            self.streams.clear();
        }
        Ok(Some(event))
    }
}
