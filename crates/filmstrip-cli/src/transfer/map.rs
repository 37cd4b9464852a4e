//! The rows of a table, one JSON object each, as events: by a map that says which column is what.

use crate::fault::Fault;
use crate::transfer::incoming::{Data, Incoming, Read};
use crate::transfer::object::{self, Object};
use filmstrip::Metadata;
use serde::Deserialize;
use std::borrow::Cow;
use std::fs;
use std::path::Path;

/// Marten's `mt_events`; with its stream's type, if the query joined `mt_streams` for it.
const MARTEN: &str = r#"{
    "stream": ["{stream_type}-{stream_id}", "{stream_id}"],
    "id": "id", "type": "type", "version": "version", "time": "timestamp", "data": "data",
    "correlation_id": "correlation_id", "causation_id": "causation_id", "user": "user_name",
    "metadata": ["headers"], "entries": ["tenant_id"]
}"#;

/// The table `messages` of message-db.
const MESSAGE_DB: &str = r#"{
    "stream": ["{stream_name}"],
    "id": "id", "type": "type", "version": "position", "first_version": 0, "time": "time", "data": "data",
    "metadata": ["metadata"]
}"#;

/// Bytes of a map.
const MAP_BYTES_MAX: u64 = 1 << 20;

/// Which column is what.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Map {
    /// The stream's name, with columns in braces: the first of these whose columns are all there.
    stream: Vec<String>,
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    /// Without it, the events of a stream are counted.
    version: Option<String>,
    /// The version of a stream's first event there.
    #[serde(default = "one")]
    first_version: u64,
    time: String,
    occurred_at: Option<String>,
    schema_version: Option<String>,
    data: String,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    user: Option<String>,
    /// A column with an array of texts.
    tags: Option<String>,
    /// Columns with objects whose members become entries of the event's metadata.
    #[serde(default)]
    metadata: Vec<String>,
    /// Columns that become entries of the event's metadata.
    #[serde(default)]
    entries: Vec<String>,
}

fn one() -> u64 {
    1
}

impl Map {
    /// A built-in map, or the one in a file.
    pub(super) fn named(name: &str) -> Result<Map, Fault> {
        let read = match name {
            "marten" => MARTEN.to_owned(),
            "message-db" => MESSAGE_DB.to_owned(),
            file => {
                let path = Path::new(file);
                let length = fs::metadata(path).map_err(|e| Fault::io("read", path, &e))?.len();
                if length > MAP_BYTES_MAX {
                    return Err(Fault::bad(format!(
                        "the map {file} has {length} bytes; at most {MAP_BYTES_MAX} are allowed"
                    )));
                }
                fs::read_to_string(path).map_err(|e| Fault::io("read", path, &e))?
            }
        };
        let map: Map = serde_json::from_str(&read)
            .map_err(|error| Fault::bad(format!("{name} is not a map: {error}")))?;
        match map.stream.is_empty() {
            true => Err(Fault::bad(format!(
                "the map {name} has no names of streams; it needs at least 1"
            ))),
            false => Ok(map),
        }
    }

