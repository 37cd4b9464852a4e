//! Commands, time travel and snapshots on a real store.

use crate::common::domain::command_id;
use crate::common::in_its_own_process;
use filmstrip::projection::{ErrorAction, OnError};
use filmstrip::repository::{AsOf, StoredEvent};
use filmstrip::testing::ManualClock;
use filmstrip::{
    Aggregate, ErrorKind, Event, ExecuteError, ExpectedVersion, Filter, HandlerError, Metadata,
    NewEvent, Position, Projection, RecordedEvent, Snapshot, Store, Version, ViewWriter,
};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}
impl Event for AccountEvent {}

use AccountEvent::{Deposited, Withdrawn};

#[derive(Debug, Clone)]
enum Command {
    Deposit(u64),
    Withdraw(u64),
    /// Three events at once.
    DepositThrice(u64),
    Nothing,
    Panic,
}

#[derive(Debug, PartialEq)]
struct Overdrawn {
    missing: u64,
}

impl std::fmt::Display for Overdrawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} are missing", self.missing)
    }
}
impl std::error::Error for Overdrawn {}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Account {
    balance: u64,
    /// How many events were folded into it by this very process.
    #[serde(skip)]
    folded: u64,
}

thread_local! {
    /// What happens in the middle of the next decision.
    static MEANWHILE: RefCell<Vec<Box<dyn FnOnce()>>> = RefCell::default();
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "Account";
    type Command = Command;
    type Event = AccountEvent;
    type Error = Overdrawn;

    fn decide(&self, command: &Command) -> Result<Vec<AccountEvent>, Overdrawn> {
        if let Some(happens) = MEANWHILE.with(|meanwhile| meanwhile.borrow_mut().pop()) {
            happens();
        }
        match *command {
            Command::Deposit(amount) => Ok(vec![Deposited { amount }]),
            Command::DepositThrice(amount) => Ok(vec![Deposited { amount }; 3]),
            Command::Withdraw(amount) if amount > self.balance => {
                Err(Overdrawn { missing: amount - self.balance })
            }
            Command::Withdraw(amount) => Ok(vec![Withdrawn { amount }]),
            Command::Nothing => Ok(vec![]),
            Command::Panic => panic!("decided to panic"),
        }
    }

    fn evolve(&mut self, event: &AccountEvent) {
        self.folded += 1;
        match event {
            Deposited { amount } => self.balance += amount,
            Withdrawn { amount } => self.balance -= amount,
        }
    }
}

impl Snapshot for Account {
    const SCHEMA: u32 = 1;
}

#[test]
fn commands_lead_to_durable_events_and_the_state_after_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("s")).unwrap();
    let accounts = store.repository::<Account>();
    for n in 1..=10 {
        let done = accounts.execute("a", &Command::Deposit(n)).unwrap();
        assert_eq!(done.state.balance, n * (n + 1) / 2);
        assert_eq!((done.version, done.position), (Version::new(n), Position::new(n)));
        assert_eq!(done.events, [Deposited { amount: n }]);
        assert!(!done.already_executed && !done.view_lagging);
    }
    let done = accounts.execute("b", &Command::DepositThrice(2)).unwrap();
    assert_eq!((done.version, done.position), (Version::new(3), Position::new(13)));
    drop((accounts, store));

    let store = Store::open(directory.path().join("s")).unwrap();
    let loaded = store.repository::<Account>().load("a").unwrap();
    assert_eq!((loaded.state.balance, loaded.version.get(), loaded.position.get()), (55, 10, 10));
    let stored = store.read_stream("Account-b").collect().unwrap();
    assert_eq!(stored.len(), 3);
    assert_eq!(stored[2].event_type, "Deposited");
}

#[test]
fn a_rejected_command_writes_nothing_and_returns_the_aggregates_own_error() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>();
    accounts.execute("a", &Command::Deposit(5)).unwrap();
    match accounts.execute("a", &Command::Withdraw(7)) {
        Err(ExecuteError::Rejected(reason)) => assert_eq!(reason, Overdrawn { missing: 2 }),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.head(), Position::new(1));
    let error: filmstrip::Error = accounts.execute("a", &Command::Withdraw(7)).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("2 are missing"), "{error}");
}

#[test]
fn a_command_that_decides_nothing_succeeds_where_the_aggregate_stands() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>();
    let done = accounts.execute("a", &Command::Nothing).unwrap();
    assert_eq!((done.version, done.position), (Version::NONE, Position::START));
    accounts.execute("a", &Command::Deposit(5)).unwrap();
    accounts.execute("b", &Command::Deposit(5)).unwrap();
    let done = accounts.execute("a", &Command::Nothing).unwrap();
    assert_eq!((done.version, done.position), (Version::new(1), Position::new(1)));
    assert!(done.events.is_empty());
    assert_eq!(store.head(), Position::new(2));
}

