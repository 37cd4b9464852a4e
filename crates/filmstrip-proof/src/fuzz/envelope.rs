//! Decodes arbitrary bytes as an event's envelope.

use crate::codec::envelope::{self, Place};
use crate::value::clock::Micros;
use crate::value::event::{Metadata, NewEvent, PayloadFormat, RecordedEvent};
use crate::value::position::{Position, Version};
use crate::value::stream::StreamId;
use bytes::Bytes;

fn decode(bytes: Bytes) -> Option<RecordedEvent> {
    let place = Place {
        position: Position::new(7),
        stream: StreamId::new("Customer-1").expect("a name"),
        version: Version::new(3),
        recorded_at: Micros(1_700_000_000_000_000).to_utc(),
    };
    envelope::decode(bytes, place).ok()
}

/// A decoded event must be the same after it is encoded and decoded again.
pub fn envelope(input: &[u8]) -> bool {
    let Some(event) = decode(Bytes::copy_from_slice(input)) else { return false };
    assert_eq!(envelope::id(input), Some(event.id), "its id alone is another");
    let metadata: Metadata = (*event.metadata).clone();
    let event_type = event.event_type.as_str().to_owned();
    let again = NewEvent::with_payload(event_type, event.format, event.payload.clone())
        .id(event.id)
        .schema_version(event.schema_version)
        .occurred_at(event.occurred_at)
        .metadata(metadata);
    let mut bytes = Vec::new();
    envelope::encode(&again, &mut bytes);
    let back = decode(bytes.into()).expect("what was just encoded is decoded");
    assert_eq!(all_of(&back), all_of(&event), "it comes back as another");
    true
}

type All<'a> = (uuid::Uuid, &'a str, u16, PayloadFormat, &'a Bytes, &'a Metadata, Micros);

fn all_of(event: &RecordedEvent) -> All<'_> {
    (
        event.id,
        event.event_type.as_str(),
        event.schema_version,
        event.format,
        &event.payload,
        &event.metadata,
        // On disk the time has microseconds. The end of the calendar, to which later times are clamped, is more
        // precise.
        Micros::of(event.occurred_at),
    )
}
