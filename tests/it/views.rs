//! Durable views at their worst moments: killed at random, rebuilt while everything goes on, and
//! stopped by themselves.
//!
//! The first two have a long form: `FILMSTRIP_ROUNDS=200` kills, and `FILMSTRIP_EVENTS=1000000` to rebuild from.
//! So has the memory that views take: `FILMSTRIP_EVENTS=300000` rows.
//! A run prints its seed; `FILMSTRIP_SEED=…` repeats its choices, though not the timing of its kills.

use crate::common::domain::counted;
use crate::common::{Random, child, seed, variable, wait_until};
use filmstrip::projection::{ProjectionHandle, ProjectionState};
use filmstrip::{
    ExpectedVersion, Filter, HandlerError, NewEvent, Position, Projection, RecordedEvent, Store,
    View, ViewWriter,
};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(120);

fn append(store: &Store, stream: &str, events: u64) -> Position {
    let events = (0..events).map(counted);
    store.append(stream, ExpectedVersion::Any, events).unwrap().position
}

// ---- killed --------------------------------------------------------------------------------------

/// Events that are appended for each kill, about.
const EVENTS_PER_KILL: u64 = 250;
const STREAMS: u64 = 40;
const CHILD: &str = "FILMSTRIP_COUNTED_STORE";
const CHILD_SEED: &str = "FILMSTRIP_COUNTED_SEED";
const CHILD_SAYS: &str = "the child says ";

/// Counts events by stream and over all; every tenth replaces a row of several pieces.
struct Counts;

/// If a view holds exactly the first `events` events, `positions` is the sum of 1 to `events`.
#[derive(Default, Serialize, Deserialize)]
struct All {
    events: u64,
    positions: u64,
}

impl Projection for Counts {
    const NAME: &'static str = "counts";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let position = event.position.get();
        let mut all: All = view.get("all")?.unwrap_or_default();
        (all.events, all.positions) = (all.events + 1, all.positions + position);
        view.put("all", &all)?;
        let count: u64 = view.get(event.stream.as_str())?.unwrap_or(0);
        view.put(event.stream.as_str(), &(count + 1))?;
        if position.is_multiple_of(10) {
            view.put("large", &vec![position; 1_500])?;
        }
        Ok(())
    }
}

