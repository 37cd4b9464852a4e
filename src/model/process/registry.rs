//! The running processes of one store.

use crate::model::process::status::Shared;
use crate::model::worker::registry::Registry;
use crate::value::error::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The processes of a store, shared by all of its handles.
pub(crate) struct Processes(pub(super) Arc<Registry<Shared, ()>>);

impl Default for Processes {
    fn default() -> Processes {
        Processes(Registry::new("process"))
    }
}

impl Processes {
    /// Waits until each running process has nothing left to do, one after the other; false if none is running.
    pub(crate) fn settle(&self, timeout: Duration) -> Result<bool> {
        let begun = Instant::now();
        let running = self.0.running();
        for shared in &running {
            shared.settle(timeout.saturating_sub(begun.elapsed()))?;
        }
        Ok(!running.is_empty())
    }
}
