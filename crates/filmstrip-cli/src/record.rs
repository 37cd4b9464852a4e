//! An event as JSON: what `--json` prints, what `export` writes, and what `import` reads.
//!
//! A payload that is JSON stands in it as it was recorded, byte for byte. Bytes are in base64, and so is JSON that has
//! line feeds between its tokens, since a record is one line.

use filmstrip::RecordedEvent;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::read::PayloadFormat;
use filmstrip::uuid::Uuid;
use filmstrip_cloudevents::Payload;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Everything that is known of an event.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record<'a> {
    pub(crate) position: u64,
    #[serde(borrow)]
    pub(crate) stream: Cow<'a, str>,
    pub(crate) version: u64,
    pub(crate) id: Uuid,
    #[serde(rename = "type", borrow)]
    pub(crate) event_type: Cow<'a, str>,
    #[serde(default = "first_schema", skip_serializing_if = "is_first_schema")]
    pub(crate) schema_version: u16,
    pub(crate) recorded_at: DateTime<Utc>,
    /// When it happened, if that is another time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) occurred_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) causation_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) entries: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<Cow<'a, str>>,
    /// The payload, if it is JSON.
    #[serde(
        default,
        borrow,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "also_null"
    )]
    pub(crate) data: Option<&'a RawValue>,
    /// The payload in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_base64: Option<Cow<'a, str>>,
    /// What the payload in base64 is, if not bytes of the application's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) format: Option<Format>,
}

/// The format of a payload in base64.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    Json,
    /// That of a private event, encrypted.
    Sealed,
    /// That of a private event whose data subject was forgotten: it is empty.
    Erased,
}

fn first_schema() -> u16 {
    1
}

fn is_first_schema(version: &u16) -> bool {
    *version == 1
}

/// A payload that is `null` is one.
fn also_null<'de: 'a, 'a, D: Deserializer<'de>>(from: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> Record<'a> {
    pub(crate) fn of(event: &'a RecordedEvent) -> Record<'a> {
        let (data, data_base64) = match Payload::of(event) {
            Payload::Json(json) => (Some(json), None),
            Payload::Base64(text) => (None, Some(text.into())),
        };
        let metadata = &event.metadata;
        let pair = |(key, value): (&'a String, &'a String)| (Cow::from(key), Cow::from(value));
        Record {
            position: event.position.get(),
            stream: event.stream.as_str().into(),
            version: event.version.get(),
            id: event.id,
            event_type: event.event_type.as_str().into(),
            schema_version: event.schema_version,
            recorded_at: event.recorded_at,
            occurred_at: (event.occurred_at != event.recorded_at).then_some(event.occurred_at),
            correlation_id: metadata.correlation_id,
            causation_id: metadata.causation_id,
            command_id: metadata.command_id,
            user: metadata.user.as_deref().map(Cow::from),
            entries: metadata.entries.iter().map(pair).collect(),
            tags: event.tags().map(Cow::from).collect(),
            data,
            data_base64,
            format: match event.format {
                PayloadFormat::Json if data.is_none() => Some(Format::Json),
                PayloadFormat::Sealed => Some(Format::Sealed),
                PayloadFormat::Erased => Some(Format::Erased),
                _ => None,
            },
        }
    }
}
