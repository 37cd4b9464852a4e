//! An event that is to be recorded, whatever it was read from.

use crate::fault::Fault;
use crate::record::{Format, Record};
use crate::transfer::object::check_readable;
use crate::transfer::trailer::Trailer;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::uuid::Uuid;
use filmstrip::{Metadata, NewEvent};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// An event of another store or system.
pub(super) struct Incoming<'a> {
    pub(super) stream: String,
    /// Its place in its stream, from 1; `None` if the input does not say it: then they are counted.
    pub(super) version: Option<u64>,
    /// Its place among all events; `None` if that has no meaning here.
    pub(super) position: Option<u64>,
    pub(super) id: Uuid,
    pub(super) event_type: String,
    pub(super) schema_version: u16,
    pub(super) recorded_at: DateTime<Utc>,
    pub(super) occurred_at: Option<DateTime<Utc>>,
    pub(super) metadata: Metadata,
    pub(super) tags: Vec<String>,
    pub(super) data: Data<'a>,
}

/// A payload.
pub(super) enum Data<'a> {
    Json(Cow<'a, RawValue>),
    Bytes(Vec<u8>),
}

/// What a record of an input is.
pub(super) enum Read<'a> {
    Event(Box<Incoming<'a>>),
    /// Several events in their order.
    Events(Vec<Incoming<'a>>),
    Trailer(Trailer),
    /// Something of the other system's own.
    Skipped,
}

impl Data<'_> {
    /// JSON that was written as text.
    pub(super) fn json_of(text: String) -> Result<Data<'static>, Fault> {
        let raw = RawValue::from_string(text);
        let raw = raw.map_err(|error| Fault::bad(format!("the payload is not JSON: {error}")))?;
        Ok(Data::Json(Cow::Owned(raw)))
    }

    pub(super) fn of_base64(text: &str) -> Result<Data<'static>, Fault> {
        let bytes = BASE64_STANDARD.decode(text);
        bytes
            .map(Data::Bytes)
            .map_err(|error| Fault::bad(format!("the payload is not base64: {error}")))
    }

    /// The same bytes, which are JSON.
    pub(super) fn into_json(self) -> Result<Self, Fault> {
        match self {
            Data::Bytes(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Data::json_of(text),
                Err(_) => Err(Fault::bad("the payload is not JSON: it is not UTF-8")),
            },
            json => Ok(json),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Data::Json(json) => json.get().len(),
            Data::Bytes(bytes) => bytes.len(),
        }
    }
}

impl<'a> Incoming<'a> {
    /// The event of a record that `export` wrote.
    pub(super) fn of_record(record: Record<'a>) -> Result<Incoming<'a>, Fault> {
        let data = match (record.data, record.data_base64, record.format) {
            (Some(json), None, None) => Data::Json(Cow::Borrowed(json)),
            (None, Some(text), None) => Data::of_base64(&text)?,
            (None, Some(text), Some(Format::Json)) => Data::of_base64(&text)?.into_json()?,
            (None, Some(_), Some(Format::Sealed | Format::Erased)) => {
                return Err(Fault::bad(
                    "a private event is bound to its store and its key, and cannot be imported; `Store::copy_into` and \
                     `Repair::export` keep private events",
                ));
            }
            _ => {
                return Err(Fault::bad(
                    "a record must have either data or data_base64, and a format only with the latter",
                ));
            }
        };
        let mut metadata = Metadata::default();
        metadata.correlation_id = record.correlation_id;
        metadata.causation_id = record.causation_id;
        metadata.command_id = record.command_id;
        metadata.user = record.user.map(Cow::into_owned);
        let pair =
            |(key, value): (Cow<'_, str>, Cow<'_, str>)| (key.into_owned(), value.into_owned());
        metadata.entries = record.entries.into_iter().map(pair).collect();
        Ok(Incoming {
            stream: record.stream.into_owned(),
            version: Some(record.version),
            position: Some(record.position),
            id: record.id,
            event_type: record.event_type.into_owned(),
            schema_version: record.schema_version,
            recorded_at: record.recorded_at,
            occurred_at: record.occurred_at,
            metadata,
            tags: record.tags.into_iter().map(Cow::into_owned).collect(),
            data,
        })
    }

    /// The event as it is appended. `occurred_at` is when it happened, if that is not when it is recorded.
    pub(super) fn into_new(self, occurred_at: Option<DateTime<Utc>>) -> Result<NewEvent, Fault> {
        let event = match self.data {
            Data::Json(json) => {
                check_readable(&json)?;
                NewEvent::json(self.event_type, &json)?
            }
            Data::Bytes(bytes) => NewEvent::bytes(self.event_type, bytes),
        };
        let event = event.id(self.id).metadata(self.metadata).schema_version(self.schema_version);
        let event = self.tags.into_iter().fold(event, NewEvent::tag);
        Ok(match occurred_at {
            Some(time) => event.occurred_at(time),
            None => event,
        })
    }
}
