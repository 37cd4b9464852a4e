//! A process that forks while it has a store open.
//!
//! Once, both sides were told `Ok` for the same positions, and what the child appended was lost; a program that
//! became a daemon after it had opened its store hung for ever in its first wait for a thread. Now the store belongs
//! to the process that opened it: in the child each call is an error that says so, none of them waits, and dropping
//! takes nothing from the parent.
//!
//! Nothing here may be unsafe, so a library in C forks, preloaded beneath a process of its own. Linux only, and only
//! with a C compiler.

use crate::common::child;
use crate::common::domain::{Counts, Ticked, Ticks, scratch};
use crate::kill::work::say;
use filmstrip::copy::CopyAs;
use filmstrip::process::{Effects, Trigger};
use filmstrip::{
    Error, ErrorKind, ExpectedVersion, Filter, Follower, HandlerError, NewEvent, Position,
    ProcessManager, ReadModel, RecordedEvent, Result, Store,
};
use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::{Command, Stdio, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CHILD: &str = "FILMSTRIP_FORKING";
const PATIENCE: Duration = Duration::from_secs(60);
const BRIEFLY: Duration = Duration::from_millis(10);

/// Does nothing for the events of doors.
#[derive(Default, Clone)]
struct Idle;

impl ProcessManager for Idle {
    const NAME: &'static str = "idle";
    type Event = Ticked;

    fn filter() -> Filter {
        Filter::category("Door")
    }

    fn route(_: &RecordedEvent) -> std::result::Result<Option<String>, HandlerError> {
        Ok(None)
    }

    fn react(&self, _: Trigger<'_>) -> std::result::Result<Vec<Ticked>, HandlerError> {
        Ok(Vec::new())
    }

    fn evolve(&mut self, _: &Ticked) {}

    fn effect(
        &self,
        _: &Ticked,
        _: &mut Effects<'_>,
    ) -> std::result::Result<Vec<Ticked>, HandlerError> {
        Ok(Vec::new())
    }
}

#[derive(Default)]
struct Doors(u64);

impl ReadModel for Doors {
    fn filter() -> Filter {
        Filter::category("Door")
    }

    fn apply(&mut self, _: &RecordedEvent) -> std::result::Result<(), HandlerError> {
        self.0 += 1;
        Ok(())
    }
}

fn append(store: &Store, bytes: usize) -> Result<Position> {
    let event = NewEvent::bytes("Opened", vec![7; bytes]);
    Ok(store.append("Door-1", ExpectedVersion::Any, [event])?.position)
}

/// Forks; true in the child, which ends if it hangs.
fn fork() -> bool {
    let is_child = parent_id() == 0;
    if is_child {
        std::thread::spawn(|| {
            std::thread::sleep(PATIENCE);
            say("said hung");
            std::process::abort();
        });
    }
    is_child
}

/// Waits for the child; its status.
fn wait() -> u32 {
    parent_id()
}

/// What was asked in the child, and what came of it.
type Asked = (&'static str, Option<ErrorKind>);

fn asked<T, E: Into<Error>>(what: &'static str, answer: std::result::Result<T, E>) -> Asked {
    (what, answer.err().map(|error| error.into().kind()))
}

/// Not a test of its own: a process that forks with everything open that a store has.
#[test]
fn child_that_forks() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let path = Path::new(&path);
    let store = Store::open(path.join("store")).unwrap();
    let temporary = Store::temporary().unwrap();
    let closed = path.join("closed");
    Store::open(&closed).unwrap().close().unwrap();
    let repair = Store::repair(&closed).unwrap();

    for _ in 0..3 {
        append(&store, 1).unwrap();
    }
    let counts = store.project(Counts).start().unwrap();
    let (view, model) = (counts.view(), store.read_model::<Doors>().unwrap());
    let process = store.process::<Idle>().start().unwrap();
    let repository = store.repository::<Ticks>().snapshot_every(1);
    let bus = repository.clone().bus().workers(2).start().unwrap();
    let (ticket, other_ticket) = (bus.send("1", ()).unwrap(), bus.send("1", ()).unwrap());
    let mut subscription = store.subscribe().start().unwrap();
    subscription.recv_timeout(PATIENCE).unwrap();
    let mut consumer = store.subscribe().category("Door").group("g").start().unwrap();
    let [one, other, _left] =
        [(); 3].map(|()| consumer.next().expect("three doors were opened").unwrap());
    let follower = Follower::open(path.join("store")).unwrap();
    let mut following = follower.read().follow();
    store.drain(PATIENCE).unwrap();

    if fork() {
        let asked = [
            asked("append", append(&store, 1)),
            asked("append elsewhere", append(&temporary, 1)),
            asked("read_stream", store.read_stream("Door-1").collect()),
            asked("read_all", store.read_all().collect()),
            asked("stream_info", store.stream_info("Door-1")),
            asked("streams", store.streams().collect()),
            asked("tracked", store.tracked("c")),
            asked("subscribe", store.subscribe().start()),
            asked("backup", store.backup(path.join("backup"))),
            asked("verify", store.verify()),
            asked("rebuild_index", store.rebuild_index()),
            asked("check_hash", store.check_hash(&store.head_hash())),
            asked("drain", store.drain(BRIEFLY)),
            asked("view", view.get::<u64>("Door-1")),
            asked("view, read", view.read(|view| view.prefix::<u64>(""))),
            asked("projection, wait", counts.wait_for(store.head(), Duration::MAX)),
            asked("projection, parked", counts.parked()),
            asked("projection, rebuild", counts.rebuild()),
            asked("projection, stop", counts.stop()),
            asked("project", store.project(Counts).start()),
            asked("remove_projection", store.remove_projection("none")),
            asked("read model", model.read(|doors| doors.0)),
            asked("read model, wait", model.wait_for(Position::new(99), Duration::MAX)),
            asked("read_model", store.read_model::<Doors>()),
            asked("process, wait", process.wait_for(Position::new(99), Duration::MAX)),
            asked("process, stop", process.stop()),
            asked("process", store.process::<Idle>().start()),
            asked("load", repository.load("1")),
            asked("history", repository.history("1")),
            asked("snapshot", repository.snapshot("1")),
            asked("execute", repository.execute("1", &())),
            asked("bus, send", bus.send("1", ())),
            asked("bus", repository.clone().bus().start()),
            asked("ticket", ticket.wait()),
            asked("ticket, briefly", other_ticket.wait_timeout(PATIENCE).expect("an answer")),
            asked("subscription", subscription.recv_timeout(PATIENCE)),
            asked("subscription, next", subscription.next().expect("an error")),
            asked("subscription, channel", subscription.receiver().recv().expect("an error")),
            asked("consumer", consumer.recv_timeout(PATIENCE)),
            asked("consumer, next", consumer.next().expect("an error")),
            asked("ack", one.ack()),
            asked("nack", other.nack(filmstrip::group::Nack::Park)),
            asked("cursor", store.group("g").cursor()),
            asked("replay_parked", store.group("g").replay_parked()),
            asked("group", store.subscribe().category("Door").group("g").start()),
            asked("follower", follower.head()),
            asked("follower, read", follower.read().collect()),
            asked("following", following.next().expect("an error")),
            asked("repair", repair.verify()),
            asked("repair, rebuild", repair.rebuild_index()),
            asked("repair, export", repair.export(path.join("export"))),
            asked("copy", store.copy_into(path.join("copy"), |_| Ok(CopyAs::Unchanged))),
            asked("open", Store::open(path.join("of the child"))),
            asked("temporary", Store::temporary()),
            asked("close", temporary.clone().close()),
        ];
        let wrong = asked.iter().filter(|(_, kind)| *kind != Some(ErrorKind::Forked));
        let wrong: Vec<_> = wrong.collect();
        say(&format!("said wrong: {wrong:?}"));
        assert!(subscription.next().is_none() && consumer.next().is_none(), "an error is the last");
        counts.pause();
        assert_eq!(subscription.position(), Position::START);
        subscription.stopper().stop();
        bus.close();
        // In whatever order: none of it waits.
        drop((repair, temporary, following, follower, consumer, subscription, bus, repository));
        drop((process, model, view, counts, store));
        let left =
            ["backup", "export", "copy", "of the child"].map(|name| path.join(name).exists());
        exit(i32::from(left != [false; 4]) + 2 * i32::from(!wrong.is_empty()));
    }
    assert_eq!(wait(), 0, "the child did not end as it should");

    // Nothing of the parent's has changed.
    for locked in [path.join("store"), closed, temporary.path().to_owned()] {
        let error = Store::open(&locked).expect_err("its lock is held");
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    }
    let position = append(&store, 1).unwrap();
    assert_eq!(ticket.wait().unwrap().version.get(), 1);
    assert!(subscription.recv_timeout(PATIENCE).is_ok());
    one.ack().unwrap();
    other.ack().unwrap();
    counts.wait_for(position, PATIENCE).unwrap();
    assert_eq!(view.get::<u64>("Door-1").unwrap(), Some(4));
    model.wait_for(position, PATIENCE).unwrap();
    assert_eq!(model.read(|doors| doors.0).unwrap(), 4);
    assert_eq!(repository.execute("1", &()).unwrap().version.get(), 3);
    assert!(repair.verify().unwrap().is_whole());
    append(&temporary, 1).unwrap();
    let of_the_temporary = temporary.path().to_owned();
    assert!(of_the_temporary.exists());
    temporary.close().unwrap();
    assert!(!of_the_temporary.exists(), "the parent removes what is its own");
    drop((bus, consumer, subscription, repository, process, model, view, counts));
    assert!(store.verify().unwrap().is_whole());
    store.close().unwrap();
    let store = Store::open(path.join("store")).unwrap();
    assert_eq!(store.stream_info("Door-1").unwrap().count, 4);
    say("said done");
}

/// Not a test of its own: a process that becomes a daemon after it has opened a store.
#[test]
fn child_that_becomes_a_daemon() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Store::open(Path::new(&path).join("store")).unwrap();
    append(&store, 1).unwrap();
    if !fork() {
        exit(0);
    }
    // Enough to need a further segment, and so the thread that prepares it.
    let refused = (0..20).filter_map(|_| append(&store, 128 << 10).err());
    let refused = refused.filter(|error| error.kind() == ErrorKind::Forked).count();
    drop(store);
    say(&format!("said refused {refused}"));
    exit(0);
}

