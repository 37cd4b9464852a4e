//! The only place that assigns positions and versions.
//!
//! * It is pure: it takes facts and encoded commits, and returns admissions. It touches no clock, disk or channel, so
//!   the same input gives the same admissions on every machine.
//! * Whether an encoded commit is admitted depends only on what is durable and on what the group admitted before it.
//! * A commit that was decided on an earlier one, before that was durable, is refused if that one was.
//! * A repetition is recognised before any check of the commit. The records that it carries besides its events are
//!   checked like those of any other commit, and written without the events. Its conditions held when its events were
//!   recorded, and are not judged again.

use crate::codec::record::Record;
use crate::log::commit::admission::{
    Admission, Facts, Mentions, PlacedAppend, Placement, StoredEvent,
};
use crate::log::commit::encoded::{EncodedAppend, EncodedCommit, EncodedEvent};
use crate::log::commit::excluded::{Conditions, Excluded};
use crate::log::commit::outcome::{Appended, Conflict};
use crate::value::failpoint::failpoint;
use crate::value::position::{ExpectedVersion, Position, Version};
use crate::value::stream::StreamId;
use std::collections::HashMap;

/// Admits or refuses the encoded commits of one group, in order.
pub(crate) fn admit(facts: Facts, encoded: &[EncodedCommit]) -> Vec<Admission> {
    let Facts { head, mentions, versions, tracked, stored, assumed, matches } = facts;
    let runs = GroupRuns { newest: vec![None; versions.len()], runs: Vec::new() };
    let conditions = matches.map(|durable| Box::new(Conditions::new(encoded, durable)));
    let mut group =
        GroupState { next_position: head + 1, versions, tracked, stored, runs, conditions };
    let mut assumed = &assumed[..];
    let mut admissions = Vec::with_capacity(encoded.len());
    for (number, (encoded, mentions)) in encoded.iter().zip(&mentions).enumerate() {
        let mut holds = true;
        while let Some(((of, its), others)) = assumed.split_first()
            && *of == number
        {
            holds &= its.holds(&admissions) || failpoint!("log::believe_assumed_commits");
            assumed = others;
        }
        admissions.push(match holds {
            true => group.admit_one((number, encoded), mentions, &admissions),
            false => group.unfounded(encoded, mentions),
        });
    }
    admissions
}

struct GroupState<'a> {
    next_position: u64,
    versions: Vec<u64>,
    tracked: HashMap<String, u64>,
    stored: HashMap<(usize, u64), StoredEvent>,
    runs: GroupRuns<'a>,
    /// Nothing, if no commit of the group has a condition.
    conditions: Option<Box<Conditions<'a>>>,
}

/// The events that this group appends to its streams.
struct GroupRuns<'a> {
    /// The newest run of each stream.
    newest: Vec<Option<usize>>,
    runs: Vec<AdmittedRun<'a>>,
}

/// Events of one encoded commit that were admitted to one stream.
struct AdmittedRun<'a> {
    first_version: u64,
    first_position: u64,
    events: &'a [EncodedEvent],
    /// The previous run of the same stream.
    before: Option<usize>,
}

