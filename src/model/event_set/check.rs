//! Before a variant is appended for the first time: does it read back?
//!
//! The first event of each variant is read back in full, wherever a field may hide, and so is the first
//! one that writes a field of the variant's own which those before it left out; after that, only its name
//! is looked up. What can be left out further within is left to the tests that `testing::round_trips`
//! makes easy.

use crate::error::{Error, ErrorKind, Result};
use crate::model::event_set::joined::Joined;
use crate::model::event_set::set::Event;
use crate::model::event_set::shape;
use crate::model::event_set::split::{Parts, split};
use parking_lot::RwLock;
use serde_ignored::Path;
use serde_json::Value;
use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The variants that have been found to read back, and with which of their fields.
static CHECKED: LazyLock<RwLock<HashMap<(TypeId, &'static str), u64>>> =
    LazyLock::new(RwLock::default);

/// Refuses an event that was split into `parts` and `payload` and cannot be joined again.
pub(super) fn before_first_append<E: Event>(parts: Parts, payload: &[u8]) -> Result<()> {
    let Parts { variant, written } = parts;
    let key = (TypeId::of::<E>(), variant);
    if CHECKED.read().get(&key).is_some_and(|checked| written & !checked == 0) {
        return Ok(());
    }
    is_read::<E>(variant)?;
    let back: E = read_back(variant, payload)?;
    is_the_same(&back, variant, payload)?;
    *CHECKED.write().entry(key).or_default() |= written;
    Ok(())
}

fn is_read<E: Event>(variant: &str) -> Result<()> {
    let read = shape::variants::<E>()?;
    if read.contains(&variant) {
        return Ok(());
    }
    Err(refused::<E>(
        variant,
        format_args!(
            "is written under a name that is not read (skip_deserializing, or a rename of one \
             direction?); read are {}",
            read.join(", ")
        ),
    ))
}

fn read_back<E: Event>(variant: &str, payload: &[u8]) -> Result<E> {
    let mut ignored = Vec::new();
    let joined = Joined { event_type: variant, payload, content_must_be_read: true };
    let back = serde_ignored::deserialize(joined, |path| ignored.push(name(&path)))
        .map_err(|cause| refused::<E>(variant, format_args!("does not read back: {cause}")))?;
    if ignored.is_empty() {
        return Ok(back);
    }
    let fields = ignored.join(", ");
    let what = format_args!("writes fields that it does not read (skip_deserializing?): {fields}");
    Err(refused::<E>(variant, what))
}

fn name(path: &Path<'_>) -> String {
    match path {
        Path::Map { key, .. } => key.clone(),
        other => other.to_string(),
    }
}

/// What was read back, written again, must say the same.
fn is_the_same<E: Event>(back: &E, variant: &str, payload: &[u8]) -> Result<()> {
    let mut again = Vec::new();
    let same = split(back, &mut again).is_ok_and(|parts| parts.variant == variant)
        && (again == payload || canonical(&again) == canonical(payload));
    if same {
        return Ok(());
    }
    let (written, read) = (String::from_utf8_lossy(payload), String::from_utf8_lossy(&again));
    let what = format_args!("is written as {written} and reads back as {read}");
    Err(refused::<E>(variant, what))
}

/// A JSON value without the order of its parts, which sets and maps do not keep.
fn canonical(json: &[u8]) -> Option<Value> {
    serde_json::from_slice(json).ok().map(sorted)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(values) => {
            let mut values: Vec<Value> = values.into_iter().map(sorted).collect();
            values.sort_by_cached_key(Value::to_string);
            Value::Array(values)
        }
        Value::Object(fields) => fields.into_iter().map(|(key, v)| (key, sorted(v))).collect(),
        other => other,
    }
}

fn refused<E: Event>(variant: &str, what: std::fmt::Arguments<'_>) -> Error {
    let set = type_name::<E>();
    let message = format!("{set} cannot be an event set: its variant {variant} {what}");
    Error::new(ErrorKind::NotAnEventSet, message)
}
