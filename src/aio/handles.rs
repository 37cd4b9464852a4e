//! The handles of projections, processes and read models, for tasks.

use crate::aio::store::run;
use crate::follow::parked;
use crate::log::handle::LogHandle;
use crate::log::pool::Job;
use crate::model::process::handle as process;
use crate::model::process::status::{Parked, ProcessStatus};
use crate::model::progress::{Awaiting, Progress};
use crate::model::projection as projections;
use crate::model::projection::status::ProjectionStatus;
use crate::model::projection::view;
use crate::model::projection::view::ViewReader;
use crate::model::read_model;
use crate::model::read_model::ReadModel;
use crate::value::error::Result;
use crate::value::position::Position;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A handle of something that follows the log.
trait Follows: Clone + Send + 'static {
    fn progress(&self) -> &Progress;
    fn log(&self) -> &LogHandle;

    /// `work` on the pool, with a handle of its own.
    fn on_pool<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> Job<T> {
        let handle = self.clone();
        run(self.log(), move || work(&handle))
    }
}

/// A wait for a position, without a thread.
struct WaitFor<'a> {
    progress: &'a Progress,
    position: Position,
    awaiting: Awaiting,
}

impl Future for WaitFor<'_> {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let WaitFor { progress, position, awaiting } = &mut *self;
        progress.poll_for(*position, context.waker(), awaiting)
    }
}

impl Drop for WaitFor<'_> {
    fn drop(&mut self) {
        self.progress.leave(&mut self.awaiting);
    }
}

fn wait_for(follows: &impl Follows, position: Position) -> WaitFor<'_> {
    WaitFor { progress: follows.progress(), position, awaiting: Awaiting::default() }
}

impl Follows for projections::ProjectionHandle {
    fn progress(&self) -> &Progress {
        self.progress()
    }

    fn log(&self) -> &LogHandle {
        self.log_handle()
    }
}

impl Follows for process::ProcessHandle {
    fn progress(&self) -> &Progress {
        self.progress()
    }

    fn log(&self) -> &LogHandle {
        &self.log
    }
}

impl<M: ReadModel> Follows for read_model::ReadModelHandle<M> {
    fn progress(&self) -> &Progress {
        self.progress()
    }

    fn log(&self) -> &LogHandle {
        self.log_handle()
    }
}

/// A running projection, for tasks; see [`ProjectionHandle`](crate::projection::ProjectionHandle).
#[derive(Clone)]
pub struct ProjectionHandle(projections::ProjectionHandle);

impl projections::ProjectionHandle {
    /// Returns the same handle for tasks.
    #[must_use]
    pub fn aio(&self) -> ProjectionHandle {
        ProjectionHandle(self.clone())
    }
}

impl ProjectionHandle {
    /// Waits, without a thread, until everything up to `position` is in the view. For a timeout, use your runtime's.
    ///
    /// # Errors
    /// Immediately [`Faulted`](crate::ErrorKind::Faulted) or [`Closed`](crate::ErrorKind::Closed) if it will not get
    /// there.
    pub async fn wait_for(&self, position: Position) -> Result<()> {
        wait_for(&self.0, position).await
    }

    /// Returns the view, for tasks.
    #[must_use]
    pub fn view(&self) -> View {
        View { view: self.0.view(), log: self.0.log_handle().clone() }
    }

    /// Returns its state and progress.
    #[must_use]
    pub fn status(&self) -> ProjectionStatus {
        self.0.status()
    }

    /// Returns the parked events; see [`parked`](crate::projection::ProjectionHandle::parked).
    pub async fn parked(&self) -> Result<Vec<parked::Parked>> {
        self.0.on_pool(|handle| handle.parked()).await?
    }

    /// Tries the parked events again; see [`replay_parked`](crate::projection::ProjectionHandle::replay_parked).
    pub async fn replay_parked(&self) -> Result<()> {
        self.0.on_pool(|handle| handle.replay_parked()).await?
    }

    /// Discards the parked events; see [`discard_parked`](crate::projection::ProjectionHandle::discard_parked).
    pub async fn discard_parked(&self) -> Result<()> {
        self.0.on_pool(|handle| handle.discard_parked()).await?
    }

    /// Rebuilds the view; see [`rebuild`](crate::projection::ProjectionHandle::rebuild).
    pub async fn rebuild(&self) -> Result<()> {
        self.0.on_pool(|handle| handle.rebuild()).await?
    }

    /// Pauses it; see [`pause`](crate::projection::ProjectionHandle::pause).
    pub async fn pause(&self) -> Result<()> {
        self.0.on_pool(|handle| handle.pause()).await
    }

    /// Resumes it; see [`resume`](crate::projection::ProjectionHandle::resume).
    pub async fn resume(&self) -> Result<()> {
        self.0.on_pool(|handle| handle.resume()).await
    }

    /// Stops it; see [`stop`](crate::projection::ProjectionHandle::stop).
    pub async fn stop(&self) -> Result<()> {
        self.0.on_pool(|handle| handle.stop()).await?
    }
}

/// The rows of a projection, for tasks; see [`View`](crate::projection::View). Cloning is cheap.
///
/// Rows are read and decoded on the pool. Dropping a read changes nothing.
#[derive(Clone)]
pub struct View {
    view: view::View,
    log: LogHandle,
}

