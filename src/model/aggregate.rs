//! Aggregates: state that is computed from events and decides on commands.
//!
//! They are pure: nothing in this module knows that a store exists.

use crate::model::envelope::Envelope;
use crate::model::event_set;
use crate::model::event_set::set::Event;
use crate::value::error::{Error, Result};
use crate::value::filter::Filter;
use crate::value::stream::{StreamId, is_category};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Decides on commands. Its state is folded from its own events, and from nothing else.
///
/// Each instance has a stream of its own, `CATEGORY-id`. [`Repository`](crate::Repository) loads it, calls `decide`,
/// and appends the events, unless another writer was faster.
///
/// ```
/// use filmstrip::{Aggregate, Event, Store};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Clone)]
/// struct Account {
///     balance: u64,
/// }
///
/// enum Command {
///     Deposit(u64),
///     Withdraw(u64),
/// }
///
/// #[derive(Clone, Serialize, Deserialize)]
/// enum AccountEvent {
///     Deposited { amount: u64 },
///     Withdrawn { amount: u64 },
/// }
/// impl Event for AccountEvent {}
///
/// #[derive(Debug)]
/// struct Overdrawn;
/// impl std::fmt::Display for Overdrawn {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str("the account does not hold that much")
///     }
/// }
/// impl std::error::Error for Overdrawn {}
///
/// impl Aggregate for Account {
///     const CATEGORY: &'static str = "Account";
///     type Command = Command;
///     type Event = AccountEvent;
///     type Error = Overdrawn;
///
///     fn decide(&self, command: &Command) -> Result<Vec<AccountEvent>, Overdrawn> {
///         match *command {
///             Command::Deposit(amount) => Ok(vec![AccountEvent::Deposited { amount }]),
///             Command::Withdraw(amount) if amount > self.balance => Err(Overdrawn),
///             Command::Withdraw(amount) => Ok(vec![AccountEvent::Withdrawn { amount }]),
///         }
///     }
///
///     fn evolve(&mut self, event: &AccountEvent) {
///         match event {
///             AccountEvent::Deposited { amount } => self.balance += amount,
///             AccountEvent::Withdrawn { amount } => self.balance -= amount,
///         }
///     }
/// }
///
/// let store = Store::temporary()?;
/// let accounts = store.repository::<Account>();
/// accounts.execute("a", &Command::Deposit(50))?;
/// let done = accounts.execute("a", &Command::Withdraw(20))?;
/// assert_eq!(done.state.balance, 30);
/// assert!(accounts.execute("a", &Command::Withdraw(31)).is_err());
/// # Ok::<(), filmstrip::Error>(())
/// ```
pub trait Aggregate: Default + Clone + Send + 'static {
    /// The category of its streams: the part of their names before the `-`. It must not contain a `-` or a control
    /// character, or begin with `$`; this is checked at compile time.
    const CATEGORY: &'static str;

    /// The commands that it decides on.
    type Command: Send + 'static;
    /// The events of its streams.
    type Event: Event;
    /// The reason for which it rejects a command.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the events that the command leads to in this state: none, one, or several that become durable together.
    /// It must be pure: after a conflict it runs again on the newer state.
    ///
    /// # Errors
    /// The aggregate's reason to reject the command. Then nothing is written.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Applies an event to the state. It cannot fail: what has happened is not refused.
    fn evolve(&mut self, event: &Self::Event);

    /// Applies an event to the state, and sees also its id, its place, its times and its metadata. This is what the
    /// store calls; by default it calls [`evolve`](Aggregate::evolve).
    ///
    /// ```
    /// # use filmstrip::{Aggregate, Event, Store};
    /// # use filmstrip::repository::Envelope;
    /// # use filmstrip::chrono::{DateTime, Utc};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Clone, Serialize, Deserialize)]
    /// enum DoorEvent {
    ///     Opened,
    /// }
    /// # impl Event for DoorEvent {}
    ///
    /// #[derive(Default, Clone)]
    /// struct Door {
    ///     opened_at: Option<DateTime<Utc>>,
    /// }
    ///
    /// impl Aggregate for Door {
    ///     # const CATEGORY: &'static str = "Door";
    ///     # type Command = ();
    ///     # type Event = DoorEvent;
    ///     # type Error = std::convert::Infallible;
    ///     # fn decide(&self, (): &()) -> Result<Vec<DoorEvent>, Self::Error> { Ok(vec![DoorEvent::Opened]) }
    ///     fn evolve(&mut self, _: &DoorEvent) {}
    ///
    ///     fn evolve_at(&mut self, DoorEvent::Opened: &DoorEvent, envelope: &Envelope<'_>) {
    ///         self.opened_at = Some(envelope.recorded_at());
    ///     }
    /// }
    ///
    /// let store = Store::temporary()?;
    /// let opened = store.repository::<Door>().execute("1", &())?;
    /// assert_eq!(opened.state.opened_at, opened.recorded_at);
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    fn evolve_at(&mut self, event: &Self::Event, envelope: &Envelope<'_>) {
        let _ = envelope;
        self.evolve(event);
    }
}

