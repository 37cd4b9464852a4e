//! Checks the deserializer of event sets, with a set that has a variant of every shape.

use crate::model::event_set::set::{Event, StoredEvent};
use crate::value::error::ErrorKind;
use crate::value::event::NewEvent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Shapes {
    Unit,
    Number(f64),
    Text(String),
    #[serde(rename = "anything", alias = "whatever")]
    Value(serde_json::Value),
    Tuple(u8, Option<i128>, char),
    Record {
        #[serde(default)]
        name: String,
        #[serde(flatten)]
        inner: Inner,
    },
    Nested(Inner),
    Map(BTreeMap<u16, Vec<Inner>>),
    #[serde(other)]
    Unknown,
}
impl Event for Shapes {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inner {
    amount: i64,
    #[serde(rename = "kind")]
    of: Option<Kind>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    list: Vec<(bool, f32)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is")]
enum Kind {
    Plain,
    Tagged { at: u64 },
}

const TYPES: [&str; 12] = [
    "unit", "number", "text", "anything", "whatever", "tuple", "record", "nested", "map",
    "unknown", "", "Unit",
];

/// The first byte chooses the event's type; the rest is its payload. A decoded event must be the same after it is
/// written and decoded again. If `serde_json` can read the whole enum, the result must be the same.
pub fn event_set(input: &[u8]) -> bool {
    let Some((choice, payload)) = input.split_first() else { return false };
    let event_type = TYPES[usize::from(*choice) % TYPES.len()];
    let stored = |event_type: &str, payload: Vec<u8>| StoredEvent::new(event_type, 1, payload);
    let decoded = stored(event_type, payload.to_vec()).decode::<Shapes>();
    let whole = [b"{\"", event_type.as_bytes(), b"\":", payload, b"}"].concat();
    if let Ok(expected) = serde_json::from_slice::<Shapes>(&whole) {
        let found = decoded.as_ref().expect("serde_json reads it");
        assert_eq!(*found, expected, "serde_json reads something else");
    }
    let Ok(event) = decoded else { return false };
    match NewEvent::of(&event) {
        Ok(new) => {
            let again = stored(&new.event_type, new.payload.to_vec()).decode::<Shapes>();
            assert_eq!(
                again.expect("what was just written is read"),
                event,
                "it came back changed"
            );
        }
        // An event that nests as deep as can be read may be one level too deep to write.
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}"),
    }
    true
}
