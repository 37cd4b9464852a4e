//! What an event set is, and what is stored of an event.

use crate::value::error::{Error, ErrorKind, HandlerError, Result};
use crate::value::event::EventType;
use crate::value::json;
use crate::value::json::told::Told;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::type_name;

/// The kinds of events that something consists of: a plain enum with serde's derives.
///
/// The name of a variant, as serde knows it, is the event type; its content is the payload, as JSON.
/// `rename`, `rename_all`, `alias`, `flatten` and `other` work as they do everywhere. What an event
/// set may not be is what could be written and not be read back: a struct, an enum with
/// `#[serde(tag)]` or `#[serde(untagged)]`, a variant or field with `skip_deserializing`. Such a type
/// is refused with [`NotAnEventSet`](ErrorKind::NotAnEventSet) before its first event is appended.
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
    /// The schema version that events of this type are written with, and the newest one that this
    /// program can read. A stored event above it is [`NewerSchema`](ErrorKind::NewerSchema).
    #[must_use]
    fn schema_version(event_type: &str) -> u16 {
        let _ = event_type;
        1
    }

    /// Brings an event that an older program has stored to its present form.
    ///
    /// Every stored event passes here before it is decoded, present ones too; nothing is parsed
    /// unless you do. What comes out changed passes again, until it comes out with the type and
    /// schema version that it went in with, so each step may go from one version to the next.
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
    /// Whatever stands in the way; the event then does not decode, and its reader gets the cause.
    fn upcast(old: StoredEvent) -> Result<StoredEvent, HandlerError> {
        Ok(old)
    }

    /// The types that `upcast` turns into present ones and that no variant or alias names.
    ///
    /// A filter made of this event set asks the store for them too.
    #[must_use]
    fn former_types() -> &'static [&'static str] {
        &[]
    }
}

/// What a stored event says apart from its place: what an [upcaster](Event::upcast) may change.
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
    /// What kind of event it is.
    pub event_type: EventType,
    /// The version of its payload's schema.
    pub schema_version: u16,
    /// The payload, shared with the event that it came from.
    pub payload: Bytes,
}

impl StoredEvent {
    /// A stored event with this payload.
    pub fn new(
        event_type: impl Into<EventType>,
        schema_version: u16,
        payload: impl Into<Bytes>,
    ) -> StoredEvent {
        StoredEvent { event_type: event_type.into(), schema_version, payload: payload.into() }
    }

    /// A stored event whose payload is `data` as JSON.
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

    /// The payload, read as JSON.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the payload is not JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.payload).map_err(|cause| {
            let (event_type, wanted) = (&self.event_type, type_name::<T>());
            let cause = Told::from(cause);
            let message = format!("event {event_type} does not read as {wanted}: {cause}");
            Error::with_source(ErrorKind::InvalidInput, message, cause)
        })
    }
}

/// The error for an event that cannot be written.
pub(super) fn not_writable(what: impl std::fmt::Display, cause: serde_json::Error) -> Error {
    let cause = Told::from(cause);
    let message = format!("event {what} cannot be written as JSON: {cause}");
    Error::with_source(ErrorKind::InvalidInput, message, cause)
}
