//! The handle of a store, for tasks.

use crate::aio::committing::{Appending, Committing};
use crate::follow::subscription::SubscriptionBuilder;
use crate::log::commit::Commit;
use crate::log::core::Log;
use crate::log::handle::LogHandle;
use crate::log::pool::Job;
use crate::log::read::stream_info::StreamInfo;
use crate::model::repository::outcome::ExecuteError;
use crate::model::transaction::Transaction;
use crate::model::transaction::outcome::Transacted;
use crate::store::{ReadAll, ReadStream, Streams, stream_info};
use crate::telemetry::context;
use crate::value::error::{Error, ErrorKind, Result, catch};
use crate::value::event::{Metadata, NewEvent};
use crate::value::position::{ExpectedVersion, Position};
use crate::value::stream::StreamId;
use crate::value::tasks::OnceSlot;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// An open event store, for tasks. Cloning is cheap. See [`aio`](crate::aio).
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// # fn block_on<F: Future>(future: F) -> F::Output {
/// #     struct Unpark(std::thread::Thread);
/// #     impl std::task::Wake for Unpark {
/// #         fn wake(self: std::sync::Arc<Self>) { self.0.unpark(); }
/// #     }
/// #     let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
/// #     let mut future = std::pin::pin!(future);
/// #     loop {
/// #         match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
/// #             std::task::Poll::Ready(output) => return output,
/// #             std::task::Poll::Pending => std::thread::park(),
/// #         }
/// #     }
/// # }
/// # block_on(async {
/// let store = Store::temporary()?.aio();
/// let opened = NewEvent::json("Opened", &())?;
/// let done = store.append("Door-1", ExpectedVersion::NoStream, [opened]).await?;
/// assert_eq!(done.position.get(), 1);
/// assert_eq!(store.stream_info("Door-1").await?.version, done.version);
/// store.close().await?;
/// # Ok::<(), filmstrip::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    store: crate::store::Store,
}

impl crate::store::Store {
    /// Returns a handle of the same store for tasks; see [`aio`](crate::aio).
    #[must_use]
    pub fn aio(&self) -> Store {
        Store { store: self.clone() }
    }
}

impl Store {
    /// Returns the synchronous handle of the same store. Most methods that do not block are only there.
    #[must_use]
    pub fn sync(&self) -> &crate::store::Store {
        &self.store
    }

    /// Appends `events` to `stream`, if its version is as `expected`; see [`Store::append`](crate::Store::append). This
    /// call encodes them, on the caller's task. While the queue is full, an append waits in line.
    ///
    /// If the future is dropped, the append is recorded as a whole or not at all; see [`Committing`].
    pub fn append<S>(
        &self,
        stream: S,
        expected: impl Into<ExpectedVersion>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Appending
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        Appending(self.commit(Commit::new().append(stream, expected, events)))
    }

    /// Makes a commit durable, as a whole or not at all; see [`Store::commit`](crate::Store::commit). This also holds
    /// if the future is dropped; see [`Committing`].
    pub fn commit(&self, commit: Commit) -> Committing {
        Committing::new(self.store.log.clone(), commit)
    }