#[test]
fn what_never_happened_loads_as_the_default_and_has_no_history() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>();
    let loaded = accounts.load("nobody").unwrap();
    assert_eq!((loaded.state, loaded.version), (Account::default(), Version::NONE));
    let loaded = accounts.load_as_of("nobody", Position::new(9)).unwrap();
    assert_eq!((loaded.state, loaded.version), (Account::default(), Version::NONE));
    let error = accounts.history("nobody").map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StreamNotFound);
}

#[test]
fn an_id_that_no_stream_can_have_is_refused_and_named() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>();
    let error = accounts.load("").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("Account"), "{error}");
    let error = accounts.load("a\nb").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let error = accounts.load(&"x".repeat(1_020)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(accounts.load("with-dashes and spaces").is_ok());
}

// ---- conflicts ---------------------------------------------------------------------------------

/// Has somebody else write to `Account-a` in the middle of each of the next `times` decisions.
fn others_write(store: &Store, times: usize) {
    for _ in 0..times {
        let store = store.clone();
        let write = move || {
            let event = NewEvent::of(&Deposited { amount: 100 }).unwrap();
            store.append("Account-a", ExpectedVersion::Any, [event]).unwrap();
        };
        MEANWHILE.with(|meanwhile| meanwhile.borrow_mut().push(Box::new(write)));
    }
}

#[test]
fn after_a_conflict_it_is_decided_again_on_the_newer_state() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>();
    accounts.execute("a", &Command::Deposit(5)).unwrap();
    others_write(&store, 2);
    // Refused on the old state, this passes on the new one.
    let done = accounts.execute("a", &Command::Deposit(1)).unwrap();
    assert_eq!((done.retries, done.state.balance, done.version.get()), (2, 206, 4));
    others_write(&store, 1);
    let done = accounts.execute("a", &Command::Withdraw(250));
    let rejected = matches!(&done, Err(ExecuteError::Rejected(Overdrawn { missing: 44 })));
    assert!(rejected, "a rejection stands for the state that was loaded: {done:?}");
}

