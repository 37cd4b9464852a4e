//! Many events, without tags and with two each; whether a tag is there; reading by tag, warm and cold. What is told of
//! memory is told of a process that does that alone.

use super::figure_of_filmstrip;
use crate::engine::{Condition, Engine, Item, Opened};
use crate::figures::show;
use crate::payload::{Random, payload};
use crate::system::{anonymous_memory, disk_bytes, drop_page_cache, processor_time, read_files};
use crate::tables::{CONDITIONS, CONDITIONS_LOW};
use crate::workloads::bulk::{Film, SETTLING, STREAM_EVENTS, STREAMS_LOADED, STREAMS_LOADED_COLD};
use crate::workloads::{Run, figure, micros};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const COMMIT_EVENTS: u64 = 100;
/// Of each kind; fewer if there are fewer events.
const CHECKS: u64 = 100_000;
/// Each is a request to another thread in some engines, and two syncs in one.
const REFUSED: u64 = 5_000;
const WRITERS: u64 = 64;
const SPAN: Duration = Duration::from_secs(3);

/// What a process of its own does.
const PLAIN: &str = "plain";
const TAGGED: &str = "tagged";
const CHECKED: &str = "checked";

const RATE: &str = "rate";
const MEMORY: &str = "memory";

pub fn run(run: &Run<'_>) {
    let store = |part: &str| run.directory.join(part);
    let [plain, tagged] = [PLAIN, TAGGED].map(|part| write_apart(run, part, &store(part)));
    let name = "many events, indexed and closed";
    figure(&CONDITIONS, &format!("{name}, without tags, events per second"), plain.rate);
    figure(&CONDITIONS, &format!("{name}, 2 tags an event, events per second"), tagged.rate);
    let ratio = "2 tags an event / without, many events (asked for: 0.6)";
    figure_of_filmstrip(run, &CONDITIONS, ratio, tagged.rate / plain.rate);
    checked_apart(run, &store(TAGGED));
    let memory = "memory while writing many events";
    figure(&CONDITIONS_LOW, &format!("{memory}, without tags, MiB"), plain.memory);
    figure(&CONDITIONS_LOW, &format!("{memory}, 2 tags an event, MiB"), tagged.memory);
    let added = "memory that their tags add (asked for: less than 64)";
    figure_of_filmstrip(run, &CONDITIONS_LOW, added, tagged.memory - plain.memory);
    figure(&CONDITIONS_LOW, "disk, without tags, bytes an event", plain.disk);
    figure(&CONDITIONS_LOW, "disk, 2 tags an event, bytes an event", tagged.disk);

    let tags = Tags::new(run.events);
    warm(tags, run.engine, &store(TAGGED));
    cold(tags, run.engine, &store(TAGGED));
    unique(tags, run.engine, &store(TAGGED));
}

/// The events, those of the workload `bulk`, and their tags.
#[derive(Clone, Copy)]
struct Tags {
    film: Film,
    groups: u64,
}

impl Tags {
    fn new(events: u64) -> Tags {
        let film = Film::new(events);
        Tags { film, groups: film.streams }
    }

    /// No other event has this tag.
    fn own(n: u64) -> String {
        format!("email:{n}@example.org")
    }

    /// 20 events far apart have this tag, each of another stream.
    fn of_group(group: u64) -> String {
        format!("course:{group}")
    }

    fn group(self, n: u64) -> u64 {
        (n + n / self.groups * 37) % self.groups
    }

    /// The `nth` event of a group.
    fn in_group(self, group: u64, nth: u64) -> u64 {
        let turned = nth * 37 % self.groups;
        nth * self.groups + (group + self.groups - turned) % self.groups
    }

    fn of(self, n: u64) -> [String; 2] {
        [Tags::own(n), Tags::of_group(self.group(n))]
    }

    fn write(self, opened: &dyn Opened, first: u64, tagged: bool) {
        let event = |n| {
            let (stream, payload) = self.film.event(n);
            (stream, payload, if tagged { self.of(n).to_vec() } else { Vec::new() })
        };
        let events: Vec<_> = (first..first + COMMIT_EVENTS).map(event).collect();
        let items =
            events.iter().map(|(stream, payload, tags)| Item { stream: *stream, payload, tags });
        let items: Vec<_> = items.collect();
        opened.append_unless(&items, None).expect("nothing refuses it");
    }

