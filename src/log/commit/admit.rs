//! The only place that assigns positions and versions.
//!
//! * It is pure: it takes facts and encoded commits, and returns admissions. It touches no clock, disk or channel, so
//!   the same input gives the same admissions on every machine.
//! * Whether an encoded commit is admitted depends only on what is durable and on what the group admitted before it.
//! * A commit that was decided on an earlier one, before that was durable, is refused if that one was.
//! * A repetition is recognised before any check of the commit. The records that it carries besides its events are
//!   checked like those of any other commit, and written without the events. Its conditions held when its events were
//!   recorded, and are not judged again.

use crate::codec::digest::Digest;
use crate::codec::record::Record;
use crate::log::commit::condition::Match;
use crate::log::commit::in_group::{GroupConditions, GroupMatch};
use crate::log::commit::outcome::{Appended, Conflict};
use crate::log::commit::recorded::recorded_in_group;
use crate::log::commit::{EncodedAppend, EncodedCommit, EncodedEvent};
use crate::value::failpoint::failpoint;
use crate::value::position::{ExpectedVersion, Position, Version};
use crate::value::stream::StreamId;
use std::collections::HashMap;
use uuid::Uuid;

/// The durable state that the group's commits depend on. Streams are numbered in the order in which they are first
/// mentioned.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) head: u64,
    /// The streams that each encoded commit names.
    pub(crate) mentions: Vec<Mentions>,
    /// The version of each stream.
    pub(crate) versions: Vec<u64>,
    /// The tracked position of each consumer that an encoded commit tracks.
    pub(crate) tracked: HashMap<String, u64>,
    /// The durable events right after an expected version that no longer holds, by stream and version.
    pub(crate) stored: HashMap<(usize, u64), StoredEvent>,
    /// What encoded commits assume of earlier ones, by their numbers in the group, in order.
    pub(crate) assumed: Vec<(usize, Assumed)>,
    /// The first durable match of each condition that has one: the number of its encoded commit, its place there, and
    /// the match; in order. Nothing, if no encoded commit has a condition.
    pub(crate) matches: Option<Vec<(usize, usize, Match)>>,
}

/// An earlier commit that a commit was decided on before it was durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assumed {
    /// It was in an earlier group; whether it is durable.
    Known(bool),
    /// It has this number in the same group.
    InGroup(usize),
}

/// The numbers of the streams that an encoded commit names.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    pub(crate) appends: Vec<usize>,
    pub(crate) checks: Vec<usize>,
}

/// The parts of a durable event that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredEvent {
    pub(crate) id: Uuid,
    pub(crate) digest: Digest,
    pub(crate) position: u64,
}

/// The decision about one encoded commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted(Placement),
    /// The events and all records of the commit are recorded already.
    AlreadyRecorded(Vec<Appended>),
    /// The events are recorded already. Only the records are written, with this placement.
    RecordsOnly(Placement, Vec<Appended>),
    /// All conditions and checks of a commit that writes nothing hold, for this head.
    Holds(u64),
    Conflict(Conflict),
    /// The condition with this place in the commit has its first match at a position.
    Matched {
        condition: usize,
        position: u64,
    },
    AlreadyTracked {
        consumer: String,
        tracked: u64,
        offered: u64,
    },
}

impl Admission {
    /// The placement of what is written; `None` if nothing is written.
    pub(crate) fn placement(&self) -> Option<&Placement> {
        match self {
            Admission::Admitted(placement) | Admission::RecordsOnly(placement, _) => {
                Some(placement)
            }
            _ => None,
        }
    }
}

/// The places of an admitted commit's events.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The position of its first event. Without events, the position of the next event of the log.
    pub(crate) first_position: u64,
    /// The place of each of its appends.
    pub(crate) appends: Vec<PlacedAppend>,
}

/// The place of an append's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlacedAppend {
    /// The number of its stream.
    pub(crate) stream: usize,
    pub(crate) first_version: u64,
}

