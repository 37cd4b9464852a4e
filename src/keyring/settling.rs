//! Whether what is read from a bucket is durable.
//!
//! A slot is read through the page cache, which may have what the disk does not: a process that was killed may have
//! left it there, and so may a sync that has failed. A key of such a slot must not seal, and a key that such a slot says
//! to be destroyed may be back after a power cut. So a bucket is synced before it is believed, and once only.

use crate::keyring::bucket::PAGE_BYTES;
use crate::keyring::ring::Ring;
use crate::storage::disk::DiskFile;
use crate::value::error::{Error, Result};
use crate::value::failpoint::failpoint;
use std::io;
use std::path::Path;

/// What is known of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// What is read is durable.
    Yes,
    /// It was not synced since the ring was opened, or since it was written to.
    No,
    /// A write or a sync has failed. The kernel may take for written what is not, so that a sync alone does nothing.
    Failed,
}

impl Ring {
    /// Makes durable what is read from the bucket with this number.
    pub(super) fn settle(&mut self, bucket: usize) -> Result<()> {
        self.refuse_fault()?;
        if self.settled[bucket] == Settled::Yes || failpoint!("keyring::trust_what_is_not_synced") {
            return Ok(());
        }
        let path = self.bucket(bucket);
        let synced = match self.disk.open_to_write(&path) {
            Ok(file) => self.sync(&*file, &path, bucket),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => return Err(Error::io("open", &path, error)),
        };
        self.settled[bucket] = if synced.is_ok() { Settled::Yes } else { Settled::Failed };
        synced
    }

    fn sync(&self, file: &dyn DiskFile, path: &Path, bucket: usize) -> Result<()> {
        let has_failed = self.settled[bucket] == Settled::Failed;
        if has_failed && !failpoint!("keyring::sync_only_what_could_not_be_synced") {
            each_page(file, path, |at, page| {
                file.write_all_at(page, at).map_err(|e| Error::io("write", path, e))
            })?;
        }
        file.sync_data().map_err(|e| Error::io("sync", path, e))
    }
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
