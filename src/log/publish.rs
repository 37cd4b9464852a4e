//! Making a durable frame visible to readers and followers.

use crate::codec::frame::{EntryLocation, Frame};
use crate::journal::write::{End, Written};
use crate::log::core::Log;
use crate::log::indexer;
use crate::log::tail::PublishedRun;
use crate::log::tail::head::Audience;
use crate::log::tail::tags::PublishedTags;
use crate::value::corruption::Corruption;

/// What is in a frame: its events with tags, all its events, and the keys and values of its records.
pub(crate) struct Content<T, R, K> {
    pub(crate) tagged: T,
    pub(crate) runs: R,
    pub(crate) records: K,
}

impl Log {
    /// Makes a durable frame visible, after which the journal ends at `end`: moves the tail and the head together, and
    /// wakes the followers that may want it. Only who has the journal's writer calls this, frame by frame.
    pub(crate) fn publish<'a, T, R, K, A, B>(
        &self,
        end: &End,
        written: &Written,
        content: Content<T, R, K>,
    ) -> Result<(), Corruption>
    where
        T: Iterator<Item = PublishedTags<'a, A>>,
        R: Iterator<Item = PublishedRun<'a, B>>,
        K: Iterator<Item = (String, Vec<u8>)>,
        A: Iterator<Item = EntryLocation>,
        B: Iterator<Item = EntryLocation>,
    {
        let judged = Audience {
            unwanted: self.head.judge(|| self.interest.may_want(&written.frame)),
            wanted: self.head.judge_for_sleepers(|| self.interest.feeds_wanting(&written.frame)),
        };
        let mut is_awaited = false;
        // The head moves before the reply, so a caller that has its position finds the head at or past it.
        let shown = || {
            let place = (end.position, end.next);
            is_awaited = self.head.advance(place, end.chain, end.time, &judged);
        };
        let Content { tagged, runs, records } = content;
        let has_tags = self.tail.publish_tags(tagged);
        self.tail.publish(written.at, &written.frame, runs, records, shown)?;
        // They read what is in the tail, whose lock was held until here.
        if is_awaited {
            self.head.wake();
        }
        self.indexer.published(end.next);
        if has_tags && indexer::has_many_tags(self) {
            self.indexer.look();
        }
        Ok(())
    }

    /// Counts a frame that is durable. Only who has the journal's writer calls this.
    pub(crate) fn count_frame(&self, frame: &Frame, commits: usize) {
        let (counters, header) = (&self.counters, &frame.header);
        counters.groups.add_alone(1);
        counters.commits.add_alone(commits as u64);
        counters.events.add_alone(u64::from(header.events));
        counters.bytes.add_alone(header.padded_length());
    }
}
