//! Those who decide on one stream hand on what is queued: nobody waits for ever, no two have a turn at once, and what
//! is acknowledged was decided on what is written before it, although others write without a turn meanwhile.

use crate::check;
use crate::log::commit::promise::Promise;
use crate::log::commit::queue::{CommitQueue, Terms, Turn as Queued};
use crate::log::commit::turns::{Handed, Turns};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;
use std::collections::HashMap;
use std::sync::Arc as Shared;
use std::sync::atomic::AtomicU64 as Counter;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const DECIDERS: u64 = 3;
const EACH: u64 = 2;
const STREAMS: [&str; 2] = ["A", "B"];

type State = Vec<u64>;

/// A commit as the journal is given it: to each stream the value, at the version that was seen.
struct Wanted {
    value: u64,
    streams: Vec<(&'static str, Option<usize>)>,
    promise: Shared<Promise>,
    assumes: Vec<Shared<Promise>>,
}

/// What is written, by stream, and the queue that leads there.
struct Journal {
    queue: CommitQueue<Wanted, bool>,
    turns: Shared<Turns<&'static str, Shared<State>>>,
    written: Mutex<HashMap<&'static str, State>>,
    holders: [AtomicU64; 2],
    handed: Counter,
}

impl Journal {
    fn new() -> Arc<Journal> {
        Arc::new(Journal {
            queue: CommitQueue::new(Terms { groups_max: 2, waiting_min: 2, bytes_max: 1_000 }),
            turns: Shared::new(Turns::new()),
            written: Mutex::default(),
            holders: Default::default(),
            handed: Default::default(),
        })
    }

    fn read(&self, stream: &str) -> State {
        self.written.lock().unwrap().get(stream).cloned().unwrap_or_default()
    }

    /// Admits in order: by version, and by what was admitted or written before.
    fn write(&self, group: Vec<Wanted>) -> Vec<bool> {
        thread::yield_now();
        let mut written = self.written.lock().unwrap();
        let mut admitted: Vec<*const Promise> = Vec::new();
        let mut answers = Vec::new();
        for wanted in &group {
            let version = |stream: &str| written.get(stream).map_or(0, Vec::len);
            let founded = wanted
                .assumes
                .iter()
                .all(|assumed| assumed.is_kept() || admitted.contains(&Shared::as_ptr(assumed)));
            let holds = |(stream, seen): &(&'static str, Option<usize>)| {
                seen.is_none_or(|v| v == version(stream))
            };
            let is_admitted = founded && wanted.streams.iter().all(holds);
            if is_admitted {
                admitted.push(Shared::as_ptr(&wanted.promise));
                for (stream, _) in &wanted.streams {
                    written.entry(stream).or_default().push(wanted.value);
                }
            }
            answers.push(is_admitted);
        }
        drop(written);
        let done = group.iter().zip(&answers).filter(|(_, is_admitted)| **is_admitted);
        done.for_each(|(wanted, _)| wanted.promise.keep());
        answers
    }

    fn commit(&self, wanted: Wanted, queued: impl FnOnce()) -> bool {
        match self.queue.join(wanted, 1, queued).expect("it is not closed") {
            Queued::Answered(answer) => answer,
            Queued::Leads(mut leader) => loop {
                let answers = self.write(leader.take_group());
                if let Some(own) = leader.reply(answers, || false) {
                    break own;
                }
            },
        }
    }

    /// Writes without a turn, whatever the version.
    fn meddle(&self, value: u64) {
        let promise = Shared::default();
        let streams = vec![("A", None)];
        assert!(self.commit(Wanted { value, streams, promise, assumes: Vec::new() }, || {}));
    }

