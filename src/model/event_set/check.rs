//! Checks, before an event is appended, that it reads back unchanged.
//!
//! Each event is decoded from its stored form, exactly as a load does it, and compared. Whether a type can read a
//! value may depend on the value itself, such as a key of a flattened map that a user chose. So the first event of a
//! variant proves nothing for the next one; see docs/decisions/0012.
//!
//! The first event of each variant, and the first one that writes a field which earlier ones left out, is also
//! searched for fields that are written and not read. A type with such a field is not an event set, even if this
//! value happens to be the field's default.

use crate::model::event_set::decode::decode;
use crate::model::event_set::joined::{Joined, join};
use crate::model::event_set::set::{Event, StoredEvent};
use crate::model::event_set::shape;
use crate::model::event_set::split::Parts;
use crate::model::readback;
use crate::value::error::{Error, ErrorKind, Result};
use crate::value::event::EventType;
use crate::value::failpoint::failpoint;
use bytes::Bytes;
use parking_lot::RwLock;
use serde_ignored::Path;
use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::sync::LazyLock;

/// The variants of which an event was read back, with the fields that were written.
static SEEN: LazyLock<RwLock<HashMap<(TypeId, &'static str), u64>>> =
    LazyLock::new(RwLock::default);

/// Reads back `event`, which was split into `parts` and `payload`, and returns the result. Refuses the event if it is
/// not the same.
pub(super) fn before_append<E: Event>(event: &E, parts: Parts, payload: &Bytes) -> Result<E> {
    let Parts { variant, written } = parts;
    let key = (TypeId::of::<E>(), variant);
    let seen = SEEN.read().get(&key).copied();
    let is_new = seen.is_none_or(|seen| written & !seen != 0);
    if is_new {
        is_read::<E>(variant)?;
        everything_is_read::<E>(variant, payload)?;
    }
    let back = read_back(event, variant, payload).map_err(|what| match seen {
        None => refused::<E>(variant, &what),
        // Earlier events of the variant did read back, so the reason is this value.
        Some(_) => {
            let set = type_name::<E>();
            Error::invalid(format!("an event {variant} of {set} cannot be stored: it {what}"))
        }
    })?;
    if is_new {
        *SEEN.write().entry(key).or_default() |= written;
    }
    Ok(back)
}

fn is_read<E: Event>(variant: &str) -> Result<()> {
    let read = shape::variants::<E>()?;
    if read.contains(&variant) {
        return Ok(());
    }
    let what = format_args!(
        "is written under a name that is not read (skip_deserializing, or a rename of one \
         direction?); read are {}",
        read.join(", ")
    );
    Err(refused::<E>(variant, &what))
}

fn everything_is_read<E: Event>(variant: &str, payload: &[u8]) -> Result<()> {
    let mut ignored = Vec::new();
    let joined = Joined { event_type: variant, payload, content_must_be_read: true };
    serde_ignored::deserialize::<_, _, E>(joined, |path| ignored.push(name(&path)))
        .map_err(|cause| refused::<E>(variant, &format_args!("does not read back: {cause}")))?;
    if ignored.is_empty() {
        return Ok(());
    }
    let fields = ignored.join(", ");
    let what = format_args!("writes fields that it does not read (skip_deserializing?): {fields}");
    Err(refused::<E>(variant, &what))
}

fn name(path: &Path<'_>) -> String {
    match path {
        Path::Map { key, .. } => key.clone(),
        _ => "an element".to_owned(),
    }
}

/// Why a load would not return the event that is to be stored.
enum NotReadBack {
    Refused(Error),
    /// The difference.
    Differs(String),
}

impl Display for NotReadBack {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            NotReadBack::Refused(cause) => write!(f, "does not read back: {cause}"),
            NotReadBack::Differs(how) => write!(f, "does not read back as the same: {how}"),
        }
    }
}

/// The event as a load would return it, if that is the same event. The set's upcaster may change it on purpose, as in
/// a program that still writes an older form.
fn read_back<E: Event>(
    event: &E,
    variant: &'static str,
    payload: &Bytes,
) -> Result<E, NotReadBack> {
    let schema_version = E::schema_version(variant);
    let event_type = EventType::from_static(variant);
    let stored = StoredEvent { event_type, schema_version, payload: payload.clone() };
    let back = decode(stored, &"it").map_err(NotReadBack::Refused)?;
    match readback::difference(event, &back) {
        _ if failpoint!("model::keep_what_reads_back_as_another") => Ok(back),
        None => Ok(back),
        Some(difference) => match join::<E>(variant, payload) {
            Ok(as_stored) if readback::difference(event, &as_stored).is_none() => Ok(back),
            _ => Err(NotReadBack::Differs(difference)),
        },
    }
}

fn refused<E: Event>(variant: &str, what: &dyn Display) -> Error {
    let set = type_name::<E>();
    let message = format!("{set} cannot be an event set: its variant {variant} {what}");
    Error::new(ErrorKind::NotAnEventSet, message)
}
