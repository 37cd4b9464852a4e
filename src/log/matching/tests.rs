use crate::log::commit::Commit;
use crate::log::commit::outcome::{AppendError, Committed};
use crate::log::indexer::managed::Bounds;
use crate::store::Store;
use crate::value::event::NewEvent;
use crate::value::filter::Filter;
use crate::value::position::{ExpectedVersion, Position};
use crate::value::random::{Random, first_seed, rounds};
use crate::value::stream::StreamId;
use std::collections::BTreeSet;
use tempfile::TempDir;

/// An event, as the oracle knows it.
struct Fact {
    stream: &'static str,
    category: &'static str,
    event_type: String,
    tags: BTreeSet<String>,
}

/// An alternative of a filter, as the oracle knows it.
#[derive(Debug, Default)]
struct Item {
    streams: Vec<&'static str>,
    categories: Vec<&'static str>,
    event_types: Vec<String>,
    tags: Vec<String>,
}

const STREAMS: [(&str, &str); 5] =
    [("A-1", "A"), ("A-2", "A"), ("B-1", "B"), ("C", "C"), ("AB-1", "AB")];

impl Item {
    /// One that a condition after this position may have.
    fn random(random: &mut Random, after: u64) -> Item {
        let mut item = Item::default();
        let kinds = 1 + random.below(if after > 0 { 15 } else { 7 });
        for _ in 0..1 + random.below(2) {
            let (stream, category) = STREAMS[random.below(5) as usize];
            for (kind, take) in [(1, true), (2, random.percent(70)), (4, true), (8, true)] {
                match kinds & kind {
                    1 if take => item.tags.push(tag(random)),
                    2 if take => item.event_types.push(event_type(random)),
                    4 => item.streams.push(stream),
                    8 => item.categories.push(category),
                    _ => {}
                }
            }
        }
        // Without a name of any kind, it accepts everything.
        item
    }

    fn filter(&self) -> Filter {
        let mut filter = Filter::all();
        for stream in &self.streams {
            filter = filter.and_stream(StreamId::new(stream).unwrap());
        }
        filter = self.categories.iter().fold(filter, |filter, name| filter.and_category(*name));
        filter = self.event_types.iter().fold(filter, |filter, name| filter.and_event_type(name));
        self.tags.iter().fold(filter, |filter, tag| filter.tagged(tag))
    }

    /// One of the streams, one of the categories, one of the types; all of the tags.
    fn accepts(&self, fact: &Fact) -> bool {
        let one_of = |names: &[&str], name| names.is_empty() || names.contains(&name);
        one_of(&self.streams, fact.stream)
            && one_of(&self.categories, fact.category)
            && (self.event_types.is_empty() || self.event_types.contains(&fact.event_type))
            && self.tags.iter().all(|tag| fact.tags.contains(tag))
    }
}

/// Some are on every other event, some on few.
fn tag(random: &mut Random) -> String {
    let bound = [2, 12, 60][random.below(3) as usize];
    format!("t:{}", random.below(bound))
}

fn event_type(random: &mut Random) -> String {
    let bound = [3, 12][random.below(2) as usize];
    format!("T{}", random.below(bound))
}

/// A store whose index takes in each segment as soon as it is full, and what it is to hold.
struct Run {
    random: Random,
    store: Option<Store>,
    directory: TempDir,
    facts: Vec<Fact>,
    /// How many conditions began before, at or after the place up to which the index had the events.
    began: [u32; 2],
    held: u32,
    matched: u32,
}

impl Run {
    fn new(seed: u64) -> Run {
        let directory = tempfile::tempdir().unwrap();
        let store = Some(open(&directory));
        let random = Random::new(seed);
        Run { random, store, directory, facts: Vec::new(), began: [0; 2], held: 0, matched: 0 }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open but while it is reopened")
    }

    /// Between one and four events for one stream, now and then so long that segments are full soon.
    fn events(&mut self) -> (&'static str, Vec<(Fact, NewEvent)>) {
        let random = &mut self.random;
        let (stream, category) = STREAMS[random.below(5) as usize];
        let events = (0..1 + random.below(4)).map(|_| {
            let bytes = if random.percent(8) { 60_000 + random.below(200_000) } else { 20 };
            let tags: BTreeSet<String> = (0..random.below(5)).map(|_| tag(random)).collect();
            let event_type = event_type(random);
            let event = NewEvent::bytes(&event_type, vec![1; bytes as usize]);
            let event = tags.iter().rev().fold(event, |event, tag| event.tag(tag));
            (Fact { stream, category, event_type, tags }, event)
        });
        (stream, events.collect())
    }

