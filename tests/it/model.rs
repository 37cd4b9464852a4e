//! Random appends, reads and reopenings against a plain model in memory.
//!
//! Each run prints its seed; `FILMSTRIP_SEED=… cargo test --test it model::` runs it again, and
//! `FILMSTRIP_ROUNDS=…` makes it longer.

use crate::common::{Random, seed, variable};
use filmstrip::{
    AppendError, Commit, ExpectedVersion, NewEvent, Position, RecordedEvent, Store, Version,
};
use std::collections::BTreeMap;
use tempfile::TempDir;
use uuid::Uuid;

/// What the model remembers of an event.
#[derive(Debug, Clone, PartialEq)]
struct Fact {
    stream: String,
    version: u64,
    id: Uuid,
    event_type: String,
    payload: Vec<u8>,
}

impl Fact {
    fn of(event: &RecordedEvent) -> Fact {
        Fact {
            stream: event.stream.to_string(),
            version: event.version.get(),
            id: event.id,
            event_type: event.event_type.to_string(),
            payload: event.payload.to_vec(),
        }
    }
}

#[derive(Default)]
struct Model {
    facts: Vec<Fact>,
    streams: BTreeMap<String, Vec<usize>>,
    /// The last batch that was appended with an exact expectation, to be repeated.
    last: Option<(String, u64, Vec<NewEvent>)>,
}

impl Model {
    fn version(&self, stream: &str) -> u64 {
        self.streams.get(stream).map_or(0, |events| events.len() as u64)
    }

    fn append(&mut self, stream: &str, events: &[(Uuid, String, Vec<u8>)]) {
        for (id, event_type, payload) in events {
            let version = self.version(stream) + 1;
            self.streams.entry(stream.to_owned()).or_default().push(self.facts.len());
            self.facts.push(Fact {
                stream: stream.to_owned(),
                version,
                id: *id,
                event_type: event_type.clone(),
                payload: payload.clone(),
            });
        }
    }
}

struct Run {
    random: Random,
    model: Model,
    store: Option<Store>,
    directory: TempDir,
}

impl Run {
    fn store(&self) -> &Store {
        self.store.as_ref().expect("open but while it is reopened")
    }

    fn stream(&mut self) -> String {
        // A few streams get most of the events.
        let n = self.random.below(40);
        let n = if self.random.one_in(3) { n } else { n % 4 };
        let category = ["Customer", "Order", "Café"][n as usize % 3];
        format!("{category}-{n}")
    }

    fn events(&mut self) -> Vec<(Uuid, String, Vec<u8>)> {
        let count = if self.random.one_in(20) { 200 } else { 1 + self.random.below(4) };
        (0..count)
            .map(|_| {
                let bytes = match self.random.below(60) {
                    0 => 5_000 + self.random.below(60_000),
                    1 => 0,
                    _ => self.random.below(700),
                };
                let payload = (0..bytes).map(|_| self.random.next() as u8).collect();
                let event_type = format!("Type{}", self.random.below(5));
                (Uuid::from_u64_pair(self.random.next(), self.random.next()), event_type, payload)
            })
            .collect()
    }

    fn append(&mut self) {
        let stream = self.stream();
        let events = self.events();
        let version = self.model.version(&stream);
        let expected = match self.random.below(5) {
            0 => ExpectedVersion::Any,
            1 => ExpectedVersion::NoStream,
            2 => ExpectedVersion::StreamExists,
            3 => ExpectedVersion::Exact(Version::new(version)),
            _ => ExpectedVersion::Exact(Version::new(self.random.below(version + 2))),
        };
        let new: Vec<NewEvent> = events
            .iter()
            .map(|(id, kind, payload)| NewEvent::bytes(kind, payload.clone()).id(*id))
            .collect();
        let result = self.store().append(&stream, expected, new.clone());
        if expected.holds_for(Version::new(version)) {
            let appended = result.unwrap();
            assert_eq!(appended.first.get(), version + 1);
            self.model.append(&stream, &events);
            assert_eq!(appended.version.get(), self.model.version(&stream));
            assert_eq!(appended.position.get(), self.model.facts.len() as u64);
            self.model.last = Some((stream, version, new));
        } else {
            let Err(AppendError::Conflict(conflict)) = result else { panic!("{result:?}") };
            assert_eq!(conflict.actual.get(), version);
        }
    }

