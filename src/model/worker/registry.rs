//! The workers of one kind: which run, and what is kept of each for as long as the store is open.

use crate::value::error::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Workers whose handles share an `S`, and of which a `K` is kept.
pub(crate) struct Registry<S, K> {
    /// `projection` or `process`, for messages.
    kind: &'static str,
    known: Mutex<HashMap<String, Known<S, K>>>,
}

/// A worker that runs, or has run.
struct Known<S, K> {
    running: Option<Arc<S>>,
    kept: K,
}

impl<S: Send + Sync + 'static, K: Clone + Send + 'static> Registry<S, K> {
    pub(crate) fn new(kind: &'static str) -> Arc<Registry<S, K>> {
        Arc::new(Registry { kind, known: Mutex::default() })
    }

    /// Registers a worker that is about to run. `make` makes what its handles share, from what is kept of an
    /// earlier run.
    pub(crate) fn register(
        self: &Arc<Self>,
        name: &str,
        make: impl FnOnce(Option<K>) -> Result<(Arc<S>, K)>,
    ) -> Result<(Arc<S>, Registered)> {
        let mut known = self.known.lock();
        let kept = match known.get(name) {
            Some(Known { running: Some(_), .. }) => return Err(self.running_error(name)),
            known => known.map(|known| known.kept.clone()),
        };
        let (shared, kept) = make(kept)?;
        known.insert(name.to_owned(), Known { running: Some(Arc::clone(&shared)), kept });
        let (registry, name) = (Arc::clone(self), name.to_owned());
        let end = move || {
            if let Some(known) = registry.known.lock().get_mut(&name) {
                known.running = None;
            }
        };
        Ok((shared, Registered(Some(Box::new(end)))))
    }

    /// Forgets the worker `name`, which does not run, when `remove` has succeeded.
    pub(crate) fn remove(&self, name: &str, remove: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut known = self.known.lock();
        if known.get(name).is_some_and(|known| known.running.is_some()) {
            return Err(self.running_error(name));
        }
        remove()?;
        known.remove(name);
        Ok(())
    }

    /// Those that run.
    pub(crate) fn running(&self) -> Vec<Arc<S>> {
        self.known.lock().values().filter_map(|known| known.running.clone()).collect()
    }

    fn running_error(&self, name: &str) -> Error {
        let message = format!("{} {name:?} is running; stop it first", self.kind);
        Error::new(ErrorKind::AlreadyRunning, message)
    }
}

/// The place of a running worker among the others, until it ends.
pub(crate) struct Registered(Option<Box<dyn FnOnce() + Send>>);

impl Registered {
    /// Another worker of this name may run from now on.
    pub(crate) fn end(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.end();
    }
}