    /// Reads one stream. Finish the builder with [`stream`](ReadStream::stream); its `iter` and `collect` block.
    pub fn read_stream<S>(&self, stream: S) -> ReadStream
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        self.store.read_stream(stream)
    }

    /// Reads the global sequence. Finish the builder with [`stream`](ReadAll::stream); its `iter` and `collect` block.
    pub fn read_all(&self) -> ReadAll {
        self.store.read_all()
    }

    /// Lists the streams. Finish the builder with [`stream`](Streams::stream); its `iter` and `collect` block.
    pub fn streams(&self) -> Streams {
        self.store.streams()
    }

    /// Follows the log. Finish the builder with [`into_stream`](SubscriptionBuilder::into_stream).
    pub fn subscribe(&self) -> SubscriptionBuilder {
        self.store.subscribe()
    }

    /// Returns the position of the last durable event.
    #[must_use]
    pub fn head(&self) -> Position {
        self.store.head()
    }

    /// Returns what is known about a stream; see [`Store::stream_info`](crate::Store::stream_info).
    pub async fn stream_info<S>(&self, stream: S) -> Result<StreamInfo>
    where
        S: TryInto<StreamId>,
        Error: From<S::Error>,
    {
        let stream: StreamId = stream.try_into()?;
        self.run(move |store| stream_info(&store.log, stream)).await?
    }

    /// Returns the position up to which `consumer` has ingested another log; see
    /// [`Store::tracked`](crate::Store::tracked).
    pub async fn tracked(&self, consumer: impl Into<String>) -> Result<Position> {
        let consumer = consumer.into();
        self.run(move |store| store.tracked(&consumer)).await?
    }

    /// Runs `closure`, in which several aggregates decide, and makes everything that they decided durable in one
    /// commit; see [`Store::transact`](crate::Store::transact). The closure runs on the pool.
    ///
    /// If the future is dropped before its turn on the pool, the closure does not run. If it is dropped later, the
    /// transaction completes as if it had been awaited.
    pub async fn transact<T, E>(
        &self,
        mut metadata: Metadata,
        closure: impl FnMut(&mut Transaction<'_>) -> Result<T, E> + Send + 'static,
    ) -> Result<Transacted<T>, ExecuteError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        context::stamp_for_task(&mut metadata, self.store.log.log().observers.traces());
        self.run(move |store| store.transact(metadata, closure)).await?
    }

    /// Waits until the store is at rest; see [`Store::drain`](crate::Store::drain). A thread of the pool waits as long.
    pub async fn drain(&self, timeout: Duration) -> Result<()> {
        self.run(move |store| store.drain(timeout)).await?
    }

    /// Waits until the store has everything up to `position`, without a thread; see
    /// [`Store::wait_for`](crate::Store::wait_for). The caller's runtime limits the time, by dropping the future.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) if the store was closed before it had come so far.
    pub async fn wait_for(&self, position: Position) -> Result<()> {
        let log = self.store.log.log();
        log.refuse_if_closed()?;
        Coming { log, position, number: 0 }.await;
        match log.head_position() >= position {
            true => Ok(()),
            false => log.refuse_if_closed(),
        }
    }

    /// Runs `work`, which may block, on the pool, and returns its result: for the methods of the synchronous API that
    /// have no counterpart here, such as [`verify`](crate::Store::verify) and [`backup`](crate::Store::backup). The
    /// pool has at most 64 threads, so `work` should not wait for what may never happen.
    ///
    /// If the future is dropped before its turn, `work` does not run. If it is dropped later, `work` runs to its end,
    /// and its result is dropped.
    ///
    /// # Errors
    /// [`Panicked`](ErrorKind::Panicked) if `work` did; [`Closed`](ErrorKind::Closed) if the store was closed before
    /// its turn.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::store::Store) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send + 'static {
        let store = self.store.clone();
        run(&self.store.log, move || work(&store))
    }

    /// Closes the store for every handle; see [`Store::close`](crate::Store::close). Queued commits are written and
    /// acknowledged; everything else that waits returns [`Closed`](ErrorKind::Closed), and subscriptions end.
    ///
    /// Closing starts with the first poll, on a thread of its own. If the future is dropped later, the store is closed
    /// all the same.
    pub fn close(self) -> impl Future<Output = Result<()>> + Send + 'static {
        Closing::New(self.store)
    }
}

/// Runs `work` on the pool of this log. What `work` holds should keep the store open.
pub(super) fn run<T: Send + 'static>(
    log: &LogHandle,
    work: impl FnOnce() -> T + Send + 'static,
) -> Job<T> {
    let engine = log.engine();
    engine.pool.job(engine.log(), work)
}

/// A wait for the head to come to a position, or for the log to close.
struct Coming<'a> {
    log: &'a Log,
    position: Position,
    /// Its number among the tasks that wait; 0 before it does.
    number: u64,
}

impl Future for Coming<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Coming { log, position, number } = &mut *self;
        log.head.poll_for(position.get(), context.waker(), number)
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        // In a forked process the lock may never be released.
        if self.number > 0 && self.log.owner.is_this_process() {
            self.log.head.leave(self.number);
        }
    }
}

/// The future of closing: not begun, or in progress on a thread of its own.
enum Closing {
    New(crate::store::Store),
    Running(Arc<OnceSlot<Result<()>>>),
    Ended,
}

impl Closing {
    fn begin(store: crate::store::Store, context: &Context<'_>) -> Result<Closing> {
        let slot = Arc::new(OnceSlot::new(context.waker().clone()));
        let its_slot = Arc::clone(&slot);
        let close = move || {
            let closed = catch(|| store.close()).unwrap_or_else(|cause| {
                Err(Error::new(ErrorKind::Panicked, format!("closing the store panicked: {cause}")))
            });
            its_slot.put(closed);
        };
        let thread = std::thread::Builder::new().name("filmstrip-close".to_owned());
        thread.spawn(close).map_err(|e| {
            Error::with_source(ErrorKind::Io, format!("cannot start a thread to close: {e}"), e)
        })?;
        Ok(Closing::Running(slot))
    }
}

impl Future for Closing {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match std::mem::replace(&mut *self, Closing::Ended) {
            Closing::New(store) => {
                *self = Closing::begin(store, context)?;
                Poll::Pending
            }
            Closing::Running(slot) => match slot.poll(context.waker()) {
                Poll::Ready(closed) => Poll::Ready(closed),
                Poll::Pending => {
                    *self = Closing::Running(slot);
                    Poll::Pending
                }
            },
            Closing::Ended => panic!("a future was polled after its end"),
        }
    }
}
