//! Subscriptions join and leave the thread that reads for them, beside a writer: each gets what it wants, once and in
//! order, whatever its room; nobody waits for ever; and the thread ends with the last of them.

use crate::check;
use crate::codec::frame::Location;
use crate::follow::live::inbox::Inbox;
use crate::follow::live::roster::Roster;
use crate::follow::live::taking::{Next, Polled};
use crate::log::tail::head::{Audience, Head};
use crate::queue_tasks::Sleeper;
use crate::value::clock::Micros;
use crate::value::error::Result;
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::filter_index::{FilterId, FilterIndex};
use crate::value::position::Position;
use parking_lot::{RwLock, RwLockReadGuard};
use shuttle::sync::Mutex;
use shuttle::thread;
use std::iter;
use std::sync::Arc;
use std::task::Waker;

/// The types of the frames' events: a frame has one or several.
const FRAMES: [&[&str]; 4] = [&["A"], &["B"], &["A", "B", "A"], &["B"]];
const LAST: u64 = 6;

/// What the log is to a subscription.
pub(crate) struct Log {
    pub(crate) head: Head,
    pub(crate) interest: Interest,
    /// The last position of each frame that is visible.
    frames: Mutex<Vec<u64>>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

#[derive(Default)]
pub(crate) struct Interest(RwLock<FilterIndex>);

impl Interest {
    pub(crate) fn add(&self, filter: &Filter) -> FilterId {
        self.0.write().add(filter)
    }

    pub(crate) fn remove(&self, id: FilterId) {
        self.0.write().remove(id);
    }

    pub(crate) fn filters(&self) -> RwLockReadGuard<'_, FilterIndex> {
        self.0.read()
    }

    fn may_want(&self, frame: &[&str]) -> bool {
        self.0
            .try_read()
            .is_none_or(|filters| frame.iter().any(|kind| filters.wants("S", kind, iter::empty())))
    }
}

/// What filters ask of an event, none of which has tags here.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) stream: &'a str,
    pub(crate) event_type: &'a str,
}

impl<'a> Named<'a> {
    pub(crate) fn tags(self) -> iter::Empty<&'a str> {
        iter::empty()
    }
}

/// The type of the event at `position`.
fn kind(position: u64) -> &'static str {
    FRAMES.concat()[position as usize - 1]
}

fn end(position: u64) -> Location {
    Location { segment: 1, offset: position }
}

impl Log {
    fn new() -> Arc<Log> {
        let head = Head::new(0, end(0), [0; 32], Micros(0));
        let (frames, threads) = (Mutex::default(), Mutex::default());
        Arc::new(Log { head, interest: Interest::default(), frames, threads })
    }

    pub(crate) fn spawn(&self, _: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
        self.threads.lock().unwrap().push(thread::spawn(work));
        Ok(())
    }

    /// What the writer of each frame does.
    fn append(&self, frame: &[&str]) {
        let unwanted = self.head.judge(|| self.interest.may_want(frame));
        let judged = Audience { unwanted, wanted: None };
        let last = self.head.position() + frame.len() as u64;
        self.frames.lock().unwrap().push(last);
        if self.head.advance((last, end(last)), [0; 32], Micros(0), &judged) {
            self.head.wake();
        }
    }

    fn append_all(&self) {
        FRAMES.iter().for_each(|frame| self.append(frame));
    }

