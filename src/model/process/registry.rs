//! The processes of one store that run.

use crate::model::process::status::Shared;
use crate::value::error::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What all handles of a store share of its processes.
#[derive(Default)]
pub(crate) struct Processes {
    running: Mutex<HashMap<&'static str, Arc<Shared>>>,
}

impl Processes {
    /// Registers a process that is about to run; `make` makes what its handles share.
    pub(super) fn register(
        self: &Arc<Processes>,
        name: &'static str,
        make: impl FnOnce() -> Result<Arc<Shared>>,
    ) -> Result<(Arc<Shared>, Registered)> {
        let mut running = self.running.lock();
        if running.contains_key(name) {
            let message = format!("process {name:?} is running; stop it first");
            return Err(Error::new(ErrorKind::AlreadyRunning, message));
        }
        let shared = make()?;
        running.insert(name, Arc::clone(&shared));
        Ok((shared, Registered { processes: Arc::clone(self), name, ended: false }))
    }

    /// Waits until each process that runs has nothing left to do, one after the other; false if none
    /// runs.
    pub(crate) fn settle(&self, timeout: Duration) -> Result<bool> {
        let begun = Instant::now();
        let running: Vec<_> = self.running.lock().values().cloned().collect();
        for shared in &running {
            shared.settle(timeout.saturating_sub(begun.elapsed()))?;
        }
        Ok(!running.is_empty())
    }
}

/// The place of a running process among the others, until it ends.
pub(super) struct Registered {
    processes: Arc<Processes>,
    name: &'static str,
    ended: bool,
}

impl Registered {
    /// Another process of this name may run from now on.
    pub(super) fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.processes.running.lock().remove(self.name);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.end();
    }
}
