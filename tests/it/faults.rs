//! A system that fails beneath a whole process, its index and views too: system calls that return an
//! error, a disk that is full, a table of descriptors that is. The error is clear, nothing that was
//! acknowledged is lost, and with a healthy system again the store goes on.
//!
//! Linux only. What the machine lacks (`strace`, `prlimit`, the right to mount) is said, and left out.
//! `FILMSTRIP_ROUNDS=2 cargo test --release --test it faults:: -- --nocapture` for every n-th call.

#![cfg(target_os = "linux")]

use crate::common::test_name;
use filmstrip::{
    ErrorKind, ExpectedVersion, Filter, HandlerError, NewEvent, Projection, RecordedEvent, Store,
    ViewWriter,
};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const CHILD: &str = "FILMSTRIP_FAULTY_STORE";
const COMMITS: u64 = 14;
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts all events.
struct Count;

impl Projection for Count {
    const NAME: &'static str = "count";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, _: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let count: u64 = view.get("all")?.unwrap_or(0);
        Ok(view.put("all", &(count + 1))?)
    }
}

fn event(n: u64) -> NewEvent {
    // Large enough that a second segment is begun, and the first one indexed.
    NewEvent::bytes("Written", vec![n as u8; 100_000])
}

/// Not a test of its own: what the process does whose system fails. It says what it was told.
#[test]
fn child_whose_system_fails() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    match work(Path::new(&path)) {
        Ok(()) => println!("said unharmed"),
        Err(error) => println!("said failed {:?} {error}", error.kind()),
    }
}

fn work(path: &Path) -> filmstrip::Result<()> {
    let store = Store::open(path)?;
    let count = store.project(Count).start()?;
    let first = store.head().get() + 1;
    for n in first..first + COMMITS {
        let appended = store.append("A-1", ExpectedVersion::Any, [event(n)]);
        match appended.map_err(filmstrip::Error::from) {
            Ok(done) => println!("said acknowledged {}", done.position),
            Err(error) => {
                read_on(&store, n - 1)?;
                return Err(error);
            }
        }
    }
    count.wait_for(store.head(), PATIENCE)?;
    count.stop()?;
    store.close()
}

/// After a failed append, what was acknowledged can be read, and later appends are told the truth.
fn read_on(store: &Store, acknowledged: u64) -> filmstrip::Result<()> {
    let head = store.head().get();
    assert!(head >= acknowledged, "the head is at {head}, {acknowledged} was acknowledged");
    assert_eq!(store.read_all().collect()?.len() as u64, head);
    if let Err(error) = store.append("B-1", ExpectedVersion::Any, [event(0)]) {
        let kind = filmstrip::Error::from(error).kind();
        let expected = [ErrorKind::ReadOnly, ErrorKind::StorageFull, ErrorKind::Io];
        assert!(expected.contains(&kind), "a later append got {kind:?}");
    }
    Ok(())
}

/// Runs the child with `wrapper` in front, for at most a minute.
fn run(wrapper: &[&str], store: &Path) -> Output {
    let mut command = Command::new("timeout");
    command.arg("60").args(wrapper).arg(std::env::current_exe().unwrap());
    command.args([
        &test_name(module_path!(), "child_whose_system_fails"),
        "--exact",
        "--nocapture",
    ]);
    command.env(CHILD, store).env("RUST_BACKTRACE", "0").output().unwrap()
}

fn can_run(program: &str, arguments: &[&str]) -> bool {
    let ran = Command::new(program).args(arguments).output();
    let can = ran.is_ok_and(|output| output.status.success());
    if !can {
        println!("skipped: {program} is not there, or may not do it");
    }
    can
}

/// What the child has said: the last acknowledged position, and the error, if it met one.
fn judge_child(output: &Output, case: &str) -> (u64, Option<String>) {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {}\n{said}\n{errors}", output.status);
    let after = |word: &str| {
        let word = word.to_owned();
        said.lines().filter_map(move |line| Some(line.split_once(&word)?.1.to_owned()))
    };
    let acknowledged = after("said acknowledged ").next_back().map_or(0, |n| n.parse().unwrap());
    let failed = after("said failed ").next_back();
    if let Some(error) = &failed {
        let clear = ["Io", "StorageFull", "OutcomeUnknown", "Refusing", "Faulted", "Panicked"];
        assert!(clear.iter().any(|kind| error.starts_with(kind)), "{case}: {error}");
    }
    (acknowledged, failed)
}

