//! An event's payload within JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use filmstrip::RecordedEvent;
use filmstrip::read::PayloadFormat;
use serde_json::value::RawValue;

/// A payload as part of a line of JSON.
#[derive(Debug)]
pub enum Payload<'a> {
    /// JSON, byte for byte as it was recorded.
    Json(&'a RawValue),
    /// Bytes, or JSON that has line feeds between its tokens, in base64.
    Base64(String),
}

impl<'a> Payload<'a> {
    /// Returns the payload of `event`.
    #[must_use]
    pub fn of(event: &'a RecordedEvent) -> Payload<'a> {
        line_of_json(event)
            .map_or_else(|| Payload::Base64(BASE64_STANDARD.encode(&event.payload)), Payload::Json)
    }
}

/// The payload, if it is JSON that stands on a line as it is.
fn line_of_json(event: &RecordedEvent) -> Option<&RawValue> {
    if event.format != PayloadFormat::Json || event.payload.contains(&b'\n') {
        return None;
    }
    let raw: &RawValue = serde_json::from_slice(&event.payload).ok()?;
    // What is around the value is left out of it.
    (raw.get().len() == event.payload.len()).then_some(raw)
}
