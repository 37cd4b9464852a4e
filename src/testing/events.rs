//! Tests of events, as they are stored.

use crate::model::event_set::set::{Event, StoredEvent};
use crate::testing::diff::differ;
use crate::value::event::NewEvent;
use std::fmt::Debug;

/// Expects that `event` is the same after it was stored and read back.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// enum DoorEvent {
///     Opened { by: String },
/// }
/// impl filmstrip::Event for DoorEvent {}
/// filmstrip::testing::round_trips(&DoorEvent::Opened { by: "Alice".into() });
/// ```
///
/// # Panics
/// If it cannot be stored, does not read back, or reads back as something else.
#[track_caller]
pub fn round_trips<E: Event + Debug + PartialEq>(event: &E) {
    let new = match NewEvent::of(event) {
        Ok(new) => new,
        Err(error) => panic!("{event:#?}\ncannot be stored: {error}"),
    };
    let json = String::from_utf8_lossy(&new.payload).into_owned();
    let stored = StoredEvent::new(new.event_type, new.schema_version, new.payload);
    match stored.decode::<E>() {
        Ok(back) if back == *event => {}
        Ok(back) => {
            differ(&format!("stored as {json}, the event reads back changed"), event, &back)
        }
        Err(error) => panic!("{event:#?}\nis stored as {json} and does not read back: {error}"),
    }
}
