//! Read models: state in memory, computed from the log each time a program starts.
//!
//! * One thread applies; readers see the model between two batches, so never a part of a commit.
//! * After an error or a panic the model can no longer be read, because it may hold a part of an event.

#[cfg(feature = "erasure")]
mod feeds;

use crate::follow::feed::{Batch, Feed, FeedStop};
use crate::log::core::Log;
use crate::log::handle::LogHandle;
#[cfg(feature = "erasure")]
use crate::log::privacy::state::Purge;
use crate::model::progress::Progress;
use crate::model::projection::registry::Projections;
use crate::model::readable::{Readable, Unreadable};
use crate::telemetry::context::Handling;
use crate::value::error::{Error, ErrorKind, HandlerError, Panicked, Result, catch};
use crate::value::event::RecordedEvent;
use crate::value::filter::Filter;
use crate::value::json::told;
use crate::value::position::Position;
#[cfg(feature = "erasure")]
use feeds::Feeds;
use std::any::type_name;
use std::sync::Arc;
use std::time::Duration;

/// State in memory that follows the log. Use it for questions that no single stream answers, and that are too small or
/// too quickly recomputed to need a [durable view](crate::Projection).
///
/// ```
/// use filmstrip::{ExpectedVersion, Filter, HandlerError, NewEvent, ReadModel, RecordedEvent, Store};
/// use std::collections::HashMap;
/// use std::time::Duration;
///
/// #[derive(Default)]
/// struct VisitsByDoor(HashMap<String, u64>);
///
/// impl ReadModel for VisitsByDoor {
///     fn filter() -> Filter {
///         Filter::category("Door").and_event_type("Opened")
///     }
///
///     fn apply(&mut self, event: &RecordedEvent) -> Result<(), HandlerError> {
///         *self.0.entry(event.stream.to_string()).or_default() += 1;
///         Ok(())
///     }
/// }
///
/// let store = Store::temporary()?;
/// let visits = store.read_model::<VisitsByDoor>()?;
/// let opened = || NewEvent::json("Opened", &());
/// let done = store.append("Door-1", ExpectedVersion::Any, [opened()?, opened()?])?;
/// visits.wait_for(done.position, Duration::from_secs(5))?;
/// assert_eq!(visits.read(|visits| visits.0["Door-1"])?, 2);
/// # Ok::<(), filmstrip::Error>(())
/// ```
pub trait ReadModel: Default + Send + Sync + 'static {
    /// Returns the events that it is made from.
    fn filter() -> Filter;

    /// Applies an event.
    ///
    /// # Errors
    /// An error, like a panic, ends the model: reading it then returns [`Faulted`](ErrorKind::Faulted).
    fn apply(&mut self, event: &RecordedEvent) -> Result<(), HandlerError>;
}

/// A running read model. The model ends when the last clone is dropped.
pub struct ReadModelHandle<M> {
    shared: Arc<Shared<M>>,
    /// Ends the feed with the last clone.
    running: Arc<Running>,
    open: LogHandle,
}

/// The state shared by the handles and the applying thread.
struct Shared<M> {
    model: Readable<M>,
    progress: Arc<Progress>,
    #[cfg(feature = "erasure")]
    feeds: Arc<Feeds>,
}

struct Running {
    #[cfg(not(feature = "erasure"))]
    stop: FeedStop,
    #[cfg(feature = "erasure")]
    feeds: Arc<Feeds>,
    /// Lets the model begin again when somebody is forgotten.
    #[cfg(feature = "erasure")]
    _purge: Arc<Purge>,
}

impl Drop for Running {
    fn drop(&mut self) {
        #[cfg(not(feature = "erasure"))]
        self.stop.stop();
        #[cfg(feature = "erasure")]
        self.feeds.end();
    }
}

impl<M> Clone for ReadModelHandle<M> {
    fn clone(&self) -> ReadModelHandle<M> {
        ReadModelHandle {
            shared: Arc::clone(&self.shared),
            running: Arc::clone(&self.running),
            open: self.open.clone(),
        }
    }
}

