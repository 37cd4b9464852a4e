//! The workers of one kind: the running ones, and data that is kept for each while the store is open.

use crate::value::error::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Workers whose handles share an `S`. A `K` is kept for each.
pub(crate) struct Registry<S, K> {
    /// `projection` or `process`, for messages.
    kind: &'static str,
    known: Mutex<HashMap<String, Known<S, K>>>,
}

/// A worker that is running or has run.
struct Known<S, K> {
    running: Option<Arc<S>>,
    kept: K,
}

impl<S: Send + Sync + 'static, K: Clone + Send + 'static> Registry<S, K> {
    pub(crate) fn new(kind: &'static str) -> Arc<Registry<S, K>> {
        Arc::new(Registry { kind, known: Mutex::default() })
    }

    /// Registers a worker before it runs. `make` makes the shared state of its handles from the `K` of an earlier
    /// run.
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

    /// Forgets the worker `name`, which must not be running, if `remove` succeeds.
    pub(crate) fn remove(&self, name: &str, remove: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut known = self.known.lock();
        if known.get(name).is_some_and(|known| known.running.is_some()) {
            return Err(self.running_error(name));
        }
        remove()?;
        known.remove(name);
        Ok(())
    }

    /// The running workers.
    pub(crate) fn running(&self) -> Vec<Arc<S>> {
        self.known.lock().values().filter_map(|known| known.running.clone()).collect()
    }

    fn running_error(&self, name: &str) -> Error {
        let message = format!("{} {name:?} is running; stop it first", self.kind);
        Error::new(ErrorKind::AlreadyRunning, message)
    }
}

/// The registration of a running worker. Dropping it ends the registration.
pub(crate) struct Registered(Option<Box<dyn FnOnce() + Send>>);

impl Registered {
    /// Ends the registration: another worker of this name may start.
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
