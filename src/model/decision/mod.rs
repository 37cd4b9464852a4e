//! Decisions that depend on events of several streams, found by a filter.
//!
//! * What was read and what the commit's condition is about are the same filter and the same position: the head, taken
//!   before anything is read.
//! * After a conflict the model goes on from there. It is never shown an event twice.
//! * A command id is a tag of the events that answer it, and a condition of their commit.

pub(crate) mod boundary;
pub(crate) mod outcome;
pub(crate) mod run;
mod spans;

use crate::model::decision::boundary::Boundary;
use crate::model::event_set::set::Event;
use crate::value::filter::Filter;

/// A decision that depends on events of several streams: what it needs to know, and what follows from that.
///
/// [`Store::decide`](crate::Store::decide) computes the model from the events that are recorded, lets the decision
/// decide, and records its events, unless another writer has recorded an event meanwhile that the model would have
/// been shown. Then the model goes on with that event, and the decision decides again.
///
/// What belongs to one stream is an [`Aggregate`](crate::Aggregate), which is cheaper. The book explains
/// [when to use which](crate::book::decisions).
///
/// ```
/// use filmstrip::{DecideError, Decision, DecisionModel, Event, Filter, Store};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// enum CustomerEvent {
///     Registered { customer: String, email: String },
/// }
///
/// impl Event for CustomerEvent {
///     fn tags(&self) -> Vec<String> {
///         let CustomerEvent::Registered { email, .. } = self;
///         vec![format!("email:{email}")]
///     }
/// }
///
/// /// Whether somebody has this address.
/// struct Taken {
///     email: String,
///     is_taken: bool,
/// }
///
/// impl DecisionModel for Taken {
///     type Event = CustomerEvent;
///
///     fn filter(&self) -> Filter {
///         Filter::tag(format!("email:{}", self.email))
///     }
///
///     fn evolve(&mut self, CustomerEvent::Registered { .. }: &CustomerEvent) {
///         self.is_taken = true;
///     }
/// }
///
/// #[derive(Debug, PartialEq)]
/// struct AddressTaken;
/// # impl std::fmt::Display for AddressTaken {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("taken") }
/// # }
/// # impl std::error::Error for AddressTaken {}
///
/// struct Register {
///     customer: String,
///     email: String,
/// }
///
/// impl Decision for Register {
///     type Model = Taken;
///     type Event = CustomerEvent;
///     type Error = AddressTaken;
///
///     fn model(&self) -> Taken {
///         Taken { email: self.email.clone(), is_taken: false }
///     }
///
///     fn decide(&self, taken: &Taken) -> Result<Vec<CustomerEvent>, AddressTaken> {
///         if taken.is_taken {
///             return Err(AddressTaken);
///         }
///         let (customer, email) = (self.customer.clone(), self.email.clone());
///         Ok(vec![CustomerEvent::Registered { customer, email }])
///     }
///
///     fn stream(&self, _: &CustomerEvent) -> String {
///         format!("Customer-{}", self.customer)
///     }
/// }
///
/// let store = Store::temporary()?;
/// let register = |customer: &str| Register { customer: customer.into(), email: "a@b.example".into() };
/// assert_eq!(store.decide(&register("1"))?.events.len(), 1);
/// assert!(matches!(store.decide(&register("2")), Err(DecideError::Rejected(AddressTaken))));
/// # Ok::<(), filmstrip::Error>(())
/// ```
pub trait Decision {
    /// What it needs to know: a [`DecisionModel`](crate::DecisionModel), or a tuple of up to 8.
    type Model: Boundary;
    /// The events that it decides.
    type Event: Event;
    /// The reason for which it rejects.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the model before the first event. The filters of its parts say what the decision depends on.
    fn model(&self) -> Self::Model;

    /// Returns the events that follow: none, one, or several that become durable together. It must be pure: after a
    /// conflict it runs again on the model with the newer events.
    ///
    /// # Errors
    /// The reason to reject. Then nothing is written.
    fn decide(&self, model: &Self::Model) -> Result<Vec<Self::Event>, Self::Error>;

    /// Returns the name of the stream to which `event`, one that was decided, is appended, whatever the stream's
    /// version is. A decision may write to several streams; in the global order the events of one come after those of
    /// another, in the order in which the streams were named first.
    fn stream(&self, event: &Self::Event) -> String;

    /// Returns which new events forbid what was decided, if these are fewer than the model is shown. For example, a
    /// withdrawal that is covered is not forbidden by further deposits. By default (`None`) it is every event that the
    /// model would be shown.
    ///
    /// The filter must accept only events that the model is shown too: it is they that change what is decided after a
    /// conflict. One that accepts another event is refused with [`InvalidInput`](crate::ErrorKind::InvalidInput) when
    /// such an event is met.
    fn unless(&self, model: &Self::Model) -> Option<Filter> {
        let _ = model;
        None
    }
}
