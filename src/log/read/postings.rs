//! Walks over the postings of tags: from the tail what the index lacks, from the index the rest.
//!
//! * A page is read from the tail first and from the index second, up to where the tail begins. So an event that is
//!   indexed meanwhile is in it once.
//! * A walk pins nothing and holds one page for each tag.
//! * The tail knows tags by their hashes. What is found there may have another tag, and is not certain until its event
//!   was read.

use crate::codec::sst::posting::{Posting, name_of_tag};
use crate::log::core::Log;
use crate::sst::postings::PostingsPage;
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::value::filter::{Alternative, Filter};
use crate::value::limits::{POSTINGS_PAGE_FIRST, POSTINGS_PAGE_MAX};
use crate::value::stream::StreamId;
use std::collections::VecDeque;

/// Whether `filter` accepts only events that have tags which it names.
pub(crate) fn names_tags(filter: &Filter) -> bool {
    filter.alternatives().all(|alternative| !alternative.tags().is_empty())
}

/// A walk for each alternative of `filter`, which all name tags, up to position `to`.
pub(crate) fn walks(filter: &Filter, to: u64) -> impl Iterator<Item = TagsWalk> {
    filter.alternatives().map(move |alternative| TagsWalk::new(alternative, to))
}

/// A posting that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) posting: Posting,
    /// Whether its event has the tags that were asked for.
    pub(crate) is_certain: bool,
}

/// A walk over the postings of one tag.
struct TagWalk {
    tag: String,
    /// The tag's name in the index.
    name: StreamId,
    page: VecDeque<Found>,
    /// The page is followed by the postings after this position.
    reached: u64,
    /// Whether none follow.
    is_at_end: bool,
    /// Postings of the next page.
    room: usize,
}

impl TagWalk {
    fn new(tag: &str) -> TagWalk {
        TagWalk {
            tag: tag.to_owned(),
            name: name_of_tag(tag),
            page: VecDeque::new(),
            reached: 0,
            is_at_end: false,
            room: POSTINGS_PAGE_FIRST,
        }
    }

    /// The first posting after position `after` and not after `to`. Neither may be less than in an earlier call.
    fn first_after(&mut self, log: &Log, after: u64, to: u64) -> Result<Option<&Found>> {
        loop {
            let passed = self.page.partition_point(|found| found.posting.position <= after);
            self.page.drain(..passed);
            if !self.page.is_empty() || self.is_at_end {
                return Ok(self.page.front());
            }
            if after > self.reached {
                // It jumps, so it may jump again.
                self.room = POSTINGS_PAGE_FIRST;
                self.reached = after;
            }
            self.turn_page(log, to)?;
        }
    }

    fn turn_page(&mut self, log: &Log, to: u64) -> Result<()> {
        let (after, room) = (self.reached, self.room);
        let (in_tail, indexed) = log.tail.postings(&self.tag, (after, to), room);
        let mut in_index = PostingsPage::default();
        if after < indexed {
            let range = (after, to.min(indexed));
            in_index = log.index.ask(|index| index.postings(&self.name, range, room))?;
        }
        self.is_at_end = !in_index.has_more && !in_tail.has_more;
        let has_more = in_index.has_more;
        self.page.extend(
            in_index.postings.into_iter().map(|posting| Found { posting, is_certain: true }),
        );
        if !has_more {
            let found = in_tail.postings.into_iter();
            self.page.extend(found.map(|posting| Found { posting, is_certain: false }));
        }
        self.reached = self.page.back().map_or(to, |found| found.posting.position);
        self.room = (4 * room).min(POSTINGS_PAGE_MAX);
        Ok(())
    }

    /// How many postings there are at most after position `after`, which must not be less than in an earlier call.
    fn at_most(&mut self, log: &Log, after: u64, to: u64) -> Result<u64> {
        self.first_after(log, after, to)?;
        // Of most tags all are in one page.
        if self.is_at_end {
            return Ok(self.page.len() as u64);
        }
        let in_tail = log.tail.postings_at_most(&self.tag);
        let in_index = log.index.ask(|index| index.postings_at_most(&self.name, after))?;
        Ok(in_index.saturating_add(in_tail))
    }

    fn forget(&mut self) {
        let name = std::mem::take(&mut self.tag);
        *self = TagWalk::new(&name);
    }
}

/// A walk over the events that have all tags of one alternative of a filter, and are of one of its types.
pub(crate) struct TagsWalk {
    pub(crate) alternative: Alternative,
    tags: Vec<TagWalk>,
    to: u64,
}

impl TagsWalk {
    /// A walk up to position `to`, which is not past the head. `alternative` must name tags.
    pub(crate) fn new(alternative: &Alternative, to: u64) -> TagsWalk {
        debug_assert!(!alternative.tags().is_empty(), "only tags have postings");
        let tags = alternative.tags().iter().map(|tag| TagWalk::new(tag)).collect();
        TagsWalk { alternative: alternative.clone(), tags, to }
    }

    /// The first posting after position `after`, which must not be less than in an earlier call.
    pub(crate) fn first_after(&mut self, log: &Log, mut after: u64) -> Result<Option<Found>> {
        while after < self.to {
            let mut met: Option<Found> = None;
            let mut are_one = true;
            for tag in &mut self.tags {
                // What comes before the last one that was met has not all tags.
                let from = met.as_ref().map_or(after, |met| met.posting.position - 1);
                let Some(found) = tag.first_after(log, from, self.to)? else { return Ok(None) };
                let is_same =
                    met.as_ref().is_none_or(|met| met.posting.position == found.posting.position);
                are_one &= is_same;
                let is_certain =
                    found.is_certain && met.as_ref().is_none_or(|met| met.is_certain || !is_same);
                met = Some(Found { is_certain, ..found.clone() });
            }
            let Some(met) = met else { return Ok(None) };
            let position = met.posting.position;
            if are_one && self.wants_type(&met.posting) {
                return Ok(Some(met));
            }
            after = if are_one { position } else { position - 1 };
        }
        Ok(None)
    }

    /// How many events there may be after position `after`, which must not be less than in an earlier call.
    pub(crate) fn at_most(&mut self, log: &Log, after: u64) -> Result<u64> {
        let mut least = u64::MAX;
        for tag in &mut self.tags {
            least = least.min(tag.at_most(log, after, self.to)?);
            if least == 0 {
                break;
            }
        }
        Ok(least)
    }

    fn wants_type(&self, posting: &Posting) -> bool {
        let types = self.alternative.event_types();
        types.is_empty()
            || types.iter().any(|name| name.as_bytes() == &posting.event_type[..])
            || failpoint!("log::ignore_type_of_posting")
    }

    /// Reads what was read ahead again: the index was replaced.
    pub(crate) fn forget(&mut self) {
        self.tags.iter_mut().for_each(TagWalk::forget);
    }
}

/// Whether there are no more than `most` events after position `after` to which `walks` may come, or fewer.
pub(crate) fn are_few(log: &Log, walks: &mut [TagsWalk], after: u64, most: u64) -> Result<bool> {
    let mut events = 0_u64;
    for walk in walks {
        events = events.saturating_add(walk.at_most(log, after)?);
        if events > most {
            return Ok(false);
        }
    }
    Ok(true)
}
