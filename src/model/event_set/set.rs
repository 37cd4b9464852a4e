//! Event sets, and the stored parts of an event.

use crate::value::error::{Error, ErrorKind, HandlerError, Result};
use crate::value::event::EventType;
#[cfg(feature = "erasure")]
use crate::value::event::RecordedEvent;
use crate::value::json;
use crate::value::json::told::Told;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::type_name;

/// A set of event types: a plain enum with serde's derives.
///
/// The name of a variant, as serde knows it, is the event type; its content is the payload, as JSON. `rename`,
/// `rename_all`, `alias`, `flatten` and `other` work as they do everywhere. A type that could be written but not read
/// back is not an event set: a struct, an enum with `#[serde(tag)]` or `#[serde(untagged)]`, a variant or field with
/// `skip_deserializing`. Such a type is refused with [`NotAnEventSet`](ErrorKind::NotAnEventSet) before its first event
/// is appended.
///
/// Every event is read back before it is appended. A single value that would not read back, or would read
/// back as something else, is refused with [`InvalidInput`](ErrorKind::InvalidInput).
///
/// ```
/// use filmstrip::{Event, NewEvent, Store};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// enum DoorEvent {
///     Opened { by: String },
///     Closed,
/// }
/// impl Event for DoorEvent {}
///
/// let store = Store::temporary()?;
/// let opened = DoorEvent::Opened { by: "Alice".into() };
/// store.append("Door-1", filmstrip::ExpectedVersion::Any, [NewEvent::of(&opened)?])?;
/// let stored = store.read_stream("Door-1").iter()?.next().expect("one event")?;
/// assert_eq!(stored.event_type, "Opened");
/// assert_eq!(stored.decode::<DoorEvent>()?, opened);
/// # Ok::<(), filmstrip::Error>(())
/// ```
pub trait Event: Serialize + DeserializeOwned + Clone + Send + 'static {
    /// Returns the schema version with which events of this type are written, which is also the newest one that this
    /// program can read. A stored event with a higher one is [`NewerSchema`](ErrorKind::NewerSchema).
    #[must_use]
    fn schema_version(event_type: &str) -> u16 {
        let _ = event_type;
        1
    }

    /// Converts an event that an older program stored to its current form.
    ///
    /// Every stored event passes through this before it is decoded, current ones too; nothing is parsed unless you do.
    /// A changed event passes again, until its type and schema version come out unchanged, so each step may go from one
    /// version to the next.
    ///
    /// ```
    /// use filmstrip::repository::StoredEvent;
    /// use filmstrip::{Event, HandlerError};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Clone, Serialize, Deserialize)]
    /// enum CustomerEvent {
    ///     Registered { first_name: String, last_name: String },
    /// }
    ///
    /// impl Event for CustomerEvent {
    ///     fn schema_version(_event_type: &str) -> u16 {
    ///         2
    ///     }
    ///
    ///     fn upcast(old: StoredEvent) -> Result<StoredEvent, HandlerError> {
    ///         match (&*old.event_type, old.schema_version) {
    ///             ("Registered", 1) => {
    ///                 let mut fields: serde_json::Value = old.json()?;
    ///                 let name = fields["name"].as_str().ok_or("no name")?.to_owned();
    ///                 let (first, last) = name.split_once(' ').unwrap_or((&name, ""));
    ///                 fields["first_name"] = first.into();
    ///                 fields["last_name"] = last.into();
    ///                 Ok(StoredEvent::json_of("Registered", 2, &fields)?)
    ///             }
    ///             _ => Ok(old),
    ///         }
    ///     }
    /// }
    ///
    /// let stored = StoredEvent::json_of("Registered", 1, &serde_json::json!({"name": "Ada King"}))?;
    /// let CustomerEvent::Registered { last_name, .. } = stored.decode()?;
    /// assert_eq!(last_name, "King");
    /// # Ok::<(), filmstrip::Error>(())
    /// ```
    ///
    /// # Errors
    /// Any error: the event then does not decode, and its reader gets the cause.
    fn upcast(old: StoredEvent) -> Result<StoredEvent, HandlerError> {
        Ok(old)
    }

    /// Returns the [tags](crate::NewEvent::tag) with which this event is recorded: the names of what it is about
    /// besides its stream. It is asked when the event is made to be appended; a stored event keeps its tags.
    ///
    /// ```
    /// use filmstrip::{Event, NewEvent};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Clone, Serialize, Deserialize)]
    /// enum Enrolment {
    ///     Subscribed { course: String, student: String },
    /// }
    ///
    /// impl Event for Enrolment {
    ///     fn tags(&self) -> Vec<String> {
    ///         let Enrolment::Subscribed { course, student } = self;
    ///         vec![format!("course:{course}"), format!("student:{student}")]
    ///     }
    /// }
    /// ```
    #[must_use]
    fn tags(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the [data subject](crate::NewEvent::private) whom this event is about, which makes it private; `None`,
    /// the default, if it is about nobody. It is asked when the event is made to be appended. Needs the feature
    /// `erasure`.
    ///
    /// ```
    /// use filmstrip::{Event, RecordedEvent};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Clone, Serialize, Deserialize)]
    /// enum OrderEvent {
    ///     Placed { items: u32 },
    ///     AddressGiven { customer: String, address: String },
    /// }
    ///
    /// impl Event for OrderEvent {
    ///     fn subject(&self) -> Option<String> {
    ///         match self {
    ///             OrderEvent::Placed { .. } => None,
    ///             OrderEvent::AddressGiven { customer, .. } => Some(format!("customer-{customer}")),
    ///         }
    ///     }
    ///
    ///     fn erased(event: &RecordedEvent) -> Option<OrderEvent> {
    ///         let (customer, address) = (String::new(), String::new());
    ///         (event.event_type == "AddressGiven")
    ///             .then_some(OrderEvent::AddressGiven { customer, address })
    ///     }
    /// }
    /// ```
    #[cfg(feature = "erasure")]
    #[must_use]
    fn subject(&self) -> Option<String> {
        None
    }

    /// Returns what takes the place of an event whose data subject was forgotten: `event` has its type, schema version,
    /// stream, version, tags and times, and no payload. Upcasters are not called, so this is an event in its current
    /// form. With `None`, the default, the event does not decode, and its reader gets
    /// [`Erased`](ErrorKind::Erased): an aggregate does not load, and a projection fails. So give each type of private
    /// event something in its place. Needs the feature `erasure`.
    #[cfg(feature = "erasure")]
    #[must_use]
    fn erased(event: &RecordedEvent) -> Option<Self> {
        let _ = event;
        None
    }

    /// Returns the types that `upcast` converts to current ones and that no variant or alias names.
    ///
    /// A filter made from this event set accepts them too.
    #[must_use]
    fn former_types() -> &'static [&'static str] {
        &[]
    }
}