#[test]
fn conflicts_beyond_the_retries_are_returned_and_nothing_is_written() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>().retries(2);
    others_write(&store, 3);
    match accounts.execute("a", &Command::Deposit(1)) {
        Err(ExecuteError::Conflict(conflict)) => {
            assert_eq!(conflict.actual, Version::new(3));
            assert_eq!(conflict.expected, ExpectedVersion::Exact(Version::new(2)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(accounts.load("a").unwrap().state.balance, 300);
    let done = accounts.execute("a", &Command::Deposit(1)).unwrap();
    assert_eq!((done.state.balance, done.retries), (301, 0));
}

/// `FILMSTRIP_COMMANDS=10000` for a long run.
#[test]
fn racing_repositories_lose_no_command_and_run_none_twice() {
    let commands = std::env::var("FILMSTRIP_COMMANDS").map_or(1_000, |n| n.parse().unwrap());
    let store = Store::temporary().unwrap();
    let (balance, accepted, retries) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let repositories =
        [(); 2].map(|()| store.repository::<Account>().retries(u32::MAX).snapshot_every(50));
    std::thread::scope(|scope| {
        // Commands take turns; who appends does not.
        scope.spawn(|| {
            for _ in 0..commands / 8 {
                let event = NewEvent::of(&Deposited { amount: 0 }).unwrap();
                store.append("Account-a", ExpectedVersion::Any, [event]).unwrap();
            }
        });
        for thread in 0..8 {
            let (accounts, balance) = (&repositories[thread % 2], &balance);
            let (accepted, retries) = (&accepted, &retries);
            scope.spawn(move || {
                for n in 1..=commands / 8 {
                    // Every fourth draws about what three have paid in, so that some are refused.
                    let draw = Command::Withdraw(3 * n);
                    let command = if n % 4 == 0 { draw } else { Command::Deposit(n) };
                    let done = accounts.execute("a", &command);
                    let change = match done {
                        Ok(ref done) if done.events == [Deposited { amount: n }] => n,
                        Ok(_) => (3 * n).wrapping_neg(),
                        Err(ExecuteError::Rejected(_)) => continue,
                        Err(error) => panic!("{error}"),
                    };
                    balance.fetch_add(change, Ordering::Relaxed);
                    accepted.fetch_add(1, Ordering::Relaxed);
                    retries
                        .fetch_add(done.map_or(0, |done| done.retries.into()), Ordering::Relaxed);
                }
            });
        }
    });
    let (balance, accepted) = (balance.into_inner(), accepted.into_inner());
    println!("{accepted} of {commands} commands were accepted, after {retries:?} retries");
    let events = accepted + commands / 8;
    let fresh = store.repository::<Account>();
    for accounts in repositories.iter().chain([&fresh]) {
        let loaded = accounts.load("a").unwrap();
        assert_eq!((loaded.state.balance, loaded.version.get()), (balance, events));
    }
    assert!(accepted < commands && retries.into_inner() > 0, "nobody raced, or was refused");
}

#[test]
fn a_panic_in_a_decision_harms_no_other_command() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>();
    accounts.execute("a", &Command::Deposit(5)).unwrap();
    let panicking = || accounts.execute("a", &Command::Panic);
    assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
    let begun = Instant::now();
    let done = accounts.execute("a", &Command::Deposit(1)).unwrap();
    assert_eq!(done.state.balance, 6);
    assert!(begun.elapsed() < Duration::from_millis(900), "it waited for a turn that never ended");
}

// ---- command ids -------------------------------------------------------------------------------

#[test]
fn a_command_id_runs_once_however_often_and_whenever_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    for run in 0..2 {
        let store = Store::open(&path).unwrap();
        let repositories = [(); 2].map(|()| store.repository::<Account>());
        let fresh = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (accounts, fresh) = (&repositories[thread % 2], &fresh);
                scope.spawn(move || {
                    for _ in 0..13 {
                        let thrice = Command::DepositThrice(2);
                        let done = accounts.execute_with("a", &thrice, command_id(7)).unwrap();
                        assert_eq!(done.events, vec![Deposited { amount: 2 }; 3]);
                        assert_eq!((done.version.get(), done.state.balance), (3, 6));
                        assert_eq!(done.position, Position::new(3));
                        fresh.fetch_add(u64::from(!done.already_executed), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(fresh.into_inner(), u64::from(run == 0), "it must run once, in the first run");
        assert_eq!(store.head(), Position::new(3));
        store.close().unwrap();
    }
}

#[test]
fn a_repeated_command_returns_its_own_outcome_although_time_has_passed() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>().snapshot_every(1);
    for n in 1..=20 {
        let done = accounts.execute_with("a", &Command::Deposit(1), command_id(n)).unwrap();
        assert!(!done.already_executed);
    }
    for accounts in [accounts, store.repository::<Account>(), store.repository().snapshot_every(3)]
    {
        for n in 1..=20 {
            // Another command under the same id is the same command.
            let done = accounts.execute_with("a", &Command::Withdraw(1_000), command_id(n.into()));
            let done = done.unwrap();
            assert!(done.already_executed);
            assert_eq!((done.version.get(), done.position.get(), done.state.balance), (n, n, n));
            assert_eq!(done.events, [Deposited { amount: 1 }]);
        }
        let done = accounts.execute_with("b", &Command::Nothing, command_id(1)).unwrap();
        assert!(!done.already_executed, "ids of other streams count");
    }
    assert_eq!(store.head(), Position::new(20));
}

#[test]
fn a_rejected_or_empty_decision_is_not_remembered() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>();
    accounts.execute_with("a", &Command::Withdraw(1), command_id(1)).unwrap_err();
    accounts.execute_with("a", &Command::Nothing, command_id(1)).unwrap();
    let done = accounts.execute_with("a", &Command::Deposit(1), command_id(1)).unwrap();
    assert!(!done.already_executed);
    assert!(accounts.execute_with("a", &Command::Nothing, command_id(1)).unwrap().already_executed);
}

#[test]
fn a_command_that_loses_to_itself_returns_what_it_led_to() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>().retries(0);
    let rival = store.repository::<Account>();
    let faster = move || {
        rival.execute_with("a", &Command::Deposit(4), command_id(1)).unwrap();
    };
    MEANWHILE.with(|meanwhile| meanwhile.borrow_mut().push(Box::new(faster)));
    let done = accounts.execute_with("a", &Command::Deposit(4), command_id(1)).unwrap();
    assert!(done.already_executed);
    assert_eq!((done.state.balance, store.head().get()), (4, 1));
}

#[test]
fn metadata_flows_from_the_command_to_each_event() {
    let store = Store::temporary().unwrap();
    let metadata = Metadata::default()
        .command_id(Uuid::from_u128(1))
        .correlation_id(Uuid::from_u128(2))
        .causation_id(Uuid::from_u128(3))
        .user("alice")
        .entry("ip", "192.0.2.7");
    let accounts = store.repository::<Account>();
    accounts.execute_with("a", &Command::DepositThrice(1), metadata.clone()).unwrap();
    for event in store.read_stream("Account-a").iter().unwrap() {
        assert_eq!(*event.unwrap().metadata, metadata);
    }
}

// ---- time travel -------------------------------------------------------------------------------

#[test]
fn the_state_is_rewound_to_a_version_a_position_or_a_time() {
    let noon = "2024-05-01T12:00:00Z".parse().unwrap();
    let clock = ManualClock::new(noon);
    let directory = tempfile::tempdir().unwrap();
    let builder = Store::builder().clock(clock.clone());
    let store = builder.open(directory.path().join("s")).unwrap();
    let minute = Duration::from_secs(60);
    for accounts in [store.repository::<Account>(), store.repository().snapshot_every(2)] {
        let first = store.head().get();
        clock.set(noon);
        let id = format!("from-{first}");
        for n in 1..=5 {
            clock.advance(minute);
            accounts.execute(&id, &Command::Deposit(n)).unwrap();
            accounts.execute("other", &Command::Deposit(1)).unwrap();
        }
        let balance = |at: AsOf| {
            let loaded = accounts.load_as_of(&id, at).unwrap();
            (loaded.state.balance, loaded.version.get(), loaded.position.get())
        };
        let sums = [0, 1, 3, 6, 10, 15, 15, 15];
        for (n, sum) in (0_u64..).zip(sums) {
            let version = n.min(5);
            let position = if version == 0 { 0 } else { first + 2 * version - 1 };
            let expected = (sum, version, position);
            assert_eq!(balance(Version::new(n).into()), expected, "version {n}");
            if version > 0 {
                assert_eq!(balance(Position::new(first + 2 * n).into()), expected, "position {n}");
                assert_eq!(balance(Position::new(first + 2 * n - 1).into()), expected);
            }
            // The store's time never goes back, so only the first round has its minutes.
            if first == 0 {
                let time = noon + minute * n as u32;
                assert_eq!(balance(time.into()), expected, "minute {n}");
                let just_before = time - Duration::from_micros(1);
                assert_eq!(balance(just_before.into()).1, n.saturating_sub(1).min(5));
            }
        }
    }
}

#[test]
fn the_film_shows_each_event_with_the_state_after_it() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>().snapshot_every(1);
    accounts.execute("a", &Command::DepositThrice(5)).unwrap();
    accounts.execute("a", &Command::Withdraw(7)).unwrap();
    let film: Vec<_> = accounts.history("a").unwrap().map(Result::unwrap).collect();
    let balances: Vec<_> = film.iter().map(|frame| frame.state.balance).collect();
    assert_eq!(balances, [5, 10, 15, 8]);
    assert_eq!(film[3].decoded, Withdrawn { amount: 7 });
    assert_eq!(film[3].event.version, Version::new(4));
}

#[test]
fn an_event_that_does_not_decode_is_an_error_that_names_it() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>();
    accounts.execute("a", &Command::Deposit(1)).unwrap();
    let strange = NewEvent::json("Exploded", &()).unwrap();
    store.append("Account-a", ExpectedVersion::Any, [strange]).unwrap();
    for error in [
        accounts.load("a").unwrap_err(),
        store.repository::<Account>().load("a").unwrap_err(),
        accounts.execute("a", &Command::Deposit(1)).unwrap_err().into(),
        accounts.history("a").unwrap().last().unwrap().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::UnknownEventType);
        assert!(error.to_string().contains("Exploded"), "{error}");
    }
    assert_eq!(accounts.load_as_of("a", Version::new(1)).unwrap().state.balance, 1);
}

