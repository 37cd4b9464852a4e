//! An event as a CloudEvent in JSON, and what a relay must know of one that it has sent.
//!
//! An attribute of a CloudEvent is a text, a truth value or a number of 32 bits. So positions and versions are texts,
//! and tags and entries are texts that hold JSON.

use crate::payload::Payload;
use filmstrip::chrono::{DateTime, Utc};
use filmstrip::read::PayloadFormat;
use filmstrip::relay::LastEvent;
use filmstrip::uuid::Uuid;
use filmstrip::{Position, RecordedEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

/// An event as a CloudEvent. serde writes it as one object of JSON on one line.
///
/// ```
/// use filmstrip::{ExpectedVersion, NewEvent, Store};
/// use filmstrip_cloudevents::CloudEvent;
/// let store = Store::temporary()?;
/// store.append("Order-7", ExpectedVersion::NoStream, [NewEvent::json("Placed", &3)?])?;
/// let event = store.read_all().iter()?.next().expect("one event")?;
/// let json = serde_json::to_value(CloudEvent::of(&event, "https://shop.example"))?;
/// assert_eq!(json["type"], "Placed");
/// assert_eq!(json["subject"], "Order-7");
/// assert_eq!(json["position"], "1");
/// assert_eq!(json["data"], 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Serialize)]
pub struct CloudEvent<'a> {
    specversion: &'static str,
    id: Uuid,
    source: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    subject: &'a str,
    time: DateTime<Utc>,
    datacontenttype: &'static str,
    position: String,
    streamversion: String,
    recordedat: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schemaversion: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causationid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commandid: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    userid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> CloudEvent<'a> {
    /// Returns `event` as a CloudEvent from `source`, a URI reference that names the application's store.
    #[must_use]
    pub fn of(event: &'a RecordedEvent, source: &'a str) -> CloudEvent<'a> {
        let (data, data_base64) = match Payload::of(event) {
            Payload::Json(json) => (Some(json), None),
            Payload::Base64(text) => (None, Some(text)),
        };
        let metadata = &event.metadata;
        let tags: Vec<&str> = event.tags().collect();
        let text = |json: serde_json::Result<String>| json.expect("texts can be written as JSON");
        CloudEvent {
            specversion: "1.0",
            id: event.id,
            source,
            event_type: event.event_type.as_str(),
            subject: event.stream.as_str(),
            time: event.occurred_at,
            datacontenttype: if event.format == PayloadFormat::Json { JSON } else { BYTES },
            position: event.position.to_string(),
            streamversion: event.version.to_string(),
            recordedat: event.recorded_at,
            schemaversion: (event.schema_version != 1).then_some(event.schema_version),
            correlationid: metadata.correlation_id,
            causationid: metadata.causation_id,
            commandid: metadata.command_id,
            userid: metadata.user.as_deref(),
            entries: (!metadata.entries.is_empty())
                .then(|| text(serde_json::to_string(&metadata.entries))),
            tags: (!tags.is_empty()).then(|| text(serde_json::to_string(&tags))),
            data,
            data_base64,
        }
    }

    /// Appends it to `to`, as JSON.
    pub fn write(&self, to: &mut Vec<u8>) {
        serde_json::to_writer(to, self).expect("texts, numbers and JSON can be written as JSON");
    }
}

/// What a relay must know of a CloudEvent that it has sent: which event it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The event's position.
    pub position: Position,
    /// The event's id.
    pub id: Uuid,
}

impl Sent {
    /// Reads it of a CloudEvent in JSON; `None` if this is not one that [`CloudEvent`] wrote.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Sent> {
        #[derive(Deserialize)]
        struct Attributes<'a> {
            specversion: &'a str,
            position: &'a str,
            id: Uuid,
        }
        let attributes: Attributes<'_> = serde_json::from_slice(json).ok()?;
        let position = attributes.position.parse().ok().filter(|position| *position > 0)?;
        (attributes.specversion == "1.0")
            .then_some(Sent { position: Position::new(position), id: attributes.id })
    }
}

impl From<Sent> for LastEvent {
    fn from(sent: Sent) -> LastEvent {
        LastEvent { position: sent.position, id: Some(sent.id) }
    }
}
