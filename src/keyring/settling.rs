//! Whether what is read from a bucket is durable.
//!
//! A slot is read through the page cache, which may have what the disk does not: a process that was killed may have
//! left it there, and so may a sync that has failed. A key of such a slot must not seal, and a key that such a slot
//! says to be destroyed may be back after a power cut. So a bucket is synced before it is believed, and once only.

use crate::keyring::bucket::{BUCKETS, PAGE_BYTES};
use crate::storage::disk::{Disk, DiskFile};
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use std::io;
use std::path::Path;

/// What is known of each bucket of a ring.
pub(super) struct SettledBuckets(Vec<Settled>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// What is read is durable.
    Yes,
    /// It was not synced since the ring was opened, or since it was written to.
    No,
    /// A write or a sync has failed. The kernel may take for written what is not, so that a sync alone does nothing.
    Failed,
}

impl SettledBuckets {
    /// Those of a ring that is being opened.
    pub(super) fn none() -> SettledBuckets {
        SettledBuckets(vec![Settled::No; BUCKETS])
    }

    /// All buckets are durable.
    pub(super) fn settle_all(&mut self) {
        self.0.fill(Settled::Yes);
    }

    /// The bucket is being written to.
    pub(super) fn unsettle(&mut self, bucket: usize) {
        if self.0[bucket] == Settled::Yes {
            self.0[bucket] = Settled::No;
        }
    }

    /// A write or a sync of the bucket has failed.
    pub(super) fn fail(&mut self, bucket: usize) {
        self.0[bucket] = Settled::Failed;
    }

    /// Makes durable what is read from the bucket with this number, which is in the file `path`.
    pub(super) fn settle(&mut self, disk: &dyn Disk, path: &Path, bucket: usize) -> Result<()> {
        if self.0[bucket] == Settled::Yes || failpoint!("keyring::trust_what_is_not_synced") {
            return Ok(());
        }
        let synced = match disk.open_to_write(path) {
            Ok(file) => sync(&*file, path, self.0[bucket] == Settled::Failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => return Err(Error::io("open", path, error)),
        };
        self.0[bucket] = if synced.is_ok() { Settled::Yes } else { Settled::Failed };
        synced
    }
}

fn sync(file: &dyn DiskFile, path: &Path, has_failed: bool) -> Result<()> {
    if has_failed && !failpoint!("keyring::sync_only_what_could_not_be_synced") {
        each_page(file, path, |at, page| {
            file.write_all_at(page, at).map_err(|e| Error::io("write", path, e))
        })?;
    }
    file.sync_data().map_err(|e| Error::io("sync", path, e))
}

/// Calls `take` with each page of a bucket that is not all zeros, and with its offset.
pub(super) fn each_page(
    file: &dyn DiskFile,
    path: &Path,
    mut take: impl FnMut(u64, &mut [u8; PAGE_BYTES]) -> Result<()>,
) -> Result<()> {
    let length = file.length().map_err(|e| Error::io("look at", path, e))?;
    let mut page = [0; PAGE_BYTES];
    for at in (0..length).step_by(PAGE_BYTES) {
        let read = file.read_at(&mut page, at).map_err(|e| Error::io("read", path, e))?;
        page[read..].fill(0);
        if page != [0; PAGE_BYTES] {
            take(at, &mut page)?;
        }
    }
    Ok(())
}
