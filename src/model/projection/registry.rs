//! The projections of one store: the running ones, and their views.

use crate::log::commit::encoded::check_name;
use crate::log::core::Log;
use crate::model::progress::Progress;
#[cfg(feature = "erasure")]
use crate::model::projection::status::ProjectionRequest;
use crate::model::projection::status::{ProjectionStatus, Shared};
use crate::model::projection::trees::Trees;
use crate::model::projection::view::Served;
#[cfg(feature = "erasure")]
use crate::model::worker::ask::Ask;
use crate::model::worker::registry::Registry;
use crate::model::worker::status::Report;
use crate::storage::held::Held;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::position::Position;
use crate::views::Views;
#[cfg(feature = "erasure")]
use crate::views::{VIEWS, is_directory};
use parking_lot::Mutex;
use serde::Serialize;
#[cfg(feature = "erasure")]
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The state of a read model in memory. serde writes it with the names that its fields have.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ReadModelStatus {
    /// The name of its type.
    pub name: String,
    /// The position up to which everything is in it.
    pub position: Position,
    /// How many events the head is past that, wanted or not.
    pub lag: u64,
    /// The error at which it has stopped, if it has.
    pub error: Option<Error>,
}

impl ReadModelStatus {
    /// `None` if it has ended without an error.
    fn of(progress: &Progress, head: Position) -> Option<ReadModelStatus> {
        let error = progress.ended();
        if error.as_ref().is_some_and(|error| error.kind() == ErrorKind::Closed) {
            return None;
        }
        let position = progress.position();
        let lag = head.get().saturating_sub(position.get());
        Some(ReadModelStatus { name: progress.name().to_owned(), position, lag, error })
    }
}

/// The projections of a store, shared by all of its handles.
pub(crate) struct Projections {
    log: Arc<Log>,
    directory: Arc<Held>,
    cache_bytes: u64,
    /// Opened at the first use, so a store without projections has no views.
    views: Mutex<Option<Arc<Views>>>,
    /// All runs of a projection share one served view, so that a reader with an older handle still waits for writes.
    pub(super) known: Arc<Registry<Shared, Arc<Served>>>,
    /// The progress of the running read models.
    models: Mutex<Vec<Weak<Progress>>>,
}

impl Projections {
    /// The projections of the store in `directory`. `cache_bytes` bounds the cache of their views.
    pub(crate) fn new(log: Arc<Log>, directory: Arc<Held>, cache_bytes: u64) -> Arc<Projections> {
        let (views, known) = (Mutex::new(None), Registry::new("projection"));
        let models = Mutex::new(Vec::new());
        Arc::new(Projections { log, directory, cache_bytes, views, known, models })
    }

    /// Makes a wait for all projections include this read model.
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

    /// The views, if they are open. Otherwise returns the result of `otherwise`, which runs while nobody can open
    /// them.
    pub(crate) fn open_views<T>(&self, otherwise: impl FnOnce() -> T) -> Result<Arc<Views>, T> {
        let views = self.views.lock();
        match &*views {
            Some(views) => Ok(Arc::clone(views)),
            None => Err(otherwise()),
        }
    }

    /// The views; opens them if they are not open. They are closed with the log.
    fn views(&self) -> Result<Arc<Views>> {
        let mut views = self.views.lock();
        if let Some(views) = &*views {
            return Ok(Arc::clone(views));
        }
        self.log.refuse_if_closed()?;
        self.directory.check_before("open the views in")?;
        let opened = Views::open(self.log.journal.disk(), self.directory.path(), self.cache_bytes)?;
        let (its_views, closing) = (Arc::clone(&opened), self.log.closing());
        self.log.spawn("filmstrip-views", move || {
            // Nothing is ever sent; the channel disconnects when the log closes.
            let _ = closing.recv();
            if let Err(error) = its_views.close() {
                tracing::error!(%error, "the views could not be closed cleanly");
            }
        })?;
        *views = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Removes a projection's views and all of its state.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        self.log.owner.check()?;
        self.known.remove(name, || self.trees(name)?.remove_all())
    }

    /// Somebody was forgotten: rebuilds the views of running projections that may hold something of a private event,
    /// and removes those of others. Returns the names of the former. sled's files keep what was in them until they are
    /// wiped.
    #[cfg(feature = "erasure")]
    pub(crate) fn forget(&self) -> Result<Vec<String>> {
        let directory = self.directory.path().join(VIEWS);
        if is_directory(&**self.log.journal.disk(), &directory)? != Some(true) {
            return Ok(Vec::new());
        }
        for shared in self.known.running() {
            match shared.ask(Ask::Own(ProjectionRequest::Forget)) {
                // It was stopped meanwhile.
                Err(error) if error.kind() == ErrorKind::Closed => self.log.refuse_if_closed()?,
                asked => asked?,
            }
        }
        let mut rebuilding = Vec::new();
        for name in self.names()? {
            if self.trees(&name)?.is_private()? {
                match self.remove(&name) {
                    Err(error) if error.kind() == ErrorKind::AlreadyRunning => {
                        rebuilding.push(name);
                    }
                    removed => removed?,
                }
            }
        }
        Ok(rebuilding)
    }

    /// The names of all projections with views.
    #[cfg(feature = "erasure")]
    fn names(&self) -> Result<BTreeSet<String>> {
        let names = self.views()?.tree_names()?;
        let name_of = |tree: &String| {
            let (name, _number) = tree.strip_prefix("projection/")?.rsplit_once('/')?;
            Some(name.to_owned())
        };
        Ok(names.iter().filter_map(name_of).collect())
    }

    /// The running projections, in the order of their names.
    pub(crate) fn reports(&self, head: Position) -> Vec<Report<ProjectionStatus>> {
        let running = self.known.running().into_iter();
        let mut reports: Vec<_> =
            running.map(|shared| shared.report(shared.status(head))).collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        reports
    }

    /// The running read models.
    pub(crate) fn read_models(&self, head: Position) -> Vec<ReadModelStatus> {
        let models: Vec<_> = self.models.lock().iter().filter_map(Weak::upgrade).collect();
        let mut models: Vec<_> =
            models.iter().filter_map(|progress| ReadModelStatus::of(progress, head)).collect();
        models.sort_by(|one, other| one.name.cmp(&other.name));
        models
    }

    /// Waits until every running projection and every read model has applied everything up to `position`.
    pub(crate) fn wait_for_all(&self, position: Position, timeout: Duration) -> Result<()> {
        let begun = Instant::now();
        for shared in self.known.running() {
            shared.progress.wait_for(position, timeout.saturating_sub(begun.elapsed()))?;
        }
        let models: Vec<_> = self.models.lock().iter().filter_map(Weak::upgrade).collect();
        for progress in models {
            match progress.wait_for(position, timeout.saturating_sub(begun.elapsed())) {
                // The model's last handle was dropped meanwhile, or the store was closed, which is an error.
                Err(error) if error.kind() == ErrorKind::Closed => self.log.refuse_if_closed()?,
                waited => waited?,
            }
        }
        Ok(())
    }
}
