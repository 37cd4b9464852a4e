//! What passes between a process's thread and its lanes: tasks there, results back.
//!
//! * A result is here before its bell rings, so who has heard the bell finds it.
//! * A task is given out once; its result comes, or the lanes were closed.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

pub(crate) struct Lanes<T, R> {
    state: Mutex<State<T, R>>,
    /// There is a task, or there will be no more.
    offered: Condvar,
    /// Wakes who takes the results.
    bell: Box<dyn Fn() + Send + Sync>,
}

struct State<T, R> {
    tasks: VecDeque<T>,
    results: Vec<R>,
    /// Tasks that are being done.
    running: usize,
    /// Nothing new is to begin.
    resting: bool,
    closed: bool,
}

impl<T, R> Lanes<T, R> {
    pub(crate) fn new(bell: impl Fn() + Send + Sync + 'static) -> Lanes<T, R> {
        let state = State {
            tasks: VecDeque::new(),
            results: Vec::new(),
            running: 0,
            resting: false,
            closed: false,
        };
        Lanes { state: Mutex::new(state), offered: Condvar::new(), bell: Box::new(bell) }
    }

    /// Gives tasks to whichever lane is free.
    pub(crate) fn offer(&self, tasks: impl IntoIterator<Item = T>) {
        let mut state = self.state.lock();
        let before = state.tasks.len();
        state.tasks.extend(tasks);
        state.resting = false;
        let added = state.tasks.len() - before;
        drop(state);
        for _ in 0..added {
            self.offered.notify_one();
        }
    }

    /// The next task for a lane, which waits for it; `None` if there will be no more.
    pub(crate) fn next(&self) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(task) = state.tasks.pop_front() {
                state.running += 1;
                return Some(task);
            }
            self.offered.wait(&mut state);
        }
    }

    /// A lane's task is done.
    pub(crate) fn done(&self, result: R) {
        let mut state = self.state.lock();
        state.results.push(result);
        state.running -= 1;
        drop(state);
        (self.bell)();
    }

    /// Whether a lane that is within a task should come to its end soon.
    pub(crate) fn is_resting(&self) -> bool {
        let state = self.state.lock();
        state.resting || state.closed
    }

    /// What has come back since the last time.
    pub(crate) fn results(&self) -> Vec<R> {
        std::mem::take(&mut self.state.lock().results)
    }

    /// Takes back the tasks that were not begun, and lets nothing new begin until more are offered.
    pub(crate) fn rest(&self) -> VecDeque<T> {
        let mut state = self.state.lock();
        state.resting = true;
        std::mem::take(&mut state.tasks)
    }

    /// Whether no task is being done.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.lock().running == 0
    }

    /// Lets the lanes end, each after the task that it is at.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        // They hold values of the application's, whose destructors may call anything.
        let tasks = std::mem::take(&mut state.tasks);
        drop(state);
        self.offered.notify_all();
        drop(tasks);
    }
}

/// Closes lanes when their process's thread ends, however it does.
pub(crate) struct Closing<T, R>(pub(crate) std::sync::Arc<Lanes<T, R>>);

impl<T, R> Drop for Closing<T, R> {
    fn drop(&mut self) {
        self.0.close();
    }
}
