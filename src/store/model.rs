//! The store's side of the model: where aggregates, views, read models and processes get its log.

use crate::model::aggregate::Aggregate;
use crate::model::decision::Decision;
use crate::model::decision::outcome::{DecideError, Decided};
use crate::model::decision::run::DecisionBuilder;
use crate::model::process::builder::ProcessBuilder;
use crate::model::process::contract::ProcessManager;
use crate::model::projection::ProjectionBuilder;
use crate::model::projection::contract::Projection;
use crate::model::read_model::{ReadModel, ReadModelHandle};
use crate::model::relay::builder::RelayBuilder;
use crate::model::relay::target::RelayTarget;
use crate::model::repository::Repository;
use crate::model::repository::outcome::ExecuteError;
use crate::model::transaction::outcome::Transacted;
use crate::model::transaction::{Transaction, TransactionBuilder};
use crate::store::Store;
use crate::value::error::Result;
use crate::value::event::Metadata;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Store {
    /// Makes a repository for the aggregates of one kind. Each call makes one with a cache of its own, so keep it or
    /// its clones.
    #[must_use]
    pub fn repository<A: Aggregate>(&self) -> Repository<A> {
        Repository::new(self.log.clone())
    }

    /// Runs `closure`, in which several aggregates decide, and makes everything that they decided durable in one
    /// commit, or nothing of it.
    ///
    /// Each aggregate that the closure asks for is as the last one before it has left it, and nobody else changes it
    /// until this is recorded; otherwise the closure runs again on the newer states, up to 3 times
    /// ([`transaction`](Store::transaction) sets another number). So it must be pure, like
    /// [`decide`](Aggregate::decide). Its error ends it, and nothing is written.
    ///
    /// All events get this metadata. With a `command_id` the transaction runs at most once, even across restarts: sent
    /// again, it returns what it recorded, but not what its closure returned. It is recognised by any stream that it
    /// wrote to, as soon as its closure asks for that one again. So let the closure ask first for a stream to which it
    /// always writes.
    ///
    /// ```
    /// # use filmstrip::{Aggregate, Event, Metadata, Store};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone, Serialize, Deserialize)]
    /// # enum Changed { Changed(i64) }
    /// # impl Event for Changed {}
    /// # #[derive(Debug)]
    /// # struct Overdrawn;
    /// # impl std::fmt::Display for Overdrawn {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("overdrawn") }
    /// # }
    /// # impl std::error::Error for Overdrawn {}
    /// # #[derive(Default, Clone)]
    /// # struct Account { balance: i64 }
    /// # impl Aggregate for Account {
    /// #     const CATEGORY: &'static str = "Account";
    /// #     type Command = i64;
    /// #     type Event = Changed;
    /// #     type Error = Overdrawn;
    /// #     fn decide(&self, by: &i64) -> Result<Vec<Changed>, Overdrawn> {
    /// #         if self.balance + by < 0 { Err(Overdrawn) } else { Ok(vec![Changed::Changed(*by)]) }
    /// #     }
    /// #     fn evolve(&mut self, Changed::Changed(by): &Changed) { self.balance += by; }
    /// # }
    /// let store = Store::temporary()?;
    /// store.repository::<Account>().execute("a", &50)?;
    /// let transfer = |amount: i64| {
    ///     store.transact(Metadata::default(), |tx| -> filmstrip::Result<i64> {
    ///         tx.execute::<Account>("b", &amount)?;
    ///         Ok(tx.execute::<Account>("a", &-amount)?.state.balance)
    ///     })
    /// };
    /// assert_eq!(transfer(30)?.outcome, Some(20));
    /// assert!(transfer(30).is_err());
    /// assert_eq!(store.repository::<Account>().load("b")?.state.balance, 30);
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Rejected`](ExecuteError::Rejected): the closure returned this error; nothing was written.
    /// * [`Conflict`](ExecuteError::Conflict): each run met a conflict; nothing was written.
    /// * [`Store`](ExecuteError::Store): see there. An error of the store within the closure is returned as this one,
    ///   whatever the closure makes of it.
    pub fn transact<T, E>(
        &self,
        metadata: Metadata,
        closure: impl FnMut(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<Transacted<T>, ExecuteError<E>> {
        self.transaction().run(metadata, closure)
    }

    /// Describes how transactions run that need other settings than those of [`transact`](Store::transact).
    pub fn transaction(&self) -> TransactionBuilder {
        TransactionBuilder::new(self.log.clone(), Arc::clone(&self.parts.kinds))
    }

    /// Runs a decision that depends on events of several streams: computes its model from the events that its filter
    /// accepts, up to the present head, lets it decide, and makes its events durable, all or none, unless another
    /// writer has recorded such an event since. Then the model is shown the new ones only, and it is decided again, up
    /// to 3 times ([`decision`](Store::decision) sets another number).
    ///
    /// A decision of no events writes nothing. What is returned, and what is rejected, was decided on everything that
    /// was durable when it was decided; see [`Decision`] for an example.
    ///
    /// # Errors
    /// * [`Rejected`](DecideError::Rejected): the decision rejected it; nothing was written.
    /// * [`Conflict`](DecideError::Conflict): each attempt met a conflict; nothing was written.
    /// * [`Store`](DecideError::Store): see there. [`InvalidInput`](crate::ErrorKind::InvalidInput) for a filter that
    ///   cannot be used, the name of a stream, or a tag; errors of decoding an event.
    pub fn decide<D: Decision>(
        &self,
        decision: &D,
    ) -> Result<Decided<D::Event>, DecideError<D::Error>> {
        self.decision(decision).run()
    }

    /// Describes how a decision runs that needs metadata, or other settings than those of [`decide`](Store::decide).
    ///
    /// ```
    /// # use filmstrip::{Decision, DecisionModel, Event, Filter, Store};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone, Serialize, Deserialize)]
    /// # enum InvoiceEvent { Issued { number: u64 } }
    /// # impl Event for InvoiceEvent {}
    /// # struct Last(u64);
    /// # impl DecisionModel for Last {
    /// #     type Event = InvoiceEvent;
    /// #     fn filter(&self) -> Filter { Filter::event_type("Issued") }
    /// #     fn evolve(&mut self, InvoiceEvent::Issued { number }: &InvoiceEvent) { self.0 = *number; }
    /// # }
    /// # struct Issue;
    /// # impl Decision for Issue {
    /// #     type Model = Last;
    /// #     type Event = InvoiceEvent;
    /// #     type Error = std::convert::Infallible;
    /// #     fn model(&self) -> Last { Last(0) }
    /// #     fn decide(&self, last: &Last) -> Result<Vec<InvoiceEvent>, Self::Error> {
    /// #         Ok(vec![InvoiceEvent::Issued { number: last.0 + 1 }])
    /// #     }
    /// #     fn stream(&self, InvoiceEvent::Issued { number }: &InvoiceEvent) -> String {
    /// #         format!("Invoice-{number}")
    /// #     }
    /// # }
    /// use filmstrip::{Metadata, uuid::Uuid};
    ///
    /// let store = Store::temporary()?;
    /// let order = Metadata::default().command_id(Uuid::now_v7()).user("alice");
    /// let first = store.decision(&Issue).metadata(order.clone()).retries(10).run()?;
    /// // Sent again, it is not recorded again.
    /// let again = store.decision(&Issue).metadata(order).run()?;
    /// assert!(!first.already_executed && again.already_executed);
    /// assert_eq!(again.event_ids, first.event_ids);
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    pub fn decision<'a, D: Decision>(&self, decision: &'a D) -> DecisionBuilder<'a, D> {
        DecisionBuilder::new(self.log.clone(), decision)
    }

    /// Starts a model in memory that is computed from the whole log and then follows it. This returns at once;
    /// [`wait_for`](ReadModelHandle::wait_for) the [`head`](Store::head) if the model must be complete.
    ///
    /// # Errors
    /// [`Closed`](crate::ErrorKind::Closed), or the error of starting a thread.
    pub fn read_model<M: ReadModel>(&self) -> Result<ReadModelHandle<M>> {
        ReadModelHandle::start(self.log.clone(), &self.parts.projections)
    }

    /// Describes a durable view that follows the log; see [`Projection`].
    pub fn project<P: Projection>(&self, projection: P) -> ProjectionBuilder<P> {
        ProjectionBuilder::new(self.log.clone(), Arc::clone(&self.parts.projections), projection)
    }

    /// Removes a projection's view and everything else that is stored for it. Does nothing if there is no projection of
    /// this name.
    ///
    /// # Errors
    /// [`AlreadyRunning`](crate::ErrorKind::AlreadyRunning) if it has not been
    /// [stopped](crate::projection::ProjectionHandle::stop); errors of writing.
    pub fn remove_projection(&self, name: &str) -> Result<()> {
        self.parts.projections.remove(name)
    }

    /// Describes a process manager that follows the log; see [`ProcessManager`].
    pub fn process<M: ProcessManager>(&self) -> ProcessBuilder<M> {
        ProcessBuilder::new(self.log.clone(), Arc::clone(&self.parts.processes))
    }

    /// Describes a relay: a thread that sends the store's events to another system, in order, each exactly once if the
    /// target keeps [its side](RelayTarget) of it. Where it begins is what the target holds. Private events are sent
    /// sealed.
    ///
    /// It writes nothing to the store, so it runs on a [replica](crate::replica) too. One relay may send to a target:
    /// stop it at the source before it is started at the replica.
    ///
    /// The crate `filmstrip-nats` has a target for NATS JetStream, and `filmstrip-cloudevents` one for a file. The book
    /// says [when to use a relay](crate::book::relays).
    pub fn relay<T: RelayTarget>(&self, target: T) -> RelayBuilder<T> {
        RelayBuilder::new(self.log.clone(), Arc::clone(&self.parts.relays), target)
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
            let has_processes = self.parts.processes.settle(left())?;
            // One that was at rest may have got to do since, from another.
            if !has_processes || self.head() == head {
                return self.parts.projections.wait_for_all(head, left());
            }
        }
    }
}
