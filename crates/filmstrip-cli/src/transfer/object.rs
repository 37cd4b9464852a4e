//! A JSON object of another system, taken apart field by field.

use crate::fault::Fault;
use filmstrip::Metadata;
use filmstrip::chrono::{DateTime, NaiveDateTime, Utc};
use filmstrip::uuid::Uuid;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The fields that were not taken yet.
pub(super) struct Object<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Object<'a>, Fault> {
        let fields = serde_json::from_str(text);
        fields.map(Object).map_err(|error| Fault::bad(format!("it is not a JSON object: {error}")))
    }

    /// Takes a field; `null` is none.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name).filter(|value| value.get() != "null")
    }

    /// Takes a field, also if it is `null`.
    pub(super) fn take_any(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name)
    }

    /// Takes the first of these fields that is there.
    pub(super) fn take_first(&mut self, names: &[&str]) -> Option<&'a RawValue> {
        names.iter().find_map(|name| self.take(name))
    }

    /// Takes the first of these fields that is there, which is a text, a number or a truth value.
    pub(super) fn text(&mut self, names: &[&str]) -> Result<Option<String>, Fault> {
        self.take_first(names).map(|value| text(value, names[0])).transpose()
    }

    /// The same for a field that must be there.
    pub(super) fn needed(&mut self, names: &[&str]) -> Result<String, Fault> {
        self.text(names)?.ok_or_else(|| Fault::bad(format!("the field {:?} is missing", names[0])))
    }

    /// Looks at a field.
    pub(super) fn peek(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|value| value.get() != "null")
    }

    pub(super) fn into_rest(self) -> impl Iterator<Item = (String, &'a RawValue)> {
        self.0.into_iter().filter(|(_, value)| value.get() != "null")
    }
}

/// The text of a value that has no parts.
pub(super) fn text(value: &RawValue, name: &str) -> Result<String, Fault> {
    let json = value.get();
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json)
            .map_err(|error| Fault::bad(format!("the field {name:?} is no text: {error}"))),
        Some(b'{' | b'[') => Err(Fault::bad(format!(
            "the field {name:?} must be a text or a number; it is an object or an array"
        ))),
        _ => Ok(json.to_owned()),
    }
}

/// A value as an entry of an event's metadata: a text as it is, everything else as JSON.
pub(super) fn entry(value: &RawValue) -> String {
    serde_json::from_str::<String>(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

/// A number that counts something.
pub(super) fn number(text: &str, name: &str) -> Result<u64, Fault> {
    text.parse().map_err(|_| {
        Fault::bad(format!("the field {name:?} must be a number from 0 on; it is {text:?}"))
    })
}

/// A time with its zone, or one without, which is in UTC: `2025-11-27T14:00:00.123Z`, `2025-11-27 14:00:00.123+01`.
pub(super) fn time(text: &str, name: &str) -> Result<DateTime<Utc>, Fault> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, form) {
            return Ok(time.to_utc());
        }
    }
    for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
            return Ok(time.and_utc());
        }
    }
    Err(Fault::bad(format!("the field {name:?} must be a time as in RFC 3339; it is {text:?}")))
}

/// The id of an event or a command: a UUID, or the UUID of version 5 of what it is instead, within `space`.
pub(super) fn id(text: &str, space: &str) -> Uuid {
    Uuid::try_parse(text).unwrap_or_else(|_| {
        let space = Uuid::new_v5(&Uuid::NAMESPACE_URL, space.as_bytes());
        Uuid::new_v5(&space, text.as_bytes())
    })
}

/// Adds a correlation or causation id to `metadata`: as such if it is a UUID, and else as an entry with this name.
pub(super) fn link(metadata: &mut Metadata, name: &str, text: String) {
    match (Uuid::try_parse(&text), name) {
        (Ok(id), "correlation_id") => metadata.correlation_id = Some(id),
        (Ok(id), "causation_id") => metadata.causation_id = Some(id),
        _ => drop(metadata.entries.insert(name.to_owned(), text)),
    }
}

/// Refuses JSON that could be recorded and not be read back.
pub(super) fn check_readable(json: &RawValue) -> Result<(), Fault> {
    let read = serde_json::from_str::<Value>(json.get());
    read.map(drop)
        .map_err(|error| Fault::bad(format!("the payload cannot be read back as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_postgres_and_of_rfc_3339_are_read() {
        let expected: DateTime<Utc> = "2025-11-27T14:00:00.123456Z".parse().unwrap();
        for text in [
            "2025-11-27T14:00:00.123456Z",
            "2025-11-27T15:00:00.123456+01:00",
            "2025-11-27T14:00:00.123456",
            "2025-11-27 14:00:00.123456",
            "2025-11-27 15:00:00.123456+01",
            "2025-11-27T09:00:00.123456-0500",
        ] {
            assert_eq!(time(text, "time").unwrap(), expected, "{text}");
        }
        assert!(matches!(time("yesterday", "time"), Err(Fault::Bad(_))));
    }

    #[test]
    fn an_id_that_is_no_uuid_becomes_the_same_uuid_each_time() {
        let uuid = "0197c2a0-7e3c-7cc3-98c4-dc0c0c07398f";
        assert_eq!(id(uuid, "a").to_string(), uuid);
        assert_eq!(id("7", "a"), id("7", "a"));
        assert_ne!(id("7", "a"), id("7", "b"));
    }
}
