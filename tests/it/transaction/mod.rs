//! Commands across aggregates: one commit, once, and on states that nobody else changes meanwhile.

mod queued;

use crate::common::domain::command_id;
use crate::common::{Random, seed, within};
use filmstrip::testing::given;
use filmstrip::transaction::Transaction;
use filmstrip::{
    Aggregate, ErrorKind, Event, ExecuteError, ExpectedVersion, Metadata, NewEvent, Position,
    Store, Version,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

const LONG: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Moved {
    Moved { by: i64 },
}
impl Event for Moved {}

#[derive(Debug, Clone, Default, PartialEq)]
struct Account {
    balance: i64,
}

#[derive(Debug, Clone, PartialEq)]
struct Overdrawn {
    missing: i64,
}
impl fmt::Display for Overdrawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} are missing", self.missing)
    }
}
impl std::error::Error for Overdrawn {}

impl Aggregate for Account {
    const CATEGORY: &'static str = "Account";
    type Command = i64;
    type Event = Moved;
    type Error = Overdrawn;

    fn decide(&self, by: &i64) -> Result<Vec<Moved>, Overdrawn> {
        match self.balance + by {
            _ if *by == 0 => Ok(vec![]),
            less @ ..0 => Err(Overdrawn { missing: -less }),
            _ => Ok(vec![Moved::Moved { by: *by }]),
        }
    }

    fn evolve(&mut self, Moved::Moved { by }: &Moved) {
        self.balance += by;
    }
}

/// A name that is taken once.
#[derive(Debug, Clone, Default)]
struct Email {
    taken: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum EmailEvent {
    Taken { by: String },
}
impl Event for EmailEvent {}

#[derive(Debug, PartialEq)]
struct TakenAlready;
impl fmt::Display for TakenAlready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address is taken")
    }
}
impl std::error::Error for TakenAlready {}

impl Aggregate for Email {
    const CATEGORY: &'static str = "Email";
    type Command = String;
    type Event = EmailEvent;
    type Error = TakenAlready;

    fn decide(&self, by: &String) -> Result<Vec<EmailEvent>, TakenAlready> {
        match self.taken {
            true => Err(TakenAlready),
            false => Ok(vec![EmailEvent::Taken { by: by.clone() }]),
        }
    }

    fn evolve(&mut self, _: &EmailEvent) {
        self.taken = true;
    }
}

fn transfer(tx: &mut Transaction<'_>, from: &str, to: &str, sum: i64) -> filmstrip::Result<i64> {
    tx.execute::<Account>(to, &sum)?;
    Ok(tx.execute::<Account>(from, &-sum)?.state.balance)
}

fn balance(store: &Store, id: &str) -> i64 {
    store.repository::<Account>().load(id).unwrap().state.balance
}

/// Somebody who takes no turns writes to an account.
fn outsider(store: &Store, id: &str, by: i64) {
    let event = NewEvent::of(&Moved::Moved { by }).unwrap();
    store.append(format!("Account-{id}"), ExpectedVersion::Any, [event]).unwrap();
}

#[test]
fn several_aggregates_decide_and_one_commit_records_it_all() {
    let store = Store::temporary().unwrap();
    store.repository::<Account>().execute("a", &50).unwrap();
    let metadata = Metadata::default().user("alice");
    let done = store.transact(metadata.clone(), |tx| transfer(tx, "a", "b", 30)).unwrap();
    assert_eq!((done.outcome, done.already_executed, done.retries), (Some(20), false, 0));
    let places: Vec<_> = done.appended.iter().map(|to| (to.stream.as_str(), to.version)).collect();
    assert_eq!(places, [("Account-b", Version::new(1)), ("Account-a", Version::new(2))]);
    let events = store.read_all().after(Position::new(1)).collect().unwrap();
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    assert_eq!((ids, Position::new(3)), (done.event_ids, done.position));
    for event in &events {
        assert_eq!((Some(event.recorded_at), &*event.metadata), (done.recorded_at, &metadata));
    }
    assert_eq!((balance(&store, "a"), balance(&store, "b")), (20, 30));
}

#[test]
fn what_is_decided_is_seen_by_what_comes_after_it_and_by_nobody_else() {
    let store = Store::temporary().unwrap();
    let done = store.transact(Metadata::default(), |tx| -> filmstrip::Result<()> {
        for n in 1..=3 {
            let decision = tx.execute::<Account>("a", &10)?;
            assert_eq!((decision.state.balance, decision.version.get()), (10 * n, n as u64));
            assert_eq!(decision.events, [Moved::Moved { by: 10 }]);
            assert_eq!(tx.load::<Account>("a")?.balance, 10 * n);
            assert_eq!(balance(&store, "a"), 0, "it is not recorded yet");
        }
        Ok(())
    });
    let done = done.unwrap();
    assert_eq!(done.appended.len(), 1, "one stream is appended to once");
    assert_eq!((done.appended[0].first.get(), done.appended[0].version.get()), (1, 3));
    assert_eq!((balance(&store, "a"), store.head().get(), done.event_ids.len()), (30, 3, 3));
}

