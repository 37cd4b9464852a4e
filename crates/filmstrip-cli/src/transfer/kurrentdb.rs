//! Events of KurrentDB, once EventStoreDB, as its clients and its HTTP API give them when `$all` is read forwards.
//!
//! * A record is an event, or an object with one in `event`, as clients resolve it; or a page of the Atom feed, whose
//!   `entries` have the newest event first.
//! * The names of fields are those of the clients (`streamId`, `revision`, `created`) or of the feed (`eventNumber`,
//!   `metaData`, `updated`).
//! * Streams and types whose names begin with `$` are the system's own, and are skipped, and so are links.
//! * Versions are counted, because a stream may have lost its first events to `$maxCount` and others. The event's own
//!   number is the entry `event_number`.

use crate::fault::Fault;
use crate::transfer::incoming::{Data, Incoming, Read};
use crate::transfer::object::{self, Object};
use filmstrip::Metadata;
use serde_json::value::RawValue;
use std::borrow::Cow;

pub(super) fn read(text: &str) -> Result<Read<'_>, Fault> {
    let mut record = Object::parse(text)?;
    let Some(entries) = record.take("entries") else {
        let event = event(record)?;
        return Ok(event.map_or(Read::Skipped, |event| Read::Event(Box::new(event))));
    };
    let entries: Vec<&RawValue> = serde_json::from_str(entries.get())
        .map_err(|error| Fault::bad(format!("the field \"entries\" is no array: {error}")))?;
    let mut events = Vec::new();
    for entry in entries.iter().rev() {
        events.extend(event(Object::parse(entry.get())?)?);
    }
    Ok(Read::Events(events))
}

fn event(mut record: Object<'_>) -> Result<Option<Incoming<'_>>, Fault> {
    if record.take("link").is_some() {
        return Ok(None);
    }
    let mut event = match record.take("event") {
        Some(event) => Object::parse(event.get())?,
        None => record,
    };
    let stream = event.needed(&["streamId", "eventStreamId", "positionStreamId"])?;
    let event_type = event.needed(&["eventType", "type"])?;
    if stream.starts_with('$') || event_type.starts_with('$') {
        return Ok(None);
    }
    let id = event.needed(&["eventId", "id"])?;
    let number = event.text(&["eventNumber", "revision", "positionEventNumber"])?;
    let time = event.needed(&["created", "updated"])?;
    let is_json = event.text(&["isJson"])?.is_none_or(|is_json| is_json == "true");
    let mut metadata = metadata(&mut event)?;
    metadata.entries.extend(number.map(|number| ("event_number".to_owned(), number)));
    Ok(Some(Incoming {
        id: object::id(&id, "kurrentdb"),
        version: None,
        position: None,
        event_type,
        schema_version: 1,
        recorded_at: object::time(&time, "created")?,
        occurred_at: None,
        metadata,
        tags: Vec::new(),
        data: data(event.take_any("data"), is_json)?,
        stream,
    }))
}

/// The payload. Clients give JSON as it is, the feed as a text; bytes are in base64.
fn data(value: Option<&RawValue>, is_json: bool) -> Result<Data<'_>, Fault> {
    let Some(value) = value else { return Data::json_of("null".to_owned()) };
    let is_text = value.get().starts_with('"');
    match (is_json, is_text) {
        (false, true) => Data::of_base64(&object::text(value, "data")?),
        (true, true) => {
            Ok(Data::json_of(object::text(value, "data")?)
                .unwrap_or(Data::Json(Cow::Borrowed(value))))
        }
        (_, false) => Ok(Data::Json(Cow::Borrowed(value))),
    }
}

/// The metadata, which is an object, or a text that holds one.
fn metadata(event: &mut Object<'_>) -> Result<Metadata, Fault> {
    let mut metadata = Metadata::default();
    let Some(value) = event.take_first(&["metadata", "metaData"]) else { return Ok(metadata) };
    let json = match value.get().starts_with('"') {
        true => object::text(value, "metadata")?,
        false => value.get().to_owned(),
    };
    let Ok(fields) = Object::parse(&json) else {
        if !json.is_empty() {
            metadata.entries.insert("metadata".to_owned(), json);
        }
        return Ok(metadata);
    };
    for (name, value) in fields.into_rest() {
        match name.as_str() {
            "$correlationId" => object::link(&mut metadata, "correlation_id", object::entry(value)),
            "$causationId" => object::link(&mut metadata, "causation_id", object::entry(value)),
            _ => drop(metadata.entries.insert(name, object::entry(value))),
        }
    }
    Ok(metadata)
}
