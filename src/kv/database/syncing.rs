//! Writes one at a time, and syncs between them: no write of sled can destroy what was synced before it.

use super::Database;
use crate::kv::sync_policy::Unsynced;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;

impl Database {
    /// Syncs everything that was written so far.
    pub(crate) fn sync(&self) -> Result<()> {
        self.flush_and_sync(&mut self.unsynced.lock())
    }

    /// Writes are made one at a time, so that the sync policy holds for all writers together.
    ///
    /// An error means that nothing was changed, and the caller may retry. A change that was made but could not be
    /// synced returns `Ok`. It is synced before the next write, which fails if that fails.
    pub(super) fn write(
        &self,
        changes: usize,
        bytes: usize,
        f: impl FnOnce() -> sled::Result<()>,
    ) -> Result<()> {
        let mut unsynced = self.unsynced.lock();
        #[cfg(test)]
        self.counts.write_one();
        #[cfg(test)]
        unsynced.faults.die_if_told()?;
        self.catch_up(&mut unsynced)?;
        self.change("write", |_| f())?;
        unsynced.bytes += bytes as u64;
        if let Err(error) = self.keep_pace(&mut unsynced) {
            if failpoint!("kv::fail_write_that_was_made") {
                return Err(error);
            }
            tracing::warn!(%error, "the last write cannot be synced yet; the next write tries again");
            unsynced.is_behind = true;
        }
        if let Err(error) = self.collect(&mut unsynced, changes) {
            tracing::warn!(%error, "sled's garbage cannot be collected yet");
        }
        Ok(())
    }

    /// Syncs the last write, if that failed at the time.
    pub(super) fn catch_up(&self, unsynced: &mut Unsynced) -> Result<()> {
        if unsynced.is_behind {
            self.keep_pace(unsynced)?;
            unsynced.is_behind = false;
        }
        Ok(())
    }

    /// Called between two writes. Syncs if sled has written log that is not synced.
    ///
    /// sled is log-structured: it reuses a segment of its file for new log once everything in the
    /// segment has been rewritten further on. It treats what is written as durable. If a power loss
    /// then takes what was written further on, but not the new log in the segment, both copies are gone.
    ///
    /// From sled's source (`SegmentAccountant`): sled reuses a segment X for log that begins at N
    /// only when everything that replaced X is before some H. H is how far the log was written
    /// when sled began a segment M, and M has since been written, so H ≤ M and M < N. M is written
    /// when it is full (after at least `SLED_SEGMENT_BYTES` of log, so after many writes of ours,
    /// each of which ends with this call) or when we flush. So if all log that sled has written is
    /// synced when the next write begins, everything before H is on disk before N begins, and a
    /// power loss can take only the end of the log. One write logs less than a segment: always with
    /// keys of up to 400 bytes; with longer keys, unless nodes on three levels that are full of them
    /// split at once.
    ///
    /// The bound on unsynced bytes limits what a power loss takes, and makes a writer that is faster
    /// than the disk wait for it.
    fn keep_pace(&self, unsynced: &mut Unsynced) -> Result<()> {
        if failpoint!("kv::leave_sled_log_unsynced") {
            return Ok(());
        }
        let written_to = self.written_to();
        if unsynced.bytes >= self.pace.unsynced_bytes_max {
            return self.flush_and_sync(unsynced);
        }
        if written_to > unsynced.synced_to {
            self.sync_file(unsynced, written_to)?;
        }
        Ok(())
    }

    pub(super) fn flush_and_sync(&self, unsynced: &mut Unsynced) -> Result<()> {
        self.change("flush", |db| db.flush().map(drop))?;
        let written_to = self.written_to();
        unsynced.bytes = 0;
        self.sync_file(unsynced, written_to)
    }

    fn sync_file(&self, unsynced: &mut Unsynced, written_to: i64) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("sync", &self.path.join("db"), e))?;
        unsynced.synced_to = written_to;
        #[cfg(test)]
        unsynced.faults.synced(&self.path.join("db"));
        Ok(())
    }

    /// How far sled has written its log.
    pub(super) fn written_to(&self) -> i64 {
        self.db.as_ref().map_or(-1, |db| db.context.pagecache.log.stable_offset())
    }

    /// Frees what `changes` changes have replaced. Freeing runs sled's code on this thread.
    pub(super) fn collect(&self, unsynced: &mut Unsynced, changes: usize) -> Result<()> {
        if failpoint!("kv::leave_garbage") {
            return Ok(());
        }
        self.change("collect the garbage of", |_| {
            unsynced.collect(changes);
            Ok(())
        })
    }
}
