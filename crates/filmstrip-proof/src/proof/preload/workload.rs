//! The workload of the recorded process, and the checks after a cut.

use crate::model::projection::contract::Projection;
use crate::model::projection::writer::ViewWriter;
use crate::proof::cuts::{acknowledged, commit, read};
use crate::proof::oracle::{Known, Planned};
use crate::proof::preload::replay::line;
use crate::store::Store;
use crate::value::error::HandlerError;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::position::Position;
use crate::value::random::{Random, first_seed};
use crate::value::stream::StreamId;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The test that runs in the recorded process.
pub(super) const CHILD: &str = "proof::preload::workload::child_that_is_recorded";
/// The environment variable with the store's path. Without it, the test does nothing.
pub(super) const STORE: &str = "FILMSTRIP_RECORDED_STORE";

const PATIENCE: Duration = Duration::from_secs(60);
const WRITERS: u32 = 3;
const COMMITS: u32 = 40;

/// Counts the events of each stream.
struct Counts;

impl Projection for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 1;
    const INDEXES: &'static [&'static str] = &["count"];

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let stream = event.stream.as_str();
        let count = view.get::<u64>(stream)?.unwrap_or(0) + 1;
        Ok(view.put_indexed(stream, &count, &[("count", &count.to_be_bytes())])?)
    }
}

#[test]
fn child_that_is_recorded() {
    let Some(path) = std::env::var_os(STORE) else { return };
    for session in 0..2 {
        let store = Store::open(&path).unwrap();
        tell(&read(&store, 0).unwrap());
        work(&store, session);
        match session {
            0 => store.close().unwrap(),
            _ => drop(store),
        }
    }
}

/// Prints events with one write for each batch, so that they become known at one moment.
fn tell(events: &[Known]) {
    let lines: String = events.iter().map(line).collect();
    std::io::stdout().write_all(lines.as_bytes()).unwrap();
}

/// Runs writers, a subscriber that prints what it reads, a view, and snapshots, all at once.
fn work(store: &Store, session: u32) {
    let counts = store.project(Counts).start().unwrap();
    let seen = store.subscribe().after(store.head()).start().unwrap();
    let stopper = seen.stopper();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for event in seen {
                let event = event.unwrap();
                let (position, version) = (event.position.get(), event.version.get());
                let stream = event.stream.as_str();
                tell(&[Known::read(position, stream, version, &event.payload).unwrap()]);
            }
        });
        std::thread::scope(|writers| {
            for writer in 0..WRITERS {
                writers.spawn(move || write(store, session * WRITERS + writer));
            }
        });
        stopper.stop();
    });
    counts.wait_for(store.head(), PATIENCE).unwrap();
}

fn write(store: &Store, writer: u32) {
    let mut random = Random::new(first_seed() * 100 + u64::from(writer));
    for n in 0..COMMITS {
        let number = writer * COMMITS + n + 1;
        let planned = match n {
            20 => Planned::large(number, 300_000),
            _ => Planned::random(number, &mut random),
        };
        let done = store.commit(commit(&planned)).unwrap();
        tell(&acknowledged(&planned, &done));
        if n % 8 == 0 {
            let stream = StreamId::new(format!("Snapshot-{writer}")).unwrap();
            let state = vec![writer as u8; random.below(9_000) as usize];
            let put = |index: &crate::index::core::Index| {
                index.put_snapshot(&stream, u64::from(n), &state)
            };
            store.log.log().index.ask(put).unwrap();
        }
    }
}

/// Opens the store that a cut has left, reads it in every way, and writes to it. Returns its events.
pub(super) fn open_again(path: &Path) -> Result<Vec<Known>, String> {
    let store = Store::open(path).map_err(|e| e.to_string())?;
    let events = read(&store, 0)?;
    let mut streams: BTreeMap<&str, Vec<&Known>> = BTreeMap::new();
    for event in &events {
        streams.entry(&event.stream).or_default().push(event);
    }
    for (stream, expected) in &streams {
        let found = store.read_stream(*stream).collect().map_err(|e| e.to_string())?;
        let positions: Vec<_> = found.iter().map(|event| event.position.get()).collect();
        if positions != expected.iter().map(|event| event.position).collect::<Vec<_>>() {
            return Err(format!("{stream} is {positions:?} by its name, and {expected:?}"));
        }
    }
    let counts = store.project(Counts).start().map_err(|e| e.to_string())?;
    counts.wait_for(Position::new(events.len() as u64), PATIENCE).map_err(|e| e.to_string())?;
    let rows: Vec<(String, u64)> = counts.view().prefix("").map_err(|e| e.to_string())?;
    let expected = streams.iter().map(|(stream, events)| (stream.to_string(), events.len() as u64));
    if rows != expected.collect::<Vec<_>>() {
        return Err(format!("the view has {rows:?}"));
    }
    let listed = counts.view().index("count").collect::<u64>().map_err(|e| e.to_string())?;
    let mut by_count = rows.iter().map(|(stream, count)| (*count, stream)).collect::<Vec<_>>();
    by_count.sort();
    if !listed.iter().map(|listed| (listed.row, &listed.key)).eq(by_count) {
        return Err(format!("the index has {listed:?}, and the view {rows:?}"));
    }
    let planned = Planned::large(0, 10);
    let done = store.commit(commit(&planned)).map_err(|e| e.to_string())?;
    match done.position.get() == events.len() as u64 + 1 {
        true => Ok(events),
        false => Err(format!("{} events, and the next is at {}", events.len(), done.position)),
    }
}
