//! What the application holds of a running process.

use crate::codec::process::{ParkedStep, aside_id, aside_prefix, decode, parked_prefix};
use crate::log::handle::LogHandle;
use crate::model::process::durable_state::damaged;
use crate::model::process::status::{Own, Parked, ParkedKind, ProcessStatus, Shared};
#[cfg(feature = "async")]
use crate::model::progress::Progress;
use crate::model::worker::ask::Ask;
use crate::value::error::Result;
use crate::value::position::Position;
use std::sync::Arc;
use std::time::Duration;

/// A running process. Cloning is cheap. Dropping it does not stop the process; holding it keeps the store open.
#[derive(Clone)]
pub struct ProcessHandle {
    pub(super) shared: Arc<Shared>,
    pub(crate) log: LogHandle,
    pub(super) name: &'static str,
}

impl ProcessHandle {
    #[cfg(feature = "async")]
    pub(crate) fn progress(&self) -> &Progress {
        &self.shared.progress
    }

    /// Returns the process's [`NAME`](crate::ProcessManager::NAME).
    #[must_use]
    pub fn name(&self) -> &str {
        self.name
    }

    /// Waits until every event up to `position` is ingested, or not wanted, and the resulting effects are done. What is
    /// parked is not waited for.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout); at once [`Faulted`](crate::ErrorKind::Faulted) or
    /// [`Closed`](crate::ErrorKind::Closed) if it will not get there.
    pub fn wait_for(&self, position: Position, timeout: Duration) -> Result<()> {
        self.shared.progress.wait_for(position, timeout)
    }

    /// Returns its state and progress.
    ///
    /// [`lag`](ProcessStatus::lag) counts every event of the store past the position, whether the process wants it or
    /// not: also its own events, and those of its commands. So it is above zero for a moment after each effect.
    /// [`deadlines`](ProcessStatus::deadlines) counts the parked instances that have one, too; theirs do not fire
    /// while they are parked.
    #[must_use]
    pub fn status(&self) -> ProcessStatus {
        self.shared.status(self.log.log().head_position())
    }

    /// Pauses it, deadlines included, after the steps that are under way.
    pub fn pause(&self) {
        // A stopped process is paused already.
        let _ = self.shared.ask(Ask::Pause);
    }

    /// Resumes it, after a pause or a fault, with the step that it stopped at.
    pub fn resume(&self) {
        // Only its builder starts a stopped process again.
        let _ = self.shared.ask(Ask::Resume);
    }

    /// Stops it. It continues from there when it is started again.
    ///
    /// # Errors
    /// Errors of writing its position.
    pub fn stop(&self) -> Result<()> {
        self.shared.ask(Ask::Stop)
    }

    /// Returns what is parked, and the step that the process has stopped at if it is faulted: instances first, in the
    /// order of their ids. There are at most 16,384.
    ///
    /// # Errors
    /// Errors of reading the log.
    pub fn parked(&self) -> Result<Vec<Parked>> {
        let log = self.log.log();
        log.refuse_if_closed()?;
        let mut parked = Vec::new();
        let stopped_at = self.shared.seen.lock().own.stopped_at.clone();
        if let Some((id, step)) = stopped_at {
            parked.push(Parked::new(id, step, ParkedKind::Stopped));
        }
        let wrong = |what| damaged(self.name, what);
        let prefix = parked_prefix(self.name);
        for (key, value) in log.records_with_prefix(&prefix)? {
            let step: ParkedStep = decode(&value).map_err(wrong)?;
            parked.push(Parked::new(key[prefix.len()..].to_owned(), step, ParkedKind::Instance));
        }
        let prefix = aside_prefix(self.name);
        for (key, value) in log.records_with_prefix(&prefix)? {
            let step: ParkedStep = decode(&value).map_err(wrong)?;
            let id = aside_id(&key[prefix.len()..]).map_err(wrong)?.to_owned();
            parked.push(Parked::new(id, step, ParkedKind::Step));
        }
        Ok(parked)
    }

    /// Tries again what is parked of the instance `id`, and lets it go on with all that waits; with an empty id, the
    /// events that `route` failed on. Returns when it has begun; if it fails again, it is parked again.
    ///
    /// An event that was parked alone is parked until it was tried. After a restart before that, it is tried when this
    /// is called once more.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if nothing is parked of that instance; errors of writing.
    pub fn replay(&self, id: &str) -> Result<()> {
        self.shared.ask(Ask::Own(Own::Replay(id.to_owned())))
    }

    /// Gives up what the instance `id` stopped at, and what is parked of it alone, and lets it go on with the rest;
    /// with an empty id, the events that `route` failed on. If the process has stopped at a step of this instance, it
    /// goes on without that step.
    ///
    /// What is given up is durable, and is not reacted to any more.
    ///
    /// # Errors
    /// As for [`replay`](ProcessHandle::replay); [`TooLarge`](crate::ErrorKind::TooLarge) if events that were skipped
    /// have to be remembered for parked instances, which will read them again, and are too many.
    pub fn skip(&self, id: &str) -> Result<()> {
        self.shared.ask(Ask::Own(Own::Skip(id.to_owned())))
    }
}