    fn append(&mut self) {
        let (stream, events) = self.events();
        let (facts, events): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        self.store().append(stream, ExpectedVersion::Any, events).unwrap();
        self.facts.extend(facts);
    }

    fn conditions(&mut self) -> Vec<(Vec<Item>, u64)> {
        let head = self.facts.len() as u64;
        let random = &mut self.random;
        let one = |random: &mut Random| {
            let near = head - random.below(20).min(head);
            let after = [0, head, near, random.below(head + 1)][random.below(4) as usize];
            let items = (0..1 + random.below(3)).map(|_| Item::random(random, after)).collect();
            (items, after)
        };
        let second = random.percent(50);
        let first = one(random);
        if second { vec![first, one(random)] } else { vec![first] }
    }

    /// A commit with random conditions, and events or none, is decided as by a look at each fact.
    fn judge(&mut self) {
        let conditions = self.conditions();
        let expected = conditions.iter().find_map(|(items, after)| {
            let later = self.facts.iter().enumerate().skip(*after as usize);
            let mut matching =
                later.filter(|(_, fact)| items.iter().any(|item| item.accepts(fact)));
            matching.next().map(|(place, _)| (place as u64 + 1, *after))
        });
        let mut commit = Commit::new();
        let writes = self.random.percent(30);
        let (stream, events) = self.events();
        let (facts, events): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        if writes {
            commit = commit.append(stream, ExpectedVersion::Any, events);
        }
        for (items, after) in &conditions {
            let mut filters = items.iter().map(Item::filter);
            let first = filters.next().expect("there is an item");
            let filter = filters.fold(first, Filter::or);
            commit = commit.unless(filter, Position::new(*after));
        }
        let indexed = self.store().log.log().tail.indexed().position;
        for (_, after) in &conditions {
            self.began[usize::from(*after < indexed)] += 1;
        }
        let met = position_of(self.store().commit(commit));
        let head = self.facts.len() as u64;
        let wanted = match expected {
            Some(excluded) => Err(excluded),
            None if writes => Ok(head + facts.len() as u64),
            None => Ok(head),
        };
        assert_eq!(met, wanted, "head {head}, indexed {indexed}: {conditions:?}");
        match expected {
            Some(_) => self.matched += 1,
            None => self.held += 1,
        }
        if writes && expected.is_none() {
            self.facts.extend(facts);
        }
    }

    fn reopen(&mut self) {
        let store = self.store.take().expect("open");
        match self.random.percent(50) {
            true => store.close().unwrap(),
            false => drop(store),
        }
        if self.random.percent(20) {
            std::fs::remove_dir_all(self.directory.path().join("index")).unwrap();
        }
        self.store = Some(open(&self.directory));
    }
}

fn open(directory: &TempDir) -> Store {
    let bounds = Bounds { batch_bytes_min: 1, unindexed_bytes_max: 4 << 20, ..Bounds::default() };
    Store::builder().bounds(bounds).open(directory.path()).unwrap()
}

/// The position of what was recorded or checked, or that of the match and of its condition.
fn position_of(result: Result<Committed, AppendError>) -> Result<u64, (u64, u64)> {
    match result {
        Ok(done) => Ok(done.position.get()),
        Err(AppendError::Matched(matched)) => Err((matched.position.get(), matched.after.get())),
        Err(error) => panic!("{error}"),
    }
}

/// `FILMSTRIP_ROUNDS=100 FILMSTRIP_SEED=7 cargo test --release --lib log::matching` for a long run.
#[test]
fn a_condition_is_judged_as_a_scan_of_the_log_would_judge_it() {
    let (mut began, mut held, mut matched) = ([0; 2], 0, 0);
    for seed in first_seed()..first_seed() + rounds(3) {
        let mut run = Run::new(seed);
        for _ in 0..400 {
            match run.random.below(100) {
                0 => run.reopen(),
                1 if run.random.percent(30) => drop(run.store().rebuild_index().unwrap()),
                2..40 => run.append(),
                _ => run.judge(),
            }
        }
        assert!(run.store().verify().unwrap().is_whole(), "seed {seed}");
        began.iter_mut().zip(run.began).for_each(|(all, run)| *all += run);
        (held, matched) = (held + run.held, matched + run.matched);
    }
    println!("figures: conditions beside a scan: {held} held, {matched} matched");
    println!(
        "figures: conditions beside a scan: {} began in the tail, {} in the index",
        began[0], began[1]
    );
    assert!(began.iter().all(|count| *count > 50) && held > 100 && matched > 100);
}
