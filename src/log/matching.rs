//! Finds the first event in a range of positions that a filter accepts, without reading what the index can rule out.
//!
//! * An alternative with tags is judged by the postings of these: an absent tag costs a look at the filters of tables.
//! * One with event types is looked for only in tables that have such events, and in the tail.
//! * One with streams is looked for in these.
//! * Another one is looked for in all of the range.

use crate::codec::sst::posting::name_of_tag;
use crate::index::core::Index;
use crate::log::core::Log;
use crate::log::read::frame_cursor::FrameCursor;
use crate::log::read::frame_events::FrameEvents;
use crate::log::read::posted::Posted;
use crate::log::read::postings::{Found, TagsWalk};
use crate::log::read::stream::{StreamEvents, StreamRange};
use crate::value::error::Result;
use crate::value::filter::{Alternative, Filter};
use crate::value::position::Position;
use crate::value::stream::StreamId;
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

/// The position of the first event after `after` and up to `to` that `filter` accepts. `to` is not past the head.
pub(crate) fn first_match(
    log: &Arc<Log>,
    filter: &Filter,
    after: u64,
    to: u64,
) -> Result<Option<u64>> {
    let (mut first, mut to) = (None, to);
    for alternative in filter.alternatives() {
        if after >= to {
            break;
        }
        let range = Range { log, alternative, after, to };
        let found = if !alternative.tags().is_empty() {
            range.by_tags()?
        } else if !alternative.streams().is_empty() {
            range.by_streams()?
        } else {
            range.by_types()?
        };
        if let Some(position) = found {
            // What comes later does not matter.
            (first, to) = (found, position - 1);
        }
    }
    Ok(first)
}

/// The id of the event at `position`, which `filter` accepts, if the postings of a tag locate it: then only the event
/// is read, and not the frames before it.
pub(crate) fn id_by_postings(log: &Log, filter: &Filter, position: u64) -> Result<Option<Uuid>> {
    for alternative in filter.alternatives().filter(|a| !a.tags().is_empty()) {
        let found = TagsWalk::new(alternative, position).first_after(log, position - 1)?;
        if let Some(found) = found
            && let Posted::Event(event) = log.posted(&found, alternative)?
        {
            return Ok(Some(event.id));
        }
    }
    Ok(None)
}

/// Whether `first_match` after `after` takes no more than a few looks at what is in memory.
pub(crate) fn is_quick(log: &Log, filter: &Filter, after: u64) -> bool {
    let is_only_tag = |alternative| only_tag(alternative).is_some();
    filter.alternatives().take(QUICK_ALTERNATIVES_MAX + 1).count() <= QUICK_ALTERNATIVES_MAX
        && filter.alternatives().all(is_only_tag)
        && log.tail.has_tags_after(after)
}

/// Alternatives of a filter that is looked up quickly. The count was not measured; nearly all conditions have one.
const QUICK_ALTERNATIVES_MAX: usize = 4;

/// Where the first event that `alternative` accepts is looked for: after `after` and up to `to`.
struct Range<'a> {
    log: &'a Arc<Log>,
    alternative: &'a Alternative,
    after: u64,
    to: u64,
}

impl Range<'_> {
    fn by_tags(&self) -> Result<Option<u64>> {
        let mut after = self.after;
        if let Some(tag) = only_tag(self.alternative) {
            // Most conditions are of this kind, and most find nothing.
            let (in_tail, indexed) = self.log.tail.postings(tag, (after, self.to), 1);
            if after < indexed {
                let (name, range) = (name_of_tag(tag), (after, self.to.min(indexed)));
                let found = self.log.index.ask(|index| index.first_posting(&name, range))?;
                if found.is_some() {
                    return Ok(found);
                }
                after = indexed;
            }
            if in_tail.postings.is_empty() {
                return Ok(None);
            }
        }
        let mut walk = TagsWalk::new(self.alternative, self.to);
        while let Some(found) = walk.first_after(self.log, after)? {
            let position = found.posting.position;
            match self.judge(&found)? {
                Some(true) => return Ok(Some(position)),
                Some(false) => after = position,
                None => walk.forget(),
            }
        }
        Ok(None)
    }

    /// Whether the event is accepted; `None` if the index was built again, and the posting does not count.
    fn judge(&self, found: &Found) -> Result<Option<bool>> {
        if is_judged_by_postings(self.alternative) && found.is_certain {
            return Ok(Some(true));
        }
        Ok(match self.log.posted(found, self.alternative)? {
            Posted::Event(event) => {
                let (stream, event_type) = (event.stream.as_str(), event.event_type.as_str());
                Some(self.alternative.wants(stream, event_type, event.tags()))
            }
            Posted::Other => Some(false),
            Posted::Rebuilt => None,
        })
    }

    fn by_streams(&self) -> Result<Option<u64>> {
        let mut first: Option<u64> = None;
        for stream in self.alternative.streams() {
            let found = self.in_stream(stream)?;
            first = found.into_iter().chain(first).min();
        }
        Ok(first)
    }

    fn in_stream(&self, stream: &StreamId) -> Result<Option<u64>> {
        let Some(state) = self.log.stream_state(stream)? else { return Ok(None) };
        let version = state.version.get();
        let newest = self.log.stream_page_until(stream, version)?;
        if newest.last().is_none_or(|last| last.position <= self.after) {
            return Ok(None);
        }
        let before = match self.after {
            0 => 0,
            after => self.log.version_at(stream, version, Position::new(after))?,
        };
        let range =
            StreamRange { first: before + 1, last: version, backwards: false, limit: u64::MAX };
        for event in StreamEvents::new(Arc::clone(self.log), stream.clone(), range) {
            let event = event?;
            let position = event.position.get();
            if position > self.to {
                break;
            }
            let event_type = event.event_type.as_str();
            if self.alternative.wants(stream.as_str(), event_type, event.tags()) {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    /// Looks where events of its types may be; everywhere, if it accepts any type.
    fn by_types(&self) -> Result<Option<u64>> {
        let Some(types) = self.alternative.all_event_types() else {
            return self.scan(self.after + 1..=self.to);
        };
        let indexed = self.log.tail.indexed().position.min(self.to);
        if self.after < indexed {
            let ask = |index: &Index| Ok(index.tables.ranges_of_types(&types, self.after, indexed));
            for range in self.log.index.ask(ask)? {
                let found = self.scan(range)?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        self.scan(self.after.max(indexed) + 1..=self.to)
    }

    fn scan(&self, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        let (mut next, to) = (*range.start(), *range.end());
        let mut cursor = FrameCursor::new(Arc::clone(self.log));
        while next <= to {
            self.log.refuse_if_ended()?;
            let frame = cursor.frame_holding(next)?;
            let wanted = next..=to;
            next = frame.header.next_position();
            let found = FrameEvents::new(frame, wanted).next_named(&self.log.journal, |named| {
                self.alternative.wants(named.stream, named.event_type, named.tags())
            });
            if let Some(event) = found {
                return Ok(Some(event?.position.get()));
            }
        }
        Ok(None)
    }
}

/// The tag that an event is accepted for, whatever else it is.
fn only_tag(alternative: &Alternative) -> Option<&str> {
    let [tag] = alternative.tags() else { return None };
    let is_all = alternative.event_types().is_empty() && is_judged_by_postings(alternative);
    is_all.then_some(tag)
}

fn is_judged_by_postings(alternative: &Alternative) -> bool {
    alternative.streams().is_empty() && alternative.categories().next().is_none()
}

#[cfg(test)]
mod postings_tests;
#[cfg(test)]
mod tests;
