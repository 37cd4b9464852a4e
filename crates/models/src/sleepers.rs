//! Threads that read for one follower each sleep at the head beside a writer that judges for them: each gets what it
//! wants, once and in order, passes over nothing else than what it does not want, and comes to a position that somebody
//! waits for.

use crate::check;
use crate::codec::frame::Location;
use crate::log::tail::head::{Audience, Head};
use crate::log::tail::sleepers::{Enrolled, Slept, Waiter};
use crate::value::clock::Micros;
use crate::value::filter::Filter;
use crate::value::filter_index::{FilterId, FilterIndex};
use parking_lot::RwLock;
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use std::sync::Arc;

/// The types of the frames, of one event each.
const FRAMES: [&str; 4] = ["A", "B", "B", "C"];
const LAST: u64 = FRAMES.len() as u64;

struct Log {
    head: Head,
    filters: RwLock<FilterIndex>,
}

fn end(position: u64) -> Location {
    Location { segment: 1, offset: position }
}

fn chain(position: u64) -> [u8; 32] {
    [position as u8; 32]
}

impl Log {
    fn new() -> Arc<Log> {
        let head = Head::new(0, end(0), chain(0), Micros(0));
        Arc::new(Log { head, filters: RwLock::default() })
    }

    fn enroll(&self, wanted: &'static str) -> Enrolled {
        let filter = self.filters.write().add(&Filter(Some(wanted)));
        self.head.enroll(filter, &std::sync::Arc::<Waiter>::default())
    }

    fn wanting(&self, kind: &str) -> Option<Vec<FilterId>> {
        Some(self.filters.try_read()?.wanting("S", kind, std::iter::empty()).collect())
    }

    /// What the writer of each frame does.
    fn append_all(&self) {
        for (kind, position) in FRAMES.iter().zip(1..) {
            let wanted = self.head.judge_for_sleepers(|| self.wanting(kind));
            let judged = Audience { unwanted: None, wanted };
            if self.head.advance((position, end(position)), chain(position), Micros(0), &judged) {
                self.head.wake();
            }
        }
    }

    /// What a feed does for `who`, up to the last position; what it was given.
    fn follow(&self, who: &Enrolled, wanted: &str) -> Vec<u64> {
        let (mut position, mut given) = (0, Vec::new());
        while position < LAST {
            match self.head.sleep(who, position) {
                Slept::Stopped => break,
                Slept::Woken(Some((until, at))) => {
                    assert_eq!(at, chain(until), "of two moments");
                    position = position.max(until);
                }
                Slept::Woken(None) => {}
            }
            while position < self.head.position() {
                position += 1;
                if FRAMES[position as usize - 1] == wanted {
                    given.push(position);
                }
            }
        }
        given
    }
}

fn wanted(kind: &str) -> Vec<u64> {
    (1..=LAST).filter(|position| FRAMES[*position as usize - 1] == kind).collect()
}

#[test]
fn each_sleeper_gets_what_it_wants_and_comes_to_what_is_awaited() {
    check(|| {
        let log = Log::new();
        let followers = ["A", "B"].map(|kind| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                let who = log.enroll(kind);
                log.head.await_position(&who, LAST);
                assert_eq!(log.follow(&who, kind), wanted(kind), "{kind}");
                log.head.no_longer_await(&who, LAST);
            })
        });
        log.append_all();
        followers.into_iter().for_each(|follower| follower.join().unwrap());
    });
}

/// Who waits looks first whether it is there, as a consumer's progress does, with the alarm set.
#[test]
fn who_begins_to_wait_for_a_position_is_answered_by_a_sleeper_that_wants_nothing() {
    check(|| {
        let log = Log::new();
        let who = log.enroll("nothing");
        let (done, moved) = (Arc::new(Mutex::new(0)), Arc::new(Condvar::new()));
        let follower = {
            let (log, who) = (Arc::clone(&log), who.clone());
            let (done, moved) = (Arc::clone(&done), Arc::clone(&moved));
            thread::spawn(move || {
                let mut position = 0;
                while let Slept::Woken(_) = log.head.sleep(&who, position) {
                    position = log.head.position();
                    *done.lock().unwrap() = position;
                    moved.notify_all();
                }
            })
        };
        let waiting = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                log.head.await_position(&who, LAST);
                let mut done = done.lock().unwrap();
                loop {
                    let reached = log.head.reached(&who, *done);
                    if reached.map_or(*done, |(position, _)| position) >= LAST {
                        break;
                    }
                    done = moved.wait(done).unwrap();
                }
            })
        };
        log.append_all();
        waiting.join().unwrap();
        log.head.close();
        follower.join().unwrap();
    });
}

#[test]
fn a_sleeper_is_counted_at_the_head_only_if_all_that_it_wants_was_given() {
    check(|| {
        let log = Log::new();
        let who = log.enroll("B");
        let (its_log, its) = (Arc::clone(&log), who.clone());
        let follower = thread::spawn(move || its_log.follow(&its, "B"));
        let (its_log, its) = (Arc::clone(&log), who);
        let looking = thread::spawn(move || {
            // Nothing was given to it yet as far as this thread knows.
            if let Some((position, _)) = its_log.head.reached(&its, 0) {
                assert!(position < 2, "past an event that it wants");
            }
        });
        log.append_all();
        looking.join().unwrap();
        log.head.close();
        let given = follower.join().unwrap();
        assert!(wanted("B").starts_with(&given));
    });
}
