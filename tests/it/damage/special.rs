//! Something else in the place of a file: a FIFO, a directory, a device, a socket, or a file of nothing but holes
//! that is longer than memory.
//!
//! `FILMSTRIP_ROUNDS=1000 cargo test --release --test it damage::special -- --nocapture` for a long run.

use crate::common::domain::{Counts, scratch};
use crate::common::{Random, seed, variable};
use crate::damage::copy;
use filmstrip::repair::Finding;
use filmstrip::{Error, ErrorKind, ExpectedVersion, Follower, NewEvent, Result, Store};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const HOLES_BYTES: u64 = 1 << 40;

/// A store that was closed, with two segments, an index with sorted tables, and a view.
pub(super) fn closed() -> TempDir {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let counts = store.project(Counts).start().unwrap();
    for n in 0..30 {
        let event = NewEvent::bytes("Written", vec![n; 60_000]);
        store.append("S-1", ExpectedVersion::Any, [event]).unwrap();
    }
    counts.wait_for(store.head(), PATIENCE).unwrap();
    counts.stop().unwrap();
    store.close().unwrap();
    directory
}

/// The files of a store, by their paths in it.
pub(super) fn files(store: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![store.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => files.push(path.strip_prefix(store).unwrap().to_owned()),
            }
        }
    }
    files.sort_unstable();
    files
}

pub(super) type Operation = fn(&Path) -> Result<()>;

pub(super) const OPERATIONS: [(&str, Operation); 4] = [
    ("open", |path| Store::open(path)?.close()),
    ("verify_at", |path| Store::verify_at(path).map(drop)),
    ("export", |path| Store::repair(path)?.export(scratch().path().join("exported")).map(drop)),
    ("follow", |path| Follower::open(path)?.read().limit(5).collect().map(drop)),
];

/// Does it on a thread of its own, so that a call that hangs is noticed.
pub(super) fn in_time(operation: Operation, path: &Path, case: &str) -> Result<()> {
    let path = path.to_owned();
    on_its_own_thread(move || operation(&path), case)
}

fn on_its_own_thread<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
    case: &str,
) -> T {
    let (done, wait) = channel();
    std::thread::spawn(move || done.send(call()));
    wait.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{case}: it hangs or panics: {e}"))
}

/// Does everything with a store in which `replace` has changed one file. Nothing but the files that the store
/// makes anew can go unnoticed.
fn check(kind: &str, replace: impl Fn(&Path)) {
    let (store, mut tried) = (closed(), 0);
    let files = files(store.path());
    for name in ["MANIFEST", "lock", "journal/durable", "index.checkpoint", "index/db", "views/db"]
    {
        assert!(files.iter().any(|file| file == Path::new(name)), "{name}: {files:?}");
    }
    for file in &files {
        for (operation, run) in OPERATIONS {
            let case = format!("{operation} with {kind} in the place of {}", file.display());
            let damaged = copy(store.path());
            replace(&damaged.path().join(file));
            tried += 1;
            if let Err(error) = in_time(run, damaged.path(), &case) {
                check_named(&error, &[file], &case);
            }
        }
    }
    println!("figures: {kind} in the place of a file: {tried} calls");
}

/// What an error says of a store in which these files are no files: the name of one of them.
fn check_named(error: &Error, files: &[&PathBuf], case: &str) {
    let is_named = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::InvalidInput);
    assert!(is_named, "{case}: {error}");
    let mut names = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap());
    assert!(names.any(|name| error.to_string().contains(name)), "{case}: {error}");
}

