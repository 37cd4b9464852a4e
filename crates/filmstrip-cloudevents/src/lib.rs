//! Events of filmstrip as [CloudEvents 1.0](https://github.com/cloudevents/spec) in JSON, and [`JsonLines`], which
//! writes a store's events to a file, one CloudEvent on each line.
//!
//! | attribute | what it is |
//! | --- | --- |
//! | `id`, `type`, `source` | the event's id, its type, and what the application calls its store |
//! | `subject` | the stream |
//! | `time`, `recordedat` | when the event happened, and when it was recorded |
//! | `position`, `streamversion` | its place in the global sequence and in its stream, as decimal texts |
//! | `schemaversion` | the version of the payload's schema, if it is not 1 |
//! | `correlationid`, `causationid`, `commandid`, `userid` | metadata, if the event has it |
//! | `entries`, `tags` | further metadata, as texts that hold JSON |
//! | `data` or `data_base64` | the payload, byte for byte if it is JSON without line feeds between its tokens |

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod cloud_event;
mod lines;
mod payload;

pub use cloud_event::{CloudEvent, Sent};
pub use lines::JsonLines;
pub use payload::Payload;
