//! Reads the events of the global sequence that have some tags, by the postings of these.

use crate::log::core::Log;
use crate::log::read::posted::Posted;
use crate::log::read::postings::{Found, TagsWalk, are_few, names_tags, walks};
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use std::sync::Arc;

/// Events of the log for each that is read by its posting, up to which the log is read instead: to read an event by
/// itself takes the time in which several are passed over. The figure was chosen, not measured.
const LOG_EVENTS_FOR_EACH: u64 = 8;

/// The events with the tags of a filter, in order.
pub(crate) struct TaggedEvents {
    log: Arc<Log>,
    filter: Filter,
    walks: Vec<Walk>,
}

struct Walk {
    tags: TagsWalk,
    /// The next one, or none at the end; unless it is yet to be looked for.
    next: Option<Option<Found>>,
    /// Where it is looked for: after this position.
    after: u64,
}

impl TaggedEvents {
    /// The events from position `first` to `last` that `filter` accepts; `None`, if it accepts events whatever their
    /// tags, or if so many have them that it takes less time to read the log. `last` is not past the head.
    pub(crate) fn if_few(
        log: &Arc<Log>,
        filter: &Filter,
        first: u64,
        last: u64,
    ) -> Result<Option<TaggedEvents>> {
        if !names_tags(filter) {
            return Ok(None);
        }
        let after = first.saturating_sub(1);
        let most = last.saturating_sub(after) / LOG_EVENTS_FOR_EACH;
        let mut tags: Vec<_> = walks(filter, last).collect();
        let is_few = match are_few(log, &mut tags, after, most) {
            // The log can be read without the index.
            Err(_) if log.index.is_lost() => false,
            is_few => is_few?,
        };
        Ok(is_few.then(|| TaggedEvents::of(log, filter, after, tags)))
    }

    /// The events after position `after` and up to `last`, of a filter whose alternatives all name tags.
    #[cfg(test)]
    pub(in crate::log) fn new(
        log: &Arc<Log>,
        filter: &Filter,
        after: u64,
        last: u64,
    ) -> TaggedEvents {
        TaggedEvents::of(log, filter, after, walks(filter, last).collect())
    }

    fn of(log: &Arc<Log>, filter: &Filter, after: u64, walks: Vec<TagsWalk>) -> TaggedEvents {
        let walks = walks.into_iter().map(|tags| Walk { tags, next: None, after }).collect();
        TaggedEvents { log: Arc::clone(log), filter: filter.clone(), walks }
    }

    /// The next event; `None` at the end.
    pub(crate) fn next_event(&mut self) -> Result<Option<RecordedEvent>> {
        loop {
            let Some((number, found)) = self.nearest()? else { return Ok(None) };
            match self.log.posted(&found, &self.walks[number].tags.alternative)? {
                Posted::Event(event) => {
                    self.pass(found.posting.position);
                    if self.filter.wants_event(&event) {
                        return Ok(Some(*event));
                    }
                }
                // Another alternative may lead to the same event.
                Posted::Other => self.walks[number].pass(found.posting.position),
                Posted::Rebuilt => self.walks.iter_mut().for_each(|walk| {
                    walk.tags.forget();
                    walk.next = None;
                }),
            }
        }
    }

    /// The walk whose next posting has the least position, with that posting.
    fn nearest(&mut self) -> Result<Option<(usize, Found)>> {
        let mut nearest: Option<(usize, &Found)> = None;
        for (number, walk) in self.walks.iter_mut().enumerate() {
            if walk.next.is_none() {
                walk.next = Some(walk.tags.first_after(&self.log, walk.after)?);
            }
            let Some(Some(next)) = &walk.next else { continue };
            if nearest.is_none_or(|(_, least)| next.posting.position < least.posting.position) {
                nearest = Some((number, next));
            }
        }
        Ok(nearest.map(|(number, found)| (number, found.clone())))
    }

    /// Goes on after `position`, in all walks that have come to it.
    fn pass(&mut self, position: u64) {
        self.walks.iter_mut().for_each(|walk| walk.pass(position));
        if failpoint!("log::leave_a_tag_after_its_first_event") {
            self.walks.clear();
        }
    }
}

impl Walk {
    fn pass(&mut self, position: u64) {
        self.after = position;
        let is_passed = |next: &Found| next.posting.position <= position;
        if self.next.as_ref().is_some_and(|next| next.as_ref().is_some_and(is_passed)) {
            self.next = None;
        }
    }
}
