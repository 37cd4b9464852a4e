//! A consumer of a group as a stream.

use crate::aio::store::run;
use crate::follow::group::consumer;
use crate::follow::group::ledger::Nack;
use crate::follow::group::{ConsumerGroup, GroupBuilder};
use crate::follow::stopper::Stopper;
use crate::log::handle::LogHandle;
use crate::telemetry::context::{Cause, Handling};
use crate::value::error::Result;
use crate::value::position::Position;
use futures_core::Stream;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

impl GroupBuilder {
    /// Joins the group as a stream of deliveries, for tasks, instead of [`start`](GroupBuilder::start).
    ///
    /// If the future is dropped before its turn on the pool, the consumer has not joined. If it is dropped later, the
    /// consumer has joined and left.
    ///
    /// # Errors
    /// Those of [`start`](GroupBuilder::start).
    pub async fn into_stream(self) -> Result<Consumer> {
        let log = self.log_handle().clone();
        // Made on the pool, so that one whose future is dropped also leaves on the pool.
        let join = |log: LogHandle| Ok(Consumer { consumer: Some(self.start()?), log });
        run(&log.clone(), move || join(log)).await?
    }
}

/// A consumer of a group: a [`Stream`] of the events delivered to it, which is pending until there is one. See
/// [`group::Consumer`](crate::group::Consumer).
///
/// Dropping it leaves the group: events that were delivered to it and are not finished are delivered again.
#[must_use = "a stream does nothing unless it is polled"]
pub struct Consumer {
    /// `None` only while it is dropped.
    consumer: Option<consumer::Consumer>,
    log: LogHandle,
}

impl Consumer {
    /// Returns a handle that ends this consumer from elsewhere. Its task is woken.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.consumer().stopper()
    }

    fn consumer(&self) -> &consumer::Consumer {
        self.consumer.as_ref().expect("it is not being dropped")
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.consumer().poll_next(context.waker());
        let delivery = |inner| Delivery { inner: Some(inner), log: self.log.clone() };
        polled.map(|item| item.map(|delivered| delivered.map(delivery)))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // The last consumer to leave writes the group's cursor.
        let consumer = self.consumer.take();
        let engine = self.log.engine();
        engine.pool.detach(engine.log(), move || drop(consumer));
    }
}

/// An event that was delivered to a consumer: it [dereferences](Deref) to a
/// [`group::Delivery`](crate::group::Delivery), with the event and the number of the attempt.
///
/// If it is dropped unanswered, the event is delivered again at once.
#[must_use = "an event that is not acknowledged is delivered again"]
pub struct Delivery {
    /// `None` once it is answered, or while it is dropped.
    inner: Option<consumer::Delivery>,
    log: LogHandle,
}

impl Delivery {
    /// Runs `work`, which handles the event, as [`handle`](crate::group::Delivery::handle) does: the commands that it
    /// executes itself are caused by the event. Those of other tasks that it spawns are not. A task needs this for each
    /// delivery, because its thread also runs other tasks.
    pub fn handle<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let (cause, mut work) = (Cause::of(&self.event), Box::pin(work));
        poll_fn(move |context| {
            let _handling = Handling::of(cause);
            work.as_mut().poll(context)
        })
    }

    /// Marks the event as handled; returns when that is durable. See [`ack`](crate::group::Delivery::ack).
    ///
    /// If the future is dropped before its turn on the pool, the event is delivered again. If it is dropped later, the
    /// event is acknowledged.
    pub async fn ack(self) -> Result<()> {
        let log = self.log.clone();
        run(&log, move || self.into_inner().ack()).await?
    }

    /// Marks the event as not handled; see [`nack`](crate::group::Delivery::nack).
    ///
    /// If the future is dropped before its turn on the pool, the event is delivered again at once. If it is dropped
    /// later, the `nack` is completed.
    pub async fn nack(self, nack: Nack) -> Result<()> {
        let log = self.log.clone();
        run(&log, move || self.into_inner().nack(nack)).await?
    }

    fn into_inner(mut self) -> consumer::Delivery {
        self.inner.take().expect("it was not answered")
    }
}

impl Deref for Delivery {
    type Target = consumer::Delivery;

    fn deref(&self) -> &consumer::Delivery {
        self.inner.as_ref().expect("it was not answered")
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            let engine = self.log.engine();
            engine.pool.detach(engine.log(), move || drop(inner));
        }
    }
}

/// A handle of a consumer group's cursor and parked events, for tasks; see [`ConsumerGroup`].
#[derive(Clone)]
pub struct Group(ConsumerGroup);

impl ConsumerGroup {
    /// Returns the same handle for tasks.
    #[must_use]
    pub fn aio(&self) -> Group {
        Group(self.clone())
    }
}

impl Group {
    /// Returns the group's cursor; see [`ConsumerGroup::cursor`].
    pub async fn cursor(&self) -> Result<Position> {
        self.run(ConsumerGroup::cursor).await
    }

    /// Returns the parked events; see [`ConsumerGroup::parked`].
    pub async fn parked(&self) -> Result<Vec<crate::follow::parked::Parked>> {
        self.run(ConsumerGroup::parked).await
    }

    /// Delivers the parked events again; see [`ConsumerGroup::replay_parked`].
    pub async fn replay_parked(&self) -> Result<()> {
        self.run(|group| group.replay_parked().map(drop)).await
    }

    /// Discards the parked events; see [`ConsumerGroup::discard_parked`].
    pub async fn discard_parked(&self) -> Result<()> {
        self.run(|group| group.discard_parked().map(drop)).await
    }

    /// Removes the group; see [`ConsumerGroup::remove`].
    pub async fn remove(&self) -> Result<()> {
        self.run(|group| group.remove().map(drop)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ConsumerGroup) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let group = self.0.clone();
        run(self.0.log_handle(), move || work(&group)).await?
    }
}
