//! Plain serde enums as sets of events.
//!
//! * An externally tagged enum's value is an event: the variant's serde name is the event type, its
//!   content the JSON payload. `split` takes them apart, `joined` puts them together again.
//! * What would be written and not read back is refused before it is first appended (`check`).
//! * Reading parses the payload once, into the event itself, and allocates nothing for the type.
//! * Every stored event passes through its set's `upcast` before it is decoded.

mod check;
pub(crate) mod convert;
pub(crate) mod event;
mod joined;
mod shape;
mod split;
#[cfg(test)]
mod tests;
