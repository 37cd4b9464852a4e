//! Histories of appends, reads and heads under load are linearizable: each operation takes place at one
//! moment between its call and its return, and all of them agree on the order of these moments.
//!
//! The order of appends is no search: positions say it. A read that shows so many events of a stream
//! took place at some position from the last of them on, up to the next one. So a history is linearizable
//! if each operation can be given a position in its range, none lower than that of an operation that
//! had returned before it was called; and the lowest possible one is always the best choice.
//!
//! A condition tells what was not there: at the moment of a commit that was recorded, no event of its stream had come
//! after the condition's position; at that of one that was not, the first such event had come.

use filmstrip::{AppendError, Commit, ExpectedVersion, Filter, NewEvent, Position, Store, Version};
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const THREADS: u64 = 6;
const OPERATIONS: u64 = 300;
const STREAMS: u64 = 4;

/// What an operation has told.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    /// It appended the event at this position to the stream.
    Appended { stream: u64, position: u64 },
    /// The stream had so many events: by a read, or by a conflict.
    Version { stream: u64, version: u64 },
    /// This was the last position of all.
    Head(u64),
    /// It appended the event at this position to the stream, which had none after `after`.
    AppendedUnless { stream: u64, after: u64, position: u64 },
    /// The stream had no event after `after`, up to this position, which was the last of all.
    Checked { stream: u64, after: u64, position: u64 },
    /// The first event of the stream after `after` was the one at this position.
    Matched { stream: u64, after: u64, position: u64 },
}

/// An operation: when it was called, when it returned, and what it told.
#[derive(Debug, Clone)]
struct Operation {
    called: u64,
    returned: u64,
    told: Told,
}

/// The positions at which each stream's versions began, from version 1 on.
fn streams(history: &[Operation]) -> Vec<Vec<u64>> {
    let mut streams = vec![Vec::new(); STREAMS as usize];
    for operation in history {
        if let Told::Appended { stream, position } | Told::AppendedUnless { stream, position, .. } =
            operation.told
        {
            streams[stream as usize].push(position);
        }
    }
    streams.iter_mut().for_each(|positions| positions.sort_unstable());
    streams
}

/// The positions at which what was told was true; none if it never was.
fn when_true(told: &Told, streams: &[Vec<u64>]) -> RangeInclusive<u64> {
    const NEVER: RangeInclusive<u64> = RangeInclusive::new(1, 0);
    let first_after = |stream: u64, after: u64| {
        let mut later = streams[stream as usize].iter().filter(|position| **position > after);
        later.next().copied().unwrap_or(u64::MAX)
    };
    match *told {
        Told::AppendedUnless { stream, after, position } => {
            if first_after(stream, after) == position { position..=position } else { NEVER }
        }
        Told::Checked { stream, after, position } => {
            if first_after(stream, after) > position {
                position..=position
            } else {
                NEVER
            }
        }
        Told::Matched { stream, after, position } => {
            if first_after(stream, after) == position {
                position..=u64::MAX
            } else {
                NEVER
            }
        }
        Told::Appended { position, .. } => position..=position,
        Told::Head(position) => position..=position,
        Told::Version { stream, version } => {
            let positions = &streams[stream as usize];
            let from = version.checked_sub(1).map_or(0, |last| positions[last as usize]);
            let to = positions.get(version as usize).map_or(u64::MAX, |next| next - 1);
            from..=to
        }
    }
}

/// The first operation that fits nowhere, if there is one.
fn misfit(mut history: Vec<Operation>) -> Option<Operation> {
    let streams = streams(&history);
    history.sort_by_key(|operation| operation.called);
    let mut by_return: Vec<usize> = (0..history.len()).collect();
    by_return.sort_by_key(|n| history[*n].returned);
    let mut returned = by_return.into_iter().peekable();
    let mut places = vec![0; history.len()];
    let mut passed = 0;
    for (n, operation) in history.iter().enumerate() {
        // A call that returned before this one began earlier too, and has its place.
        while let Some(before) = returned.next_if(|m| history[*m].returned < operation.called) {
            passed = passed.max(places[before]);
        }
        let range = when_true(&operation.told, &streams);
        places[n] = passed.max(*range.start());
        if places[n] > *range.end() {
            return Some(operation.clone());
        }
    }
    None
}

struct Recorder {
    now: AtomicU64,
    history: Mutex<Vec<Operation>>,
}

impl Recorder {
    fn record(&self, operation: impl FnOnce() -> Told) {
        let called = self.now.fetch_add(1, Ordering::SeqCst);
        let told = operation();
        let returned = self.now.fetch_add(1, Ordering::SeqCst);
        self.history.lock().unwrap().push(Operation { called, returned, told });
    }
}