/// With a healthy system again everything is there, the view agrees, and the store goes on.
fn judge_store(path: &Path, acknowledged: u64, case: &str) {
    let store = Store::open(path).unwrap_or_else(|e| panic!("{case}: {e}"));
    let events = store.read_all().collect().unwrap_or_else(|e| panic!("{case}: {e}"));
    assert!(events.len() as u64 >= acknowledged, "{case}: {} events", events.len());
    for (event, position) in events.iter().zip(1..) {
        assert_eq!(event.position.get(), position, "{case}");
        assert!(event.payload == event.payload[..1].repeat(100_000), "{case}: at {position}");
    }
    assert_eq!(events.len() as u64, store.head().get(), "{case}");
    let done = store.append("A-1", ExpectedVersion::Any, [event(1)]);
    let done = done.unwrap_or_else(|e| panic!("{case}: {e}"));
    let count = store.project(Count).start().unwrap_or_else(|e| panic!("{case}: {e}"));
    count.wait_for(done.position, PATIENCE).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_eq!(count.view().get("all").unwrap(), Some(done.position.get()), "{case}");
}

fn is_long() -> bool {
    std::env::var_os("FILMSTRIP_ROUNDS").is_some()
}

/// Runs the child with the `n`-th `call` of each thread failing, and judges it and its store. Whether it
/// met an error.
fn fail_call(call: &str, error: &str, n: u64) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let (trace, inject) =
        (format!("trace={call}"), format!("inject={call}:error={error}:when={n}"));
    let strace = ["strace", "-f", "-e", &trace, "-e", &inject, "-o", "/dev/null"];
    let case = format!("{call} number {n} is {error}");
    let (acknowledged, failed) = judge_child(&run(&strace, &store), &case);
    judge_store(&store, acknowledged, &case);
    failed.is_some()
}

#[test]
fn whichever_system_call_fails_the_acknowledged_stand_and_the_store_goes_on() {
    if !can_run("strace", &["-f", "-e", "trace=none", "-o", "/dev/null", "true"]) {
        return;
    }
    let mut failures = 0;
    for (call, error) in [
        ("fdatasync", "EIO"),
        ("fsync", "EIO"),
        ("pwrite64", "EIO"),
        ("pwrite64", "ENOSPC"),
        ("rename", "EIO"),
        ("openat", "EMFILE"),
    ] {
        // strace counts by thread, so that a later n may fail several calls, and a large one none.
        for n in (1..=40).step_by(if is_long() { 1 } else { 11 }) {
            failures += u64::from(fail_call(call, error, n));
        }
    }
    println!("figures: failed system calls: {failures} runs met one");
    assert!(failures > 0, "no run met a failure");
}

/// A full table was once taken for damage: whole views, or a whole index, were quarantined to be built
/// again, and the error said that they were damaged.
#[test]
fn a_full_table_of_descriptors_is_a_clear_error_and_moves_nothing_aside() {
    if !can_run("prlimit", &["--nofile=64", "true"]) {
        return;
    }
    let mut failures = 0;
    for descriptors in (6..=40).step_by(if is_long() { 1 } else { 4 }) {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let limit = format!("--nofile={descriptors}");
        let case = format!("{descriptors} descriptors");
        let (acknowledged, failed) = judge_child(&run(&["prlimit", &limit], &store), &case);
        failures += u64::from(failed.is_some());
        for entry in std::fs::read_dir(&store).into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.contains(".damaged-"), "{case}: {name} is there, {failed:?}");
        }
        judge_store(&store, acknowledged, &case);
    }
    println!("figures: full tables of descriptors: {failures} runs met one");
    assert!(failures > 0, "no run met a failure");
}

