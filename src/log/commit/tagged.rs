//! The events of a commit that have tags.
//!
//! Events that are appended together often have the same tags. So they are held in runs, and the leader, for whom other
//! commits wait, looks a run's tags up once. The caller hashes them, also once for a run.

use crate::codec::envelope;
use crate::value::failpoint::failpoint;
use crate::value::tag::TagHash;
use std::ops::Range;

/// Events in a run, at most. The tail adds a run as a whole to one memtable, and each of its events takes up to 300
/// bytes there. The count was not measured.
const RUN_EVENTS_MAX: usize = 1_024;

/// The runs of a commit's events with tags, in the order of the events.
#[derive(Debug, Default)]
pub(super) struct TaggedRuns {
    runs: Vec<Run>,
    hashes: Vec<TagHash>,
}

/// Consecutive events of one append that have the same type, metadata and tags.
#[derive(Debug)]
struct Run {
    events: Range<usize>,
    /// Those of its tags, as a range of all hashes.
    hashes: Range<usize>,
}

/// A run of events, as the leader sees it.
#[derive(Debug, Clone)]
pub(super) struct TaggedRun<'a> {
    /// The numbers of its events in the commit.
    pub(super) events: Range<usize>,
    pub(super) hashes: &'a [TagHash],
}

impl TaggedRuns {
    /// Adds the event with this number and this envelope, which has tags. `before` is the envelope of the event right
    /// before it in the same append, if there is one.
    pub(super) fn add(&mut self, event: usize, envelope: &[u8], before: Option<&[u8]>) {
        let are_alike = |before: &[u8]| {
            failpoint!("log::take_all_tags_for_alike") || envelope::are_alike(before, envelope)
        };
        if before.is_some_and(are_alike)
            && let Some(newest) = self.runs.last_mut()
            && newest.events.len() < RUN_EVENTS_MAX
        {
            debug_assert_eq!(newest.events.end, event, "the event before it has tags, too");
            newest.events.end = event + 1;
            return;
        }
        if self.runs.is_empty() {
            // Most commits have one run.
            self.runs.reserve_exact(1);
        }
        let first = self.hashes.len();
        self.hashes.extend(envelope::tags(envelope).map(TagHash::of));
        self.runs.push(Run { events: event..event + 1, hashes: first..self.hashes.len() });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = TaggedRun<'_>> {
        self.runs.iter().map(|run| TaggedRun {
            events: run.events.clone(),
            hashes: &self.hashes[run.hashes.clone()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::event::NewEvent;

    fn envelope(event_type: &str, tags: &[&str]) -> Vec<u8> {
        let event = NewEvent::bytes(event_type, &b"x"[..]);
        let mut bytes = Vec::new();
        envelope::encode(&tags.iter().fold(event, |event, tag| event.tag(*tag)), &mut bytes);
        bytes
    }

    #[test]
    fn a_run_ends_where_the_type_the_tags_or_the_append_change_and_at_its_bound() {
        let mut runs = TaggedRuns::default();
        let events = [("A", &["x"][..]), ("A", &["x"]), ("B", &["x"]), ("B", &["x", "y"])];
        let envelopes = events.map(|(event_type, tags)| envelope(event_type, tags));
        runs.add(0, &envelopes[0], None);
        for n in 1..4 {
            runs.add(n, &envelopes[n], Some(&envelopes[n - 1]));
        }
        // Of another append.
        runs.add(4, &envelopes[3], None);
        for n in 5..5 + RUN_EVENTS_MAX {
            runs.add(n, &envelopes[3], Some(&envelopes[3]));
        }
        let found: Vec<_> = runs.iter().map(|run| (run.events, run.hashes.to_vec())).collect();
        let [x, y] = ["x", "y"].map(TagHash::of);
        let full = 4..4 + RUN_EVENTS_MAX;
        let expected = [
            (0..2, vec![x]),
            (2..3, vec![x]),
            (3..4, vec![x, y]),
            (full.clone(), vec![x, y]),
            (full.end..full.end + 1, vec![x, y]),
        ];
        assert_eq!(found, expected);
    }
}
