//! Consumer groups: several consumers that share the events of a subscription.
//!
//! * Each event is delivered to one consumer at a time, and again until it is finished: at least
//!   once.
//! * The cursor never passes an unfinished event, and is in the journal: a lost index causes no redelivery.
//! * When an acknowledgement returns, it is durable.

pub(crate) mod consumer;
mod durable_state;
mod feeding;
pub(crate) mod ledger;
pub(crate) mod registry;
mod running;
mod standing;
pub(crate) mod status;

#[cfg(test)]
mod tests;

use crate::codec::group::Shelf;
use crate::follow::group::registry::{Described, Groups, shelved};
use crate::follow::parked::Parked;
use crate::follow::subscription::SubscriptionBuilder;
use crate::log::commit::encoded::check_name;
use crate::log::handle::LogHandle;
use crate::value::callback;
use crate::value::error::{Error, Result};
use crate::value::limits::{DELIVERIES_DEFAULT, REDELIVER_AFTER_DEFAULT};
use crate::value::position::Position;
use consumer::Consumer;
use ledger::Settings;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Describes a consumer of a group; see [`SubscriptionBuilder::group`].
///
/// The subscription's settings are the group's: its filter, which is fixed when the group is first started; the
/// position after which the group begins at that first start; and its buffer, which is the number of unfinished events
/// that the group holds. All consumers of a group that run at the same time must have the same settings.
#[must_use = "a consumer begins with `start`"]
pub struct GroupBuilder {
    subscription: SubscriptionBuilder,
    name: String,
    redeliver_after: Duration,
    attempts: u32,
    in_stream_order: bool,
}

impl SubscriptionBuilder {
    /// Makes a consumer of the group `name`. Its consumers share these events and one durable cursor: each event is
    /// delivered to one of them, and again if it was not handled.
    pub fn group(self, name: impl Into<String>) -> GroupBuilder {
        GroupBuilder::new(self, name.into())
    }
}

impl GroupBuilder {
    #[cfg(feature = "async")]
    pub(crate) fn log_handle(&self) -> &LogHandle {
        &self.subscription.log
    }

    fn new(subscription: SubscriptionBuilder, name: String) -> GroupBuilder {
        GroupBuilder {
            subscription,
            name,
            redeliver_after: REDELIVER_AFTER_DEFAULT,
            attempts: DELIVERIES_DEFAULT,
            in_stream_order: false,
        }
    }

    /// Sets how long a consumer may take to handle an event before it is delivered again, perhaps to another consumer.
    /// The default is 30 s.
    pub fn redeliver_after(mut self, time: Duration) -> GroupBuilder {
        self.redeliver_after = time;
        self
    }

    /// Sets how often an event is delivered before it is parked: at least once, by default 10 times.
    pub fn attempts(mut self, attempts: u32) -> GroupBuilder {
        self.attempts = attempts;
        self
    }

    /// Delivers an event only when all earlier ones of its stream are finished; events of different streams are still
    /// delivered in parallel. A parked event counts as finished.
    pub fn in_stream_order(mut self) -> GroupBuilder {
        self.in_stream_order = true;
        self
    }

    /// Joins the group, which continues at its cursor.
    ///
    /// # Errors
    /// Those of [`SubscriptionBuilder::start`]; also [`InvalidInput`](crate::ErrorKind::InvalidInput) for an invalid
    /// name, for a filter that is not the group's, or settings that are not those of its running consumers;
    /// [`Replica`](crate::ErrorKind::Replica) on a replica, because a group writes; and errors of making a new group
    /// durable.
    pub fn start(self) -> Result<Consumer> {
        let GroupBuilder { subscription, name, redeliver_after, attempts, in_stream_order } = self;
        check_name("a group's", &name)?;
        if attempts == 0 || redeliver_after.is_zero() {
            let message = format!(
                "a group delivers an event {attempts} times and again after {redeliver_after:?}; \
                 each must be more than 0"
            );
            return Err(Error::invalid(message));
        }
        subscription.check()?;
        let SubscriptionBuilder { log, groups, options, buffer, .. } = subscription;
        let settings = Settings {
            unfinished_max: buffer,
            redeliver_after,
            attempts_max: attempts,
            in_stream_order,
        };
        let after = Position::new(options.after);
        let described = Described { name: &name, filter: &options.filter, after, settings };
        let group = log.log().at_one_time(|| groups.join(&log, &described))?;
        Ok(Consumer::new(log, groups, name, group))
    }
}