/// Admits or refuses the encoded commits of one group, in order.
pub(crate) fn admit(facts: Facts, encoded: &[EncodedCommit]) -> Vec<Admission> {
    let Facts { head, mentions, versions, tracked, stored, assumed, matches } = facts;
    let runs = GroupRuns { newest: vec![None; versions.len()], runs: Vec::new() };
    let conditions =
        matches.map(|durable| Box::new(Conditions { group: encoded, durable, in_group: None }));
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

impl Assumed {
    /// Whether the commit that is assumed is durable, or will be with its group, of which so many are decided.
    fn holds(self, admissions: &[Admission]) -> bool {
        match self {
            Assumed::Known(is_kept) => is_kept,
            Assumed::InGroup(number) => {
                matches!(admissions.get(number), Some(Admission::Admitted(_)))
            }
        }
    }
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

/// What the conditions of the group's commits exclude.
struct Conditions<'a> {
    group: &'a [EncodedCommit],
    /// The durable matches, in order.
    durable: Vec<(usize, usize, Match)>,
    /// The conditions beside what the group has admitted; made once it has admitted an event of several commits.
    in_group: Option<GroupConditions<'a>>,
}

/// What the conditions of one commit exclude.
struct Excluded {
    /// The place of the first condition that excludes something.
    condition: usize,
    /// The position of its first match.
    position: u64,
    /// Where the commit's events are, if one of the matches is one of them.
    recorded: Option<Vec<Appended>>,
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

impl<'a> Conditions<'a> {
    /// What the conditions of the commit `number` exclude, after those before it got these admissions.
    fn excluded(&self, number: usize, admissions: &[Admission]) -> Option<Box<Excluded>> {
        let places = 0..self.group.get(number)?.conditions.as_slice().len();
        let mut matches =
            places.filter_map(|place| Some((place, self.first_match(number, place, admissions)?)));
        let (condition, Match { position, recorded }) = matches.next()?;
        let recorded = recorded.or_else(|| matches.find_map(|(_, found)| found.recorded));
        Some(Box::new(Excluded { condition, position, recorded }))
    }

    fn first_match(&self, number: usize, place: usize, admissions: &[Admission]) -> Option<Match> {
        let durable = self.durable.binary_search_by_key(&(number, place), |(n, p, _)| (*n, *p));
        match durable {
            Ok(at) => Some(self.durable[at].2.clone()),
            Err(_) => self.match_in_group(number, place, admissions),
        }
    }

    fn match_in_group(
        &self,
        number: usize,
        place: usize,
        admissions: &[Admission],
    ) -> Option<Match> {
        let GroupMatch { position, commit, event } =
            self.in_group.as_ref()?.first_match(number, place)?;
        let (encoded, earlier) = (&self.group[number], &self.group[commit]);
        let recorded =
            admissions.get(commit).and_then(Admission::placement).and_then(|placement| {
                let versions = placement.appends.iter().map(|placed| placed.first_version);
                recorded_in_group(encoded, earlier, placement.first_position, versions, event)
            });
        Some(Match { position, recorded })
    }

    /// The events of the commit `number` are admitted, from this position on.
    #[cold]
    fn note(&mut self, number: usize, first_position: u64) {
        let is_alone = self.group.len() == 1 && !failpoint!("log::judge_own_events");
        if is_alone || failpoint!("log::overlook_the_group") {
            return;
        }
        let group = self.group;
        let in_group = self.in_group.get_or_insert_with(|| GroupConditions::new(group));
        in_group.note(number, &group[number], first_position);
    }
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
mod tests {
    use super::*;
    use crate::log::commit::Commit;
    use crate::value::event::NewEvent;

    const STREAM: &str = "Copy-1";
    const OTHER: &str = "Rate-eur";

    fn events(numbers: std::ops::RangeInclusive<u128>) -> Vec<NewEvent> {
        numbers.map(|n| NewEvent::bytes("T", vec![n as u8]).id(Uuid::from_u128(n))).collect()
    }

    /// Two durable events of `STREAM` at positions 1 and 2, one of `OTHER`, and `consumer` at tracked position 5.
    fn facts(encoded: &[EncodedCommit]) -> Facts {
        let known =
            EncodedCommit::new(Commit::new().append(STREAM, ExpectedVersion::Any, events(1..=2)));
        let known = known.unwrap();
        let names = [STREAM, OTHER];
        let number = |stream: &StreamId| names.iter().position(|name| stream == name).unwrap();
        let mentions = encoded.iter().map(|encoded| Mentions {
            appends: encoded.appends.iter().map(|append| number(&append.stream)).collect(),
            checks: encoded.checks.iter().map(|(stream, _)| number(stream)).collect(),
        });
        let stored = (1..).zip(&known.events).map(|(version, event)| {
            let stored = StoredEvent { id: event.id, digest: event.digest, position: version };
            ((0, version), stored)
        });
        Facts {
            head: 3,
            mentions: mentions.collect(),
            versions: vec![2, 1],
            tracked: HashMap::from([("consumer".to_owned(), 5)]),
            stored: stored.collect(),
            assumed: Vec::new(),
            matches: None,
        }
    }

    fn say(admission: &Admission) -> String {
        let places = |appended: &[Appended]| {
            assert!(appended.iter().all(|appended| appended.already_recorded));
            appended.iter().map(|a| a.position.get().to_string()).collect::<Vec<_>>().join(" ")
        };
        match admission {
            Admission::Admitted(placement) => format!("admitted at {}", placement.first_position),
            Admission::AlreadyRecorded(appended) => format!("recorded at {}", places(appended)),
            Admission::RecordsOnly(placement, appended) => {
                assert!(placement.appends.is_empty());
                format!(
                    "records before {}, events at {}",
                    placement.first_position,
                    places(appended)
                )
            }
            Admission::Holds(head) => format!("holds at {head}"),
            Admission::Conflict(conflict) => format!("conflict in {}", conflict.stream),
            Admission::Matched { condition, position } => format!("{condition} matches {position}"),
            Admission::AlreadyTracked { consumer, tracked, .. } => {
                format!("{consumer} is at {tracked}")
            }
        }
    }

    /// A commit was decided on the events of one before it, which was refused because another writer's event had come
    /// first. Its version was the expected one, and what it was decided on never happened.
    #[test]
    fn what_assumes_a_commit_that_was_refused_is_refused_though_its_version_holds() {
        let append = |expected, n| {
            let commit = Commit::new().append(STREAM, expected, events(n..=n));
            EncodedCommit::new(commit).unwrap()
        };
        let exact = |version| ExpectedVersion::Exact(Version::new(version));
        let all = |meddled: bool, assumed: Vec<(usize, Assumed)>| {
            let first = if meddled { ExpectedVersion::Any } else { exact(2) };
            let group = [append(first, 11), append(exact(2), 12), append(exact(3), 13)];
            let facts = Facts { assumed, ..facts(&group) };
            admit(facts, &group).iter().map(say).collect::<Vec<_>>().join(", ")
        };
        let conflict = "conflict in Copy-1";
        let in_group = |number| vec![(2, Assumed::InGroup(number))];
        let after_other = format!("admitted at 4, {conflict}, {conflict}");
        assert_eq!(all(true, in_group(1)), after_other);
        assert_eq!(all(true, in_group(0)), format!("admitted at 4, {conflict}, admitted at 5"));
        for (is_kept, then) in [(true, "admitted at 5"), (false, conflict)] {
            let assumed = vec![(2, Assumed::InGroup(0)), (2, Assumed::Known(is_kept))];
            assert_eq!(all(true, assumed), format!("admitted at 4, {conflict}, {then}"));
        }
        // What the first one assumes is refused, and with it all that assumes it.
        let chain =
            vec![(0, Assumed::Known(false)), (1, Assumed::InGroup(0)), (2, Assumed::InGroup(1))];
        assert_eq!(all(false, chain), format!("{conflict}, {conflict}, {conflict}"));
    }

    /// A commit that repeated recorded events got the reply "already recorded", whatever else it held: a consumer
    /// that sent the same events with a newer position got that reply although the position was not recorded. Each
    /// record of a repeated commit must be recorded now, be recorded already, or cause an error.
    #[test]
    fn what_rides_on_a_repeated_commit_is_recorded_or_refused() {
        let repeated = || Commit::new().append(STREAM, ExpectedVersion::NoStream, events(1..=2));
        let at = Position::new;
        let twice = |commit: fn(Commit) -> Commit| vec![commit(repeated()), commit(repeated())];
        let cases: Vec<(&str, Vec<Commit>, &[&str])> = vec![
            ("nothing", vec![repeated()], &["recorded at 2"]),
            (
                "by an exact version",
                vec![
                    Commit::new()
                        .append(STREAM, Version::new(1), events(2..=2))
                        .tracking("consumer", at(6)),
                ],
                &["records before 4, events at 2"],
            ),
            ("the same position", vec![repeated().tracking("consumer", at(5))], &["recorded at 2"]),
            ("an older one", vec![repeated().tracking("consumer", at(4))], &["recorded at 2"]),
            (
                "a new one",
                vec![repeated().tracking("consumer", at(6))],
                &["records before 4, events at 2"],
            ),
            (
                "another consumer's",
                vec![repeated().tracking("other", at(1))],
                &["records before 4, events at 2"],
            ),
            (
                "the same new one twice in a group",
                twice(|c| c.tracking("consumer", Position::new(9))),
                &["records before 4, events at 2", "recorded at 2"],
            ),
            (
                "a new and an old one",
                vec![repeated().tracking("other", at(1)).tracking("consumer", at(5))],
                &["consumer is at 5"],
            ),
            (
                "the engine's state",
                vec![repeated().state("key", vec![1])],
                &["records before 4, events at 2"],
            ),
            (
                "a check that does not hold, and nothing new",
                vec![repeated().check(OTHER, ExpectedVersion::NoStream)],
                &["recorded at 2"],
            ),
            (
                "a check that does not hold, and a new position",
                vec![
                    repeated().check(OTHER, ExpectedVersion::NoStream).tracking("consumer", at(6)),
                ],
                &["conflict in Rate-eur"],
            ),
            (
                "a check that holds, and a new position",
                vec![repeated().check(OTHER, Version::new(1)).tracking("consumer", at(6))],
                &["records before 4, events at 2"],
            ),
            (
                "an append that is not recorded",
                vec![
                    repeated()
                        .append(OTHER, Version::new(1), events(7..=7))
                        .tracking("consumer", at(6)),
                ],
                &["conflict in Copy-1"],
            ),
            (
                "a repeated commit before a new one",
                vec![
                    repeated().tracking("consumer", at(6)),
                    Commit::new()
                        .append(STREAM, Version::new(2), events(8..=8))
                        .tracking("consumer", at(7)),
                    Commit::new()
                        .append(OTHER, Version::new(1), events(9..=9))
                        .tracking("consumer", at(7)),
                ],
                &["records before 4, events at 2", "admitted at 4", "consumer is at 7"],
            ),
        ];
        for (case, commits, expected) in cases {
            let encoded: Vec<_> =
                commits.into_iter().map(|c| EncodedCommit::new(c).unwrap()).collect();
            let admissions = admit(facts(&encoded), &encoded);
            let said: Vec<String> = admissions.iter().map(say).collect();
            assert_eq!(said, expected, "{case}");
        }
    }
}