/// An aggregate whose state can be kept as a snapshot, so that loading it need not replay its whole stream.
///
/// The state is kept as JSON, matched by field name. Before a snapshot is kept, it is read back and compared with the
/// state, by everything that serde writes of the two. If they differ, no snapshot is kept, and loading replays the
/// stream. One reason is a `Some(None)` in the state, which JSON cannot distinguish from `None`. Fields that serde does
/// not write, such as those with `#[serde(skip)]`, are not compared.
pub trait Snapshot: Aggregate + Serialize + DeserializeOwned {
    /// The version of the state's meaning. A snapshot with another number is ignored, and the stream is replayed. So
    /// change the number whenever `evolve`, `upcast` or the state's fields change.
    const SCHEMA: u32;

    /// Returns whether `read_back`, which was read from this state's JSON, is this state.
    ///
    /// By default (`None`), filmstrip compares what serde writes of the two. That is not enough for a state with
    /// `#[serde(untagged)]`, `#[serde(tag)]` or `#[serde(flatten)]` anywhere in it, because two variants of an untagged
    /// enum may be written alike: no snapshots are kept of such a state unless this method says that it reads back
    /// unchanged.
    ///
    /// ```
    /// # use filmstrip::{Aggregate, Event, Snapshot};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Clone, Serialize, Deserialize)]
    /// # enum Seen { Seen }
    /// # impl Event for Seen {}
    /// #[derive(Default, Clone, PartialEq, Serialize, Deserialize)]
    /// #[serde(tag = "state")]
    /// enum Door {
    ///     #[default]
    ///     Open,
    ///     Locked { by: String },
    /// }
    /// # impl Aggregate for Door {
    /// #     const CATEGORY: &'static str = "Door";
    /// #     type Command = ();
    /// #     type Event = Seen;
    /// #     type Error = std::convert::Infallible;
    /// #     fn decide(&self, (): &()) -> Result<Vec<Seen>, Self::Error> { Ok(vec![]) }
    /// #     fn evolve(&mut self, _: &Seen) {}
    /// # }
    ///
    /// impl Snapshot for Door {
    ///     const SCHEMA: u32 = 1;
    ///
    ///     fn is_same(&self, read_back: &Door) -> Option<bool> {
    ///         Some(self == read_back)
    ///     }
    /// }
    /// ```
    #[must_use]
    fn is_same(&self, read_back: &Self) -> Option<bool> {
        let _ = read_back;
        None
    }
}

impl Filter {
    /// Accepts the events of one kind of aggregate: those of its event set, in the streams of its category.
    ///
    /// [`and_event_type`](Filter::and_event_type) narrows it to the named types;
    /// [`and_aggregate`](Filter::and_aggregate) and [`and_category`](Filter::and_category) widen it.
    ///
    /// ```
    /// # use filmstrip::{Aggregate, Event, Filter};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Clone, Serialize, Deserialize)]
    /// enum OrderEvent {
    ///     Placed,
    ///     Cancelled,
    /// }
    /// # impl Event for OrderEvent {}
    /// # #[derive(Default, Clone)]
    /// # struct Order;
    /// impl Aggregate for Order {
    ///     const CATEGORY: &'static str = "Order";
    ///     type Event = OrderEvent;
    ///     // …
    /// #   type Command = ();
    /// #   type Error = std::convert::Infallible;
    /// #   fn decide(&self, _: &()) -> Result<Vec<OrderEvent>, Self::Error> { Ok(vec![]) }
    /// #   fn evolve(&mut self, _: &OrderEvent) {}
    /// }
    ///
    /// let filter = Filter::aggregate::<Order>();
    /// assert!(filter.wants("Order-1", "Cancelled"));
    /// // An event type of another kind of aggregate may have the same name.
    /// assert!(!filter.wants("Shipment-1", "Cancelled"));
    /// ```
    pub fn aggregate<A: Aggregate>() -> Filter {
        Filter::all().and_aggregate::<A>()
    }

    /// Adds the events of another kind of aggregate, as an alternative to the categories that are accepted. If there
    /// are none yet, it narrows the filter: `Filter::of::<E>().and_aggregate::<A>()` accepts only what both accept.
    pub fn and_aggregate<A: Aggregate>(self) -> Filter {
        check_category::<A>();
        match event_set::types_to_filter_by::<A::Event>() {
            Ok(types) => self.with_category(A::CATEGORY.to_owned(), Some(types)),
            Err(error) => self.unusable(error.kind(), error.to_string()),
        }
    }
}

const fn check_category<A: Aggregate>() {
    const {
        assert!(
            is_category(A::CATEGORY),
            "CATEGORY must not be empty, hold a '-' or a control character, or begin with '$'"
        );
    }
}

/// The stream of the aggregate `id`.
pub(crate) fn stream_of<A: Aggregate>(id: &str) -> Result<StreamId> {
    check_category::<A>();
    stream_in(A::CATEGORY, id)
}

/// The stream of the instance `id` in `category`, which must be a valid category.
pub(crate) fn stream_in(category: &str, id: &str) -> Result<StreamId> {
    if id.is_empty() {
        let message =
            format!("an id in the category {category} is empty; it needs at least 1 byte");
        return Err(Error::invalid(message));
    }
    StreamId::new(format!("{category}-{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_is_what_a_stream_name_can_begin_with() {
        for good in ["Customer", "customer order", "Größe", "a$", "A.b/c", "\u{A0}"] {
            assert!(is_category(good), "{good:?}");
            let stream = StreamId::new(format!("{good}-1-2")).unwrap();
            assert_eq!(stream.category(), good);
        }
        for bad in ["", "$x", "a-b", "-", "a\nb", "\u{7F}", "a\u{80}", "\u{9F}b"] {
            assert!(!is_category(bad), "{bad:?}");
        }
    }
}