// ---- snapshots ---------------------------------------------------------------------------------

/// The same account with another schema.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Reworked {
    balance: u64,
    #[serde(skip)]
    folded: u64,
}

impl Aggregate for Reworked {
    const CATEGORY: &'static str = "Account";
    type Command = Command;
    type Event = AccountEvent;
    type Error = Overdrawn;

    fn decide(&self, _: &Command) -> Result<Vec<AccountEvent>, Overdrawn> {
        Ok(vec![])
    }

    fn evolve(&mut self, _: &AccountEvent) {
        self.folded += 1;
    }
}

impl Snapshot for Reworked {
    const SCHEMA: u32 = 2;
}

#[test]
fn a_load_by_snapshot_folds_only_what_came_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let store = Store::open(&path).unwrap();
    let accounts = store.repository::<Account>();
    for _ in 0..10 {
        accounts.execute("a", &Command::DepositThrice(1)).unwrap();
    }
    accounts.snapshot("a").unwrap();
    accounts.execute("a", &Command::DepositThrice(1)).unwrap();
    store.close().unwrap();
    drop(accounts);

    let store = Store::open(&path).unwrap();
    let with = store.repository::<Account>().snapshot_every(0);
    let loaded = with.load("a").unwrap();
    assert_eq!((loaded.state.balance, loaded.state.folded), (33, 3));
    assert_eq!((loaded.version.get(), loaded.position.get()), (33, 33));
    let at_snapshot = store.repository::<Account>().snapshot_every(0);
    let loaded = at_snapshot.load_as_of("a", Version::new(30)).unwrap();
    assert_eq!((loaded.state.balance, loaded.state.folded, loaded.position.get()), (30, 0, 30));
    let loaded = at_snapshot.load_as_of("a", Version::new(29)).unwrap();
    assert_eq!((loaded.state.balance, loaded.state.folded), (29, 29), "a snapshot of the future");
    let without = store.repository::<Account>().load("a").unwrap();
    assert_eq!((without.state.balance, without.state.folded), (33, 33));
}

