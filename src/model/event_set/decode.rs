//! Decodes a stored event: upcasts it until it no longer changes, and then deserialises it.

use crate::model::event_set::joined::{self, Failure};
use crate::model::event_set::set::{Event, StoredEvent};
use crate::model::event_set::shape;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::json::told;
use crate::value::limits::UPCASTS_MAX;
use std::any::type_name;
use std::fmt;

/// Decodes `stored`; `place` says in error messages where it is stored.
pub(super) fn decode<E: Event>(stored: StoredEvent, place: &dyn fmt::Display) -> Result<E> {
    let stored = upcast::<E>(stored, place)?;
    if stored.schema_version > E::schema_version(&stored.event_type) {
        refuse_newer::<E>(&stored, place)?;
    }
    joined::join(&stored.event_type, &stored.payload)
        .map_err(|failure| not_readable::<E>(failure, &stored, place))
}

/// Passes `stored` through the set's upcaster until its type and version no longer change.
fn upcast<E: Event>(mut stored: StoredEvent, place: &dyn fmt::Display) -> Result<StoredEvent> {
    for _ in 0..UPCASTS_MAX {
        let (event_type, schema_version) = (stored.event_type.clone(), stored.schema_version);
        stored = E::upcast(stored).map_err(|cause| {
            let set = type_name::<E>();
            let cause = told::by_handler(cause);
            let message = format!("{place} is refused by the upcaster of {set}: {cause}");
            Error::with_source(ErrorKind::Undecodable, message, cause)
        })?;
        if stored.schema_version == schema_version && stored.event_type == event_type {
            return Ok(stored);
        }
    }
    Err(Error::new(
        ErrorKind::Undecodable,
        format!(
            "{place} goes round in circles in the upcaster of {}: it is {} of schema version {} \
             after {UPCASTS_MAX} steps",
            type_name::<E>(),
            stored.event_type,
            stored.schema_version,
        ),
    ))
}

/// Refuses a newer schema version. A type that the set does not know is not newer but unknown, and a variant with
/// `other` may accept it.
fn refuse_newer<E: Event>(stored: &StoredEvent, place: &dyn fmt::Display) -> Result<()> {
    if !shape::variants::<E>()?.contains(&stored.event_type.as_str()) {
        return Ok(());
    }
    let known = E::schema_version(&stored.event_type);
    let message = format!(
        "{place} has schema version {} of {}; {} knows versions up to {known}",
        stored.schema_version,
        stored.event_type,
        type_name::<E>(),
    );
    Err(Error::new(ErrorKind::NewerSchema, message))
}

fn not_readable<E: Event>(
    failure: Failure,
    stored: &StoredEvent,
    place: &dyn fmt::Display,
) -> Error {
    let (event_type, set) = (&stored.event_type, type_name::<E>());
    match failure {
        Failure::NoEnum(met) => shape::not_a_set::<E>(&met),
        Failure::UnknownVariant(expected) => Error::new(
            ErrorKind::UnknownEventType,
            format!(
                "{place} is of type {event_type}, which {set} does not know; it knows {expected}"
            ),
        ),
        Failure::Json(cause) => Error::with_source(
            ErrorKind::Undecodable,
            format!(
                "{place} does not decode as {event_type} of {set}: {cause} (schema version {})",
                stored.schema_version
            ),
            cause,
        ),
        cause @ (Failure::Other(_) | Failure::Content) => Error::new(
            ErrorKind::Undecodable,
            format!("{place} does not decode as {event_type} of {set}: {cause}"),
        ),
    }
}
