//! Writers fill the tail and the indexer empties it: no thread waits forever, nothing is left, and the tail never
//! exceeds its bound.

use crate::check;
use crate::codec::frame::Location;
use crate::log::indexer::signal::{Control, Due, Work};
use crate::value::error::{Error, ErrorKind};
use shuttle::sync::Arc;
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;

/// Frames that the indexer waits for.
const WINDOW: u64 = 2;
/// Frames that the tail holds before writers wait.
const ROOM: u64 = 3;
const FRAMES: u64 = 5;

#[derive(Default)]
struct Log {
    control: Control,
    appended: AtomicU64,
    indexed: AtomicU64,
}

impl Log {
    fn tail(&self) -> u64 {
        // Read `indexed` first: it never passes `appended`.
        let indexed = self.indexed.load(Ordering::SeqCst);
        self.appended.load(Ordering::SeqCst) - indexed
    }

    /// The part of a leader's work that concerns the indexer.
    fn append(&self) -> crate::value::error::Result<()> {
        let steps = || self.indexed.load(Ordering::SeqCst);
        self.control.wait_for_room(|| self.tail() >= ROOM, steps)?;
        let appended = self.appended.fetch_add(1, Ordering::SeqCst) + 1;
        self.control.published(at(appended));
        Ok(())
    }

    fn due(&self) -> Due {
        let appended = self.appended.load(Ordering::SeqCst);
        let until = self.indexed.load(Ordering::SeqCst) + WINDOW;
        match appended >= until {
            true => Due::Now(Work::UpTo(at(appended))),
            false => Due::Nothing { until: at(until) },
        }
    }

    /// The indexer's loop. Its first `failures` flush batches fail.
    fn index(&self, mut failures: u32) {
        while let Work::UpTo(to) = self.control.wait_for_work(|| self.due()) {
            if failures > 0 {
                failures -= 1;
                self.control.fail(&Error::new(ErrorKind::Io, "the disk is tired"));
                continue;
            }
            self.indexed.store(to.offset, Ordering::SeqCst);
            self.control.progress();
        }
    }
}

fn at(frame: u64) -> Location {
    Location { segment: 1, offset: frame }
}

fn run(failures: u32, write: impl FnOnce(&Log)) {
    let log = Arc::new(Log::default());
    let its = Arc::clone(&log);
    let indexer = thread::spawn(move || its.index(failures));
    write(&log);
    log.control.close();
    // A thread that still waited for a wake-up would wait forever.
    indexer.join().unwrap();
}

#[test]
fn a_writer_that_waits_for_room_gets_it() {
    check(|| {
        run(0, |log| {
            for _ in 0..FRAMES {
                log.append().unwrap();
                assert!(log.tail() <= ROOM, "more than fits");
            }
        });
    });
}

#[test]
fn who_waits_for_an_indexer_that_fails_is_told_and_nobody_waits_for_ever() {
    check(|| {
        run(1, |log| {
            for _ in 0..FRAMES {
                match log.append() {
                    Ok(()) => assert!(log.tail() <= ROOM, "more than fits"),
                    // A retry waits for time to pass, and no time passes here.
                    Err(error) => return assert_eq!(error.kind(), ErrorKind::Io, "{error}"),
                }
            }
        });
    });
}
