//! Prepares the next segment before it is needed, on a thread of its own.
//!
//! A segment is filled with zeros and synced before it is used, because an `fdatasync` that must also
//! allocate costs a third more. Until then it has another name, so opening the journal can remove one
//! that a crash has left.
//!
//! Filling fast delays commits that happen meanwhile; filling slowly delays a writer that needs the segment. Writers
//! who leave no time for either get a segment whose blocks are allocated but not written: each of their syncs is of
//! many commits, so what it costs more is little, and the disk writes half as much. The figures are in
//! docs/decisions/0015.

use crate::codec::length::in_memory;
use crate::journal::segment;
use crate::storage::disk::{Disk, DiskFile};
use crate::storage::files::MODE_ALL;
use crate::storage::replace;
use crate::value::error::{Error, Result};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes that are filled between two syncs. A commit's sync beside one of these waits for it, about 1 ms.
const FILL_BYTES: u64 = 1 << 20;
/// The same when there is time: a commit's sync beside it hardly waits. With 64 writers, 99 of 100 commits took at most
/// 1,800 µs instead of 2,750. Filling a segment takes twice as long: a quarter of a second for 64 MiB.
const FILL_BYTES_GENTLE: u64 = 256 << 10;
/// Bytes of zeros in one write. Linux caches the bytes of one write as one folio, and visits every block of a folio
/// for each write into it, and again for each `fdatasync`. In folios of 1 MiB, a commit of one event took a tenth
/// longer, and commits of 64 writers with 64 events each a third longer.
const ZEROS_BYTES: usize = 16 << 10;
/// Up to this rate of writing there is time to fill a segment: a long one then lasts for a second.
const GENTLE_BYTES_PER_SECOND: f64 = (64 << 20) as f64;

/// Whether there is time to fill a segment gently beside writers that wrote `bytes` in the time `took`.
fn has_time(bytes: u64, took: Duration) -> bool {
    bytes as f64 <= took.as_secs_f64() * GENTLE_BYTES_PER_SECOND
}

/// How much of a segment the thread has filled, and how it fills the rest.
#[derive(Default)]
struct Progress {
    filled: AtomicU64,
    gently: AtomicBool,
    /// There was no time when the segment was ordered: its writers are fast, and its blocks are only allocated.
    fast: AtomicBool,
    /// Nobody needs the segment any more.
    given_up: AtomicBool,
}

/// A file of zeros that is not a segment yet.
pub(crate) struct Prepared {
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// Prepares segments in the background, one at a time. Dropping it ends and joins its thread.
pub(crate) struct Preparer {
    disk: Arc<dyn Disk>,
    journal: PathBuf,
    orders: Option<Sender<u64>>,
    results: Receiver<Result<Prepared>>,
    progress: Arc<Progress>,
    /// The segment that was ordered and not taken yet.
    ordered: Option<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    pub(crate) fn start(disk: Arc<dyn Disk>, journal: PathBuf) -> Result<Preparer> {
        let (orders, inbox) = bounded(1);
        let (outbox, results) = bounded(1);
        let progress = Arc::new(Progress::default());
        let (its_disk, its_journal) = (Arc::clone(&disk), journal.clone());
        let its_progress = Arc::clone(&progress);
        let work = move || {
            for number in inbox {
                let length = segment::usual_length(number);
                let prepared =
                    prepare_with(&*its_disk, &its_journal, number, length, &its_progress);
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
            progress,
            ordered: None,
            thread: Some(thread),
        })
    }

    /// Begins to prepare segment `number`, unless a segment is ordered already. The current segment has `room` bytes
    /// left; `written` bytes were written to it since `since`.
    pub(crate) fn order(&mut self, number: u64, room: u64, written: u64, since: Instant) {
        let progress = &self.progress;
        if self.ordered.is_none() {
            progress.filled.store(0, Ordering::Relaxed);
            progress.fast.store(!has_time(written, since.elapsed()), Ordering::Relaxed);
            let orders = self.orders.as_ref().expect("nothing is ordered after the end");
            // The channel has room for the one order. If the thread has died, `take` notices.
            let _ = orders.send(number);
            self.ordered = Some(number);
        }
        // Writers may become faster, and a young store's next segment is twice as long. Filling gently takes a quarter
        // of the time in which writers at `GENTLE_BYTES_PER_SECOND` write as many bytes. It must end before `room` is
        // full.
        let left = segment::usual_length(number) - progress.filled.load(Ordering::Relaxed);
        let has_time = !progress.fast.load(Ordering::Relaxed);
        progress.gently.store(has_time && left / 4 < room, Ordering::Relaxed);
    }

