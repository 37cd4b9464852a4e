//! Turns among real threads. The models try them under schedules that a checker chooses.

use crate::log::commit::promise::Promise;
use crate::log::commit::turns::{Handed, Turns};
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(1);

fn turns() -> Arc<Turns<&'static str, u64>> {
    Arc::new(Turns::new())
}

/// Until as many wait.
fn until_wait(turns: &Turns<&'static str, u64>, count: usize) {
    while turns.waiting(&"A-1") < count {
        thread::yield_now();
    }
}

#[test]
fn turns_are_given_in_the_order_in_which_they_were_asked_for() {
    let (turns, order) = (turns(), Mutex::new(Vec::new()));
    let first = turns.take(&"A-1", 0, LONG);
    thread::scope(|scope| {
        for thread in 1..=20 {
            let (turns, order) = (&turns, &order);
            scope.spawn(move || {
                let _turn = turns.take(&"A-1", thread, LONG).expect("a turn");
                order.lock().push(thread);
            });
            until_wait(turns, thread as usize);
        }
        drop(first);
    });
    assert!(order.into_inner().into_iter().eq(1..=20));
    assert_eq!(turns.kept(), 0, "a line is left");
}

#[test]
fn other_streams_do_not_wait_and_patience_ends() {
    let turns = turns();
    let held = turns.take(&"A-1", 1, LONG).expect("a turn");
    drop(turns.take(&"B-1", 2, SHORT).expect("another stream's turn"));
    assert!(turns.take(&"A-1", 2, SHORT).is_none(), "two have the turn");
    assert!(turns.try_take(&"A-1", 2).is_none(), "two have the turn");
    assert!(turns.take(&"A-1", 1, LONG).is_none(), "it waits for itself");
    assert_eq!(turns.waiting(&"A-1"), 0, "who has given up waits");
    drop(held);
    drop(turns.try_take(&"A-1", 2).expect("the turn did not end"));
    assert_eq!(turns.kept(), 0, "a line is left");
}

/// Patience is for a turn that does not end, not for a long line.
#[test]
fn who_waits_in_a_line_that_moves_does_not_give_up() {
    const BEFORE: u64 = 10;
    let turns = turns();
    let first = turns.take(&"A-1", 0, LONG).expect("a turn");
    thread::scope(|scope| {
        for thread in 1..=BEFORE {
            let turns = &turns;
            scope.spawn(move || {
                let _turn = turns.take(&"A-1", thread, LONG).expect("a turn");
                thread::sleep(Duration::from_millis(100));
            });
            until_wait(turns, thread as usize);
        }
        // It waits for a second, and no turn takes half of one.
        let patient =
            scope.spawn(|| turns.take(&"A-1", BEFORE + 1, Duration::from_millis(500)).is_some());
        until_wait(&turns, BEFORE as usize + 1);
        drop(first);
        assert!(patient.join().unwrap(), "it gave up");
    });
}

#[test]
fn what_is_handed_on_is_the_next_ones_until_it_is_forgotten() {
    let turns = turns();
    let hand_on = |state: u64| {
        let turn = turns.take(&"A-1", state, LONG).expect("a turn");
        let before = turn.handed().map(|handed| handed.state);
        (before, turn.hand_on(Handed { state, promise: Arc::default() }))
    };
    let (before, first) = hand_on(1);
    assert_eq!(before, None);
    let (before, second) = hand_on(2);
    assert_eq!(before, Some(1));
    drop(first);
    let newest = || turns.take(&"A-1", 9, LONG).expect("a turn").handed();
    assert_eq!(newest().map(|handed| handed.state), Some(2), "another's was forgotten");
    drop(second);
    assert!(newest().is_none());
    assert_eq!(turns.kept(), 0, "a line is left");
}

#[test]
fn a_promise_is_waited_for_however_it_ends() {
    for is_kept in [true, false] {
        let promise = Promise::default();
        thread::scope(|scope| {
            let waits = scope.spawn(|| promise.wait());
            if is_kept {
                promise.keep();
            }
            assert_eq!(promise.is_kept(), is_kept);
            promise.settle();
            assert_eq!(waits.join().unwrap(), is_kept);
        });
    }
}
