//! What tests do to a database: let its writes fail, look at what is synced, and have sled write or panic.

use super::Database;

impl Database {
    /// Lets every write after the next `writes` fail.
    pub(crate) fn die_after(&self, writes: u64) {
        self.unsynced.lock().faults.writes_left = Some(writes);
    }

    /// Lets one write fail after the next `writes`, like a disk that is full for a moment.
    pub(crate) fn fail_once_after(&self, writes: u64) {
        let faults = &mut self.unsynced.lock().faults;
        (faults.writes_left, faults.fails_once) = (Some(writes), true);
    }

    /// Whether this process is taken for dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.unsynced.lock().faults.writes_left == Some(0)
    }

    /// Keeps the data file as of each sync from now on.
    pub(crate) fn keep_synced(&self) {
        self.unsynced.lock().faults.keeps_synced = true;
    }

    /// Has sled write its log, and does not sync it: as it may do at any time.
    pub(crate) fn write_out(&self) {
        self.call("flush", |db| db.flush().map(drop)).expect("sled can write");
    }

    /// The data file as of the last sync.
    pub(crate) fn synced(&self) -> Vec<u8> {
        self.unsynced.lock().faults.synced.clone()
    }

    /// Writes and returns how much sled's log has grown since the last such write.
    pub(crate) fn log_growth(&self, f: impl FnOnce()) -> i64 {
        self.sync().expect("sled can sync");
        let before = self.written_to();
        f();
        self.sync().expect("sled can sync");
        self.written_to() - before
    }

    /// As if sled had panicked and said `message`.
    #[allow(dead_code, reason = "for the proofs")]
    pub(crate) fn panic_with(&self, message: &str) {
        self.panicked.set(message.to_owned()).expect("it has not panicked");
    }
}