/// Not a test of its own: what the killed process does.
#[test]
fn child_that_appends_and_projects_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut random = Random(variable(CHILD_SEED).unwrap());
    let say = |what: &str| {
        let line = format!("{CHILD_SAYS}{what}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    };
    say("opening");
    let store = Store::open(path).unwrap();
    let counts = store.project(Counts).start().unwrap();
    say("following");
    loop {
        let stream = format!("Counted-{}", random.below(STREAMS));
        let last = append(&store, &stream, 1 + random.below(20));
        say("appended");
        // So that some kills meet a view that has caught up.
        if random.one_in(8) {
            counts.wait_for(last, LONG).unwrap();
        }
        // And others one that is about to be replaced.
        if random.one_in(12) {
            counts.rebuild().unwrap();
        }
    }
}

fn start(store: &Path, seed: u64) -> Child {
    child(module_path!(), "child_that_appends_and_projects_until_it_is_killed")
        .env(CHILD, store)
        .env(CHILD_SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the child at a random moment: while it opens the store, or somewhere after so many appends.
fn kill(mut child: Child, random: &mut Random) {
    let (lines, longest) = match random.one_in(5) {
        true => (1, 20_000),
        false => (2 + random.below(2 * EVENTS_PER_KILL / 10), 2_000),
    };
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    for line in 0..lines {
        let next = said.by_ref().find(|line| line.contains(CHILD_SAYS));
        assert!(next.is_some(), "the child ended by itself, after {line} of {lines} lines");
    }
    std::thread::sleep(Duration::from_micros(random.below(longest)));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The view, however far it is, holds exactly the first so many events; returns how many.
fn check(view: &View) -> u64 {
    let (all, by_stream, large) = view.read(|view| {
        let all: All = view.get("all").unwrap().unwrap_or_default();
        let by_stream: Vec<(String, u64)> = view.prefix("Counted-").unwrap();
        (all, by_stream, view.get::<Vec<u64>>("large").unwrap().unwrap_or_default())
    });
    let All { events, positions } = all;
    assert_eq!(positions, events * (events + 1) / 2, "{events} events, not the first ones");
    assert_eq!(by_stream.iter().map(|(_, count)| count).sum::<u64>(), events);
    let large_rows = if events < 10 { vec![] } else { vec![events / 10 * 10; 1_500] };
    assert_eq!(large, large_rows, "at {events} events");
    events
}

#[test]
fn a_projection_that_is_killed_again_and_again_counts_each_event_once() {
    let kills = variable("FILMSTRIP_ROUNDS").unwrap_or(8);
    let mut random = Random(seed());
    let directory = tempfile::tempdir().unwrap();
    let (mut looks, mut behind, mut rebuilding) = (0, 0, 0);
    for round in 0..kills {
        kill(start(directory.path(), random.next()), &mut random);
        // Not each time: some kills meet what an earlier one has left.
        if random.one_in(2) {
            let store = Store::open(directory.path()).unwrap_or_else(|e| panic!("{round}: {e}"));
            let head = store.head().get();
            let counts = store.project(Counts).start().unwrap();
            let is_rebuilding = matches!(counts.status().state, ProjectionState::Rebuilding { .. });
            let events = check(&counts.view());
            assert!(events <= head, "round {round}: {events} of {head} events are in the view");
            looks += 1;
            behind += u64::from(events < head);
            rebuilding += u64::from(is_rebuilding);
        }
    }
    let store = Store::open(directory.path()).unwrap();
    let killed_at = store.head().get();
    let missing = (kills * EVENTS_PER_KILL).saturating_sub(killed_at);
    for _ in (0..missing).step_by(20) {
        append(&store, "Counted-0", 20);
    }
    let counts = store.project(Counts).start().unwrap();
    counts.wait_for(store.head(), LONG).unwrap();
    let events = check(&counts.view());
    assert_eq!(events, store.head().get());
    for (stream, count) in counts.view().prefix::<u64>("Counted-").unwrap() {
        assert_eq!(count, store.stream_info(stream.as_str()).unwrap().version.get(), "{stream}");
    }
    println!(
        "{kills} kills, {events} events, {killed_at} of them before the last kill; \
         of {looks} kills looked at, {behind} left the view behind, {rebuilding} a rebuild half done"
    );
}

// ---- rebuilt -------------------------------------------------------------------------------------

/// Counts events by stream, and writes into each row which version made it.
struct Rows<const VERSION: u32> {
    /// Where it waits until others have met it.
    meets_at: Position,
    meeting: Arc<dyn Fn() + Send + Sync>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    made_by: u32,
    events: u64,
}

impl<const VERSION: u32> Projection for Rows<VERSION> {
    const NAME: &'static str = "rows";
    const VERSION: u32 = VERSION;

    fn filter(&self) -> Filter {
        Filter::category("Counted")
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        if event.position == self.meets_at {
            (self.meeting)();
        }
        let before: Option<Row> = view.get(event.stream.as_str())?;
        let events = before.map_or(0, |row| row.events) + 1;
        view.put(event.stream.as_str(), &Row { made_by: VERSION, events })?;
        Ok(())
    }
}

/// What goes on all the while: how often the old view was read, the new one, and events appended.
#[derive(Default)]
struct Traffic {
    old_reads: AtomicU64,
    new_reads: AtomicU64,
    appended: AtomicU64,
    over: AtomicBool,
}

/// When one thread ends, by a failed check perhaps, all of it is over.
struct Ends<'a>(&'a Traffic);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

impl Traffic {
    /// Reads all rows again and again: they are of one version, the old one stands still at `old`
    /// events, and once the new one was seen, the old one is gone, and no event is missing.
    fn query(&self, view: &View, old: u64) {
        let _ends = Ends(self);
        let mut least = None;
        while !self.over.load(Ordering::Relaxed) {
            let rows: Vec<(String, Row)> = view.prefix("Counted-").unwrap();
            let made_by = rows[0].1.made_by;
            assert!(rows.iter().all(|(_, row)| row.made_by == made_by), "a mixture was seen");
            let events: u64 = rows.iter().map(|(_, row)| row.events).sum();
            if made_by == 1 {
                assert_eq!(least, None, "the old view came back");
                assert_eq!(events, old, "the old view moved");
                self.old_reads.fetch_add(1, Ordering::Relaxed);
            } else {
                let least = least.replace(events).unwrap_or(old);
                assert!(events >= least, "the view went back from {least} to {events} events");
                self.new_reads.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn append(&self, store: &Store) {
        let _ends = Ends(self);
        while !self.over.load(Ordering::Relaxed) {
            let n = self.appended.fetch_add(1, Ordering::Relaxed);
            append(store, &format!("Counted-{}", n % STREAMS), 1);
        }
    }

    /// Returns when all of it has gone on a little.
    fn meet(&self) {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (reads, appended) = (now(&self.old_reads), now(&self.appended));
        let is_over = || self.over.load(Ordering::Relaxed);
        wait_until(LONG, "a query", || is_over() || now(&self.old_reads) > reads + 4);
        wait_until(LONG, "an append", || is_over() || now(&self.appended) > appended + 4);
    }
}

fn project<const VERSION: u32>(
    store: &Store,
    meets_at: u64,
    meeting: impl Fn() + Send + Sync + 'static,
) -> ProjectionHandle {
    let (meets_at, meeting) = (Position::new(meets_at), Arc::new(meeting));
    store.project(Rows::<VERSION> { meets_at, meeting }).start().unwrap()
}

#[test]
fn queries_and_appends_go_on_during_a_rebuild_and_see_the_old_view_or_the_new_one() {
    let old = variable("FILMSTRIP_EVENTS").unwrap_or(20_000).next_multiple_of(500);
    let store = Store::temporary().unwrap();
    for n in 0..old / 500 {
        append(&store, &format!("Counted-{}", n % STREAMS), 500);
    }
    let first = project::<1>(&store, 0, || {});
    first.wait_for(store.head(), LONG).unwrap();
    first.stop().unwrap();
    let (traffic, view) = (Arc::new(Traffic::default()), first.view());
    std::thread::scope(|scope| {
        let _ends = Ends(&traffic);
        scope.spawn(|| traffic.append(&store));
        for _ in 0..2 {
            scope.spawn(|| traffic.query(&view, old));
        }
        traffic.meet();
        let begun = Instant::now();
        let its_traffic = Arc::clone(&traffic);
        let second = project::<2>(&store, old / 2, move || its_traffic.meet());
        second.wait_for(Position::new(old), LONG).unwrap();
        let (took, during) = (begun.elapsed(), traffic.appended.load(Ordering::Relaxed));
        let reads = traffic.old_reads.load(Ordering::Relaxed);
        println!("rebuilt from {old} events in {took:?}, beside {during} appends, {reads} queries");
        assert!(matches!(second.status().state, ProjectionState::Running));
        let is_over = || traffic.over.load(Ordering::Relaxed);
        wait_until(LONG, "the new view", || {
            is_over() || traffic.new_reads.load(Ordering::Relaxed) > 4
        });
    });
    store.drain(LONG).unwrap();
    let rows: Vec<(String, Row)> = view.prefix("Counted-").unwrap();
    assert!(rows.iter().all(|(_, row)| row.made_by == 2), "the old view is still served");
    assert_eq!(rows.iter().map(|(_, row)| row.events).sum::<u64>(), store.head().get());
}

// ---- stopped by itself ---------------------------------------------------------------------------

/// Has its own handle, and stops at an event that says so.
#[derive(Clone, Default)]
struct StopsItself(Arc<OnceLock<ProjectionHandle>>);

impl Projection for StopsItself {
    const NAME: &'static str = "stops-itself";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        view.put("last", &event.position)?;
        if event.event_type == "Stop" {
            self.0.wait().stop()?;
        }
        Ok(())
    }
}

#[test]
fn a_projection_that_stops_itself_does_not_wait_for_itself_and_keeps_the_event() {
    let store = Store::temporary().unwrap();
    let projection = StopsItself::default();
    let stops = store.project(projection.clone()).start().unwrap();
    let handle = stops.clone();
    projection.0.get_or_init(|| handle);
    append(&store, "Counted-1", 3);
    let stop = NewEvent::json("Stop", &()).unwrap();
    let last = store.append("Counted-1", ExpectedVersion::Any, [stop]).unwrap().position;
    wait_until(LONG, "the end", || matches!(stops.status().state, ProjectionState::Stopped));
    assert_eq!(stops.view().get::<Position>("last").unwrap(), Some(last));
    assert_eq!(stops.status().checkpoint, last);
    let again = store.project(StopsItself::default()).start().unwrap();
    again.wait_for(append(&store, "Counted-1", 1), LONG).unwrap();
}

// ---- memory --------------------------------------------------------------------------------------

const MEMORY_CHILD: &str = "FILMSTRIP_TEST_MEMORY_CHILD";
const MIB: u64 = 1 << 20;
/// What a view may take however small the cache is: the events that are read ahead, what a rebuild holds
/// until it is written, and what writing it retires.
const TAKEN_MIB_MAX: u64 = 96;
/// The same for changes of a few rows, before any rebuild. Without collecting, 120,000 changes take 40 MiB and
/// 2,000,000 take 494; with it, 9 and 19.
const TAKEN_HOT_MIB_MAX: u64 = 20;
/// Of its memory, for each byte of the cache: sled counts a node by what it is on disk.
const TAKEN_PER_CACHED: u64 = 4;
/// For each row, wherever it is: sled keeps where each of its nodes is on disk.
const TAKEN_BYTES_PER_ROW: u64 = 64;

/// Changes of hot rows that one event makes. With an event for each, the log's own memory, which its limits bound at
/// more than that of the view, would be what is measured.
const HOT_CHANGES_PER_EVENT: u64 = 20;

/// Puts a new row for each event, or with more than 0 rows changes some of these.
struct Puts(u64);

impl Projection for Puts {
    const NAME: &'static str = "rows";
    const VERSION: u32 = 1;

    fn filter(&self) -> Filter {
        Filter::all()
    }

    fn apply(&self, event: &RecordedEvent, view: &mut ViewWriter<'_>) -> Result<(), HandlerError> {
        let position = event.position.get();
        let name = format!("some name of a customer {position:076}");
        if self.0 == 0 {
            return Ok(view.put(&format!("customer/{position:012}"), &name)?);
        }
        for change in position * HOT_CHANGES_PER_EVENT..(position + 1) * HOT_CHANGES_PER_EVENT {
            view.put(&format!("customer/{:012}", change * 7_919 % self.0), &name)?;
        }
        Ok(())
    }
}

/// MiB that this process has in memory.
fn taken() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_024
}

/// MiB that the views in `store` have on disk.
fn on_disk(store: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(store.join("views").join("db")).unwrap().blocks() * 512 / MIB
}

/// Not a test of its own: what is measured, alone in its process. Its arguments: events, rows, MiB of cache.
#[test]
fn child_whose_memory_is_measured() {
    let Ok(arguments) = std::env::var(MEMORY_CHILD) else { return };
    let arguments: Vec<u64> = arguments.split(' ').map(|n| n.parse().unwrap()).collect();
    let [events, rows, cache] = arguments[..] else { panic!("{arguments:?}") };
    let store = Store::builder().cache_bytes(cache * MIB).temporary().unwrap();
    if rows == 0 {
        for done in (0..events).step_by(5_000) {
            append(&store, "Counted-1", 5_000.min(events - done));
        }
    }
    let before = taken();
    let handle = store.project(Puts(rows)).start().unwrap();
    handle.wait_for(store.head(), LONG).unwrap();
    if rows > 0 {
        // While a view is built, changes of the same row are written once. One that follows the log writes each.
        for _ in (0..events).step_by(rows as usize) {
            append(&store, "Counted-1", rows / HOT_CHANGES_PER_EVENT);
            handle.wait_for(store.head(), LONG).unwrap();
        }
    }
    let built = taken().saturating_sub(before);
    let mut rebuilt = Vec::new();
    for _ in 0..3 {
        handle.rebuild().unwrap();
        handle.wait_for(store.head(), 10 * LONG).unwrap();
        rebuilt.push(taken().saturating_sub(before));
    }
    let disk = on_disk(store.path());
    let kept = if rows == 0 { events } else { rows };
    let max = TAKEN_MIB_MAX + TAKEN_PER_CACHED * cache + TAKEN_BYTES_PER_ROW * kept / MIB;
    let what = if rows == 0 { "new rows".to_owned() } else { format!("changes of {rows} rows") };
    println!(
        "figures: memory of a view, {events} {what}: {built} MiB, {rebuilt:?} rebuilt, {disk} MiB on disk"
    );
    let hot_max = TAKEN_HOT_MIB_MAX + TAKEN_PER_CACHED * cache;
    assert!(rows == 0 || built <= hot_max, "it takes {built} MiB; changes may take {hot_max}");
    let most = rebuilt.iter().copied().max().max(Some(built)).unwrap();
    assert!(
        most <= max,
        "it takes {most} MiB; with a cache of {cache} MiB and {kept} rows, at most {max}"
    );
    // Twice what the rows take while a view is built beside the old one, and what sled adds to them.
    let disk_max = 32 + 2 * 4 * kept * 140 / MIB;
    assert!(disk <= disk_max, "it takes {disk} MiB on disk, at most {disk_max}");
}

fn measure(events: u64, rows: u64) {
    let output = child(module_path!(), "child_whose_memory_is_measured")
        .env(MEMORY_CHILD, format!("{events} {rows} 2"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().filter(|line| line.contains("figures: ")).for_each(|line| println!("{line}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
}

/// sled retires a node for each change, and frees what is retired when threads come and go. A projector that
/// only puts rows came once for a whole batch: 300,000 rows of a hundred bytes took 950 MiB, four times as
/// much after three rebuilds, and the disk what all forms of a node had taken. What is written is collected
/// as fast as it is retired, and an outdated view is emptied before sled reads all of it to remove it.
#[test]
#[cfg(target_os = "linux")]
fn the_memory_of_a_view_of_new_rows_does_not_grow_with_its_rows_or_rebuilds() {
    measure(variable("FILMSTRIP_EVENTS").unwrap_or(25_000), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn the_memory_of_a_view_of_a_few_hot_rows_does_not_grow_with_their_changes() {
    let changes = variable("FILMSTRIP_EVENTS").map_or(120_000, |events| events * 20 / 3);
    measure(changes, 1_000);
}