    /// Reads so many groups, far apart, and tells how many events a second that were.
    fn read_groups(self, opened: &dyn Opened, reads: u64) -> f64 {
        let reads = reads.min(self.groups);
        let began = Instant::now();
        for n in 0..reads {
            let group = n * 7_919 % self.groups;
            let mut nth = 0;
            opened.read_tag(&Tags::of_group(group), &mut |read| {
                if n % 100 == 0 {
                    let event = self.in_group(group, nth);
                    assert_eq!(read, self.film.event(event).1, "event {event} of {group}");
                }
                nth += 1;
            });
            assert_eq!(nth, STREAM_EVENTS, "group {group}");
        }
        (reads * STREAM_EVENTS) as f64 / began.elapsed().as_secs_f64()
    }
}

/// A part of the workload, in this process.
pub fn run_part(part: &str, engine: &dyn Engine, events: u64, store: &Path) {
    let tags = Tags::new(events);
    match part {
        PLAIN => write(tags, engine, store, false),
        TAGGED => write(tags, engine, store, true),
        CHECKED => check(tags, engine, store),
        _ => unreachable!("{part} is no part"),
    }
}

/// Has a process of its own do a part; its standard output.
fn apart(run: &Run<'_>, part: &str, store: &Path) -> String {
    let done = Command::new(std::env::current_exe().expect("this program"))
        .args(["conditions-part", part, run.engine.name(), &run.events.to_string()])
        .arg(store)
        .stderr(Stdio::inherit())
        .output()
        .expect("a process");
    assert!(done.status.success(), "{} failed at {part}: {}", run.engine.name(), done.status);
    String::from_utf8(done.stdout).expect("text")
}

struct Wrote {
    /// Events a second, until indexed and closed.
    rate: f64,
    /// The most of its own, in MiB.
    memory: f64,
    /// Bytes an event.
    disk: f64,
}

fn write_apart(run: &Run<'_>, part: &str, store: &Path) -> Wrote {
    let printed = apart(run, part, store);
    // Engines may say things of their own.
    let value = |name: &str| {
        let values = printed.lines().filter_map(|line| line.split_once('\t'));
        let value = values.filter(|(named, _)| *named == name).map(|(_, value)| value).next();
        value.expect("it tells of it").parse::<f64>().expect("a number")
    };
    let disk = disk_bytes(store) as f64 / run.events as f64;
    Wrote { rate: value(RATE), memory: value(MEMORY), disk }
}

fn write(tags: Tags, engine: &dyn Engine, store: &Path, tagged: bool) {
    let opened = engine.open(store);
    let events = tags.film.events;
    let mut memory = 0.0_f64;
    let began = Instant::now();
    for first in (0..events).step_by(COMMIT_EVENTS as usize) {
        tags.write(&*opened, first, tagged);
        if first % (100 * COMMIT_EVENTS) == 0 {
            memory = memory.max(anonymous_memory());
        }
    }
    memory = memory.max(anonymous_memory());
    opened.close();
    println!("{RATE}\t{}", events as f64 / began.elapsed().as_secs_f64());
    println!("{MEMORY}\t{memory}");
    let opened = engine.open(store);
    tags.film.read_all(&*opened);
    opened.close();
}

fn checked_apart(run: &Run<'_>, store: &Path) {
    print!("{}", apart(run, CHECKED, store));
}

/// Waits until the process does nothing by itself: its work would count as that of the checks.
fn wait_until_idle() {
    const PAUSE: Duration = Duration::from_millis(250);
    std::thread::sleep(SETTLING);
    for _ in 0..240 {
        let before = processor_time();
        std::thread::sleep(PAUSE);
        if processor_time() - before < PAUSE / 100 {
            return;
        }
    }
    eprintln!("it has work to do for a minute after opening, which counts as that of the checks");
}