    /// Returns segment `number`, `length` bytes long. Waits for it if it was ordered. If preparing it has failed, tries
    /// once more: there may be space again.
    pub(crate) fn take(&mut self, number: u64, length: u64) -> Result<Prepared> {
        self.progress.gently.store(false, Ordering::Relaxed);
        let ready = match self.ordered.take() {
            Some(_) => self.results.recv().ok().and_then(Result::ok),
            None => None,
        };
        match ready {
            Some(prepared) if prepared.number == number && prepared.length <= length => {
                lengthen(prepared, length, self)
            }
            _ => prepare(&*self.disk, &self.journal, number, length),
        }
    }
}

impl Preparer {
    /// Ends the thread, which gives up its work. The caller must not order anything after this.
    pub(crate) fn end(&mut self) {
        self.orders = None;
        self.progress.given_up.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The thread may still hold a result that nobody wants. Taking it lets the thread end;
            // removing it frees its space. Opening the journal removes what stays.
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

fn lengthen(prepared: Prepared, length: u64, preparer: &Preparer) -> Result<Prepared> {
    if prepared.length == length {
        return Ok(prepared);
    }
    let path = segment::prepared_path(&preparer.journal, prepared.number);
    fill(&*prepared.file, prepared.length, length)
        .map_err(|e| Error::io("prepare the journal segment", &path, e))?;
    Ok(Prepared { length, ..prepared })
}

/// Creates the file of segment `number` with `length` zeros, synced, under its preliminary name.
pub(crate) fn prepare(
    disk: &dyn Disk,
    journal: &std::path::Path,
    number: u64,
    length: u64,
) -> Result<Prepared> {
    prepare_with(disk, journal, number, length, &Progress::default())
}

fn prepare_with(
    disk: &dyn Disk,
    journal: &std::path::Path,
    number: u64,
    length: u64,
    progress: &Progress,
) -> Result<Prepared> {
    let path = segment::prepared_path(journal, number);
    replace::remove_if_there(disk, &path)?;
    let create = || {
        let file = disk.create_new(&path, MODE_ALL)?;
        if progress.fast.load(Ordering::Relaxed) && file.allocate(length)? {
            file.sync_data()?;
            progress.filled.store(length, Ordering::Relaxed);
        } else {
            fill_with(&*file, 0, length, progress)?;
        }
        Ok(file)
    };
    match create() {
        Ok(file) => Ok(Prepared { number, length, file }),
        Err(error) => {
            // Free the space at once: the disk may be full.
            let _ = disk.remove(&path);
            Err(Error::io("prepare the journal segment", &path, error))
        }
    }
}

/// Durably fills `file` with zeros from `from` to `to`.
pub(crate) fn fill(file: &dyn DiskFile, from: u64, to: u64) -> std::io::Result<()> {
    fill_with(file, from, to, &Progress::default())
}

fn fill_with(file: &dyn DiskFile, from: u64, to: u64, progress: &Progress) -> std::io::Result<()> {
    let mut at = from;
    while at < to {
        if progress.given_up.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("the segment is no longer needed"));
        }
        let step = match progress.gently.load(Ordering::Relaxed) {
            true => FILL_BYTES_GENTLE,
            false => FILL_BYTES,
        };
        let bytes = (to - at).min(step);
        file.write_zeros_at(in_memory(bytes), at, ZEROS_BYTES)?;
        file.sync_data()?;
        at += bytes;
        progress.filled.store(at, Ordering::Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::RealDisk;
    use std::sync::Mutex;

    /// A file that records each step, and calls `after` after it.
    struct Steps<'a> {
        /// KiB of each step.
        taken: Mutex<Vec<usize>>,
        after: Box<dyn Fn(usize) + Send + Sync + 'a>,
    }

    impl DiskFile for Steps<'_> {
        fn read_at(&self, _: &mut [u8], _: u64) -> std::io::Result<usize> {
            unreachable!("nothing is read")
        }

        fn write_all_at(&self, _: &[u8], _: u64) -> std::io::Result<()> {
            unreachable!("only zeros are written")
        }

        fn write_zeros_at(&self, bytes: usize, _: u64, _: usize) -> std::io::Result<()> {
            self.taken.lock().unwrap().push(bytes >> 10);
            Ok(())
        }

        fn sync_data(&self) -> std::io::Result<()> {
            (self.after)(self.taken.lock().unwrap().len());
            Ok(())
        }

        fn length(&self) -> std::io::Result<u64> {
            unreachable!("it is known")
        }
    }

