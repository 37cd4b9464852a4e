//! The last record of an export: how many events it has, and a hash of them.

use crate::fault::Fault;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The number of the form that this version writes.
const FORM: u16 = 1;
/// The type of the CloudEvent that is a trailer.
pub(super) const CLOUD_TYPE: &str = "filmstrip.export.trailer";

/// What ends an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trailer {
    pub(super) filmstrip_export: u16,
    pub(super) events: u64,
    /// The positions of the first event and of the last; 0 if there is none.
    pub(super) first: u64,
    pub(super) last: u64,
    /// BLAKE3 of the records, each with a line feed after it.
    pub(super) blake3: String,
}

impl Trailer {
    /// The trailer as a line of JSON Lines, by whose beginning it is recognised.
    pub(super) fn as_line(&self) -> Result<String, Fault> {
        serde_json::to_string(self)
            .map_err(|error| Fault::bad(format!("the trailer cannot be written as JSON: {error}")))
    }

    /// Whether a record is one.
    pub(super) fn is_one(record: &str) -> bool {
        record.starts_with("{\"filmstrip_export\"")
    }

    /// The trailer as the data of a CloudEvent.
    pub(super) fn as_cloud_event(&self, source: &str) -> String {
        let data = json!(self);
        json!({
            "specversion": "1.0", "id": self.blake3, "source": source, "type": CLOUD_TYPE,
            "datacontenttype": "application/json", "data": data,
        })
        .to_string()
    }

    /// Refuses a form of a later version.
    pub(super) fn check_form(&self) -> Result<(), Fault> {
        match self.filmstrip_export {
            FORM => Ok(()),
            form => {
                let message = format!(
                    "the export has the form {form}: a newer version of filmstrip wrote it; this one reads form {FORM}"
                );
                Err(Fault::bad(message))
            }
        }
    }
}

/// What is known of an export so far.
#[derive(Clone, Default)]
pub(super) struct Sum {
    hash: blake3::Hasher,
    pub(super) events: u64,
    first: u64,
    last: u64,
}

impl Sum {
    /// Adds the record of an event; `position` is 0 where that is not known.
    pub(super) fn add(&mut self, record: &str, position: u64) {
        self.hash.update(record.as_bytes());
        self.hash.update(b"\n");
        self.events += 1;
        self.first = if self.events == 1 { position } else { self.first };
        self.last = position;
    }

    pub(super) fn trailer(&self) -> Trailer {
        let Sum { events, first, last, .. } = *self;
        let blake3 = self.hash.finalize().to_hex().to_string();
        Trailer { filmstrip_export: FORM, events, first, last, blake3 }
    }

    /// Refuses records that are not those of the trailer.
    pub(super) fn check(&self, trailer: &Trailer) -> Result<(), Fault> {
        trailer.check_form()?;
        let met = self.trailer();
        let message = match (met.events == trailer.events, met.blake3 == trailer.blake3) {
            (true, true) => return Ok(()),
            (false, _) => format!(
                "it has {} events, and its trailer says {}: something was removed or added",
                met.events, trailer.events
            ),
            (true, false) => format!(
                "its events have the hash {}, and its trailer says {}: something was changed",
                met.blake3, trailer.blake3
            ),
        };
        Err(Fault::bad(message))
    }
}