    pub(super) fn read<'a>(&self, text: &'a str) -> Result<Read<'a>, Fault> {
        let mut row = Object::parse(text)?;
        let stream = self.stream_of(&row)?;
        let version =
            self.version.as_deref().map(|column| self.version_of(&mut row, column)).transpose()?;
        let id = row.needed(&[&self.id])?;
        let event_type = row.needed(&[&self.event_type])?;
        let recorded_at = object::time(&row.needed(&[&self.time])?, &self.time)?;
        let occurred_at = optional(&mut row, self.occurred_at.as_ref())?;
        let occurred_at = occurred_at.map(|text| object::time(&text, "occurred_at")).transpose()?;
        let schema_version =
            optional(&mut row, self.schema_version.as_ref())?.unwrap_or("1".to_owned());
        let schema_version = schema_version.parse().map_err(|_| {
            Fault::bad(format!(
                "a schema version must be a number from 0 to {}; it is {schema_version:?}",
                u16::MAX
            ))
        })?;
        let tags = match self.tags.as_ref().and_then(|column| row.take(column)) {
            None => Vec::new(),
            Some(tags) => serde_json::from_str(tags.get())
                .map_err(|error| Fault::bad(format!("the tags are no array of texts: {error}")))?,
        };
        let data = match row.take_any(&self.data) {
            Some(data) => Data::Json(Cow::Borrowed(data)),
            None => return Err(Fault::bad(format!("the column {:?} is missing", self.data))),
        };
        let (metadata, position) = (self.metadata_of(&mut row)?, None);
        let id = object::id(&id, &stream);
        Ok(Read::Event(Box::new(Incoming {
            stream,
            version,
            position,
            id,
            event_type,
            schema_version,
            recorded_at,
            occurred_at,
            metadata,
            tags,
            data,
        })))
    }

    fn stream_of(&self, row: &Object<'_>) -> Result<String, Fault> {
        for template in &self.stream {
            if let Some(name) = filled(template, row)? {
                return Ok(name);
            }
        }
        Err(Fault::bad(format!(
            "the row has not the columns of any of {:?}, which name its stream",
            self.stream
        )))
    }

    fn version_of(&self, row: &mut Object<'_>, column: &str) -> Result<u64, Fault> {
        let version = object::number(&row.needed(&[column])?, column)?;
        version.checked_sub(self.first_version).map(|before| before + 1).ok_or_else(|| {
            let first = self.first_version;
            Fault::bad(format!(
                "the column {column:?} is {version}; a stream's first version is {first}"
            ))
        })
    }

    fn metadata_of(&self, row: &mut Object<'_>) -> Result<Metadata, Fault> {
        let mut metadata = Metadata::default();
        for (name, column) in
            [("correlation_id", &self.correlation_id), ("causation_id", &self.causation_id)]
        {
            if let Some(text) = optional(row, column.as_ref())? {
                object::link(&mut metadata, name, text);
            }
        }
        metadata.user = optional(row, self.user.as_ref())?;
        for column in &self.metadata {
            let Some(value) = row.take(column) else { continue };
            for (name, value) in
                Object::parse(value.get()).map_err(|fault| fault.at(column))?.into_rest()
            {
                metadata.entries.insert(name, object::entry(value));
            }
        }
        for column in &self.entries {
            if let Some(value) = row.take(column) {
                metadata.entries.insert(column.clone(), object::entry(value));
            }
        }
        Ok(metadata)
    }
}

fn optional(row: &mut Object<'_>, column: Option<&String>) -> Result<Option<String>, Fault> {
    match column {
        Some(column) => row.text(&[column]),
        None => Ok(None),
    }
}

/// The template with its columns, if all of them are there.
fn filled(template: &str, row: &Object<'_>) -> Result<Option<String>, Fault> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (column, after) = after.split_once('}').ok_or_else(|| {
            Fault::bad(format!("the name {template:?} has a '{{' without its '}}'"))
        })?;
        let Some(value) = row.peek(column) else { return Ok(None) };
        out.push_str(before);
        out.push_str(&object::text(value, column)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_the_columns_that_are_there() {
        let row = Object::parse(r#"{"a":"x","n":7,"z":null}"#).unwrap();
        let filled = |template: &str| filled(template, &row).unwrap();
        assert_eq!(filled("{a}-{n}").as_deref(), Some("x-7"));
        assert_eq!(filled("Order").as_deref(), Some("Order"));
        assert_eq!(filled("{a}-{z}"), None);
        assert!(super::filled("{a", &row).is_err());
    }

    #[test]
    fn the_built_in_maps_can_be_read() {
        for name in ["marten", "message-db"] {
            assert!(!Map::named(name).unwrap().stream.is_empty());
        }
    }
}
