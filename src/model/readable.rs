//! A value that one thread changes and that the application's code may read for any length of time.
//!
//! * No reader waits for another reader through the thread that changes the value. A thread that already reads
//!   something does not wait for a pending change, and every other reader waits only for `CHANGE_COURTESY_MAX`.
//! * The thread that waits to change the value checks for requests meanwhile and can give up. So a reader may send
//!   that thread a request, or join it.
//! * Within a change, which may also run the application's code, no wait is unbounded.

use crate::value::callback::{Held, Holding};
use crate::value::failpoint::failpoint;
use crate::value::limits::{CHANGE_COURTESY_MAX, CHANGE_LOOK, CROSSED_WAIT_MAX};
use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub(crate) struct Readable<T> {
    value: RwLock<T>,
    /// Whether a change waits for readers.
    awaited: AtomicBool,
    turn: Mutex<()>,
    passed: Condvar,
}

/// Why a value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// This thread is changing it.
    ChangedHere,
    /// This thread is changing another value, and this one was being changed for too long.
    Crossed,
}

thread_local! {
    /// The address of the value that this thread is changing, or 0.
    static CHANGED_HERE: Cell<usize> = const { Cell::new(0) };
}

impl<T> Readable<T> {
    pub(crate) fn new(value: T) -> Readable<T> {
        let (value, awaited) = (RwLock::new(value), AtomicBool::new(false));
        Readable { value, awaited, turn: Mutex::new(()), passed: Condvar::new() }
    }

    /// Reads the value between two changes. For values whose changes do not run the application's code.
    pub(crate) fn read(&self) -> Reading<'_, T> {
        if self.awaited.load(Ordering::Acquire) && !Holding::View.is_held() {
            self.give_way();
        }
        if failpoint!("model::readers_queue") {
            return Reading::new(self.value.read());
        }
        Reading::new(self.value.read_recursive())
    }

    /// Reads the value between two changes. For values whose changes may run the application's code.
    pub(crate) fn try_read(&self) -> Result<Reading<'_, T>, Unreadable> {
        match CHANGED_HERE.get() {
            0 => Ok(self.read()),
            here if here == self.address() => Err(Unreadable::ChangedHere),
            _ if failpoint!("model::wait_for_crossed_change") => Ok(self.read()),
            _ => {
                let guard = self.value.try_read_recursive_for(CROSSED_WAIT_MAX);
                let guard = guard.ok_or(Unreadable::Crossed)?;
                Ok(Reading::new(guard))
            }
        }
    }

    /// Waits until nobody reads the value, and locks it for a change. Gives up if `give_up` returns a reason.
    pub(crate) fn change<E>(
        &self,
        mut give_up: impl FnMut() -> Option<E>,
    ) -> Result<Changing<'_, T>, E> {
        if failpoint!("model::readers_queue") {
            return Ok(Changing::new(self.value.write(), self.address()));
        }
        if let Some(guard) = self.value.try_write() {
            return Ok(Changing::new(guard, self.address()));
        }
        self.awaited.store(true, Ordering::Release);
        let changed = loop {
            if let Some(guard) = self.value.try_write_for(CHANGE_LOOK) {
                break Ok(Changing::new(guard, self.address()));
            }
            if let Some(reason) = give_up().filter(|_| !failpoint!("model::change_without_an_end"))
            {
                break Err(reason);
            }
        };
        let turn = self.turn.lock();
        self.awaited.store(false, Ordering::Release);
        drop(turn);
        self.passed.notify_all();
        changed
    }

    /// Lets a pending change go first, for a bounded time.
    fn give_way(&self) {
        let deadline = Instant::now() + CHANGE_COURTESY_MAX;
        let mut turn = self.turn.lock();
        while self.awaited.load(Ordering::Acquire) {
            if self.passed.wait_until(&mut turn, deadline).timed_out() {
                return;
            }
        }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// A read guard.
pub(crate) struct Reading<'a, T> {
    guard: RwLockReadGuard<'a, T>,
    _held: Held,
}

impl<'a, T> Reading<'a, T> {
    fn new(guard: RwLockReadGuard<'a, T>) -> Reading<'a, T> {
        Reading { guard, _held: Holding::View.begin() }
    }
}

impl<T> Deref for Reading<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

/// A write guard.
pub(crate) struct Changing<'a, T> {
    guard: RwLockWriteGuard<'a, T>,
    /// The address of the value that this thread was changing before.
    before: usize,
}

impl<'a, T> Changing<'a, T> {
    fn new(guard: RwLockWriteGuard<'a, T>, address: usize) -> Changing<'a, T> {
        Changing { guard, before: CHANGED_HERE.replace(address) }
    }
}

impl<T> Deref for Changing<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Changing<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T> Drop for Changing<'_, T> {
    fn drop(&mut self) {
        CHANGED_HERE.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(30);

    /// Does `work`, and fails if it hangs.
    fn within_limit(work: impl FnOnce() + Send + 'static) {
        let (tell, told) = channel();
        std::thread::spawn(move || {
            work();
            let _ = tell.send(());
        });
        told.recv_timeout(LONG).expect("it hangs, or has panicked");
    }

    fn never() -> Option<()> {
        None
    }

    #[test]
    fn a_reader_passes_a_change_that_waits_within_another_read_and_after_a_while() {
        within_limit(|| {
            let value = Readable::new(1);
            let outer = value.read();
            std::thread::scope(|scope| {
                let change = scope.spawn(|| *value.change(never).unwrap() = 2);
                while !value.awaited.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                assert_eq!(*value.read(), 1, "a read within a read waits for the change");
                let other = scope.spawn(|| *value.read());
                assert_eq!(other.join().unwrap(), 1, "a reader that the outer one waits for");
                drop(outer);
                change.join().unwrap();
            });
            assert_eq!(*value.read(), 2);
        });
    }

    #[test]
    fn readers_that_overlap_do_not_keep_a_change_from_being_made() {
        let value = Readable::new(0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Acquire) {
                        let _reading = value.read();
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            for _ in 0..20 {
                *value.change(never).unwrap() += 1;
            }
            done.store(true, Ordering::Release);
        });
        assert_eq!(*value.read(), 20);
    }

    #[test]
    fn who_waits_for_readers_gives_up_when_asked_to_and_nobody_waits_for_it_then() {
        within_limit(|| {
            let value = Readable::new(1);
            let reading = value.read();
            std::thread::scope(|scope| {
                let given_up = scope.spawn(|| value.change(|| Some("asked")).err());
                assert_eq!(given_up.join().unwrap(), Some("asked"));
            });
            drop(reading);
            assert!(!value.awaited.load(Ordering::Acquire));
        });
    }

    #[test]
    fn within_a_change_the_value_is_refused_and_two_that_cross_end() {
        within_limit(|| {
            let values = [Readable::new(1), Readable::new(1)];
            let changing = values[0].change(never).unwrap();
            assert_eq!(values[0].try_read().err(), Some(Unreadable::ChangedHere));
            assert_eq!(values[1].try_read().map(|value| *value), Ok(1));
            drop(changing);
            assert_eq!(values[0].try_read().map(|value| *value), Ok(1));
            let both_change = Barrier::new(2);
            std::thread::scope(|scope| {
                for (own, other) in [(0, 1), (1, 0)] {
                    let (values, both_change) = (&values, &both_change);
                    scope.spawn(move || {
                        let _changing = values[own].change(never).unwrap();
                        both_change.wait();
                        let _ = values[other].try_read();
                    });
                }
            });
        });
    }
}
