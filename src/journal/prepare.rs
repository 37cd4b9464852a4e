//! Preparing the next segment ahead of its use, on a thread of its own.
//!
//! A segment is zero-filled and synced before it is used: an `fdatasync` that must also allocate
//! costs a third more. Until it is in use it lies under another name, so what a crash leaves here
//! is no segment and is removed when the journal is opened.

use crate::error::{Error, Result};
use crate::journal::disk::{self, Disk, DiskFile};
use crate::journal::segment;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How a file is filled with zeros: so many bytes between two syncs. A writer's sync beside one of these waits
/// for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// As fast as it goes without holding each sync up for long.
    Quickly,
    /// With syncs that hardly hold up any: it takes twice as long.
    Gently,
}

impl Fill {
    /// How to fill a segment beside writers who wrote so many bytes in so long a time.
    pub(crate) fn beside(bytes: u64, took: Duration) -> Fill {
        // A long segment then lasts for a second, and is filled gently in a quarter of one.
        const GENTLY_BYTES_PER_SECOND_MAX: f64 = (64 << 20) as f64;
        match bytes as f64 <= took.as_secs_f64() * GENTLY_BYTES_PER_SECOND_MAX {
            true => Fill::Gently,
            false => Fill::Quickly,
        }
    }

    fn step_bytes(self) -> u64 {
        match self {
            Fill::Quickly => 1 << 20,
            Fill::Gently => 256 << 10,
        }
    }
}

/// A zero-filled file that is not a segment yet.
pub(crate) struct Prepared {
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// Prepares segments in the background, one at a time. Dropping it ends and joins its thread.
pub(crate) struct Preparer {
    disk: Arc<dyn Disk>,
    journal: PathBuf,
    orders: Option<Sender<(u64, Fill)>>,
    results: Receiver<Result<Prepared>>,
    /// The segment that was ordered and not yet taken.
    ordered: Option<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    pub(crate) fn start(disk: Arc<dyn Disk>, journal: PathBuf) -> Result<Preparer> {
        let (orders, inbox) = bounded(1);
        let (outbox, results) = bounded(1);
        let (its_disk, its_journal) = (Arc::clone(&disk), journal.clone());
        let work = move || {
            for (number, how) in inbox {
                let prepared = prepare(&*its_disk, &its_journal, number, 0, how);
                if outbox.send(prepared).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("filmstrip-preparer".to_owned())
            .spawn(work)
            .map_err(|e| Error::io("start a thread for", &journal, e))?;
        Ok(Preparer {
            disk,
            journal,
            orders: Some(orders),
            results,
            ordered: None,
            thread: Some(thread),
        })
    }

    /// Begins to prepare segment `number`, unless that is under way already.
    pub(crate) fn order(&mut self, number: u64, how: Fill) {
        if self.ordered.is_none() {
            let orders = self.orders.as_ref().expect("nothing is ordered after the end");
            // One order at a time fits the channel; a thread that died is noticed by `take`.
            let _ = orders.send((number, how));
            self.ordered = Some(number);
        }
    }

    /// Segment `number`, long enough for a frame of `frame_bytes`. Waits for it if it is under way.
    /// If preparing it had failed, it is tried once more here: space may have come back.
    pub(crate) fn take(&mut self, number: u64, frame_bytes: u64) -> Result<Prepared> {
        let ready = match self.ordered.take() {
            Some(_) => self.results.recv().ok().and_then(Result::ok),
            None => None,
        };
        match ready {
            Some(prepared) if prepared.number == number => lengthen(prepared, frame_bytes, self),
            _ => prepare(&*self.disk, &self.journal, number, frame_bytes, Fill::Quickly),
        }
    }
}

impl Preparer {
    /// Ends the thread, with what it is at. Nothing is ordered after that.
    pub(crate) fn end(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // The thread may still hold a result that nobody wants: take it, so that it can end, and
            // give its space back. What stays is removed when the journal is opened.
            if self.ordered.take().is_some()
                && let Ok(Ok(prepared)) = self.results.recv()
            {
                let _ = self.disk.remove(&segment::prepared_path(&self.journal, prepared.number));
            }
            let _ = thread.join();
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.end();
    }
}

fn lengthen(prepared: Prepared, frame_bytes: u64, preparer: &Preparer) -> Result<Prepared> {
    let length = segment::length_for(prepared.number, frame_bytes);
    if prepared.length >= length {
        return Ok(prepared);
    }
    let path = segment::prepared_path(&preparer.journal, prepared.number);
    fill(&*prepared.file, prepared.length, length, Fill::Quickly)
        .map_err(|e| Error::io("prepare the journal segment", &path, e))?;
    Ok(Prepared { length, ..prepared })
}

/// Creates the file of segment `number`, zero-filled and synced, under its preliminary name.
pub(crate) fn prepare(
    disk: &dyn Disk,
    journal: &std::path::Path,
    number: u64,
    frame_bytes: u64,
    how: Fill,
) -> Result<Prepared> {
    let path = segment::prepared_path(journal, number);
    let length = segment::length_for(number, frame_bytes);
    disk::remove_if_there(disk, &path)?;
    let create = || {
        let file = disk.create_new(&path)?;
        fill(&*file, 0, length, how)?;
        Ok(file)
    };
    match create() {
        Ok(file) => Ok(Prepared { number, length, file }),
        Err(error) => {
            // Give back at once what a full disk needs most.
            let _ = disk.remove(&path);
            Err(Error::io("prepare the journal segment", &path, error))
        }
    }
}

/// Lengthens `file` with zeros, durably.
pub(crate) fn fill(file: &dyn DiskFile, from: u64, to: u64, how: Fill) -> std::io::Result<()> {
    let mut at = from;
    while at < to {
        let bytes = (to - at).min(how.step_bytes());
        file.write_zeros_at(bytes as usize, at)?;
        file.sync_data()?;
        at += bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_filled_gently_where_there_is_time() {
        let beside = |bytes, millis| Fill::beside(bytes, Duration::from_millis(millis));
        assert_eq!(beside(0, 0), Fill::Gently);
        assert_eq!(beside(4 << 20, 100), Fill::Gently);
        assert_eq!(beside(4 << 20, 40), Fill::Quickly);
        assert_eq!(beside(100, 0), Fill::Quickly);
    }
}
