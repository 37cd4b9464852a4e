//! What the tests share: the program, stores, writers beside it, and the bytes of a directory.

use filmstrip::chrono::{DateTime, Utc};
use filmstrip::testing::ManualClock;
use filmstrip::uuid::Uuid;
use filmstrip::{Commit, ExpectedVersion, Follower, Metadata, NewEvent, RecordedEvent, Store};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything here takes, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a run of the program has done.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program, without what the environment of the tests says.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_filmstrip"));
    for variable in ["FILMSTRIP_STORE", "FILMSTRIP_STUDIO", "FILMSTRIP_TOKEN", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the program on the store in `store`.
pub(crate) fn run(store: &Path, arguments: &[&str]) -> Done {
    run_with(store, arguments, "")
}

/// The same, with `input` on standard input.
pub(crate) fn run_with(store: &Path, arguments: &[&str], input: &str) -> Done {
    let mut command = program();
    command.arg("-d").arg(store).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may end before it has read everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let done = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
}

/// What the program prints, which must succeed.
#[track_caller]
pub(crate) fn ok(store: &Path, arguments: &[&str]) -> String {
    let done = run(store, arguments);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{arguments:?}\n{}", done.out);
    done.out
}

/// The JSON documents that the program prints, one on each line.
#[track_caller]
pub(crate) fn documents(store: &Path, arguments: &[&str]) -> Vec<Value> {
    let out = ok(store, &[&["--json"], arguments].concat());
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

/// The one JSON document that the program prints.
#[track_caller]
pub(crate) fn document(store: &Path, arguments: &[&str]) -> Value {
    let mut documents = documents(store, arguments);
    assert_eq!(documents.len(), 1, "{documents:?}");
    documents.remove(0)
}

/// Fails with exit code 2 and one sentence, which has these words.
#[track_caller]
pub(crate) fn refused(done: &Done, words: &[&str]) {
    assert_eq!(done.code, 2, "{}\n{}", done.out, done.err);
    assert_eq!(done.err.lines().count(), 1, "{}", done.err);
    assert!(done.err.starts_with("filmstrip: "), "{}", done.err);
    for word in words {
        assert!(done.err.contains(word), "{word:?} is not in {}", done.err);
    }
}

/// An event's id that says which one it is.
pub(crate) fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x0197_c2a0_7e3c_7cc3_98c4_0000_0000_0000 + n)
}

pub(crate) fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

/// A store with seven events of each kind that there is: metadata, tags, bytes, causes, commits of several streams.
pub(crate) fn sample(path: &Path) {
    let clock = ManualClock::new(at("2025-11-27T14:00:00.000001Z"));
    let store = Store::builder().clock(clock.clone()).open(path).unwrap();
    let json = |n: u128, event_type: &str, data: Value| {
        NewEvent::json(event_type, &data).unwrap().id(id(n))
    };
    let placed =
        json(1, "Placed", json!({ "total": 5, "address": { "city": "Boston", "zip": "02101" } }));
    let by_alice = Metadata::default().user("alice").entry("ip", "192.0.2.7").command_id(id(100));
    store
        .append(
            "Order-1",
            ExpectedVersion::NoStream,
            [placed.metadata(by_alice).tag("shop:a").tag("vip")],
        )
        .unwrap();
    clock.advance(Duration::from_secs(1));
    let caused = |n: u128| Metadata::default().causation_id(id(n)).correlation_id(id(1));
    let taken = json(2, "Taken", json!({ "amount": 5.50 })).metadata(caused(1));
    let moved = json(3, "Moved", json!({ "address": { "city": "Cambridge" } })).metadata(caused(1));
    let both = Commit::new().append("Payment-1", ExpectedVersion::NoStream, [taken]).append(
        "Order-1",
        ExpectedVersion::StreamExists,
        [moved],
    );
    store.commit(both).unwrap();
    clock.advance(Duration::from_secs(1));
    let scan = NewEvent::bytes("Scanned", vec![0, 1, 254, 255]).id(id(4)).schema_version(3);
    store
        .append(
            "Parcel-1",
            ExpectedVersion::NoStream,
            [scan.occurred_at(at("2025-11-20T00:00:00Z"))],
        )
        .unwrap();
    clock.advance(Duration::from_secs(1));
    let shipped = json(5, "Shipped", json!(null)).metadata(caused(2));
    store.append("Order-1", ExpectedVersion::Any, [shipped]).unwrap();
    clock.advance(Duration::from_secs(1));
    let two =
        [json(6, "Placed", json!({ "total": 7 })).tag("shop:b"), json(7, "Paid", json!([1, "x"]))];
    store.append("Order-2", ExpectedVersion::NoStream, two).unwrap();
    store.close().unwrap();
}

/// Appends one event to a closed store.
pub(crate) fn append(store: &Path, event_type: &str) {
    let store = Store::open(store).unwrap();
    store
        .append("Later-1", ExpectedVersion::Any, [NewEvent::json(event_type, &()).unwrap()])
        .unwrap();
    store.close().unwrap();
}

/// A thread that writes to a store that this process has open, until it is stopped.
pub(crate) struct Writer {
    store: Store,
    is_over: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn on(path: &Path) -> Writer {
        let store = Store::open(path).unwrap();
        let (is_over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (store, is_over, written) =
                (store.clone(), Arc::clone(&is_over), Arc::clone(&written));
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let event = NewEvent::json("Ticked", &written.load(Ordering::Relaxed)).unwrap();
                    store.append("Clock-1", ExpectedVersion::Any, [event]).unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let writer = Writer { store, is_over, written, thread: Some(thread) };
        writer.wait_for(1);
        writer
    }

    /// Waits until so many more events were written.
    pub(crate) fn wait_for(&self, events: u64) {
        let until = self.written.load(Ordering::Relaxed) + events;
        wait_until("the writer", || self.written.load(Ordering::Relaxed) >= until);
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All events of a store.
pub(crate) fn all(store: &Path) -> Vec<RecordedEvent> {
    Follower::open(store).unwrap().read().collect().unwrap()
}

/// The bytes of all files below a directory, and that of directories, by their paths.
pub(crate) fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(below) = directories.pop() {
        for entry in fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            match path.is_dir() {
                true => {
                    found.insert(name + "/", Vec::new());
                    directories.push(path);
                }
                false => drop(found.insert(name, fs::read(&path).unwrap())),
            }
        }
    }
    found
}