impl<M: ReadModel> ReadModelHandle<M> {
    #[cfg(feature = "async")]
    pub(crate) fn log_handle(&self) -> &LogHandle {
        &self.open
    }

    #[cfg(feature = "async")]
    pub(crate) fn progress(&self) -> &Progress {
        &self.shared.progress
    }

    /// Starts an empty model, which catches up in the background.
    pub(crate) fn start(log: LogHandle, projections: &Projections) -> Result<ReadModelHandle<M>> {
        log.log().refuse_if_closed()?;
        let stop = FeedStop::new(Arc::clone(log.log()));
        let start = Position::START;
        let feed = Feed::start(&stop, "filmstrip-read", start, M::filter())?;
        let progress = Progress::new(format!("read model {}", type_name::<M>()), start);
        progress.follow(&stop);
        let (model, progress) = (Readable::new(M::default()), Arc::new(progress));
        projections.add_model(&progress);
        #[cfg(feature = "erasure")]
        let feeds = Arc::new(Feeds::new(stop));
        let running = Running {
            #[cfg(not(feature = "erasure"))]
            stop,
            #[cfg(feature = "erasure")]
            _purge: purge(&log, &feeds, &progress),
            #[cfg(feature = "erasure")]
            feeds: Arc::clone(&feeds),
        };
        let running = Arc::new(running);
        let shared = Shared {
            model,
            progress,
            #[cfg(feature = "erasure")]
            feeds,
        };
        let shared = Arc::new(shared);
        let its_shared = Arc::clone(&shared);
        let its_log = Arc::clone(log.log());
        log.log().spawn("filmstrip-model", move || its_shared.run(&its_log, feed))?;
        Ok(ReadModelHandle { shared, running, open: log })
    }

    /// Reads the model as it is between two batches of events. Keep the read short: while it lasts, nothing is applied.
    /// The rules of [`View::read`](crate::View::read) apply.
    ///
    /// # Errors
    /// [`Faulted`](ErrorKind::Faulted) if `apply` failed or panicked; errors of reading the log. Within a model's own
    /// `apply` it is [`WouldDeadlock`](ErrorKind::WouldDeadlock), and within that of another model that would have to
    /// wait for this one, [`Timeout`](ErrorKind::Timeout).
    pub fn read<R>(&self, read: impl FnOnce(&M) -> R) -> Result<R> {
        self.open.log().owner.check()?;
        let model = self.shared.model.try_read().map_err(unreadable::<M>)?;
        match self.shared.progress.ended() {
            // After the store is closed, the model is consistent and can be read.
            Some(why) if why.kind() != ErrorKind::Closed => Err(why),
            _ => Ok(read(&model)),
        }
    }

    /// Returns the position up to which everything is in the model.
    #[must_use]
    pub fn position(&self) -> Position {
        self.shared.progress.position()
    }

    /// Waits until everything up to `position` is in the model.
    ///
    /// # Errors
    /// [`Timeout`](ErrorKind::Timeout); at once [`Faulted`](ErrorKind::Faulted) or [`Closed`](ErrorKind::Closed) if it
    /// will not get there.
    pub fn wait_for(&self, position: Position, timeout: Duration) -> Result<()> {
        self.shared.progress.wait_for(position, timeout)
    }
}

impl<M: ReadModel> Shared<M> {
    fn run(&self, log: &Arc<Log>, feed: Feed) {
        if let Err(cause) = catch(|| self.follow(log, feed)) {
            let who = type_name::<M>();
            let message = format!("the thread of read model {who} panicked: {cause}");
            self.progress.end(Error::new(ErrorKind::Panicked, message));
        }
    }

    fn follow(&self, log: &Arc<Log>, mut feed: Feed) {
        while let Some(batch) = self.next(log, &mut feed) {
            if let Err(error) = batch.and_then(|batch| self.apply(log, &batch)) {
                self.progress.end(error.clone());
                if error.kind() != ErrorKind::Closed {
                    tracing::error!(%error, "a read model has stopped");
                }
                return;
            }
        }
        self.progress.close();
    }

