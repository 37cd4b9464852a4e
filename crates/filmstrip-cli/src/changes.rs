//! What each event of a stream changed, as far as its payload says: the fields of all payloads so far, folded by
//! merging, and the difference that the next one makes.

use crate::fault::Fault;
use filmstrip::RecordedEvent;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes of names and values that are held of one stream.
const FIELDS_BYTES_MAX: usize = 64 << 20;

/// The fields of the events so far. Arrays and values that are no objects are one field each.
#[derive(Default)]
pub(crate) struct Fields {
    /// By their paths, in which each name ends in a NUL, the values as JSON.
    values: BTreeMap<String, String>,
    bytes: usize,
}

/// One field that has another value than before, as JSON.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    pub(crate) field: String,
    /// `None`: there was no such field.
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

impl Fields {
    /// Merges the payload of `event`. Returns what that changed; nothing if the payload is not JSON.
    pub(crate) fn merge(&mut self, event: &RecordedEvent) -> Result<Vec<Change>, Fault> {
        let Ok(payload) = serde_json::from_slice::<Value>(&event.payload) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        match payload {
            Value::Null => {}
            Value::Object(_) => flatten(String::new(), &payload, &mut found),
            // A value without a name has that of the event.
            other => flatten(name(&event.event_type), &other, &mut found),
        }
        let mut changes = Vec::new();
        for (path, after) in found {
            self.set(path, after, &mut changes);
        }
        if self.bytes > FIELDS_BYTES_MAX {
            let message = format!(
                "the fields of {} take {} bytes at version {}; at most {FIELDS_BYTES_MAX} are folded",
                event.stream, self.bytes, event.version
            );
            return Err(Fault::bad(message));
        }
        Ok(changes)
    }

    /// The fields with their values as JSON.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (String, &str)> {
        self.values.iter().map(|(path, value)| (shown(path), value.as_str()))
    }

    fn set(&mut self, path: String, after: String, changes: &mut Vec<Change>) {
        if self.values.get(&path) == Some(&after) {
            return;
        }
        // What was within the field, and a value that the field is within now, are replaced.
        let within = self.values.range(path.clone()..).map(|(other, _)| other);
        let within =
            within.take_while(|other| other.starts_with(&path)).filter(|other| **other != path);
        let outer =
            path.match_indices('\0').map(|(at, _)| &path[..=at]).filter(|outer| *outer != path);
        let outer = outer.filter(|outer| self.values.contains_key(*outer));
        let gone: Vec<String> = within.cloned().chain(outer.map(str::to_owned)).collect();
        for path in gone {
            let before = self.remove(&path);
            changes.push(Change { field: shown(&path), before, after: None });
        }
        let before = self.remove(&path);
        changes.push(Change { field: shown(&path), before, after: Some(after.clone()) });
        self.bytes += path.len() + after.len();
        self.values.insert(path, after);
    }

    fn remove(&mut self, path: &str) -> Option<String> {
        let value = self.values.remove(path)?;
        self.bytes -= path.len() + value.len();
        Some(value)
    }
}

fn name(name: &str) -> String {
    // JSON can have a NUL in a name; then two fields may be shown as one.
    format!("{}\0", name.replace('\0', "\u{fffd}"))
}

fn flatten(path: String, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (member, value) in members {
                flatten(format!("{path}{}", name(member)), value, found);
            }
        }
        Value::Object(_) if path.is_empty() => {}
        value => found.push((path, value.to_string())),
    }
}

/// A path as people read it: `address.city`, and `address."a.b"` where a name would be taken for several.
fn shown(path: &str) -> String {
    let is_plain = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-$@".contains(c))
    };
    let names = path.split_terminator('\0').map(|name| match is_plain(name) {
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    });
    names.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use filmstrip::{ExpectedVersion, NewEvent, Store};
    use serde_json::json;

    /// The changes that each of these payloads makes, as `field before after`.
    fn changes_of(payloads: &[Value]) -> Vec<Vec<String>> {
        let store = Store::temporary().unwrap();
        let events = payloads.iter().map(|payload| NewEvent::json("T", payload).unwrap());
        store.append("A-1", ExpectedVersion::NoStream, events).unwrap();
        let mut fields = Fields::default();
        let changes = store.read_stream("A-1").iter().unwrap().map(|event| {
            let changes = fields.merge(&event.unwrap()).unwrap();
            let shown = |value: &Option<String>| value.clone().unwrap_or("-".to_owned());
            let shown = changes
                .iter()
                .map(|c| format!("{} {} {}", c.field, shown(&c.before), shown(&c.after)));
            shown.collect()
        });
        let changes = changes.collect();
        let held: usize = fields.values.iter().map(|(path, value)| path.len() + value.len()).sum();
        assert_eq!(fields.bytes, held, "what is counted is what is held");
        changes
    }

    #[test]
    fn an_event_changes_the_fields_whose_values_differ() {
        let changes = changes_of(&[
            json!({ "name": "Alice", "address": { "city": "Boston", "zip": null } }),
            json!({ "address": { "city": "Cambridge" }, "name": "Alice" }),
            json!({ "address": { "city": "Cambridge" } }),
        ]);
        let first = ["address.city - \"Boston\"", "address.zip - null", "name - \"Alice\""];
        assert_eq!(changes[0], first);
        assert_eq!(changes[1], ["address.city \"Boston\" \"Cambridge\""]);
        assert_eq!(changes[2], [""; 0]);
    }

    #[test]
    fn an_object_in_the_place_of_a_value_replaces_it_and_the_other_way_round() {
        let changes = changes_of(&[
            json!({ "a": 1, "ab": 0 }),
            json!({ "a": { "b": { "c": 1 }, "d": 2 } }),
            json!({ "a": { "b": [1] } }),
            json!({ "a": 7 }),
        ]);
        assert_eq!(changes[1], ["a 1 -", "a.b.c - 1", "a.d - 2"]);
        assert_eq!(changes[2], ["a.b.c 1 -", "a.b - [1]"]);
        assert_eq!(changes[3], ["a.b [1] -", "a.d 2 -", "a - 7"]);
    }

    #[test]
    fn a_payload_without_names_is_a_field_with_the_name_of_its_type() {
        let changes = changes_of(&[json!(null), json!(5), json!({}), json!({ "a.b": { "": 1 } })]);
        assert_eq!(
            changes,
            [vec![], vec!["T - 5".to_owned()], vec![], vec!["\"a.b\".\"\" - 1".to_owned()]]
        );
    }
}
