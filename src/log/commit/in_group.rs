//! The conditions of a group's commits, beside the events that the group admits before them.
//!
//! Conditions are found by a name that their filter asks for, so that an event is compared only with those that name
//! something of it: 64 commits with a condition each would compare each event 64 times.

use crate::codec::envelope;
use crate::log::commit::EncodedCommit;
use crate::value::filter::{Alternative, Filter};
use crate::value::stream::category_of;
use std::collections::HashMap;
use std::ops::Range;

/// The conditions of a group's commits that no durable event has to match.
pub(super) struct GroupConditions<'a> {
    conditions: Vec<GroupCondition<'a>>,
    /// Those of each commit.
    of_commits: Vec<Range<usize>>,
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
    Tag(&'a str),
    EventType(&'a str),
    Category(&'a str),
}

impl<'a> GroupConditions<'a> {
    pub(super) fn new(group: &'a [EncodedCommit]) -> GroupConditions<'a> {
        let mut all = GroupConditions {
            conditions: Vec::new(),
            of_commits: Vec::with_capacity(group.len()),
            by_name: HashMap::new(),
            of_everything: Vec::new(),
        };
        for encoded in group {
            let first = all.conditions.len();
            for condition in encoded.conditions.as_slice() {
                all.add(condition.filter());
            }
            all.of_commits.push(first..all.conditions.len());
        }
        all
    }

    fn add(&mut self, filter: &'a Filter) {
        let number = self.conditions.len();
        self.conditions.push(GroupCondition { filter, first: None });
        for alternative in filter.alternatives() {
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

    /// The events of `encoded`, which is the commit `commit`, are admitted from this position on.
    pub(super) fn note(&mut self, commit: usize, encoded: &EncodedCommit, first_position: u64) {
        for append in &encoded.appends {
            for event in append.events.clone() {
                let at = GroupMatch { position: first_position + event as u64, commit, event };
                self.note_event(append.stream.as_str(), encoded.envelope(event), at);
            }
        }
    }

    fn note_event(&mut self, stream: &str, envelope: &[u8], at: GroupMatch) {
        let event_type = envelope::event_type(envelope).unwrap_or_default();
        let tags = envelope::tags(envelope);
        let names = [
            Name::Stream(stream),
            Name::EventType(event_type),
            Name::Category(category_of(stream)),
        ];
        let by_name = names.into_iter().chain(tags.map(Name::Tag));
        let by_name = by_name.filter_map(|name| self.by_name.get(&name)).flatten();
        for number in self.of_everything.iter().chain(by_name) {
            let condition = &mut self.conditions[*number];
            if condition.first.is_none() && condition.filter.wants_tagged(stream, event_type, tags)
            {
                condition.first = Some(at);
            }
        }
    }
}

/// Names of which an event that the alternative accepts has one; none, if it asks for none.
fn names_of(alternative: &Alternative) -> Vec<Name<'_>> {
    if !alternative.streams().is_empty() {
        return alternative.streams().iter().map(|name| Name::Stream(name.as_str())).collect();
    }
    if let Some(tag) = alternative.tags().first() {
        return vec![Name::Tag(tag)];
    }
    if !alternative.event_types().is_empty() {
        return alternative.event_types().iter().map(|name| Name::EventType(name)).collect();
    }
    alternative.categories().map(Name::Category).collect()
}
