//! What the application holds of a running relay.

use crate::log::handle::LogHandle;
use crate::log::read::lag::lag;
use crate::model::relay::status::{RelayStatus, Shared};
use crate::model::worker::ask::Ask;
use crate::value::error::Result;
use crate::value::position::Position;
use std::sync::Arc;
use std::time::Duration;

/// A running relay. Cloning is cheap. Dropping it does not stop the relay; holding it keeps the store open.
#[derive(Clone)]
pub struct RelayHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) log: LogHandle,
}

impl RelayHandle {
    /// Returns the name of its [target](crate::relay::RelayTarget::name).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Waits until the target holds every event up to `position` durably, or it is not wanted.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout); at once the error of a relay that has stopped at one, or
    /// [`Closed`](crate::ErrorKind::Closed).
    pub fn wait_for(&self, position: Position, timeout: Duration) -> Result<()> {
        self.shared.progress.wait_for(position, timeout)
    }

    /// Returns its state and progress.
    #[must_use]
    pub fn status(&self) -> RelayStatus {
        self.shared.status(self.log.log().head_position())
    }

    /// Returns how long ago the first event after its position was recorded, in seconds; 0 if there is none, and not a
    /// number while the index is being rebuilt. It reads one frame of the journal.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed).
    pub fn lag_seconds(&self) -> Result<f64> {
        let log = self.log.log();
        log.refuse_if_closed()?;
        lag(log, self.shared.progress.position().get()).map(|(_, seconds)| seconds)
    }

    /// Pauses it. What is on its way may still arrive, and is not sent again.
    pub fn pause(&self) {
        // A stopped relay is paused already.
        let _ = self.shared.ask(Ask::Pause);
    }

    /// Resumes it, after a pause or a fault: it opens the target again.
    pub fn resume(&self) {
        // Only its builder starts a stopped relay again.
        let _ = self.shared.ask(Ask::Resume);
    }

    /// Stops it, and drops its target. Started again, it goes on with what the target lacks.
    ///
    /// # Errors
    /// None at present.
    pub fn stop(&self) -> Result<()> {
        self.shared.ask(Ask::Stop)
    }
}
