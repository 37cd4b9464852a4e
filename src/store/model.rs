//! The store's side of the model: where aggregates, views, read models and processes get its log.

use crate::model::aggregate::Aggregate;
use crate::model::process::ProcessBuilder;
use crate::model::process::contract::ProcessManager;
use crate::model::projection::ProjectionBuilder;
use crate::model::projection::contract::Projection;
use crate::model::read_model::{ReadModel, ReadModelHandle};
use crate::model::repository::Repository;
use crate::store::Store;
use crate::value::error::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Store {
    /// Makes a repository for the aggregates of one kind. Each call makes one with a cache of its own, so keep it or
    /// its clones.
    #[must_use]
    pub fn repository<A: Aggregate>(&self) -> Repository<A> {
        Repository::new(self.log.clone())
    }

    /// Starts a model in memory that is computed from the whole log and then follows it. This returns at once;
    /// [`wait_for`](ReadModelHandle::wait_for) the [`head`](Store::head) if the model must be complete.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed), or the error of starting a thread.
    pub fn read_model<M: ReadModel>(&self) -> Result<ReadModelHandle<M>> {
        ReadModelHandle::start(self.log.clone(), &self.projections)
    }

    /// Describes a durable view that follows the log; see [`Projection`].
    pub fn project<P: Projection>(&self, projection: P) -> ProjectionBuilder<P> {
        ProjectionBuilder::new(self.log.clone(), Arc::clone(&self.projections), projection)
    }

    /// Removes a projection's view and everything else that is stored for it. Does nothing if there is no projection of
    /// this name.
    ///
    /// # Errors
    /// [`AlreadyRunning`](crate::ErrorKind::AlreadyRunning) if it has not been
    /// [stopped](crate::projection::ProjectionHandle::stop); errors of writing.
    pub fn remove_projection(&self, name: &str) -> Result<()> {
        self.projections.remove(name)
    }

    /// Describes a process manager that follows the log; see [`ProcessManager`].
    pub fn process<M: ProcessManager>(&self) -> ProcessBuilder<M> {
        ProcessBuilder::new(self.log.clone(), Arc::clone(&self.processes))
    }

    /// Waits until the store is at rest: every running process has ingested everything that is durable, its own events
    /// included, its effects are done and no deadline is due; and every running projection and every read model has
    /// applied all of that. Use it in tests, and before an orderly exit. While others write, a store with processes may
    /// not come to rest.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout); at once [`Faulted`](crate::ErrorKind::Faulted) if one of them has
    /// stopped at an error.
    pub fn drain(&self, timeout: Duration) -> Result<()> {
        self.log.log().owner.check()?;
        let begun = Instant::now();
        let left = || timeout.saturating_sub(begun.elapsed());
        loop {
            let head = self.head();
            let has_processes = self.processes.settle(left())?;
            // One that was at rest may have got to do since, from another.
            if !has_processes || self.head() == head {
                return self.projections.wait_for_all(head, left());
            }
        }
    }
}