impl View {
    /// Returns the row of `key`; see [`View::get`](crate::projection::View::get).
    pub async fn get<T>(&self, key: impl Into<String>) -> Result<Option<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let key = key.into();
        self.run(move |view| view.get(&key)).await?
    }

    /// Returns the rows whose keys begin with `prefix`; see [`View::prefix`](crate::projection::View::prefix).
    pub async fn prefix<T>(&self, prefix: impl Into<String>) -> Result<Vec<(String, T)>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let prefix = prefix.into();
        self.run(move |view| view.prefix(&prefix)).await?
    }

    /// Returns the rows with keys from `from` up to, but not including, `to`; see
    /// [`View::range`](crate::projection::View::range).
    pub async fn range<T>(
        &self,
        from: impl Into<String>,
        to: impl Into<String>,
    ) -> Result<Vec<(String, T)>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let (from, to) = (from.into(), to.into());
        self.run(move |view| view.range(&from, &to)).await?
    }

    /// Runs several reads on one state of the view; see [`View::read`](crate::projection::View::read).
    pub async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&ViewReader<'_>) -> R + Send + 'static,
    ) -> Result<R> {
        self.run(move |view| view.read(read)).await
    }

    /// Runs `work` on the view, for methods that have no counterpart here, such as the pages of
    /// [`rows`](crate::projection::View::rows).
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&view::View) -> T + Send + 'static,
    ) -> Result<T> {
        let view = self.view.clone();
        run(&self.log, move || work(&view)).await
    }
}

/// A running process, for tasks; see [`ProcessHandle`](crate::process::ProcessHandle).
#[derive(Clone)]
pub struct ProcessHandle(process::ProcessHandle);

impl process::ProcessHandle {
    /// Returns the same handle for tasks.
    #[must_use]
    pub fn aio(&self) -> ProcessHandle {
        ProcessHandle(self.clone())
    }
}

impl ProcessHandle {
    /// Waits, without a thread, until every event up to `position` is ingested and the resulting effects are done. For
    /// a timeout, use your runtime's.
    ///
    /// # Errors
    /// Immediately [`Faulted`](crate::ErrorKind::Faulted) or [`Closed`](crate::ErrorKind::Closed) if it will not get
    /// there.
    pub async fn wait_for(&self, position: Position) -> Result<()> {
        wait_for(&self.0, position).await
    }

    /// Returns its state and progress; see [`status`](crate::process::ProcessHandle::status).
    #[must_use]
    pub fn status(&self) -> ProcessStatus {
        self.0.status()
    }

    /// Returns what is parked; see [`parked`](crate::process::ProcessHandle::parked).
    pub async fn parked(&self) -> Result<Vec<Parked>> {
        self.0.on_pool(|handle| handle.parked()).await?
    }

    /// Tries what is parked again; see [`replay`](crate::process::ProcessHandle::replay).
    pub async fn replay(&self, id: impl Into<String>) -> Result<()> {
        let id = id.into();
        self.0.on_pool(move |handle| handle.replay(&id)).await?
    }

    /// Gives up what is parked; see [`skip`](crate::process::ProcessHandle::skip).
    pub async fn skip(&self, id: impl Into<String>) -> Result<()> {
        let id = id.into();
        self.0.on_pool(move |handle| handle.skip(&id)).await?
    }

    /// Pauses it; see [`pause`](crate::process::ProcessHandle::pause).
    pub async fn pause(&self) -> Result<()> {
        self.0.on_pool(|handle| handle.pause()).await
    }

    /// Resumes it; see [`resume`](crate::process::ProcessHandle::resume).
    pub async fn resume(&self) -> Result<()> {
        self.0.on_pool(|handle| handle.resume()).await
    }

    /// Stops it; see [`stop`](crate::process::ProcessHandle::stop).
    pub async fn stop(&self) -> Result<()> {
        self.0.on_pool(|handle| handle.stop()).await?
    }
}

/// A running read model, for tasks; see [`ReadModelHandle`](crate::projection::ReadModelHandle).
pub struct ReadModelHandle<M>(read_model::ReadModelHandle<M>);

impl<M> Clone for ReadModelHandle<M> {
    fn clone(&self) -> ReadModelHandle<M> {
        ReadModelHandle(self.0.clone())
    }
}

impl<M: ReadModel> read_model::ReadModelHandle<M> {
    /// Returns the same handle for tasks.
    #[must_use]
    pub fn aio(&self) -> ReadModelHandle<M> {
        ReadModelHandle(self.clone())
    }
}

impl<M: ReadModel> ReadModelHandle<M> {
    /// Waits, without a thread, until everything up to `position` is in the model. For a timeout, use your runtime's.
    ///
    /// # Errors
    /// Immediately [`Faulted`](crate::ErrorKind::Faulted) or [`Closed`](crate::ErrorKind::Closed) if it will not get
    /// there.
    pub async fn wait_for(&self, position: Position) -> Result<()> {
        wait_for(&self.0, position).await
    }

    /// Reads the model, on the pool; see [`read`](crate::projection::ReadModelHandle::read).
    pub async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&M) -> R + Send + 'static,
    ) -> Result<R> {
        self.0.on_pool(move |handle| handle.read(read)).await?
    }
}
