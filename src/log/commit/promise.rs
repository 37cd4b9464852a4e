//! What a queued commit owes to those who have built on it before it was durable.
//!
//! * The leader keeps a promise when the commit's group is durable and visible. A commit that assumes another one is
//!   refused unless that one was admitted before it in the same group, or its promise is kept: both were queued in
//!   that order, so it is one or the other by then. A version alone would not tell: another writer's event may have
//!   taken the place of the one that was assumed.
//! * The commit's caller settles it, in whatever way it ends.

use parking_lot::{Condvar, Mutex};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A commit's promise to become durable.
#[derive(Default)]
pub(crate) struct Promise {
    kept: AtomicBool,
    settled: Mutex<bool>,
    changed: Condvar,
}

impl Promise {
    /// The commit is durable and visible.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// Whether it is known to be.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    /// The commit's caller knows how it ended, and has done what follows from that.
    pub(crate) fn settle(&self) {
        *self.settled.lock() = true;
        self.changed.notify_all();
    }

    /// Waits until it is settled. Returns whether the commit is durable.
    pub(crate) fn wait(&self) -> bool {
        let mut settled = self.settled.lock();
        while !*settled {
            self.changed.wait(&mut settled);
        }
        self.is_kept()
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("kept", &self.is_kept()).finish_non_exhaustive()
    }
}

/// What a commit promises, and what it assumes.
#[derive(Debug)]
pub(crate) struct Promised {
    pub(crate) promise: Arc<Promise>,
    /// The commits whose events it has been decided on, if they were not durable by then.
    pub(crate) assumes: Vec<Arc<Promise>>,
}