/// A sync that failed while sled opened its files was taken for damage, and a healthy index was quarantined.
#[test]
fn a_failed_sync_while_a_store_is_opened_moves_nothing_aside() {
    if !can_run("strace", &["-f", "-e", "trace=none", "-o", "/dev/null", "true"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    judge_child(&run(&["env"], &store), "a healthy disk");
    for n in 1..=8 {
        let inject = format!("inject=fsync:error=EIO:when={n}");
        let strace = ["strace", "-f", "-e", "trace=fsync", "-e", &inject, "-o", "/dev/null"];
        let case = format!("sync {n} fails");
        let (acknowledged, failed) = judge_child(&run(&strace, &store), &case);
        for entry in std::fs::read_dir(&store).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.contains(".damaged-"), "{case}: {name} is there, {failed:?}");
        }
        let head = Store::open(&store).unwrap().head().get();
        assert!(head >= acknowledged, "{case}: {head}");
    }
}

/// Where memory is exhausted, an allocation of Rust's ends the process, and one of sled's panics: that was taken
/// for damage, and healthy views and a healthy index were quarantined.
#[test]
fn exhausted_memory_moves_nothing_aside_and_loses_nothing() {
    if !can_run("prlimit", &["--as=2000000000", "true"]) {
        return;
    }
    let (mut failures, mib) = (0, 1 << 20);
    for limit in (100..=580).step_by(if is_long() { 8 } else { 60 }) {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let case = format!("{limit} MiB");
        judge_child(&run(&["env"], &store), &case);
        let acknowledged = Store::open(&store).unwrap().head().get();
        let output = run(&["prlimit", &format!("--as={}", limit * mib)], &store);
        let said = String::from_utf8_lossy(&output.stdout);
        failures += u64::from(!output.status.success() || said.contains("said failed"));
        for entry in std::fs::read_dir(&store).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(!name.contains(".damaged-"), "{case}: {name} is there: {said}\n{errors}");
        }
        judge_store(&store, acknowledged, &case);
    }
    println!("figures: exhausted memory: {failures} runs met it");
}

/// Nobody is bound by a number of threads who may raise it, so each n-th start of one fails instead.
#[test]
fn a_full_table_of_threads_is_a_clear_error_and_afterwards_the_store_goes_on() {
    if !can_run("strace", &["-f", "-e", "trace=none", "-o", "/dev/null", "true"]) {
        return;
    }
    let numbers = (1..=16).step_by(if is_long() { 1 } else { 3 });
    let failures = numbers.filter(|n| fail_call("clone3,clone", "EAGAIN", *n)).count();
    println!("figures: full tables of threads: {failures} runs met one");
    assert!(failures > 0, "no run met a failure");
}

/// A filesystem in memory, unmounted at the end.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(bytes: u64) -> Option<Mounted> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let size = format!("size={bytes}");
        can_run("mount", &["-t", "tmpfs", "-o", &size, "none", path]).then(|| Mounted(directory))
    }

    fn grow(&self, bytes: u64) {
        let size = format!("remount,size={bytes}");
        assert!(can_run("mount", &["-o", &size, self.0.path().to_str().unwrap()]));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Two errors once said that something is damaged when it was only the system that failed: that of sled's
/// last sync, at closing, which panics; and that of a write to the views, whose code sled forgets.
#[test]
fn a_failed_write_of_sleds_or_a_sync_while_it_closes_is_not_told_as_damage() {
    if !can_run("strace", &["-f", "-e", "trace=none", "-o", "/dev/null", "true"]) {
        return;
    }
    for (call, numbers) in [("fsync", 19..=22), ("pwrite64", 5..=8)] {
        let failures = numbers.filter(|n| fail_call(call, "EIO", *n)).count();
        assert!(failures > 0, "{call}: no run met a failure");
    }
}

#[test]
fn a_full_disk_beneath_index_and_views_loses_nothing_and_with_space_again_it_goes_on() {
    const MIB: u64 = 1 << 20;
    let mut failures = 0;
    for kib in (1_000..=9_000).step_by(if is_long() { 250 } else { 1_750 }) {
        let Some(disk) = Mounted::new(kib << 10) else { return };
        let store = disk.0.path().join("store");
        let case = format!("a disk of {kib} KiB");
        let (acknowledged, failed) = judge_child(&run(&[], &store), &case);
        failures += u64::from(failed.is_some());
        disk.grow(64 * MIB);
        judge_store(&store, acknowledged, &case);
    }
    println!("figures: full disks: {failures} runs met one");
    assert!(failures > 0, "no disk was ever full");
}