    /// Waits for the threads that were started; they have been told to end.
    fn join_threads(&self) {
        loop {
            let threads = std::mem::take(&mut *self.threads.lock().unwrap());
            if threads.is_empty() {
                return;
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    }
}

/// Reads the log as the engine's reader does.
pub(crate) struct Reader {
    log: Arc<Log>,
    /// The next position in the frame that is open, and its last one.
    frame: Option<(u64, u64)>,
}

pub(crate) enum Step {
    Event(RecordedEvent),
    Through(u64),
}

impl Reader {
    pub(crate) fn new(log: &Arc<Log>) -> Reader {
        Reader { log: Arc::clone(log), frame: None }
    }

    pub(crate) fn open(&mut self, after: u64) -> Result<()> {
        if self.frame.is_none() {
            let frames = self.log.frames.lock().unwrap();
            let last = frames.iter().find(|last| **last > after).expect("it is before the head");
            self.frame = Some((after + 1, *last));
        }
        Ok(())
    }

    /// Passes over the frames before `head` in which the filter wants nothing.
    pub(crate) fn skip(&mut self, filter: &Filter, after: u64, head: u64) -> u64 {
        if self.frame.is_some() {
            return after;
        }
        let frames = self.log.frames.lock().unwrap();
        let unwanted = |last: &u64| !(after + 1..=*last).any(|at| filter.wants("S", kind(at)));
        let passed = frames.iter().copied().filter(|last| *last > after && *last < head);
        passed.take_while(unwanted).last().unwrap_or(after)
    }

    pub(crate) fn next(&mut self, filter: &Filter) -> Result<Step> {
        self.next_named(|named| filter.wants(named.stream, named.event_type))
    }

    pub(crate) fn next_named(&mut self, mut wants: impl FnMut(Named<'_>) -> bool) -> Result<Step> {
        let (next, last) = self.frame.as_mut().expect("a frame is open");
        while *next <= *last {
            let position = *next;
            *next += 1;
            if wants(Named { stream: "S", event_type: kind(position) }) {
                return Ok(Step::Event(RecordedEvent { position: Position(position) }));
            }
        }
        let last = *last;
        self.frame = None;
        Ok(Step::Through(last))
    }
}

struct Follower {
    log: Arc<Log>,
    roster: Arc<Roster>,
    inbox: Arc<Inbox>,
    wants: Filter,
}

impl Follower {
    fn start(
        log: &Arc<Log>,
        roster: &Arc<Roster>,
        kind: Option<&'static str>,
        after: u64,
        room: usize,
    ) -> Follower {
        let wants = Filter(kind);
        let inbox = Arc::new(Inbox::new(wants.clone(), after, room));
        roster.join(log, &inbox).unwrap();
        Follower { log: Arc::clone(log), roster: Arc::clone(roster), inbox, wants }
    }

    fn stop(&self) {
        self.inbox.stop();
        self.roster.leave(&self.log, &self.inbox);
    }

    /// Takes everything that it wants after `after`, or what comes until it ends. Where it was when it ended.
    fn take_all(&self, after: u64) -> u64 {
        let wanted = (after + 1..=LAST).filter(|at| self.wants.wants("S", kind(*at)));
        let mut before = after;
        for wanted in wanted {
            assert!(self.inbox.position(&self.log) < wanted, "past what was not taken");
            match self.inbox.next(&self.log, &self.roster, None, false) {
                Next::Event(event) => assert_eq!(event.position.get(), wanted, "a gap, or twice"),
                Next::Ended => return before,
                other => unreachable!("{other:?}"),
            }
            let position = self.inbox.position(&self.log);
            assert!(position >= wanted && position >= before, "behind what was taken");
            before = position;
        }
        before
    }
}

#[test]
fn whatever_joins_falls_behind_and_leaves_each_gets_what_it_wants_once_and_in_order() {
    check(|| {
        let (log, roster) = (Log::new(), Arc::default());
        let followers = [(None, 1), (Some("A"), 1), (Some("B"), 2)].map(|(kind, room)| {
            let (log, roster) = (Arc::clone(&log), Arc::clone(&roster));
            thread::spawn(move || {
                // It may begin after what is recorded by then.
                let after = if room == 2 { log.head.position() } else { 0 };
                let follower = Follower::start(&log, &roster, kind, after, room);
                follower.take_all(after);
                follower.stop();
            })
        });
        log.append_all();
        for follower in followers {
            follower.join().unwrap();
        }
        log.join_threads();
    });
}

#[test]
fn one_that_wants_nothing_of_what_comes_gets_as_far_as_the_head() {
    check(|| {
        let (log, roster) = (Log::new(), Arc::default());
        let idle = Follower::start(&log, &roster, Some("C"), 0, 1);
        let (its_log, its_roster) = (Arc::clone(&log), Arc::clone(&roster));
        let other = thread::spawn(move || {
            let other = Follower::start(&its_log, &its_roster, Some("A"), 0, 1);
            other.take_all(0);
            other.stop();
        });
        log.append_all();
        other.join().unwrap();
        // It is moved on by a writer, or by the thread: neither waits for it.
        while idle.inbox.position(&log) < LAST {
            thread::yield_now();
        }
        idle.stop();
        log.join_threads();
    });
}

#[test]
fn who_is_stopped_ends_goes_on_elsewhere_without_a_gap_and_disturbs_nobody() {
    check(|| {
        let (log, roster) = (Log::new(), Arc::default());
        let stopped = Arc::new(Follower::start(&log, &roster, Some("A"), 0, 1));
        let other = Follower::start(&log, &roster, None, 0, 1);
        let its = Arc::clone(&stopped);
        let (its_log, its_roster) = (Arc::clone(&log), Arc::clone(&roster));
        let consumer = thread::spawn(move || {
            let until = its.take_all(0);
            let successor = Follower::start(&its_log, &its_roster, Some("A"), until, 1);
            successor.take_all(until);
            successor.stop();
        });
        let other = thread::spawn(move || {
            other.take_all(0);
            other.stop();
        });
        log.append(FRAMES[0]);
        stopped.stop();
        FRAMES[1..].iter().for_each(|frame| log.append(frame));
        consumer.join().unwrap();
        other.join().unwrap();
        log.join_threads();
    });
}

#[test]
fn a_log_that_is_closed_ends_everybody() {
    check(|| {
        let (log, roster) = (Log::new(), Arc::default());
        let followers = [(None, 1), (Some("A"), 2), (Some("C"), 1)].map(|(kind, room)| {
            let (log, roster) = (Arc::clone(&log), Arc::clone(&roster));
            thread::spawn(move || {
                let follower = Follower::start(&log, &roster, kind, 0, room);
                loop {
                    match follower.inbox.next(&log, &roster, None, false) {
                        Next::Event(_) => {}
                        Next::Ended => return follower.stop(),
                        other => unreachable!("{other:?}"),
                    }
                }
            })
        });
        FRAMES[..2].iter().for_each(|frame| log.append(frame));
        log.head.close();
        for follower in followers {
            follower.join().unwrap();
        }
        log.join_threads();
    });
}

#[test]
fn threads_that_take_from_one_inbox_share_what_comes() {
    check(|| {
        let (log, roster) = (Log::new(), Arc::default());
        let follower = Arc::new(Follower::start(&log, &roster, None, 0, 1));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let consumers = [(); 2].map(|()| {
            let (follower, taken) = (Arc::clone(&follower), Arc::clone(&taken));
            thread::spawn(move || {
                let next = || follower.inbox.next(&follower.log, &follower.roster, None, false);
                while let Next::Event(event) = next() {
                    let mut taken = taken.lock().unwrap();
                    taken.push(event.position.get());
                    if taken.len() as u64 == LAST {
                        follower.stop();
                    }
                }
            })
        });
        log.append_all();
        for consumer in consumers {
            consumer.join().unwrap();
        }
        let mut taken = taken.lock().unwrap().clone();
        taken.sort_unstable();
        assert_eq!(taken, (1..=LAST).collect::<Vec<_>>());
        log.join_threads();
    });
}

/// Takes what it wants as a task does: it sleeps until it is woken. Whether it came to the end.
fn take_all_by_task(follower: &Follower) -> bool {
    let sleeper = Arc::new(Sleeper::default());
    let waker = Waker::from(Arc::clone(&sleeper));
    let mut wanted = (1..=LAST).filter(|at| follower.wants.wants("S", kind(*at))).peekable();
    while let Some(next) = wanted.peek() {
        match follower.inbox.poll_next(&waker) {
            Polled::Next(Next::Event(event)) => {
                assert_eq!(event.position.get(), *next, "a gap, or twice");
                wanted.next();
            }
            Polled::Next(Next::Ended) => return false,
            Polled::Next(other) => unreachable!("{other:?}"),
            Polled::Pending => sleeper.sleep(),
            Polled::Lags => follower.inbox.catch_up(&follower.log, &follower.roster),
        }
    }
    true
}

#[test]
fn tasks_are_woken_for_whatever_they_want() {
    check(|| {
        let (log, roster) = (Log::new(), Arc::default());
        let followers = [(None, 1), (Some("A"), 2)].map(|(kind, room)| {
            let (log, roster) = (Arc::clone(&log), Arc::clone(&roster));
            thread::spawn(move || {
                let follower = Follower::start(&log, &roster, kind, 0, room);
                assert!(take_all_by_task(&follower), "it ended");
                follower.stop();
            })
        });
        log.append_all();
        followers.into_iter().for_each(|follower| follower.join().unwrap());
        log.join_threads();
    });
}

#[test]
fn a_task_is_woken_when_it_is_stopped_or_the_log_is_closed() {
    for closes in [true, false] {
        check(move || {
            let (log, roster) = (Log::new(), Arc::default());
            let follower = Arc::new(Follower::start(&log, &roster, None, 0, 1));
            let its = Arc::clone(&follower);
            let task = thread::spawn(move || take_all_by_task(&its));
            log.append(FRAMES[0]);
            match closes {
                true => log.head.close(),
                false => follower.stop(),
            }
            assert!(!task.join().unwrap());
            follower.stop();
            log.join_threads();
        });
    }
}