#[test]
fn a_snapshot_of_another_schema_is_ignored() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>();
    accounts.execute("a", &Command::DepositThrice(1)).unwrap();
    accounts.snapshot("a").unwrap();
    let reworked = store.repository::<Reworked>().snapshot_every(0);
    assert_eq!(reworked.load("a").unwrap().state, Reworked { balance: 0, folded: 3 });
}

#[test]
fn a_snapshot_of_nothing_is_none() {
    let store = Store::temporary().unwrap();
    store.repository::<Account>().snapshot("a").unwrap();
    assert_eq!(store.repository::<Account>().snapshot_every(0).load("a").unwrap().version.get(), 0);
}

#[test]
fn snapshots_are_taken_in_the_background_as_the_stream_grows() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>().snapshot_every(10);
    for _ in 0..35 {
        accounts.execute("a", &Command::Deposit(1)).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let fresh = store.repository::<Account>().snapshot_every(0);
        let loaded = fresh.load("a").unwrap();
        assert_eq!(loaded.state.balance, 35);
        if loaded.state.folded == 5 {
            break;
        }
        assert!(Instant::now() < deadline, "{} events were folded again", loaded.state.folded);
        std::thread::yield_now();
    }
}

/// A count whose state panics at 1 when the thread that writes snapshots drops it.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Brittle {
    count: u64,
    #[serde(skip)]
    folded: u64,
}

impl Drop for Brittle {
    fn drop(&mut self) {
        let is_in_background = std::thread::current().name() == Some("filmstrip-snapshots");
        assert!(self.count != 1 || !is_in_background, "on purpose, when it is dropped");
    }
}

impl Aggregate for Brittle {
    const CATEGORY: &'static str = "Brittle";
    type Command = ();
    type Event = AccountEvent;
    type Error = Overdrawn;

    fn decide(&self, (): &()) -> Result<Vec<AccountEvent>, Overdrawn> {
        Ok(vec![Deposited { amount: 1 }])
    }

    fn evolve(&mut self, _: &AccountEvent) {
        (self.count, self.folded) = (self.count + 1, self.folded + 1);
    }
}

impl Snapshot for Brittle {
    const SCHEMA: u32 = 1;
}

/// One state that panicked when it was dropped ended the thread that writes snapshots, and no further one was taken.
#[test]
fn a_state_that_panics_when_it_is_dropped_ends_no_snapshots() {
    let store = Store::temporary().unwrap();
    let brittle = store.repository::<Brittle>().snapshot_every(1);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        brittle.execute("a", &()).unwrap();
        let fresh = store.repository::<Brittle>().snapshot_every(0).load("a").unwrap();
        if fresh.state.folded < fresh.state.count {
            break;
        }
        assert!(Instant::now() < deadline, "all {} events were folded", fresh.state.count);
    }
}

/// A backup was restored over a store whose index had ingested nothing beyond the backup, so that it was
/// kept; but its snapshots were of events that had been given up. Once the stream had grown to their version
/// again, its state was folded on top of them. A snapshot says which event is its last one, and one that is
/// of another history is not used, and keeps no newer one out.
#[test]
fn a_snapshot_of_a_history_that_was_given_up_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let (path, backup) = (directory.path().join("s"), directory.path().join("backup"));
    let deposit = |store: &Store, times: u64, amount: u64, snapshots: bool| {
        let accounts = store.repository::<Account>();
        for _ in 0..times {
            accounts.execute("a", &Command::Deposit(amount)).unwrap();
            if snapshots {
                accounts.snapshot("a").unwrap();
            }
        }
    };
    let store = Store::open(&path).unwrap();
    deposit(&store, 3, 1, false);
    store.backup(&backup).unwrap();
    deposit(&store, 4, 1_000, true);
    store.close().unwrap();
    std::fs::remove_dir_all(path.join("journal")).unwrap();
    std::fs::create_dir(path.join("journal")).unwrap();
    for entry in std::fs::read_dir(backup.join("journal")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), path.join("journal").join(entry.file_name())).unwrap();
    }

    let load = |store: &Store| store.repository::<Account>().snapshot_every(0).load("a").unwrap();
    for takes_one in [false, true] {
        let copy = directory.path().join(format!("copy, takes one: {takes_one}"));
        assert!(
            std::process::Command::new("cp")
                .arg("-r")
                .args([&path, &copy])
                .status()
                .unwrap()
                .success()
        );
        let store = Store::open(&copy).unwrap();
        deposit(&store, 1, 10, takes_one);
        if takes_one {
            let loaded = load(&store).state;
            assert_eq!((loaded.balance, loaded.folded), (13, 0), "a new snapshot is kept");
        }
        for grown in 1..=5 {
            deposit(&store, 1, 10, false);
            assert_eq!(load(&store).state.balance, 13 + 10 * grown, "version {}", 4 + grown);
        }
        let findings = store.verify().unwrap().findings;
        assert!(findings.is_empty(), "{findings:?}");
        let is_kept = !copy.join("index.damaged-1").exists();
        assert!(is_kept, "the index was not kept: nothing is shown");
    }
}