/// The parts of a stored event that an [upcaster](Event::upcast) may change.
///
/// ```
/// use filmstrip::repository::StoredEvent;
/// let mut stored = StoredEvent::json_of("Opened", 1, &"by Alice")?;
/// stored.event_type = "DoorOpened".into();
/// assert_eq!(stored.json::<String>()?, "by Alice");
/// # Ok::<(), filmstrip::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// The event's type.
    pub event_type: EventType,
    /// The version of its payload's schema.
    pub schema_version: u16,
    /// The payload, shared with the event that it came from.
    pub payload: Bytes,
}

impl StoredEvent {
    /// Makes a stored event with this payload.
    pub fn new(
        event_type: impl Into<EventType>,
        schema_version: u16,
        payload: impl Into<Bytes>,
    ) -> StoredEvent {
        StoredEvent { event_type: event_type.into(), schema_version, payload: payload.into() }
    }

    /// Makes a stored event whose payload is `data` as JSON.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if `data` cannot be written as JSON.
    pub fn json_of(
        event_type: impl Into<EventType>,
        schema_version: u16,
        data: &impl Serialize,
    ) -> Result<StoredEvent> {
        let event_type = event_type.into();
        let payload = json::to_vec(data).map_err(|cause| not_writable(&event_type, cause))?;
        Ok(StoredEvent::new(event_type, schema_version, payload))
    }

    /// Decodes the payload as JSON.
    ///
    /// # Errors
    /// [`Undecodable`](ErrorKind::Undecodable) if the payload is not JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.payload).map_err(|cause| {
            let (event_type, wanted) = (&self.event_type, type_name::<T>());
            let cause = Told::from(cause);
            let message = format!("event {event_type} does not decode as {wanted}: {cause}");
            Error::with_source(ErrorKind::Undecodable, message, cause)
        })
    }
}

/// The error for an event that cannot be written.
pub(super) fn not_writable(what: impl std::fmt::Display, cause: serde_json::Error) -> Error {
    let cause = Told::from(cause);
    let message = format!("event {what} cannot be written as JSON: {cause}");
    Error::with_source(ErrorKind::InvalidInput, message, cause)
}