    /// Adds `value` to these streams, in order. Returns what it was decided on.
    fn decide(&self, value: u64, streams: &[&'static str]) -> Vec<State> {
        let mut trusts = true;
        loop {
            let mut turns: Vec<_> = streams
                .iter()
                .map(|stream| {
                    self.turns.take(stream, value, Duration::from_secs(60)).expect("a turn")
                })
                .collect();
            let (mut saw, mut assumes) = (Vec::new(), Vec::new());
            for (stream, turn) in streams.iter().zip(&turns) {
                let number = STREAMS.iter().position(|name| name == stream).unwrap();
                assert_eq!(self.holders[number].fetch_add(1, Ordering::SeqCst), 0, "two have it");
                let handed = turn.handed();
                if let Some(handed) = handed.as_ref().filter(|_| trusts) {
                    self.handed.fetch_add(1, Relaxed);
                    assumes.push(Shared::clone(&handed.promise));
                    saw.push(State::clone(&handed.state));
                    continue;
                }
                if let Some(handed) = handed {
                    handed.promise.wait();
                }
                saw.push(self.read(stream));
            }
            let promise = Shared::new(Promise::default());
            let expected = streams.iter().zip(&saw).map(|(stream, saw)| (*stream, Some(saw.len())));
            let wanted = Wanted {
                value,
                streams: expected.collect(),
                promise: Shared::clone(&promise),
                assumes: assumes.clone(),
            };
            let mut outstanding = Vec::new();
            let done = self.commit(wanted, || {
                for ((turn, saw), stream) in turns.drain(..).zip(&saw).zip(streams) {
                    let number = STREAMS.iter().position(|name| name == stream).unwrap();
                    self.holders[number].fetch_sub(1, Ordering::SeqCst);
                    let state = saw.iter().copied().chain([value]).collect::<State>();
                    let state = Shared::new(state);
                    let promise = Shared::clone(&promise);
                    outstanding.push(turn.hand_on(Handed { state, promise }));
                }
            });
            promise.settle();
            drop(outstanding);
            if done {
                assert!(
                    assumes.iter().all(|assumed| assumed.wait()),
                    "written before what it assumes"
                );
                return saw;
            }
            trusts = assumes.iter().all(|assumed| assumed.is_kept());
        }
    }
}

/// Each value is decided on what is before it, in each of its streams.
fn check_written(journal: &Journal, told: &[(u64, Vec<&'static str>, Vec<State>)]) {
    let written = journal.written.lock().unwrap();
    for (value, streams, saw) in told {
        for (stream, saw) in streams.iter().zip(saw) {
            let place = written[stream].iter().position(|written| written == value);
            let before = &written[stream][..place.expect("it was acknowledged")];
            assert_eq!(before, saw, "{value} was decided on another state of {stream}");
        }
    }
}

fn decided(
    journal: &Arc<Journal>,
    streams_of: impl Fn(u64) -> Vec<&'static str> + Copy + Send + 'static,
) -> Vec<(u64, Vec<&'static str>, Vec<State>)> {
    let deciders: Vec<_> = (1..=DECIDERS)
        .map(|decider| {
            let journal = Arc::clone(journal);
            thread::spawn(move || {
                let values = (0..EACH).map(|n| 10 * decider + n);
                let told = values.map(|value| {
                    let streams = streams_of(value);
                    let saw = journal.decide(value, &streams);
                    (value, streams, saw)
                });
                told.collect::<Vec<_>>()
            })
        })
        .collect();
    deciders.into_iter().flat_map(|decider| decider.join().unwrap()).collect()
}

#[test]
fn what_is_handed_on_leads_to_one_history() {
    // In all schedules; not one of the checker's own, which end with each.
    static HANDED: Counter = Counter::new(0);
    check(|| {
        let journal = Journal::new();
        let told = decided(&journal, |_| vec!["A"]);
        check_written(&journal, &told);
        assert_eq!(journal.read("A").len() as u64, DECIDERS * EACH);
        HANDED.fetch_add(journal.handed.load(Relaxed), Relaxed);
    });
    assert!(HANDED.load(Relaxed) > 0, "nothing was handed on");
}

#[test]
fn who_writes_without_a_turn_leaves_nobody_with_what_never_was() {
    check(|| {
        let journal = Journal::new();
        let its = Arc::clone(&journal);
        let meddler = thread::spawn(move || (1..=2).for_each(|n| its.meddle(n)));
        let told = decided(&journal, |_| vec!["A"]);
        meddler.join().unwrap();
        check_written(&journal, &told);
        assert_eq!(journal.read("A").len() as u64, DECIDERS * EACH + 2);
    });
}

#[test]
fn several_streams_at_once_lead_to_one_history_of_each() {
    check(|| {
        let journal = Journal::new();
        let its = Arc::clone(&journal);
        let meddler = thread::spawn(move || its.meddle(1));
        let told = decided(&journal, |value| match value % 3 {
            0 => vec!["B"],
            1 => vec!["A", "B"],
            _ => vec!["A"],
        });
        meddler.join().unwrap();
        check_written(&journal, &told);
    });
}
