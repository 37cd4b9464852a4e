//! Admissions of single groups, written out.

use super::*;

use crate::log::commit::Commit;
use crate::log::commit::admission::Assumed;
use crate::value::event::NewEvent;
use uuid::Uuid;

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
            format!("records before {}, events at {}", placement.first_position, places(appended))
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
            vec![repeated().check(OTHER, ExpectedVersion::NoStream).tracking("consumer", at(6))],
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
        let encoded: Vec<_> = commits.into_iter().map(|c| EncodedCommit::new(c).unwrap()).collect();
        let admissions = admit(facts(&encoded), &encoded);
        let said: Vec<String> = admissions.iter().map(say).collect();
        assert_eq!(said, expected, "{case}");
    }
}
