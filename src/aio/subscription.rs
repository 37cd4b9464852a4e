//! A subscription as a stream.

use crate::aio::store::run;
use crate::follow::live::taking::{Next, Polled};
use crate::follow::stopper::Stopper;
use crate::follow::subscription::SubscriptionBuilder;
use crate::log::pool::Job;
use crate::value::error::{ErrorKind, Result};
use crate::value::event::RecordedEvent;
use crate::value::position::Position;
use futures_core::Stream;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

impl SubscriptionBuilder {
    /// Starts the subscription as a stream, for tasks, instead of [`start`](SubscriptionBuilder::start). This does not
    /// block.
    ///
    /// # Errors
    /// Those of [`start`](SubscriptionBuilder::start).
    pub fn into_stream(self) -> Result<Subscription> {
        let subscription = self.start()?;
        Ok(Subscription { subscription, catching_up: None, has_failed: false })
    }
}

/// A [`Stream`] of the events of the log, in order, from a position on and without end, which is pending until there is
/// a new one. See [`Subscription`](crate::follow::Subscription).
///
/// It has no thread: the thread that reads for all subscriptions of the store wakes its task. While it lags, it reads
/// on the pool, step by step. It ends when it is stopped, or when the store is closed; an error is its last item.
///
/// Dropping it ends it. A new subscription that starts after its [`position`](Subscription::position) continues it:
/// events that were not returned are not lost.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Subscription {
    subscription: crate::follow::subscription::Subscription,
    catching_up: Option<Job<()>>,
    has_failed: bool,
}

impl Subscription {
    /// Returns the position up to which every event was returned, or is not wanted; see
    /// [`Subscription::position`](crate::follow::Subscription::position).
    #[must_use]
    pub fn position(&self) -> Position {
        self.subscription.position()
    }

    /// Returns a handle that ends this subscription from elsewhere. Its task is woken.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.subscription.stopper()
    }
}

impl Stream for Subscription {
    type Item = Result<RecordedEvent>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<RecordedEvent>>> {
        if self.has_failed {
            return Poll::Ready(None);
        }
        loop {
            if let Some(catching_up) = &mut self.catching_up {
                let caught_up = ready!(Pin::new(catching_up).poll(context));
                self.catching_up = None;
                if let Err(error) = caught_up {
                    self.has_failed = true;
                    let is_closed = error.kind() == ErrorKind::Closed;
                    return Poll::Ready((!is_closed).then_some(Err(error)));
                }
            }
            match self.subscription.poll_next(context.waker()) {
                Polled::Next(Next::Event(event)) => return Poll::Ready(Some(Ok(event))),
                Polled::Next(Next::Failed(error)) => {
                    self.has_failed = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Polled::Next(Next::Ended | Next::TimedOut) => return Poll::Ready(None),
                Polled::Pending => return Poll::Pending,
                Polled::Lags => {
                    let catch_up = self.subscription.catching_up();
                    self.catching_up = Some(run(self.subscription.log_handle(), catch_up));
                }
            }
        }
    }
}
