//! Hooks for tests: they make writes fail, read what is synced, and make sled write or panic.

use super::Database;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often sled was read, entry by entry, and written.
#[derive(Default)]
pub(super) struct Counts {
    read: AtomicU64,
    written: AtomicU64,
}

impl Counts {
    pub(super) fn read_one(&self) {
        self.read.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn write_one(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }
}

impl Database {
    /// How many entries were read so far.
    pub(crate) fn entries_read(&self) -> u64 {
        self.counts.read.load(Ordering::Relaxed)
    }

    /// How many writes were made so far.
    pub(crate) fn writes(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// Makes every write after the next `writes` fail.
    pub(crate) fn die_after(&self, writes: u64) {
        self.unsynced.lock().faults.writes_left = Some(writes);
    }

    /// Makes one write fail after the next `writes`, as on a disk that is full for a moment.
    pub(crate) fn fail_once_after(&self, writes: u64) {
        let faults = &mut self.unsynced.lock().faults;
        (faults.writes_left, faults.fails_once) = (Some(writes), true);
    }

    /// Whether writes fail from now on, as if the process were dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.unsynced.lock().faults.writes_left == Some(0)
    }

    /// Keeps a copy of the data file at each sync from now on.
    pub(crate) fn keep_synced(&self) {
        self.unsynced.lock().faults.keeps_synced = true;
    }

    /// Makes sled write its log without a sync, as it may at any time.
    pub(crate) fn write_out(&self) {
        self.call("flush", |db| db.flush().map(drop)).expect("sled can write");
    }

    /// The data file as of the last sync.
    pub(crate) fn synced(&self) -> Vec<u8> {
        self.unsynced.lock().faults.synced.clone()
    }

    /// Runs `f`, which writes, and returns by how many bytes sled's log grew.
    pub(crate) fn log_growth(&self, f: impl FnOnce()) -> i64 {
        self.sync().expect("sled can sync");
        let before = self.written_to();
        f();
        self.sync().expect("sled can sync");
        self.written_to() - before
    }

    /// Simulates a panic of sled with `message`.
    #[allow(dead_code, reason = "for the proofs")]
    pub(crate) fn panic_with(&self, message: &str) {
        self.panicked.set(message.to_owned()).expect("it has not panicked");
    }
}
