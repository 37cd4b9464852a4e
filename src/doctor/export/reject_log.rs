//! The file that lists what was left out of an export, one JSON object per line.

use crate::codec::envelope::{self, Place};
use crate::index::flush_batch::EventToIndex;
use crate::storage::disk::{Disk, SequentialWriter};
use crate::value::clock::Micros;
use crate::value::error::{Error, Result};
use crate::value::event::PayloadFormat;
use crate::value::position::{Position, Version};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// The file is created by the first line. If nothing is left out, there is no file.
pub(crate) struct RejectLog {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    mode: u32,
    file: Option<BufWriter<SequentialWriter>>,
}

impl RejectLog {
    /// Prepares the file `path`, which must not exist. It gets at most the permissions `mode`.
    pub(crate) fn new(disk: &Arc<dyn Disk>, path: PathBuf, mode: u32) -> RejectLog {
        RejectLog { disk: Arc::clone(disk), path, mode, file: None }
    }

    pub(super) fn lost(&mut self, first: u64, last: u64) -> Result<()> {
        self.line(&json!({ "lost": { "first": first, "last": last } }))
    }

    pub(super) fn renumbered(&mut self, first: u64, last: u64, now: u64) -> Result<()> {
        self.line(&json!({ "renumbered": { "first": first, "last": last, "now": now } }))
    }

    pub(super) fn cut(&mut self, stream: &str, version: u64) -> Result<()> {
        self.line(&json!({ "stream_cut": { "stream": stream, "kept_up_to": version } }))
    }

    /// A record of the engine's state that was left out.
    pub(super) fn state(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.line(&json!({ "state": { "key": key, "value_hex": hex(value) } }))
    }

    /// An event that was left out.
    pub(super) fn event(&mut self, event: &EventToIndex) -> Result<()> {
        self.line(&json!({ "event": described(event) }))
    }

    /// An event of a doubtful frame.
    pub(super) fn doubtful(&mut self, event: &EventToIndex) -> Result<()> {
        self.line(&json!({ "doubtful_event": described(event) }))
    }

    /// Syncs everything to disk.
    pub(super) fn finish(self) -> Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        let synced = file.into_inner().map_err(std::io::IntoInnerError::into_error);
        synced.and_then(|file| file.sync()).map_err(|e| Error::io("write", &self.path, e))
    }

    fn line(&mut self, value: &Value) -> Result<()> {
        let failed = |e| Error::io("write", &self.path, e);
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let created = self.disk.create_new(&self.path, self.mode).map_err(failed)?;
                self.file.insert(BufWriter::new(SequentialWriter::new(created)))
            }
        };
        let line = serde_json::to_string(&Sorted(value)).map_err(|e| failed(e.into()))?;
        writeln!(file, "{line}").map_err(failed)
    }
}

/// An event, with all of its parts.
fn described(event: &EventToIndex) -> Value {
    let place = Place {
        position: Position::new(event.position),
        stream: event.stream.clone(),
        version: Version::new(event.version),
        recorded_at: event.recorded_at.to_utc(),
    };
    let mut line = json!({
        "position": event.position,
        "stream": event.stream.as_str(),
        "version": event.version,
        "recorded_at": time(event.recorded_at),
    });
    match envelope::decode(event.envelope.clone(), place) {
        Err(_) => line["envelope_hex"] = hex(&event.envelope).into(),
        Ok(decoded) => {
            let format = match decoded.format {
                PayloadFormat::Json => "json",
                PayloadFormat::Bytes => "bytes",
                #[cfg(feature = "erasure")]
                PayloadFormat::Sealed | PayloadFormat::Erased => "sealed",
            };
            line["id"] = decoded.id.to_string().into();
            line["type"] = decoded.event_type.as_str().into();
            line["schema_version"] = decoded.schema_version.into();
            line["occurred_at"] = time(Micros::of(decoded.occurred_at)).into();
            line["format"] = format.into();
            // As text, so that its bytes are preserved exactly.
            match std::str::from_utf8(&decoded.payload) {
                Ok(text) => line["payload"] = text.into(),
                Err(_) => line["payload_hex"] = hex(&decoded.payload).into(),
            }
            let metadata = &decoded.metadata;
            line["metadata"] = json!({
                "correlation_id": metadata.correlation_id.map(|id| id.to_string()),
                "causation_id": metadata.causation_id.map(|id| id.to_string()),
                "command_id": metadata.command_id.map(|id| id.to_string()),
                "user": metadata.user,
                "entries": metadata.entries,
            });
        }
    }
    line
}

/// Serialises a value with sorted keys. The order that serde_json keeps depends on its features, which any crate of a
/// program may enable.
struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(values) => to.collect_seq(values.iter().map(Sorted)),
            Value::Object(fields) => {
                let fields: BTreeMap<_, _> =
                    fields.iter().map(|(key, value)| (key, Sorted(value))).collect();
                fields.serialize(to)
            }
            value => value.serialize(to),
        }
    }
}

fn time(time: Micros) -> String {
    time.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The story: if any crate of the program enabled `serde_json/preserve_order`, the keys in the file's lines had
    /// another order.
    #[test]
    fn a_line_has_its_keys_in_order() {
        let value = json!({ "b": 1, "a": [{ "d": null, "c": "x" }] });
        let line = serde_json::to_string(&Sorted(&value)).unwrap();
        assert_eq!(line, r#"{"a":[{"c":"x","d":null}],"b":1}"#);
    }
}
