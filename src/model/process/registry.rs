//! The running processes of one store.

use crate::model::process::status::{ProcessStatus, Shared};
use crate::model::worker::registry::Registry;
use crate::model::worker::status::Report;
use crate::value::error::Result;
use crate::value::position::Position;
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
    /// The running processes, in the order of their names.
    pub(crate) fn reports(&self, head: Position) -> Vec<Report<ProcessStatus>> {
        let running = self.0.running().into_iter();
        let mut reports: Vec<_> =
            running.map(|shared| shared.report(shared.status(head))).collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        reports
    }

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
