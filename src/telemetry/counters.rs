//! Counters. They never go back, and begin at 0 when the store is opened.
//!
//! * Loads and stores are relaxed: a figure is of some moment near the question, and two figures may be of two moments.

use crate::value::clock::Micros;
use chrono::{DateTime, Utc};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// A counter that any thread adds to, seldom.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The same, where only one thread adds at a time: without a locked instruction.
    pub(crate) fn add_alone(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The last time that something happened.
#[derive(Debug, Default)]
pub(crate) struct Moment(AtomicI64);

impl Moment {
    pub(crate) fn set(&self, time: Micros) {
        self.0.store(time.0, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<DateTime<Utc>> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Micros(micros).to_utc()),
        }
    }
}

/// Counters that threads are spread over, so that few of them share a cache line. The count was not measured.
const STRIPES: usize = 16;

/// A counter that many threads change all the time. It may be changed back on another thread.
#[derive(Debug, Default)]
pub(crate) struct Striped([Stripe; STRIPES]);

/// A counter on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The stripe of this thread.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    match STRIPE.get() {
        usize::MAX => {
            let stripe = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
            STRIPE.set(stripe);
            stripe
        }
        stripe => stripe,
    }
}

impl Striped {
    pub(crate) fn increment(&self) {
        self.0[stripe()].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn decrement(&self) {
        self.0[stripe()].0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        let sum = |sum: u64, stripe: &Stripe| sum.wrapping_add(stripe.0.load(Ordering::Relaxed));
        self.0.iter().fold(0, sum)
    }
}

/// What a log counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Commits that were recorded, the engine's own included.
    pub(crate) commits: Counter,
    /// Events in them.
    pub(crate) events: Counter,
    /// Bytes of their frames in the journal.
    pub(crate) bytes: Counter,
    /// Frames: each is one `fdatasync`.
    pub(crate) groups: Counter,
    /// Commits that were refused because an expected version or a condition did not hold.
    pub(crate) conflicts: Counter,
    /// Flush batches that the index has ingested.
    pub(crate) flushes: Counter,
    /// Steps of compaction.
    pub(crate) compactions: Counter,
    /// Failures of the indexer.
    pub(crate) index_failures: Counter,
    pub(crate) backups: Counter,
    pub(crate) backup_failures: Counter,
    /// When the last backup was taken.
    pub(crate) last_backup: Moment,
    /// Verifications that found nothing, and those that found something or could not be done.
    pub(crate) verifications: Counter,
    pub(crate) verification_failures: Counter,
    /// Iterators that read, and are not dropped yet.
    pub(crate) readers: Striped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_add_and_take_away_is_there_once() {
        let (striped, counter) = (Striped::default(), Counter::default());
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    (0..1_000).for_each(|_| striped.increment());
                    counter.add(3);
                });
            }
        });
        assert_eq!((striped.get(), counter.get()), (20_000, 60));
        // On another thread than the ones that added.
        (0..19_999).for_each(|_| striped.decrement());
        counter.add_alone(2);
        assert_eq!((striped.get(), counter.get()), (1, 62));
    }
}
