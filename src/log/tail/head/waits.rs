//! Waits for the head to come to a position, of threads and of tasks.

use super::Head;
#[cfg(feature = "async")]
use crate::value::failpoint::failpoint;
#[cfg(feature = "async")]
use std::task::{Poll, Waker};
use std::time::Instant;

impl Head {
    /// Waits until the head is at or past `position`, or the log is closed. Returns whether it is there.
    pub(crate) fn wait_for(&self, position: u64, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        state.waiting += 1;
        let mut has_timed_out = false;
        while self.position() < position && !state.closed && !has_timed_out {
            match deadline {
                Some(deadline) => {
                    has_timed_out = self.moved.wait_until(&mut state, deadline).timed_out();
                }
                None => self.moved.wait(&mut state),
            }
        }
        state.waiting -= 1;
        self.position() >= position
    }

    /// Whether the head is at or past `position`, or the log is closed; otherwise `waker` is woken when that may be so.
    /// `number` is 0 at first, and to be kept, and given to [`leave`](Head::leave).
    #[cfg(feature = "async")]
    pub(crate) fn poll_for(&self, position: u64, waker: &Waker, number: &mut u64) -> Poll<()> {
        // Cloned and dropped without the lock.
        let waker = waker.clone();
        let mut state = self.state.lock();
        if self.position() >= position || state.closed {
            return Poll::Ready(());
        }
        if *number == 0 {
            state.tasks_begun += 1;
            *number = state.tasks_begun;
        }
        let replaced = match failpoint!("head::forget_tasks") {
            true => Some(waker),
            false => state.tasks.join(*number, waker),
        };
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// A task no longer waits.
    #[cfg(feature = "async")]
    pub(crate) fn leave(&self, number: u64) {
        let left = self.state.lock().tasks.leave(number);
        drop(left);
    }
}
