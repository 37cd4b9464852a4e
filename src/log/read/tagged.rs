//! Reads the events of the global sequence that have some tags, by the postings of these.

use crate::journal::scattered::ScatteredReads;
use crate::log::core::Log;
use crate::log::read::posted::Posted;
use crate::log::read::postings::{Found, TagsWalk, are_few, names_tags, walks};
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;
use crate::value::limits::POSTINGS_AHEAD_MAX;
use std::collections::VecDeque;
use std::sync::Arc;

/// Events of the log for each that is read by its posting, up to which the log is read instead: to read an event by
/// itself takes the time in which several are passed over. The figure was chosen, not measured.
const LOG_EVENTS_FOR_EACH: u64 = 8;

/// The events with the tags of a filter, in order.
pub(crate) struct TaggedEvents {
    log: Arc<Log>,
    filter: Filter,
    walks: Vec<Walk>,
    /// What the walks have come to, in the order of positions. An event that several came to is there for each.
    ahead: VecDeque<Ahead>,
    reads: ScatteredReads,
    /// What comes after this position was not read yet.
    passed: u64,
}

struct Walk {
    tags: TagsWalk,
    /// The next one, or none at the end; unless it is yet to be looked for.
    next: Option<Option<Found>>,
    /// Where it is looked for: after this position.
    after: u64,
}

struct Ahead {
    found: Found,
    /// The number of the walk that came to it.
    walk: usize,
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
        TaggedEvents {
            log: Arc::clone(log),
            filter: filter.clone(),
            walks,
            ahead: VecDeque::new(),
            reads: ScatteredReads::new(),
            passed: after,
        }
    }

    /// The next event; `None` at the end.
    pub(crate) fn next_event(&mut self) -> Result<Option<RecordedEvent>> {
        loop {
            let Some(Ahead { found, walk }) = self.take()? else { return Ok(None) };
            let position = found.posting.position;
            let next = self.ahead.iter().map(|ahead| ahead.found.posting.location);
            let alternative = &self.walks[walk].tags.alternative;
            match self.log.posted_before(&found, alternative, &mut self.reads, next)? {
                Posted::Event(event) => {
                    self.passed = position;
                    if failpoint!("log::leave_a_tag_after_its_first_event") {
                        self.walks.clear();
                        self.ahead.clear();
                    }
                    if self.filter.wants_event(&event) {
                        return Ok(Some(*event));
                    }
                }
                // Another alternative may lead to the same event.
                Posted::Other => {}
                Posted::Rebuilt => self.forget(),
            }
        }
    }

    /// Takes the next one that was not read yet; `None` at the end.
    fn take(&mut self) -> Result<Option<Ahead>> {
        loop {
            if self.ahead.is_empty() {
                self.look_ahead()?;
            }
            match self.ahead.pop_front() {
                Some(ahead) if ahead.found.posting.position <= self.passed => {}
                next => return Ok(next),
            }
        }
    }

    /// Looks for what comes next. An error after the first of these is met again.
    fn look_ahead(&mut self) -> Result<()> {
        while self.ahead.len() < POSTINGS_AHEAD_MAX {
            match self.nearest() {
                Ok(Some(nearest)) => self.ahead.push_back(nearest),
                Err(error) if self.ahead.is_empty() => return Err(error),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(())
    }

    /// Takes the posting with the least position from the walk that has come to it.
    fn nearest(&mut self) -> Result<Option<Ahead>> {
        let mut nearest: Option<(usize, u64)> = None;
        for (number, walk) in self.walks.iter_mut().enumerate() {
            if walk.next.is_none() {
                walk.next = Some(walk.tags.first_after(&self.log, walk.after)?);
            }
            let Some(Some(next)) = &walk.next else { continue };
            let position = next.posting.position;
            if nearest.is_none_or(|(_, least)| position < least) {
                nearest = Some((number, position));
            }
        }
        let Some((number, position)) = nearest else { return Ok(None) };
        let walk = &mut self.walks[number];
        walk.after = position;
        let found = walk.next.take().flatten();
        Ok(found.map(|found| Ahead { found, walk: number }))
    }

    /// Looks again for what was not read yet: the index was replaced.
    fn forget(&mut self) {
        self.ahead.clear();
        for walk in &mut self.walks {
            walk.tags.forget();
            (walk.next, walk.after) = (None, self.passed);
        }
    }
}