/// Not a test of its own: a process that forks again and again while its threads are at work, so that any lock may
/// be held at the fork by a thread that the child does not have.
#[test]
fn child_that_forks_beside_busy_threads() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let rounds = std::env::var("FILMSTRIP_ROUNDS").map_or(25, |n| n.parse().expect("a number"));
    let store = Store::open(Path::new(&path).join("store")).unwrap();
    let (counts, model) = (store.project(Counts).start().unwrap(), store.read_model().unwrap());
    let (done, mut acknowledged) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        let busy = || {
            let mut appended = 0;
            while !done.load(Ordering::Relaxed) {
                append(&store, 500).unwrap();
                appended += 1;
                let read = store.read_stream("Door-1").backwards().limit(1).collect().unwrap();
                assert_eq!(read.len(), 1);
                counts.view().get::<u64>("Door-1").unwrap();
                model.read(|doors: &Doors| doors.0).unwrap();
            }
            appended
        };
        let threads = [(); 3].map(|()| scope.spawn(busy));
        for round in 0..rounds {
            std::thread::sleep(Duration::from_micros(round * 397 % 3_000));
            let subscription = store.subscribe().start().unwrap();
            let reading = store.read_all().iter().unwrap();
            if fork() {
                let asked = [
                    asked("append", append(&store, 1)),
                    asked("read_stream", store.read_stream("Door-1").collect()),
                    asked("read_all", store.read_all().collect()),
                    asked("view", counts.view().get::<u64>("Door-1")),
                    asked("read model", model.read(|doors| doors.0)),
                    asked("wait", counts.wait_for(Position::new(u64::MAX), Duration::MAX)),
                    asked("subscription", subscription.recv_timeout(Duration::MAX)),
                    asked("close", store.clone().close()),
                ];
                drop((reading, subscription));
                exit(i32::from(asked.iter().any(|(_, kind)| *kind != Some(ErrorKind::Forked))));
            }
            assert_eq!(wait(), 0, "round {round}");
        }
        done.store(true, Ordering::Relaxed);
        acknowledged = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    });
    drop((counts, model));
    assert!(store.verify().unwrap().is_whole());
    store.close().unwrap();
    let store = Store::open(Path::new(&path).join("store")).unwrap();
    assert_eq!(store.head(), Position::new(acknowledged));
    say(&format!("figures: forks beside busy threads: {rounds}"));
}