// ---- reading one's own writes --------------------------------------------------------------------

struct Balances;

impl Projection for Balances {
    const NAME: &'static str = "balances";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::of::<AccountEvent>()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let balance: u64 = view.get(event.stream.as_str())?.unwrap_or(0);
        let balance = match event.decode()? {
            Deposited { amount } => balance + amount,
            Withdrawn { amount } => balance - amount,
        };
        view.put(event.stream.as_str(), &balance)?;
        Ok(())
    }
}

#[test]
fn a_command_that_waits_for_a_view_finds_its_events_there() {
    let store = Store::temporary().unwrap();
    let balances = store.project(Balances).start().unwrap();
    let accounts = store.repository::<Account>().wait_for_view(&balances, Duration::from_secs(60));
    for n in 1..=100 {
        let done = accounts.execute("a", &Command::Deposit(1)).unwrap();
        assert!(!done.view_lagging);
        assert_eq!(balances.view().get::<u64>("Account-a").unwrap(), Some(n));
    }
    balances.pause();
    let hasty = accounts.wait_for_view(&balances, Duration::from_millis(1));
    let done = hasty.execute("a", &Command::Deposit(1)).unwrap();
    assert!(done.view_lagging, "the view cannot hold it");
    assert_eq!((done.version.get(), done.state.balance), (101, 101));
    balances.stop().unwrap();
    assert!(hasty.execute("a", &Command::Deposit(1)).unwrap().view_lagging);
    assert_eq!(store.head(), Position::new(102));
}

// ---- handles -----------------------------------------------------------------------------------