fn check(tags: Tags, engine: &dyn Engine, store: &Path) {
    let opened = engine.open(store);
    wait_until_idle();
    let events = tags.film.events;
    let mut random = Random::new();
    let mut of_each = |count: u64, mut check: Box<dyn FnMut(u64) + '_>| {
        let drawn: Vec<_> = (0..count).map(|_| random.below(events)).collect();
        let began = processor_time();
        drawn.into_iter().for_each(&mut check);
        micros(processor_time() - began) / count as f64
    };
    let absent = Box::new(|n| assert!(!opened.has_tag(&format!("email:{n}@example.net"))));
    let absent = of_each(CHECKS.min(events), absent);
    let present = of_each(CHECKS.min(events), Box::new(|n| assert!(opened.has_tag(&Tags::own(n)))));
    let refused = of_each(
        REFUSED.min(events),
        Box::new(|n| {
            let (tags, payload) = ([Tags::own(n)], payload(n, 0));
            let items = [Item { stream: own_stream(n), payload: &payload, tags: &tags }];
            let unless = Some(Condition { tag: &tags[0], after: 0 });
            assert_eq!(opened.append_unless(&items, unless), None, "{} is there", tags[0]);
        }),
    );
    let of = |what| format!("{what} of {} unique tags", show(events as f64));
    let name = of("a check of a tag that is none");
    figure(&CONDITIONS_LOW, &format!("{name}, microseconds (asked for: at most 2)"), absent);
    let name = of("a check of a tag that is one");
    figure(&CONDITIONS_LOW, &format!("{name}, microseconds (asked for: at most 6)"), present);
    let name = of("an append that is refused for the tag of one");
    figure(&CONDITIONS_LOW, &format!("{name}, microseconds"), refused);
    let name = "memory after opening again and checking, 2 tags an event, MiB";
    figure(&CONDITIONS_LOW, name, anonymous_memory());
    tags.film.read_all(&*opened);
    opened.close();
}

fn warm(tags: Tags, engine: &dyn Engine, store: &Path) {
    let opened = engine.open(store);
    tags.film.read_all(&*opened);
    tags.read_groups(&*opened, STREAMS_LOADED);
    std::thread::sleep(SETTLING);
    let rate = tags.read_groups(&*opened, STREAMS_LOADED);
    let name = "20 scattered events by tag, warm, events per second (asked for: ahead of both)";
    figure(&CONDITIONS, name, rate);
    opened.close();
}

/// As streams are read cold in the workload `bulk`.
fn cold(tags: Tags, engine: &dyn Engine, store: &Path) {
    if !drop_page_cache() {
        return;
    }
    read_files(store);
    assert!(drop_page_cache(), "it was allowed a moment ago");
    let opened = engine.open(store);
    assert!(drop_page_cache(), "it was allowed a moment ago");
    let rate = tags.read_groups(&*opened, STREAMS_LOADED_COLD);
    let name = "20 scattered events by tag, cold, events per second (asked for: ahead of both)";
    figure(&CONDITIONS, name, rate);
    opened.close();
}

/// Writers of an event each, whose tag must never have been there, beside the tags that are.
fn unique(tags: Tags, engine: &dyn Engine, store: &Path) {
    let opened = engine.open(store);
    let (first, written) = (tags.film.events, AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                while began.elapsed() < SPAN {
                    let n = first + written.fetch_add(1, Ordering::Relaxed);
                    let (tags, payload) = ([Tags::own(n)], payload(n, 0));
                    let items = [Item { stream: own_stream(n), payload: &payload, tags: &tags }];
                    let unless = Some(Condition { tag: &tags[0], after: 0 });
                    opened.append_unless(&items, unless).expect("the tag is new");
                }
            });
        }
    });
    let (span, written) = (began.elapsed().as_secs_f64(), written.into_inner());
    let name = format!("64 writers of unique tags beside {} of them", show(first as f64));
    figure(&CONDITIONS, &format!("{name}, events per second"), written as f64 / span);
    let mut count = 0;
    opened.read_all(&mut |_| count += 1);
    assert_eq!(count, first + written, "events that were committed are not there");
    for n in (first..first + written).step_by(97) {
        let mut read = Vec::new();
        opened.read_tag(&Tags::own(n), &mut |payload| read.push(payload.to_vec()));
        assert_eq!(read, [payload(n, 0)], "the event with {}", Tags::own(n));
    }
    opened.close();
}

/// Of an event beside those of the film: each has a stream of its own.
fn own_stream(n: u64) -> u64 {
    1 << 40 | n
}
