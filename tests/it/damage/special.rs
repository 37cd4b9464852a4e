//! Something else in the place of a file: a FIFO, a directory, a device, a socket, or a file of nothing but holes
//! that is longer than memory.

use crate::common::domain::{Counts, scratch};
use crate::damage::copy;
use filmstrip::{ErrorKind, ExpectedVersion, Follower, NewEvent, Result, Store};
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

/// A store that was closed, with two segments, an index with packs, and a view.
fn closed() -> TempDir {
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
fn files(store: &Path) -> Vec<PathBuf> {
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

type Operation = fn(&Path) -> Result<()>;

const OPERATIONS: [(&str, Operation); 4] = [
    ("open", |path| Store::open(path)?.close()),
    ("verify_at", |path| Store::verify_at(path).map(drop)),
    ("export", |path| Store::repair(path)?.export(scratch().path().join("exported")).map(drop)),
    ("follow", |path| Follower::open(path)?.read().limit(5).collect().map(drop)),
];

/// Does it on a thread of its own, so that a call that hangs is noticed.
fn in_time(operation: Operation, path: &Path, case: &str) -> Result<()> {
    let (done, wait) = channel();
    let path = path.to_owned();
    std::thread::spawn(move || done.send(operation(&path)));
    wait.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{case}: it hangs or panics: {e}"))
}

/// Does everything with a store in which `replace` has changed one file. Nothing but the files that the store
/// makes anew can go unnoticed.
fn check(kind: &str, replace: impl Fn(&Path)) {
    let store = closed();
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
            let Err(error) = in_time(run, damaged.path(), &case) else { continue };
            let is_named = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::InvalidInput);
            assert!(is_named, "{case}: {error}");
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(error.to_string().contains(name), "{case}: {error}");
        }
    }
}

fn remove_and(make: impl Fn(&Path)) -> impl Fn(&Path) {
    move |path| {
        fs::remove_file(path).unwrap();
        make(path);
    }
}

/// A FIFO in the place of a segment, of the checkpoint or of sled's database made open, verify_at, export and
/// follow wait for ever for somebody to write into it. It is an error that names the file, at once, or what was
/// there is made anew.
#[test]
fn a_fifo_in_the_place_of_any_file_is_named_or_healed_at_once() {
    check(
        "a FIFO",
        remove_and(|path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
    );
}

/// The same of what else is not a file.
#[test]
fn a_directory_device_or_socket_in_the_place_of_any_file_is_named_or_healed_at_once() {
    check("a directory", remove_and(|path| fs::create_dir(path).unwrap()));
    check("a device", remove_and(|path| symlink("/dev/zero", path).unwrap()));
    check(
        "a socket",
        remove_and(|path| {
            // A socket's path may be no longer than some hundred bytes.
            let short = scratch();
            let listener = UnixListener::bind(short.path().join("s")).unwrap();
            fs::rename(short.path().join("s"), path).unwrap();
            drop(listener);
        }),
    );
}

/// A sparse manifest or mark of a terabyte aborted the process in the allocator; a sparse checkpoint, or a sparse
/// database of the index, took all memory or minutes. No length that a file claims is believed.
#[test]
fn a_file_that_is_made_longer_than_memory_is_named_or_healed_at_once() {
    check("a sparse file", |path| {
        File::options().write(true).open(path).unwrap().set_len(HOLES_BYTES).unwrap();
    });
}
