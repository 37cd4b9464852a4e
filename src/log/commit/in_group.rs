//! The conditions of a group's commits, beside the events that the group admits before them.
//!
//! Conditions are found by a name that their filter asks for, so that an event is compared only with those that name
//! something of it: 64 commits with a condition each would compare each event 64 times.

use crate::codec::envelope;
use crate::log::commit::encoded::EncodedCommit;
use crate::log::commit::tagged::TaggedRun;
use crate::value::failpoint::failpoint;
use crate::value::filter::{Alternative, Filter};
use crate::value::stream::category_of;
use crate::value::tag::TagHash;
use std::collections::HashMap;
use std::ops::Range;

/// The conditions of a group's commits that no durable event has to match.
pub(super) struct GroupConditions<'a> {
    conditions: Vec<GroupCondition<'a>>,
    /// Those of each commit.
    of_commits: Vec<Range<usize>>,
    /// The first so many are judged.
    judged: usize,
    /// Those with an alternative that asks for a tag, by the tag's hash; in order.
    by_tag: Vec<(TagHash, usize)>,
    /// Those with an alternative that asks for something else by its name.
    by_name: HashMap<Name<'a>, Vec<usize>>,
    /// Those with an alternative that asks for no name.
    of_everything: Vec<usize>,
}

struct GroupCondition<'a> {
    filter: &'a Filter,
    first: Option<GroupMatch>,
}

/// An event that the group has admitted and a condition excludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupMatch {
    pub(super) position: u64,
    /// The number of its commit in the group.
    pub(super) commit: usize,
    /// Its number among the events of its commit.
    pub(super) event: usize,
}

/// What an alternative of a filter is found by.
#[derive(PartialEq, Eq, Hash)]
enum Name<'a> {
    Stream(&'a str),
    EventType(&'a str),
    Category(&'a str),
}

impl<'a> GroupConditions<'a> {
    pub(super) fn new(group: &'a [EncodedCommit]) -> GroupConditions<'a> {
        let mut all = GroupConditions {
            conditions: Vec::new(),
            of_commits: Vec::with_capacity(group.len()),
            judged: 0,
            by_tag: Vec::new(),
            by_name: HashMap::new(),
            of_everything: Vec::new(),
        };
        for encoded in group {
            let first = all.conditions.len();
            for condition in encoded.conditions() {
                all.add(condition.filter());
            }
            all.of_commits.push(first..all.conditions.len());
        }
        all.by_tag.sort_unstable();
        all
    }

    fn add(&mut self, filter: &'a Filter) {
        let number = self.conditions.len();
        self.conditions.push(GroupCondition { filter, first: None });
        for alternative in filter.alternatives() {
            if let Some(tag) = tag_of(alternative) {
                self.by_tag.push((TagHash::of(tag), number));
                continue;
            }
            let names = names_of(alternative);
            if names.is_empty() {
                self.of_everything.push(number);
            }
            for name in names {
                self.by_name.entry(name).or_default().push(number);
            }
        }
    }

    /// The first match of the condition `place` of the commit `commit`.
    pub(super) fn first_match(&self, commit: usize, place: usize) -> Option<GroupMatch> {
        let conditions = self.conditions.get(self.of_commits.get(commit)?.clone())?;
        conditions.get(place)?.first
    }

    /// The events of `encoded`, which is the commit `commit`, are admitted from this position on. Commits are judged in
    /// order, so they matter only to the conditions of later ones.
    pub(super) fn note(&mut self, commit: usize, encoded: &EncodedCommit, first_position: u64) {
        self.judged = match failpoint!("log::judge_own_events") {
            true => 0,
            false => self.of_commits.get(commit).map_or(0, |conditions| conditions.end),
        };
        let match_at =
            |event| GroupMatch { position: first_position + event as u64, commit, event };
        if !self.by_tag.is_empty() {
            for TaggedRun { events, hashes } in encoded.tagged() {
                // A filter accepts all events of a run or none: they are of one stream.
                let first = match_at(events.start);
                self.note_tagged(encoded, hashes, first);
            }
        }
        if self.by_name.is_empty() && self.of_everything.is_empty() {
            return;
        }
        for append in &encoded.appends {
            for event in append.events.clone() {
                self.note_event(append.stream.as_str(), encoded.envelope(event), match_at(event));
            }
        }
    }

    /// Compares an event with the conditions that ask for one of its tags.
    fn note_tagged(&mut self, encoded: &EncodedCommit, hashes: &[TagHash], at: GroupMatch) {
        for hash in hashes {
            let first = self.by_tag.partition_point(|(other, _)| other < hash);
            let alike = self.by_tag[first..].iter().take_while(|(other, _)| other == hash);
            for (_, number) in alike.filter(|(_, number)| *number >= self.judged) {
                let stream = encoded.stream_of(at.event).as_str();
                self.conditions[*number].note(stream, encoded.envelope(at.event), at);
            }
        }
    }

    /// Compares an event with the conditions that do not ask for a tag.
    fn note_event(&mut self, stream: &str, envelope: &[u8], at: GroupMatch) {
        let event_type = envelope::event_type(envelope).unwrap_or_default();
        let names = [
            Name::Stream(stream),
            Name::EventType(event_type),
            Name::Category(category_of(stream)),
        ];
        let by_name = names.iter().filter_map(|name| self.by_name.get(name)).flatten();
        let all = self.of_everything.iter().chain(by_name);
        for number in all.filter(|number| **number >= self.judged) {
            self.conditions[*number].note(stream, envelope, at);
        }
    }
}

impl GroupCondition<'_> {
    /// Takes the event at `at` for its first match, if it is that. Events come in the order of their positions, but for
    /// those that are found by a tag and those found otherwise.
    fn note(&mut self, stream: &str, envelope: &[u8], at: GroupMatch) {
        if self.first.is_some_and(|first| first.position <= at.position) {
            return;
        }
        let event_type = envelope::event_type(envelope).unwrap_or_default();
        if self.filter.wants_tagged(stream, event_type, envelope::tags(envelope)) {
            self.first = Some(at);
        }
    }
}

/// The tag that every event has which the alternative accepts. Streams are fewer than a tag's events, so an alternative
/// with both is found by its streams.
fn tag_of(alternative: &Alternative) -> Option<&str> {
    alternative.streams().is_empty().then(|| alternative.tags().first().map(String::as_str))?
}

/// Names of which an event has one that the alternative accepts, which asks for no tag; none, if it asks for no name.
fn names_of(alternative: &Alternative) -> Vec<Name<'_>> {
    if !alternative.streams().is_empty() {
        return alternative.streams().iter().map(|name| Name::Stream(name.as_str())).collect();
    }
    if !alternative.event_types().is_empty() {
        return alternative.event_types().iter().map(|name| Name::EventType(name)).collect();
    }
    alternative.categories().map(Name::Category).collect()
}
