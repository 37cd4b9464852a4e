//! Passes over parts of the log in which no event has the tags of a filter.
//!
//! A follower that catches up reads frames. If few events have its tags, it goes from one frame that may hold one to
//! the next. What it reads is judged as ever: postings only shorten the way.

use crate::log::core::Log;
use crate::log::read::postings::{TagsWalk, are_few, names_tags, walks};
use crate::value::error::Result;
use crate::value::failpoint::failpoint;
use crate::value::filter::Filter;

/// Events from which on a follower that lags so far asks for postings. The count was not measured.
const LAGGING_EVENTS: u64 = 4_096;

/// Events of the log for each with the tags, up to which all of the log is read: to find a frame reads up to 64 KiB of
/// the journal. The figure was chosen, not measured.
const LOG_EVENTS_FOR_EACH: u64 = 512;

/// Where a follower that reads in order may skip ahead.
#[derive(Default)]
pub(crate) struct SkipAhead {
    walks: Vec<TagsWalk>,
    /// Up to this position it is decided whether to skip.
    decided: u64,
}

impl SkipAhead {
    /// A position at or after `position`, and before `head`, up to which `filter` wants nothing after `position`. Call
    /// it with positions that ascend.
    pub(crate) fn from(&mut self, log: &Log, filter: &Filter, position: u64, head: u64) -> u64 {
        if !names_tags(filter) {
            return position;
        }
        match self.next(log, filter, position, head) {
            Ok(next) if failpoint!("log::skip_an_event_too_many") => {
                next.min(self.decided).max(position)
            }
            Ok(next) => next.min(self.decided).saturating_sub(1).max(position),
            // It is read without the index, then, as far as that goes.
            Err(_) => {
                (self.walks, self.decided) = (Vec::new(), head);
                position
            }
        }
    }

    /// The position of the next event that may be wanted, or one after all that was decided.
    fn next(&mut self, log: &Log, filter: &Filter, position: u64, head: u64) -> Result<u64> {
        if position >= self.decided {
            self.walks.clear();
            if head - position < LAGGING_EVENTS || log.index.is_busy() {
                return Ok(position);
            }
            self.decided = head;
            let most = (head - position) / LOG_EVENTS_FOR_EACH;
            let mut walks: Vec<_> = walks(filter, head).collect();
            if are_few(log, &mut walks, position, most)? {
                self.walks = walks;
            }
        }
        if self.walks.is_empty() {
            return Ok(position);
        }
        let mut next = u64::MAX;
        for walk in &mut self.walks {
            if let Some(found) = walk.first_after(log, position)? {
                next = next.min(found.posting.position);
            }
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::indexer::index_up_to;
    use crate::log::read::frame_cursor::FrameCursor;
    use crate::store::Store;
    use crate::value::event::NewEvent;
    use crate::value::position::ExpectedVersion;
    use crate::value::random::{Random, first_seed, rounds};
    use std::sync::Arc;

    #[test]
    fn a_follower_that_skips_ahead_comes_to_each_event_that_it_wants() {
        for seed in first_seed()..first_seed() + rounds(3) {
            let random = &mut Random::new(seed);
            let store = Store::temporary().unwrap();
            let log = Arc::clone(store.log.log());
            let (mut wanted, mut position) = (Vec::new(), 0);
            for _ in 0..200 {
                let events = (0..1 + random.below(200)).map(|_| {
                    position += 1;
                    let event = NewEvent::bytes("T", &b"x"[..]);
                    if random.below(4_000) > 0 {
                        return event.tag(format!("t{position}"));
                    }
                    wanted.push(position);
                    event.tag("rare")
                });
                let events: Vec<_> = events.collect();
                store.append("S-1", ExpectedVersion::Any, events).unwrap();
                if random.below(70) == 0 {
                    assert!(index_up_to(&log, log.head.visible().1));
                }
            }
            let filter = Filter::tag("rare").or(Filter::tag("no event has it"));
            let (head, mut skips) = (log.head.position(), SkipAhead::default());
            let mut cursor = FrameCursor::new(Arc::clone(&log));
            let (mut read, mut frames, mut position) = (Vec::<u64>::new(), 0, 0);
            while position < head {
                let skipped = skips.from(&log, &filter, position, head);
                assert!((position..head).contains(&skipped), "{skipped} after {position}");
                let frame = cursor.frame_holding(skipped + 1).unwrap();
                let last = frame.header.last_position();
                read.extend(wanted.iter().filter(|at| (skipped + 1..=last).contains(*at)));
                (position, frames) = (last, frames + 1);
            }
            assert_eq!(read, wanted, "seed {seed}");
            assert!(frames < 60, "{frames} of 200 frames were read for {} events", wanted.len());
            let all = Filter::all();
            assert_eq!(SkipAhead::default().from(&log, &all, 0, head), 0);
        }
    }
}