#[test]
fn a_repository_keeps_the_store_open_and_a_closed_store_says_so() {
    let store = Store::temporary().unwrap();
    let accounts = store.repository::<Account>().snapshot_every(1);
    drop(store.clone());
    accounts.execute("a", &Command::Deposit(1)).unwrap();
    store.close().unwrap();
    let error = accounts.load("a").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    let error: filmstrip::Error = accounts.execute("a", &Command::Deposit(1)).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

// ---- what does not survive JSON ----------------------------------------------------------------

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum DocEvent {
    Labelled {
        by: String,
        #[serde(flatten)]
        labels: BTreeMap<String, String>,
    },
}
impl Event for DocEvent {}

#[derive(Debug, Default, Clone)]
struct Doc {
    labels: BTreeMap<String, String>,
}

impl Aggregate for Doc {
    const CATEGORY: &'static str = "Doc";
    type Command = (&'static str, &'static str);
    type Event = DocEvent;
    type Error = std::convert::Infallible;

    fn decide(&self, (key, value): &Self::Command) -> Result<Vec<DocEvent>, Self::Error> {
        let labels = BTreeMap::from([((*key).to_owned(), (*value).to_owned())]);
        Ok(vec![DocEvent::Labelled { by: "ann".into(), labels }])
    }

    fn evolve(&mut self, DocEvent::Labelled { labels, .. }: &DocEvent) {
        self.labels.extend(labels.clone());
    }
}

/// The story: a label that a user called `by`, like a field of the event, made an event that is written with that
/// field twice. It was stored, because the variant's first event had been read back, and then the aggregate could never
/// be loaded or given a command again.
#[test]
fn an_event_that_cannot_be_read_back_is_refused_and_harms_nothing() {
    let store = Store::temporary().unwrap();
    let docs = store.repository::<Doc>();
    docs.execute("1", &("color", "red")).unwrap();
    let refused = docs.execute("1", &("by", "night")).unwrap_err();
    let ExecuteError::Store(error) = &refused else { panic!("{refused}") };
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for part in ["DocEvent", "Labelled", "duplicate field `by`"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(store.head(), Position::new(1));
    docs.execute("1", &("size", "big")).unwrap();
    let loaded = store.repository::<Doc>().load("1").unwrap();
    assert_eq!(loaded.version, Version::new(2));
    assert_eq!(loaded.state.labels.into_keys().collect::<Vec<_>>(), ["color", "size"]);
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum SetTo {
    SetTo(u64),
}
impl Event for SetTo {}

/// Folds its only kind of event into a state that JSON may not hold.
macro_rules! counters {
    ($($name:ident($state:ty), $set:path, $is_same:path;)*) => {$(
        #[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
        struct $name {
            state: $state,
            #[serde(skip)]
            folded: u64,
        }

        impl Aggregate for $name {
            const CATEGORY: &'static str = stringify!($name);
            type Command = u64;
            type Event = SetTo;
            type Error = std::convert::Infallible;

            fn decide(&self, to: &u64) -> Result<Vec<SetTo>, Self::Error> {
                Ok(vec![SetTo::SetTo(*to)])
            }

            fn evolve(&mut self, SetTo::SetTo(to): &SetTo) {
                self.state = $set(*to);
                self.folded += 1;
            }
        }

        impl Snapshot for $name {
            const SCHEMA: u32 = 1;

            fn is_same(&self, read_back: &$name) -> Option<bool> {
                $is_same(&self.state, &read_back.state)
            }
        }
    )*};
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Owner {
    Customer { id: u64 },
    Supplier { id: u64 },
}

fn supplier(id: u64) -> Option<Owner> {
    Some(Owner::Supplier { id })
}

fn customer(id: u64) -> Option<Owner> {
    Some(Owner::Customer { id })
}

fn nothing_within(_: u64) -> Option<Option<u64>> {
    Some(None)
}

fn unsaid<T>(_: &T, _: &T) -> Option<bool> {
    None
}

fn by_eq<T: PartialEq>(state: &T, read_back: &T) -> Option<bool> {
    Some(state == read_back)
}

counters! {
    Plain(Option<u64>), Some, unsaid;
    Twice(Option<Option<u64>>), nothing_within, unsaid;
    Unsure(Option<Owner>), customer, unsaid;
    Supplied(Option<Owner>), supplier, unsaid;
    Vouched(Option<Owner>), customer, by_eq;
    Denied(Option<Owner>), supplier, by_eq;
}

/// A snapshot is refused for `because`, or kept if that is `None`; a load yields the same state in any case.
fn check_snapshot<A>(state: impl Fn(&A) -> String, folded: fn(&A) -> u64, because: Option<&str>)
where
    A: Snapshot + Aggregate<Command = u64, Event = SetTo, Error = std::convert::Infallible>,
{
    let store = Store::temporary().unwrap();
    let repository = store.repository::<A>();
    for n in 1..=3 {
        repository.execute("1", &n).unwrap();
    }
    let taken = repository.snapshot("1");
    let replayed = store.repository::<A>().load("1").unwrap().state;
    let loaded = store.repository::<A>().snapshot_every(0).load("1").unwrap().state;
    assert_eq!(state(&loaded), state(&replayed), "{}", A::CATEGORY);
    match because {
        None => {
            taken.unwrap();
            assert_eq!(folded(&loaded), 0, "the snapshot of {} was not used", A::CATEGORY);
        }
        Some(because) => {
            let refused = taken.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            for part in [A::CATEGORY, because] {
                assert!(refused.to_string().contains(part), "{refused}");
            }
            assert_eq!(folded(&loaded), 3, "a snapshot of {} was kept", A::CATEGORY);
        }
    }
}

/// The story: a state that does not survive JSON came back from its snapshot as another state, and commands were
/// decided on that: `Some(None)` as `None`, a supplier as a customer. A snapshot changes how long a load takes, never
/// what it yields.
#[test]
fn a_snapshot_never_changes_what_a_load_yields() {
    macro_rules! check {
        ($name:ident, $because:expr) => {
            check_snapshot::<$name>(|it| format!("{:?}", it.state), |it| it.folded, $because);
        };
    }
    check!(Plain, None);
    check!(Twice, Some("`state` is written as an option in an option and reads back as none"));
    check!(Unsure, Some("`Snapshot::is_same` must say so"));
    check!(Supplied, Some("`Snapshot::is_same` must say so"));
    check!(Vouched, None);
    check!(Denied, Some("its state reads back as another one"));
}

// ---- what errors, logs and records may not hold ------------------------------------------------

const SECRET: &str = "correct horse";

/// Keeps all that is logged in this process.
struct Log(Mutex<String>);

static LOG: Log = Log(Mutex::new(String::new()));

impl tracing::field::Visit for &Log {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        let _ = writeln!(self.0.lock().unwrap(), "{field}: {value:?}");
    }
}

impl tracing::Subscriber for &'static Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("filmstrip")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut &LOG);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// All that can be read of an error: its message, its causes, and what `{:?}` shows.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(|error| format!("{error}\n{error:?}\n")).collect()
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Keeps {
    Kept { number: u64, kind: Option<Kind> },
    Mapped(BTreeMap<String, Option<Option<u8>>>),
}
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Kind {
    Plain,
}
impl Event for Keeps {
    fn upcast(old: StoredEvent) -> Result<StoredEvent, HandlerError> {
        if old.event_type == "Mapped" {
            serde_json::from_slice::<BTreeMap<String, Option<u8>>>(&old.payload)?;
        }
        Ok(old)
    }
}

/// Keeps words as the keys of its state, which does not survive JSON.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Keeper {
    words: BTreeMap<String, Option<Option<u8>>>,
}
impl Aggregate for Keeper {
    const CATEGORY: &'static str = "Keeper";
    type Command = bool;
    type Event = Keeps;
    type Error = std::convert::Infallible;
    fn decide(&self, bad: &bool) -> Result<Vec<Keeps>, Self::Error> {
        let inner = if *bad { None } else { Some(1) };
        Ok(vec![Keeps::Mapped(BTreeMap::from([(SECRET.to_owned(), Some(inner))]))])
    }
    fn evolve(&mut self, _: &Keeps) {
        self.words.insert(SECRET.to_owned(), Some(None));
    }
}
impl Snapshot for Keeper {
    const SCHEMA: u32 = 1;
}

/// Reads the payload by `Keeps`, by `RecordedEvent::json` and by serde itself in turn.
struct Reads;
impl Projection for Reads {
    const NAME: &'static str = "reads";
    const VERSION: u32 = 1;
    fn filter(&self) -> Filter {
        Filter::category("Keeper")
    }
    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        match event.version.get() % 4 {
            0 => drop(event.decode::<Keeps>()?),
            1 => drop(event.json::<u8>()?),
            2 => drop(serde_json::from_slice::<Vec<u8>>(&event.payload)?),
            _ => {
                view.put("row", SECRET)?;
                view.get::<u8>("row")?;
            }
        }
        Ok(())
    }
}

/// The story: serde's messages quote the value that they refuse, and these messages are logged, returned, and kept in
/// the records of what was parked: a payload with a password ended up in all three.
#[test]
fn no_error_log_or_record_holds_what_a_payload_does() {
    let name = "no_error_log_or_record_holds_what_a_payload_does";
    in_its_own_process(module_path!(), name, look_for_what_a_payload_holds);
}

fn look_for_what_a_payload_holds() {
    tracing::subscriber::set_global_default(&LOG).unwrap();
    let store = Store::temporary().unwrap();
    let bad = [
        serde_json::json!({ "number": SECRET, "kind": null }),
        serde_json::json!({ "number": 1, "kind": SECRET }),
        serde_json::json!({ "number": { SECRET: SECRET }, "kind": { SECRET: 1 } }),
        serde_json::json!(SECRET),
    ];
    let mut errors = Vec::new();
    for payload in &bad {
        let metadata = Metadata::default().user(SECRET).entry(SECRET, SECRET);
        let event = NewEvent::json("Kept", payload).unwrap().metadata(metadata);
        store.append("Keeper-1", ExpectedVersion::Any, [event]).unwrap();
        errors.push(told(
            &StoredEvent::json_of("Kept", 1, payload).unwrap().json::<u8>().unwrap_err(),
        ));
    }
    for event in store.read_stream("Keeper-1").collect().unwrap() {
        errors.push(told(&event.decode::<Keeps>().unwrap_err()));
        errors.push(told(&event.json::<u8>().unwrap_err()));
    }
    let keepers = store.repository::<Keeper>();
    errors.push(told(&keepers.load("1").unwrap_err()));
    errors.push(told(&keepers.execute("1", &false).unwrap_err()));
    keepers.execute("2", &false).unwrap();
    errors.push(told(&keepers.execute("2", &true).unwrap_err()));
    errors.push(told(&keepers.snapshot("2").unwrap_err()));
    let snapshots = store.repository::<Keeper>().snapshot_every(1);
    snapshots.execute("2", &false).unwrap();
    let refused = StoredEvent::json_of("Mapped", 1, &SECRET).unwrap().decode::<Keeps>();
    errors.push(told(&refused.unwrap_err()));

    let on_error = OnError::default().retries(0).then(ErrorAction::ParkEvent);
    let projection = store.project(Reads).on_error(on_error).start().unwrap();
    projection.wait_for(store.head(), Duration::from_secs(60)).unwrap();
    let parked = projection.parked().unwrap();
    assert!(parked.len() >= 4, "{parked:?}");
    errors.extend(parked.iter().map(|parked| format!("{parked:?}")));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !LOG.0.lock().unwrap().contains("no snapshot can be taken") {
        assert!(Instant::now() < deadline, "no snapshot was refused in the log");
        std::thread::sleep(Duration::from_millis(5));
    }
    let log = LOG.0.lock().unwrap().clone();
    assert!(log.contains("parked"), "{log}");
    for text in errors.iter().chain([&log]) {
        assert!(!text.contains(SECRET), "{text}");
        assert!(!text.contains("correct"), "{text}");
    }
}