    #[test]
    fn there_is_time_where_a_segment_lasts_for_a_second() {
        let has_time = |bytes, millis| has_time(bytes, Duration::from_millis(millis));
        assert!(has_time(0, 0) && has_time(4 << 20, 100));
        assert!(!has_time(4 << 20, 40) && !has_time(100, 0));
    }

    #[test]
    fn whoever_fills_gently_hurries_when_told_to_and_stops_when_nobody_wants_it() {
        let progress = Progress { gently: AtomicBool::new(true), ..Progress::default() };
        let after = |steps| match steps {
            3 => progress.gently.store(false, Ordering::Relaxed),
            5 => progress.given_up.store(true, Ordering::Relaxed),
            _ => {}
        };
        let file = Steps { taken: Mutex::default(), after: Box::new(after) };
        assert!(fill_with(&file, 0, 64 << 20, &progress).is_err(), "it was given up");
        assert_eq!(*file.taken.lock().unwrap(), [256, 256, 256, 1_024, 1_024]);
    }

    /// What a segment's writers may rely on, however it was prepared: its length, its space on the disk, and zeros.
    #[test]
    fn a_segment_for_fast_writers_has_its_length_and_its_space_and_reads_as_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let fast = Progress { fast: AtomicBool::new(true), ..Progress::default() };
        for progress in [fast, Progress::default()] {
            let prepared =
                prepare_with(&RealDisk, directory.path(), 3, 4 << 20, &progress).unwrap();
            assert_eq!(prepared.length, 4 << 20);
            assert_eq!(progress.filled.load(Ordering::Relaxed), 4 << 20);
            let path = segment::prepared_path(directory.path(), 3);
            let space = 512 * std::os::unix::fs::MetadataExt::blocks(&path.metadata().unwrap());
            assert!(space >= 4 << 20, "{space} bytes are allocated");
            let content = std::fs::read(&path).unwrap();
            assert!(content.len() == 4 << 20 && content.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn a_preparer_is_in_a_hurry_when_its_writers_are_and_never_leaves_what_nobody_wants() {
        let directory = tempfile::tempdir().unwrap();
        let preparer = || Preparer::start(Arc::new(RealDisk), directory.path().to_owned()).unwrap();
        let is_gentle = |preparer: &Preparer| preparer.progress.gently.load(Ordering::Relaxed);
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        // Slow writers and much room.
        let mut slow = preparer();
        slow.order(9, 60 << 20, 4 << 20, long_ago);
        assert!(is_gentle(&slow) && !slow.progress.fast.load(Ordering::Relaxed));
        slow.end();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it was left there");
        // The same, but they wait for it.
        let mut waiting = preparer();
        waiting.order(9, 60 << 20, 4 << 20, long_ago);
        assert_eq!(waiting.take(9, segment::length_for(9, 100)).unwrap().length, 64 << 20);
        assert!(!is_gentle(&waiting));
        // Slow writers and little room.
        let mut late = preparer();
        late.order(10, 1 << 20, 4 << 20, long_ago);
        assert!(!is_gentle(&late));
        // Fast writers.
        let mut fast = preparer();
        fast.order(11, 60 << 20, 4 << 20, Instant::now());
        assert!(!is_gentle(&fast) && fast.progress.fast.load(Ordering::Relaxed));
    }
}
