//! The processes of one store that run.

use crate::model::process::status::Shared;
use crate::model::worker::registry::Registry;
use crate::value::error::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What all handles of a store share of its processes.
pub(crate) struct Processes(pub(super) Arc<Registry<Shared, ()>>);

impl Default for Processes {
    fn default() -> Processes {
        Processes(Registry::new("process"))
    }
}

impl Processes {
    /// Waits until each process that runs has nothing left to do, one after the other; false if none
    /// runs.
    pub(crate) fn settle(&self, timeout: Duration) -> Result<bool> {
        let begun = Instant::now();
        let running = self.0.running();
        for shared in &running {
            shared.settle(timeout.saturating_sub(begun.elapsed()))?;
        }
        Ok(!running.is_empty())
    }
}
