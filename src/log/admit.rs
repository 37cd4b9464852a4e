//! The one place where positions and versions are given out.
//!
//! * Pure: facts and proposals in, verdicts out. It touches no clock, disk or channel, so that the
//!   same facts and proposals give the same verdicts on every machine.
//! * A proposal is judged against what is durable and what the group admitted before it.
//! * A repetition is recognised before any check of the commit.

use crate::codec::digest::Digest;
use crate::codec::record::Record;
use crate::log::commit::{Proposal, ProposedAppend, ProposedEvent};
use crate::log::outcome::{Appended, Conflict};
use crate::position::{Position, Version};
use std::collections::HashMap;
use uuid::Uuid;

/// What is durable, of all that the group asks about. Streams are numbered as they are first mentioned.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) head: u64,
    /// Of each proposal, which streams it names.
    pub(crate) mentions: Vec<Mentions>,
    /// The version of each stream.
    pub(crate) versions: Vec<u64>,
    /// How far every consumer that a proposal tracks has come.
    pub(crate) tracked: HashMap<String, u64>,
    /// The durable events right after an expected version that no longer holds, by stream and version.
    pub(crate) stored: HashMap<(usize, u64), StoredEvent>,
}

/// The numbers of the streams that a proposal names.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    pub(crate) appends: Vec<usize>,
    pub(crate) checks: Vec<usize>,
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
    /// Where each of its appends goes.
    pub(crate) appends: Vec<PlacedAppend>,
}

/// Where the events of an append go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlacedAppend {
    /// The number of its stream.
    pub(crate) stream: usize,
    pub(crate) first_version: u64,
}

/// Judges the proposals of one group, in order.
pub(crate) fn admit(facts: Facts, proposals: &[Proposal]) -> Vec<Verdict> {
    let Facts { head, mentions, versions, tracked, stored } = facts;
    let admitted = Admitted { newest: vec![None; versions.len()], runs: Vec::new() };
    let mut group = GroupState { next_position: head + 1, versions, tracked, stored, admitted };
    proposals
        .iter()
        .zip(&mentions)
        .map(|(proposal, mentions)| group.judge(proposal, mentions))
        .collect()
}

struct GroupState<'a> {
    next_position: u64,
    versions: Vec<u64>,
    tracked: HashMap<String, u64>,
    stored: HashMap<(usize, u64), StoredEvent>,
    admitted: Admitted<'a>,
}

/// What this group appends to its streams.
struct Admitted<'a> {
    /// Of each stream, its newest run.
    newest: Vec<Option<usize>>,
    runs: Vec<AdmittedRun<'a>>,
}

/// Events of one proposal that were admitted to one stream.
struct AdmittedRun<'a> {
    first_version: u64,
    first_position: u64,
    events: &'a [ProposedEvent],
    /// The run before it in its stream.
    before: Option<usize>,
}

impl<'a> GroupState<'a> {
    fn judge(&mut self, proposal: &'a Proposal, mentions: &Mentions) -> Verdict {
        if let Some(appended) = self.repetition(proposal, mentions) {
            return Verdict::AlreadyRecorded(appended);
        }
        let appends = proposal.appends.iter().map(|append| (&append.stream, append.expected));
        let checks = proposal.checks.iter().map(|(stream, expected)| (stream, *expected));
        let numbers = mentions.appends.iter().chain(&mentions.checks);
        for ((stream, expected), number) in appends.chain(checks).zip(numbers) {
            let actual = Version::new(self.versions[*number]);
            if !expected.holds_for(actual) {
                return Verdict::Conflict(Conflict { stream: stream.clone(), expected, actual });
            }
        }
        for record in &proposal.records {
            if let Record::Tracked { consumer, position } = record {
                let tracked = self.tracked.get(consumer).copied().unwrap_or(0);
                if *position <= tracked {
                    let consumer = consumer.clone();
                    return Verdict::AlreadyTracked { consumer, tracked, offered: *position };
                }
            }
        }
        Verdict::Admitted(self.place(proposal, mentions))
    }

    fn place(&mut self, proposal: &'a Proposal, mentions: &Mentions) -> Placement {
        let first_position = self.next_position;
        let mut appends = Vec::with_capacity(proposal.appends.len());
        for (append, &stream) in proposal.appends.iter().zip(&mentions.appends) {
            let events = &proposal.events[append.events.clone()];
            let first_version = self.versions[stream] + 1;
            self.admitted.add(stream, first_version, self.next_position, events);
            self.versions[stream] += events.len() as u64;
            self.next_position += events.len() as u64;
            appends.push(PlacedAppend { stream, first_version });
        }
        for record in &proposal.records {
            if let Record::Tracked { consumer, position } = record {
                self.tracked.insert(consumer.clone(), *position);
            }
        }
        Placement { first_position, appends }
    }

    /// Where the proposal stands already, if each of its appends does.
    fn repetition(&self, proposal: &Proposal, mentions: &Mentions) -> Option<Vec<Appended>> {
        if proposal.appends.is_empty() {
            return None;
        }
        let appends = proposal.appends.iter().zip(&mentions.appends);
        appends.map(|(append, stream)| self.repeated(proposal, append, *stream)).collect()
    }

    /// Where the append's events stand already: right after the expected version, the same ids with
    /// the same content.
    fn repeated(
        &self,
        proposal: &Proposal,
        append: &ProposedAppend,
        stream: usize,
    ) -> Option<Appended> {
        let expected = append.expected.exact()?.get();
        let mut version = expected;
        let mut position = 0;
        for event in &proposal.events[append.events.clone()] {
            // A version that cannot be was expected: nothing stands behind it.
            version = version.checked_add(1)?;
            let admitted = self.admitted.event_at(stream, version);
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

impl<'a> Admitted<'a> {
    fn add(
        &mut self,
        stream: usize,
        first_version: u64,
        first_position: u64,
        events: &'a [ProposedEvent],
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
