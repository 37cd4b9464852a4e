//! States that are not durable yet: commands decide on them, and nobody is told of one that never became durable.

use crate::common::{Random, seed, within};
use filmstrip::repository::Envelope;
use filmstrip::{
    Aggregate, Event, ExecuteError, ExpectedVersion, Metadata, NewEvent, Repository, Snapshot,
    Store,
};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

use super::LONG;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Linked {
    /// What the command saw; nothing, if nobody decided it.
    Linked { saw: Option<Link> },
}
impl Event for Linked {}

/// A state that tells of which events it was computed: of these, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Link {
    version: u64,
    hash: u128,
}

#[derive(Debug, Clone, Copy)]
enum Command {
    Link,
    Nothing,
    Refuse,
}

#[derive(Debug)]
struct Refused(Link);
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused at {:?}", self.0)
    }
}
impl std::error::Error for Refused {}

macro_rules! chain {
    ($name:ident, $category:literal) => {
        #[derive(Debug, Clone, Default)]
        struct $name(Link);

        impl Aggregate for $name {
            const CATEGORY: &'static str = $category;
            type Command = Command;
            type Event = Linked;
            type Error = Refused;

            fn decide(&self, command: &Command) -> Result<Vec<Linked>, Refused> {
                match command {
                    Command::Link => Ok(vec![Linked::Linked { saw: Some(self.0) }]),
                    Command::Nothing => Ok(vec![]),
                    Command::Refuse => Err(Refused(self.0)),
                }
            }

            fn evolve(&mut self, _: &Linked) {
                panic!("the envelope is not shown")
            }

            fn evolve_at(&mut self, _: &Linked, envelope: &Envelope<'_>) {
                let Link { version, hash } = self.0;
                assert_eq!(envelope.version().get(), version + 1);
                let hash = Uuid::new_v5(&Uuid::from_u128(hash), envelope.id().as_bytes());
                self.0 = Link { version: version + 1, hash: hash.as_u128() };
            }
        }
    };
}

chain!(Chain, "Chain");
chain!(Side, "Side");

/// Every state that a stream has had.
fn states(store: &Store, id: &str) -> HashSet<Link> {
    let history = store.repository::<Chain>().history(id).unwrap();
    let mut before = Link::default();
    let mut states = HashSet::from([before]);
    for entry in history {
        let entry = entry.unwrap();
        let Linked::Linked { saw } = entry.decoded;
        let version = entry.event.version;
        assert!(
            saw.is_none_or(|saw| saw == before),
            "version {version} was decided on {saw:?}, and the state was {before:?}"
        );
        before = entry.state.0;
        states.insert(before);
    }
    states
}

/// The story that this forbids: a command was decided on the events of one before it that was queued. That one met a
/// conflict with somebody who writes without a turn, whose event took the same version, and the second one's expected
/// version held. The same for a rejection, which has no version that could fail.
#[test]
fn whatever_conflicts_nobody_is_told_of_a_state_that_never_was() {
    let seed = seed();
    let work = move || {
        let store = Store::temporary().unwrap();
        let (told, conflicts) = (Mutex::new(Vec::new()), AtomicU64::new(0));
        let chains: Repository<Chain> = store.repository().retries(u32::MAX);
        let transactions = store.transaction().retries(u32::MAX);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (store, chains, transactions) = (&store, &chains, &transactions);
                let (told, conflicts) = (&told, &conflicts);
                scope.spawn(move || {
                    let mut random = Random(seed.wrapping_add(thread));
                    let mut saw = Vec::new();
                    for _ in 0..150 {
                        let command = match random.below(4) {
                            0 => Command::Nothing,
                            1 => Command::Refuse,
                            _ => Command::Link,
                        };
                        match random.below(6) {
                            0 => {
                                let event = NewEvent::of(&Linked::Linked { saw: None }).unwrap();
                                store.append("Chain-a", ExpectedVersion::Any, [event]).unwrap();
                            }
                            1 | 2 => {
                                let side = random.below(9).to_string();
                                let done = transactions.run(
                                    Metadata::default(),
                                    |tx| -> Result<Link, ExecuteError<Refused>> {
                                        tx.execute::<Side>(&side, &Command::Link)?;
                                        Ok(tx.execute::<Chain>("a", &command)?.state.0)
                                    },
                                );
                                saw.push(match done {
                                    Ok(done) => done.outcome.unwrap(),
                                    Err(ExecuteError::Rejected(ExecuteError::Rejected(
                                        Refused(saw),
                                    ))) => saw,
                                    Err(error) => panic!("{error:?}"),
                                });
                            }
                            _ => match chains.execute("a", &command) {
                                Ok(done) => {
                                    conflicts.fetch_add(done.retries.into(), Ordering::Relaxed);
                                    saw.push(done.state.0);
                                }
                                Err(ExecuteError::Rejected(Refused(link))) => saw.push(link),
                                Err(error) => panic!("{error}"),
                            },
                        }
                        saw.push(chains.load("a").unwrap().state.0);
                    }
                    told.lock().unwrap().extend(saw);
                });
            }
        });
        let states = states(&store, "a");
        for told in told.into_inner().unwrap() {
            assert!(states.contains(&told), "{told:?} never was");
        }
        assert!(conflicts.into_inner() > 0, "nobody met a conflict");
    };
    within(LONG, work);
}