impl<'a> GroupState<'a> {
    /// Decides on a commit, which has this number, after those before it got these admissions.
    fn admit_one(
        &mut self,
        (number, encoded): (usize, &'a EncodedCommit),
        mentions: &Mentions,
        admissions: &[Admission],
    ) -> Admission {
        let mut excluded = match &mut self.conditions {
            Some(conditions) => {
                if failpoint!("log::judge_own_events") {
                    conditions.note(number, self.next_position);
                }
                conditions.excluded(number, admissions)
            }
            None => None,
        };
        let recorded = || excluded.as_mut().and_then(|excluded| excluded.recorded.take());
        let repeated = self.repetition(encoded, mentions).or_else(recorded);
        if let Some(appended) = repeated {
            let is_dropped = failpoint!("log::drop_records_of_repetition");
            if is_dropped || !self.has_new_records(encoded) {
                return Admission::AlreadyRecorded(appended);
            }
            let refused = self.check(encoded, mentions).or_else(|| self.refuse_tracked(encoded));
            return refused.unwrap_or_else(|| {
                Admission::RecordsOnly(self.place(&[], encoded, mentions), appended)
            });
        }
        let appends = encoded.appends.iter().map(|append| (&append.stream, append.expected));
        let refused = self
            .conflict(appends.zip(&mentions.appends))
            .or_else(|| self.check(encoded, mentions))
            .or_else(|| {
                let Excluded { condition, position, .. } = *excluded?;
                Some(Admission::Matched { condition, position })
            })
            .or_else(|| self.refuse_tracked(encoded));
        if let Some(refused) = refused {
            return refused;
        }
        if encoded.appends.is_empty() && encoded.records.is_empty() {
            return Admission::Holds(self.next_position - 1);
        }
        let placement = self.place(&encoded.appends, encoded, mentions);
        if let Some(conditions) = &mut self.conditions {
            conditions.note(number, placement.first_position);
        }
        Admission::Admitted(placement)
    }

    /// The conflict of a commit that was decided on events which are not there.
    fn unfounded(&self, encoded: &EncodedCommit, mentions: &Mentions) -> Admission {
        let appends = encoded.appends.iter().map(|append| (&append.stream, append.expected));
        let checks = encoded.checks.iter().map(|(stream, expected)| (stream, *expected));
        let numbers = mentions.appends.iter().chain(&mentions.checks);
        let named = appends.chain(checks).zip(numbers).next();
        let ((stream, expected), number) = named.expect("what assumes something names a stream");
        let (stream, actual) = (stream.clone(), Version::new(self.versions[*number]));
        Admission::Conflict(Conflict { stream, expected, actual })
    }

    /// The conflict of the first stream whose version is not as expected.
    fn conflict<'s>(
        &self,
        expected: impl Iterator<Item = ((&'s StreamId, ExpectedVersion), &'s usize)>,
    ) -> Option<Admission> {
        for ((stream, expected), number) in expected {
            let actual = Version::new(self.versions[*number]);
            if !expected.holds_for(actual) {
                return Some(Admission::Conflict(Conflict {
                    stream: stream.clone(),
                    expected,
                    actual,
                }));
            }
        }
        None
    }

    /// The conflict of the first checked stream whose version is not as expected.
    fn check(&self, encoded: &EncodedCommit, mentions: &Mentions) -> Option<Admission> {
        let checks = encoded.checks.iter().map(|(stream, expected)| (stream, *expected));
        self.conflict(checks.zip(&mentions.checks))
    }

    /// The refusal of the first tracked position that is not past the recorded one.
    fn refuse_tracked(&self, encoded: &EncodedCommit) -> Option<Admission> {
        encoded.records.iter().find_map(|record| match record {
            Record::Tracked { consumer, position } if !self.is_past(consumer, *position) => {
                let tracked = self.tracked(consumer);
                let consumer = consumer.clone();
                Some(Admission::AlreadyTracked { consumer, tracked, offered: *position })
            }
            _ => None,
        })
    }

    /// Whether the encoded commit has records that were not recorded with its events: a position past the recorded
    /// one, or the engine's own state. The engine never retries a commit that holds its own state.
    fn has_new_records(&self, encoded: &EncodedCommit) -> bool {
        encoded.records.iter().any(|record| match record {
            Record::Tracked { consumer, position } => self.is_past(consumer, *position),
            Record::State { .. } => true,
        })
    }

    fn is_past(&self, consumer: &str, position: u64) -> bool {
        position > self.tracked(consumer)
    }

    fn tracked(&self, consumer: &str) -> u64 {
        self.tracked.get(consumer).copied().unwrap_or(0)
    }

    /// Assigns places to `written` (all appends of the encoded commit, or none) and to its records.
    fn place(
        &mut self,
        written: &[EncodedAppend],
        encoded: &'a EncodedCommit,
        mentions: &Mentions,
    ) -> Placement {
        let first_position = self.next_position;
        let mut appends = Vec::with_capacity(written.len());
        for (append, &stream) in written.iter().zip(&mentions.appends) {
            let events = &encoded.events[append.events.clone()];
            let first_version = self.versions[stream] + 1;
            self.runs.add(stream, first_version, self.next_position, events);
            self.versions[stream] += events.len() as u64;
            self.next_position += events.len() as u64;
            appends.push(PlacedAppend { stream, first_version });
        }
        for record in &encoded.records {
            if let Record::Tracked { consumer, position } = record {
                self.tracked.insert(consumer.clone(), *position);
            }
        }
        Placement { first_position, appends }
    }

    /// Where the encoded commit is recorded, if all of its appends are recorded already.
    fn repetition(&self, encoded: &EncodedCommit, mentions: &Mentions) -> Option<Vec<Appended>> {
        if encoded.appends.is_empty() {
            return None;
        }
        let appends = encoded.appends.iter().zip(&mentions.appends);
        appends.map(|(append, stream)| self.repeated(encoded, append, *stream)).collect()
    }

    /// Where the append's events are recorded already: the same ids with the same content, right after the expected
    /// version.
    fn repeated(
        &self,
        encoded: &EncodedCommit,
        append: &EncodedAppend,
        stream: usize,
    ) -> Option<Appended> {
        let expected = append.expected.exact()?.get();
        let mut version = expected;
        let mut position = 0;
        for event in &encoded.events[append.events.clone()] {
            // The expected version is the largest number, so no event can follow it.
            version = version.checked_add(1)?;
            let admitted = self.runs.event_at(stream, version);
            let stored = admitted.or_else(|| self.stored.get(&(stream, version)).copied())?;
            if stored.id != event.id || stored.digest != event.digest {
                return None;
            }
            position = stored.position;
        }
        Some(Appended {
            stream: append.stream.clone(),
            first: Version::new(expected + 1),
            version: Version::new(version),
            position: Position::new(position),
            already_recorded: true,
        })
    }
}

impl<'a> GroupRuns<'a> {
    fn add(
        &mut self,
        stream: usize,
        first_version: u64,
        first_position: u64,
        events: &'a [EncodedEvent],
    ) {
        let before = self.newest[stream].replace(self.runs.len());
        self.runs.push(AdmittedRun { first_version, first_position, events, before });
    }

    fn event_at(&self, stream: usize, version: u64) -> Option<StoredEvent> {
        let mut next = self.newest[stream];
        while let Some(run) = next.map(|run| &self.runs[run]) {
            if let Some(index) = version.checked_sub(run.first_version) {
                let event = run.events.get(index as usize)?;
                let position = run.first_position + index;
                return Some(StoredEvent { id: event.id, digest: event.digest, position });
            }
            next = run.before;
        }
        None
    }
}

/// The versions of the durable events that `admit` needs to recognise a repetition of `append` on a stream that is at
/// `version`. `None` if the expectation holds now or can never have held.
pub(crate) fn compared_versions(
    append: &EncodedAppend,
    version: u64,
) -> Option<std::ops::RangeInclusive<u64>> {
    let expected = append.expected.exact()?.get();
    let last = version.min(expected.saturating_add(append.events.len() as u64));
    (expected < last).then(|| expected + 1..=last)
}

#[cfg(test)]
mod tests;
