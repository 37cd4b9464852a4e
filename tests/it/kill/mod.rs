//! A process that is killed while it writes, indexes, snapshots, projects, rebuilds or opens: whatever it
//! acknowledged is there afterwards.
//!
//! The page cache survives a kill, so this proves nothing of power cuts; it shows that a store needs
//! nothing done before its process ends, and that opening it takes no help.
//! `FILMSTRIP_KILLS=1000 cargo test --release --test it kill::` for a long run.

#[cfg(target_os = "linux")]
mod filesystem;
#[cfg(target_os = "linux")]
mod fork;
mod work;

use crate::common::domain::scratch;
use crate::kill::work::{Moment, ROUNDS_OF_A_STORE, check_acknowledged, check_all, listen, start};
use filmstrip::{ErrorKind, Store};
use std::io::{BufRead, BufReader};

#[test]
fn whatever_a_killed_process_acknowledged_is_there() {
    let rounds = std::env::var("FILMSTRIP_KILLS").map_or(50, |n| n.parse().expect("a number"));
    let mut directory = scratch();
    let mut total = 0;
    for round in 0..rounds {
        if round % ROUNDS_OF_A_STORE == 0 {
            directory = scratch();
        }
        let (mut child, moment) = (start(directory.path()), Moment::of(round));
        let last = listen(&mut child, moment, |child| child.kill().unwrap());
        let status = child.wait().unwrap();
        assert!(status.code().is_none(), "{moment:?}: the child ended by itself, {status}");
        let case = format!("round {round}, {moment:?}");
        let store = Store::open(directory.path()).unwrap_or_else(|e| panic!("{case}: {e}"));
        total += last.len();
        check_acknowledged(&store, &last, &case);
        check_all(&store, &case);
    }
    println!("figures: kills: {rounds} rounds");
    assert!(total > 0 || rounds < 3, "nothing was ever acknowledged");
}

/// Whether the system's list of locks names the process.
fn is_listed(process: &std::process::Child) -> bool {
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().any(|line| line.split_whitespace().nth(4) == Some(&process.id().to_string()))
}

#[test]
fn a_store_that_another_process_has_open_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start(directory.path());
    let stdout = child.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("acknowledged")), "the child wrote nothing");
    let error = Store::open(directory.path()).expect_err("two writers");
    assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
    // The operator wants to know which process it is. Where the filesystem has another device in the system's list of
    // locks, nobody can say it.
    if is_listed(&child) {
        let holder = format!("by process {} (", child.id());
        assert!(error.to_string().contains(&holder), "{error}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    Store::open(directory.path()).expect("the lock went with the process");
}
