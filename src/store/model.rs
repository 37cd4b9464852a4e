//! The store's side of layer 5: where aggregates, views, read models and processes get at its log.

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
    /// The aggregates of one kind. Each call makes a repository with a memory of its own, so keep it
    /// or its clones.
    #[must_use]
    pub fn repository<A: Aggregate>(&self) -> Repository<A> {
        Repository::new(self.log.clone())
    }

    /// A model in memory that is made from the whole log and then follows it. This returns at once;
    /// [`wait_for`](ReadModelHandle::wait_for) the [`head`](Store::head) to have all that there is.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed), or what starting a thread met.
    pub fn read_model<M: ReadModel>(&self) -> Result<ReadModelHandle<M>> {
        ReadModelHandle::start(self.log.clone(), &self.projections)
    }

    /// A durable view that follows the log; see [`Projection`].
    pub fn project<P: Projection>(&self, projection: P) -> ProjectionBuilder<P> {
        ProjectionBuilder::new(self.log.clone(), Arc::clone(&self.projections), projection)
    }

    /// Removes a projection's view and all that is remembered of it. Nothing happens if there is
    /// none of this name.
    ///
    /// # Errors
    /// [`AlreadyRunning`](crate::ErrorKind::AlreadyRunning) if it has not been
    /// [stopped](crate::projection::ProjectionHandle::stop); what writing met.
    pub fn remove_projection(&self, name: &str) -> Result<()> {
        self.projections.remove(name)
    }

    /// A process manager that follows the log; see [`ProcessManager`].
    pub fn process<M: ProcessManager>(&self) -> ProcessBuilder<M> {
        ProcessBuilder::new(self.log.clone(), Arc::clone(&self.processes))
    }

    /// Waits until the store is at rest: every running process has taken in all that is durable, what
    /// it recorded itself included, its effects are done and no deadline is due, and every running
    /// projection and every read model has taken in all of that. For tests, and for programs that end in
    /// order. While others write, a store with processes may not come to rest.
    ///
    /// # Errors
    /// [`Timeout`](crate::ErrorKind::Timeout); at once [`Faulted`](crate::ErrorKind::Faulted) if one
    /// of them goes no further.
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
