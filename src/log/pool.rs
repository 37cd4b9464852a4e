//! The pool: threads of a store that do for tasks what may take long, or runs the application's code.
//!
//! * There are as many threads as there is work, up to a bound, and they end when there is none. They are threads of
//!   the log: closing it joins them.
//! * Work is done in the order in which it was asked for. It belongs to the [`Job`] that waits for it: dropped before
//!   its turn, it is not done; while it is done, it is done to the end.
//! * A panic is an error. Work that is still waiting when the log closes ends as `Closed`.
//! * Work that asks for work on a thread of the pool does it there, at once: otherwise all threads could wait for each
//!   other.

use crate::log::core::Log;
use crate::value::clock::deadline_after;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::failpoint::failpoint;
use crate::value::limits::{POOL_IDLE, POOL_THREADS_MAX};
use crate::value::tasks::OnceSlot;
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// The pool of one log.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
    /// Notified when there is work, or no more will come.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: u64,
    waiting: BTreeMap<u64, Box<dyn FnOnce() + Send>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// The result of work on a pool: it is asked for with the first poll.
#[must_use = "a future does nothing unless it is polled"]
pub(crate) struct Job<T> {
    log: Arc<Log>,
    pool: Arc<Pool>,
    stage: Stage<T>,
}

enum Stage<T> {
    New(Box<dyn FnOnce() -> T + Send>),
    Asked { number: u64, slot: Arc<OnceSlot<Result<T>>> },
    Ended,
}

/// Tells who waits that the work was dropped, unless it was done.
struct Teller<T>(Arc<OnceSlot<Result<T>>>);

impl Pool {
    /// `work`, to be done on a thread of this pool.
    pub(crate) fn job<T: Send + 'static>(
        self: &Arc<Self>,
        log: &Arc<Log>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Job<T> {
        let stage = Stage::New(Box::new(work));
        Job { log: Arc::clone(log), pool: Arc::clone(self), stage }
    }

    /// Has `work` done some time. Where nobody does it, it is dropped here, with what it holds.
    pub(crate) fn detach(self: &Arc<Self>, log: &Log, work: impl FnOnce() + Send + 'static) {
        match log.owner.is_this_process() {
            true => drop(self.ask(log, Box::new(work))),
            false => mem::forget(work),
        }
    }

    /// Starts no more work. What waits is dropped.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = mem::take(&mut state.waiting);
        self.changed.notify_all();
        drop(state);
        for work in waiting.into_values() {
            // It holds values of the application's, whose destructors may panic.
            match failpoint!("pool::drop_bare") {
                true => drop(work),
                false => drop(catch(|| drop(work))),
            }
        }
    }

    fn ask(self: &Arc<Self>, log: &Log, work: Box<dyn FnOnce() + Send>) -> Result<u64> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(closed());
        }
        let has_threads = state.threads < POOL_THREADS_MAX || failpoint!("pool::no_bound");
        if state.waiting.len() >= state.idle && has_threads {
            let pool = Arc::clone(self);
            let started = log.spawn("filmstrip-pool", move || pool.run());
            match started {
                Ok(()) => state.threads += 1,
                // With a thread there, it is done later.
                Err(error) if state.threads == 0 => return Err(error),
                Err(_) => {}
            }
        }
        state.asked += 1;
        let number = state.asked;
        state.waiting.insert(number, work);
        self.changed.notify_one();
        Ok(number)
    }

    fn run(&self) {
        Log::serve_tasks();
        let mut state = self.state.lock();
        loop {
            if let Some((_, work)) = state.waiting.pop_first() {
                drop(state);
                // Its own panics it catches; to drop what it holds may panic, too.
                let _ = catch(work);
                state = self.state.lock();
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let timed_out = match deadline_after(POOL_IDLE) {
                Some(deadline) => self.changed.wait_until(&mut state, deadline).timed_out(),
                None => false,
            };
            state.idle -= 1;
            if timed_out && state.waiting.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

impl<T: Send + 'static> Job<T> {
    fn begin(&mut self, work: Box<dyn FnOnce() -> T + Send>, waker: &Waker) -> Poll<Result<T>> {
        if let Err(forked) = self.log.owner.check() {
            return Poll::Ready(Err(forked));
        }
        if Log::is_pool_thread() {
            return Poll::Ready(done(work));
        }
        let slot = Arc::new(OnceSlot::new(waker.clone()));
        let teller = Teller(Arc::clone(&slot));
        let asked = self.pool.ask(&self.log, Box::new(move || teller.0.put(done(work))));
        match asked {
            Ok(number) => {
                self.stage = Stage::Asked { number, slot };
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<T: Send + 'static> Future for Job<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let waker = context.waker();
        match mem::replace(&mut self.stage, Stage::Ended) {
            Stage::New(work) => self.begin(work, waker),
            Stage::Asked { number, slot } => {
                let polled = slot.poll(context.waker());
                if polled.is_pending() {
                    self.stage = Stage::Asked { number, slot };
                }
                polled
            }
            Stage::Ended => panic!("a future was polled after its end"),
        }
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        let Stage::Asked { number, slot } = mem::replace(&mut self.stage, Stage::Ended) else {
            return;
        };
        if !self.log.owner.is_this_process() {
            mem::forget((slot, Arc::clone(&self.pool)));
            return;
        }
        slot.leave();
        if failpoint!("pool::keep_dropped_work") {
            return;
        }
        let withdrawn = self.pool.state.lock().waiting.remove(&number);
        drop(withdrawn);
    }
}

impl<T> Unpin for Job<T> {}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        // Nothing if it was done.
        self.0.put(Err(closed()));
    }
}

fn done<T>(work: Box<dyn FnOnce() -> T + Send>) -> Result<T> {
    catch(work).map_err(|cause| {
        Error::new(ErrorKind::Panicked, format!("work on the store's pool panicked: {cause}"))
    })
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed")
}
