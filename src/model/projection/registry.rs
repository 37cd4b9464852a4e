//! The projections of one store: which run, and where their views lie.

use crate::log::commit::check_name;
use crate::log::core::Log;
use crate::model::progress::Progress;
use crate::model::projection::status::Shared;
use crate::model::projection::trees::Trees;
use crate::model::projection::view::Served;
use crate::storage::held::Held;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::position::Position;
use crate::views::Views;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// What all handles of a store share of its projections.
pub(crate) struct Projections {
    log: Arc<Log>,
    directory: Arc<Held>,
    cache_bytes: u64,
    /// Opened by whoever needs them first: a store without projections has none.
    views: Mutex<Option<Arc<Views>>>,
    known: Mutex<HashMap<String, Known>>,
    /// How far the read models are, as long as they follow.
    models: Mutex<Vec<Weak<Progress>>>,
}

/// A projection that runs, or has run.
struct Known {
    /// One for all runs, so that who reads the view through an older handle still waits for writes.
    served: Arc<Served>,
    running: Option<Arc<Shared>>,
}

impl Projections {
    /// The projections of the store in `directory`, whose views may use so much memory for what they
    /// read.
    pub(crate) fn new(log: Arc<Log>, directory: Arc<Held>, cache_bytes: u64) -> Arc<Projections> {
        let (views, known) = (Mutex::new(None), Mutex::new(HashMap::new()));
        let models = Mutex::new(Vec::new());
        Arc::new(Projections { log, directory, cache_bytes, views, known, models })
    }

    /// Has those who wait for all projections wait for this read model too.
    pub(crate) fn add_model(&self, progress: &Arc<Progress>) {
        let mut models = self.models.lock();
        models.retain(|model| model.strong_count() > 0);
        models.push(Arc::downgrade(progress));
    }

    pub(super) fn trees(&self, name: &str) -> Result<Trees> {
        self.log.owner.check()?;
        check_name("a projection's", name)?;
        Trees::open(self.views()?, Arc::clone(&self.log), name)
    }

    /// The views, if they are open; otherwise what `otherwise` makes while nobody can open them.
    pub(crate) fn open_views<T>(&self, otherwise: impl FnOnce() -> T) -> Result<Arc<Views>, T> {
        let views = self.views.lock();
        match &*views {
            Some(views) => Ok(Arc::clone(views)),
            None => Err(otherwise()),
        }
    }

    /// The views, opened if they are not yet. They are closed with the log.
    fn views(&self) -> Result<Arc<Views>> {
        let mut views = self.views.lock();
        if let Some(views) = &*views {
            return Ok(Arc::clone(views));
        }
        self.log.refuse_if_closed()?;
        self.directory.check_before("open the views in")?;
        let opened = Views::open(self.directory.path(), self.cache_bytes)?;
        let (its_views, closing) = (Arc::clone(&opened), self.log.closing());
        self.log.spawn("filmstrip-views", move || {
            // Nothing is ever sent: it disconnects when the log closes.
            let _ = closing.recv();
            if let Err(error) = its_views.close() {
                tracing::error!(%error, "the views could not be closed in order");
            }
        })?;
        *views = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Registers a projection that is about to run; `make` makes what its handles share.
    pub(super) fn register(
        self: &Arc<Projections>,
        name: &str,
        make: impl FnOnce(Option<Arc<Served>>) -> Result<Arc<Shared>>,
    ) -> Result<(Arc<Shared>, Registered)> {
        let mut known = self.known.lock();
        let served = match known.get(name) {
            Some(Known { running: Some(_), .. }) => return Err(running(name)),
            Some(Known { served, running: None }) => Some(Arc::clone(served)),
            None => None,
        };
        let shared = make(served)?;
        let served = Arc::clone(&shared.served);
        known.insert(name.to_owned(), Known { served, running: Some(Arc::clone(&shared)) });
        let (projections, name) = (Arc::clone(self), name.to_owned());
        let registered = Registered { projections, name, ended: false };
        Ok((shared, registered))
    }

    /// Removes a projection's views and all that is remembered of it.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.log.owner.check()?;
        let mut known = self.known.lock();
        if known.get(name).is_some_and(|known| known.running.is_some()) {
            return Err(running(name));
        }
        self.trees(name)?.remove_all()?;
        known.remove(name);
        Ok(())
    }

    /// Waits until every projection that runs, and every read model, has taken in everything up to
    /// `position`.
    pub(crate) fn wait_for_all(&self, position: Position, timeout: Duration) -> Result<()> {
        let begun = Instant::now();
        let known = self.known.lock();
        let running: Vec<_> = known.values().filter_map(|known| known.running.clone()).collect();
        drop(known);
        for shared in running {
            shared.progress.wait_for(position, timeout.saturating_sub(begun.elapsed()))?;
        }
        let models: Vec<_> = self.models.lock().iter().filter_map(Weak::upgrade).collect();
        for progress in models {
            match progress.wait_for(position, timeout.saturating_sub(begun.elapsed())) {
                // Its last handle went meanwhile; that the store was closed, it tells itself.
                Err(error) if error.kind() == ErrorKind::Closed => self.log.refuse_if_closed()?,
                waited => waited?,
            }
        }
        Ok(())
    }
}

fn running(name: &str) -> Error {
    let message = format!("projection {name:?} is running; stop it first");
    Error::new(ErrorKind::AlreadyRunning, message)
}

/// The place of a running projection among the others, until it ends.
pub(super) struct Registered {
    projections: Arc<Projections>,
    name: String,
    ended: bool,
}

impl Registered {
    /// Another projection of this name may run from now on.
    pub(super) fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(known) = self.projections.known.lock().get_mut(&self.name) {
            known.running = None;
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.end();
    }
}
