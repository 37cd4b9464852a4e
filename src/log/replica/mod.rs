//! A replica: a log whose frames come from another one, its source, and are kept as they are.
//!
//! * A frame is taken only if it is the next one: the hash chain is checked at each. So the journal is always equal to
//!   the beginning of its source's.
//! * All frames that came at once become durable by one `fdatasync`, and are shown after it. What a reader has seen is
//!   there after a crash, as on every store.
//! * The journal holds no frame of the replica's own. Commits are refused until `promote`.
//! * `promote` and the thread that applies frames exclude each other by the lock of the journal's writer.

pub(crate) mod applier;
mod content;
pub(crate) mod failed;
#[cfg(feature = "erasure")]
mod privacy;
pub(crate) mod source;
pub(crate) mod status;

use crate::journal::shipped::JournalFrame;
use crate::journal::write::{End, WriteError, Writer, Written};
use crate::log::commit::group::GroupCommit;
use crate::log::core::Log;
use crate::log::indexer;
use crate::log::replica::failed::Failed;
use crate::log::replica::status::{Replication, ReplicationState, Standing};
#[cfg(feature = "erasure")]
use crate::sealing::key::KeyId;
use crate::value::callback::Holding;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::failpoint::failpoint;
use crate::value::position::Position;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::collections::VecDeque;

/// What a log has in addition while it is a replica.
pub(crate) struct Replica {
    standing: Mutex<Standing>,
    /// Frames that are durable and could not be shown yet, each with the end of the journal after it. Locked by who has
    /// the journal's writer.
    unshown: Mutex<VecDeque<Unshown>>,
    /// Dropped when the log is no longer a replica.
    ending: Mutex<Option<Sender<()>>>,
    ended: Receiver<()>,
    /// The keys whose fence was shown, and whose events are still to be forgotten.
    #[cfg(feature = "erasure")]
    fenced: Mutex<Vec<KeyId>>,
}

/// A frame that was written and is not shown yet.
struct Unshown {
    written: Written,
    /// That of the journal after it.
    end: End,
    /// The keys whose fences it has.
    #[cfg(feature = "erasure")]
    fences: Vec<KeyId>,
}

impl Replica {
    pub(crate) fn new() -> Replica {
        let (ending, ended) = bounded(0);
        let (standing, unshown) = (Mutex::default(), Mutex::default());
        Replica {
            standing,
            unshown,
            ending: Mutex::new(Some(ending)),
            ended,
            #[cfg(feature = "erasure")]
            fenced: Mutex::default(),
        }
    }

    /// The error that commits are refused by.
    pub(crate) fn refusal() -> Error {
        let message = "this store is a replica, which accepts no commits: commit to its source, or promote it";
        Error::new(ErrorKind::Replica, message)
    }

    /// How the replication does; `None` if the log is no longer a replica.
    pub(crate) fn replication(&self, log: &Log) -> Option<Replication> {
        self.ending.lock().as_ref()?;
        Some(self.standing.lock().shown(log.head_position()))
    }

    fn becomes(&self, state: ReplicationState) {
        self.standing.lock().becomes(state);
    }

    fn has_ended(&self) -> bool {
        self.ending.lock().is_none()
    }

    /// Whether frames that are durable wait to be shown.
    fn has_unshown(&self) -> bool {
        !self.unshown.lock().is_empty()
    }

    /// Writes the frames that follow in the journal, and shows them.
    fn apply(
        &self,
        log: &Log,
        commits: &GroupCommit,
        frames: &[JournalFrame],
    ) -> Result<(), Failed> {
        let room =
            log.indexer.wait_for_room(|| indexer::is_full(log), || log.index.signs_of_life());
        room.map_err(Failed::Again)?;
        // Subscribers of `tracing` run inside this closure.
        let applied = commits.with_writer(|writer| {
            let _held = Holding::Commits.begin();
            if self.has_ended() {
                return Err(Failed::Ended);
            }
            let written = self.write(log, writer, frames);
            self.show(log)?;
            written
        });
        #[cfg(feature = "erasure")]
        self.forget_fenced(log);
        applied
    }