/// A handle to inspect and manage a consumer group; see [`Store::group`](crate::Store::group).
///
/// ```
/// use filmstrip::group::Nack;
/// use filmstrip::{ExpectedVersion, NewEvent, Position, Store};
/// let store = Store::temporary()?;
/// store.append("Order-1", ExpectedVersion::Any, [NewEvent::json("Placed", &())?])?;
///
/// let mut mailer = store.subscribe().category("Order").group("mailer").start()?;
/// let delivery = mailer.next().expect("an order was placed")?;
/// delivery.nack(Nack::Park)?; // nobody can be reached
/// assert_eq!(store.group("mailer").parked()?.len(), 1);
/// assert_eq!(store.group("mailer").cursor()?, Position::new(1));
///
/// store.group("mailer").replay_parked()?; // now somebody can
/// let again = mailer.next().expect("the order is tried again")?;
/// assert_eq!(again.event.position, Position::new(1));
/// again.ack()?;
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[derive(Clone)]
pub struct ConsumerGroup {
    log: LogHandle,
    groups: Arc<Groups>,
    name: String,
}

impl ConsumerGroup {
    #[cfg(feature = "async")]
    pub(crate) fn log_handle(&self) -> &LogHandle {
        &self.log
    }

    pub(crate) fn new(log: LogHandle, groups: Arc<Groups>, name: String) -> ConsumerGroup {
        ConsumerGroup { log, groups, name }
    }

    /// Returns the group's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the position up to which everything is finished, parked, or not wanted; the start if the group was never
    /// started.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an invalid name; [`Closed`](crate::ErrorKind::Closed).
    pub fn cursor(&self) -> Result<Position> {
        self.check()?;
        self.log.log().at_one_time(|| self.groups.cursor(self.log.log(), &self.name))
    }

    /// Returns the parked events, in order.
    ///
    /// # Errors
    /// Those of [`cursor`](ConsumerGroup::cursor).
    pub fn parked(&self) -> Result<Vec<Parked>> {
        self.check()?;
        let parked = shelved(self.log.log(), &self.name, Shelf::Parked)?.into_iter();
        parked.map(|(position, record)| Parked::new(Position::new(position), record)).collect()
    }

    /// Delivers each parked event again, to a consumer that runs now or later, as if for the first time.
    ///
    /// # Errors
    /// Those of [`cursor`](ConsumerGroup::cursor), and errors of writing.
    pub fn replay_parked(&self) -> Result<()> {
        self.check()?;
        self.log.log().at_one_time(|| self.groups.replay_parked(&self.log, &self.name))
    }

    /// Discards the parked events: they will not be delivered again.
    ///
    /// # Errors
    /// Those of [`cursor`](ConsumerGroup::cursor), and errors of writing.
    pub fn discard_parked(&self) -> Result<()> {
        self.check()?;
        self.log.log().at_one_time(|| self.groups.discard_parked(&self.log, &self.name))
    }

    /// Removes the group's durable state. If the group is started again, it starts from scratch.
    ///
    /// # Errors
    /// [`AlreadyRunning`](crate::ErrorKind::AlreadyRunning) if it has consumers; those of
    /// [`cursor`](ConsumerGroup::cursor), and errors of writing.
    pub fn remove(&self) -> Result<()> {
        self.check()?;
        self.log.log().at_one_time(|| self.groups.remove(&self.log, &self.name))
    }

    fn check(&self) -> Result<()> {
        check_name("a group's", &self.name)?;
        callback::refuse_if_commits_wait("a call of a group")?;
        self.log.log().refuse_if_closed()
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { unfinished_max, redeliver_after, attempts_max, in_stream_order } = self;
        let order = if *in_stream_order { ", in stream order" } else { "" };
        write!(
            f,
            "a buffer of {unfinished_max}, redelivery after {redeliver_after:?}, {attempts_max} \
             attempts{order}"
        )
    }
}