    fn commit(&mut self) {
        let mut streams: Vec<String> = (0..3).map(|_| self.stream()).collect();
        streams.sort();
        streams.dedup();
        let mut commit = Commit::new();
        let mut parts = Vec::new();
        for stream in streams {
            let events = self.events();
            let new = events.iter().map(|(id, t, p)| NewEvent::bytes(t, p.clone()).id(*id));
            commit = commit.append(&stream, Version::new(self.model.version(&stream)), new);
            parts.push((stream, events));
        }
        // One check that does not hold, sometimes, leaves everything as it was.
        let spoiled = self.random.one_in(4);
        if spoiled {
            commit = commit.check("Nobody-1", ExpectedVersion::StreamExists);
        }
        match self.store().commit(commit) {
            Ok(done) => {
                assert!(!spoiled);
                for (stream, events) in parts {
                    self.model.append(&stream, &events);
                }
                assert_eq!(done.position.get(), self.model.facts.len() as u64);
            }
            Err(AppendError::Conflict(conflict)) => {
                assert!(spoiled, "{conflict}");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn repeat(&mut self) {
        let Some((stream, version, events)) = self.model.last.clone() else { return };
        let again = self.store().append(&stream, Version::new(version), events.clone()).unwrap();
        assert!(again.already_recorded);
        assert_eq!(again.version.get(), version + events.len() as u64);
        let last = self.model.streams[&stream][again.version.get() as usize - 1];
        assert_eq!(again.position.get(), last as u64 + 1);
    }

    fn read_stream(&mut self) {
        let stream = self.stream();
        let version = self.model.version(&stream);
        let read = self.store().read_stream(&stream);
        if version == 0 {
            assert!(read.iter().is_err());
            return;
        }
        let after = self.random.below(version + 2);
        let limit = self.random.below(version + 2);
        let backwards = self.random.one_in(2);
        let indices = &self.model.streams[&stream];
        let mut wanted: Vec<&Fact> =
            indices.iter().skip(after as usize).map(|i| &self.model.facts[*i]).collect();
        let mut read = read.after(Version::new(after)).limit(limit);
        if backwards {
            wanted.reverse();
            read = read.backwards();
        }
        wanted.truncate(limit as usize);
        let met: Vec<Fact> = read.collect().unwrap().iter().map(Fact::of).collect();
        assert!(met.iter().eq(wanted), "{stream} after {after} limit {limit} {backwards}");
    }

    fn read_all(&mut self) {
        let count = self.model.facts.len() as u64;
        let after = self.random.below(count + 2);
        let limit = self.random.below(300);
        let category = self.random.one_in(2).then_some("Order");
        let backwards = self.random.one_in(2);
        let mut wanted: Vec<(u64, &Fact)> = (1..).zip(&self.model.facts).collect();
        wanted.retain(|(position, fact)| {
            *position > after && category.is_none_or(|c| fact.stream.starts_with(c))
        });
        let mut read = self.store().read_all().after(Position::new(after)).limit(limit);
        if let Some(category) = category {
            read = read.category(category);
        }
        if backwards {
            wanted.reverse();
            read = read.backwards();
        }
        wanted.truncate(limit as usize);
        let met = read.collect().unwrap();
        let met: Vec<(u64, Fact)> = met.iter().map(|e| (e.position.get(), Fact::of(e))).collect();
        assert!(
            met.iter().map(|(p, f)| (*p, f)).eq(wanted),
            "after {after} limit {limit} {category:?} {backwards}"
        );
    }

    fn reopen(&mut self) {
        let store = self.store.take().expect("open");
        match self.random.below(3) {
            0 => store.close().unwrap(),
            // The last handle closes it; what went wrong would show below.
            _ => drop(store),
        }
        if self.random.one_in(4) {
            std::fs::remove_dir_all(self.directory.path().join("index")).unwrap();
        }
        self.store = Some(Store::open(self.directory.path()).unwrap());
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.store().head().get(), self.model.facts.len() as u64);
        let all = self.store().read_all().collect().unwrap();
        assert!(all.iter().map(Fact::of).eq(self.model.facts.iter().cloned()));
        let listed: Vec<(String, u64)> = self
            .store()
            .streams()
            .collect()
            .unwrap()
            .iter()
            .map(|info| (info.stream.to_string(), info.version.get()))
            .collect();
        let known: Vec<(String, u64)> =
            self.model.streams.iter().map(|(name, v)| (name.clone(), v.len() as u64)).collect();
        assert_eq!(listed, known);
    }
}

#[test]
fn a_store_does_what_a_plain_model_does_whatever_happens_to_it() {
    let random = Random(seed());
    let directory = tempfile::tempdir().unwrap();
    let store = Some(Store::open(directory.path()).unwrap());
    let mut run = Run { random, model: Model::default(), store, directory };
    for _ in 0..variable("FILMSTRIP_ROUNDS").unwrap_or(3_000) {
        match run.random.below(100) {
            0 => run.reopen(),
            1..=45 => run.append(),
            46..=55 => run.commit(),
            56..=60 => run.repeat(),
            61..=85 => run.read_stream(),
            _ => run.read_all(),
        }
    }
    run.reopen();
}
