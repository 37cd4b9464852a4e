//! Callers that wait for the head are woken by an append, by a stop, and by the close of the log.

use crate::check;
use crate::codec::frame::Location;
use crate::log::tail::head::{Audience, Head};
use crate::log::tail::sleepers::{Slept, Waiter};
use crate::value::clock::Micros;
use crate::value::filter::Filter;
use crate::value::filter_index::FilterIndex;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;

const EVENTS: u64 = 4;

fn end(position: u64) -> Location {
    Location { segment: 1, offset: 100 + position }
}

fn empty() -> Arc<Head> {
    Arc::new(Head::new(0, end(0), [0; 32], Micros(0)))
}

fn append(head: &Head) {
    for position in 1..=EVENTS {
        let (place, chain) = ((position, end(position)), [position as u8; 32]);
        if head.advance(place, chain, Micros(position as i64), &Audience::default()) {
            head.wake();
        }
    }
}

/// Follows `head` to its last event or until it is stopped. Returns the position that it has reached.
fn follow(head: &Head, waiter: &std::sync::Arc<Waiter>) -> u64 {
    let mut seen = 0;
    let who = head.enroll(FilterIndex::default().add(&Filter(None)), waiter);
    while seen < EVENTS {
        match head.sleep(&who, seen) {
            Slept::Woken(_) => {
                let (position, at, chain) = head.visible_with_chain();
                assert!(position > seen, "woken for nothing new");
                assert_eq!((at, chain), (end(position), [position as u8; 32]), "of two moments");
                seen = position;
            }
            Slept::Stopped => break,
        }
    }
    seen
}

#[test]
fn every_follower_is_woken_for_what_is_appended() {
    check(|| {
        let head = empty();
        let follower = || {
            let head = Arc::clone(&head);
            thread::spawn(move || assert_eq!(follow(&head, &std::sync::Arc::default()), EVENTS))
        };
        let followers = [follower(), follower()];
        append(&head);
        for follower in followers {
            follower.join().unwrap();
        }
    });
}

#[test]
fn a_follower_that_is_stopped_ends_and_the_others_go_on() {
    check(|| {
        let (head, stop) = (empty(), std::sync::Arc::<Waiter>::default());
        let (its_head, its_stop) = (Arc::clone(&head), std::sync::Arc::clone(&stop));
        let stopped = thread::spawn(move || follow(&its_head, &its_stop));
        let its_head = Arc::clone(&head);
        let other = thread::spawn(move || follow(&its_head, &std::sync::Arc::default()));
        head.stop(&stop);
        assert!(stopped.join().unwrap() <= EVENTS);
        append(&head);
        assert_eq!(other.join().unwrap(), EVENTS);
    });
}

#[test]
fn nobody_waits_for_a_log_that_was_closed() {
    check(|| {
        let head = empty();
        let follower = || {
            let head = Arc::clone(&head);
            thread::spawn(move || follow(&head, &std::sync::Arc::default()))
        };
        let followers = [follower(), follower()];
        head.close();
        for follower in followers {
            assert_eq!(follower.join().unwrap(), 0);
        }
    });
}

/// Tests the checker: a thread that is about to sleep misses a flag that is set outside of the lock, and the checker
/// must find that schedule.
#[test]
#[should_panic(expected = "deadlock")]
fn a_wake_up_that_is_lost_is_found() {
    check(|| {
        let shared = Arc::new((Mutex::new(()), Condvar::new(), AtomicBool::new(false)));
        let its = Arc::clone(&shared);
        let waiter = thread::spawn(move || {
            let (lock, changed, flag) = &*its;
            let mut guard = lock.lock().unwrap();
            while !flag.load(Ordering::SeqCst) {
                guard = changed.wait(guard).unwrap();
            }
        });
        let (_, changed, flag) = &*shared;
        flag.store(true, Ordering::SeqCst);
        changed.notify_all();
        waiter.join().unwrap();
    });
}
