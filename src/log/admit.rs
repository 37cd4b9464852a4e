//! The one place where positions and versions are given out.
//!
//! * Pure: facts and proposals in, verdicts out. It touches no clock, disk or channel, so that the
//!   same facts and proposals give the same verdicts on every machine.
//! * A proposal is judged against what is durable and what the group admitted before it.
//! * A repetition is recognised before any check of the commit.

use crate::codec::envelope::Digest;
use crate::codec::record::Record;
use crate::log::commit::{Proposal, ProposedAppend, ProposedEvent};
use crate::log::outcome::{Appended, Conflict};
use crate::position::{Position, Version};
use crate::stream::StreamId;
use std::collections::HashMap;
use uuid::Uuid;

/// What is durable, of all that the group asks about.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) head: u64,
    /// The version of every stream that a proposal names.
    pub(crate) versions: HashMap<StreamId, u64>,
    /// How far every consumer that a proposal tracks has come.
    pub(crate) tracked: HashMap<String, u64>,
    /// The durable events right after an expected version that no longer holds.
    pub(crate) stored: HashMap<(StreamId, u64), StoredEvent>,
}

/// What is compared of a durable event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredEvent {
    pub(crate) id: Uuid,
    pub(crate) digest: Digest,
    pub(crate) position: u64,
}

/// What becomes of one proposal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admitted(Placement),
    AlreadyRecorded(Vec<Appended>),
    Conflict(Conflict),
    AlreadyTracked { consumer: String, tracked: u64, offered: u64 },
}

/// Where an admitted proposal's events go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The position of its first event; of the next one if it has none.
    pub(crate) first_position: u64,
    /// For each append, the version of its first event.
    pub(crate) first_versions: Vec<u64>,
}

/// Judges the proposals of one group, in order.
pub(crate) fn admit(facts: Facts, proposals: &[&Proposal]) -> Vec<Verdict> {
    let mut group = GroupState { next_position: facts.head + 1, facts, admitted: HashMap::new() };
    proposals.iter().map(|proposal| group.judge(proposal)).collect()
}

struct GroupState<'a> {
    facts: Facts,
    next_position: u64,
    /// Of each stream, what this group appends to it.
    admitted: HashMap<StreamId, Vec<AdmittedRun<'a>>>,
}

/// Events of one proposal that were admitted to one stream.
struct AdmittedRun<'a> {
    first_version: u64,
    first_position: u64,
    events: &'a [ProposedEvent],
}

impl<'a> GroupState<'a> {
    fn judge(&mut self, proposal: &'a Proposal) -> Verdict {
        if let Some(appended) = self.repetition(proposal) {
            return Verdict::AlreadyRecorded(appended);
        }
        let appends = proposal.appends.iter().map(|append| (&append.stream, append.expected));
        let checks = proposal.checks.iter().map(|(stream, expected)| (stream, *expected));
        for (stream, expected) in appends.chain(checks) {
            let actual = self.version(stream);
            if !expected.holds_for(actual) {
                return Verdict::Conflict(Conflict { stream: stream.clone(), expected, actual });
            }
        }
        for record in &proposal.records {
            if let Record::Tracked { consumer, position } = record {
                let tracked = self.facts.tracked.get(consumer).copied().unwrap_or(0);
                if *position <= tracked {
                    let consumer = consumer.clone();
                    return Verdict::AlreadyTracked { consumer, tracked, offered: *position };
                }
            }
        }
        Verdict::Admitted(self.place(proposal))
    }

    fn place(&mut self, proposal: &'a Proposal) -> Placement {
        let first_position = self.next_position;
        let mut first_versions = Vec::with_capacity(proposal.appends.len());
        for append in &proposal.appends {
            let events = &proposal.events[append.events.clone()];
            let version = self
                .facts
                .versions
                .get_mut(&append.stream)
                .expect("gather knows every stream that a proposal names");
            let first_version = *version + 1;
            *version += events.len() as u64;
            let run = AdmittedRun { first_version, first_position: self.next_position, events };
            self.admitted.entry(append.stream.clone()).or_default().push(run);
            self.next_position += events.len() as u64;
            first_versions.push(first_version);
        }
        for record in &proposal.records {
            if let Record::Tracked { consumer, position } = record {
                self.facts.tracked.insert(consumer.clone(), *position);
            }
        }
        Placement { first_position, first_versions }
    }

    /// Where the proposal stands already, if each of its appends does.
    fn repetition(&self, proposal: &Proposal) -> Option<Vec<Appended>> {
        if proposal.appends.is_empty() {
            return None;
        }
        proposal.appends.iter().map(|append| self.repeated(proposal, append)).collect()
    }

    /// Where the append's events stand already: right after the expected version, the same ids with
    /// the same content.
    fn repeated(&self, proposal: &Proposal, append: &ProposedAppend) -> Option<Appended> {
        let expected = append.expected.exact()?.get();
        let mut version = expected;
        let mut position = 0;
        for event in &proposal.events[append.events.clone()] {
            // A version that cannot be was expected: nothing stands behind it.
            version = version.checked_add(1)?;
            let stored = self.event_at(&append.stream, version)?;
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

    fn event_at(&self, stream: &StreamId, version: u64) -> Option<StoredEvent> {
        if let Some(runs) = self.admitted.get(stream) {
            for run in runs {
                let index = version.checked_sub(run.first_version).map(|i| i as usize);
                if let Some(event) = index.and_then(|index| run.events.get(index)) {
                    let position = run.first_position + (version - run.first_version);
                    return Some(StoredEvent { id: event.id, digest: event.digest, position });
                }
            }
        }
        self.facts.stored.get(&(stream.clone(), version)).copied()
    }

    fn version(&self, stream: &StreamId) -> Version {
        let version = self.facts.versions.get(stream);
        Version::new(*version.expect("gather knows every stream that a proposal names"))
    }
}

/// Which durable events `admit` needs to recognise a repetition of `append` on a stream that is at
/// `version`: none, if the expectation holds or cannot have held before.
pub(crate) fn compared_versions(
    append: &ProposedAppend,
    version: u64,
) -> Option<std::ops::RangeInclusive<u64>> {
    let expected = append.expected.exact()?.get();
    let last = version.min(expected.saturating_add(append.events.len() as u64));
    (expected < last).then(|| expected + 1..=last)
}
