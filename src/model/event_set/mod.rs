//! Plain serde enums as sets of events.
//!
//! * A value of an externally tagged enum is an event: the variant's serde name is the event type, its content the
//!   JSON payload. `split` serialises them, `joined` deserialises them.
//! * Each event is read back before it is appended (`check`), and refused if it does not read back.
//! * Reading parses the payload once, into the event itself, and allocates nothing for the type.
//! * Every stored event passes through its set's `upcast` before it is decoded.

mod check;
mod decode;
mod joined;
pub(crate) mod set;
mod shape;
mod split;
#[cfg(test)]
mod tests;

use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::{NewEvent, PayloadFormat, RecordedEvent};
use crate::value::filter::Filter;
use bytes::Bytes;
use decode::decode;
use set::{Event, StoredEvent, not_writable};
use std::any::type_name;
use std::fmt;

impl StoredEvent {
    /// Makes the stored form of `event`, as an append would write it.
    ///
    /// # Errors
    /// Those of [`NewEvent::of`].
    pub fn of<E: Event>(event: &E) -> Result<StoredEvent> {
        let (new, _) = write(event)?;
        Ok(StoredEvent::new(new.event_type, new.schema_version, new.payload))
    }

    /// Decodes the event as a store would, upcast first: for tests of an upcaster.
    ///
    /// # Errors
    /// As [`RecordedEvent::decode`].
    pub fn decode<E: Event>(self) -> Result<E> {
        decode(self, &"a stored event")
    }
}

impl NewEvent {
    /// Makes an event to be appended: its type is the variant's name, its payload the variant's content, its tags those
    /// of [`Event::tags`].
    ///
    /// # Errors
    /// * [`NotAnEventSet`](crate::ErrorKind::NotAnEventSet): the type cannot be read back; the message says
    ///   why. Found at the first event of each variant.
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput): this value cannot be written as JSON that reads back as the
    ///   same: a float in it is not finite, a map's key is not a string, it nests deeper than 127, a key of a flattened
    ///   map is also the name of a field, or it holds `Some(None)`, which JSON cannot distinguish from `None`.
    pub fn of<E: Event>(event: &E) -> Result<NewEvent> {
        write(event).map(|(new, _)| new)
    }
}

/// Makes the new event for `event`, and returns it with the event that will be read back.
pub(crate) fn write<E: Event>(event: &E) -> Result<(NewEvent, E)> {
    let mut payload = Vec::with_capacity(128);
    let parts = split::split(event, &mut payload).map_err(|refused| match refused {
        split::Refusal::NoVariant(met) => shape::not_a_set::<E>(met),
        split::Refusal::Json(cause) => not_writable(type_name::<E>(), cause),
    })?;
    let payload = Bytes::from(payload);
    let read_back = check::before_append(event, parts, &payload)?;
    let variant = parts.variant;
    let new = NewEvent::with_payload(variant.to_owned(), PayloadFormat::Json, payload);
    let new = event.tags().into_iter().fold(new, NewEvent::tag);
    #[cfg(feature = "erasure")]
    let new = match event.subject() {
        Some(subject) => new.private(subject),
        None => new,
    };
    Ok((new.schema_version(E::schema_version(variant)), read_back))
}

impl RecordedEvent {
    /// Decodes the event as a value of its event set, upcast first if the set has an upcaster.
    ///
    /// # Errors
    /// * [`UnknownEventType`](crate::ErrorKind::UnknownEventType): the set has no such variant.
    /// * [`NewerSchema`](crate::ErrorKind::NewerSchema): a newer program wrote it.
    /// * [`NotAnEventSet`](crate::ErrorKind::NotAnEventSet): `E` is not an externally tagged enum.
    /// * [`Undecodable`](crate::ErrorKind::Undecodable): the upcaster refused it, or its payload does not fit the
    ///   variant.
    /// * Of a private event, [`Erased`](crate::ErrorKind::Erased), if its subject was forgotten and
    ///   [`Event::erased`] puts nothing in its place; [`KeysUnavailable`](crate::ErrorKind::KeysUnavailable), if its
    ///   key is not at hand.
    pub fn decode<E: Event>(&self) -> Result<E> {
        #[cfg(feature = "erasure")]
        if let Some(error) = self.unreadable() {
            let is_erased = self.format == PayloadFormat::Erased;
            return is_erased.then(|| E::erased(self)).flatten().ok_or(error);
        }
        let stored = StoredEvent {
            event_type: self.event_type.clone(),
            schema_version: self.schema_version,
            payload: self.payload.clone(),
        };
        decode(stored, &Place(self))
    }
}

impl Filter {
    /// Accepts the events of an event set, in streams of any category: its variants, their aliases, and the [former
    /// types](Event::former_types). If the type is not an event set, reading with the filter returns
    /// [`NotAnEventSet`](crate::ErrorKind::NotAnEventSet).
    ///
    /// Events are selected by the names of their types alone: if another category has an event type of the same name,
    /// its events are accepted too, and the first time that two categories are met is logged as a warning. To follow
    /// one kind of aggregate, use [`aggregate`](Filter::aggregate).
    ///
    /// ```
    /// # use filmstrip::{Event, Filter};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Clone, Serialize, Deserialize)]
    /// enum DoorEvent {
    ///     #[serde(alias = "Unlocked")]
    ///     Opened,
    ///     Closed,
    /// }
    /// impl Event for DoorEvent {}
    ///
    /// let filter = Filter::of::<DoorEvent>();
    /// assert!(filter.wants("Door-1", "Closed") && filter.wants("Door-1", "Unlocked"));
    /// assert!(!filter.wants("Door-1", "Painted"));
    /// ```
    pub fn of<E: Event>() -> Filter {
        Filter::all().and_of::<E>()
    }

    /// Adds the events of an event set to those that are accepted.
    pub fn and_of<E: Event>(self) -> Filter {
        match types_to_filter_by::<E>() {
            Ok(types) => self.with_set(type_name::<E>(), types),
            Err(error) => self.unusable(error.kind(), error.to_string()),
        }
    }
}

impl Filter {
    /// Narrows each alternative that names no event types to those of the event set.
    pub(crate) fn within<E: Event>(self) -> Filter {
        match types_to_filter_by::<E>() {
            Ok(types) => self.with_default_types(&types),
            Err(error) => self.unusable(error.kind(), error.to_string()),
        }
    }
}

/// The same names for a filter, which has at least one.
pub(crate) fn types_to_filter_by<E: Event>() -> Result<Vec<String>> {
    let types = stored_types::<E>()?;
    if types.is_empty() {
        let message = format!("{} has no variants to filter by", type_name::<E>());
        return Err(Error::new(ErrorKind::NotAnEventSet, message));
    }
    Ok(types.into_iter().map(str::to_owned).collect())
}

/// The names under which events of `E` may be stored: its variants, their aliases, its former types.
pub(crate) fn stored_types<E: Event>() -> Result<Vec<&'static str>> {
    let variants = shape::variants::<E>()?;
    Ok(variants.iter().chain(E::former_types()).copied().collect())
}

/// The place of a recorded event, for an error's message.
struct Place<'a>(&'a RecordedEvent);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecordedEvent { stream, version, position, .. } = self.0;
        write!(f, "the event at version {version} of {stream} (position {position})")
    }
}
