//! Real input: the history of a git repository. It is read once, into a file, which each measurement
//! loads into memory before it begins.

use super::{Run, figure};
use crate::engine::{Item, Opened};
use crate::payload::Random;
use crate::tables::HISTORY;
use serde_json::json;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Of a larger commit of git's several are made, so that no engine's limit is met.
const COMMIT_EVENTS_MAX: usize = 1_000;
const FILES_LOADED: u64 = 20_000;

/// Begins a commit's line; what else git prints never begins with it.
const COMMIT_MARK: char = '\u{1}';

/// Writes the first `events` events or so of the repository's history to `file`: a line for each, its stream and its
/// payload with a tab between, and an empty line after each commit. In a sentence, what they are.
pub fn prepare(repository: &Path, events: u64, file: &Path) -> Result<String, String> {
    let mut git = git(repository).spawn().map_err(|error| format!("git: {error}"))?;
    let said = BufReader::new(git.stdout.take().expect("a pipe"));
    let mut out = BufWriter::new(std::fs::File::create(file).expect("a file"));
    let mut files = HashMap::new();
    let mut commit = json!(null);
    let (mut written, mut commits, mut in_commit) = (0, 0_u64, 0);
    for line in said.split(b'\n') {
        let line = line.expect("git's answer");
        let line = String::from_utf8_lossy(&line);
        if let Some(header) = line.strip_prefix(COMMIT_MARK) {
            if in_commit > 0 {
                writeln!(out).expect("a write");
                (commits, in_commit) = (commits + 1, 0);
            }
            if written >= events {
                break;
            }
            commit = commit_of(header);
        } else if let Some((change, path)) = line.strip_prefix(':').and_then(|l| l.split_once('\t'))
        {
            if in_commit > 0 && in_commit % COMMIT_EVENTS_MAX == 0 {
                writeln!(out).expect("a write");
            }
            let next = files.len();
            let stream = *files.entry(path.to_owned()).or_insert(next);
            commit["change"] = json!(change.rsplit(' ').next());
            commit["blob"] = json!(change.rsplit(' ').nth(1));
            writeln!(out, "{stream}\t{commit}").expect("a write");
            (written, in_commit) = (written + 1, in_commit + 1);
        }
    }
    if in_commit > 0 {
        writeln!(out).expect("a write");
        commits += 1;
    }
    out.flush().expect("a write");
    // It may have more to say than was asked for.
    let _ = git.kill();
    git.wait().expect("git ended");
    match written {
        0 => Err("git tells of no history there".to_owned()),
        _ => {
            let (files, last) = (files.len(), commit["commit"].as_str().unwrap_or_default());
            Ok(format!("{written} events of {files} files in {commits} commits, up to {last}"))
        }
    }
}

/// The user's configuration must not change the answer.
fn git(repository: &Path) -> Command {
    let mut git = Command::new("git");
    git.env_remove("GIT_DIR").arg("-C").arg(repository).args([
        "-c",
        "core.quotepath=off",
        "log",
        "--reverse",
        "--raw",
        "--no-abbrev",
        "--no-renames",
        "--no-color",
        "--no-show-signature",
        "--format=%x01%H%x00%an%x00%ct%x00%s",
    ]);
    git.stdout(Stdio::piped());
    git
}

fn commit_of(header: &str) -> serde_json::Value {
    let fields: Vec<_> = header.splitn(4, '\0').collect();
    let [id, author, time, subject] = fields[..] else { panic!("git printed {header:?}") };
    json!({ "commit": id, "author": author, "time": time, "subject": subject })
}

/// The events of a prepared file, in memory.
struct Film {
    payloads: Vec<u8>,
    /// The stream of each event, and where its payload is.
    events: Vec<(u64, Range<usize>)>,
    commits: Vec<Range<usize>>,
}

impl Film {
    fn load(file: &Path) -> Film {
        let mut film = Film { payloads: Vec::new(), events: Vec::new(), commits: Vec::new() };
        let mut begun = 0;
        for line in BufReader::new(std::fs::File::open(file).expect("a file")).lines() {
            let line = line.expect("text");
            let Some((stream, payload)) = line.split_once('\t') else {
                film.commits.push(begun..film.events.len());
                begun = film.events.len();
                continue;
            };
            let at = film.payloads.len();
            film.payloads.extend_from_slice(payload.as_bytes());
            film.events.push((stream.parse().expect("a number"), at..film.payloads.len()));
        }
        film
    }

    fn payload(&self, event: usize) -> &[u8] {
        &self.payloads[self.events[event].1.clone()]
    }

    fn write(&self, opened: &dyn Opened) {
        for commit in &self.commits {
            let item =
                |n: usize| Item { stream: self.events[n].0, payload: self.payload(n), tags: &[] };
            opened.append(&commit.clone().map(item).collect::<Vec<_>>());
        }
    }

    /// The events of each stream.
    fn streams(&self) -> Vec<Vec<usize>> {
        let count = self.events.iter().map(|(stream, _)| stream + 1).max().unwrap_or(0);
        let mut streams = vec![Vec::new(); count as usize];
        for (n, (stream, _)) in self.events.iter().enumerate() {
            streams[*stream as usize].push(n);
        }
        streams
    }
}

pub fn run(run: &Run<'_>) {
    let film = Film::load(run.input);
    let streams = film.streams();
    let opened = run.engine.open(&run.directory.join("history"));
    let rate = |events, began: Instant| events as f64 / began.elapsed().as_secs_f64();
    let began = Instant::now();
    film.write(&*opened);
    figure(&HISTORY, "git history, appended", rate(film.events.len(), began));

    let (mut count, mut bytes) = (0, 0);
    let began = Instant::now();
    opened.read_all(&mut |read| (count, bytes) = (count + 1, bytes + read.len()));
    figure(&HISTORY, "git history, read all", rate(count, began));
    assert_eq!((count, bytes), (film.events.len(), film.payloads.len()), "not what was committed");

    let mut random = Random::new();
    let loads = FILES_LOADED.min(streams.len() as u64);
    let drawn: Vec<_> = (0..loads).map(|_| random.below(streams.len() as u64)).collect();
    let began = Instant::now();
    let mut events = 0;
    for stream in drawn {
        let expected = &streams[stream as usize];
        let mut nth = 0;
        opened.read_stream(stream, &mut |read| {
            assert!(read == film.payload(expected[nth]), "event {nth} of file {stream}");
            nth += 1;
        });
        assert_eq!(nth, expected.len(), "file {stream}");
        events += nth;
    }
    figure(&HISTORY, "git history, load files at random", rate(events, began));
    opened.close();
}
