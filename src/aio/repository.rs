//! Repositories, for tasks.

use crate::aio::paged::Paged;
use crate::aio::reads::bytes_of;
use crate::aio::store::{Store, run};
use crate::model::aggregate::{Aggregate, Snapshot};
use crate::model::repository;
use crate::model::repository::outcome::{AsOf, ExecuteError, Executed, HistoryEntry, Loaded};
use crate::telemetry::context;
use crate::value::error::Result;
use crate::value::event::Metadata;

/// Loads aggregates and executes commands, for tasks; see [`Repository`](crate::Repository). Cloning is cheap.
///
/// `decide`, `evolve` and reads run on the pool of the store, with one thread for each command in progress.
pub struct Repository<A: Aggregate>(repository::Repository<A>);

impl<A: Aggregate> Clone for Repository<A> {
    fn clone(&self) -> Repository<A> {
        Repository(self.0.clone())
    }
}

impl<A: Aggregate> repository::Repository<A> {
    /// Returns the same repository for tasks, with the same cache.
    #[must_use]
    pub fn aio(&self) -> Repository<A> {
        Repository(self.clone())
    }
}

impl Store {
    /// Makes a repository; see [`Store::repository`](crate::Store::repository). To change its settings, make a
    /// [synchronous one](Store::sync) and call its `aio`.
    #[must_use]
    pub fn repository<A: Aggregate>(&self) -> Repository<A> {
        Repository(self.sync().repository())
    }
}

impl<A: Aggregate> Repository<A> {
    /// Loads an aggregate; see [`Repository::load`](crate::Repository::load). Dropping the future has no effect.
    pub async fn load(&self, id: impl Into<String>) -> Result<Loaded<A>> {
        let id = id.into();
        self.run(move |repository| repository.load(&id)).await?
    }

    /// Loads an aggregate as it was; see [`Repository::load_as_of`](crate::Repository::load_as_of). Dropping the future
    /// has no effect.
    pub async fn load_as_of(
        &self,
        id: impl Into<String>,
        at: impl Into<AsOf>,
    ) -> Result<Loaded<A>> {
        let (id, at) = (id.into(), at.into());
        self.run(move |repository| repository.load_as_of(&id, at)).await?
    }

    /// Returns the aggregate's history as a stream; see [`Repository::history`](crate::Repository::history). An error
    /// of starting the read is the first item.
    pub fn history(&self, id: impl Into<String>) -> Paged<HistoryEntry<A>>
    where
        A::Event: Send,
    {
        let (id, repository) = (id.into(), self.0.clone());
        let log = self.0.log_handle().clone();
        Paged::new(log, |entry| bytes_of(&entry.event), move || repository.history(&id))
    }

    /// Executes a command; see [`Repository::execute`](crate::Repository::execute).
    ///
    /// If the future is dropped before its turn on the pool, the command is not executed. If it is dropped later, the
    /// command is executed as if it had been awaited.
    pub async fn execute(
        &self,
        id: impl Into<String>,
        command: A::Command,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        self.execute_with(id, command, Metadata::default()).await
    }

    /// Executes a command with this metadata; see [`Repository::execute_with`](crate::Repository::execute_with). With a
    /// `command_id`, a command whose future was dropped can be sent again: it is executed once.
    ///
    /// If the future is dropped before its turn on the pool, the command is not executed. If it is dropped later, the
    /// command is executed as if it had been awaited.
    pub async fn execute_with(
        &self,
        id: impl Into<String>,
        command: A::Command,
        mut metadata: Metadata,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        let id = id.into();
        context::stamp_for_task(&mut metadata, self.0.traces().as_deref());
        self.run(move |repository| repository.execute_with(&id, &command, metadata)).await?
    }

    /// Writes a snapshot of an aggregate now; see [`Repository::snapshot`](crate::Repository::snapshot).
    pub async fn snapshot(&self, id: impl Into<String>) -> Result<()>
    where
        A: Snapshot,
    {
        let id = id.into();
        self.run(move |repository| repository.snapshot(&id)).await?
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&repository::Repository<A>) -> T + Send + 'static,
    ) -> crate::log::pool::Job<T> {
        let repository = self.0.clone();
        run(self.0.log_handle(), move || work(&repository))
    }
}
