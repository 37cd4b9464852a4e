use super::*;
use crate::log::commit::Commit;
use crate::log::commit::judging::judge_before_queueing;
use crate::store::Store;
use crate::value::event::NewEvent;
use crate::value::filter::Filter;
use crate::value::position::ExpectedVersion;
use crate::value::random::{Random, first_seed, rounds};
use crate::value::stream::StreamId;

/// What a commit is made of, so that it can be made more than once.
#[derive(Clone, Default)]
struct Planned {
    appends: Vec<(&'static str, ExpectedVersion, Vec<NewEvent>)>,
    checks: Vec<(&'static str, ExpectedVersion)>,
    conditions: Vec<(Filter, u64)>,
    tracked: Option<u64>,
}

const STREAMS: [&str; 4] = ["A-1", "A-2", "B-1", "B-2"];

impl Planned {
    fn random(random: &mut Random, head: u64) -> Planned {
        let mut planned = Planned::default();
        for stream in STREAMS {
            match random.below(8) {
                0..3 => {
                    let events = (0..=random.below(3)).map(|_| event(random)).collect();
                    planned.appends.push((stream, expected(random, head), events));
                }
                3 => planned.checks.push((stream, expected(random, head))),
                _ => {}
            }
        }
        let conditions = random.below(3) + u64::from(planned.appends.is_empty());
        for _ in 0..conditions {
            let after = [0, head, head, random.below(head + 1)][random.below(4) as usize];
            planned.conditions.push((filter(random, after), after));
        }
        if !planned.appends.is_empty() && random.percent(15) {
            planned.tracked = Some(1 + random.below(20));
        }
        planned
    }

    /// The same commit again, perhaps with other conditions, or a part of it.
    fn repeated(mut self, random: &mut Random, head: u64) -> Planned {
        if random.percent(30) {
            let after = random.below(head + 1);
            self.conditions.push((filter(random, after), after));
        }
        if random.percent(20) {
            self.appends.truncate(1);
            self.appends.iter_mut().for_each(|(_, _, events)| events.truncate(1));
        }
        self
    }

    fn commit(&self) -> Commit {
        let mut commit = Commit::new();
        for (stream, expected, events) in &self.appends {
            commit = commit.append(*stream, *expected, events.clone());
        }
        for (stream, expected) in &self.checks {
            commit = commit.check(*stream, *expected);
        }
        for (filter, after) in &self.conditions {
            commit = commit.unless(filter.clone(), Position::new(*after));
        }
        match self.tracked {
            Some(position) => commit.tracking("other", Position::new(position)),
            None => commit,
        }
    }
}

fn event(random: &mut Random) -> NewEvent {
    let id = uuid::Uuid::from_u64_pair(random.next(), random.next());
    let event = NewEvent::bytes(format!("T{}", random.below(3)), "x").id(id);
    (0..random.below(4)).fold(event, |event, _| event.tag(format!("t{}", random.below(16))))
}

fn expected(random: &mut Random, head: u64) -> ExpectedVersion {
    match random.below(10) {
        0 => ExpectedVersion::NoStream,
        1 => ExpectedVersion::Exact(Version::new(random.below(head / 4 + 2))),
        _ => ExpectedVersion::Any,
    }
}

/// A filter that a condition after this position may have.
fn filter(random: &mut Random, after: u64) -> Filter {
    let mut alternative = || {
        let mut filter = Filter::all();
        let kinds = 1 + random.below(if after > 0 { 15 } else { 7 });
        if kinds & 1 > 0 {
            let tags = 1 + random.below(2);
            filter = (0..tags).fold(filter, |f, _| f.tagged(format!("t{}", random.below(16))));
        }
        if kinds & 2 > 0 {
            let types = 1 + random.below(2);
            let event_type = |random: &mut Random| format!("T{}", random.below(3));
            filter = (0..types).fold(filter, |f, _| f.and_event_type(event_type(random)));
        }
        if kinds & 4 > 0 {
            let stream = STREAMS[random.below(4) as usize];
            filter = filter.and_stream(StreamId::new(stream).unwrap());
        }
        match kinds & 8 > 0 {
            true => filter.and_category(["A", "B"][random.below(2) as usize]),
            false => filter,
        }
    };
    let first = alternative();
    let second = alternative();
    if random.percent(30) { first.or(second) } else { first }
}

fn encoded(store: &Store, planned: &Planned) -> EncodedCommit {
    let mut encoded = EncodedCommit::new(planned.commit()).unwrap();
    judge_before_queueing(store.log.log(), &mut encoded).unwrap();
    encoded
}

/// What callers are told, but for the time.
fn told(outcome: Result<Committed, AppendError>) -> String {
    format!("{outcome:?}")
}

/// Whatever commits meet in a group, each is told what it would be told if all came one after the other, and the same
/// events are recorded: in one store they are written as groups, whose conditions were judged at some moment before,
/// and in another each by itself.
#[test]
fn a_group_admits_what_its_commits_would_be_one_after_the_other() {
    let (mut kinds, mut total) = ([0; 5], 0);
    for seed in first_seed()..first_seed() + rounds(12) {
        let random = &mut Random::new(seed);
        let (grouped, single) = (Store::temporary().unwrap(), Store::temporary().unwrap());
        let mut known: Vec<Planned> = Vec::new();
        let mut waiting: Option<(Vec<Planned>, Vec<EncodedCommit>)> = None;
        for round in 0..12 {
            let head = grouped.head().get();
            let mut planned = Vec::new();
            for _ in 0..1 + random.below(8) {
                let again = random.percent(40) && !known.is_empty();
                let next: Planned = match again {
                    true => {
                        let again = known[random.below(known.len() as u64) as usize].clone();
                        again.repeated(random, head)
                    }
                    false => Planned::random(random, head),
                };
                known.push(next.clone());
                planned.push(next);
            }
            let group: Vec<_> = planned.iter().map(|planned| encoded(&grouped, planned)).collect();
            // Now and then it waits for another one, which is written after it was judged.
            let mut due = vec![(planned, group)];
            match waiting.take() {
                Some(before) => due.push(before),
                None if random.percent(50) => {
                    waiting = due.pop();
                    continue;
                }
                None => {}
            }
            for (planned, group) in due {
                let engine = grouped.log.engine();
                let replies = engine.group_commit().replies_to(engine.log(), group);
                for (planned, reply) in planned.iter().zip(replies) {
                    let met = reply.and_then(outcome).map(|(committed, _)| committed);
                    let alone = single.commit(planned.commit());
                    kinds[match &met {
                        Ok(done) if done.already_recorded => 0,
                        Ok(done) if done.appended.is_empty() => 1,
                        Ok(_) => 2,
                        Err(AppendError::Matched(_)) => 3,
                        Err(_) => 4,
                    }] += 1;
                    assert_eq!(told(met), told(alone), "seed {seed}, round {round}");
                    total += 1;
                }
            }
        }
        let recorded = |store: &Store| {
            let events = store.read_all().collect().unwrap();
            events.iter().map(|e| (e.stream.clone(), e.version, e.id)).collect::<Vec<_>>()
        };
        assert_eq!(recorded(&grouped), recorded(&single), "seed {seed}");
    }
    println!("figures: groups beside single commits: {total} commits");
    assert!(kinds.iter().all(|count| count * 50 > total), "too few of one kind: {kinds:?}");
}