/// What a process in `directory`, beneath which getppid forks, says until it and what it forked have ended.
fn run(directory: &Path, name: &str) -> Option<String> {
    let (source, library) = (directory.join("fork.c"), directory.join("fork.so"));
    std::fs::write(&source, include_str!("fork.c")).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-fPIC", "-shared", "-o"]).arg(&library).arg(&source);
    match compiler.status() {
        Ok(status) => assert!(status.success(), "the library does not compile"),
        Err(error) => {
            println!("skipped: forks: no C compiler: {error}");
            return None;
        }
    }
    let output = child(module_path!(), name)
        .env(CHILD, directory)
        .env("LD_PRELOAD", &library)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, wrong) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{wrong}");
    Some(said.into_owned())
}

#[test]
fn whatever_is_called_in_a_forked_process_is_an_error_and_its_parent_goes_on() {
    let directory = scratch();
    let Some(said) = run(directory.path(), "child_that_forks") else { return };
    assert!(said.contains("said wrong: []") && said.contains("said done"), "{said}");
}

#[test]
fn a_daemon_that_opened_its_store_too_early_is_told_so_and_does_not_hang() {
    let directory = scratch();
    let Some(said) = run(directory.path(), "child_that_becomes_a_daemon") else { return };
    assert!(said.contains("said refused 20"), "{said}");
    // The lock went with the last of both.
    let store = Store::open(directory.path().join("store")).unwrap();
    assert_eq!(store.head(), Position::new(1));
}

/// `FILMSTRIP_ROUNDS=1000 cargo test --release --test it kill::busy_threads -- --nocapture` for a long run.
#[test]
fn a_fork_beside_busy_threads_hangs_nobody_and_takes_nothing() {
    let directory = scratch();
    let name = "child_that_forks_beside_busy_threads";
    let Some(said) = run(directory.path(), name) else { return };
    let figures = said.lines().find(|line| line.contains("figures: "));
    println!("{}", figures.expect("the child came to its end"));
}
