//! A thread of the engine that is started when it is first needed.

use crate::value::error::Result;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether it was started.
#[derive(Default)]
pub(crate) struct StartedOnce {
    is_started: AtomicBool,
    starting: Mutex<()>,
}

impl StartedOnce {
    /// Calls `start` unless a call has succeeded.
    pub(crate) fn ensure(&self, start: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.is_started.load(Ordering::Acquire) {
            return Ok(());
        }
        let _starting = self.starting.lock();
        if !self.is_started.load(Ordering::Relaxed) {
            start()?;
            self.is_started.store(true, Ordering::Release);
        }
        Ok(())
    }
}
