//! One writer, with a condition and without, in turn; then 64 with one.

use super::figure_of_filmstrip;
use crate::engine::{Condition, Item, Opened};
use crate::payload::{PAYLOAD_BYTES, payload};
use crate::tables::{CONDITIONS, CONDITIONS_LOW};
use crate::workloads::{Run, figure, micros, quantile, sorted};
use std::sync::Barrier;
use std::time::{Duration, Instant};

const SPAN: Duration = Duration::from_secs(3);
/// Of one writer, with a condition or without: short, and in many rounds, because a disk's rate changes with time.
const TURN: Duration = Duration::from_millis(200);
const ROUNDS: u64 = 40;
const WRITERS: u64 = 64;
/// Of an entity, each with one tag.
const ENTITY_COMMITS: u64 = 20;

/// What a writer committed.
struct Written {
    writer: u64,
    /// How many microseconds each commit took.
    took: Vec<f64>,
}

pub fn run(run: &Run<'_>) {
    one(run);
    for each in [1, 64] {
        let opened = run.engine.open(&run.directory.join(format!("64-{each}")));
        let written = write_at_once(&*opened, each);
        let took = sorted(written.iter().flat_map(|w| w.took.iter().copied()).collect());
        let name = format!("64 writers, {each} per commit, conditional");
        let rate = (took.len() as u64 * each) as f64 / SPAN.as_secs_f64();
        figure(&CONDITIONS, &format!("{name}, events per second (asked for: ahead of both)"), rate);
        figure(&CONDITIONS_LOW, &format!("{name}, p50, microseconds"), quantile(&took, 0.5));
        figure(&CONDITIONS_LOW, &format!("{name}, p99, microseconds"), quantile(&took, 0.99));
        read_back(&*opened, &written, each);
        opened.close();
    }
}

fn one(run: &Run<'_>) {
    let opened = run.engine.open(&run.directory.join("one"));
    let (mut all, mut ratios) = (Vec::new(), Vec::new());
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let mut turn = |conditional| {
            let writer = 2 * round + u64::from(conditional);
            let written = write_for(&*opened, TURN, writer, 1, conditional);
            let rate = written.took.len() as f64 / TURN.as_secs_f64();
            all.push(written);
            rates[usize::from(conditional)].push(rate);
            rate
        };
        // What changes with time is on both sides as much.
        let first_is = round.is_multiple_of(2);
        let (first, second) = (turn(first_is), turn(!first_is));
        ratios.push(if first_is { first / second } else { second / first });
    }
    let median = |values| quantile(&sorted(values), 0.5);
    let [without, with] = rates.map(median);
    let name = "1 writer, 1 per commit";
    figure(&CONDITIONS, &format!("{name}, unconditional, events per second"), without);
    let asked = "events per second (asked for: ahead of both)";
    figure(&CONDITIONS, &format!("{name}, conditional, {asked}"), with);
    let ratio = "conditional / unconditional, 1 writer (asked for: 0.97)";
    figure_of_filmstrip(run, &CONDITIONS, ratio, median(ratios));
    read_back(&*opened, &all, 1);
    opened.close();
}

fn write_at_once(opened: &dyn Opened, each: u64) -> Vec<Written> {
    let barrier = Barrier::new(WRITERS as usize);
    std::thread::scope(|scope| {
        let write = |writer| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                write_for(opened, SPAN, writer, each, true)
            })
        };
        let threads: Vec<_> = (0..WRITERS).map(write).collect();
        threads.into_iter().map(|t| t.join().expect("a writer panicked")).collect()
    })
}

/// An entity of a writer: its stream, where an engine has streams, and its tag everywhere.
fn entity(writer: u64, commit: u64) -> u64 {
    writer << 32 | (commit / ENTITY_COMMITS)
}

fn tag_of(entity: u64) -> String {
    format!("account:{entity}")
}

/// Commits until the time is over.
fn write_for(
    opened: &dyn Opened,
    span: Duration,
    writer: u64,
    each: u64,
    conditional: bool,
) -> Written {
    let began = Instant::now();
    let mut written = Written { writer, took: Vec::new() };
    let mut seen = 0;
    while began.elapsed() < span {
        let nth = written.took.len() as u64;
        let stream = entity(writer, nth);
        let tags = [tag_of(stream)];
        let payloads: Vec<_> =
            (nth * each..(nth + 1) * each).map(|nth| payload(stream, nth)).collect();
        let commit = Instant::now();
        let items = payloads.iter().map(|payload| Item { stream, payload, tags: &tags });
        let items: Vec<_> = items.collect();
        let unless = conditional.then_some(Condition { tag: &tags[0], after: seen });
        let position = opened.append_unless(&items, unless);
        written.took.push(micros(commit.elapsed()));
        seen = position.expect("nobody else writes with its tags");
    }
    written
}

/// Counts everything, and reads the first and the last entity of each writer by its tag.
fn read_back(opened: &dyn Opened, written: &[Written], each: u64) {
    let mut count = 0;
    opened.read_all(&mut |payload| {
        assert_eq!(payload.len(), PAYLOAD_BYTES);
        count += 1;
    });
    let expected: usize = written.iter().map(|written| written.took.len()).sum();
    assert_eq!(count, expected as u64 * each, "events that were committed are not there");
    for Written { writer, took } in written {
        let commits = took.len() as u64;
        for first in [0, commits.saturating_sub(1) / ENTITY_COMMITS * ENTITY_COMMITS] {
            let entity = entity(*writer, first);
            let mut nth = first * each;
            opened.read_tag(&tag_of(entity), &mut |read| {
                assert_eq!(read, payload(entity, nth), "event {nth} of {entity}");
                nth += 1;
            });
            let end = commits.min(first + ENTITY_COMMITS) * each;
            assert_eq!(nth, end, "events of {entity} are not found by their tag");
        }
    }
}
