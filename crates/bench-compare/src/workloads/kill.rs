//! A writer that is killed: a process of its own, which says on its standard output how many events were
//! acknowledged.

use super::append;
use crate::engine::Engine;
use crate::engines::named;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

pub const COMMIT_EVENTS: u64 = 100;
/// They take turns, as those before them did.
const STREAMS: u64 = 1_000;
const WORD: &str = "acknowledged ";

/// The stream and the payload of an event of the writer, counted from 0.
pub fn event(first_stream: u64, n: u64) -> (u64, Vec<u8>) {
    let stream = first_stream + n % STREAMS;
    (stream, crate::payload::payload(stream, n / STREAMS))
}

/// Has another process write to streams from this one on, and kills it once it has so many events
/// acknowledged. How many were, the last of which may have been said while the kill was on its way.
pub fn killed_writer(engine: &dyn Engine, store: &Path, first_stream: u64, enough: u64) -> u64 {
    let mut writer = Command::new(std::env::current_exe().expect("this program"))
        .args(["write-until-killed", engine.name(), &first_stream.to_string()])
        .arg(store)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let said = BufReader::new(writer.stdout.take().expect("a pipe"));
    let mut acknowledged = 0;
    let mut killed = false;
    for line in said.lines() {
        // Engines may say things of their own.
        let line = line.expect("text");
        let Some(count) = line.strip_prefix(WORD) else { continue };
        acknowledged = count.parse().expect("a number");
        if acknowledged >= enough && !killed {
            writer.kill().expect("it was running");
            killed = true;
        }
    }
    assert!(killed, "{} ended by itself", engine.name());
    writer.wait().expect("it was killed");
    acknowledged
}

/// The other process.
pub fn write_until_killed(engine: &str, first_stream: u64, store: &Path) -> ! {
    let opened = named(engine).open(store);
    let mut written = 0;
    loop {
        let events = written..written + COMMIT_EVENTS;
        append(&*opened, &events.map(|n| event(first_stream, n)).collect::<Vec<_>>());
        written += COMMIT_EVENTS;
        // A line is one write to the pipe, so that the count is never of a part. Once nobody reads it,
        // this ends the process.
        println!("{WORD}{written}");
    }
}