fn remove_and(make: impl Fn(&Path)) -> impl Fn(&Path) {
    move |path| {
        fs::remove_file(path).unwrap();
        make(path);
    }
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn make_loop(path: &Path) {
    symlink(path.file_name().unwrap(), path).unwrap();
}

fn make_socket(path: &Path) {
    // A socket's path may be no longer than some hundred bytes.
    let short = scratch();
    let listener = UnixListener::bind(short.path().join("s")).unwrap();
    fs::rename(short.path().join("s"), path).unwrap();
    drop(listener);
}

/// A FIFO in the place of a segment, of the checkpoint or of sled's database made open, verify_at, export and
/// follow wait for ever for somebody to write into it. It is an error that names the file, at once, or what was
/// there is made anew.
#[test]
fn a_fifo_in_the_place_of_any_file_is_named_or_healed_at_once() {
    check("a FIFO", remove_and(make_fifo));
}

/// The same of what else is not a file.
#[test]
fn a_directory_device_or_socket_in_the_place_of_any_file_is_named_or_healed_at_once() {
    check("a directory", remove_and(|path| fs::create_dir(path).unwrap()));
    check("a device", remove_and(|path| symlink("/dev/zero", path).unwrap()));
    check("a socket", remove_and(make_socket));
}

/// A symbolic link that led to itself was an error of the system's, as if another attempt could succeed, and an index
/// or views were not made anew in its place.
#[test]
fn a_link_to_itself_in_the_place_of_any_file_is_named_or_healed_at_once() {
    check("a link to itself", remove_and(make_loop));
}

/// A file in the place of the directory `views` stopped every projection, and verifying named the copy that it had
/// made. What is in the place of the index or of views is found, and moved aside when they are needed.
#[test]
fn whatever_is_in_the_place_of_a_directory_is_found_and_moved_aside() {
    type Make = fn(&Path);
    let kinds: [(&str, Make); 6] = [
        ("a FIFO", make_fifo),
        ("a socket", make_socket),
        ("a device", |path| symlink("/dev/zero", path).unwrap()),
        ("an empty file", |path| drop(File::create(path).unwrap())),
        ("a link to itself", make_loop),
        ("a link that leads nowhere", |path| symlink("nowhere", path).unwrap()),
    ];
    let store = closed();
    for name in ["index", "index/packs", "views"] {
        for (kind, make) in kinds {
            let case = format!("{kind} in the place of {name}");
            let damaged = copy(store.path());
            let path = damaged.path().to_owned();
            fs::remove_dir_all(path.join(name)).unwrap();
            make(&path.join(name));
            let verified = on_its_own_thread(move || Store::verify_at(path), &case);
            let findings = verified.unwrap_or_else(|e| panic!("{case}: {e}")).findings;
            let named = |finding: &Finding| finding.file.starts_with(damaged.path());
            assert!(!findings.is_empty() && findings.iter().all(named), "{case}: {findings:?}");
            let path = damaged.path().to_owned();
            on_its_own_thread(move || use_view(&path), &case)
                .unwrap_or_else(|e| panic!("{case}: {e}"));
            let verified = Store::verify_at(damaged.path()).unwrap();
            assert!(verified.is_whole(), "{case}: {:#?}", verified.findings);
        }
    }
}

/// A directory in the place of the note of the closed views was `Corrupt` when a view was first started. It is moved
/// aside, with what is in it.
#[test]
fn a_directory_in_the_place_of_the_note_of_closed_views_is_moved_aside() {
    let store = closed();
    for number in 1..=3 {
        let _ = fs::remove_file(store.path().join("views.closed"));
        fs::create_dir(store.path().join("views.closed")).unwrap();
        fs::write(store.path().join("views.closed/notes"), "years of work").unwrap();
        use_view(store.path()).unwrap();
        let kept = format!("views.closed.damaged-{number}/notes");
        assert_eq!(fs::read(store.path().join(kept)).unwrap(), b"years of work");
    }
    assert!(Store::verify_at(store.path()).unwrap().is_whole());
}

/// Opens the store and its view, and closes it when that has come to its end.
fn use_view(path: &Path) -> Result<()> {
    let store = Store::open(path)?;
    let counts = store.project(Counts).start()?;
    counts.wait_for(store.head(), PATIENCE)?;
    counts.stop()?;
    store.close()
}

/// A sparse manifest or mark of a terabyte aborted the process in the allocator; a sparse checkpoint, or a sparse
/// database of the index, took all memory or minutes. No length that a file claims is believed.
#[test]
fn a_file_that_is_made_longer_than_memory_is_named_or_healed_at_once() {
    check("a sparse file", |path| {
        File::options().write(true).open(path).unwrap().set_len(HOLES_BYTES).unwrap();
    });
}

/// Several files at once, in stores that were closed and in ones that are being used: nothing waits, and nothing is
/// said that is not so. An open store holds what it needs, or says what it met.
#[test]
fn whatever_is_in_the_place_of_several_files_nothing_waits_for_it() {
    let seed = seed();
    let mut random = Random(seed);
    let store = closed();
    let files = files(store.path());
    let (rounds, mut refused) = (variable("FILMSTRIP_ROUNDS").unwrap_or(8), 0);
    for round in 0..rounds {
        let damaged = copy(store.path());
        let opened = random.one_in(2).then(|| Store::open(damaged.path()).unwrap());
        let mut replaced = Vec::new();
        for _ in 0..1 + random.below(3) {
            let file = &files[random.below(files.len() as u64) as usize];
            let path = damaged.path().join(file);
            // An open store has no note of its closed views.
            if replaced.contains(&file) || !path.is_file() {
                continue;
            }
            let make: fn(&Path) = match random.below(4) {
                0 => make_fifo,
                1 => |path| fs::create_dir(path).unwrap(),
                2 => |path| symlink("/dev/zero", path).unwrap(),
                _ => make_socket,
            };
            remove_and(make)(&path);
            replaced.push(file);
        }
        let case = format!("seed {seed}, round {round}: {replaced:?}");
        if let Some(store) = opened {
            let call = move || use_open(store);
            let kinds = on_its_own_thread(call, &case);
            assert!(kinds.iter().all(|kind| *kind != ErrorKind::Panicked), "{case}: {kinds:?}");
            refused += kinds.len();
        }
        let (operation, run) = OPERATIONS[random.below(4) as usize];
        let case = format!("{case}, {operation}");
        if let Err(error) = in_time(run, damaged.path(), &case) {
            refused += 1;
            check_named(&error, &files.iter().collect::<Vec<_>>(), &case);
        }
    }
    println!("figures: several special files: {rounds} stores, {refused} calls refused");
}

/// Uses a store whose files were replaced. Returns what it met.
fn use_open(store: Store) -> Vec<ErrorKind> {
    let event = || NewEvent::bytes("Written", vec![7; 300_000]);
    let append = || store.append("S-1", ExpectedVersion::Any, [event()]).map_err(Error::from);
    let backup = scratch();
    let met = [
        append().err(),
        store.read_all().collect().err(),
        store.read_stream("S-1").collect().err(),
        store.rebuild_index().err(),
        append().err(),
        append().err(),
        store.project(Counts).start().err(),
        store.backup(backup.path().join("backup")).err(),
        store.verify().err(),
    ];
    met.into_iter().chain([store.close().err()]).flatten().map(|error| error.kind()).collect()
}