/// A command that is queued has no event yet that tells of it.
#[test]
fn a_command_that_is_sent_again_while_it_is_queued_runs_once() {
    const COMMANDS: u128 = 150;
    let store = Store::temporary().unwrap();
    let repositories: [Repository<Chain>; 2] =
        [(); 2].map(|()| store.repository().retries(u32::MAX));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, chains) = (&store, &repositories[thread % 2]);
            scope.spawn(move || {
                for n in 1..=COMMANDS {
                    let metadata = Metadata::default().command_id(Uuid::from_u128(n));
                    let done = match thread % 4 {
                        0 => {
                            store
                                .transact(metadata, |tx| -> filmstrip::Result<()> {
                                    tx.execute::<Chain>("a", &Command::Link)?;
                                    Ok(())
                                })
                                .unwrap()
                                .appended[0]
                                .version
                        }
                        _ => chains.execute_with("a", &Command::Link, metadata).unwrap().version,
                    };
                    assert!(done.get() <= n as u64, "command {n} led to version {done}");
                    if n % 3 == 0 {
                        chains.execute("a", &Command::Nothing).unwrap();
                    }
                }
            });
        }
    });
    let events = store.read_stream("Chain-a").collect().unwrap();
    let ids: Vec<_> = events.iter().map(|event| event.metadata.command_id.unwrap()).collect();
    assert!(ids.into_iter().eq((1..=COMMANDS).map(Uuid::from_u128)), "a command ran twice");
}

// ---- what an event has beside its content --------------------------------------------------------

/// Keeps all that its last event has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Watcher {
    seen: Vec<String>,
}

impl Aggregate for Watcher {
    const CATEGORY: &'static str = "Watcher";
    type Command = usize;
    type Event = Linked;
    type Error = Refused;

    fn decide(&self, events: &usize) -> Result<Vec<Linked>, Refused> {
        Ok(vec![Linked::Linked { saw: None }; *events])
    }

    fn evolve(&mut self, _: &Linked) {}

    fn evolve_at(&mut self, _: &Linked, envelope: &Envelope<'_>) {
        assert_eq!(envelope.occurred_at(), envelope.recorded_at());
        let (id, version, position) = (envelope.id(), envelope.version(), envelope.position());
        let (time, user) = (envelope.recorded_at(), envelope.metadata().user.clone());
        self.seen.push(format!("{id} {version} {position} {time} {user:?}"));
    }
}

impl Snapshot for Watcher {
    const SCHEMA: u32 = 1;
}

/// What the log says of each event.
fn recorded(store: &Store, stream: &str) -> Vec<String> {
    let events = store.read_stream(stream).collect().unwrap().into_iter();
    let told = events.map(|event| {
        let (id, version, position) = (event.id, event.version, event.position);
        format!("{id} {version} {position} {} {:?}", event.recorded_at, event.metadata.user)
    });
    told.collect()
}

#[test]
fn a_state_has_the_places_and_times_that_its_events_have_got() {
    let store = Store::temporary().unwrap();
    let plain = store.repository::<Watcher>();
    let by_snapshot = store.repository::<Watcher>().snapshot_every(3);
    for n in 0..5 {
        let user = Metadata::default().user(format!("user {n}"));
        for watchers in [&plain, &by_snapshot] {
            store.append("Other-1", ExpectedVersion::Any, [NewEvent::bytes("T", vec![])]).unwrap();
            let done = watchers.execute_with("a", &2, user.clone()).unwrap();
            let recorded = recorded(&store, "Watcher-a");
            assert_eq!(done.state.seen, recorded);
            let ids = done.event_ids.iter().map(Uuid::to_string);
            assert!(ids.zip(&recorded[recorded.len() - 2..]).all(|(id, of)| of.starts_with(&id)));
            assert!(recorded[recorded.len() - 1].contains(&done.recorded_at.unwrap().to_string()));
        }
        let done = store.transact(user, |tx| -> filmstrip::Result<()> {
            tx.execute::<Watcher>("b", &1)?;
            tx.execute::<Watcher>("a", &1)?;
            tx.execute::<Watcher>("a", &1)?;
            Ok(())
        });
        done.unwrap();
    }
    for id in ["a", "b"] {
        let recorded = recorded(&store, &format!("Watcher-{id}"));
        for watchers in
            [&plain, &by_snapshot, &store.repository(), &store.repository().snapshot_every(0)]
        {
            assert_eq!(watchers.load(id).unwrap().state.seen, recorded);
            let middle = filmstrip::Version::new(3);
            assert_eq!(watchers.load_as_of(id, middle).unwrap().state.seen, recorded[..3]);
            let last = watchers.history(id).unwrap().last().unwrap().unwrap();
            assert_eq!(last.state.seen, recorded);
        }
        store
            .transact(Metadata::default(), |tx| {
                assert_eq!(tx.load::<Watcher>(id)?.seen, recorded);
                Ok::<(), filmstrip::Error>(())
            })
            .unwrap();
    }
}

#[test]
fn states_that_need_their_times_are_right_though_many_commands_race() {
    let store = Store::temporary().unwrap();
    let watchers = store.repository::<Watcher>();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..30 {
                    let done = watchers.execute("a", &1).unwrap();
                    assert_eq!(done.retries, 0, "nobody writes without a turn");
                    assert_eq!(done.state.seen.len() as u64, done.version.get());
                }
            });
        }
    });
    assert_eq!(watchers.load("a").unwrap().state.seen, recorded(&store, "Watcher-a"));
}