/// What each thread does: of everything a little, and much at the same time.
fn operate(store: &Store, thread: u64, n: u64) -> Told {
    let stream = (thread * 7 + n * 3) % STREAMS;
    let name = format!("S-{stream}");
    let read = || store.read_stream(&name).collect().map_or(0, |events| events.len() as u64);
    let tag = format!("of:{stream}");
    let event = || NewEvent::bytes("Written", vec![1; (n % 50 * 100) as usize]).tag(&tag);
    match (thread + n) % 8 {
        6 | 7 => {
            // Sometimes something has come since, sometimes not; a third of them write nothing.
            let after = store.head().get().saturating_sub(n % 3);
            let commit = Commit::new().unless(Filter::tag(&tag), Position::new(after));
            let writes = !n.is_multiple_of(3);
            let commit = match writes {
                true => commit.append(&name, ExpectedVersion::Any, [event()]),
                false => commit,
            };
            match store.commit(commit) {
                Ok(done) if writes => {
                    Told::AppendedUnless { stream, after, position: done.position.get() }
                }
                Ok(done) => Told::Checked { stream, after, position: done.position.get() },
                Err(AppendError::Matched(matched)) => {
                    Told::Matched { stream, after, position: matched.position.get() }
                }
                Err(error) => panic!("{error}"),
            }
        }
        0 => Told::Head(store.head().get()),
        1 => Told::Version { stream, version: read() },
        2 => {
            // What has come after the head by now, if anything.
            let head = store.head();
            let events = store.read_all().after(head).collect().unwrap();
            Told::Head(events.last().map_or(head, |event| event.position).get())
        }
        3 => match store.append(&name, Version::new(read()), [event()]) {
            Ok(done) => Told::Appended { stream, position: done.position.get() },
            Err(AppendError::Conflict(conflict)) => {
                Told::Version { stream, version: conflict.actual.get() }
            }
            Err(error) => panic!("{error}"),
        },
        _ => {
            let done = store.append(&name, ExpectedVersion::Any, [event()]).unwrap();
            Told::Appended { stream, position: done.position.get() }
        }
    }
}

#[test]
fn a_history_recorded_under_load_is_linearizable() {
    let store = Store::temporary().unwrap();
    let recorder = Recorder { now: AtomicU64::new(0), history: Mutex::new(Vec::new()) };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, recorder) = (&store, &recorder);
            scope.spawn(move || {
                for n in 0..OPERATIONS {
                    recorder.record(|| operate(store, thread, n));
                }
            });
        }
    });
    let history = recorder.history.into_inner().unwrap();
    let appended = streams(&history).concat().len() as u64;
    assert_eq!(Position::new(appended), store.head(), "an append is not in the history");
    println!("figures: linearizability: {} operations", history.len());
    if let Some(operation) = misfit(history.clone()) {
        let near = |other: &&Operation| other.returned + 20 > operation.called;
        let near: Vec<_> = history.iter().filter(near).take(40).collect();
        panic!("{operation:?} fits nowhere among {near:#?}");
    }
}

/// The story: an event was shown to readers of its stream a moment before the head moved over it. Who
/// was woken in that moment read the event, asked for the head, and was told one that came before it. The
/// history above showed it once in fifty runs.
#[test]
fn who_has_read_an_event_finds_the_head_past_it() {
    const EVENTS: u64 = 3_000;
    let store = Store::temporary().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..EVENTS {
                let event = NewEvent::bytes("Written", n.to_le_bytes().to_vec());
                store.append("S-1", ExpectedVersion::Any, [event]).unwrap();
            }
        });
        let mut read = 0;
        while read < EVENTS {
            let version = store.stream_info("S-1").map_or(0, |info| info.version.get());
            let head = store.head().get();
            read = version;
            assert!(
                read <= head,
                "version {read} of the one stream was read, and the head is {head}"
            );
        }
    });
}

#[test]
fn histories_that_nobody_can_order_are_refused() {
    let operation = |called, returned, told| Operation { called, returned, told };
    let appended = |position| Told::Appended { stream: 0, position };
    let version = |version| Told::Version { stream: 0, version };
    let first = operation(0, 1, appended(1));
    let cases = [
        ("a read that misses what was acknowledged", vec![operation(2, 3, version(0))]),
        ("a head that goes back", vec![operation(2, 3, Told::Head(0))]),
        (
            "a read behind what another one has shown",
            vec![
                operation(2, 9, appended(2)),
                operation(3, 4, version(2)),
                operation(5, 6, version(1)),
            ],
        ),
        (
            "positions against the order of time",
            vec![operation(2, 3, appended(3)), operation(4, 5, appended(2))],
        ),
        (
            "a commit in spite of what its condition excludes",
            vec![operation(2, 3, Told::AppendedUnless { stream: 0, after: 0, position: 2 })],
        ),
        (
            "a check that holds although an event was acknowledged before it",
            vec![
                operation(2, 3, appended(2)),
                operation(4, 5, Told::Checked { stream: 0, after: 1, position: 1 }),
            ],
        ),
        (
            "a check that holds for a head at which it does not",
            vec![
                operation(2, 9, appended(2)),
                operation(3, 8, Told::Checked { stream: 0, after: 1, position: 2 }),
            ],
        ),
        (
            "a match that is not the first",
            vec![
                operation(2, 3, appended(2)),
                operation(4, 5, Told::Matched { stream: 0, after: 0, position: 2 }),
            ],
        ),
        (
            "a match that nobody had recorded by then",
            vec![
                operation(6, 7, appended(2)),
                operation(2, 3, Told::Matched { stream: 0, after: 1, position: 2 }),
                operation(4, 5, Told::Head(1)),
            ],
        ),
    ];
    for (case, mut history) in cases {
        history.push(first.clone());
        assert!(misfit(history).is_some(), "{case} went unnoticed");
    }
    let overlapping = vec![
        first,
        operation(2, 9, appended(2)),
        operation(3, 4, version(1)),
        operation(5, 6, version(2)),
    ];
    assert!(misfit(overlapping).is_none(), "a history that can be ordered was refused");
}