    fn apply(&self, log: &Log, batch: &Batch) -> Result<()> {
        // A reader may be closing the store and waiting for this thread.
        let mut model = self.model.change(|| log.refuse_if_closed().err())?;
        for event in &batch.events {
            let _handling = Handling::begin(event);
            let applied = catch(|| apply(&mut *model, event));
            let applied = applied.unwrap_or_else(|cause| Err(panicked::<M>(event, &cause)));
            if let Err(error) = applied {
                // Set the end under the lock, so that nobody reads a half-applied event.
                let woken = self.progress.end_within(error.clone());
                drop(model);
                woken.wake();
                return Err(error);
            }
        }
        drop(model);
        #[cfg(feature = "erasure")]
        self.feeds.advance(&self.progress, batch.until);
        #[cfg(not(feature = "erasure"))]
        self.progress.advance(batch.until);
        Ok(())
    }

    /// The next batch.
    #[cfg(not(feature = "erasure"))]
    #[inline]
    fn next(&self, _: &Arc<Log>, feed: &mut Feed) -> Option<Result<Batch>> {
        feed.next()
    }

    /// The next batch: of `feed`, or of the one that takes its place when somebody is forgotten.
    #[cfg(feature = "erasure")]
    fn next(&self, log: &Arc<Log>, feed: &mut Feed) -> Option<Result<Batch>> {
        loop {
            if let Some(batch) = feed.next() {
                if batch
                    .iter()
                    .flat_map(|batch| &batch.events)
                    .any(|event| event.key_id().is_some())
                {
                    self.feeds.note_private();
                }
                return Some(batch);
            }
            let stop = FeedStop::new(Arc::clone(log));
            let from = self.feeds.next(&stop, &self.progress)?;
            match self.begin_again(log, &stop, from) {
                Ok(next) => *feed = next,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    #[cfg(feature = "erasure")]
    fn begin_again(&self, log: &Log, stop: &FeedStop, from: Position) -> Result<Feed> {
        if from == Position::START {
            *self.model.change(|| log.refuse_if_closed().err())? = M::default();
        }
        let feed = Feed::start(stop, "filmstrip-read", from, M::filter())?;
        self.progress.follow(stop);
        Ok(feed)
    }
}

/// Lets the model begin again when somebody is forgotten.
#[cfg(feature = "erasure")]
fn purge(log: &LogHandle, feeds: &Arc<Feeds>, progress: &Arc<Progress>) -> Arc<Purge> {
    let (feeds, progress) = (Arc::clone(feeds), Arc::clone(progress));
    let purge: Arc<Purge> = Arc::new(move || feeds.begin_again(&progress));
    log.log().privacy.when_forgetting(&purge);
    purge
}

fn apply<M: ReadModel>(model: &mut M, event: &RecordedEvent) -> Result<()> {
    model.apply(event).map_err(|cause| {
        let cause = told::by_handler(cause);
        let message = stopped_at::<M>(event, &cause.to_string());
        Error::with_source(ErrorKind::Faulted, message, cause)
    })
}

fn panicked<M>(event: &RecordedEvent, cause: &Panicked) -> Error {
    let message = stopped_at::<M>(event, &format!("it panicked: {cause}"));
    Error::new(ErrorKind::Faulted, message)
}

fn stopped_at<M>(event: &RecordedEvent, cause: &str) -> String {
    let (who, at, kind) = (type_name::<M>(), event.position, &event.event_type);
    format!("read model {who} stopped at position {at}, event {kind}: {cause}")
}

fn unreadable<M>(why: Unreadable) -> Error {
    let who = type_name::<M>();
    match why {
        Unreadable::ChangedHere => {
            let message = format!("read model {who} is read within its own `apply`");
            Error::new(ErrorKind::WouldDeadlock, message)
        }
        Unreadable::Crossed => {
            let message = format!(
                "read model {who} is read within the `apply` of another, and is itself being changed; \
                 they may wait for each other"
            );
            Error::new(ErrorKind::Timeout, message)
        }
    }
}