/// A client sends the version that it has seen; what was recorded since then refuses it, however many race.
#[test]
fn who_decided_on_an_older_version_is_refused_also_in_a_race() {
    let store = Store::temporary().unwrap();
    let pay_in = |seen: u64| {
        store.transact(Metadata::default(), |tx| -> filmstrip::Result<()> {
            let newest = tx.version::<Account>("a")?.get();
            if newest != seen {
                return Err(ExecuteError::Rejected(TakenAlready).into());
            }
            assert_eq!(tx.execute::<Account>("a", &1)?.version, tx.version::<Account>("a")?);
            Ok(())
        })
    };
    for seen in 0..50 {
        let won = std::thread::scope(|scope| {
            let racing: Vec<_> = (0..4).map(|_| scope.spawn(|| pay_in(seen).is_ok())).collect();
            racing.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!((won, balance(&store, "a")), (1, seen as i64 + 1));
    }
}

#[test]
fn an_error_of_the_closure_writes_nothing_and_a_rejection_may_be_passed_over() {
    let store = Store::temporary().unwrap();
    store.repository::<Account>().execute("a", &5).unwrap();
    let refused = store.transact(Metadata::default(), |tx| transfer(tx, "a", "b", 7));
    match refused {
        Err(ExecuteError::Rejected(error)) => {
            assert_eq!(error.kind(), ErrorKind::Rejected);
            assert!(error.to_string().contains("2 are missing"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(store.head().get(), 1);
    let done = store.transact(Metadata::default(), |tx| -> Result<i64, Overdrawn> {
        let Err(ExecuteError::Rejected(refused)) = tx.execute::<Account>("a", &-7) else {
            panic!("it is not refused")
        };
        let _ = tx.execute::<Account>("a", &refused.missing);
        let _ = tx.execute::<Account>("a", &-7);
        Ok(refused.missing)
    });
    assert_eq!((done.unwrap().outcome, balance(&store, "a")), (Some(2), 0));
    let nothing = store.transact(Metadata::default(), |tx| -> filmstrip::Result<i64> {
        tx.execute::<Account>("a", &0)?;
        Ok(tx.load::<Account>("b")?.balance)
    });
    let nothing = nothing.unwrap();
    assert_eq!((nothing.outcome, nothing.appended.len(), nothing.recorded_at), (Some(0), 0, None));
    assert_eq!((nothing.position, store.head().get()), (store.head(), 3));
}

#[test]
fn after_a_conflict_the_closure_runs_again_on_the_newer_states() {
    let store = Store::temporary().unwrap();
    store.repository::<Account>().execute("a", &50).unwrap();
    // "b" is only looked at: that it is unchanged is a condition all the same.
    for meddled in ["a", "b"] {
        let mut runs = 0;
        let mut seen = 0;
        let done = store.transact(Metadata::default(), |tx| -> filmstrip::Result<()> {
            runs += 1;
            seen = tx.load::<Account>("b")?.balance;
            tx.execute::<Account>("a", &-10)?;
            if runs <= 2 {
                outsider(&store, meddled, 1);
            }
            Ok(())
        });
        assert_eq!((done.unwrap().retries, runs, seen), (2, 3, balance(&store, "b")), "{meddled}");
    }
    assert_eq!((balance(&store, "a"), balance(&store, "b")), (32, 2));
    let head = store.head().get();
    let mut runs = 0;
    let impatient = store.transaction().retries(1);
    let refused = impatient.run(Metadata::default(), |tx| -> filmstrip::Result<()> {
        runs += 1;
        tx.execute::<Account>("a", &-10)?;
        outsider(&store, "a", 1);
        Ok(())
    });
    match refused {
        Err(ExecuteError::Conflict(conflict)) => assert_eq!(conflict.stream, "Account-a"),
        other => panic!("{other:?}"),
    }
    assert_eq!((runs, store.head().get()), (2, head + 2));
}

#[test]
fn what_a_closure_saw_is_returned_only_if_it_was_true_at_one_time() {
    let store = Store::temporary().unwrap();
    let mut runs = 0;
    let seen = store.transact(Metadata::default(), |tx| -> filmstrip::Result<(i64, i64)> {
        runs += 1;
        let a = tx.load::<Account>("a")?.balance;
        if runs == 1 {
            outsider(&store, "a", 1);
            outsider(&store, "b", 1);
        }
        Ok((a, tx.load::<Account>("b")?.balance))
    });
    let seen = seen.unwrap();
    assert_eq!((seen.outcome, seen.retries), (Some((1, 1)), 1));
}

#[test]
fn a_transaction_with_a_command_id_runs_once_however_often_and_whenever_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    for run in 0..2 {
        let store = Store::open(&path).unwrap();
        if run == 0 {
            store.repository::<Account>().execute("a", &500).unwrap();
        }
        let fresh = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (store, fresh) = (&store, &fresh);
                scope.spawn(move || {
                    for n in 1..=20 {
                        // Whichever it asks for first tells.
                        let done = store.transact(command_id(n), |tx| match thread % 2 {
                            0 => transfer(tx, "a", "b", 2).map(drop),
                            _ => transfer(tx, "a", "b", 2)
                                .and_then(|_| tx.load::<Account>("c").map(drop)),
                        });
                        let done = done.unwrap();
                        let versions: Vec<_> =
                            done.appended.iter().map(|to| (to.first, to.version)).collect();
                        assert_eq!(versions[0].0.get() + 1, versions[1].0.get());
                        assert_eq!((done.event_ids.len(), versions.len()), (2, 2));
                        assert_eq!(done.outcome.is_none(), done.already_executed);
                        let event =
                            store.read_all().after(Position::new(done.position.get() - 1)).limit(1);
                        let event = event.collect().unwrap().remove(0);
                        assert_eq!(event.metadata.command_id, Some(Uuid::from_u128(n)));
                        assert_eq!(event.id, done.event_ids[1]);
                        assert_eq!(Some(event.recorded_at), done.recorded_at);
                        fresh.fetch_add(u64::from(!done.already_executed), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(fresh.into_inner(), if run == 0 { 20 } else { 0 });
        assert_eq!((balance(&store, "a"), balance(&store, "b"), store.head().get()), (460, 40, 41));
        store.close().unwrap();
    }
}

#[test]
fn a_transaction_that_loses_to_itself_returns_what_it_led_to() {
    let store = Store::temporary().unwrap();
    let event = || NewEvent::of(&Moved::Moved { by: 4 }).unwrap().metadata(command_id(1));
    let once = store.transaction().retries(0);
    let done = once.run(command_id(1), |tx| -> filmstrip::Result<()> {
        tx.execute::<Account>("a", &4)?;
        store.append("Account-a", ExpectedVersion::Any, [event()]).unwrap();
        Ok(())
    });
    let done = done.unwrap();
    assert!(done.already_executed && done.outcome.is_none());
    assert_eq!((balance(&store, "a"), done.position.get(), done.appended.len()), (4, 1, 1));
}

/// The story: to keep an address unique took 55 lines by hand.
#[test]
fn an_address_is_taken_once_whatever_races_for_it() {
    const RIVALS: usize = 8;
    let store = Store::temporary().unwrap();
    for round in 0..20 {
        let (address, barrier) = (format!("{round}@example.com"), Barrier::new(RIVALS));
        let won: Vec<bool> = std::thread::scope(|scope| {
            let rivals: Vec<_> = (0..RIVALS)
                .map(|rival| {
                    let (store, address, barrier) = (&store, &address, &barrier);
                    scope.spawn(move || {
                        let id = format!("{round}-{rival}");
                        barrier.wait();
                        let done = store.transact(Metadata::default(), |tx| {
                            tx.execute::<Email>(address, &id)?;
                            tx.execute::<Account>(&id, &1)?;
                            Ok::<(), filmstrip::Error>(())
                        });
                        match done {
                            Ok(_) => true,
                            Err(ExecuteError::Rejected(error)) => {
                                assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
                                false
                            }
                            Err(error) => panic!("{error}"),
                        }
                    })
                })
                .collect();
            rivals.into_iter().map(|rival| rival.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        let accounts = (0..RIVALS).map(|rival| balance(&store, &format!("{round}-{rival}")));
        assert!(accounts.map(|balance| balance == 1).eq(won), "a loser has an account");
    }
}

#[test]
fn transactions_in_any_order_lose_nothing_and_wait_for_nobody_for_ever() {
    const ACCOUNTS: u64 = 5;
    const THREADS: u64 = 8;
    let seed = seed();
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>();
    (0..ACCOUNTS).for_each(|n| drop(accounts.execute(&n.to_string(), &100).unwrap()));
    let work = move || {
        let (added, done) = (AtomicI64::new(0), AtomicU64::new(0));
        let transactions = store.transaction().retries(u32::MAX);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (store, transactions, accounts) = (&store, &transactions, &accounts);
                let (added, done) = (&added, &done);
                scope.spawn(move || {
                    let mut random = Random(seed.wrapping_add(thread));
                    for _ in 0..60 {
                        let mut id = || random.below(ACCOUNTS).to_string();
                        let (from, to, other) = (id(), id(), id());
                        let sum = 1 + random.below(40) as i64;
                        match random.below(8) {
                            0 => {
                                outsider(store, &to, sum);
                                added.fetch_add(sum, Ordering::Relaxed);
                            }
                            1 => {
                                accounts.clone().retries(u32::MAX).execute(&to, &sum).unwrap();
                                added.fetch_add(sum, Ordering::Relaxed);
                            }
                            _ => {
                                let moved = transactions.run(Metadata::default(), |tx| {
                                    tx.load::<Account>(&other)?;
                                    transfer(tx, &from, &to, sum)
                                });
                                match moved {
                                    Ok(moved) => assert!(moved.outcome.unwrap() >= 0),
                                    Err(ExecuteError::Rejected(_)) => continue,
                                    Err(error) => panic!("{error}"),
                                }
                                done.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        let total: i64 = (0..ACCOUNTS).map(|n| balance(&store, &n.to_string())).sum();
        assert_eq!(total, 100 * ACCOUNTS as i64 + added.into_inner());
        assert!(done.into_inner() > 0, "nothing was moved");
    };
    within(LONG, work);
}

#[test]
fn a_panic_in_the_closure_leaves_no_turn_behind() {
    let store = Store::temporary().unwrap();
    let panicking = || {
        store.transact(Metadata::default(), |tx| -> filmstrip::Result<()> {
            tx.execute::<Account>("a", &1)?;
            panic!("the closure panics")
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
    let begun = Instant::now();
    store.transact(Metadata::default(), |tx| tx.execute::<Account>("a", &1).map(drop)).unwrap();
    assert!(begun.elapsed() < Duration::from_millis(900), "it waited for a turn that never ended");
    assert_eq!(balance(&store, "a"), 1);
}

/// A command that is given within another one to the same stream used to wait for its own turn.
#[test]
fn a_command_within_a_transaction_does_not_wait_for_its_own_thread() {
    let store = Store::temporary().unwrap();
    let begun = Instant::now();
    let mut runs = 0;
    let done = store.transact(Metadata::default(), |tx| -> filmstrip::Result<()> {
        runs += 1;
        tx.execute::<Account>("a", &1)?;
        if runs == 1 {
            store.repository::<Account>().execute("a", &10)?;
        }
        Ok(())
    });
    assert_eq!((done.unwrap().retries, balance(&store, "a")), (1, 11));
    assert!(begun.elapsed() < Duration::from_millis(900), "it waited for itself");
}

#[test]
fn an_error_of_the_store_is_returned_whatever_the_closure_makes_of_it() {
    let store = Store::temporary().unwrap();
    for accepts in [true, false] {
        let done = store.transact(Metadata::default(), |tx| -> Result<(), Overdrawn> {
            tx.execute::<Account>("a", &1).map_err(|_| Overdrawn { missing: 0 })?;
            let refused = tx.load::<Account>("").unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            if accepts { Ok(()) } else { Err(Overdrawn { missing: 1 }) }
        });
        match done {
            Err(ExecuteError::Store(error)) => assert_eq!(error.kind(), ErrorKind::InvalidInput),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.head(), Position::START);
}

/// The account by another type.
#[derive(Debug, Clone, Default)]
struct Ledger;

impl Aggregate for Ledger {
    const CATEGORY: &'static str = "Account";
    type Command = ();
    type Event = Moved;
    type Error = Overdrawn;

    fn decide(&self, (): &()) -> Result<Vec<Moved>, Overdrawn> {
        Ok(vec![Moved::Moved { by: 100 }])
    }

    fn evolve(&mut self, _: &Moved) {}
}

#[test]
fn a_stream_is_one_kind_of_aggregate_within_a_transaction_and_any_beside_it() {
    let store = Store::temporary().unwrap();
    let mixed = store.transact(Metadata::default(), |tx| {
        tx.execute::<Account>("a", &1)?;
        tx.load::<Ledger>("a").map(drop)
    });
    let error = filmstrip::Error::from(mixed.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("Account-a"), "{error}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let ledgers = store.repository::<Ledger>();
            (0..100).for_each(|_| drop(ledgers.execute("a", &()).unwrap()));
        });
        let accounts = store.repository::<Account>();
        (0..100).for_each(|_| drop(accounts.execute("a", &1).unwrap()));
    });
    assert_eq!(balance(&store, "a"), 100 * 100 + 100);
}

#[test]
fn a_closed_store_runs_no_transaction() {
    let store = Store::temporary().unwrap();
    let transactions = store.transaction();
    store.close().unwrap();
    let refused = transactions.run(Metadata::default(), |tx| transfer(tx, "a", "b", 1));
    assert_eq!(filmstrip::Error::from(refused.unwrap_err()).kind(), ErrorKind::Closed);
}

#[test]
fn decisions_of_transactions_are_tested_like_any_other() {
    given::<Account>([Moved::Moved { by: 5 }]).when(&-7).then_rejected(Overdrawn { missing: 2 });
}