    /// Forgets those whose fence has come. Views are rebuilt meanwhile, so nothing is locked.
    #[cfg(feature = "erasure")]
    fn forget_fenced(&self, log: &Log) {
        let fenced = std::mem::take(&mut *self.fenced.lock());
        if !fenced.is_empty() {
            privacy::forget(log, &fenced);
        }
    }

    /// Writes frames up to the first one that cannot be written, and makes them durable together.
    fn write(&self, log: &Log, writer: &mut Writer, frames: &[JournalFrame]) -> Result<(), Failed> {
        let mut written = VecDeque::with_capacity(frames.len());
        let mut failed = None;
        for frame in frames {
            match self.write_one(log, writer, frame) {
                Ok(one) => written.push_back(one),
                Err(Failed::Broken(error)) => return Err(Failed::Broken(error)),
                Err(other) => {
                    failed = Some(other);
                    break;
                }
            }
        }
        if !written.is_empty() && !failpoint!("replica::show_before_sync") {
            writer.finish().map_err(Failed::Broken)?;
        }
        self.unshown.lock().append(&mut written);
        failed.map_or(Ok(()), Err)
    }

    #[cfg_attr(not(feature = "erasure"), allow(unused_variables, reason = "for private events"))]
    fn write_one(
        &self,
        log: &Log,
        writer: &mut Writer,
        frame: &JournalFrame,
    ) -> Result<Unshown, Failed> {
        writer.refuse_unless_next(frame).map_err(Failed::Stopped)?;
        #[cfg(feature = "erasure")]
        let fences = privacy::prepare(log, frame.frame()).map_err(Failed::Again)?;
        #[cfg(feature = "erasure")]
        if failpoint!("replica::destroy_before_fence") {
            self.fenced.lock().extend_from_slice(&fences);
        }
        let written = writer.write_verbatim(frame).map_err(|error| match error {
            WriteError::NotWritten(error) => Failed::Again(error),
            WriteError::Stopped(error) | WriteError::Unknown(error) => Failed::Broken(error),
        })?;
        Ok(Unshown {
            written,
            end: writer.end(),
            #[cfg(feature = "erasure")]
            fences,
        })
    }

    /// Shows the frames that are durable. One whose streams the index cannot find now is shown later, and those after
    /// it as well.
    fn show(&self, log: &Log) -> Result<(), Failed> {
        let mut unshown = self.unshown.lock();
        while let Some(Unshown { written, end, .. }) = unshown.front() {
            content::publish(log, end, written)?;
            let _shown = unshown.pop_front();
            #[cfg(feature = "erasure")]
            self.fenced.lock().extend(_shown.map(|shown| shown.fences).unwrap_or_default());
            self.standing.lock().took_a_frame();
        }
        Ok(())
    }

    /// Makes the log one that accepts commits. `persist` says so on the disk, durably, when nothing else can fail.
    ///
    /// # Errors
    /// `InvalidInput` if it is no replica any more; `ReadOnly` after a write that failed; errors of `persist`, after
    /// which it can be called again.
    pub(crate) fn promote(
        &self,
        log: &Log,
        commits: &GroupCommit,
        persist: impl FnOnce() -> Result<()>,
    ) -> Result<Position> {
        let promoted = commits.with_writer(|writer| {
            match commits.refused() {
                Err(error) if error.kind() == ErrorKind::Replica => {}
                Err(error) => return Err(Failed::Again(error)),
                Ok(()) => return Err(Failed::Ended),
            }
            // Closing waits for the writer before it gives up the directory's lock.
            log.refuse_if_ended().map_err(Failed::Again)?;
            self.show(log)?;
            writer.finish().map_err(Failed::Broken)?;
            persist().map_err(Failed::Again)?;
            writer.hurry();
            self.ending.lock().take();
            commits.set_refusal(None);
            Ok(log.head_position())
        });
        #[cfg(feature = "erasure")]
        self.forget_fenced(log);
        promoted.map_err(|failed| {
            if let Failed::Broken(error) = &failed {
                commits.refuse(error);
            }
            failed.into_error()
        })
    }
}
